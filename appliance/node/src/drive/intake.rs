//! The body of one request, decoded and checked against what its signature promised.
//! Invariant: the end of the body is reported only after every promise held: the SHA-256 of the whole, the signature of
//! each chunk and of the trailer, the announced length. An error stays an error.
//! Leaves to http: framing, pace limits, 100-continue. Leaves to aws: the chunked format.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use aws::chunked::Decoder;
use aws::payload::{PayloadCheck, PayloadMode};
use aws::sigv4::ChunkSigner;
use bytes::{Bytes, BytesMut};
use http::{BodyError, BodyLength, RequestBody};
use http_types::HeaderMap;
use plan::BodyFailure;

/// A body on its way in.
pub struct Intake {
    body: RequestBody,
    framing: Framing,
    /// What is left of the last wire piece, still in its framing.
    rest: Bytes,
    received_bytes: u64,
    trailers: Vec<(String, String)>,
    failure: Option<BodyFailure>,
}

enum Framing {
    Plain(Option<PayloadCheck>),
    Chunked(Box<Decoder>),
    Ended,
}

impl Intake {
    /// The intake of a request's body. Errors: headers that contradict the framing they announce.
    pub fn new(
        body: RequestBody,
        mode: PayloadMode,
        signer: Option<Box<ChunkSigner>>,
        headers: &HeaderMap,
    ) -> Result<Intake, aws::ErrorReply> {
        let framing = if mode.is_chunked() {
            Framing::Chunked(Box::new(Decoder::from_headers(mode, signer, headers)?))
        } else {
            Framing::Plain(PayloadCheck::new(mode))
        };
        Ok(Intake {
            body,
            framing,
            rest: Bytes::new(),
            received_bytes: 0,
            trailers: Vec::new(),
            failure: None,
        })
    }

    /// The intake of a request without a body, or with one that was read already.
    pub fn empty() -> Intake {
        Intake {
            body: RequestBody::empty(),
            framing: Framing::Plain(None),
            rest: Bytes::new(),
            received_bytes: 0,
            trailers: Vec::new(),
            failure: None,
        }
    }

    /// Body bytes that came over the wire so far.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// The length of the decoded body, where the request says it.
    pub fn announced_bytes(&self) -> Option<u64> {
        match &self.framing {
            Framing::Chunked(decoder) => decoder.expected_bytes(),
            Framing::Plain(_) => match self.body.length() {
                BodyLength::None => Some(0),
                BodyLength::Known(length) => Some(length),
                BodyLength::Unknown => None,
            },
            Framing::Ended => None,
        }
    }

