//! Asking a web hook whether it wants what somebody subscribed it to, and its answer.
//! Invariant: the question is on its way in the batch that makes the subscription; the last token that was sent is good,
//! and only for two days; who does not answer for three days after the last question is given up.
//! Source: SNS developer guide, "HTTP/HTTPS subscription confirmation JSON format".

use std::ops::{Bound, ControlFlow};

use aws::json::Writer;
use bytes::Bytes;
use store::{Direction, Fault, Timestamp, Tx};

use super::on_topic::Decided;
use super::subscriptions::{add, confirm, remove};
use super::topics::{Compiled, compiled};
use crate::hooks::{HookMessage, Kind, enqueue};
use crate::model::arn::Uuid;
use crate::model::limits::{PENDING_MS, QUESTION_COUNT_MAX, QUESTION_WINDOW_MS, TOKEN_MS};
use crate::model::subscription::Subscription;
use crate::store::pending::{line_key, line_parts};
use crate::store::subscription::{parts_of, subscription_key};
use crate::store::token::{Confirmation, Questions, Secret};
use crate::store::topic::topic_key;
use crate::store::{PENDING, TOKENS};
use crate::wire::error::{Code, Error};

/// Keys that a look at the line of pending subscriptions steps over, those that are gone and not folded yet.
const LINE_BUDGET_COUNT: u64 = 1_000;

/// A question that is ready to be sent.
#[derive(Clone, Debug)]
pub struct Question {
    /// The subscription about which it is, with the id that it gets if it is new.
    pub wanted: Subscription,
    /// Whether the request had attributes to compare with those of a subscription that is there.
    pub given: bool,
    /// The secret of the token that stands in the message.
    pub secret: Secret,
    /// The message's id.
    pub message: Uuid,
    /// The message.
    pub body: Bytes,
}

/// What became of it.
pub enum Asked {
    /// The subscription is there, confirmed or not.
    Subscribed(Subscription),
    /// One that waits is there under another id: the question has to name that.
    Known(Uuid),
}

/// Adds a subscription that waits and sends the question; for one that waits already the question is sent anew.
pub fn ask(tx: &mut Tx<'_>, compiled: &Compiled, question: &Question) -> Decided<Asked> {
    let added = match add(tx, compiled, &question.wanted, question.given)? {
        Ok(added) => added,
        Err(error) => return Ok(Err(error)),
    };
    if added.confirmed {
        return Ok(Ok(Asked::Subscribed(added)));
    }
    if added.id != question.wanted.id {
        return Ok(Ok(Asked::Known(added.id)));
    }
    let topic = &compiled.topic;
    let key = subscription_key(&topic.account, &topic.name, added.id);
    let now = tx.now();
    let known = tx.get_ref(TOKENS, &key, |record| record.map(|record| Confirmation::decode(record.value)))?;
    let former = known.transpose()?.and_then(|known| known.questions);
    if former.is_none() {
        // New, or of a version that gave nobody up.
        tx.put(PENDING, &line_key(given_up(&added), &key), &[], Vec::new(), false);
    }
    let questions = match former.filter(|former| former.since.plus_ms(QUESTION_WINDOW_MS) > now) {
        Some(former) if former.count >= QUESTION_COUNT_MAX => return Ok(Err(asked_too_often())),
        Some(former) => Questions { count: former.count + 1, ..former },
        None => Questions { since: now, count: 1 },
    };
    let expiry = now.plus_ms(TOKEN_MS);
    let token = Confirmation { secret: question.secret, expiry, questions: Some(questions) };
    tx.put(TOKENS, &key, &token.encode(), Vec::new(), false);
    let message = HookMessage {
        kind: Kind::SubscriptionConfirmation,
        message: question.message,
        head: question.body.clone(),
        tail: None,
    };
    enqueue(tx, &topic.account, &topic.name, &message, &[added.id]);
    Ok(Ok(Asked::Subscribed(added)))
}

fn asked_too_often() -> Error {
    let hours = QUESTION_WINDOW_MS / (60 * 60 * 1_000);
    let text = format!(
        "The endpoint was asked {QUESTION_COUNT_MAX} times within {hours} hour and has not confirmed"
    );
    Error::new(Code::Throttled, text)
}

/// When a subscription that waits is given up, if it is not asked again: where it stands in the line.
fn given_up(subscription: &Subscription) -> Timestamp {
    subscription.created.plus_ms(PENDING_MS)
}

