//! Requests of the operations on items and of statements, up to where the table is looked up.
//! Invariant shown: any body is taken or refused by an error of the client's, whose document is JSON.

use std::rc::Rc;
use std::sync::Arc;

use aws::account::{Account, AccountId};
use http_types::HeaderMap;
use store::Timestamp;

use crate::Config;
use crate::call::Call;
use crate::json::Reader;
use crate::ops::{
    batch_get_item, batch_write_item, delete_item, get_item, partiql, put_item, query, scan,
    transact_get_items, transact_write_items, update_item,
};
use crate::router::{Named, Operation, route};
use crate::wire::constraint::Violations;
use crate::wire::error::{Error, ErrorName};
use crate::wire::reply::Form;
use crate::wire::request::statement::{Execute, Sent, Statements};

/// The checks of one operation that need no table.
type Check = fn(&Call, &[u8]) -> Result<(), Error>;

const CHECKS: [(&str, Check); 13] = [
    ("GetItem", |call, body| get_item::check(call, body).map(drop)),
    ("PutItem", |call, body| put_item::check(call, body).map(drop)),
    ("UpdateItem", |call, body| update_item::check(call, body).map(drop)),
    ("DeleteItem", |call, body| delete_item::check(call, body).map(drop)),
    ("Query", |call, body| query::check(call, body).map(drop)),
    ("Scan", |call, body| scan::check(call, body).map(drop)),
    ("BatchGetItem", |call, body| batch_get_item::check(call, body).map(drop)),
    ("BatchWriteItem", |call, body| batch_write_item::check(call, body).map(drop)),
    ("TransactGetItems", |call, body| transact_get_items::check(call, body).map(drop)),
    ("TransactWriteItems", |call, body| transact_write_items::check(call, body).map(drop)),
    ("ExecuteStatement", |_, body| statements(vec![Execute::decode(body)?.sent])),
    ("BatchExecuteStatement", |_, body| several(Statements::decode_batch(body)?)),
    ("ExecuteTransaction", |_, body| several(Statements::decode_transaction(body)?)),
];

fn several(request: Statements<'_>) -> Result<(), Error> {
    statements(request.list.map(|list| list.list).unwrap_or_default())
}

fn statements(list: Vec<Sent<'_>>) -> Result<(), Error> {
    let mut violations = Violations::new();
    let on_failure: Vec<_> =
        list.iter().map(|sent| partiql::constraints(&mut violations, "", sent)).collect();
    violations.finish()?;
    list.into_iter()
        .zip(on_failure)
        .try_for_each(|(sent, on_failure)| partiql::read(sent, on_failure).map(drop))
}

/// The name of an operation on the first line, the body behind it.
pub fn requests(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (name, body) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    let Ok(name) = str::from_utf8(name) else { return };
    let target = format!("DynamoDB_20120810.{name}");
    let Some((_, check)) = CHECKS.iter().find(|(known, _)| *known == name) else {
        // What else the table of operations names needs a store at once.
        assert!(!matches!(route(&target), Named::Operation(found) if found.name != name));
        return;
    };
    let Named::Operation(operation) = route(&target) else { panic!("{name} has no row") };
    let call = call(operation);
    for _ in 0..2 {
        // The second time with what the first one left in the caches of the core.
        if let Err(error) = check(&call, body) {
            let is_clients = matches!(error.name, ErrorName::Validation | ErrorName::Serialization)
                && error.item.is_none();
            assert!(is_clients, "{error:?}");
            let document = error.to_json();
            let read = Reader::new(&document).and_then(|mut reader| {
                reader.skip()?;
                reader.finish()
            });
            assert_eq!(read, Ok(()), "an error is a document");
        }
    }
}

fn call(operation: &'static Operation) -> Call {
    let id = AccountId::parse("000000000000").expect("twelve digits");
    Call {
        config: Rc::new(Config { region: "us-east-1".to_owned() }),
        account: Arc::new(Account::new(id, "main")),
        now: Timestamp(0),
        operation,
        authority: None,
        form: Form::of(&HeaderMap::new()),
        core: Rc::default(),
    }
}
