//! DeleteTable: the record goes at once, on every shard; what was stored is swept afterwards.
//! Invariant: once it was answered nobody sees the table, and nothing is written to it.

use std::sync::Arc;

use plan::{Context, Plan};
use store::Timestamp;

use super::create_table::described;
use super::describe_table::named;
use crate::call::{Shared, settle};
use crate::engine::change_table::{Also, Decision, change};
use crate::model::table::Table;
use crate::store::pending::{DROPPED, Dropped, dropped_key};
use crate::store::stream::{STREAMS, StreamRecord, streams_key};
use crate::store::table::table_key;
use crate::wire::describe::{Status, Totals};
use crate::wire::error::Error;

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let name = named(body, "DeleteTableInput")?;
    let name = call.table_name(&name)?.to_owned();
    let key = table_key(call.account_id(), &name);
    let decide = move |cx: &mut Context<'_>, found: Option<Table>| match found {
        None => Err(Error::no_table(&name)),
        Some(table) if table.protected => Err(Error::validation(
            "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.",
        )),
        Some(table) => Ok(drop_table(table, cx.now)),
    };
    Ok(change(cx, key, decide, move |cx, outcome: Result<Arc<Table>, Error>| {
        let outcome = outcome.map(|table| {
            // What it held is swept later, so that it can still be counted; where it cannot, the table is gone all the same.
            let totals = Totals::of(cx.store, &table).unwrap_or_default();
            described(&call, cx.now, &table, Status::Deleting, &totals)
        });
        settle(&call, outcome)
    }))
}

fn drop_table(table: Table, now: Timestamp) -> Decision<Arc<Table>> {
    let expiry = table.time_to_live.as_ref().map(|setting| setting.attribute.clone());
    let dropped = Dropped { when: now, done: false, expiry };
    let mut also = vec![Also::put(DROPPED, dropped_key(table.number, None), dropped.encode())];
    also.extend(close_stream(&table, now));
    Decision::Drop(also, Arc::new(table))
}

/// Ends the stream of a table, if one records. It can be read for a day more.
pub fn close_stream(table: &Table, now: Timestamp) -> Option<Also> {
    let stream = table.stream.as_ref().filter(|stream| stream.enabled)?;
    let record = StreamRecord {
        number: stream.number,
        table: table.number,
        view: stream.view,
        key: table.key.clone(),
        closed: Some(now),
    };
    Some(Also::put(STREAMS, streams_key(&table.account, &table.name, stream.opened), record.encode()))
}
