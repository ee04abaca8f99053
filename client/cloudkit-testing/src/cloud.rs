//! The cloud in memory: one state behind cheap handles, one clock, one sequence of chance.
//! Invariant: each call does its work under one lock without waiting, so that calls take effect one after the other.

use crate::chance::Chance;
use crate::clock::{Clock, TokioClock};
use crate::kv::{MemoryDb, Tables};
use crate::pubsub::{MemoryTopics, Topics};
use crate::queue::{MemoryQueue, Queues};
use crate::storage::{Buckets, MemoryStore};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use cloudkit_core::common::CloudResult;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// A cloud in memory. Its clones, and the services that it gives, are the same cloud.
#[derive(Clone)]
pub struct MemoryCloud {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Rung after each change that may give a waiting receive a message.
    pub(crate) arrived: Notify,
}

/// All that the cloud holds.
pub(crate) struct State {
    pub(crate) now: DateTime<Utc>,
    pub(crate) chance: Chance,
    pub(crate) buckets: Buckets,
    pub(crate) tables: Tables,
    pub(crate) queues: Queues,
    pub(crate) topics: Topics,
}

impl MemoryCloud {
    /// A cloud with nothing in it, on the runtime's time.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A cloud that is still to be described.
    pub fn builder() -> MemoryCloudBuilder {
        MemoryCloudBuilder { clock: Arc::new(TokioClock::new()), seed: 0 }
    }

    /// Its buckets and objects.
    pub fn storage(&self) -> MemoryStore {
        MemoryStore { shared: self.shared.clone() }
    }

    /// Its tables and items.
    pub fn kv_store(&self) -> MemoryDb {
        MemoryDb { shared: self.shared.clone() }
    }

    /// Its queues and messages.
    pub fn queue(&self) -> MemoryQueue {
        MemoryQueue { shared: self.shared.clone() }
    }

    /// Its topics and subscriptions.
    pub fn pubsub(&self) -> MemoryTopics {
        MemoryTopics { shared: self.shared.clone() }
    }

    /// Reads what an address of `presigned_get_url` leads to, as an HTTP client would with a real one.
    ///
    /// # Errors
    /// `Auth` when the address is no such one, was changed, or is over; `NotFound` when there is no such object.
    pub fn open(&self, url: &str) -> CloudResult<Bytes> {
        let mut state = self.shared.lock();
        let (now, buckets) = (state.now, &mut state.buckets);
        buckets.open(url, now).map_err(|refusal| refusal.of("GetObject", url).into())
    }

    /// Writes where an address of `presigned_put_url` leads to, as an HTTP client would with a real one.
    ///
    /// # Errors
    /// `Auth` when the address is no such one, was changed, or is over; `NotFound` when there is no such bucket.
    pub fn open_put(&self, url: &str, data: &[u8]) -> CloudResult<()> {
        let mut state = self.shared.lock();
        let State { now, chance, buckets, .. } = &mut *state;
        buckets.open_put(url, data, *now, chance).map_err(|refusal| refusal.of("PutObject", url).into())
    }
}

impl Default for MemoryCloud {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryCloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryCloud").finish_non_exhaustive()
    }
}

/// A cloud in memory that is still to be described.
pub struct MemoryCloudBuilder {
    clock: Arc<dyn Clock>,
    seed: u64,
}

impl MemoryCloudBuilder {
    /// Sets the clock; without it, a [`TokioClock`].
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets the seed of identities and receipts; without it, 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The cloud.
    pub fn build(self) -> MemoryCloud {
        let mut chance = Chance::new(self.seed);
        let secret = chance.hex(32);
        let state = State {
            // Replaced before each call: a clock of the runtime must not be asked outside of one.
            now: DateTime::UNIX_EPOCH,
            chance,
            buckets: Buckets::new(secret),
            tables: Tables::default(),
            queues: Queues::default(),
            topics: Topics::default(),
        };
        let shared = Shared { clock: self.clock, state: Mutex::new(state), arrived: Notify::new() };
        MemoryCloud { shared: Arc::new(shared) }
    }
}

impl Shared {
    /// The state, with the time of now in it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Only a broken assertion of ours panics under the lock; the tests that then follow may see what is there.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.now = self.clock.now();
        state
    }
}
