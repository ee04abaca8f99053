//! What batches have in common: checks of the batch itself, and the two lists of their replies.
//! Invariant: an entry is in exactly one of the lists; an error of the batch itself fails the call and does nothing.
//! Leaves to the operations: what an entry is.

use crate::call::Call;
use crate::model::limits::BATCH_COUNT_MAX;
use crate::wire::error::{EntryError, Error};
use crate::wire::input::Text;
use crate::wire::name::{check_entry_count, check_entry_ids};
use crate::wire::reply::Out;
use plan::Plan;

/// Checks the number of entries and their ids. `shape` is Amazon's name of an entry.
pub fn check<'a>(shape: &str, count: usize, ids: impl Iterator<Item = Option<&'a str>>) -> Result<(), Error> {
    check_entry_count(shape, count, BATCH_COUNT_MAX)?;
    let ids = ids
        .map(|id| id.ok_or_else(|| Error::missing(&format!("{shape}.N.Id"))))
        .collect::<Result<Vec<_>, _>>()?;
    check_entry_ids(ids.into_iter())
}

/// What became of an entry.
#[derive(Debug)]
pub struct Entry<T> {
    /// Its id.
    pub id: Box<str>,
    /// What became of it.
    pub outcome: Result<T, EntryError>,
}

impl<T> Entry<T> {
    /// What became of the entry with this id, which is there since it was checked.
    pub fn new(id: Option<Text<'_>>, outcome: Result<T, EntryError>) -> Entry<T> {
        Entry { id: id.unwrap_or_default().into(), outcome }
    }
}

/// Answers with both lists; one that has nothing is left out. `shape` is Amazon's name of an entry that was done.
pub fn answer<T>(call: &Call, shape: &str, entries: &[Entry<T>], write: impl Fn(&mut Out, &T)) -> Plan {
    call.result(BATCH_BYTES, |out| {
        let done = entries.iter().filter_map(|entry| Some((&entry.id, entry.outcome.as_ref().ok()?)));
        if done.clone().next().is_some() {
            out.list("Successful", shape, done, |out, (id, value)| {
                out.text("Id", id);
                write(out, value);
            });
        }
        let failed = entries.iter().filter_map(|entry| Some((&entry.id, entry.outcome.as_ref().err()?)));
        if failed.clone().next().is_some() {
            out.list("Failed", "BatchResultErrorEntry", failed, |out, (id, error)| {
                out.text("Id", id);
                out.boolean("SenderFault", error.code.blame() == aws::query::Fault::Sender);
                out.text("Code", error.code.spelling().query);
                out.text("Message", &error.message);
            });
        }
    })
}

/// Puts what the engine says of the entries that reached it to those that did not.
pub fn merge<T, S>(
    waiting: Vec<Entry<T>>,
    outcomes: Vec<Result<S, EntryError>>,
    join: impl Fn(T, S) -> T,
) -> Vec<Entry<T>> {
    let mut outcomes = outcomes.into_iter();
    waiting
        .into_iter()
        .map(|entry| match entry.outcome {
            Ok(value) => {
                let outcome = outcomes.next().unwrap_or_else(|| Err(Error::internal()));
                Entry { id: entry.id, outcome: outcome.map(|said| join(value, said)) }
            }
            Err(error) => Entry { id: entry.id, outcome: Err(error) },
        })
        .collect()
}

/// Room for the reply to a batch.
const BATCH_BYTES: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_were_refused_keep_their_places() {
        let entry = |id: &str, outcome| Entry::<u32> { id: id.into(), outcome };
        let waiting =
            vec![entry("a", Ok(1)), entry("b", Err(Error::no_queue())), entry("c", Ok(3)), entry("d", Ok(4))];
        let merged = merge(waiting, vec![Ok(10), Err(Error::over_limit())], |one, two: u32| one + two);
        let of = |index: usize| (&*merged[index].id, merged[index].outcome.clone());
        assert_eq!(of(0), ("a", Ok(11)));
        assert_eq!(of(1), ("b", Err(Error::no_queue())));
        assert_eq!(of(2), ("c", Err(Error::over_limit())));
        assert_eq!(of(3), ("d", Err(Error::internal())), "an entry without an outcome is not done");
    }

    #[test]
    fn a_batch_without_ids_says_what_is_missing() {
        let error = check("DeleteMessageBatchRequestEntry", 1, [None].into_iter()).expect_err("refused");
        assert!(error.message.contains("DeleteMessageBatchRequestEntry.N.Id"), "{}", error.message);
    }
}
