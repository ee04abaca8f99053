//! What is there before the first request: the table and its items, made outside the clock over blocking connections.
//! Invariant: when filling ends well, the table is active and every item was acknowledged.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use memchr::memmem;

use super::{BATCH_ITEMS, Dynamodb, Operation, PAGE_ITEMS};
use crate::client::blocking::{Answer, Client};
use crate::prepare::sign_json::{DYNAMODB, JsonSigner};
use crate::scenario::Target;
use crate::scenarios::s3::{fill::CONNECTIONS, now, timestamp};

/// What came of making a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Made {
    /// It takes items.
    Active,
    /// The server gives the same item to whatever it is asked.
    Echo,
}

/// How often a table is asked for, or a batch sent, until it is as it should be.
const TRIES_MAX: usize = 200;
const PAUSE: Duration = Duration::from_millis(50);
/// So much of an answer is shown.
const WORDS_BYTES_MAX: usize = 300;

impl Dynamodb {
    /// Makes the table, unless it is there already, and waits until it is active.
    pub(super) fn make_table(&self, target: &Target) -> Result<Made, String> {
        let mut client = Client::new(target.address, target.tls.as_ref());
        let table = self.table();
        let (sort_definition, sort_key) = match self.settings.operation {
            Operation::Put | Operation::Get => ("", ""),
            Operation::Query => (
                r#",{"AttributeName":"sk","AttributeType":"S"}"#,
                r#",{"AttributeName":"sk","KeyType":"RANGE"}"#,
            ),
        };
        let body = format!(
            r#"{{"TableName":"{table}","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{{"AttributeName":"pk","AttributeType":"S"}}{sort_definition}],"KeySchema":[{{"AttributeName":"pk","KeyType":"HASH"}}{sort_key}]}}"#
        );
        let answer = ask(&mut client, target, "CreateTable", &body)?;
        if answer.body.starts_with(br#"{"Item":"#) {
            return Ok(Made::Echo);
        }
        let is_there = memmem::find(&answer.body, b"ResourceInUseException").is_some();
        if answer.status != 200 && !is_there {
            return Err(refused("CreateTable", &answer));
        }
        for _ in 0..TRIES_MAX {
            let answer = ask(&mut client, target, "DescribeTable", &format!(r#"{{"TableName":"{table}"}}"#))?;
            if memmem::find(&answer.body, br#""TableStatus":"ACTIVE""#).is_some() {
                return Ok(Made::Active);
            }
            if answer.status != 200 {
                return Err(refused("DescribeTable", &answer));
            }
            thread::sleep(PAUSE);
        }
        Err(format!("table {table} does not become active"))
    }

    /// Makes all items.
    pub(super) fn make_items(&self, target: &Target) -> Result<(), String> {
        let count = match self.settings.operation {
            Operation::Put | Operation::Get => self.settings.key_count,
            // Whole partitions, so that every page is as long as the others.
            Operation::Query => self.page_count() * PAGE_ITEMS,
        };
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            let makers: Vec<_> =
                (0..CONNECTIONS).map(|_| scope.spawn(|| self.make_some(target, &next, count))).collect();
            makers.into_iter().try_for_each(|maker| {
                maker.join().map_err(|_| "a thread that fills panicked".to_owned()).flatten()
            })
        })
    }

    /// Makes batches until there are none left to make; the first refusal ends the work of all.
    fn make_some(&self, target: &Target, next: &AtomicUsize, count: usize) -> Result<(), String> {
        let mut client = Client::new(target.address, target.tls.as_ref());
        loop {
            let first = next.fetch_add(BATCH_ITEMS, Ordering::Relaxed);
            if first >= count {
                return Ok(());
            }
            let made = self.make_batch(&mut client, target, first..count.min(first + BATCH_ITEMS));
            if made.is_err() {
                next.store(count, Ordering::Relaxed);
                return made;
            }
        }
    }

    fn make_batch(
        &self,
        client: &mut Client,
        target: &Target,
        keys: std::ops::Range<usize>,
    ) -> Result<(), String> {
        let puts: Vec<String> = keys
            .map(|key| format!(r#"{{"PutRequest":{{"Item":{}}}}}"#, self.filled_item(key, key)))
            .collect();
        let body = format!(r#"{{"RequestItems":{{"{}":[{}]}}}}"#, self.table(), puts.join(","));
        for _ in 0..TRIES_MAX {
            let answer = ask(client, target, "BatchWriteItem", &body)?;
            if answer.status != 200 {
                return Err(refused("BatchWriteItem", &answer));
            }
            if is_all_processed(&answer.body) {
                return Ok(());
            }
            // The whole again: a put that was done is done again to no other effect.
            thread::sleep(PAUSE);
        }
        Err("BatchWriteItem leaves items unprocessed".to_owned())
    }
}

/// Whether `UnprocessedItems` is empty or not there.
fn is_all_processed(body: &[u8]) -> bool {
    const NAME: &[u8] = b"\"UnprocessedItems\"";
    let Some(place) = memmem::find(body, NAME) else { return true };
    let rest = body[place + NAME.len()..].iter().filter(|byte| !byte.is_ascii_whitespace());
    rest.take(3).eq(b":{}")
}

/// Signed as of this moment: filling may take longer than a signature is good for.
fn ask(client: &mut Client, target: &Target, operation: &str, body: &str) -> Result<Answer, String> {
    let mut head = Vec::new();
    JsonSigner::new(DYNAMODB, &target.host, target.credentials.as_ref(), timestamp(now())).append(
        &mut head,
        operation,
        body.as_bytes(),
    );
    client.exchange(&head, body.as_bytes())
}

fn refused(operation: &str, answer: &Answer) -> String {
    let shown = &answer.body[..answer.body.len().min(WORDS_BYTES_MAX)];
    format!("{operation} was answered {}: {}", answer.status, String::from_utf8_lossy(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_done_when_nothing_is_left_of_it() {
        assert!(is_all_processed(b"{}"));
        assert!(is_all_processed(br#"{"UnprocessedItems": { }}"#));
        assert!(!is_all_processed(br#"{"UnprocessedItems":{"t":[]}}"#));
    }
}
