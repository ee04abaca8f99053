//! Items and attribute values in the form in which they are stored.
//!
//! ```text
//! item   = version u8 (1) | item_bytes u24 (AWS's size; all ones: that or more) | attr*
//! attr   = name_bytes varint | name | value                 sorted by the bytes of the names, each name once
//! value  = tag u8 | ...
//!    0 NULL    1 false    2 true
//!    3 S       length varint | UTF-8
//!    4 N       length u8 | sortable form (number/digits.rs)
//!    5 B       length varint | bytes
//!    6 SS  7 NS  8 BS     total varint | (length varint | member)*     sorted, each once, at least one
//!    9 L       total u32 | value*
//!   10 M       total u32 | attr*
//!   11 SS of the empty string alone      12 BS of the empty binary alone
//! ```
//! Numbers are little-endian, varint is LEB128 in its shortest form, `total` counts the bytes behind it. Whoever wants
//! one attribute steps over the others by their lengths. Tags 11 and 12 are there because AWS counts such a set as
//! nothing: with them the worst item of 400 KB takes 2.5 times that, which the store still takes as one value.
//!
//! Invariant: a value has one encoding, so equal values are equal bytes; what `ItemRef::new` let through is read
//! without a panic, whoever wrote it.
//! Leaves to json/: the attribute values of requests. To model/ and engine/: which sizes are refused.

mod builder;
mod draft;
mod encoding;
mod json;
mod owned;
pub mod path;
mod reference;

pub use builder::{ItemBuilder, ValueBuilder};
pub(crate) use draft::{Draft, Mark, SetOutcome};
pub use owned::{Item, Value};
pub use reference::{Attributes, Elements, ItemRef, ListRef, MapRef, Members, NumberRef, SetRef, ValueRef};

/// The most levels of an attribute value: the value of an attribute is on the first.
pub const DEPTH_MAX: usize = 32;

/// The most bytes of an attribute's name.
pub const NAME_BYTES_MAX: usize = 65_535;

/// The type of a value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// Null.
    Null,
    /// Boolean.
    Bool,
    /// String.
    S,
    /// Number.
    N,
    /// Binary.
    B,
    /// String set.
    Ss,
    /// Number set.
    Ns,
    /// Binary set.
    Bs,
    /// List.
    L,
    /// Map.
    M,
}

impl Kind {
    /// The name that the protocol gives it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Null => "NULL",
            Kind::Bool => "BOOL",
            Kind::S => "S",
            Kind::N => "N",
            Kind::B => "B",
            Kind::Ss => "SS",
            Kind::Ns => "NS",
            Kind::Bs => "BS",
            Kind::L => "L",
            Kind::M => "M",
        }
    }

    /// The type that the protocol calls `name`.
    #[must_use]
    pub const fn from_name(name: &str) -> Option<Kind> {
        Some(match name.as_bytes() {
            b"NULL" => Kind::Null,
            b"BOOL" => Kind::Bool,
            b"S" => Kind::S,
            b"N" => Kind::N,
            b"B" => Kind::B,
            b"SS" => Kind::Ss,
            b"NS" => Kind::Ns,
            b"BS" => Kind::Bs,
            b"L" => Kind::L,
            b"M" => Kind::M,
            _ => return None,
        })
    }

    /// The same for a name of one letter.
    pub(crate) const fn from_letter(name: u8) -> Option<Kind> {
        Some(match name {
            b'S' => Kind::S,
            b'N' => Kind::N,
            b'B' => Kind::B,
            b'L' => Kind::L,
            b'M' => Kind::M,
            _ => return None,
        })
    }

    /// Whether it is one of the three kinds of set.
    #[must_use]
    pub const fn is_set(self) -> bool {
        matches!(self, Kind::Ss | Kind::Ns | Kind::Bs)
    }
}

#[cfg(test)]
mod tests;
