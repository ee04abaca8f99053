//! The `[cache]` table and its environment variables: how large the build cache may grow, for how long it keeps what nobody
//! asks for, and who may enter.
//! Invariant: a `Cache` is complete; whether anonymous requests come in is said once and by name.
//! Leaves to services.rs: what a share of the disk is in bytes.

use std::time::Duration;

use aws::account::Secret;
use tokens::Anonymous;

use super::document::{Located, Section};
use crate::exit::Failure;

/// The table as it was written, or the environment's share of it.
#[derive(Clone, Debug, Default)]
pub struct CacheSettings {
    /// How large the cache may grow.
    pub max_bytes: Option<Size>,
    /// Days without an access after which a blob goes.
    pub retention_days: Option<u64>,
    /// Days after which a blob goes whoever uses it.
    pub max_age_days: Option<u64>,
    /// How long a hit promises what it names.
    pub lease_seconds: Option<u64>,
    /// The longest blob.
    pub max_object_bytes: Option<u64>,
    /// Days within which every blob is read again; 0: none is.
    pub scrub_days: Option<u64>,
    /// Bytes a second that are read for it at most.
    pub scrub_rate: Option<u64>,
    /// Whether requests need a token.
    pub auth_required: Option<bool>,
    /// Whether those without one may read.
    pub anonymous_reads: Option<bool>,
    /// How long a lookup may take until its first byte.
    pub first_byte_ms: Option<u64>,
    /// Requests to objects that an address may send in a minute.
    pub host_requests_per_minute: Option<u64>,
    /// Bounds of single namespaces.
    pub namespaces: Vec<Namespace>,
    /// A token that reads, from the environment only.
    pub read_token: Option<Secret>,
    /// A token that reads and writes, from the environment only.
    pub write_token: Option<Secret>,
}

/// A namespace and its bounds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Namespace {
    /// 1 to 64 of a-z, 0-9, `.`, `_`, `-`, the first a letter or a digit.
    pub name: String,
    /// Bytes that it may hold.
    pub max_bytes: Option<u64>,
    /// Blobs and keys that it may hold.
    pub max_objects: Option<u64>,
    /// Requests that it may have in a second.
    pub requests_per_second: Option<u64>,
    /// Body bytes that may come and leave in a second.
    pub bytes_per_second: Option<u64>,
    /// Days without an access after which what it holds goes.
    pub retention_days: Option<u64>,
    /// Days after which what it holds goes whoever uses it.
    pub max_age_days: Option<u64>,
}

/// The settings of the build cache with their defaults.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cache {
    /// How large it may grow. None: `SIZE_BYTES_DEFAULT`, or half of the disk where that is less.
    pub max_bytes: Option<Size>,
    /// How long it keeps what nobody asks for.
    pub retention: Duration,
    /// How long it keeps anything.
    pub max_age: Option<Duration>,
    /// How long a hit promises what it names.
    pub lease: Duration,
    /// The longest blob.
    pub max_object_bytes: u64,
    /// Within which time every blob is read again.
    pub scrub: Option<Duration>,
    /// Bytes a second that are read for it at most.
    pub scrub_rate: u64,
    /// Requests without a token.
    pub anonymous: Anonymous,
    /// How long a lookup may take until its first byte; what takes longer is shed.
    pub first_byte: Duration,
    /// Requests to objects that an address may send in a minute. None: as many as it likes, since such a bound stops real builds.
    pub host_requests_per_minute: Option<u64>,
    /// Bounds of single namespaces.
    pub namespaces: Vec<Namespace>,
    /// A token that reads.
    pub read_token: Option<Secret>,
    /// A token that reads and writes.
    pub write_token: Option<Secret>,
}

/// A number of bytes, or a share of the disk below the data directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of the disk.
    Percent(u8),
}

