//! One trait per service, generic over providers. A program writes `async fn backup<S: ObjectStorage>(store: &S)` and runs
//! on each of them.
//!
//! Every method takes `&self`, every future is `Send`, and dropping a future abandons its call. A method that was added later
//! has a default body: by older methods where that gives the same, else a failure of the code
//! [`UNSUPPORTED`](crate::common::UNSUPPORTED), which `capabilities()` announces.

mod capability;
mod compute;
mod delivery;
mod dynamic;
mod dynamic_kv;
mod events;
mod forward;
mod forward_more;
mod functions;
mod identity;
mod keys;
mod kv;
mod level;
mod logs;
mod metrics;
mod networking;
mod object_stream;
mod pubsub;
mod queue;
mod secrets;
mod storage;
mod table;
mod workflow;

pub use capability::{Capabilities, Capability, Service, Support};
pub use compute::{Compute, RunInstanceOptions};
pub use delivery::{Delivery, HeartbeatOptions, ReceiveStreamOptions};
pub use dynamic::{DynFunctions, DynPubSub};
pub use dynamic_kv::DynKeyValueStore;
pub use events::{Event, EventBus, EventRule, EventTarget, FailedEntry, PutEventsResult, RuleState};
pub use functions::{CreateFunctionOptions, Functions, InvocationType, InvokeOptions, InvokeResult};
pub use identity::{
    AuthChallenge, AuthResult, ChallengeType, CreateUserOptions, IdentityProvider, InitiateAuthResult, User,
    UserGroup, UserStatus,
};
pub use keys::{
    CreateKeyOptions, DataKey, DecryptResult, EncryptResult, EncryptionContext, KeyManagement, KeyMetadata,
    KeySpec, KeyState, KeyUsage, SigningAlgorithm,
};
pub use kv::{Condition, KeyValueStore, KvGetOptions, KvPutOptions, KvQueryOptions};
pub use level::Level;
pub use logs::{LogEvent, LogLevel, LoggingService};
pub use metrics::{
    AlarmConfig, AlarmState, ComparisonOperator, MetricDataPoint, MetricDatum, MetricQuery, MetricResult,
    MetricStatistic, MetricUnit, MetricsService,
};
pub use networking::{CreateSubnetOptions, CreateVpcOptions, Networking};
pub use object_stream::{
    ByteRange, Checksum, ChecksumAlgorithm, GetStreamOptions, ObjectStream, ObjectVersion, PutCondition,
    PutResult, PutStreamOptions,
};
pub use pubsub::{PubSub, PubSubMessage, SubscriptionConfig};
pub use queue::{Message, MessageQueue, ReceiveOptions, SendOptions};
pub use secrets::{CreateSecretOptions, SecretMetadata, SecretVersion, SecretsManager};
pub use storage::{GetOptions, ListOptions, ObjectStorage, PutOptions};
pub use table::{CreateTableOptions, ScanOptions, TransactItem};
pub use workflow::{
    Execution, ExecutionError, ExecutionFilter, ExecutionStatus, HistoryEvent, StartExecutionOptions,
    WorkflowDefinition, WorkflowService, WorkflowType,
};
