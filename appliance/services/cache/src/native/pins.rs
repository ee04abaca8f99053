//! GET, POST and DELETE of `/pins`: what is never evicted, until a time or until somebody takes the pin away.
//! Invariant: a pin is made, seen and taken away by who may administer its namespace.
//! Leaves to `cas`: how much may be pinned.

use std::borrow::Cow;

use cas::pins::{Pin, PinError, Pinned};
use cas::{Dialect, KeyName};
use http_types::StatusCode;
use plan::{Context, Plan, Reply};
use serde::Deserialize;
use serde_json::{Value, json};
use store::Timestamp;
use tokens::Scope;

use super::name::{self, Name};
use super::{answer, document};
use crate::call::{Call, Shared, collect, settle};
use crate::refusal::{Kind, Refusal, guard};
use crate::router::Operation;

/// GET.
pub static LIST: Operation = Operation::new("native_list_pins", Kind::Admin, list);
/// POST.
pub static PUT: Operation = Operation::new("native_pin", Kind::Admin, pin);
/// DELETE.
pub static DELETE: Operation = Operation::new("native_unpin", Kind::Admin, unpin);
/// What the path allows.
pub const METHODS: &str = "GET, POST, DELETE";

/// Room for the document.
const BODY_BYTES_MAX: usize = 8_192;

/// What is to be pinned, or no longer.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Wish<'b> {
    /// An object.
    #[serde(borrow, default)]
    hash: Option<Cow<'b, str>>,
    /// A key record, and all that it names.
    #[serde(borrow, default)]
    key: Option<Cow<'b, str>>,
    /// Whose key it is; the native API's where nothing is said.
    #[serde(borrow, default)]
    dialect: Option<Cow<'b, str>>,
    /// When it is over, as RFC 3339 writes times.
    #[serde(borrow, default)]
    until: Option<Cow<'b, str>>,
    #[serde(borrow, default)]
    reason: Option<Cow<'b, str>>,
}

impl Wish<'_> {
    /// What it is about, in this namespace. Errors: `InvalidDigest`, `InvalidPin`.
    fn what(&self, call: &Call) -> Result<Pinned, Refusal> {
        match (&self.hash, &self.key) {
            (Some(hash), None) if self.dialect.is_none() => match name::read(hash) {
                Some(Name::Sha256(digest)) => Ok(Pinned::Blob(call.namespace, digest)),
                Some(other) => name::digest(other).map(|digest| Pinned::Blob(call.namespace, digest)),
                None => Err(name::invalid()),
            },
            (None, Some(key)) => {
                let dialect = self.dialect.as_deref().map_or(Some(Dialect::Native), Dialect::parse);
                let dialect = dialect.ok_or_else(|| invalid("There is no such dialect."))?;
                let key = KeyName::new(call.namespace, dialect, key.as_bytes());
                key.map(Pinned::Key).ok_or_else(|| invalid("A key has 1 to 512 bytes."))
            }
            _ => Err(invalid("A pin is about a hash, or about a key and its dialect.")),
        }
    }

    fn until(&self) -> Result<Option<Timestamp>, Refusal> {
        let Some(text) = &self.until else { return Ok(None) };
        let read = aws::Timestamp::parse_iso8601(text.as_bytes()).and_then(|time| u64::try_from(time.0).ok());
        let read = read.ok_or_else(|| invalid("until is a time like 2030-01-31T12:00:00Z."))?;
        Ok(Some(Timestamp(read)))
    }
}

fn invalid(text: &'static str) -> Refusal {
    Refusal::Bad("InvalidPin", text.into())
}

fn pin(call: Shared, _cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    Ok(collect(call, BODY_BYTES_MAX, |call, cx, body| {
        let wish: Wish<'_> = document(&body.bytes)?;
        let what = wish.what(call)?;
        let pin = Pin {
            until: wish.until()?,
            // `cas` finds out.
            stored_bytes: 0,
            reason: wish.reason.as_deref().unwrap_or_default().into(),
            who: call.principal.token_id().into(),
        };
        if pin.until.is_some_and(|until| until <= call.now) {
            return Err(invalid("until lies in the past."));
        }
        let shared = Shared::clone(call);
        let said = shown(&what, &pin);
        Ok(call.cas.pin(cx, &what, pin, move |_cx, pinned| {
            let outcome = pinned.map_err(refused);
            settle(&shared, outcome.map(|()| Plan::Reply(answer(StatusCode::CREATED, &said))))
        }))
    }))
}

fn refused(error: PinError) -> Refusal {
    match error {
        PinError::NotFound => Refusal::NotFound,
        PinError::TooMuch => {
            Refusal::Conflict("PinLimit", "Pins hold as much of the cache as they may.".into())
        }
        PinError::Fault(fault) => fault.into(),
    }
}

fn unpin(call: Shared, _cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    Ok(collect(call, BODY_BYTES_MAX, |call, cx, body| {
        let what = document::<Wish<'_>>(&body.bytes)?.what(call)?;
        let shared = Shared::clone(call);
        Ok(call.cas.unpin(cx, &what, move |_cx, dropped| {
            let outcome = dropped.map_err(Refusal::from).and_then(|was_pinned| match was_pinned {
                true => {
                    let mut reply = Reply::empty(StatusCode::NO_CONTENT);
                    guard(&mut reply.headers);
                    Ok(Plan::Reply(reply))
                }
                false => Err(Refusal::NotFound),
            });
            settle(&shared, outcome)
        }))
    }))
}

fn list(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let pins = call.cas.pins(cx)?;
    let is_seen = |what: &Pinned| {
        let ns = match what {
            Pinned::Blob(ns, _) => ns,
            Pinned::Key(name) => name.ns(),
        };
        call.principal.may(Scope::CacheAdmin, ns.as_str())
    };
    let seen: Vec<Value> =
        pins.iter().filter(|(what, _)| is_seen(what)).map(|(what, pin)| shown(what, pin)).collect();
    Ok(Plan::Reply(answer(StatusCode::OK, &json!({ "pins": seen }))))
}

fn shown(what: &Pinned, pin: &Pin) -> Value {
    let mut document = match what {
        Pinned::Blob(ns, digest) => json!({ "ns": ns.as_str(), "hash": digest.to_string() }),
        Pinned::Key(name) => json!({
            "ns": name.ns().as_str(),
            "dialect": name.dialect().name(),
            "key": String::from_utf8_lossy(name.key()),
        }),
    };
    document["until"] = pin.until.map(|until| super::stats::time(until.0)).into();
    document["reason"] = json!(pin.reason);
    document["by"] = json!(pin.who);
    document
}
