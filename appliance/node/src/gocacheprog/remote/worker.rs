//! The thread that speaks with the appliance: look-ups beside each other, uploads a few at a time.
//!
//! Invariant: each look-up that comes in is answered exactly once, and never later than the breaker allows. An upload is left out
//! when the appliance is away, when it does not take writes of this token, or when the build has ended for long enough.
//! Leaves to exchange.rs: requests. To breaker.rs: when the appliance counts as away.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use aws::encoding::hex;
use http_types::StatusCode;

use super::breaker::{Breaker, FIRST_BYTE_MIN, Limits, Way};
use super::exchange::{Exchange, NoAnswer};
use super::{Job, record};
use crate::gocacheprog::Answers;
use crate::gocacheprog::local::{Entry, Local};

/// Uploads that run beside each other.
const UPLOADS_AT_ONCE: usize = 4;
/// Uploads that wait at most, each a path and two digests; more are left out.
const UPLOADS_WAITING_MAX: usize = 100_000;

/// What the tasks of the thread share.
pub struct Worker {
    /// None: there is no appliance.
    exchange: Option<Exchange>,
    local: Arc<Local>,
    answers: Answers,
    limits: Limits,
    breaker: RefCell<Breaker>,
    waiting: RefCell<VecDeque<(Vec<u8>, Entry)>>,
    uploading: Cell<usize>,
    /// Whether the token was refused.
    is_refused: Cell<bool>,
    is_read_only: Cell<bool>,
    /// Told when the last upload is through.
    joining: RefCell<Option<mpsc::Sender<()>>>,
}

impl Worker {
    /// Nothing is sent yet.
    pub fn new(
        exchange: Option<Exchange>,
        local: Arc<Local>,
        answers: Answers,
        limits: Limits,
    ) -> Rc<Worker> {
        Rc::new(Worker {
            exchange,
            local,
            answers,
            limits,
            breaker: RefCell::new(Breaker::new(limits)),
            waiting: RefCell::default(),
            uploading: Cell::new(0),
            is_refused: Cell::new(false),
            is_read_only: Cell::new(false),
            joining: RefCell::default(),
        })
    }

    /// Does what comes in until nobody can send any more.
    pub async fn run(self: Rc<Worker>, mut jobs: ring::Receiver<Job>) {
        while let Some(job) = poll_fn(|cx| jobs.poll_recv(cx)).await {
            match job {
                Job::Get { id, action } => self.look_up(id, action),
                Job::Put { action, entry } => self.enqueue(action, entry),
                Job::Join(done) => {
                    self.joining.replace(Some(done));
                    self.upload_next();
                }
            }
        }
    }

    fn look_up(self: &Rc<Worker>, id: i64, action: Vec<u8>) {
        let way = match self.is_refused.get() || self.exchange.is_none() {
            true => Way::Miss,
            false => self.breaker.borrow_mut().way(ring::now()),
        };
        if way != Way::Ask {
            self.answer(id, None);
        }
        if way == Way::Miss {
            return;
        }
        let worker = Rc::clone(self);
        ring::spawn(async move {
            let started = ring::now();
            let found = worker.fetch(&action).await;
            let now = Instant::now();
            // A probe cost nobody anything.
            let waited = if way == Way::Ask { now - started } else { Duration::ZERO };
            match &found {
                Ok(_) => worker.breaker.borrow_mut().succeeded(),
                Err(NoAnswer) => worker.breaker.borrow_mut().failed(now, waited),
            }
            if way == Way::Ask {
                worker.answer(id, found.unwrap_or_default().as_ref());
            }
        })
        .detach();
    }

    fn answer(&self, id: i64, entry: Option<&Entry>) {
        let written = match entry {
            Some(entry) => {
                self.answers.count(|counts| counts.remote_hits += 1);
                self.answers.hit(id, entry)
            }
            None => self.answers.miss(id),
        };
        // The go command is gone; the other thread sees the end of its requests.
        drop(written);
    }

    /// Brings the output of an action here. None: a miss.
    async fn fetch(&self, action: &[u8]) -> Result<Option<Entry>, NoAnswer> {
        let exchange = self.exchange.as_ref().ok_or(NoAnswer)?;
        // Both first bytes together get the time of one.
        let first_byte = self.breaker.borrow().first_byte_max();
        let started = Instant::now();
        let (status, text) = exchange.action(&record::key_of(action), first_byte).await?;
        if !self.is_answer(status)? {
            return Ok(None);
        }
        let Some(record) = record::read(&text) else { return Ok(None) };
        let Ok(mut incoming) = self.local.incoming() else { return Ok(None) };
        if record.length > 0 {
            let hash = hex(&record.sha256);
            let first_byte = first_byte.saturating_sub(started.elapsed()).max(FIRST_BYTE_MIN);
            let (status, is_whole) = exchange.object(&hash, record.length, first_byte, &mut incoming).await?;
            if !self.is_answer(status)? || !is_whole {
                return Ok(None);
            }
        }
        let (sha256, put_at) = (Some(&record.sha256), record.put_at);
        // Wrong bytes and a full disk are misses.
        Ok(self.local.keep_built(incoming, action, &record.output, sha256, put_at).unwrap_or_default())
    }

