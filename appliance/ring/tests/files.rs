//! Files: what was written and synced is what is read, and every failure is said.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod common;

use bytes::Bytes;
use common::{PATIENCE, run};
use ring::{Backend, Buffer, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::Poll;

on_both_backends!(
    written_and_synced_data_is_read_back,
    direct_io_works_with_buffers_as_they_are,
    parts_are_written_in_a_row,
    a_write_to_a_full_device_is_an_error,
    a_failed_link_is_never_a_success,
    operations_run_side_by_side,
    dropped_operations_keep_their_buffers_until_they_are_done,
    a_reactor_dropped_with_operations_in_flight_is_safe,
    operations_outside_the_limits_are_refused,
    files_are_shared_between_reactors,
    an_awaited_write_is_in_the_file_when_the_reactor_goes,
);

/// A directory entry that is gone after the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, backend: Backend) -> Scratch {
        let file = format!("ring-{name}-{backend:?}-{}", std::process::id());
        // Beside what was built: the temporary directory may lie in memory, where direct I/O is refused or has no rules.
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
        // An earlier process of this number may have been killed.
        drop(std::fs::remove_file(&path));
        Scratch(path)
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
        let (result, buffer) = file.write_at_durable(buffer, 20_005).await;
        result.unwrap();
        let (result, buffer) = file.read_at(buffer, 5, 40_000).await;
        assert_eq!(result.unwrap(), 30_000);
        assert_eq!(buffer.len(), 30_000);
        assert!(buffer.chunks(10_000).all(|part| *part == pattern(10_000)[..]));
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

fn parts_are_written_in_a_row(backend: Backend) {
    let scratch = Scratch::new("parts", backend);
    run(backend, async {
        let whole: Vec<u8> = (0..300_000_u32).map(|index| (index % 251) as u8).collect();
        let cut = |lengths: &[usize]| -> Vec<Bytes> {
            let mut rest = &whole[..];
            let take = |length: &usize| {
                let part;
                (part, rest) = rest.split_at(*length);
                Bytes::from_owner(Buffer::from(part))
            };
            lengths.iter().map(take).collect()
        };
        let file = scratch.open(0);
        file.write_parts_at(cut(&[1, 99_999, 0, 200_000]), 7).await.unwrap();
        let (result, buffer) = file.read_at(Buffer::new(), 7, 300_000).await;
        assert_eq!(result.unwrap(), 300_000);
        assert!(buffer[..] == whole[..]);
        let direct = scratch.open(libc::O_DIRECT);
        direct.write_parts_at(cut(&[4096, 65_536, 8192]), 4096).await.unwrap();
        let (_, buffer) = file.read_at(buffer, 4096, 77_824).await;
        assert!(buffer[..] == whole[..77_824]);
        file.write_parts_at(Vec::new(), 0).await.unwrap();
        let many = vec![Bytes::from_static(b"x"); 257];
        let refused = file.write_parts_at(many, 0).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = File::from_std(full).write_parts_at(cut(&[10, 10]), 0).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
        // Nobody waits for this one: its parts stay until it is done.
        let mut dropped = Box::pin(file.write_parts_at(cut(&[100_000, 200_000]), 7));
        assert!(is_pending(&mut dropped).await);
        drop(dropped);
        assert_eq!(ring::stats().file_operations, 1);
    });
}

/// Polls a future once; true if it is not ready.
async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context).is_pending())).await
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
        let (result, _) = file.write_at_durable(pattern(100), 0).await;
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    });
}

fn a_failed_link_is_never_a_success(backend: Backend) {
    run(backend, async {
        // A pipe takes the write and refuses the sync; a read-only file refuses the write, so the sync is cancelled.
        let (reader, writer) = std::io::pipe().unwrap();
        let file = File::from_std(std::fs::File::from(std::os::fd::OwnedFd::from(writer)));
        let (result, _) = file.write_at_sync(pattern(10), 0).await;
        assert!(result.is_err());
        drop(reader);
        let scratch = Scratch::new("readonly", backend);
        drop(scratch.open(0));
        let read_only = File::from_std(std::fs::File::open(&scratch.0).unwrap());
        let (result, _) = read_only.write_at_sync(pattern(10), 0).await;
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EBADF));
        let (result, buffer) =
            File::from_std(std::fs::OpenOptions::new().write(true).open(&scratch.0).unwrap())
                .read_at(pattern(10), 0, 10)
                .await;
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert!(buffer.is_empty());
    });
}

