//! What the machine itself can do, measured beside a load: sockets, disk, memory, digests. Each is measured again by a tool
//! that somebody else wrote; where the two differ by more than a quarter, the limit is not to be trusted and says so.

pub mod disk;
pub mod echo;
pub mod hash;
pub mod memory;
pub mod tools;

use std::path::Path;

use serde::Serialize;

/// One limit.
#[derive(Clone, Debug, Serialize)]
pub struct Limit {
    /// What is limited.
    pub name: String,
    /// Our figure.
    pub value: f64,
    /// Of both figures.
    pub unit: &'static str,
    /// The outside tool, or why there is none.
    pub tool: String,
    /// Its figure.
    pub tool_value: Option<f64>,
}

/// Beyond these shares the two figures do not agree.
const AGREES: std::ops::RangeInclusive<f64> = 0.8..=1.25;

impl Limit {
    /// Our figure as a share of the tool's.
    #[must_use]
    pub fn share_of_tool(&self) -> Option<f64> {
        Some(self.value / self.tool_value?)
    }

    /// Whether the two figures agree within a quarter; nothing where there is no tool.
    #[must_use]
    pub fn agrees(&self) -> Option<bool> {
        Some(AGREES.contains(&self.share_of_tool()?))
    }
}

/// A figure of an outside tool, or why there is none.
pub type Outside = Result<(String, f64), String>;

fn limit(name: &str, unit: &'static str, value: f64, outside: Outside) -> Limit {
    let (tool, tool_value) = match outside {
        Ok((tool, value)) => (tool, Some(value)),
        Err(why) => (why, None),
    };
    Limit { name: name.to_owned(), value, unit, tool, tool_value }
}

/// Where and how long limits are measured.
pub struct Place<'p> {
    /// Files go here.
    pub directory: &'p Path,
    /// The core of servers and of the disk's loop.
    pub server_core: usize,
    /// The core of loads.
    pub load_core: usize,
    /// Of each figure.
    pub seconds: f64,
}

/// Measures the groups of limits that are asked for. `say` hears each as it is there.
///
/// # Errors
/// In words: what could not be measured.
pub fn measure(
    groups: &[Group],
    place: &Place<'_>,
    say: &mut dyn FnMut(&Limit),
) -> Result<Vec<Limit>, String> {
    let mut all = Vec::new();
    for group in groups {
        let limits = match group {
            Group::Echo => echo::measure(place)?,
            Group::Disk => disk::measure(place)?,
            Group::Memory => memory::measure(place),
            Group::Hash => hash::measure(place),
        };
        limits.iter().for_each(&mut *say);
        all.extend(limits);
    }
    Ok(all)
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Group {
    /// The reactor with and without HTTP.
    Echo,
    /// Appends with sync, large writes and reads, random reads.
    Disk,
    /// Copies.
    Memory,
    /// Digests and checksums.
    Hash,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_apart_agrees_and_more_does_not() {
        let of = |value| limit("x", "1/s", value, Ok(("tool".to_owned(), 100.0)));
        assert_eq!(of(124.0).agrees(), Some(true));
        assert_eq!(of(81.0).agrees(), Some(true));
        assert_eq!(of(126.0).agrees(), Some(false));
        assert_eq!(of(79.0).agrees(), Some(false));
        assert_eq!(limit("x", "1/s", 1.0, Err("no tool".to_owned())).agrees(), None);
    }
}
