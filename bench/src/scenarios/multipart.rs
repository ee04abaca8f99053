//! S3: uploads in parts. All uploads are opened before the clock; in it run UploadPart, as many times as an upload has
//! parts, and CompleteMultipartUpload, whose body repeats what the parts' answers said: it is signed within the clock.
//!
//! ```text
//! /BUCKET/parts/RUN/NNNNNNNN    RUN differs from plan to plan
//!
//! opened -> parts drawn in order -> all answered -> its completion drawn -> answered: complete
//! ```
//!
//! Invariant: an upload is completed once, after the last of its parts was answered. Parts of one upload may be in flight
//! on several lanes; who comes when they are all drawn gets the next upload's, so that no lane waits for another. After
//! the run every complete upload is listed with its full size, and every other one is aborted.

use std::collections::VecDeque;
use std::sync::Arc;

use aws::encoding::hex;
use aws::uri;
use bytes::Bytes;
use memchr::memmem;

use super::s3::{self, S3, now, timestamp};
use crate::client::http1::{Answer, Failed};
use crate::load::recorder::Failure;
use crate::load::schedule::SplitMix;
use crate::prepare::content::Content;
use crate::prepare::keys::Distribution;
use crate::prepare::sign::{ARENA_BYTES_MAX, Arena, Call, EMPTY_DIGEST, Heads, Signer, UNSIGNED_PAYLOAD};
use crate::scenario::{Expect, Length, Plan, Prepared, Scenario, Sizes, Target};

mod ends;

/// Amazon S3, "Multipart upload limits": every part but the last has so many bytes at least.
pub const PART_BYTES_MIN: u32 = 5 << 20;

/// How large, how many, where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where; made if it is not there. Of characters that need no escape.
    pub bucket: String,
    /// Of every part.
    pub part_bytes: usize,
    /// Of every upload.
    pub part_count: usize,
    /// Opened before the clock, of one worker.
    pub upload_count: usize,
    /// Whether signatures take in the digest of the body.
    pub is_payload_signed: bool,
    /// Of the bodies.
    pub seed: u64,
}

/// A load of uploads in parts.
pub struct Multipart {
    settings: Settings,
    content: Arc<Content>,
}

impl Multipart {
    /// Makes the bodies.
    pub fn new(settings: Settings) -> Multipart {
        let content = Arc::new(Content::new(settings.part_bytes, settings.seed));
        Multipart { settings, content }
    }
}

impl Scenario for Multipart {
    fn title(&self) -> String {
        let Settings { part_bytes, part_count, .. } = &self.settings;
        format!(
            "S3 multipart, {part_count} x {part_bytes} B, uploads opened before the clock, completions signed in it"
        )
    }

    fn sizes(&self) -> Sizes {
        let Settings { part_bytes, part_count, .. } = self.settings;
        Sizes {
            value_bytes: Some(part_bytes as u64),
            part_count: Some(part_count as u64),
            ..Sizes::default()
        }
    }

    /// Only the bucket: puts under new keys need no objects.
    fn fill(&self, target: &Target) -> Result<(), String> {
        let Settings { bucket, is_payload_signed, seed, .. } = self.settings.clone();
        let bucket = s3::Settings {
            operation: s3::Operation::Put,
            bucket,
            value_bytes: 0,
            key_count: 1,
            distribution: Distribution::Unique,
            is_payload_signed,
            seed,
        };
        S3::new(bucket).fill(target)
    }

    /// Opening and aborting write too: no count of flushes could tell them from the parts.
    fn writes(&self) -> Option<Box<dyn Scenario>> {
        None
    }

    fn plan(&self, target: &Target, worker: usize, count_max: usize) -> Result<Box<dyn Plan>, String> {
        let Settings { part_count, upload_count, .. } = self.settings;
        if part_count * upload_count > count_max {
            return Err(format!(
                "{upload_count} uploads of {part_count} parts are more than {count_max} requests for a worker"
            ));
        }
        // Not from the seed: a second run against the same server would write over the objects of the first.
        let run = SplitMix(now().as_nanos() as u64 ^ ((worker as u64) << 48)).next();
        let mut plan = Uploads {
            signer: signer(target),
            heads: Arena::new(0).close(),
            prefix: format!("parts/{run:016x}/"),
            next_part: 0,
            ready: VecDeque::new(),
            uploads: Vec::new(),
            target: target.clone(),
            settings: self.settings.clone(),
            content: Arc::clone(&self.content),
        };
        match plan.open().and_then(|()| plan.sign()) {
            Ok(()) => Ok(Box::new(plan)),
            Err(error) => {
                // What was opened until then; the first error says more than a second one would.
                drop(plan.abort());
                Err(error)
            }
        }
    }
}

