//! Values and items where they lie: in a page of the store, in a request's buffer.
//!
//! Invariant: nothing is copied and nothing allocates but `encoded`; what passed `ItemRef::new` is read without a panic.

use std::cmp::Ordering;

use store::Fault;

use super::Kind;
use super::encoding::{
    self, EMPTY_MEMBER, ITEM_HEAD_BYTES, TAG_B, TAG_BS, TAG_BS_EMPTY, TAG_FALSE, TAG_L, TAG_M, TAG_N, TAG_NS,
    TAG_NULL, TAG_S, TAG_SS, TAG_SS_EMPTY, TAG_TRUE, VERSION, contents, field, put_varint, set_tag,
    split_attribute, split_value,
};
use crate::number::{Digits, Number, aws_bytes_of_sortable};

/// A value. Two are equal when their types and contents are, lists and maps deeply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValueRef<'a> {
    /// Null.
    Null,
    /// Boolean.
    Bool(bool),
    /// String.
    S(&'a str),
    /// Number.
    N(NumberRef<'a>),
    /// Binary.
    B(&'a [u8]),
    /// A set of strings, numbers or binaries.
    Set(SetRef<'a>),
    /// List.
    L(ListRef<'a>),
    /// Map.
    M(MapRef<'a>),
}

impl<'a> ValueRef<'a> {
    /// What one whole encoding holds; `None` when it is none.
    pub(super) fn decode(value: &'a [u8]) -> Option<ValueRef<'a>> {
        let (&tag, rest) = value.split_first()?;
        let set = |kind, members| ValueRef::Set(SetRef { kind, members });
        Some(match tag {
            TAG_NULL => ValueRef::Null,
            TAG_FALSE => ValueRef::Bool(false),
            TAG_TRUE => ValueRef::Bool(true),
            TAG_S => ValueRef::S(str::from_utf8(field(rest)?.0).ok()?),
            TAG_N => ValueRef::N(NumberRef { sortable: rest.get(1..)? }),
            TAG_B => ValueRef::B(field(rest)?.0),
            TAG_SS => set(Kind::Ss, field(rest)?.0),
            TAG_NS => set(Kind::Ns, field(rest)?.0),
            TAG_BS => set(Kind::Bs, field(rest)?.0),
            TAG_SS_EMPTY => set(Kind::Ss, EMPTY_MEMBER),
            TAG_BS_EMPTY => set(Kind::Bs, EMPTY_MEMBER),
            TAG_L => ValueRef::L(ListRef { values: contents(value) }),
            TAG_M => ValueRef::M(MapRef { attributes: contents(value) }),
            _ => return None,
        })
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            ValueRef::Null => Kind::Null,
            ValueRef::Bool(_) => Kind::Bool,
            ValueRef::S(_) => Kind::S,
            ValueRef::N(_) => Kind::N,
            ValueRef::B(_) => Kind::B,
            ValueRef::Set(set) => set.kind,
            ValueRef::L(_) => Kind::L,
            ValueRef::M(_) => Kind::M,
        }
    }

    /// What the value counts in an item's size, by AWS's rule.
    #[must_use]
    pub fn aws_bytes(&self) -> u32 {
        match self {
            ValueRef::Null | ValueRef::Bool(_) => 1,
            ValueRef::S(text) => length(text.as_bytes()),
            ValueRef::N(number) => aws_bytes_of_sortable(number.sortable),
            ValueRef::B(bytes) => length(bytes),
            ValueRef::Set(set) => set.aws_bytes(),
            ValueRef::L(list) => {
                list.iter().fold(3, |sum: u32, value| sum.saturating_add(1).saturating_add(value.aws_bytes()))
            }
            ValueRef::M(map) => {
                let count = |(name, value): (&str, ValueRef<'_>)| {
                    length(name.as_bytes()).saturating_add(1).saturating_add(value.aws_bytes())
                };
                map.iter().map(count).fold(3, u32::saturating_add)
            }
        }
    }

    /// Appends the value's encoding, tag included.
    pub fn write_encoded(&self, out: &mut Vec<u8>) {
        match self {
            ValueRef::Null => out.push(TAG_NULL),
            ValueRef::Bool(false) => out.push(TAG_FALSE),
            ValueRef::Bool(true) => out.push(TAG_TRUE),
            ValueRef::S(text) => put_field(TAG_S, text.as_bytes(), out),
            ValueRef::B(bytes) => put_field(TAG_B, bytes, out),
            // A sortable form is shorter than 128 bytes, so its varint is its length in one byte.
            ValueRef::N(number) => put_field(TAG_N, number.sortable, out),
            ValueRef::Set(SetRef { kind: Kind::Ss, members: EMPTY_MEMBER }) => out.push(TAG_SS_EMPTY),
            ValueRef::Set(SetRef { kind: Kind::Bs, members: EMPTY_MEMBER }) => out.push(TAG_BS_EMPTY),
            ValueRef::Set(set) => put_field(set_tag(set.kind), set.members, out),
            ValueRef::L(list) => put_container(TAG_L, list.values, out),
            ValueRef::M(map) => put_container(TAG_M, map.attributes, out),
        }
    }

    /// The value's encoding, tag included: equal for equal values.
    #[must_use]
    pub fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_encoded(&mut out);
        out
    }

    /// The order of two strings, two numbers or two binaries; `None` for other types and for two of different types.
    #[must_use]
    pub fn compare(&self, other: &ValueRef<'_>) -> Option<Ordering> {
        match (self, other) {
            (ValueRef::S(a), ValueRef::S(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
            (ValueRef::N(a), ValueRef::N(b)) => Some(a.sortable.cmp(b.sortable)),
            (ValueRef::B(a), ValueRef::B(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    /// How many levels the value has: 1 for one that holds no other.
    #[must_use]
    pub fn depth(&self) -> usize {
        1 + match self {
            ValueRef::L(list) => list.iter().map(|value| value.depth()).max().unwrap_or(0),
            ValueRef::M(map) => map.iter().map(|(_, value)| value.depth()).max().unwrap_or(0),
            _ => 0,
        }
    }
}

/// A number where it lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NumberRef<'a> {
    sortable: &'a [u8],
}

impl<'a> NumberRef<'a> {
    /// The number itself.
    #[must_use]
    pub fn number(&self) -> Number {
        Digits::from_sortable(self.sortable).map_or(Number::ZERO, Digits::to_number)
    }

    /// Its sortable form.
    #[must_use]
    pub fn sortable(&self) -> &'a [u8] {
        self.sortable
    }
}

/// A set where it lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SetRef<'a> {
    kind: Kind,
    members: &'a [u8],
}

impl<'a> SetRef<'a> {
    /// `Ss`, `Ns` or `Bs`.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The number of members. Walks the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Never: there are no empty sets.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The members in byte order: UTF-8, sortable forms of numbers, or binaries.
    #[must_use]
    pub fn iter(&self) -> Members<'a> {
        Members { rest: self.members }
    }

    /// Whether `member`, in the form in which `iter` gives them, is one.
    #[must_use]
    pub fn contains(&self, member: &[u8]) -> bool {
        self.iter().take_while(|found| *found <= member).any(|found| found == member)
    }

    /// The members that `other`, of the same kind, does not have. Walks each set once.
    pub fn without(&self, other: SetRef<'a>) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let mut gone = other.iter().peekable();
        self.iter().filter(move |member| {
            while gone.next_if(|candidate| candidate < member).is_some() {}
            gone.peek() != Some(member)
        })
    }

    fn aws_bytes(&self) -> u32 {
        let size = |member| match self.kind {
            Kind::Ns => aws_bytes_of_sortable(member),
            _ => length(member),
        };
        self.iter().map(size).fold(0, u32::saturating_add)
    }
}

/// The members of a set.
#[derive(Clone)]
pub struct Members<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Members<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (member, rest) = field(self.rest)?;
        self.rest = rest;
        Some(member)
    }
}

/// A list where it lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListRef<'a> {
    values: &'a [u8],
}

impl<'a> ListRef<'a> {
    /// The number of elements. Walks the list.
    #[must_use]
    pub fn len(&self) -> usize {
        self.encoded_values().count()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The element at `index`, from 0.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<ValueRef<'a>> {
        self.encoded_values().nth(index).map(encoding::decode)
    }

    /// The elements in their order.
    #[must_use]
    pub fn iter(&self) -> Elements<'a> {
        Elements { rest: self.values }
    }

    /// The encodings of the elements.
    pub(super) fn encoded_values(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.values;
        std::iter::from_fn(move || {
            let (value, behind) = split_value(rest)?;
            rest = behind;
            Some(value)
        })
    }
}

/// The elements of a list.
#[derive(Clone)]
pub struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Elements<'a> {
    type Item = ValueRef<'a>;

    fn next(&mut self) -> Option<ValueRef<'a>> {
        let (value, rest) = split_value(self.rest)?;
        self.rest = rest;
        Some(encoding::decode(value))
    }
}

