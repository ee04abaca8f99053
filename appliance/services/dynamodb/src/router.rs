//! Which operation a target names: the table of operations, which is the index of the service.
//! Invariant: an operation that has no row is answered as unknown; every name of the protocol is known by name, so that
//! metrics have a bounded set of words.

use plan::{Context, Plan};

use crate::call::Shared;
use crate::ops;
use crate::wire::error::Error;

/// Begins an operation with the decoded body of its request.
pub type Start = fn(Shared, &mut Context<'_>, &[u8]) -> Result<Plan, Error>;

/// One operation.
pub struct Operation {
    /// Amazon's name of it.
    pub name: &'static str,
    /// The action that a policy allows or denies.
    pub action: &'static str,
    /// Begins it.
    pub start: Start,
}

const fn row(name: &'static str, action: &'static str, start: Start) -> Operation {
    Operation { name, action, start }
}

/// Every operation that is built. The most frequent ones come first: the table is searched in its order.
pub static OPERATIONS: &[Operation] = &[
    row("GetItem", "dynamodb:GetItem", ops::get_item::start),
    row("PutItem", "dynamodb:PutItem", ops::put_item::start),
    row("UpdateItem", "dynamodb:UpdateItem", ops::update_item::start),
    row("Query", "dynamodb:Query", ops::query::start),
    row("DeleteItem", "dynamodb:DeleteItem", ops::delete_item::start),
    row("BatchGetItem", "dynamodb:BatchGetItem", ops::batch_get_item::start),
    row("BatchWriteItem", "dynamodb:BatchWriteItem", ops::batch_write_item::start),
    row("TransactWriteItems", "dynamodb:TransactWriteItems", ops::transact_write_items::start),
    row("TransactGetItems", "dynamodb:TransactGetItems", ops::transact_get_items::start),
    row("Scan", "dynamodb:Scan", ops::scan::start),
    row("ExecuteStatement", "dynamodb:PartiQLSelect", ops::partiql::statement::start),
    row("BatchExecuteStatement", "dynamodb:PartiQLSelect", ops::partiql::batch::start),
    row("ExecuteTransaction", "dynamodb:PartiQLSelect", ops::partiql::transaction::start),
    row("DescribeTable", "dynamodb:DescribeTable", ops::describe_table::start),
    row("CreateTable", "dynamodb:CreateTable", ops::create_table::start),
    row("UpdateTable", "dynamodb:UpdateTable", ops::update_table::start),
    row("DeleteTable", "dynamodb:DeleteTable", ops::delete_table::start),
    row("ListTables", "dynamodb:ListTables", ops::list_tables::start),
    row("UpdateTimeToLive", "dynamodb:UpdateTimeToLive", ops::time_to_live::update),
    row("DescribeTimeToLive", "dynamodb:DescribeTimeToLive", ops::time_to_live::describe),
    row("TagResource", "dynamodb:TagResource", ops::tags::tag),
    row("UntagResource", "dynamodb:UntagResource", ops::tags::untag),
    row("ListTagsOfResource", "dynamodb:ListTagsOfResource", ops::tags::list),
    row(
        "DescribeContinuousBackups",
        "dynamodb:DescribeContinuousBackups",
        ops::describe_table::continuous_backups,
    ),
    row("DescribeLimits", "dynamodb:DescribeLimits", ops::describe_table::limits),
    row("DescribeEndpoints", "dynamodb:DescribeEndpoints", ops::describe_table::endpoints),
    row("GetRecords", "dynamodb:GetRecords", ops::streams::records),
    row("GetShardIterator", "dynamodb:GetShardIterator", ops::streams::shard_iterator),
    row("DescribeStream", "dynamodb:DescribeStream", ops::streams::describe),
    row("ListStreams", "dynamodb:ListStreams", ops::streams::list),
];

/// The names of `DynamoDB_20120810`, built or not.
const TABLE_TARGETS: &[&str] = &[
    "BatchExecuteStatement",
    "BatchGetItem",
    "BatchWriteItem",
    "CancelBulkOperation",
    "CreateBackup",
    "CreateGlobalTable",
    "CreateTable",
    "DeleteBackup",
    "DeleteItem",
    "DeleteResourcePolicy",
    "DeleteTable",
    "DescribeBackup",
    "DescribeBulkOperation",
    "DescribeContinuousBackups",
    "DescribeContributorInsights",
    "DescribeEndpoints",
    "DescribeExport",
    "DescribeGlobalTable",
    "DescribeGlobalTableSettings",
    "DescribeImport",
    "DescribeKinesisStreamingDestination",
    "DescribeLimits",
    "DescribeTable",
    "DescribeTableReplicaAutoScaling",
    "DescribeTimeToLive",
    "DisableKinesisStreamingDestination",
    "EnableKinesisStreamingDestination",
    "ExecuteStatement",
    "ExecuteTransaction",
    "ExportTableToPointInTime",
    "GetItem",
    "GetResourcePolicy",
    "ImportTable",
    "ListBackups",
    "ListBulkOperations",
    "ListContributorInsights",
    "ListExports",
    "ListGlobalTables",
    "ListImports",
    "ListTables",
    "ListTagsOfResource",
    "PutItem",
    "PutResourcePolicy",
    "Query",
    "RestoreTableFromBackup",
    "RestoreTableToPointInTime",
    "Scan",
    "SearchVectors",
    "StartBulkPutItems",
    "TagResource",
    "TransactGetItems",
    "TransactWriteItems",
    "UntagResource",
    "UpdateContinuousBackups",
    "UpdateContributorInsights",
    "UpdateGlobalTable",
    "UpdateGlobalTableSettings",
    "UpdateItem",
    "UpdateKinesisStreamingDestination",
    "UpdateTable",
    "UpdateTableReplicaAutoScaling",
    "UpdateTimeToLive",
];

/// The names of `DynamoDBStreams_20120810`.
const STREAM_TARGETS: &[&str] = &["DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"];

const TABLE_PREFIX: &str = "DynamoDB_20120810.";
const STREAM_PREFIX: &str = "DynamoDBStreams_20120810.";

/// What a target names.
pub enum Named {
    /// An operation that is built.
    Operation(&'static Operation),
    /// One of the protocol that is not.
    NotBuilt(&'static str),
    /// Nothing.
    Nothing,
}

/// Finds what the `X-Amz-Target` of a request names.
#[must_use]
pub fn route(target: &str) -> Named {
    let (name, known) = if let Some(name) = target.strip_prefix(TABLE_PREFIX) {
        (name, TABLE_TARGETS)
    } else if let Some(name) = target.strip_prefix(STREAM_PREFIX) {
        (name, STREAM_TARGETS)
    } else {
        return Named::Nothing;
    };
    let Some(operation) = OPERATIONS.iter().find(|operation| operation.name == name) else {
        return match known.iter().find(|known| **known == name) {
            Some(name) => Named::NotBuilt(name),
            None => Named::Nothing,
        };
    };
    // A name belongs to one of the two targets only, and the streams' are few.
    let is_of_streams = std::ptr::eq(known, STREAM_TARGETS);
    if STREAM_TARGETS.contains(&name) == is_of_streams { Named::Operation(operation) } else { Named::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_the_protocol_are_sixty_six_and_sorted() {
        assert_eq!((TABLE_TARGETS.len(), STREAM_TARGETS.len()), (62, 4));
        assert!(TABLE_TARGETS.is_sorted() && STREAM_TARGETS.is_sorted());
    }

    #[test]
    fn every_row_is_found_by_its_target_and_by_no_other() {
        for operation in OPERATIONS {
            let name = operation.name;
            let is_stream = STREAM_TARGETS.contains(&name);
            assert!(is_stream || TABLE_TARGETS.contains(&name), "{name}");
            assert!(operation.action.starts_with("dynamodb:"), "{name}");
            let (right, wrong) =
                if is_stream { (STREAM_PREFIX, TABLE_PREFIX) } else { (TABLE_PREFIX, STREAM_PREFIX) };
            let Named::Operation(found) = route(&format!("{right}{name}")) else {
                panic!("{name} is not found")
            };
            assert!(std::ptr::eq(found, operation), "{name} has two rows");
            assert!(!matches!(route(&format!("{wrong}{name}")), Named::Operation(_)), "{name}");
        }
    }

    #[test]
    fn what_is_not_built_is_known_by_name_and_what_is_unknown_is_not() {
        assert!(matches!(route("DynamoDB_20120810.CreateGlobalTable"), Named::NotBuilt("CreateGlobalTable")));
        for target in
            ["", "DynamoDB_20120810.", "DynamoDB_20111205.GetItem", "GetItem", "DynamoDB_20120810.getitem"]
        {
            assert!(matches!(route(target), Named::Nothing), "{target}");
        }
    }
}