fn signer(target: &Target) -> Signer {
    Signer::new(&target.host, target.credentials.as_ref(), timestamp(now()))
}

/// An upload from its opening to its end.
struct Upload {
    /// With the bucket.
    path: String,
    /// `uploadId=...`
    query: String,
    /// By part, empty until it is answered.
    etags: Vec<Vec<u8>>,
    /// Parts without an answer.
    missing_count: usize,
    is_complete: bool,
}

impl Upload {
    fn new(path: String, id: &str, part_count: usize) -> Upload {
        let query = format!("uploadId={}", uri::encode(id));
        Upload {
            path,
            query,
            etags: vec![Vec::new(); part_count],
            missing_count: part_count,
            is_complete: false,
        }
    }

    /// CompleteMultipartUpload.
    fn completion(&self) -> Vec<u8> {
        let mut body =
            b"<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">".to_vec();
        for (index, etag) in self.etags.iter().enumerate() {
            body.extend_from_slice(format!("<Part><PartNumber>{}</PartNumber><ETag>", index + 1).as_bytes());
            body.extend_from_slice(etag);
            body.extend_from_slice(b"</ETag></Part>");
        }
        body.extend_from_slice(b"</CompleteMultipartUpload>");
        body
    }
}

/// The uploads of one worker and run. Tags are the numbers of parts, upload by upload, and behind them those of uploads.
struct Uploads {
    target: Target,
    settings: Settings,
    content: Arc<Content>,
    signer: Signer,
    /// Of all parts.
    heads: Heads,
    /// What all keys of this run begin with.
    prefix: String,
    uploads: Vec<Upload>,
    next_part: usize,
    /// All of their parts are answered, and their completion is not drawn.
    ready: VecDeque<usize>,
}

impl Plan for Uploads {
    fn next(&mut self) -> Option<Prepared> {
        if let Some(upload) = self.ready.pop_front() {
            return Some(self.complete(upload));
        }
        let index = self.next_part;
        if index == self.part_count() {
            return None;
        }
        self.next_part += 1;
        Some(Prepared {
            head: self.heads.get(index as u32),
            body: self.content.body(index),
            expect: Expect { status: 200, length: Length::Exactly(0) },
            tag: Some(index as u32),
        })
    }

    fn answered(&mut self, tag: u32, answer: &Answer, body_bytes: u64) -> Result<u64, Failed> {
        let index = tag as usize;
        if let Some(upload) = index.checked_sub(self.part_count()) {
            // Amazon S3, CompleteMultipartUpload: a 200 may be followed by an error, since work goes on after it.
            if memmem::find(&answer.body, b"<CompleteMultipartUploadResult").is_none() {
                let words = String::from_utf8_lossy(&answer.body);
                return Err((Failure::Content, format!("an upload was not completed: {words}")));
            }
            self.uploads[upload].is_complete = true;
            // Only what is stored counts.
            return Ok(0);
        }
        if answer.etag.is_empty() {
            return Err((Failure::Content, "the answer to a part has no ETag".to_owned()));
        }
        let number = index / self.settings.part_count;
        let upload = &mut self.uploads[number];
        upload.etags[index % self.settings.part_count].clone_from(&answer.etag);
        upload.missing_count -= 1;
        if upload.missing_count == 0 {
            self.ready.push_back(number);
        }
        Ok(body_bytes)
    }

    fn finish(&mut self) -> Result<Vec<String>, String> {
        // First what must not stay. A server that is gone is asked once.
        self.abort().map_err(|error| format!("uploads were left open: {error}"))?;
        self.check()?;
        let is_used_up = self.next_part == self.part_count();
        let used_up = "Parts of all uploads opened before the clock were sent: --uploads opens more.";
        Ok(is_used_up.then(|| used_up.to_owned()).into_iter().collect())
    }
}

