//! What a queue promises about time and order, one fact a test, in virtual time.

mod client;
mod driver;

use std::rc::Rc;
use std::time::{Duration, Instant};

use client::Client as _;
use driver::direct::Direct;
use driver::{BEGINNING, Stop, TempDir, World, with_world_until};
use serde_json::{Value as Json, json};
use store::ManualClock;

/// Turns for which an answer that must not come is looked out for.
const LOOKS: usize = 50;
/// Within which one that must come comes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(120);

/// A queue of one test, and the way to it.
struct Line {
    direct: Direct,
    url: String,
}

impl Line {
    async fn new(world: &Rc<World>, name: &str, attributes: Json) -> Line {
        let direct =
            Direct { world: Rc::clone(world), lie: None, memory: Rc::default(), has_called: Rc::default() };
        let mut attributes = attributes;
        if name.ends_with(".fifo") {
            attributes["FifoQueue"] = "true".into();
            attributes["ContentBasedDeduplication"] = "true".into();
        }
        let made = direct.call("CreateQueue", &json!({"QueueName": name, "Attributes": attributes})).await;
        let url = made.body["QueueUrl"].as_str().expect("a URL").to_owned();
        Line { direct, url }
    }

    async fn ask(&self, operation: &str, mut request: Json) -> Json {
        request["QueueUrl"] = self.url.as_str().into();
        let answer = self.direct.call(operation, &request).await;
        assert_eq!(answer.status, 200, "{operation}: {}", answer.body);
        answer.body
    }

    async fn send(&self, body: &str) {
        self.ask("SendMessage", json!({"MessageBody": body})).await;
    }

    async fn send_to(&self, group: &str, body: &str) -> Json {
        self.ask("SendMessage", json!({"MessageBody": body, "MessageGroupId": group})).await
    }

    /// Bodies and handles of a receive.
    async fn receive(&self, max: usize, visibility_seconds: u64) -> Vec<(String, String)> {
        let request = json!({"MaxNumberOfMessages": max, "VisibilityTimeout": visibility_seconds});
        told(&self.ask("ReceiveMessage", request).await)
    }

    async fn bodies(&self, max: usize, visibility_seconds: u64) -> Vec<String> {
        self.receive(max, visibility_seconds).await.into_iter().map(|(body, _)| body).collect()
    }

    async fn delete(&self, handle: &str) {
        self.ask("DeleteMessage", json!({"ReceiptHandle": handle})).await;
    }

    fn poll(&self, seconds: u64) -> ring::Task<Vec<(String, String)>> {
        let (direct, url) = (self.direct.clone(), self.url.clone());
        ring::spawn(async move {
            let request = json!({"QueueUrl": url, "WaitTimeSeconds": seconds, "VisibilityTimeout": 30});
            told(&direct.call("ReceiveMessage", &request).await.body)
        })
    }

    async fn look(&self) {
        for _ in 0..LOOKS {
            self.direct.breathe().await;
        }
    }

    async fn bodies_of(&self, poll: ring::Task<Vec<(String, String)>>) -> Vec<String> {
        let begun = Instant::now();
        while !poll.is_finished() {
            assert!(begun.elapsed() < PATIENCE, "the poll does not answer");
            self.direct.breathe().await;
        }
        poll.await.into_iter().map(|(body, _)| body).collect()
    }
}

fn told(body: &Json) -> Vec<(String, String)> {
    let text = |message: &Json, name: &str| message[name].as_str().expect("a text").to_owned();
    let messages = body.get("Messages").and_then(Json::as_array);
    messages
        .into_iter()
        .flatten()
        .map(|message| (text(message, "Body"), text(message, "ReceiptHandle")))
        .collect()
}

fn with_world<F: Future<Output = ()>>(name: &str, work: impl FnOnce(Rc<World>) -> F) {
    let directory = TempDir::new(name);
    with_world_until(&directory.0, Stop::Drained, &ManualClock::new(BEGINNING), |world| work(Rc::new(world)));
}

const SECOND_MS: u64 = 1_000;

#[test]
fn a_receive_hides_a_message_until_its_timeout_and_not_longer() {
    with_world("hides", |world| async move {
        let line = Line::new(&world, "q", json!({})).await;
        line.send("a").await;
        assert_eq!(line.bodies(1, 5).await, ["a"]);
        world.advance(5 * SECOND_MS - 1).await;
        assert!(line.bodies(1, 5).await.is_empty());
        world.advance(1).await;
        assert_eq!(line.bodies(1, 5).await, ["a"]);
    });
}

