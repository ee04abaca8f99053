//! Patterns of the policy language: `*`, `?` and variables, and ARNs that match part by part.
//!
//! Invariant: a match takes time linear in the text, whatever the pattern holds, and memory linear in the pattern. What
//! is substituted for a variable is text: a wildcard or a colon in it means itself.
//! Leaves to document.rs: where patterns stand. To evaluate.rs: what the keys of variables are worth.

use super::keys::{Keys, single};

/// A pattern, made ready once.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Pattern {
    /// No wildcard: the text itself.
    Exact(Box<str>),
    /// Literal pieces with a `*` between each two, so at least two of them.
    Stars(Box<[Box<str>]>),
    /// With a `?`.
    States(States),
    /// With variables: becomes one of the others for each request.
    Open(Box<[Piece]>),
}

/// What a pattern says of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// It fits.
    Yes,
    /// It does not.
    No,
    /// A variable has no value, so that neither this pattern nor its complement may count.
    Unknown,
}

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// These characters.
    Text(Box<str>),
    /// `*`: any characters, or none.
    Any,
    /// `?`: one character.
    One,
    /// `${key}` or `${key, 'default'}`.
    Variable {
        /// The key in lower case.
        key: Box<str>,
        /// What counts when the key has no value.
        default: Option<Box<str>>,
    },
}

/// What of the language a text may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Syntax {
    /// Whether `*` and `?` are wildcards.
    pub(super) wildcards: bool,
    /// Whether `${` begins a variable: not before version 2012-10-17.
    pub(super) variables: bool,
}

/// A variable that is not written as one can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadVariable;

impl From<bool> for Match {
    fn from(fits: bool) -> Match {
        if fits { Match::Yes } else { Match::No }
    }
}

impl Pattern {
    /// Reads a pattern.
    pub(super) fn parse(text: &str, syntax: Syntax) -> Result<Pattern, BadVariable> {
        Ok(Pattern::of(pieces(text, syntax)?))
    }

    /// The pattern that these pieces are in their order.
    pub(super) fn of(pieces: Vec<Piece>) -> Pattern {
        if pieces.iter().any(|piece| matches!(piece, Piece::Variable { .. })) {
            return Pattern::Open(pieces.into());
        }
        if pieces.contains(&Piece::One) {
            return Pattern::States(States::of(&pieces));
        }
        let mut literals = vec![String::new()];
        for piece in pieces {
            match piece {
                Piece::Text(text) => literals.last_mut().expect("begins with one").push_str(&text),
                // Two stars in a row are one.
                _ if literals.len() > 1 && literals.last().is_some_and(String::is_empty) => {}
                _ => literals.push(String::new()),
            }
        }
        let mut literals: Vec<Box<str>> = literals.into_iter().map(String::into_boxed_str).collect();
        match literals.len() {
            1 => Pattern::Exact(literals.remove(0)),
            _ => Pattern::Stars(literals.into()),
        }
    }

    /// Whether `text` fits; `keys` has the values of variables.
    pub(super) fn matches(&self, text: &str, keys: &dyn Keys) -> Match {
        match self {
            Pattern::Exact(literal) => (**literal == *text).into(),
            Pattern::Stars(literals) => stars_match(literals, text).into(),
            Pattern::States(states) => states.matches(text).into(),
            Pattern::Open(pieces) => match filled(pieces, keys) {
                Some(pieces) => Pattern::of(pieces).matches(text, keys),
                None => Match::Unknown,
            },
        }
    }

    /// Whether `text` is the same but for case. For patterns without wildcards.
    pub(super) fn matches_any_case(&self, text: &str, keys: &dyn Keys) -> Match {
        match self {
            Pattern::Exact(literal) => is_same_but_case(literal, text).into(),
            Pattern::Open(pieces) => match filled(pieces, keys) {
                Some(pieces) => Pattern::of(pieces).matches_any_case(text, keys),
                None => Match::Unknown,
            },
            Pattern::Stars(_) | Pattern::States(_) => self.matches(text, keys),
        }
    }
}

/// A pattern for ARNs: `*` for everything, else six patterns for the six parts.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ArnPattern {
    /// `*`.
    Everything,
    /// Partition, service, region, account and the rest.
    Parts(Box<[Pattern; 5]>),
}

/// Why a text is no pattern of ARNs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadArn {
    /// It has fewer than six parts, or the first is not `arn`.
    Form,
    /// A variable is malformed.
    Variable,
}

/// The parts of an ARN behind `arn:`.
pub(super) type ArnParts<'a> = [&'a str; 5];

