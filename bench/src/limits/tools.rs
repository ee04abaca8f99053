//! Outside tools: how each is called, and what its output says.
//! Invariant: a tool that is missing, fails or says nothing that is understood gives a reason, never a figure. What a report
//! names is the very command that ran, but for the path or URL that it worked on.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::LARGE_BYTES;

/// Stands for the file that a tool works on.
const FILE: &str = "FILE";
/// Stands for the server that a tool asks.
const URL: &str = "URL";
/// glibc 2.35 and later: memory of malloc asks for huge pages, as the memory of our allocator has them.
pub const HUGE_PAGES: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1");

/// A command line.
#[derive(Clone, Debug)]
pub struct Tool {
    words: Vec<String>,
    environment: Option<(&'static str, &'static str)>,
}

/// What a tool said, and what it cost.
pub struct Ran {
    /// Its output, then its complaints.
    pub text: String,
    /// Its CPU time.
    pub cpu: Cpu,
    /// From its start to its end.
    pub elapsed: Duration,
}

/// CPU time.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    /// In its own code.
    pub user: Duration,
    /// In the kernel.
    pub system: Duration,
}

impl Tool {
    /// A command by its words, which have no blanks inside.
    pub fn new(command: &str) -> Tool {
        Tool { words: command.split(' ').map(str::to_owned).collect(), environment: None }
    }

    /// As a shell would take it.
    pub fn words(&self) -> String {
        let before = self.environment.map_or_else(String::new, |(name, value)| format!("{name}={value} "));
        before + &self.words.join(" ")
    }

    /// Runs it on a core. `object` is the file or URL in place of its name.
    ///
    /// # Errors
    /// In words: it cannot be run, or fails.
    pub fn run(&self, core: usize, object: &str) -> Result<Ran, String> {
        let words = self.words.iter().map(|word| word.replace(FILE, object).replace(URL, object));
        let (cpu, began) = (children_cpu(), Instant::now());
        let child = Command::new("taskset")
            .args(["-c", &core.to_string()])
            .args(words)
            .envs(self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("taskset cannot be run: {error}"))?;
        let output = child.wait_with_output().map_err(|error| format!("{}: {error}", self.words[0]))?;
        let (after, elapsed) = (children_cpu(), began.elapsed());
        let cpu = Cpu {
            user: after.user.saturating_sub(cpu.user),
            system: after.system.saturating_sub(cpu.system),
        };
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            // `xxhsum` says its figures there.
            return Ok(Ran {
                text: format!("{}{said}", String::from_utf8_lossy(&output.stdout)),
                cpu,
                elapsed,
            });
        }
        Err(format!("{}: {}", self.words[0], said.lines().next().unwrap_or("it failed")))
    }

    /// Runs it and reads one figure out of what it says.
    ///
    /// # Errors
    /// In words: it cannot be run, fails, or says something else.
    pub fn figure(
        &self,
        core: usize,
        object: &str,
        read: impl Fn(&str) -> Option<f64>,
    ) -> Result<f64, String> {
        let text = self.run(core, object)?.text;
        read(&text).ok_or_else(|| self.not_understood())
    }

    /// What is said of an output without the figure.
    pub fn not_understood(&self) -> String {
        format!("{}: its output is not understood", self.words[0])
    }
}

/// CPU time of all children that were waited for, by the ticks of proc(5). One tool runs at a time, so a difference is its
/// own.
fn children_cpu() -> Cpu {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let mut fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ').skip(13);
    let mut ticks = || fields.next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    let mut time = || Duration::from_micros(ticks() * 1_000_000 / rustix::param::clock_ticks_per_second());
    Cpu { user: time(), system: time() }
}

/// Requests in a closed loop over HTTP/1.1 by `wrk`, which counts whole seconds.
pub fn wrk(connections: usize, seconds: f64) -> Tool {
    Tool::new(&format!("wrk -t1 -c{connections} -d{}s {URL}", seconds.ceil()))
}

/// The same over HTTP/2 by `h2load`.
pub fn h2load(connections: usize, streams: usize, seconds: f64) -> Tool {
    Tool::new(&format!("h2load -t1 -c{connections} -m{streams} -D{} {URL}", seconds.ceil()))
}

