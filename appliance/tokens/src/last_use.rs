//! When a token was used last, to the hour, at the cost of one write an hour.
//! Invariant: a use costs no write; what was not written when the process ends is lost and nothing else.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use http_types::StatusCode;
use plan::{Context, Plan, Reply};
use store::{Fault, Operation, Outcome, ShardId, TableId, Timestamp, Tx};

use crate::record::{TOKENS, TokenRecord, USE_RESOLUTION_MS};
use crate::text::TokenId;

/// Tokens that wait to be written; beyond that a use is written by a later one.
const WAITING_MAX: usize = 4_096;
/// Tokens of one operation.
const BATCH_MAX: usize = 256;

/// The tokens whose last use is not written yet.
#[derive(Default)]
pub struct LastUse(Mutex<BTreeSet<TokenId>>);

impl LastUse {
    /// Notes that a token is used now.
    pub fn note(&self, id: TokenId, record: &TokenRecord, now: Timestamp) {
        if record.used_hour >= hour(now) {
            return;
        }
        // Until the next tick has written it. A core that finds the lock held lets another one's note do.
        if let Ok(mut waiting) = self.0.try_lock()
            && waiting.len() < WAITING_MAX
        {
            waiting.insert(id);
        }
    }

    /// Writes what waits for a shard.
    pub fn tick(&self, cx: &mut Context<'_>, shard: ShardId) -> Option<Plan> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_here = |id: &&TokenId| cx.store.place(id.as_bytes()) == shard;
        let ids: Vec<TokenId> = waiting.iter().filter(is_here).take(BATCH_MAX).copied().collect();
        if ids.is_empty() {
            return None;
        }
        for id in &ids {
            waiting.remove(id);
        }
        drop(waiting);
        Some(Plan::submit(shard, Used { ids, hour: hour(cx.now) }, |_, written| {
            Plan::Reply(Reply::empty(match written {
                Ok(()) => StatusCode::OK,
                // The next use notes it again.
                Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
            }))
        }))
    }
}

fn hour(now: Timestamp) -> u64 {
    now.0 / USE_RESOLUTION_MS
}

/// Sets the hour in records that are still there.
struct Used {
    ids: Vec<TokenId>,
    hour: u64,
}

impl Operation for Used {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        for id in &self.ids {
            declare(TOKENS, id.as_bytes());
        }
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        for id in &self.ids {
            let Some(found) = tx.get(TOKENS, id.as_bytes())? else { continue };
            let mut record = TokenRecord::decode(&found.value)?;
            if record.used_hour < self.hour {
                record.used_hour = self.hour;
                tx.put(TOKENS, id.as_bytes(), &record.encode(), Vec::new(), false);
            }
        }
        Ok(Outcome::Commit(()))
    }
}
