//! One core's thread: a reactor, the core's listeners, its shards.
//! Invariant: the listeners answer from the first moment; the store comes when recovery has ended.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

use http::{Limits, Seat, Server, Shutdown, TlsAcceptor};
use ring::{Reactor, ReactorConfig};
use store::Opened;

use super::Event;
use super::listen::CoreSockets;
use crate::config::Config;
use crate::core::Core;
use crate::credentials::RootKey;
use crate::handler::NodeHandler;
use crate::log::Log;
use crate::metrics::Gauge;
use crate::services::{Doors, Shared};
use crate::status::{Busy, Phase, Status};
use crate::tick::{self, Ticks};

/// What a core's thread starts from.
pub struct WorkerStart {
    /// Its number, from 0.
    pub index: usize,
    /// The reactor's settings.
    pub reactor: ReactorConfig,
    /// Where this process listens, on whatever core.
    pub addresses: Vec<SocketAddr>,
    /// What this core listens on.
    pub sockets: CoreSockets,
    /// Where connections arrive that other cores accept for it.
    pub seat: Seat,
    /// The certificate, if the listeners speak TLS.
    pub tls: Option<TlsAcceptor>,
    /// Bounds of its connections.
    pub limits: Limits,
    /// The configuration of the start.
    pub config: Arc<Config>,
    /// Phase, counters.
    pub status: Arc<Status>,
    /// What the services of all cores have in common.
    pub shared: Shared,
    /// The log.
    pub log: Log,
    /// Begins the drain.
    pub shutdown: Shutdown,
    /// To the main thread.
    pub events: Sender<Event>,
}

/// What the main thread asks of a core.
pub enum Command {
    /// Take your shards.
    Start {
        /// The recovered store.
        opened: Arc<Opened>,
        /// Cores in all.
        core_count: usize,
    },
    /// Carry out what recovery decided; one core does it, after all have started.
    FinishRecovery(Arc<Opened>),
    /// These accounts from now on.
    Accounts(Arc<Config>, RootKey),
    /// These bounds for connections that begin from now on. No event tells when.
    Limits(Box<Limits>),
}

/// A core's thread, seen from the main thread.
pub struct Worker {
    /// To the core.
    pub commands: ring::Sender<Command>,
    /// The thread.
    pub thread: JoinHandle<()>,
}

/// Starts the thread.
pub fn start(start: WorkerStart) -> std::io::Result<Worker> {
    let (sender, receiver) = ring::mailbox::mailbox();
    let name = format!("core-{}", start.index);
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let (index, events) = (start.index, start.events.clone());
        let busy = Busy::new(start.status.clone());
        let ended = match Reactor::new(&start.reactor) {
            Ok(mut reactor) => {
                reactor.block_on(run(start, receiver, busy)).map_err(|error| error.to_string())
            }
            Err(error) => Err(format!("core {index} cannot start its reactor: {error}")),
        };
        // The main thread may be gone already; then nobody waits.
        drop(events.send(match ended {
            Ok(connection_count) => Event::Stopped { connection_count },
            Err(message) => Event::Failed(message),
        }));
    })?;
    Ok(Worker { commands: sender, thread })
}

async fn run(start: WorkerStart, commands: ring::Receiver<Command>, busy: Busy) -> std::io::Result<usize> {
    let WorkerStart { index, addresses, sockets, seat, tls, limits, config, status, shared, log, .. } = start;
    let (shutdown, events) = (start.shutdown, start.events);
    let doors = Doors::new(&config, &shared).with_listeners(&config, addresses);
    let core = Core::new(index, config, status, log, doors);
    let server = Server::at(&seat, limits, NodeHandler::new(core.clone()));
    let mut listeners = Vec::new();
    for socket in sockets.own {
        let listener = ring::TcpListener::from_std(socket)?;
        let (server, tls, shutdown) = (server.clone(), tls.clone(), shutdown.clone());
        listeners.push(ring::spawn(async move { server.serve(listener, tls, shutdown).await }));
    }
    for lent in sockets.lent {
        let accepting = seat.accept_for_all(lent, server.clone(), shutdown.clone())?;
        let (core, shutdown) = (core.clone(), shutdown.clone());
        ring::spawn(async move {
            recovered(&core, &shutdown).await;
            accepting.await;
        })
        .detach();
    }
    let (arriving, until) = (server.clone(), shutdown.clone());
    listeners.push(ring::spawn(async move { seat.serve(arriving, tls, until).await }));
    let _heart = ring::spawn(beat(core.clone()));
    let _ending = ring::spawn(answer_those_who_wait(core.clone(), shutdown.clone()));
    let ticks = Rc::new(Cell::new(None));
    let _commands = ring::spawn(obey(core.clone(), server.clone(), ticks.clone(), commands, events));
    let mut connection_count = 0;
    for listener in listeners {
        // All listeners of a core share one count; the last one to end knows it best.
        connection_count = listener.await;
    }
    drop(busy);
    await_other_cores(&core, &shutdown).await;
    // What they do is given up: shards drain with nobody left who asks for more.
    drop(ticks.take());
    if let Some(store) = core.store_if_started() {
        store.end_copying();
        store.drain().await;
        store.fold_all().await;
        // What takes longer is the next start's.
        let _in_time = ring::timeout(GIVE_BACK_PATIENCE, store.give_back_all()).await;
        // It says in the log what is given back.
        store.drain().await;
    }
    Ok(connection_count)
}

/// How long a core that ends waits until the space of what the last fold found dead is given back.
const GIVE_BACK_PATIENCE: Duration = Duration::from_secs(5);

