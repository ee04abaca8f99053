//! Which shard owns a partition key.
//! Invariant: the answer depends on the key's bytes and the shard count only, for ever: data lies where it says.

use crate::tx::Tx;
use crate::types::ShardId;

/// Slots between keys and shards; a reshard moves whole slots.
pub const SLOT_COUNT: u16 = 4_096;

/// The slot of a partition key: the top 12 bits of its XXH3-64.
#[must_use]
pub fn slot_of(partition_key: &[u8]) -> u16 {
    (hash::xxh3_64(partition_key) >> 52) as u16
}

/// Slots to shards: contiguous runs of nearly equal length.
#[derive(Clone, Copy, Debug)]
pub struct Placement {
    shard_count: u16,
}

impl Placement {
    /// A placement over this many shards, at least one.
    #[must_use]
    pub fn new(shard_count: u16) -> Placement {
        assert!(shard_count > 0 && shard_count <= SLOT_COUNT, "a data directory has 1 to 4,096 shards");
        Placement { shard_count }
    }

    /// The shard of a slot.
    #[must_use]
    pub fn shard_of_slot(&self, slot: u16) -> ShardId {
        let shard = u32::from(slot) * u32::from(self.shard_count) / u32::from(SLOT_COUNT);
        ShardId(shard as u16)
    }
}

impl Tx<'_> {
    /// The shard that owns a partition key, for messages to it.
    #[must_use]
    pub fn place(&self, partition_key: &[u8]) -> ShardId {
        self.inputs.placement.shard_of_slot(slot_of(partition_key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_spread_evenly_over_any_number_of_shards() {
        for shard_count in [1, 2, 3, 7, 16, 256] {
            let placement = Placement::new(shard_count);
            let mut counts = vec![0_u32; usize::from(shard_count)];
            for slot in 0..SLOT_COUNT {
                counts[usize::from(placement.shard_of_slot(slot).0)] += 1;
            }
            let (low, high) = (counts.iter().min(), counts.iter().max());
            assert!(high.zip(low).is_some_and(|(high, low)| high - low <= 1), "{counts:?}");
        }
    }

    #[test]
    fn the_slot_of_a_key_never_changes() {
        // Data directories in the field depend on these values.
        assert_eq!([slot_of(b""), slot_of(b"a"), slot_of(b"bucket/key")], [720, 3692, 3069]);
    }
}
