//! The root key: made once, kept in `DATA/credentials` in AWS profile form, never printed but by `env`.
//! Invariant: the file appears whole or not at all, private from its first byte, and is never written a second time.

use std::path::{Path, PathBuf};

use aws::account::Secret;

use crate::config::{parse_access_key, parse_secret_key};
use crate::exit::Failure;
use crate::private_file;

/// The key that may do everything in the root account.
#[derive(Clone, Debug)]
pub struct RootKey {
    /// The public half.
    pub access_key: String,
    /// The private half.
    pub secret_key: Secret,
    /// Where it came from.
    pub source: KeySource,
}

/// Where the root key came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeySource {
    /// `ZEROCLOUD_ROOT_ACCESS_KEY` and `ZEROCLOUD_ROOT_SECRET_KEY`.
    Environment,
    /// The file, as it was.
    File,
    /// The file, written just now.
    FirstStart,
}

/// The credentials file of a data directory.
pub fn path(data: &Path) -> PathBuf {
    data.join("credentials")
}

/// Reads the root key, or makes it. The caller holds the lock of the data directory.
pub fn load_or_make(data: &Path, over: Option<(String, Secret)>) -> Result<RootKey, Failure> {
    if let Some(key) = load(data, over)? {
        return Ok(key);
    }
    let path = path(data);
    let (access_key, secret) = draw()?;
    let text = format!(
        "# The root key of this ZeroCloud data directory, made at its first start. Keep it secret.\n\
         # To use it: eval \"$(zerocloud env --data DIR)\", or AWS_SHARED_CREDENTIALS_FILE=this file.\n\
         [default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret}\n"
    );
    private_file::replace(&path, text.as_bytes(), 0o600).map_err(|error| {
        let path = path.display();
        Failure::storage(format!(
            "{path}: cannot be written: {error}; give this user write access to the data directory"
        ))
    })?;
    Ok(RootKey { access_key, secret_key: Secret::new(secret), source: KeySource::FirstStart })
}

/// Reads the root key; None when there is none yet.
pub fn load(data: &Path, over: Option<(String, Secret)>) -> Result<Option<RootKey>, Failure> {
    if let Some((access_key, secret_key)) = over {
        return Ok(Some(RootKey { access_key, secret_key, source: KeySource::Environment }));
    }
    let path = path(data);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            private_file::check(&path)?;
            let (access_key, secret_key) = parse(&path, &text)?;
            Ok(Some(RootKey { access_key, secret_key, source: KeySource::File }))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::configuration(format!("{}: cannot be read: {error}", path.display()))),
    }
}

/// Reads profile form. Messages name the line and show nothing of it.
fn parse(path: &Path, text: &str) -> Result<(String, Secret), Failure> {
    let refuse =
        |line: usize, message: &str| Failure::configuration(format!("{}:{line}: {message}", path.display()));
    let (mut access, mut secret, mut in_default) = (None, None, false);
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            in_default = name.trim_end_matches(']').trim() == "default";
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            return Err(refuse(number, "is neither a profile, a `key = value` line nor a comment"));
        };
        if !in_default {
            continue;
        }
        match key.trim() {
            "aws_access_key_id" => {
                access = Some(parse_access_key(value.trim()).map_err(|m| refuse(number, &m))?)
            }
            "aws_secret_access_key" => {
                secret = Some(parse_secret_key(value.trim()).map_err(|m| refuse(number, &m))?)
            }
            // Users add `region` and the like for their tools; those are not ours to judge.
            _ => {}
        }
    }
    match (access, secret) {
        (Some(access), Some(secret)) => Ok((access, Secret::new(secret))),
        _ => Err(refuse(
            1,
            "profile [default] needs aws_access_key_id and aws_secret_access_key; remove the file to have a new key made",
        )),
    }
}

/// Draws a key of the shape that AWS tools expect: 20 capitals and digits, 40 characters of base64.
fn draw() -> Result<(String, String), Failure> {
    const CAPITALS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // 32 and 64 divide 256, so each character is drawn evenly.
    let access: String =
        random_bytes::<16>()?.iter().map(|b| char::from(CAPITALS[usize::from(b % 32)])).collect();
    let secret: String =
        random_bytes::<40>()?.iter().map(|b| char::from(BASE64[usize::from(b % 64)])).collect();
    Ok((format!("ZCLD{access}"), secret))
}

fn random_bytes<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    crate::random::fill(&mut bytes)
        .map_err(|error| Failure::storage(format!("the kernel gives no random bytes: {error}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn the_key_is_made_once_and_is_private() {
        let directory = crate::scratch::Directory::new("credentials");
        let made = load_or_make(directory.path(), None).expect("made");
        assert_eq!(made.source, KeySource::FirstStart);
        assert_eq!((made.access_key.len(), made.secret_key.reveal().len()), (20, 40));
        let mode = std::fs::metadata(path(directory.path())).expect("there").mode();
        assert_eq!(mode & 0o777, 0o600);
        let read = load_or_make(directory.path(), None).expect("read");
        assert_eq!(read.source, KeySource::File);
        assert_eq!(read.access_key, made.access_key);
        assert_eq!(read.secret_key.reveal(), made.secret_key.reveal());
    }

    #[test]
    fn a_damaged_file_is_refused_by_line_and_not_shown() {
        let directory = crate::scratch::Directory::new("damaged");
        let file = path(directory.path());
        std::fs::write(&file, "[default]\naws_access_key_id = AKEY1\nhunter2hunter2\n").expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("chmod");
        let failure = load(directory.path(), None).expect_err("refused");
        assert!(failure.message.contains("credentials:3:"), "{failure}");
        assert!(!failure.message.contains("hunter2"));
    }

    #[test]
    fn other_profiles_and_settings_are_left_alone() {
        let text = "[other]\naws_access_key_id = NOPE\n[default]\nregion = x\naws_access_key_id=AKEY1\naws_secret_access_key=secretsecret\n";
        let (access, secret) = parse(Path::new("f"), text).expect("valid");
        assert_eq!((access.as_str(), secret.reveal()), ("AKEY1", "secretsecret"));
    }

    #[test]
    fn the_environment_overrides_and_writes_nothing() {
        let directory = crate::scratch::Directory::new("override");
        let over = Some(("AKEY1".to_string(), Secret::new("secretsecret")));
        let key = load_or_make(directory.path(), over).expect("taken");
        assert_eq!(key.source, KeySource::Environment);
        assert!(!path(directory.path()).exists());
    }
}
