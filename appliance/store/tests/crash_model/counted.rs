//! The part of the crash model whose records have no bodies and are counted: items in a table that is declared bodyless, and
//! totals that every operation on an item adds to.
//! Invariant that it checks: after any crash each total is what its items give, and in every view of a life that of the items
//! which no transaction writes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::rc::Rc;

use store::{
    Direction, Fault, Operation, Outcome, ShardId, Store, TableId, TableSet, TransactFailure, Tx, View,
};

use crate::operations::{State, tag_of};
use crate::rig::Random;
use crate::{Model, WRITERS, next_tag};

const ITEMS: TableId = TableId(18);
const TOTALS: TableId = TableId(19);
/// The tables of this part.
pub const BODYLESS: TableSet = TableSet::range(ITEMS, TOTALS);
/// Few, so that they come and go, and totals come to nothing.
const KEYS_PER_WRITER: u64 = 3;

/// What the items may be, as in `Model`.
#[derive(Default)]
pub struct Counted {
    /// On the shard that owns the key.
    singles: BTreeMap<Vec<u8>, Vec<State>>,
    /// On every shard the same.
    everywhere: BTreeMap<Vec<u8>, Vec<State>>,
}

/// Writes or deletes an item and adds the change to three totals: of all items, of those of its kind, of its writer's.
#[derive(Clone)]
struct Count {
    key: Vec<u8>,
    tag: State,
    refuse: bool,
    /// Stays as it is until the transaction is decided.
    held: Option<Vec<u8>>,
}

/// The total of all items.
const ALL: &[u8] = b"all";

/// The total of a kind of items is named by the first byte of their keys, that of a writer by all in front of the slash.
fn totals_of(key: &[u8]) -> [&[u8]; 3] {
    let writer = key.split(|byte| *byte == b'/').next().expect("the first part");
    [ALL, &key[..1], writer]
}

impl Operation for Count {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(ITEMS, &self.key);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        let old = tx.get_ref(ITEMS, &self.key, |record| record.map(|record| tag_of(record.value)))?;
        let weight = |state: State| state.map_or([0, 0], |tag| [1, tag as i64]);
        let (before, after) = (weight(old), weight(self.tag));
        for total in totals_of(&self.key) {
            tx.add(TOTALS, total, [after[0] - before[0], after[1] - before[1]])?;
        }
        match self.tag {
            Some(tag) => {
                tx.put(ITEMS, &self.key, &tag.to_le_bytes(), Vec::new(), old.is_none() && tag % 2 == 0)
            }
            None => tx.delete(ITEMS, &self.key),
        }
        if let Some(held) = &self.held {
            tx.hold(ITEMS, held);
        }
        let refuses = self.refuse && tx.shard() == ShardId(1);
        Ok(if refuses { Outcome::Rollback(()) } else { Outcome::Commit(()) })
    }
}

/// Compares items and totals of the kind that no transaction writes, as an operation sees them: with all that pends.
struct Audit;

impl Operation for Audit {
    type Reply = ();

    fn keys(&self, _declare: &mut dyn FnMut(TableId, &[u8])) {}

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        let (mut sums, mut kept) = (Sums::new(), Sums::new());
        tx.scan(ITEMS, Bound::Included(b"s"), Direction::Forward, u64::MAX, &mut |key, record| {
            if key.starts_with(b"s") {
                count(&mut sums, key, record.value);
            }
            ControlFlow::Continue(())
        })?;
        tx.scan(TOTALS, Bound::Included(b"s"), Direction::Forward, u64::MAX, &mut |key, record| {
            if key.starts_with(b"s") {
                kept.insert(key.to_vec(), store::counter::decode(record.value).expect("a counter"));
            }
            ControlFlow::Continue(())
        })?;
        sums.remove(ALL);
        assert_eq!(kept, sums, "totals, and what the items give, as an operation sees them");
        Ok(Outcome::Rollback(()))
    }
}

type Sums = BTreeMap<Vec<u8>, [i64; 2]>;

fn count(sums: &mut Sums, key: &[u8], value: &[u8]) {
    for total in totals_of(key) {
        let sum = sums.entry(total.to_vec()).or_default();
        *sum = [sum[0] + 1, sum[1] + tag_of(value) as i64];
    }
}

