//! moon's HTTP cache (`remote.api: http`), as 2.5.5 speaks it.
//!
//! Each run begins with GET status: 401 or 503 there switch the cache off for the run, which goes on. Then as Bazel, with
//! `moon-outputs` for an instance; but the value under ac is an ActionResult as JSON.
//! Invariant: as in `remote_execution`. Leaves to it: everything but the form of a result.

use http_types::{Method, StatusCode};
use plan::{Context, Plan};
use serde_json::json as document;

use super::remote_execution::{self, Address, Form, METHODS, Place};
use crate::action::json;
use crate::call::Shared;
use crate::native;
use crate::refusal::{Kind, Refusal, head_only};
use crate::router::{Found, Operation};

/// GET and HEAD of the status.
pub static STATUS: Operation = Operation::new("moon_status", Kind::Read, status);
static FORM: Form = Form { read: json::read, media_type: "application/json" };

/// GET and HEAD of an action result.
pub static GET_ACTION: Operation = Operation::new("moon_get_action", Kind::Lookup, get_action);
/// PUT of an action result.
pub static PUT_ACTION: Operation = Operation::new("moon_put_action", Kind::Write, put_action);
/// GET and HEAD of a blob, which a hit may have promised.
pub static GET_BLOB: Operation = Operation::new("moon_get_blob", Kind::Read, remote_execution::get_blob);
/// PUT of a blob.
pub static PUT_BLOB: Operation = Operation::new("moon_put_blob", Kind::Write, remote_execution::put_blob);

/// Finds an operation by its path behind the mount.
pub fn find(method: &Method, rest: &str) -> Found {
    if rest == "/status" {
        return match *method {
            Method::GET | Method::HEAD => Found::Operation(&STATUS),
            _ => Found::WrongMethod("GET, HEAD"),
        };
    }
    let Some(address) = Address::parse(rest) else { return Found::Nothing };
    Found::Operation(match (address.place(), method) {
        (Place::Action, &Method::GET | &Method::HEAD) => &GET_ACTION,
        (Place::Action, &Method::PUT) => &PUT_ACTION,
        (Place::Blob, &Method::GET | &Method::HEAD) => &GET_BLOB,
        (Place::Blob, &Method::PUT) => &PUT_BLOB,
        _ => return Found::WrongMethod(METHODS),
    })
}

fn status(call: Shared, _cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let reply = native::answer(StatusCode::OK, &document!({"status": "enabled"}));
    Ok(Plan::Reply(if call.head.method == Method::HEAD { head_only(reply) } else { reply }))
}

fn get_action(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    remote_execution::get_action(call, cx, &FORM)
}

fn put_action(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    remote_execution::put_action(call, cx, &FORM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::tests::Seen::{Nothing, Operation, WrongMethod};
    use crate::dialects::tests::{Seen, found};

    const TABLE: &[(&str, &str, Seen)] = &[
        ("GET", "/status", Operation("moon_status")),
        ("HEAD", "/status", Operation("moon_status")),
        ("PUT", "/status", WrongMethod),
        ("GET", "/ac/00", Operation("moon_get_action")),
        ("HEAD", "/moon-outputs/ac/00", Operation("moon_get_action")),
        ("PUT", "/i/ac/00", Operation("moon_put_action")),
        ("GET", "/cas/00", Operation("moon_get_blob")),
        ("HEAD", "/i/cas/00", Operation("moon_get_blob")),
        ("PUT", "/cas/00", Operation("moon_put_blob")),
        ("DELETE", "/ac/00", WrongMethod),
        ("POST", "/cas/00", WrongMethod),
        ("GET", "/", Nothing),
        ("GET", "/ac", Nothing),
        ("GET", "/a/b/ac/00", Nothing),
    ];

    #[test]
    fn paths_and_methods_name_operations() {
        found(find, TABLE);
    }
}
