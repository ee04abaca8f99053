//! What the machine itself can do, measured beside a load: sockets, disk, memory, digests. Each is measured again by a tool
//! that somebody else wrote, in turns with ours; where the two differ by more than a quarter, the limit is not to be
//! trusted and says so.
//! Leaves to fit.rs: which limit a load is held against.

pub mod append;
pub mod disk;
pub mod echo;
pub mod fit;
pub mod hash;
pub mod memory;
pub mod tools;

use std::path::Path;

use tools::Tool;

use crate::report::json::{Limit, Values, rounded};

/// The ring and the kernel's TCP.
pub const BARE_ECHO: &str = "bare echo on the ring";
/// All of the appliance's HTTP around the same answer.
pub const HTTP_ECHO: &str = "echo with the appliance's HTTP";
/// The same over HTTP/2.
pub const HTTP2_ECHO: &str = "echo with the appliance's HTTP/2";
/// Past the page cache, as large bodies are moved.
pub const DEVICE_WRITE: &str = "write of 1 MiB, 8 at once";
/// The way back.
pub const DEVICE_READ: &str = "read of 1 MiB, 8 at once";
/// Of the two above.
pub const LARGE_BYTES: usize = 1 << 20;

/// Beyond these shares the two figures do not agree.
const AGREES: std::ops::RangeInclusive<f64> = 0.8..=1.25;

/// Where and how long limits are measured.
pub struct Place<'p> {
    /// Files go here.
    pub directory: &'p Path,
    /// The core of servers and of the disk's loop.
    pub server_core: usize,
    /// The core of loads.
    pub load_core: usize,
    /// Of each turn.
    pub seconds: f64,
    /// Turns of ours and of the tool's.
    pub turns: usize,
    /// Sizes of the values that are appended to a log.
    pub value_bytes: &'p [usize],
}

/// Figures of an outside tool, or why there are none.
pub type Outside<T> = Result<Vec<T>, String>;

impl Place<'_> {
    /// Measures ours and the tool's in turns, so that what slows the machine for a while slows both. A tool that fails once
    /// is not asked again.
    ///
    /// # Errors
    /// In words: what kept ours from being measured.
    fn in_turns<O, T>(
        &self,
        mut ours: impl FnMut() -> Result<O, String>,
        mut theirs: impl FnMut() -> Result<T, String>,
    ) -> Result<(Vec<O>, Outside<T>), String> {
        let (mut own, mut outside) = (Vec::new(), Ok(Vec::new()));
        for _ in 0..self.turns.max(1) {
            own.push(ours()?);
            if let Ok(figures) = &mut outside {
                match theirs() {
                    Ok(figure) => figures.push(figure),
                    Err(why) => outside = Err(why),
                }
            }
        }
        Ok((own, outside))
    }

    /// A limit whose figure a tool gives too, in the same unit: the medians of both.
    fn beside(
        &self,
        name: &str,
        unit: &str,
        ours: impl FnMut() -> Result<f64, String>,
        tool: &Tool,
        theirs: impl FnMut() -> Result<f64, String>,
    ) -> Result<Limit, String> {
        let (own, outside) = self.in_turns(ours, theirs)?;
        Ok(limit(name, unit, median(own), tool, outside.map(median)))
    }

    /// A limit that no packaged tool measures.
    fn alone(&self, name: &str, unit: &str, ours: impl FnMut() -> f64, why: &str) -> Limit {
        let own = std::iter::repeat_with(ours).take(self.turns.max(1)).collect();
        let no_tool = Some(why.to_owned());
        Limit { value: rounded(median(own)), no_tool, ..named(name, unit) }
    }
}

/// Of figures that are there.
fn median(figures: Vec<f64>) -> f64 {
    Values(figures).median().unwrap_or(0.0)
}

fn named(name: &str, unit: &str) -> Limit {
    Limit { name: name.to_owned(), unit: unit.to_owned(), ..Limit::default() }
}

fn limit(name: &str, unit: &str, value: f64, tool: &Tool, outside: Result<f64, String>) -> Limit {
    let limit = Limit { value: rounded(value), ..named(name, unit) };
    judged(match outside {
        Ok(value) => Limit { tool: Some(tool.words()), tool_value: Some(rounded(value)), ..limit },
        Err(why) => Limit { no_tool: Some(why), ..limit },
    })
}

/// Says whether the two figures agree within a quarter; nothing where there is no tool.
fn judged(limit: Limit) -> Limit {
    Limit { agrees: limit.ratio().map(|ratio| AGREES.contains(&ratio)), ..limit }
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
    let mut say = |limit: Limit| {
        say(&limit);
        all.push(limit);
    };
    for group in groups {
        match group {
            Group::Echo => echo::measure(place, &mut say)?,
            Group::Disk => disk::measure(place, &mut say)?,
            Group::Memory => memory::measure(place, &mut say)?,
            Group::Hash => hash::measure(place, &mut say)?,
        }
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
    use crate::report::json::Compared;

    #[test]
    fn a_quarter_apart_agrees_and_more_does_not() {
        let tool = Tool::new("tool -x");
        let of = |value| limit("x", "1/s", value, &tool, Ok(100.0));
        assert_eq!(of(124.0).agrees, Some(true));
        assert_eq!(of(81.0).agrees, Some(true));
        assert_eq!(of(126.0).agrees, Some(false));
        assert_eq!(of(79.0).agrees, Some(false));
        let none = limit("x", "1/s", 1.0, &tool, Err("no tool".to_owned()));
        assert_eq!((none.agrees, none.tool, none.no_tool), (None, None, Some("no tool".to_owned())));
    }

    #[test]
    fn what_is_compared_instead_of_the_values_decides() {
        let far = limit("x", "1/s", 200.0, &Tool::new("tool"), Ok(100.0));
        let compared = Some(Compared { what: "us".to_owned(), value: 5.0, tool_value: 5.1 });
        assert_eq!(judged(Limit { compared, ..far }).agrees, Some(true));
    }

    #[test]
    fn turns_alternate_and_a_tool_that_fails_is_not_asked_again() {
        let (mut own, mut asked) = (0, 0);
        let ours = || {
            own += 1;
            Ok(f64::from(own))
        };
        let theirs = || {
            asked += 1;
            if asked == 1 { Ok(1.0) } else { Err("it is gone".to_owned()) }
        };
        let place = Place {
            directory: Path::new("."),
            server_core: 0,
            load_core: 0,
            seconds: 0.1,
            turns: 3,
            value_bytes: &[],
        };
        let limit = place.beside("x", "1/s", ours, &Tool::new("tool"), theirs).expect("ours works");
        assert!((limit.value - 2.0).abs() < 1e-9 && limit.no_tool.as_deref() == Some("it is gone"));
        assert_eq!((own, asked), (3, 2));
    }
}
