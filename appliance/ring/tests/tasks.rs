//! Tasks, timers, mailboxes and hooks.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod common;

use common::{PATIENCE, config, run};
use ring::{Backend, Reactor, at_turn_end, mailbox, mailbox_with_limit, sleep, spawn, timeout, yield_now};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::Poll;
use std::time::{Duration, Instant};

on_both_backends!(
    timers_fire_in_the_order_of_their_deadlines,
    timers_are_never_early,
    a_timeout_ends_a_future_that_is_too_slow,
    a_task_that_never_rests_does_not_stop_time,
    a_dropped_task_is_cancelled_and_a_detached_one_runs,
    mailbox_messages_are_never_slept_over,
    many_senders_reach_one_receiver_in_their_order,
    a_mailbox_says_when_an_end_is_gone,
    a_full_mailbox_refuses,
    a_remote_spawns_on_the_reactors_thread,
    a_remote_outlives_its_reactor,
    wakers_work_from_other_threads,
    hooks_run_once_per_turn_after_the_tasks,
    a_hook_may_remove_itself_and_wake_tasks,
    dropping_a_reactor_drops_its_tasks,
    a_thread_has_one_reactor_at_a_time,
    tasks_live_on_between_two_block_ons,
);

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

fn timers_are_never_early(backend: Backend) {
    run(backend, async {
        for micros in [0, 1, 50, 999, 1000, 1001, 3500] {
            let wait = Duration::from_micros(micros);
            // The turn began before this moment, and a sleep counts from the turn.
            let start = ring::now();
            sleep(wait).await;
            assert!(start.elapsed() >= wait);
            assert!(ring::now() >= start + wait);
        }
        sleep(Duration::ZERO).await;
        let mut far_off = Box::pin(sleep(Duration::MAX));
        assert!(timeout(Duration::from_millis(1), far_off.as_mut()).await.is_err());
        far_off.as_mut().get_mut().reset(Instant::now());
        far_off.await;
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

fn a_task_that_never_rests_does_not_stop_time(backend: Backend) {
    run(backend, async {
        let spins = Rc::new(Cell::new(0_u64));
        let counted = Rc::clone(&spins);
        let busy = spawn(async move {
            loop {
                counted.set(counted.get() + 1);
                yield_now().await;
            }
        });
        sleep(Duration::from_millis(5)).await;
        assert!(spins.get() > 0);
        assert!(busy.cancel().await.is_none());
    });
}

struct OnDrop(Rc<Cell<u32>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

fn a_dropped_task_is_cancelled_and_a_detached_one_runs(backend: Backend) {
    run(backend, async {
        let dropped = Rc::new(Cell::new(0));
        let on_drop = OnDrop(Rc::clone(&dropped));
        let task = spawn(async move {
            let _on_drop = on_drop;
            std::future::pending::<()>().await;
        });
        yield_now().await;
        yield_now().await;
        assert_eq!(dropped.get(), 0);
        drop(task);
        yield_now().await;
        yield_now().await;
        assert_eq!(dropped.get(), 1);
        let on_drop = OnDrop(Rc::clone(&dropped));
        spawn(async move { drop(on_drop) }).detach();
        yield_now().await;
        yield_now().await;
        assert_eq!(dropped.get(), 2);
        assert_eq!(ring::stats().tasks, 0);
    });
}

fn mailbox_messages_are_never_slept_over(backend: Backend) {
    const ROUNDS: u32 = 100_000;
    let (ping, mut pings) = mailbox::<u32>();
    let (pong, mut pongs) = mailbox::<u32>();
    let other = std::thread::spawn(move || {
        run(backend, async {
            while let Some(number) = pings.recv().await {
                pong.send(number + 1).unwrap();
            }
            let stats = ring::stats();
            stats.wakeups_sent + stats.wakeups_saved
        })
    });
    run(backend, async {
        for number in 0..ROUNDS {
            ping.send(number).unwrap();
            // A lost wake-up would hang here; the limit makes it a failure.
            let answer = timeout(PATIENCE, pongs.recv()).await;
            assert_eq!(answer, Ok(Some(number + 1)));
        }
        drop(ping);
    });
    assert!(other.join().unwrap() > 0);
}

fn many_senders_reach_one_receiver_in_their_order(backend: Backend) {
    const SENDERS: usize = 4;
    const EACH: usize = 20_000;
    let (sender, mut receiver) = mailbox::<(usize, usize)>();
    let threads: Vec<_> = (0..SENDERS)
        .map(|index| {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for number in 0..EACH {
                    sender.send((index, number)).unwrap();
                    if number % 1000 == 0 {
                        std::thread::sleep(Duration::from_micros(300));
                    }
                }
            })
        })
        .collect();
    drop(sender);
    run(backend, async {
        let mut next = [0; SENDERS];
        while let Some((index, number)) = timeout(PATIENCE, receiver.recv()).await.unwrap() {
            assert_eq!(next[index], number);
            next[index] += 1;
        }
        assert_eq!(next, [EACH; SENDERS]);
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn a_mailbox_says_when_an_end_is_gone(backend: Backend) {
    let (sender, receiver) = mailbox::<u8>();
    drop(receiver);
    assert_eq!(sender.send(7), Err(7));
    let (sender, mut receiver) = mailbox::<u8>();
    let (go, start) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        start.recv().unwrap();
        std::thread::sleep(Duration::from_millis(20));
        sender.send(1).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        drop(sender);
    });
    run(backend, async {
        assert_eq!(receiver.try_recv(), None);
        go.send(()).unwrap();
        assert_eq!(receiver.recv().await, Some(1));
        assert_eq!(receiver.recv().await, None);
    });
    thread.join().unwrap();
}

fn a_full_mailbox_refuses(backend: Backend) {
    run(backend, async {
        let (sender, mut receiver) = mailbox_with_limit(2);
        assert_eq!((sender.send(1), sender.send(2), sender.send(3)), (Ok(()), Ok(()), Err(3)));
        assert_eq!(receiver.recv().await, Some(1));
        assert_eq!(sender.send(4), Ok(()));
        assert_eq!((receiver.try_recv(), receiver.recv().await), (Some(2), Some(4)));
    });
}

fn a_remote_spawns_on_the_reactors_thread(backend: Backend) {
    let mut reactor = Reactor::new(&config(backend)).unwrap();
    let remote = reactor.remote();
    let home = std::thread::current().id();
    let (report, reports) = mpsc::channel();
    let (done, mut dones) = mailbox();
    let thread = std::thread::spawn(move || {
        for index in 0..100_u32 {
            let report = report.clone();
            let done = done.clone();
            remote
                .spawn(move || async move {
                    sleep(Duration::from_micros(u64::from(index))).await;
                    report.send((index, std::thread::current().id())).unwrap();
                    done.send(()).unwrap();
                })
                .unwrap();
            if index % 10 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    reactor.block_on(async {
        for _ in 0..100 {
            timeout(PATIENCE, dones.recv()).await.unwrap();
        }
    });
    thread.join().unwrap();
    let mut seen: Vec<u32> = reports
        .iter()
        .map(|(index, thread)| {
            assert_eq!(thread, home);
            index
        })
        .collect();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..100));
}

fn a_remote_outlives_its_reactor(backend: Backend) {
    let reactor = Reactor::new(&config(backend)).unwrap();
    let remote = reactor.remote();
    remote.spawn(std::future::pending::<()>).unwrap();
    drop(reactor);
    let error = remote.spawn(|| async {}).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
}

fn wakers_work_from_other_threads(backend: Backend) {
    run(backend, async {
        for round in 0..200_u64 {
            let (give, take) = mpsc::channel();
            let woken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            let flag = std::sync::Arc::clone(&woken);
            let thread = std::thread::spawn(move || {
                let waker: std::task::Waker = take.recv().unwrap();
                std::thread::sleep(Duration::from_micros(round));
                flag.store(true, std::sync::atomic::Ordering::Release);
                waker.wake();
            });
            let wait = poll_fn(move |context| {
                if woken.load(std::sync::atomic::Ordering::Acquire) {
                    return Poll::Ready(());
                }
                drop(give.send(context.waker().clone()));
                Poll::Pending
            });
            // Once in a task and once in the main future.
            if round % 2 == 0 {
                timeout(PATIENCE, spawn(wait)).await.unwrap();
            } else {
                timeout(PATIENCE, wait).await.unwrap();
            }
            thread.join().unwrap();
        }
    });
}

fn hooks_run_once_per_turn_after_the_tasks(backend: Backend) {
    run(backend, async {
        let log = Rc::new(RefCell::new(Vec::new()));
        let (first, second) = (Rc::clone(&log), Rc::clone(&log));
        let hook_one = at_turn_end(move || first.borrow_mut().push("one"));
        let hook_two = at_turn_end(move || second.borrow_mut().push("two"));
        let turns = ring::stats().turns;
        for _ in 0..3 {
            let log = Rc::clone(&log);
            spawn(async move { log.borrow_mut().push("task") }).await;
        }
        let turns = ring::stats().turns - turns;
        drop(hook_two);
        let log_so_far: Vec<&str> = log.borrow().clone();
        let hooks = log_so_far.iter().filter(|entry| **entry == "one").count();
        assert_eq!(hooks as u64, turns);
        assert_eq!(log_so_far[..3], ["task", "one", "two"]);
        yield_now().await;
        assert_eq!(log.borrow()[log_so_far.len()..], ["one"]);
        drop(hook_one);
        yield_now().await;
        assert_eq!(log.borrow().len(), log_so_far.len() + 1);
    });
}

fn a_hook_may_remove_itself_and_wake_tasks(backend: Backend) {
    run(backend, async {
        let slot = Rc::new(RefCell::new(None));
        let (sender, mut receiver) = mailbox();
        let own = Rc::clone(&slot);
        let runs = Rc::new(Cell::new(0));
        let counted = Rc::clone(&runs);
        let later = at_turn_end(move || counted.set(counted.get() + 1));
        let removed_before = runs.get();
        *slot.borrow_mut() = Some(at_turn_end(move || {
            drop(own.borrow_mut().take());
            sender.send("from the hook").unwrap();
        }));
        assert_eq!(timeout(PATIENCE, receiver.recv()).await, Ok(Some("from the hook")));
        // The hook is gone, and its sender with it.
        assert_eq!(timeout(PATIENCE, receiver.recv()).await, Ok(None));
        assert!(runs.get() > removed_before);
        drop(later);
    });
}

fn dropping_a_reactor_drops_its_tasks(backend: Backend) {
    let dropped = Rc::new(Cell::new(0));
    let mut reactor = Reactor::new(&config(backend)).unwrap();
    reactor.block_on(async {
        for index in 0..10_u64 {
            let on_drop = OnDrop(Rc::clone(&dropped));
            spawn(async move {
                let on_drop = on_drop;
                match index % 3 {
                    0 => std::future::pending::<()>().await,
                    1 => sleep(Duration::from_secs(3600)).await,
                    _ => loop {
                        yield_now().await;
                    },
                }
                drop(on_drop);
            })
            .detach();
        }
        // A task whose destructor spawns another.
        struct Spawner(Rc<Cell<u32>>);
        impl Drop for Spawner {
            fn drop(&mut self) {
                let on_drop = OnDrop(Rc::clone(&self.0));
                spawn(async move {
                    let _on_drop = on_drop;
                    std::future::pending::<()>().await;
                })
                .detach();
            }
        }
        let spawner = Spawner(Rc::clone(&dropped));
        spawn(async move {
            let _spawner = spawner;
            std::future::pending::<()>().await;
        })
        .detach();
        yield_now().await;
    });
    drop(reactor);
    assert_eq!(dropped.get(), 11);
    assert_eq!(Rc::strong_count(&dropped), 1);
}

fn a_thread_has_one_reactor_at_a_time(backend: Backend) {
    let first = Reactor::new(&config(backend)).unwrap();
    let error = Reactor::new(&config(backend)).err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    drop(first);
    drop(Reactor::new(&config(backend)).unwrap());
}

fn tasks_live_on_between_two_block_ons(backend: Backend) {
    let mut reactor = Reactor::new(&config(backend)).unwrap();
    let mut task = None;
    reactor.block_on(async {
        task = Some(spawn(async {
            sleep(Duration::from_millis(5)).await;
            9
        }));
    });
    assert_eq!(reactor.block_on(task.unwrap()), 9);
}
