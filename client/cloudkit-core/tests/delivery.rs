//! Messages in hand under a paused clock: heartbeats while work runs, none when it does not, and pauses between receives.
#![allow(clippy::unwrap_used, reason = "a test ends where its preparation fails")]

use async_trait::async_trait;
use cloudkit_core::api::*;
use cloudkit_core::common::*;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

type Receive = CloudResult<Vec<&'static str>>;

/// A queue whose receives are prepared, and which notes what it was asked. An empty list of receives is an empty queue that
/// does not wait.
#[derive(Default)]
struct Prepared {
    receives: Mutex<VecDeque<Receive>>,
    notes: Mutex<Vec<String>>,
    /// What a change of visibility fails with.
    refusal: Mutex<Option<fn() -> CloudError>>,
}

impl Prepared {
    fn new(receives: impl IntoIterator<Item = Receive>) -> Self {
        Self { receives: Mutex::new(receives.into_iter().collect()), ..Self::default() }
    }

    fn note(&self, text: String) {
        self.notes.lock().unwrap().push(text);
    }

    fn notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().unwrap())
    }
}

fn message(id: &str) -> Message {
    Message {
        id: ResourceId::new(id),
        body: id.to_owned(),
        receipt_handle: Some(id.to_owned()),
        attributes: Metadata::new(),
        receive_count: 1,
        sent_at: chrono::Utc::now(),
        first_received_at: None,
    }
}

fn no<T>() -> CloudResult<T> {
    Err(CloudError::Internal(String::from("not asked here")))
}

#[async_trait]
impl MessageQueue for Prepared {
    async fn create_queue(&self, _name: &str) -> CloudResult<String> {
        no()
    }

    async fn delete_queue(&self, _queue_url: &str) -> CloudResult<()> {
        no()
    }

    async fn get_queue_url(&self, _name: &str) -> CloudResult<String> {
        no()
    }

    async fn list_queues(&self, _prefix: Option<&str>) -> CloudResult<Vec<String>> {
        no()
    }

    async fn send(&self, _queue_url: &str, _body: &str) -> CloudResult<ResourceId> {
        no()
    }

    async fn send_with_options(&self, _: &str, _: &str, _: SendOptions) -> CloudResult<ResourceId> {
        no()
    }

    async fn send_batch(&self, _queue_url: &str, _messages: &[&str]) -> CloudResult<Vec<ResourceId>> {
        no()
    }

    async fn receive(&self, queue_url: &str, options: ReceiveOptions) -> CloudResult<Vec<Message>> {
        let ReceiveOptions { max_messages, visibility_timeout, wait_time } = options;
        assert_eq!((queue_url, max_messages), ("u", Some(10)));
        assert_eq!((visibility_timeout, wait_time), (Some(VISIBILITY), Some(Duration::from_secs(20))));
        self.note(String::from("receive"));
        let next = self.receives.lock().unwrap().pop_front();
        Ok(next.unwrap_or(Ok(vec![]))?.into_iter().map(message).collect())
    }

    async fn delete(&self, _queue_url: &str, message: &Message) -> CloudResult<()> {
        self.note(format!("delete {}", message.body));
        Ok(())
    }

    async fn delete_batch(&self, _queue_url: &str, _messages: &[&Message]) -> CloudResult<()> {
        no()
    }

    async fn change_visibility(&self, _: &str, message: &Message, timeout: Duration) -> CloudResult<()> {
        self.note(format!("keep {} {}", message.body, timeout.as_secs()));
        self.refusal.lock().unwrap().map_or(Ok(()), |refusal| Err(refusal()))
    }

    async fn get_queue_depth(&self, _queue_url: &str) -> CloudResult<u64> {
        no()
    }

    async fn purge(&self, _queue_url: &str) -> CloudResult<()> {
        no()
    }
}

const VISIBILITY: Duration = Duration::from_secs(30);

