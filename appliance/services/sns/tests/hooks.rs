//! Web hooks from the subscription to the message, over a connection of this machine.

mod driver;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::Duration;

use driver::{World, with_world};

/// A web hook that answers 200 to everything.
struct Hook {
    address: SocketAddr,
    posts: Receiver<Post>,
}

/// What came.
#[derive(Debug)]
struct Post {
    head: String,
    body: String,
}

impl Post {
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    fn header(&self, name: &str) -> Option<String> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut values = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.trim().to_owned())
    }
}

impl Hook {
    fn new() -> Hook {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, posts) = mpsc::channel();
        // It ends with the process; nobody waits for it.
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(mut connection) = connection else { continue };
                let Some(post) = read(&mut connection) else { continue };
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                if connection.write_all(answer).is_err() || sender.send(post).is_err() {
                    return;
                }
            }
        });
        Hook { address, posts }
    }

    /// The next post.
    async fn next(&self) -> Post {
        for _ in 0..driver::LOOK_COUNT_MAX {
            match self.posts.try_recv() {
                Ok(post) => return post,
                Err(TryRecvError::Empty) => ring::sleep(Duration::from_millis(1)).await,
                Err(TryRecvError::Disconnected) => panic!("the hook is gone"),
            }
        }
        panic!("nothing came");
    }

    fn url(&self) -> String {
        format!("http://{}/in?x=1", self.address)
    }
}

fn read(connection: &mut std::net::TcpStream) -> Option<Post> {
    let mut bytes = Vec::new();
    let mut some = [0; 4096];
    loop {
        let count = connection.read(&mut some).ok()?;
        bytes.extend_from_slice(&some[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let post = Post { head: head.to_owned(), body: body.to_owned() };
            let length: usize = post.header("content-length")?.parse().ok()?;
            if body.len() >= length {
                return Some(post);
            }
        }
        if count == 0 {
            return None;
        }
    }
}

async fn subscribe(world: &World, topic: &str, hook: &Hook) -> driver::Answer {
    let url = hook.url();
    let wanted = [("TopicArn", topic), ("Protocol", "http"), ("Endpoint", url.as_str())];
    world.send("Subscribe", &wanted).await.ok()
}

#[test]
fn a_hook_is_asked_and_gets_messages_once_it_has_answered() {
    with_world("hooks-whole", async |world: World| {
        world.tick().await;
        let hook = Hook::new();
        let topic = world.topic("news").await;
        assert_eq!(subscribe(&world, &topic, &hook).await.text("SubscriptionArn"), "pending confirmation");
        let question = hook.next().await;
        assert_eq!(question.header("x-amz-sns-message-type").as_deref(), Some("SubscriptionConfirmation"));
        let json = question.json();
        let token = json["Token"].as_str().expect("a token").to_owned();
        let url = format!("http://sns.test:1/?Action=ConfirmSubscription&TopicArn={topic}&Token={token}");
        assert_eq!(json["SubscribeURL"], url);
        world.send("Publish", &[("TopicArn", &topic), ("Message", "too early")]).await.ok();

        let wrong = format!("{}00", &token[..token.len() - 2]);
        let refused =
            world.send_as(None, "ConfirmSubscription", &[("TopicArn", &topic), ("Token", &wrong)]).await;
        assert_eq!(refused.error(), ("InvalidParameter".into(), "Invalid parameter: Token".into()));
        let answer =
            world.send_as(None, "ConfirmSubscription", &[("TopicArn", &topic), ("Token", &token)]).await;
        let subscription = answer.ok().text("SubscriptionArn");
        world.send("Publish", &[("TopicArn", &topic), ("Message", "hello")]).await.ok();
        let message = hook.next().await;
        assert_eq!(message.header("x-amz-sns-message-type").as_deref(), Some("Notification"));
        assert_eq!(message.header("x-amz-sns-subscription-arn").as_deref(), Some(subscription.as_str()));
        assert_eq!(message.json()["Message"], "hello", "what came before the answer is not sent");

        let raw = [
            ("SubscriptionArn", subscription.as_str()),
            ("AttributeName", "RawMessageDelivery"),
            ("AttributeValue", "true"),
        ];
        world.send("SetSubscriptionAttributes", &raw).await.ok();
        world.send("Publish", &[("TopicArn", &topic), ("Message", "raw")]).await.ok();
        let message = hook.next().await;
        assert_eq!(
            (message.header("x-amz-sns-rawdelivery").as_deref(), message.body.as_str()),
            (Some("true"), "raw")
        );

        // By the link, unsigned.
        world.send_as(None, "Unsubscribe", &[("SubscriptionArn", &subscription)]).await.ok();
        let listed = world.send("ListSubscriptionsByTopic", &[("TopicArn", &topic)]).await.ok();
        assert_eq!(listed.all("SubscriptionArn"), Vec::<String>::new());
    });
}

#[test]
fn a_token_is_good_for_two_days_and_only_the_last_one_is() {
    with_world("hooks-token", async |world: World| {
        world.tick().await;
        let hook = Hook::new();
        let topic = world.topic("news").await;
        let token = async || {
            subscribe(&world, &topic, &hook).await;
            hook.next().await.json()["Token"].as_str().expect("a token").to_owned()
        };
        let (first, second) = (token().await, token().await);
        assert_ne!(first, second);
        let listed = world.send("ListSubscriptionsByTopic", &[("TopicArn", &topic)]).await.ok();
        assert_eq!(listed.all("SubscriptionArn"), ["PendingConfirmation"], "one place, one subscription");
        let confirm = async |token: &str| {
            world.send_as(None, "ConfirmSubscription", &[("TopicArn", &topic), ("Token", token)]).await.status
        };
        assert_eq!(confirm(&first).await, 400);
        world.advance(Duration::from_secs(2 * 24 * 60 * 60));
        assert_eq!(confirm(&second).await, 400);
        assert_eq!(confirm(&token().await).await, 200);
    });
}

#[test]
fn a_hook_that_does_not_answer_is_given_up_three_days_after_the_last_question() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    with_world("hooks-given-up", async |world: World| {
        world.tick().await;
        let (hook, wanted) = (Hook::new(), Hook::new());
        let topic = world.topic("news").await;
        subscribe(&world, &topic, &wanted).await;
        let token = wanted.next().await.json()["Token"].as_str().expect("a token").to_owned();
        let answer = [("TopicArn", topic.as_str()), ("Token", &token)];
        let confirmed = world.send("ConfirmSubscription", &answer).await.ok().text("SubscriptionArn");
        subscribe(&world, &topic, &hook).await;
        hook.next().await;
        let listed = async || {
            world.tick().await;
            let listed = world.send("ListSubscriptionsByTopic", &[("TopicArn", &topic)]).await.ok();
            let mut all = listed.all("SubscriptionArn");
            all.sort();
            all
        };
        let both = ["PendingConfirmation".to_owned(), confirmed.clone()];
        world.advance(2 * DAY);
        subscribe(&world, &topic, &hook).await;
        hook.next().await;
        world.advance(3 * DAY - Duration::from_millis(1));
        assert_eq!(listed().await, both);
        world.advance(Duration::from_millis(1));
        assert_eq!(listed().await, [confirmed]);
        let attributes = world.send("GetTopicAttributes", &[("TopicArn", &topic)]).await.ok();
        assert_eq!(attributes.entry("SubscriptionsPending").as_deref(), Some("0"));
        assert_eq!(subscribe(&world, &topic, &hook).await.text("SubscriptionArn"), "pending confirmation");
    });
}

