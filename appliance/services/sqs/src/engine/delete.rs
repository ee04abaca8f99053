//! DeleteMessage and ChangeMessageVisibility, singly and in batches.
//! Invariant: a message is deleted by the handle of its latest receive only; on FIFO queues only while that receive lasts.
//! Leaves to model/handle.rs: whether a text is a handle of this queue at all.

use plan::{Context, Plan};
use store::{Fault, Outcome, TableId, Tx};

use super::records::{erase, message, put_state, state};
use super::refusal::Refusal;
use super::request::QueueRef;
use super::resident::{Queues, Resident, State as Messages};
use super::run::{QueueOperation, run};
use super::state::groups::GroupName;
use crate::model::handle::{Handle, HandleError};
use crate::model::limits::VISIBILITY_SECONDS_MAX;
use crate::model::queue::{QueueKey, Sequence};
use crate::store::message::front;
use crate::store::queue::identity;
use crate::store::state::State;
use crate::store::{QUEUES, STATES, message_key};

/// What becomes of each entry of a batch.
pub type Results = Vec<Result<(), Refusal>>;

/// Deletes messages by the texts of their handles.
pub fn delete<F>(cx: &mut Context<'_>, queue: QueueRef, handles: &[Box<str>], then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<Results, Refusal>) -> Plan + 'static,
{
    let wanted = handles.iter().map(|text| (&**text, Wish::Delete));
    start(cx, queue, wanted.collect(), then)
}

/// Changes when messages are visible again: so many seconds from now.
pub fn change_visibility<F>(
    cx: &mut Context<'_>,
    queue: QueueRef,
    entries: &[(Box<str>, u32)],
    then: F,
) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<Results, Refusal>) -> Plan + 'static,
{
    let wanted = entries.iter().map(|(text, seconds)| (&**text, Wish::Change { seconds: *seconds }));
    start(cx, queue, wanted.collect(), then)
}

fn start<F>(cx: &mut Context<'_>, queue: QueueRef, wanted: Vec<(&str, Wish)>, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<Results, Refusal>) -> Plan + 'static,
{
    // Handles are opened on the core that received them, which costs the owner nothing.
    let opened = match open(cx, &queue, wanted) {
        Ok(Some(opened)) => opened,
        Ok(None) => return then(cx, Err(Refusal::NoQueue)),
        Err(fault) => return then(cx, Err(fault.into())),
    };
    if opened.iter().all(|(handle, _)| handle.is_err()) {
        let refuse = |(handle, _): (Result<Handle, HandleError>, Wish)| match handle {
            Ok(_) => Ok(()),
            Err(error) => Err(Refusal::Handle(error)),
        };
        return then(cx, Ok(opened.into_iter().map(refuse).collect()));
    }
    run(queue, Settle { entries: opened }, then)
}

type Opened = Vec<(Result<Handle, HandleError>, Wish)>;

fn open(cx: &Context<'_>, queue: &QueueRef, wanted: Vec<(&str, Wish)>) -> Result<Option<Opened>, Fault> {
    let view = cx.store.view(queue.shard)?;
    let Some(record) = view.get(QUEUES, queue.key.as_bytes())? else { return Ok(None) };
    let (id, handle_key) = identity(record.value)?;
    let opened = wanted.into_iter().map(|(text, wish)| (Handle::open(text, id, &handle_key), wish));
    Ok(Some(opened.collect()))
}

/// What a client wants with a message that it received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wish {
    Delete,
    Change { seconds: u32 },
}

struct Settle {
    entries: Opened,
}

/// What becomes of a message in the memory of its queue.
enum Change {
    /// One that was not visible until then is gone.
    Gone(Sequence, u64),
    /// A ready one is gone.
    ReadyGone(Sequence, u64, Option<GroupName>),
    /// It is visible from another time on; None: now.
    Moved(Sequence, u64, Option<u64>),
}

impl QueueOperation for Settle {
    type Reply = Results;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        for handle in self.entries.iter().filter_map(|(handle, _)| handle.as_ref().ok()) {
            declare(STATES, &message_key(handle.queue, handle.sequence));
        }
    }

    fn frees(&self) -> bool {
        self.entries.iter().all(|(_, wish)| *wish == Wish::Delete)
    }

    fn execute(
        &mut self,
        tx: &mut Tx<'_>,
        key: &QueueKey,
        resident: &Resident,
    ) -> Result<Outcome<Results>, Fault> {
        let mut changes = Vec::with_capacity(self.entries.len());
        let mut results = Vec::with_capacity(self.entries.len());
        for (handle, wish) in &self.entries {
            results.push(match handle {
                // The queue was made anew since the handle was opened.
                Ok(handle) if handle.queue != resident.record.id => Err(Refusal::NoQueue),
                Ok(handle) => match *wish {
                    Wish::Delete => delete_one(tx, resident, *handle, &mut changes)?,
                    Wish::Change { seconds } => change_one(tx, resident, *handle, seconds, &mut changes)?,
                },
                Err(error) => Err(Refusal::Handle(*error)),
            });
        }
        if changes.is_empty() {
            return Ok(Outcome::Rollback(results));
        }
        let moved = changes.iter().filter_map(|change| match change {
            Change::Moved(_, _, due_ms) => *due_ms,
            Change::Gone(..) | Change::ReadyGone(..) => None,
        });
        if let Some(due_ms) = moved.min() {
            tx.wake_at(resident.wait_key(), store::Timestamp(due_ms));
        }
        let (key, id) = (key.clone(), resident.record.id);
        tx.then::<Queues>(move |queues, wakes| {
            let Some(resident) = queues.find_mut(&key, id) else { return };
            for change in &changes {
                apply(resident.state_mut(), change);
            }
            resident.wake(wakes, changes.len());
        });
        Ok(Outcome::Commit(results))
    }
}