/// Splits an ARN at its first five colons.
pub(super) fn arn_parts(text: &str) -> Option<ArnParts<'_>> {
    let mut parts = text.strip_prefix("arn:")?.splitn(5, ':');
    let mut next = || parts.next();
    Some([next()?, next()?, next()?, next()?, next()?])
}

impl ArnPattern {
    /// Reads a pattern. A colon within a variable is none of the five.
    pub(super) fn parse(text: &str, variables: bool) -> Result<ArnPattern, BadArn> {
        if text == "*" {
            return Ok(ArnPattern::Everything);
        }
        let syntax = Syntax { wildcards: true, variables };
        let rest = text.strip_prefix("arn:").ok_or(BadArn::Form)?;
        let mut parts: [Vec<Piece>; 5] = Default::default();
        let mut part = 0;
        for piece in pieces(rest, syntax).map_err(|BadVariable| BadArn::Variable)? {
            let Piece::Text(text) = piece else {
                parts[part].push(piece);
                continue;
            };
            let mut texts = text.splitn(5 - part, ':');
            let first = texts.next().unwrap_or_default();
            parts[part].push(Piece::Text(first.into()));
            for text in texts {
                part += 1;
                parts[part].push(Piece::Text(text.into()));
            }
        }
        if part < 4 {
            return Err(BadArn::Form);
        }
        Ok(ArnPattern::Parts(Box::new(parts.map(Pattern::of))))
    }

    /// Whether an ARN fits; `parts` are those of `text`, if it has them.
    pub(super) fn matches(&self, parts: Option<&ArnParts<'_>>, keys: &dyn Keys) -> Match {
        let ArnPattern::Parts(patterns) = self else { return Match::Yes };
        let Some(parts) = parts else { return Match::No };
        let mut all = Match::Yes;
        for (pattern, part) in patterns.iter().zip(parts) {
            match pattern.matches(part, keys) {
                Match::No => return Match::No,
                Match::Unknown => all = Match::Unknown,
                Match::Yes => {}
            }
        }
        all
    }
}

/// The pieces of a text.
fn pieces(text: &str, syntax: Syntax) -> Result<Vec<Piece>, BadVariable> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['*', '?', '$']) {
        literal.push_str(&rest[..at]);
        let here = &rest[at..];
        let mut take = |piece| {
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal).into()));
            }
            pieces.push(piece);
        };
        if syntax.variables && here.starts_with("${") {
            let (inside, behind) = variable_end(&here[2..]).ok_or(BadVariable)?;
            rest = behind;
            match inside {
                "*" | "?" | "$" => literal.push_str(inside),
                _ => take(variable(inside).ok_or(BadVariable)?),
            }
            continue;
        }
        rest = &here[1..];
        match here.as_bytes()[0] {
            b'*' if syntax.wildcards => take(Piece::Any),
            b'?' if syntax.wildcards => take(Piece::One),
            byte => literal.push(char::from(byte)),
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal.into()));
    }
    Ok(pieces)
}

/// What stands in a variable's braces, and what follows them. A brace within the quotes of a default is not its end.
fn variable_end(text: &str) -> Option<(&str, &str)> {
    let mut end = text.find(['}', '\''])?;
    if text.as_bytes()[end] == b'\'' {
        let quoted = end + 1 + text[end + 1..].find('\'')?;
        end = quoted + text[quoted..].find('}')?;
    }
    Some((&text[..end], &text[end + 1..]))
}

fn variable(inside: &str) -> Option<Piece> {
    let (key, default) = match inside.split_once(',') {
        None => (inside, None),
        Some((key, default)) => {
            let default = default.trim().strip_prefix('\'')?.strip_suffix('\'')?;
            (key, Some(default.into()))
        }
    };
    let key = key.trim();
    is_key(key).then(|| Piece::Variable { key: key.to_lowercase().into(), default })
}

/// Whether a text can be the name of a condition key: `vendor:name`.
pub(super) fn is_key(text: &str) -> bool {
    let is_whole = |(vendor, name): (&str, &str)| !vendor.is_empty() && !name.is_empty();
    text.len() <= KEY_BYTES_MAX
        && text.split_once(':').is_some_and(is_whole)
        && !text.contains(['*', '?', '$', '{', '}', '\'', ','])
}

