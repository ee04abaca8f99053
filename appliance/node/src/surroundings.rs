//! What the process finds around it: room on the disk, its certificate's end, how the run before ended.
//! Invariant: a thread of its own looks, so that a disk that hangs holds up no request, no scrape and no watchdog; what it saw
//! last is what is shown.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::machine::{Room, room};
use crate::metrics::Text;
use crate::status::{Phase, Status};

/// What was seen last.
#[derive(Default)]
pub struct Surroundings {
    room: Mutex<Option<Room>>,
    /// Seconds since 1970; 0 where TLS is not spoken or the certificate does not say.
    certificate_end: AtomicI64,
    was_cut_off: AtomicBool,
}

impl Surroundings {
    /// The certificate that is shown from now on is good until then, in seconds since 1970.
    pub fn set_certificate_end(&self, end: Option<i64>) {
        self.certificate_end.store(end.unwrap_or(0), Ordering::Relaxed);
    }

    /// The run before this one did not end by itself.
    pub fn set_was_cut_off(&self) {
        self.was_cut_off.store(true, Ordering::Relaxed);
    }

    fn look_at_disk(&self, data: &Path) {
        // A file system that cannot be asked now keeps the figures of before.
        if let Ok(found) = room(data) {
            *self.room.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        }
    }

    /// Writes the metrics. What is not known, or is not there, has no line.
    pub fn render(&self, text: &mut Text) {
        let room = *self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let end = self.certificate_end.load(Ordering::Relaxed);
        let figures: [(&str, &str, Option<i128>); 5] = [
            (
                "zerocloud_disk_size_bytes",
                "Of the file system of the data directory.",
                room.map(|room| room.total_bytes.into()),
            ),
            (
                "zerocloud_disk_available_bytes",
                "What the appliance may still write there.",
                room.map(|room| room.free_bytes.into()),
            ),
            (
                "zerocloud_disk_available_inodes",
                "Files that it may still make there; absent where the file system has no such bound.",
                room.and_then(|room| room.free_inodes).map(Into::into),
            ),
            (
                "zerocloud_tls_certificate_end_timestamp_seconds",
                "When the certificate expires, in seconds since 1970; absent without TLS.",
                (end != 0).then_some(end.into()),
            ),
            (
                "zerocloud_started_after_cut",
                "1 when the run before did not end by itself: killed, by the watchdog too, or without power.",
                Some(self.was_cut_off.load(Ordering::Relaxed).into()),
            ),
        ];
        for (name, help, value) in figures {
            let Some(value) = value else { continue };
            text.head(name, help, "gauge");
            text.line(name, "", value);
        }
    }
}

/// Between two looks.
const LOOK: Duration = Duration::from_secs(5);

/// Looks once, then starts the thread that goes on. It ends with the drain.
pub fn watch(status: Arc<Status>, data: PathBuf) -> std::io::Result<()> {
    status.surroundings.look_at_disk(&data);
    std::thread::Builder::new().name("surroundings".into()).spawn(move || {
        while status.phase() != Phase::Draining {
            std::thread::sleep(LOOK);
            status.surroundings.look_at_disk(&data);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_has_no_line() {
        let seen = Surroundings::default();
        let rendered = || {
            let mut text = Text::new();
            seen.render(&mut text);
            text.finish()
        };
        let before = rendered();
        assert!(!before.contains("disk") && !before.contains("certificate"), "{before}");
        assert!(before.contains("\nzerocloud_started_after_cut 0\n"));
        seen.set_certificate_end(Some(1_900_000_000));
        seen.set_was_cut_off();
        *seen.room.lock().unwrap() = Some(Room { free_bytes: 5, total_bytes: 9, free_inodes: None });
        let after = rendered();
        for line in [
            "zerocloud_disk_size_bytes 9",
            "zerocloud_disk_available_bytes 5",
            "zerocloud_tls_certificate_end_timestamp_seconds 1900000000",
            "zerocloud_started_after_cut 1",
        ] {
            assert!(after.contains(&format!("\n{line}\n")), "{line} is not in {after}");
        }
        assert!(!after.contains("inodes"));
    }
}