fn operations_run_side_by_side(backend: Backend) {
    const COUNT: u64 = 600;
    let scratch = Scratch::new("many", backend);
    run(backend, async {
        // More than the submission queue and the companion's queue hold, so that both must wait and go on.
        let file = scratch.open(0);
        let mut tasks = Vec::new();
        for index in 0..COUNT {
            let file = file.clone();
            tasks.push(ring::spawn(async move {
                let data = Buffer::from(&[index as u8; 512][..]);
                let sync = index % 50 == 0;
                let (result, _) = if sync {
                    file.write_at_sync(data, index * 512).await
                } else {
                    file.write_at(data, index * 512).await
                };
                result.unwrap();
            }));
        }
        for task in tasks {
            task.await;
        }
        let (result, buffer) = file.read_at(Buffer::new(), 0, 1 << 20).await;
        assert_eq!(result.unwrap(), COUNT as usize * 512);
        for (index, block) in buffer.chunks(512).enumerate() {
            assert!(block.iter().all(|byte| *byte == index as u8), "block {index}");
        }
        assert_eq!(ring::stats().file_operations, 0);
    });
}

fn dropped_operations_keep_their_buffers_until_they_are_done(backend: Backend) {
    let scratch = Scratch::new("dropped", backend);
    run(backend, async {
        let file = scratch.open(0);
        file.write_at_sync(pattern(1 << 20), 0).await.0.unwrap();
        let expected = vec![0xee; 1 << 20];
        for round in 0..100_u32 {
            let reader = file.clone();
            let task = ring::spawn(async move { reader.read_at(Buffer::new(), 0, 1 << 20).await });
            for _ in 0..round % 4 {
                ring::yield_now().await;
            }
            drop(task);
            // Buffers of the same size, handed out while the dropped reads may still run: were one of them freed too early,
            // the kernel would write the file's pattern into it.
            let mut witnesses: Vec<Buffer> = (0..4).map(|_| Buffer::with_capacity(1 << 20)).collect();
            witnesses.iter_mut().for_each(|witness| witness.resize(1 << 20, 0xee));
            ring::yield_now().await;
            assert!(witnesses.iter().all(|witness| witness[..] == expected[..]), "round {round}");
        }
        let settle = async {
            while ring::stats().file_operations > 0 {
                ring::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        ring::timeout(PATIENCE, settle).await.unwrap();
    });
}

fn a_reactor_dropped_with_operations_in_flight_is_safe(backend: Backend) {
    let (reader, writer) = std::io::pipe().unwrap();
    let file = File::from_std(std::fs::File::from(std::os::fd::OwnedFd::from(reader)));
    run(backend, async {
        // A read that never ends, and one that its reactor does not see end.
        let forever = file.clone();
        ring::spawn(async move { forever.read_at(Buffer::new(), 0, 4096).await }).detach();
        ring::yield_now().await;
        ring::yield_now().await;
    });
    // Whatever became of the buffer: the kernel may not write to it any more, or it is leaked.
    std::io::Write::write_all(&mut &writer, &[1; 100]).unwrap();
    let mut witness = Buffer::with_capacity(4096);
    witness.resize(4096, 0xee);
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert!(witness.iter().all(|byte| *byte == 0xee));
}

fn operations_outside_the_limits_are_refused(backend: Backend) {
    let scratch = Scratch::new("limits", backend);
    run(backend, async {
        let file = scratch.open(0);
        let (result, buffer) = file.read_at(pattern(10), 0, usize::MAX).await;
        assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
        assert!(buffer.is_empty());
        // For io_uring this offset would mean "where the file stands".
        for offset in [u64::MAX, u64::MAX - 5, i64::MAX as u64] {
            let (result, _) = file.write_at(pattern(10), offset).await;
            assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
        }
        // Nothing to write is nothing amiss.
        file.write_at_sync(Buffer::new(), 0).await.0.unwrap();
        assert_eq!(file.as_std().metadata().unwrap().len(), 0);
    });
}

fn files_are_shared_between_reactors(backend: Backend) {
    let scratch = Scratch::new("shared", backend);
    let file = scratch.open(0);
    let threads: Vec<_> = (0..2_u64)
        .map(|index| {
            let file = file.clone();
            std::thread::spawn(move || {
                run(backend, async move {
                    for block in 0..50 {
                        let offset = (2 * block + index) * 4096;
                        file.write_at(pattern(4096), offset).await.0.unwrap();
                    }
                    file.sync_data().await.unwrap();
                });
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let content = std::fs::read(&scratch.0).unwrap();
    assert!(content.len() == 100 * 4096 && content.chunks(4096).all(|block| *block == pattern(4096)[..]));
}

fn an_awaited_write_is_in_the_file_when_the_reactor_goes(backend: Backend) {
    let scratch = Scratch::new("gone", backend);
    run(backend, async {
        let file = scratch.open(0);
        let unfinished = file.clone();
        ring::spawn(async move { unfinished.write_at(pattern(100), 4096).await.0 }).detach();
        file.write_at_sync(pattern(4096), 0).await.0.unwrap();
    });
    let content = std::fs::read(&scratch.0).unwrap();
    assert!(content[..4096] == pattern(4096)[..]);
}
