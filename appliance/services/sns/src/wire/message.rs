//! What a Publish, or an entry of a PublishBatch, says about its message.
//! Invariant: a `Draft` obeys every rule that does not depend on the topic; `size_bytes` is what counts against the topic's
//! MaximumMessageSize.
//! Source: SNS API reference, Publish; "Amazon SNS message attributes".

use aws::json::{JsonError, Plain, Reader};
use aws::query::Node;

use super::error::{Code, Error};
use crate::model::arn::Uuid;
use crate::model::limits::{ATTRIBUTE_NAME_MAX, GROUP_ID_MAX, MESSAGE_ATTRIBUTE_COUNT_MAX, SUBJECT_MAX};
use crate::model::message::{
    AttributeKind, AttributeValue, Message, MessageAttribute, is_attribute_name, is_number,
};
use crate::model::subscription::Protocol;
use crate::model::topic::Topic;

/// A message that somebody wants to publish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draft {
    /// The message. Its deduplication id is the one that was given, if one was.
    pub message: Message,
    /// Bytes of the text as it was sent, and of the attributes.
    pub size_bytes: usize,
    /// The text as it was sent, of which a topic makes the deduplication id.
    pub sent_text: Box<str>,
}

/// Reads the parameters of one message.
pub fn draft(node: Node<'_>, id: Uuid) -> Result<Draft, Error> {
    let sent = node.text("Message").ok_or_else(|| Error::missing("Message"))?;
    if sent.is_empty() {
        return Err(Error::invalid("Empty message"));
    }
    let (text, texts) = match node.text("MessageStructure") {
        Some("json") => structured(sent)?,
        None | Some("" | "string") => (sent.into(), Vec::new()),
        Some(_) => return Err(Error::invalid("MessageStructure")),
    };
    let attributes = attributes(node)?;
    let message = Message {
        id,
        text,
        texts,
        subject: subject(node)?,
        attributes,
        group: group_id(node, "MessageGroupId")?,
        deduplication: group_id(node, "MessageDeduplicationId")?,
    };
    let size_bytes = sent.len() + message.attribute_bytes();
    Ok(Draft { message, size_bytes, sent_text: sent.into() })
}

impl Draft {
    /// What the topic wants of its messages. Errors: InvalidParameter.
    pub fn check(&self, topic: &Topic) -> Result<(), Error> {
        if self.size_bytes > topic.message_bytes_max() {
            return Err(Error::invalid("Message too long"));
        }
        let Message { group, deduplication, .. } = &self.message;
        if !topic.is_fifo() {
            return match deduplication {
                Some(_) => Err(Error::invalid(
                    "MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for this topic type",
                )),
                None => Ok(()),
            };
        }
        if group.is_none() {
            return Err(Error::invalid("The MessageGroupId parameter is required for FIFO topics"));
        }
        if deduplication.is_none() && !topic.deduplicates_by_content() {
            return Err(Error::invalid(
                "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
            ));
        }
        Ok(())
    }

    /// The id by which a topic that keeps order knows a repetition; nothing for other topics.
    #[must_use]
    pub fn deduplication(&self, topic: &Topic) -> Option<Box<str>> {
        if !topic.is_fifo() {
            return None;
        }
        let given = self.message.deduplication.clone();
        given.or_else(|| Some(aws::encoding::hex(&hash::sha256(self.sent_text.as_bytes())).into()))
    }
}

/// The text for everybody, and those for some protocols.
type Texts = (Box<str>, Vec<(Protocol, Box<str>)>);

/// The texts of a message whose structure is JSON: an object of strings with the member `default`.
fn structured(json: &str) -> Result<Texts, Error> {
    let mut default = None;
    let mut texts: Vec<(Protocol, Box<str>)> = Vec::new();
    let mut not_text = false;
    let outcome = Reader::<Plain>::new(json.as_bytes()).and_then(|mut reader| {
        reader.structure("", &mut |name, r| {
            if r.peek() != Some(b'"') {
                not_text |= name == "default" || Protocol::parse(name).is_some();
                return Ok(false);
            }
            let text: Box<str> = r.quoted()?.into();
            match (name, Protocol::parse(name)) {
                ("default", _) => default = Some(text),
                (_, Some(protocol)) => {
                    texts.retain(|(known, _)| *known != protocol);
                    texts.push((protocol, text));
                }
                (_, None) => {}
            }
            Ok(true)
        })?;
        reader.finish()
    });
    if not_text || outcome.is_err() {
        return Err(Error::invalid("Message Structure - JSON message body failed to parse"));
    }
    let default =
        default.ok_or_else(|| Error::invalid("Message Structure - No default entry in JSON message body"))?;
    if default.is_empty() {
        return Err(Error::invalid("Empty message"));
    }
    Ok((default, texts))
}

