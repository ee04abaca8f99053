//! What binds the layers below to a provider: the context of a client, the executor of its calls, and a cloud that is chosen
//! at run time.

mod cloud;
mod context;
mod executor;

pub use crate::common::ProviderType;
pub use cloud::{Connector, DynCloud};
pub use context::{CloudContext, CloudContextBuilder};
pub use executor::OperationExecutor;
