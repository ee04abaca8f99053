//! Nx's self-hosted remote cache, as version 24.0.6 speaks it: a packed tree of outputs under a number.
//! Invariant: PUT is answered with 200, 409 or 403 and nothing else, since the client sends a body six times at any other good
//! code and fails the build at any other bad one; refusals are text; a value that is there stays.
//! Leaves to `opaque`: keeping values.
//!
//! ```text
//! /v1/cache/{hash}    GET  200 or 404    PUT  200, 409 where there is another value, 403 where it may not or cannot be stored
//! ```

use cas::Stored;
use http_types::{Method, StatusCode};
use plan::{Context, Plan};

use crate::call::Shared;
use crate::dialects::opaque::{self, New, Proof};
use crate::refusal::{Kind, Refusal};
use crate::router::{Found, Operation};

static GET: Operation = Operation::new("nx_get", Kind::Lookup, get);
static HEAD: Operation = Operation::new("nx_head", Kind::Lookup, get);
// Let in as a reader; `opaque::store` checks the right to write.
static PUT: Operation = Operation::new("nx_put", Kind::Lookup, put);

/// Headers that come back with a value.
const KEPT: &[&str] = &["content-type"];
/// How all its paths begin.
pub const ROOT: &str = "/v1/cache/";

/// Finds an operation by its method and path.
pub fn find(method: &Method, rest: &str) -> Found {
    let key = key(rest);
    if !opaque::is_key(key) || key.contains('/') {
        return Found::Nothing;
    }
    match *method {
        Method::GET => Found::Operation(&GET),
        Method::HEAD => Found::Operation(&HEAD),
        Method::PUT => Found::Operation(&PUT),
        _ => Found::WrongMethod("GET, HEAD, PUT"),
    }
}

fn key(rest: &str) -> &str {
    rest.strip_prefix(ROOT).unwrap_or_default()
}

fn get(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let key = key(call.rest()).to_owned();
    opaque::look_up(call, cx, &key, Proof::Before)
}

fn put(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let new = New {
        key: opaque::name(&call, key(call.rest()))?,
        metadata: opaque::metadata(&call, KEPT)?,
        if_absent: true,
    };
    Ok(opaque::store(call, cx, new, answer))
}

fn answer(call: &Shared, outcome: Result<Stored, Refusal>) -> Plan {
    opaque::stored_or_refused(call, outcome, StatusCode::OK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::tests::{Seen, found};

    /// As Nx 24.0.6 sent them.
    #[test]
    fn requests_of_the_client_find_their_operations() {
        let seen = [
            ("GET", "/v1/cache/9894141616750970191", Seen::Operation("nx_get")),
            ("PUT", "/v1/cache/9894141616750970191", Seen::Operation("nx_put")),
            ("HEAD", "/v1/cache/9894141616750970191", Seen::Operation("nx_head")),
            ("DELETE", "/v1/cache/9894141616750970191", Seen::WrongMethod),
            ("GET", "/v1/cache/", Seen::Nothing),
            ("GET", "/v1/cache", Seen::Nothing),
            ("GET", "/v1/cache/a/b", Seen::Nothing),
            ("GET", "/9894141616750970191", Seen::Nothing),
        ];
        found(find, &seen);
    }
}
