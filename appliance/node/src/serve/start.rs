//! The single steps of the start, each with its refusal: thing, cause, mend.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws::account::Secret;
use http::{Limits, TlsAcceptor, TlsSettings};
use store::disk::{Disk, RealDisk};
use store::format::DataLock;
use store::{Format, OpenError, Opened, StoreConfig, TableId, TableSet};

use crate::certificate;
use crate::config::{self, Backend, Config, TlsFiles};
use crate::exit::Failure;
use crate::log::Log;
use crate::machine::{self, FileSystemKind};
use crate::services::Shared;
use crate::surroundings::{ShownCertificate, Stamp};

/// The tables of all services whose records never have a body: items and messages lie in the values of their records, but
/// for long messages of ZeroQueue.
const BODYLESS: TableSet = {
    // ZeroQueue's from behind its bodies on.
    let mut tables = TableSet::range(TableId(sqs::store::BODIES.0 + 1), TableId(99));
    // ZeroDB's, and ZeroQueue's before.
    let mut table = 40;
    while table < sqs::store::BODIES.0 {
        tables = tables.with(TableId(table));
        table += 1;
    }
    // What the build cache stores beside blobs, and tokens.
    let mut table = 100;
    while table <= 124 {
        let one = TableId(table);
        if cas::BODYLESS.contains(one) || tokens::BODYLESS.contains(one) {
            tables = tables.with(one);
        }
        table += 1;
    }
    tables
};
/// Memory that each core's ring registers at most; a smaller limit registers less.
const MEMLOCK_WANTED_BYTES: u64 = 16 << 20;
/// Descriptors that stay for files, whatever the number of connections.
const FILE_DESCRIPTORS_KEPT: u64 = 2_048;

/// A certificate with its key, as it was read.
pub struct Tls {
    /// For the acceptor.
    pub settings: TlsSettings,
    /// For whoever looks whether it is still the one in the files, and when it ends.
    pub shown: ShownCertificate,
}

/// Reads certificate and key. Errors: unreadable, or a key that others may read.
pub fn read_tls(files: &TlsFiles) -> Result<Tls, Failure> {
    // Before the bytes: what changes from now on is another certificate.
    let stamp = Stamp::of(files);
    let read = |path: &std::path::Path| {
        std::fs::read(path)
            .map_err(|error| Failure::configuration(format!("{}: cannot be read: {error}", path.display())))
    };
    crate::private_file::check(&files.key)?;
    let settings =
        TlsSettings { certificates_pem: read(&files.cert)?, key_pem: read(&files.key)?, allow_tls12: false };
    // Tried here, so that --check finds a certificate that does not fit its key.
    acceptor(&settings)?;
    let end = certificate::end_of_first(&settings.certificates_pem);
    Ok(Tls { settings, shown: ShownCertificate { files: files.clone(), stamp, end } })
}

/// An acceptor under these settings. Errors: they do not fit.
pub fn acceptor(settings: &TlsSettings) -> Result<TlsAcceptor, Failure> {
    TlsAcceptor::new(settings)
        .map_err(|error| Failure::configuration(format!("{error}; correct tls_cert and tls_key")))
}

/// Whether the accounts of a configuration can stand beside a root key.
pub fn check_accounts(config: &Config) -> Result<(), Failure> {
    // Any key that no account can have: `/` is refused in access keys.
    config.key_ring("root/check", &Secret::new("only for this check")).map(drop)
}

/// Says when other users of the machine may look into the data directory, as one that was made before this process may let them.
fn warn_of_others(data: &Path, warnings: &mut Vec<String>) {
    if std::fs::metadata(data).is_ok_and(|metadata| metadata.mode() & 0o005 != 0) {
        warnings.push(format!(
            "{0}: every user of this machine may enter it, and files of earlier versions in it may be readable; run: chmod o= {0}",
            data.display()
        ));
    }
}

/// A panic on any thread ends the process, as in release builds: a core that is half gone would hold its shards' keys.
pub fn die_on_panic(log: &Log) {
    let log = log.clone();
    let former = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        former(panic);
        log.error(
            "panic, the process ends",
            &[("where", &panic.location().map_or_else(String::new, ToString::to_string))],
        );
        log.flush();
        std::process::abort();
    }));
}

