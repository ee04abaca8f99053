//! Gradle's HTTP build cache: an archive of a task's outputs under the hash of its inputs.
//! Invariant: no answer that Gradle survives without losing the cache is left out where there is one; 404 for what cannot be read
//! now, 413 for what cannot be kept. Any other code switches the remote cache off for the rest of the build.
//! Leaves to `opaque`: keeping values.
//!
//! Gradle 4.4.1 switches it off at 413 as well. For versions like it an upload that is refused is read to its end, dropped, and
//! answered with 202 and a header that says so: the same as if the value had been stored and evicted at once.

use cas::Stored;
use http_types::{HeaderName, HeaderValue, Method, StatusCode};
use plan::{Context, Plan, Reply};

use crate::call::Shared;
use crate::dialects::opaque::{self, New, Proof};
use crate::refusal::{Kind, Refusal, guard, name};
use crate::router::{Found, Operation};

static GET: Operation = Operation::new("gradle_get", Kind::Lookup, get);
static HEAD: Operation = Operation::new("gradle_head", Kind::Lookup, get);
// Let in as a reader; `opaque::store` checks the right to write.
static PUT: Operation = Operation::new("gradle_put", Kind::Lookup, put);

/// What a client says of itself.
const VERSION: &str = "x-gradle-version";
/// From this major version on 413 is known to be harmless.
const HARMLESS_SINCE: u32 = 8;
/// Says to people why a value is not there that was taken with 202.
pub const NOT_KEPT: HeaderName = name("x-zerocloud-not-kept");
/// Headers that come back with a value.
const KEPT: &[&str] = &["content-type"];

/// Finds an operation by its method and the path behind the mount.
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
    rest.strip_prefix('/').unwrap_or_default()
}

fn get(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let key = key(call.rest()).to_owned();
    opaque::look_up(call, cx, &key, Proof::Before)
}

fn put(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let new = New {
        key: opaque::name(&call, key(call.rest()))?,
        metadata: opaque::metadata(&call, KEPT)?,
        if_absent: false,
    };
    Ok(opaque::store(call, cx, new, answer))
}

fn answer(call: &Shared, outcome: Result<Stored, Refusal>) -> Plan {
    match outcome {
        Err(refusal) if is_uptight(call.header(VERSION)) => {
            let mut reply = Reply::empty(StatusCode::ACCEPTED);
            guard(&mut reply.headers);
            reply.headers.insert(NOT_KEPT, HeaderValue::from_static(refusal.code()));
            opaque::swallow(call, reply)
        }
        outcome => opaque::stored_or_refused(call, outcome, StatusCode::OK),
    }
}

/// Whether a client says of itself that it is one of those that give the cache up at 413.
fn is_uptight(version: Option<&str>) -> bool {
    let major =
        version.and_then(|version| version.split('.').next()).and_then(|major| major.parse::<u32>().ok());
    major.is_some_and(|major| major < HARMLESS_SINCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::tests::{Seen, found};

    /// As Gradle 4.4.1 sent them, behind the mount.
    #[test]
    fn requests_of_the_client_find_their_operations() {
        let seen = [
            ("GET", "/d010b3006a9330389e6db63cf87d4023", Seen::Operation("gradle_get")),
            ("PUT", "/d010b3006a9330389e6db63cf87d4023", Seen::Operation("gradle_put")),
            ("HEAD", "/d010b3006a9330389e6db63cf87d4023", Seen::Operation("gradle_head")),
            ("DELETE", "/d010b3006a9330389e6db63cf87d4023", Seen::WrongMethod),
            ("GET", "/", Seen::Nothing),
            ("GET", "/a/b", Seen::Nothing),
            ("PUT", "/..", Seen::Nothing),
        ];
        found(find, &seen);
    }

    #[test]
    fn old_versions_are_known_by_what_they_say() {
        for old in ["4.4.1", "3.5", "7.6.4", "7", "7.0-rc-1"] {
            assert!(is_uptight(Some(old)), "{old}");
        }
        for other in [Some("8.0"), Some("9.3.1"), Some("10"), Some(""), Some("x.1"), Some("-4"), None] {
            assert!(!is_uptight(other), "{other:?}");
        }
    }
}