fn apply(messages: &mut Messages, change: &Change) {
    match (messages, change) {
        (Messages::Standard(queue), Change::Gone(sequence, due_ms)) => {
            queue.remove_away(*due_ms, sequence.0);
        }
        (Messages::Standard(queue), Change::ReadyGone(sequence, due_ms, tenant)) => {
            // Its time may have come without anyone having looked since.
            if !queue.remove_away(*due_ms, sequence.0) {
                queue.remove_ready(sequence.0, *tenant);
            }
        }
        (Messages::Fifo(queue), Change::Gone(sequence, due_ms)) => {
            queue.remove(*due_ms, sequence.0);
        }
        // The handle of a visible message is over on FIFO queues.
        (Messages::Fifo(_), Change::ReadyGone(..)) => {}
        (messages, Change::Moved(sequence, due_ms, new_due_ms)) => {
            messages.change(*due_ms, *sequence, *new_due_ms);
        }
    }
}

fn delete_one(
    tx: &mut Tx<'_>,
    resident: &Resident,
    handle: Handle,
    changes: &mut Vec<Change>,
) -> Result<Result<(), Refusal>, Fault> {
    let (queue, sequence) = (resident.record.id, handle.sequence);
    if sequence < resident.record.purged_below {
        return Ok(Ok(()));
    }
    let Some(state) = state(tx, queue, sequence)? else { return Ok(Ok(())) };
    let now_ms = tx.now().0;
    let is_fifo = resident.record.attributes.fifo.is_some();
    if is_fifo && (state.number != handle.number || state.is_due(now_ms)) {
        return Ok(Err(Refusal::HandleExpired));
    }
    if state.number != handle.number {
        return Ok(Ok(()));
    }
    // Only then is the message's record needed: for what names its body, and where it is ready.
    let mut beside = None;
    let mut tenant = None;
    if (state.is_beside || state.is_due(now_ms))
        && let Some(record) = message(tx, queue, sequence)?
    {
        let front = front(&record)?;
        beside = front.is_beside.then_some(front.id);
        tenant = front.group.map(|name| GroupName::new(&resident.record.handle_key, name));
    }
    erase(tx, queue, sequence, true, beside);
    changes.push(if state.is_due(now_ms) {
        Change::ReadyGone(sequence, state.due_ms, tenant)
    } else {
        Change::Gone(sequence, state.due_ms)
    });
    Ok(Ok(()))
}

fn change_one(
    tx: &mut Tx<'_>,
    resident: &Resident,
    handle: Handle,
    seconds: u32,
    changes: &mut Vec<Change>,
) -> Result<Result<(), Refusal>, Fault> {
    let (queue, sequence) = (resident.record.id, handle.sequence);
    let is_fifo = resident.record.attributes.fifo.is_some();
    if sequence < resident.record.purged_below {
        return Ok(Err(Refusal::NotAvailable));
    }
    let Some(former) = state(tx, queue, sequence)? else { return Ok(Err(Refusal::NotAvailable)) };
    let now_ms = tx.now().0;
    if is_fifo && (former.number != handle.number || former.is_due(now_ms)) {
        return Ok(Err(Refusal::HandleExpired));
    }
    if former.is_due(now_ms) {
        return Ok(Err(Refusal::NotInFlight));
    }
    if former.number != handle.number {
        return Ok(Err(Refusal::NotAvailable));
    }
    // Whole seconds, as the limit is said: a change right after the receive may ask for all of it.
    let passed_seconds = now_ms.saturating_sub(former.last_receive_ms) / 1_000;
    if passed_seconds + u64::from(seconds) > u64::from(VISIBILITY_SECONDS_MAX) {
        return Ok(Err(Refusal::VisibilityTooLong));
    }
    let due_ms = now_ms + u64::from(seconds) * 1_000;
    let changed = State { due_ms, was_changed: true, ..former };
    put_state(tx, queue, sequence, &changed, false);
    changes.push(Change::Moved(sequence, former.due_ms, (seconds > 0).then_some(due_ms)));
    Ok(Ok(()))
}
