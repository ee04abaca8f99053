//! Messages: sent, received, given back; and topics, which deliver to queues.
//!
//! `ZERO_URL=http://localhost:8080 ZERO_CREDENTIALS_FILE=zerocloud-data/credentials cargo run -p cloudkit --example 03_messages_and_topics`

use cloudkit::prelude::*;
use std::collections::HashMap;
use std::time::Duration;

/// Written against the traits, so it runs on every provider.
async fn tour<Q: MessageQueue, P: PubSub>(queue: &Q, topics: &P) -> CloudResult<()> {
    let jobs = queue.create_queue("example-jobs").await?;
    queue.send_with_options(&jobs, "resize 1.png", SendOptions::new().attribute("kind", "image")).await?;
    queue.send_batch(&jobs, &["resize 2.png", "resize 3.png"]).await?;

    // Hidden from others for a minute; what is not deleted by then comes again.
    let ten = || ReceiveOptions::new().max_messages(10).visibility_timeout(Duration::from_secs(60));
    for message in queue.receive(&jobs, ten()).await? {
        println!(
            "received: {:?} {:?}, for the {}. time",
            message.body, message.attributes, message.receive_count
        );
        queue.delete(&jobs, &message).await?;
    }

    let news = topics.create_topic("example-news").await?;
    let only_urgent = SubscriptionConfig {
        push_endpoint: Some(jobs.clone()),
        filter_policy: Some(HashMap::from([("level".into(), vec!["urgent".into()])])),
        ..SubscriptionConfig::default()
    };
    topics.subscribe_with_config(&news, only_urgent).await?;
    topics.publish(&news, b"nobody gets this").await?;
    let urgent = HashMap::from([("level".into(), "urgent".into())]);
    topics.publish_with_attributes(&news, b"this arrives", urgent).await?;
    let waiting = ten().wait_time(Duration::from_secs(20));
    for message in queue.receive(&jobs, waiting).await? {
        println!("delivered: {}", message.body);
    }

    topics.delete_topic(&news).await?;
    queue.delete_queue(&jobs).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> CloudResult<()> {
    let zero = CloudKit::zero().build().await?;
    println!("{}\n{}", zero.queue().capabilities(), zero.pubsub().capabilities());
    tour(&zero.queue(), &zero.pubsub()).await
}