    /// The trailers, once the end was reported.
    pub fn take_trailers(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.trailers)
    }

    /// The next run of decoded bytes; None at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyFailure> {
        loop {
            if let Some(data) = self.decoded()? {
                return Ok(Some(data));
            }
            if matches!(self.framing, Framing::Ended) {
                return Ok(None);
            }
            let piece = self.body.next().await;
            self.take(piece)?;
        }
    }

    /// What is there without waiting for the client, after waiting for the first run; about `BATCH_BYTES` at most, so
    /// that others get their turn. Empty at the end.
    pub async fn batch(&mut self) -> Result<Vec<Bytes>, BodyFailure> {
        let Some(first) = self.next().await? else { return Ok(Vec::new()) };
        let mut batch_bytes = first.len();
        let mut batch = vec![first];
        loop {
            while let Some(more) = self.decoded()? {
                batch_bytes += more.len();
                batch.push(more);
            }
            if batch_bytes >= BATCH_BYTES || matches!(self.framing, Framing::Ended) {
                return Ok(batch);
            }
            // Asked without a waker: a `next` that is not ready is dropped, which loses no bytes, and the one that
            // will be waited for brings its own.
            let ready = pin!(self.body.next()).poll(&mut Context::from_waker(Waker::noop()));
            match ready {
                Poll::Ready(piece) => {
                    // A failure here is told by the next call, after what came before it.
                    if self.take(piece).is_err() {
                        return Ok(batch);
                    }
                }
                Poll::Pending => return Ok(batch),
            }
        }
    }

    /// Takes what the wire gave; None is its end.
    fn take(&mut self, piece: Option<Result<Bytes, BodyError>>) -> Result<(), BodyFailure> {
        match piece {
            Some(Ok(piece)) => {
                self.received_bytes += piece.len() as u64;
                self.rest = piece;
                Ok(())
            }
            Some(Err(error)) => Err(self.fail(failure_of_wire(error))),
            None => self.end(),
        }
    }

    /// The whole body. More than `limit_bytes` is `TooLarge`, said as early as the request lets us know.
    pub async fn collect(&mut self, limit_bytes: usize) -> Result<Bytes, BodyFailure> {
        let announced = self.announced_bytes();
        if announced.is_some_and(|length| length > limit_bytes as u64) {
            return Err(self.fail(BodyFailure::TooLarge));
        }
        let Some(first) = self.next().await? else { return Ok(Bytes::new()) };
        if first.len() > limit_bytes {
            return Err(self.fail(BodyFailure::TooLarge));
        }
        let mut whole: Option<BytesMut> = None;
        // The common small document comes in one piece and is never copied.
        while let Some(more) = self.next().await? {
            let whole = whole.get_or_insert_with(|| BytesMut::from(first.as_ref()));
            if whole.len() + more.len() > limit_bytes {
                return Err(self.fail(BodyFailure::TooLarge));
            }
            whole.extend_from_slice(&more);
        }
        Ok(whole.map_or(first, BytesMut::freeze))
    }

    /// The next decoded run of what has come already.
    fn decoded(&mut self) -> Result<Option<Bytes>, BodyFailure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        match &mut self.framing {
            Framing::Plain(check) => {
                let data = std::mem::take(&mut self.rest);
                if let Some(check) = check {
                    check.update(&data);
                }
                Ok(Some(data))
            }
            Framing::Chunked(decoder) => match decoder.next_bytes(&mut self.rest) {
                Ok(data) => Ok(data),
                Err(error) => Err(self.fail(failure_of_framing(&error))),
            },
            Framing::Ended => Ok(None),
        }
    }

    fn end(&mut self) -> Result<(), BodyFailure> {
        let outcome = match std::mem::replace(&mut self.framing, Framing::Ended) {
            Framing::Plain(Some(check)) => check.finish(),
            Framing::Plain(None) | Framing::Ended => Ok(()),
            Framing::Chunked(decoder) => decoder.finish().map(|trailers| self.trailers = trailers.0),
        };
        outcome.map_err(|error| self.fail(failure_of_framing(&error)))
    }

    fn fail(&mut self, failure: BodyFailure) -> BodyFailure {
        self.failure.get_or_insert(failure).clone()
    }
}

/// A batch ends once it holds this much, 90 us of MD5 for a stream that is alone: what all uploads of a core bring in one
/// turn should still be in the processor's cache when it is hashed at the end of the turn.
const BATCH_BYTES: usize = 64 * 1024;

fn failure_of_wire(error: BodyError) -> BodyFailure {
    match error {
        BodyError::Closed => BodyFailure::Disconnected,
        BodyError::TimedOut => BodyFailure::Stalled,
        BodyError::TooLarge => BodyFailure::TooLarge,
        // Broken HTTP framing: what came is not the whole body. Later kinds of error count the same.
        _ => BodyFailure::Incomplete,
    }
}

