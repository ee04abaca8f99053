//! DescribeTable, and the small answers that say what the service is like.

use plan::{Context, Plan};

use crate::call::Shared;
use crate::json::Writer;
use crate::wire::describe::{self, Status, Totals, text};
use crate::wire::error::Error;
use crate::wire::request::decode;
use crate::wire::request::table::table_name;

/// What requests of one `TableName` hold.
pub fn named(body: &[u8], shape: &'static str) -> Result<String, Error> {
    let mut name = None;
    decode(body, shape, &mut |member, r| match member {
        "TableName" => {
            name = Some(r.string()?);
            Ok(true)
        }
        _ => Ok(false),
    })?;
    Ok(table_name(name.as_ref())?.to_owned())
}

/// Begins DescribeTable.
pub fn start(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let name = named(body, "DescribeTableInput")?;
    let name = call.table_name(&name)?;
    let table = call.find_table(cx, name)?.ok_or_else(|| Error::no_table(name))?;
    let totals = Totals::of(cx.store, &table)?;
    let mut out = Writer::new();
    out.begin_object();
    out.key("Table");
    describe::table(&mut out, &table, cx.now, &call.config.region, Status::There, &totals);
    out.end_object();
    Ok(call.reply(out))
}

/// Begins DescribeContinuousBackups: there are none to be restored, and that is what it says.
pub fn continuous_backups(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let name = named(body, "DescribeContinuousBackupsInput")?;
    let name = call.table_name(&name)?;
    if call.find_table(cx, name)?.is_none() {
        let text = format!("Table not found: {name}");
        return Err(Error::new(crate::wire::error::ErrorName::TableNotFound, text));
    }
    let mut out = Writer::new();
    out.begin_object();
    out.key("ContinuousBackupsDescription");
    out.begin_object();
    text(&mut out, "ContinuousBackupsStatus", "ENABLED");
    out.key("PointInTimeRecoveryDescription");
    out.begin_object();
    text(&mut out, "PointInTimeRecoveryStatus", "DISABLED");
    out.end_object();
    out.end_object();
    out.end_object();
    Ok(call.reply(out))
}

/// AWS's quotas of an account and a table. Nothing is refused because of them.
const LIMITS: [(&str, u64); 4] = [
    ("AccountMaxReadCapacityUnits", 80_000),
    ("AccountMaxWriteCapacityUnits", 80_000),
    ("TableMaxReadCapacityUnits", 40_000),
    ("TableMaxWriteCapacityUnits", 40_000),
];

/// Begins DescribeLimits.
pub fn limits(call: Shared, _cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    decode(body, "DescribeLimitsInput", &mut |_, _| Ok(false))?;
    let mut out = Writer::new();
    out.begin_object();
    for (name, value) in LIMITS {
        out.key(name);
        out.unsigned(value);
    }
    out.end_object();
    Ok(call.reply(out))
}

/// How long clients may keep an endpoint.
const ENDPOINT_CACHE_MINUTES: u64 = 1_440;

/// Begins DescribeEndpoints: the one to which the request came.
pub fn endpoints(call: Shared, _cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    decode(body, "DescribeEndpointsRequest", &mut |_, _| Ok(false))?;
    let mut out = Writer::new();
    out.begin_object();
    out.key("Endpoints");
    out.begin_array();
    out.begin_object();
    text(&mut out, "Address", call.authority.as_deref().unwrap_or_default());
    out.key("CachePeriodInMinutes");
    out.unsigned(ENDPOINT_CACHE_MINUTES);
    out.end_object();
    out.end_array();
    out.end_object();
    Ok(call.reply(out))
}