async fn next<'a>(stream: &mut ItemStream<'a, Delivery<'a>>) -> Delivery<'a> {
    stream.next().await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn work_keeps_its_message_and_those_that_wait_behind_it() {
    let queue = Prepared::new([Ok(vec!["a", "b"])]);
    let mut stream = queue.receive_stream("u", ReceiveStreamOptions::new());
    let first = next(&mut stream).await;
    assert_eq!(first.message().body, "a");
    assert_eq!(queue.notes(), ["receive"]);
    let done = first.hold(async {
        tokio::time::sleep(Duration::from_secs(25)).await;
        7
    });
    assert_eq!(done.await.unwrap(), 7);
    assert_eq!(queue.notes(), ["keep a 30", "keep b 30", "keep a 30", "keep b 30"], "a beat each 10 s");
    first.acknowledge().await.unwrap();
    assert_eq!(queue.notes(), ["delete a"]);

    let second = next(&mut stream).await;
    assert_eq!(queue.notes(), Vec::<String>::new(), "it came with the first receive");
    second.hold(tokio::time::sleep(Duration::from_secs(11))).await.unwrap();
    assert_eq!(queue.notes(), ["keep b 30"]);
    second.release(Duration::from_secs(5)).await.unwrap();
    assert_eq!(queue.notes(), ["keep b 5"]);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_will_take_any_more_is_not_kept() {
    let queue = Prepared::new([Ok(vec!["a", "b"])]);
    let mut stream = queue.receive_stream("u", ReceiveStreamOptions::new());
    let first = next(&mut stream).await;
    drop(stream);
    first.hold(tokio::time::sleep(Duration::from_secs(11))).await.unwrap();
    assert_eq!(queue.notes(), ["receive", "keep a 30"]);
}

#[tokio::test(start_paused = true)]
async fn work_shorter_than_a_beat_asks_for_nothing() {
    let queue = Prepared::new([Ok(vec!["a"])]);
    let mut stream = queue.receive_stream("u", ReceiveStreamOptions::new());
    let delivery = next(&mut stream).await;
    delivery.hold(tokio::time::sleep(Duration::from_secs(9))).await.unwrap();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(queue.notes(), ["receive"], "nothing beats outside hold");
    assert_eq!(delivery.into_message().body, "a");
}

#[tokio::test(start_paused = true)]
async fn work_ends_when_the_message_is_lost_and_goes_on_when_a_beat_fails_for_now() {
    let queue = Prepared::new([Ok(vec!["a"])]);
    let mut stream = queue.receive_stream("u", ReceiveStreamOptions::new());
    let delivery = next(&mut stream).await;
    *queue.refusal.lock().unwrap() =
        Some(|| CloudError::ServiceUnavailable { service: "sqs".into(), message: None });
    delivery.hold(tokio::time::sleep(Duration::from_secs(25))).await.unwrap();
    assert_eq!(queue.notes(), ["receive", "keep a 30", "keep a 30"]);

    *queue.refusal.lock().unwrap() = Some(|| CloudError::Validation("the receipt handle has expired".into()));
    let started = Instant::now();
    let lost = delivery.hold(std::future::pending::<()>()).await.unwrap_err();
    assert!(matches!(lost.kind, CloudError::Validation(_)));
    assert_eq!(started.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_does_not_wait_is_not_asked_without_end() {
    let unavailable = || Err(CloudError::ServiceUnavailable { service: "sqs".into(), message: None });
    let queue = Prepared::new([Ok(vec![]), Ok(vec![]), unavailable(), Ok(vec!["a"])]);
    let mut stream = queue.receive_stream("u", ReceiveStreamOptions::new());
    let started = Instant::now();
    assert_eq!(next(&mut stream).await.message().body, "a");
    assert_eq!(queue.notes().len(), 4);
    assert!(started.elapsed() >= Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_lasting_failure_ends_the_stream() {
    let gone = || Err(CloudError::NotFound { resource_type: "Queue".into(), resource_id: "u".into() });
    let queue = Prepared::new([gone(), Ok(vec!["a"])]);
    let mut stream = queue.receive_stream("u", ReceiveStreamOptions::new());
    assert!(stream.next().await.unwrap().unwrap_err().kind.is_not_found());
    assert!(stream.next().await.is_none());
    assert_eq!(queue.notes(), ["receive"]);
}
