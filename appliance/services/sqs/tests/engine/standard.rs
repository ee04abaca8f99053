//! Standard queues.

use std::rc::Rc;
use std::time::Duration;

use sqs::engine::{Counts, NewMessage, ReceiveRequest, Refusal};
use sqs::model::handle::HandleError;
use sqs::model::queue::Attributes;
use store::ManualClock;

use crate::world::{START, TempDir, bodies, body, grouped, ten, with_world, with_world_at};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_message_is_received_hidden_and_deleted() {
    with_world("receive", |world| async move {
        world.put("q", Attributes::default()).await;
        let sent = world.send("q", body("hello")).await;
        assert_eq!(sent.sequence, None);
        assert_eq!(world.counts("q").await, Counts { visible: 1, in_flight: 0, delayed: 0 });
        let received = world.receive("q", ten()).await;
        assert_eq!(bodies(&received), ["hello"]);
        let first = &received[0];
        assert_eq!((first.message.id, first.receive_count), (sent.message_id, 1));
        assert_eq!((first.message.sent_ms, first.first_receive_ms), (START.0, START.0));
        assert_eq!(world.counts("q").await, Counts { visible: 0, in_flight: 1, delayed: 0 });
        assert!(world.receive("q", ten()).await.is_empty());
        world.delete("q", &first.handle).await.expect("deletes");
        world.delete("q", &first.handle).await.expect("a second delete succeeds");
        assert_eq!(world.counts("q").await, Counts::default());
        world.pass(60 * SECOND).await;
        assert!(world.receive("q", ten()).await.is_empty());
    });
}

#[test]
fn a_message_comes_back_with_a_new_handle_and_a_higher_count() {
    with_world("back", |world| async move {
        world.put("q", Attributes::default()).await;
        world.send("q", body("x")).await;
        let first = world.receive("q", ten()).await.remove(0);
        world.pass(29 * SECOND).await;
        assert!(world.receive("q", ten()).await.is_empty());
        world.pass(SECOND).await;
        let second = world.receive("q", ten()).await.remove(0);
        assert_eq!((second.receive_count, second.first_receive_ms), (2, START.0));
        assert_ne!(first.handle, second.handle);
        world.delete("q", &first.handle).await.expect("an older handle succeeds and removes nothing");
        assert_eq!(world.counts("q").await.in_flight, 1);
        world.pass(31 * SECOND).await;
        world.delete("q", &second.handle).await.expect("the latest removes, also after its time");
        assert_eq!(world.counts("q").await, Counts::default());
        assert!(world.receive("q", ten()).await.is_empty());
    });
}

#[test]
fn visibility_is_changed_from_now_on() {
    with_world("change", |world| async move {
        world.put("q", Attributes::default()).await;
        world.send("q", body("x")).await;
        let request = ReceiveRequest { visibility_seconds: Some(5), ..ten() };
        let first = world.receive("q", request).await.remove(0);
        world.pass(4 * SECOND).await;
        world.change("q", &first.handle, 10).await.expect("changes");
        world.pass(9 * SECOND).await;
        assert!(world.receive("q", ten()).await.is_empty());
        world.change("q", &first.handle, 0).await.expect("is visible at once");
        let refused = world.change("q", &first.handle, 5).await;
        assert!(matches!(refused, Err(Refusal::NotInFlight)), "{refused:?}");
        let second = world.receive("q", ten()).await.remove(0);
        let refused = world.change("q", &first.handle, 5).await;
        assert!(matches!(refused, Err(Refusal::NotAvailable)), "{refused:?}");
        world.pass(20 * SECOND).await;
        let refused = world.change("q", &second.handle, 43_190).await;
        assert!(matches!(refused, Err(Refusal::VisibilityTooLong)), "{refused:?}");
        world.change("q", &second.handle, 43_180).await.expect("12 hours in all");
        world.delete("q", &second.handle).await.expect("deletes");
        let refused = world.change("q", &second.handle, 5).await;
        assert!(matches!(refused, Err(Refusal::NotAvailable)), "{refused:?}");
    });
}

#[test]
fn delays_are_the_messages_or_the_queues() {
    with_world("delay", |world| async move {
        world.put("q", Attributes { delay_seconds: 10, ..Attributes::default() }).await;
        world.send("q", body("queue")).await;
        world.send("q", NewMessage { delay_seconds: Some(0), ..body("none") }).await;
        world.send("q", NewMessage { delay_seconds: Some(20), ..body("own") }).await;
        assert_eq!(world.counts("q").await, Counts { visible: 1, in_flight: 0, delayed: 2 });
        assert_eq!(bodies(&world.receive("q", ten()).await), ["none"]);
        world.pass(10 * SECOND).await;
        assert_eq!(bodies(&world.receive("q", ten()).await), ["queue"]);
        world.pass(10 * SECOND).await;
        assert_eq!(bodies(&world.receive("q", ten()).await), ["own"]);
    });
}

