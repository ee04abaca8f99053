//! Targets for fuzzing: each takes any bytes and panics if an invariant of the crate does not hold.
//!
//! They are plain functions, so that any fuzzer can drive them, and an ordinary test replays `corpus/` and mutations
//! of it through them. `TARGETS` names each with the directory of its corpus.

mod conditions;
mod expressions;
mod records;
mod requests;
mod statements;
mod tree;

use std::cmp::Ordering;

use crate::json::{Reader, Writer, read_item};
use crate::number::{Number, exact};
use crate::value::path::model;
use crate::value::{Item, ItemRef};

/// A target.
pub type Target = fn(&[u8]);

/// Every target with its name, which is also the directory of its corpus.
pub const TARGETS: [(&str, Target); 10] = [
    ("numbers", numbers),
    ("json", json),
    ("values", values),
    ("items", items),
    ("paths", paths),
    ("expressions", expressions::texts),
    ("conditions", conditions::answers),
    ("statements", statements::texts),
    ("requests", requests::requests),
    ("records", records::bytes),
];

/// Two texts, one on each line: parsing, printing, order, sortable form and sum against exact.rs.
pub fn numbers(input: &[u8]) {
    let mut numbers = Vec::new();
    for text in input.split(|byte| *byte == b'\n').take(2) {
        let parsed = Number::parse(text);
        let judged = str::from_utf8(text).ok().map(exact::judge);
        let Some(judged) = judged else {
            assert!(parsed.is_err(), "it is not even text");
            continue;
        };
        let again =
            judged.map(|plain| Number::parse(plain.as_bytes()).expect("the judge's text is a number"));
        assert_eq!(parsed, again);
        if let Ok(number) = parsed {
            assert_eq!(Number::parse(number.to_string().as_bytes()), Ok(number));
            let mut sortable = Vec::new();
            number.write_sortable(&mut sortable);
            assert_eq!(Number::from_sortable(&sortable), Some(number));
            numbers.push((number, sortable));
        }
    }
    if let Some(number) = Number::from_sortable(input) {
        let mut again = Vec::new();
        number.write_sortable(&mut again);
        assert_eq!(again, input, "one number has one form");
    }
    if let [(a, sortable_a), (b, sortable_b)] = &numbers[..] {
        let (long_a, long_b) = (exact::Long::of(&a.to_string()), exact::Long::of(&b.to_string()));
        assert_eq!(a.cmp(b), long_a.compare(&long_b));
        assert_eq!(a.cmp(b), sortable_a.cmp(sortable_b));
        assert_eq!(a == b, a.cmp(b) == Ordering::Equal);
        let sum = long_a.sum(&long_b).verdict();
        let sum = sum.map(|text| Number::parse(text.as_bytes()).expect("a verdict is a number"));
        assert_eq!(a.checked_add(b), sum);
        assert_eq!(b.checked_add(a), sum);
        assert_eq!(a.checked_sub(&b.negated()), sum);
    }
}

/// Any text: taken, refused and understood as another reader does.
pub fn json(input: &[u8]) {
    let skipped = Reader::new(input).and_then(|mut reader| {
        reader.skip()?;
        reader.finish()
    });
    let read = tree::read_ours(input);
    assert_eq!(skipped.is_ok(), read.is_some(), "what is skipped is read and the other way round");
    match tree::read_theirs(input) {
        tree::Theirs::Tree(theirs) => assert_eq!(read, Some(theirs.without_nulls())),
        tree::Theirs::Refused => assert_eq!(read, None),
        tree::Theirs::OutOfBounds => {}
    }
}

/// The text of an item: read as the slow reader in tree.rs reads it, and printed so that it reads the same again.
pub fn values(input: &[u8]) {
    let Ok(mut reader) = Reader::new(input) else { return };
    let read = read_item(&mut reader).and_then(|read| reader.finish().map(|()| read)).ok();
    let has_types = read.is_some();
    let item = read.filter(|read| read.error.is_none()).map(|read| read.value);
    if let tree::Theirs::Tree(theirs) = tree::read_theirs(input) {
        let slow = theirs.to_item();
        // What a later member of the same name replaces may have another type, which the slow reader does not see.
        if has_types || !theirs.has_duplicates() {
            assert_eq!(item, slow);
        }
    }
    if let Some(item) = item {
        ItemRef::new(item.as_bytes()).expect("what was read is an encoding");
        assert_same(&item);
    }
}

/// Any bytes as a stored item: refused, or the one encoding of what it shows.
pub fn items(input: &[u8]) {
    let Ok(item) = ItemRef::new(input) else { return };
    for (name, value) in item.iter() {
        assert_eq!(item.get(name), Some(value));
        assert_eq!(value.compare(&value).is_some(), value.encoded()[0] >= 3 && value.encoded()[0] <= 5);
    }
    let copy = Item::from_pairs(item.iter());
    assert_eq!(copy.as_bytes()[4..], input[4..], "one item has one encoding");
    assert_same(&copy);
}

/// Prints an item and reads it again.
fn assert_same(item: &Item) {
    let mut out = Writer::new();
    item.as_ref().write_json(&mut out);
    let text = out.into_bytes();
    let mut reader = Reader::new(&text).expect("JSON is UTF-8");
    let again = read_item(&mut reader).expect("what is printed is JSON");
    reader.finish().expect("and nothing else");
    // A stored item may have an attribute of the empty name, which requests may not.
    if item.as_ref().get("").is_none() {
        assert_eq!(again.error, None);
    }
    assert_eq!(again.value, *item);
}

/// Bytes that decide an item, edits and a projection, which the model makes as well.
pub fn paths(input: &[u8]) {
    let mut rest = input.iter();
    // Behind the last byte everything is 0, which ends each choice of how many.
    model::round(&mut |end| u64::from(rest.next().copied().unwrap_or(0)) % end);
}

#[cfg(test)]
mod tests;
