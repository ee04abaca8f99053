//! FIFO queues.

use std::rc::Rc;
use std::time::Duration;

use sqs::engine::{Counts, NewMessage, ReceiveRequest, Refusal};
use sqs::model::queue::{Attributes, DeduplicationScope, Fifo};
use store::ManualClock;

use crate::world::{START, TempDir, bodies, body, fifo, grouped, ten, with_world, with_world_at};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn groups_are_in_order_and_locked_while_in_flight() {
    with_world("order", |world| async move {
        world.put("q.fifo", fifo()).await;
        let batch = ["a", "b", "a", "a", "b"].iter().enumerate();
        let batch = batch.map(|(number, group)| grouped(group, &format!("{group}{number}")));
        let sent = world.send_all("q.fifo", batch.collect()).await;
        let sequences: Vec<_> = sent.iter().map(|sent| sent.as_ref().expect("taken").sequence).collect();
        assert!(sequences.windows(2).all(|pair| pair[0] < pair[1]), "{sequences:?}");
        let request = ReceiveRequest { count_max: 2, ..ten() };
        let first = world.receive("q.fifo", request.clone()).await;
        assert_eq!(bodies(&first), ["a0", "a2"]);
        let second = world.receive("q.fifo", request.clone()).await;
        assert_eq!(bodies(&second), ["b1", "b4"]);
        assert!(world.receive("q.fifo", ten()).await.is_empty());
        world.delete("q.fifo", &first[1].handle).await.expect("deletes");
        assert!(world.receive("q.fifo", ten()).await.is_empty(), "the first of the two still locks it");
        world.delete("q.fifo", &first[0].handle).await.expect("deletes");
        assert_eq!(bodies(&world.receive("q.fifo", ten()).await), ["a3"]);
        assert_eq!(world.counts("q.fifo").await, Counts { visible: 0, in_flight: 3, delayed: 0 });
    });
}

#[test]
fn one_receive_fills_up_from_the_next_group() {
    with_world("interleave", |world| async move {
        world.put("q.fifo", fifo()).await;
        for (group, text) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")] {
            world.send("q.fifo", grouped(group, text)).await;
        }
        let received = world.receive("q.fifo", ReceiveRequest { count_max: 3, ..ten() }).await;
        assert_eq!(bodies(&received), ["1", "3", "2"]);
        assert_eq!(bodies(&world.receive("q.fifo", ten()).await), ["4"]);
    });
}

#[test]
fn handles_of_fifo_queues_expire() {
    with_world("expire", |world| async move {
        world.put("q.fifo", fifo()).await;
        world.send("q.fifo", grouped("g", "1")).await;
        let first = world.receive("q.fifo", ten()).await.remove(0);
        world.pass(30 * SECOND).await;
        for refused in
            [world.delete("q.fifo", &first.handle).await, world.change("q.fifo", &first.handle, 5).await]
        {
            assert!(matches!(refused, Err(Refusal::HandleExpired)), "{refused:?}");
        }
        let second = world.receive("q.fifo", ten()).await.remove(0);
        assert_eq!(second.receive_count, 2);
        let refused = world.delete("q.fifo", &first.handle).await;
        assert!(matches!(refused, Err(Refusal::HandleExpired)), "{refused:?}");
        world.delete("q.fifo", &second.handle).await.expect("deletes");
        world.delete("q.fifo", &second.handle).await.expect("a second delete succeeds");
    });
}

