//! What is there before the first request: queues and how much waits in them, topics and what they feed.
//! Invariant: when it ends well, as many messages wait as the settings say, and each of them was acknowledged.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{BATCH_ENTRIES, Operation, Sqs, form_coded, members, whole_batch};
use crate::client::blocking::{Answer, Client};
use crate::client::http1;
use crate::load::schedule::SplitMix;
use crate::prepare::sign_json::{Api, JsonSigner, SNS, SQS};
use crate::scenario::Target;
use crate::scenarios::s3::{fill::CONNECTIONS, now, timestamp};

/// So much of an answer is shown.
const WORDS_BYTES_MAX: usize = 300;

impl Sqs {
    /// Makes the queue unless it is there, and gives its URL.
    pub(super) fn make_queue(&self, target: &Target) -> Result<String, String> {
        make_queue(&mut client(target), target, &self.queue_name(), self.settings.is_fifo)
    }

    /// Sends what is missing.
    pub(super) fn top_up(&self, target: &Target, url: &str) -> Result<(), String> {
        let wanted = match self.settings.operation {
            Operation::Take => target.backlog_count + self.settings.message_count,
            Operation::Send | Operation::Publish => target.backlog_count,
        };
        if wanted == 0 {
            return Ok(());
        }
        let body = format!(r#"{{"QueueUrl":"{url}","AttributeNames":["ApproximateNumberOfMessages"]}}"#);
        let answer = ask(&mut client(target), target, SQS, "GetQueueAttributes", &body)?;
        let waiting =
            members(&answer.body, "ApproximateNumberOfMessages").first().and_then(|text| text.parse().ok());
        let missing = wanted.saturating_sub(waiting.unwrap_or(0));
        // Of every run: ids of an earlier one would store nothing.
        let run = SplitMix(now().as_nanos() as u64 ^ 1 << 63).next();
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            let senders: Vec<_> = (0..CONNECTIONS)
                .map(|_| scope.spawn(|| self.send_some(target, url, run, &next, missing)))
                .collect();
            senders.into_iter().try_for_each(|sender| {
                sender.join().map_err(|_| "a thread that fills panicked".to_owned()).flatten()
            })
        })
    }

    /// Sends batches until there are none left; the first refusal ends the work of all.
    fn send_some(
        &self,
        target: &Target,
        url: &str,
        run: u64,
        next: &AtomicUsize,
        count: usize,
    ) -> Result<(), String> {
        let mut client = client(target);
        loop {
            let first = next.fetch_add(BATCH_ENTRIES, Ordering::Relaxed);
            if first >= count {
                return Ok(());
            }
            let entries = BATCH_ENTRIES.min(count - first);
            let operation = if entries == 1 { "SendMessage" } else { "SendMessageBatch" };
            let body = self.sending(url, run, first, entries);
            let sent = ask(&mut client, target, SQS, operation, &body).and_then(|answer| {
                if entries == 1 {
                    return Ok(());
                }
                let body = answer.body;
                let heard = http1::Answer { body, ..http1::Answer::of(200) };
                whole_batch(&heard, entries).map_err(|(_, words)| words)
            });
            if sent.is_err() {
                next.store(count, Ordering::Relaxed);
                return sent;
            }
        }
    }

    /// Makes the topic, the queues that it feeds and what joins them, unless they are there. Gives the topic's ARN.
    pub(super) fn make_topic(&self, target: &Target) -> Result<String, String> {
        let mut client = client(target);
        let (name, count) = (&self.settings.queue, self.settings.queue_count);
        let form = format!("Action=CreateTopic&Version=2010-03-31&Name={name}-{count}");
        let answer = ask(&mut client, target, SNS, "CreateTopic", &form)?;
        let topic = element(&answer, "TopicArn")?;
        for number in 0..count {
            let url = make_queue(&mut client, target, &format!("{name}-fed-{number}"), false)?;
            let body = format!(r#"{{"QueueUrl":"{url}","AttributeNames":["QueueArn"]}}"#);
            let answer = ask(&mut client, target, SQS, "GetQueueAttributes", &body)?;
            let arn = members(&answer.body, "QueueArn").pop().ok_or("a queue has no ARN")?;
            let policy = format!(
                r#"{{\"Version\":\"2012-10-17\",\"Statement\":[{{\"Effect\":\"Allow\",\"Principal\":{{\"Service\":\"sns.amazonaws.com\"}},\"Action\":\"sqs:SendMessage\",\"Resource\":\"{arn}\"}}]}}"#
            );
            let body = format!(r#"{{"QueueUrl":"{url}","Attributes":{{"Policy":"{policy}"}}}}"#);
            ask(&mut client, target, SQS, "SetQueueAttributes", &body)?;
            let form = format!(
                "Action=Subscribe&Version=2010-03-31&TopicArn={}&Protocol=sqs&Endpoint={}",
                form_coded(&topic),
                form_coded(&arn)
            );
            ask(&mut client, target, SNS, "Subscribe", &form)?;
        }
        Ok(topic)
    }
}

pub(super) fn client(target: &Target) -> Client {
    Client::new(target.address, target.tls.as_ref())
}

/// Makes a queue unless it is there, and gives its URL.
pub(super) fn make_queue(
    client: &mut Client,
    target: &Target,
    name: &str,
    is_fifo: bool,
) -> Result<String, String> {
    // What a run received and did not delete shall not come back within it.
    let kind = if is_fifo { r#","FifoQueue":"true""# } else { "" };
    let body = format!(r#"{{"QueueName":"{name}","Attributes":{{"VisibilityTimeout":"600"{kind}}}}}"#);
    let answer = ask(client, target, SQS, "CreateQueue", &body)?;
    members(&answer.body, "QueueUrl").pop().ok_or_else(|| "CreateQueue gives no URL".to_owned())
}

/// The text of an element of which there is one.
fn element(answer: &Answer, name: &str) -> Result<String, String> {
    let text = String::from_utf8_lossy(&answer.body);
    let found = text.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once("</"));
    found.map(|(text, _)| text.to_owned()).ok_or_else(|| format!("no {name} in {text}"))
}

/// Signed as of this moment: filling may take longer than a signature is good for.
pub(super) fn ask(
    client: &mut Client,
    target: &Target,
    api: Api,
    operation: &str,
    body: &str,
) -> Result<Answer, String> {
    let mut head = Vec::new();
    JsonSigner::new(api, &target.host, target.credentials.as_ref(), timestamp(now())).append(
        &mut head,
        operation,
        body.as_bytes(),
    );
    let answer = client.exchange(&head, body.as_bytes())?;
    if answer.status == 200 {
        return Ok(answer);
    }
    let shown = &answer.body[..answer.body.len().min(WORDS_BYTES_MAX)];
    Err(format!("{operation} was answered {}: {}", answer.status, String::from_utf8_lossy(shown)))
}
