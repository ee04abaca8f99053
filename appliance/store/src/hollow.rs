//! The blocks that dead bodies leave in packed segments in which others live: punched where they lie, so that nothing is copied.
//! Invariant: a block is punched only if every byte of it belongs to bodies that the committed index does not name, that no view
//! can find and that nobody reads. What shares a block with a living body is remembered until its neighbour dies too.
//! Leaves to fold.rs: finding what died. To body/reclaim.rs: grace, pins and the punching. To forward.rs: segments that stay
//! hollow because their living bodies lie too close.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use crate::types::{BLOCK_BYTES, INLINE_BYTES_MAX};

/// A body of a packed segment that a fold found dead.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Died {
    pub(crate) segment: u64,
    /// Where it begins and ends. Its head and key lie before it; how long the key is depends on the record for which it was
    /// packed, which may have been another.
    pub(crate) body: u32,
    pub(crate) end: u32,
}

/// What is known to be dead in the packed segments of a shard. What an earlier run knew is not: it counts as kept until its
/// segment empties or is copied forward.
#[derive(Default)]
pub(crate) struct Hollows {
    /// Punched as far as whole blocks go.
    segments: BTreeMap<u64, Ranges>,
    /// Read by somebody when it was looked at, more than one round may punch, or refused by the disk.
    waiting: Vec<Died>,
}

/// What is to be punched in one segment, and how its ranges look then.
pub(crate) struct Hollowing {
    pub(crate) segment: u64,
    pub(crate) blocks: Vec<Range<u32>>,
    died: Vec<Died>,
    after: Ranges,
}

impl Hollows {
    /// Takes what has died. Beyond a bound it is forgotten, and stays where it is until its segment goes.
    pub(crate) fn note(&mut self, died: Vec<Died>) {
        self.waiting.extend(died);
        self.waiting.truncate(WAITING_COUNT_MAX);
    }

    /// Whether there is anything to look at.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What can be punched now, the segments first that give most; at most one round's worth. What is `pinned` waits.
    pub(crate) fn plan(&mut self, pinned: &HashSet<(u64, u32)>) -> Vec<Hollowing> {
        let mut died = std::mem::take(&mut self.waiting);
        died.sort_unstable();
        died.dedup();
        let (held, died): (Vec<Died>, Vec<Died>) =
            died.into_iter().partition(|one| pinned.contains(&(one.segment, one.body)));
        self.waiting = held;
        let none = Ranges::default();
        let mut plans: Vec<Hollowing> = died
            .chunk_by(|one, other| one.segment == other.segment)
            .map(|died| {
                let before = self.segments.get(&died[0].segment).unwrap_or(&none);
                let (after, blocks) = before.with(died.iter().map(|one| one.body..one.end));
                Hollowing { segment: died[0].segment, blocks, died: died.to_vec(), after }
            })
            .collect();
        plans.sort_by_key(|plan| std::cmp::Reverse(plan.bytes()));
        let mut punches = 0;
        let (now, later): (Vec<Hollowing>, Vec<Hollowing>) = plans.into_iter().partition(|plan| {
            let is_first = punches == 0;
            punches += plan.blocks.len();
            is_first || punches <= PUNCH_COUNT_MAX
        });
        later.into_iter().for_each(|plan| self.failed(plan));
        now
    }

    /// It was punched.
    pub(crate) fn done(&mut self, plan: Hollowing) {
        // Without its ranges a segment is punched only within what dies together.
        if plan.after.0.len() <= RANGE_COUNT_MAX {
            self.segments.insert(plan.segment, plan.after);
        } else {
            self.segments.remove(&plan.segment);
        }
    }

    /// It was not, or not all of it.
    pub(crate) fn failed(&mut self, plan: Hollowing) {
        self.waiting.extend(plan.died);
    }

    /// Forgets segments that are gone.
    pub(crate) fn keep_only(&mut self, is_there: impl Fn(u64) -> bool) {
        self.segments.retain(|segment, _| is_there(*segment));
    }

    /// The segment is going as a whole.
    pub(crate) fn forget(&mut self, segment: u64) {
        self.segments.remove(&segment);
        self.waiting.retain(|died| died.segment != segment);
    }
}

impl Hollowing {
    fn bytes(&self) -> u64 {
        self.blocks.iter().map(|run| u64::from(run.end - run.start)).sum()
    }
}

/// Ranges of bytes, sorted, with a living body between any two.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Ranges(Vec<Range<u32>>);

impl Ranges {
    /// These ranges and `more`; and runs of the blocks that lie within them now and did not before.
    fn with(&self, more: impl Iterator<Item = Range<u32>>) -> (Ranges, Vec<Range<u32>>) {
        let mut all: Vec<(Range<u32>, bool)> = more.map(|range| (range, true)).collect();
        all.extend(self.0.iter().map(|range| (range.clone(), false)));
        all.sort_unstable_by_key(|(range, _)| range.start);
        let (mut after, mut free) = (Vec::new(), Vec::new());
        let mut rest = all.into_iter().peekable();
        while let Some((mut merged, is_new)) = rest.next() {
            if merged.start <= GAP_BYTES_MAX {
                merged.start = 0;
            }
            let mut before: Vec<Range<u32>> = if is_new { Vec::new() } else { vec![merged.clone()] };
            while let Some((next, is_new)) =
                rest.next_if(|(next, _)| next.start <= merged.end + GAP_BYTES_MAX)
            {
                merged.end = merged.end.max(next.end);
                before.extend((!is_new).then_some(next));
            }
            let whole = blocks_of(&merged);
            let mut from = whole.start;
            for punched in before.iter().map(blocks_of).filter(|punched| !punched.is_empty()) {
                free.push(from..punched.start);
                from = punched.end;
            }
            free.push(from..whole.end);
            after.push(merged);
        }
        free.retain(|run| run.start < run.end);
        (Ranges(after), free)
    }
}

