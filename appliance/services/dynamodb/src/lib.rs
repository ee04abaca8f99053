//! ZeroDB, the DynamoDB service: protocol 2012-08-10 over the store of this appliance.
//!
//! Invariant: a reply that says "written" rests on a durable batch that holds the item, its index entries and its stream
//! record together; nothing that is not built is pretended.
//!
//! The table of operations, which is the index of the service, is [`router::OPERATIONS`].
//!
//! | Operations | Covered |
//! |---|---|
//! | CreateTable, DescribeTable, UpdateTable, DeleteTable, ListTables | yes; capacity, class, encryption and warm-throughput settings are kept and shown, nothing is throttled |
//! | PutItem, GetItem, UpdateItem, DeleteItem, Query, Scan | yes, with every kind of expression and the older parameters |
//! | BatchGetItem, BatchWriteItem, TransactWriteItems, TransactGetItems | yes |
//! | local and global secondary indexes, global ones added and removed later | yes; up to four HASH and four RANGE attributes in a global key |
//! | UpdateTimeToLive, DescribeTimeToLive; TagResource, UntagResource, ListTagsOfResource | yes |
//! | ListStreams, DescribeStream, GetShardIterator, GetRecords | yes; stream shards have no parents and do not rotate |
//! | ExecuteStatement, BatchExecuteStatement, ExecuteTransaction | yes |
//! | DescribeLimits, DescribeEndpoints, DescribeContinuousBackups | yes; continuous backups are off |
//! | backups, exports, imports, bulk operations, resource policies, vector search, contributor insights | no: UnknownOperationException |
//! | global tables, replica scaling, Kinesis destinations | no: UnknownOperationException |
//! | error texts of AWS's newer validation layer | no: the older layer's, which part of AWS's regions still have |
//!
//! Leaves to the node: HTTP, signatures, driving plans. To the store: durability, transactions over shards.
#![forbid(unsafe_code)]

pub mod call;
pub mod config;
pub mod engine;
pub mod expression;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
pub mod json;
#[doc(hidden)]
pub mod measured;
pub mod model;
pub mod number;
pub mod ops;
pub mod partiql;
pub mod router;
pub mod store;
pub mod value;
pub mod wire;

pub use config::Config;

use std::rc::Rc;

use ::store::ShardId;
use bytes::Bytes;
use http_types::Method;
use plan::{Context, Plan, Reply, Request, Service, Started};

use crate::call::{Call, Core, Shared, settle};
use crate::engine::tick::Background;
use crate::router::{Named, Operation};
use crate::wire::authentication;
use crate::wire::error::Error;
use crate::wire::reply::{Coding, Form, Media, decoded_body, healthy, not_the_protocol};

/// A longer body is refused, compressed or not.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The header that names the operation.
const TARGET: &str = "x-amz-target";

/// The service. One for each core.
pub struct Dynamo {
    config: Rc<Config>,
    core: Rc<Core>,
    background: Rc<Background>,
}

impl Dynamo {
    /// A service with this configuration.
    #[must_use]
    pub fn new(config: Config) -> Dynamo {
        Dynamo { config: Rc::new(config), core: Rc::default(), background: Rc::default() }
    }

    /// What a head asks for and in which form; or the answer, where nothing of it depends on who asks. The order is: is it
    /// the protocol at all, does the target name what is built.
    fn look(&self, head: &http::RequestHead) -> Result<(&'static Operation, Form), Box<Reply>> {
        if head.method == Method::GET && head.path == "/" {
            return Err(Box::new(healthy(&self.config.region)));
        }
        let media = Media::of(&head.headers).filter(|_| head.method == Method::POST);
        let Some(media) = media else { return Err(Box::new(not_the_protocol())) };
        let form = Form { media, coding: Coding::accepted(&head.headers) };
        let target = head.headers.get(TARGET).and_then(|value| value.to_str().ok());
        match target.map_or(Named::Nothing, router::route) {
            Named::Operation(operation) => Ok((operation, form)),
            Named::NotBuilt(_) | Named::Nothing => Err(Box::new(form.error(&Error::unknown_operation()))),
        }
    }
}

/// Decodes the body and begins.
fn begin(call: &Shared, cx: &mut Context<'_>, headers: &http_types::HeaderMap, body: Bytes) -> Plan {
    let outcome = decoded_body(headers, body, BODY_BYTES_MAX)
        .and_then(|body| (call.operation.start)(Rc::clone(call), cx, &body));
    settle(call, outcome)
}

