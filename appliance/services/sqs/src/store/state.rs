//! The bytes of a message's state: when it is due, and how often it was received.
//! Invariant: a message without a state was never delayed and never received.
//! Leaves to engine: what a due time means beside the clock.
//!
//! ```text
//! version 1 u8 | flags u8 (1 body beside, 2 changed) | due ms number | receives number | number number
//! | first receive ms number | last receive ms number
//! ```

use store::Fault;
use store::fields::{FieldReader, FieldWriter};

const VERSION: u8 = 1;
const WHAT: &str = "sqs message state";

const BODY_BESIDE: u8 = 1;
const CHANGED: u8 = 2;

/// What has happened to a message since it was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// The message is visible from this time on.
    pub due_ms: u64,
    /// How often it was received.
    pub receive_count: u32,
    /// Of the latest handle; 0: there is none.
    pub number: u32,
    /// When it was received first; 0: not yet.
    pub first_receive_ms: u64,
    /// When it was received last, from which the longest visibility counts.
    pub last_receive_ms: u64,
    /// Whether its body lies in the table of bodies.
    pub is_beside: bool,
    /// Whether a client changed its visibility since it was received last.
    pub was_changed: bool,
}

impl State {
    /// The value of the record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.byte(flag(self.is_beside, BODY_BESIDE) | flag(self.was_changed, CHANGED));
        out.number(self.due_ms);
        out.number(self.receive_count.into());
        out.number(self.number.into());
        out.number(self.first_receive_ms);
        out.number(self.last_receive_ms);
        out.into_bytes()
    }

    /// The state in a record. Errors: `Fault::Corrupt`.
    pub fn decode(value: &[u8]) -> Result<State, Fault> {
        let mut reader = FieldReader::new(value, VERSION, WHAT)?;
        let flags = reader.byte()?;
        let due_ms = reader.number()?;
        let mut small = || -> Result<u32, Fault> {
            let number = reader.number()?;
            u32::try_from(number).map_err(|_| reader.damaged("counts too far"))
        };
        let receive_count = small()?;
        let number = small()?;
        let state = State {
            due_ms,
            receive_count,
            number,
            first_receive_ms: reader.number()?,
            last_receive_ms: reader.number()?,
            is_beside: flags & BODY_BESIDE != 0,
            was_changed: flags & CHANGED != 0,
        };
        if reader.is_empty() { Ok(state) } else { Err(reader.damaged("is longer than its fields")) }
    }

    /// Whether the message is visible at `now_ms`.
    #[must_use]
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.due_ms <= now_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_and_truncation_is_a_fault() {
        let state = State {
            due_ms: 1_700_000_030_000,
            receive_count: 2,
            number: 3,
            first_receive_ms: 1_700_000_000_000,
            last_receive_ms: 1_700_000_000_500,
            is_beside: true,
            was_changed: false,
        };
        for state in [state, State::default(), State { was_changed: true, ..state }] {
            let bytes = state.encode();
            assert_eq!(State::decode(&bytes).expect("decodes"), state);
            assert!((0..bytes.len()).all(|length| State::decode(&bytes[..length]).is_err()));
        }
    }
}
