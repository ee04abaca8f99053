//! Outside tools: how each is called, and what its output says.
//! Invariant: a tool that is missing, fails or says nothing that is understood gives a reason, never a figure.

use std::path::Path;
use std::process::Command;

use super::Outside;

/// Runs a tool on a core and gives its output.
fn run(core: usize, command: &[&str]) -> Result<String, String> {
    let output = Command::new("taskset")
        .args(["-c", &core.to_string()])
        .args(command)
        .output()
        .map_err(|error| format!("taskset cannot be run: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        // `xxhsum` says its figures there.
        return Ok(format!("{}{said}", String::from_utf8_lossy(&output.stdout)));
    }
    Err(format!("{}: {}", command[0], said.lines().next().unwrap_or("it failed")))
}

/// Requests per second by `wrk`, which counts whole seconds.
pub fn wrk(core: usize, url: &str, connections: usize, seconds: f64) -> Outside {
    let (connections, duration) = (format!("-c{connections}"), format!("-d{}s", seconds.ceil()));
    let text = run(core, &["wrk", "-t1", &connections, &duration, url])?;
    Ok((
        format!("wrk -t1 {connections} {duration}"),
        wrk_rate(&text).ok_or("wrk: its output is not understood")?,
    ))
}

fn wrk_rate(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"))?.trim().parse().ok()
}

/// What `fio` does to one file that is there.
pub struct Fio<'f> {
    /// `write`, `read` or `randread`.
    pub mode: &'f str,
    /// Bytes of one operation.
    pub block_bytes: usize,
    /// Operations in flight.
    pub depth: usize,
    /// Past the page cache.
    pub is_direct: bool,
    /// fdatasync after each write.
    pub syncs: bool,
}

impl Fio<'_> {
    /// Operations per second on `file`.
    pub fn rate(&self, core: usize, file: &Path, seconds: f64) -> Outside {
        let flag = |name: &str, value: &dyn std::fmt::Display| format!("--{name}={value}");
        let arguments = [
            "fio".to_owned(),
            flag("name", &"limit"),
            flag("ioengine", &"io_uring"),
            flag("rw", &self.mode),
            flag("bs", &self.block_bytes),
            flag("iodepth", &self.depth),
            flag("direct", &u8::from(self.is_direct)),
            flag("fdatasync", &u8::from(self.syncs)),
            flag("overwrite", &1),
            flag("time_based", &1),
            flag("runtime", &seconds.ceil()),
            flag("filename", &file.display()),
            flag("output-format", &"json"),
        ];
        let text = run(core, &arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
        let kind = if self.mode == "write" { "write" } else { "read" };
        let words = format!("fio --rw={} --bs={} --iodepth={}", self.mode, self.block_bytes, self.depth);
        Ok((words, fio_rate(&text, kind).ok_or("fio: its output is not understood")?))
    }
}

fn fio_rate(text: &str, kind: &str) -> Option<f64> {
    // Notes may come before the object.
    let report: serde_json::Value = serde_json::from_str(&text[text.find('{')?..]).ok()?;
    report["jobs"][0][kind]["iops"].as_f64().filter(|rate| *rate > 0.0)
}

/// Bytes per second of a digest by `openssl`, in pieces of 1 MiB.
pub fn openssl(core: usize, digest: &str) -> Outside {
    let text = run(core, &["openssl", "speed", "-mr", "-seconds", "1", "-bytes", "1048576", "-evp", digest])?;
    let rate = openssl_rate(&text).ok_or("openssl: its output is not understood")?;
    Ok((format!("openssl speed -evp {digest} -bytes 1048576"), rate))
}

/// The machine-readable line: `+F:22:MD5:bytes per second`.
fn openssl_rate(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix("+F:"))?.rsplit(':').next()?.trim().parse().ok()
}

/// Bytes per second of XXH3 by `xxhsum`, in pieces of 1 MiB.
pub fn xxhsum(core: usize) -> Outside {
    let text = run(core, &["xxhsum", "-q", "-b5", "-i3", "-B1048576"])?;
    Ok(("xxhsum -b5 -B1048576".to_owned(), xxhsum_rate(&text).ok_or("xxhsum: its output is not understood")?))
}

fn xxhsum_rate(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains("XXH3_64b"))?;
    let rate = line.rsplit('(').next()?.split_whitespace().next()?;
    Some(rate.parse::<f64>().ok()? * f64::from(1 << 20))
}

/// Bytes per second of a copy by `mbw`.
pub fn mbw(core: usize, mebibytes: usize) -> Outside {
    let text = run(core, &["mbw", "-q", "-t0", "-n", "5", &mebibytes.to_string()])?;
    Ok((format!("mbw -t0 {mebibytes}"), mbw_rate(&text).ok_or("mbw: its output is not understood")?))
}

fn mbw_rate(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with("AVG"))?;
    let copy = line.split("Copy:").nth(1)?.trim();
    Some(copy.split_whitespace().next()?.parse::<f64>().ok()? * f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tools_print_is_understood() {
        assert_eq!(
            wrk_rate("  480 requests in 3.00s\nRequests/sec: 189123.45\nTransfer/sec: 1MB\n"),
            Some(189_123.45)
        );
        assert_eq!(
            openssl_rate("+DT:md5:1:1048576\n+R:700:md5:1.0\n+F:22:md5:734003200.00\n"),
            Some(734_003_200.0)
        );
        let line = "AVG\tMethod: MEMCPY\tElapsed: 0.02\tMiB: 256.00000\tCopy: 10240.5 MiB/s\n";
        assert_eq!(mbw_rate(line), Some(10_240.5 * 1_048_576.0));
        let report = "note: x\n{\"jobs\": [{\"write\": {\"iops\": 3100.5}, \"read\": {\"iops\": 0}}]}";
        assert_eq!((fio_rate(report, "write"), fio_rate(report, "read")), (Some(3_100.5), None));
        let line = " 5#XXH3_64b                      :    1048576 ->    20010 it/s (20010.5 MB/s)\n";
        assert_eq!(xxhsum_rate(line), Some(20_010.5 * 1_048_576.0));
        for nothing in ["", "{", "killed"] {
            assert!(wrk_rate(nothing).is_none() && openssl_rate(nothing).is_none());
            assert!(mbw_rate(nothing).is_none() && fio_rate(nothing, "read").is_none());
        }
    }
}
