//! One operation on the shard's owner: it runs, its effects enter the filling batch and the overlay, the residents follow, and
//! its reply waits until all that it rests on is durable.
//! Invariant: an operation leaves all of its effects or none, and a resident changes with them or not at all.
//! Leaves to apply.rs: what effects become. Leaves to owner.rs: in which order operations run, and batches.

use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use crate::fault::Fault;
use crate::message::{Job, Message, Verdict, Waiter};
use crate::owner::{Owner, Parked};
use crate::planted::{self, Plant};
use crate::resident::Change;
use crate::tx::{Effects, Tx, TxInputs};
use crate::types::{Lsn, Timestamp};
use crate::wait::WaitKey;

/// What is to be done after an operation ran.
enum End {
    Commits(Effects, Vec<Change>),
    RollsBack,
    Waits { key: WaitKey, until: Timestamp },
}

struct Ran {
    end: End,
    looked_at: Lsn,
    positions_used: u64,
    alarms: Vec<(WaitKey, Timestamp)>,
}

impl Owner {
    pub(crate) fn run(&mut self, mut job: Box<dyn Job>) {
        if job.waited().is_some() && job.is_abandoned() {
            return self.pass_wake_on(job.as_mut());
        }
        if let Err(fault) = self.shard().check_writable() {
            return job.complete(Err(fault));
        }
        if self.filling.is_none() {
            return job.complete(Err(Fault::Closed));
        }
        self.shard().counts.operations.fetch_add(1, Ordering::Relaxed);
        let mut undecided = false;
        match self.execute(job.as_mut(), &mut undecided) {
            Ok(ran) => self.finish(job, ran),
            // A prepare waits only for what is decided: two that waited for each other would wait for ever.
            Err(Fault::InDoubt) if job.prepare_info().is_none() || !undecided => {
                self.park(job, undecided);
            }
            Err(fault) => {
                self.pass_wake_on(job.as_mut());
                job.complete(Err(fault));
            }
        }
    }

    /// `undecided`: whether it met a transaction that is not decided.
    fn execute(&mut self, job: &mut dyn Job, undecided: &mut bool) -> Result<Ran, Fault> {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let inputs = TxInputs {
            now: self.clock.now(),
            random: self.random,
            lsn: self.filling().lsn(),
            first_position: self.positions,
            placement: self.shared.placement(),
            waits_end: self.waiting.is_ending,
        };
        let (shard, active, frozen) = (self.shard(), self.overlay.overlay(), self.frozen.as_deref());
        let prepares = job.prepare_info().is_some();
        let mut tx = Tx::new(shard, active, frozen, &self.counting, &self.residents, inputs)?;
        let end = job.run(&mut tx).and_then(|verdict| {
            Ok(match verdict {
                Verdict::Commits => End::Commits(tx.take_effects(prepares)?, tx.take_changes()),
                Verdict::RollsBack => End::RollsBack,
                Verdict::Waits { key, until } => End::Waits { key, until },
            })
        });
        *undecided = tx.met_undecided();
        Ok(Ran {
            end: end?,
            looked_at: tx.looked_at(),
            positions_used: tx.positions_used(),
            alarms: tx.take_alarms(),
        })
    }

    fn finish(&mut self, mut job: Box<dyn Job>, ran: Ran) {
        let Ran { end, looked_at, positions_used, alarms } = ran;
        let lsn = match end {
            End::Waits { key, until } => {
                self.wait(job, key, until);
                return self.set_alarms(alarms);
            }
            End::RollsBack => {
                // It took nothing, and its caller may be gone before it comes back for what it was woken for.
                if job.waited().is_some_and(|waited| waited.is_woken) {
                    self.pass_wake_on(job.as_mut());
                }
                looked_at
            }
            End::Commits(effects, changes) => {
                let prepares = job.prepare_info().is_some();
                let bytes = Owner::batch_bytes(&effects, job.prepare_info());
                if bytes > self.batch_bytes_max(prepares) {
                    self.pass_wake_on(job.as_mut());
                    return job.complete(Err(Fault::TooLarge { bytes: bytes as u64 }));
                }
                if bytes > self.filling().remaining_bytes() {
                    // It runs again in a batch that has room.
                    self.queue.push_front(Message::Job(job));
                    return self.want_room(bytes);
                }
                match job.prepare_info().cloned() {
                    Some(info) => {
                        let lsn = self.apply_prepare(effects, &info);
                        if !changes.is_empty() {
                            self.prepared_changes.insert(info.id, changes);
                        }
                        lsn
                    }
                    None => {
                        let lsn = self.apply(effects).unwrap_or(looked_at);
                        self.make_changes(changes, lsn);
                        lsn
                    }
                }
            }
        };
        self.positions += positions_used;
        self.set_alarms(alarms);
        self.settle(job, lsn);
    }

