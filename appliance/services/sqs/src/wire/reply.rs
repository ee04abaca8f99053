//! Replies as bytes, in the protocol in which the request came.
//!
//! ```text
//! JSON   {"QueueUrls": ["u"], "Attributes": {"a": "1"}}
//! Query  <QueueUrl>u</QueueUrl> <Attribute><Name>a</Name><Value>1</Value></Attribute>
//! ```
//! Invariant: an operation writes its result once, and both protocols show the same of it.
//! Leaves to the node: the header with the request's id, Date, Server, Content-Length.

use aws::query::Form as Document;
use aws::request_id::RequestId;
use aws::{json, xml};
use http_types::{HeaderName, HeaderValue, StatusCode};
use plan::Reply;

use super::error::Error;

/// How the documents of the Query protocol are written.
pub const QUERY: Document =
    Document { namespace: "http://queue.amazonaws.com/doc/2012-11-05/", is_declared: true, has_detail: true };

static QUERY_ERROR: HeaderName = HeaderName::from_static("x-amzn-query-error");

/// The two protocols.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// awsJson1.0.
    Json,
    /// awsQuery.
    Query,
}

/// The form of the reply to one request.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// The protocol in which it was asked.
    pub protocol: Protocol,
    /// The request's id, which documents of the Query protocol repeat.
    pub request_id: RequestId,
}

/// A result in the making.
pub enum Out {
    /// Members of the one object.
    Json(json::Writer),
    /// Elements inside of the result.
    Query(xml::Writer),
}

impl Form {
    /// 200 with a result that `write` writes.
    pub fn result(self, operation: &str, capacity: usize, write: impl FnOnce(&mut Out)) -> Reply {
        match self.protocol {
            Protocol::Json => {
                let mut writer = json::Writer::with_capacity(capacity);
                writer.begin_object();
                let mut out = Out::Json(writer);
                write(&mut out);
                let Out::Json(mut writer) = out else { return self.error(&Error::internal()) };
                writer.end_object();
                Reply::bytes(StatusCode::OK, JSON_TYPE, writer.into_bytes())
            }
            Protocol::Query => {
                let document = QUERY.reply(operation, &self.request_id, capacity, |writer| {
                    let mut out = Out::Query(std::mem::take(writer));
                    write(&mut out);
                    if let Out::Query(written) = out {
                        *writer = written;
                    }
                });
                Reply::bytes(StatusCode::OK, XML_TYPE, document)
            }
        }
    }

    /// 200 for an operation that answers nothing but that it was done.
    #[must_use]
    pub fn done(self, operation: &str) -> Reply {
        match self.protocol {
            // AWS sends no document at all where the operation has no output.
            Protocol::Json => Reply::bytes(StatusCode::OK, JSON_TYPE, ""),
            Protocol::Query => {
                Reply::bytes(StatusCode::OK, XML_TYPE, QUERY.done(operation, &self.request_id))
            }
        }
    }

    /// The reply for an error.
    #[must_use]
    pub fn error(self, error: &Error) -> Reply {
        let spelling = error.code.spelling();
        let blame = error.code.blame();
        let status = |code: u16| StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let reply = match self.protocol {
            Protocol::Json => {
                let mut out = json::Writer::with_capacity(ERROR_BYTES + error.message.len());
                out.begin_object();
                out.key("__type");
                out.string(&format!("{}#{}", spelling.namespace, spelling.json));
                out.key("message");
                out.string(&error.message);
                out.end_object();
                Reply::bytes(status(error.code.json_status()), JSON_TYPE, out.into_bytes())
            }
            Protocol::Query => {
                let text = if error.message.is_empty() { spelling.query } else { &error.message };
                let document = QUERY.error(blame, spelling.query, text, &self.request_id);
                Reply::bytes(status(spelling.status), XML_TYPE, document)
            }
        };
        // Old SDKs tell errors apart by this header alone.
        let header = format!("{};{}", spelling.query, blame.name());
        match HeaderValue::from_str(&header) {
            Ok(value) => reply.with(QUERY_ERROR.clone(), value),
            Err(_) => reply,
        }
    }
}

