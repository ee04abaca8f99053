//! Requests about messages.
//! Invariant: of a batch no more entries are kept than one beyond the bound; `count` is how many there were.

use super::{RawAttribute, attributes};
use crate::model::limits::BATCH_COUNT_MAX;
use crate::wire::error::Error;
use crate::wire::input::{Input, Text, Value};
use aws::json::JsonError;

/// A message on its way in: SendMessage, or an entry of a batch of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Send<'i> {
    /// QueueUrl; not of an entry.
    pub queue_url: Option<Text<'i>>,
    /// Id; of an entry only.
    pub id: Option<Text<'i>>,
    /// MessageBody.
    pub body: Option<Text<'i>>,
    /// DelaySeconds.
    pub delay_seconds: Option<i32>,
    /// MessageAttributes.
    pub attributes: Vec<RawAttribute<'i>>,
    /// MessageSystemAttributes.
    pub system: Vec<RawAttribute<'i>>,
    /// MessageGroupId.
    pub group: Option<Text<'i>>,
    /// MessageDeduplicationId.
    pub deduplication: Option<Text<'i>>,
}

/// ReceiveMessage.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Receive<'i> {
    /// QueueUrl.
    pub queue_url: Option<Text<'i>>,
    /// MaxNumberOfMessages.
    pub count_max: Option<i32>,
    /// VisibilityTimeout.
    pub visibility_seconds: Option<i32>,
    /// WaitTimeSeconds.
    pub wait_seconds: Option<i32>,
    /// MessageSystemAttributeNames and AttributeNames together.
    pub system_names: Vec<Text<'i>>,
    /// MessageAttributeNames.
    pub names: Vec<Text<'i>>,
    /// ReceiveRequestAttemptId.
    pub attempt: Option<Text<'i>>,
}

/// DeleteMessage or ChangeMessageVisibility, or an entry of a batch of one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OfReceipt<'i> {
    /// QueueUrl; not of an entry.
    pub queue_url: Option<Text<'i>>,
    /// Id; of an entry only.
    pub id: Option<Text<'i>>,
    /// ReceiptHandle.
    pub handle: Option<Text<'i>>,
    /// VisibilityTimeout.
    pub visibility_seconds: Option<i32>,
}

/// A batch of either.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch<'i, T> {
    /// QueueUrl.
    pub queue_url: Option<Text<'i>>,
    /// The entries.
    pub entries: Vec<T>,
    /// How many there were.
    pub count: usize,
}

/// What a batch may consist of.
pub trait Entry<'i>: Default {
    /// Amazon's name of its structure.
    const SHAPE: &'static str;

    /// Takes one member.
    fn take(&mut self, name: &str, value: Value<'_, 'i>) -> Result<bool, JsonError>;
}

