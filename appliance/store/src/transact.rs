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
//! PREPARED value = version u8 (1) | state u8 (0 prepared, 1 resolved) | participant_count u16 | shard u16*
//!                | adopted_count u32 | (shard u16 | segment u64 | offset u32 | data_bytes u32)* | effect_count u32
//!                | effect*: fresh u8 | key_length u16 | key | has_value u8 | [value_length u32 | value | body_count u16]
//! ```

use std::sync::Arc;

use crate::fault::Fault;
use crate::record::{BodyRef, Reader};
use crate::tx_status::TxStatus;
use crate::types::{Extent, ExtentId, Lsn, ShardId};

const VERSION: u8 = 1;

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
    /// Value and number of bodies; nothing for a deletion.
    pub(crate) value: Option<(Vec<u8>, u16)>,
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
            match &effect.value {
                None => out.push(0),
                Some((value, bodies)) => {
                    out.push(1);
                    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
                    out.extend_from_slice(value);
                    out.extend_from_slice(&bodies.to_le_bytes());
                }
            }
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<PreparedContent, Fault> {
        let mut reader = Reader { rest: bytes };
        if reader.u8()? != VERSION {
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
            let value = if reader.u8()? == 1 {
                let value_bytes = reader.u32()? as usize;
                Some((reader.take(value_bytes)?.to_vec(), reader.u16()?))
            } else {
                None
            };
            effects.push(PreparedEffect { key, fresh, value });
        }
        Ok(PreparedContent { resolved, participants, adopted, effects })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
                PreparedEffect { key: b"\x10a".to_vec(), fresh: true, value: Some((b"one".to_vec(), 2)) },
                PreparedEffect { key: b"\x10b".to_vec(), fresh: false, value: None },
            ],
        };
        let bytes = content.encode();
        assert_eq!(PreparedContent::decode(&bytes).expect("decodes"), content);
        for length in 0..bytes.len() {
            assert!(PreparedContent::decode(&bytes[..length]).is_err(), "length {length}");
        }
    }
}