#[test]
fn a_repeat_within_five_minutes_is_answered_like_the_first() {
    with_world("dedup", |world| async move {
        let attributes = Attributes { fifo: Some(Fifo::default()), ..Attributes::default() };
        world.put("q.fifo", attributes).await;
        let with_id =
            |group: &str, text: &str| NewMessage { deduplication: Some("id".into()), ..grouped(group, text) };
        let first = world.send("q.fifo", with_id("a", "1")).await;
        let received = world.receive("q.fifo", ten()).await.remove(0);
        assert_eq!(received.message.deduplication.as_deref(), Some("id"));
        world.delete("q.fifo", &received.handle).await.expect("deletes");
        world.pass(299 * SECOND).await;
        assert_eq!(world.send("q.fifo", with_id("b", "2")).await, first);
        assert!(world.receive("q.fifo", ten()).await.is_empty());
        world.pass(SECOND).await;
        let third = world.send("q.fifo", with_id("b", "3")).await;
        assert_ne!(third.message_id, first.message_id);
        world.pass(299 * SECOND).await;
        assert_eq!(world.send("q.fifo", with_id("b", "4")).await, third, "five minutes from the new first");
        let refused = world.send_all("q.fifo", vec![grouped("a", "x")]).await.remove(0);
        assert!(matches!(refused, Err(Refusal::NoDeduplication)), "{refused:?}");
    });
}

#[test]
fn bodies_and_groups_deduplicate_as_the_queue_says() {
    with_world("scope", |world| async move {
        world.put("q.fifo", fifo()).await;
        let first = world.send("q.fifo", grouped("a", "same")).await;
        assert_eq!(world.send("q.fifo", grouped("b", "same")).await, first);
        let mut two = world.send_all("q.fifo", vec![grouped("b", "new"), grouped("b", "new")]).await;
        assert_eq!(two.remove(0).expect("taken"), two.remove(0).expect("taken"), "within one batch");
        let by_group =
            Fifo { content_based: true, scope: DeduplicationScope::MessageGroup, ..Fifo::default() };
        world.put("r.fifo", Attributes { fifo: Some(by_group), ..Attributes::default() }).await;
        let first = world.send("r.fifo", grouped("a", "same")).await;
        assert_ne!(world.send("r.fifo", grouped("b", "same")).await, first);
        assert_eq!(world.send("r.fifo", grouped("a", "same")).await, first);
    });
}

#[test]
fn what_a_kind_of_queue_does_not_take_is_refused() {
    with_world("kinds", |world| async move {
        world.put("q.fifo", fifo()).await;
        world.put("q", Attributes::default()).await;
        let delayed = NewMessage { delay_seconds: Some(5), ..grouped("a", "x") };
        let results = world.send_all("q.fifo", vec![delayed, body("x"), grouped("a", "y")]).await;
        let named = |result: &Result<_, Refusal>, name: &str| matches!(result, Err(Refusal::NotForThisQueue { parameter, .. }) if *parameter == name);
        assert!(named(&results[0], "DelaySeconds"), "{results:?}");
        assert!(matches!(results[1], Err(Refusal::NoGroup)), "{results:?}");
        assert!(results[2].is_ok());
        let id = NewMessage { deduplication: Some("id".into()), ..body("x") };
        let refused = world.send_all("q", vec![id]).await;
        assert!(named(&refused[0], "MessageDeduplicationId"), "{refused:?}");
    });
}

#[test]
fn a_queues_delay_keeps_the_order_of_a_group() {
    with_world("fifo-delay", |world| async move {
        world.put("q.fifo", Attributes { delay_seconds: 10, ..fifo() }).await;
        world.send("q.fifo", grouped("a", "1")).await;
        world.put("q.fifo", fifo()).await;
        world.send("q.fifo", grouped("a", "2")).await;
        world.send("q.fifo", grouped("b", "3")).await;
        assert_eq!(bodies(&world.receive("q.fifo", ten()).await), ["3"]);
        world.pass(10 * SECOND).await;
        assert_eq!(bodies(&world.receive("q.fifo", ten()).await), ["1", "2"]);
    });
}

#[test]
fn a_freed_group_wakes_a_poll() {
    with_world("fifo-poll", |world| async move {
        world.put("q.fifo", fifo()).await;
        world.send_all("q.fifo", vec![grouped("a", "1"), grouped("a", "2")]).await;
        let first = world.receive("q.fifo", ReceiveRequest { count_max: 1, ..ten() }).await.remove(0);
        let poll = {
            let world = Rc::clone(&world);
            let request = ReceiveRequest { wait_seconds: Some(20), ..ten() };
            ring::spawn(async move {
                let received = world.receive("q.fifo", request).await;
                (bodies(&received), world.clock.now().0 - START.0)
            })
        };
        world.settle().await;
        world.pass(3 * SECOND).await;
        world.delete("q.fifo", &first.handle).await.expect("deletes");
        assert_eq!(poll.await, (vec!["2".to_owned()], 3_000));
    });
}

