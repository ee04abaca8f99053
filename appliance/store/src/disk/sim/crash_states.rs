//! Every crash state of a recorded run: at each point of the recording, what a power failure could leave.
//! Invariant: each state is one that POSIX allows; the marks given with it are those that came before the crash.
//! Leaves to the test: to check that what the marks promise is there.

use std::collections::VecDeque;

use super::state::{Fate, Operation, SECTOR_BYTES, State};
use super::{Sim, SimDisk};

/// One state.
pub struct CrashState {
    /// The disk after the crash.
    pub disk: SimDisk,
    /// Operations of the recording that came before the crash.
    pub prefix: usize,
    /// Marks among them.
    pub marks: Vec<u64>,
    /// What became of the unsynced changes, for messages.
    pub what: String,
}

/// Walks the crash states of a recording: for each prefix of it all unsynced changes kept; none kept; each one dropped
/// alone; each one kept alone; each write torn so that only its front or only its back is left.
pub struct CrashStates {
    state: State,
    trace: VecDeque<Operation>,
    prefix: usize,
    marks: Vec<u64>,
    tear_step_sectors: usize,
    plans: VecDeque<Plan>,
}

#[derive(Clone, Copy, Debug)]
enum Plan {
    All,
    None,
    /// One change meets this fate, all others are kept.
    One(usize, Fate),
    /// One change is kept, all others are dropped.
    Only(usize),
}

impl CrashStates {
    /// The states of what `disk` recorded. Writes are torn at every `tear_step_sectors`-th sector of 512 bytes.
    /// Panics when `disk.record()` was not called.
    #[must_use]
    pub fn new(disk: &SimDisk, tear_step_sectors: usize) -> CrashStates {
        assert!(tear_step_sectors > 0);
        let sim = disk.sim();
        let Sim { base: Some(base), trace: Some(trace), .. } = &*sim else {
            panic!("the disk has recorded nothing");
        };
        let mut states = CrashStates {
            state: base.clone(),
            trace: trace.iter().cloned().collect(),
            prefix: 0,
            marks: Vec::new(),
            tear_step_sectors,
            plans: VecDeque::new(),
        };
        states.plan();
        states
    }

    fn plan(&mut self) {
        self.plans = VecDeque::from([Plan::All]);
        let unsynced: Vec<&Operation> = self.state.unsynced().collect();
        if !unsynced.is_empty() {
            self.plans.push_back(Plan::None);
        }
        for (index, operation) in unsynced.iter().enumerate() {
            if unsynced.len() > 1 {
                self.plans.push_back(Plan::One(index, Fate::Dropped));
                self.plans.push_back(Plan::Only(index));
            }
            let Operation::Write { bytes, .. } = operation else { continue };
            for cut in (1..bytes.len().div_ceil(SECTOR_BYTES)).step_by(self.tear_step_sectors) {
                self.plans.push_back(Plan::One(index, Fate::Front(cut)));
                self.plans.push_back(Plan::One(index, Fate::Back(cut)));
            }
        }
    }
}

impl Iterator for CrashStates {
    type Item = CrashState;

    fn next(&mut self) -> Option<CrashState> {
        while self.plans.is_empty() {
            let operation = self.trace.pop_front()?;
            self.state.apply(&operation);
            self.prefix += 1;
            if let Operation::Mark(mark) = operation {
                self.marks.push(mark);
            }
            self.plan();
        }
        let plan = self.plans.pop_front()?;
        let mut index = 0;
        let crashed = self.state.crashed(&mut |_| {
            let current = index;
            index += 1;
            match plan {
                Plan::One(one, fate) if one == current => fate,
                Plan::Only(one) if one != current => Fate::Dropped,
                Plan::None => Fate::Dropped,
                Plan::All | Plan::One(..) | Plan::Only(_) => Fate::Kept,
            }
        });
        Some(CrashState {
            disk: SimDisk::of(crashed, self.prefix as u64),
            prefix: self.prefix,
            marks: self.marks.clone(),
            what: format!("{plan:?} of the changes unsynced after operation {}", self.prefix),
        })
    }
}