/// Requests and requests per second, if all were good.
pub fn wrk_count(text: &str) -> Option<(f64, f64)> {
    if text.contains("Socket errors") || text.contains("Non-2xx") {
        return None;
    }
    let line = text.lines().find(|line| line.contains(" requests in "))?;
    let rate = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"))?;
    Some((line.split_whitespace().next()?.parse().ok()?, rate.trim().parse().ok()?))
}

/// Requests and requests per second, if all were good.
pub fn h2load_count(text: &str) -> Option<(f64, f64)> {
    let after = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let counts: Vec<&str> = after("requests: ")?.split(", ").collect();
    let count = |name: &str| counts.iter().find_map(|count| count.strip_suffix(name))?.parse::<f64>().ok();
    if count(" failed")? + count(" errored")? + count(" timeout")? > 0.0 {
        return None;
    }
    let rate = after("finished in ")?.split(", ").find_map(|part| part.strip_suffix(" req/s"))?;
    Some((count(" succeeded")?, rate.parse().ok()?))
}

/// What `fio` does to one file that is there.
pub struct Fio {
    /// `write`, `randwrite` or `randread`.
    pub mode: &'static str,
    /// Bytes of one operation.
    pub block_bytes: usize,
    /// Operations in flight.
    pub depth: usize,
    /// Past the page cache.
    pub is_direct: bool,
    /// fdatasync after each write.
    pub syncs: bool,
}

impl Fio {
    /// As the ring does it: with huge pages under its buffers, since in pages of 4 KiB a request of 1 MiB has more segments
    /// than a virtual disk's queue takes, and is cut; with submissions in batches; without touching a buffer between writes.
    pub fn tool(&self, seconds: f64) -> Tool {
        let Fio { mode, block_bytes, depth, .. } = self;
        let (direct, syncs) = (u8::from(self.is_direct), u8::from(self.syncs));
        let batches = format!(
            " --iodepth_batch_submit={depth} --iodepth_batch_complete_min=1 --iodepth_batch_complete_max={depth}"
        );
        let words = format!(
            "fio --name=limit --ioengine=io_uring --rw={mode} --bs={block_bytes} --iodepth={depth}{} --direct={direct} \
             --fdatasync={syncs} --overwrite=1 --iomem_align=2M --scramble_buffers=0 --time_based --runtime={} \
             --filename={FILE} --output-format=json",
            if *depth > 1 { &batches } else { "" },
            seconds.ceil()
        );
        Tool { environment: Some(HUGE_PAGES), ..Tool::new(&words) }
    }

    /// Operations per second on `file`.
    ///
    /// # Errors
    /// In words: what `Tool::figure` says.
    pub fn rate(&self, core: usize, file: &Path, seconds: f64) -> Result<f64, String> {
        let kind = if self.mode.ends_with("write") { "write" } else { "read" };
        self.tool(seconds).figure(core, &file.display().to_string(), |text| fio_rate(text, kind))
    }
}

fn fio_rate(text: &str, kind: &str) -> Option<f64> {
    // Notes may come before the object.
    let text = &text[text.find('{')?..];
    let report = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>().next()?.ok()?;
    report["jobs"][0][kind]["iops"].as_f64().filter(|rate| *rate > 0.0)
}

/// A digest by `openssl`, in pieces of 1 MiB.
pub fn openssl(digest: &str, seconds: f64) -> Tool {
    let seconds = seconds.ceil();
    Tool::new(&format!("openssl speed -mr -seconds {seconds} -bytes {LARGE_BYTES} -evp {digest}"))
}

/// Bytes per second: the machine-readable line is `+F:22:MD5:bytes per second`.
pub fn openssl_rate(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix("+F:"))?.rsplit(':').next()?.trim().parse().ok()
}

/// XXH3-64 by `xxhsum`, in pieces of 1 MiB.
pub fn xxhsum() -> Tool {
    Tool::new(&format!("xxhsum -q -b5 -i3 -B{LARGE_BYTES}"))
}

