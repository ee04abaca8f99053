//! `zerocloud serve`: the order of the start, the life, and the end of the process.
//!
//! ```text
//! configuration -> data directory, lock -> ports -> threads (503) -> recovery -> root key -> ready -> drain -> end
//! ```
//! Invariant: nothing is written to a directory that is not ours or that another process holds, and the ready line
//! appears once every shard answers.

mod events;
mod listen;
mod manager;
mod signals;
mod start;
mod worker;

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use http::{Shutdown, TlsAcceptor};
use store::Opened;

use crate::cli::{ServeArgs, Shell};
use crate::config::{self, Config, Layer};
use crate::credentials::{self, KeySource, RootKey};
use crate::env_command::{self, Endpoint};
use crate::exit::Failure;
use crate::log::Log;
use crate::private_file;
use crate::services::Shared;
use crate::status::{Phase, Status};
use crate::surroundings;
use events::Events;
use start::Tls;
use worker::{Command, Worker, WorkerStart};

pub use events::Event;

/// After the drain's own time, folding and closing get this much before the process just ends.
const CLOSE_PATIENCE: Duration = Duration::from_secs(25);

pub use start::{reachable, refuse};

/// Makes the data directory and its root key where they are not there yet. False: a node runs there, which has made them.
pub fn prepare(config: &Config) -> Result<bool, Failure> {
    private_file::keep_private();
    let _lock = match start::claim(config, &mut Vec::new()) {
        Err(failure) if failure.exit == crate::exit::Exit::Held => return Ok(false),
        claimed => claimed?,
    };
    if config.data.join(store::format::FORMAT_NAME).exists() && credentials::path(&config.data).exists() {
        // Made before; what the last run left is the next start's to recover.
        return Ok(true);
    }
    let shared = Shared::new(config, disk_bytes(config));
    let opened = start::open_store(config, &shared)?;
    let made = credentials::load_or_make(&config.data, None).map(drop);
    opened.close();
    made.map(|()| true)
}

/// Whether an address can be listened on right now.
pub fn can_listen(address: SocketAddr) -> Result<(), Failure> {
    listen::open(&[address], Vec::new(), 1).map(drop)
}

/// Whether certificate and key can be used.
pub fn check_tls(files: &config::TlsFiles) -> Result<(), Failure> {
    start::read_tls(files).map(drop)
}

/// Reads and merges the configuration of a command line.
pub fn load(args: &ServeArgs) -> Result<Config, Failure> {
    let file = match &args.config {
        Some(path) => Some(config::from_file(path)?),
        None => None,
    };
    let environment: Layer = config::from_environment(&|name| std::env::var_os(name))?;
    Config::merge(args.layer(), environment, file, args.debug)
}

/// Bytes of the disk below the data directory, where it can be asked.
fn disk_bytes(config: &Config) -> Option<u64> {
    crate::machine::room(&config.data).ok().map(|room| room.total_bytes)
}