/// How large the cache may grow where nobody says.
pub const SIZE_BYTES_DEFAULT: u64 = 100_000_000_000;
/// A smaller cache could not hold the common build.
const SIZE_BYTES_MIN: u64 = 1 << 20;
/// A cache that takes all of a disk takes what the log and the index need.
const PERCENT_MAX: u8 = 95;
const DAYS_MAX: u64 = 36_500;
const RETENTION_DAYS_DEFAULT: u64 = 90;
const LEASE_SECONDS_DEFAULT: u64 = 1_800;
/// A build that waits longer than this for its cache had better done without.
const FIRST_BYTE_MS_DEFAULT: u64 = 250;
/// The longest that may be set.
pub const FIRST_BYTE_MS_MAX: u64 = 600_000;
const LEASE_SECONDS_MAX: u64 = 86_400;
const OBJECT_BYTES_DEFAULT: u64 = 16 << 30;
const SCRUB_DAYS_DEFAULT: u64 = 14;
const SCRUB_RATE_DEFAULT: u64 = 64 << 20;
/// The bounds of single namespaces.
const NAMESPACES_MAX: usize = 1_000;
/// More requests than this no machine answers.
const RATE_MAX: u64 = 100_000_000;
const OBJECTS_MAX: u64 = 1_000_000_000_000;
const DAY_SECONDS: u64 = 86_400;

impl Cache {
    /// The environment's word beats the file's, key by key. Errors: settings that contradict each other.
    pub fn complete(environment: CacheSettings, file: CacheSettings) -> Result<Cache, Failure> {
        macro_rules! pick {
            ($key:ident) => {
                environment.$key.or(file.$key)
            };
        }
        let anonymous = match (pick!(auth_required), pick!(anonymous_reads)) {
            (Some(false), Some(false)) => {
                return Err(Failure::configuration(
                    "cache.auth_required (AUTH_REQUIRED) is false and cache.anonymous is \"none\"; remove one of them",
                ));
            }
            (Some(false), _) => Anonymous::Writes,
            (_, Some(true)) => Anonymous::Reads,
            (_, _) => Anonymous::Refused,
        };
        let (read_token, write_token) = (pick!(read_token), pick!(write_token));
        if read_token.is_some() && read_token == write_token {
            return Err(Failure::configuration(
                "ZIM_CACHE_READ_TOKEN and ZIM_CACHE_WRITE_TOKEN are the same; who may only read could write",
            ));
        }
        Ok(Cache {
            max_bytes: pick!(max_bytes),
            retention: days(pick!(retention_days).unwrap_or(RETENTION_DAYS_DEFAULT)),
            max_age: pick!(max_age_days).map(days),
            lease: Duration::from_secs(pick!(lease_seconds).unwrap_or(LEASE_SECONDS_DEFAULT)),
            max_object_bytes: pick!(max_object_bytes).unwrap_or(OBJECT_BYTES_DEFAULT),
            scrub: Some(pick!(scrub_days).unwrap_or(SCRUB_DAYS_DEFAULT)).filter(|count| *count > 0).map(days),
            scrub_rate: pick!(scrub_rate).unwrap_or(SCRUB_RATE_DEFAULT),
            anonymous,
            first_byte: Duration::from_millis(pick!(first_byte_ms).unwrap_or(FIRST_BYTE_MS_DEFAULT)),
            host_requests_per_minute: file.host_requests_per_minute,
            namespaces: file.namespaces,
            read_token,
            write_token,
        })
    }
}

/// So many days.
pub fn days(count: u64) -> Duration {
    Duration::from_secs(count * DAY_SECONDS)
}

