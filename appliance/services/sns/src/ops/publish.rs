//! Publish, PublishBatch.
//! Invariant: the reply leaves when message and outbox are durable; signatures are made on this core before the topic's
//! shard is asked, and only when somebody gets an envelope.

use std::collections::HashSet;
use std::sync::Arc;

use aws::query::{Node, Parameters};
use aws::xml::Writer;
use plan::{Context, Plan};

use crate::call::{Shared, settle};
use crate::engine::envelope::{sequence_text, timestamp_text};
use crate::engine::fan_out::{Origin, Signature, version_of};
use crate::engine::publish::{Ending, Entry, Publish, Published, Resume};
use crate::model::arn::{TopicArn, Uuid};
use crate::model::limits::{BATCH_COUNT_MAX, BATCH_ID_MAX};
use crate::model::subscription::Protocol;
use crate::model::topic::Topic;
use crate::signing::{Notification, Signer};
use crate::wire::error::{Code, Error};
use crate::wire::message::{Draft, draft};
use crate::wire::request::topic_arn;

/// What was made of each message of a request.
type Outcomes = Vec<Result<Published, Error>>;
/// A message, or why it is none.
type Drafts = Vec<Result<Arc<Draft>, Error>>;

/// Begins Publish.
pub fn one(call: Shared, cx: &mut Context<'_>, parameters: &Parameters<'_>) -> Result<Plan, Error> {
    let root = parameters.root();
    if root.text("PhoneNumber").is_some() {
        return Err(Error::invalid("PhoneNumber Reason: text messages are not supported"));
    }
    let target = root.text("TopicArn").or_else(|| root.text("TargetArn"));
    let target = target
        .ok_or_else(|| Error::invalid("TopicArn or TargetArn Reason: no value for required parameter"))?;
    let arn = TopicArn::parse(target).ok_or_else(|| Error::invalid("TopicArn"))?;
    let draft = draft(root, random_id(cx))?;
    let topic = call.topic(cx, arn)?;
    draft.check(&topic)?;
    let drafts = vec![Ok(Arc::new(draft))];
    Ok(publish(call, cx, &topic, drafts, |call, outcomes| {
        let published = outcomes.into_iter().next().unwrap_or_else(|| Err(Error::internal()))?;
        Ok(call.reply(REPLY_BYTES, |out| show(out, &published)))
    }))
}

/// Room for what is said of one message.
const REPLY_BYTES: usize = 192;

fn show(out: &mut Writer, published: &Published) {
    out.text("MessageId", &published.message.to_string());
    if let Some(sequence) = published.sequence {
        out.text("SequenceNumber", &sequence_text(sequence));
    }
}

/// Begins PublishBatch.
pub fn batch(call: Shared, cx: &mut Context<'_>, parameters: &Parameters<'_>) -> Result<Plan, Error> {
    let root = parameters.root();
    let arn = topic_arn(root)?;
    let entries = root.members("PublishBatchRequestEntries");
    let ids = ids(&entries)?;
    let drafts: Drafts =
        entries.into_iter().map(|entry| Ok(Arc::new(draft(entry, random_id(cx))?))).collect();
    let topic = call.topic(cx, arn)?;
    let sum: usize = drafts.iter().flatten().map(|draft| draft.size_bytes).sum();
    if sum > topic.message_bytes_max() {
        return Err(Error::new(
            Code::BatchRequestTooLong,
            "The length of all the batch messages put together is more than the limit.",
        ));
    }
    Ok(publish(call, cx, &topic, drafts, move |call, outcomes| Ok(reply(call, &ids, &outcomes))))
}

