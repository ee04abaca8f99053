//! Answering: a `Responder` is used up by the head, a `ResponseWriter` by the end of the body.
//! Invariant: each request is settled exactly once: answered, cut short, or, where both were dropped, failed with 500.
//! Left to others: the bytes on the wire (`http1`, `http2`).

use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::rc::Rc;

use bytes::Bytes;

use crate::exchange::{Exchange, Payload, Settlement};
use crate::{ResponseHead, SendError};

/// The right and the duty to answer one request.
pub struct Responder {
    exchange: Rc<dyn Exchange>,
    turn: u64,
    armed: bool,
}

impl Responder {
    pub(crate) fn new(exchange: Rc<dyn Exchange>, turn: u64) -> Self {
        Self { exchange, turn, armed: true }
    }

    /// Sends a whole answer. `Ok` means that the connection took the bytes, not that the client has them.
    ///
    /// # Errors
    /// See [`SendError`]; the request counts as answered either way.
    pub async fn send(mut self, head: ResponseHead, body: Bytes) -> Result<(), SendError> {
        self.armed = false;
        // The writer settles the exchange if this future is dropped half way.
        let writer = ResponseWriter { exchange: Rc::clone(&self.exchange), turn: self.turn, armed: true };
        self.exchange.begin(self.turn, head, Payload::Whole(body))?;
        writer.finish().await
    }

    /// Sends the head and returns the writer of the body, which is `length` bytes long, or of any length.
    ///
    /// # Errors
    /// See [`SendError`]; the request counts as answered either way.
    pub async fn start(
        mut self,
        head: ResponseHead,
        length: Option<u64>,
    ) -> Result<ResponseWriter, SendError> {
        self.armed = false;
        let writer = ResponseWriter { exchange: Rc::clone(&self.exchange), turn: self.turn, armed: true };
        self.exchange.begin(self.turn, head, Payload::Stream(length))?;
        poll_fn(|cx| writer.exchange.poll_sent(writer.turn, cx)).await?;
        Ok(writer)
    }

    /// Resolves when the client is known to be gone, which may be never: for handlers that wait for something to
    /// happen before they answer. Only the reading side can tell, so it stays silent while body bytes are unread.
    pub async fn client_gone(&self) {
        poll_fn(|cx| self.exchange.poll_gone(self.turn, cx)).await;
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if self.armed {
            self.exchange.settle(self.turn, Settlement::Unanswered);
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responder")
    }
}

/// The body of an answer under way. Dropping it is `abort`.
pub struct ResponseWriter {
    exchange: Rc<dyn Exchange>,
    turn: u64,
    armed: bool,
}

impl ResponseWriter {
    /// Hands a piece of the body to the connection and waits until that has room for more.
    ///
    /// # Errors
    /// `LengthMismatch` beyond the announced length, else that the client is gone or too slow. The answer is then cut
    /// short.
    pub async fn write(&mut self, data: Bytes) -> Result<(), SendError> {
        poll_fn(|cx| self.exchange.poll_sent(self.turn, cx)).await?;
        self.exchange.stage(self.turn, data)?;
        poll_fn(|cx| self.exchange.poll_sent(self.turn, cx)).await
    }

    /// Ends the body.
    ///
    /// # Errors
    /// `LengthMismatch` if fewer bytes were written than announced, else that the client is gone or too slow.
    pub async fn finish(mut self) -> Result<(), SendError> {
        poll_fn(|cx| self.exchange.poll_sent(self.turn, cx)).await?;
        self.exchange.finish(self.turn)?;
        poll_fn(|cx| self.exchange.poll_sent(self.turn, cx)).await?;
        self.armed = false;
        self.exchange.settle(self.turn, Settlement::Finished);
        Ok(())
    }

    /// Cuts the answer short, so that the client can tell: RST_STREAM over HTTP/2, a connection closed before the end
    /// of the body over HTTP/1.1.
    pub fn abort(self) {
        mem::drop(self);
    }
}

impl Drop for ResponseWriter {
    fn drop(&mut self) {
        if self.armed {
            self.exchange.settle(self.turn, Settlement::Aborted);
        }
    }
}

impl fmt::Debug for ResponseWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseWriter")
    }
}
