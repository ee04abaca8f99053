//! What the process finds around it: room on the disk, its certificate's end, how the run before ended; and whether somebody put
//! another certificate into its place.
//! Invariant: a thread of its own looks, so that a disk that hangs holds up no request, no scrape and no watchdog; what it saw
//! last is what is shown.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::TlsFiles;
use crate::machine::{Room, room_here};
use crate::metrics::Text;
use crate::serve::Event;
use crate::status::{Phase, Status};

/// What was seen last.
#[derive(Default)]
pub struct Surroundings {
    room: Mutex<Option<Room>>,
    /// None where TLS is not spoken.
    certificate: Mutex<Option<ShownCertificate>>,
    was_cut_off: AtomicBool,
}

/// The certificate that new connections are shown.
#[derive(Clone)]
pub struct ShownCertificate {
    /// Where it was read.
    pub files: TlsFiles,
    /// What they looked like then.
    pub stamp: Stamp,
    /// When it expires, in seconds since 1970; None where it does not say.
    pub end: Option<i64>,
}

/// By what a certificate's and a key's file differ from those that replace them. None: cannot be looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp([Option<FileStamp>; 2]);

/// Device, inode, bytes, and the time of the last change, of owner and mode too, in seconds and nanoseconds.
type FileStamp = (u64, u64, u64, i64, i64);

impl Stamp {
    /// That of the files as they are now, behind all symbolic links.
    pub fn of(files: &TlsFiles) -> Stamp {
        Stamp([&files.cert, &files.key].map(|path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.dev(), found.ino(), found.size(), found.ctime(), found.ctime_nsec()))
        }))
    }
}

impl Surroundings {
    /// This certificate is shown from now on.
    pub fn set_certificate(&self, shown: ShownCertificate) {
        *self.certificate() = Some(shown);
    }

    /// Where the certificate lies that is shown.
    pub fn certificate_files(&self) -> Option<TlsFiles> {
        self.certificate().as_ref().map(|shown| shown.files.clone())
    }

    fn certificate(&self) -> MutexGuard<'_, Option<ShownCertificate>> {
        self.certificate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the files hold another certificate, which is said once of each. `former` is what they looked like at the last look:
    /// while they still change, between the certificate and its key, they are let alone.
    fn certificate_has_changed(&self, former: &mut Option<Stamp>) -> bool {
        let Some(files) = self.certificate_files() else { return false };
        // Not under the lock: a disk may hang.
        let now = Stamp::of(&files);
        let is_settled = former.replace(now) == Some(now);
        match &mut *self.certificate() {
            Some(shown) if is_settled && shown.files == files && shown.stamp != now => {
                shown.stamp = now;
                true
            }
            _ => false,
        }
    }

    /// The run before this one did not end by itself.
    pub fn set_was_cut_off(&self) {
        self.was_cut_off.store(true, Ordering::Relaxed);
    }

    fn look_at_disk(&self, data: &Path) {
        // Of one that cannot be asked nothing is known; another one's figures would say that all is well.
        *self.room.lock().unwrap_or_else(PoisonError::into_inner) = room_here(data).ok();
    }

    /// Writes the metrics. What is not known, or is not there, has no line.
    pub fn render(&self, text: &mut Text) {
        let room = *self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let end = self.certificate().as_ref().and_then(|shown| shown.end);
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
                end.map(Into::into),
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
pub fn watch(status: Arc<Status>, data: PathBuf, events: Sender<Event>) -> std::io::Result<()> {
    status.surroundings.look_at_disk(&data);
    std::thread::Builder::new().name("surroundings".into()).spawn(move || {
        let mut former = None;
        while status.phase() != Phase::Draining {
            std::thread::sleep(LOOK);
            status.surroundings.look_at_disk(&data);
            if status.surroundings.certificate_has_changed(&mut former) {
                // A main thread that is gone reloads nothing.
                drop(events.send(Event::NewCertificate));
            }
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
        let files = TlsFiles { cert: "cert.pem".into(), key: "key.pem".into() };
        let stamp = Stamp::of(&files);
        seen.set_certificate(ShownCertificate { files, stamp, end: Some(1_900_000_000) });
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
        seen.look_at_disk(Path::new("/not/there"));
        assert!(!rendered().contains("disk"), "the root's room is not that of what is not there");
    }

    #[test]
    fn another_certificate_is_noticed_once_and_only_when_its_files_have_come_to_rest() {
        let directory = crate::scratch::Directory::new("certificate-watch");
        let files =
            TlsFiles { cert: directory.path().join("cert.pem"), key: directory.path().join("key.pem") };
        let replace = |path: &Path, text: &str| {
            crate::private_file::replace(path, text.as_bytes(), 0o600).expect("written");
        };
        replace(&files.cert, "one");
        replace(&files.key, "one");
        let (seen, mut former) = (Surroundings::default(), None);
        assert!(!seen.certificate_has_changed(&mut former), "none is shown");
        let stamp = Stamp::of(&files);
        seen.set_certificate(ShownCertificate { files: files.clone(), stamp, end: None });
        let mut looks =
            |count: usize| (0..count).map(|_| seen.certificate_has_changed(&mut former)).collect::<Vec<_>>();
        assert_eq!(looks(3), [false; 3]);
        replace(&files.cert, "two");
        assert_eq!(looks(1), [false], "the key may still be the former one");
        replace(&files.key, "two");
        assert_eq!(looks(4), [false, true, false, false]);
        // A key that its owner could not read comes to be readable.
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o640)).expect("chmod");
        assert_eq!(looks(3), [false, true, false]);
        std::fs::remove_file(&files.key).expect("removed");
        assert_eq!(looks(3), [false, true, false]);
    }
}