/// The ids of a batch's entries. Errors: those of the batch as a whole.
fn ids(entries: &[Node<'_>]) -> Result<Vec<String>, Error> {
    if entries.is_empty() {
        return Err(Error::new(Code::EmptyBatchRequest, "The batch request doesn't contain any entries."));
    }
    if entries.len() > BATCH_COUNT_MAX {
        return Err(Error::new(
            Code::TooManyEntriesInBatchRequest,
            "The batch request contains more entries than permissible.",
        ));
    }
    let mut seen = HashSet::new();
    let mut ids = Vec::with_capacity(entries.len());
    for entry in entries {
        let id = entry.text("Id").unwrap_or_default();
        let is_one = (1..=BATCH_ID_MAX).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if !is_one {
            return Err(Error::new(
                Code::InvalidBatchEntryId,
                "The Id of a batch entry in a batch request doesn't abide by the specification.",
            ));
        }
        if !seen.insert(id) {
            return Err(Error::new(
                Code::BatchEntryIdsNotDistinct,
                "Two or more batch entries in the request have the same Id.",
            ));
        }
        ids.push(id.to_owned());
    }
    Ok(ids)
}

fn reply(call: &Shared, ids: &[String], outcomes: &Outcomes) -> Plan {
    call.reply(ids.len() * REPLY_BYTES, |out| {
        out.open("Failed");
        for (id, outcome) in ids.iter().zip(outcomes) {
            let Err(error) = outcome else { continue };
            out.open("member");
            out.text("Id", id);
            out.text("Code", error.code.name());
            out.text("Message", &error.message);
            out.boolean("SenderFault", error.code.status() < 500);
            out.close("member");
        }
        out.close("Failed");
        out.open("Successful");
        for (id, outcome) in ids.iter().zip(outcomes) {
            let Ok(published) = outcome else { continue };
            out.open("member");
            out.text("Id", id);
            show(out, published);
            out.close("member");
        }
        out.close("Successful");
    })
}

fn random_id(cx: &mut Context<'_>) -> Uuid {
    Uuid::random((cx.random)(), (cx.random)())
}

/// Publishes messages, in their order, and goes on with what was made of each.
fn publish<T>(call: Shared, cx: &mut Context<'_>, topic: &Topic, drafts: Drafts, then: T) -> Plan
where
    T: FnOnce(&Shared, Outcomes) -> Result<Plan, Error> + 'static,
{
    let task = Task { call, topic: topic.clone(), drafts, then: Box::new(then), resume: None };
    // The view may be older than a subscription that needs a signature, or know one that has ended: the shard says so.
    if topic.counts.enveloped > 0 {
        return task.sign(cx, SIGNED_TRIES_MAX);
    }
    let operation = task.operation("", |_| Some(Vec::new()));
    task.run(cx, operation, SIGNED_TRIES_MAX)
}

/// How often a signature is made anew because the topic's owner changed which of the two it wants meanwhile.
const SIGNED_TRIES_MAX: u32 = 3;

/// The rest of a publish.
type Then = Box<dyn FnOnce(&Shared, Outcomes) -> Result<Plan, Error>>;

/// A publish on its way.
struct Task {
    call: Shared,
    topic: Topic,
    drafts: Drafts,
    then: Then,
    resume: Option<Resume>,
}

impl Task {
    /// Makes the signatures that the topic wants now, and runs.
    fn sign(mut self, cx: &mut Context<'_>, tries: u32) -> Plan {
        let signing = self.call.core.signing.clone();
        signing.with(cx, move |cx, signer| {
            let signer = match signer {
                Ok(signer) => signer,
                Err(fault) => return settle(&self.call, Err(fault.into())),
            };
            let (account, name) = (&self.topic.account, &self.topic.name);
            let arn = TopicArn { region: &self.call.config.region, account, name };
            self.topic = match self.call.find_topic(cx, arn) {
                Ok(Some(topic)) => topic,
                Ok(None) => return settle(&self.call, Err(Error::no_topic())),
                Err(error) => return settle(&self.call, Err(error)),
            };
            let origin = origin(&self.call, &self.topic, signer.certificate_path());
            let sign = |draft: &Draft| signatures(&signer, &origin, &self.topic, draft);
            let operation = self.operation(signer.certificate_path(), sign);
            self.run(cx, operation, tries)
        })
    }

    /// The operation; None: no signature can be made on this machine.
    fn operation(
        &self,
        certificate_path: &str,
        sign: impl Fn(&Draft) -> Option<Vec<Signature>>,
    ) -> Option<Publish> {
        let entry = |draft: &Result<Arc<Draft>, Error>| {
            let signatures = match draft {
                Ok(draft) => sign(draft)?,
                Err(_) => Vec::new(),
            };
            Some(Entry { draft: draft.clone(), signatures })
        };
        let entries: Option<Vec<Entry>> = self.drafts.iter().map(entry).collect();
        Some(Publish {
            origin: origin(&self.call, &self.topic, certificate_path),
            entries: entries?,
            resume: self.resume.clone(),
            failures: self.call.core.failures.clone(),
        })
    }

    fn run(mut self, cx: &mut Context<'_>, operation: Option<Publish>, tries: u32) -> Plan {
        let Some(operation) = operation else { return settle(&self.call, Err(Error::internal())) };
        operation.clone().submit(cx, move |cx, ending| {
            let outcome = match ending {
                Ok(Ending::Done(outcomes)) => (self.then)(&self.call, outcomes),
                Ok(Ending::More(resume)) => {
                    self.resume = Some(resume);
                    let operation = Publish { resume: self.resume.clone(), ..operation };
                    return self.run(cx, Some(operation), tries);
                }
                Ok(Ending::Unsigned) if tries > 0 => return self.sign(cx, tries - 1),
                Ok(Ending::NoTopic) => Err(Error::no_topic()),
                // Its owner changes the topic faster than it is published to.
                Ok(Ending::Unsigned) => Err(Error::new(Code::Throttled, "Rate exceeded")),
                Err(fault) => Err(fault.into()),
            };
            settle(&self.call, outcome)
        })
    }
}

/// The signatures of a message's texts; equal texts have one. None: no signature can be made on this machine.
fn signatures(signer: &Signer, origin: &Origin, topic: &Topic, draft: &Draft) -> Option<Vec<Signature>> {
    let version = version_of(topic);
    let message = &draft.message;
    let (id, timestamp) = (message.id.to_string(), timestamp_text(origin.published));
    let topic_arn = origin.topic().to_string();
    let mut made: Vec<Signature> = Vec::new();
    for protocol in Protocol::ALL {
        let text = message.text_for(protocol);
        let equal = made.iter().find(|known| message.text_for(known.protocol) == text);
        let base64 = match equal {
            Some(known) => known.base64.clone(),
            None => {
                let notification = Notification {
                    message: text,
                    message_id: &id,
                    subject: message.subject.as_deref(),
                    timestamp: &timestamp,
                    topic_arn: &topic_arn,
                };
                signer.sign(version, &notification.text()).ok()?
            }
        };
        made.push(Signature { protocol, version, base64 });
    }
    Some(made)
}

fn origin(call: &Shared, topic: &Topic, certificate_path: &str) -> Origin {
    Origin {
        region: call.config.region.as_str().into(),
        account: topic.account.clone(),
        name: topic.name.clone(),
        published: call.now,
        base_url: call.base_url.clone(),
        certificate_url: format!("{}{certificate_path}", call.base_url).into(),
    }
}