    /// The residents follow effects of the batch `lsn`.
    fn make_changes(&mut self, changes: Vec<Change>, lsn: Lsn) {
        let (mut wakes, residents) = self.wakes();
        for change in changes {
            change.make(residents, lsn, &mut wakes);
        }
    }

    /// The residents follow a transaction over shards that is carried out here, or forget it.
    pub(crate) fn resolve_changes(&mut self, id: u128, commit: bool) {
        let Some(changes) = self.prepared_changes.remove(&id).filter(|_| commit) else { return };
        let lsn = self.filling().lsn();
        self.make_changes(changes, lsn);
    }

    /// What comes next does not fit into what is left of this batch, and goes into the next one, which is opened large enough.
    pub(crate) fn want_room(&mut self, bytes: usize) {
        self.next_batch_bytes = self.next_batch_bytes.max(bytes);
        self.filling_is_full = true;
        self.filling.take_if(|batch| batch.is_empty());
    }

    /// A job waits for a transaction. One that is decided is sure to be carried out, however long a busy machine takes for
    /// it, so only one that is not makes the job give up.
    fn park(&mut self, mut job: Box<dyn Job>, undecided: bool) {
        // The first time counts: a job that meets one transaction after the other must not wait for ever.
        let now = self.attended.at(ring::now());
        let since = *job.parked_since().get_or_insert(now);
        let is_late = undecided && now.saturating_sub(since) > self.limits.in_doubt_patience;
        if is_late || self.parked.len() >= self.limits.parked_count_max {
            self.pass_wake_on(job.as_mut());
            return job.complete(Err(Fault::InDoubt));
        }
        self.parked.push(Parked { job, since });
    }

    pub(crate) fn unpark(&mut self) {
        for parked in self.parked.drain(..).rev() {
            self.queue.push_front(Message::Job(parked.job));
        }
    }

    /// Runs what is due until nothing is, each time behind what that led to; then tells when all of it is durable.
    pub(crate) fn catch_up(&mut self, done: oneshot::Sender<Result<(), Fault>>) {
        if let Err(fault) = self.shard().check_writable() {
            return drop(done.send(Err(fault)));
        }
        let runs = |message: &Message| !matches!(message, Message::CatchUp { .. });
        if self.wake_due() > 0 || self.queue.iter().any(runs) {
            self.queue.push_back(Message::CatchUp { done });
        } else {
            self.wait_for_all(Waiter::Done(done));
        }
    }

    /// Lets the reply go when `lsn` is durable. Store rule: a definite answer may not rest on what can still fail.
    fn settle(&mut self, job: Box<dyn Job>, lsn: Lsn) {
        let durable = Lsn(self.shard().durable_lsn.load(Ordering::Relaxed));
        if lsn <= durable || planted::is(Plant::ReplyBeforeDurable) {
            job.complete(Ok(()));
        } else if Some(lsn) == self.in_flight {
            self.waiting_in_flight.push(Waiter::Job(job));
        } else {
            self.waiting_filling.push(Waiter::Job(job));
        }
    }

    /// Waits for everything that was written so far.
    pub(crate) fn wait_for_all(&mut self, waiter: Waiter) {
        if self.filling.as_ref().is_some_and(|batch| !batch.is_empty()) {
            self.waiting_filling.push(waiter);
        } else if self.in_flight.is_some() {
            self.waiting_in_flight.push(waiter);
        } else {
            waiter.complete(Ok(()));
        }
    }

    /// Says once for the process when the system's clock was set.
    pub(crate) fn watch_clock(&self) {
        if matches!(self.clock.clock(), crate::clock::Clock::System)
            && let Some(words) = self.shared.clock_steps.look(ring::now())
        {
            crate::report(&words);
        }
    }
}