impl Out {
    /// A text.
    pub fn text(&mut self, name: &str, value: &str) {
        match self {
            Out::Json(out) => {
                out.key(name);
                out.string(value);
            }
            Out::Query(out) => out.text(name, value),
        }
    }

    /// A text if there is one.
    pub fn text_if(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// A whole number.
    pub fn number(&mut self, name: &str, value: u64) {
        match self {
            Out::Json(out) => {
                out.key(name);
                out.unsigned(value);
            }
            Out::Query(out) => out.number(name, value),
        }
    }

    /// A boolean.
    pub fn boolean(&mut self, name: &str, value: bool) {
        match self {
            Out::Json(out) => {
                out.key(name);
                out.boolean(value);
            }
            Out::Query(out) => out.boolean(name, value),
        }
    }

    /// Bytes, as base64 in both.
    pub fn blob(&mut self, name: &str, bytes: &[u8]) {
        match self {
            Out::Json(out) => {
                out.key(name);
                out.blob(bytes);
            }
            Out::Query(out) => out.text(name, &aws::encoding::base64(bytes)),
        }
    }

    /// A list of texts: `many` is its JSON name, `one` that of an element in XML.
    pub fn texts<'t>(&mut self, many: &str, one: &str, texts: impl IntoIterator<Item = &'t str>) {
        match self {
            Out::Json(out) => {
                out.key(many);
                out.begin_array();
                texts.into_iter().for_each(|text| out.string(text));
                out.end_array();
            }
            Out::Query(out) => texts.into_iter().for_each(|text| out.text(one, text)),
        }
    }

    /// A map of texts: `many` is its JSON name, `one` that of an entry in XML, whose key is called `key`.
    pub fn map<'t>(
        &mut self,
        many: &str,
        one: &str,
        key: &str,
        entries: impl IntoIterator<Item = (&'t str, &'t str)>,
    ) {
        match self {
            Out::Json(out) => {
                out.key(many);
                out.begin_object();
                for (name, value) in entries {
                    out.key(name);
                    out.string(value);
                }
                out.end_object();
            }
            Out::Query(out) => {
                for (name, value) in entries {
                    out.open(one);
                    out.text(key, name);
                    out.text("Value", value);
                    out.close(one);
                }
            }
        }
    }

    /// A map of structures, written by `write`.
    pub fn structures<T>(
        &mut self,
        many: &str,
        one: &str,
        entries: impl IntoIterator<Item = T>,
        name: impl Fn(&T) -> &str,
        mut write: impl FnMut(&mut Out, &T),
    ) {
        self.key_and_open(many);
        for entry in entries {
            match self {
                Out::Json(out) => {
                    out.key(name(&entry));
                    out.begin_object();
                }
                Out::Query(out) => {
                    out.open(one);
                    out.text("Name", name(&entry));
                    out.open("Value");
                }
            }
            write(self, &entry);
            match self {
                Out::Json(out) => out.end_object(),
                Out::Query(out) => {
                    out.close("Value");
                    out.close(one);
                }
            }
        }
        if let Out::Json(out) = self {
            out.end_object();
        }
    }

    /// A list of structures: `many` is its JSON name, `one` that of an element in XML. Each is written by `write`.
    pub fn list<T>(
        &mut self,
        many: &str,
        one: &str,
        elements: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Out, T),
    ) {
        if let Out::Json(out) = self {
            out.key(many);
            out.begin_array();
        }
        for element in elements {
            match self {
                Out::Json(out) => out.begin_object(),
                Out::Query(out) => out.open(one),
            }
            write(self, element);
            match self {
                Out::Json(out) => out.end_object(),
                Out::Query(out) => out.close(one),
            }
        }
        if let Out::Json(out) = self {
            out.end_array();
        }
    }

    fn key_and_open(&mut self, name: &str) {
        if let Out::Json(out) = self {
            out.key(name);
            out.begin_object();
        }
    }
}

/// Room for an error without its text.
const ERROR_BYTES: usize = 128;
const JSON_TYPE: &str = "application/x-amz-json-1.0";
const XML_TYPE: &str = "text/xml";

#[cfg(test)]
mod tests {
    use plan::ReplyBody;

