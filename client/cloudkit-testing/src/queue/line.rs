//! The messages of one queue.
//!
//! ```text
//! sent --delay--> ready --receive--> in flight --delete--> gone
//!                   ^                    |
//!                   '---- time is over --'
//! ```
//!
//! Invariant: a message lies in the order of its sending until it is deleted; what it may do follows from its times alone.
//! In a FIFO queue a message waits for those of its group before it.

use super::check::{Sending, bad_receipt, seconds};
use crate::chance::Chance;
use crate::clock::later;
use crate::limits::{DEDUPLICATION_WINDOW, MESSAGE_COUNT_MAX, RETENTION, VISIBILITY_DEFAULT, VISIBILITY_MAX};
use crate::refusal::{Outcome, Refusal};
use chrono::{DateTime, SubsecRound, Utc};
use cloudkit_core::api::Message;
use cloudkit_core::common::{Metadata, ResourceId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

/// A queue.
pub(super) struct Line {
    pub(super) is_fifo: bool,
    /// Tells this queue from an earlier one of its name.
    generation: u64,
    next: u64,
    messages: BTreeMap<u64, Kept>,
    /// What was sent lately, by its deduplication, and until when that is known.
    sent: HashMap<String, (DateTime<Utc>, ResourceId)>,
    purged: Option<DateTime<Utc>>,
}

struct Kept {
    id: ResourceId,
    body: String,
    attributes: Metadata,
    group: Option<String>,
    sent: DateTime<Utc>,
    visible: DateTime<Utc>,
    first_received: Option<DateTime<Utc>>,
    last_received: DateTime<Utc>,
    receive_count: u32,
}

impl Line {
    pub(super) fn new(is_fifo: bool, generation: u64) -> Self {
        Self { is_fifo, generation, next: 0, messages: BTreeMap::new(), sent: HashMap::new(), purged: None }
    }

    /// Adds a message; in a FIFO queue gives the identity of the one that it repeats, and adds none.
    pub(super) fn send(
        &mut self,
        message: Sending<'_>,
        now: DateTime<Utc>,
        chance: &mut Chance,
    ) -> Outcome<ResourceId> {
        self.expire(now);
        if self.messages.len() >= MESSAGE_COUNT_MAX {
            return Err(Refusal::full("messages"));
        }
        let id = ResourceId::new(chance.uuid());
        if self.is_fifo
            && let Some(deduplication) = message.deduplication
        {
            if let Some((_, known)) = self.sent.get(deduplication) {
                return Ok(known.clone());
            }
            self.sent.insert(deduplication.to_owned(), (later(now, DEDUPLICATION_WINDOW), id.clone()));
        }
        let kept = Kept {
            id: id.clone(),
            body: message.body.to_owned(),
            attributes: message.attributes.clone(),
            group: message.group.map(str::to_owned),
            sent: now.trunc_subsecs(3),
            visible: later(now, message.delay),
            first_received: None,
            last_received: now,
            receive_count: 0,
        };
        self.messages.insert(self.next, kept);
        self.next += 1;
        Ok(id)
    }

    pub(super) fn receive(
        &mut self,
        max: usize,
        visibility: Option<Duration>,
        now: DateTime<Utc>,
        chance: &mut Chance,
    ) -> Vec<Message> {
        self.expire(now);
        let until = later(now, visibility.unwrap_or(VISIBILITY_DEFAULT));
        let (mut received, mut closed) = (Vec::new(), HashSet::new());
        for (sequence, kept) in &mut self.messages {
            if received.len() == max {
                break;
            }
            let is_hidden = kept.visible > now;
            if self.is_fifo && is_hidden {
                closed.insert(kept.group.clone());
            }
            if is_hidden || closed.contains(&kept.group) && self.is_fifo {
                continue;
            }
            kept.receive_count += 1;
            kept.visible = until;
            kept.last_received = now;
            kept.first_received.get_or_insert(now.trunc_subsecs(3));
            received.push(Message {
                id: kept.id.clone(),
                body: kept.body.clone(),
                receipt_handle: Some(format!(
                    "{:x}.{sequence:x}.{:x}.{}",
                    self.generation,
                    kept.receive_count,
                    chance.hex(8)
                )),
                attributes: kept.attributes.clone(),
                receive_count: kept.receive_count,
                sent_at: kept.sent,
                first_received_at: kept.first_received,
            });
        }
        received
    }

    /// When the next hidden message may be received, if there is one.
    pub(super) fn next_visible(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.messages.values().map(|kept| kept.visible).filter(|visible| *visible > now).min()
    }

    /// Deletes by the receipt of the latest receive; an earlier one deletes nothing and is no failure, but in a FIFO queue.
    pub(super) fn delete(&mut self, receipt: &str, now: DateTime<Utc>) -> Outcome<()> {
        let (sequence, count) = self.opened(receipt)?;
        let Some(kept) = self.messages.get(&sequence) else { return Ok(()) };
        let is_latest = kept.receive_count == count;
        if self.is_fifo && (!is_latest || kept.visible <= now) {
            return Err(invalid("the receipt handle has expired"));
        }
        if is_latest {
            self.messages.remove(&sequence);
        }
        Ok(())
    }

    pub(super) fn change(&mut self, receipt: &str, timeout: Duration, now: DateTime<Utc>) -> Outcome<()> {
        let timeout = seconds(timeout);
        if timeout > VISIBILITY_MAX {
            return Err(invalid("a message is hidden for 12 hours at most"));
        }
        let (sequence, count) = self.opened(receipt)?;
        let kept = self.messages.get_mut(&sequence);
        let Some(kept) = kept.filter(|kept| kept.visible > now && kept.receive_count == count) else {
            return Err(invalid("the message does not exist or is not in flight by this receipt"));
        };
        if later(now, timeout) > later(kept.last_received, VISIBILITY_MAX + Duration::from_secs(1)) {
            return Err(invalid("a message is hidden for 12 hours at most, from its receive on"));
        }
        kept.visible = later(now, timeout);
        Ok(())
    }

    /// Messages that could be received now, whatever their groups wait for.
    pub(super) fn depth(&mut self, now: DateTime<Utc>) -> u64 {
        self.expire(now);
        self.messages.values().filter(|kept| kept.visible <= now).count() as u64
    }

    pub(super) fn purge(&mut self, now: DateTime<Utc>) -> Outcome<()> {
        if self.purged.is_some_and(|purged| now < later(purged, crate::limits::PURGE_PAUSE)) {
            let text = "only one purge in 60 seconds is allowed";
            return Err(Refusal::provider("PurgeQueueInProgress", 403, text));
        }
        self.purged = Some(now);
        self.messages.clear();
        Ok(())
    }

    /// Forgets what was kept for long enough.
    fn expire(&mut self, now: DateTime<Utc>) {
        self.messages.retain(|_, kept| later(kept.sent, RETENTION) > now);
        self.sent.retain(|_, (until, _)| *until > now);
    }

    /// Sequence and count of a receipt.
    fn opened(&self, receipt: &str) -> Outcome<(u64, u32)> {
        let mut parts = receipt.split('.');
        let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
        let opened = match (number(), number(), number(), number()) {
            (Some(generation), Some(sequence), Some(count), Some(_)) if generation == self.generation => {
                u32::try_from(count).ok().map(|count| (sequence, count))
            }
            _ => None,
        };
        opened.ok_or_else(bad_receipt)
    }
}

pub(super) fn invalid(message: &str) -> Refusal {
    Refusal::invalid("InvalidParameterValue", message)
}
