//! Transactions over shards: what a participant keeps until every participant has it, and who decides.
//! Invariant: a transaction is committed when all its prepares are durable, and only then; each prepare names all
//! participants, so that recovery decides alike without a record of the decision.
//!
//! ```text
//! caller          participant A                 participant B
//!   prepare  -->  PREPARED[id] + intents   ...   PREPARED[id] + intents      one batch each, in parallel
//!   <-- durable   (or refused)                   durable
//!   decide: status committed(c)  -> the reply may leave; readers see all intents at once
//!   resolve  -->  plain effects, PREPARED[id] = resolved                     one batch each
//!   <-- durable                                  durable
//!   forget   -->  delete PREPARED[id]
//! ```
//! A participant that refused has nothing to undo; the others take their PREPARED record away again. A PREPARED record is
//! an ordinary record: the log, the fold and recovery treat it like any other, its bodies included.
//!
//! ```text
//! PREPARED value = version u8 (2) | state u8 (0 prepared, 1 resolved) | participant_count u16 | shard u16*
//!                | adopted_count u32 | (shard u16 | segment u64 | offset u32 | data_bytes u32)* | effect_count u32
//!                | effect*: fresh u8 | key_length u16 | key | kind u8 | ...
//!                     0 delete
//!                     1 put     value_length u32 | value | body_count u16
//!                     2 add     first i64 | second i64      applied when the transaction is resolved; nobody is kept out
//!                     3 hold                                nothing is written; the key is held until the decision
//! ```
//! Version 1 has the kinds 0 and 1 only; it is read, never written.

use std::sync::Arc;

use crate::counter;
use crate::fault::Fault;
use crate::record::{BodyRef, Reader};
use crate::tx_status::TxStatus;
use crate::types::{Extent, ExtentId, Lsn, ShardId};

const VERSION: u8 = 2;
const VERSION_WITHOUT_ADDS: u8 = 1;
const DELETE: u8 = 0;
const PUT: u8 = 1;
const ADD: u8 = 2;
const HOLD: u8 = 3;

/// Why a transaction over shards did not happen.
#[derive(Debug)]
pub enum TransactFailure<R> {
    /// These participants rolled back, with these replies.
    Cancelled(Vec<(ShardId, R)>),
    /// Another transaction holds one of the keys; nothing happened, try again.
    Conflict,
    /// A participant failed.
    Fault(Fault),
}

/// What makes a job of an owner a prepare.
#[derive(Clone)]
pub(crate) struct PrepareInfo {
    pub(crate) id: u128,
    pub(crate) participants: Arc<[ShardId]>,
    pub(crate) status: Arc<TxStatus>,
}

/// One effect of a prepared transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PreparedEffect {
    /// With its table byte.
    pub(crate) key: Vec<u8>,
    pub(crate) fresh: bool,
    pub(crate) change: Change,
}

/// What a prepared effect does to its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    Put {
        value: Vec<u8>,
        body_count: u16,
    },
    Delete,
    /// To a counter.
    Add([i64; 2]),
    /// Nothing; the key stays as it is.
    Hold,
}

impl Change {
    pub(crate) fn value(&self) -> &[u8] {
        match self {
            Change::Put { value, .. } => value,
            Change::Delete | Change::Add(_) | Change::Hold => &[],
        }
    }

    pub(crate) fn body_count(&self) -> usize {
        match self {
            Change::Put { body_count, .. } => usize::from(*body_count),
            Change::Delete | Change::Add(_) | Change::Hold => 0,
        }
    }
}

/// A transaction that this shard has prepared and not resolved.
pub(crate) struct Prepared {
    pub(crate) status: Arc<TxStatus>,
    pub(crate) content: PreparedContent,
    /// Of all effects, in order.
    pub(crate) bodies: Vec<BodyRef>,
    /// The batch that holds the prepare.
    pub(crate) lsn: Lsn,
}

/// The stored value of a PREPARED record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PreparedContent {
    pub(crate) resolved: bool,
    pub(crate) participants: Vec<ShardId>,
    /// Extents that the transaction brought; they are dead if it aborts.
    pub(crate) adopted: Vec<Extent>,
    pub(crate) effects: Vec<PreparedEffect>,
}

