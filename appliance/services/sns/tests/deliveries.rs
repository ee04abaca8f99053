//! From a publish to web hooks: envelopes, retries, rates, endpoints that fail, hang and redirect, restarts.

mod driver;
mod endpoints;

use std::ops::Bound;
use std::time::Duration;

use driver::{MAIN, START, TempDir, World, queue_arn, with_world, with_world_at};
use endpoints::{Endpoints, Received};
use store::{Direction, Fault, Operation, Outcome, TableId, Tx};

/// Messages that are on their way.
const DELIVERIES: TableId = TableId(83);
/// What they say.
const MESSAGES: TableId = TableId(88);

/// Waits until something holds; a test that waits for ever is ended by whoever runs it.
async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        ring::sleep(Duration::from_millis(1)).await;
    }
}

/// Subscribes an endpoint; the subscription is pending.
async fn subscribe(world: &World, topic: &str, url: &str, attributes: &[(&str, &str)]) {
    let mut parameters = vec![
        ("TopicArn".to_owned(), topic.to_owned()),
        ("Protocol".to_owned(), "http".to_owned()),
        ("Endpoint".to_owned(), url.to_owned()),
    ];
    for (number, (key, value)) in (1..).zip(attributes) {
        parameters.push((format!("Attributes.entry.{number}.key"), (*key).to_owned()));
        parameters.push((format!("Attributes.entry.{number}.value"), (*value).to_owned()));
    }
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let answer = world.send("Subscribe", &parameters).await.ok();
    assert_eq!(answer.text("SubscriptionArn"), "pending confirmation");
}

/// Subscribes a path and confirms it with the token that came there. Gives the subscription's ARN.
async fn hook(
    world: &World,
    endpoints: &Endpoints,
    topic: &str,
    path: &str,
    attributes: &[(&str, &str)],
) -> String {
    subscribe(world, topic, &endpoints.url(path), attributes).await;
    world.tick().await;
    until(|| !endpoints.at(path).is_empty()).await;
    let json = endpoints.at(path)[0].json();
    let token = json["Token"].as_str().expect("a token");
    let confirm = [("TopicArn", topic), ("Token", token)];
    world.send_as(None, "ConfirmSubscription", &confirm).await.ok().text("SubscriptionArn")
}

async fn publish(world: &World, topic: &str, text: &str) {
    world.send("Publish", &[("TopicArn", topic), ("Message", text), ("Subject", "s")]).await.ok();
}

/// When the deliveries that are not over are due, in milliseconds from the beginning of the test.
fn due(world: &World) -> Vec<u64> {
    let mut due = Vec::new();
    for shard in world.store.shards() {
        let view = world.store.view(shard).expect("a view");
        let mut scan = view.scan(DELIVERIES, Bound::Unbounded, Direction::Forward);
        while let Some((key, _)) = scan.next().expect("reads") {
            let at = key[16..24].try_into().map(u64::from_be_bytes).expect("eight bytes");
            due.push(at - START.0);
        }
    }
    due.sort_unstable();
    due
}

/// How many messages are kept for deliveries.
fn kept(world: &World) -> usize {
    let mut count = 0;
    for shard in world.store.shards() {
        let view = world.store.view(shard).expect("a view");
        let mut scan = view.scan(MESSAGES, Bound::Unbounded, Direction::Forward);
        while scan.next().expect("reads").is_some() {
            count += 1;
        }
    }
    count
}

fn notifications(endpoints: &Endpoints, path: &str) -> Vec<Received> {
    let is_one = |one: &Received| one.header("x-amz-sns-message-type") == Some("Notification");
    endpoints.at(path).into_iter().filter(is_one).collect()
}

#[test]
fn a_hook_gets_envelopes_and_ends_by_the_link_in_them() {
    with_world("deliveries-life", async |world: World| {
        let endpoints = Endpoints::start();
        let topic = world.topic("news").await;
        let arn = hook(&world, &endpoints, &topic, "/a", &[]).await;
        let asked = &endpoints.at("/a")[0];
        assert_eq!(asked.header("x-amz-sns-topic-arn"), Some(topic.as_str()));
        assert_eq!(asked.header("x-amz-sns-subscription-arn"), None);
        assert_eq!(asked.header("content-type"), Some("text/plain; charset=UTF-8"));
        let json = asked.json();
        let url = json["SubscribeURL"].as_str().expect("a URL");
        assert!(url.starts_with("http://sns.test:1/?Action=ConfirmSubscription&TopicArn=arn:"), "{url}");
        assert!(url.ends_with(json["Token"].as_str().expect("a token")), "{url}");

        publish(&world, &topic, "hello").await;
        until(|| !notifications(&endpoints, "/a").is_empty()).await;
        let got = &notifications(&endpoints, "/a")[0];
        let json = got.json();
        assert_eq!((json["Type"].as_str(), json["Message"].as_str()), (Some("Notification"), Some("hello")));
        assert_eq!(got.header("x-amz-sns-message-id"), json["MessageId"].as_str());
        assert_eq!(got.header("x-amz-sns-subscription-arn"), Some(arn.as_str()));
        assert_eq!(got.header("x-amz-sns-rawdelivery"), None);
        assert!(json["Signature"].as_str().is_some_and(|text| text.len() == 344), "2,048 bits in base64");
        let link = json["UnsubscribeURL"].as_str().expect("a URL");
        let (_, subscription) = link.split_once("SubscriptionArn=").expect("the link names it");
        assert_eq!(subscription, arn);
        until(|| due(&world).is_empty()).await;
        assert_eq!(kept(&world), 0, "the message went with its last delivery");

        world.send_as(None, "Unsubscribe", &[("SubscriptionArn", subscription)]).await.ok();
        publish(&world, &topic, "nobody hears it").await;
        assert!(due(&world).is_empty());
    });
}

