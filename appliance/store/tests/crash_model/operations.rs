//! The operations of the crash model: each is what a service might do, with bodies whose bytes follow from a tag.

use store::{Body, Fault, NewBody, Operation, Outcome, ShardId, TableId, Tx};

use crate::rig::Random;

pub const TABLE: TableId = TableId(16);
pub const TRANSACTED: TableId = TableId(17);
/// Body sizes around every border: inline, batch, extents.
pub const SIZES: [usize; 8] = [0, 10, 512, 600, 5_000, 32_769, 70_000, 300_000];
/// Records of one operation that is larger than any batch.
const HUGE_COUNT: usize = 10;

/// What a key may show: a tag, or nothing.
pub type State = Option<u64>;

pub fn size_of(tag: u64) -> usize {
    SIZES[(tag % SIZES.len() as u64) as usize]
}

pub fn body_bytes(tag: u64) -> Vec<u8> {
    let mut random = Random(tag);
    let mut bytes = Vec::with_capacity(size_of(tag) + 8);
    while bytes.len() < size_of(tag) {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(size_of(tag));
    bytes
}

pub struct Write {
    pub key: Vec<u8>,
    pub tag: State,
    pub body: Option<NewBody>,
    /// Only if the key holds this.
    pub only_if: Option<State>,
}

impl Operation for Write {
    type Reply = bool;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TABLE, &self.key);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<bool>, Fault> {
        if let Some(wanted) = self.only_if {
            let found = tx.get(TABLE, &self.key)?.map(|record| tag_of(&record.value));
            if found != wanted {
                return Ok(Outcome::Rollback(false));
            }
        }
        match self.tag {
            Some(tag) => {
                let bodies = self.body.iter().cloned().map(Body::New).collect();
                tx.put(TABLE, &self.key, &tag.to_le_bytes(), bodies, false);
            }
            None => tx.delete(TABLE, &self.key),
        }
        Ok(Outcome::Commit(true))
    }
}

/// Moves the record to another key of the same shard, body and all.
pub struct Rename {
    pub from: Vec<u8>,
    pub to: Vec<u8>,
}

impl Operation for Rename {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TABLE, &self.from);
        declare(TABLE, &self.to);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        let record = tx.get(TABLE, &self.from)?.expect("the model says that it is there");
        let bodies = record.bodies.into_iter().map(Body::Kept).collect();
        tx.delete(TABLE, &self.from);
        tx.put(TABLE, &self.to, &record.value, bodies, false);
        Ok(Outcome::Commit(()))
    }
}

#[derive(Clone)]
pub struct WriteEverywhere {
    pub key: Vec<u8>,
    pub tag: State,
    pub refuse: bool,
}

impl Operation for WriteEverywhere {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TRANSACTED, &self.key);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        tx.get(TRANSACTED, &self.key)?;
        if self.refuse && tx.shard() == ShardId(1) {
            return Ok(Outcome::Rollback(()));
        }
        match self.tag {
            Some(tag) => {
                let body = NewBody::from_bytes(body_bytes(tag * SIZES.len() as u64 + 3));
                tx.put(TRANSACTED, &self.key, &tag.to_le_bytes(), vec![Body::New(body)], false);
            }
            None => tx.delete(TRANSACTED, &self.key),
        }
        Ok(Outcome::Commit(()))
    }
}

pub fn tag_of(value: &[u8]) -> u64 {
    u64::from_le_bytes(value.try_into().expect("values are tags"))
}

/// More than a batch takes: refused whole.
pub struct Huge;

impl Operation for Huge {
    type Reply = ();

    fn keys(&self, _declare: &mut dyn FnMut(TableId, &[u8])) {}

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        for number in 0..HUGE_COUNT {
            let body = Body::New(NewBody::from_bytes(vec![1; 32_000]));
            tx.put(TABLE, format!("huge/{number}").as_bytes(), &[0; 8], vec![body], false);
        }
        Ok(Outcome::Commit(()))
    }
}

/// Looks at a key that a transaction may hold, and writes nothing.
pub struct Peek(pub Vec<u8>);

impl Operation for Peek {
    type Reply = State;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TRANSACTED, &self.0);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<State>, Fault> {
        Ok(Outcome::Rollback(tx.get(TRANSACTED, &self.0)?.map(|record| tag_of(&record.value))))
    }
}
