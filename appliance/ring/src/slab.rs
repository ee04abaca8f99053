//! A slab with generations: slots are reused, keys are not.
//!
//! Invariant: a key finds a value only while that very value is in the slab. A completion or a cancellation that
//! names a slot's former owner finds nothing.

/// Names one value in a slab: its slot and how often that slot had been used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub index: u32,
    /// Only the low 24 bits count: a key shares its `u64` with an 8-bit kind on the way through the kernel.
    pub generation: u32,
}

const GENERATION_MASK: u32 = 0x00ff_ffff;
const NONE: u32 = u32::MAX;

impl Key {
    /// A key that no slab ever hands out.
    pub const VACANT: Key = Key { index: NONE, generation: 0 };

    /// Packs the key with a kind into the word that the kernel returns with a completion.
    pub fn pack(self, kind: u8) -> u64 {
        (u64::from(kind) << 56) | (u64::from(self.generation) << 32) | u64::from(self.index)
    }

    /// The inverse of `pack`.
    pub fn unpack(word: u64) -> (Key, u8) {
        let generation = ((word >> 32) as u32) & GENERATION_MASK;
        (Key { index: word as u32, generation }, (word >> 56) as u8)
    }
}

struct Entry<T> {
    generation: u32,
    next_free: u32,
    value: Option<T>,
}

/// Values in reusable slots.
pub(crate) struct Slab<T> {
    entries: Vec<Entry<T>>,
    first_free: u32,
    count: usize,
}

impl<T> Slab<T> {
    pub fn new() -> Self {
        Slab { entries: Vec::new(), first_free: NONE, count: 0 }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn insert(&mut self, value: T) -> Key {
        self.count += 1;
        if self.first_free == NONE {
            let index = u32::try_from(self.entries.len()).expect("fewer than four billion slots");
            assert!(index != NONE, "the slab is full");
            self.entries.push(Entry { generation: 0, next_free: NONE, value: Some(value) });
            return Key { index, generation: 0 };
        }
        let index = self.first_free;
        let entry = &mut self.entries[index as usize];
        self.first_free = entry.next_free;
        entry.next_free = NONE;
        entry.value = Some(value);
        Key { index, generation: entry.generation }
    }

    pub fn get(&self, key: Key) -> Option<&T> {
        let entry = self.entries.get(key.index as usize)?;
        if entry.generation == key.generation { entry.value.as_ref() } else { None }
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.index as usize)?;
        if entry.generation == key.generation { entry.value.as_mut() } else { None }
    }

    pub fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get_mut(key.index as usize)?;
        if entry.generation != key.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = (entry.generation + 1) & GENERATION_MASK;
        entry.next_free = self.first_free;
        self.first_free = key.index;
        self.count -= 1;
        Some(value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| {
            let key = Key { index: index as u32, generation: entry.generation };
            entry.value.as_ref().map(|value| (key, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_key_never_finds_the_next_owner_of_its_slot() {
        let mut slab = Slab::new();
        let first = slab.insert("first");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second");
        assert_eq!(first.index, second.index);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&"second"));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn a_key_survives_the_way_through_a_completion() {
        let key = Key { index: 0xdead_beef, generation: 0x00ab_cdef };
        assert_eq!(Key::unpack(key.pack(7)), (key, 7));
    }
}