#[test]
fn raw_delivery_sends_the_text_alone() {
    with_world("deliveries-raw", async |world: World| {
        let endpoints = Endpoints::start();
        let topic = world.topic("news").await;
        let policy = r#"{"requestPolicy":{"headerContentType":"application/json"}}"#;
        let attributes = [("RawMessageDelivery", "true"), ("DeliveryPolicy", policy)];
        hook(&world, &endpoints, &topic, "/a", &attributes).await;
        publish(&world, &topic, r#"{"a":1}"#).await;
        until(|| !notifications(&endpoints, "/a").is_empty()).await;
        let got = &notifications(&endpoints, "/a")[0];
        assert_eq!(got.body, r#"{"a":1}"#);
        assert_eq!(got.header("x-amz-sns-rawdelivery"), Some("true"));
        assert_eq!(got.header("content-type"), Some("application/json"));
    });
}

#[test]
fn a_failing_endpoint_is_tried_four_times_and_then_the_dead_letter_queue_gets_it() {
    with_world("deliveries-retry", async |world: World| {
        let endpoints = Endpoints::start();
        let topic = world.topic("news").await;
        let redrive = format!(r#"{{"deadLetterTargetArn":"{}"}}"#, queue_arn("dead"));
        hook(&world, &endpoints, &topic, "/500", &[("RedrivePolicy", &redrive)]).await;
        until(|| due(&world).is_empty()).await;
        publish(&world, &topic, "m").await;
        for tries in 1..=3 {
            until(|| due(&world) == [tries * 20_000]).await;
            assert_eq!(notifications(&endpoints, "/500").len() as u64, tries);
            world.advance(Duration::from_secs(20));
        }
        until(|| due(&world).is_empty()).await;
        assert_eq!(notifications(&endpoints, "/500").len(), 4);
        world.delivered().await;
        let dead = world.queues.messages();
        assert_eq!((dead.len(), dead[0].queue.as_str()), (1, "dead"));
        assert!(dead[0].body.contains("\"Message\" : \"m\""), "{}", dead[0].body);
        assert!(
            dead[0].attributes.contains(&("ErrorCode".to_owned(), "500".to_owned())),
            "{:?}",
            dead[0].attributes
        );
        assert_eq!(kept(&world), 0);
    });
}

#[test]
fn a_refusal_is_final_too_many_requests_are_not_and_no_redirect_is_followed() {
    with_world("deliveries-final", async |world: World| {
        let endpoints = Endpoints::start();
        let topic = world.topic("news").await;
        for path in ["/410", "/429", "/302"] {
            hook(&world, &endpoints, &topic, path, &[]).await;
        }
        until(|| due(&world).is_empty()).await;
        publish(&world, &topic, "m").await;
        until(|| due(&world) == [20_000, 20_000]).await;
        for path in ["/410", "/429", "/302"] {
            assert_eq!(notifications(&endpoints, path).len(), 1, "{path}");
        }
        assert!(endpoints.at("/target").is_empty());
        let dropped = world.failures.counts();
        let host = endpoints.url("").replace("http://", "");
        assert_eq!(dropped, [(host.into(), 1)]);
    });
}

#[test]
fn an_endpoint_that_hangs_holds_up_no_other() {
    with_world("deliveries-hang", async |world: World| {
        let endpoints = Endpoints::start();
        let topic = world.topic("news").await;
        // Without envelopes nothing is signed, which takes long in a build for tests.
        let raw = [("RawMessageDelivery", "true")];
        hook(&world, &endpoints, &topic, "/hang", &raw).await;
        hook(&world, &endpoints, &topic, "/b", &raw).await;
        for number in 0..20 {
            publish(&world, &topic, &number.to_string()).await;
        }
        until(|| notifications(&endpoints, "/b").len() == 20).await;
        until(|| due(&world).len() == 20).await;
        // Not all at once: what hangs has a bound of its own.
        assert!(notifications(&endpoints, "/hang").len() < 20);
    });
}

#[test]
fn a_rate_spreads_the_deliveries() {
    with_world("deliveries-rate", async |world: World| {
        let endpoints = Endpoints::start();
        let topic = world.topic("news").await;
        let policy = r#"{"throttlePolicy":{"maxReceivesPerSecond":2}}"#;
        hook(&world, &endpoints, &topic, "/a", &[("DeliveryPolicy", policy)]).await;
        until(|| due(&world).is_empty()).await;
        world.advance(Duration::from_secs(1));
        for number in 0..3 {
            publish(&world, &topic, &number.to_string()).await;
        }
        for sent in 1..=3 {
            until(|| due(&world).len() == 3 - sent).await;
            assert_eq!(notifications(&endpoints, "/a").len(), sent);
            world.advance(Duration::from_millis(500));
        }
    });
}

#[test]
fn what_was_not_delivered_before_a_restart_is_delivered_after_it() {
    let directory = TempDir::new("deliveries-restart");
    let endpoints = Endpoints::start();
    with_world_at(&directory.0, async |world: World| {
        let topic = world.topic("news").await;
        hook(&world, &endpoints, &topic, "/500", &[]).await;
        hook(&world, &endpoints, &topic, "/hang", &[]).await;
        until(|| due(&world).is_empty()).await;
        for number in 0..5 {
            publish(&world, &topic, &number.to_string()).await;
        }
        until(|| notifications(&endpoints, "/500").len() == 5).await;
        until(|| due(&world).iter().filter(|at| **at >= 20_000).count() >= 5).await;
        until(|| notifications(&endpoints, "/hang").len() == 5).await;
    });
    endpoints.mend();
    let (failed, hung) = (notifications(&endpoints, "/500").len(), notifications(&endpoints, "/hang").len());
    with_world_at(&directory.0, async |world: World| {
        assert_eq!(due(&world).len(), 10);
        world.tick().await;
        // Those that were under way are due at once, those that failed in their time.
        until(|| due(&world).iter().all(|at| *at >= 20_000)).await;
        assert!(due(&world).len() >= 5);
        world.advance(Duration::from_secs(20));
        until(|| due(&world).is_empty()).await;
        assert_eq!(notifications(&endpoints, "/500").len(), failed + 5);
        assert_eq!(notifications(&endpoints, "/hang").len(), hung + 5);
        assert_eq!(kept(&world), 0);
        // The key is the one from before: its certificate is found again.
        let topic = format!("arn:aws:sns:{}:{MAIN}:news", driver::REGION);
        publish(&world, &topic, "after").await;
        until(|| notifications(&endpoints, "/hang").len() == hung + 6).await;
        let urls: Vec<_> = notifications(&endpoints, "/hang")
            .iter()
            .map(|one| one.json()["SigningCertURL"].clone())
            .collect();
        assert!(urls.iter().all(|url| *url == urls[0]), "{urls:?}");
    });
}

#[test]
fn what_may_not_be_sent_to_is_given_up_at_once() {
    with_world("deliveries-forbidden", async |world: World| {
        let topic = world.topic("news").await;
        for url in ["http://169.254.169.254/latest", "http://[::ffff:169.254.169.254]/", "http://0.0.0.0/"] {
            subscribe(&world, &topic, url, &[]).await;
        }
        assert_eq!(due(&world).len(), 3);
        world.tick().await;
        until(|| due(&world).is_empty()).await;
        for (protocol, url) in [("http", "https://a.example/"), ("https", "http://a.example/"), ("http", "x")]
        {
            let parameters = [("TopicArn", topic.as_str()), ("Protocol", protocol), ("Endpoint", url)];
            let (code, message) = world.send("Subscribe", &parameters).await.error();
            assert_eq!(code, "InvalidParameter");
            assert_eq!(message, "Invalid parameter: Endpoint must match the specified protocol");
        }
    });
}

/// Overwrites a record with what is none.
struct Rot {
    key: Vec<u8>,
}

impl Operation for Rot {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(DELIVERIES, &self.key);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        tx.put(DELIVERIES, &self.key, b"\xff", Vec::new(), false);
        Ok(Outcome::Commit(()))
    }
}

#[test]
fn a_rotten_record_holds_up_its_own_subscription_only() {
    with_world("deliveries-rot", async |world: World| {
        let endpoints = Endpoints::start();
        let topic = world.topic("news").await;
        hook(&world, &endpoints, &topic, "/500", &[]).await;
        until(|| due(&world).is_empty()).await;
        publish(&world, &topic, "rots").await;
        until(|| due(&world) == [20_000]).await;
        let mut rots = Vec::new();
        for shard in world.store.shards() {
            let view = world.store.view(shard).expect("a view");
            let mut scan = view.scan(DELIVERIES, Bound::Unbounded, Direction::Forward);
            while let Some((key, _)) = scan.next().expect("reads") {
                rots.push((shard, Rot { key: key.to_vec() }));
            }
        }
        for (shard, rot) in rots {
            world.store.submit(shard, rot).await.expect("writes");
        }
        world.advance(Duration::from_secs(20));
        hook(&world, &endpoints, &topic, "/b", &[]).await;
        publish(&world, &topic, "whole").await;
        until(|| !notifications(&endpoints, "/b").is_empty()).await;
        assert_eq!(notifications(&endpoints, "/500").len(), 1);
    });
}
