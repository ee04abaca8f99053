//! Tasks: futures that stay on their reactor's thread.
//!
//! Invariant: a task is polled and dropped only by the thread that spawned it. A waker may travel; waking from
//! another thread sends the task home through the inbox. Every unfinished task is in `active`, so that a
//! reactor can cancel all of them before it lets go of the kernel.

use crate::core::Core;
use crate::inbox::{Foreign, Inbox};
use crate::slab::{Key, Slab};
use async_task::Runnable;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Tasks that become ready while a turn runs are still served in it, up to this many. A chain of tasks that wake
/// each other then leaves with one submission, and a task that wakes itself for ever cannot keep I/O out.
const NEWLY_READY_PER_TURN_MAX: usize = 256;

/// The tasks of one reactor.
pub(crate) struct Executor {
    ready: RefCell<VecDeque<Runnable>>,
    active: RefCell<Slab<Waker>>,
}

impl Executor {
    pub fn new() -> Self {
        Executor { ready: RefCell::new(VecDeque::new()), active: RefCell::new(Slab::new()) }
    }

    pub fn push(&self, runnable: Runnable) {
        self.ready.borrow_mut().push_back(runnable);
    }

    pub fn is_idle(&self) -> bool {
        self.ready.borrow().is_empty()
    }

    pub fn task_count(&self) -> usize {
        self.active.borrow().len()
    }

    /// Runs the tasks that are ready now and some of those that they wake.
    pub fn run_ready(&self) {
        let mut budget = self.ready.borrow().len() + NEWLY_READY_PER_TURN_MAX;
        while budget > 0 {
            let next = self.ready.borrow_mut().pop_front();
            let Some(runnable) = next else { return };
            runnable.run();
            budget -= 1;
        }
    }

    /// Drops the futures of the ready tasks and wakes all others, which makes them ready but for those that another thread
    /// is waking at this moment: they come through the inbox.
    pub fn cancel_round(&self) -> Cancelled {
        let wakers: Vec<Waker> = self.active.borrow().iter().map(|(_, waker)| waker.clone()).collect();
        let ready = std::mem::take(&mut *self.ready.borrow_mut());
        let had_ready = !ready.is_empty();
        if wakers.is_empty() && !had_ready {
            return Cancelled::All;
        }
        // A dropped runnable drops its future.
        drop(ready);
        wakers.into_iter().for_each(Waker::wake);
        if had_ready || !self.is_idle() { Cancelled::Some } else { Cancelled::None }
    }
}

/// What a round of cancelling came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancelled {
    /// No task is left.
    All,
    /// Some were dropped, or will be in the next round.
    Some,
    /// Those that are left are all on their way here from other threads.
    None,
}

/// A spawned task. As a future it gives the task's output; dropping it cancels the task.
///
/// Cancelling takes effect when the reactor next comes to the task, in this turn or the next.
/// Polling it panics if the task panicked.
#[must_use = "dropping a task cancels it; detach it to let it run"]
pub struct Task<T>(async_task::Task<T>);

impl<T> Task<T> {
    /// Lets the task run on its own.
    pub fn detach(self) {
        self.0.detach();
    }

    /// Cancels the task and waits until its future has been dropped. Gives the output if it had finished before.
    pub async fn cancel(self) -> Option<T> {
        self.0.cancel().await
    }

    /// Says whether the task has finished or was cancelled.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(context)
    }
}

/// Takes a task out of `active` when its future is dropped, finished or not.
struct Active {
    core: Rc<Core>,
    key: Key,
}

impl Drop for Active {
    fn drop(&mut self) {
        let waker = self.core.executor.active.borrow_mut().remove(self.key);
        drop(waker);
    }
}

/// Starts `future` as a task of this thread's reactor. It runs for the first time in this turn or the next.
///
/// # Panics
/// Outside a reactor.
pub fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future + 'static,
{
    let core = Core::current();
    let key = core.executor.active.borrow_mut().insert(Waker::noop().clone());
    let active = Active { core: Rc::clone(&core), key };
    let inbox = Arc::clone(&core.inbox);
    // Boxed, because an async block that awaits what it captured holds it twice.
    let mut future = Box::pin(future);
    let tracked = async move {
        let _active = active;
        future.as_mut().await
    };
    let (runnable, task) = async_task::spawn_local(tracked, move |runnable| schedule(&inbox, runnable));
    if let Some(waker) = core.executor.active.borrow_mut().get_mut(key) {
        *waker = runnable.waker();
    }
    runnable.schedule();
    Task(task)
}

/// Brings a woken task to its reactor: straight into the queue at home, through the inbox from elsewhere.
fn schedule(inbox: &Arc<Inbox>, runnable: Runnable) {
    let Some(runnable) = Core::push_if_home(inbox, runnable) else { return };
    #[cfg(test)]
    tests::pause_on_the_way();
    if let Err(Foreign::Runnable(runnable)) = inbox.send(Foreign::Runnable(runnable)) {
        // The reactor is gone, which means that it has dropped this task's future already. Another thread must not
        // run the task's destructor, so the remaining header is leaked.
        std::mem::forget(runnable);
    }
}

/// Lets the other ready tasks run first; made by `yield_now`.
#[derive(Default)]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Puts the calling task behind the others that are ready.
pub fn yield_now() -> YieldNow {
    YieldNow::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backend, Reactor, ReactorConfig};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    /// Far longer than a reactor that does not wait takes to go.
    const PAUSE: Duration = Duration::from_millis(200);

    thread_local! {
        static ON_THE_WAY: RefCell<Option<mpsc::Sender<()>>> = const { RefCell::new(None) };
    }

    /// Stands for a thread that the kernel takes off its core between deciding to wake a task and handing it over.
    pub(super) fn pause_on_the_way() {
        if let Some(tell) = ON_THE_WAY.take() {
            tell.send(()).expect("the test listens");
            std::thread::sleep(PAUSE);
        }
    }

    struct Told(Arc<AtomicBool>);

    impl Drop for Told {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_task_that_another_thread_is_waking_is_dropped_with_its_reactor() {
        let config = ReactorConfig { backend: Backend::Epoll, ..ReactorConfig::default() };
        let mut reactor = Reactor::new(&config).expect("a reactor");
        let was_dropped = Arc::new(AtomicBool::new(false));
        let (give, waker) = mpsc::channel();
        let told = Told(Arc::clone(&was_dropped));
        reactor.block_on(async {
            spawn(async move {
                let _told = told;
                std::future::poll_fn(|cx| {
                    give.send(cx.waker().clone()).expect("the test listens");
                    Poll::<()>::Pending
                })
                .await;
            })
            .detach();
            yield_now().await;
        });
        let waker: Waker = waker.recv().expect("the task ran");
        let (tell, on_the_way) = mpsc::channel();
        let waking = std::thread::spawn(move || {
            ON_THE_WAY.set(Some(tell));
            waker.wake();
        });
        on_the_way.recv().expect("it is waking");
        drop(reactor);
        assert!(was_dropped.load(Ordering::SeqCst), "the future outlives its reactor");
        waking.join().expect("it wakes and ends");
    }
}
