//! Random operations, with starts in between: what is remembered of a queue is what its records say, and nothing is lost.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::rc::Rc;
use std::time::Duration;

use sqs::engine::{Counts, NewMessage, ReceiveRequest};
use sqs::model::queue::Attributes;
use store::ManualClock;

use crate::world::{START, TempDir, World, body, fifo, grouped, ten, with_world_at};

/// Operations between two starts.
const OPERATION_COUNT: usize = 250;
const START_COUNT: usize = 4;
/// What FIFO handles live on beyond every visibility that is drawn.
const LONG: Duration = Duration::from_secs(100);

/// What the test knows.
struct Known {
    random: u64,
    sent: usize,
    /// The latest handle of each message that was received and not deleted.
    handles: BTreeMap<String, String>,
    /// Messages that are there.
    alive: BTreeSet<String>,
    counts: Counts,
}

impl Known {
    fn draw(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % below
    }

    fn pick_handle(&mut self) -> Option<(String, String)> {
        let place = self.draw(self.handles.len().max(1) as u64) as usize;
        self.handles.iter().nth(place).map(|(text, handle)| (text.clone(), handle.clone()))
    }
}

async fn step(world: &World, name: &str, known: &RefCell<Known>) {
    let is_fifo = name.ends_with(".fifo");
    let draw = |below| known.borrow_mut().draw(below);
    match draw(10) {
        0..=2 => {
            let mut messages = Vec::new();
            for _ in 0..=draw(5) {
                let number = known.borrow().sent;
                known.borrow_mut().sent += 1;
                let text = format!("message {number}");
                known.borrow_mut().alive.insert(text.clone());
                messages.push(match draw(4) {
                    0 if !is_fifo => NewMessage { delay_seconds: Some(draw(30) as u16), ..body(text) },
                    1 if !is_fifo => body(text),
                    _ => grouped(&format!("group {}", draw(4)), &text),
                });
            }
            for sent in world.send_all(name, messages).await {
                sent.expect("is taken");
            }
        }
        3..=5 => {
            let request = ReceiveRequest {
                count_max: 1 + draw(10) as u8,
                visibility_seconds: Some(draw(40) as u32),
                ..ten()
            };
            for received in world.receive(name, request).await {
                let text = String::from_utf8(received.body.to_vec()).expect("text");
                assert!(known.borrow().alive.contains(&text), "{text} was deleted");
                known.borrow_mut().handles.insert(text, received.handle);
            }
        }
        6..=7 => {
            let Some((text, handle)) = known.borrow_mut().pick_handle() else { return };
            if world.delete(name, &handle).await.is_ok() {
                known.borrow_mut().alive.remove(&text);
            }
            known.borrow_mut().handles.remove(&text);
        }
        8 => {
            let Some((_, handle)) = known.borrow_mut().pick_handle() else { return };
            // Refused when its time is over.
            drop(world.change(name, &handle, draw(40) as u32).await);
        }
        _ => world.pass(Duration::from_millis(draw(15_000))).await,
    }
    let counts = world.counts(name).await;
    assert_eq!(counts.visible + counts.in_flight + counts.delayed, known.borrow().alive.len() as u64);
}

/// Takes out everything; gives the texts.
async fn drain(world: &World, name: &str) -> BTreeSet<String> {
    let mut drained = BTreeSet::new();
    world.pass(LONG).await;
    loop {
        let received = world.receive(name, ten()).await;
        if received.is_empty() {
            return drained;
        }
        for received in received {
            world.delete(name, &received.handle).await.expect("deletes");
            drained.insert(String::from_utf8(received.body.to_vec()).expect("text"));
        }
    }
}

fn random_operations(name: &'static str, attributes: &Attributes) {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0_u8));
    println!("again: SEED={seed} cargo test -p zerocloud-sqs --test engine reload");
    let directory = TempDir::new("reload");
    let clock = ManualClock::new(START);
    let known = Rc::new(RefCell::new(Known {
        random: seed,
        sent: 0,
        handles: BTreeMap::new(),
        alive: BTreeSet::new(),
        counts: Counts::default(),
    }));
    for start in 0..=START_COUNT {
        let (known, attributes) = (Rc::clone(&known), attributes.clone());
        with_world_at(&directory.0, &clock, |world| async move {
            if start == 0 {
                world.put(name, attributes).await;
            }
            assert_eq!(world.counts(name).await, known.borrow().counts, "after start {start}");
            if start == START_COUNT {
                assert_eq!(drain(&world, name).await, known.borrow().alive);
                return;
            }
            for _ in 0..OPERATION_COUNT {
                step(&world, name, &known).await;
            }
            let counts = world.counts(name).await;
            known.borrow_mut().counts = counts;
        });
    }
    assert!(known.borrow().sent > 100, "messages were sent");
}

#[test]
fn a_standard_queue_is_after_any_start_what_its_records_say() {
    random_operations("q", &Attributes::default());
}

#[test]
fn a_fifo_queue_is_after_any_start_what_its_records_say() {
    random_operations("q.fifo", &fifo());
}
