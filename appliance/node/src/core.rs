//! What one core has: its door to the store, its services, its accounts, its counters.
//! Invariant: nothing here is shared with another core but the status, the counters and the log.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use aws::account::KeyRing;
use store::{Store, Timestamp};

use crate::config::Config;
use crate::door::Door;
use crate::drive::{collect::Held, kept::Kept, lanes::Lanes};
use crate::log::Log;
use crate::metrics::{Counter, Rows};
use crate::random::Random;
use crate::route::ServiceId;
use crate::services::{Doors, Shared};
use crate::status::Status;

/// One core's share of the process.
pub struct Core {
    /// Its number, from 0.
    pub index: usize,
    /// The configuration of the start.
    pub config: Arc<Config>,
    /// Phase and health of the process.
    pub status: Arc<Status>,
    /// The log.
    pub log: Log,
    /// Counters of this core.
    pub rows: Rows,
    /// Bodies that are collected before their service is asked.
    pub held: Held,
    /// Stored bodies that are read often.
    pub kept: Kept,
    /// What ticks did.
    pub background: Background,
    doors: Doors,
    store: OnceCell<Store>,
    lanes: Lanes,
    random: RefCell<Random>,
    accounts: RefCell<Rc<KeyRing>>,
    /// The access key of the root account, which may see metrics and reasons.
    root_access_key: RefCell<Rc<str>>,
    node_number: Cell<u64>,
}

/// Counts of work that nobody asked for.
#[derive(Default)]
pub struct Background {
    /// Plans that ended.
    pub plans: Counter,
    /// Of these, those that failed.
    pub failures: Counter,
}

impl Core {
    /// A core that has no store yet; made on its reactor's thread.
    pub fn new(index: usize, config: Arc<Config>, status: Arc<Status>, log: Log, doors: Doors) -> Rc<Core> {
        let mut random = Random::new();
        let node_number = Cell::new(random.draw());
        let metrics = status.cores[index].clone();
        let kept = Kept::new(status.cores.len());
        Rc::new(Core {
            index,
            config,
            log,
            rows: Rows::new(metrics),
            status,
            held: Held::default(),
            kept,
            background: Background::default(),
            doors,
            store: OnceCell::new(),
            lanes: Lanes::new(),
            random: RefCell::new(random),
            accounts: RefCell::default(),
            root_access_key: RefCell::new("".into()),
            node_number,
        })
    }

    /// Gives the core its store, once.
    pub fn start(&self, store: Store) {
        assert!(self.store.set(store).is_ok(), "a core gets its store once");
    }

    /// The store, once recovery has given it.
    pub fn store_if_started(&self) -> Option<&Store> {
        self.store.get()
    }

    /// Replaces the accounts; requests under way keep theirs.
    pub fn set_accounts(&self, accounts: KeyRing, root_access_key: &str) {
        *self.accounts.borrow_mut() = Rc::new(accounts);
        *self.root_access_key.borrow_mut() = root_access_key.into();
    }

    /// Whether this key is the root account's own.
    pub fn is_root_key(&self, access_key: &str) -> bool {
        let root = self.root_access_key.borrow();
        !root.is_empty() && **root == *access_key
    }

    /// Draws a number that nobody can guess.
    pub fn random(&self) -> u64 {
        self.random.borrow_mut().draw()
    }

    /// What `x-amz-id-2` is made of besides the request.
    pub fn node_number(&self) -> u64 {
        self.node_number.get()
    }

    /// The way to a service.
    pub fn door(&self, service: ServiceId) -> &Door {
        self.doors.of(service)
    }

    /// What the services of all cores have in common.
    pub fn shared(&self) -> &Shared {
        &self.doors.shared
    }

    /// MD5 for many uploads.
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// The accounts and keys of now.
    pub fn accounts(&self) -> Rc<KeyRing> {
        self.accounts.borrow().clone()
    }
}

/// The time, as signatures count it.
pub fn aws_now() -> aws::Timestamp {
    aws::Timestamp(i64::try_from(Timestamp::from_system_clock().0).unwrap_or(i64::MAX))
}
