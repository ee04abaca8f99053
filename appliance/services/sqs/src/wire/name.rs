//! The texts that requests name things by: queues, entries of batches, groups and other ids, with AWS's words.
//! Invariant: the words for one rule stand here once.
//! Leaves to the operations: which member has which rule.

use super::error::{Code, Error};
use crate::model::limits::{ID_BYTES_MAX, QUEUE_NAME_BYTES_MAX};
use crate::model::queue::FIFO_SUFFIX;

/// Ids of entries of a batch have at most so many characters.
const ENTRY_ID_BYTES_MAX: usize = 80;

/// Whether a text may name a queue, of either kind.
#[must_use]
pub fn is_queue_name(text: &str) -> bool {
    let front = text.strip_suffix(FIFO_SUFFIX).unwrap_or(text);
    text.len() <= QUEUE_NAME_BYTES_MAX && is_word(front)
}

/// The name of a queue about to be made. `fifo`: whether the request says that it is a FIFO queue.
pub fn check_queue_name(name: &str, fifo: bool) -> Result<(), Error> {
    let fits = name.len() <= QUEUE_NAME_BYTES_MAX;
    if fifo {
        let is_right = fits && name.strip_suffix(FIFO_SUFFIX).is_some_and(is_word);
        return if is_right { Ok(()) } else { Err(Error::invalid(FIFO_NAME)) };
    }
    if fits && is_word(name) { Ok(()) } else { Err(Error::invalid(STANDARD_NAME)) }
}

/// The ids of a batch's entries: of the right characters, and each but once.
pub fn check_entry_ids<'a>(ids: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    // Ten at most: looking through them costs less than remembering them.
    let mut seen: Vec<&str> = Vec::new();
    for id in ids {
        if id.len() > ENTRY_ID_BYTES_MAX || !is_word(id) {
            return Err(Error::new(Code::InvalidBatchEntryId, ENTRY_ID));
        }
        if seen.contains(&id) {
            return Err(Error::new(Code::BatchEntryIdsNotDistinct, format!("Id {id} repeated.")));
        }
        seen.push(id);
    }
    Ok(())
}

/// The number of a batch's entries, whose structure is called `shape`.
pub fn check_entry_count(shape: &str, count: usize, max: usize) -> Result<(), Error> {
    if count == 0 {
        let text = format!("There should be at least one {shape} in the request.");
        return Err(Error::new(Code::EmptyBatchRequest, text));
    }
    if count > max {
        let text = format!("Maximum number of entries per request are {max}. You have sent {count}.");
        return Err(Error::new(Code::TooManyEntriesInBatchRequest, text));
    }
    Ok(())
}

/// A group id, a deduplication id or an attempt id, which `parameter` names.
pub fn check_id(parameter: &str, id: &str) -> Result<(), Error> {
    let is_right = (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    if is_right {
        return Ok(());
    }
    let reason = format!(
        "{parameter} can only include alphanumeric and punctuation characters. 1 to {ID_BYTES_MAX} in length."
    );
    Err(Error::invalid_value(parameter, id, &reason))
}

/// Letters, digits, hyphens and underscores, at least one.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

const STANDARD_NAME: &str =
    "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length";
const FIFO_NAME: &str = "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, \
     must end with .fifo suffix and be 1 to 80 in length.";
const ENTRY_ID: &str = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be \
     at most 80 letters long.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_characters_length_and_suffix() {
        let (longest, too_long) = ("q".repeat(80), "q".repeat(81));
        for name in ["q", "Orders_2-b", &longest] {
            assert_eq!(check_queue_name(name, false), Ok(()), "{name}");
        }
        for name in ["", "a.b", "a b", "ä", "a.fifo", &too_long] {
            assert_eq!(check_queue_name(name, false), Err(Error::invalid(STANDARD_NAME)), "{name}");
        }
        let fifo = |length: usize| format!("{}.fifo", "q".repeat(length));
        assert_eq!(check_queue_name(&fifo(75), true), Ok(()));
        for name in ["q", ".fifo", "a.b.fifo", "q.FIFO", &fifo(76)] {
            assert_eq!(check_queue_name(name, true), Err(Error::invalid(FIFO_NAME)), "{name}");
        }
    }

    #[test]
    fn a_batch_is_refused_whole_for_its_ids_and_its_count() {
        let check = |ids: &[&str]| check_entry_ids(ids.iter().copied()).map_err(|error| error.message);
        assert_eq!(check(&["a", "b", "A", "_-9"]), Ok(()));
        assert_eq!(check(&["a", "b", "a"]), Err("Id a repeated.".into()));
        for id in ["", "a b", "a.b", "ä", &"x".repeat(81)] {
            assert_eq!(check(&[id]), Err(ENTRY_ID.into()), "{id}");
        }
        let count = |count| {
            check_entry_count("SendMessageBatchRequestEntry", count, 10).map_err(|error| error.message)
        };
        assert_eq!((count(1), count(10)), (Ok(()), Ok(())));
        assert_eq!(
            count(0),
            Err("There should be at least one SendMessageBatchRequestEntry in the request.".into())
        );
        assert_eq!(count(11), Err("Maximum number of entries per request are 10. You have sent 11.".into()));
    }

    #[test]
    fn ids_are_letters_digits_and_punctuation() {
        for id in ["a", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", &"x".repeat(128)] {
            assert_eq!(check_id("MessageGroupId", id), Ok(()), "{id}");
        }
        for id in ["", "a b", "ä", "a\u{7f}", &"x".repeat(129)] {
            assert!(check_id("MessageGroupId", id).is_err(), "{id}");
        }
    }
}
