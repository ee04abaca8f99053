//! GET, POST and DELETE of `/blocked`: digests that nobody gets and nobody brings.
//! Invariant: a block holds in every namespace, so that only who may administer all of them makes, sees or takes one away.
//! Leaves to `cas`: taking away what is blocked, and refusing it when it is brought.

use std::borrow::Cow;

use cas::{Block, BlockError, Digest};
use http_types::StatusCode;
use plan::{Context, Plan, Reply};
use serde::Deserialize;
use serde_json::{Value, json};
use tokens::Scope;

use super::{answer, document, name};
use crate::call::{Call, Shared, collect, settle};
use crate::refusal::{Kind, Refusal, guard};
use crate::router::Operation;

/// GET.
pub static LIST: Operation = Operation::new("native_list_blocked", Kind::Admin, list);
/// POST.
pub static BLOCK: Operation = Operation::new("native_block", Kind::Admin, block);
/// DELETE.
pub static UNBLOCK: Operation = Operation::new("native_unblock", Kind::Admin, unblock);
/// What the path allows.
pub const METHODS: &str = "GET, POST, DELETE";

/// Room for the document.
const BODY_BYTES_MAX: usize = 4_096;

/// What is to be blocked, or no longer.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Wish<'b> {
    #[serde(borrow)]
    hash: Cow<'b, str>,
    #[serde(borrow, default)]
    reason: Option<Cow<'b, str>>,
}

impl Wish<'_> {
    /// Errors: `InvalidDigest`.
    fn digest(&self) -> Result<Digest, Refusal> {
        name::read(&self.hash).ok_or_else(name::invalid).and_then(name::digest)
    }
}

/// Errors: `Forbidden` for an administrator of some namespaces only.
fn check(call: &Call) -> Result<(), Refusal> {
    if call.principal.may_everywhere(Scope::CacheAdmin) { Ok(()) } else { Err(Refusal::Forbidden) }
}

fn block(call: Shared, _cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    check(&call)?;
    Ok(collect(call, BODY_BYTES_MAX, |call, cx, body| {
        let wish: Wish<'_> = document(&body.bytes)?;
        let digest = wish.digest()?;
        let block = Block {
            at: call.now,
            reason: wish.reason.as_deref().unwrap_or_default().into(),
            who: call.principal.token_id().into(),
        };
        let shared = Shared::clone(call);
        let said = shown(&digest, &block);
        Ok(call.cas.block(cx, digest, block, move |_cx, blocked| {
            let status = |is_new| if is_new { StatusCode::CREATED } else { StatusCode::OK };
            let outcome = blocked.map(|is_new| Plan::Reply(answer(status(is_new), &said)));
            settle(&shared, outcome.map_err(refused))
        }))
    }))
}

fn refused(error: BlockError) -> Refusal {
    match error {
        BlockError::TooMany => {
            Refusal::Conflict("BlockLimit", "As many digests are blocked as may be.".into())
        }
        BlockError::Fault(fault) => fault.into(),
    }
}

fn unblock(call: Shared, _cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    check(&call)?;
    Ok(collect(call, BODY_BYTES_MAX, |call, cx, body| {
        let digest = document::<Wish<'_>>(&body.bytes)?.digest()?;
        let shared = Shared::clone(call);
        Ok(call.cas.unblock(cx, digest, move |_cx, dropped| {
            let outcome = dropped.map_err(Refusal::from).and_then(|was_blocked| match was_blocked {
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
    check(&call)?;
    let blocked = call.cas.blocked(cx)?;
    let seen: Vec<Value> = blocked.iter().map(|(digest, block)| shown(digest, block)).collect();
    Ok(Plan::Reply(answer(StatusCode::OK, &json!({ "blocked": seen }))))
}

fn shown(digest: &Digest, block: &Block) -> Value {
    json!({
        "hash": digest.to_string(),
        "since": super::stats::time(block.at.0),
        "reason": block.reason,
        "by": block.who,
    })
}
