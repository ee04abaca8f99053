//! Walks over a range of keys on one shard, on several one after the other, or on all of them in one order; in turns.
//! Invariant: a walk shows each key of the range once, in order, however often it pauses; a turn looks at a bounded number
//! of keys, deleted ones included, and each turn gets further.
//! Leaves to page.rs: what is done with a record, and when that is enough.

use std::ops::{Bound, ControlFlow};

use plan::Context;
use store::{Direction, Fault, Record, Scan, ShardId, TableId, View};

/// What a walk shows each record to: the view in which it lies, its key and itself. It says whether to go on.
pub type Each<'e> = &'e mut dyn FnMut(&View<'_>, &[u8], Record<'_>) -> Result<ControlFlow<()>, Fault>;

/// A walk between two turns.
pub struct Walk {
    table: TableId,
    /// The first key of the range.
    low: Vec<u8>,
    /// The first key behind the range; None: the range ends with the table of the store.
    high: Option<Vec<u8>>,
    direction: Direction,
    /// Whether the shards are walked at once, in the order of keys, or one after the other.
    merges: bool,
    /// The shards that are not at their end, in the order in which they are walked, and where each goes on.
    shards: Vec<(ShardId, Bound<Vec<u8>>)>,
}

/// How a turn ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The range has no more keys.
    Done,
    /// `each` broke off, or the turn's budget is spent.
    Paused,
}

impl Walk {
    /// A walk over `low..high` of these shards, one after the other.
    #[must_use]
    pub fn in_turn(
        table: TableId,
        low: Vec<u8>,
        high: Option<Vec<u8>>,
        is_forward: bool,
        shards: impl IntoIterator<Item = ShardId>,
    ) -> Walk {
        let direction = if is_forward { Direction::Forward } else { Direction::Backward };
        let from = match (direction, &high) {
            (Direction::Forward, _) => Bound::Included(low.clone()),
            (Direction::Backward, Some(high)) => Bound::Excluded(high.clone()),
            (Direction::Backward, None) => Bound::Unbounded,
        };
        let shards = shards.into_iter().map(|shard| (shard, from.clone())).collect();
        Walk { table, low, high, direction, merges: false, shards }
    }

    /// The same over all these shards at once, in the order of keys.
    #[must_use]
    pub fn merged(self) -> Walk {
        Walk { merges: true, ..self }
    }