/// Serves until told to stop.
pub fn run(args: &ServeArgs) -> Result<(), Failure> {
    let mut config = load(args)?;
    let over = config::root_key_override(&|name| std::env::var_os(name))?;
    let tls = config.tls.as_ref().map(start::read_tls).transpose()?;
    private_file::keep_private();
    if args.check {
        start::check_accounts(&config)?;
        for warning in start::warn_of_settings(&config) {
            eprintln!("zerocloud: {warning}");
        }
        return Ok(());
    }
    let acceptor = tls.as_ref().map(|tls| start::acceptor(&tls.settings)).transpose()?;
    let log = Log::to_stderr(config.log.level, config.log.access);
    start::die_on_panic(&log);
    let store_log = log.clone();
    store::report_to(move |text| store_log.warn(text, &[]));
    let mut warnings = Vec::new();
    let inherited = manager::inherited(&mut warnings)?;
    let lent_addresses: Vec<SocketAddr> = inherited.iter().map(|one| one.address).collect();
    config.inherit(&lent_addresses);
    let config = Arc::new(config);
    warnings.extend(start::warn_of_settings(&config));
    let descriptors = crate::machine::raise_descriptor_limit();
    let lock = Arc::new(start::claim(&config, &mut warnings)?);
    let cores = start::cores(&config)?;
    let bound = listen::open(&config.listen, inherited, cores.len())?;
    let (backend, reactor) = start::backend(&config, &mut warnings)?;
    for warning in &warnings {
        log.warn(warning, &[]);
    }
    let status = Status::new(cores.len(), backend, warnings);
    if let Some(tls) = tls {
        status.surroundings.set_certificate(tls.shown);
    }
    if lock.was_cut_off() {
        status.surroundings.set_was_cut_off();
        log.warn("the run before did not end by itself: killed, by the watchdog too, or without power", &[]);
    }
    let shared = Shared::new(&config, disk_bytes(&config));
    let (sender, events) = channel();
    let failed = |error| Failure::storage(format!("cannot watch signals: {error}"));
    signals::watch(sender.clone(), status.clone(), log.clone(), config.data.clone(), Arc::downgrade(&lock))
        .map_err(failed)?;
    manager::keep_informed(status.clone(), log.clone()).map_err(|error| {
        Failure::storage(format!("cannot start the thread that tells the service manager: {error}"))
    })?;
    surroundings::watch(status.clone(), config.data.clone(), sender.clone()).map_err(|error| {
        Failure::storage(format!("cannot start the thread that looks at the disk: {error}"))
    })?;
    let addresses: Vec<SocketAddr> = bound.iter().map(|one| one.address).collect();
    let shutdown = Shutdown::new();
    let limits = start::limits(&config, cores.len(), descriptors, !lent_addresses.is_empty());
    let mut seats = http::seats(cores.len());
    let mut sockets = listen::share(bound, &seats);
    let mut workers = Vec::new();
    for (index, core) in cores.iter().enumerate() {
        let start = WorkerStart {
            index,
            seat: seats.remove(0),
            reactor: ring::ReactorConfig { core: config.pin.then_some(*core), ..reactor.clone() },
            addresses: addresses.clone(),
            sockets: sockets.remove(0),
            tls: acceptor.clone(),
            limits: limits.clone(),
            config: config.clone(),
            status: status.clone(),
            shared: shared.clone(),
            log: log.clone(),
            shutdown: shutdown.clone(),
            events: sender.clone(),
        };
        let failed = |error| Failure::storage(format!("cannot start a thread for core {core}: {error}"));
        workers.push(worker::start(start).map_err(failed)?);
    }
    let node = Node {
        args,
        config,
        log,
        status,
        shared,
        workers,
        events: Events::new(events),
        shutdown,
        acceptor,
        addresses,
        lent_addresses,
        descriptors,
    };
    node.serve(over)?;
    lock.end();
    Ok(())
}

/// The process between its start and its end.
struct Node<'a> {
    args: &'a ServeArgs,
    config: Arc<Config>,
    log: Log,
    status: Arc<Status>,
    shared: Shared,
    workers: Vec<Worker>,
    events: Events,
    shutdown: Shutdown,
    acceptor: Option<TlsAcceptor>,
    addresses: Vec<SocketAddr>,
    /// Those of them that the service manager listens on, too.
    lent_addresses: Vec<SocketAddr>,
    /// How many files the process may have open.
    descriptors: Option<u64>,
}