#[test]
fn an_attempt_gives_the_same_messages_and_handles_again() {
    with_world("attempt", |world| async move {
        world.put("q.fifo", fifo()).await;
        world.send_all("q.fifo", vec![grouped("a", "1"), grouped("a", "2"), grouped("b", "3")]).await;
        let request = ReceiveRequest { count_max: 2, attempt: Some("try".into()), ..ten() };
        let first = world.receive("q.fifo", request.clone()).await;
        world.pass(20 * SECOND).await;
        let again = world.receive("q.fifo", request.clone()).await;
        let handles = |received: &[sqs::engine::Received]| {
            received.iter().map(|received| received.handle.clone()).collect::<Vec<_>>()
        };
        assert_eq!((bodies(&again), handles(&again)), (bodies(&first), handles(&first)));
        assert_eq!(again[0].receive_count, 1);
        world.pass(20 * SECOND).await;
        assert_eq!(bodies(&world.receive("q.fifo", ten()).await), ["3"], "their visibility was restarted");
        world.pass(15 * SECOND).await;
        let late = world.receive("q.fifo", request.clone()).await;
        assert_eq!(handles(&late), handles(&first), "also after their time, while nobody else took them");
        world.delete("q.fifo", &late[0].handle).await.expect("deletes");
        let refused = world.try_receive("q.fifo", request.clone()).await;
        assert!(matches!(refused, Err(Refusal::AttemptChanged)), "{refused:?}");
        world.pass(300 * SECOND).await;
        assert_eq!(bodies(&world.receive("q.fifo", request).await), ["3", "2"], "as they came back");
    });
}

#[test]
fn locks_deduplication_and_attempts_outlive_a_start() {
    let directory = TempDir::new("fifo-restart");
    let clock = ManualClock::new(START);
    let request = ReceiveRequest { count_max: 1, attempt: Some("try".into()), ..ten() };
    let repeated = request.clone();
    with_world_at(&directory.0, &clock, |world| async move {
        world.put("q.fifo", fifo()).await;
        world.send_all("q.fifo", vec![grouped("a", "1"), grouped("a", "2"), grouped("b", "3")]).await;
        assert_eq!(bodies(&world.receive("q.fifo", request).await), ["1"]);
    });
    with_world_at(&directory.0, &clock, |world| async move {
        assert_eq!(world.counts("q.fifo").await, Counts { visible: 2, in_flight: 1, delayed: 0 });
        assert_eq!(bodies(&world.receive("q.fifo", ten()).await), ["3"]);
        world.send("q.fifo", grouped("c", "1")).await;
        assert!(world.receive("q.fifo", ten()).await.is_empty(), "sent before");
        assert_eq!(bodies(&world.receive("q.fifo", repeated).await), ["1"]);
        world.pass(30 * SECOND).await;
        assert_eq!(bodies(&world.receive("q.fifo", ten()).await), ["1", "2", "3"]);
    });
}

#[test]
fn a_purge_forgets_attempts_and_deduplication() {
    with_world("fifo-purge", |world| async move {
        world.put("q.fifo", fifo()).await;
        let first = world.send("q.fifo", grouped("a", "1")).await;
        let request = ReceiveRequest { attempt: Some("try".into()), ..ten() };
        assert_eq!(bodies(&world.receive("q.fifo", request.clone()).await), ["1"]);
        world.purge("q.fifo", fifo()).await;
        assert_ne!(world.send("q.fifo", grouped("a", "1")).await.message_id, first.message_id);
        assert_eq!(world.receive("q.fifo", request).await[0].receive_count, 1);
    });
}
