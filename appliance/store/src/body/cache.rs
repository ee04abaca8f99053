//! The checksums of extents that were read lately: one small cache per core.
//! Invariant: the tables in it never take more than the bound. An entry is never stale, because an extent's place is
//! never used again.
//! Leaves to reader.rs: reading and checking headers.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use crate::types::ExtentId;

/// What a reader needs of a header block.
#[derive(Debug)]
pub(super) struct ChunkTable {
    pub(super) data_bytes: u32,
    pub(super) crcs: Vec<u32>,
}

impl ChunkTable {
    fn cost_bytes(&self) -> usize {
        ENTRY_BYTES + self.crcs.len() * 4
    }
}

/// Tables by extent, the one unused for longest goes first.
pub(super) struct HeaderCache {
    tables: HashMap<ExtentId, (Rc<ChunkTable>, u64)>,
    by_use: BTreeMap<u64, ExtentId>,
    tick: u64,
    bytes: usize,
    bytes_max: usize,
}

impl HeaderCache {
    pub(super) fn new(bytes_max: usize) -> HeaderCache {
        HeaderCache { tables: HashMap::new(), by_use: BTreeMap::new(), tick: 0, bytes: 0, bytes_max }
    }

    pub(super) fn get(&mut self, id: ExtentId) -> Option<Rc<ChunkTable>> {
        let (table, used) = self.tables.get_mut(&id)?;
        self.tick += 1;
        self.by_use.remove(used);
        *used = self.tick;
        self.by_use.insert(self.tick, id);
        Some(Rc::clone(table))
    }

    pub(super) fn insert(&mut self, id: ExtentId, table: &Rc<ChunkTable>) {
        if table.cost_bytes() > self.bytes_max || self.tables.contains_key(&id) {
            return;
        }
        self.tick += 1;
        self.bytes += table.cost_bytes();
        self.by_use.insert(self.tick, id);
        self.tables.insert(id, (Rc::clone(table), self.tick));
        while self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            if let Some((table, _)) = self.tables.remove(&oldest) {
                self.bytes -= table.cost_bytes();
            }
        }
    }
}

/// What an entry takes besides its checksums, about.
const ENTRY_BYTES: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ShardId;

    fn id(segment: u64) -> ExtentId {
        ExtentId { shard: ShardId(0), segment, offset: 0 }
    }

    #[test]
    fn the_entry_unused_for_longest_goes_first_and_the_bound_holds() {
        let table = Rc::new(ChunkTable { data_bytes: 1, crcs: vec![1; 10] });
        let mut cache = HeaderCache::new(3 * table.cost_bytes());
        for segment in 0..3 {
            cache.insert(id(segment), &table);
        }
        assert!(cache.get(id(0)).is_some());
        cache.insert(id(3), &table);
        assert!(cache.get(id(1)).is_none());
        assert!(cache.get(id(0)).is_some() && cache.get(id(2)).is_some() && cache.get(id(3)).is_some());
        for segment in 0..1000 {
            cache.insert(id(segment), &table);
            assert!(cache.bytes <= cache.bytes_max);
            assert_eq!(cache.tables.len(), cache.by_use.len());
        }
    }
}
