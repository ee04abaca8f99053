//! Whose the data directory is, where root calls a command on it: what root made there, its owner could not open.
//! Invariant: no file in another user's data directory is made by root.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{Gid, Uid};

use crate::exit::Failure;

/// Root over a directory of another user works as that user, to whom everything then belongs. Gives whether it does so. For commands
/// that need nothing else of root, before they start a thread.
pub fn become_owner(data: &Path) -> Result<bool, Failure> {
    let Ok(metadata) = std::fs::metadata(data) else { return Ok(false) };
    if !rustix::process::geteuid().is_root() || metadata.uid() == 0 {
        return Ok(false);
    }
    let (user, group) = (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()));
    // No other thread has begun; those that do are of the same user.
    rustix::thread::set_thread_groups(&[group])
        .and_then(|()| rustix::thread::set_thread_gid(group))
        .and_then(|()| rustix::thread::set_thread_uid(user))
        .map_err(|error| {
            let data = data.display();
            Failure::configuration(format!(
                "{data}: belongs to user {}, whom this process cannot become: {error}; run it as that user",
                metadata.uid()
            ))
        })?;
    Ok(true)
}

/// As `become_owner`, wherever the directory lies: what leads to it may be closed to its owner, as for a copy in root's home. Gives
/// the path by which it is reached from now on.
pub fn become_owner_within(data: &Path) -> Result<PathBuf, Failure> {
    let is_other = std::fs::metadata(data).is_ok_and(|metadata| metadata.uid() != 0);
    if !rustix::process::geteuid().is_root() || !is_other {
        return Ok(data.to_owned());
    }
    std::env::set_current_dir(data)
        .map_err(|error| Failure::storage(format!("{}: cannot be entered: {error}", data.display())))?;
    become_owner(data)?;
    Ok(PathBuf::from("."))
}

/// Refuses root where another user has stored already. The node itself does not become that user: it may need root's rights for its
/// ports and for the key of its certificate, now and with every reload.
pub fn refuse_root(data: &Path) -> Result<(), Failure> {
    let owner = std::fs::metadata(data.join(store::format::FORMAT_NAME)).map_or(0, |metadata| metadata.uid());
    if !is_wrong(rustix::process::geteuid().as_raw(), owner) {
        return Ok(());
    }
    let data = data.display();
    Err(Failure::configuration(format!(
        "{data}: belongs to user {owner}, who could not open what root writes there; start its service (systemctl start zerocloud) \
         or run this as that user: setpriv --reuid {owner} --clear-groups zerocloud serve --data {data}"
    )))
}

fn is_wrong(process: u32, owner: u32) -> bool {
    process == 0 && owner != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_is_refused_and_only_over_what_another_user_stored() {
        assert!(is_wrong(0, 999));
        assert!(!is_wrong(0, 0));
        assert!(!is_wrong(999, 999));
        // The kernel refuses what it must not touch.
        assert!(!is_wrong(1_000, 999));
        let directory = crate::scratch::Directory::new("owner");
        refuse_root(directory.path()).expect("nobody has stored");
    }
}