    use super::*;
    use crate::wire::error::Code;

    fn form(protocol: Protocol) -> Form {
        Form { protocol, request_id: RequestId::new(1) }
    }

    fn text(reply: &Reply) -> &str {
        match &reply.body {
            ReplyBody::Bytes(bytes) => str::from_utf8(bytes).expect("UTF-8"),
            _ => "",
        }
    }

    fn sample(out: &mut Out) {
        out.text("QueueUrl", "http://a/<b>");
        out.text_if("NextToken", None);
        out.number("Count", 7);
        out.boolean("SenderFault", true);
        out.blob("Blob", &[0, 255]);
        out.texts("QueueUrls", "QueueUrl", ["x", "y"]);
        out.map("Attributes", "Attribute", "Name", [("a", "1")]);
        out.map("Tags", "Tag", "Key", [("k", "v")]);
        out.structures(
            "MessageAttributes",
            "MessageAttribute",
            ["n"],
            |name| name,
            |out, _| out.text("DataType", "String"),
        );
        out.list("Messages", "Message", ["m", "n"], |out, id| out.text("MessageId", id));
    }

    #[test]
    fn both_protocols_show_the_same() {
        let reply = form(Protocol::Json).result("Op", 0, sample);
        assert_eq!(
            text(&reply),
            "{\"QueueUrl\":\"http://a/<b>\",\"Count\":7,\"SenderFault\":true,\"Blob\":\"AP8=\",\"QueueUrls\":[\"x\",\"y\"],\
             \"Attributes\":{\"a\":\"1\"},\"Tags\":{\"k\":\"v\"},\"MessageAttributes\":{\"n\":{\"DataType\":\"String\"}},\
             \"Messages\":[{\"MessageId\":\"m\"},{\"MessageId\":\"n\"}]}"
        );
        let reply = form(Protocol::Query).result("Op", 0, sample);
        assert_eq!(
            text(&reply),
            "<?xml version=\"1.0\"?><OpResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\"><OpResult>\
             <QueueUrl>http://a/&lt;b&gt;</QueueUrl><Count>7</Count><SenderFault>true</SenderFault><Blob>AP8=</Blob>\
             <QueueUrl>x</QueueUrl><QueueUrl>y</QueueUrl><Attribute><Name>a</Name><Value>1</Value></Attribute>\
             <Tag><Key>k</Key><Value>v</Value></Tag><MessageAttribute><Name>n</Name><Value><DataType>String</DataType>\
             </Value></MessageAttribute><Message><MessageId>m</MessageId></Message><Message><MessageId>n</MessageId>\
             </Message></OpResult><ResponseMetadata><RequestId>0000000000000001</RequestId></ResponseMetadata></OpResponse>"
        );
        assert_eq!(text(&form(Protocol::Json).done("Op")), "");
        assert!(text(&form(Protocol::Query).done("Op")).ends_with("</ResponseMetadata></OpResponse>"));
    }

    #[test]
    fn errors_carry_the_header_that_old_clients_branch_on() {
        let reply = form(Protocol::Json).error(&Error::no_queue());
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert_eq!(reply.headers["x-amzn-query-error"], "AWS.SimpleQueueService.NonExistentQueue;Sender");
        assert_eq!(
            text(&reply),
            "{\"__type\":\"com.amazonaws.sqs#QueueDoesNotExist\",\"message\":\"The specified queue does not exist.\"}"
        );
        let reply = form(Protocol::Query).error(&Error::foreign_handle());
        assert_eq!(reply.status, StatusCode::NOT_FOUND);
        assert_eq!(
            text(&reply),
            "<?xml version=\"1.0\"?><ErrorResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\"><Error>\
             <Type>Sender</Type><Code>ReceiptHandleIsInvalid</Code><Message>The input receipt handle is invalid.</Message>\
             <Detail/></Error><RequestId>0000000000000001</RequestId></ErrorResponse>"
        );
        let reply = form(Protocol::Json).error(&Error::new(Code::InternalFailure, ""));
        assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(reply.headers["x-amzn-query-error"], "InternalFailure;Receiver");
    }
}
