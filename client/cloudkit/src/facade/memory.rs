//! The cloud in memory, with the feature `testing`: by its own entry, and at the address `memory://`.

use cloudkit_core::common::{CloudConfig, CloudError, CloudResult};
use cloudkit_core::core::DynCloud;

#[cfg(feature = "testing")]
impl super::CloudKit {
    /// A cloud in this process's memory, for tests of programs: it follows the rules of ZeroCloud, and is gone with its last
    /// handle. Its clock and its faults are in [`testing`](crate::testing).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cloudkit::common::CloudResult<()> {
    /// use cloudkit::prelude::*;
    /// use cloudkit::testing::{Fault, FaultPlan, Faulty, When};
    ///
    /// async fn backup<S: ObjectStorage>(store: &S, name: &str, data: &[u8]) -> CloudResult<()> {
    ///     store.put_object("backups", name, data).await
    /// }
    ///
    /// let store = CloudKit::memory().storage();
    /// store.create_bucket("backups").await?;
    /// backup(&store, "monday", b"all").await?;
    /// assert_eq!(store.get_object("backups", "monday").await?, "all");
    ///
    /// let broken = Faulty::new(store, FaultPlan::new(0).fault(When::Always, Fault::Unavailable));
    /// assert!(backup(&broken, "tuesday", b"all").await.is_err_and(|error| error.is_retryable()));
    /// # Ok(()) }
    /// ```
    ///
    /// A program that takes its cloud from an address takes this one too; each call gives a new cloud:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cloudkit::common::CloudResult<()> {
    /// use cloudkit::prelude::*;
    ///
    /// let cloud = CloudKit::from_url("memory://").await?;
    /// let url = cloud.queue()?.create_queue("jobs").await?;
    /// cloud.queue()?.send(&url, "one").await?;
    /// assert_eq!(cloud.queue()?.receive(&url, ReceiveOptions::new()).await?[0].body, "one");
    /// assert!(cloud.functions().is_err_and(|error| error.is_unsupported()));
    /// # Ok(()) }
    /// ```
    pub fn memory() -> cloudkit_testing::MemoryCloud {
        cloudkit_testing::MemoryCloud::new()
    }
}

/// A new cloud in memory with these settings.
#[cfg(feature = "testing")]
pub(super) async fn connect(config: CloudConfig) -> CloudResult<DynCloud> {
    use cloudkit_core::common::ProviderType;
    use cloudkit_core::core::CloudContextBuilder;

    if config.endpoint.is_some() {
        let text = "not the address of a cloud: memory:// has no host, since it is in this process";
        return Err(CloudError::Config(String::from(text)));
    }
    let cloud = super::CloudKit::memory();
    // There is no provider type of its own; the rules are those of ZeroCloud.
    let context = CloudContextBuilder::new(ProviderType::Zero).config(config).build().await?;
    Ok(DynCloud::new(context)
        .with_storage(cloud.storage())
        .with_kv_store(cloud.kv_store())
        .with_queue(cloud.queue())
        .with_pubsub(cloud.pubsub()))
}

#[cfg(not(feature = "testing"))]
pub(super) async fn connect(_: CloudConfig) -> CloudResult<DynCloud> {
    let refused: CloudError = super::providers::missing("testing");
    Err(refused)
}