#[test]
fn a_delay_holds_a_message_back_and_a_queue_may_have_its_own() {
    with_world("delays", |world| async move {
        let line = Line::new(&world, "q", json!({"DelaySeconds": "3"})).await;
        line.send("later").await;
        line.ask("SendMessage", json!({"MessageBody": "at once", "DelaySeconds": 0})).await;
        assert_eq!(line.bodies(10, 60).await, ["at once"]);
        world.advance(3 * SECOND_MS - 1).await;
        assert!(line.bodies(10, 60).await.is_empty());
        world.advance(1).await;
        assert_eq!(line.bodies(10, 60).await, ["later"]);
    });
}

#[test]
fn a_repeat_is_known_for_five_minutes_even_of_what_was_deleted() {
    with_world("repeats", |world| async move {
        let line = Line::new(&world, "q.fifo", json!({})).await;
        let first = line.send_to("g", "a").await;
        let [(_, handle)] = line.receive(1, 60).await.try_into().expect("one message");
        line.delete(&handle).await;
        world.advance(300 * SECOND_MS - 1).await;
        assert_eq!(line.send_to("g", "a").await["SequenceNumber"], first["SequenceNumber"]);
        assert!(line.bodies(1, 0).await.is_empty());
        world.advance(1).await;
        assert_ne!(line.send_to("g", "a").await["SequenceNumber"], first["SequenceNumber"]);
        assert_eq!(line.bodies(1, 0).await, ["a"]);
    });
}

#[test]
fn a_poll_answers_with_the_send_and_the_oldest_poll_first() {
    with_world("polls", |world| async move {
        let line = Line::new(&world, "q", json!({})).await;
        let (first, second) = (line.poll(20), line.poll(20));
        line.look().await;
        assert!(!first.is_finished() && !second.is_finished());
        line.send("a").await;
        assert_eq!(line.bodies_of(first).await, ["a"]);
        line.look().await;
        assert!(!second.is_finished());
        line.send("b").await;
        assert_eq!(line.bodies_of(second).await, ["b"]);
    });
}

#[test]
fn one_batch_wakes_a_poll_for_each_of_its_messages() {
    with_world("wakes", |world| async move {
        let line = Line::new(&world, "q", json!({})).await;
        let polls: Vec<_> = (0..4).map(|_| line.poll(20)).collect();
        line.look().await;
        let entries: Vec<Json> =
            (0..3).map(|n| json!({"Id": format!("e{n}"), "MessageBody": n.to_string()})).collect();
        line.ask("SendMessageBatch", json!({"Entries": entries})).await;
        let mut polls = polls.into_iter();
        let mut found = Vec::new();
        for poll in polls.by_ref().take(3) {
            found.extend(line.bodies_of(poll).await);
        }
        found.sort();
        assert_eq!(found, ["0", "1", "2"]);
        let last = polls.next().expect("the fourth");
        line.look().await;
        assert!(!last.is_finished());
        world.advance(20 * SECOND_MS).await;
        assert!(line.bodies_of(last).await.is_empty());
    });
}

#[test]
fn a_poll_answers_when_a_visibility_ends_a_delay_ends_or_a_group_is_freed() {
    with_world("frees", |world| async move {
        let line = Line::new(&world, "q", json!({})).await;
        line.send("back").await;
        assert_eq!(line.bodies(1, 4).await, ["back"]);
        let poll = line.poll(20);
        world.advance(4 * SECOND_MS - 1).await;
        line.look().await;
        assert!(!poll.is_finished());
        world.advance(1).await;
        assert_eq!(line.bodies_of(poll).await, ["back"]);
        line.ask("SendMessage", json!({"MessageBody": "delayed", "DelaySeconds": 2})).await;
        let poll = line.poll(20);
        line.look().await;
        world.advance(2 * SECOND_MS).await;
        assert_eq!(line.bodies_of(poll).await, ["delayed"]);
        let fifo = Line::new(&world, "q.fifo", json!({})).await;
        fifo.send_to("g", "1").await;
        fifo.send_to("g", "2").await;
        let [(_, handle)] = fifo.receive(1, 60).await.try_into().expect("one message");
        let poll = fifo.poll(20);
        fifo.look().await;
        assert!(!poll.is_finished());
        fifo.delete(&handle).await;
        assert_eq!(fifo.bodies_of(poll).await, ["2"]);
    });
}

