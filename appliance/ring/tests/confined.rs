//! Places that allow less: small memory-lock limits, seccomp filters, file size limits.
//!
//! Each test runs itself again in a child process, which confines itself first.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]
#![allow(unsafe_code, reason = "limits, identities and filters are set by raw system calls")]

mod common;

use common::{any_port, config, run};
use ring::{Backend, Buffer, File, Reactor, ReactorConfig, TcpListener, TcpStream};
use std::process::Command;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CHILD: &str = "RING_TEST_CHILD";

/// Runs the named test in a child process; true in that child.
fn is_child(test: &str) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the child failed: {}\n{said}\n{complained}", output.status);
    assert!(said.contains("1 passed"), "the child ran no test:\n{said}");
    false
}

/// Only root can become somebody whose locked memory no other process counts towards the limit too.
fn is_root() -> bool {
    // SAFETY: geteuid takes no pointers and does not fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    if !is_root {
        eprintln!("not run: this test starts as root");
    }
    is_root
}

/// Gives up root, for good: root is free of the memory-lock limit.
fn become_nobody() {
    const NOBODY: u32 = 65_432;
    // SAFETY: setuid takes no pointers.
    let result = unsafe { libc::setuid(NOBODY) };
    assert_eq!(result, 0, "root may change its identity");
}

fn limit(resource: libc::__rlimit_resource_t, value: u64) {
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: the pointer is to `limit`, which lives through the call.
    let result = unsafe { libc::setrlimit(resource, &limit) };
    assert_eq!(result, 0);
}

/// One request and one answer over TCP, and one file write, on a reactor of its own.
fn works(config: &ReactorConfig) {
    Reactor::new(config).unwrap().block_on(async {
        let listener = TcpListener::bind(any_port()).unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        near.write_all(&[7; 100_000]).await.unwrap();
        let mut received = vec![0; 100_000];
        far.read_exact(&mut received).await.unwrap();
        assert!(received.iter().all(|byte| *byte == 7));
        let null = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
        File::from_std(null).write_at(Buffer::from(&[1; 10][..]), 0).await.0.unwrap();
    });
}

#[test]
fn a_ring_starts_with_64_kib_of_locked_memory() {
    if !is_root() || !is_child("a_ring_starts_with_64_kib_of_locked_memory") {
        return;
    }
    limit(libc::RLIMIT_MEMLOCK, 64 << 10);
    become_nobody();
    let capabilities = ring::probe_io_uring().unwrap();
    assert_eq!(capabilities.memory_lock_bytes, 64 << 10);
    works(&config(Backend::IoUring));
    // One ring per core must fit: three at once.
    let all_are_there = std::sync::Arc::new(std::sync::Barrier::new(3));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let all_are_there = std::sync::Arc::clone(&all_are_there);
            std::thread::spawn(move || {
                let reactor = Reactor::new(&config(Backend::IoUring));
                all_are_there.wait();
                reactor.map(drop)
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap().unwrap();
    }
}

#[test]
fn without_locked_memory_the_probe_says_so() {
    if !is_root() || !is_child("without_locked_memory_the_probe_says_so") {
        return;
    }
    limit(libc::RLIMIT_MEMLOCK, 0);
    become_nobody();
    match ring::probe_io_uring() {
        // Kernels from 5.12 to 6.13 do not count rings against this limit.
        Ok(_) => works(&config(Backend::IoUring)),
        Err(reason) => {
            assert!(reason.contains("LimitMEMLOCK"), "{reason}");
            let error = Reactor::new(&config(Backend::IoUring)).err().unwrap();
            assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
        }
    }
    works(&config(Backend::Epoll));
}

/// Installs a filter under which one system call answers `errno`.
fn refuse(call: libc::c_long, errno: i32) {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let mut program = [
        // The system call's number is the first word of what the filter sees.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: 0,
            jf: 1,
            k: call as u32,
        },
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | errno as u32),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: this option takes no pointers.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(result, 0);
    // SAFETY: the pointer is to `filter`, which names `program`; both live through the call.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter) };
    assert_eq!(result, 0);
}

#[test]
fn under_a_seccomp_filter_the_probe_explains_and_epoll_works() {
    if !is_child("under_a_seccomp_filter_the_probe_explains_and_epoll_works") {
        return;
    }
    refuse(libc::SYS_io_uring_setup, libc::EPERM);
    let reason = ring::probe_io_uring().unwrap_err();
    assert!(reason.contains("seccomp") && reason.contains("io_uring_setup"), "{reason}");
    let error = Reactor::new(&config(Backend::IoUring)).err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    works(&config(Backend::Epoll));
}

#[test]
fn a_filter_on_registration_is_explained() {
    if !is_child("a_filter_on_registration_is_explained") {
        return;
    }
    refuse(libc::SYS_io_uring_register, libc::EPERM);
    let reason = ring::probe_io_uring().unwrap_err();
    assert!(reason.contains("io_uring_register"), "{reason}");
    works(&config(Backend::Epoll));
}

fn writes_across_the_size_limit_fail(backend: Backend) {
    const LIMIT: u64 = 10_000;
    // Ignored, the signal leaves EFBIG and short writes to be seen.
    // SAFETY: SIG_IGN is a valid disposition; no handler runs.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let path = std::env::temp_dir().join(format!("ring-limit-{backend:?}-{}", std::process::id()));
    let file = File::from_std(std::fs::File::create_new(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    limit(libc::RLIMIT_FSIZE, LIMIT);
    run(backend, async {
        let data = Buffer::from(&[1; 4096][..]);
        let (result, data) = file.write_at_sync(data, 0).await;
        result.unwrap();
        // The first part fits, the rest does not: a short write, whose linked sync is cancelled.
        for way in 0..3 {
            let again = data.to_vec();
            let again = Buffer::from(&again[..]);
            let (result, _) = match way {
                0 => file.write_at_sync(again, LIMIT - 1000).await,
                1 => file.write_at_durable(again, LIMIT - 1000).await,
                _ => file.write_at(again, LIMIT - 1000).await,
            };
            let error = result.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::WriteZero, "{error}");
        }
        let (result, _) = file.write_at_sync(data, LIMIT).await;
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EFBIG));
        file.sync_data().await.unwrap();
    });
}

#[test]
fn a_short_write_is_an_error_on_io_uring() {
    if is_child("a_short_write_is_an_error_on_io_uring") {
        writes_across_the_size_limit_fail(Backend::IoUring);
    }
}

#[test]
fn a_short_write_is_an_error_on_epoll() {
    if is_child("a_short_write_is_an_error_on_epoll") {
        writes_across_the_size_limit_fail(Backend::Epoll);
    }
}
