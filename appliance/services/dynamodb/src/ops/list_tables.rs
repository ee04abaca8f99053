//! ListTables: the names of the caller's tables in the order of their bytes.

use std::ops::Bound;

use plan::{Context, Plan};
use store::Direction;

use crate::call::Shared;
use crate::json::Writer;
use crate::store::table::{TABLES, name_of, table_key};
use crate::wire::constraint::Violations;
use crate::wire::describe::text;
use crate::wire::error::Error;
use crate::wire::request::{Text, decode};

/// Names on one page at most.
const PAGE_COUNT_MAX: i64 = 100;

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let (mut after, mut limit): (Option<Text<'_>>, Option<i64>) = (None, None);
    decode(body, "ListTablesInput", &mut |name, r| {
        match name {
            "ExclusiveStartTableName" => after = Some(r.string()?),
            "Limit" => limit = Some(i64::from(r.integer()?)),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let mut v = Violations::new();
    if let Some(after) = &after {
        v.name("exclusiveStartTableName", Some(after), 3, 255);
    }
    if let Some(limit) = limit {
        v.range("limit", limit, 1, PAGE_COUNT_MAX);
    }
    v.finish()?;
    let count_max = usize::try_from(limit.unwrap_or(PAGE_COUNT_MAX)).unwrap_or(1);
    let (names, more) = names(&call, cx, after.as_deref().unwrap_or(""), count_max)?;
    let mut out = Writer::new();
    out.begin_object();
    out.key("TableNames");
    out.begin_array();
    for name in &names {
        out.string(name);
    }
    out.end_array();
    if let Some(last) = names.last().filter(|_| more) {
        text(&mut out, "LastEvaluatedTableName", last);
    }
    out.end_object();
    Ok(call.reply(out))
}

/// At most `count_max` names behind `after`, and whether there are more.
fn names(
    call: &Shared,
    cx: &Context<'_>,
    after: &str,
    count_max: usize,
) -> Result<(Vec<String>, bool), Error> {
    let mut names = Vec::new();
    let Some(shard) = cx.store.shards().next() else { return Ok((names, false)) };
    let view = cx.store.view(shard)?;
    let start = table_key(call.account_id(), after);
    let mut scan = view.scan(TABLES, Bound::Excluded(&start), Direction::Forward);
    while let Some((key, _)) = scan.next()? {
        if !key.starts_with(call.account_id().as_bytes()) {
            break;
        }
        if names.len() >= count_max {
            return Ok((names, true));
        }
        names.push(name_of(key)?.to_owned());
    }
    Ok((names, false))
}
