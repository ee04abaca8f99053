//! Attribute values of requests, read straight into the stored encoding: one pass, no tree.
//!
//! ```text
//! value = {"S": text} | {"N": text} | {"B": base64} | {"BOOL": b} | {"NULL": true}
//!       | {"SS": [text]} | {"NS": [text]} | {"BS": [base64]} | {"L": [value]} | {"M": {name: value}}
//! ```
//! A loop with a stack of its own, not recursion: each list or map inside is a `Frame`.
//! Invariant: the draft holds a whole encoding whatever is wrong with the values, and what was wrong first is kept.
//! Leaves to wire/: the words of `ValueError`.

use aws::json::base64;

use super::{JsonError, Reader};
use crate::number::{Digits, NumberError};
use crate::value::{DEPTH_MAX, Draft, Item, Kind, Mark, NAME_BYTES_MAX, SetOutcome, Value};

/// What is wrong with a value whose JSON has the right types.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ValueError {
    /// It has no type.
    Empty,
    /// It has more than one type.
    MoreThanOne,
    /// The text is no number that can be stored.
    Number(NumberError, String),
    /// A set without members.
    EmptySet(Kind),
    /// A set that has a member twice.
    Duplicate {
        /// Of which type.
        kind: Kind,
        /// The members as they were sent, up to 400 KiB of them; binaries as base64.
        members: Vec<String>,
    },
    /// A member of a set is null.
    NullMember(Kind),
    /// `NULL` with the value false.
    NullFalse,
    /// More than 32 levels.
    TooDeep,
    /// An attribute of the item has the empty name.
    EmptyName,
    /// An attribute of the item has a name of more than 65,535 bytes.
    NameTooLong,
}

/// What was read. `value` means something only without `error`, which is the first one in the text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Read<T> {
    /// The value.
    pub value: T,
    /// What is wrong with it.
    pub error: Option<ValueError>,
}

/// What the reading of attribute values takes.
#[derive(Default)]
pub struct Buffers {
    draft: Draft,
    frames: Vec<Frame>,
}

/// A list or map that is open, and the value that it is part of.
struct Frame {
    is_map: bool,
    value: Open,
}

/// A value whose object is open.
struct Open {
    /// The type that was read last.
    kind: Option<Kind>,
    has_several: bool,
    /// Where the value begins in the draft.
    mark: Mark,
}

/// Reads one attribute value. Errors: `JsonError` for JSON of other types.
pub fn read_value(reader: &mut Reader<'_>) -> Result<Read<Value>, JsonError> {
    read(reader, |values| {
        values.draft.begin_value();
        values.value()?;
        Ok(values.draft.finish_value())
    })
}

/// Reads the attributes of an item: a map of attribute values. Errors: as of `read_value`.
pub fn read_item(reader: &mut Reader<'_>) -> Result<Read<Item>, JsonError> {
    read(reader, |values| {
        values.draft.begin_item();
        let more = values.reader.open_map(JAVA_MAP)?;
        if values.next_in_map(more)? {
            values.value()?;
        }
        Ok(values.draft.finish_item())
    })
}

fn read<'r, 'a, T>(
    reader: &'r mut Reader<'a>,
    get: impl FnOnce(&mut Values<'_, 'a>) -> Result<T, JsonError>,
) -> Result<Read<T>, JsonError> {
    let mut buffers = reader.take_buffers();
    let mut values =
        Values { reader, draft: &mut buffers.draft, frames: &mut buffers.frames, errors: Vec::new() };
    let read = get(&mut values);
    let error = values.first_error();
    buffers.draft.shrink();
    buffers.frames.clear();
    reader.keep(buffers);
    Ok(Read { value: read?, error })
}

struct Values<'r, 'a> {
    reader: &'r mut Reader<'a>,
    draft: &'r mut Draft,
    frames: &'r mut Vec<Frame>,
    /// The first ones, each with its position in the draft: a later member of the same name may make it void.
    errors: Vec<(u32, ValueError)>,
}

