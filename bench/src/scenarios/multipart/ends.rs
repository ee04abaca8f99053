//! Both ends of uploads in parts, outside the clock and over blocking connections: opens them, looks for what was completed,
//! aborts the rest.
//! Invariant: after an abort that ended well, no upload of the plan is open on the server.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use aws::uri;
use memchr::memmem;

use super::{Call, EMPTY_DIGEST, Upload, Uploads};
use crate::client::blocking::Client;
use crate::scenarios::s3::fill::{CONNECTIONS, ask, refused};

/// Keys of a listing's page: the most that S3 gives.
const PAGE_KEYS: usize = 1_000;

impl Uploads {
    /// CreateMultipartUpload of all.
    pub(super) fn open(&mut self) -> Result<(), String> {
        let (mut opened, result) = self.each(self.settings.upload_count, |client, number| {
            let path = format!("/{}/{}{number:08}", self.settings.bucket, self.prefix);
            let call = Call {
                method: "POST",
                path: &path,
                query: "uploads=",
                payload: EMPTY_DIGEST,
                body_bytes: Some(0),
            };
            let answer = ask(client, &self.target, &call, b"")?;
            let id = element(&answer.body, "UploadId").filter(|_| answer.status == 200);
            let id = id.ok_or_else(|| refused(&call, &answer))?;
            Ok((number, Upload::new(path, &id, self.settings.part_count)))
        });
        opened.sort_unstable_by_key(|(number, _)| *number);
        self.uploads = opened.into_iter().map(|(_, upload)| upload).collect();
        result
    }

    /// Whether listings name every completed upload with all of its bytes.
    pub(super) fn check(&self) -> Result<(), String> {
        let complete_count = self.uploads.iter().filter(|upload| upload.is_complete).count();
        if complete_count == 0 {
            return Ok(());
        }
        let mut client = self.client();
        let whole = format!("<Size>{}</Size>", self.settings.part_bytes * self.settings.part_count);
        let path = format!("/{}", self.settings.bucket);
        let first = format!("list-type=2&max-keys={PAGE_KEYS}&prefix={}", uri::encode(&self.prefix));
        let mut query = first.clone();
        let mut found_count = 0;
        for _ in 0..self.uploads.len().div_ceil(PAGE_KEYS) {
            let call =
                Call { method: "GET", path: &path, query: &query, payload: EMPTY_DIGEST, body_bytes: None };
            let answer = ask(&mut client, &self.target, &call, b"")?;
            if answer.status != 200 {
                return Err(refused(&call, &answer));
            }
            found_count += memmem::find_iter(&answer.body, &whole).count();
            let last = memmem::rfind(&answer.body, b"<Key>");
            match last.and_then(|last| element(&answer.body[last..], "Key")) {
                Some(key) => query = format!("{first}&start-after={}", uri::encode(&key)),
                None => break,
            }
        }
        // An answer may have been lost that the server gave.
        if found_count >= complete_count {
            return Ok(());
        }
        Err(format!(
            "of {complete_count} uploads that were completed a listing names {found_count} with all of their bytes"
        ))
    }

    /// AbortMultipartUpload of all that are not complete.
    pub(super) fn abort(&self) -> Result<(), String> {
        let open: Vec<&Upload> = self.uploads.iter().filter(|upload| !upload.is_complete).collect();
        let (_, result) = self.each(open.len(), |client, index| {
            let Upload { path, query, .. } = open[index];
            let call = Call { method: "DELETE", path, query, payload: EMPTY_DIGEST, body_bytes: None };
            let answer = ask(client, &self.target, &call, b"")?;
            // 404: it was completed, and the answer that said so was lost.
            if matches!(answer.status, 204 | 404) { Ok(()) } else { Err(refused(&call, &answer)) }
        });
        result
    }

    /// Does `work` for each number below `count` over several connections. Gives what it gave, in any order, and the first
    /// error, after which no more is begun.
    fn each<T: Send>(
        &self,
        count: usize,
        work: impl Fn(&mut Client, usize) -> Result<T, String> + Sync,
    ) -> (Vec<T>, Result<(), String>) {
        let next = AtomicUsize::new(0);
        let some = || {
            let (mut client, mut done) = (self.client(), Vec::new());
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return (done, Ok(()));
                }
                match work(&mut client, index) {
                    Ok(given) => done.push(given),
                    Err(error) => {
                        next.store(count, Ordering::Relaxed);
                        return (done, Err(error));
                    }
                }
            }
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..CONNECTIONS.min(count)).map(|_| scope.spawn(some)).collect();
            let (mut all, mut result) = (Vec::with_capacity(count), Ok(()));
            for thread in threads {
                let (done, ended) = thread.join().unwrap_or_else(|_| {
                    (Vec::new(), Err("a thread that asks the server panicked".to_owned()))
                });
                all.extend(done);
                result = result.and(ended);
            }
            (all, result)
        })
    }

    fn client(&self) -> Client {
        Client::new(self.target.address, self.target.tls.as_ref())
    }
}

/// The text of the first element of that name.
fn element(body: &[u8], name: &str) -> Option<String> {
    let start = memmem::find(body, format!("<{name}>").as_bytes())? + name.len() + 2;
    let length = memmem::find(&body[start..], format!("</{name}>").as_bytes())?;
    String::from_utf8(body[start..start + length].to_vec()).ok().filter(|text| !text.is_empty())
}
