//! One source of settings (flags, environment, or file), each setting optional.
//! Invariant: a value that is present has been checked on its own; what depends on others is checked in mod.rs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws::account::{AccountId, CanonicalId, Secret};
use aws::sigv4::SigV2;

use super::cache::{CacheSettings, read_cache};
use super::document::{Located, Section, Source, Switch};
use super::{Account, Backend, Limits, LogSettings, S3Settings};
use crate::exit::Failure;
use crate::log::Level;

/// Settings of one source. None: this source does not say.
#[derive(Default, Debug)]
pub struct Layer {
    /// The data directory.
    pub data: Option<PathBuf>,
    /// Where to listen.
    pub listen: Option<Vec<SocketAddr>>,
    /// Shards of a new data directory.
    pub shards: Option<u16>,
    /// Whether each core's thread stays on its core.
    pub pin: Option<bool>,
    /// Certificate chain, PEM.
    pub tls_cert: Option<PathBuf>,
    /// Private key, PEM.
    pub tls_key: Option<PathBuf>,
    /// The region that clients must sign for.
    pub region: Option<String>,
    /// The root account.
    pub account_id: Option<AccountId>,
    /// The URL under which clients reach the appliance.
    pub public_url: Option<String>,
    /// Domains below which a host name's first part is a bucket.
    pub virtual_hosts: Option<Vec<String>>,
    /// How long a drain may take.
    pub drain_timeout: Option<Duration>,
    /// Serve from a network file system or FUSE all the same.
    pub allow_unsafe_filesystem: Option<bool>,
    /// Take bearer tokens and customer keys over plain HTTP beyond loopback.
    pub allow_plaintext: Option<bool>,
    /// Which reactor backend to use.
    pub backend: Option<Backend>,
    /// The log level.
    pub log_level: Option<Level>,
    /// Whether each request is logged.
    pub log_access: Option<bool>,
    /// Bounds on what clients may use.
    pub limits: Limits,
    /// Accounts besides root.
    pub accounts: Vec<Account>,
    /// The S3 service's table.
    pub s3: Option<S3Settings>,
    /// The build cache's table.
    pub cache: Option<CacheSettings>,
    /// Whether nothing but the build cache is served; said by the command, nowhere else.
    pub cache_only: bool,
    /// How long a lifecycle day lasts, 0 for a real one.
    pub day_seconds: Option<u64>,
}

/// Reads a configuration file into a layer. Errors: unreadable, readable by others while it holds a secret, not TOML, an
/// unknown key, a bad value; each names the line.
pub fn from_file(path: &Path) -> Result<Layer, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::configuration(format!("{}: cannot be read: {error}", path.display())))?;
    let layer = from_text(path, &text)?;
    if !layer.accounts.is_empty() {
        crate::private_file::check(path)?;
    }
    Ok(layer)
}

/// Reads the text of a configuration file.
pub fn from_text(path: &Path, text: &str) -> Result<Layer, Failure> {
    let source = Source { path, text };
    let document = source.parse()?;
    let mut top = Section::new(&source, "", document.get_ref());
    let mut layer = Layer::default();
    let beside = path.parent().unwrap_or(Path::new(""));
    let place = |text: Located<String>| beside.join(text.value);
    layer.data = top.text("data")?.map(place);
    if let Some(list) = top.list("listen")? {
        let parsed =
            list.iter().map(|text| located(&top, text, parse_address)).collect::<Result<Vec<_>, _>>()?;
        layer.listen = Some(parsed);
    }
    layer.shards = top.number("shards", 1, u64::from(SHARDS_MAX))?.map(|count| count as u16);
    layer.pin = top.flag("pin")?;
    layer.tls_cert = top.text("tls_cert")?.map(place);
    layer.tls_key = top.text("tls_key")?.map(place);
    layer.region = top.text("region")?.map(|text| located(&top, &text, parse_region)).transpose()?;
    layer.account_id =
        top.text("account_id")?.map(|text| located(&top, &text, parse_account_id)).transpose()?;
    layer.public_url = top.text("public_url")?.map(|text| located(&top, &text, parse_url)).transpose()?;
    if let Some(list) = top.list("virtual_hosts")? {
        let hosts = list.iter().map(|text| located(&top, text, parse_host)).collect::<Result<Vec<_>, _>>()?;
        layer.virtual_hosts = Some(hosts);
    }
    layer.drain_timeout = top.number("drain_timeout", 0, DRAIN_SECONDS_MAX)?.map(Duration::from_secs);
    layer.allow_unsafe_filesystem = top.flag("allow_unsafe_filesystem")?;
    layer.allow_plaintext = top.flag("allow_plaintext")?;
    layer.backend = top.text("backend")?.map(|text| located(&top, &text, parse_backend)).transpose()?;
    if let Some(table) = top.table("limits")? {
        layer.limits = read_limits(table)?;
    }
    if let Some(table) = top.table("log")? {
        let log = read_log(table)?;
        layer.log_level = log.level;
        layer.log_access = log.access;
    }
    for (offset, table) in top.tables("account")? {
        layer.accounts.push(read_account(table, offset)?);
    }
    if let Some(table) = top.table("s3")? {
        layer.s3 = Some(read_s3(table)?);
    }
    if let Some(table) = top.table("cache")? {
        layer.cache = Some(read_cache(table)?);
    }
    if let Some(mut table) = top.table("debug")? {
        layer.day_seconds = table.number("day_seconds", 0, 86_400)?;
        table.finish()?;
    }
    top.finish()?;
    Ok(layer)
}

