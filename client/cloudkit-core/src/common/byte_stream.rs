//! A body on its way: pieces of bytes, their exact total when it is known, and whether it can be read a second time.
//!
//! Invariant: a stream with a length gives exactly that many bytes or ends with an error, so that a truncated body never
//! passes for a whole one.

use super::error::{CloudError, CloudResult};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

type Pieces = Pin<Box<dyn Stream<Item = CloudResult<Bytes>> + Send>>;
type Open = Arc<dyn Fn() -> Pieces + Send + Sync>;

/// A body that is read once, piece by piece, in bounded memory. Pieces are never empty.
///
/// Dropping it stops the source. After an error it gives nothing more.
pub struct ByteStream {
    source: Source,
    length: Option<u64>,
    given: u64,
    ended: bool,
}

enum Source {
    /// All of it is here.
    Whole(Bytes),
    /// It comes from outside and cannot be had again.
    Once(Pieces),
    /// It comes from outside and can be opened again.
    Again { open: Open, current: Option<Pieces> },
}

impl ByteStream {
    /// A body of no bytes.
    pub fn empty() -> Self {
        Self::from(Bytes::new())
    }

    /// A body from a stream that can be read once. `length`, if given, must be exact.
    pub fn from_stream<S>(stream: S, length: Option<u64>) -> Self
    where
        S: Stream<Item = CloudResult<Bytes>> + Send + 'static,
    {
        Self::of(Source::Once(Box::pin(stream)), length)
    }

    /// As [`from_stream`](Self::from_stream), for a stream whose errors are those of this machine.
    pub fn from_io_stream<S>(stream: S, length: Option<u64>) -> Self
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        Self::of(Source::Once(Box::pin(IoStream(Box::pin(stream)))), length)
    }

    /// A body that can be read again: `open` starts it from its first byte each time, always with the same bytes.
    pub fn from_open<F, S>(open: F, length: Option<u64>) -> Self
    where
        F: Fn() -> S + Send + Sync + 'static,
        S: Stream<Item = CloudResult<Bytes>> + Send + 'static,
    {
        let open: Open = Arc::new(move || Box::pin(open()));
        Self::of(Source::Again { open, current: None }, length)
    }

    /// A body from a reader, in pieces of up to [`READ_BYTES`]. It can be read once.
    pub fn from_reader<R>(reader: R, length: Option<u64>) -> Self
    where
        R: AsyncRead + Send + 'static,
    {
        Self::of(Source::Once(Box::pin(Reader { reader: Box::pin(reader), buffer: BytesMut::new() })), length)
    }

    /// A file from its first byte to the length that it has now. It can be read again, as long as nobody changes it.
    ///
    /// # Errors
    /// [`CloudError::Io`] when the file cannot be opened or is no regular file.
    #[cfg(feature = "fs")]
    pub async fn from_path(path: impl AsRef<std::path::Path>) -> CloudResult<Self> {
        let path = path.as_ref().to_owned();
        let about = tokio::fs::metadata(&path).await?;
        if !about.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file").into());
        }
        let open = move || {
            let path = path.clone();
            Opening::Path(Box::pin(async move { tokio::fs::File::open(path).await }))
        };
        Ok(Self::from_open(open, Some(about.len())))
    }

    fn of(source: Source, length: Option<u64>) -> Self {
        Self { source, length, given: 0, ended: false }
    }

    /// The exact number of bytes from the first to the last, if it is known before reading.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// How many bytes were read from it so far.
    pub fn given(&self) -> u64 {
        self.given
    }

    /// Whether [`replay`](Self::replay) gives a stream.
    pub fn is_replayable(&self) -> bool {
        !matches!(self.source, Source::Once(_))
    }

    /// The same body again from its first byte, however much of this one was read; `None` if it can be read only once.
    /// A request whose body cannot be replayed is not sent again after its first byte.
    pub fn replay(&self) -> Option<Self> {
        let source = match &self.source {
            Source::Whole(bytes) => Source::Whole(bytes.clone()),
            Source::Once(_) => return None,
            Source::Again { open, .. } => Source::Again { open: open.clone(), current: None },
        };
        Some(Self::of(source, self.length))
    }

    /// All bytes, if the body lies in memory whole and nothing was read from it.
    pub fn whole(&self) -> Option<&Bytes> {
        match &self.source {
            Source::Whole(bytes) if self.given == 0 && !self.ended => Some(bytes),
            _ => None,
        }
    }

    /// The next piece; `None` after the last.
    pub async fn next(&mut self) -> Option<CloudResult<Bytes>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// The rest of the body in one piece.
    ///
    /// # Errors
    /// [`CloudError::Validation`] when it is longer than `bytes_max`; what the source fails with.
    pub async fn collect(mut self, bytes_max: usize) -> CloudResult<Bytes> {
        let too_long = || CloudError::Validation(format!("the body is longer than {bytes_max} bytes"));
        let rest = self.length.map(|length| length.saturating_sub(self.given));
        if rest.is_some_and(|rest| usize::try_from(rest).map_or(true, |rest| rest > bytes_max)) {
            return Err(too_long());
        }
        let mut pieces: Vec<Bytes> = Vec::new();
        let mut collected_bytes = 0;
        while let Some(piece) = self.next().await.transpose()? {
            collected_bytes += piece.len();
            if collected_bytes > bytes_max {
                return Err(too_long());
            }
            pieces.push(piece);
        }
        // A body of one piece needs no copy.
        match pieces.len() {
            0 | 1 => Ok(pieces.pop().unwrap_or_default()),
            _ => Ok(pieces.concat().into()),
        }
    }

    /// The next piece of the source, as it comes.
    fn poll_source(&mut self, context: &mut Context<'_>) -> Poll<Option<CloudResult<Bytes>>> {
        match &mut self.source {
            Source::Whole(bytes) if self.given == 0 && !bytes.is_empty() => {
                Poll::Ready(Some(Ok(bytes.clone())))
            }
            Source::Whole(_) => Poll::Ready(None),
            Source::Once(pieces) => pieces.as_mut().poll_next(context),
            Source::Again { open, current } => {
                current.get_or_insert_with(|| open()).as_mut().poll_next(context)
            }
        }
    }
}

