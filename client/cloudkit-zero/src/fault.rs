//! What a service says when it refuses: code, message and request id, in each of its shapes.
//!
//! ```text
//! restXml   <Error><Code/><Message/><RequestId/></Error>
//! awsQuery  <ErrorResponse><Error><Type/><Code/><Message/></Error><RequestId/></ErrorResponse>
//! ec2Query  <Response><Errors><Error><Code/><Message/></Error></Errors><RequestID/></Response>
//! awsJson   {"__type": "namespace#Code", "message": ".."} or header x-amzn-errortype; x-amzn-query-error names the older code
//! ```
//! Invariant: whatever the body holds, there is a code; where the peer names none it follows from the status.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_types::{HeaderMap, StatusCode};

use crate::xml::Element;

/// Larger bodies of refusals are not read on.
pub const FAULT_BYTES_MAX: usize = 1024 * 1024;
/// A message is cut here; it is for people.
const MESSAGE_CHARS_MAX: usize = 2_000;

/// A refusal. `Debug` leaves the body out: it may hold what somebody stored.
#[derive(Clone)]
pub struct Fault {
    /// Of HTTP.
    pub status: StatusCode,
    /// `NoSuchKey`, without namespace.
    pub code: String,
    /// For a person; may be empty.
    pub message: String,
    /// By which the service's log knows the request; may be empty.
    pub request_id: String,
    /// How long the service asks to wait.
    pub retry_after: Option<Duration>,
    /// The whole body, for codes that say more in it.
    pub body: Bytes,
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { status, code, message, request_id, .. } = self;
        write!(f, "Fault({} {code}: {message} [{request_id}])", status.as_u16())
    }
}

impl Fault {
    /// Reads a refusal.
    pub fn read(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Fault {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").trim();
        let text = body.trim_ascii_start();
        let mut said = match text.first() {
            Some(b'{') => of_json(text),
            Some(b'<') => of_xml(text),
            _ => Said::default(),
        };
        for (name, separator) in [("x-amzn-errortype", ':'), ("x-amzn-query-error", ';')] {
            if said.code.is_empty() {
                said.code = header(name).split(separator).next().unwrap_or("").to_string();
            }
        }
        if said.code.is_empty() {
            said.code = of_status(status);
        }
        for name in ["x-amz-request-id", "x-amzn-requestid", "x-amzn-request-id"] {
            if said.request_id.is_empty() {
                said.request_id = header(name).to_string();
            }
        }
        if let Some((cut, _)) = said.message.char_indices().nth(MESSAGE_CHARS_MAX) {
            said.message.truncate(cut);
        }
        Fault {
            status,
            code: said.code,
            message: said.message,
            request_id: said.request_id,
            retry_after: None,
            body,
        }
    }
}

#[derive(Default)]
struct Said {
    code: String,
    message: String,
    request_id: String,
}

fn of_json(text: &[u8]) -> Said {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(text) else { return Said::default() };
    let first = |names: &[&str]| {
        names.iter().find_map(|name| value.get(name)?.as_str()).unwrap_or_default().to_string()
    };
    let code = first(&["__type", "code", "Code"]);
    // `com.amazonaws.dynamodb.v20120810#Code`, and of some services `Code:http://..`.
    let code = code.rsplit('#').next().unwrap_or("").split(':').next().unwrap_or("").to_string();
    Said { code, message: first(&["message", "Message", "errorMessage"]), request_id: String::new() }
}

fn of_xml(text: &[u8]) -> Said {
    let Ok(root) = Element::parse(text) else { return Said::default() };
    let error = match root.name() {
        "Error" => Some(&root),
        _ => root.child("Error").or_else(|| root.at(&["Errors", "Error"])),
    };
    let Some(error) = error else { return Said::default() };
    let of_error = |name| error.text_of(name).unwrap_or_default().trim().to_string();
    let id = [error, &root]
        .into_iter()
        .find_map(|place| place.text_of("RequestId").or_else(|| place.text_of("RequestID")));
    Said {
        code: of_error("Code"),
        message: of_error("Message"),
        request_id: id.unwrap_or_default().trim().to_string(),
    }
}

/// Answers to HEAD have no body to name a code.
fn of_status(status: StatusCode) -> String {
    match status.as_u16() {
        304 => "NotModified".into(),
        400 => "BadRequest".into(),
        401 | 403 => "AccessDenied".into(),
        404 => "NotFound".into(),
        405 => "MethodNotAllowed".into(),
        409 => "Conflict".into(),
        412 => "PreconditionFailed".into(),
        416 => "InvalidRange".into(),
        429 => "TooManyRequests".into(),
        500 => "InternalError".into(),
        503 => "ServiceUnavailable".into(),
        other => format!("Http{other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_types::{HeaderName, HeaderValue};

    fn read(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> [String; 3] {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let fault =
            Fault::read(StatusCode::from_u16(status).unwrap(), &map, Bytes::from_static(body.as_bytes()));
        [fault.code, fault.message, fault.request_id]
    }

    #[test]
    fn each_shape_gives_code_message_and_id() {
        let s3 = "<?xml version=\"1.0\"?>\n<Error><Code>NoSuchKey</Code><Message>No.</Message><Key>k</Key><RequestId>R1</RequestId></Error>";
        assert_eq!(read(404, &[("x-amz-request-id", "other")], s3), ["NoSuchKey", "No.", "R1"]);
        let query = "<ErrorResponse xmlns=\"x\"><Error><Type>Sender</Type><Code>NotFound</Code><Message>Topic</Message></Error><RequestId>R2</RequestId></ErrorResponse>";
        assert_eq!(read(404, &[], query), ["NotFound", "Topic", "R2"]);
        let ec2 = "<Response><Errors><Error><Code>C</Code><Message>M</Message></Error></Errors><RequestID>R3</RequestID></Response>";
        assert_eq!(read(400, &[], ec2), ["C", "M", "R3"]);
        let json = "{\"__type\":\"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException\",\"message\":\"no table\"}";
        assert_eq!(
            read(400, &[("x-amzn-requestid", "R4")], json),
            ["ResourceNotFoundException", "no table", "R4"]
        );
        assert_eq!(
            read(400, &[("x-amzn-errortype", "Bad:http://x")], "{\"Message\":\"m\"}"),
            ["Bad", "m", ""]
        );
        let old = [("x-amzn-query-error", "AWS.SimpleQueueService.NonExistentQueue;Sender")];
        assert_eq!(read(400, &old, "{}")[0], "AWS.SimpleQueueService.NonExistentQueue");
    }

    #[test]
    fn a_body_that_is_none_of_them_leaves_the_status() {
        for body in ["", "<html>", "{", "{}", "<Other/>", "gateway says no", "<Error/>", "{\"__type\":3}"] {
            assert_eq!(
                read(412, &[("x-amz-request-id", "R")], body),
                ["PreconditionFailed", "", "R"],
                "{body}"
            );
        }
        assert_eq!(read(418, &[], "")[0], "Http418");
    }

    #[test]
    fn a_long_message_is_cut() {
        let body = format!("{{\"__type\":\"C\",\"message\":\"{}\"}}", "é".repeat(MESSAGE_CHARS_MAX * 2));
        let fault = Fault::read(StatusCode::BAD_REQUEST, &HeaderMap::new(), Bytes::from(body));
        assert_eq!(fault.message.chars().count(), MESSAGE_CHARS_MAX);
    }
}
