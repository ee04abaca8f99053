//! What happens to messages that nobody touches, and to queues that are gone: purges, retention, sweeps.

use std::future::Future;
use std::task::Poll;

use ask::{open, redrive, with_queues};
use driver::{BEGINNING, Stop, TempDir};
use serde_json::{Value as Json, json};
use store::ManualClock;

mod ask;
mod client;
mod driver;

/// Runs two futures beside each other.
async fn both<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) -> (A, B) {
    let (mut one, mut other) = (Box::pin(one), Box::pin(other));
    let (mut first, mut second) = (None, None);
    std::future::poll_fn(move |cx| {
        if first.is_none()
            && let Poll::Ready(value) = one.as_mut().poll(cx)
        {
            first = Some(value);
        }
        if second.is_none()
            && let Poll::Ready(value) = other.as_mut().poll(cx)
        {
            second = Some(value);
        }
        match (first.take(), second.take()) {
            (Some(first), Some(second)) => Poll::Ready((first, second)),
            (left, right) => {
                (first, second) = (left, right);
                Poll::Pending
            }
        }
    })
    .await
}

#[test]
fn a_purge_takes_all_that_was_sent_before_and_nothing_that_is_sent_after() {
    with_queues("purge", |queues| async move {
        let url = queues.create("q", json!({})).await;
        for number in 0..5 {
            queues.send(&url, &format!("before-{number}")).await;
        }
        queues.send(&url, &"x".repeat(100_000)).await;
        queues
            .done("SendMessage", json!({ "QueueUrl": url, "MessageBody": "later", "DelaySeconds": 60 }))
            .await;
        let taken = queues.receive(&url, 30).await;
        assert!(!taken.is_empty());
        queues.send(&url, "ready").await;
        queues.done("PurgeQueue", json!({ "QueueUrl": url })).await;
        assert_eq!(queues.counts(&url).await, [0, 0, 0]);
        assert!(queues.bodies(&url).await.is_empty());
        queues.send(&url, "after").await;
        for (_, handle) in taken {
            queues.done("DeleteMessage", json!({ "QueueUrl": url, "ReceiptHandle": handle })).await;
        }
        queues.pass(70).await;
        assert_eq!(queues.bodies(&url).await, ["after"], "neither times nor deletes bring anything back");
        assert_eq!(queues.record_count(), 2, "one message and its state");
    });
}

#[test]
fn a_queue_is_purged_once_in_sixty_seconds() {
    with_queues("purge-often", |queues| async move {
        let url = queues.create("q", json!({})).await;
        let purge = || queues.ask("PurgeQueue", json!({ "QueueUrl": url }));
        purge().await.expect("the first");
        queues.pass(59).await;
        let error = purge().await.expect_err("too early");
        assert_eq!(
            error,
            "PurgeQueueInProgress: Only one PurgeQueue operation on q is allowed every 60 seconds."
        );
        queues.pass(1).await;
        purge().await.expect("the second");
    });
}

#[test]
fn a_purge_forgets_deduplication_ids_and_frees_groups() {
    with_queues("purge-fifo", |queues| async move {
        let url = queues.create("q.fifo", json!({ "FifoQueue": "true" })).await;
        queues.send_fifo(&url, "g", "one").await;
        queues.send_fifo(&url, "g", "two").await;
        assert_eq!(queues.receive(&url, 600).await.len(), 2);
        queues.done("PurgeQueue", json!({ "QueueUrl": url })).await;
        queues.send_fifo(&url, "g", "one").await;
        assert_eq!(queues.bodies(&url).await, ["one"]);
    });
}

#[test]
fn nothing_of_a_deleted_queue_is_left_in_the_store() {
    with_queues("delete-sweep", |queues| async move {
        let url = queues.create("q", json!({})).await;
        for number in 0..30 {
            queues.send(&url, &format!("{number}")).await;
        }
        queues.send(&url, &"x".repeat(100_000)).await;
        queues.receive(&url, 600).await;
        queues.done("DeleteQueue", json!({ "QueueUrl": url })).await;
        let url = queues.create("q", json!({})).await;
        assert_eq!(queues.counts(&url).await, [0, 0, 0], "a new queue of this name begins empty");
        queues.send(&url, "new").await;
        queues.pass(2).await;
        assert_eq!(queues.record_count(), 1);
        assert_eq!(queues.bodies(&url).await, ["new"]);
    });
}

