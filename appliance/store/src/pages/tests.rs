//! Files that LMDB made under random writes pass; after a flipped bit a file is refused, or all that is read from it is
//! right or a named error.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;

use super::PAGE_BYTES;
use crate::fault::Fault;
use crate::index::Index;

const MAP_BYTES: usize = 1 << 30;
const ROUNDS: u64 = 25;
const FLIPS: u64 = 150;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A directory that is gone when the test is.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("zerocloud-pages-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        Dir(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    let named = std::env::var("ZEROCLOUD_PAGES_SEED").ok().and_then(|text| text.parse().ok());
    let seed = named.unwrap_or_else(|| RandomState::new().hash_one(0_u8));
    println!("replay with ZEROCLOUD_PAGES_SEED={seed}");
    seed
}

/// Short keys, keys of the longest length, and runs with a common prefix.
fn key(random: &mut Random) -> Vec<u8> {
    let number = random.below(3_000);
    let length = match number % 17 {
        0 => crate::types::KEY_BYTES_MAX + 1 - 6,
        1..5 => 0,
        other => other as usize * 5,
    };
    let mut key = vec![16 + (number % 3) as u8];
    key.extend_from_slice(&vec![b'k'; length]);
    key.extend_from_slice(format!("{number:05}").as_bytes());
    key
}

fn value(random: &mut Random) -> Vec<u8> {
    let length = match random.below(20) {
        0 => random.below(20_000),
        1 => 1_900 + random.below(300),
        _ => random.below(150),
    };
    (0..length).map(|_| random.next() as u8).collect()
}

/// Many transactions of puts, overwrites and deletes, whole ranges among them.
fn churn(index: &Index, model: &mut Model, random: &mut Random, rounds: u64) {
    for _ in 0..rounds {
        let mut txn = index.write().expect("begins");
        // Held over a commit, a reader keeps pages in the free list.
        let reader = (random.below(3) == 0).then(|| index.read().expect("reads"));
        for _ in 0..random.below(400) {
            let key = key(random);
            if random.below(3) == 0 {
                index.delete(&mut txn, &key).expect("deletes");
                model.remove(&key);
            } else {
                let value = value(random);
                index.put(&mut txn, &key, &value).expect("puts");
                model.insert(key, value);
            }
        }
        if random.below(12) == 0 {
            let from = key(random);
            let doomed: Vec<_> = model.range(from..).take(1_000).map(|(key, _)| key.clone()).collect();
            for key in doomed {
                index.delete(&mut txn, &key).expect("deletes");
                model.remove(&key);
            }
        }
        index.commit(txn).expect("commits");
        drop(reader);
    }
}

#[test]
fn what_lmdb_writes_is_sound() {
    let mut random = Random(seed());
    let dir = Dir::new("sound");
    Index::make(&dir.0).expect("makes");
    let mut model = Model::new();
    for _ in 0..ROUNDS {
        let index = Index::open(&dir.0, MAP_BYTES, 16, &mut |_, _| ()).expect("what LMDB wrote is sound");
        let rounds = 1 + random.below(6);
        churn(&index, &mut model, &mut random, rounds);
    }
    let index = Index::open(&dir.0, MAP_BYTES, 16, &mut |_, _| ()).expect("opens");
    assert_eq!(judge(&index, &model).expect("nothing is wrong"), 0);
}

/// Compares all that an index says with the model; gives how often it named an error. `Err` says what is wrong.
fn judge(index: &Index, model: &Model) -> Result<u64, String> {
    let txn = index.read().expect("reads");
    let mut named = 0;
    for (key, value) in model {
        match index.get(&txn, key) {
            Ok(Some(found)) if found == value => {}
            Err(Fault::Corrupt(_)) => named += 1,
            other => return Err(format!("{:?} is {other:?}", key.escape_ascii().to_string())),
        }
        let mut absent = key.clone();
        absent.push(0);
        match index.get(&txn, &absent) {
            Ok(None) => {}
            Err(Fault::Corrupt(_)) => named += 1,
            other => return Err(format!("what was never put is {other:?}")),
        }
    }
    let mut expected = model.iter();
    for item in index.range(&txn, Bound::Included(&[16][..])).expect("seeks") {
        let (key, stored) = item.map_err(|error| error.to_string())?;
        let Ok(value) = index.check(key, stored) else {
            named += 1;
            expected.next();
            continue;
        };
        if expected.next() != Some((&key.to_vec(), &value.to_vec())) {
            return Err(format!("the walk shows {:?}", key.escape_ascii().to_string()));
        }
    }
    match expected.next() {
        None => Ok(named),
        Some((key, _)) => Err(format!("the walk ends before {:?}", key.escape_ascii().to_string())),
    }
}

#[test]
fn after_a_flipped_bit_nothing_else_is_read() {
    let mut random = Random(seed());
    let dir = Dir::new("flips");
    Index::make(&dir.0).expect("makes");
    let mut model = Model::new();
    let index = Index::open(&dir.0, MAP_BYTES, 16, &mut |_, _| ()).expect("opens");
    churn(&index, &mut model, &mut random, 8);
    drop(index);
    let file = dir.0.join("data.mdb");
    let sound = std::fs::read(&file).expect("read");
    let (mut refused, mut named, mut right) = (0, 0, 0);
    for _ in 0..FLIPS {
        let mut bytes = sound.clone();
        // Half of them in what is least protected by values' checksums: heads, offsets, and the nodes' own heads.
        let page = random.below((sound.len() / PAGE_BYTES) as u64) as usize * PAGE_BYTES;
        let reach = if random.below(2) == 0 { 200 } else { PAGE_BYTES as u64 };
        let (place, bit) = (page + random.below(reach) as usize, random.below(8));
        bytes[place] ^= 1 << bit;
        std::fs::write(&file, &bytes).expect("write");
        match Index::open(&dir.0, MAP_BYTES, 16, &mut |_, _| ()) {
            Err(Fault::Corrupt(_)) => refused += 1,
            Err(other) => panic!("a flip of bit {bit} of byte {place} is {other}"),
            Ok(index) => match judge(&index, &model) {
                Ok(0) => right += 1,
                Ok(_) => named += 1,
                Err(what) => panic!("a flip of bit {bit} of byte {place} is not found: {what}"),
            },
        }
    }
    println!("{FLIPS} flips: {refused} refused, {named} named, {right} without effect");
    assert!(refused > 0 && named > 0 && right > 0, "{refused} refused, {named} named, {right} right");
}