/// Waits until requests can be answered, but not long: clients of a socket that is open while nobody serves wait for us rather
/// than be refused, and then want to hear how long it takes.
async fn recovered(core: &Core, shutdown: &Shutdown) {
    let patience = ring::now() + RECOVERY_PATIENCE;
    while core.status.phase() == Phase::Recovering && ring::now() < patience && !shutdown.has_begun() {
        ring::sleep(BUSY_INTERVAL).await;
    }
}

/// How long connections to a socket of the service manager wait for the end of recovery.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(5);

/// Long polls would hold a drain up until their own time, so they are answered when it begins.
async fn answer_those_who_wait(core: Rc<Core>, shutdown: Shutdown) {
    shutdown.begun().await;
    if let Some(store) = core.store_if_started() {
        store.end_waits();
    }
}

/// Requests under way on other cores may still need the shards of this one.
async fn await_other_cores(core: &Core, shutdown: &Shutdown) {
    let deadline = shutdown.begun().await;
    while core.status.busy_core_count() > 0 && ring::now() < deadline {
        ring::sleep(BUSY_INTERVAL).await;
    }
}

/// How often a core that is done looks whether the others are.
const BUSY_INTERVAL: Duration = Duration::from_millis(2);

async fn obey(
    core: Rc<Core>,
    server: Server<NodeHandler>,
    ticks: Rc<Cell<Option<Ticks>>>,
    mut commands: ring::Receiver<Command>,
    events: Sender<Event>,
) {
    while let Some(command) = commands.recv().await {
        let event = match command {
            Command::Start { opened, core_count } => {
                match opened.start_core(core.index, core_count, core.random()) {
                    Ok(store) => {
                        core.start(store);
                        ticks.set(Some(tick::start(&core)));
                        Event::Started
                    }
                    Err(fault) => {
                        Event::Refused(format!("core {} cannot take its shards: {fault}", core.index))
                    }
                }
            }
            Command::FinishRecovery(opened) => {
                let store = core.store_if_started().expect("sent to cores that have started");
                opened.finish_recovery(store).await;
                Event::Recovered
            }
            Command::Accounts(config, root) => match config.key_ring(&root.access_key, &root.secret_key) {
                Ok(accounts) => {
                    core.set_accounts(accounts, &root.access_key);
                    Event::Accounted
                }
                Err(failure) => Event::Refused(failure.message),
            },
            Command::Limits(limits) => {
                server.set_limits(*limits);
                continue;
            }
        };
        if events.send(event).is_err() {
            return;
        }
    }
}

/// Once a second: show that the loop runs, and copy its figures to where a scrape finds them.
async fn beat(core: Rc<Core>) {
    loop {
        let metrics = core.rows.core();
        metrics.heartbeat_ms.set(core.status.uptime_ms());
        let stats = ring::stats();
        let hops = core.store_if_started().map_or(0, store::Store::hop_count);
        metrics.publish(&[
            (&GAUGES[0], stats.turns),
            (&GAUGES[1], stats.completions),
            (&GAUGES[2], stats.wakeups_sent),
            (&GAUGES[3], stats.wakeups_saved),
            (&GAUGES[4], stats.enobufs),
            (&GAUGES[5], stats.receive_pauses),
            (&GAUGES[6], stats.tasks),
            (&GAUGES[7], stats.connections),
            (&GAUGES[8], stats.held_recv_buffers),
            (&GAUGES[9], stats.copied_recv_bytes),
            (&GAUGES[10], stats.file_operations),
            (&GAUGES[11], hops),
            (&GAUGES[12], core.held.bytes() as u64),
            (&GAUGES[13], core.background.plans.get()),
            (&GAUGES[14], core.background.failures.get()),
        ]);
        ring::sleep(HEARTBEAT).await;
    }
}

const HEARTBEAT: Duration = Duration::from_secs(1);

const fn gauge(name: &'static str, help: &'static str, kind: &'static str) -> Gauge {
    Gauge { name, help, kind }
}

static GAUGES: [Gauge; 15] = [
    gauge("zerocloud_ring_turns_total", "Turns of the loop.", "counter"),
    gauge("zerocloud_ring_completions_total", "Completions or readiness events from the kernel.", "counter"),
    gauge("zerocloud_ring_wakeups_sent_total", "Messages that had to wake a sleeping core.", "counter"),
    gauge("zerocloud_ring_wakeups_saved_total", "Messages that found the core awake.", "counter"),
    gauge(
        "zerocloud_ring_receive_buffers_exhausted_total",
        "Receives that ended for lack of buffers.",
        "counter",
    ),
    gauge("zerocloud_ring_receive_pauses_total", "Receives paused because too much was unread.", "counter"),
    gauge("zerocloud_ring_tasks", "Tasks that exist.", "gauge"),
    gauge("zerocloud_ring_connections", "Open sockets.", "gauge"),
    gauge("zerocloud_ring_held_receive_buffers", "Receive buffers that hold unread bytes.", "gauge"),
    gauge("zerocloud_ring_copied_receive_bytes", "Unread bytes copied to the heap.", "gauge"),
    gauge("zerocloud_ring_file_operations", "File operations in flight.", "gauge"),
    gauge("zerocloud_store_hops_total", "Operations sent to another core.", "counter"),
    gauge("zerocloud_collected_body_bytes", "Bytes of bodies that were collected and are in use.", "gauge"),
    gauge("zerocloud_background_plans_total", "Plans of background work that ended.", "counter"),
    gauge("zerocloud_background_failures_total", "Plans of background work that failed.", "counter"),
];
