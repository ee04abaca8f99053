//! The part of the crash model whose operations fit into no ordinary batch: each writes all records of a row with one tag, on
//! the shard that owns the row, or on every shard in a transaction.
//! Invariant that it checks: a row is of one tag, whole, on every shard on which it is.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use store::{Fault, Operation, Outcome, ShardId, Store, TableId, TransactFailure, Tx};

use crate::operations::State;
use crate::rig::Random;
use crate::{Model, next_tag};

const ROWS: TableId = TableId(20);
/// More than a batch of the model's configuration takes, less than the largest of its prepares.
const RECORD_COUNT: u8 = 5;
const VALUE_BYTES: usize = 22_000;

/// What the rows may be, as in `Model`, by writer.
#[derive(Default)]
pub struct Large {
    /// On the shard that owns the writer's key.
    alone: BTreeMap<u64, Vec<State>>,
    /// On every shard the same.
    everywhere: BTreeMap<u64, Vec<State>>,
}

struct WriteRow {
    row: Vec<u8>,
    tag: u64,
}

fn record_key(row: &[u8], number: u8) -> Vec<u8> {
    [row, &[number]].concat()
}

impl Operation for WriteRow {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(ROWS, &self.row);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        for number in 0..RECORD_COUNT {
            let mut value = vec![self.tag as u8; VALUE_BYTES];
            value[..8].copy_from_slice(&self.tag.to_le_bytes());
            tx.put(ROWS, &record_key(&self.row, number), &value, Vec::new(), false);
        }
        Ok(Outcome::Commit(()))
    }
}

/// One operation of a writer.
pub async fn step(
    store: &Store,
    model: &Rc<RefCell<Model>>,
    writer: u64,
    random: &mut Random,
) -> Result<(), Fault> {
    let tag = next_tag(model, random);
    if random.below(2) == 0 {
        let row = format!("a{writer}").into_bytes();
        let before = model.borrow().large.alone.get(&writer).and_then(|states| states[0]);
        model.borrow_mut().large.alone.insert(writer, vec![before, Some(tag)]);
        store.submit(store.place(&row), WriteRow { row, tag }).await?;
        let mut model = model.borrow_mut();
        model.large.alone.insert(writer, vec![Some(tag)]);
        model.count("large operation");
        return Ok(());
    }
    let row = format!("e{writer}").into_bytes();
    let before = model.borrow().large.everywhere.get(&writer).and_then(|states| states[0]);
    model.borrow_mut().large.everywhere.insert(writer, vec![before, Some(tag)]);
    let parts = store.shards().map(|shard| (shard, WriteRow { row: row.clone(), tag })).collect();
    let (is, what) = match store.transact(parts).await {
        Ok(_) => (Some(tag), "large transaction"),
        Err(TransactFailure::Conflict) => (before, "large transaction conflict"),
        Err(TransactFailure::Cancelled(_)) => panic!("nobody refuses"),
        Err(TransactFailure::Fault(fault)) => return Err(fault),
    };
    let mut model = model.borrow_mut();
    model.large.everywhere.insert(writer, vec![is]);
    model.count(what);
    Ok(())
}

/// The tag of a row, which all of its records have, or none of them is there.
fn show(store: &Store, shard: ShardId, row: &[u8]) -> State {
    let view = store.view(shard).expect("view");
    let tags: Vec<State> = (0..RECORD_COUNT)
        .map(|number| {
            let record = view.get(ROWS, &record_key(row, number)).expect("reads")?;
            let (tag, rest) = record.value.split_first_chunk::<8>().expect("a tag");
            let tag = u64::from_le_bytes(*tag);
            assert!(rest.len() == VALUE_BYTES - 8 && rest.iter().all(|byte| *byte == tag as u8));
            Some(tag)
        })
        .collect();
    assert!(tags.windows(2).all(|pair| pair[0] == pair[1]), "half of a row on {shard}: {tags:?}");
    tags[0]
}

/// All that was acknowledged or shown is there, whole.
pub fn check(store: &Store, model: &Rc<RefCell<Model>>, round: u64) {
    let large = std::mem::take(&mut model.borrow_mut().large);
    let mut next = Large::default();
    for (writer, allowed) in large.alone {
        let row = format!("a{writer}").into_bytes();
        let shown = show(store, store.place(&row), &row);
        assert!(allowed.contains(&shown), "round {round}: row {writer} shows {shown:?}, allowed {allowed:?}");
        next.alone.insert(writer, vec![shown]);
    }
    for (writer, allowed) in large.everywhere {
        let row = format!("e{writer}").into_bytes();
        let shown: Vec<State> = store.shards().map(|shard| show(store, shard, &row)).collect();
        assert!(
            shown.windows(2).all(|pair| pair[0] == pair[1]),
            "round {round}: half of {writer}: {shown:?}"
        );
        assert!(
            allowed.contains(&shown[0]),
            "round {round}: row {writer} shows {shown:?}, allowed {allowed:?}"
        );
        next.everywhere.insert(writer, vec![shown[0]]);
    }
    model.borrow_mut().large = next;
}
