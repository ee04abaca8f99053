//! Small bodies that were read more than once lately, under the SHA-256 that they were compared with.
//! Invariant: what lies here had its digest when it was put here, so it is right whatever becomes of the record, the disk or the
//! namespace that it was read for; bodies and the memory beside them stay within the bound.
//! Leaves to services: whether somebody may have a body, and whether it is still there. They have looked before this is asked.
//!
//! ```text
//! read once -> marked -> read again -> kept, unused -> used -> kept, used -> the hand passes -> kept, unused -> the hand: gone
//! ```

use std::cell::RefCell;
use std::collections::HashMap;

use bytes::Bytes;

/// Memory of the process for them, shared out among its cores.
const BYTES_MAX: usize = 64 << 20;
/// Of a core at least.
const CORE_BYTES_MIN: usize = 2 << 20;
/// A longer body is none of them: it is worth less for its room, and comes in several pieces.
const BODY_BYTES_MAX: usize = 32 << 10;
/// What a body takes beside its bytes, about.
const ENTRY_BYTES: usize = 160;
/// Marks of what was read once. What shares one is kept a little later or a little sooner.
const MARK_COUNT: usize = 1 << 14;

type Sha256 = [u8; 32];

/// The bodies of one core.
pub struct Kept(RefCell<Clock>);

struct Clock {
    bytes_max: usize,
    bytes: usize,
    bodies: Vec<Body>,
    places: HashMap<Sha256, usize>,
    /// The next one that is asked whether it was used.
    hand: usize,
    /// Parts of digests of what was read once; no memory before the first.
    marks: Vec<u32>,
}

struct Body {
    sha256: Sha256,
    bytes: Bytes,
    is_used: bool,
}

impl Kept {
    /// The share of one of so many cores, with nothing in it.
    pub fn new(core_count: usize) -> Kept {
        Kept::with_bytes((BYTES_MAX / core_count.max(1)).max(CORE_BYTES_MIN))
    }

    fn with_bytes(bytes_max: usize) -> Kept {
        let clock = Clock {
            bytes_max,
            bytes: 0,
            bodies: Vec::new(),
            places: HashMap::new(),
            hand: 0,
            marks: Vec::new(),
        };
        Kept(RefCell::new(clock))
    }

    /// The body with this digest, if it is here.
    pub fn get(&self, sha256: &Sha256) -> Option<Bytes> {
        let clock = &mut *self.0.borrow_mut();
        let place = *clock.places.get(sha256)?;
        let body = &mut clock.bodies[place];
        body.is_used = true;
        Some(body.bytes.clone())
    }

    /// Notes a body that was just read and had this digest, and is not here.
    pub fn note(&self, sha256: &Sha256, bytes: &Bytes) {
        let clock = &mut *self.0.borrow_mut();
        if bytes.len() <= BODY_BYTES_MAX && clock.was_read(sha256) {
            clock.keep(*sha256, bytes);
        }
    }
}

impl Clock {
    /// Whether it was read before, as far as the marks remember; from now on it was.
    fn was_read(&mut self, sha256: &Sha256) -> bool {
        if self.marks.is_empty() {
            self.marks.resize(MARK_COUNT, 0);
        }
        let [a, b, c, d, e, f, g, h, ..] = *sha256;
        let mark = &mut self.marks[u32::from_le_bytes([a, b, c, d]) as usize % MARK_COUNT];
        // 0 is no mark.
        let read = u32::from_le_bytes([e, f, g, h]) | 1;
        std::mem::replace(mark, read) == read
    }

    fn keep(&mut self, sha256: Sha256, bytes: &Bytes) {
        let more = bytes.len() + ENTRY_BYTES;
        // Two requests may have read it at the same time.
        if more > self.bytes_max || self.places.contains_key(&sha256) {
            return;
        }
        while self.bytes + more > self.bytes_max {
            self.pass();
        }
        self.bytes += more;
        // A copy, since what was read may be a part of a larger piece of memory.
        let bytes = Bytes::copy_from_slice(bytes);
        self.places.insert(sha256, self.bodies.len());
        self.bodies.push(Body { sha256, bytes, is_used: false });
    }

    /// What the hand points to was used since it came by last, and it moves on; or it is gone.
    fn pass(&mut self) {
        self.hand %= self.bodies.len();
        let body = &mut self.bodies[self.hand];
        if std::mem::take(&mut body.is_used) {
            self.hand += 1;
            return;
        }
        let gone = self.bodies.swap_remove(self.hand);
        self.places.remove(&gone.sha256);
        self.bytes -= gone.bytes.len() + ENTRY_BYTES;
        if let Some(moved) = self.bodies.get(self.hand) {
            self.places.insert(moved.sha256, self.hand);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(number: u64) -> (Sha256, Bytes) {
        let bytes = Bytes::from(vec![number as u8; 1_000]);
        (hash::sha256(&number.to_le_bytes()), bytes)
    }

    fn read(kept: &Kept, number: u64) -> bool {
        let (sha256, bytes) = body(number);
        match kept.get(&sha256) {
            Some(found) => {
                assert_eq!(found, bytes);
                true
            }
            None => {
                kept.note(&sha256, &bytes);
                false
            }
        }
    }

    #[test]
    fn what_was_read_twice_is_here_the_third_time() {
        let kept = Kept::with_bytes(1 << 20);
        assert!(!read(&kept, 1) && !read(&kept, 2));
        assert!(!read(&kept, 1) && read(&kept, 1), "kept when it was read again");
        assert!(!read(&kept, 2) && read(&kept, 2) && read(&kept, 1));
    }

    #[test]
    fn memory_stays_within_the_bound_and_every_place_is_right() {
        let bytes_max = 50 * (1_000 + ENTRY_BYTES);
        let kept = Kept::with_bytes(bytes_max);
        for number in 0..10_000_u64 {
            // Some come again at once, some after others.
            read(&kept, number / 2);
            read(&kept, number % 70);
            let clock = kept.0.borrow();
            let bytes: usize = clock.bodies.iter().map(|body| body.bytes.len() + ENTRY_BYTES).sum();
            assert!(bytes == clock.bytes && bytes <= bytes_max, "{bytes} bytes");
            assert_eq!(clock.places.len(), clock.bodies.len());
        }
        let clock = kept.0.borrow();
        assert!(clock.bodies.len() > 40, "{} are left", clock.bodies.len());
        for (place, body) in clock.bodies.iter().enumerate() {
            assert_eq!(clock.places[&body.sha256], place);
        }
    }

    #[test]
    fn what_is_used_stays_when_others_pass_through() {
        let kept = Kept::with_bytes(50 * (1_000 + ENTRY_BYTES));
        read(&kept, 1);
        read(&kept, 1);
        for number in 100..5_000 {
            assert!(read(&kept, 1), "gone after {number}");
            read(&kept, number);
            read(&kept, number);
        }
    }

    #[test]
    fn a_long_body_and_one_beyond_the_bound_are_not_kept() {
        let kept = Kept::with_bytes(10_000);
        for length in [BODY_BYTES_MAX + 1, 10_001] {
            let bytes = Bytes::from(vec![1; length]);
            let sha256 = hash::sha256(&bytes);
            for _ in 0..3 {
                kept.note(&sha256, &bytes);
                assert!(kept.get(&sha256).is_none(), "{length} bytes");
            }
        }
    }
}