/// Reads the table.
pub fn read_cache(mut table: Section<'_>) -> Result<CacheSettings, Failure> {
    let max_bytes = table.size("max_bytes")?.map(|text| located(&table, &text, parse_size)).transpose()?;
    let object = table.size("max_object_size")?;
    let scrub_rate = table.size("scrub_rate")?;
    let settings = CacheSettings {
        max_bytes,
        retention_days: table.number("retention_days", 1, DAYS_MAX)?,
        max_age_days: table.number("max_age_days", 1, DAYS_MAX)?,
        lease_seconds: table.number("lease_seconds", 1, LEASE_SECONDS_MAX)?,
        max_object_bytes: object.map(|text| located(&table, &text, parse_bytes)).transpose()?,
        scrub_days: table.number("scrub_days", 0, DAYS_MAX)?,
        scrub_rate: scrub_rate.map(|text| located(&table, &text, parse_bytes)).transpose()?,
        auth_required: table.flag("auth_required")?,
        anonymous_reads: table
            .text("anonymous")?
            .map(|text| located(&table, &text, parse_anonymous))
            .transpose()?,
        first_byte_ms: table.number("first_byte_ms", 1, FIRST_BYTE_MS_MAX)?,
        host_requests_per_minute: table.number("host_requests_per_minute", 1, RATE_MAX)?,
        namespaces: read_namespaces(&mut table)?,
        ..CacheSettings::default()
    };
    table.finish()?;
    Ok(settings)
}

fn read_namespaces(table: &mut Section<'_>) -> Result<Vec<Namespace>, Failure> {
    let mut namespaces: Vec<Namespace> = Vec::new();
    for (offset, mut entry) in table.tables("namespace")? {
        let name = entry.required_text("name", offset)?;
        let name = located(&entry, &name, parse_namespace)?;
        if namespaces.iter().any(|other| other.name == name) {
            return Err(entry.refuse(offset, &format!("namespace `{name}` is listed twice")));
        }
        if namespaces.len() == NAMESPACES_MAX {
            return Err(entry.refuse(offset, &format!("more than {NAMESPACES_MAX} namespaces are listed")));
        }
        let size = entry.size("max_bytes")?;
        let rate = entry.size("bytes_per_second")?;
        namespaces.push(Namespace {
            name,
            max_bytes: size.map(|text| located(&entry, &text, parse_bytes)).transpose()?,
            max_objects: entry.number("max_objects", 1, OBJECTS_MAX)?,
            requests_per_second: entry.number("requests_per_second", 1, RATE_MAX)?,
            bytes_per_second: rate.map(|text| located(&entry, &text, parse_bytes)).transpose()?,
            retention_days: entry.number("retention_days", 1, DAYS_MAX)?,
            max_age_days: entry.number("max_age_days", 1, DAYS_MAX)?,
        });
        entry.finish()?;
    }
    Ok(namespaces)
}

fn located<T>(
    section: &Section<'_>,
    text: &Located<String>,
    parse: fn(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    parse(&text.value).map_err(|message| section.refuse(text.offset, &message))
}

/// `100GB` (10^9), `100GiB` (2^30), a number of bytes, or `20%` of the disk.
pub fn parse_size(text: &str) -> Result<Size, String> {
    if let Some(percent) = text.trim().strip_suffix('%') {
        let percent = percent.trim_end().parse().ok().filter(|percent| (1..=PERCENT_MAX).contains(percent));
        return percent
            .map(Size::Percent)
            .ok_or_else(|| format!("size `{}` must be from 1% to {PERCENT_MAX}%", shown(text)));
    }
    parse_bytes(text).map(Size::Bytes)
}

/// `100GB` (10^9), `100GiB` (2^30), or a number of bytes.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || {
        format!(
            "size `{}` must be like 100GB, 1.5TB, 512MiB or a number of bytes, at least 1MiB",
            shown(text)
        )
    };
    let number = text.trim();
    let end = number.bytes().position(|byte| byte.is_ascii_alphabetic()).unwrap_or(number.len());
    let (number, unit) = number.split_at(end);
    let factor = UNITS.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name)).map(|(_, factor)| *factor);
    let bytes = factor.and_then(|factor| times(number.trim_end(), factor));
    bytes.filter(|bytes| *bytes >= SIZE_BYTES_MIN).ok_or_else(wrong)
}

/// Amazon's and the disk makers' thousands, and the binary ones. `K` alone would leave open which it is.
const UNITS: [(&str, u64); 12] = [
    ("", 1),
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
];

