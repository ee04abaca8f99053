//! Files that hold secrets: who may read them, and how they come to be.
//! Invariant: a secret is read only from a file that nobody else can read, and is written only into a file that was
//! private from its first byte.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt as _};
use std::path::Path;

use crate::exit::Failure;

/// What this process makes from now on, nobody else reads: the files of the store have no mode of their own.
pub fn keep_private() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// Refuses a file with a secret in it that others may read. A group counts as us when we are in it, as under
/// Kubernetes' fsGroup and for a configuration file of mode 0640 root:zerocloud.
pub fn check(path: &Path) -> Result<(), Failure> {
    let metadata = std::fs::metadata(path)
        .map_err(|error| Failure::configuration(format!("{}: cannot be read: {error}", path.display())))?;
    let us = rustix::process::geteuid().as_raw();
    let mode = metadata.mode() & 0o777;
    let refuse = |who: &str, mend: &str| {
        let path = path.display();
        Err(Failure::configuration(format!(
            "{path}: holds a secret and {who} (mode {mode:04o}); run: {mend} {path}"
        )))
    };
    if mode & 0o007 != 0 {
        return refuse("others may read it", "chmod o= ");
    }
    if mode & 0o070 != 0 && !our_groups().contains(&metadata.gid()) && us != 0 {
        return refuse("a group that is not ours may read it", "chmod g= ");
    }
    if metadata.uid() != us && metadata.uid() != 0 && us != 0 {
        return refuse("it belongs to another user", "chown \"$(id -u)\" ");
    }
    Ok(())
}

fn our_groups() -> Vec<u32> {
    let mut groups: Vec<u32> =
        rustix::process::getgroups().unwrap_or_default().into_iter().map(|group| group.as_raw()).collect();
    groups.push(rustix::process::getegid().as_raw());
    groups
}

/// Puts a whole file in place at once: temporary, sync, rename, sync of the directory. After a crash the name holds all
/// of the old text or all of the new.
pub fn replace(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_os_string();
    name.push(".new");
    let temporary = directory.join(name);
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        // A rest of an earlier attempt: never renamed, so nobody has seen it.
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    // Also under a mask that takes some of it away.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_that_others_may_read_is_refused_with_the_mend() {
        let directory = crate::scratch::Directory::new("private");
        let path = directory.path().join("secret.toml");
        std::fs::write(&path, "x").expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("chmod");
        let failure = check(&path).expect_err("refused");
        assert!(failure.message.contains("chmod"), "{failure}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
        check(&path).expect("accepted");
    }

    #[test]
    fn a_mode_is_given_whatever_the_mask_takes_away() {
        let directory = crate::scratch::Directory::new("mask");
        let path = directory.path().join("ca.pem");
        keep_private();
        std::fs::write(directory.path().join("log"), "").expect("written");
        replace(&path, b"for everybody", 0o644).expect("written");
        let mode = |name: &str| std::fs::metadata(directory.path().join(name)).expect("stat").mode() & 0o777;
        assert_eq!((mode("log"), mode("ca.pem")), (0o600, 0o644));
    }

    #[test]
    fn replace_leaves_no_temporary_and_sets_the_mode() {
        let directory = crate::scratch::Directory::new("replace");
        let path = directory.path().join("file");
        std::fs::write(directory.path().join("file.new"), "rest of a crash").expect("written");
        replace(&path, b"one", 0o600).expect("first");
        replace(&path, b"two", 0o600).expect("second");
        assert_eq!(std::fs::read(&path).expect("read"), b"two");
        assert_eq!(std::fs::metadata(&path).expect("stat").mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(directory.path()).expect("list").count(), 1);
    }
}
