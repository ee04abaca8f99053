//! ListSubscriptions, ListSubscriptionsByTopic.
//! Invariant: a page looks at a bounded number of records; one that holds nothing of the caller's may still have a
//! `NextToken`.

use std::collections::HashMap;
use std::ops::Bound;

use aws::query::Parameters;
use aws::xml::Writer;
use plan::{Context, Plan};
use store::{Direction, ShardId, View};

use crate::call::Shared;
use crate::engine::on_topic::shard_of;
use crate::model::arn::TopicArn;
use crate::model::limits::PAGE_COUNT;
use crate::model::subscription::Subscription;
use crate::store::subscription::{decode, parts_of, topic_prefix};
use crate::store::topic::{stamp, topic_key};
use crate::store::{SUBSCRIPTIONS, TOPICS};
use crate::wire::error::Error;
use crate::wire::request::{page_start, page_token, topic_arn};

/// Records that one page looks at.
const EXAMINED_COUNT_MAX: usize = 10_000;

/// What a page shows of one subscription.
struct Row {
    topic: String,
    name: String,
    subscription: Subscription,
}

/// Begins ListSubscriptions: the caller's, whoever has the topics.
pub fn all(call: Shared, cx: &mut Context<'_>, parameters: &Parameters<'_>) -> Result<Plan, Error> {
    let from = page_start(parameters.root())?;
    call.authorize_own()?;
    let owner = call.account_id()?;
    let (first, mut after) = from.map_or((ShardId(0), None), |(shard, key)| (ShardId(shard), Some(key)));
    let (mut rows, mut examined) = (Vec::new(), 0);
    let mut next = None;
    'shards: for shard in cx.store.shards().filter(|shard| *shard >= first) {
        let view = cx.store.view(shard)?;
        let mut numbers = Numbers::default();
        let start = after.take();
        let start = start.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut scan = view.scan(SUBSCRIPTIONS, start, Direction::Forward);
        while let Some((key, record)) = scan.next()? {
            let subscription = decode(key, record.value)?;
            let (account, name, _) = parts_of(key)?;
            if &*subscription.owner == owner
                && numbers.is_current(&view, account, name, subscription.topic)?
            {
                let arn = TopicArn { region: &call.config.region, account, name };
                rows.push(row(arn, subscription));
            }
            examined += 1;
            if rows.len() == PAGE_COUNT || examined == EXAMINED_COUNT_MAX {
                next = Some(page_token(shard.0, key));
                break 'shards;
            }
        }
    }
    Ok(reply(&call, &rows, next.as_deref()))
}

/// Begins ListSubscriptionsByTopic.
pub fn by_topic(call: Shared, cx: &mut Context<'_>, parameters: &Parameters<'_>) -> Result<Plan, Error> {
    let root = parameters.root();
    let arn = topic_arn(root)?;
    let topic = call.topic(cx, arn)?;
    let shard = shard_of(cx, arn.account, arn.name);
    let prefix = topic_prefix(arn.account, arn.name);
    let after = match page_start(root)? {
        Some((of, key)) if of == shard.0 && key.starts_with(&prefix) => Some(key),
        Some(_) => return Err(Error::invalid("NextToken")),
        None => None,
    };
    let view = cx.store.view(shard)?;
    let start = after.as_deref().unwrap_or(&prefix);
    let mut scan = view.scan(SUBSCRIPTIONS, Bound::Excluded(start), Direction::Forward);
    let (mut rows, mut examined) = (Vec::new(), 0);
    let mut next = None;
    while let Some((key, record)) = scan.next()? {
        if !key.starts_with(&prefix) {
            break;
        }
        let subscription = decode(key, record.value)?;
        if subscription.topic == topic.number {
            rows.push(row(arn, subscription));
        }
        examined += 1;
        if rows.len() == PAGE_COUNT || examined == EXAMINED_COUNT_MAX {
            next = Some(page_token(shard.0, key));
            break;
        }
    }
    Ok(reply(&call, &rows, next.as_deref()))
}

/// The numbers of the topics that a walk passes: the subscriptions of one stand together.
#[derive(Default)]
struct Numbers(HashMap<Vec<u8>, Option<u64>>);

impl Numbers {
    /// Whether the topic of this name is the one with this number.
    fn is_current(&mut self, view: &View<'_>, account: &str, name: &str, number: u64) -> Result<bool, Error> {
        let key = topic_key(account, name);
        if let Some(known) = self.0.get(&key) {
            return Ok(*known == Some(number));
        }
        let found = match view.get(TOPICS, &key)? {
            Some(record) => {
                let stamp = stamp(record.value)?;
                stamp[1..].first_chunk().map(|number| u64::from_be_bytes(*number))
            }
            None => None,
        };
        self.0.insert(key, found);
        Ok(found == Some(number))
    }
}

fn row(arn: TopicArn<'_>, subscription: Subscription) -> Row {
    let name = if subscription.confirmed {
        arn.subscription(subscription.id).to_string()
    } else {
        "PendingConfirmation".to_owned()
    };
    Row { topic: arn.to_string(), name, subscription }
}

fn reply(call: &Shared, rows: &[Row], next: Option<&str>) -> Plan {
    call.reply(rows.len() * ROW_BYTES, |out| {
        out.open("Subscriptions");
        for row in rows {
            show(out, row);
        }
        out.close("Subscriptions");
        out.text_if("NextToken", next);
    })
}

fn show(out: &mut Writer, row: &Row) {
    let Row { topic, name, subscription } = row;
    out.open("member");
    out.text("SubscriptionArn", name);
    out.text("Owner", &subscription.owner);
    out.text("Protocol", subscription.protocol.name());
    out.text("Endpoint", &subscription.endpoint);
    out.text("TopicArn", topic);
    out.close("member");
}

/// Room for one subscription with what stands around it.
const ROW_BYTES: usize = 384;
