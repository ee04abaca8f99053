//! Move tasks through the service and a store: where messages go, how fast, and what survives.

use ask::{arn, open, redrive, with_queues};
use driver::{BEGINNING, Stop, TempDir};
use serde_json::json;
use store::ManualClock;

mod ask;
mod client;
mod driver;

#[test]
fn a_move_task_takes_each_message_back_to_where_it_came_from() {
    with_queues("move-back", |queues| async move {
        let dead = queues.create("dead", json!({})).await;
        let (one, two) =
            (queues.create("one", redrive("dead", 1)).await, queues.create("two", redrive("dead", 1)).await);
        let long = "x".repeat(300_000);
        for (url, body) in [(&one, "a"), (&two, "b"), (&one, long.as_str())] {
            queues.send(url, body).await;
            queues.receive(url, 0).await;
            assert!(queues.receive(url, 0).await.is_empty(), "a dead letter");
        }
        queues.pass(2).await;
        assert_eq!(queues.counts(&dead).await, [3, 0, 0]);
        let started = queues.done("StartMessageMoveTask", json!({ "SourceArn": arn("dead") })).await;
        assert_eq!(queues.task("dead").await["TaskHandle"], started["TaskHandle"]);
        queues.pass(3).await;
        let task = queues.task("dead").await;
        assert_eq!((&task["Status"], task.get("TaskHandle")), (&json!("COMPLETED"), None));
        assert_eq!(task["ApproximateNumberOfMessagesMoved"], 3);
        assert_eq!(task["ApproximateNumberOfMessagesToMove"], 3);
        assert_eq!(queues.counts(&dead).await, [0, 0, 0]);
        assert_eq!(queues.bodies(&two).await, ["b"]);
        let mut back = queues.bodies(&one).await;
        back.sort_unstable();
        assert_eq!(back, ["a", long.as_str()]);
    });
}

