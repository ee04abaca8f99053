//! One request on its way through the service: who asks, in which form the answer goes out, and what the configuration
//! says.
//! Invariant: a table that is handed out exists, is the one that the request names, and belongs to the caller.
//! Leaves to ops: what the operation does.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use aws::account::Account;
use aws::arn::Arn;
use aws::policy::{self, Action, Decision, Principal, Resource};
use plan::{Context, Plan, Reply};
use store::{Fault, Timestamp};

use crate::Config;
use crate::expression::Cache;
use crate::json::{Scratch, Writer};
use crate::model::table::Table;
use crate::router::Operation;
use crate::store::table::{TABLES, decode, table_key};
use crate::wire::error::{Error, ErrorName};
use crate::wire::reply::Form;

/// One request.
pub struct Call {
    /// The service's configuration.
    pub config: Rc<Config>,
    /// Who asks.
    pub account: Arc<Account>,
    /// When the request began.
    pub now: Timestamp,
    /// What is asked.
    pub operation: &'static Operation,
    /// The host that the request was sent to, with its port.
    pub authority: Option<String>,
    /// In which form the answer goes out.
    pub form: Form,
    /// What this core keeps from request to request.
    pub core: Rc<Core>,
}

/// What a core keeps from request to request, to save work that gives the same again.
#[derive(Default)]
pub struct Core {
    /// The tables that it has read.
    pub tables: KnownTables,
    /// The expressions that it has parsed.
    pub expressions: RefCell<Cache>,
    /// The buffers that decoding takes.
    pub scratch: RefCell<Scratch>,
}

/// Tables that one core has decoded. A stored value is always read anew; only its decoding is saved, and only while the
/// bytes are the same.
#[derive(Default)]
pub struct KnownTables {
    /// By key: the stored bytes and what they say.
    decoded: RefCell<HashMap<Vec<u8>, Decoded>>,
}

type Decoded = (Box<[u8]>, Arc<Table>);

/// Tables that a core keeps decoded.
const KNOWN_COUNT_MAX: usize = 1_024;
/// A longer value is decoded each time, so that what is kept is bounded.
const KNOWN_BYTES_MAX: usize = 16 * 1024;

impl KnownTables {
    fn read(&self, key: Vec<u8>, value: &[u8]) -> Result<Arc<Table>, Fault> {
        let mut decoded = self.decoded.borrow_mut();
        if let Some((bytes, table)) = decoded.get(&key)
            && **bytes == *value
        {
            return Ok(Arc::clone(table));
        }
        let table = Arc::new(decode(value)?);
        if value.len() <= KNOWN_BYTES_MAX {
            // Full: begin anew rather than keep an order of use for what is this cheap to read again.
            if decoded.len() >= KNOWN_COUNT_MAX {
                decoded.clear();
            }
            decoded.insert(key, (value.into(), Arc::clone(&table)));
        }
        Ok(table)
    }
}

/// A call that a plan's closures share.
pub type Shared = Rc<Call>;

impl Call {
    /// The twelve digits of the caller's account, which its tables belong to.
    #[must_use]
    pub fn account_id(&self) -> &str {
        self.account.id.as_str()
    }

    /// The table of an operation on items, by name or by ARN. Errors: ResourceNotFoundException in the words of these
    /// operations, AccessDeniedException for the ARN of a table that is elsewhere or another account's.
    pub fn table(&self, cx: &Context<'_>, name_or_arn: &str) -> Result<Arc<Table>, Error> {
        let name = self.table_name(name_or_arn)?;
        self.find_table(cx, name)?.ok_or_else(Error::no_resource)
    }

    /// A table of the caller by its name.
    pub fn find_table(&self, cx: &Context<'_>, name: &str) -> Result<Option<Arc<Table>>, Error> {
        // Every shard has the records of all tables.
        let Some(shard) = cx.store.shards().next() else { return Ok(None) };
        let view = cx.store.view(shard)?;
        let key = table_key(self.account_id(), name);
        let Some(record) = view.get(TABLES, &key)? else { return Ok(None) };
        Ok(Some(self.core.tables.read(key, record.value)?))
    }