impl Values<'_, '_> {
    /// Reads the value that the reader stands in front of and, in an item, all that follow.
    fn value(&mut self) -> Result<(), JsonError> {
        let mut more = self.reader.open_structure(JAVA_VALUE)?;
        let mut value = self.begin();
        loop {
            // Members of the value's object.
            while more {
                let Some(is_map) = self.member(&mut value)? else {
                    more = self.reader.next_member()?;
                    continue;
                };
                // A list or map has begun. What it holds comes first.
                self.frames.push(Frame { is_map, value });
                let more_inside = if is_map {
                    let more = self.reader.open_map(JAVA_MAP)?;
                    self.next_in_map(more)?
                } else {
                    let more = self.reader.open_list()?;
                    self.next_in_list(more)?
                };
                if more_inside {
                    more = self.reader.open_structure(JAVA_VALUE)?;
                    value = self.begin();
                } else {
                    (value, more) = self.end_frame()?;
                }
            }
            self.end(&value);
            // The value has ended; so may have the list or map around it.
            let follows = match self.frames.last() {
                None if self.draft.depth() == 0 => return Ok(()),
                Some(Frame { is_map: false, .. }) => {
                    let more = self.reader.next_element()?;
                    self.next_in_list(more)?
                }
                _ => {
                    let more = self.reader.next_member()?;
                    self.next_in_map(more)?
                }
            };
            if follows {
                more = self.reader.open_structure(JAVA_VALUE)?;
                value = self.begin();
            } else if self.frames.is_empty() {
                return Ok(());
            } else {
                (value, more) = self.end_frame()?;
            }
        }
    }

    /// The list or map that is open innermost has ended: back to the value that it is part of.
    fn end_frame(&mut self) -> Result<(Open, bool), JsonError> {
        self.draft.end();
        let frame = self.frames.pop().ok_or(JsonError::Syntax)?;
        let more = self.reader.next_member()?;
        Ok((frame.value, more))
    }

    fn begin(&mut self) -> Open {
        if self.frames.len() >= DEPTH_MAX {
            self.note(ValueError::TooDeep);
        }
        Open { kind: None, has_several: false, mark: self.draft.mark() }
    }

    fn end(&mut self, value: &Open) {
        if value.kind.is_none() {
            self.note(ValueError::Empty);
            self.draft.null();
        } else if value.has_several {
            self.note_last(ValueError::MoreThanOne);
        }
    }