    /// Whether a key lies in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.low.as_slice() && self.high.as_ref().is_none_or(|high| key < high.as_slice())
    }

    /// Goes on behind a key, which need not exist; `shard` would own it. Shards that come before it are not walked.
    pub fn start_behind(&mut self, shard: ShardId, key: &[u8]) {
        if self.merges {
            for (_, from) in &mut self.shards {
                *from = Bound::Excluded(key.to_vec());
            }
            return;
        }
        let passed = self.shards.iter().position(|(other, _)| *other == shard).unwrap_or(self.shards.len());
        self.shards.drain(..passed);
        if let Some((_, from)) = self.shards.first_mut() {
            *from = Bound::Excluded(key.to_vec());
        }
    }

    /// Where the next turn begins on shards that are cold, for `read::warm`.
    #[must_use]
    pub fn cold(&self, cx: &Context<'_>) -> Vec<(ShardId, TableId, Vec<u8>)> {
        let count = if self.merges { self.shards.len() } else { 1 };
        let next = self.shards.iter().take(count).filter(|(shard, _)| cx.store.is_cold(*shard));
        next.filter_map(|(shard, from)| match from {
            Bound::Included(key) | Bound::Excluded(key) => Some((*shard, self.table, key.clone())),
            Bound::Unbounded => None,
        })
        .collect()
    }

    /// Walks on until the end, or until `each` breaks off, or until about `examined_max` keys were looked at.
    /// Errors: those of views and of `each`.
    pub fn turn(&mut self, cx: &Context<'_>, examined_max: u64, each: Each<'_>) -> Result<Ended, Fault> {
        if self.merges {
            self.turn_merged(cx, examined_max, each)
        } else {
            self.turn_one(cx, examined_max, each)
        }
    }

    fn turn_one(&mut self, cx: &Context<'_>, examined_max: u64, each: Each<'_>) -> Result<Ended, Fault> {
        let mut examined = 0;
        while let Some((shard, from)) = self.shards.first() {
            let view = cx.store.view(*shard)?;
            let mut lane = Lane::new(view.scan(self.table, as_slice(from), self.direction));
            let mut broke = false;
            while !broke && examined + lane.scan.examined() < examined_max {
                match lane.scan.step()? {
                    Some((key, record)) if self.contains(key) => {
                        lane.last = Some(key);
                        if let Some(record) = record {
                            broke = each(&view, key, record)?.is_break();
                        }
                    }
                    Some(_) | None => {
                        lane.has_ended = true;
                        break;
                    }
                }
            }
            examined += lane.scan.examined();
            if !lane.has_ended {
                if let Some(last) = lane.last {
                    self.shards[0].1 = Bound::Excluded(last.to_vec());
                }
                return Ok(Ended::Paused);
            }
            // One is counted for the shard, so that many empty ones are walked in several turns.
            examined += 1;
            self.shards.remove(0);
        }
        Ok(Ended::Done)
    }

    fn turn_merged(&mut self, cx: &Context<'_>, examined_max: u64, each: Each<'_>) -> Result<Ended, Fault> {
        let views = cx.store.view_all()?;
        let mut lanes: Vec<Lane<'_>> = Vec::with_capacity(self.shards.len());
        for (shard, from) in &self.shards {
            lanes.push(Lane::new(views.shard(*shard).scan(self.table, as_slice(from), self.direction)));
        }
        // Each lane's first record is looked at again in every turn, so it is not part of the budget.
        let examined_max = examined_max + lanes.len() as u64;
        let paused = loop {
            let mut examined = lanes.iter().map(|lane| lane.scan.examined()).sum::<u64>();
            for lane in &mut lanes {
                while lane.wants_head() && examined < examined_max {
                    lane.step(|key| self.contains(key))?;
                    examined += 1;
                }
            }
            if lanes.iter().any(Lane::wants_head) {
                break true;
            }
            let Some(nearest) = self.nearest(&lanes) else { break false };
            let lane = &mut lanes[nearest];
            let Some((key, record)) = lane.head.take() else { break false };
            lane.last = Some(key);
            if each(views.shard(self.shards[nearest].0), key, record)?.is_break() {
                break true;
            }
        };
        let places: Vec<_> = lanes.into_iter().map(Lane::place).collect();
        let shards = std::mem::take(&mut self.shards).into_iter().zip(places);
        self.shards = shards
            .filter_map(|((shard, from), place)| match place {
                Place::Ended => None,
                Place::Begin => Some((shard, from)),
                Place::At(from) => Some((shard, from)),
            })
            .collect();
        Ok(if paused { Ended::Paused } else { Ended::Done })
    }

    /// The lane whose record comes next.
    fn nearest(&self, lanes: &[Lane<'_>]) -> Option<usize> {
        let heads = lanes.iter().enumerate().filter_map(|(lane, it)| Some((it.head.as_ref()?.0, lane)));
        match self.direction {
            Direction::Forward => heads.min(),
            Direction::Backward => heads.max(),
        }
        .map(|(_, lane)| lane)
    }
}

/// The walk of one shard within a turn.
struct Lane<'v> {
    scan: Scan<'v>,
    head: Option<(&'v [u8], Record<'v>)>,
    /// The last key that was passed: shown, or deleted.
    last: Option<&'v [u8]>,
    has_ended: bool,
}

/// Where the walk of one shard goes on.
enum Place {
    Ended,
    /// Where it began.
    Begin,
    At(Bound<Vec<u8>>),
}

impl<'v> Lane<'v> {
    fn new(scan: Scan<'v>) -> Lane<'v> {
        Lane { scan, head: None, last: None, has_ended: false }
    }

    fn wants_head(&self) -> bool {
        self.head.is_none() && !self.has_ended
    }

    fn step(&mut self, contains: impl Fn(&[u8]) -> bool) -> Result<(), Fault> {
        match self.scan.step()? {
            Some((key, Some(record))) if contains(key) => self.head = Some((key, record)),
            Some((key, None)) if contains(key) => self.last = Some(key),
            Some(_) | None => self.has_ended = true,
        }
        Ok(())
    }

    fn place(self) -> Place {
        match (self.head, self.last) {
            (Some((key, _)), _) => Place::At(Bound::Included(key.to_vec())),
            (None, _) if self.has_ended => Place::Ended,
            (None, Some(last)) => Place::At(Bound::Excluded(last.to_vec())),
            (None, None) => Place::Begin,
        }
    }
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}
