//! UpdateTimeToLive and DescribeTimeToLive: the attribute that says when an item expires.
//! Invariant: from the commit of the change on, writes enter what they say under the attribute; what items said before is
//! entered in the background.

use plan::{Context, Plan};

use super::describe_table::named;
use crate::call::{Shared, settle};
use crate::engine::change_table::{Also, Decision, change};
use crate::json::Writer;
use crate::model::table::{Table, TimeToLive};
use crate::store::pending::{BACKFILL, EXPIRY_TIMES, Progress, backfill_key};
use crate::store::table::table_key;
use crate::wire::constraint::Violations;
use crate::wire::describe::text;
use crate::wire::error::Error;
use crate::wire::request::table::check_table_name;
use crate::wire::request::{Text, decode};
use store::Timestamp;

/// Between two changes of the setting of a table.
pub const INTERVAL_MS: u64 = 60 * 60 * 1_000;
/// Characters of the attribute's name.
const ATTRIBUTE_MAX: usize = 255;

/// Begins UpdateTimeToLive.
pub fn update(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let mut name: Option<Text<'_>> = None;
    let mut setting: Option<(Option<bool>, Option<Text<'_>>)> = None;
    decode(body, "UpdateTimeToLiveInput", &mut |member, r| {
        match member {
            "TableName" => name = Some(r.string()?),
            "TimeToLiveSpecification" => {
                let setting = setting.insert((None, None));
                r.structure("TimeToLiveSpecification", &mut |member, r| {
                    match member {
                        "Enabled" => setting.0 = Some(r.boolean()?),
                        "AttributeName" => setting.1 = Some(r.string()?),
                        _ => return Ok(false),
                    }
                    Ok(true)
                })?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let mut v = Violations::new();
    check_table_name(&mut v, "tableName", name.as_deref());
    v.required("timeToLiveSpecification", setting.is_some());
    if let Some((enabled, attribute)) = &setting {
        v.required("timeToLiveSpecification.attributeName", attribute.is_some());
        if let Some(attribute) = attribute {
            v.length("timeToLiveSpecification.attributeName", attribute, 1, ATTRIBUTE_MAX);
        }
        v.required("timeToLiveSpecification.enabled", enabled.is_some());
    }
    v.finish()?;
    let (enabled, attribute) = setting.unwrap_or_default();
    let (enabled, attribute) = (enabled.unwrap_or_default(), Box::from(&*attribute.unwrap_or_default()));
    let name = call.table_name(name.as_deref().unwrap_or_default())?.to_owned();
    let key = table_key(call.account_id(), &name);
    let wanted = Wanted { enabled, attribute };
    let reply = wanted.reply();
    let decide = move |cx: &mut Context<'_>, found: Option<Table>| match found {
        None => Err(Error::no_table(&name)),
        Some(table) => wanted.apply(table, cx.now),
    };
    Ok(change(cx, key, decide, move |_, outcome| settle(&call, outcome.map(|()| call.reply(reply)))))
}

struct Wanted {
    enabled: bool,
    attribute: Box<str>,
}

impl Wanted {
    fn apply(&self, mut table: Table, now: Timestamp) -> Result<Decision<()>, Error> {
        match (&table.time_to_live, self.enabled) {
            (Some(setting), _) if setting.attribute != self.attribute => {
                return Err(Error::validation(format!(
                    "TimeToLive is active on a different AttributeName: current AttributeName is {}",
                    setting.attribute
                )));
            }
            (Some(_), true) => return Err(Error::validation("TimeToLive is already enabled")),
            (None, false) => return Err(Error::validation("TimeToLive is already disabled")),
            (Some(_), false) | (None, true) => {}
        }
        if table.time_to_live_changed.is_some_and(|changed| changed.plus_ms(INTERVAL_MS) > now) {
            return Err(Error::validation(
                "Time to live has been modified multiple times within a fixed interval",
            ));
        }
        let progress = backfill_key(table.number, EXPIRY_TIMES).to_vec();
        let also = match self.enabled {
            true => Also::put(BACKFILL, progress, Progress::default().encode()),
            false => Also::delete(BACKFILL, progress),
        };
        let setting = TimeToLive { attribute: self.attribute.clone(), changed: now };
        table.time_to_live = self.enabled.then_some(setting);
        table.time_to_live_changed = Some(now);
        Ok(Decision::Write(Box::new(table), vec![also], ()))
    }

    fn reply(&self) -> Writer {
        let mut out = Writer::new();
        out.begin_object();
        out.key("TimeToLiveSpecification");
        out.begin_object();
        text(&mut out, "AttributeName", &self.attribute);
        out.key("Enabled");
        out.boolean(self.enabled);
        out.end_object();
        out.end_object();
        out
    }
}

/// Begins DescribeTimeToLive.
pub fn describe(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let name = named(body, "DescribeTimeToLiveInput")?;
    let name = call.table_name(&name)?;
    let table = call.find_table(cx, name)?.ok_or_else(|| Error::no_table(name))?;
    let mut out = Writer::new();
    out.begin_object();
    out.key("TimeToLiveDescription");
    out.begin_object();
    match &table.time_to_live {
        Some(setting) => {
            text(&mut out, "AttributeName", &setting.attribute);
            text(&mut out, "TimeToLiveStatus", "ENABLED");
        }
        None => text(&mut out, "TimeToLiveStatus", "DISABLED"),
    }
    out.end_object();
    out.end_object();
    Ok(call.reply(out))
}
