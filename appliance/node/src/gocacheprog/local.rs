//! The outputs of builds in a directory of this machine.
//!
//! | file | holds |
//! |---|---|
//! | `o/ab/<64 hex>` | an output, named by its SHA-256 |
//! | `a/ab/<64 hex>` | `v1 <output id> <SHA-256> <length> <time>` of the action whose id has this SHA-256 |
//! | `t/<pid>-<n>` | an output on its way |
//! | `trimmed` | its change time is that of the last trimming |
//!
//! Invariant: a file below `o` and `a` gets its name when it is whole, so processes that share the directory see whole files only. What
//! was not used for five days goes, as in go's own cache; what is used gets a new change time at most once an hour.
//! Leaves to remote/: what other machines have built.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws::encoding::{hex, unhex};
use aws::time::Timestamp;
use hash::Sha256;

/// How long an output is kept after its last use.
const UNUSED_MAX: Duration = Duration::from_secs(5 * 86_400);
/// How old a change time may be before a use renews it.
const TOUCH_AFTER: Duration = Duration::from_secs(3_600);
/// How often unused outputs are looked for.
const TRIM_EVERY: Duration = Duration::from_secs(86_400);
/// The longest record of an action.
const RECORD_BYTES_MAX: u64 = 512;

/// The directory.
pub struct Local {
    dir: PathBuf,
    next: AtomicU64,
}

/// An output that is here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What go calls it.
    pub output: Vec<u8>,
    /// The SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// How many bytes it has.
    pub length: u64,
    /// When it was built.
    pub put_at: Timestamp,
    /// Where its bytes are.
    pub path: PathBuf,
}

/// An output on its way. Its file goes with it unless it is kept.
pub struct Incoming {
    path: PathBuf,
    file: Option<File>,
    digest: Sha256,
    length: u64,
}

impl Incoming {
    /// Takes the next bytes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.as_mut().expect("only keep takes the file, and the value with it").write_all(bytes)?;
        self.digest.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            drop(fs::remove_file(&self.path));
        }
    }
}

impl Local {
    /// Opens the directory, which is made if it is not there, and begins to trim it beside the build if that is due.
    pub fn open(dir: &Path) -> io::Result<Local> {
        // Answers name files, and the go command may run elsewhere.
        let dir = std::path::absolute(dir)?;
        for part in ["a", "o", "t"] {
            fs::create_dir_all(dir.join(part))?;
        }
        if age(&dir.join("trimmed")).is_none_or(|age| age > TRIM_EVERY) {
            File::create(dir.join("trimmed"))?;
            let dir = dir.clone();
            // A process that ends before it is through leaves the rest to the next day's.
            drop(std::thread::Builder::new().name("trim".into()).spawn(move || trim(&dir)));
        }
        Ok(Local { dir, next: AtomicU64::new(0) })
    }

    /// The output of an action, if it is here. A record that cannot be read is none.
    pub fn get(&self, action: &[u8]) -> Option<Entry> {
        let record = self.record_of(action);
        let is_small = fs::metadata(&record).is_ok_and(|file| file.len() <= RECORD_BYTES_MAX);
        let text = if is_small { fs::read_to_string(&record).ok()? } else { return None };
        let mut words = text.split_ascii_whitespace();
        if words.next() != Some("v1") {
            return None;
        }
        let output = unhex_any(words.next()?)?;
        let sha256 = unhex::<32>(words.next()?.as_bytes())?;
        let length = words.next()?.parse().ok()?;
        let put_at = Timestamp::parse_iso8601(words.next()?.as_bytes())?;
        let path = self.path_of(&sha256);
        if fs::metadata(&path).ok()?.len() != length {
            return None;
        }
        touch(&record);
        touch(&path);
        Some(Entry { output, sha256, length, put_at, path })
    }

    /// The begin of a new output.
    pub fn incoming(&self) -> io::Result<Incoming> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join("t").join(format!("{}-{number}", std::process::id()));
        let file = Some(File::create(&path)?);
        Ok(Incoming { path, file, digest: Sha256::new(), length: 0 })
    }

    /// Makes an output that is whole that of an action.
    pub fn keep(&self, incoming: Incoming, action: &[u8], output: &[u8]) -> io::Result<Entry> {
        self.keep_built(incoming, action, output, None, now())?
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The same for an output that was built at `put_at`. None, and nothing is kept, if its bytes are not those of `expected`.
    pub fn keep_built(
        &self,
        mut incoming: Incoming,
        action: &[u8],
        output: &[u8],
        expected: Option<&[u8; 32]>,
        put_at: Timestamp,
    ) -> io::Result<Option<Entry>> {
        let sha256 = std::mem::replace(&mut incoming.digest, Sha256::new()).finish();
        if expected.is_some_and(|expected| *expected != sha256) {
            return Ok(None);
        }
        let length = incoming.length;
        let path = self.path_of(&sha256);
        place(&incoming.path, &path)?;
        // It has its name: there is nothing left to remove.
        drop(incoming.file.take());
        let text = format!("v1 {} {} {length} {}\n", hex(output), hex(&sha256), put_at.to_iso8601());
        let mut record = self.incoming()?;
        record.write(text.as_bytes())?;
        place(&record.path, &self.record_of(action))?;
        drop(record.file.take());
        Ok(Some(Entry { output: output.to_vec(), sha256, length, put_at, path }))
    }

    fn path_of(&self, sha256: &[u8; 32]) -> PathBuf {
        let name = hex(sha256);
        self.dir.join("o").join(&name[..2]).join(name)
    }

    fn record_of(&self, action: &[u8]) -> PathBuf {
        let name = hex(&hash::sha256(action));
        self.dir.join("a").join(&name[..2]).join(name)
    }
}

