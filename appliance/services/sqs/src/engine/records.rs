//! Reading and erasing the records of one message inside an operation.
//! Invariant: a message's record, state and body go together.
//! Leaves to the operations: when.

use store::{Fault, Tx};

use crate::model::message::MessageId;
use crate::model::queue::{QueueId, Sequence};
use crate::store::state::State;
use crate::store::{BODIES, MESSAGES, STATES, body_key, message_key};

/// A message's record.
pub fn message(tx: &mut Tx<'_>, queue: QueueId, sequence: Sequence) -> Result<Option<Vec<u8>>, Fault> {
    tx.get_ref(MESSAGES, &message_key(queue, sequence), |record| record.map(|record| record.value.to_vec()))
}

/// A message's state, if it was ever delayed or received.
pub fn state(tx: &mut Tx<'_>, queue: QueueId, sequence: Sequence) -> Result<Option<State>, Fault> {
    tx.get_ref(STATES, &message_key(queue, sequence), |record| {
        record.map(|record| State::decode(record.value)).transpose()
    })?
}

/// Sets a message's state. `fresh`: it had none.
pub fn put_state(tx: &mut Tx<'_>, queue: QueueId, sequence: Sequence, state: &State, fresh: bool) {
    tx.put(STATES, &message_key(queue, sequence), &state.encode(), Vec::new(), fresh);
}

/// Takes a message away. `has_state`: it may have one; `beside`: its id, where its body lies in the table of bodies.
pub fn erase(
    tx: &mut Tx<'_>,
    queue: QueueId,
    sequence: Sequence,
    has_state: bool,
    beside: Option<MessageId>,
) {
    let key = message_key(queue, sequence);
    tx.delete(MESSAGES, &key);
    if has_state {
        tx.delete(STATES, &key);
    }
    if let Some(id) = beside {
        tx.delete(BODIES, &body_key(queue, id));
    }
}