impl Stream for ByteStream {
    type Item = CloudResult<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        loop {
            match ready!(this.poll_source(context)) {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => {
                    this.given += piece.len() as u64;
                    if let Some(length) = this.length.filter(|length| this.given > *length) {
                        this.ended = true;
                        return Poll::Ready(Some(Err(wrong_length(length, "more"))));
                    }
                    return Poll::Ready(Some(Ok(piece)));
                }
                Some(Err(error)) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    this.ended = true;
                    let missing = this.length.filter(|length| this.given < *length);
                    return Poll::Ready(missing.map(|length| Err(wrong_length(length, "fewer"))));
                }
            }
        }
    }
}

fn wrong_length(length: u64, how: &str) -> CloudError {
    let text = format!("the body has {how} bytes than the {length} that were promised");
    CloudError::Io(io::Error::new(io::ErrorKind::InvalidData, text))
}

impl fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteStream")
            .field("length", &self.length)
            .field("given", &self.given)
            .field("replayable", &self.is_replayable())
            .finish_non_exhaustive()
    }
}

impl Default for ByteStream {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Bytes> for ByteStream {
    fn from(bytes: Bytes) -> Self {
        let length = bytes.len() as u64;
        Self::of(Source::Whole(bytes), Some(length))
    }
}

impl From<Vec<u8>> for ByteStream {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(Bytes::from(bytes))
    }
}

impl From<String> for ByteStream {
    fn from(text: String) -> Self {
        Self::from(Bytes::from(text))
    }
}

impl From<&'static [u8]> for ByteStream {
    fn from(bytes: &'static [u8]) -> Self {
        Self::from(Bytes::from_static(bytes))
    }
}

impl From<&'static str> for ByteStream {
    fn from(text: &'static str) -> Self {
        Self::from(Bytes::from_static(text.as_bytes()))
    }
}

/// A stream whose errors are those of this machine.
struct IoStream(Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>);

impl Stream for IoStream {
    type Item = CloudResult<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context).map(|piece| piece.map(|piece| piece.map_err(CloudError::Io)))
    }
}

/// A reader as a stream of pieces.
struct Reader {
    reader: Pin<Box<dyn AsyncRead + Send>>,
    /// What is left of the block that pieces are cut from.
    buffer: BytesMut,
}

impl Stream for Reader {
    type Item = CloudResult<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.buffer.is_empty() {
            this.buffer.resize(READ_BYTES, 0);
        }
        let mut target = ReadBuf::new(&mut this.buffer);
        ready!(this.reader.as_mut().poll_read(context, &mut target))?;
        let read = target.filled().len();
        Poll::Ready((read > 0).then(|| Ok(this.buffer.split_to(read).freeze())))
    }
}

/// A file that is being opened, then read.
#[cfg(feature = "fs")]
enum Opening {
    Path(Pin<Box<dyn Future<Output = io::Result<tokio::fs::File>> + Send>>),
    Reading(Reader),
}

#[cfg(feature = "fs")]
impl Stream for Opening {
    type Item = CloudResult<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match &mut *self {
                Self::Path(opening) => {
                    let file = ready!(opening.as_mut().poll(context))?;
                    *self = Self::Reading(Reader { reader: Box::pin(file), buffer: BytesMut::new() });
                }
                Self::Reading(reader) => return Pin::new(reader).poll_next(context),
            }
        }
    }
}

/// The most bytes of a body that a default method collects in memory.
pub const BODY_COLLECTED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The most bytes that one piece of a reader has.
pub const READ_BYTES: usize = 64 * 1024;
