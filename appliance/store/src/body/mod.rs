//! Where the bytes of bodies lie and how they get there and back: extents for large bodies, packed segments for small
//! ones that survived the fold, pins that keep them while somebody reads, and the reclaimer that gives space back.
//! Invariant: space that a body ever occupied is never written again under the same name; so a stale pointer reads
//! zeros, or nothing, or a failed checksum, and never somebody else's bytes.
//! Leaves to the shard: which records name which bodies, and when a body is dead.

mod allocate;
pub mod ballast;
pub mod budget;
mod cache;
pub mod companion;
pub mod extent;
pub mod files;
mod lease;
mod load;
pub mod packed;
pub mod pins;
pub mod reader;
pub mod reclaim;
pub mod scan;
mod sealed;
mod segments;
pub mod writer;

pub use allocate::CoreBodiesParts;
pub use ballast::Ballast;
pub use budget::BulkBudget;
pub use companion::{Companion, run_blocking};
pub use extent::ExtentHeader;
pub use files::{FileKey, Files, SegmentKind};
pub use lease::{Orphans, Run};
pub use packed::{PackedEntry, PackedMark, PackedScan, PackedWriter};
pub use pins::{CorePins, Pin, PinKey, Pins};
pub use reader::{BodyReader, BodyStream, LogReader};
pub use reclaim::{Reclaimed, Reclaimer, ReclaimerParts};
pub use scan::{ExtentScan, Found};
pub use sealed::{Adopted, SealedBody};
pub use segments::OpenSegments;
pub use writer::{BodyWriter, CoreBodies, Owner};

#[cfg(test)]
mod tests;
