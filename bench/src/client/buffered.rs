//! A wire with its two buffers, for protocols other than HTTP: what goes out is put together and leaves in one send, what
//! comes in is looked at where it lies.
//! Invariant: memory stays what it was at the beginning, whatever the server sends: an answer that does not fit is refused,
//! and long values are passed over piece by piece.

use std::mem::take;

use bytes::Bytes;

use super::http1::{Failed, broken};
use super::wire::Wire;
use crate::load::recorder::Failure;

/// Room for what a read gives, and so the longest piece of an answer that is looked at as a whole.
const INPUT_BYTES: usize = 256 << 10;
/// A body up to this length is sent with its head, a larger one in pieces of this.
pub const PIECE_BYTES: usize = 64 << 10;

/// A connection's bytes.
pub struct Buffered {
    wire: Wire,
    output: Vec<u8>,
    input: Vec<u8>,
    /// What was received and not yet looked at begins here.
    start: usize,
}

impl Buffered {
    /// Nothing was sent and nothing was read.
    pub fn new(wire: Wire) -> Buffered {
        Buffered {
            wire,
            output: Vec::with_capacity(8 << 10),
            input: Vec::with_capacity(INPUT_BYTES),
            start: 0,
        }
    }

    /// What the next flush sends.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Sends the output, and empties it.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn flush(&mut self) -> Result<(), Failed> {
        let (result, mut output) = self.wire.write(take(&mut self.output)).await;
        output.clear();
        self.output = output;
        result.map_err(|error| broken("sending", &error))
    }

    /// Sends the output, a body and what ends it.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn send(&mut self, body: &Bytes, tail: &[u8]) -> Result<(), Failed> {
        let mut rest = body.clone();
        while rest.len() > PIECE_BYTES {
            self.output.extend_from_slice(&rest.split_to(PIECE_BYTES));
            self.flush().await?;
        }
        self.output.extend_from_slice(&rest);
        self.output.extend_from_slice(tail);
        self.flush().await
    }

    /// What has come and was not yet passed.
    pub fn unread(&self) -> &[u8] {
        &self.input[self.start..]
    }

    /// Waits until `parse` finds a whole piece, and passes it. `parse` gives the piece and its length, or nothing yet.
    ///
    /// # Errors
    /// What `parse` says, a connection that ends, a piece that does not fit into the buffer.
    pub async fn parsed<T>(
        &mut self,
        parse: impl Fn(&[u8]) -> Result<Option<(T, usize)>, Failed>,
    ) -> Result<T, Failed> {
        loop {
            if let Some((piece, piece_bytes)) = parse(self.unread())? {
                self.start += piece_bytes;
                return Ok(piece);
            }
            self.more().await?;
        }
    }

    /// Passes so many bytes without keeping them.
    ///
    /// # Errors
    /// The connection ends before.
    pub async fn skip(&mut self, bytes: u64) -> Result<(), Failed> {
        let mut left = bytes;
        loop {
            let here = usize::try_from(left).unwrap_or(usize::MAX).min(self.unread().len());
            self.start += here;
            left -= here as u64;
            if left == 0 {
                return Ok(());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), Failed> {
        let mut input = take(&mut self.input);
        input.drain(..take(&mut self.start));
        if input.len() == input.capacity() {
            let words = format!("{} bytes without the end of an answer", input.len());
            self.input = input;
            return Err((Failure::Malformed, words));
        }
        let (result, input) = self.wire.read(input).await;
        self.input = input;
        match result {
            Ok(0) => Err((
                Failure::Broken,
                "the server closed the connection before its answer was whole".to_owned(),
            )),
            Ok(_) => Ok(()),
            Err(error) => Err(broken("receiving the answer", &error)),
        }
    }
}

/// What came of an exchange: a server that refuses what it is being sent says why and closes, and its words say more than
/// our broken send.
pub fn outcome<T>(sent: Result<(), Failed>, answer: Result<T, Failed>) -> Result<T, Failed> {
    match (sent, answer) {
        (Err(failed), Err((Failure::Broken, _)) | Ok(_)) => Err(failed),
        (_, answer) => answer,
    }
}

/// So much of what a server said is shown.
pub const WORDS_BYTES_MAX: usize = 300;

/// A server's words, as far as they are shown.
pub fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(WORDS_BYTES_MAX)]).escape_debug().to_string()
}

/// The answer breaks the protocol.
pub fn malformed(words: impl Into<String>) -> Failed {
    (Failure::Malformed, words.into())
}

/// The server says no.
pub fn refused(words: impl Into<String>) -> Failed {
    (Failure::Refused, words.into())
}