impl Node<'_> {
    fn serve(self, over: Option<(String, aws::account::Secret)>) -> Result<(), Failure> {
        let begun = Instant::now();
        let opened = Arc::new(start::open_store(&self.config, &self.shared)?);
        for note in opened.notes() {
            self.log.warn(note, &[]);
            self.status.warn(note.clone());
        }
        let root = credentials::load_or_make(&self.config.data, over)?;
        self.accounts(&self.config, &root)?;
        self.tell_all(|| Command::Start { opened: opened.clone(), core_count: self.workers.len() });
        self.await_all(|event| matches!(event, Event::Started))?;
        // Sent to one core; the answers of all are awaited by their number.
        self.tell(0, Command::FinishRecovery(opened.clone()));
        self.events.await_one(|event| matches!(event, Event::Recovered))?;
        self.status.advance(Phase::Serving);
        self.announce(&root, begun.elapsed())?;
        let (deadline, failure) = self.live();
        Endpoint::remove(&self.config.data);
        self.end(opened, deadline);
        failure.map_or(Ok(()), Err)
    }

    fn tell(&self, core: usize, command: Command) {
        // A core that is gone has said why in an event of its own.
        drop(self.workers[core].commands.send(command));
    }

    fn tell_all(&self, command: impl Fn() -> Command) {
        for core in 0..self.workers.len() {
            self.tell(core, command());
        }
    }

    fn await_all(&self, wanted: impl Fn(&Event) -> bool) -> Result<(), Failure> {
        (0..self.workers.len()).try_for_each(|_| self.events.await_one(&wanted))
    }

    fn accounts(&self, config: &Arc<Config>, root: &RootKey) -> Result<(), Failure> {
        // Built once here first, so that a contradiction is this thread's error.
        config.key_ring(&root.access_key, &root.secret_key)?;
        self.tell_all(|| Command::Accounts(config.clone(), root.clone()));
        self.await_all(|event| matches!(event, Event::Accounted))
    }

    fn announce(&self, root: &RootKey, recovery: Duration) -> Result<(), Failure> {
        let first = self.url(&start::reachable(self.addresses[0]));
        let endpoint = Endpoint {
            url: self.config.public_url.clone().unwrap_or_else(|| first.clone()),
            region: self.config.region.clone(),
            listener: Some(first),
        };
        endpoint.write(&self.config.data).map_err(|error| {
            let path = self.config.data.join(env_command::ENDPOINT_FILE);
            Failure::storage(format!(
                "{}: cannot be written: {error}; see its permissions and the free space",
                path.display()
            ))
        })?;
        let mut out = String::new();
        for address in &self.addresses {
            out.push_str(&format!("zerocloud ready on {}\n", self.url(address)));
        }
        if std::io::stdout().is_terminal() && root.source == KeySource::FirstStart {
            out.push_str("\nRoot keys were made. To use them in a shell, paste:\n\n");
            out.push_str(&env_command::render(
                Shell::Sh,
                &endpoint,
                &root.access_key,
                root.secret_key.reveal(),
            ));
            out.push('\n');
        } else {
            out.push_str(&format!("run: zerocloud env --data {}\n", self.config.data.display()));
        }
        let mut stdout = std::io::stdout().lock();
        // A closed stdout is no reason not to serve.
        drop(stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush()));
        let listeners = self.urls().join(" ");
        self.log.info(
            "ready",
            &[
                ("version", &env!("CARGO_PKG_VERSION")),
                ("listeners", &listeners),
                ("data", &self.config.data.display()),
                ("cores", &self.workers.len()),
                ("backend", &self.status.backend),
                ("start_ms", &recovery.as_millis()),
            ],
        );
        manager::ready(&self.log, &listeners);
        Ok(())
    }

    fn url(&self, address: &SocketAddr) -> String {
        let scheme = if self.config.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{address}")
    }

    fn urls(&self) -> Vec<String> {
        self.addresses.iter().map(|address| self.url(address)).collect()
    }

    /// Serves until a signal or a core's end; returns by when everything should be over, and what the process fails with if nobody
    /// asked for the end.
    fn live(&self) -> (Instant, Option<Failure>) {
        let failure = loop {
            match self.events.next() {
                Some(Event::Stop { signal }) => {
                    self.log.info("draining", &[("signal", &signal)]);
                    break None;
                }
                Some(Event::Reload) => {
                    manager::reloading(&self.log);
                    self.reload();
                    manager::ready(&self.log, &self.urls().join(" "));
                }
                Some(Event::NewCertificate) => self.reload_changed_certificate(),
                Some(Event::Failed(message)) => {
                    self.log.error("a core has failed", &[("cause", &message)]);
                    break Some(Failure::storage(format!("a core has failed: {message}")));
                }
                Some(Event::Stopped { .. }) | None => {
                    self.log.error("a core has ended by itself", &[]);
                    break Some(Failure::storage("a core has ended by itself"));
                }
                Some(Event::Started | Event::Recovered | Event::Accounted | Event::Refused(_)) => {}
            }
        };
        manager::stopping(&self.log);
        self.status.advance(Phase::Draining);
        self.shutdown.begin(self.config.drain_timeout);
        (Instant::now() + self.config.drain_timeout + CLOSE_PATIENCE, failure)
    }

    fn reload(&self) {
        let loaded = load(self.args).and_then(|mut config| {
            config.inherit(&self.lent_addresses);
            let over = config::root_key_override(&|name| std::env::var_os(name))?;
            let root = credentials::load(&self.config.data, over)?;
            let tls = config.tls.as_ref().map(start::read_tls).transpose()?;
            Ok((config, root, tls))
        });
        let (config, root, tls) = match loaded {
            Ok(loaded) => loaded,
            Err(failure) => {
                self.log.error("configuration not reloaded", &[("cause", &failure)]);
                return;
            }
        };
        let restart = self.config.needs_restart(&config);
        if !restart.is_empty() {
            self.log.warn("these settings change with a restart only", &[("keys", &restart.join(", "))]);
        }
        if let Some(tls) = tls {
            self.show_certificate(tls);
        }
        if let Some(root) = root
            && let Err(failure) = self.accounts(&Arc::new(config.clone()), &root)
        {
            self.log.error("accounts not reloaded, the former ones stay", &[("cause", &failure)]);
        }
        let limits =
            start::limits(&config, self.workers.len(), self.descriptors, !self.lent_addresses.is_empty());
        self.tell_all(|| Command::Limits(Box::new(limits.clone())));
        self.shared.tokens.set_anonymous(config.cache.anonymous);
        self.log.set(config.log.level, config.log.access);
        self.log.info("configuration reloaded", &[]);
    }

    /// The files hold another certificate, and nobody has asked for a reload.
    fn reload_changed_certificate(&self) {
        let Some(files) = self.status.surroundings.certificate_files() else { return };
        match start::read_tls(&files) {
            Ok(tls) => {
                if self.show_certificate(tls) {
                    self.log.info("certificate reloaded", &[("file", &files.cert.display())]);
                }
            }
            Err(failure) => {
                self.log.error("certificate not reloaded, the former one stays", &[("cause", &failure)])
            }
        }
    }

    /// New connections are shown this certificate. False: they are shown the former one.
    fn show_certificate(&self, tls: Tls) -> bool {
        let Some(acceptor) = &self.acceptor else { return false };
        if let Err(error) = acceptor.reload(&tls.settings) {
            self.log.error("certificate not reloaded, the former one stays", &[("cause", &error)]);
            return false;
        }
        self.status.surroundings.set_certificate(tls.shown);
        true
    }

    fn end(self, opened: Arc<Opened>, deadline: Instant) {
        let mut cut = 0;
        let mut running = self.workers.len() - self.events.ended();
        while running > 0 {
            match self.events.next_until(deadline) {
                Some(Event::Stopped { connection_count }) => {
                    cut += connection_count;
                    running -= 1;
                }
                Some(Event::Failed(_)) => running -= 1,
                Some(_) => {}
                None => break,
            }
        }
        if cut > 0 {
            self.log.warn("connections cut at the end of the drain", &[("count", &cut)]);
        }
        if running == 0 {
            for worker in self.workers {
                drop(worker.thread.join());
            }
            if let Ok(opened) = Arc::try_unwrap(opened) {
                opened.close();
            }
        } else {
            self.log.warn("ended before every core had", &[("cores", &running)]);
        }
        self.log.info("stopped", &[]);
        self.log.flush();
    }
}
