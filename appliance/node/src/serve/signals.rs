//! Signals, as events of the main thread.
//! Invariant: a second request to stop ends the process at once, whatever the main thread is doing. That is safe at any
//! moment: what was acknowledged is on stable storage.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Weak};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use store::format::DataLock;

use super::Event;
use crate::env_command::Endpoint;
use crate::log::Log;
use crate::status::{Phase, Status};

/// Starts the thread that waits for signals.
pub fn watch(
    events: Sender<Event>,
    status: Arc<Status>,
    log: Log,
    data: std::path::PathBuf,
    lock: Weak<DataLock>,
) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let mut stops = 0;
        for signal in signals.forever() {
            if signal == SIGHUP {
                drop(events.send(Event::Reload));
                continue;
            }
            stops += 1;
            let is_recovering = status.phase() == Phase::Recovering;
            if stops > 1 || is_recovering {
                log.info("stopped at once", &[("signal", &signal), ("phase", &status.phase().name())]);
                Endpoint::remove(&data);
                let is_in_order = is_recovering && stops == 1;
                if is_in_order && let Some(lock) = lock.upgrade() {
                    lock.give_up();
                }
                log.flush();
                std::process::exit(if is_in_order { 0 } else { 128 + signal });
            }
            drop(events.send(Event::Stop { signal }));
        }
    })?;
    Ok(())
}
