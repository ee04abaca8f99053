//! How many messages a queue has.
//! Invariant: exact at the moment of the operation, as far as one turn makes messages ready whose time has come.
//! Leaves to state/: counting.

use plan::{Context, Plan};
use store::{Fault, Outcome, Tx};

use super::refusal::Refusal;
use super::request::{Counts, QueueRef};
use super::resident::Resident;
use super::run::{QueueOperation, run};
use crate::model::queue::QueueKey;

/// Counts the messages of a queue.
pub fn counts<F>(queue: QueueRef, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<Counts, Refusal>) -> Plan + 'static,
{
    run(queue, Count, then)
}

struct Count;

impl QueueOperation for Count {
    type Reply = Counts;

    fn execute(
        &mut self,
        tx: &mut Tx<'_>,
        _key: &QueueKey,
        resident: &Resident,
    ) -> Result<Outcome<Counts>, Fault> {
        Ok(Outcome::Rollback(resident.at(tx.now()).counts()))
    }
}
