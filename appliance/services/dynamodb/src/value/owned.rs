//! Values and items that own their encoding, so that they can be sent to another core and kept.
//!
//! Invariant: the bytes are an encoding that this crate made.

use std::fmt;

use super::encoding::{self, ITEM_HEAD_BYTES, VERSION};
use super::{Draft, ItemRef, Kind, SetOutcome, ValueRef};
use crate::number::{Digits, Number};

/// One encoded value.
#[derive(Clone)]
pub struct Value {
    encoded: Box<[u8]>,
    /// A long string once more. A condition looks at its values once for each item of a page, and must not check each
    /// time that they are UTF-8.
    text: Option<Box<str>>,
}

impl Value {
    /// The value, to look at.
    #[must_use]
    pub fn as_ref(&self) -> ValueRef<'_> {
        match &self.text {
            Some(text) => ValueRef::S(text),
            None => encoding::decode(&self.encoded),
        }
    }

    /// A copy of a value.
    #[must_use]
    pub fn from_ref(value: ValueRef<'_>) -> Value {
        Value::from_encoded(value.encoded())
    }

    /// A string.
    #[must_use]
    pub fn s(text: &str) -> Value {
        Value::from_ref(ValueRef::S(text))
    }

    /// A number.
    #[must_use]
    pub fn n(number: &Number) -> Value {
        let mut draft = Draft::default();
        draft.number(&Digits::from_number(number));
        draft.finish_value()
    }

    /// A binary.
    #[must_use]
    pub fn b(bytes: &[u8]) -> Value {
        Value::from_ref(ValueRef::B(bytes))
    }

    /// A boolean.
    #[must_use]
    pub fn bool(value: bool) -> Value {
        Value::from_ref(ValueRef::Bool(value))
    }

    /// Null.
    #[must_use]
    pub fn null() -> Value {
        Value::from_ref(ValueRef::Null)
    }

    /// A set of `kind` with these members, in the form in which `SetRef::iter` gives them: any order, those that come
    /// twice stay once. `None` without a member.
    #[must_use]
    pub fn set<'m>(kind: Kind, members: impl Iterator<Item = &'m [u8]>) -> Option<Value> {
        let mut draft = Draft::default();
        draft.begin_set();
        for member in members {
            draft.member(|out| out.extend_from_slice(member));
        }
        let outcome = draft.end_set_without_duplicates(kind);
        (outcome == SetOutcome::Complete).then(|| draft.finish_value())
    }

    /// The encoding, tag included: equal for equal values.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }

    pub(super) fn from_encoded(encoded: Vec<u8>) -> Value {
        let encoded = encoded.into_boxed_slice();
        let text = match encoding::decode(&encoded) {
            ValueRef::S(text) if text.len() > LOOKED_AT_BYTES_MAX => Some(text.into()),
            _ => None,
        };
        Value { encoded, text }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        self.encoded == other.encoded
    }
}

impl Eq for Value {}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// One encoded item.
#[derive(Clone, PartialEq, Eq)]
pub struct Item(Vec<u8>);

impl Item {
    /// An item without attributes.
    #[must_use]
    pub fn empty() -> Item {
        let mut bytes = vec![0; ITEM_HEAD_BYTES];
        bytes[0] = VERSION;
        Item(bytes)
    }

    /// An item of these attributes, in any order; of two of one name the later stays.
    #[must_use]
    pub fn from_pairs<'p>(pairs: impl Iterator<Item = (&'p str, ValueRef<'p>)>) -> Item {
        let mut item = super::ItemBuilder::new();
        for (name, value) in pairs {
            item.set(name, value);
        }
        item.finish()
    }

    /// A copy of an item.
    #[must_use]
    pub fn from_ref(item: ItemRef<'_>) -> Item {
        Item(item.as_bytes().to_vec())
    }

    /// The item, to look at.
    #[must_use]
    pub fn as_ref(&self) -> ItemRef<'_> {
        ItemRef::trusted(&self.0)
    }

    /// The encoding.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The encoding, given away.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// From an encoding whose size has still to be written into its head.
    pub(super) fn from_parts(mut bytes: Vec<u8>, aws_bytes: u32) -> Item {
        let size = aws_bytes.min(ITEM_AWS_BYTES_MAX).to_le_bytes();
        bytes[1..ITEM_HEAD_BYTES].copy_from_slice(&size[..3]);
        Item(bytes)
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// Up to this length it costs little to check that a string is UTF-8.
const LOOKED_AT_BYTES_MAX: usize = 64;

/// What fits the head of an item; larger ones say this.
const ITEM_AWS_BYTES_MAX: u32 = 0xff_ffff;
