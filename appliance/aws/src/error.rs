//! The error document of S3 and its kin as data: code, status, message and the elements a code brings along.
//!
//! Invariant: an `ErrorReply` says what the client did wrong and never holds a secret. Which condition gives
//! which code is the business of whoever makes one; turning it into a response is the service's.

use std::borrow::Cow;

use crate::xml::Writer;

/// One error, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReply {
    /// Amazon's code, as in `<Code>`.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The text of `<Message>`.
    pub message: Cow<'static, str>,
    /// Further elements in order, such as `Region` or `ArgumentName`.
    pub extra: Vec<(&'static str, String)>,
}

impl ErrorReply {
    /// An error without further elements.
    pub fn new(code: &'static str, status: u16, message: impl Into<Cow<'static, str>>) -> ErrorReply {
        ErrorReply { code, status, message: message.into(), extra: Vec::new() }
    }

    /// Adds an element.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> ErrorReply {
        self.extra.push((name, value.into()));
        self
    }

    /// The value of a further element.
    pub fn extra(&self, name: &str) -> Option<&str> {
        self.extra.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The error document with its XML declaration. `resource` is the path the client asked for; `None`
    /// leaves the element out.
    pub fn to_xml(&self, resource: Option<&str>, request_id: &str, host_id: &str) -> Vec<u8> {
        let mut writer = Writer::with_capacity(512);
        writer.declaration();
        self.write_element(&mut writer, resource, request_id, host_id);
        writer.into_bytes()
    }

    /// The `<Error>` element alone, for a reply whose declaration has left already (CompleteMultipartUpload).
    pub fn write_element(
        &self,
        writer: &mut Writer,
        resource: Option<&str>,
        request_id: &str,
        host_id: &str,
    ) {
        writer.open("Error");
        writer.text("Code", self.code);
        writer.text("Message", &self.message);
        for (name, value) in &self.extra {
            writer.text(name, value);
        }
        if let Some(resource) = resource {
            writer.text("Resource", resource);
        }
        writer.text("RequestId", request_id);
        writer.text("HostId", host_id);
        writer.close("Error");
    }

    /// 400 InvalidArgument with the argument's name and value.
    pub fn invalid_argument(
        message: impl Into<Cow<'static, str>>,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> ErrorReply {
        ErrorReply::new("InvalidArgument", 400, message)
            .with("ArgumentName", name)
            .with("ArgumentValue", value)
    }

    /// 403 AccessDenied with S3's plain text.
    pub fn access_denied() -> ErrorReply {
        ErrorReply::new("AccessDenied", 403, "Access Denied")
    }

    /// 400 MalformedXML.
    pub fn malformed_xml() -> ErrorReply {
        ErrorReply::new(
            "MalformedXML",
            400,
            "The XML you provided was not well-formed or did not validate against our published schema",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_no_namespace_and_escapes_what_the_client_sent() {
        let error = ErrorReply::invalid_argument("bad <value>", "max-keys", "\"&'");
        let xml = String::from_utf8(error.to_xml(Some("/b/k"), "R", "H")).unwrap();
        assert_eq!(
            xml,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InvalidArgument</Code>\
             <Message>bad &lt;value&gt;</Message><ArgumentName>max-keys</ArgumentName>\
             <ArgumentValue>&quot;&amp;&apos;</ArgumentValue><Resource>/b/k</Resource>\
             <RequestId>R</RequestId><HostId>H</HostId></Error>"
        );
        assert_eq!(error.extra("ArgumentName"), Some("max-keys"));
        assert_eq!(error.extra("Region"), None);
    }
}
