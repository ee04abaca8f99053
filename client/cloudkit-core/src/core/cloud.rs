//! A cloud that is chosen at run time: its services as trait objects.

use super::context::CloudContext;
use crate::api::{
    Capabilities, DynFunctions, DynKeyValueStore, DynPubSub, IdentityProvider, MessageQueue, Networking,
    ObjectStorage, Service,
};
use crate::common::{CloudError, CloudResult};
use async_trait::async_trait;
use std::fmt;
use std::sync::Arc;

/// Makes a cloud of a context: the place where a provider joins a program that chooses at run time.
#[async_trait]
pub trait Connector: Send + Sync {
    /// The cloud of this context. It needs neither a server nor credentials; both are asked for at the first call.
    ///
    /// # Errors
    /// [`CloudError::Config`] when the provider is not there, or the settings make no sense to it.
    async fn connect(&self, context: CloudContext) -> CloudResult<DynCloud>;
}

/// The services of a cloud as trait objects. Each is there or not; what a service that is there can do, its
/// `capabilities()` say.
///
/// The objects of tables, topics and functions have the generic methods too:
/// `cloud.kv_store()?.get::<User>("users", "ann").await`.
#[derive(Clone)]
pub struct DynCloud {
    context: Arc<CloudContext>,
    storage: Option<Arc<dyn ObjectStorage>>,
    kv_store: Option<Arc<dyn DynKeyValueStore>>,
    queue: Option<Arc<dyn MessageQueue>>,
    pubsub: Option<Arc<dyn DynPubSub>>,
    functions: Option<Arc<dyn DynFunctions>>,
    identity: Option<Arc<dyn IdentityProvider>>,
    networking: Option<Arc<dyn Networking>>,
}

/// A place for each service, and how it is asked for.
macro_rules! services {
    ($($field:ident $with:ident $interface:ident $service:ident $what:literal;)*) => {
        impl DynCloud {
            $(
                #[doc = concat!("Puts the cloud's ", $what, " in.")]
                pub fn $with(mut self, service: impl $interface + 'static) -> Self {
                    self.$field = Some(Arc::new(service));
                    self
                }

                #[doc = concat!("The cloud's ", $what, ".")]
                ///
                /// # Errors
                #[doc = concat!("An [unsupported](CloudError::is_unsupported) one when the cloud has no ", $what, ".")]
                pub fn $field(&self) -> CloudResult<Arc<dyn $interface>> {
                    self.$field.clone().ok_or_else(|| self.missing(Service::$service, stringify!($field)))
                }
            )*

            /// Which services are there.
            pub fn services(&self) -> Vec<Service> {
                [$(self.$field.as_ref().map(|_| Service::$service),)*].into_iter().flatten().collect()
            }
        }
    };
}

services! {
    storage with_storage ObjectStorage ObjectStorage "buckets and objects";
    kv_store with_kv_store DynKeyValueStore KeyValueStore "tables and items";
    queue with_queue MessageQueue MessageQueue "queues and messages";
    pubsub with_pubsub DynPubSub PubSub "topics and subscriptions";
    functions with_functions DynFunctions Functions "functions";
    identity with_identity IdentityProvider IdentityProvider "users and groups";
    networking with_networking Networking Networking "networks";
}

impl DynCloud {
    /// A cloud without any service.
    pub fn new(context: CloudContext) -> Self {
        Self {
            context: Arc::new(context),
            storage: None,
            kv_store: None,
            queue: None,
            pubsub: None,
            functions: None,
            identity: None,
            networking: None,
        }
    }

    /// The context that it was made of.
    pub fn context(&self) -> &CloudContext {
        &self.context
    }

    fn missing(&self, service: Service, accessor: &str) -> CloudError {
        let provider = self.context.provider.to_string();
        Capabilities::nothing(provider, service, "the cloud does not have this service")
            .unsupported(accessor)
            .into()
    }
}

impl std::ops::Deref for DynCloud {
    type Target = CloudContext;

    fn deref(&self) -> &CloudContext {
        &self.context
    }
}

impl fmt::Debug for DynCloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynCloud")
            .field("context", &self.context)
            .field("services", &self.services())
            .finish_non_exhaustive()
    }
}
