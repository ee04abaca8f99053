//! A TOML document that knows which keys were asked for, and where each value stands.
//! Invariant: `finish` refuses every key that nobody asked for, with its line and the nearest key that exists.
//! Leaves to layer.rs: which keys there are and what they mean.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::nearest::nearest;
use crate::exit::Failure;

/// One file: its name and text, for messages.
pub struct Source<'a> {
    /// The file, as the user named it.
    pub path: &'a Path,
    /// Its text.
    pub text: &'a str,
}

impl Source<'_> {
    /// A refusal that names file and line of the byte at `offset`.
    pub fn refuse(&self, offset: usize, message: &str) -> Failure {
        let line = self.text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1;
        Failure::configuration(format!("{}:{line}: {message}", self.path.display()))
    }

    /// Parses the text. Errors: not TOML; the message names the line, and shows none of the text, which may be secret.
    pub fn parse(&self) -> Result<Spanned<DeTable<'_>>, Failure> {
        DeTable::parse(self.text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            self.refuse(offset, &format!("not valid TOML: {}", error.message()))
        })
    }
}

/// One table of the document, read key by key.
pub struct Section<'d> {
    source: &'d Source<'d>,
    name: String,
    table: &'d DeTable<'d>,
    known: Vec<&'static str>,
}

/// A truth value that has a third state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Switch {
    /// Yes or no.
    Flag(bool),
    /// The word between them.
    Word,
}

/// A value and where it stands.
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Byte offset in the file.
    pub offset: usize,
}

impl<'d> Section<'d> {
    /// The table called `name` in messages; the empty name is the top of the file.
    pub fn new(source: &'d Source<'d>, name: impl Into<String>, table: &'d DeTable<'d>) -> Section<'d> {
        Section { source, name: name.into(), table, known: Vec::new() }
    }

    fn get(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.known.push(key);
        self.table.get(key)
    }

    fn wrong(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) -> Failure {
        let found = value.get_ref().type_str();
        self.source.refuse(value.span().start, &format!("{} must be {wanted}, not {found}", self.full(key)))
    }

    /// The key with its table's name in front.
    pub fn full(&self, key: &str) -> String {
        if self.name.is_empty() { format!("`{key}`") } else { format!("`{}.{key}`", self.name) }
    }

    /// A refusal of the value at `offset`.
    pub fn refuse(&self, offset: usize, message: &str) -> Failure {
        self.source.refuse(offset, message)
    }

    /// A string.
    pub fn text(&mut self, key: &'static str) -> Result<Option<Located<String>>, Failure> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::String(text) => {
                Ok(Some(Located { value: text.to_string(), offset: value.span().start }))
            }
            _ => Err(self.wrong(key, value, "a string")),
        }
    }

    /// A string that the table cannot do without.
    pub fn required_text(
        &mut self,
        key: &'static str,
        table_offset: usize,
    ) -> Result<Located<String>, Failure> {
        let found = self.text(key)?;
        found.ok_or_else(|| self.refuse(table_offset, &format!("{} is missing", self.full(key))))
    }

    /// A size: a string, or a whole number of bytes.
    pub fn size(&mut self, key: &'static str) -> Result<Option<Located<String>>, Failure> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let offset = value.span().start;
        match value.get_ref() {
            DeValue::String(text) => Ok(Some(Located { value: text.to_string(), offset })),
            DeValue::Integer(digits) if digits.radix() == 10 => {
                Ok(Some(Located { value: digits.as_str().into(), offset }))
            }
            _ => Err(self.wrong(key, value, "a size such as \"100GB\"")),
        }
    }

    /// A truth value.
    pub fn flag(&mut self, key: &'static str) -> Result<Option<bool>, Failure> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Boolean(flag) => Ok(Some(*flag)),
            _ => Err(self.wrong(key, value, "true or false")),
        }
    }

    /// A truth value, or the one word that stands between yes and no.
    pub fn flag_or_word(&mut self, key: &'static str, word: &str) -> Result<Option<Switch>, Failure> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Boolean(flag) => Ok(Some(Switch::Flag(*flag))),
            DeValue::String(text) if text == word => Ok(Some(Switch::Word)),
            DeValue::String(text) => {
                let message = format!("{} must be true, false or \"{word}\", not \"{text}\"", self.full(key));
                Err(self.refuse(value.span().start, &message))
            }
            _ => Err(self.wrong(key, value, &format!("true, false or \"{word}\""))),
        }
    }

    /// A whole number within `least..=most`.
    pub fn number(&mut self, key: &'static str, least: u64, most: u64) -> Result<Option<u64>, Failure> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let DeValue::Integer(digits) = value.get_ref() else {
            return Err(self.wrong(key, value, "a whole number"));
        };
        let number = u64::from_str_radix(digits.as_str(), digits.radix()).ok();
        match number.filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let message = format!("{} must be a whole number from {least} to {most}", self.full(key));
                Err(self.refuse(value.span().start, &message))
            }
        }
    }

    /// A list of strings. A single string counts as a list of one.
    pub fn list(&mut self, key: &'static str) -> Result<Option<Vec<Located<String>>>, Failure> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let offset = value.span().start;
        match value.get_ref() {
            DeValue::String(text) => Ok(Some(vec![Located { value: text.to_string(), offset }])),
            DeValue::Array(items) => {
                let mut list = Vec::new();
                for item in items.iter() {
                    let DeValue::String(text) = item.get_ref() else {
                        return Err(self.wrong(key, item, "a list of strings"));
                    };
                    list.push(Located { value: text.to_string(), offset: item.span().start });
                }
                Ok(Some(list))
            }
            _ => Err(self.wrong(key, value, "a list of strings")),
        }
    }

    /// A table inside this one.
    pub fn table(&mut self, key: &'static str) -> Result<Option<Section<'d>>, Failure> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Table(table) => Ok(Some(Section::new(self.source, key, table))),
            _ => Err(self.wrong(key, value, "a table")),
        }
    }

    /// Tables of one kind, written `[[key]]`, each with its offset.
    pub fn tables(&mut self, key: &'static str) -> Result<Vec<(usize, Section<'d>)>, Failure> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let DeValue::Array(items) = value.get_ref() else {
            return Err(self.wrong(key, value, &format!("written as [[{key}]]")));
        };
        let mut sections = Vec::new();
        for item in items.iter() {
            let DeValue::Table(table) = item.get_ref() else {
                return Err(self.wrong(key, item, &format!("written as [[{key}]]")));
            };
            sections.push((item.span().start, Section::new(self.source, key, table)));
        }
        Ok(sections)
    }

    /// Refuses the first key that was never asked for.
    pub fn finish(self) -> Result<(), Failure> {
        let mut unknown: Vec<_> =
            self.table.iter().filter(|(key, _)| !self.known.contains(&key.get_ref().as_ref())).collect();
        unknown.sort_by_key(|(key, _)| key.span().start);
        let Some((key, _)) = unknown.first() else { return Ok(()) };
        let name = key.get_ref().as_ref();
        let mut message = format!("unknown key {}", self.full(&name.escape_default().to_string()));
        match nearest(name, self.known.iter().copied()) {
            Some(near) => message.push_str(&format!("; did you mean `{near}`?")),
            None => message.push_str(&format!("; known here: {}", self.known.join(", "))),
        }
        Err(self.refuse(key.span().start, &message))
    }
}