#[test]
fn a_message_is_gone_within_two_seconds_of_the_end_of_its_retention() {
    with_queues("retention", |queues| async move {
        let url = queues.create("q", json!({ "MessageRetentionPeriod": "60" })).await;
        queues.send(&url, "first").await;
        queues
            .done("SendMessage", json!({ "QueueUrl": url, "MessageBody": "delayed", "DelaySeconds": 900 }))
            .await;
        queues.send(&url, "held").await;
        queues.pass(30).await;
        queues.send(&url, "second").await;
        assert_eq!(queues.counts(&url).await, [3, 0, 1]);
        queues.pass(29).await;
        assert_eq!(queues.counts(&url).await, [3, 0, 1]);
        let taken = queues.receive(&url, 600).await;
        assert_eq!(taken.len(), 3);
        queues.pass(3).await;
        assert_eq!(queues.counts(&url).await, [0, 1, 0], "in flight and delayed ones go too");
        queues.pass(29).await;
        assert_eq!((queues.counts(&url).await, queues.record_count()), ([0, 0, 0], 0));
        for (_, handle) in taken {
            queues.done("DeleteMessage", json!({ "QueueUrl": url, "ReceiptHandle": handle })).await;
        }
    });
}

#[test]
fn a_shorter_retention_counts_at_once_and_a_longer_one_keeps_what_is_there() {
    with_queues("retention-set", |queues| async move {
        let url = queues.create("q", json!({})).await;
        queues.send(&url, "old").await;
        queues.pass(2).await;
        queues.world.advance(100_000).await;
        queues.send(&url, "young").await;
        let set =
            |seconds: &str| json!({ "QueueUrl": url, "Attributes": { "MessageRetentionPeriod": seconds } });
        queues.done("SetQueueAttributes", set("60")).await;
        queues.pass(1).await;
        assert_eq!(queues.counts(&url).await, [1, 0, 0]);
        queues.done("SetQueueAttributes", set("600")).await;
        queues.pass(90).await;
        assert_eq!(queues.bodies(&url).await, ["young"]);
    });
}

#[test]
fn retention_frees_a_fifo_group_that_was_locked() {
    with_queues("retention-fifo", |queues| async move {
        let url =
            queues.create("q.fifo", json!({ "FifoQueue": "true", "MessageRetentionPeriod": "60" })).await;
        queues.send_fifo(&url, "g", "one").await;
        queues.pass(20).await;
        assert_eq!(queues.receive(&url, 600).await.len(), 1);
        queues.send_fifo(&url, "g", "two").await;
        assert!(queues.bodies(&url).await.is_empty());
        queues.pass(42).await;
        assert_eq!(queues.bodies(&url).await, ["two"]);
    });
}

#[test]
fn a_dead_letter_of_a_standard_queue_is_as_old_as_its_first_sending() {
    with_queues("retention-dead", |queues| async move {
        let dead = queues.create("dead", json!({ "MessageRetentionPeriod": "120" })).await;
        let url = queues.create("q", redrive("dead", 1)).await;
        queues.send(&url, "old").await;
        queues.pass(60).await;
        queues.send(&dead, "young").await;
        assert_eq!(queues.receive(&url, 0).await.len(), 1);
        assert!(queues.receive(&url, 0).await.is_empty(), "the second receive would be one too many");
        queues.pass(2).await;
        assert_eq!(queues.counts(&dead).await, [2, 0, 0]);
        queues.pass(60).await;
        assert_eq!((queues.counts(&dead).await, queues.record_count()), ([1, 0, 0], 1));
        assert_eq!(queues.bodies(&dead).await, ["young"], "though the other came after it");
    });
}

#[test]
fn a_dead_letter_of_a_fifo_queue_is_as_old_as_its_move() {
    with_queues("retention-dead-fifo", |queues| async move {
        let fifo = json!({ "FifoQueue": "true", "MessageRetentionPeriod": "120" });
        let dead = queues.create("dead.fifo", fifo).await;
        let mut attributes = redrive("dead.fifo", 1);
        attributes["FifoQueue"] = "true".into();
        let url = queues.create("q.fifo", attributes).await;
        queues.send_fifo(&url, "g", "old").await;
        queues.pass(100).await;
        assert_eq!(queues.receive(&url, 0).await.len(), 1);
        assert!(queues.receive(&url, 0).await.is_empty());
        queues.pass(100).await;
        assert_eq!(queues.counts(&dead).await, [1, 0, 0]);
        queues.pass(25).await;
        assert_eq!(queues.counts(&dead).await, [0, 0, 0]);
    });
}

