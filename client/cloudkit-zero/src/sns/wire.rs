//! Requests and answers of the protocol, awsQuery in version 2010-03-31, and what its refusals mean.

use bytes::Bytes;
use cloudkit_core::common::{CloudError, Failure, Metadata};
use http_types::{HeaderValue, Method, header};

use crate::call::Request;
use crate::encode::append_component;
use crate::retry::Idempotency;
use crate::service::{ANSWER_BYTES_MAX, Operation, Resource, ServiceClient};
use crate::xml::Element;

/// The parameters of a request.
pub(super) struct Form(String);

impl Form {
    /// Of an operation.
    pub fn new(action: &str) -> Form {
        let mut form = Form(String::with_capacity(256));
        form.push("Action", action);
        form.push("Version", "2010-03-31");
        form
    }

    /// With one parameter more.
    pub fn with(mut self, name: &str, value: &str) -> Form {
        self.push(name, value);
        self
    }

    /// Adds a parameter.
    pub fn push(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        append_component(&mut self.0, name);
        self.0.push('=');
        append_component(&mut self.0, value);
    }

    /// Adds the entry of a map: `name.entry.1.key` and `.value`.
    pub fn push_entry(&mut self, map: &str, number: usize, key: &str, value: &str) {
        self.push(&format!("{map}.entry.{number}.key"), key);
        self.push(&format!("{map}.entry.{number}.value"), value);
    }

    /// Adds the attributes of a message, each a text.
    pub fn push_attributes(&mut self, attributes: &Metadata) {
        for (index, (name, value)) in attributes.iter().enumerate() {
            let entry = format!("MessageAttributes.entry.{}", index + 1);
            self.push(&format!("{entry}.Name"), name);
            self.push(&format!("{entry}.Value.DataType"), "String");
            self.push(&format!("{entry}.Value.StringValue"), value);
        }
    }
}

/// Asks for an operation whose name is that of the protocol, and gives the element `<name>Result`; an empty one if the answer has
/// none. Errors: the call's, and ResponseParsing for what is no XML.
pub(super) async fn ask(
    client: &ServiceClient,
    operation: &Operation<'_>,
    form: Form,
    idempotency: Idempotency,
) -> Result<Element, Failure> {
    let mut request = Request::new("sns", Method::POST, "/");
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
    request.headers.insert(header::CONTENT_TYPE, kind);
    request.body = Bytes::from(form.0).into();
    request.idempotency = idempotency;
    let whole = client.whole(operation, request, ANSWER_BYTES_MAX).await?;
    let root = Element::parse(&whole.body).map_err(|error| client.malformed(operation, error.message()))?;
    Ok(root.child(&format!("{}Result", operation.name)).cloned().unwrap_or_default())
}

/// The text of an element that has to be there.
pub(super) fn text_of(
    client: &ServiceClient,
    operation: &Operation<'_>,
    result: &Element,
    name: &str,
) -> Result<String, Failure> {
    let text = result.text_of(name).map(str::trim).filter(|text| !text.is_empty());
    text.map(String::from).ok_or_else(|| client.malformed(operation, &format!("{name} is missing")))
}

/// What refusals mean here. The resource is the topic's ARN or name, or the subscription's ARN.
pub(super) fn explain(operation: &Operation<'_>, failure: &mut Failure) {
    let topic = match operation.resource {
        Resource::Service => "",
        Resource::One(topic) | Resource::Inside(topic, _) => topic,
    };
    match &mut failure.kind {
        CloudError::NotFound { resource_type, resource_id } => {
            *resource_id = topic.to_string();
            if operation.name == "Unsubscribe" {
                *resource_type = "Subscription".into();
                return;
            }
            *resource_type = "Topic".into();
            let name = topic.rsplit(':').next().unwrap_or(topic);
            failure.detail.hint = Some(format!("create_topic({name:?})"));
        }
        CloudError::Provider { code, message, .. } if INVALID.contains(&code.as_str()) => {
            failure.kind = CloudError::Validation(std::mem::take(message));
        }
        _ => {}
    }
}

/// Whether a code says that the request can never succeed as it is.
pub(super) fn is_invalid(code: &str) -> bool {
    matches!(code, "InvalidParameter" | "InvalidParameterValue") || INVALID.contains(&code)
}

/// Codes of requests that break a rule, beside those that every service has.
const INVALID: [&str; 7] = [
    "ParameterValueInvalid",
    "ValidationError",
    "MalformedQueryString",
    "InvalidBatchEntryId",
    "BatchRequestTooLong",
    "EmptyBatchRequest",
    "RequestEntityTooLarge",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_value_ends_its_parameter() {
        let mut form = Form::new("Publish").with("Message", "a&b=c %+\n日");
        form.push_entry("Attributes", 1, "k=", "&");
        form.push_attributes(&Metadata::from([("n.1".to_string(), "v&".to_string())]));
        let expected = "Action=Publish&Version=2010-03-31&Message=a%26b%3Dc%20%25%2B%0A%E6%97%A5\
            &Attributes.entry.1.key=k%3D&Attributes.entry.1.value=%26\
            &MessageAttributes.entry.1.Name=n.1&MessageAttributes.entry.1.Value.DataType=String\
            &MessageAttributes.entry.1.Value.StringValue=v%26";
        assert_eq!(form.0, expected);
    }
}
