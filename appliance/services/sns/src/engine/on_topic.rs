//! An operation on one topic: finds the topic, lets somebody decide, and keeps or drops what was done.
//! Invariant: a refusal leaves nothing behind; `work` may run several times and keeps nothing of its own.

use plan::delivery::topic_place;
use plan::{Context, Plan};
use store::{Fault, Operation, Outcome, ShardId, TableId, Tx};

use crate::model::arn::TopicArn;
use crate::model::topic::Topic;
use crate::store::topic::{decode, encode, topic_key};
use crate::store::{SUBSCRIPTIONS, TOPICS};
use crate::wire::error::Error;

/// What an operation decided: a refusal is the client's, a fault the machine's.
pub type Decided<R> = Result<Result<R, Error>, Fault>;

/// One operation on one topic.
pub struct OnTopic<F> {
    key: Vec<u8>,
    work: F,
}

impl<F, R> Operation for OnTopic<F>
where
    F: Fn(&mut Tx<'_>, Option<Topic>) -> Decided<R> + Send + 'static,
    R: Send + 'static,
{
    type Reply = Result<R, Error>;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TOPICS, &self.key);
        // Where the topic's subscriptions begin, which most of these operations look at.
        declare(SUBSCRIPTIONS, &self.key);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Self::Reply>, Fault> {
        let key = &self.key;
        let found = tx.get_ref(TOPICS, key, |record| record.map(|record| decode(key, record.value)))?;
        match (self.work)(tx, found.transpose()?)? {
            Ok(reply) => Ok(Outcome::Commit(Ok(reply))),
            Err(error) => Ok(Outcome::Rollback(Err(error))),
        }
    }
}

/// The shard of a topic.
#[must_use]
pub fn shard_of(cx: &Context<'_>, account: &str, name: &str) -> ShardId {
    cx.store.place(&topic_place(account, name))
}

/// Runs `work` on the shard of a topic, and goes on with what it decided.
pub fn on_topic<F, R, T>(cx: &Context<'_>, topic: TopicArn<'_>, work: F, then: T) -> Plan
where
    F: Fn(&mut Tx<'_>, Option<Topic>) -> Decided<R> + Send + 'static,
    R: Send + 'static,
    T: FnOnce(&mut Context<'_>, Result<R, Error>) -> Plan + 'static,
{
    let shard = shard_of(cx, topic.account, topic.name);
    let operation = OnTopic { key: topic_key(topic.account, topic.name), work };
    Plan::submit(shard, operation, move |cx, outcome| {
        then(cx, outcome.unwrap_or_else(|fault| Err(fault.into())))
    })
}

/// Stores a topic that was changed.
pub fn put_topic(tx: &mut Tx<'_>, topic: &mut Topic) {
    topic.generation += 1;
    tx.put(TOPICS, &topic_key(&topic.account, &topic.name), &encode(topic), Vec::new(), false);
}
