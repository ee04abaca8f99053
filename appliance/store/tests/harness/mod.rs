//! A store on a real directory with one reactor thread per core, for tests: started, used from one task, and stopped.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};

use ring::{Backend, Reactor, ReactorConfig};
use store::disk::real::RealDisk;
use store::{Opened, Store, StoreConfig};

/// A directory that is gone when the test is.
pub struct TempDir(pub PathBuf);

impl TempDir {
    /// A new empty directory below the build's temporary directory.
    pub fn new(name: &str) -> TempDir {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("temporary directory");
        TempDir(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A directory that cannot be removed is left for the next clean build.
        let _gone: std::io::Result<()> = std::fs::remove_dir_all(&self.0);
    }
}

/// A configuration whose sizes make every limit near.
pub fn small_config(data: &Path, shard_count: u16) -> StoreConfig {
    let mut config = StoreConfig::new(data.to_path_buf(), shard_count, Arc::new(RealDisk));
    config.map_bytes_total = 4 << 30;
    config.ballast_bytes = 1 << 20;
    config.log_segment_bytes = 1 << 20;
    config.batch_bytes_max = 256 << 10;
    config.limits.batch_soft_bytes = 64 << 10;
    config.limits.fold_entries = 200;
    config.extent_segment_bytes = 8 << 20;
    config.packed_segment_bytes = 1 << 20;
    config
}

/// Opens the store, runs `work` on core 0 while the other cores serve, drains and closes.
pub fn with_store<F, Fut, T>(config: StoreConfig, backend: Backend, work: F) -> T
where
    F: FnOnce(Store) -> Fut,
    Fut: Future<Output = T>,
{
    let opened = Arc::new(Opened::open(config, true, rand_seed()).expect("opens"));
    let cores = opened.core_count(2);
    let started = Arc::new(Barrier::new(cores));
    let (stop, stopped) =
        (Arc::new(std::sync::atomic::AtomicBool::new(false)), Arc::new(Barrier::new(cores)));
    let others: Vec<_> = (1..cores)
        .map(|core| {
            let (opened, started) = (Arc::clone(&opened), Arc::clone(&started));
            let (stop, stopped) = (Arc::clone(&stop), Arc::clone(&stopped));
            std::thread::spawn(move || {
                let mut reactor = reactor(backend);
                reactor.block_on(async {
                    let store = opened.start_core(core, cores, rand_seed()).expect("starts");
                    started.wait();
                    while !stop.load(Ordering::Acquire) {
                        ring::sleep(std::time::Duration::from_millis(2)).await;
                    }
                    store.drain().await;
                });
                drop(reactor);
                stopped.wait();
            })
        })
        .collect();
    let mut reactor = reactor(backend);
    let result = reactor.block_on(async {
        let store = opened.start_core(0, cores, rand_seed()).expect("starts");
        started.wait();
        opened.finish_recovery(&store).await;
        let result = work(store.clone()).await;
        store.drain().await;
        stop.store(true, Ordering::Release);
        result
    });
    drop(reactor);
    stopped.wait();
    for other in others {
        other.join().expect("core ended well");
    }
    Arc::into_inner(opened).expect("every core has let go").close();
    result
}

fn reactor(backend: Backend) -> Reactor {
    Reactor::new(&ReactorConfig { backend, ..ReactorConfig::default() }).expect("reactor")
}

fn rand_seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0_u8)
}
