//! Which cores the process may use.

use std::path::{Path, PathBuf};

/// The cores on which this process may run, by their numbers; fewer if the cgroup's CPU quota pays for fewer. Never empty.
pub fn cores() -> Vec<usize> {
    let mut cores = crate::sys::allowed_cores().unwrap_or_default();
    if cores.is_empty() {
        cores.push(0);
    }
    if let Some(quota) = quota_cores() {
        cores.truncate(quota);
    }
    cores
}

/// The least quota, in whole cores rounded up, on the way from our cgroup to the root.
fn quota_cores() -> Option<usize> {
    let memberships = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    // cgroups(7): the unified hierarchy has number 0 and no controllers.
    let path = memberships.lines().find_map(|line| line.strip_prefix("0::"))?;
    let root = Path::new("/sys/fs/cgroup");
    let mut directory: PathBuf = root.join(path.trim_start_matches('/'));
    let mut least = None;
    loop {
        if let Ok(text) = std::fs::read_to_string(directory.join("cpu.max"))
            && let Some(quota) = parse_quota(&text)
        {
            least = Some(least.map_or(quota, |least: usize| least.min(quota)));
        }
        if directory == root || !directory.pop() {
            return least;
        }
    }
}

/// Reads `cpu.max`: "max 100000" or "150000 100000", microseconds of quota and of period.
fn parse_quota(text: &str) -> Option<usize> {
    let mut words = text.split_whitespace();
    let quota: u64 = words.next()?.parse().ok()?;
    let period: u64 = words.next()?.parse().ok()?;
    if period == 0 {
        return None;
    }
    usize::try_from(quota.div_ceil(period).max(1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_counts_as_whole_cores_rounded_up() {
        assert_eq!(parse_quota("max 100000\n"), None);
        assert_eq!(parse_quota("150000 100000\n"), Some(2));
        assert_eq!(parse_quota("10000 100000\n"), Some(1));
        assert_eq!(parse_quota("400000 100000\n"), Some(4));
        assert_eq!(parse_quota("400000 0\n"), None);
        assert_eq!(parse_quota(""), None);
    }

    #[test]
    fn there_is_always_a_core() {
        assert!(!cores().is_empty());
    }
}
