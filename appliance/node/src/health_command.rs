//! `zerocloud health`: whether a node lives and is ready, for probes that are commands.
//! Invariant: no key is needed, and the exit code is 0 for yes and 1 for anything else, which is all that probes take.

use std::process::ExitCode;

use http_types::StatusCode;

use crate::cli::HealthArgs;
use crate::client::{Place, print};
use crate::exit::{Exit, Failure};

/// Asks, and says what it heard in one line.
pub fn run(args: &HealthArgs) -> Result<ExitCode, Failure> {
    let path = if args.live { "/-/live" } else { "/-/ready" };
    let heard = Place::to_probe(&args.node).and_then(|place| place.get(path));
    let (is_well, line) = match heard {
        Ok((StatusCode::OK, _)) if args.live => (true, "live".to_owned()),
        Ok((StatusCode::OK, _)) => (true, "ready".to_owned()),
        Ok((status, body)) => {
            let reason = String::from_utf8_lossy(&body).trim().to_owned();
            (false, format!("not {}: {status}: {reason}", if args.live { "live" } else { "ready" }))
        }
        Err(failure) if failure.exit == Exit::Held => (false, failure.message),
        Err(failure) => return Err(failure),
    };
    print(&if args.node.json {
        format!("{}\n", serde_json::json!({ "well": is_well, "detail": line }))
    } else {
        format!("{line}\n")
    })?;
    Ok(if is_well { ExitCode::SUCCESS } else { Exit::Findings.into() })
}
