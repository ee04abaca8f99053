//! What is left of a run: the report as data, and what is made of it.
//! Invariant: tables and pages are made from the data alone, so that a stored report shows what was seen when it was made.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use json::{Limits, Report};

pub mod change;
pub mod figures;
pub mod json;
pub mod limits;
pub mod page;
pub mod plot;
#[cfg(test)]
pub mod samples;
pub mod table;
pub mod tally;

/// Where a report goes besides the terminal.
#[derive(Args, Clone, Default)]
pub struct Outputs {
    /// Writes the report here as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Writes it here as a page that needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// A stored report, or two.
#[derive(Args)]
pub struct ReportArgs {
    /// The report.
    pub file: PathBuf,
    /// A later one of the same load: says what is better, worse or the same.
    #[arg(conflicts_with_all = ["html", "markdown"])]
    pub new: Option<PathBuf>,
    /// Writes the report here as a page that needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Prints the table as Markdown.
    #[arg(long)]
    pub markdown: bool,
}

/// Shows a stored report, or what changed between two.
///
/// # Errors
/// In words: a file that cannot be read or written, or is no report; loads that differ.
pub fn show(arguments: &ReportArgs) -> Result<(), String> {
    let report = read(&arguments.file)?;
    if let Some(new) = &arguments.new {
        print!("{}", change::terminal(&change::changes(&report, &read(new)?)?));
        return Ok(());
    }
    if let Some(path) = &arguments.html {
        write(path, &page::page(&report))?;
    }
    if arguments.markdown {
        print!("{}", table::markdown(&report));
    } else if arguments.html.is_none() {
        print!("{}", table::terminal(&report));
    }
    Ok(())
}

/// Writes a report wherever it was asked for.
///
/// # Errors
/// In words: a file that cannot be written.
pub fn store(report: &Report, outputs: &Outputs) -> Result<(), String> {
    if let Some(path) = &outputs.json {
        write(path, &report.write()?)?;
    }
    match &outputs.html {
        Some(path) => write(path, &page::page(report)),
        None => Ok(()),
    }
}

fn read(path: &Path) -> Result<Report, String> {
    read_as(path, Report::read)
}

/// Reads limits that were stored on their own.
///
/// # Errors
/// In words: a file that cannot be read, or holds none.
pub fn read_limits(path: &Path) -> Result<Limits, String> {
    read_as(path, Limits::read)
}

fn read_as<T>(path: &Path, read: impl Fn(&str) -> Result<T, String>) -> Result<T, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    read(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes a text where it was asked for.
///
/// # Errors
/// In words: a file that cannot be written.
pub fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
