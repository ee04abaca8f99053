//! ReceiveMessage: messages out of a queue, at once or as soon as there are any.

use plan::{Context, Plan};

use super::refused::{Said, error_of};
use crate::call::{Shared, settle};
use crate::engine::{self, ReceiveRequest, Received};
use crate::model::limits::{BATCH_COUNT_MAX, VISIBILITY_SECONDS_MAX, WAIT_SECONDS_MAX};
use crate::model::message::{AttributeValue, MessageAttribute};
use crate::wire::error::Error;
use crate::wire::input::Input;
use crate::wire::md5;
use crate::wire::name::check_id;
use crate::wire::reply::Out;
use crate::wire::request::message::Receive;
use crate::wire::selection::{Names, Shown, SystemNames};

/// Room for a message without its body.
const MESSAGE_BYTES: usize = 768;

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, input: &Input<'_>) -> Result<Plan, Error> {
    let request = Receive::decode(input)?;
    let queue = call.queue(cx, request.queue_url.as_deref())?;
    let asked = check(&request)?;
    let system = SystemNames::parse(&request.system_names)?;
    let names = Names::parse(&request.names);
    let is_fifo = queue.key.is_fifo();
    let attempt = asked.attempt.clone();
    Ok(engine::receive(cx, queue, asked, move |_, outcome| {
        let said = Said { attempt: attempt.as_deref().unwrap_or_default(), ..Said::default() };
        let outcome = outcome.map_err(|refusal| error_of(refusal, said));
        settle(
            &call,
            outcome.map(|received| {
                let bytes = received.iter().map(|one| MESSAGE_BYTES + one.body.len()).sum();
                call.result(bytes, |out| {
                    // Clients ask whether the list is there, not whether it is empty.
                    if !received.is_empty() {
                        out.list("Messages", "Message", &received, |out, one| {
                            write(out, one, is_fifo, system, &names);
                        });
                    }
                })
            }),
        )
    }))
}

/// The numbers of a request. Errors: InvalidParameterValue.
fn check(request: &Receive<'_>) -> Result<ReceiveRequest, Error> {
    let count_max = request.count_max.unwrap_or(1);
    let is_right = usize::try_from(count_max).is_ok_and(|count| (1..=BATCH_COUNT_MAX).contains(&count));
    if !is_right {
        let reason = format!("Must be between 1 and {BATCH_COUNT_MAX}, if provided.");
        return Err(Error::invalid_value("MaxNumberOfMessages", count_max, &reason));
    }
    let wait_seconds = bounded("WaitTimeSeconds", request.wait_seconds, WAIT_SECONDS_MAX.into())?;
    let visibility_seconds =
        bounded("VisibilityTimeout", request.visibility_seconds, VISIBILITY_SECONDS_MAX)?;
    if let Some(attempt) = &request.attempt {
        check_id("ReceiveRequestAttemptId", attempt)?;
    }
    Ok(ReceiveRequest {
        count_max: u8::try_from(count_max).unwrap_or(1),
        wait_seconds: wait_seconds.and_then(|seconds| u8::try_from(seconds).ok()),
        visibility_seconds,
        attempt: request.attempt.as_deref().map(Into::into),
    })
}

fn bounded(parameter: &str, value: Option<i32>, max: u32) -> Result<Option<u32>, Error> {
    let Some(value) = value else { return Ok(None) };
    match u32::try_from(value) {
        Ok(right) if right <= max => Ok(Some(right)),
        _ => {
            let reason = format!("Must be >= 0 and <= {max}, if provided.");
            Err(Error::invalid_value(parameter, value, &reason))
        }
    }
}

fn write(out: &mut Out, received: &Received, is_fifo: bool, system: SystemNames, names: &Names) {
    let message = &received.message;
    out.text("MessageId", &message.id.to_string());
    out.text("ReceiptHandle", &received.handle);
    out.text("MD5OfBody", &md5::of_body(&received.body));
    // What was sent is text; what the store gives back is as it was sent.
    out.text("Body", &String::from_utf8_lossy(&received.body));
    let shown = Shown {
        message,
        sequence: is_fifo.then_some(received.sequence),
        receive_count: received.receive_count,
        first_receive_ms: received.first_receive_ms,
    };
    let system = system.of(&shown);
    if !system.is_empty() {
        let entries = system.iter().map(|(name, value)| (*name, value.as_str()));
        out.map("Attributes", "Attribute", "Name", entries);
    }
    let attributes = names.of(message);
    if let Some(digest) = md5::of_attributes(attributes.clone()) {
        out.text("MD5OfMessageAttributes", &digest);
        out.structures("MessageAttributes", "MessageAttribute", attributes, |one| &one.name, write_attribute);
    }
}

fn write_attribute(out: &mut Out, attribute: &&MessageAttribute) {
    match &attribute.value {
        AttributeValue::Text(text) => out.text("StringValue", text),
        AttributeValue::Binary(bytes) => out.blob("BinaryValue", bytes),
    }
    out.text("DataType", &attribute.kind);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_receive_have_their_bounds_and_words() {
        let refused = |request: &Receive<'_>| check(request).expect_err("refused").message.into_owned();
        let with = |count_max, wait_seconds, visibility_seconds| Receive {
            count_max,
            wait_seconds,
            visibility_seconds,
            ..Receive::default()
        };
        for (request, text) in [
            (
                with(Some(11), None, None),
                "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.",
            ),
            (
                with(Some(0), None, None),
                "Value 0 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.",
            ),
            (
                with(None, Some(21), None),
                "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.",
            ),
            (
                with(None, None, Some(-1)),
                "Value -1 for parameter VisibilityTimeout is invalid. Reason: Must be >= 0 and <= 43200, if provided.",
            ),
        ] {
            assert_eq!(refused(&request), text);
        }
        let asked = check(&with(None, Some(20), Some(0))).expect("they pass");
        assert_eq!((asked.count_max, asked.wait_seconds, asked.visibility_seconds), (1, Some(20), Some(0)));
    }
}
