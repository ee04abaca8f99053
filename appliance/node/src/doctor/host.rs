//! What the doctor says about processor, kernel, limits, clock and ports.

use super::Finding;
use crate::config::Config;
use crate::machine;
use crate::serve;

/// The first kernel with everything the reactor uses.
const KERNEL_WANTED: (u32, u32) = (6, 1);
/// A ring, its buffers and some room, per core.
const MEMLOCK_WANTED_BYTES: u64 = 16 << 20;
const DESCRIPTORS_WANTED: u64 = 65_536;
const MEMORY_WANTED_BYTES: u64 = 512 << 20;

/// The instruction set.
pub fn processor() -> Finding {
    if !is_x86_feature_detected!("sse4.2") || !is_x86_feature_detected!("popcnt") {
        return Finding::fail(
            "processor",
            "no SSE4.2",
            "the binary needs x86-64-v2",
            "run it on a processor of 2010 or later",
        );
    }
    let lanes = hash::lane_count();
    if lanes == 1 {
        return Finding::warn(
            "processor",
            "no AVX2",
            "MD5 of uploads is computed one by one, which bounds uploads to some 0.7 GB/s per core",
            "in a virtual machine, pass the host's processor through (--cpu host)",
        );
    }
    Finding::good("processor", format!("x86-64 with {lanes} MD5 lanes, {} cores usable", ring::cores().len()))
}

/// The kernel's version.
pub fn kernel() -> Finding {
    let release = machine::kernel_release();
    match machine::kernel_version(&release) {
        Some(version) if version < KERNEL_WANTED => Finding::warn(
            "kernel",
            release,
            "io_uring lacks multishot receive and deferred task running before 6.1; the slower epoll backend serves",
            "run Linux 6.1 or newer",
        ),
        _ => Finding::good("kernel", release),
    }
}

/// Whether the ring works.
pub fn io_uring() -> Finding {
    match ring::probe_io_uring() {
        Ok(found) => Finding::good("io_uring", format!("works, {} entries", found.entries)),
        Err(why) => Finding::warn(
            "io_uring",
            "does not work",
            "every request costs more system calls with epoll",
            why,
        ),
    }
}

/// Memory that may be locked.
pub fn memlock() -> Finding {
    match machine::memlock_bytes() {
        Some(bytes) if bytes < MEMLOCK_WANTED_BYTES => Finding::warn(
            "memlock",
            format!("{bytes} bytes"),
            "less memory is registered with the kernel, so transfers copy more",
            "systemd: LimitMEMLOCK=infinity; Docker: --ulimit memlock=-1; LXC: lxc.prlimit.memlock = unlimited; shell: ulimit -l unlimited",
        ),
        Some(bytes) => Finding::good("memlock", format!("{bytes} bytes")),
        None => Finding::good("memlock", "unlimited"),
    }
}

/// Descriptors.
pub fn descriptors() -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    match limit {
        Some(limit) if limit < DESCRIPTORS_WANTED => Finding::warn(
            "descriptors",
            format!("hard limit {limit}"),
            "each connection takes one, so connections are bounded below that",
            "systemd: LimitNOFILE=1048576; Docker: --ulimit nofile=1048576; shell, as root: ulimit -Hn 1048576",
        ),
        Some(limit) => Finding::good("descriptors", format!("hard limit {limit}")),
        None => Finding::good("descriptors", "unlimited"),
    }
}

/// What the control group allows.
pub fn cgroup() -> Finding {
    let limits = machine::cgroup_limits();
    let cpu = limits
        .cpu_millicores
        .map_or("no CPU quota".into(), |cpu| format!("{}.{:03} cores", cpu / 1_000, cpu % 1_000));
    let memory =
        limits.memory_bytes.map_or("no memory limit".into(), |bytes| format!("{bytes} bytes of memory"));
    let finding = format!("{cpu}, {memory}");
    if limits.memory_bytes.is_some_and(|bytes| bytes < MEMORY_WANTED_BYTES) {
        return Finding::warn(
            "cgroup",
            finding,
            "what waits to be folded into the index takes up to 192 MiB per shard; the kernel kills what goes beyond the limit",
            "allow at least 512 MiB, or use fewer shards",
        );
    }
    if limits.cpu_millicores.is_some_and(|cpu| cpu % 1_000 != 0) {
        return Finding::warn(
            "cgroup",
            finding,
            "a thread per core is throttled in the middle of its work when the quota is not a whole number of cores",
            "give whole cores: cpus: 2, or cpu.max 200000 100000",
        );
    }
    Finding::good("cgroup", finding)
}

/// Whether signatures can be judged by this clock.
pub fn clock() -> Finding {
    // The day this program's format was made; a clock before that is certainly wrong.
    const NOT_BEFORE_MS: u64 = 1_767_225_600_000;
    let now = store::Timestamp::from_system_clock().0;
    let shown = aws::Timestamp(i64::try_from(now).unwrap_or(i64::MAX)).to_iso8601();
    if now < NOT_BEFORE_MS {
        return Finding::fail(
            "clock",
            shown,
            "requests are refused when their time differs by over 15 minutes",
            "set the clock and run chrony or systemd-timesyncd",
        );
    }
    let source = std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    let source = source.map(|text| text.trim().to_string()).unwrap_or_default();
    if matches!(source.as_str(), "hpet" | "acpi_pm" | "jiffies") {
        return Finding::warn(
            "clock",
            format!("{shown}, source {source}"),
            "reading this clock is a slow system call, and it is read for every request",
            "boot with tsc=reliable if the processor's clock is sound, or use kvm-clock in a virtual machine",
        );
    }
    let synchronized = std::path::Path::new("/run/systemd/timesync/synchronized").exists();
    let note =
        if synchronized { "synchronized" } else { "whether it is synchronized cannot be told from here" };
    Finding::good("clock", format!("{shown}, source {source}, {note}"))
}

/// Whether system calls are filtered.
pub fn seccomp() -> Finding {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:")).map_or("", str::trim);
    match mode {
        "2" => Finding::good("seccomp", "a filter is in place (see io_uring above for what it refuses)"),
        "0" => Finding::good("seccomp", "no filter"),
        _ => Finding::good("seccomp", "cannot be told"),
    }
}

/// Whether the addresses can be listened on.
pub fn ports(config: &Config) -> Vec<Finding> {
    let running = crate::env_command::Endpoint::read(&config.data).is_some();
    let judge = |address: &std::net::SocketAddr| match serve::can_listen(*address) {
        Ok(()) => Finding::good("port", format!("{address} is free")),
        Err(failure) if running => Finding::good(
            "port",
            format!("{address} is taken, by the node of this directory it seems ({failure})"),
        ),
        Err(failure) => Finding::fail(
            "port",
            failure.message,
            "the node cannot start",
            "stop the other process or choose another address",
        ),
    };
    config.listen.iter().map(judge).collect()
}

/// Whether certificate and key can be used.
pub fn certificates(config: &Config) -> Option<Finding> {
    let files = config.tls.as_ref()?;
    Some(match serve::check_tls(files) {
        Ok(()) => Finding::good("certificate", format!("{} fits its key", files.cert.display())),
        Err(failure) => Finding::fail(
            "certificate",
            failure.message,
            "the node cannot start",
            "correct tls_cert and tls_key",
        ),
    })
}
