//! ccache's HTTP storage, as version 4.7.5 speaks it: one manifest and one result of each file, under keys that it makes.
//! Invariant: a value is opaque. What the layout `bazel` names `/ac/` is no action result and is never read as one.
//! Leaves to `opaque`: keeping values.
//!
//! ```text
//! layout subdirs  /73/48vsevb8...     flat  /7348vsevb8...     bazel  /ac/ 64 hex, the digest's 40 and its start again
//! GET, HEAD  200 or 404      PUT  200      DELETE  204 or 404
//! ```

use http_types::{Method, StatusCode};
use plan::{Context, Plan};

use crate::call::Shared;
use crate::dialects::opaque::{self, New, Proof};
use crate::refusal::{Kind, Refusal};
use crate::router::{Found, Operation};

static GET: Operation = Operation::new("ccache_get", Kind::Lookup, get);
static HEAD: Operation = Operation::new("ccache_head", Kind::Lookup, get);
// Let in as a reader; `opaque::store` checks the right to write.
static PUT: Operation = Operation::new("ccache_put", Kind::Lookup, put);
static DELETE: Operation = Operation::new("ccache_delete", Kind::Write, delete);

/// Finds an operation by its method and the path behind the mount.
pub fn find(method: &Method, rest: &str) -> Found {
    if !opaque::is_key(key(rest)) {
        return Found::Nothing;
    }
    match *method {
        Method::GET => Found::Operation(&GET),
        Method::HEAD => Found::Operation(&HEAD),
        Method::PUT => Found::Operation(&PUT),
        Method::DELETE => Found::Operation(&DELETE),
        _ => Found::WrongMethod("GET, HEAD, PUT, DELETE"),
    }
}

fn key(rest: &str) -> &str {
    rest.strip_prefix('/').unwrap_or_default()
}

fn get(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let key = key(call.rest()).to_owned();
    opaque::look_up(call, cx, &key, Proof::Leaving)
}

fn put(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let new = New { key: opaque::name(&call, key(call.rest()))?, metadata: Vec::new(), if_absent: false };
    Ok(opaque::store(call, cx, new, |call, outcome| opaque::stored_or_refused(call, outcome, StatusCode::OK)))
}

fn delete(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let key = key(call.rest()).to_owned();
    opaque::remove(call, cx, &key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::tests::{Seen, found};

    /// As ccache 4.7.5 sent them in its three layouts, behind the mount.
    #[test]
    fn requests_of_the_client_find_their_operations() {
        let seen = [
            ("GET", "/af/21nkqmq9tjnmjkikavg4n8ikr5q2k9q", Seen::Operation("ccache_get")),
            ("PUT", "/f3/c1b7a6o63b89mcuf7ts0b3n2732g0la", Seen::Operation("ccache_put")),
            ("GET", "/af21nkqmq9tjnmjkikavg4n8ikr5q2k9q", Seen::Operation("ccache_get")),
            ("PUT", "/f3c1b7a6o63b89mcuf7ts0b3n2732g0la", Seen::Operation("ccache_put")),
            (
                "GET",
                "/ac/af21bd356d27b3bda749515f812e895365d0a89daf21bd356d27b3bda749515f",
                Seen::Operation("ccache_get"),
            ),
            (
                "PUT",
                "/ac/f3c159d46c186b426ccf3cfde0163b88e3140155f3c159d46c186b426ccf3cfd",
                Seen::Operation("ccache_put"),
            ),
            ("HEAD", "/af/21nkqmq9tjnmjkikavg4n8ikr5q2k9q", Seen::Operation("ccache_head")),
            ("DELETE", "/af/21nkqmq9tjnmjkikavg4n8ikr5q2k9q", Seen::Operation("ccache_delete")),
            ("POST", "/af21nkqmq9tjnmjkikavg4n8ikr5q2k9q", Seen::WrongMethod),
            ("GET", "/", Seen::Nothing),
            ("PUT", "/../secret", Seen::Nothing),
            ("GET", "/a%2fb", Seen::Nothing),
        ];
        found(find, &seen);
    }
}
