//! A JSON text as a flat line of slots, in the order of the text: what policies are compiled from and bodies are held
//! against.
//! Invariant: a container's slot names the slot behind its last one, so it is stepped over at once; a member is a key slot
//! with the slots of its value behind it. Nothing recurses; a slot is 12 bytes whatever the text holds.
//! Leaves to `aws::json`: what is JSON, and how deep it may go.

use aws::json::{Found, Plain, Reader};

use super::condition::Scalar;
use super::number::Number;

/// A JSON text that has been read.
pub(super) struct Tape<'a> {
    text: &'a str,
    slots: Vec<Slot>,
    /// Strings that had escapes, without them.
    unescaped: Vec<Box<str>>,
}

/// One value, or the name of a member.
#[derive(Clone, Copy)]
struct Slot {
    kind: Kind,
    /// Text: its first byte; unescaped: its index there.
    start: u32,
    /// Text: the byte behind it. Container: the slot behind it.
    end: u32,
}

/// What a slot holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// An object or an array.
    Object,
    Array,
    /// A string, or a member's name, that stands in the text as it is.
    Text,
    /// The same with escapes.
    Unescaped,
    Number,
    True,
    False,
    Null,
}

/// A place on the tape.
pub(super) type Place = usize;

/// Longer texts are not read: places in them take 32 bits.
const TEXT_BYTES_MAX: usize = 1 << 30;

impl<'a> Tape<'a> {
    /// Reads a whole text. None: it is no JSON, or goes deeper than `aws::json::DEPTH_MAX`.
    pub(super) fn read(text: &'a str) -> Option<Tape<'a>> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let mut tape = Tape { text, slots: Vec::new(), unescaped: Vec::new() };
        let mut reader: Reader<'a, Plain> = Reader::new(text.as_bytes()).ok()?;
        let mut open: Vec<Place> = Vec::new();
        loop {
            // The reader stands in front of a value.
            if let Some(container) = tape.value(&mut reader)? {
                if tape.slots[container].kind == Kind::Object {
                    tape.name(&mut reader)?;
                }
                open.push(container);
                continue;
            }
            // And now behind one: behind how many containers too?
            loop {
                let Some(container) = open.last().copied() else {
                    reader.finish().ok()?;
                    return Some(tape);
                };
                let is_object = tape.slots[container].kind == Kind::Object;
                let more = if is_object { reader.next_member() } else { reader.next_element() };
                if more.ok()? {
                    if is_object {
                        tape.name(&mut reader)?;
                    }
                    break;
                }
                tape.close(container);
                open.pop();
            }
        }
    }

