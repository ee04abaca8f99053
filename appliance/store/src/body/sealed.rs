//! A body that is complete and that no record names yet.
//! Invariant: whoever holds it answers for its room: adopted, the record does; dropped, it becomes an orphan.
//! Leaves to the shard: the record.

use super::lease::{Orphans, Run};
use crate::record::BodyRef;
use crate::types::{Extent, LOG_BODY_BYTES_MAX};

/// A complete body that no record names yet. It may travel to another core. Dropped, a large one becomes an orphan.
#[derive(Debug)]
pub struct SealedBody {
    content: Content,
}

enum Content {
    Small(Vec<u8>),
    Large { extents: Vec<Extent>, orphans: Orphans },
}

/// What a record takes over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Adopted {
    /// The bytes of a small body, to go inline or into the log batch.
    Bytes(Vec<u8>),
    /// A large body, durable already.
    Extents(BodyRef),
}

impl SealedBody {
    /// A small body out of bytes at hand, at most 32 KiB.
    #[must_use]
    pub fn from_small(bytes: Vec<u8>) -> SealedBody {
        assert!(bytes.len() <= LOG_BODY_BYTES_MAX, "a larger body is written through a BodyWriter");
        SealedBody { content: Content::Small(bytes) }
    }

    pub(super) fn large(extents: Vec<Extent>, orphans: Orphans) -> SealedBody {
        SealedBody { content: Content::Large { extents, orphans } }
    }

    /// Number of bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        match &self.content {
            Content::Small(bytes) => bytes.len() as u64,
            Content::Large { extents, .. } => extents.iter().map(|extent| u64::from(extent.data_bytes)).sum(),
        }
    }

    /// Hands the body to a record: from here on the caller answers for its extents.
    #[must_use]
    pub fn adopt(mut self) -> Adopted {
        match &mut self.content {
            Content::Small(bytes) => Adopted::Bytes(std::mem::take(bytes)),
            Content::Large { extents, .. } => Adopted::Extents(BodyRef::Extents(std::mem::take(extents))),
        }
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        if let Content::Large { extents, orphans } = self {
            for extent in extents.drain(..) {
                orphans.push(Run::of(&extent));
            }
        }
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Content::Small(bytes) => write!(f, "Small({} bytes)", bytes.len()),
            Content::Large { extents, .. } => f.debug_tuple("Large").field(extents).finish(),
        }
    }
}
