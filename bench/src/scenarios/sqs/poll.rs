//! How long a receive that waits takes to answer once a message is sent: two blocking connections, one that polls and one that
//! sends at random distances, on an otherwise idle server.
//! Invariant: each poll had begun before its message was sent, and gave exactly that message.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::fill::{ask, client, make_queue};
use super::members;
use crate::load::schedule::SplitMix;
use crate::prepare::sign_json::SQS;
use crate::scenario::Target;

/// Long enough for the poll before the send to be waiting.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_SPREAD_US: u64 = 10_000;

/// Latencies in nanoseconds.
pub struct Polled {
    /// From the send's begin to the poll's answer.
    pub from_send: Histogram<u64>,
    /// How long the sends took themselves.
    pub send: Histogram<u64>,
    /// From the send's answer to the poll's; nothing where the poll's was there first.
    pub behind: Histogram<u64>,
}

/// Measures `count` polls, one after the other.
///
/// # Errors
/// In words: what the server answered instead.
pub fn measure(target: &Target, queue: &str, count: usize, seed: u64) -> Result<Polled, String> {
    let url = make_queue(&mut client(target), target, queue, false)?;
    let histogram = || Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(|error| error.to_string());
    let mut polled = Polled { from_send: histogram()?, send: histogram()?, behind: histogram()? };
    let (go, begins) = mpsc::channel::<()>();
    let (told, answers) = mpsc::channel::<Result<(Instant, Vec<u8>), String>>();
    let mut random = SplitMix(seed);
    let url = &url;
    thread::scope(|scope| {
        let poller = scope.spawn(move || poll(target, url, &begins, &told));
        let mut sender = client(target);
        for number in 0..count {
            go.send(()).map_err(|_| "the poller has ended".to_owned())?;
            thread::sleep(PAUSE_MIN + Duration::from_micros(random.next() % PAUSE_SPREAD_US));
            let body = format!(r#"{{"QueueUrl":"{url}","MessageBody":"poll {number}"}}"#);
            let began = Instant::now();
            ask(&mut sender, target, SQS, "SendMessage", &body)?;
            let acknowledged = Instant::now();
            polled.send.saturating_record((acknowledged - began).as_nanos() as u64);
            let (answered, body) = answers.recv().map_err(|_| "the poller has ended".to_owned())??;
            if members(&body, "Body") != [format!("poll {number}")] {
                return Err(format!("poll {number} gave {}", String::from_utf8_lossy(&body)));
            }
            if answered < began {
                return Err(format!("poll {number} was answered before its message was sent"));
            }
            polled.from_send.saturating_record((answered - began).as_nanos() as u64);
            let behind = answered.saturating_duration_since(acknowledged);
            polled.behind.saturating_record(behind.as_nanos() as u64);
            let handle = members(&body, "ReceiptHandle").pop().unwrap_or_default();
            let body = format!(r#"{{"QueueUrl":"{url}","ReceiptHandle":"{handle}"}}"#);
            ask(&mut sender, target, SQS, "DeleteMessage", &body)?;
        }
        drop(go);
        poller.join().map_err(|_| "the poller panicked".to_owned())
    })?;
    Ok(polled)
}

/// One poll for each word, until there are no more.
fn poll(
    target: &Target,
    url: &str,
    begins: &mpsc::Receiver<()>,
    told: &mpsc::Sender<Result<(Instant, Vec<u8>), String>>,
) {
    let mut client = client(target);
    let body = format!(r#"{{"QueueUrl":"{url}","WaitTimeSeconds":20}}"#);
    while begins.recv().is_ok() {
        let answer = ask(&mut client, target, SQS, "ReceiveMessage", &body);
        if told.send(answer.map(|answer| (Instant::now(), answer.body))).is_err() {
            return;
        }
    }
}