#[test]
fn a_hook_is_asked_ten_times_an_hour_at_most() {
    with_world("hooks-asked", async |world: World| {
        world.tick().await;
        let hook = Hook::new();
        let topic = world.topic("news").await;
        for _ in 0..10 {
            subscribe(&world, &topic, &hook).await;
            hook.next().await;
        }
        let url = hook.url();
        let wanted = [("TopicArn", topic.as_str()), ("Protocol", "http"), ("Endpoint", url.as_str())];
        assert_eq!(world.send("Subscribe", &wanted).await.error().0, "Throttled");
        world.advance(Duration::from_secs(60 * 60));
        subscribe(&world, &topic, &hook).await;
        hook.next().await;
    });
}

#[test]
fn a_subscription_that_wants_a_signature_is_not_ended_by_its_link() {
    with_world("hooks-authenticate", async |world: World| {
        world.tick().await;
        let hook = Hook::new();
        let topic = world.topic("news").await;
        subscribe(&world, &topic, &hook).await;
        let token = hook.next().await.json()["Token"].as_str().expect("a token").to_owned();
        let answer = [("TopicArn", topic.as_str()), ("Token", &token), ("AuthenticateOnUnsubscribe", "true")];
        let subscription = world.send("ConfirmSubscription", &answer).await.ok().text("SubscriptionArn");
        let end = [("SubscriptionArn", subscription.as_str())];
        assert_eq!(world.send_as(None, "Unsubscribe", &end).await.status, 403);
        assert_eq!(world.send_as(Some(driver::OTHER), "Unsubscribe", &end).await.status, 403);
        assert_eq!(world.send("Unsubscribe", &end).await.status, 200);
    });
}
