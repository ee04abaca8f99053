//! Files: what was written and synced is what is read, and every failure is said.

mod common;

use common::run;
use ring::{Backend, Buffer, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

on_both_backends!(
    written_and_synced_data_is_read_back,
    direct_io_works_with_buffers_as_they_are,
    a_write_to_a_full_device_is_an_error,
);

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, backend: Backend) -> Scratch {
        let file = format!("ring-{name}-{backend:?}-{}", std::process::id());
        Scratch(std::env::temp_dir().join(file))
    }

    fn open(&self, flags: i32) -> File {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open(&self.0);
        File::from_std(file.unwrap())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

fn pattern(bytes: usize) -> Buffer {
    let data: Vec<u8> = (0..bytes).map(|index| (index % 251) as u8).collect();
    Buffer::from(&data[..])
}

fn written_and_synced_data_is_read_back(backend: Backend) {
    let scratch = Scratch::new("plain", backend);
    run(backend, async {
        let file = scratch.open(0);
        let (result, buffer) = file.write_at(pattern(10_000), 5).await;
        result.unwrap();
        file.sync_data().await.unwrap();
        let (result, buffer) = file.write_at_sync(buffer, 10_005).await;
        result.unwrap();
        let (result, buffer) = file.read_at(buffer, 5, 30_000).await;
        assert_eq!(result.unwrap(), 20_000);
        assert_eq!(buffer.len(), 20_000);
        assert!(buffer[..10_000] == pattern(10_000)[..] && buffer[10_000..] == pattern(10_000)[..]);
        let (result, buffer) = file.read_at(buffer, 1 << 40, 100).await;
        assert_eq!((result.unwrap(), buffer.len()), (0, 0));
        assert_eq!(ring::stats().file_operations, 0);
    });
}

fn direct_io_works_with_buffers_as_they_are(backend: Backend) {
    let scratch = Scratch::new("direct", backend);
    run(backend, async {
        let file = scratch.open(libc::O_DIRECT);
        let (result, _) = file.write_at_sync(pattern(64 << 10), 4096).await;
        result.unwrap();
        let (result, buffer) = file.read_at(Buffer::new(), 4096, 64 << 10).await;
        assert_eq!(result.unwrap(), 64 << 10);
        assert!(buffer[..] == pattern(64 << 10)[..]);
        let (result, _) = file.write_at(pattern(100), 1).await;
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EINVAL));
    });
}

fn a_write_to_a_full_device_is_an_error(backend: Backend) {
    run(backend, async {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let file = File::from_std(full);
        let (result, buffer) = file.write_at(pattern(100), 0).await;
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        assert_eq!(buffer.len(), 100);
        let (result, _) = file.write_at_sync(pattern(100), 0).await;
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    });
}