#[test]
fn polls_answer_with_what_is_there_when_waiting_ends() {
    with_world("ends", |world| async move {
        let own = world.store.own_shards().next().expect("this core's").0;
        let waiting = || world.store.status().iter().map(|shard| shard.waiting).collect::<Vec<_>>();
        // The other core's shard is not told.
        let mut lines = Vec::new();
        while waiting()[usize::from(own)] == 0 {
            let line = Line::new(&world, &format!("q{}", lines.len()), json!({})).await;
            let before: u64 = waiting().iter().sum();
            let poll = line.poll(20);
            while waiting().iter().sum::<u64>() == before {
                line.direct.breathe().await;
            }
            lines.push((line, poll));
        }
        let (line, poll) = lines.pop().expect("one at least");
        world.store.end_waits();
        assert!(line.bodies_of(poll).await.is_empty());
        line.send("a").await;
        assert_eq!(line.bodies_of(line.poll(20)).await, ["a"]);
        assert!(line.bodies_of(line.poll(20)).await.is_empty());
        assert!(lines.iter().all(|(_, poll)| !poll.is_finished()));
    });
}

/// A queue with a message, dead letters behind it, and another message. Dead letters keep the time of their first sending:
/// after 150 seconds they are over, and what came into their queue ahead of them is not.
async fn dead_letters_amid_others(world: &Rc<World>, count: u64) -> Line {
    let dead = Line::new(world, "dead", json!({"MessageRetentionPeriod": "600"})).await;
    let arn = format!("arn:aws:sqs:us-east-1:{}:dead", driver::MAIN);
    let redrive = json!({"deadLetterTargetArn": arn, "maxReceiveCount": 1}).to_string();
    let line = Line::new(world, "q", json!({"RedrivePolicy": redrive})).await;
    for number in 0..count {
        line.send(&number.to_string()).await;
    }
    world.advance((480 - count) * SECOND_MS).await;
    dead.send("first").await;
    for number in 0..count {
        assert_eq!(line.bodies(1, number + 1).await, [number.to_string()]);
    }
    // One by one, so that they do not lie side by side.
    for _ in 0..count {
        world.advance(SECOND_MS).await;
        assert!(line.bodies(1, 1).await.is_empty());
    }
    world.advance(SECOND_MS).await;
    dead.send("last").await;
    assert_eq!(visible(&dead).await, (count + 2).to_string());
    dead
}

async fn visible(line: &Line) -> Json {
    let count = json!({"AttributeNames": ["ApproximateNumberOfMessages"]});
    line.ask("GetQueueAttributes", count).await["Attributes"]["ApproximateNumberOfMessages"].clone()
}

#[test]
fn a_receive_finds_what_is_ready_on_both_sides_of_what_was_too_old() {
    with_world("holes", |world| async move {
        let line = dead_letters_amid_others(&world, 80).await;
        world.advance(150 * SECOND_MS).await;
        assert_eq!(visible(&line).await, "2");
        assert_eq!(line.bodies(10, 30).await, ["first", "last"]);
        assert_eq!(visible(&line).await, "0");
    });
}

#[test]
fn a_receive_finds_what_is_ready_behind_more_old_messages_than_one_turn_takes_away() {
    with_world("old", |world| async move {
        let line = dead_letters_amid_others(&world, 120).await;
        // Nobody has swept yet: the receive itself comes upon them.
        world.clock.advance(Duration::from_secs(150));
        assert_eq!(visible(&line).await, "122");
        assert_eq!(line.bodies(10, 30).await, ["first", "last"]);
        assert_eq!(visible(&line).await, "0");
    });
}

#[test]
fn a_receive_that_hides_nothing_gives_nothing_twice() {
    with_world("twice", |world| async move {
        let line = dead_letters_amid_others(&world, 120).await;
        // More than one turn takes away lies behind the first, which is visible again when the next turn looks.
        world.clock.advance(Duration::from_secs(150));
        assert_eq!(line.bodies(10, 0).await, ["first"]);
        let mut both = line.bodies(10, 0).await;
        both.sort();
        assert_eq!(both, ["first", "last"]);
    });
}

#[test]
fn what_a_poll_that_went_away_would_have_taken_goes_to_the_next() {
    with_world("gone", |world| async move {
        let line = Line::new(&world, "q", json!({})).await;
        let (gone, stays) = (line.poll(20), line.poll(20));
        line.look().await;
        assert!(gone.cancel().await.is_none());
        line.send("a").await;
        assert_eq!(line.bodies_of(stays).await, ["a"]);
    });
}