#[test]
fn bodies_of_every_size_come_back() {
    with_world("sizes", |world| async move {
        world.put("q", Attributes::default()).await;
        for size in [1, 4_096, 4_097, 32_768, 32_769, 262_144, 1_048_576] {
            let text = vec![b'a' + (size % 26) as u8; size];
            world.send("q", body(text.clone())).await;
            let received = world.receive("q", ten()).await.remove(0);
            assert_eq!(received.body, text, "{size}");
            world.delete("q", &received.handle).await.expect("deletes");
        }
        let refused = world.send_all("q", vec![body(vec![b'x'; 1_048_577])]).await.remove(0);
        assert!(matches!(refused, Err(Refusal::MessageTooLong { bytes_max: 1_048_576 })), "{refused:?}");
        assert_eq!(world.counts("q").await, Counts::default());
    });
}

#[test]
fn a_message_past_its_retention_is_not_delivered() {
    with_world("retention", |world| async move {
        world.put("q", Attributes { retention_seconds: 60, ..Attributes::default() }).await;
        for batch in 0..35 {
            let batch = (0..10).map(|number| body(format!("old {batch} {number}")));
            world.send_all("q", batch.collect()).await;
        }
        world.pass(30 * SECOND).await;
        world.send("q", body("young")).await;
        world.pass(30 * SECOND).await;
        assert_eq!(bodies(&world.receive("q", ten()).await), ["young"]);
        assert_eq!(world.counts("q").await, Counts { visible: 0, in_flight: 1, delayed: 0 });
    });
}

#[test]
fn handles_are_of_one_queue() {
    with_world("handles", |world| async move {
        world.put("q", Attributes::default()).await;
        world.put("r", Attributes::default()).await;
        world.send("q", body("x")).await;
        let received = world.receive("q", ten()).await.remove(0);
        let foreign = world.delete("r", &received.handle).await;
        assert!(matches!(foreign, Err(Refusal::Handle(HandleError::Foreign))), "{foreign:?}");
        let results = world.delete_all("q", vec!["nonsense".into(), received.handle.into()]).await;
        assert!(matches!(results[0], Err(Refusal::Handle(HandleError::Malformed))), "{results:?}");
        assert!(results[1].is_ok());
        let refused = world.try_receive("nothing", ten()).await;
        assert!(matches!(refused, Err(Refusal::NoQueue)), "{refused:?}");
    });
}

#[test]
fn a_long_poll_ends_with_the_send_and_else_at_its_time() {
    with_world("poll", |world| async move {
        world.put("q", Attributes { wait_seconds: 7, ..Attributes::default() }).await;
        let waiting = |wait_seconds| {
            let world = Rc::clone(&world);
            ring::spawn(async move {
                let received = world.receive("q", ReceiveRequest { wait_seconds, ..ten() }).await;
                (bodies(&received), world.clock.now().0 - START.0)
            })
        };
        let (first, second) = (waiting(Some(20)), waiting(None));
        world.settle().await;
        world.pass(5 * SECOND).await;
        world.send("q", body("x")).await;
        assert_eq!(first.await, (vec!["x".to_owned()], 5_000), "the oldest");
        world.pass(2 * SECOND).await;
        assert_eq!(second.await, (Vec::new(), 7_000), "as long as the queue says");
    });
}

#[test]
fn a_long_poll_ends_when_a_message_comes_back() {
    with_world("poll-back", |world| async move {
        world.put("q", Attributes::default()).await;
        world.send("q", body("x")).await;
        world.send("q", NewMessage { delay_seconds: Some(9), ..body("late") }).await;
        let first = world.receive("q", ReceiveRequest { visibility_seconds: Some(4), ..ten() }).await;
        assert_eq!(first.len(), 1);
        let waiting = || {
            let world = Rc::clone(&world);
            ring::spawn(async move {
                let received = world.receive("q", ReceiveRequest { wait_seconds: Some(20), ..ten() }).await;
                (bodies(&received), world.clock.now().0 - START.0)
            })
        };
        let (one, other) = (waiting(), waiting());
        world.settle().await;
        for _ in 0..9 {
            world.pass(SECOND).await;
        }
        assert_eq!(one.await, (vec!["x".to_owned()], 4_000), "its visibility ended");
        assert_eq!(other.await, (vec!["late".to_owned()], 9_000), "its delay ended");
    });
}