    /// Reads a scalar or an empty container whole, and of another container the bracket; gives its place then.
    fn value(&mut self, reader: &mut Reader<'a, Plain>) -> Option<Option<Place>> {
        let place = self.slots.len();
        let kind = match reader.peek() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => {
                self.string(reader)?;
                return Some(None);
            }
            _ => {
                self.scalar(reader)?;
                return Some(None);
            }
        };
        self.slots.push(Slot { kind, start: 0, end: 0 });
        let has_more = match kind {
            Kind::Object => reader.open_structure(""),
            _ => reader.open_list(),
        };
        if has_more.ok()? {
            return Some(Some(place));
        }
        self.close(place);
        Some(None)
    }

    fn name(&mut self, reader: &mut Reader<'a, Plain>) -> Option<()> {
        let name = reader.key().ok()?;
        self.push_text(name);
        Some(())
    }

    fn string(&mut self, reader: &mut Reader<'a, Plain>) -> Option<()> {
        let text = reader.quoted().ok()?;
        self.push_text(text);
        Some(())
    }

    fn push_text(&mut self, text: std::borrow::Cow<'a, str>) {
        let slot = match text {
            std::borrow::Cow::Borrowed(plain) => {
                // A borrowed string is a part of the text, so the difference of their addresses is its place.
                let start = plain.as_ptr().addr() - self.text.as_ptr().addr();
                Slot { kind: Kind::Text, start: short(start), end: short(start + plain.len()) }
            }
            std::borrow::Cow::Owned(text) => {
                self.unescaped.push(text.into_boxed_str());
                Slot { kind: Kind::Unescaped, start: short(self.unescaped.len() - 1), end: 0 }
            }
        };
        self.slots.push(slot);
    }

    fn scalar(&mut self, reader: &mut Reader<'a, Plain>) -> Option<()> {
        let start = reader.position();
        let kind = match reader.scalar().ok()? {
            Found::Whole | Found::Decimal => Kind::Number,
            Found::True => Kind::True,
            Found::False => Kind::False,
            Found::Null => Kind::Null,
            Found::Object | Found::Array | Found::Text => return None,
        };
        self.slots.push(Slot { kind, start: short(start), end: short(reader.position()) });
        Some(())
    }

    fn close(&mut self, container: Place) {
        self.slots[container].end = short(self.slots.len());
    }

    /// What stands at `place`.
    pub(super) fn kind(&self, place: Place) -> Kind {
        self.slots[place].kind
    }

    /// The place behind the value at `place`.
    pub(super) fn behind(&self, place: Place) -> Place {
        match self.slots[place].kind {
            Kind::Object | Kind::Array => self.slots[place].end as Place,
            _ => place + 1,
        }
    }

    /// The string, name or number at `place`, without quotes and escapes; empty for anything else.
    pub(super) fn text(&self, place: Place) -> &str {
        let slot = self.slots[place];
        match slot.kind {
            Kind::Text | Kind::Number => &self.text[slot.start as usize..slot.end as usize],
            Kind::Unescaped => &self.unescaped[slot.start as usize],
            Kind::Object | Kind::Array | Kind::True | Kind::False | Kind::Null => "",
        }
    }

    /// Whether a string stands at `place`.
    pub(super) fn is_string(&self, place: Place) -> bool {
        matches!(self.kind(place), Kind::Text | Kind::Unescaped)
    }

    /// The scalar at `place`; None for a container.
    pub(super) fn scalar_at(&self, place: Place) -> Option<Scalar<'_>> {
        Some(match self.kind(place) {
            Kind::Object | Kind::Array => return None,
            Kind::Text | Kind::Unescaped => Scalar::Text(self.text(place)),
            Kind::Number => Scalar::Number(Number::parse(self.text(place)).ok()),
            Kind::True => Scalar::True,
            Kind::False => Scalar::False,
            Kind::Null => Scalar::Null,
        })
    }

    /// The members of the object at `object`: name and value, by their places.
    pub(super) fn members(&self, object: Place) -> impl Iterator<Item = (&str, Place)> {
        let end = self.behind(object);
        let mut at = object + 1;
        std::iter::from_fn(move || {
            let name = at;
            if name >= end {
                return None;
            }
            at = self.behind(name + 1);
            Some((self.text(name), name + 1))
        })
    }

    /// The elements of the array at `array`, by their places.
    pub(super) fn elements(&self, array: Place) -> impl Iterator<Item = Place> + Clone + '_ {
        let end = self.behind(array);
        let mut at = array + 1;
        std::iter::from_fn(move || {
            let element = at;
            if element >= end {
                return None;
            }
            at = self.behind(element);
            Some(element)
        })
    }

    /// The value at `place`, or if it is an array all values that lie in it and in arrays in it, without the arrays.
    pub(super) fn flat(&self, place: Place) -> impl Iterator<Item = Place> + '_ {
        let end = self.behind(place);
        let mut at = place;
        std::iter::from_fn(move || {
            while at < end && self.kind(at) == Kind::Array {
                at += 1;
            }
            let value = at;
            if value >= end {
                return None;
            }
            at = self.behind(value);
            Some(value)
        })
    }
}

/// A place as a slot holds it.
fn short(place: usize) -> u32 {
    u32::try_from(place).expect("texts have at most 2^30 bytes, and each slot stands for one at least")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_elements_and_nested_arrays_are_walked_in_order() {
        let tape = Tape::read(r#" {"a":[1,[2,[],{"x":3}],"\u0041"],"b\n":null,"c":{} } "#).expect("JSON");
        let members: Vec<_> =
            tape.members(0).map(|(name, place)| (name.to_owned(), tape.kind(place))).collect();
        let expected = [("a", Kind::Array), ("b\n", Kind::Null), ("c", Kind::Object)];
        assert_eq!(members, expected.map(|(name, kind)| (name.to_owned(), kind)));
        let (_, a) = tape.members(0).next().expect("a");
        assert_eq!(tape.elements(a).count(), 3);
        let flat: Vec<_> = tape.flat(a).map(|place| tape.kind(place)).collect();
        assert_eq!(flat, [Kind::Number, Kind::Number, Kind::Object, Kind::Unescaped]);
        assert_eq!(tape.text(tape.flat(a).last().expect("four")), "A");
    }

    #[test]
    fn what_is_no_json_or_too_deep_has_no_tape() {
        for text in ["", "{", "[1,]", "{\"a\"}", "nul", "1 2", "\"\\ud800\"", "[\u{1}]"] {
            assert!(Tape::read(text).is_none(), "{text}");
        }
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Tape::read(&deep(aws::json::DEPTH_MAX)).is_some());
        assert!(Tape::read(&deep(aws::json::DEPTH_MAX + 1)).is_none());
        assert!(Tape::read(&"[".repeat(1 << 20)).is_none());
    }
}