/// Names variables with our prefix that mean nothing.
fn warn_of_variables() -> Vec<String> {
    let names = std::env::vars_os().map(|(name, _)| name);
    let describe = |(name, near): (String, Option<String>)| match near {
        Some(near) => format!("environment variable {name} means nothing; did you mean {near}?"),
        None => format!("environment variable {name} means nothing"),
    };
    let mut warnings: Vec<String> = config::unknown_variables(names).into_iter().map(describe).collect();
    if let Some(driver) =
        std::env::var_os(STORAGE_DRIVER).filter(|driver| !driver.is_empty() && driver != "local")
    {
        let driver = driver.to_string_lossy();
        warnings.push(format!("{STORAGE_DRIVER}={driver:?}: what is stored lies on local disks, this version has no other driver"));
    }
    warnings
}

/// What the image of others chooses its storage by.
const STORAGE_DRIVER: &str = "STORAGE_DRIVER";

/// What a configuration that is in order still wants said.
pub fn warn_of_settings(config: &Config) -> Vec<String> {
    let mut warnings = warn_of_variables();
    for name in crate::services::without_effect(config) {
        warnings.push(format!("{name} is set, but nothing in this version acts on it"));
    }
    warn_of_exposure(config, &mut warnings);
    warnings
}

/// Makes the data directory if it is not there, judges its file system, and takes its lock.
pub fn claim(config: &Config, warnings: &mut Vec<String>) -> Result<DataLock, Failure> {
    let data = &config.data;
    let shown = data.display();
    judge_file_system(config, warnings)?;
    // Before the lock: a directory that is not ours is left without a trace.
    if data.exists() {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        Format::read(&disk, data).map_err(refuse)?;
        crate::owner::refuse_root(data)?;
    } else {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(|error| {
            Failure::storage(format!(
                "{shown}: cannot be made: {error}; make it and give this user write access"
            ))
        })?;
    }
    warn_of_others(data, warnings);
    DataLock::take(data).map_err(refuse)
}

fn judge_file_system(config: &Config, warnings: &mut Vec<String>) -> Result<(), Failure> {
    let data = config.data.display();
    let found = machine::file_system(&config.data)
        .map_err(|error| Failure::storage(format!("{data}: its file system cannot be asked: {error}")))?;
    let name = found.name;
    match found.kind {
        FileSystemKind::Unsafe if !config.allow_unsafe_filesystem => {
            return Err(Failure::storage(format!(
                "{data}: lies on {name}, where locks and maps do not hold and acknowledged writes may be lost; \
                 choose a directory on a local disk with --data, or accept that with --allow-unsafe-filesystem"
            )));
        }
        FileSystemKind::Unsafe => {
            warnings.push(format!("{data} lies on {name}: acknowledged writes may be lost there"))
        }
        FileSystemKind::Memory => {
            warnings.push(format!("{data} lies in memory ({name}): it is gone with the machine"))
        }
        FileSystemKind::Layer => {
            warnings.push(format!("{data} lies in a container's layer ({name}): mount a volume there"))
        }
        FileSystemKind::Local | FileSystemKind::Unknown => {}
    }
    Ok(())
}

/// Why a data directory cannot be opened, and the exit code that says so.
pub fn refuse(error: OpenError) -> Failure {
    match error {
        OpenError::Locked { .. } => Failure::held(error.to_string()),
        OpenError::Foreign(_) | OpenError::Newer { .. } | OpenError::Fault(_) => {
            Failure::storage(error.to_string())
        }
    }
}

/// The cores that will serve: those we may use, but no more than there are shards.
pub fn cores(config: &Config) -> Result<Vec<usize>, Failure> {
    let mut cores = ring::cores();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let existing = Format::read(&disk, &config.data).map_err(refuse)?;
    let shards = existing.map(|format| format.shard_count).or(config.shards);
    if let Some(shards) = shards {
        cores.truncate(usize::from(shards).max(1));
    }
    Ok(cores)
}

/// Chooses the reactor's backend and says what is missing.
pub fn backend(
    config: &Config,
    warnings: &mut Vec<String>,
) -> Result<(&'static str, ring::ReactorConfig), Failure> {
    let reactor = ring::ReactorConfig::default();
    let epoll = ring::ReactorConfig { backend: ring::Backend::Epoll, ..reactor.clone() };
    match config.backend {
        Backend::Epoll => Ok(("epoll", epoll)),
        Backend::Auto | Backend::IoUring => match ring::probe_io_uring() {
            Ok(_) => {
                warn_of_memlock(warnings);
                Ok(("io_uring", reactor))
            }
            Err(why) if config.backend == Backend::Auto => {
                warnings.push(format!("going on with epoll, which is slower: {why}"));
                Ok(("epoll", epoll))
            }
            Err(why) => Err(Failure::configuration(format!("backend io_uring was asked for, but {why}"))),
        },
    }
}

