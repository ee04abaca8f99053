//! Tasks, timers, mailboxes and hooks.

mod common;

use common::run;
use ring::{Backend, sleep, spawn, timeout, yield_now};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

on_both_backends!(timers_fire_in_the_order_of_their_deadlines, a_timeout_ends_a_future_that_is_too_slow);

fn timers_fire_in_the_order_of_their_deadlines(backend: Backend) {
    run(backend, async {
        let order = Rc::new(RefCell::new(Vec::new()));
        let mut tasks = Vec::new();
        for wait_ms in [30_u64, 10, 20, 5, 25, 15] {
            let order = Rc::clone(&order);
            tasks.push(spawn(async move {
                sleep(Duration::from_millis(wait_ms)).await;
                order.borrow_mut().push(wait_ms);
            }));
        }
        for task in tasks {
            task.await;
        }
        assert_eq!(*order.borrow(), [5, 10, 15, 20, 25, 30]);
    });
}

fn a_timeout_ends_a_future_that_is_too_slow(backend: Backend) {
    run(backend, async {
        let slow = timeout(Duration::from_millis(5), std::future::pending::<()>()).await;
        assert_eq!(slow, Err(ring::Elapsed));
        let quick = timeout(Duration::from_secs(3600), async {
            yield_now().await;
            7
        });
        assert_eq!(quick.await, Ok(7));
    });
}