impl Uploads {
    fn part_count(&self) -> usize {
        self.uploads.len() * self.settings.part_count
    }

    /// Signs all parts, as of this moment: opening may have taken long.
    fn sign(&mut self) -> Result<(), String> {
        self.signer = signer(&self.target);
        let mut arena = Arena::new(ARENA_BYTES_MAX);
        for index in 0..self.part_count() {
            let upload = &self.uploads[index / self.settings.part_count];
            let number = index % self.settings.part_count + 1;
            let query = format!("partNumber={number}&{}", upload.query);
            let payload =
                if self.settings.is_payload_signed { self.content.digest(index) } else { UNSIGNED_PAYLOAD };
            let body_bytes = Some(self.settings.part_bytes);
            let call = Call { method: "PUT", path: &upload.path, query: &query, payload, body_bytes };
            let added = arena.add(|out| self.signer.append(out, &call));
            added.ok_or("the heads of so many parts are too large")?;
        }
        self.heads = arena.close();
        Ok(())
    }

    /// The request that completes an upload, made and signed at this moment.
    fn complete(&mut self, number: usize) -> Prepared {
        let tag = Some((self.part_count() + number) as u32);
        let upload = &self.uploads[number];
        let body = upload.completion();
        let digest = hex(&hash::sha256(&body));
        let call = Call {
            method: "POST",
            path: &upload.path,
            query: &upload.query,
            payload: if self.settings.is_payload_signed { &digest } else { UNSIGNED_PAYLOAD },
            body_bytes: Some(body.len()),
        };
        let mut head = Vec::new();
        self.signer.append(&mut head, &call);
        let expect = Expect { status: 200, length: Length::Any };
        Prepared { head: head.into(), body: Bytes::from(body), expect, tag }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::Mutex;
    use std::thread;

    use super::*;

    /// A server that opens and aborts uploads and lists `listed`, and the request lines that it saw.
    fn server(listed: &'static str) -> (Target, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&seen);
        // It ends with the test's process.
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (mut socket, lines) = (socket.expect("comes"), Arc::clone(&lines));
                thread::spawn(move || {
                    let mut buffer = [0; 4_096];
                    while let Ok(count @ 1..) = socket.read(&mut buffer) {
                        let text = String::from_utf8_lossy(&buffer[..count]);
                        let line = text.split(" HTTP/1.1").next().expect("a request line").to_owned();
                        let (status, body) = match line.split(' ').next() {
                            Some("POST") => (200, "<UploadId>a+b</UploadId>"),
                            Some("DELETE") => (204, ""),
                            Some("PUT") => (200, ""),
                            _ => (200, listed),
                        };
                        lines.lock().expect("held for a push only").push(line);
                        let length = body.len();
                        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}");
                        socket.write_all(answer.as_bytes()).expect("written");
                    }
                });
            }
        });
        let target = Target::at(&address.to_string()).expect("an address");
        (target, seen)
    }

    fn scenario(upload_count: usize) -> Multipart {
        let [part_bytes, part_count] = [10, 2];
        let (bucket, is_payload_signed) = ("b".to_owned(), true);
        Multipart::new(Settings { bucket, part_bytes, part_count, upload_count, is_payload_signed, seed: 1 })
    }

    fn answer(etag: &str, body: &str) -> Answer {
        let (etag, body) = (etag.as_bytes().to_vec(), body.as_bytes().to_vec());
        Answer { body_bytes: body.len() as u64, body, etag, ..Answer::of(200) }
    }

    const COMPLETED: &str = "<?xml version=\"1.0\"?>\n<CompleteMultipartUploadResult>";

    fn line(prepared: &Prepared) -> String {
        String::from_utf8_lossy(&prepared.head).lines().next().expect("a request line").to_owned()
    }

    /// Draws all parts, answers those of the first upload, the last one first, and gives its completion.
    fn with_one_answered(plan: &mut dyn Plan) -> Prepared {
        let parts: Vec<Prepared> = (0..4).filter_map(|_| plan.next()).collect();
        assert!(plan.next().is_none(), "an upload is completed before its parts are answered");
        for (number, part) in parts.iter().enumerate() {
            let line = line(part);
            assert!(line.starts_with("PUT /b/parts/"), "{line}");
            let rest =
                format!("/0000000{}?partNumber={}&uploadId=a%2Bb HTTP/1.1", number / 2, number % 2 + 1);
            assert!(line.ends_with(&rest), "{line}");
            assert_eq!(part.body.len(), 10);
        }
        for (part, etag) in [(&parts[1], "\"two\""), (&parts[0], "\"one\"")] {
            assert!(plan.next().is_none());
            assert_eq!(plan.answered(part.tag.expect("heard"), &answer(etag, ""), 10), Ok(10));
        }
        plan.next().expect("all of its parts are answered")
    }

    #[test]
    fn an_upload_is_completed_once_by_the_tags_of_all_its_parts_in_order() {
        let (target, _) = server("");
        let mut plan = scenario(2).plan(&target, 0, 100).expect("a plan");
        let completion = with_one_answered(&mut *plan);
        let line = line(&completion);
        assert!(line.starts_with("POST /b/parts/") && line.ends_with("/00000000?uploadId=a%2Bb HTTP/1.1"));
        let body = String::from_utf8_lossy(&completion.body).into_owned();
        assert!(
            body.contains(
                "<Part><PartNumber>1</PartNumber><ETag>\"one\"</ETag></Part><Part><PartNumber>2</PartNumber>\
                 <ETag>\"two\"</ETag></Part></CompleteMultipartUpload>"
            ),
            "{body}"
        );
        assert!(plan.next().is_none(), "the second one has no answers");
        assert_eq!(plan.answered(completion.tag.expect("heard"), &answer("", COMPLETED), 400), Ok(0));
    }

    #[test]
    fn a_part_without_a_tag_and_a_completion_that_ends_in_an_error_are_failures() {
        let (target, _) = server("");
        let mut plan = scenario(2).plan(&target, 0, 100).expect("a plan");
        let completion = with_one_answered(&mut *plan).tag.expect("heard");
        let failure = |result: Result<u64, Failed>| result.map_err(|(failure, _)| failure);
        assert_eq!(failure(plan.answered(2, &answer("", ""), 10)), Err(Failure::Content));
        let error = answer("", "<Error><Code>InternalError</Code></Error>");
        assert_eq!(failure(plan.answered(completion, &error, 400)), Err(Failure::Content));
    }

    #[test]
    fn in_the_end_complete_uploads_are_looked_for_and_all_others_aborted() {
        for (listed, is_there) in [
            ("<Key>k</Key><Size>20</Size>", true),
            ("<Key>k</Key><Size>10</Size>", false),
            ("<IsTruncated>false</IsTruncated>", false),
        ] {
            let (target, seen) = server(listed);
            let mut plan = scenario(3).plan(&target, 0, 100).expect("a plan");
            let parts: Vec<u32> = (0..6).filter_map(|_| plan.next()?.tag).collect();
            for part in &parts[..2] {
                plan.answered(*part, &answer("\"tag\"", ""), 10).expect("good");
            }
            let completion = plan.next().expect("it is answered").tag.expect("heard");
            plan.answered(completion, &answer("", COMPLETED), 400).expect("good");
            assert_eq!(plan.finish().is_ok(), is_there, "{listed}");
            let seen = seen.lock().expect("held for a push only");
            let mut aborted: Vec<&String> = seen.iter().filter(|line| line.starts_with("DELETE ")).collect();
            aborted.sort_unstable();
            assert!(
                aborted.len() == 2 && aborted[0].contains("/00000001?") && aborted[1].contains("/00000002?")
            );
        }
    }

    #[test]
    fn more_parts_than_are_made_ahead_are_refused_before_any_upload_is_opened() {
        let (target, seen) = server("");
        assert!(
            scenario(51).plan(&target, 0, 100).is_err_and(|words| words.contains("51 uploads of 2 parts"))
        );
        assert!(seen.lock().expect("held for a push only").is_empty());
    }
}
