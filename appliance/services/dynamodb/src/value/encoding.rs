//! The bytes of values: tags, lengths, and the check of foreign bytes.
//!
//! Invariant: every function here takes any bytes and answers `None` for what is no encoding.

use super::reference::ValueRef;
use super::{DEPTH_MAX, Kind};
use crate::number::is_sortable;

pub(super) const VERSION: u8 = 1;
pub(super) const TAG_NULL: u8 = 0;
pub(super) const TAG_FALSE: u8 = 1;
pub(super) const TAG_TRUE: u8 = 2;
pub(super) const TAG_S: u8 = 3;
pub(super) const TAG_N: u8 = 4;
pub(super) const TAG_B: u8 = 5;
pub(super) const TAG_SS: u8 = 6;
pub(super) const TAG_NS: u8 = 7;
pub(super) const TAG_BS: u8 = 8;
pub(super) const TAG_L: u8 = 9;
pub(super) const TAG_M: u8 = 10;
pub(super) const TAG_SS_EMPTY: u8 = 11;
pub(super) const TAG_BS_EMPTY: u8 = 12;

/// Bytes in front of the attributes of an item.
pub(super) const ITEM_HEAD_BYTES: usize = 4;
/// Bytes in front of the contents of a list or map.
pub(super) const CONTAINER_HEAD_BYTES: usize = 5;
/// The members of a set that tags 11 and 12 stand for.
pub(super) const EMPTY_MEMBER: &[u8] = &[0];

/// Appends `value` in base 128, shortest form.
pub(super) fn put_varint(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes that `put_varint` appends.
pub(super) fn varint_bytes(value: u32) -> u32 {
    (38 - (value | 1).leading_zeros()) / 7
}

/// Reads a number in base 128 and gives the rest.
#[inline]
pub(super) fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [first, rest @ ..] if *first < 0x80 => Some((usize::from(*first), rest)),
        _ => long_varint(bytes),
    }
}

fn long_varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            // A zero at the end says that a shorter form exists; 32 bits are the most that is written.
            let shortest = byte != 0 && value <= u64::from(u32::MAX);
            return shortest.then(|| (value as usize, &bytes[index + 1..]));
        }
    }
    None
}

/// Reads a length and as many bytes, and gives the rest.
#[inline]
pub(super) fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = varint(bytes)?;
    rest.split_at_checked(length)
}

/// The first value of `bytes` with its tag, and the rest.
pub(super) fn split_value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let length = match tag {
        TAG_NULL | TAG_FALSE | TAG_TRUE | TAG_SS_EMPTY | TAG_BS_EMPTY => 1,
        TAG_N => 2 + usize::from(*rest.first()?),
        TAG_S | TAG_B | TAG_SS | TAG_NS | TAG_BS => {
            let (length, behind) = varint(rest)?;
            (bytes.len() - behind.len()).checked_add(length)?
        }
        TAG_L | TAG_M => CONTAINER_HEAD_BYTES.checked_add(u32_of(rest)?)?,
        _ => return None,
    };
    bytes.split_at_checked(length)
}

/// The first attribute of `bytes`: its name, its value with the tag, and the rest.
pub(super) fn split_attribute(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name, rest) = field(bytes)?;
    let (value, rest) = split_value(rest)?;
    Some((name, value, rest))
}

/// What lies behind the head of a list or map.
pub(super) fn contents(container: &[u8]) -> &[u8] {
    container.get(CONTAINER_HEAD_BYTES..).unwrap_or_default()
}

/// Says at `start`, where a list or map begins, that it ends with `out`.
pub(super) fn put_total(out: &mut [u8], start: usize) {
    let total = (out.len() - start - CONTAINER_HEAD_BYTES) as u32;
    out[start + 1..start + CONTAINER_HEAD_BYTES].copy_from_slice(&total.to_le_bytes());
}

fn u32_of(bytes: &[u8]) -> Option<usize> {
    bytes.first_chunk().map(|total| u32::from_le_bytes(*total) as usize)
}

/// Whether `bytes` are attributes, sorted, whose values stand on level `depth`.
pub(super) fn are_attributes(mut bytes: &[u8], depth: usize) -> bool {
    let mut before: Option<&[u8]> = None;
    while !bytes.is_empty() {
        let Some((name, value, rest)) = split_attribute(bytes) else { return false };
        let in_order = before.is_none_or(|before| before < name);
        if !in_order || !is_utf8(name) || !is_value(value, depth) {
            return false;
        }
        before = Some(name);
        bytes = rest;
    }
    true
}

/// Whether `value`, which `split_value` gave, is the one encoding of a value on level `depth`.
fn is_value(value: &[u8], depth: usize) -> bool {
    if depth > DEPTH_MAX {
        return false;
    }
    match value[0] {
        TAG_N => is_sortable(&value[2..]),
        TAG_S => field(&value[1..]).is_some_and(|(text, _)| is_utf8(text)),
        TAG_SS => is_set(value, is_utf8),
        TAG_NS => is_set(value, is_sortable),
        TAG_BS => is_set(value, |_| true),
        TAG_M => are_attributes(contents(value), depth + 1),
        TAG_L => {
            let mut rest = contents(value);
            while !rest.is_empty() {
                let Some((element, behind)) = split_value(rest) else { return false };
                if !is_value(element, depth + 1) {
                    return false;
                }
                rest = behind;
            }
            true
        }
        // The others have nothing inside.
        _ => true,
    }
}

/// Names and most texts are short and ASCII, for which this is several times quicker than the general check.
fn is_utf8(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks();
    let seen = words.iter().fold(0, |seen, word| seen | u64::from_le_bytes(*word));
    let rest_seen = rest.iter().fold(0, |seen, byte| seen | byte);
    (seen & 0x8080_8080_8080_8080 == 0 && rest_seen < 0x80) || str::from_utf8(text).is_ok()
}

fn is_set(value: &[u8], is_member: impl Fn(&[u8]) -> bool) -> bool {
    let Some((mut rest, _)) = field(&value[1..]) else { return false };
    if rest.is_empty() || rest == EMPTY_MEMBER {
        return false;
    }
    let mut before: Option<&[u8]> = None;
    while !rest.is_empty() {
        let Some((member, behind)) = field(rest) else { return false };
        if before.is_some_and(|before| before >= member) || !is_member(member) {
            return false;
        }
        before = Some(member);
        rest = behind;
    }
    true
}

/// The tag of a set.
pub(super) fn set_tag(kind: Kind) -> u8 {
    match kind {
        Kind::Ns => TAG_NS,
        Kind::Bs => TAG_BS,
        _ => TAG_SS,
    }
}

/// What `value`, one whole encoding, holds. Bytes that are no encoding give `Null`: they do not pass `are_attributes`.
pub(super) fn decode(value: &[u8]) -> ValueRef<'_> {
    ValueRef::decode(value).unwrap_or(ValueRef::Null)
}
