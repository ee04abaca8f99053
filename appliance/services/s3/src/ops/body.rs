//! Where the bytes of a version lie: one body, or the bodies of its parts.
//! Invariant: the pieces of a span add up to it exactly, in order, and every body that they name is pinned in the turn of
//! the view that showed it.

use plan::{Context, Piece};
use store::{BodyRef, Fault, ShardId, View};

use crate::model::{Generation, PartNumber};
use crate::store::upload::ManifestPage;
use crate::store::versions::{Found, page_count};
use crate::store::{MANIFESTS, manifest_key};
use crate::wire::range::Span;

/// A part of a version, with its place in the object.
#[derive(Clone, Debug)]
pub struct PartPlace {
    /// Its number.
    pub number: PartNumber,
    /// Its first byte in the object.
    pub start: u64,
    /// Its bytes.
    pub size: u64,
    /// Its checksum's raw value.
    pub checksum: Vec<u8>,
    /// Where its bytes lie.
    pub body: BodyRef,
}

/// The parts of a version that was made of parts, in order; empty for others.
pub fn parts(view: &View<'_>, generation: Generation, found: &Found) -> Result<Vec<PartPlace>, Fault> {
    let Some(manifest) = found.record.manifest else { return Ok(Vec::new()) };
    let mut parts = Vec::with_capacity(usize::from(found.record.etag.part_count));
    let mut start = 0;
    for index in 0..page_count(found.record.etag.part_count) {
        let record = view.get(MANIFESTS, &manifest_key(generation, manifest, index))?;
        let record = record.ok_or_else(|| Fault::corrupt("a manifest page is missing".into()))?;
        let page = ManifestPage::decode(record.value)?;
        if page.parts.len() != record.bodies.len() {
            return Err(Fault::corrupt("a manifest page has another number of bodies than parts".into()));
        }
        for (part, body) in page.parts.into_iter().zip(record.bodies) {
            let size = part.size;
            parts.push(PartPlace { number: part.number, start, size, checksum: part.checksum, body });
            start += size;
        }
    }
    if start != found.record.size || parts.len() != usize::from(found.record.etag.part_count) {
        return Err(Fault::corrupt("a manifest does not add up to its object".into()));
    }
    Ok(parts)
}

/// The pieces of a span of a version. `parts`: what `parts` gave for it.
pub fn pieces(
    cx: &Context<'_>,
    shard: ShardId,
    found: &Found,
    parts: &[PartPlace],
    span: Span,
) -> Result<Vec<Piece>, Fault> {
    if span.length == 0 {
        return Ok(Vec::new());
    }
    let piece = |body: &BodyRef, start: u64, length: u64| Piece {
        pin: cx.store.pin(shard, body),
        body: body.clone(),
        start,
        length,
    };
    if found.record.manifest.is_none() {
        let body = found.bodies.first().filter(|body| body.length() == found.record.size);
        let body =
            body.ok_or_else(|| Fault::corrupt("an object's body has another size than its record".into()))?;
        return Ok(vec![piece(body, span.start, span.length)]);
    }
    let end = span.start + span.length;
    let first = parts.partition_point(|part| part.start + part.size <= span.start);
    let mut pieces = Vec::new();
    for part in parts[first..].iter().take_while(|part| part.start < end) {
        let from = span.start.max(part.start);
        let to = end.min(part.start + part.size);
        if from < to {
            pieces.push(piece(&part.body, from - part.start, to - from));
        }
    }
    Ok(pieces)
}