/// A map, or the attributes of an item, where they lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapRef<'a> {
    attributes: &'a [u8],
}

impl<'a> MapRef<'a> {
    /// The number of attributes. Walks the map.
    #[must_use]
    pub fn len(&self) -> usize {
        self.encoded_attributes().count()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.attributes.is_empty()
    }

    /// The value of the attribute `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<ValueRef<'a>> {
        self.get_encoded(name).map(encoding::decode)
    }

    /// Names and values, in the order of the names' bytes.
    #[must_use]
    pub fn iter(&self) -> Attributes<'a> {
        Attributes { rest: self.attributes }
    }

    /// The encoding of the value of `name`.
    pub(super) fn get_encoded(&self, name: &str) -> Option<&'a [u8]> {
        for (found, value) in self.encoded_attributes() {
            match found.cmp(name.as_bytes()) {
                Ordering::Less => {}
                Ordering::Equal => return Some(value),
                Ordering::Greater => return None,
            }
        }
        None
    }

    /// Names and encodings.
    pub(super) fn encoded_attributes(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut rest = self.attributes;
        std::iter::from_fn(move || {
            let (name, value, behind) = split_attribute(rest)?;
            rest = behind;
            Some((name, value))
        })
    }
}

/// The attributes of a map or an item.
#[derive(Clone)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a str, ValueRef<'a>);

    fn next(&mut self) -> Option<(&'a str, ValueRef<'a>)> {
        let (name, value, rest) = split_attribute(self.rest)?;
        self.rest = rest;
        Some((str::from_utf8(name).unwrap_or_default(), encoding::decode(value)))
    }
}

