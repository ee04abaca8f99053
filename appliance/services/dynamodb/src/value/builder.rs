//! Values and items put together piece by piece, nested at will and in any order of names.
//!
//! Invariant: each name is followed by its value and each begun list and map by its end; the builders trust that.
//! Leaves to the callers: how deep a value may be (`ValueRef::depth`).

use super::draft::Draft;
use super::{Item, Kind, Value, ValueRef};
use crate::number::{Digits, Number};

/// A value in the making: one leaf, or one list or map that was begun and ended.
#[derive(Default)]
pub struct ValueBuilder {
    draft: Draft,
    scratch: Vec<u8>,
}

impl ValueBuilder {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> ValueBuilder {
        let mut builder = ValueBuilder::default();
        builder.draft.begin_value();
        builder
    }

    /// The name of the next value, in a map; of two of one name the later stays.
    pub fn name(&mut self, name: &str) -> &mut ValueBuilder {
        self.draft.name(name.as_bytes());
        self
    }

    /// A copy of a value.
    pub fn value(&mut self, value: ValueRef<'_>) -> &mut ValueBuilder {
        self.begin_piece();
        self.scratch.clear();
        value.write_encoded(&mut self.scratch);
        self.draft.encoded(&self.scratch, value.aws_bytes());
        self
    }

    /// Null.
    pub fn null(&mut self) -> &mut ValueBuilder {
        self.begin_piece();
        self.draft.null();
        self
    }

    /// A boolean.
    pub fn bool(&mut self, value: bool) -> &mut ValueBuilder {
        self.begin_piece();
        self.draft.boolean(value);
        self
    }

    /// A string.
    pub fn s(&mut self, text: &str) -> &mut ValueBuilder {
        self.begin_piece();
        self.draft.string(text);
        self
    }

    /// A number.
    pub fn n(&mut self, number: &Number) -> &mut ValueBuilder {
        self.begin_piece();
        self.draft.number(&Digits::from_number(number));
        self
    }

    /// A binary.
    pub fn b(&mut self, bytes: &[u8]) -> &mut ValueBuilder {
        self.begin_piece();
        self.draft.binary(bytes);
        self
    }

    /// A set, as `Value::set`; null without a member.
    pub fn set<'m>(&mut self, kind: Kind, members: impl Iterator<Item = &'m [u8]>) -> &mut ValueBuilder {
        self.begin_piece();
        self.draft.begin_set();
        for member in members {
            self.draft.member(|out| out.extend_from_slice(member));
        }
        self.draft.end_set_without_duplicates(kind);
        self
    }

    /// Begins a list: values follow.
    pub fn begin_list(&mut self) -> &mut ValueBuilder {
        self.begin_piece();
        self.draft.begin_list();
        self
    }

    /// Ends it.
    pub fn end_list(&mut self) -> &mut ValueBuilder {
        self.draft.end();
        self
    }

    /// Begins a map: names with their values follow.
    pub fn begin_map(&mut self) -> &mut ValueBuilder {
        self.begin_piece();
        self.draft.begin_map();
        self
    }

    /// Ends it.
    pub fn end_map(&mut self) -> &mut ValueBuilder {
        self.draft.end();
        self
    }

    /// The value.
    ///
    /// # Panics
    /// When a list or map was begun and not ended.
    #[must_use]
    pub fn finish(mut self) -> Value {
        self.draft.finish_value()
    }

    fn begin_piece(&mut self) {
        if self.draft.depth() > 0 && !self.draft.is_in_map() {
            self.draft.element();
        }
    }
}

/// An item in the making.
pub struct ItemBuilder {
    pieces: ValueBuilder,
}

impl ItemBuilder {
    /// Without an attribute yet.
    #[must_use]
    pub fn new() -> ItemBuilder {
        let mut pieces = ValueBuilder::default();
        pieces.draft.begin_item();
        ItemBuilder { pieces }
    }

    /// An attribute; of two of one name the later stays.
    pub fn set(&mut self, name: &str, value: ValueRef<'_>) -> &mut ItemBuilder {
        self.pieces.name(name).value(value);
        self
    }

    /// An attribute whose value the caller puts together with the builder given.
    pub fn attribute(&mut self, name: &str) -> &mut ValueBuilder {
        self.pieces.name(name)
    }

    /// The item.
    ///
    /// # Panics
    /// When a list or map was begun and not ended.
    #[must_use]
    pub fn finish(mut self) -> Item {
        self.pieces.draft.finish_item()
    }
}

impl Default for ItemBuilder {
    fn default() -> ItemBuilder {
        ItemBuilder::new()
    }
}
