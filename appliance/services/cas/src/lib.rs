//! The content store below the build cache, the registry and the build farm: blobs under their SHA-256, and key records that name
//! them.
//!
//! Invariant: what `find`, `missing` or `key_get` says is there is there, whole, and stays for one lease period; bytes leave
//! only if they are those of their digest; everything kept is bounded by the settings.
//!
//! | module | holds |
//! |---|---|
//! | `digest`, `namespace` | identities, checked |
//! | `store` | tables of the store, and their codecs |
//! | `find`, `missing` | looking, with a lease |
//! | `put`, `growth` | uploads: verified, stored once, counted before they are read or while they come |
//! | `keys`, `closure` | key records and their closures, and which were found whole |
//! | `corrupt` | bytes that are not those of their digest |
//! | `scrub` | looking for them before somebody else meets them |
//! | `block` | digests that nobody gets and nobody brings |
//! | `lease`, `shared` | what all cores have in common |
//! | `room`, `usage` | how much there is, and how much is promised |
//! | `touch`, `order`, `evict`, `gone`, `retention`, `age`, `pins`, `gc` | what was used last, and what goes |
//! | `stats`, `fetched`, `figures` | what happened |
//! | `tick` | when the background does what |
//!
//! Leaves to its users: who may do what, and the words of every protocol. To the store: durability, checksums of bodies.
#![forbid(unsafe_code)]

mod age;
pub mod block;
mod closure;
pub mod corrupt;
pub mod digest;
mod evict;
pub mod fetched;
pub mod figures;
pub mod find;
pub mod gc;
mod gone;
mod growth;
pub mod keys;
pub mod lease;
pub mod missing;
pub mod namespace;
mod order;
pub mod pins;
mod planted;
pub mod put;
mod retention;
pub mod room;
pub mod scrub;
pub mod settings;
pub mod shared;
pub mod stats;
pub mod store;
mod tick;
pub mod touch;
pub mod usage;

use std::sync::Arc;

pub use block::{Block, BlockError};
pub use digest::Digest;
pub use fetched::Fetched;
pub use figures::{Figures, NamespaceFigures};
pub use find::Blob;
pub use gc::{GcRequest, GcRunning, GcState};
pub use keys::{KeyError, KeyHit, NewKey};
pub use namespace::{Dialect, KeyName, Namespace, Provenance};
pub use pins::{Pin, PinError, Pinned};
pub use put::{PutError, Stored, Upload};
pub use scrub::{Scrub, ScrubFigures};
pub use settings::{Ages, Quota, ROOM_PATIENCE, Settings};
pub use shared::Shared;
pub use stats::{Lookup, Reason, Told, Window};
pub use store::key::{Metadata, Reference};
pub use store::{BODYLESS, PASSING, segment_bytes};

/// The content store. One for the process, a clone for each core.
#[derive(Clone)]
pub struct Cas(pub(crate) Arc<Shared>);

impl Cas {
    /// A content store with these settings, over whatever the store holds.
    #[must_use]
    pub fn new(settings: Settings) -> Cas {
        Cas(Arc::new(Shared::new(settings)))
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// What all cores have in common.
    #[must_use]
    pub fn shared(&self) -> &Shared {
        &self.0
    }

    /// Bytes that all namespaces store together, what they share once.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.0.stored_bytes()
    }

    /// Bytes that are promised to uploads under way.
    #[must_use]
    pub fn reserved_bytes(&self) -> u64 {
        self.0.reserved_bytes()
    }
}
