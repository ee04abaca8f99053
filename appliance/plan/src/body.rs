//! How request bodies reach the store and stored bodies leave it, as plain values.
//! Invariant: a `Received` exists only for a body that arrived whole, matched every digest and signature that its
//! request carries, and is on stable storage or will travel in the log batch of the record that adopts it.
//! Leaves to the node: decoding aws-chunked, hashing, writing, reading.

use bytes::Bytes;
use hash::Algorithm;
use store::{BodyOwner, BodyRef, Fault, NewBody, Pin};

use crate::Then;

/// Streams the body of the request into the store.
pub struct Receive {
    /// The number of bytes the body will have, where the request says so; it sizes the first extent.
    pub length_hint: Option<u64>,
    /// More bytes than this is `BodyFailure::TooLarge`.
    pub length_max: u64,
    /// The record that will adopt the body.
    pub owner: BodyOwner,
    /// What to compute while the bytes pass.
    pub digests: Digests,
    /// Body bytes that the service has read already with `Plan::Next`. They go through `filter` too.
    pub prefix: Bytes,
    /// Finds the body in a larger framing, as in a POST form.
    pub filter: Option<Box<dyn BodyFilter>>,
}

/// Which digests to compute over a body.
#[derive(Clone, Debug, Default)]
pub struct Digests {
    /// MD5, for the ETag.
    pub md5: bool,
    /// Others, each once.
    pub algorithms: Vec<Algorithm>,
}

/// A body that arrived whole and lies in memory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Collected {
    /// The decoded bytes.
    pub bytes: Bytes,
    /// Trailing headers, as in [`Received::trailers`].
    pub trailers: Vec<(String, String)>,
}

/// A body that arrived whole. It belongs to nobody until an operation puts it with `Body::New`.
pub struct Received {
    /// The stored bytes.
    pub body: NewBody,
    /// Number of bytes.
    pub length: u64,
    /// The MD5, if asked for.
    pub md5: Option<[u8; 16]>,
    /// One value for each algorithm asked for, in that order.
    pub checksums: Vec<(Algorithm, hash::Value)>,
    /// Trailing headers of the body that were announced in `x-amz-trailer`, names in lower case. Signed trailers are
    /// verified; comparing a trailing checksum with `checksums` is the service's part.
    pub trailers: Vec<(String, String)>,
}

/// Separates the body from a framing that only the service knows.
pub trait BodyFilter {
    /// Takes the next bytes of the framing and hands each stretch of body bytes to `data`, in order.
    fn feed(&mut self, input: &[u8], data: &mut dyn FnMut(&[u8])) -> Result<(), BodyFailure>;
    /// Whether what came has more body bytes than were handed out: the next `feed` is then with no input. So a filter that makes
    /// much of little does so in steps, and others run between them.
    fn holds_more(&self) -> bool {
        false
    }
    /// Something to be done before what `feed` let through is written and more of the body is taken; whoever sends it waits
    /// meanwhile. Asked for after each `feed`, and again after each plan, whose reply says nothing, until there is none. Errors: the
    /// body is given up.
    fn hold(&mut self) -> Result<Option<Then<()>>, BodyFailure> {
        Ok(None)
    }
    /// The input has ended. An error when the framing is not complete.
    fn finish(&mut self) -> Result<(), BodyFailure>;
}

/// Streams pieces of stored bodies into a new body.
pub struct Copy {
    /// The sources, in order.
    pub pieces: Vec<Piece>,
    /// The record that will adopt the new body.
    pub owner: BodyOwner,
    /// What to compute while the bytes pass.
    pub digests: Digests,
}

/// A stretch of a stored body, and the pin that keeps its bytes while it is read.
pub struct Piece {
    /// Where the body lies.
    pub body: BodyRef,
    /// Taken in the same turn as the view that gave `body`.
    pub pin: Pin,
    /// First byte, counted from the start of the body.
    pub start: u64,
    /// Number of bytes.
    pub length: u64,
}

/// Why a body did not arrive.
#[derive(Clone, Debug)]
pub enum BodyFailure {
    /// The client went away; nobody waits for a reply.
    Disconnected,
    /// No byte came for longer than the limit: RequestTimeout, and the connection closes.
    Stalled,
    /// More bytes than `length_max` or `limit_bytes`.
    TooLarge,
    /// Fewer bytes than announced, or a framing that ended early.
    Incomplete,
    /// The bytes are not those whose SHA-256 the request signed.
    Sha256Mismatch,
    /// The signature of a chunk or of the trailer is wrong.
    ChunkSignature,
    /// A chunk's head or length is malformed.
    InvalidChunkSize,
    /// The trailer is malformed, or holds a name that was not announced.
    MalformedTrailer,
    /// The service's filter refused the framing; the text says why.
    BadForm(String),
    /// The store failed.
    Fault(Fault),
}

impl From<Fault> for BodyFailure {
    fn from(fault: Fault) -> BodyFailure {
        BodyFailure::Fault(fault)
    }
}