/// An item where it lies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ItemRef<'a> {
    bytes: &'a [u8],
}

impl<'a> ItemRef<'a> {
    /// Looks at an item's whole encoding once. Errors: `Fault::Corrupt` when it is none.
    pub fn new(bytes: &'a [u8]) -> Result<ItemRef<'a>, Fault> {
        if bytes.len() < ITEM_HEAD_BYTES || bytes[0] != VERSION {
            return Err(Fault::corrupt("an item of an unknown version".into()));
        }
        if !encoding::are_attributes(&bytes[ITEM_HEAD_BYTES..], 1) {
            return Err(Fault::corrupt("an item whose attributes are no encoding".into()));
        }
        Ok(ItemRef { bytes })
    }

    /// An item that was made here.
    pub(super) fn trusted(bytes: &'a [u8]) -> ItemRef<'a> {
        ItemRef { bytes }
    }

    /// The item's size by AWS's rule; 16 MiB - 1 stands for all that is larger.
    #[must_use]
    pub fn aws_bytes(&self) -> u32 {
        u32::from_le_bytes([self.bytes[1], self.bytes[2], self.bytes[3], 0])
    }

    /// The value of the attribute `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<ValueRef<'a>> {
        self.map().get(name)
    }

    /// Names and values, in the order of the names' bytes.
    #[must_use]
    pub fn iter(&self) -> Attributes<'a> {
        self.map().iter()
    }

    /// The number of attributes. Walks the item.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map().len()
    }

    /// Whether it has no attribute.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map().is_empty()
    }

    /// The encoding.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The attributes as a map.
    #[must_use]
    pub fn map(&self) -> MapRef<'a> {
        MapRef { attributes: &self.bytes[ITEM_HEAD_BYTES..] }
    }
}

impl std::fmt::Debug for ItemRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn put_field(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    put_varint(length(bytes), out);
    out.extend_from_slice(bytes);
}

fn put_container(tag: u8, contents: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(&length(contents).to_le_bytes());
    out.extend_from_slice(contents);
}