#[test]
fn one_send_of_ten_serves_ten_polls() {
    with_world("poll-ten", |world| async move {
        world.put("q", Attributes::default()).await;
        let polls: Vec<_> = (0..12)
            .map(|_| {
                let world = Rc::clone(&world);
                let request = ReceiveRequest { count_max: 1, wait_seconds: Some(20), ..ten() };
                ring::spawn(async move { world.receive("q", request).await.len() })
            })
            .collect();
        world.settle().await;
        world.send_all("q", (0..10).map(|number| body(number.to_string())).collect()).await;
        world.pass(20 * SECOND).await;
        let mut served = Vec::new();
        for poll in polls {
            served.push(poll.await);
        }
        assert_eq!(served, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
    });
}

#[test]
fn a_quiet_tenant_is_served_before_a_loud_one() {
    with_world("fair", |world| async move {
        world.put("q", Attributes::default()).await;
        for number in 0..20 {
            world.send("q", grouped("loud", &format!("loud {number}"))).await;
        }
        assert_eq!(world.receive("q", ten()).await.len(), 10);
        world.send("q", grouped("quiet", "quiet")).await;
        let request = ReceiveRequest { count_max: 1, ..ten() };
        assert_eq!(bodies(&world.receive("q", request).await), ["quiet"]);
    });
}

#[test]
fn a_purge_takes_all_that_was_sent_before_it() {
    with_world("purge", |world| async move {
        world.put("q", Attributes::default()).await;
        world.send("q", body("in flight")).await;
        let received = world.receive("q", ten()).await.remove(0);
        world.send("q", NewMessage { delay_seconds: Some(5), ..body("delayed") }).await;
        world.send("q", body("ready")).await;
        world.purge("q", Attributes::default()).await;
        world.send("q", body("new")).await;
        assert_eq!(world.counts("q").await, Counts { visible: 1, in_flight: 0, delayed: 0 });
        world.delete("q", &received.handle).await.expect("handles of purged messages delete");
        world.pass(60 * SECOND).await;
        assert_eq!(bodies(&world.receive("q", ten()).await), ["new"]);
    });
}

#[test]
fn a_deleted_queue_ends_the_polls_that_wait_for_it() {
    with_world("removed", |world| async move {
        world.put("q", Attributes::default()).await;
        let poll = {
            let world = Rc::clone(&world);
            let request = ReceiveRequest { wait_seconds: Some(20), ..ten() };
            ring::spawn(async move { world.try_receive("q", request).await })
        };
        world.settle().await;
        world.remove("q").await;
        let ended = poll.await;
        assert!(matches!(ended, Err(Refusal::NoQueue)), "{ended:?}");
    });
}

#[test]
fn a_queue_is_after_a_start_what_it_was_before() {
    let directory = TempDir::new("restart");
    let clock = ManualClock::new(START);
    with_world_at(&directory.0, &clock, |world| async move {
        world.put("q", Attributes::default()).await;
        for number in 0..25 {
            world.send("q", body(number.to_string())).await;
        }
        let received = world.receive("q", ten()).await;
        for received in &received[..5] {
            world.delete("q", &received.handle).await.expect("deletes");
        }
        world.send("q", NewMessage { delay_seconds: Some(60), ..body("delayed") }).await;
        world.send("q", grouped("tenant", "grouped")).await;
    });
    with_world_at(&directory.0, &clock, |world| async move {
        assert_eq!(world.counts("q").await, Counts { visible: 16, in_flight: 5, delayed: 1 });
        let mut all = bodies(&world.receive("q", ten()).await);
        all.extend(bodies(&world.receive("q", ten()).await));
        assert_eq!(all.len(), 16);
        assert!(all.contains(&"grouped".to_owned()) && !all.contains(&"7".to_owned()));
        world.pass(30 * SECOND).await;
        let back = world.receive("q", ten()).await;
        assert_eq!(back.len(), 10);
        assert!(back.iter().all(|received| received.receive_count == 2));
        world.pass(30 * SECOND).await;
        assert_eq!(world.counts("q").await, Counts { visible: 22, in_flight: 0, delayed: 0 });
    });
}

#[test]
fn a_poll_hears_of_a_message_though_an_older_poll_gave_up_before_it() {
    with_world("poll-outlives", |world| async move {
        world.put("q", Attributes::default()).await;
        world.send("q", body("early")).await;
        let early = world.receive("q", ReceiveRequest { visibility_seconds: Some(5), ..ten() }).await;
        world.send("q", NewMessage { delay_seconds: Some(10), ..body("late") }).await;
        let waiting = |seconds| {
            let world = Rc::clone(&world);
            ring::spawn(async move {
                let request = ReceiveRequest { wait_seconds: Some(seconds), ..ten() };
                let received = world.receive("q", request).await;
                (bodies(&received), world.clock.now().0 - START.0)
            })
        };
        let (short, long) = (waiting(6), waiting(20));
        world.settle().await;
        world.delete("q", &early[0].handle).await.expect("deletes");
        for _ in 0..12 {
            world.pass(SECOND).await;
        }
        assert_eq!(short.await, (Vec::new(), 6_000));
        assert_eq!(long.await, (vec!["late".to_owned()], 10_000));
    });
}