fn failure_of_framing(error: &aws::ErrorReply) -> BodyFailure {
    match error.code {
        "XAmzContentSHA256Mismatch" => BodyFailure::Sha256Mismatch,
        "SignatureDoesNotMatch" => BodyFailure::ChunkSignature,
        "InvalidChunkSizeError" => BodyFailure::InvalidChunkSize,
        "MalformedTrailerError" => BodyFailure::MalformedTrailer,
        _ => BodyFailure::Incomplete,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::testing::on_reactor;
    use http_types::HeaderValue;

    fn pieces(parts: &[&'static str]) -> RequestBody {
        RequestBody::from_chunks(
            BodyLength::Unknown,
            parts.iter().map(|part| Bytes::from_static(part.as_bytes())),
        )
    }

    fn intake(body: RequestBody, mode: PayloadMode, headers: &HeaderMap) -> Intake {
        Intake::new(body, mode, None, headers).expect("valid headers")
    }

    #[test]
    fn a_signed_body_that_differs_is_reported_at_its_end_and_for_ever() {
        on_reactor(async {
            let mut intake = intake(pieces(&["hel", "lo"]), PayloadMode::Sha256([7; 32]), &HeaderMap::new());
            assert_eq!(intake.next().await.expect("first piece").as_deref(), Some(&b"hel"[..]));
            assert!(intake.next().await.expect("second piece").is_some());
            assert!(matches!(intake.next().await, Err(BodyFailure::Sha256Mismatch)));
            assert!(matches!(intake.next().await, Err(BodyFailure::Sha256Mismatch)));
        });
    }

    #[test]
    fn a_signed_body_that_is_right_ends_well() {
        on_reactor(async {
            let digest = hash::sha256(b"hello");
            let mut intake = intake(pieces(&["hel", "lo"]), PayloadMode::Sha256(digest), &HeaderMap::new());
            assert_eq!(intake.collect(5).await.expect("matches"), "hello");
            assert_eq!(intake.received_bytes(), 5);
        });
    }

    #[test]
    fn chunks_are_stripped_and_trailers_kept() {
        on_reactor(async {
            let mut headers = HeaderMap::new();
            headers.insert("x-amz-decoded-content-length", HeaderValue::from_static("8"));
            headers.insert("x-amz-trailer", HeaderValue::from_static("x-amz-checksum-crc32"));
            let body =
                pieces(&["5\r\nhel", "lo\r\n3\r\nabc\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n", "\r\n"]);
            let mut intake = intake(body, PayloadMode::StreamingUnsignedTrailer, &headers);
            assert_eq!(intake.announced_bytes(), Some(8));
            assert_eq!(intake.batch().await.expect("data"), ["hel", "lo", "abc"]);
            assert!(intake.batch().await.expect("end").is_empty());
            assert_eq!(intake.take_trailers(), [("x-amz-checksum-crc32".into(), "AAAAAA==".into())]);
        });
    }

    #[test]
    fn a_batch_is_bounded_and_a_failure_comes_after_what_was_right() {
        on_reactor(async {
            let piece = Bytes::from(vec![7; 25 * 1024]);
            let body = RequestBody::from_chunks(BodyLength::Unknown, vec![piece; 5]);
            let mut intake = intake(body, PayloadMode::Sha256([0; 32]), &HeaderMap::new());
            assert_eq!(intake.batch().await.expect("data").len(), 3);
            assert_eq!(intake.batch().await.expect("data").len(), 2);
            assert!(matches!(intake.batch().await, Err(BodyFailure::Sha256Mismatch)));
        });
    }

    #[test]
    fn a_chunked_body_that_stops_early_is_incomplete() {
        on_reactor(async {
            let body = pieces(&["5\r\nhello\r\n"]);
            let mut intake = intake(body, PayloadMode::StreamingUnsignedTrailer, &HeaderMap::new());
            assert!(intake.next().await.expect("data").is_some());
            assert!(matches!(intake.next().await, Err(BodyFailure::Incomplete)));
        });
    }

    #[test]
    fn a_body_over_the_limit_is_refused_announced_or_not() {
        on_reactor(async {
            let known = RequestBody::from_bytes(Bytes::from_static(b"hello"));
            let mut announced = intake(known, PayloadMode::Unsigned, &HeaderMap::new());
            assert!(matches!(announced.collect(4).await, Err(BodyFailure::TooLarge)));
            let mut silent = intake(pieces(&["hel", "lo"]), PayloadMode::Unsigned, &HeaderMap::new());
            assert!(matches!(silent.collect(4).await, Err(BodyFailure::TooLarge)));
        });
    }
}
