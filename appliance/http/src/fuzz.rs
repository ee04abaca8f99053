//! Fuzz targets: plain functions over bytes that panic where an invariant breaks. A fuzzer needs the feature `fuzz`; the
//! corpus beside the crate, and mutations of it, are replayed by the ordinary tests.
//!
//! Invariant under test: what the bytes mean does not depend on how they were cut into reads, and no bytes panic.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_types::StatusCode;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use crate::http1::chunked::{Chunk, ChunkedDecoder};
use crate::http1::head::{self, ParsedHead};
use crate::{BodyLength, Handler, Limits, Refusal, Request, ResponseHead, Server};

/// The head parser: found bytewise and at once, it must be the same head, and its target must be as sent.
pub fn head(data: &[u8]) {
    let limits = Limits::default();
    let whole = head::find_end(data, 0, &limits);
    let mut scanned = 0;
    let bytewise = (1..=data.len()).find_map(|length| {
        let found = head::find_end(&data[..length], scanned, &limits).transpose();
        scanned = length;
        found
    });
    if let Ok(Some(end)) = whole {
        assert_eq!(bytewise, Some(Ok(end)), "the end depends on the reads");
        if let Ok(parsed) = parse(&data[..end], &limits) {
            check_head(&data[..end], &parsed);
        }
    } else {
        assert_ne!(bytewise.map(|found| found.is_ok()), Some(true), "only the bytewise read finds an end");
    }
}

fn parse(raw: &[u8], limits: &Limits) -> Result<ParsedHead, Refusal> {
    head::parse(&Bytes::copy_from_slice(raw), limits, SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), false)
}

fn check_head(raw: &[u8], parsed: &ParsedHead) {
    let line =
        raw.split(|&byte| byte == b'\r').find(|line| line.len() > 1).expect("a parsed head has a line");
    let target = line.split(|&byte| byte == b' ').nth(1).expect("a parsed request line has three words");
    let query = parsed.head.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    let sent = format!("{}{query}", parsed.head.path);
    assert!(
        target.ends_with(sent.as_bytes()) || parsed.head.path == "/",
        "the target is not what was sent: {target:?} {sent:?}"
    );
    let fields = &parsed.head.headers;
    let (length, coding) = (fields.get_all("content-length"), fields.get_all("transfer-encoding"));
    let expected = match parsed.framing {
        BodyLength::None => (0, 0),
        BodyLength::Known(_) => (1, 0),
        BodyLength::Unknown => (0, 1),
    };
    assert_eq!((length.iter().count(), coding.iter().count()), expected, "two ways to frame one message");
}

/// The chunked decoder: the first byte chooses the cuts, the rest is the body.
pub fn chunked(data: &[u8]) {
    let Some((&step, body)) = data.split_first() else { return };
    let whole = decode(body, body.len().max(1));
    assert_eq!(decode(body, usize::from(step).max(1)), whole, "the body depends on the reads");
    assert_eq!(decode(body, 1), whole, "the body depends on the reads");
}

/// Data, bytes consumed, and whether the body ended; or the error. An error leaves the data before it undefined.
fn decode(body: &[u8], step: usize) -> Result<(Vec<u8>, usize, bool), &'static str> {
    let mut decoder = ChunkedDecoder::new(1024, 1024);
    let (mut data, mut position) = (Vec::new(), 0);
    for piece in body.chunks(step) {
        let mut at = 0;
        loop {
            let (used, chunk) = decoder.advance(&piece[at..])?;
            at += used;
            position += used;
            match chunk {
                Chunk::More => break,
                Chunk::End => return Ok((data, position, true)),
                Chunk::Data(length) => {
                    data.extend_from_slice(&piece[at..at + length]);
                    at += length;
                    position += length;
                }
            }
        }
    }
    Ok((data, position, false))
}

/// A whole connection: the first byte chooses the cuts, the rest is what the client sends before it closes.
pub fn connection(data: &[u8]) {
    let Some((&step, sent)) = data.split_first() else { return };
    let (whole, whole_count) = converse(sent, sent.len().max(1));
    let (cut, cut_count) = converse(sent, usize::from(step).max(1));
    // HTTP/2 frames may be gathered differently; there it is enough that nothing panics.
    if !sent.starts_with(b"PRI") {
        assert_eq!(whole_count, cut_count, "the requests depend on the reads");
        assert_eq!(
            String::from_utf8_lossy(&without_dates(&whole)),
            String::from_utf8_lossy(&without_dates(&cut)),
            "the answers depend on the reads"
        );
    }
}

fn without_dates(answers: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    for line in answers.split_inclusive(|&byte| byte == b'\n') {
        if !line.starts_with(b"date: ") {
            kept.extend_from_slice(line);
        }
    }
    kept
}

thread_local! {
    static REACTOR: RefCell<ring::Reactor> =
        RefCell::new(ring::Reactor::new(&ring::ReactorConfig::default()).expect("a reactor to fuzz on"));
    // One for all runs: each has a task that watches its clients, which ends only as time passes.
    static SERVER: Server<Mirror> = Server::new(Limits::default(), Mirror);
    static REQUEST_COUNT: Cell<usize> = const { Cell::new(0) };
}