fn warn_of_memlock(warnings: &mut Vec<String>) {
    if let Some(bytes) = machine::memlock_bytes().filter(|bytes| *bytes < MEMLOCK_WANTED_BYTES) {
        warnings.push(format!(
            "only {bytes} bytes of memory may be locked, so less is registered with the kernel; raise it \
             (systemd: LimitMEMLOCK=infinity, Docker: --ulimit memlock=-1, shell: ulimit -l unlimited)"
        ));
    }
}

/// Says when data can be read on the wire.
fn warn_of_exposure(config: &Config, warnings: &mut Vec<String>) {
    if config.beyond_loopback() && config.tls.is_none() {
        warnings.push(
            "listening beyond loopback without TLS: requests are signed, but everybody on the way can read them; set tls_cert and tls_key"
                .into(),
        );
    }
}

/// How long connections may still bring a request in a drain, where the next process takes up what comes after it.
const DRAIN_IDLE: Duration = Duration::from_secs(2);

/// The bounds of one core's connections. `is_lent`: whether the listeners outlive the process.
pub fn limits(config: &Config, core_count: usize, descriptors: Option<u64>, is_lent: bool) -> Limits {
    let mut limits = Limits::default();
    if is_lent {
        let asked = config.limits.drain_idle_seconds.map(Duration::from_secs);
        limits.drain_idle = asked.unwrap_or(DRAIN_IDLE).min(config.drain_timeout);
    }
    let cores = core_count as u64;
    let wanted = config.limits.connections.unwrap_or(limits.connections_per_core as u64 * cores);
    // Half of a small limit, all but a reserve of a large one.
    let affordable =
        descriptors.map_or(u64::MAX, |all| all.saturating_sub(FILE_DESCRIPTORS_KEPT).max(all / 2));
    limits.connections_per_core =
        usize::try_from((wanted.min(affordable) / cores).max(1)).unwrap_or(usize::MAX);
    if let Some(bytes) = config.limits.head_bytes {
        limits.head_bytes_max = usize::try_from(bytes).unwrap_or(usize::MAX);
        limits.request_line_bytes_max = limits.request_line_bytes_max.min(limits.head_bytes_max);
    }
    if let Some(seconds) = config.limits.body_idle_seconds {
        limits.body_idle = Duration::from_secs(seconds);
    }
    if let Some(seconds) = config.limits.idle_seconds {
        limits.idle = Duration::from_secs(seconds);
    }
    if let Some(count) = config.limits.requests_per_connection {
        limits.requests_per_connection = count;
    }
    limits
}

/// Opens the store; blocks until every shard has recovered. The lock is held already.
pub fn open_store(config: &Config, shared: &Shared) -> Result<Opened, Failure> {
    let shards =
        config.shards.unwrap_or_else(|| u16::try_from(ring::cores().len()).unwrap_or(u16::MAX).min(256));
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut settings = StoreConfig::new(config.data.clone(), shards, disk);
    settings.bodyless = BODYLESS;
    settings.passing = cas::PASSING;
    settings.passing_segment_bytes = cas::segment_bytes(shared.cas.settings().max_bytes, shards);
    settings.receivers = crate::services::receivers(config, &shared.dropped);
    Opened::open(settings, false, crate::random::Random::new().draw()).map_err(refuse)
}

/// Where a client on this machine reaches a listener.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::merge(Default::default(), Default::default(), None, false).expect("defaults")
    }

    #[test]
    fn connections_are_bounded_by_descriptors_and_shared_by_cores() {
        let of = |descriptors| limits(&config(), 4, descriptors, false).connections_per_core;
        assert_eq!(of(None), Limits::default().connections_per_core);
        assert_eq!(of(Some(1_024)), 128);
        assert_eq!(of(Some(10_048)), 2_000);
    }

    #[test]
    fn every_table_of_a_service_without_bodies_is_told_to_the_store() {
        for table in 40..=124 {
            let table = TableId(table);
            let of_services = dynamodb::store::BODYLESS.contains(table)
                || sqs::store::BODYLESS.contains(table)
                || sns::store::BODYLESS.contains(table)
                || cas::BODYLESS.contains(table)
                || tokens::BODYLESS.contains(table);
            assert_eq!(BODYLESS.contains(table), of_services, "{table:?}");
        }
        for table in [TableId(39), cas::store::BLOBS, cas::store::QUARANTINE, TableId(125)] {
            assert!(!BODYLESS.contains(table), "{table:?}");
        }
    }

    #[test]
    fn a_wildcard_listener_is_reached_through_loopback() {
        let of = |text: &str| reachable(text.parse().expect("address")).to_string();
        assert_eq!(of("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(of("[::]:80"), "[::1]:80");
        assert_eq!(of("192.0.2.1:80"), "192.0.2.1:80");
    }
}