impl<'i> Entry<'i> for Send<'i> {
    const SHAPE: &'static str = "SendMessageBatchRequestEntry";

    fn take(&mut self, name: &str, value: Value<'_, 'i>) -> Result<bool, JsonError> {
        match name {
            "QueueUrl" => self.queue_url = Some(value.text()?),
            "Id" => self.id = Some(value.text()?),
            "MessageBody" => self.body = Some(value.text()?),
            "DelaySeconds" => self.delay_seconds = Some(value.integer()?),
            "MessageAttributes" => self.attributes = attributes(value)?,
            "MessageSystemAttributes" => self.system = attributes(value)?,
            "MessageGroupId" => self.group = Some(value.text()?),
            "MessageDeduplicationId" => self.deduplication = Some(value.text()?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'i> Entry<'i> for OfReceipt<'i> {
    const SHAPE: &'static str = "ReceiptEntry";

    fn take(&mut self, name: &str, value: Value<'_, 'i>) -> Result<bool, JsonError> {
        match name {
            "QueueUrl" => self.queue_url = Some(value.text()?),
            "Id" => self.id = Some(value.text()?),
            "ReceiptHandle" => self.handle = Some(value.text()?),
            "VisibilityTimeout" => self.visibility_seconds = Some(value.integer()?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'i> Send<'i> {
    /// Reads SendMessage. Errors: `MalformedInput`.
    pub fn decode(input: &'i Input<'_>) -> Result<Send<'i>, Error> {
        let mut request = Send::default();
        input.members("SendMessageRequest", &mut |name, value| request.take(name, value))?;
        Ok(request)
    }
}

impl<'i> OfReceipt<'i> {
    /// Reads DeleteMessage or ChangeMessageVisibility. Errors: `MalformedInput`.
    pub fn decode(input: &'i Input<'_>) -> Result<OfReceipt<'i>, Error> {
        let mut request = OfReceipt::default();
        input.members("ReceiptRequest", &mut |name, value| request.take(name, value))?;
        Ok(request)
    }
}

impl<'i> Receive<'i> {
    /// Reads ReceiveMessage. Errors: `MalformedInput`.
    pub fn decode(input: &'i Input<'_>) -> Result<Receive<'i>, Error> {
        let mut request = Receive::default();
        input.members("ReceiveMessageRequest", &mut |name, value| {
            match name {
                "QueueUrl" => request.queue_url = Some(value.text()?),
                "MaxNumberOfMessages" => request.count_max = Some(value.integer()?),
                "VisibilityTimeout" => request.visibility_seconds = Some(value.integer()?),
                "WaitTimeSeconds" => request.wait_seconds = Some(value.integer()?),
                "AttributeNames" | "MessageSystemAttributeNames" => {
                    request.system_names.append(&mut value.texts()?);
                }
                "MessageAttributeNames" => request.names = value.texts()?,
                "ReceiveRequestAttemptId" => request.attempt = Some(value.text()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(request)
    }
}

impl<'i, T: Entry<'i>> Batch<'i, T> {
    /// Reads a batch. Errors: `MalformedInput`.
    pub fn decode(input: &'i Input<'_>) -> Result<Batch<'i, T>, Error> {
        let mut batch = Batch { queue_url: None, entries: Vec::new(), count: 0 };
        input.members("BatchRequest", &mut |name, value| {
            match name {
                "QueueUrl" => batch.queue_url = Some(value.text()?),
                "Entries" => value.list(&mut |entry| {
                    let mut read = T::default();
                    entry.structure(T::SHAPE, &mut |name, value| read.take(name, value))?;
                    batch.count += 1;
                    // With one too many the batch is refused; the rest is counted for the words of that.
                    if batch.entries.len() <= BATCH_COUNT_MAX {
                        batch.entries.push(read);
                    }
                    Ok(())
                })?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use aws::query::Parameters;

    use super::*;

    fn query(text: &str) -> Input<'_> {
        Input::Query(Parameters::parse(None, text.as_bytes()).expect("they read"))
    }

    #[test]
    fn a_message_reads_alike_in_both_protocols() {
        let json = Input::Json(
            br#"{"QueueUrl":"u","MessageBody":"b","DelaySeconds":3,"MessageGroupId":"g","MessageDeduplicationId":"d",
                "MessageAttributes":{"a":{"DataType":"String","StringValue":"v"},"b":{"DataType":"Binary","BinaryValue":"AP8="}},
                "MessageSystemAttributes":{"AWSTraceHeader":{"DataType":"String","StringValue":"t"}}}"#,
        );
        let query = query(
            "Action=SendMessage&QueueUrl=u&MessageBody=b&DelaySeconds=3&MessageGroupId=g&MessageDeduplicationId=d\
             &MessageAttribute.1.Name=a&MessageAttribute.1.Value.DataType=String&MessageAttribute.1.Value.StringValue=v\
             &MessageAttribute.2.Name=b&MessageAttribute.2.Value.DataType=Binary\
             &MessageAttribute.2.Value.BinaryValue=AP8%3D&MessageSystemAttribute.1.Name=AWSTraceHeader\
             &MessageSystemAttribute.1.Value.DataType=String&MessageSystemAttribute.1.Value.StringValue=t",
        );
        let read = Send::decode(&json).expect("JSON");
        assert_eq!(read, Send::decode(&query).expect("Query"));
        assert_eq!((read.attributes.len(), read.attributes[1].binary.as_deref()), (2, Some(&[0, 255][..])));
        assert_eq!(read.system[0].text.as_deref(), Some("t"));
    }

    #[test]
    fn a_batch_keeps_its_entries_and_counts_the_rest() {
        let entries: Vec<String> =
            (0..50).map(|index| format!(r#"{{"Id":"{index}","ReceiptHandle":"h"}}"#)).collect();
        let text = format!(r#"{{"QueueUrl":"u","Entries":[{}]}}"#, entries.join(","));
        let json = Input::Json(text.as_bytes());
        let batch = Batch::<OfReceipt<'_>>::decode(&json).expect("it reads");
        assert_eq!((batch.count, batch.entries.len()), (50, BATCH_COUNT_MAX + 1));
        let query = query(
            "QueueUrl=u&ChangeMessageVisibilityBatchRequestEntry.2.Id=b&ChangeMessageVisibilityBatchRequestEntry.1.Id=a\
             &ChangeMessageVisibilityBatchRequestEntry.1.VisibilityTimeout=7",
        );
        let batch = Batch::<OfReceipt<'_>>::decode(&query).expect("it reads");
        let ids: Vec<_> = batch.entries.iter().map(|entry| entry.id.as_deref()).collect();
        assert_eq!((ids, batch.entries[0].visibility_seconds), (vec![Some("a"), Some("b")], Some(7)));
    }

    #[test]
    fn a_receive_takes_old_and_new_names_of_what_it_selects() {
        let json = Input::Json(
            br#"{"QueueUrl":"u","MaxNumberOfMessages":10,"WaitTimeSeconds":20,"VisibilityTimeout":0,"AttributeNames":["All"],
                "MessageSystemAttributeNames":["SenderId"],"MessageAttributeNames":["a.*"],"ReceiveRequestAttemptId":"x"}"#,
        );
        let query = query(
            "QueueUrl=u&MaxNumberOfMessages=10&WaitTimeSeconds=20&VisibilityTimeout=0&AttributeName.1=All\
             &MessageSystemAttributeName.1=SenderId&MessageAttributeName.1=a.*&ReceiveRequestAttemptId=x",
        );
        let read = Receive::decode(&json).expect("JSON");
        assert_eq!(read, Receive::decode(&query).expect("Query"));
        assert_eq!(read.system_names, ["All", "SenderId"]);
    }

    #[test]
    fn more_attributes_than_are_allowed_are_counted() {
        let many: Vec<String> = (0..200)
            .map(|index| format!(r#""a{index}":{{"DataType":"String","StringValue":"v"}}"#))
            .collect();
        let text = format!(r#"{{"MessageAttributes":{{{}}}}}"#, many.join(","));
        let json = Input::Json(text.as_bytes());
        assert_eq!(Send::decode(&json).expect("it reads").attributes.len(), 200);
    }
}
