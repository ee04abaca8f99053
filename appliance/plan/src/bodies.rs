//! Bodies in memory: stored ones brought in, new ones made ready for their record.
//! Invariant: what is held never exceeds the bound that the plan names, however large the stored bodies are.
//! Leaves to the store: where the bytes lie, and what is durable when.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use store::{BodyOwner, Fault, NewBody, Store};

use crate::body::Piece;
use crate::step::{Resume, Step, join};
use crate::{Context, Plan};

/// Stored bytes on their way into memory.
struct Load<F> {
    pieces: Vec<Piece>,
    limit_bytes: usize,
    then: F,
}

impl<F> Step for Load<F>
where
    F: FnOnce(&mut Context<'_>, Result<Vec<Bytes>, Fault>) -> Plan + 'static,
{
    fn run(self: Box<Self>, store: Store) -> Pin<Box<dyn Future<Output = Resume>>> {
        let Load { pieces, limit_bytes, then } = *self;
        Box::pin(async move {
            let loaded = load_all(&store, &pieces, limit_bytes).await;
            let resume: Resume = Box::new(move |cx| then(cx, loaded));
            resume
        })
    }
}

async fn load_all(store: &Store, pieces: &[Piece], limit_bytes: usize) -> Result<Vec<Bytes>, Fault> {
    // Before anything is read. What a piece asks for beyond its body's end does not exist and counts for nothing.
    let wanted = |piece: &Piece| piece.length.min(piece.body.length().saturating_sub(piece.start));
    let bytes = pieces.iter().map(wanted).fold(0_u64, u64::saturating_add);
    if bytes > limit_bytes as u64 {
        return Err(Fault::TooLarge { bytes });
    }
    join(pieces.iter().map(|piece| load(store, piece))).await.into_iter().collect()
}

async fn load(store: &Store, piece: &Piece) -> Result<Bytes, Fault> {
    let end = piece.start.saturating_add(piece.length);
    let mut stream = store.read(&piece.pin, &piece.body, piece.start..end);
    let Some(first) = stream.next().await.transpose()? else { return Ok(Bytes::new()) };
    let Some(second) = stream.next().await.transpose()? else { return Ok(first) };
    let mut whole = [first, second].concat();
    while let Some(more) = stream.next().await.transpose()? {
        whole.extend_from_slice(&more);
    }
    Ok(whole.into())
}

/// Bytes on their way to stable storage.
struct Write<F> {
    bytes: Bytes,
    owner: BodyOwner,
    then: F,
}

impl<F> Step for Write<F>
where
    F: FnOnce(&mut Context<'_>, Result<NewBody, Fault>) -> Plan + 'static,
{
    fn run(self: Box<Self>, store: Store) -> Pin<Box<dyn Future<Output = Resume>>> {
        let Write { bytes, owner, then } = *self;
        Box::pin(async move {
            let written = write(&store, &bytes, owner).await;
            let resume: Resume = Box::new(move |cx| then(cx, written));
            resume
        })
    }
}

async fn write(store: &Store, bytes: &Bytes, owner: BodyOwner) -> Result<NewBody, Fault> {
    store.admit(owner.shard).await?;
    let mut writer = store.body_writer(Some(bytes.len() as u64), owner);
    writer.write_shared(bytes).await?;
    writer.seal().await
}

impl Plan {
    /// Brings stretches of stored bodies into memory, one after the other in the result, each whole, and goes on with them.
    /// `Fault::TooLarge` when they are more than `limit_bytes` together: nothing was read then.
    pub fn load<F>(pieces: Vec<Piece>, limit_bytes: usize, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<Vec<Bytes>, Fault>) -> Plan + 'static,
    {
        Plan::Step(Box::new(Load { pieces, limit_bytes, then }))
    }

    /// Makes a body from bytes: a large one is durable when `then` runs, a small one travels in the log batch of the record
    /// that adopts it. Waits until the shard of `owner` has room for writes.
    pub fn write<F>(bytes: Bytes, owner: BodyOwner, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<NewBody, Fault>) -> Plan + 'static,
    {
        Plan::Step(Box::new(Write { bytes, owner, then }))
    }
}