fn subject(node: Node<'_>) -> Result<Option<Box<str>>, Error> {
    let Some(subject) = node.text("Subject") else { return Ok(None) };
    // AWS: ASCII text that begins with a letter, number or punctuation mark, in one line, under 100 characters. It takes
    // other letters too.
    let is_one = !subject.is_empty()
        && subject.chars().count() <= SUBJECT_MAX
        && !subject.starts_with(char::is_whitespace)
        && !subject.chars().any(char::is_control);
    if is_one { Ok(Some(subject.into())) } else { Err(Error::invalid("Subject")) }
}

/// A group id or a deduplication id: letters, digits and punctuation of ASCII.
fn group_id(node: Node<'_>, name: &str) -> Result<Option<Box<str>>, Error> {
    let Some(id) = node.text(name) else { return Ok(None) };
    let is_one = (1..=GROUP_ID_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    if is_one {
        return Ok(Some(id.into()));
    }
    Err(Error::invalid(&format!(
        "{name} Reason: The {name} can only include alphanumeric and punctuation characters. 1 to 128 in length"
    )))
}

fn attributes(node: Node<'_>) -> Result<Vec<MessageAttribute>, Error> {
    let entries = node.entries("MessageAttributes");
    if entries.len() > MESSAGE_ATTRIBUTE_COUNT_MAX {
        return Err(Error::invalid("MessageAttributes Reason: Too many message attributes"));
    }
    let mut attributes: Vec<MessageAttribute> = Vec::with_capacity(entries.len());
    let mut names = std::collections::HashSet::with_capacity(entries.len());
    for entry in entries {
        let name = entry.text("Name").unwrap_or_default();
        if !is_attribute_name(name) || !names.insert(name) {
            return Err(wrong_value(&format!(
                "The message attribute name '{name}' is not valid or stands twice."
            )));
        }
        attributes.push(attribute(name, entry.child("Value"))?);
    }
    Ok(attributes)
}

/// ParameterValueInvalid, which is about message attributes only.
fn wrong_value(text: &str) -> Error {
    Error::new(Code::ParameterValueInvalid, text.to_owned())
}

fn attribute(name: &str, value: Node<'_>) -> Result<MessageAttribute, Error> {
    let data_type = value.text("DataType").unwrap_or_default();
    if data_type.is_empty() {
        return Err(wrong_value(&format!(
            "The message attribute '{name}' must contain non-empty message attribute type."
        )));
    }
    let kind = AttributeKind::of(data_type).filter(|_| data_type.len() <= ATTRIBUTE_NAME_MAX).ok_or_else(|| {
        wrong_value(&format!(
            "The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String."
        ))
    })?;
    let (text, binary) = (value.text("StringValue"), value.text("BinaryValue"));
    let of_type = || {
        wrong_value(&format!(
            "The message attribute '{name}' with type '{data_type}' must use field '{}'.",
            if kind == AttributeKind::Binary { "Binary" } else { "String" }
        ))
    };
    let empty = || {
        wrong_value(&format!(
            "The message attribute '{name}' must contain non-empty message attribute value for message attribute type '{data_type}'."
        ))
    };
    let value = match (kind, text, binary) {
        (AttributeKind::Binary, None, Some(base64)) => {
            let bytes = aws::encoding::unbase64(base64.as_bytes()).ok_or_else(|| {
                wrong_value(&format!("The message attribute '{name}' has a value that is no base64."))
            })?;
            if bytes.is_empty() {
                return Err(empty());
            }
            AttributeValue::Binary(bytes.into())
        }
        (AttributeKind::Binary, Some(_), _) => return Err(of_type()),
        (AttributeKind::Binary, None, None) => return Err(empty()),
        (_, Some(text), None) => AttributeValue::Text(checked(name, kind, text)?),
        (_, _, Some(_)) => return Err(of_type()),
        (_, None, None) => return Err(empty()),
    };
    Ok(MessageAttribute { name: name.into(), data_type: data_type.into(), value })
}

fn checked(name: &str, kind: AttributeKind, text: &str) -> Result<Box<str>, Error> {
    let fits = match kind {
        AttributeKind::String => !text.is_empty(),
        AttributeKind::StringArray => is_array(text),
        AttributeKind::Number => is_number(text),
        AttributeKind::Binary => false,
    };
    if fits {
        return Ok(text.into());
    }
    Err(wrong_value(&match kind {
        AttributeKind::Number => {
            format!("Could not cast message attribute '{name}' value to number.")
        }
        AttributeKind::StringArray => {
            format!(
                "The message attribute '{name}' with type 'String.Array' must hold a JSON array of scalars."
            )
        }
        AttributeKind::String | AttributeKind::Binary => {
            format!(
                "The message attribute '{name}' must contain non-empty message attribute value for message attribute type 'String'."
            )
        }
    }))
}

/// Whether a text is a JSON array of texts, numbers, booleans and nulls.
fn is_array(text: &str) -> bool {
    let walk = || -> Result<(), JsonError> {
        let mut reader = Reader::<Plain>::new(text.as_bytes())?;
        let mut more = reader.open_list()?;
        while more {
            // An object or an array is no scalar.
            reader.scalar()?;
            more = reader.next_element()?;
        }
        reader.finish()
    };
    walk().is_ok()
}

#[cfg(test)]
mod tests {
    use aws::query::Parameters;

    use super::*;
    use crate::model::topic::Setting;
    use crate::store::topic::tests::plain_topic;

    fn read(text: &str) -> Result<Draft, Error> {
        let parameters = Parameters::parse(None, text.as_bytes()).expect("it reads");
        draft(parameters.root(), Uuid([1; 16]))
    }

    fn refusal(text: &str) -> (Code, String) {
        let error = read(text).expect_err(text);
        (error.code, error.message.into_owned())
    }

    #[test]
    fn a_plain_message_is_its_text() {
        let draft = read("Message=hello&Subject=s").expect("a message");
        assert_eq!((&*draft.message.text, draft.message.subject.as_deref()), ("hello", Some("s")));
        assert_eq!(draft.size_bytes, 5);
    }

    #[test]
    fn empty_texts_and_wrong_subjects_are_refused() {
        assert_eq!(refusal("Message="), (Code::InvalidParameter, "Invalid parameter: Empty message".into()));
        assert_eq!(refusal("Subject=x").0, Code::ValidationError);
        for subject in ["", "a%0Ab", "%20a", &"s".repeat(101), "a%07"] {
            let expected = (Code::InvalidParameter, "Invalid parameter: Subject".to_owned());
            assert_eq!(refusal(&format!("Message=m&Subject={subject}")), expected, "{subject}");
        }
        assert!(read(&format!("Message=m&Subject={}", "s".repeat(100))).is_ok());
    }

    #[test]
    fn a_structured_message_has_a_text_for_each_protocol_and_one_for_all() {
        let json = aws::uri::encode(r#"{"default":"d","sqs":"q","https":"h","email":{"x":1},"sqs":"q2"}"#);
        let message = read(&format!("MessageStructure=json&Message={json}")).expect("a message").message;
        assert_eq!(&*message.text, "d");
        assert_eq!(message.text_for(Protocol::Sqs), "q2");
        assert_eq!(message.text_for(Protocol::Https), "h");
        assert_eq!(message.text_for(Protocol::Http), "d");
        let of = |json: &str| refusal(&format!("MessageStructure=json&Message={}", aws::uri::encode(json))).1;
        assert_eq!(of("{}"), "Invalid parameter: Message Structure - No default entry in JSON message body");
        for json in [
            "text",
            "[]",
            r#"{"default":"#,
            r#"{"default":1}"#,
            r#"{"default":"a","sqs":[]}"#,
            r#"{"default":"a"} x"#,
        ] {
            assert_eq!(
                of(json),
                "Invalid parameter: Message Structure - JSON message body failed to parse",
                "{json}"
            );
        }
        assert_eq!(refusal("MessageStructure=xml&Message=m").1, "Invalid parameter: MessageStructure");
    }

    fn with_attribute(rest: &str) -> String {
        let rest: String = rest.split('&').map(|part| format!("&MessageAttributes.entry.1.{part}")).collect();
        format!("Message=m{rest}")
    }

    #[test]
    fn attributes_have_the_value_that_their_type_wants() {
        for rest in [
            "Name=a&Value.DataType=String&Value.StringValue=x",
            "Name=a&Value.DataType=Number.int&Value.StringValue=-1.5e3",
            "Name=a&Value.DataType=String.Array&Value.StringValue=[%22a%22,1,true,null]",
            "Name=a&Value.DataType=Binary&Value.BinaryValue=AAE%3D",
        ] {
            assert_eq!(read(&with_attribute(rest)).expect(rest).message.attributes.len(), 1, "{rest}");
        }
        for rest in [
            "Name=a&Value.DataType=String",
            "Name=a&Value.StringValue=x",
            "Name=a&Value.DataType=String&Value.StringValue=",
            "Name=a&Value.DataType=Text&Value.StringValue=x",
            "Name=a&Value.DataType=Number&Value.StringValue=x",
            "Name=a&Value.DataType=String.Array&Value.StringValue=[{}]",
            "Name=a&Value.DataType=String.Array&Value.StringValue=x",
            "Name=a&Value.DataType=Binary&Value.StringValue=x",
            "Name=a&Value.DataType=Binary&Value.BinaryValue=%21",
            "Name=a&Value.DataType=Binary&Value.BinaryValue=",
            "Name=a&Value.DataType=String&Value.BinaryValue=AAE%3D",
            "Name=AWS.a&Value.DataType=String&Value.StringValue=x",
            "Value.DataType=String&Value.StringValue=x",
        ] {
            assert_eq!(refusal(&with_attribute(rest)).0, Code::ParameterValueInvalid, "{rest}");
        }
        let twice = "Message=m&MessageAttributes.entry.1.Name=a&MessageAttributes.entry.1.Value.DataType=String\
                     &MessageAttributes.entry.1.Value.StringValue=x&MessageAttributes.entry.2.Name=a\
                     &MessageAttributes.entry.2.Value.DataType=String&MessageAttributes.entry.2.Value.StringValue=y";
        assert_eq!(refusal(twice).0, Code::ParameterValueInvalid);
    }

    #[test]
    fn what_counts_is_the_text_as_sent_with_its_attributes() {
        let text = with_attribute("Name=ab&Value.DataType=String&Value.StringValue=xyz");
        assert_eq!(read(&text).expect("a message").size_bytes, 1 + 2 + 6 + 3);
        let mut topic = plain_topic("t");
        let of = |bytes: usize| read(&format!("Message={}", "m".repeat(bytes))).expect("a message");
        assert_eq!(of(262_144).check(&topic), Ok(()));
        assert_eq!(of(262_145).check(&topic), Err(Error::invalid("Message too long")));
        topic.settings.insert(Setting::MaximumMessageSize, "1048576".into());
        assert_eq!(of(1_048_576).check(&topic), Ok(()));
        assert_eq!(of(1_048_577).check(&topic), Err(Error::invalid("Message too long")));
    }

    #[test]
    fn a_topic_that_keeps_order_wants_a_group_and_something_to_know_repetitions_by() {
        let (plain, mut fifo) = (plain_topic("t"), plain_topic("t.fifo"));
        let check = |text: &str, topic: &Topic| read(text).expect("a message").check(topic);
        assert_eq!(check("Message=m&MessageGroupId=g", &plain), Ok(()));
        assert!(check("Message=m&MessageDeduplicationId=d", &plain).is_err());
        assert_eq!(
            check("Message=m&MessageDeduplicationId=d", &fifo),
            Err(Error::invalid("The MessageGroupId parameter is required for FIFO topics"))
        );
        let text = "Message=m&MessageGroupId=g";
        assert!(check(text, &fifo).expect_err("no id").message.contains("ContentBasedDeduplication enabled"));
        fifo.settings.insert(Setting::ContentBasedDeduplication, "true".into());
        assert_eq!(check(text, &fifo), Ok(()));
        let message = read(text).expect("a message");
        // SHA-256 of "m".
        assert_eq!(
            message.deduplication(&fifo).as_deref(),
            Some("62c66a7a5dd70c3146618063c344e531e6d4b59e379808443ce962b3abd63c5a")
        );
        assert_eq!(message.deduplication(&plain), None);
        let given = read("Message=m&MessageGroupId=g&MessageDeduplicationId=d").expect("a message");
        assert_eq!(given.deduplication(&fifo).as_deref(), Some("d"));
        for id in ["", "a%20b", "%C3%A4", &"g".repeat(129)] {
            assert_eq!(refusal(&format!("Message=m&MessageGroupId={id}")).0, Code::InvalidParameter, "{id}");
        }
    }
}
