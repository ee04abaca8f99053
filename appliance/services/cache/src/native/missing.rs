//! POST `/objects/missing`: which of many objects the namespace lacks. Those that are there stay for one lease period.
//! Invariant: the names in the answer are spelled as they were asked, in the order of the question, each as often.

use std::borrow::Cow;

use bytes::Bytes;
use cas::Digest;
use cas::missing::DIGEST_COUNT_MAX;
use http_types::StatusCode;
use plan::{Context, Plan, Reply};
use serde::Deserialize;

use super::name::{self, Name};
use super::{answer, document};
use crate::call::{Shared, collect, settle};
use crate::refusal::{Kind, Refusal};
use crate::router::Operation;

/// POST.
pub static MISSING: Operation = Operation::new("native_missing", Kind::Read, start);

/// Room for the longest list, spaced generously.
const BODY_BYTES_MAX: usize = 2 << 20;

/// The question.
#[derive(Deserialize)]
pub struct Question<'b> {
    /// Names of objects, in any form that names a SHA-256.
    #[serde(borrow)]
    pub hashes: Vec<Cow<'b, str>>,
}

fn start(call: Shared, _cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    Ok(collect(call, BODY_BYTES_MAX, |call, cx, body| ask(call, cx, body.bytes)))
}

fn ask(call: &Shared, cx: &mut Context<'_>, body: Bytes) -> Result<Plan, Refusal> {
    let digests = digests(&document::<Question<'_>>(&body)?)?;
    let shared = Shared::clone(call);
    Ok(call.cas.missing(cx, &call.namespace, digests, move |_cx, missing| {
        let outcome = missing.map_err(Refusal::from).and_then(|missing| {
            let question: Question<'_> = document(&body)?;
            let lacking = question.hashes.iter().zip(missing).filter(|(_, is_missing)| *is_missing);
            let lacking: Vec<&str> = lacking.map(|(text, _)| &**text).collect();
            Ok(Plan::Reply(said(&lacking)))
        });
        settle(&shared, outcome)
    }))
}

fn said(missing: &[&str]) -> Reply {
    answer(StatusCode::OK, &serde_json::json!({ "missing": missing }))
}

/// The digests that a question is about. Errors: too many, or one that is none.
pub fn digests(question: &Question<'_>) -> Result<Vec<Digest>, Refusal> {
    if question.hashes.len() > DIGEST_COUNT_MAX {
        let text = format!("At most {DIGEST_COUNT_MAX} objects may be asked for at once.");
        return Err(Refusal::Bad("TooManyHashes", text.into()));
    }
    let read = |text: &Cow<'_, str>| match name::read(text) {
        Some(Name::Sha256(digest)) => Ok(digest),
        Some(other) => name::digest(other),
        None => Err(name::invalid()),
    };
    question.hashes.iter().map(read).collect()
}
