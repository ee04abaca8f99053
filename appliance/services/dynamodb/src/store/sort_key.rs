//! Sort keys as bytes whose order is the order of the values.
//! Invariant: for values of one type, comparing the bytes compares the values; the middle form of a value is never a
//! prefix of another's, so that what follows it in a key does not disturb the order.
//! Leaves to number: the sortable form of numbers, which serves as both forms.
//!
//! ```text
//! end of a key   S, B: the bytes themselves           N: sortable form
//! middle, "mid"  S, B: (8 bytes, padded with zeros | marker u8)*   marker 9: more follows; 0..=8: so many bytes, the last
//!                N: sortable form = class u8 (0x40 negative, 0x80 zero, 0xc0 positive)
//!                   [| exponent u8 | digit pair + 1 ... | end 0], all behind the class byte inverted if it is negative
//! ```

use crate::model::table::KeyType;

const GROUP_BYTES: usize = 8;
/// Says that another group follows.
const MORE: u8 = 9;

/// Appends the form of a value that stands in the middle of a key.
pub fn append_mid(kind: KeyType, bytes: &[u8], out: &mut Vec<u8>) {
    match kind {
        KeyType::N => out.extend_from_slice(bytes),
        KeyType::S | KeyType::B => {
            let mut rest = bytes;
            while let Some((group, behind)) = rest.split_first_chunk::<GROUP_BYTES>()
                && !behind.is_empty()
            {
                out.extend_from_slice(group);
                out.push(MORE);
                rest = behind;
            }
            let mut last = [0; GROUP_BYTES + 1];
            last[..rest.len()].copy_from_slice(rest);
            last[GROUP_BYTES] = rest.len() as u8;
            out.extend_from_slice(&last);
        }
    }
}

/// The length of the middle form at the front of `key`; None: there is no whole one.
#[must_use]
pub fn mid_bytes(kind: KeyType, key: &[u8]) -> Option<usize> {
    match kind {
        KeyType::N => sortable_bytes(key),
        KeyType::S | KeyType::B => {
            let groups = key.chunks_exact(GROUP_BYTES + 1);
            let more = groups.clone().take_while(|group| group[GROUP_BYTES] == MORE).count();
            let last = groups.clone().nth(more)?;
            (usize::from(last[GROUP_BYTES]) <= GROUP_BYTES).then_some((more + 1) * (GROUP_BYTES + 1))
        }
    }
}

/// The length of the sortable number at the front of `key`.
fn sortable_bytes(key: &[u8]) -> Option<usize> {
    let end = match *key.first()? {
        0x80 => return Some(1),
        0x40 => 0xff,
        0xc0 => 0,
        _ => return None,
    };
    // The exponent may have any value, that of the end too.
    let digits = key.get(2..)?;
    digits.iter().position(|byte| *byte == end).map(|place| place + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mid(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        append_mid(KeyType::B, bytes, &mut out);
        out
    }

    /// SplitMix64.
    fn next(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    #[test]
    fn middle_forms_sort_as_the_values_and_none_is_a_prefix_of_another() {
        let mut state = 7;
        let mut values: Vec<Vec<u8>> = (0..400)
            .map(|_| {
                let length = next(&mut state) % 20;
                // Few different bytes, zeros among them, so that values often share long fronts.
                (0..length).map(|_| [0, 1, 0xff][(next(&mut state) % 3) as usize]).collect()
            })
            .collect();
        values.sort();
        values.dedup();
        for pair in values.windows(2) {
            let (low, high) = (mid(&pair[0]), mid(&pair[1]));
            assert!(low < high, "{pair:?}");
            assert!(!high.starts_with(&low), "{pair:?}");
        }
    }

    #[test]
    fn the_length_of_a_middle_form_is_found_whatever_follows() {
        for length in [0, 1, 7, 8, 9, 15, 16, 17, 1_024] {
            let mut key = mid(&vec![MORE; length]);
            let expected = key.len();
            for behind in [&b""[..], b"\0", b"\x09\x09\x09\x09\x09\x09\x09\x09\x09\x01"] {
                key.truncate(expected);
                key.extend_from_slice(behind);
                assert_eq!(mid_bytes(KeyType::B, &key), Some(expected), "length {length}");
            }
            assert_eq!(mid_bytes(KeyType::B, &key[..expected - 1]), None);
        }
    }

    #[test]
    fn damaged_middle_forms_have_no_length() {
        assert_eq!(mid_bytes(KeyType::S, b"12345678\x0a"), None);
        assert_eq!(mid_bytes(KeyType::N, b""), None);
        assert_eq!(mid_bytes(KeyType::N, b"\x00"), None);
        assert_eq!(mid_bytes(KeyType::N, b"\xc0\x00\x05"), None);
        assert_eq!(mid_bytes(KeyType::N, b"\xc0\x00\x05\x00\x07"), Some(4));
        assert_eq!(mid_bytes(KeyType::N, b"\x40\xff\x05\xff\x07"), Some(4));
    }
}
