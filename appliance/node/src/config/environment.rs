//! Settings from environment variables, `ZEROCLOUD_` and the key in capitals.
//! Invariant: a variable with a bad value is refused by its name, never skipped.

use std::ffi::OsString;
use std::time::Duration;

use aws::account::Secret;

use super::cache::{CacheSettings, FIRST_BYTE_MS_MAX, parse_days, parse_size, parse_token};
use super::layer::{
    SHARDS_MAX, parse_access_key, parse_account_id, parse_address, parse_backend, parse_host, parse_level,
    parse_region, parse_secret_key, parse_url,
};
use super::{Layer, nearest::nearest};
use crate::exit::Failure;

const PREFIX: &str = "ZEROCLOUD_";

/// Every variable that means something, without the prefix.
const NAMES: [&str; 21] = [
    "DATA",
    "LISTEN",
    "SHARDS",
    "PIN",
    "TLS_CERT",
    "TLS_KEY",
    "REGION",
    "ACCOUNT_ID",
    "PUBLIC_URL",
    "VIRTUAL_HOSTS",
    "DRAIN_TIMEOUT",
    "ALLOW_UNSAFE_FILESYSTEM",
    "ALLOW_PLAINTEXT",
    "BACKEND",
    "LOG",
    "LOG_ACCESS",
    "CONFIG",
    "ENDPOINT",
    "ROOT_ACCESS_KEY",
    "ROOT_SECRET_KEY",
    "CACHE_FIRST_BYTE_MS",
];

/// Looks a variable up by its full name. The process's own environment, or a test's.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

struct Reader<'a> {
    lookup: Lookup<'a>,
}

impl Reader<'_> {
    fn text(&self, name: &str) -> Result<Option<String>, Failure> {
        self.text_of(&format!("{PREFIX}{name}"))
    }

    /// Of a variable whose name is not ours alone.
    fn text_of(&self, full: &str) -> Result<Option<String>, Failure> {
        match (self.lookup)(full) {
            // An empty variable is how compose files and unit files say "not set".
            Some(value) if value.is_empty() => Ok(None),
            Some(value) => {
                let text = value.into_string();
                text.map(Some).map_err(|_| Failure::configuration(format!("{full} is not valid UTF-8")))
            }
            None => Ok(None),
        }
    }

    fn parsed<T>(&self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, Failure> {
        self.parsed_of(&format!("{PREFIX}{name}"), parse)
    }

    fn parsed_of<T>(
        &self,
        full: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        let wrong = |message: String| Failure::configuration(format!("{full}: {message}"));
        self.text_of(full)?.map(|text| parse(&text).map_err(wrong)).transpose()
    }
}

/// Reads the variables into a layer.
pub fn from_environment(lookup: Lookup<'_>) -> Result<Layer, Failure> {
    let reader = Reader { lookup };
    Ok(Layer {
        data: reader.text("DATA")?.map(Into::into),
        listen: reader.parsed("LISTEN", |text| comma_list(text, parse_address))?,
        shards: reader
            .parsed("SHARDS", |text| number(text, 1, u64::from(SHARDS_MAX)))?
            .map(|count| count as u16),
        pin: reader.parsed("PIN", flag)?,
        tls_cert: reader.text("TLS_CERT")?.map(Into::into),
        tls_key: reader.text("TLS_KEY")?.map(Into::into),
        region: reader.parsed("REGION", parse_region)?,
        account_id: reader.parsed("ACCOUNT_ID", parse_account_id)?,
        public_url: reader.parsed("PUBLIC_URL", parse_url)?,
        virtual_hosts: reader.parsed("VIRTUAL_HOSTS", |text| comma_list(text, parse_host))?,
        drain_timeout: reader
            .parsed("DRAIN_TIMEOUT", |text| number(text, 0, 86_400))?
            .map(Duration::from_secs),
        allow_unsafe_filesystem: reader.parsed("ALLOW_UNSAFE_FILESYSTEM", flag)?,
        allow_plaintext: reader.parsed("ALLOW_PLAINTEXT", flag)?,
        backend: reader.parsed("BACKEND", parse_backend)?,
        log_level: reader.parsed("LOG", parse_level)?,
        log_access: reader.parsed("LOG_ACCESS", flag)?,
        cache: Some(cache_settings(&reader)?),
        ..Layer::default()
    })
}

/// The variables of the build cache, which images and scripts set under names of their own.
fn cache_settings(reader: &Reader<'_>) -> Result<CacheSettings, Failure> {
    Ok(CacheSettings {
        max_bytes: reader.parsed_of("MAX_CACHE_SIZE", parse_size)?,
        retention_days: reader.parsed_of("CACHE_RETENTION_DAYS", parse_days)?,
        first_byte_ms: reader.parsed("CACHE_FIRST_BYTE_MS", |text| number(text, 1, FIRST_BYTE_MS_MAX))?,
        auth_required: reader.parsed_of("AUTH_REQUIRED", flag)?,
        read_token: reader.parsed_of("ZIM_CACHE_READ_TOKEN", parse_token)?,
        write_token: reader.parsed_of("ZIM_CACHE_WRITE_TOKEN", parse_token)?,
        ..CacheSettings::default()
    })
}

/// Root credentials from the environment, which override the file's. Errors: one without the other, or malformed.
pub fn root_key_override(lookup: Lookup<'_>) -> Result<Option<(String, Secret)>, Failure> {
    let reader = Reader { lookup };
    let access = reader.parsed("ROOT_ACCESS_KEY", parse_access_key)?;
    let secret = reader.parsed("ROOT_SECRET_KEY", parse_secret_key)?;
    match (access, secret) {
        (Some(access), Some(secret)) => Ok(Some((access, Secret::new(secret)))),
        (None, None) => Ok(None),
        _ => Err(Failure::configuration(
            "ZEROCLOUD_ROOT_ACCESS_KEY and ZEROCLOUD_ROOT_SECRET_KEY go together; set both or neither",
        )),
    }
}

/// Variables with our prefix that mean nothing, each with the one that was probably meant.
pub fn unknown_variables(names: impl Iterator<Item = OsString>) -> Vec<(String, Option<String>)> {
    let mut unknown = Vec::new();
    for name in names {
        let name = name.to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        if !NAMES.contains(&rest) {
            let near = nearest(rest, NAMES).map(|near| format!("{PREFIX}{near}"));
            unknown.push((name, near));
        }
    }
    unknown.sort();
    unknown
}

fn comma_list<T>(text: &str, parse: fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(parse).collect()
}

fn flag(text: &str) -> Result<bool, String> {
    match text {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("must be true or false".into()),
    }
}

fn number(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}
