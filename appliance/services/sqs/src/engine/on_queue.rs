//! Reading and changing what is said of one queue, on the shard where all of it lies.
//! Invariant: a change is decided on the record as it is when it is written, so that of racing changes none is lost; what
//! cores remember of the queue follows in the same moment.
//! Leaves to ops: what a change is, and in which words it is refused.

use plan::{Context, Plan};
use store::{Fault, Operation, Outcome, TableId, Tx};

use super::request::QueueRef;
use super::resident::Queues;
use crate::model::queue::{QueueKey, QueueRecord};
use crate::store::QUEUES;
use crate::store::queue::{decode, encode};

/// The queue as a view shows it: for what need not be of this very moment. Errors: as `Store::view` and `View::get`.
pub fn find(cx: &Context<'_>, queue: &QueueRef) -> Result<Option<QueueRecord>, Fault> {
    let view = cx.store.view(queue.shard)?;
    view.get(QUEUES, queue.key.as_bytes())?.map(|record| decode(record.value)).transpose()
}

/// The queue as an operation on its shard finds it. Errors: as `Tx::get`.
pub fn find_in(tx: &mut Tx<'_>, key: &QueueKey) -> Result<Option<QueueRecord>, Fault> {
    let found = tx.get_ref(QUEUES, key.as_bytes(), |record| record.map(|record| decode(record.value)));
    found?.transpose()
}

/// Writes what is said of a queue, and has its shard remember it.
pub fn put(tx: &mut Tx<'_>, key: &QueueKey, record: QueueRecord) {
    write(tx, key, &record);
    let key = key.clone();
    tx.then::<Queues>(move |queues, wakes| queues.changed(&key, record, wakes));
}

/// The same for one that was purged with this change: its messages are forgotten.
pub fn put_purged(tx: &mut Tx<'_>, key: &QueueKey, record: QueueRecord) {
    write(tx, key, &record);
    let key = key.clone();
    tx.then::<Queues>(move |queues, _| queues.purged(&key, record));
}

/// Takes away what is said of a queue, and has its shard forget it. Those who wait for its messages hear of it.
pub fn take_away(tx: &mut Tx<'_>, key: &QueueKey) {
    tx.delete(QUEUES, key.as_bytes());
    let key = key.clone();
    tx.then::<Queues>(move |queues, wakes| queues.removed(&key, wakes));
}

fn write(tx: &mut Tx<'_>, key: &QueueKey, record: &QueueRecord) {
    tx.put(QUEUES, key.as_bytes(), &encode(record), Vec::new(), false);
}

/// Runs `work` with the queue, if there is one, on its shard. `frees`: whether it takes away more than it writes. `work`
/// may be called several times.
pub fn run<R, F, T>(queue: QueueRef, frees: bool, work: F, then: T) -> Plan
where
    R: Send + 'static,
    F: FnMut(&mut Tx<'_>, Option<QueueRecord>) -> Result<Outcome<R>, Fault> + Send + 'static,
    T: FnOnce(&mut Context<'_>, Result<R, Fault>) -> Plan + 'static,
{
    Plan::submit(queue.shard, OnQueue { key: queue.key, frees, work }, then)
}

struct OnQueue<F> {
    key: QueueKey,
    frees: bool,
    work: F,
}

impl<R, F> Operation for OnQueue<F>
where
    R: Send + 'static,
    F: FnMut(&mut Tx<'_>, Option<QueueRecord>) -> Result<Outcome<R>, Fault> + Send + 'static,
{
    type Reply = R;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(QUEUES, self.key.as_bytes());
    }

    fn frees(&self) -> bool {
        self.frees
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<R>, Fault> {
        let found = find_in(tx, &self.key)?;
        (self.work)(tx, found)
    }
}