impl PreparedContent {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, u8::from(self.resolved)];
        out.extend_from_slice(&(self.participants.len() as u16).to_le_bytes());
        for shard in &self.participants {
            out.extend_from_slice(&shard.0.to_le_bytes());
        }
        out.extend_from_slice(&(self.adopted.len() as u32).to_le_bytes());
        for extent in &self.adopted {
            out.extend_from_slice(&extent.id.shard.0.to_le_bytes());
            out.extend_from_slice(&extent.id.segment.to_le_bytes());
            out.extend_from_slice(&extent.id.offset.to_le_bytes());
            out.extend_from_slice(&extent.data_bytes.to_le_bytes());
        }
        out.extend_from_slice(&(self.effects.len() as u32).to_le_bytes());
        for effect in &self.effects {
            out.push(u8::from(effect.fresh));
            out.extend_from_slice(&(effect.key.len() as u16).to_le_bytes());
            out.extend_from_slice(&effect.key);
            match &effect.change {
                Change::Delete => out.push(DELETE),
                Change::Put { value, body_count } => {
                    out.push(PUT);
                    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
                    out.extend_from_slice(value);
                    out.extend_from_slice(&body_count.to_le_bytes());
                }
                Change::Add(change) => {
                    out.push(ADD);
                    out.extend_from_slice(&counter::encode(*change));
                }
                Change::Hold => out.push(HOLD),
            }
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<PreparedContent, Fault> {
        let mut reader = Reader { rest: bytes };
        let version = reader.u8()?;
        if version != VERSION && version != VERSION_WITHOUT_ADDS {
            return Err(Fault::corrupt("a prepared transaction has an unknown version".into()));
        }
        let resolved = reader.u8()? == 1;
        let participant_count = reader.u16()?;
        let mut participants = Vec::new();
        for _ in 0..participant_count {
            participants.push(ShardId(reader.u16()?));
        }
        let mut adopted = Vec::new();
        for _ in 0..reader.u32()? {
            let id =
                ExtentId { shard: ShardId(reader.u16()?), segment: reader.u64()?, offset: reader.u32()? };
            adopted.push(Extent { id, data_bytes: reader.u32()? });
        }
        let effect_count = reader.u32()?;
        let mut effects = Vec::new();
        for _ in 0..effect_count {
            let fresh = reader.u8()? == 1;
            let key_bytes = usize::from(reader.u16()?);
            let key = reader.take(key_bytes)?.to_vec();
            let change = match (reader.u8()?, version) {
                (PUT, _) => {
                    let value_bytes = reader.u32()? as usize;
                    Change::Put { value: reader.take(value_bytes)?.to_vec(), body_count: reader.u16()? }
                }
                (DELETE, _) => Change::Delete,
                (ADD, VERSION) => Change::Add(counter::decode(reader.take(counter::VALUE_BYTES)?)?),
                (HOLD, VERSION) => Change::Hold,
                (kind, _) => {
                    return Err(Fault::corrupt(format!("a prepared effect has the unknown kind {kind}")));
                }
            };
            effects.push(PreparedEffect { key, fresh, change });
        }
        Ok(PreparedContent { resolved, participants, adopted, effects })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(key: &[u8], fresh: bool, change: Change) -> PreparedEffect {
        PreparedEffect { key: key.to_vec(), fresh, change }
    }

    #[test]
    fn a_transaction_that_version_1_prepared_is_read() {
        // Written by the version before counters: shards 0 and 7, one extent, a put with two bodies, a delete.
        let bytes =
            b"\x01\0\x02\0\0\0\x07\0\x01\0\0\0\x01\0\x04\0\0\0\0\0\0\0\0\x20\0\0\x70\x11\x01\0\x02\0\0\0\
              \x01\x02\0\x10a\x01\x03\0\0\0one\x02\0\0\x02\0\x10b\0";
        let content = PreparedContent::decode(bytes).expect("decodes");
        assert_eq!(content.participants, [ShardId(0), ShardId(7)]);
        assert_eq!(content.adopted.len(), 1);
        let expected = [
            effect(b"\x10a", true, Change::Put { value: b"one".to_vec(), body_count: 2 }),
            effect(b"\x10b", false, Change::Delete),
        ];
        assert_eq!(content.effects, expected);
        let mut with_an_add = bytes.to_vec();
        *with_an_add.last_mut().expect("not empty") = ADD;
        with_an_add.extend_from_slice(&[0; counter::VALUE_BYTES]);
        assert!(PreparedContent::decode(&with_an_add).is_err(), "version 1 knows no adds");
    }

    #[test]
    fn a_prepared_transaction_round_trips_and_its_truncations_are_faults() {
        let content = PreparedContent {
            resolved: false,
            participants: vec![ShardId(0), ShardId(7)],
            adopted: vec![Extent {
                id: ExtentId { shard: ShardId(1), segment: 4, offset: 8192 },
                data_bytes: 70_000,
            }],
            effects: vec![
                effect(b"\x10a", true, Change::Put { value: b"one".to_vec(), body_count: 2 }),
                effect(b"\x10b", false, Change::Delete),
                effect(b"\x10c", false, Change::Add([-1, i64::MAX])),
                effect(b"\x10d", false, Change::Hold),
            ],
        };
        let bytes = content.encode();
        assert_eq!(PreparedContent::decode(&bytes).expect("decodes"), content);
        for length in 0..bytes.len() {
            assert!(PreparedContent::decode(&bytes[..length]).is_err(), "length {length}");
        }
    }
}