impl Service for Dynamo {
    fn start(&self, cx: &mut Context<'_>, request: Request) -> Started {
        let (operation, form) = match self.look(&request.head) {
            Ok(found) => found,
            Err(reply) => return Started { operation: "Invalid", plan: Plan::Reply(*reply) },
        };
        let account = match request.caller {
            plan::Caller::Account(account) => account,
            plan::Caller::Anonymous => {
                let reply = form.error(&authentication::missing());
                return Started { operation: operation.name, plan: Plan::Reply(reply) };
            }
        };
        let call = Shared::new(Call {
            config: Rc::clone(&self.config),
            account,
            now: cx.now,
            operation,
            authority: request.head.authority,
            form,
            core: Rc::clone(&self.core),
        });
        let headers = request.head.headers;
        let plan = match request.collected {
            Some(body) => begin(&call, cx, &headers, body),
            None => Plan::Collect {
                limit_bytes: BODY_BYTES_MAX,
                then: Box::new(move |cx, body| match body {
                    Ok(body) => begin(&call, cx, &headers, body.bytes),
                    Err(failure) => Plan::Reply(call.fail(&failure.into())),
                }),
            },
        };
        Started { operation: operation.name, plan }
    }

    fn refuse(&self, request: &Request, error: aws::ErrorReply) -> Reply {
        Form::of(&request.head.headers).error(&Error::from(error))
    }

    fn tick(&self, cx: &mut Context<'_>, shard: ShardId) -> Option<Plan> {
        self.background.tick(cx, shard)
    }

    fn greet(&self, head: &http::RequestHead) -> Option<Reply> {
        self.look(head).err().map(|reply| *reply)
    }
}

#[cfg(test)]
mod tests {
    use http_types::{HeaderMap, HeaderName, HeaderValue};
    use plan::ReplyBody;

    use super::*;

    fn head(method: Method, path: &str, headers: &[(&'static str, &'static str)]) -> http::RequestHead {
        let pairs = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        http::RequestHead {
            method,
            path: path.to_owned(),
            query: None,
            headers: pairs.collect::<HeaderMap>(),
            version: http::Version::H11,
            authority: None,
            tls: false,
            peer: "127.0.0.1:1".parse().expect("an address"),
        }
    }

    /// What answers a head alone: status and body.
    fn greeted(head: &http::RequestHead) -> Option<(u16, String)> {
        let service = Dynamo::new(Config { region: "eu-west-1".to_owned() });
        let reply = service.greet(head)?;
        let body = match reply.body {
            ReplyBody::Bytes(bytes) => String::from_utf8(bytes.to_vec()).expect("UTF-8"),
            _ => String::new(),
        };
        let crc = reply.headers["x-amz-crc32"].to_str().expect("digits");
        assert_eq!(crc, hash::crc32(body.as_bytes()).to_string());
        Some((reply.status.as_u16(), body))
    }

    #[test]
    fn a_head_that_names_no_operation_is_answered_whoever_sent_it() {
        let amazon = ("content-type", "application/x-amz-json-1.0");
        let target = ("x-amz-target", "DynamoDB_20120810.GetItem");
        let healthy = "healthy: dynamodb.eu-west-1.amazonaws.com ".to_owned();
        assert_eq!(greeted(&head(Method::GET, "/", &[])), Some((200, healthy)));
        let not_found = Some((404, "<UnknownOperationException/>\n".to_owned()));
        assert_eq!(greeted(&head(Method::GET, "/other", &[])), not_found);
        assert_eq!(greeted(&head(Method::PUT, "/", &[amazon, target])), not_found);
        assert_eq!(greeted(&head(Method::POST, "/", &[target])), not_found);
        assert_eq!(greeted(&head(Method::POST, "/", &[("content-type", "text/plain"), target])), not_found);
        let unknown = r#"{"__type":"com.amazon.coral.service#UnknownOperationException"}"#.to_owned();
        for headers in [
            vec![amazon],
            vec![amazon, ("x-amz-target", "GetItem")],
            vec![amazon, ("x-amz-target", "DynamoDB_20120810.CreateGlobalTable")],
            vec![amazon, ("x-amz-target", "DynamoDBStreams_20120810.GetItem")],
        ] {
            assert_eq!(
                greeted(&head(Method::POST, "/", &headers)),
                Some((400, unknown.clone())),
                "{headers:?}"
            );
        }
        for media in ["application/x-amz-json-1.0", "application/json; charset=utf-8"] {
            assert_eq!(
                greeted(&head(Method::POST, "/", &[("content-type", media), target])),
                None,
                "{media}"
            );
        }
    }
}
