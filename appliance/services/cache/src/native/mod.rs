//! The native API: objects by their digest, and what an operator asks.
//! Invariant: an object is named by the SHA-256 of its bytes and by nothing else. Bodies of requests are read into types that
//! cannot be invalid.

pub mod actions;
pub mod blocked;
pub mod coding;
pub mod gc;
pub mod missing;
pub mod name;
pub mod objects;
pub mod pins;
pub mod range;
pub mod stats;

use http_types::{HeaderValue, Method, StatusCode, header};
use plan::Reply;
use serde::Deserialize;
use serde_json::Value;

use crate::refusal::{self, Refusal};
use crate::router::Found;

/// Finds an operation by its path below `/api/v1`.
pub fn find(method: &Method, rest: &str) -> Found {
    if rest == "/objects/missing" {
        return if method == Method::POST {
            Found::Operation(&missing::MISSING)
        } else {
            Found::WrongMethod("POST")
        };
    }
    if rest.strip_prefix(objects::PREFIX).is_some_and(|name| !name.is_empty() && !name.contains('/')) {
        return match *method {
            Method::GET => Found::Operation(&objects::GET),
            Method::HEAD => Found::Operation(&objects::HEAD),
            Method::PUT => Found::Operation(&objects::PUT),
            _ => Found::WrongMethod(objects::METHODS),
        };
    }
    if rest.strip_prefix(actions::PREFIX).is_some_and(|key| !key.is_empty() && !key.contains('/')) {
        return match *method {
            Method::GET => Found::Operation(&actions::GET),
            Method::HEAD => Found::Operation(&actions::HEAD),
            Method::PUT => Found::Operation(&actions::PUT),
            Method::DELETE => Found::Operation(&actions::DELETE),
            _ => Found::WrongMethod(actions::METHODS),
        };
    }
    find_for_operators(method, rest)
}

fn find_for_operators(method: &Method, rest: &str) -> Found {
    let is = |one: Method| *method == one;
    match rest {
        "/stats" if is(Method::GET) => Found::Operation(&stats::STATS),
        "/stats" => Found::WrongMethod("GET"),
        "/gc" if is(Method::POST) => Found::Operation(&gc::START),
        "/gc" => Found::WrongMethod("POST"),
        "/pins" if is(Method::GET) => Found::Operation(&pins::LIST),
        "/pins" if is(Method::POST) => Found::Operation(&pins::PUT),
        "/pins" if is(Method::DELETE) => Found::Operation(&pins::DELETE),
        "/pins" => Found::WrongMethod(pins::METHODS),
        "/blocked" if is(Method::GET) => Found::Operation(&blocked::LIST),
        "/blocked" if is(Method::POST) => Found::Operation(&blocked::BLOCK),
        "/blocked" if is(Method::DELETE) => Found::Operation(&blocked::UNBLOCK),
        "/blocked" => Found::WrongMethod(blocked::METHODS),
        _ if !is_job(rest) => Found::Nothing,
        _ if is(Method::GET) => Found::Operation(&gc::STATE),
        _ => Found::WrongMethod("GET"),
    }
}

/// Whether a path is that of a collection.
fn is_job(rest: &str) -> bool {
    let digits = rest.strip_prefix(gc::PREFIX).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Reads a JSON document, an object. Errors: `MalformedBody`.
pub fn document<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Refusal> {
    let malformed = |why: String| {
        Refusal::Bad(
            "MalformedBody",
            format!("The body is not the JSON that this route takes: {why}.").into(),
        )
    };
    // Serde takes a list for a struct as well, member after member.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(malformed("it is no object".to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))
}

/// An answer in JSON, which no proxy keeps.
#[must_use]
pub fn answer(status: StatusCode, document: &Value) -> Reply {
    let mut reply = Reply::bytes(status, "application/json", document.to_string());
    reply.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    refusal::guard(&mut reply.headers);
    reply
}
