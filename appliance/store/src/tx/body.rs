//! The bodies of a put.
//! Invariant: a new body is adopted once, however many clones of it there are.

use std::sync::{Arc, Mutex, PoisonError};

use crate::body::SealedBody;
use crate::record::BodyRef;

/// A new body on its way into a record. Clones are the same body; it is adopted once.
#[derive(Clone)]
pub struct NewBody {
    sealed: Arc<Mutex<Option<SealedBody>>>,
    length: u64,
}

impl NewBody {
    /// Wraps what a body writer sealed.
    #[must_use]
    pub fn new(sealed: SealedBody) -> NewBody {
        NewBody { length: sealed.length(), sealed: Arc::new(Mutex::new(Some(sealed))) }
    }

    /// A body in memory.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> NewBody {
        NewBody::new(SealedBody::from_small(bytes))
    }

    /// Number of bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn take(&self) -> Option<SealedBody> {
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A body in a put.
pub enum Body {
    /// Written for this operation.
    New(NewBody),
    /// Of a record that this operation read.
    Kept(BodyRef),
}
