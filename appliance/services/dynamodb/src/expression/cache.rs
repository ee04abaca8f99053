//! Texts that were parsed before. One per core.
//!
//! Invariant: at most `ENTRY_COUNT_MAX` entries and about `HELD_BYTES_MAX` bytes; a text with a fault is not kept, so a
//! stream of broken texts drives nothing out. What goes is what was not used since the hand last passed (CLOCK).

use std::collections::HashMap;
use std::sync::Arc;

use super::parse::update::UpdateProgram;
use super::parse::{condition, projection, update};
use super::program::{Program, Terms};
use super::{ExpressionError, Kind};

/// The most texts that are kept.
pub const ENTRY_COUNT_MAX: usize = 4_096;
/// The most bytes that texts and what they became may take, by estimate.
pub const HELD_BYTES_MAX: usize = 4 * 1_024 * 1_024;
/// What one operand or path step takes, its share of vectors and allocations included: an estimate from above.
const TERM_BYTES: usize = 96;
/// What an entry takes beside its terms.
const ENTRY_BYTES: usize = 256;

/// What a text became.
#[derive(Clone)]
enum Parsed {
    Condition(Arc<Program>),
    Update(Arc<UpdateProgram>),
    Projection(Arc<Terms>),
}

impl Parsed {
    /// About how many bytes it takes.
    fn held_bytes(&self) -> usize {
        let (terms, rest) = match self {
            Parsed::Condition(program) => (&program.terms, program.code.len()),
            Parsed::Update(program) => (&program.terms, program.actions.len()),
            Parsed::Projection(terms) => (&**terms, 0),
        };
        let steps: usize = terms.paths.iter().map(Vec::len).sum();
        (terms.operands.len() + steps + rest) * TERM_BYTES
    }
}

struct Entry {
    kind: Kind,
    text: Box<str>,
    parsed: Parsed,
    held_bytes: usize,
    used: bool,
}

/// The cache.
#[derive(Default)]
pub struct Cache {
    /// By kind and text: the place in `entries`. Two maps deep, so that a look-up owns no text.
    places: [HashMap<Box<str>, usize>; KIND_COUNT],
    entries: Vec<Entry>,
    hand: usize,
    held_bytes: usize,
}

const KIND_COUNT: usize = 5;

impl Cache {
    /// An empty one.
    #[must_use]
    pub fn new() -> Cache {
        Cache::default()
    }

    /// How many texts are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no text is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn condition(&mut self, kind: Kind, text: &str) -> Result<Arc<Program>, ExpressionError> {
        if let Some(Parsed::Condition(program)) = self.find(kind, text) {
            return Ok(program);
        }
        let program = Arc::new(condition::parse(kind, text)?);
        self.keep(kind, text, Parsed::Condition(Arc::clone(&program)));
        Ok(program)
    }

    pub(super) fn update(&mut self, text: &str) -> Result<Arc<UpdateProgram>, ExpressionError> {
        if let Some(Parsed::Update(program)) = self.find(Kind::Update, text) {
            return Ok(program);
        }
        let program = Arc::new(update::parse(text)?);
        self.keep(Kind::Update, text, Parsed::Update(Arc::clone(&program)));
        Ok(program)
    }

    pub(super) fn projection(&mut self, text: &str) -> Result<Arc<Terms>, ExpressionError> {
        if let Some(Parsed::Projection(terms)) = self.find(Kind::Projection, text) {
            return Ok(terms);
        }
        let terms = Arc::new(projection::parse(text)?);
        self.keep(Kind::Projection, text, Parsed::Projection(Arc::clone(&terms)));
        Ok(terms)
    }

    fn find(&mut self, kind: Kind, text: &str) -> Option<Parsed> {
        let entry = &mut self.entries[*self.places[kind as usize].get(text)?];
        entry.used = true;
        Some(entry.parsed.clone())
    }

    fn keep(&mut self, kind: Kind, text: &str, parsed: Parsed) {
        let held_bytes = ENTRY_BYTES + 2 * text.len() + parsed.held_bytes();
        while !self.entries.is_empty()
            && (self.entries.len() >= ENTRY_COUNT_MAX || self.held_bytes + held_bytes > HELD_BYTES_MAX)
        {
            self.drop_one();
        }
        self.places[kind as usize].insert(text.into(), self.entries.len());
        self.held_bytes += held_bytes;
        self.entries.push(Entry { kind, text: text.into(), parsed, held_bytes, used: false });
    }

    /// Drops the next entry that was not used since the hand passed it.
    fn drop_one(&mut self) {
        loop {
            self.hand %= self.entries.len();
            if !std::mem::replace(&mut self.entries[self.hand].used, false) {
                break;
            }
            self.hand += 1;
        }
        let gone = self.entries.swap_remove(self.hand);
        self.places[gone.kind as usize].remove(&gone.text);
        self.held_bytes -= gone.held_bytes;
        if let Some(moved) = self.entries.get(self.hand)
            && let Some(place) = self.places[moved.kind as usize].get_mut(&moved.text)
        {
            *place = self.hand;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_parsed_once_for_each_kind() {
        let mut cache = Cache::new();
        let first = cache.condition(Kind::Condition, "a = :b").unwrap();
        assert!(Arc::ptr_eq(&first, &cache.condition(Kind::Condition, "a = :b").unwrap()));
        assert!(!Arc::ptr_eq(&first, &cache.condition(Kind::Filter, "a = :b").unwrap()));
        assert_eq!(cache.len(), 2);
    }

    #[test]
    fn a_text_with_a_fault_is_not_kept() {
        let mut cache = Cache::new();
        cache.condition(Kind::Condition, "a = ").unwrap_err();
        cache.update("SET status = :a").unwrap_err();
        cache.projection("a,,b").unwrap_err();
        assert!(cache.is_empty());
    }

    #[test]
    fn the_cache_stays_within_its_bounds_and_keeps_what_is_used() {
        let mut cache = Cache::new();
        let often = cache.projection("often").unwrap();
        for number in 0..2 * ENTRY_COUNT_MAX {
            cache.projection(&format!("p{number}")).unwrap();
            assert!(Arc::ptr_eq(&often, &cache.projection("often").unwrap()), "{number}");
            assert!(cache.len() <= ENTRY_COUNT_MAX);
        }
        let long: String = (0..500).map(|number| format!("p{number},")).collect();
        for number in 0..200 {
            cache.projection(&format!("{long}q{number}")).unwrap();
            assert!(cache.held_bytes <= HELD_BYTES_MAX);
        }
        assert!(Arc::ptr_eq(&often, &cache.projection("often").unwrap()));
        let sum: usize = cache.entries.iter().map(|entry| entry.held_bytes).sum();
        assert_eq!(sum, cache.held_bytes);
        assert_eq!(cache.places.iter().map(HashMap::len).sum::<usize>(), cache.entries.len());
    }
}