fn located<T>(
    section: &Section<'_>,
    text: &Located<String>,
    parse: fn(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    parse(&text.value).map_err(|message| section.refuse(text.offset, &message))
}

fn read_limits(mut table: Section<'_>) -> Result<Limits, Failure> {
    let limits = Limits {
        connections: table.number("connections", 16, 10_000_000)?,
        head_bytes: table.number("head_bytes", 4_096, 1 << 20)?,
        body_idle_seconds: table.number("body_idle_seconds", 1, 3_600)?,
        idle_seconds: table.number("idle_seconds", 1, 86_400)?,
        drain_idle_seconds: table.number("drain_idle_seconds", 0, DRAIN_SECONDS_MAX)?,
        requests_per_connection: table.number("requests_per_connection", 1, u64::MAX)?,
    };
    table.finish()?;
    Ok(limits)
}

fn read_log(mut table: Section<'_>) -> Result<LogSettings, Failure> {
    let level = table.text("level")?.map(|text| located(&table, &text, parse_level)).transpose()?;
    let settings = LogSettings { level, access: table.flag("access")? };
    table.finish()?;
    Ok(settings)
}

fn read_account(mut table: Section<'_>, offset: usize) -> Result<Account, Failure> {
    let id = table.required_text("id", offset)?;
    let id = located(&table, &id, parse_account_id)?;
    let access_key = table.required_text("access_key", offset)?;
    let access_key = located(&table, &access_key, parse_access_key)?;
    let secret_key = table.required_text("secret_key", offset)?;
    let secret_key = located(&table, &secret_key, parse_secret_key)?;
    let canonical_id =
        table.text("canonical_id")?.map(|text| located(&table, &text, parse_canonical_id)).transpose()?;
    let account = Account {
        name: table.text("name")?.map_or_else(|| id.as_str().to_string(), |text| text.value),
        id,
        access_key,
        secret_key: Secret::new(secret_key),
        canonical_id,
        display_name: table.text("display_name")?.map(|text| text.value),
        email: table.text("email")?.map(|text| text.value),
        tenant: table.text("tenant")?.map(|text| text.value),
    };
    table.finish()?;
    Ok(account)
}

fn read_s3(mut table: Section<'_>) -> Result<S3Settings, Failure> {
    let names = |list: Option<Vec<Located<String>>>| {
        list.map(|list| list.into_iter().map(|text| text.value).collect())
    };
    let ownership = table.text("default_ownership")?;
    let ownership = ownership.map(|text| located(&table, &text, parse_ownership)).transpose()?;
    let settings = S3Settings {
        default_ownership: ownership,
        default_public_access_block: table.flag("default_public_access_block")?,
        sigv2: table.flag_or_word("sigv2", "presigned")?.map(|switch| match switch {
            Switch::Flag(true) => SigV2::Everywhere,
            Switch::Flag(false) => SigV2::Refused,
            Switch::Word => SigV2::Presigned,
        }),
        sse_c_needs_tls: table.flag("sse_c_needs_tls")?,
        storage_classes: names(table.list("storage_classes")?),
        kms_keys: names(table.list("kms_keys")?),
        buckets_per_account: table.number("buckets_per_account", 1, 10_000_000)?,
    };
    table.finish()?;
    Ok(settings)
}

/// Shards of one data directory at most: there are 4,096 slots to place.
pub const SHARDS_MAX: u16 = 256;
/// The longest drain that makes sense to wait for.
const DRAIN_SECONDS_MAX: u64 = 86_400;

/// An address with a port: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, `:8080` for every address.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let port: u16 = port.parse().map_err(|_| {
        format!(
            "listen address `{}` needs an address and a port, as in 127.0.0.1:8080 or [::1]:8080",
            shown(text)
        )
    })?;
    match host {
        "localhost" => Ok(SocketAddr::from(([127, 0, 0, 1], port))),
        "" | "*" => Ok(SocketAddr::from(([0_u16; 8], port))),
        _ => Err(format!(
            "listen address `{}` is not an IP address with a port, as in 127.0.0.1:8080",
            shown(text)
        )),
    }
}

