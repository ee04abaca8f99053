//! Dead letters and messages that move.

use std::time::Duration;

use sqs::engine::{Counts, ReceiveRequest};
use sqs::model::queue::Attributes;

use crate::world::{World, bodies, body, fifo, grouped, key, ten, with_redrive, with_world};

const SECOND: Duration = Duration::from_secs(1);

/// Receives from the target until what is on its way has come.
async fn receive_moved(world: &World, name: &str, count: usize) -> Vec<sqs::engine::Received> {
    let mut received = Vec::new();
    for _ in 0..20_000 {
        received.extend(world.receive(name, ten()).await);
        if received.len() >= count {
            return received;
        }
        ring::sleep(Duration::from_millis(5)).await;
    }
    panic!("{} of {count} messages have come", received.len());
}

#[test]
fn a_receive_too_many_moves_the_message() {
    with_world("dead", |world| async move {
        world.put("dead", Attributes::default()).await;
        world.put("q", with_redrive(Attributes::default(), "dead", 2)).await;
        let sizes = [10, 10_000, 100_000];
        for size in sizes {
            world.send("q", body(vec![b'x'; size])).await;
        }
        let sent = world.receive("q", ten()).await;
        for receive_count in 2..=2 {
            world.pass(30 * SECOND).await;
            let received = world.receive("q", ten()).await;
            assert!(received.iter().all(|received| received.receive_count == receive_count));
            assert_eq!(received.len(), 3);
        }
        world.pass(30 * SECOND).await;
        assert!(world.receive("q", ten()).await.is_empty());
        assert_eq!(world.counts("q").await, Counts::default());
        let dead = receive_moved(&world, "dead", 3).await;
        for (moved, former) in dead.iter().zip(&sent) {
            assert_eq!((moved.message.id, &moved.body), (former.message.id, &former.body));
            assert_eq!(moved.message.sent_ms, former.message.sent_ms);
            let arn = key("q").arn("us-east-1");
            assert_eq!(moved.message.source_arn.as_deref(), Some(arn.as_str()));
            assert_eq!(moved.receive_count, 1);
        }
        assert_eq!(dead.len(), 3);
    });
}

#[test]
fn dead_letters_of_a_group_move_in_order_and_free_what_stands_behind() {
    with_world("dead-fifo", |world| async move {
        world.put("dead.fifo", fifo()).await;
        world.put("q.fifo", with_redrive(fifo(), "dead.fifo", 1)).await;
        let batch = ["1", "2", "3"].map(|text| grouped("a", text));
        world.send_all("q.fifo", batch.to_vec()).await;
        let two = ReceiveRequest { count_max: 2, ..ten() };
        assert_eq!(bodies(&world.receive("q.fifo", two).await), ["1", "2"]);
        world.pass(30 * SECOND).await;
        assert_eq!(bodies(&world.receive("q.fifo", ten()).await), ["3"]);
        assert_eq!(bodies(&receive_moved(&world, "dead.fifo", 2).await), ["1", "2"]);
    });
}

#[test]
fn without_a_target_dead_letters_are_received_like_others() {
    with_world("dead-missing", |world| async move {
        world.put("q", with_redrive(Attributes::default(), "nothing", 1)).await;
        world.send("q", body("x")).await;
        for receive_count in 1..=3 {
            let received = world.receive("q", ten()).await.remove(0);
            assert_eq!(received.receive_count, receive_count);
            world.pass(30 * SECOND).await;
        }
    });
}

#[test]
fn a_thousand_dead_letters_leave_nothing_behind() {
    with_world("dead-many", |world| async move {
        world.put("dead", Attributes::default()).await;
        world.put("q", with_redrive(Attributes::default(), "dead", 1)).await;
        for batch in 0..30 {
            let batch = (0..10).map(|number| body(format!("{batch} {number}")));
            world.send_all("q", batch.collect()).await;
        }
        while !world.receive("q", ten()).await.is_empty() {}
        world.pass(30 * SECOND).await;
        world.send("q", body("alive")).await;
        assert_eq!(bodies(&world.receive("q", ten()).await), ["alive"]);
        assert_eq!(world.counts("q").await, Counts { visible: 0, in_flight: 1, delayed: 0 });
        let dead = receive_moved(&world, "dead", 300).await;
        assert_eq!(dead.len(), 300);
    });
}
