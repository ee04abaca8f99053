//! Hexadecimal and base64, as Amazon's headers carry digests.
//!
//! Invariant: decoding is strict and canonical. One value has one spelling (hexadecimal may be upper case),
//! so that a digest that was compared once is the digest that was sent.

/// Appends `bytes` in lower-case hexadecimal to `out`.
pub fn hex_append(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len() * 2, 0);
    for (pair, byte) in out[start..].chunks_exact_mut(2).zip(bytes) {
        pair[0] = HEX_LOWER[usize::from(byte >> 4)];
        pair[1] = HEX_LOWER[usize::from(byte & 15)];
    }
}

/// `bytes` in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [HEX_LOWER[usize::from(byte >> 4)], HEX_LOWER[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

/// Reads exactly `N` bytes from `2 * N` hexadecimal digits of either case.
pub fn unhex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != N * 2 {
        return None;
    }
    let mut bytes = [0u8; N];
    // What is no digit is noticed once, at the end: a question for each digit costs more than the digit.
    let mut seen = 0;
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let (high, low) = (HEX_VALUES[usize::from(pair[0])], HEX_VALUES[usize::from(pair[1])]);
        seen |= high | low;
        *byte = (high << 4) | (low & 15);
    }
    (seen < 16).then_some(bytes)
}

/// The value of one hexadecimal digit of either case.
pub fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// `bytes` in standard base64 with padding (RFC 4648 4).
pub fn base64(bytes: &[u8]) -> String {
    let mut out = vec![0; bytes.len().div_ceil(3) * 4];
    base64_into(bytes, &mut out);
    String::from_utf8(out).expect("base64 is ASCII")
}

/// The same into `out`, which holds exactly four characters for every three bytes begun.
pub fn base64_into(bytes: &[u8], out: &mut [u8]) {
    assert_eq!(out.len(), bytes.len().div_ceil(3) * 4, "as long as the text");
    for (group, text) in bytes.chunks(3).zip(out.chunks_exact_mut(4)) {
        let word = (u32::from(group[0]) << 16)
            | (u32::from(group.get(1).copied().unwrap_or(0)) << 8)
            | u32::from(group.get(2).copied().unwrap_or(0));
        for (position, character) in text.iter_mut().enumerate() {
            *character = if position <= group.len() {
                BASE64[(word >> (18 - 6 * position)) as usize & 63]
            } else {
                b'='
            };
        }
    }
}

/// Reads standard base64 with padding. `None` when the text is not the canonical spelling of some bytes:
/// a foreign character, missing padding, or bits set behind the end.
pub fn unbase64(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let group_count = text.len() / 4;
    for (index, group) in text.chunks_exact(4).enumerate() {
        let padding_count = group.iter().rev().take_while(|&&byte| byte == b'=').count();
        if padding_count > 2 || (padding_count > 0 && index + 1 != group_count) {
            return None;
        }
        let mut word = 0u32;
        for &byte in &group[..4 - padding_count] {
            word = (word << 6) | u32::from(base64_digit(byte)?);
        }
        word <<= 6 * padding_count;
        let bytes = word.to_be_bytes();
        if bytes[4 - padding_count..].iter().any(|&byte| byte != 0) {
            return None;
        }
        out.extend_from_slice(&bytes[1..4 - padding_count]);
    }
    Some(out)
}

fn base64_digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";
/// What each byte is worth as a hexadecimal digit of either case; 255: it is none.
const HEX_VALUES: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let mut digit = 0;
    while digit < 16 {
        values[HEX_LOWER[digit as usize] as usize] = digit;
        values[HEX_LOWER[digit as usize].to_ascii_uppercase() as usize] = digit;
        digit += 1;
    }
    values
};
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_matches_the_vectors_of_rfc_4648() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, coded) in vectors {
            assert_eq!(base64(plain.as_bytes()), coded);
            assert_eq!(unbase64(coded.as_bytes()).as_deref(), Some(plain.as_bytes()));
        }
    }

    #[test]
    fn base64_round_trips_every_byte_at_every_offset() {
        let all: Vec<u8> = (0..=255).collect();
        for start in 0..4 {
            assert_eq!(unbase64(base64(&all[start..]).as_bytes()).as_deref(), Some(&all[start..]));
        }
    }

    #[test]
    fn base64_refuses_every_other_spelling() {
        for text in
            ["Zg", "Zg=", "Zg===", "Z===", "====", "Zh==", "Zm9=", "Zg==Zg==", "Zm 9", "Zm9-", "Zm9v\n"]
        {
            assert_eq!(unbase64(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn hexadecimal_round_trips_and_refuses_wrong_lengths_and_digits() {
        assert_eq!(hex(&[0x00, 0x9f, 0xff]), "009fff");
        assert_eq!(unhex::<3>(b"009FfF"), Some([0x00, 0x9f, 0xff]));
        assert_eq!(unhex::<3>(b"009ff"), None);
        assert_eq!(unhex::<3>(b"009ffg"), None);
        let mut out = Vec::new();
        hex_append(&mut out, &[0xab, 0x01]);
        assert_eq!(out, b"ab01");
    }
}