/// Bytes per second.
pub fn xxhsum_rate(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains("XXH3_64b"))?;
    let rate = line.rsplit('(').next()?.split_whitespace().next()?;
    Some(rate.parse::<f64>().ok()? * f64::from(1 << 20))
}

/// Copies of so many mebibytes by `mbw`, with huge pages under both blocks. What `mbw` 1.2.2 calls test 0, MEMCPY, copies word
/// by word; its test 1 calls memcpy.
pub fn mbw(mebibytes: usize, copies: usize) -> Tool {
    Tool { environment: Some(HUGE_PAGES), ..Tool::new(&format!("mbw -q -a -t1 -n {copies} {mebibytes}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tools_print_is_understood() {
        let wrk = "  567370 requests in 3.00s, 99.56MB read\nRequests/sec: 189123.45\nTransfer/sec: 1MB\n";
        assert_eq!(wrk_count(wrk), Some((567_370.0, 189_123.45)));
        let h2load = "finished in 3.00s, 98304.33 req/s, 3.75MB/s\n\
                      requests: 294913 total, 294913 started, 294913 done, 294913 succeeded, 0 failed, 0 errored, 0 timeout\n";
        assert_eq!(h2load_count(h2load), Some((294_913.0, 98_304.33)));
        assert_eq!(
            openssl_rate("+DT:md5:1:1048576\n+R:700:md5:1.0\n+F:22:md5:734003200.00\n"),
            Some(734_003_200.0)
        );
        let report =
            "note: x\n{\"jobs\": [{\"write\": {\"iops\": 3100.5}, \"read\": {\"iops\": 0}}]}\nwarning";
        assert_eq!((fio_rate(report, "write"), fio_rate(report, "read")), (Some(3_100.5), None));
        let line = " 5#XXH3_64b                      :    1048576 ->    20010 it/s (20010.5 MB/s)\n";
        assert_eq!(xxhsum_rate(line), Some(20_010.5 * 1_048_576.0));
        for nothing in ["", "{", "killed"] {
            assert!(wrk_count(nothing).is_none() && openssl_rate(nothing).is_none());
            assert!(fio_rate(nothing, "read").is_none() && h2load_count(nothing).is_none());
            assert!(xxhsum_rate(nothing).is_none());
        }
    }

    #[test]
    fn requests_that_failed_give_no_figure() {
        let wrk =
            "  480 requests in 3.00s, 1MB read\n  Non-2xx or 3xx responses: 480\nRequests/sec: 160.00\n";
        assert_eq!(wrk_count(wrk), None);
        let h2load = "finished in 3.00s, 10.00 req/s, 3.75MB/s\n\
                      requests: 31 total, 31 started, 31 done, 30 succeeded, 1 failed, 1 errored, 0 timeout\n";
        assert_eq!(h2load_count(h2load), None);
    }

    #[test]
    fn the_cpu_time_of_a_tool_is_counted() {
        let core = ring::cores()[0];
        let mut busy = Tool::new("sh -c");
        busy.words.push("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done".to_owned());
        let busy = busy.run(core, "").expect("it runs");
        // Other tests' tools may be counted too, but none is counted less.
        assert!(
            busy.cpu.user + busy.cpu.system >= Duration::from_millis(20) && busy.elapsed > Duration::ZERO
        );
    }

    #[test]
    fn a_tool_that_is_not_there_says_so_and_one_that_runs_gives_its_figure() {
        let gone = Tool::new("zerobench-no-such-tool -x").figure(0, "", |_| Some(1.0));
        assert!(gone.is_err_and(|why| why.starts_with("zerobench-no-such-tool: ")));
        let core = ring::cores()[0];
        let echo = Tool { environment: Some(HUGE_PAGES), ..Tool::new("echo --file=FILE 12") };
        let read = |text: &str| text.trim().strip_prefix("--file=/a ")?.parse().ok();
        assert_eq!(echo.figure(core, "/a", read), Ok(12.0));
        assert_eq!(echo.words(), "GLIBC_TUNABLES=glibc.malloc.hugetlb=1 echo --file=FILE 12");
        assert_eq!(echo.figure(core, "/b", read), Err("echo: its output is not understood".to_owned()));
    }
}