    /// Goes to the next entry of a map that is not null and has a value to read. False at the end.
    fn next_in_map(&mut self, mut more: bool) -> Result<bool, JsonError> {
        while more {
            let name = self.reader.key()?;
            if self.reader.take_null() {
                more = self.reader.next_member()?;
                continue;
            }
            self.draft.name(name.as_bytes());
            if self.frames.is_empty() && name.is_empty() {
                self.note_last(ValueError::EmptyName);
            }
            if name.len() > NAME_BYTES_MAX {
                self.note_last(ValueError::NameTooLong);
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// The same in a list, where a null is a value without a type.
    fn next_in_list(&mut self, mut more: bool) -> Result<bool, JsonError> {
        while more {
            self.draft.element();
            if !self.reader.take_null() {
                return Ok(true);
            }
            self.note(ValueError::Empty);
            self.draft.null();
            more = self.reader.next_element()?;
        }
        Ok(false)
    }

    /// Reads one member of a value's object. Of a list or map only the beginning; then says whether it is a map.
    fn member(&mut self, value: &mut Open) -> Result<Option<bool>, JsonError> {
        let kind = match self.reader.letter_key() {
            Some(letter) => Kind::from_letter(letter),
            None => Kind::from_name(&self.reader.key()?),
        };
        if self.reader.take_null() {
            return Ok(None);
        }
        let Some(kind) = kind else {
            self.reader.skip()?;
            return Ok(None);
        };
        if let Some(before) = value.kind {
            // The same type twice: the later one counts. Another type: none does, but all are looked at.
            value.has_several |= before != kind;
            self.draft.rewind(&value.mark);
            let start = self.draft.position();
            if before == kind {
                self.errors.retain(|(position, _)| *position < start);
            } else {
                // They stay errors of this value, whose later bytes are now another's.
                self.errors.iter_mut().for_each(|(position, _)| *position = (*position).min(start));
            }
        }
        value.kind = Some(kind);
        match kind {
            Kind::S => {
                let text = self.reader.string()?;
                self.draft.string(&text);
            }
            Kind::N => self.number()?,
            Kind::B => {
                let text = self.reader.base64()?;
                let bytes = base64::decoded_bytes(text.as_bytes())?;
                self.draft.binary_with(bytes, |out| base64::decode(text.as_bytes(), out))?;
            }
            Kind::Bool => {
                let value = self.reader.boolean()?;
                self.draft.boolean(value);
            }
            Kind::Null => {
                if !self.reader.boolean()? {
                    self.note(ValueError::NullFalse);
                }
                self.draft.null();
            }
            Kind::Ss | Kind::Ns | Kind::Bs => self.set(kind)?,
            Kind::L => {
                self.draft.begin_list();
                return Ok(Some(false));
            }
            Kind::M => {
                self.draft.begin_map();
                return Ok(Some(true));
            }
        }
        Ok(None)
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let text = self.reader.string()?;
        match Digits::parse(text.as_bytes()) {
            Ok(digits) => self.draft.number(&digits),
            Err(error) => {
                self.note(ValueError::Number(error, text.into_owned()));
                self.draft.null();
            }
        }
        Ok(())
    }

    fn set(&mut self, kind: Kind) -> Result<(), JsonError> {
        let start = self.reader.position();
        let mut more = self.reader.open_list()?;
        self.draft.begin_set();
        while more {
            if self.reader.take_null() {
                self.note(ValueError::NullMember(kind));
            } else {
                self.set_member(kind)?;
            }
            more = self.reader.next_element()?;
        }
        match self.draft.end_set(kind) {
            SetOutcome::Complete => {}
            SetOutcome::Empty => self.note_last(ValueError::EmptySet(kind)),
            SetOutcome::Duplicate if self.errors.len() < ERROR_COUNT_MAX => {
                let members = members_as_sent(self.reader.text_from(start));
                self.note_last(ValueError::Duplicate { kind, members });
            }
            SetOutcome::Duplicate => {}
        }
        Ok(())
    }

    fn set_member(&mut self, kind: Kind) -> Result<(), JsonError> {
        match kind {
            Kind::Ns => {
                let text = self.reader.string()?;
                match Digits::parse(text.as_bytes()) {
                    Ok(digits) => {
                        self.draft.member(|out| out.extend_from_slice(digits.sortable().as_bytes()));
                    }
                    Err(error) => self.note(ValueError::Number(error, text.into_owned())),
                }
                Ok(())
            }
            Kind::Bs => {
                let text = self.reader.base64()?;
                base64::decoded_bytes(text.as_bytes())?;
                self.draft.member(|out| base64::decode(text.as_bytes(), out))
            }
            _ => {
                let text = self.reader.string()?;
                self.draft.member(|out| out.extend_from_slice(text.as_bytes()));
                Ok(())
            }
        }
    }

    /// Keeps an error of the value that comes next in the draft.
    fn note(&mut self, error: ValueError) {
        self.note_at(self.draft.position(), error);
    }

    /// Keeps an error of the name or value that came last.
    fn note_last(&mut self, error: ValueError) {
        self.note_at(self.draft.position().saturating_sub(1), error);
    }

    fn note_at(&mut self, position: u32, error: ValueError) {
        if self.errors.len() < ERROR_COUNT_MAX {
            self.errors.push((position, error));
        }
    }

    /// The first error of what stays. With more errors than are kept there is always one.
    fn first_error(&mut self) -> Option<ValueError> {
        let is_full = self.errors.len() == ERROR_COUNT_MAX;
        let stays = |(position, _): &(u32, ValueError)| !self.draft.is_dropped(*position);
        let first = self.errors.iter().position(stays).or(is_full.then_some(0))?;
        Some(self.errors.swap_remove(first).1)
    }
}

/// The members of a set that was read, from its text: as many as an item could hold.
fn members_as_sent(text: &str) -> Vec<String> {
    let (mut members, mut bytes) = (Vec::new(), 0);
    if let Ok(mut reader) = Reader::new(text.as_bytes()) {
        // It was read once without an error.
        let read = reader.list(&mut |element| {
            let member = element.string()?;
            bytes += member.len().max(1);
            if bytes <= MEMBERS_BYTES_MAX {
                members.push(member.into_owned());
            }
            Ok(())
        });
        debug_assert!(read.is_ok(), "the set was read before");
    }
    members
}

/// How many errors are kept until it is known which of them stay.
const ERROR_COUNT_MAX: usize = 16;

/// So that an error about a set of millions does not take many times the memory of the request.
const MEMBERS_BYTES_MAX: usize = 400 << 10;
const JAVA_VALUE: &str = "AttributeValue";
const JAVA_MAP: &str = "java.util.Map<java.lang.String, com.amazonaws.dynamodb.v20120810.AttributeValue>";
