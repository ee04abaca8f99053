//! What one core has: its door to the store, its services, its accounts, its counters.
//! Invariant: nothing here is shared with another core but the status, the counters and the log.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use aws::account::KeyRing;
use aws::sigv4::{Dialect, PathCoding, Verifier};
use plan::{Context, Service};
use store::{Store, Timestamp};

use crate::config::Config;
use crate::drive::{Host, lanes::Lanes};
use crate::log::Log;
use crate::metrics::Rows;
use crate::random::Random;
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
    /// Objects.
    pub s3: Box<dyn Service>,
    store: OnceCell<Store>,
    lanes: Lanes,
    random: RefCell<Random>,
    accounts: RefCell<Rc<KeyRing>>,
    s3_verifier: RefCell<Verifier>,
    /// The access key of the root account, which may see metrics and reasons.
    root_access_key: RefCell<Rc<str>>,
    node_number: Cell<u64>,
}

impl Core {
    /// A core that has no store yet; made on its reactor's thread.
    pub fn new(
        index: usize,
        config: Arc<Config>,
        status: Arc<Status>,
        log: Log,
        s3: Box<dyn Service>,
    ) -> Rc<Core> {
        let dialect = Dialect {
            service: "s3",
            region: config.region.clone(),
            path_coding: PathCoding::Once,
            sigv2: config.s3.sigv2,
        };
        let mut random = Random::new();
        let node_number = Cell::new(random.draw());
        let metrics = status.cores[index].clone();
        Rc::new(Core {
            index,
            config,
            log,
            rows: Rows::new(metrics),
            status,
            s3,
            store: OnceCell::new(),
            lanes: Lanes::new(),
            random: RefCell::new(random),
            accounts: RefCell::default(),
            s3_verifier: RefCell::new(Verifier::new(dialect)),
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

    /// Says who sent a request.
    pub fn authenticate(
        &self,
        request: &aws::sigv4::SignedRequest<'_>,
    ) -> Result<aws::sigv4::Identity, aws::ErrorReply> {
        let accounts = self.accounts.borrow().clone();
        self.s3_verifier.borrow_mut().authenticate(request, &*accounts, aws_now())
    }
}

impl Host for Core {
    fn store(&self) -> &Store {
        self.store.get().expect("plans are driven only once the core has its store")
    }

    fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    fn with_context<R>(&self, run: impl FnOnce(&mut Context<'_>) -> R) -> R {
        let accounts = self.accounts.borrow().clone();
        let mut verifier = self.s3_verifier.borrow_mut();
        let mut random = || self.random();
        run(&mut Context {
            store: Host::store(self),
            now: Timestamp::from_system_clock(),
            random: &mut random,
            accounts: &*accounts,
            verifier: &mut verifier,
        })
    }
}

fn aws_now() -> aws::Timestamp {
    aws::Timestamp(i64::try_from(Timestamp::from_system_clock().0).unwrap_or(i64::MAX))
}
