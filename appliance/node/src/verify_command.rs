//! `zerocloud verify`: the store's walk over a data directory, told to a person or a program.
//! Invariant: a directory that is not ours is left without a trace. Exit 0: every byte is as written; 70: it is not.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;
use store::disk::{Disk, RealDisk};
use store::verify::Verified;
use store::{Format, StoreConfig};

use crate::cli::VerifyArgs;
use crate::config::{self, Config};
use crate::exit::{Exit, Failure};
use crate::owner;
use crate::private_file;
use crate::serve::refuse;

/// Walks and prints.
pub fn run(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let environment = config::from_environment(&|name| std::env::var_os(name))?;
    let data = Config::data_or_default(args.data.as_deref().or(environment.data.as_deref()));
    let shown = data.display();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    if !data.is_dir() {
        return Err(Failure::configuration(format!(
            "{shown}: no such directory; name the data directory with --data"
        )));
    }
    if Format::read(&disk, &data).map_err(refuse)?.is_none() {
        return Err(Failure::configuration(format!("{shown}: not a data directory yet; nothing to verify")));
    }
    // Reading needs recovery first, which may write: the log's next segment, for one.
    let reached = owner::become_owner_within(&data)?;
    private_file::keep_private();
    let settings = StoreConfig::new(reached, 1, disk);
    let shows_progress = std::io::stderr().is_terminal() && !args.json;
    let mut progress = |what: &str| {
        if shows_progress {
            eprint!("\r\x1b[Kverifying {what}");
        }
    };
    let report = store::verify::verify(&settings, crate::random::Random::new().draw(), &mut progress)
        .map_err(refuse)?;
    if shows_progress {
        eprint!("\r\x1b[K");
    }
    let text = if args.json { format!("{}\n", to_json(&report)) } else { to_text(&report) };
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::storage(format!("stdout: {error}")))?;
    Ok(if report.failure_count == 0 { ExitCode::SUCCESS } else { Exit::Storage.into() })
}

fn to_json(report: &Verified) -> serde_json::Value {
    json!({
        "sound": report.failure_count == 0,
        "shards": report.shards,
        "batches": report.batches,
        "records": report.records,
        "bodies": report.bodies,
        "body_bytes": report.body_bytes,
        "orphan_extents": report.orphan_extents,
        "orphan_bytes": report.orphan_bytes,
        "dead_extents": report.dead_extents,
        "failure_count": report.failure_count,
        "failures": report.failures,
    })
}

fn to_text(report: &Verified) -> String {
    let mut text = String::new();
    for failure in &report.failures {
        text.push_str(&format!("damaged: {failure}\n"));
    }
    let unlisted = report.failure_count.saturating_sub(report.failures.len() as u64);
    if unlisted > 0 {
        text.push_str(&format!("... and {unlisted} more\n"));
    }
    text.push_str(&format!(
        "{} shards, {} log batches, {} records, {} bodies of {} bytes read\n",
        report.shards, report.batches, report.records, report.bodies, report.body_bytes
    ));
    text.push_str(&format!(
        "{} extents ({} bytes) belong to no record and {} are waiting to be given back; a running node does both\n",
        report.orphan_extents, report.orphan_bytes, report.dead_extents
    ));
    text.push_str(&match report.failure_count {
        0 => "every checksum fits\n".to_string(),
        count => format!("{count} things are damaged; restore them from a backup, or remove what is named\n"),
    });
    text
}
