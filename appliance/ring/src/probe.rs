//! Whether io_uring works here, and if not, why not and what to do.
//!
//! Opcode numbers say nothing about multishot receives or provided buffers, so the probe tries what the reactor
//! needs on a socket pair.

use crate::backend::uring::{affordable, build_ring, try_multishot_receive, with_patience};
use io_uring::{IoUring, Probe, opcode};
use std::io;

/// What the kernel's io_uring offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Submission queue entries that a default reactor gets here.
    pub entries: u32,
    /// The soft limit on locked memory, in bytes.
    pub memory_lock_bytes: u64,
}

/// Everything that the backend submits.
const OPCODES: [(u8, &str); 10] = [
    (opcode::RecvMulti::CODE, "recv"),
    (opcode::Send::CODE, "send"),
    (opcode::AcceptMulti::CODE, "accept"),
    (opcode::Connect::CODE, "connect"),
    (opcode::Read::CODE, "read"),
    (opcode::Write::CODE, "write"),
    (opcode::Fsync::CODE, "fsync"),
    (opcode::AsyncCancel::CODE, "async_cancel"),
    (opcode::PollAdd::CODE, "poll_add"),
    (opcode::Nop::CODE, "nop"),
];

/// Tries whether a reactor can run on io_uring here.
///
/// # Errors
/// A sentence for the operator: what is missing and how to allow it.
pub fn probe_io_uring() -> Result<Capabilities, String> {
    let (entries, _) = affordable(crate::ReactorConfig::default().entries, 0);
    let ring = with_patience(|| build_ring(entries)).map_err(|error| explain(&error))?;
    check_opcodes(&ring)?;
    let entries = ring.params().sq_entries();
    try_multishot_receive(ring).map_err(|error| {
        format!(
            "io_uring lacks multishot receives with provided buffers ({error}); Linux 6.1 or newer is needed"
        )
    })?;
    Ok(Capabilities { entries, memory_lock_bytes: crate::sys::memory_lock_limit_bytes() })
}

fn check_opcodes(ring: &IoUring) -> Result<(), String> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(|error| {
        format!("io_uring_register is refused ({error}); allow it in the seccomp profile")
    })?;
    match OPCODES.iter().find(|(code, _)| !probe.is_supported(*code)) {
        Some((_, name)) => {
            Err(format!("this kernel's io_uring lacks the operation {name}; Linux 6.1 or newer is needed"))
        }
        None => Ok(()),
    }
}

/// Why the ring could not be made.
fn explain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => explain_refusal(),
        Some(libc::ENOSYS) => "io_uring_setup is not there: the kernel was built without io_uring, or a sandbox (gVisor, a \
            seccomp profile that answers ENOSYS) hides it; allow io_uring_setup, io_uring_enter and io_uring_register"
            .to_string(),
        Some(libc::EINVAL) => "this kernel's io_uring is too old for SINGLE_ISSUER and DEFER_TASKRUN; Linux 6.1 or newer \
            is needed"
            .to_string(),
        Some(libc::ENOMEM) => format!(
            "the memory-lock limit of {} bytes leaves no room for a ring; raise it (systemd: LimitMEMLOCK=infinity, \
             Docker: --ulimit memlock=-1, shell: ulimit -l)",
            crate::sys::memory_lock_limit_bytes()
        ),
        _ => format!("io_uring_setup failed: {error}"),
    }
}

fn explain_refusal() -> String {
    // Missing before Linux 6.6; then only a filter can have refused.
    let setting = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    match setting.trim() {
        "2" => "io_uring is switched off for all processes (kernel.io_uring_disabled is 2); allow it with \
            `sysctl -w kernel.io_uring_disabled=0`"
            .to_string(),
        "1" => "io_uring is switched off for unprivileged processes (kernel.io_uring_disabled is 1); allow it with \
            `sysctl -w kernel.io_uring_disabled=0`, or put the process into the group named by kernel.io_uring_group"
            .to_string(),
        _ => "a security filter refuses io_uring_setup (EPERM), as the default profiles of Docker, Podman and Kubernetes do; \
            allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile (Docker: \
            --security-opt seccomp=<profile>, systemd: SystemCallFilter=@io-event)"
            .to_string(),
    }
}