/// The time of day.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn unhex_any(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| unhex::<1>(pair).map(|[byte]| byte)).collect()
}

/// Gives a whole file its name, in a directory that may be new.
fn place(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(to.parent().expect("a name below the directory"))?;
            fs::rename(from, to)
        }
        other => other,
    }
}

/// How long ago a file was changed; None if it is not there.
fn age(path: &Path) -> Option<Duration> {
    // A file of the future is a new one.
    Some(fs::metadata(path).ok()?.modified().ok()?.elapsed().unwrap_or_default())
}

/// Says that a file was used. That fails where the directory is read only, and then nothing is trimmed either.
fn touch(path: &Path) {
    if age(path).is_some_and(|age| age > TOUCH_AFTER)
        && let Ok(file) = File::options().write(true).open(path)
    {
        drop(file.set_modified(SystemTime::now()));
    }
}

/// Removes what was not used for long.
fn trim(dir: &Path) {
    for part in ["a", "o"] {
        for directory in entries(&dir.join(part)) {
            remove_unused(&directory);
        }
    }
    remove_unused(&dir.join("t"));
}

fn remove_unused(directory: &Path) {
    for path in entries(directory) {
        if age(&path).is_some_and(|age| age > UNUSED_MAX) {
            // Another process may have been first.
            drop(fs::remove_file(path));
        }
    }
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Directory;

    fn put(local: &Local, action: &[u8], body: &[u8]) -> Entry {
        let mut incoming = local.incoming().unwrap();
        incoming.write(body).unwrap();
        local.keep(incoming, action, b"output").unwrap()
    }

    fn age_by(path: &Path, age: Duration) {
        File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
    }

    #[test]
    fn what_was_kept_is_found_by_another_process() {
        let scratch = Directory::new("go-local");
        let kept = put(&Local::open(scratch.path()).unwrap(), b"action", b"body");
        let found = Local::open(scratch.path()).unwrap().get(b"action").unwrap();
        assert_eq!(found, kept);
        assert_eq!(fs::read(&found.path).unwrap(), b"body");
        assert!(Local::open(scratch.path()).unwrap().get(b"other").is_none());
    }

    #[test]
    fn bytes_that_are_not_the_expected_ones_are_not_kept() {
        let scratch = Directory::new("go-expected");
        let local = Local::open(scratch.path()).unwrap();
        let mut incoming = local.incoming().unwrap();
        incoming.write(b"body").unwrap();
        let kept =
            local.keep_built(incoming, b"action", b"o", Some(&hash::sha256(b"bodz")), Timestamp(0)).unwrap();
        assert!(kept.is_none() && local.get(b"action").is_none());
        assert_eq!(entries(&scratch.path().join("t")).count(), 0);
    }

    #[test]
    fn a_record_without_its_output_or_with_a_cut_one_is_a_miss() {
        let scratch = Directory::new("go-cut");
        let local = Local::open(scratch.path()).unwrap();
        let entry = put(&local, b"action", b"body");
        fs::write(&entry.path, b"bod").unwrap();
        assert!(local.get(b"action").is_none());
        fs::remove_file(&entry.path).unwrap();
        assert!(local.get(b"action").is_none());
        for text in ["", "v1", "v2 00 00 1 x", "v1 0g 00 4 2026-01-01T00:00:00Z", "\u{fffd}"] {
            fs::write(local.record_of(b"action"), text).unwrap();
            assert!(local.get(b"action").is_none(), "{text}");
        }
    }

    #[test]
    fn trimming_removes_what_was_not_used_for_five_days() {
        let scratch = Directory::new("go-trim");
        // Trimmed already, as far as `open` knows: it would trim beside this.
        fs::write(scratch.path().join("trimmed"), "").unwrap();
        let local = Local::open(scratch.path()).unwrap();
        let (old, used) = (put(&local, b"old", b"old body"), put(&local, b"used", b"used body"));
        for path in [&old.path, &local.record_of(b"old"), &used.path, &local.record_of(b"used")] {
            age_by(path, UNUSED_MAX + Duration::from_secs(60));
        }
        assert!(local.get(b"used").is_some(), "which renews it");
        trim(scratch.path());
        assert!(local.get(b"used").is_some());
        assert!(local.get(b"old").is_none() && !old.path.exists() && !local.record_of(b"old").exists());
    }
}