#[test]
fn a_message_that_was_moved_back_is_new() {
    with_queues("move-new", |queues| async move {
        let dead = queues.create("dead", json!({})).await;
        let url = queues.create("q", redrive("dead", 1)).await;
        queues.send(&url, "a").await;
        queues.receive(&url, 0).await;
        queues.receive(&url, 0).await;
        queues.pass(10).await;
        queues.done("StartMessageMoveTask", json!({ "SourceArn": arn("dead") })).await;
        queues.pass(3).await;
        let request = json!({ "QueueUrl": url, "MessageSystemAttributeNames": ["All"] });
        let message = queues.done("ReceiveMessage", request).await["Messages"][0].take();
        assert_eq!(
            (&message["Body"], &message["Attributes"]["ApproximateReceiveCount"]),
            (&json!("a"), &json!("1"))
        );
        assert!(message["Attributes"].get("DeadLetterQueueSourceArn").is_none());
        let sent: u64 = message["Attributes"]["SentTimestamp"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("a time");
        assert!(sent >= BEGINNING.0 + 10_000, "its retention begins anew");
        assert_eq!(queues.counts(&dead).await, [0, 0, 0]);
    });
}

#[test]
fn a_move_task_with_a_rate_takes_its_time_and_can_be_cancelled() {
    with_queues("move-rate", |queues| async move {
        let dead = queues.create("dead", json!({})).await;
        queues.create("q", redrive("dead", 1)).await;
        let target = queues.create("target", json!({})).await;
        for number in 0..40 {
            queues.send(&dead, &number.to_string()).await;
        }
        let start = json!({
            "SourceArn": arn("dead"), "DestinationArn": arn("target"), "MaxNumberOfMessagesPerSecond": 5,
        });
        let handle = queues.done("StartMessageMoveTask", start.clone()).await["TaskHandle"].take();
        let error = queues.ask("StartMessageMoveTask", start).await.expect_err("one is active");
        assert!(
            error.ends_with("Only one active task is allowed for a source queue arn at a given time."),
            "{error}"
        );
        queues.pass(4).await;
        let moved = queues.task("dead").await["ApproximateNumberOfMessagesMoved"].as_u64().expect("a number");
        assert!((15..=25).contains(&moved), "{moved} in four seconds");
        let told = queues.done("CancelMessageMoveTask", json!({ "TaskHandle": handle })).await;
        assert_eq!(told["ApproximateNumberOfMessagesMoved"], moved);
        queues.pass(3).await;
        let task = queues.task("dead").await;
        assert_eq!((&task["Status"], &task["DestinationArn"]), (&json!("CANCELLED"), &json!(arn("target"))));
        let (left, arrived) = (queues.counts(&dead).await[0], queues.counts(&target).await[0]);
        assert_eq!((left + arrived, arrived), (40, moved));
        let error = queues.ask("CancelMessageMoveTask", json!({ "TaskHandle": handle })).await;
        error.expect_err("it is over");
    });
}

#[test]
fn a_move_task_fails_where_it_cannot_know_or_reach_its_destination() {
    with_queues("move-fail", |queues| async move {
        let dead = queues.create("dead", json!({})).await;
        queues.create("q", redrive("dead", 1)).await;
        queues.send(&dead, "by a client").await;
        queues.done("StartMessageMoveTask", json!({ "SourceArn": arn("dead") })).await;
        queues.pass(2).await;
        let task = queues.task("dead").await;
        assert_eq!(
            (&task["Status"], &task["FailureReason"]),
            (&json!("FAILED"), &json!("CouldNotDetermineMessageSource"))
        );
        let target = queues.create("target", json!({})).await;
        let start = json!({ "SourceArn": arn("dead"), "DestinationArn": arn("target") });
        queues.done("StartMessageMoveTask", start).await;
        queues.done("DeleteQueue", json!({ "QueueUrl": target })).await;
        queues.pass(2).await;
        let task = queues.task("dead").await;
        assert_eq!(
            (&task["Status"], &task["FailureReason"]),
            (&json!("FAILED"), &json!("AWS.SimpleQueueService.NonExistentQueue"))
        );
        assert_eq!(queues.counts(&dead).await, [1, 0, 0], "nothing is lost");
    });
}

#[test]
fn a_move_task_goes_on_after_a_restart_and_neither_loses_nor_doubles() {
    let directory = TempDir::new("move-restart");
    let clock = ManualClock::new(BEGINNING);
    open(&directory.0, &clock, Stop::AtOnce, |queues| async move {
        let dead = queues.create("dead", json!({})).await;
        queues.create("q", redrive("dead", 1)).await;
        queues.create("target", json!({})).await;
        for number in 0..30 {
            queues.send(&dead, &format!("{number:02}")).await;
        }
        let start = json!({
            "SourceArn": arn("dead"), "DestinationArn": arn("target"), "MaxNumberOfMessagesPerSecond": 10,
        });
        queues.done("StartMessageMoveTask", start).await;
        queues.world.advance(1_000).await;
    });
    open(&directory.0, &clock, Stop::Drained, |queues| async move {
        queues.pass(6).await;
        let task = queues.task("dead").await;
        assert_eq!(
            (&task["Status"], &task["ApproximateNumberOfMessagesMoved"]),
            (&json!("COMPLETED"), &json!(30))
        );
        let target = queues.create("target", json!({})).await;
        let mut bodies = Vec::new();
        loop {
            let some = queues.bodies(&target).await;
            if some.is_empty() {
                break;
            }
            bodies.extend(some);
        }
        bodies.sort_unstable();
        assert_eq!(bodies, (0..30).map(|number| format!("{number:02}")).collect::<Vec<_>>());
    });
}

#[test]
fn a_move_task_keeps_the_order_of_a_fifo_group_and_is_not_deduplicated() {
    with_queues("move-fifo", |queues| async move {
        let dead = queues.create("dead.fifo", json!({ "FifoQueue": "true" })).await;
        let mut attributes = redrive("dead.fifo", 1);
        attributes["FifoQueue"] = "true".into();
        let url = queues.create("q.fifo", attributes).await;
        for number in 0..5 {
            queues.send_fifo(&url, "g", &number.to_string()).await;
        }
        assert_eq!(queues.receive(&url, 0).await.len(), 5);
        assert!(queues.receive(&url, 0).await.is_empty());
        queues.pass(2).await;
        assert_eq!(queues.counts(&dead).await, [5, 0, 0]);
        queues.done("StartMessageMoveTask", json!({ "SourceArn": arn("dead.fifo") })).await;
        queues.pass(3).await;
        assert_eq!(
            queues.bodies(&url).await,
            ["0", "1", "2", "3", "4"],
            "within five minutes of their sends"
        );
    });
}

#[test]
fn the_last_ten_tasks_of_a_queue_are_kept_and_shown_newest_first() {
    with_queues("move-list", |queues| async move {
        queues.create("dead", json!({})).await;
        queues.create("q", redrive("dead", 1)).await;
        for _ in 0..12 {
            queues.done("StartMessageMoveTask", json!({ "SourceArn": arn("dead") })).await;
            queues.pass(1).await;
        }
        let one = queues.done("ListMessageMoveTasks", json!({ "SourceArn": arn("dead") })).await;
        assert_eq!(one["Results"].as_array().map(Vec::len), Some(1));
        let all =
            queues.done("ListMessageMoveTasks", json!({ "SourceArn": arn("dead"), "MaxResults": 10 })).await;
        let started: Vec<u64> = all["Results"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|task| task["StartedTimestamp"].as_u64())
            .collect();
        assert_eq!(started.len(), 10);
        assert!(started.is_sorted_by(|newer, older| newer > older));
        assert_eq!(one["Results"][0], all["Results"][0]);
    });
}

#[test]
fn a_move_task_needs_a_dead_letter_queue_and_queues_that_are_there() {
    with_queues("move-refused", |queues| async move {
        queues.create("dead", json!({})).await;
        queues.create("plain", json!({})).await;
        queues.create("q", redrive("dead", 1)).await;
        for (request, error) in [
            (json!({}), "The request must contain the parameter SourceArn."),
            (json!({ "SourceArn": arn("plain") }), "Source queue must be configured as a Dead Letter Queue."),
            (
                json!({ "SourceArn": arn("absent") }),
                "The resource that you specified for the SourceArn parameter doesn't exist.",
            ),
            (
                json!({ "SourceArn": arn("dead"), "DestinationArn": arn("absent") }),
                "The resource that you specified for the DestinationArn parameter doesn't exist.",
            ),
            (
                json!({ "SourceArn": arn("dead"), "MaxNumberOfMessagesPerSecond": 501 }),
                "Value 501 for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: Must be between 1 and 500, if \
                 provided.",
            ),
            (
                json!({ "SourceArn": "dead" }),
                "You must use this format to specify the SourceArn: \
                 arn:<partition>:<service>:<region>:<account-id>:<resource-id>",
            ),
        ] {
            let told = queues.ask("StartMessageMoveTask", request).await.expect_err("is refused");
            assert!(told.ends_with(error), "{told}");
        }
        let told = queues.ask("CancelMessageMoveTask", json!({ "TaskHandle": "foobared" })).await;
        assert!(told.expect_err("is refused").ends_with("Value for parameter TaskHandle is invalid."));
    });
}
