//! Uploads in parts: one `put_stream` in a task, whose body is the parts in the order in which they were given.
//!
//! ```text
//! put_part --> parts, in order --> body of put_stream --> the provider
//! complete --> End ---------------^
//! abort, drop --> stop: the body ends with an error, upon which the provider gives the upload up
//! ```
//!
//! Invariant: only [`complete`](MultipartUpload::complete) lets the body end well, so that no object comes of an upload that
//! was dropped. A part's future ends when the provider has taken its bytes: who waits for it holds no more than the provider
//! asks for.

use crate::convert::quoted;
use crate::error::{error, generic};
use async_trait::async_trait;
use bytes::Bytes;
use cloudkit_core::api::{ObjectStorage, PutResult as Written, PutStreamOptions};
use cloudkit_core::common::{ByteStream, CloudError, CloudResult, Failure};
use futures_util::future::{self, Either};
use futures_util::{FutureExt, Stream, StreamExt, stream};
use object_store::path::Path;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};
use std::fmt;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// An upload in parts.
pub(crate) struct Upload {
    location: Path,
    parts: mpsc::Sender<Message>,
    /// Sent or dropped, it stops the body.
    stop: Option<oneshot::Sender<()>>,
    /// What the put failed with, in words.
    failed: watch::Receiver<Option<String>>,
    /// `None` once its outcome was told.
    put: Option<JoinHandle<Result<Written, Failure>>>,
}

enum Message {
    Part { data: PutPayload, taken: oneshot::Sender<()> },
    End,
}

impl Upload {
    /// Begins an upload. Fails outside of a runtime of tokio.
    pub(crate) fn begin<S: ObjectStorage + 'static>(
        storage: Arc<S>,
        bucket: Arc<str>,
        location: Path,
        options: PutStreamOptions,
    ) -> Result<Self> {
        let runtime = Handle::try_current().map_err(generic)?;
        let (parts, given) = mpsc::channel(PARTS_WAITING_MAX);
        let (stop, stopped) = oneshot::channel();
        let (fail, failed) = watch::channel(None);
        let key = location.to_string();
        let put = runtime.spawn(async move {
            let body = ByteStream::from_stream(body(given, stopped), None);
            let written = storage.put_stream(&bucket, &key, body, options).await;
            if let Err(failure) = &written {
                fail.send_replace(Some(failure.to_string()));
            }
            written
        });
        Ok(Self { location, parts, stop: Some(stop), failed, put: Some(put) })
    }

    /// The outcome of the put, which is told once.
    async fn outcome(&mut self) -> Result<Result<Written, Failure>> {
        let Some(put) = &mut self.put else { return Err(generic("the upload is over")) };
        let outcome = put.await.map_err(generic);
        self.put = None;
        outcome
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (taken, was_taken) = oneshot::channel();
        // Here and not in the future: parts follow each other as they were given, in whichever order their futures run.
        if let Err(TrySendError::Full(_)) = self.parts.try_send(Message::Part { data, taken }) {
            let text = format!("{PARTS_WAITING_MAX} parts wait: some must be taken before more are given");
            return future::ready(Err(generic(text))).boxed();
        }
        let mut failed = self.failed.clone();
        Box::pin(async move {
            if was_taken.await.is_ok() {
                return Ok(());
            }
            // The put is over without this part, and says why as its last act.
            let why = failed.wait_for(Option::is_some).await;
            let why = why.ok().and_then(|why| why.clone());
            Err(generic(why.unwrap_or_else(|| String::from("the upload was over before this part"))))
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        // A put that is over takes no message, and its outcome says why.
        self.parts.send(Message::End).await.ok();
        let Written { etag, version_id, .. } =
            self.outcome().await?.map_err(|failure| error(failure, &self.location))?;
        Ok(PutResult { e_tag: etag.as_deref().map(quoted), version: version_id })
    }

    async fn abort(&mut self) -> Result<()> {
        drop(self.stop.take());
        match self.outcome().await? {
            Err(_) => Ok(()),
            Ok(_) => Err(generic("the upload was complete before it was aborted")),
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("location", &self.location).finish_non_exhaustive()
    }
}

/// The parts as a body, which ends well with the message that says so.
fn body(
    parts: mpsc::Receiver<Message>,
    stopped: oneshot::Receiver<()>,
) -> impl Stream<Item = CloudResult<Bytes>> + Send {
    let state = Some((parts, stopped));
    let pieces = stream::unfold(state, async |state| {
        let (mut parts, mut stopped) = state?;
        let message = match future::select(&mut stopped, std::pin::pin!(parts.recv())).await {
            Either::Left(_) => None,
            Either::Right((message, _)) => message,
        };
        match message {
            Some(Message::Part { data, taken }) => {
                // A part whose future was dropped is a part all the same.
                taken.send(()).ok();
                Some((data.into_iter().map(Ok).collect::<Vec<_>>(), Some((parts, stopped))))
            }
            Some(Message::End) => None,
            None => Some((vec![Err(aborted())], None)),
        }
    });
    pieces.flat_map(stream::iter)
}

fn aborted() -> CloudError {
    CloudError::Io(std::io::Error::other("the upload was aborted"))
}

/// Parts that wait for the provider. Their bytes are the caller's, who has not waited for their futures.
const PARTS_WAITING_MAX: usize = 1_024;