    /// The name of the table that a `TableName` means, which may be an ARN. Errors: as `table`.
    pub fn table_name<'n>(&self, name_or_arn: &'n str) -> Result<&'n str, Error> {
        if !name_or_arn.starts_with("arn:") {
            return Ok(name_or_arn);
        }
        let malformed = || {
            Error::validation(format!(
                "Invalid TableArn: Invalid ResourceArn provided as input {name_or_arn}"
            ))
        };
        let arn = Arn::parse(name_or_arn).ok_or_else(malformed)?;
        let name = arn.resource.strip_prefix("table/").ok_or_else(malformed)?;
        if arn.service != "dynamodb" || name.is_empty() || name.contains('/') {
            return Err(malformed());
        }
        let is_here = arn.region == self.config.region;
        if !is_here || arn.account != self.account_id() {
            return Err(self.denied(name_or_arn, arn.account));
        }
        Ok(name)
    }

    /// AccessDeniedException for what another account, or another region, has.
    #[must_use]
    pub fn denied(&self, arn: &str, owner: &str) -> Error {
        let principal = Principal::Account(&self.account);
        let action = Action(self.operation.action);
        let resource = Resource { arn, owner: aws::account::AccountId::parse(owner) };
        let reason = match policy::decide(&principal, action, &resource, &policy::Context::default()) {
            Decision::Deny(reason) => reason,
            // The owner's own, but not here.
            Decision::Allow => policy::DenyReason::OtherAccount,
        };
        Error::new(ErrorName::AccessDenied, policy::denial_text(&principal, action, &resource, reason))
    }

    /// Answers with a document.
    #[must_use]
    pub fn reply(&self, document: Writer) -> Plan {
        Plan::Reply(self.form.document(document.into_bytes()))
    }

    /// Answers without a body.
    #[must_use]
    pub fn nothing(&self) -> Plan {
        Plan::Reply(self.form.nothing())
    }

    /// The reply for an error.
    #[must_use]
    pub fn fail(&self, error: &Error) -> Reply {
        self.form.error(error)
    }
}

/// Turns the outcome of a closure into a plan.
pub fn settle(call: &Shared, outcome: Result<Plan, Error>) -> Plan {
    match outcome {
        Ok(plan) => plan,
        Err(error) => Plan::Reply(call.fail(&error)),
    }
}

#[cfg(test)]
mod tests {
    use aws::account::AccountId;
    use http_types::HeaderMap;

    use super::*;
    use crate::model::table::Epoch;
    use crate::store::table::encode;
    use crate::store::table::tests::plain_table;

    fn stored(epoch: u64) -> Vec<u8> {
        encode(&Table { epoch: Epoch(epoch), ..plain_table() })
    }

    #[test]
    fn a_known_table_is_what_the_store_holds_now() {
        let known = KnownTables::default();
        let read = |value: &[u8]| known.read(b"t".to_vec(), value).expect("decodes");
        assert!(Arc::ptr_eq(&read(&stored(1)), &read(&stored(1))));
        assert_eq!(read(&stored(2)).epoch, Epoch(2));
        assert_eq!(read(&stored(1)).epoch, Epoch(1));
        assert!(known.read(b"t".to_vec(), b"damaged").is_err());
        for index in 0..2 * KNOWN_COUNT_MAX {
            known.read(index.to_be_bytes().to_vec(), &stored(3)).expect("decodes");
            assert!(known.decoded.borrow().len() <= KNOWN_COUNT_MAX);
        }
    }

    fn call() -> Call {
        static ANY: Operation = Operation {
            name: "GetItem",
            action: "dynamodb:GetItem",
            start: |_, _, _| Err(Error::internal()),
        };
        let id = AccountId::parse("111111111111").expect("digits");
        Call {
            config: Rc::new(Config { region: "eu-west-1".to_owned() }),
            account: Arc::new(Account::new(id, "main")),
            now: Timestamp(0),
            operation: &ANY,
            authority: None,
            form: Form::of(&HeaderMap::new()),
            core: Rc::default(),
        }
    }

    #[test]
    fn a_table_is_named_by_its_name_or_by_an_arn_of_the_callers_own_account_and_region() {
        let call = call();
        let here = "arn:aws:dynamodb:eu-west-1:111111111111:table/t";
        assert_eq!((call.table_name("t"), call.table_name(here)), (Ok("t"), Ok("t")));
        for elsewhere in [
            "arn:aws:dynamodb:eu-west-1:222222222222:table/t",
            "arn:aws:dynamodb:us-east-1:111111111111:table/t",
        ] {
            let error = call.table_name(elsewhere).expect_err("denied");
            assert_eq!(error.name, ErrorName::AccessDenied, "{elsewhere}");
            assert!(
                error.message.contains("dynamodb:GetItem on resource: arn:aws:dynamodb:"),
                "{}",
                error.message
            );
        }
        for malformed in [
            "arn:",
            "arn:aws:s3:::b",
            "arn:aws:dynamodb:eu-west-1:111111111111:table/",
            &format!("{here}/index/i"),
        ] {
            assert_eq!(
                call.table_name(malformed).expect_err("refused").name,
                ErrorName::Validation,
                "{malformed}"
            );
        }
    }
}
