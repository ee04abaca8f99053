//! PurgeQueue: every message that was sent before is gone with the reply, also those in flight and delayed, and what FIFO
//! queues remember of them; what is left of them is swept afterwards. Once in sixty seconds.

use plan::{Context, Plan};
use store::{Fault, Outcome, Tx};

use crate::call::{Shared, settle};
use crate::engine::on_queue;
use crate::model::limits::PURGE_INTERVAL_MS;
use crate::model::queue::{QueueRecord, Sequence};
use crate::store::GONE;
use crate::store::gone::{Gone, gone_key};
use crate::wire::error::{Code, Error};
use crate::wire::input::Input;
use crate::wire::request::queue::OfQueue;

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, input: &Input<'_>) -> Result<Plan, Error> {
    let request = OfQueue::decode(input)?;
    let queue = call.queue(cx, request.queue_url.as_deref())?;
    let key = queue.key.clone();
    let work = move |tx: &mut Tx<'_>, found: Option<QueueRecord>| -> Result<_, Fault> {
        let Some(mut record) = found else { return Ok(Outcome::Rollback(Err(Error::no_queue()))) };
        let now_ms = tx.now().0;
        if record.last_purge_ms != 0 && now_ms < record.last_purge_ms.saturating_add(PURGE_INTERVAL_MS) {
            let text =
                format!("Only one PurgeQueue operation on {} is allowed every 60 seconds.", key.name());
            return Ok(Outcome::Rollback(Err(Error::new(Code::PurgeQueueInProgress, text))));
        }
        // Greater than that of every message before, and less than that of every one behind.
        let below = Sequence::of_store(tx.next_sequence()).ok_or(Fault::Busy)?;
        record.purged_below = below;
        record.last_purge_ms = now_ms;
        tx.put(GONE, &gone_key(record.id), &Gone::Below(below).encode(), Vec::new(), false);
        on_queue::put_purged(tx, &key, record);
        Ok(Outcome::Commit(Ok(())))
    };
    Ok(on_queue::run(queue, true, work, move |_, outcome| {
        let outcome = outcome.map_err(Error::from).and_then(|purged| purged);
        settle(&call, outcome.map(|()| call.done()))
    }))
}