/// Serves a client that sends `sent` in reads of `step` bytes; gives the answers and the number of requests.
fn converse(sent: &[u8], step: usize) -> (Vec<u8>, usize) {
    let output = Rc::new(RefCell::new(Vec::new()));
    let stream =
        Script { input: sent.chunks(step).map(Bytes::copy_from_slice).collect(), output: Rc::clone(&output) };
    let server = SERVER.with(Server::clone);
    REQUEST_COUNT.set(0);
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    REACTOR.with_borrow_mut(|reactor| reactor.block_on(server.serve_stream(stream, peer, false)));
    (output.take(), REQUEST_COUNT.get())
}

/// Echoes bodies, except under `/i`, where it answers without reading.
#[derive(Clone)]
struct Mirror;

impl Handler for Mirror {
    async fn call(&self, request: Request) {
        REQUEST_COUNT.set(REQUEST_COUNT.get() + 1);
        let Request { head, mut body, responder } = request;
        if head.path == "/i" {
            responder.send(ResponseHead::new(StatusCode::FORBIDDEN), Bytes::new()).await.ok();
            return;
        }
        let (status, body) = match body.collect(1 << 20).await {
            Ok(body) => (StatusCode::OK, body),
            Err(_) => (StatusCode::BAD_REQUEST, Bytes::new()),
        };
        responder.send(ResponseHead::new(status), body).await.ok();
    }
}

/// A client that has said everything already.
struct Script {
    input: VecDeque<Bytes>,
    output: Rc<RefCell<Vec<u8>>>,
}

impl AsyncBufRead for Script {
    fn poll_fill_buf(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        Poll::Ready(Ok(self.get_mut().input.front().map_or(&[][..], |piece| &piece[..])))
    }

    fn consume(mut self: Pin<&mut Self>, length: usize) {
        if let Some(piece) = self.input.front_mut() {
            piece.advance(length);
            if piece.is_empty() {
                self.input.pop_front();
            }
        }
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Poll::Ready(Ok(piece)) = self.as_mut().poll_fill_buf(cx) else { return Poll::Pending };
        let length = piece.len().min(buf.remaining());
        buf.put_slice(&piece[..length]);
        self.consume(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.output.borrow_mut().extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

    use super::*;

    type Target = fn(&[u8]);

    const TARGETS: [(&str, Target); 3] = [("head", head), ("chunked", chunked), ("connection", connection)];

    fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        let mut files: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), std::fs::read(path).unwrap()))
            .collect();
        files.sort();
        assert!(files.len() >= 10, "the corpus of {target} is missing");
        files
    }

    #[test]
    fn the_corpus_breaks_nothing() {
        for (name, target) in TARGETS {
            for (path, data) in corpus(name) {
                let note = OnPanic(format!("{}", path.display()));
                target(&data);
                std::mem::forget(note);
            }
        }
    }

    /// Says what was running if it panics.
    struct OnPanic(String);

    impl Drop for OnPanic {
        fn drop(&mut self) {
            eprintln!("failed: {}", self.0);
        }
    }

    /// Time given to mutations; `HTTP_FUZZ_SECONDS` asks for more.
    const MUTATION_TIME: Duration = Duration::from_secs(1);

    #[test]
    fn mutations_of_the_corpus_break_nothing() {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
        let seed = std::env::var("HTTP_FUZZ_SEED").map_or(clock, |seed| seed.parse().unwrap());
        let time = std::env::var("HTTP_FUZZ_SECONDS")
            .map_or(MUTATION_TIME, |seconds| Duration::from_secs(seconds.parse().unwrap()));
        let note = OnPanic(format!("HTTP_FUZZ_SEED={seed} cargo test -p zerocloud-http --lib mutations"));
        let files = TARGETS.map(|(name, _)| corpus(name));
        let (mut random, started) = (Random(seed), Instant::now());
        while started.elapsed() < time {
            let which = random.below(TARGETS.len());
            let mut data = files[which][random.below(files[which].len())].1.clone();
            for _ in 0..=random.below(4) {
                let other = &files[which][random.below(files[which].len())].1;
                mutate(&mut data, other, &mut random);
            }
            TARGETS[which].1(&data);
        }
        std::mem::forget(note);
    }

    fn mutate(data: &mut Vec<u8>, other: &[u8], random: &mut Random) {
        const TOKENS: [&[u8]; 12] = [
            b"\r\n",
            b"\n",
            b"\r",
            b"\0",
            b" ",
            b":",
            b"0\r\n\r\n",
            b"Content-Length: 5\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Connection: close\r\n",
            b"\xff",
            b";",
        ];
        let at = random.below(data.len() + 1);
        match random.below(6) {
            0 => data.truncate(at),
            1 if at < data.len() => data[at] = random.below(256) as u8,
            2 if at < data.len() => drop(data.remove(at)),
            3 => data.extend_from_slice(&other[random.below(other.len() + 1).min(other.len())..]),
            4 => drop(data.splice(at..at, TOKENS[random.below(TOKENS.len())].iter().copied())),
            _ => {
                let end = (at + random.below(16)).min(data.len());
                let copied = data[at..end].to_vec();
                drop(data.splice(at..at, copied));
            }
        }
    }

    /// xorshift64*: enough to choose among mutations.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
        }
    }
}