/// Ends the first subscription that has waited too long for its answer; gives whether there may be another.
pub fn give_up(tx: &mut Tx<'_>) -> Result<bool, Fault> {
    let mut first = None;
    tx.scan(PENDING, Bound::Unbounded, Direction::Forward, LINE_BUDGET_COUNT, &mut |key, _| {
        first = Some(key.to_vec());
        ControlFlow::Break(())
    })?;
    let Some(line) = first else { return Ok(false) };
    let (due, key) = line_parts(&line)?;
    let now = tx.now();
    if due > now {
        return Ok(false);
    }
    tx.delete(PENDING, &line);
    let (account, name, id) = parts_of(key)?;
    let Some(compiled) = compiled(tx, &topic_key(account, name))? else { return Ok(true) };
    let waits = |known: &Subscription| known.id == id && !known.confirmed;
    if !compiled.subscriptions.iter().any(|known| waits(&known.subscription)) {
        return Ok(true);
    }
    let token = tx.get_ref(TOKENS, key, |record| record.map(|record| Confirmation::decode(record.value)))?;
    let last_asked = token.transpose()?.map_or(0, |token| token.expiry.0.saturating_sub(TOKEN_MS));
    let due = Timestamp(last_asked).plus_ms(PENDING_MS);
    if due > now {
        // It was asked again meanwhile.
        tx.put(PENDING, &line_key(due, key), &[], Vec::new(), false);
    } else {
        remove(tx, &compiled, id)?;
    }
    Ok(true)
}

/// Takes the answer to a question. `authenticated`: whether who gives it was signed in.
pub fn answer(
    tx: &mut Tx<'_>,
    compiled: &Compiled,
    (id, secret): (Uuid, Secret),
    authenticated: bool,
    authenticate_on_unsubscribe: bool,
) -> Decided<()> {
    let key = subscription_key(&compiled.topic.account, &compiled.topic.name, id);
    let now = tx.now();
    let found = tx.get_ref(TOKENS, &key, |record| record.map(|record| Confirmation::decode(record.value)))?;
    let is_good = found.transpose()?.is_some_and(|known| known.is(&secret) && known.expiry > now);
    if !is_good {
        return Ok(Err(Error::invalid("Token")));
    }
    match confirm(tx, compiled, id, authenticated, authenticate_on_unsubscribe)? {
        Ok(()) => Ok(Ok(())),
        // A token without its subscription is one of an earlier topic of this name.
        Err(_) => Ok(Err(Error::invalid("Token"))),
    }
}

/// Drops the token of a subscription that ends, and its place in the line if it waits. An entry that was moved since leaves by
/// itself.
pub fn forget(tx: &mut Tx<'_>, account: &str, name: &str, ended: &Subscription) -> Result<(), Fault> {
    let key = subscription_key(account, name, ended.id);
    let line = line_key(given_up(ended), &key);
    if !ended.confirmed && tx.get_ref(PENDING, &line, |record| record.is_some())? {
        tx.delete(PENDING, &line);
    }
    if tx.get_ref(TOKENS, &key, |record| record.is_some())? {
        tx.delete(TOKENS, &key);
    }
    Ok(())
}

/// What stands in the message beside the question.
pub struct Letter<'a> {
    /// The message's id.
    pub message: Uuid,
    /// The token.
    pub token: &'a str,
    /// The topic.
    pub topic_arn: &'a str,
    /// The question, in words.
    pub text: &'a str,
    /// Where it is answered.
    pub subscribe_url: &'a str,
    /// When it was asked.
    pub timestamp: &'a str,
    /// Which signature it is.
    pub signature_version: &'a str,
    /// The signature in base64.
    pub signature: &'a str,
    /// Where the certificate is that proves it.
    pub certificate_url: &'a str,
}

impl Letter<'_> {
    /// The JSON.
    #[must_use]
    pub fn body(&self) -> Bytes {
        let message = self.message.to_string();
        let members = [
            ("Type", Kind::SubscriptionConfirmation.name()),
            ("MessageId", &message),
            ("Token", self.token),
            ("TopicArn", self.topic_arn),
            ("Message", self.text),
            ("SubscribeURL", self.subscribe_url),
            ("Timestamp", self.timestamp),
            ("SignatureVersion", self.signature_version),
            ("Signature", self.signature),
            ("SigningCertURL", self.certificate_url),
        ];
        let mut out = b"{".to_vec();
        for (number, (name, value)) in members.into_iter().enumerate() {
            let mut quoted = Writer::new();
            quoted.string(value);
            out.extend_from_slice(if number == 0 { b"\n  \"" } else { b",\n  \"" });
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\" : ");
            out.extend_from_slice(quoted.as_bytes());
        }
        out.extend_from_slice(b"\n}");
        out.into()
    }
}

/// The question in words.
#[must_use]
pub fn question_text(topic_arn: &str) -> String {
    format!(
        "You have chosen to subscribe to the topic {topic_arn}.\nTo confirm the subscription, visit the SubscribeURL included in this message."
    )
}

/// Where a question is answered.
#[must_use]
pub fn subscribe_url(base_url: &str, topic_arn: &str, token: &str) -> String {
    format!("{base_url}/?Action=ConfirmSubscription&TopicArn={topic_arn}&Token={token}")
}
