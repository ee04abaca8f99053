//! What is there before the first request: blobs, put outside the clock over blocking connections.
//! Invariant: when filling ends well, every put was acknowledged.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::{Cache, append_head};
use crate::client::blocking::Client;
use crate::scenario::Target;
use crate::scenarios::s3::fill::CONNECTIONS;

/// A server that is too busy is asked again after so long, and so often.
const BUSY_WAIT: Duration = Duration::from_millis(100);
const BUSY_COUNT_MAX: usize = 300;
/// So much of an answer is shown.
const WORDS_BYTES_MAX: usize = 300;

impl Cache {
    /// Puts all bodies that loads read. One that is there already is no fault: the same load may have run before.
    pub(super) fn put_all(&self, target: &Target) -> Result<(), String> {
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            let makers: Vec<_> =
                (0..CONNECTIONS).map(|_| scope.spawn(|| self.put_some(target, &next))).collect();
            makers.into_iter().try_for_each(|maker| {
                maker.join().map_err(|_| "a thread that fills panicked".to_owned()).flatten()
            })
        })
    }

    /// Puts bodies until there are none left to put; the first refusal ends the work of all.
    fn put_some(&self, target: &Target, next: &AtomicUsize) -> Result<(), String> {
        let mut client = Client::new(target.address, target.tls.as_ref());
        let mut head = Vec::new();
        loop {
            let key = next.fetch_add(1, Ordering::Relaxed);
            if key >= self.settings.key_count {
                return Ok(());
            }
            let body = self.filled.body(key);
            head.clear();
            append_head(&mut head, target, "PUT", &body);
            let put = put_one(&mut client, &head, &body);
            if put.is_err() {
                next.store(self.settings.key_count, Ordering::Relaxed);
                return put;
            }
        }
    }
}

/// Puts one body. RFC 9110 15.6.4: a server that answers 503 may be asked again after a while; this is no time that counts.
fn put_one(client: &mut Client, head: &[u8], body: &[u8]) -> Result<(), String> {
    for _ in 0..BUSY_COUNT_MAX {
        let answer = client.exchange(head, body)?;
        match answer.status {
            200 | 201 | 202 | 204 => return Ok(()),
            503 => thread::sleep(BUSY_WAIT),
            status => {
                let shown = &answer.body[..answer.body.len().min(WORDS_BYTES_MAX)];
                return Err(format!("a put was answered {status}: {}", String::from_utf8_lossy(shown)));
            }
        }
    }
    Err(format!("a put was answered 503 {BUSY_COUNT_MAX} times"))
}
