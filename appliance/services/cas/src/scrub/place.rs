//! Where the walk over a shard stands, and how that is written.
//! Invariant: decoding undoes encoding; damaged bytes are `Fault::Corrupt`.
//!
//! ```text
//! key    0
//! value  version u8 (1) | rounds number | began ms number | stage u8 | digest, at stage 1
//! ```
//! Stage: 0 at the beginning, 1 behind a digest, 2 at the end.

use ::store::fields::{FieldReader, FieldWriter};
use ::store::{Fault, Operation, Outcome, TableId, Timestamp, Tx};

use super::prefix;
use crate::digest::Digest;
use crate::store::SCRUB;

/// The key of a shard's place.
pub(super) const KEY: &[u8] = &[0];
const VERSION: u8 = 1;

/// Where a walk stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// Rounds that have ended.
    pub(super) rounds: u64,
    /// When this one began.
    pub(super) began_ms: u64,
    pub(super) cursor: Cursor,
}

/// How far a round is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cursor {
    Beginning,
    Behind(Digest),
    End,
}

impl Cursor {
    /// In thousandths of all digests that there can be.
    pub(super) fn permille(&self) -> u64 {
        match self {
            Cursor::Beginning => 0,
            Cursor::Behind(digest) => u64::try_from((u128::from(prefix(digest)) * 1_000) >> 64).unwrap_or(0),
            Cursor::End => 1_000,
        }
    }
}

impl Place {
    /// Before the first round.
    pub(super) fn first(now: Timestamp) -> Place {
        Place { rounds: 0, began_ms: now.0, cursor: Cursor::Beginning }
    }

    /// The beginning of the round behind this one.
    pub(super) fn next(&self, now: Timestamp) -> Place {
        Place { rounds: self.rounds + 1, ..Place::first(now) }
    }

    /// How the first digests begin that are not due at `now`; nothing when all are. A clock that was set back to before the
    /// round began makes it one that has begun as long ago as it is far.
    pub(super) fn until(&mut self, now: Timestamp, round_ms: u64) -> Option<u64> {
        if now.0 < self.began_ms {
            self.began_ms = now.0.saturating_sub(round_ms / 1_000 * self.cursor.permille());
        }
        let elapsed_ms = now.0 - self.began_ms;
        let share = (u128::from(elapsed_ms) << 64) / u128::from(round_ms);
        u64::try_from(share).ok()
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        out.number(self.rounds);
        out.number(self.began_ms);
        match &self.cursor {
            Cursor::Beginning => out.byte(0),
            Cursor::Behind(digest) => {
                out.byte(1);
                out.raw(digest.as_bytes());
            }
            Cursor::End => out.byte(2),
        }
        out.into_bytes()
    }

    /// Reads a stored value. Errors: `Fault::Corrupt`.
    pub(super) fn decode(value: &[u8]) -> Result<Place, Fault> {
        let mut reader = FieldReader::new(value, VERSION, "place of the scrubber")?;
        let (rounds, began_ms) = (reader.number()?, reader.number()?);
        let cursor = match reader.byte()? {
            0 => Cursor::Beginning,
            1 => Cursor::Behind(Digest::new(reader.array()?)),
            2 => Cursor::End,
            _ => return Err(reader.damaged("has an impossible stage")),
        };
        let place = Place { rounds, began_ms, cursor };
        if reader.is_empty() { Ok(place) } else { Err(reader.damaged("is longer than its fields")) }
    }
}

/// Writes a place.
pub(super) struct Save {
    pub(super) place: Place,
}

impl Operation for Save {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(SCRUB, KEY);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        tx.put(SCRUB, KEY, &self.place.encode(), Vec::new(), false);
        Ok(Outcome::Commit(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(first: u8) -> Cursor {
        Cursor::Behind(Digest::new([first; 32]))
    }

    #[test]
    fn a_place_round_trips_and_its_truncations_are_faults() {
        for cursor in [Cursor::Beginning, at(7), Cursor::End] {
            let place = Place { rounds: 300, began_ms: 1_800_000_000_000, cursor };
            let bytes = place.encode();
            assert_eq!(Place::decode(&bytes).expect("decodes"), place);
            for length in 0..bytes.len() {
                assert!(Place::decode(&bytes[..length]).is_err(), "length {length}");
            }
            assert!(Place::decode(&[&bytes[..], &[0]].concat()).is_err());
        }
        let mut bytes = Place::first(Timestamp(1)).encode();
        *bytes.last_mut().expect("a stage") = 3;
        assert!(Place::decode(&bytes).is_err());
    }

    #[test]
    fn a_round_follows_the_clock_and_all_is_due_once_its_time_is_over() {
        let mut place = Place::first(Timestamp(1_000));
        assert_eq!(place.until(Timestamp(1_000), 100), Some(0));
        assert_eq!(place.until(Timestamp(1_050), 100), Some(1 << 63));
        assert_eq!(place.until(Timestamp(1_100), 100), None);
        assert_eq!(place.until(Timestamp(u64::MAX), 100), None);
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_the_round_as_far_as_it_is() {
        let mut place = Place { rounds: 0, began_ms: 5_000_000, cursor: at(0x80) };
        let until = place.until(Timestamp(1_000_000), 100_000).expect("not over");
        let share = until as f64 / u64::MAX as f64;
        assert!((0.49..0.51).contains(&share), "{share}");
        assert_eq!(at(0x80).permille(), 501);
        assert_eq!(
            (Cursor::Beginning.permille(), at(0xff).permille(), Cursor::End.permille()),
            (0, 999, 1_000)
        );
    }
}
