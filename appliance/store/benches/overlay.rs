//! What the overlay costs: nanoseconds per insertion and lookup, bytes per entry.
//! Run: `cargo bench -p zerocloud-store --bench overlay`

use std::hint::black_box;
use std::time::Instant;

use store::Lsn;
use store::overlay::{Entry, overlay};

const ENTRY_COUNT: usize = 100_000;
const KEY_BYTES: usize = 60;
const VALUE_BYTES: usize = 140;
const ROUNDS: usize = 7;

fn main() {
    let keys = random_keys();
    let value = [7_u8; VALUE_BYTES];
    let (mut insert_ns, mut get_ns, mut walk_ns, mut pin_ns) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut bytes = 0;
    for round in 0..ROUNDS {
        let (mut writer, overlay) = overlay(0, round as u64);
        insert_ns.push(per_entry(|| {
            for key in &keys {
                writer.insert(key, Lsn(1), Entry::Put { value: &value, fresh: true });
            }
        }));
        get_ns.push(per_entry(|| {
            // From the far end, so that the order of lookups is not the order in memory.
            for key in keys.iter().rev() {
                black_box(overlay.get(black_box(key), Lsn(1), 0));
            }
        }));
        walk_ns.push(per_entry(|| {
            let mut cursor = overlay.cursor();
            cursor.seek_first();
            while cursor.key().is_some() {
                black_box(cursor.get(Lsn(1), 0));
                cursor.next();
            }
        }));
        pin_ns.push(per_entry(|| {
            for _ in 0..ENTRY_COUNT {
                black_box(&store::grace::pin());
            }
        }));
        bytes = overlay.arena_bytes();
    }
    println!(
        "{ENTRY_COUNT} entries, {KEY_BYTES}-byte random keys, {VALUE_BYTES}-byte values, median of {ROUNDS}"
    );
    for (name, samples) in
        [("insert", insert_ns), ("get", get_ns), ("walk", walk_ns), ("pin and unpin", pin_ns)]
    {
        println!("{name:>14}  {:8.1} ns", median(samples));
    }
    println!(
        "{:>14}  {:8.1} bytes per entry, payload {}",
        "arena",
        bytes as f64 / ENTRY_COUNT as f64,
        KEY_BYTES + VALUE_BYTES
    );
}

fn per_entry(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64 / ENTRY_COUNT as f64
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn random_keys() -> Vec<Vec<u8>> {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next_byte = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 32) as u8
    };
    (0..ENTRY_COUNT).map(|_| (0..KEY_BYTES).map(|_| next_byte()).collect()).collect()
}
