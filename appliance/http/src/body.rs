//! The request body as a handler sees it: chunks, in order, read only when asked for.
//! Invariant: nothing is read from the client ahead of `next`, apart from what the stream's own bounded buffer holds.
//! Left to others: framing, deadlines and flow control (`http1`, `http2`).

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;

use bytes::Bytes;

use crate::exchange::Exchange;
use crate::{BodyError, BodyLength};

/// The body of one request.
pub struct RequestBody {
    length: BodyLength,
    expects_continue: bool,
    source: Source,
}

enum Source {
    Buffered(VecDeque<Bytes>),
    Wire { exchange: Rc<dyn Exchange>, turn: u64 },
}

impl RequestBody {
    /// A body that is not there.
    #[must_use]
    pub fn empty() -> Self {
        Self { length: BodyLength::None, expects_continue: false, source: Source::Buffered(VecDeque::new()) }
    }

    /// A body held in memory, handed out in the given pieces: for tests and for requests made inside the process.
    #[must_use]
    pub fn from_chunks(length: BodyLength, chunks: impl IntoIterator<Item = Bytes>) -> Self {
        let chunks = chunks.into_iter().collect();
        Self { length, expects_continue: false, source: Source::Buffered(chunks) }
    }

    /// A body held in memory, of known length, in one piece.
    #[must_use]
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self::from_chunks(BodyLength::Known(bytes.len() as u64), [bytes])
    }

    pub(crate) fn from_wire(
        length: BodyLength,
        expects_continue: bool,
        exchange: Rc<dyn Exchange>,
        turn: u64,
    ) -> Self {
        if matches!(length, BodyLength::None | BodyLength::Known(0)) {
            return Self::from_chunks(length, []);
        }
        Self { length, expects_continue, source: Source::Wire { exchange, turn } }
    }

    /// The length that the head announced.
    #[must_use]
    pub fn length(&self) -> BodyLength {
        self.length
    }

    /// Whether the client waits for `100 Continue` before it sends. The first call of `next` sends it.
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// The next piece of the body, or `None` at its end. After an error there is nothing more.
    /// Dropping the future loses no bytes.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        match &mut self.source {
            Source::Buffered(chunks) => chunks.pop_front().map(Ok),
            Source::Wire { exchange, turn } => poll_fn(|cx| exchange.poll_body(*turn, cx)).await,
        }
    }

    /// The whole body in one piece, for bodies that must be small.
    ///
    /// # Errors
    /// `TooLarge` beyond `bytes_max`, else what `next` reports.
    pub async fn collect(&mut self, bytes_max: usize) -> Result<Bytes, BodyError> {
        if matches!(self.length, BodyLength::Known(length) if length > bytes_max as u64) {
            return Err(BodyError::TooLarge);
        }
        let mut pieces = match self.next().await {
            None => return Ok(Bytes::new()),
            Some(first) => vec![first?],
        };
        let mut total = pieces[0].len();
        while total <= bytes_max
            && let Some(piece) = self.next().await
        {
            let piece = piece?;
            total += piece.len();
            pieces.push(piece);
        }
        if total > bytes_max {
            return Err(BodyError::TooLarge);
        }
        if pieces.len() == 1
            && let Some(only) = pieces.pop()
        {
            return Ok(only);
        }
        Ok(pieces.concat().into())
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("length", &self.length)
            .field("expects_continue", &self.expects_continue)
            .finish_non_exhaustive()
    }
}