/// A decimal number times `factor`, rounded down. None: no number, or one beyond 64 bits.
fn times(number: &str, factor: u64) -> Option<u64> {
    /// Digits behind the point that can make a difference of a byte in a terabyte.
    const FRACTION_DIGITS_MAX: usize = 12;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || fraction.len() > FRACTION_DIGITS_MAX {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let digits = whole.parse::<u128>().ok()?.checked_mul(scale)?.checked_add(fraction.parse().ok()?)?;
    u64::try_from(digits.checked_mul(u128::from(factor))? / scale).ok()
}

/// Days of retention, for the environment.
pub fn parse_days(text: &str) -> Result<u64, String> {
    let days = text.parse().ok().filter(|days| (1..=DAYS_MAX).contains(days));
    days.ok_or_else(|| format!("must be a whole number from 1 to {DAYS_MAX}"))
}

/// A token of the environment; the message does not repeat it.
pub fn parse_token(text: &str) -> Result<Secret, String> {
    let good = (1..=512).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if good { Ok(Secret::new(text)) } else { Err("must be 1 to 512 visible ASCII characters".into()) }
}

/// A namespace: 1 to 64 of a-z, 0-9, `.`, `_`, `-`, the first a letter or a digit.
pub fn parse_namespace(text: &str) -> Result<String, String> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let good = (1..=64).contains(&text.len())
        && text.bytes().all(inner)
        && text.as_bytes()[0].is_ascii_alphanumeric();
    if good {
        Ok(text.into())
    } else {
        Err(format!(
            "namespace `{}` must be 1 to 64 of a-z, 0-9, . _ -, and begin with a letter or a digit",
            shown(text)
        ))
    }
}

fn parse_anonymous(text: &str) -> Result<bool, String> {
    match text {
        "none" => Ok(false),
        "read" => Ok(true),
        _ => Err(format!("anonymous `{}` must be \"none\" or \"read\"", shown(text))),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect::<String>().escape_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_thousands_and_in_powers_of_two() {
        for (text, bytes) in [
            ("100GB", 100_000_000_000),
            ("100 GB", 100_000_000_000),
            ("100gb", 100_000_000_000),
            ("1.5TB", 1_500_000_000_000),
            ("512MiB", 512 << 20),
            ("1.5GiB", 3 << 29),
            ("1048576", 1 << 20),
            ("1048576B", 1 << 20),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse_size("20%"), Ok(Size::Percent(20)));
        for bad in [
            "",
            "GB",
            "1G",
            "100 G B",
            "-1GB",
            "1e9",
            "1048575",
            "1.GB",
            ".5GB",
            "1,5GB",
            "99999PB",
            "1GBx",
            "1.0000000000001TB",
        ] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
        for bad in ["0%", "96%", "%", "1.5%", "300%"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn anonymous_requests_come_in_only_by_name() {
        let of = |auth_required, anonymous_reads| {
            let file = CacheSettings { auth_required, anonymous_reads, ..CacheSettings::default() };
            Cache::complete(CacheSettings::default(), file).map(|cache| cache.anonymous)
        };
        assert_eq!(of(None, None).expect("consistent"), Anonymous::Refused);
        assert_eq!(of(Some(true), Some(true)).expect("consistent"), Anonymous::Reads);
        assert_eq!(of(None, Some(true)).expect("consistent"), Anonymous::Reads);
        assert_eq!(of(Some(false), None).expect("consistent"), Anonymous::Writes);
        assert_eq!(of(Some(false), Some(true)).expect("consistent"), Anonymous::Writes);
        assert!(of(Some(false), Some(false)).is_err());
    }

    #[test]
    fn the_two_tokens_of_the_environment_differ() {
        let token = |text: &str| Some(parse_token(text).expect("visible"));
        let both = |read, write| {
            let environment =
                CacheSettings { read_token: read, write_token: write, ..CacheSettings::default() };
            Cache::complete(environment, CacheSettings::default())
        };
        assert!(both(token("one"), token("two")).is_ok());
        assert!(both(token("one"), token("one")).is_err());
        assert!(both(None, None).is_ok());
        assert!(parse_token("two words").is_err());
    }
}