/// One operation of a writer.
pub async fn step(
    store: &Store,
    model: &Rc<RefCell<Model>>,
    writer: u64,
    random: &mut Random,
) -> Result<(), Fault> {
    let tag = (random.below(3) > 0).then(|| next_tag(model, random));
    let number = random.below(KEYS_PER_WRITER);
    if random.below(3) > 0 {
        let key = format!("s{writer}/{number}").into_bytes();
        let shard = store.place(&key);
        let before = state_of(&model.borrow().counted.singles, &key);
        model.borrow_mut().counted.singles.insert(key.clone(), vec![before, tag]);
        let count = Count { key: key.clone(), tag, refuse: false, held: None };
        match store.submit(shard, count).await {
            Ok(()) => {}
            Err(Fault::InDoubt) => {
                let mut model = model.borrow_mut();
                model.counted.singles.insert(key, vec![before]);
                model.count("counted item is held");
                return Ok(());
            }
            Err(fault) => return Err(fault),
        }
        match store.submit(shard, Audit).await {
            // Somebody's transaction is in the way of the walk.
            Ok(()) | Err(Fault::InDoubt) => {}
            Err(fault) => {
                // The item stands: only the look at it failed.
                model.borrow_mut().counted.singles.insert(key, vec![tag]);
                return Err(fault);
            }
        }
        audit(&store.view(shard)?, b"s", "while it runs");
        let mut model = model.borrow_mut();
        model.counted.singles.insert(key, vec![tag]);
        model.count("counted item");
        return Ok(());
    }
    let key = format!("t{writer}/{number}").into_bytes();
    let refuse = random.below(4) == 0;
    let before = state_of(&model.borrow().counted.everywhere, &key);
    let after = if refuse { before } else { tag };
    model.borrow_mut().counted.everywhere.insert(key.clone(), vec![before, after]);
    // One that another writer may be about to write.
    let held = format!("s{}/{number}", random.below(WRITERS)).into_bytes();
    let part = Count { key: key.clone(), tag, refuse, held: Some(held) };
    let outcome = store.transact(store.shards().map(|shard| (shard, part.clone())).collect()).await;
    let (is, what) = match outcome {
        Ok(_) => (after, "counted transaction"),
        Err(TransactFailure::Cancelled(_)) => (before, "counted transaction cancelled"),
        Err(TransactFailure::Conflict) => (before, "counted transaction conflict"),
        Err(TransactFailure::Fault(fault)) => return Err(fault),
    };
    let mut model = model.borrow_mut();
    model.counted.everywhere.insert(key, vec![is]);
    model.count(what);
    Ok(())
}

fn state_of(states: &BTreeMap<Vec<u8>, Vec<State>>, key: &[u8]) -> State {
    states.get(key).and_then(|states| states[0])
}

/// All that was acknowledged or shown is there, and the totals fit, once recovery has resolved what it found.
pub fn check(store: &Store, model: &Rc<RefCell<Model>>, round: u64) {
    let counted = std::mem::take(&mut model.borrow_mut().counted);
    let mut next = Counted::default();
    let show = |shard: ShardId, key: &[u8]| -> State {
        let view = store.view(shard).expect("view");
        view.get(ITEMS, key).expect("reads").map(|record| tag_of(record.value))
    };
    for (key, allowed) in counted.singles {
        let shown = show(store.place(&key), &key);
        assert!(allowed.contains(&shown), "round {round}: {key:?} shows {shown:?}, allowed {allowed:?}");
        next.singles.insert(key, vec![shown]);
    }
    for (key, allowed) in counted.everywhere {
        let shown: Vec<State> = store.shards().map(|shard| show(shard, &key)).collect();
        assert!(shown.windows(2).all(|pair| pair[0] == pair[1]), "round {round}: half of {key:?}: {shown:?}");
        assert!(allowed.contains(&shown[0]), "round {round}: {key:?} shows {shown:?}, allowed {allowed:?}");
        next.everywhere.insert(key, vec![shown[0]]);
    }
    for shard in store.shards() {
        let view = store.view(shard).expect("view");
        for kind in [b"s", b"t"] {
            audit(&view, kind, &format!("round {round}, {shard}"));
        }
        let [all, singles, everywhere] =
            [ALL, b"s", b"t"].map(|total| view.counter(TOTALS, total).expect("reads"));
        let sum = [singles[0] + everywhere[0], singles[1] + everywhere[1]];
        assert_eq!(all, sum, "round {round}, {shard}: the total of all items, and those of both kinds");
    }
    model.borrow_mut().counted = next;
}

/// The totals of a kind of items are those of its items, and there are no others.
fn audit(view: &View<'_>, kind: &[u8; 1], when: &str) {
    let mut sums = Sums::new();
    let mut items = view.scan(ITEMS, Bound::Included(kind), Direction::Forward);
    while let Some((key, record)) = items.next().expect("reads") {
        if !key.starts_with(kind) {
            break;
        }
        count(&mut sums, key, record.value);
    }
    sums.remove(ALL);
    let mut kept = Sums::new();
    let mut totals = view.scan(TOTALS, Bound::Included(kind), Direction::Forward);
    while let Some((key, record)) = totals.next().expect("reads") {
        if !key.starts_with(kind) {
            break;
        }
        kept.insert(key.to_vec(), store::counter::decode(record.value).expect("a counter"));
    }
    assert_eq!(kept, sums, "{when}: totals, and what the items give");
}