/// A region name, as it stands in a credential scope.
pub fn parse_region(text: &str) -> Result<String, String> {
    let good = (1..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if good {
        Ok(text.into())
    } else {
        Err(format!("region `{}` must be 1 to 32 of a-z, 0-9 and -", shown(text)))
    }
}

/// An account number.
pub fn parse_account_id(text: &str) -> Result<AccountId, String> {
    AccountId::parse(text).ok_or_else(|| format!("account id `{}` must be 12 digits", shown(text)))
}

/// An access key id. It stands in credential scopes, so `/` would end it early.
pub fn parse_access_key(text: &str) -> Result<String, String> {
    let good = (3..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic() && !b"/,=\"'".contains(&b));
    if good {
        Ok(text.into())
    } else {
        Err("access key must be 3 to 128 visible ASCII characters without / , = or quotes".into())
    }
}

/// A secret key; the message does not repeat it.
pub fn parse_secret_key(text: &str) -> Result<String, String> {
    let good = (8..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if good { Ok(text.into()) } else { Err("secret key must be 8 to 256 visible ASCII characters".into()) }
}

fn parse_canonical_id(text: &str) -> Result<CanonicalId, String> {
    CanonicalId::parse(text).ok_or_else(|| "canonical_id must be 64 hexadecimal digits".into())
}

fn parse_ownership(text: &str) -> Result<String, String> {
    const NAMES: [&str; 3] = ["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"];
    one_of("default_ownership", text, &NAMES).map(|index| NAMES[index].to_string())
}

/// `auto`, `io_uring` or `epoll`.
pub fn parse_backend(text: &str) -> Result<Backend, String> {
    one_of("backend", text, &["auto", "io_uring", "epoll"])
        .map(|index| [Backend::Auto, Backend::IoUring, Backend::Epoll][index])
}

/// A log level's name.
pub fn parse_level(text: &str) -> Result<Level, String> {
    Level::parse(text)
        .ok_or_else(|| format!("log level `{}` must be one of {}", shown(text), Level::NAMES.join(", ")))
}

fn one_of(what: &str, text: &str, names: &[&str]) -> Result<usize, String> {
    let found = names.iter().position(|name| *name == text);
    found.ok_or_else(|| format!("{what} `{}` must be one of {}", shown(text), names.join(", ")))
}

/// A URL without path: scheme, host and port.
pub fn parse_url(text: &str) -> Result<String, String> {
    let trimmed = text.trim_end_matches('/');
    let rest = trimmed.strip_prefix("http://").or_else(|| trimmed.strip_prefix("https://"));
    let good = rest.is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic() && !b"/?#@\"'\\".contains(&b))
    });
    if good {
        Ok(trimmed.into())
    } else {
        Err(format!("public_url `{}` must be like https://host or http://host:port", shown(text)))
    }
}

/// A domain name.
pub fn parse_host(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let good = text.len() <= 253 && text.split('.').all(label);
    if good {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!("virtual host `{}` is not a domain name", shown(text)))
    }
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect::<String>().escape_default().to_string()
}