#[test]
fn a_long_group_does_not_starve_the_others() {
    with_world("starve", |world| async move {
        let line = Line::new(&world, "q.fifo", json!({})).await;
        for n in 0..60 {
            line.send_to("long", &format!("long {n}")).await;
        }
        for group in ["b", "c"] {
            line.send_to(group, group).await;
        }
        let mut seen = Vec::new();
        for _ in 0..4 {
            for (body, handle) in line.receive(1, 60).await {
                line.delete(&handle).await;
                seen.push(body);
            }
        }
        assert_eq!(seen, ["long 0", "b", "c", "long 1"]);
    });
}

#[test]
fn a_receive_fills_up_from_the_next_group_and_a_group_stays_locked_until_all_are_settled() {
    with_world("groups", |world| async move {
        let line = Line::new(&world, "q.fifo", json!({})).await;
        for body in ["a1", "a2", "b1", "b2"] {
            line.send_to(&body[..1], body).await;
        }
        let taken = line.receive(3, 60).await;
        let bodies: Vec<&str> = taken.iter().map(|(body, _)| body.as_str()).collect();
        assert_eq!(bodies, ["a1", "a2", "b1"]);
        line.send_to("a", "a3").await;
        // Deleting the second of two leaves the group locked.
        line.delete(&taken[1].1).await;
        assert!(line.bodies(10, 60).await.is_empty());
        line.delete(&taken[0].1).await;
        assert_eq!(line.bodies(10, 0).await, ["a3"]);
        world.advance(60 * SECOND_MS).await;
        let mut back = line.bodies(10, 60).await;
        back.sort();
        assert_eq!(back, ["a3", "b1", "b2"]);
    });
}

#[test]
fn dead_letters_of_a_group_keep_their_order() {
    with_world("dead", |world| async move {
        let dead = Line::new(&world, "dead.fifo", json!({})).await;
        let arn = dead.ask("GetQueueAttributes", json!({"AttributeNames": ["QueueArn"]})).await;
        let redrive =
            json!({"deadLetterTargetArn": arn["Attributes"]["QueueArn"], "maxReceiveCount": "1"}).to_string();
        let line = Line::new(&world, "q.fifo", json!({"RedrivePolicy": redrive})).await;
        for n in 0..5 {
            line.send_to("g", &n.to_string()).await;
        }
        assert_eq!(line.bodies(10, 0).await, ["0", "1", "2", "3", "4"]);
        assert!(line.bodies(10, 0).await.is_empty());
        let poll = dead.poll(20);
        let mut found = dead.bodies_of(poll).await;
        let begun = Instant::now();
        while found.len() < 5 && begun.elapsed() < PATIENCE {
            // The group is locked by what was received: its time ends.
            world.advance(30 * SECOND_MS).await;
            found = dead.bodies(10, 0).await;
        }
        assert_eq!(found, ["0", "1", "2", "3", "4"]);
    });
}

#[test]
fn a_visibility_is_at_most_twelve_hours_in_all() {
    with_world("twelve", |world| async move {
        let line = Line::new(&world, "q", json!({})).await;
        line.send("a").await;
        let [(_, handle)] = line.receive(1, 30 * 60).await.try_into().expect("one message");
        world.advance(20 * 60 * SECOND_MS).await;
        let change = |seconds: u64| json!({"QueueUrl": line.url, "ReceiptHandle": handle, "VisibilityTimeout": seconds});
        let refused = line.direct.call("ChangeMessageVisibility", &change(43_200 - 20 * 60 + 1)).await;
        assert_eq!(refused.error(), Some("InvalidParameterValueException"), "{}", refused.body);
        let text = "Reason: Total VisibilityTimeout for the message is beyond the limit [43200 seconds]";
        assert!(refused.message().ends_with(text), "{}", refused.message());
        let taken = line.direct.call("ChangeMessageVisibility", &change(43_200 - 20 * 60)).await;
        assert_eq!(taken.status, 200, "{}", taken.body);
    });
}

#[test]
fn a_message_is_forgotten_when_it_is_too_old_whether_anybody_looks_or_not() {
    with_world("old", |world| async move {
        let line = Line::new(&world, "q", json!({"MessageRetentionPeriod": "60"})).await;
        line.send("a").await;
        world.advance(60 * SECOND_MS - 1).await;
        assert_eq!(line.bodies(1, 0).await, ["a"]);
        world.advance(1).await;
        assert!(line.bodies(1, 0).await.is_empty());
    });
}
