//! Replies: documents of the Query protocol.

use aws::query;
use aws::xml::Writer;
use http_types::StatusCode;
use plan::Reply;

use super::error::Error;

/// How documents of this service look.
pub const FORM: query::Form = query::Form {
    namespace: "http://sns.amazonaws.com/doc/2010-03-31/",
    is_declared: false,
    has_detail: false,
};

const XML: &str = "text/xml";

/// The reply of an operation with a result.
pub fn result(operation: &str, request_id: &str, capacity: usize, write: impl FnOnce(&mut Writer)) -> Reply {
    Reply::bytes(StatusCode::OK, XML, FORM.reply(operation, request_id, capacity, write))
}

/// The reply of an operation that answers nothing but that it was done.
#[must_use]
pub fn done(operation: &str, request_id: &str) -> Reply {
    Reply::bytes(StatusCode::OK, XML, FORM.done(operation, request_id))
}

/// The reply for an error.
#[must_use]
pub fn error(error: &Error, request_id: &str) -> Reply {
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let document = FORM.error(error.code.fault(), error.code.name(), &error.message, request_id);
    Reply::bytes(status, XML, document)
}

/// One entry of a map of attributes.
pub fn entry(out: &mut Writer, key: &str, value: &str) {
    out.open("entry");
    out.text("key", key);
    out.text("value", value);
    out.close("entry");
}

/// The reply of an operation whose result is empty.
#[must_use]
pub fn empty_result(operation: &str, request_id: &str) -> Reply {
    result(operation, request_id, 0, |_| {})
}
