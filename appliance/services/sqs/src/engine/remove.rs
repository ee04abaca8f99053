//! Taking messages out of a queue that nobody received: too old ones, and those that move.
//! Invariant: the records of a message go together, and what the shard remembers of it in the same moment.
//! Leaves to the operations: the messages that clients delete and that become dead letters on a receive.

use store::{Fault, Tx};

use super::records::{erase, state};
use super::resident::{Queues, State as Messages};
use super::state::groups::GroupName;
use crate::model::queue::{QueueId, QueueKey, QueueRecord, Sequence};
use crate::store::message::front;
use crate::store::{MESSAGES, message_key};

/// A message that is gone, and where it was.
#[derive(Clone, Copy, Debug)]
pub struct Removed {
    sequence: Sequence,
    group: Option<GroupName>,
    /// Until when it was not to be visible, if it has a state.
    due_ms: Option<u64>,
}

/// Takes the records of a message away. None: it was gone.
pub fn delete(tx: &mut Tx<'_>, record: &QueueRecord, sequence: Sequence) -> Result<Option<Removed>, Fault> {
    let key = message_key(record.id, sequence);
    let found = tx.get_ref(MESSAGES, &key, |message| {
        let read = |value: &[u8]| {
            let front = front(value)?;
            let group = front.group.map(|name| GroupName::new(&record.handle_key, name));
            Ok::<_, Fault>((group, front.is_beside.then_some(front.id)))
        };
        message.map(|message| read(message.value)).transpose()
    })??;
    let Some((group, beside)) = found else { return Ok(None) };
    let state = state(tx, record.id, sequence)?;
    erase(tx, record.id, sequence, state.is_some(), beside);
    Ok(Some(Removed { sequence, group, due_ms: state.map(|state| state.due_ms) }))
}

/// Has the shard forget messages whose records were taken away.
pub fn removed(tx: &mut Tx<'_>, key: &QueueKey, id: QueueId, gone: Vec<Removed>) {
    let key = key.clone();
    tx.then::<Queues>(move |queues, wakes| {
        let Some(resident) = queues.find_mut(&key, id) else { return };
        for message in &gone {
            forget(resident.state_mut(), message);
        }
        // A group that was locked by one of them may be free now.
        resident.wake(wakes, gone.len());
    });
}

fn forget(messages: &mut Messages, message: &Removed) {
    let Removed { sequence: Sequence(sequence), group, due_ms } = *message;
    match messages {
        Messages::Standard(queue) => {
            if !due_ms.is_some_and(|due_ms| queue.remove_away(due_ms, sequence)) {
                queue.remove_ready(sequence, group);
            }
        }
        Messages::Fifo(queue) => {
            if let Some(due_ms) = due_ms {
                queue.remove(due_ms, sequence);
            }
            // It is ready if it was not away; one that was is not found any more.
            let group = group.unwrap_or(GroupName::NONE);
            if let Some(index) = queue.find(group)
                && queue.discard(sequence, index)
            {
                queue.settle(index);
            }
        }
    }
}