/// The pieces with values for the variables; `None` if one has none. A key of several values has no one value.
fn filled(pieces: &[Piece], keys: &dyn Keys) -> Option<Vec<Piece>> {
    let fill = |piece: &Piece| match piece {
        Piece::Variable { key, default } => match single(keys, key) {
            Some(value) => Some(Piece::Text(value.into())),
            None => default.clone().map(Piece::Text),
        },
        other => Some(other.clone()),
    };
    pieces.iter().map(fill).collect()
}

/// Whether `text` is the literals in their order with anything between them. The leftmost place of each is always good
/// enough, and `str::find` is linear, so that the whole is.
fn stars_match(literals: &[Box<str>], text: &str) -> bool {
    let [first, between @ .., last] = literals else { return false };
    let inner = text.strip_prefix(&**first).and_then(|rest| rest.strip_suffix(&**last));
    let Some(mut inner) = inner else { return false };
    for literal in between {
        match inner.find(&**literal) {
            Some(at) => inner = &inner[at + literal.len()..],
            None => return false,
        }
    }
    true
}

fn is_same_but_case(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
        || one.chars().flat_map(char::to_lowercase).eq(other.chars().flat_map(char::to_lowercase))
}

/// A pattern as an automaton: state `n` means that the first `n` single characters of the pattern are found. All states
/// go on side by side, 64 to a word, so that a character of the text costs a few steps for each 64 of the pattern.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct States {
    /// How many single characters the pattern has; the state of that number accepts.
    length: usize,
    /// The states that a `*` keeps.
    loops: Box<[u64]>,
    /// For `?`: the states that it leads to.
    ones: StateSet,
    /// For each character of the pattern: the states that it leads to, as words that are not empty.
    letters: Box<[(char, StateSet)]>,
}

/// States as words of bits that are not empty, each with its number.
type StateSet = Box<[(u32, u64)]>;

impl States {
    fn of(pieces: &[Piece]) -> States {
        let (mut loops, mut ones, mut length) = (Vec::new(), Vec::new(), 0);
        let mut letters = std::collections::BTreeMap::<char, Vec<(u32, u64)>>::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => {
                    for letter in text.chars() {
                        length += 1;
                        mark(letters.entry(letter).or_default(), length);
                    }
                }
                Piece::One => {
                    length += 1;
                    mark(&mut ones, length);
                }
                Piece::Any => loops.push(length),
                Piece::Variable { .. } => unreachable!("variables are filled in before"),
            }
        }
        let mut kept = vec![0; length / WORD_BITS + 1];
        for state in loops {
            kept[state / WORD_BITS] |= 1 << (state % WORD_BITS);
        }
        let letters = letters.into_iter().map(|(letter, states)| (letter, states.into())).collect();
        States { length, loops: kept.into(), ones: ones.into(), letters }
    }

    fn matches(&self, text: &str) -> bool {
        let words = self.loops.len();
        let mut small = [0; 2 * SMALL_WORDS];
        let mut large;
        let space = if words <= SMALL_WORDS {
            &mut small[..2 * words]
        } else {
            large = vec![0; 2 * words];
            &mut large[..]
        };
        let (mut now, mut next) = space.split_at_mut(words);
        now[0] = 1;
        for letter in text.chars() {
            for ((next, now), kept) in next.iter_mut().zip(&*now).zip(&self.loops) {
                *next = now & kept;
            }
            let found = self.letters.binary_search_by_key(&letter, |(letter, _)| *letter);
            let own = found.map_or(&[][..], |at| &self.letters[at].1);
            for &(word, states) in own.iter().chain(&self.ones) {
                let word = word as usize;
                let carried = if word == 0 { 0 } else { now[word - 1] >> (WORD_BITS - 1) };
                next[word] |= ((now[word] << 1) | carried) & states;
            }
            std::mem::swap(&mut now, &mut next);
        }
        now[self.length / WORD_BITS] >> (self.length % WORD_BITS) & 1 == 1
    }
}

/// Adds a state to a list that is sorted by word; states come in their order.
fn mark(states: &mut Vec<(u32, u64)>, state: usize) {
    let word = u32::try_from(state / WORD_BITS).expect("a policy is shorter than 2^32 words");
    let bit = 1 << (state % WORD_BITS);
    match states.last_mut() {
        Some((last, bits)) if *last == word => *bits |= bit,
        _ => states.push((word, bit)),
    }
}

const WORD_BITS: usize = 64;
/// Patterns of up to 511 single characters match without an allocation.
const SMALL_WORDS: usize = 8;
/// The longest name of a condition key: a prefix and a tag's key of 128 characters of up to four bytes.
const KEY_BYTES_MAX: usize = 640;
