//! The entry of the facade: every constructor builds offline, and a provider that is not linked is named.

use cloudkit::prelude::*;

#[tokio::test]
async fn every_constructor_builds_without_a_server() {
    let contexts = [
        #[cfg(not(feature = "aws"))]
        (CloudKit::aws(), ProviderType::Aws, None),
        (CloudKit::azure(), ProviderType::Azure, None),
        (CloudKit::gcp(), ProviderType::Gcp, None),
        (CloudKit::oracle(), ProviderType::Oracle, None),
        (CloudKit::cloudemu(ProviderType::Aws), ProviderType::Aws, Some("http://localhost:4566")),
        (CloudKit::cloudemu(ProviderType::Azure), ProviderType::Azure, Some("http://localhost:4567")),
        (CloudKit::cloudemu(ProviderType::Gcp), ProviderType::Gcp, Some("http://localhost:4568")),
        (CloudKit::cloudemu(ProviderType::Oracle), ProviderType::Oracle, Some("http://localhost:4569")),
        (CloudKit::cloudemu(ProviderType::Zero), ProviderType::Zero, Some("http://localhost:8080")),
    ];
    for (builder, provider, endpoint) in contexts {
        let context = builder.build().await.unwrap();
        assert_eq!(context.provider(), provider);
        assert_eq!(context.config.endpoint.as_deref(), endpoint);
    }
}

#[cfg(feature = "zero")]
#[tokio::test]
async fn the_builder_of_zero_has_all_setters_and_gives_services() {
    let client = CloudKit::zero()
        .config(CloudConfig::default())
        .region(Region::zero_local())
        .endpoint("http://127.0.0.1:1")
        .auth_provider(StaticAuthProvider::new(Credentials::new("a", "b")))
        .retry_policy(NoRetry)
        .metrics(NoopMetrics)
        .logger(NoopLogger)
        .connections(1)
        .build()
        .await
        .unwrap();
    assert_eq!(client.context().provider(), ProviderType::Zero);
    assert_eq!(client.region().code(), "local");
    assert!(client.storage().capabilities().supports("put_stream"));
    assert!(!client.functions().capabilities().supports("invoke"));
    assert!(!client.identity().capabilities().supports("get_user"));
    assert!(!client.networking().capabilities().supports("create_vpc"));
    let refused = client.storage().get_object("b", "k").await.unwrap_err();
    assert!(matches!(refused, CloudError::Network(_)), "{refused}");
    assert!(
        refused.to_string().contains("Hint: is an appliance listening at http://127.0.0.1:1?"),
        "{refused}"
    );
}

#[cfg(feature = "zero")]
#[tokio::test]
async fn a_cloud_that_is_chosen_at_run_time_has_the_same_services() {
    let by_url = CloudKit::from_url("zero://127.0.0.1:1?region=local&connections=1").await.unwrap();
    assert_eq!(by_url.config.endpoint.as_deref(), Some("http://127.0.0.1:1"));
    let by_config = CloudKit::from_config(ProviderType::Zero, by_url.config.clone()).connect().await.unwrap();
    let by_emulator = CloudKit::cloudemu(ProviderType::Zero).connect().await.unwrap();
    for cloud in [&by_url, &by_config, &by_emulator] {
        assert!(cloud.storage().unwrap().capabilities().supports("list_versions"));
        assert_eq!(cloud.provider(), ProviderType::Zero);
    }
    let refused = CloudKit::from_url("zero://127.0.0.1:1?connections=none").await.unwrap_err();
    assert!(matches!(refused, CloudError::Config(_)), "{refused}");
}

#[cfg(feature = "aws")]
#[tokio::test]
async fn the_builder_of_aws_has_all_setters_and_gives_services() {
    let client = CloudKit::aws()
        .config(CloudConfig::default())
        .region(Region::aws_eu_west_1())
        .endpoint("http://127.0.0.1:1")
        .profile("work")
        .auth_provider(StaticAuthProvider::new(Credentials::new("a", "b")))
        .retry_policy(NoRetry)
        .metrics(NoopMetrics)
        .logger(NoopLogger)
        .build()
        .await
        .unwrap();
    assert_eq!((client.provider(), client.region().code()), (ProviderType::Aws, "eu-west-1"));
    assert_eq!(client.profile(), Some("work"));
    assert!(client.storage().capabilities().supports("put_stream"));
    let refused = client.storage().get_object("b", "k").await.unwrap_err();
    assert!(matches!(refused, CloudError::Network(_)), "{refused}");
    assert!(refused.to_string().starts_with("aws GetObject b/k: "), "{refused}");
    assert!(refused.to_string().contains("Hint: is http://127.0.0.1:1 reachable"), "{refused}");
    let cloud = CloudKit::from_url("s3://127.0.0.1:1?tls=0&region=eu-west-1").await.unwrap();
    assert!(cloud.queue().unwrap().capabilities().supports("send_batch"));
    assert_eq!(cloud.config.endpoint.as_deref(), Some("http://127.0.0.1:1"));
}

#[tokio::test]
async fn a_chain_of_all_setters_compiles_and_counts() {
    let config = CloudConfig::builder().max_retries(5).build().unwrap();
    let context = CloudKit::from_config(ProviderType::Zero, config)
        .region(Region::zero_local())
        .endpoint("http://127.0.0.1:1")
        .auth_provider(StaticAuthProvider::new(Credentials::new("a", "b")))
        .retry_policy(FixedDelay::new(std::time::Duration::ZERO, 9))
        .metrics(NoopMetrics)
        .build()
        .await
        .unwrap();
    assert_eq!(context.region().to_string(), "zero/local");
    assert_eq!(context.retry_policy.max_attempts(), 9);
    assert_eq!(context.config.max_retries, 5);
}

#[tokio::test]
async fn a_provider_that_there_is_not_is_refused_by_its_name() {
    for (url, name) in [("az://", "azure"), ("gs://", "gcp"), ("oci://", "oracle")] {
        let refused = CloudKit::from_url(url).await.unwrap_err();
        assert!(
            matches!(&refused, CloudError::Config(text) if text.contains(&format!("no provider of {name} yet"))),
            "{refused}"
        );
    }
    let refused =
        CloudKit::from_config(ProviderType::Azure, CloudConfig::default()).connect().await.unwrap_err();
    assert!(refused.to_string().contains("no provider of azure yet"), "{refused}");
}

#[test]
fn the_layers_go_by_all_their_names() {
    fn same<T>(_: fn(T), _: fn(T)) {}
    same(|_: cloudkit::common::Region| (), |_: cloudkit::cloudkit_spi::Region| ());
    same(|_: cloudkit::core::CloudContext| (), |_: cloudkit::cloudkit_spi::CloudContext| ());
    same(|_: cloudkit::spi::LogLevel| (), |_: cloudkit::cloudkit_spi::LogLevel| ());
    same(|_: cloudkit::api::LogLevel| (), |_: cloudkit::cloudkit_api::LogLevel| ());
    same(|_: LogLevel| (), |_: cloudkit::cloudkit_api::LogLevel| ());
    same(|_: cloudkit::cloudkit_core::OperationExecutor| (), |_: OperationExecutor| ());
    same(|_: cloudkit::CloudKit| (), |_: cloudkit::facade::CloudKit| ());
}

/// The prelude brings no module named `core` along, so that this compiles beside it.
mod beside_the_prelude {
    use cloudkit::prelude::*;
    use core::fmt::Debug;

    fn _shown(region: &Region) -> &dyn Debug {
        region
    }
}
