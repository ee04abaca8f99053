//! Where a test's store lies, and sizes that make every limit near.
//! Leaves to rig/mod.rs: opening the store and running it.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use store::StoreConfig;
use store::disk::real::RealDisk;

/// A directory that is gone when the test is.
pub struct TempDir(pub PathBuf);

impl TempDir {
    /// A new empty directory below the build's temporary directory.
    pub fn new(name: &str) -> TempDir {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}-{number}", std::process::id()));
        // A process of this number that was killed may have left one.
        drop(std::fs::remove_dir_all(&path));
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
