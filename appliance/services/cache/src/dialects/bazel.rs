//! Bazel's HTTP cache (`--remote_http_cache`, `--remote_cache=http://..`), as 2.1.0 speaks it.
//!
//! Cold: GET ac, PUT cas of each output, of stdout and stderr, of command and action, then PUT ac. Warm: GET ac, GET each cas. The
//! value under ac is a binary ActionResult.
//! Invariant: as in `remote_execution`. Leaves to it: everything but the form of a result.

use http_types::Method;
use plan::{Context, Plan};

use super::remote_execution::{self, Address, Form, METHODS, Place};
use crate::action::binary;
use crate::call::Shared;
use crate::refusal::{Kind, Refusal};
use crate::router::{Found, Operation};

static FORM: Form = Form { read: binary::read, media_type: "application/octet-stream" };

/// GET and HEAD of an action result.
pub static GET_ACTION: Operation = Operation::new("bazel_get_action", Kind::Lookup, get_action);
/// PUT of an action result.
pub static PUT_ACTION: Operation = Operation::new("bazel_put_action", Kind::Write, put_action);
/// GET and HEAD of a blob, which a hit may have promised.
pub static GET_BLOB: Operation = Operation::new("bazel_get_blob", Kind::Read, remote_execution::get_blob);
/// PUT of a blob.
pub static PUT_BLOB: Operation = Operation::new("bazel_put_blob", Kind::Write, remote_execution::put_blob);

/// Finds an operation by its path behind the mount.
pub fn find(method: &Method, rest: &str) -> Found {
    let Some(address) = Address::parse(rest) else { return Found::Nothing };
    Found::Operation(match (address.place(), method) {
        (Place::Action, &Method::GET | &Method::HEAD) => &GET_ACTION,
        (Place::Action, &Method::PUT) => &PUT_ACTION,
        (Place::Blob, &Method::GET | &Method::HEAD) => &GET_BLOB,
        (Place::Blob, &Method::PUT) => &PUT_BLOB,
        _ => return Found::WrongMethod(METHODS),
    })
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
        ("GET", "/status", Nothing),
        ("GET", "/ac/00", Operation("bazel_get_action")),
        ("HEAD", "/moon-outputs/ac/00", Operation("bazel_get_action")),
        ("PUT", "/i/ac/00", Operation("bazel_put_action")),
        ("GET", "/cas/00", Operation("bazel_get_blob")),
        ("HEAD", "/i/cas/00", Operation("bazel_get_blob")),
        ("PUT", "/cas/00", Operation("bazel_put_blob")),
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