#[test]
fn an_idle_fifo_queue_keeps_no_ids_that_are_over() {
    with_queues("dedup", |queues| async move {
        let url = queues.create("q.fifo", json!({ "FifoQueue": "true" })).await;
        for number in 0..20 {
            queues.send_fifo(&url, "g", &format!("{number}")).await;
        }
        assert_eq!(queues.dedup_count(), 20);
        // The first look after the sends learns when the ids are over.
        queues.world.advance(15 * 60 * 1_000).await;
        queues.pass(3).await;
        assert_eq!(queues.dedup_count(), 0);
    });
}

#[test]
fn retention_goes_on_after_a_restart() {
    let directory = TempDir::new("retention-restart");
    let clock = ManualClock::new(BEGINNING);
    open(&directory.0, &clock, Stop::AtOnce, |queues| async move {
        let url = queues.create("q", json!({ "MessageRetentionPeriod": "60" })).await;
        queues.send(&url, "old").await;
    });
    open(&directory.0, &clock, Stop::Drained, |queues| async move {
        queues.pass(59).await;
        assert_eq!(queues.record_count(), 1);
        queues.pass(3).await;
        assert_eq!(queues.record_count(), 0, "nobody asked for the queue since the start");
    });
}

#[test]
fn who_waits_for_messages_of_a_queue_hears_that_it_was_deleted() {
    with_queues("delete-waiting", |queues| async move {
        let url = queues.create("q", json!({})).await;
        let waits = queues.ask("ReceiveMessage", json!({ "QueueUrl": url, "WaitTimeSeconds": 20 }));
        let deletes = async {
            // The clock stands still: nothing but the deletion ends the wait.
            for _ in 0..50 {
                ring::yield_now().await;
            }
            queues.done("DeleteQueue", json!({ "QueueUrl": url })).await;
        };
        let (waited, ()) = both(waits, deletes).await;
        let error = waited.expect_err("the queue is gone");
        assert!(error.ends_with("The specified queue does not exist."), "{error}");
    });
}

#[test]
fn what_is_more_than_a_slice_goes_slice_by_slice() {
    with_queues("slices", |queues| async move {
        const COUNT: u64 = 1_200;
        let short = json!({ "FifoQueue": "true", "MessageRetentionPeriod": "60" });
        let (purged, deleted) =
            (queues.create("purged", json!({})).await, queues.create("deleted", json!({})).await);
        let expired = queues.create("expired.fifo", short).await;
        for url in [&purged, &deleted, &expired] {
            for batch in 0..COUNT / 10 {
                let entry = |number: u64| {
                    let id = (batch * 10 + number).to_string();
                    if url == &expired {
                        json!({ "Id": id, "MessageBody": id, "MessageGroupId": id, "MessageDeduplicationId": id })
                    } else {
                        json!({ "Id": id, "MessageBody": id })
                    }
                };
                let entries: Vec<Json> = (0..10).map(entry).collect();
                let sent =
                    queues.done("SendMessageBatch", json!({ "QueueUrl": url, "Entries": entries })).await;
                assert_eq!(sent["Successful"].as_array().map(Vec::len), Some(10));
            }
        }
        assert_eq!(queues.counts(&expired).await, [COUNT, 0, 0]);
        queues.done("PurgeQueue", json!({ "QueueUrl": purged })).await;
        queues.done("DeleteQueue", json!({ "QueueUrl": deleted })).await;
        assert_eq!(queues.counts(&purged).await, [0, 0, 0]);
        queues.pass(1).await;
        assert_eq!(queues.record_count(), COUNT as usize, "those of the third queue");
        queues.world.advance(60_000).await;
        assert_eq!((queues.counts(&expired).await, queues.record_count()), ([0, 0, 0], 0));
        queues.send_fifo(&expired, "g", "new").await;
        assert_eq!(queues.bodies(&expired).await, ["new"]);
    });
}

#[test]
fn a_background_that_finds_nothing_to_do_writes_nothing() {
    with_queues("idle", |queues| async move {
        let url = queues.create("q", json!({})).await;
        queues.send(&url, "waits").await;
        queues.pass(3).await;
        let lsns = || {
            let lsn = |shard| queues.world.store.view(shard).expect("a view").lsn();
            queues.world.store.shards().map(lsn).collect::<Vec<_>>()
        };
        let before = lsns();
        queues.pass(30).await;
        assert_eq!(lsns(), before);
    });
}
