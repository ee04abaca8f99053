//! POST `/gc` and GET `/gc/{id}`: a collection that somebody asks for, and how far it has come.
//! Invariant: one runs at a time; who may administer one namespace collects in that one alone.
//! Leaves to `cas`: what may go.

use std::borrow::Cow;
use std::time::Duration;

use cas::Namespace;
use cas::gc::{GcRequest, GcRunning, GcState};
use http_types::{HeaderValue, StatusCode, header};
use plan::{Context, Plan, Reply};
use serde::Deserialize;
use serde_json::json;
use tokens::Scope;

use super::{answer, document};
use crate::call::{Call, Shared, collect, settle};
use crate::refusal::{Kind, Refusal};
use crate::router::Operation;

/// POST `/gc`.
pub static START: Operation = Operation::new("native_start_gc", Kind::Admin, start);
/// GET `/gc/{id}`.
pub static STATE: Operation = Operation::new("native_gc_state", Kind::Admin, state);

/// How the paths of collections begin.
pub const PREFIX: &str = "/gc/";

/// Room for the document.
const BODY_BYTES_MAX: usize = 4_096;
/// Between two looks at a collection that a client waits for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A client that waits hears so long after, at the latest, that the collection still runs: ten minutes.
const LOOK_COUNT_MAX: u32 = 12_000;

/// What is to be collected.
#[derive(Deserialize, Default, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct Wish<'b> {
    dry_run: bool,
    target_bytes: Option<u64>,
    older_than_days: Option<u32>,
    #[serde(borrow)]
    ns: Option<Cow<'b, str>>,
}

fn start(call: Shared, _cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let waits = call.parameter("wait")?.is_some_and(|text| text == "1" || text == "true");
    Ok(collect(call, BODY_BYTES_MAX, move |call, cx, body| {
        let wish = match body.bytes.is_empty() {
            true => Wish::default(),
            false => document(&body.bytes)?,
        };
        let request = request(call, &wish)?;
        let id = call.cas.gc_start(cx, request).map_err(running)?;
        if waits {
            return Ok(wait(Shared::clone(call), id, 0));
        }
        Ok(Plan::Reply(begun(call, id)?))
    }))
}

/// What a wish comes to for its sender. Errors: `Forbidden` for what goes beyond its namespaces.
fn request(call: &Call, wish: &Wish<'_>) -> Result<GcRequest, Refusal> {
    let ns = match &wish.ns {
        None => None,
        Some(text) => Some(Namespace::parse(text.as_bytes()).ok_or_else(|| {
            Refusal::Bad("InvalidNamespace", "The namespace to collect in is none.".into())
        })?),
    };
    let is_allowed = match &ns {
        None => call.principal.may_everywhere(Scope::CacheAdmin),
        Some(ns) => call.principal.may(Scope::CacheAdmin, ns.as_str()),
    };
    if !is_allowed {
        return Err(Refusal::Forbidden);
    }
    let Wish { dry_run, target_bytes, older_than_days, .. } = *wish;
    Ok(GcRequest { dry_run, target_bytes, older_than_days, ns })
}

fn running(GcRunning(id): GcRunning) -> Refusal {
    Refusal::Conflict("GcRunning", format!("The collection {id} is under way.").into())
}

fn begun(call: &Call, id: u64) -> Result<Reply, Refusal> {
    let state = call.cas.gc_state(id).ok_or(Refusal::NotFound)?;
    let mut reply = answer(StatusCode::ACCEPTED, &shown(&state));
    if let Ok(place) = HeaderValue::try_from(format!("/api/v1/gc/{id}")) {
        reply.headers.insert(header::LOCATION, place);
    }
    Ok(reply)
}

/// Answers once the collection is over.
fn wait(call: Shared, id: u64, look_count: u32) -> Plan {
    Plan::wait(LOOK_EVERY, move |_cx| match call.cas.gc_state(id) {
        Some(state) if state.is_done => Plan::Reply(answer(StatusCode::OK, &shown(&state))),
        Some(_) if look_count < LOOK_COUNT_MAX => wait(call, id, look_count + 1),
        _ => {
            let outcome = begun(&call, id).map(Plan::Reply);
            settle(&call, outcome)
        }
    })
}

fn state(call: Shared, _cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let id = call.rest().strip_prefix(PREFIX).unwrap_or_default();
    let id = id.parse().map_err(|_| Refusal::NotFound)?;
    let state = call.cas.gc_state(id).ok_or(Refusal::NotFound)?;
    Ok(Plan::Reply(answer(StatusCode::OK, &shown(&state))))
}

fn shown(state: &GcState) -> serde_json::Value {
    let (shards_done, shard_count) = state.shards_done;
    json!({
        "id": state.id,
        "done": state.is_done,
        "dry_run": state.dry_run,
        "freed_objects": state.freed_objects,
        "freed_bytes": state.freed_bytes,
        "kept_leased": state.kept_leased,
        "shards_done": shards_done,
        "shards": shard_count,
        "failed_shards": state.failed_shards,
        "began": super::stats::time(state.began_ms),
        "ended": state.ended_ms.map(super::stats::time),
    })
}
