//! One bucket as it should be: every version of every key in a plain vector, newest first.

use std::collections::BTreeMap;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Versioning {
    Never,
    Enabled,
    Suspended,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    /// The id on the wire; "null" for the null version.
    pub id: String,
    /// Nothing: a delete marker.
    pub object: Option<Object>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    pub body: Vec<u8>,
    pub etag: String,
    pub tag: Option<String>,
}

/// One bucket as it should be.
pub struct Model {
    pub versioning: Versioning,
    /// Newest first.
    pub keys: BTreeMap<String, Vec<Version>>,
}

impl Model {
    pub fn current(&self, key: &str) -> Option<&Object> {
        self.keys.get(key)?.first()?.object.as_ref()
    }

    pub fn objects(&self) -> Vec<(&str, &Object)> {
        self.keys.keys().filter_map(|key| self.current(key).map(|object| (key.as_str(), object))).collect()
    }

    /// Adds a version the way the bucket's state says; `id` is what the reply named.
    pub fn add(&mut self, key: &str, id: Option<&str>, object: Option<Object>) {
        let versions = self.keys.entry(key.to_owned()).or_default();
        let id = match self.versioning {
            Versioning::Never => {
                versions.clear();
                if object.is_none() {
                    self.keys.remove(key);
                    return;
                }
                "null".to_owned()
            }
            Versioning::Enabled => id.expect("an id").to_owned(),
            Versioning::Suspended => {
                // A write does not name the null version, a delete marker does.
                assert_eq!(id, object.is_none().then_some("null"));
                versions.retain(|version| version.id != "null");
                "null".to_owned()
            }
        };
        versions.insert(0, Version { id, object });
    }

    pub fn remove(&mut self, key: &str, id: &str) -> Option<Version> {
        let versions = self.keys.get_mut(key)?;
        let place = versions.iter().position(|version| version.id == id)?;
        let removed = versions.remove(place);
        if versions.is_empty() {
            self.keys.remove(key);
        }
        Some(removed)
    }
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}
