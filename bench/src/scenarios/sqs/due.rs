//! How long after its due time a message comes that was delayed, or whose visibility ends: one connection says when each is due,
//! at random distances, another one polls for what comes.
//! Invariant: each message comes once, and none more than a tick of the server's clock before it is due as the client counts, from
//! the request that said when.

use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::fill::{ask, client, make_queue};
use super::members;
use crate::load::schedule::SplitMix;
use crate::prepare::sign_json::SQS;
use crate::scenario::Target;

/// Between two requests that say when a message is due.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_SPREAD_US: u64 = 10_000;

/// SQS counts in milliseconds: the time of a request may be taken for up to one less.
const TICK: Duration = Duration::from_millis(1);

/// Nobody else takes a message that has come, until the queue is purged.
const TAKEN_SECONDS: u32 = 43_200;

/// What makes a message due later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Due {
    /// It is sent with a delay.
    Delayed,
    /// It was received, and its visibility timeout is changed.
    Invisible,
}

/// Measures `count` messages that are due `seconds` after the request that says so; nanoseconds from then to the answer that
/// brings the message.
///
/// # Errors
/// In words: what the server answered instead, or that a message came early or twice.
pub fn measure(
    target: &Target,
    queue: &str,
    kind: Due,
    seconds: u32,
    count: usize,
    seed: u64,
) -> Result<Histogram<u64>, String> {
    let mut sender = client(target);
    let url = make_queue(&mut sender, target, queue, false)?;
    let handles = match kind {
        Due::Delayed => vec![String::new(); count],
        Due::Invisible => take_all(target, &url, count)?,
    };
    let mut random = SplitMix(seed);
    let delay = Duration::from_secs(seconds.into());
    let (came, due) = thread::scope(|scope| {
        let poller = scope.spawn(|| poll(target, &url, count, delay + Duration::from_secs(60)));
        let mut due = Vec::with_capacity(count);
        for (number, handle) in handles.iter().enumerate() {
            thread::sleep(PAUSE_MIN + Duration::from_micros(random.next() % PAUSE_SPREAD_US));
            let (operation, body) = match kind {
                Due::Delayed => (
                    "SendMessage",
                    format!(r#"{{"QueueUrl":"{url}","MessageBody":"{number}","DelaySeconds":{seconds}}}"#),
                ),
                Due::Invisible => {
                    let body = format!(
                        r#"{{"QueueUrl":"{url}","ReceiptHandle":"{handle}","VisibilityTimeout":{seconds}}}"#
                    );
                    ("ChangeMessageVisibility", body)
                }
            };
            due.push(Instant::now() + delay);
            ask(&mut sender, target, SQS, operation, &body)?;
        }
        Ok::<_, String>((poller.join().map_err(|_| "the poller panicked".to_owned())??, due))
    })?;
    ask(&mut sender, target, SQS, "PurgeQueue", &format!(r#"{{"QueueUrl":"{url}"}}"#))?;
    let mut late = Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(|error| error.to_string())?;
    for (number, (came, due)) in came.iter().zip(&due).enumerate() {
        let came = came.ok_or_else(|| format!("message {number} did not come"))?;
        let early = due.saturating_duration_since(came);
        if early > TICK {
            return Err(format!("message {number} came {} us before it was due", early.as_micros()));
        }
        late.saturating_record(came.saturating_duration_since(*due).as_nanos() as u64);
    }
    Ok(late)
}

/// Sends `count` messages and receives each; their receipt handles by number.
fn take_all(target: &Target, url: &str, count: usize) -> Result<Vec<String>, String> {
    let mut client = client(target);
    for number in 0..count {
        let body = format!(r#"{{"QueueUrl":"{url}","MessageBody":"{number}"}}"#);
        ask(&mut client, target, SQS, "SendMessage", &body)?;
    }
    let mut handles = vec![String::new(); count];
    for _ in 0..count {
        let body = format!(r#"{{"QueueUrl":"{url}","VisibilityTimeout":{TAKEN_SECONDS}}}"#);
        let answer = ask(&mut client, target, SQS, "ReceiveMessage", &body)?;
        let number = number_of(&answer.body, count)?.ok_or("a message that was sent is not there")?;
        handles[number] = members(&answer.body, "ReceiptHandle").pop().unwrap_or_default();
    }
    Ok(handles)
}

/// When each message came.
fn poll(target: &Target, url: &str, count: usize, bound: Duration) -> Result<Vec<Option<Instant>>, String> {
    let mut client = client(target);
    let mut came = vec![None; count];
    let mut missing = count;
    let mut last = Instant::now();
    let body = format!(r#"{{"QueueUrl":"{url}","WaitTimeSeconds":20,"VisibilityTimeout":{TAKEN_SECONDS}}}"#);
    while missing > 0 && last.elapsed() < bound {
        let answer = ask(&mut client, target, SQS, "ReceiveMessage", &body)?;
        let Some(number) = number_of(&answer.body, count)? else { continue };
        last = Instant::now();
        if came[number].replace(last).is_some() {
            return Err(format!("message {number} came twice"));
        }
        missing -= 1;
    }
    Ok(came)
}

/// The number that is a received message's body; none of an empty answer.
fn number_of(answer: &[u8], count: usize) -> Result<Option<usize>, String> {
    let Some(body) = members(answer, "Body").pop() else { return Ok(None) };
    let number = body.parse().ok().filter(|number| *number < count);
    number.map(Some).ok_or_else(|| format!("a message of somebody else's came: {body}"))
}