    /// Whether there is what was asked for. Errors: the appliance is in trouble.
    fn is_answer(&self, status: StatusCode) -> Result<bool, NoAnswer> {
        match status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                if !self.is_refused.replace(true) {
                    super::say(&format!("the appliance refuses the token ({status})"));
                }
                Ok(false)
            }
            _ => Err(NoAnswer),
        }
    }

    fn enqueue(self: &Rc<Worker>, action: Vec<u8>, entry: Entry) {
        let is_full = self.waiting.borrow().len() >= UPLOADS_WAITING_MAX;
        if is_full || self.takes_no_uploads() {
            self.leave_out(1);
            return;
        }
        self.waiting.borrow_mut().push_back((action, entry));
        self.upload_next();
    }

    fn takes_no_uploads(&self) -> bool {
        self.exchange.is_none()
            || self.is_refused.get()
            || self.is_read_only.get()
            || !self.breaker.borrow().is_closed()
    }

    fn leave_out(&self, count: u64) {
        self.answers.count(|counts| counts.uploads_left_out += count);
    }

    /// Starts as many uploads as may run; says so when the last is through.
    fn upload_next(self: &Rc<Worker>) {
        while self.uploading.get() < UPLOADS_AT_ONCE {
            if self.takes_no_uploads() {
                let left_out = self.waiting.take().len();
                self.leave_out(left_out as u64);
            }
            let Some((action, entry)) = self.waiting.borrow_mut().pop_front() else { break };
            self.uploading.set(self.uploading.get() + 1);
            let worker = Rc::clone(self);
            ring::spawn(async move {
                let is_kept = worker.upload(&action, &entry).await;
                worker.answers.count(|counts| match is_kept {
                    true => counts.uploads += 1,
                    false => counts.uploads_left_out += 1,
                });
                worker.uploading.set(worker.uploading.get() - 1);
                worker.upload_next();
            })
            .detach();
        }
        if self.uploading.get() == 0
            && self.waiting.borrow().is_empty()
            && let Some(done) = self.joining.take()
        {
            // Whoever waited may have given up.
            done.send(()).ok();
        }
    }

    /// Whether the appliance has the output and its record now.
    async fn upload(&self, action: &[u8], entry: &Entry) -> bool {
        let outcome = self.send(action, entry).await;
        let mut breaker = self.breaker.borrow_mut();
        match outcome {
            Ok(is_kept) => {
                breaker.succeeded();
                is_kept
            }
            Err(NoAnswer) => {
                // Uploads run beside the build: their failures count, their waits do not.
                breaker.failed(ring::now(), Duration::ZERO);
                false
            }
        }
    }

    async fn send(&self, action: &[u8], entry: &Entry) -> Result<bool, NoAnswer> {
        let exchange = self.exchange.as_ref().ok_or(NoAnswer)?;
        if entry.length > 0 {
            // Another process may have trimmed it away.
            let Ok(file) = std::fs::File::open(&entry.path) else { return Ok(false) };
            let hash = hex(&entry.sha256);
            let status = exchange.put_object(&hash, file, entry.length, self.limits.first_byte).await?;
            if !self.is_kept(status)? {
                return Ok(false);
            }
        }
        let status = exchange
            .put_action(&record::key_of(action), record::write(entry), self.limits.first_byte)
            .await?;
        self.is_kept(status)
    }

    /// Whether it was taken. Errors: the appliance is in trouble. One that is full or finds this one too large is not.
    fn is_kept(&self, status: StatusCode) -> Result<bool, NoAnswer> {
        match status {
            status if status.is_success() => Ok(true),
            // A token that may only read is a usual thing: nothing is said about it.
            StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED => {
                self.is_read_only.set(true);
                Ok(false)
            }
            StatusCode::UNAUTHORIZED => self.is_answer(status),
            StatusCode::INSUFFICIENT_STORAGE => Ok(false),
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => Ok(false),
            _ => Err(NoAnswer),
        }
    }
}
