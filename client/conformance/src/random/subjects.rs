//! The services of one subject as trait objects.

use crate::subject::Subject;
use cloudkit_core::api::{DynKeyValueStore, DynPubSub, MessageQueue, ObjectStorage};
use std::sync::Arc;

/// The four services of one subject.
#[derive(Clone)]
pub struct Services {
    /// The subject.
    pub subject: Arc<dyn Subject>,
    /// Buckets and objects.
    pub storage: Arc<dyn ObjectStorage>,
    /// Tables and items.
    pub kv_store: Arc<dyn DynKeyValueStore>,
    /// Queues and messages.
    pub queue: Arc<dyn MessageQueue>,
    /// Topics and subscriptions, which deliver to those queues.
    pub pubsub: Arc<dyn DynPubSub>,
}

impl Services {
    /// The services of a subject.
    pub fn new(
        subject: impl Subject + 'static,
        storage: impl ObjectStorage + 'static,
        kv_store: impl DynKeyValueStore + 'static,
        queue: impl MessageQueue + 'static,
        pubsub: impl DynPubSub + 'static,
    ) -> Self {
        Self {
            subject: Arc::new(subject),
            storage: Arc::new(storage),
            kv_store: Arc::new(kv_store),
            queue: Arc::new(queue),
            pubsub: Arc::new(pubsub),
        }
    }
}