/// Between two bodies that are not farther apart lie the head and the key of the second alone: a body in a packed segment is
/// longer than that.
const GAP_BYTES_MAX: u32 = INLINE_BYTES_MAX as u32;

/// The blocks that lie wholly within a range.
fn blocks_of(range: &Range<u32>) -> Range<u32> {
    let block = BLOCK_BYTES as u32;
    range.start.next_multiple_of(block)..range.end / block * block
}

/// Punches of one round, so that it stays short.
const PUNCH_COUNT_MAX: usize = 2_000;
/// Bodies that wait for a later round.
const WAITING_COUNT_MAX: usize = 1_000_000;
/// Ranges that are remembered of one segment: more than bodies of more than a block have there.
const RANGE_COUNT_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    fn died(segment: u64, start: u32, end: u32) -> Died {
        Died { segment, body: start, end }
    }

    fn take(hollows: &mut Hollows, pinned: &HashSet<(u64, u32)>) -> Vec<(u64, Vec<Range<u32>>)> {
        let plans = hollows.plan(pinned);
        let blocks = plans.iter().map(|plan| (plan.segment, plan.blocks.clone())).collect();
        plans.into_iter().for_each(|plan| hollows.done(plan));
        blocks
    }

    #[test]
    fn a_block_is_free_when_the_last_body_in_it_has_died() {
        let mut hollows = Hollows::default();
        hollows.note(vec![died(1, 1_000, 9_000)]);
        assert_eq!(take(&mut hollows, &HashSet::new()), [(1, vec![4_096..8_192])]);
        hollows.note(vec![died(1, 10_100, 13_000)]);
        assert_eq!(take(&mut hollows, &HashSet::new()), [(1, vec![])], "a body lives in each of its blocks");
        hollows.note(vec![died(1, 9_050, 10_050)]);
        assert_eq!(take(&mut hollows, &HashSet::new()), [(1, vec![8_192..12_288])]);
        hollows.note(vec![died(1, 50, 900)]);
        assert_eq!(take(&mut hollows, &HashSet::new()), [(1, vec![0..4_096])]);
        assert_eq!(hollows.segments[&1], Ranges(vec![0..13_000]));
    }

    #[test]
    fn what_is_read_waits_and_what_was_refused_is_tried_again() {
        let mut hollows = Hollows::default();
        hollows.note(vec![died(1, 50, 4_100), died(1, 4_150, 8_192), died(2, 50, 12_288)]);
        let pinned = HashSet::from([(1, 4_150)]);
        let mut plans = hollows.plan(&pinned);
        assert_eq!(plans.iter().map(|plan| plan.segment).collect::<Vec<_>>(), [2, 1]);
        hollows.done(plans.pop().expect("two"));
        hollows.failed(plans.pop().expect("two"));
        assert!(!hollows.is_idle());
        let found = take(&mut hollows, &HashSet::new());
        assert_eq!(found, [(2, vec![0..12_288]), (1, vec![4_096..8_192])]);
        assert!(hollows.is_idle());
    }

    #[test]
    fn one_round_punches_so_much_and_the_rest_waits() {
        let mut hollows = Hollows::default();
        let apart = |segment: u64| {
            (1..1_501_u32).map(move |number| died(segment, number * 8_192, number * 8_192 + 4_096))
        };
        hollows.note(apart(1).chain(apart(2)).collect());
        assert_eq!(take(&mut hollows, &HashSet::new()).len(), 1);
        assert_eq!(take(&mut hollows, &HashSet::new()).len(), 1);
        assert!(take(&mut hollows, &HashSet::new()).is_empty());
    }

    #[test]
    fn a_block_is_punched_once_all_in_it_is_dead_and_never_before() {
        const BYTES: u32 = 20 * 4_096;
        let mut state = 88_172_645_463_325_252_u64;
        let mut draw = |below: u32| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % u64::from(below)) as u32
        };
        for _ in 0..200 {
            // Heads and keys, and bodies that are too long to be inline.
            let (mut entries, mut at) = (Vec::new(), 0);
            while at < BYTES {
                let body = at + 20 + draw(400);
                let end = body + INLINE_BYTES_MAX as u32 + 1 + draw(7_000);
                entries.push((at, body, end));
                at = end;
            }
            let (mut ranges, mut dead) = (Ranges::default(), vec![false; at as usize]);
            let mut punched = HashSet::new();
            while !entries.is_empty() {
                let mut gone = Vec::new();
                for _ in 0..(1 + draw(5) as usize).min(entries.len()) {
                    let (start, body, end) = entries.swap_remove(draw(entries.len() as u32) as usize);
                    dead[start as usize..end as usize].fill(true);
                    gone.push(body..end);
                }
                let (after, free) = ranges.with(gone.into_iter());
                ranges = after;
                for block in free.iter().flat_map(|run| run.clone().step_by(BLOCK_BYTES)) {
                    let block = block as usize;
                    assert!(
                        dead[block..block + BLOCK_BYTES].iter().all(|dead| *dead),
                        "something lives there"
                    );
                    assert!(punched.insert(block), "a block is punched once");
                }
                // A head and a key before the first of a run may stay.
                let head = 420;
                for block in (0..at as usize - BLOCK_BYTES).step_by(BLOCK_BYTES) {
                    let from = block.saturating_sub(head);
                    let is_free = dead[from..block + BLOCK_BYTES].iter().all(|dead| *dead);
                    assert!(!is_free || punched.contains(&block), "a block is not given back");
                }
            }
            assert_eq!(ranges, Ranges(vec![0..at]));
        }
    }
}
