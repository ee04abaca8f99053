//! A cloud's address in one text:
//!
//! ```text
//! scheme "://" [host [":" port]] ["/"] ["?" key "=" value *("&" key "=" value)]
//! ```
//!
//! | Scheme | Provider | Without `tls` |
//! |---|---|---|
//! | zero | ZeroCloud | plain |
//! | s3 | AWS | TLS |
//! | az | Azure | TLS |
//! | gs | Google | TLS |
//! | oci | Oracle | TLS |
//! | memory | the one in this process | |
//!
//! | Key | Value |
//! |---|---|
//! | tls | 0 or 1 |
//! | region | the region's code |
//! | timeout_ms, request_timeout_ms | 1 to 4294967295 |
//! | max_retries | 0 to 4294967295 |
//! | any other | a parameter of the provider |
//!
//! Keys and values are percent-decoded. The host is where the service listens, never a bucket: it has no path. It has no
//! credentials either, since addresses end up in logs.

use cloudkit_core::common::{CloudConfig, CloudError, CloudResult, ProviderType, Region};
use std::time::Duration;

/// What an address says.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CloudUrl {
    /// Which cloud; `None` is the one in this process's memory.
    pub provider: Option<ProviderType>,
    /// Its settings.
    pub config: CloudConfig,
}

impl CloudUrl {
    /// Reads an address such as `zero://host:8080?tls=1&region=local`, `s3://?region=eu-west-1` or `memory://`.
    ///
    /// # Errors
    /// [`CloudError::Config`] when it has another form. The error does not repeat the address, which may hold a secret.
    pub fn parse(url: &str) -> CloudResult<Self> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| refused("it has no scheme"))?;
        let (provider, tls) = match scheme {
            "zero" => (Some(ProviderType::Zero), false),
            "s3" => (Some(ProviderType::Aws), true),
            "az" => (Some(ProviderType::Azure), true),
            "gs" => (Some(ProviderType::Gcp), true),
            "oci" => (Some(ProviderType::Oracle), true),
            "memory" => (None, false),
            _ => return Err(refused("its scheme is none of zero, s3, az, gs, oci and memory")),
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let place = place.strip_suffix('/').unwrap_or(place);
        check(place)?;
        let mut settings = Settings {
            provider: provider.unwrap_or(ProviderType::Zero),
            tls,
            config: CloudConfig::default(),
        };
        settings.config.region =
            Region::find(&settings.provider.to_string(), default_region(settings.provider));
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) =
                pair.split_once('=').ok_or_else(|| refused("a part of its query has no value"))?;
            settings.set(decoded(key)?, decoded(value)?)?;
        }
        let Settings { tls, mut config, .. } = settings;
        if !place.is_empty() {
            let port = if provider == Some(ProviderType::Zero) && !has_port(place) { ":8080" } else { "" };
            config.endpoint = Some(format!("{}://{place}{port}", if tls { "https" } else { "http" }));
        }
        Ok(Self { provider, config })
    }
}

/// What the query has said so far.
struct Settings {
    provider: ProviderType,
    tls: bool,
    config: CloudConfig,
}

impl Settings {
    fn set(&mut self, key: String, value: String) -> CloudResult<()> {
        let config = &mut self.config;
        match key.as_str() {
            "tls" => {
                self.tls = match value.as_str() {
                    "0" => false,
                    "1" => true,
                    _ => return Err(refused("tls is neither 0 nor 1")),
                }
            }
            "region" => config.region = Region::find(&self.provider.to_string(), &value),
            "timeout_ms" => config.timeout = milliseconds(&value)?,
            "request_timeout_ms" => config.request_timeout = milliseconds(&value)?,
            "max_retries" => config.max_retries = number(&value)?,
            _ => drop(config.parameters.insert(key, value)),
        }
        Ok(())
    }
}

/// The region of an address that names none.
fn default_region(provider: ProviderType) -> &'static str {
    match provider {
        ProviderType::Aws => "us-east-1",
        ProviderType::Azure => "eastus",
        ProviderType::Gcp => "us-central1",
        ProviderType::Oracle => "us-ashburn-1",
        ProviderType::Zero => "local",
    }
}

/// Whether this is a host, with or without a port.
fn check(place: &str) -> CloudResult<()> {
    if place.contains('@') {
        return Err(refused("it holds credentials, which belong into the environment or a builder"));
    }
    if place.contains('/') {
        return Err(refused("it has a path: a host names a service, not a bucket"));
    }
    // Colons outside brackets: an address of IPv6 stands in brackets.
    let after = place.rsplit_once(']').map_or(place, |(_, after)| after);
    let port = after.split_once(':').map(|(_, port)| port);
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(refused("its port is no number from 0 to 65535"));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if !place.bytes().all(plain) || place.starts_with(':') {
        return Err(refused("its host is not one"));
    }
    Ok(())
}

fn has_port(place: &str) -> bool {
    place.rsplit_once(']').map_or(place, |(_, after)| after).contains(':')
}

fn milliseconds(value: &str) -> CloudResult<Duration> {
    match number(value)? {
        0 => Err(refused("a timeout of zero leaves no time for any request")),
        milliseconds => Ok(Duration::from_millis(milliseconds.into())),
    }
}

fn number(value: &str) -> CloudResult<u32> {
    value.parse().map_err(|_| refused("a number of its query is none"))
}

/// The text behind percent signs (RFC 3986 2.1).
fn decoded(text: &str) -> CloudResult<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let [high, low, after @ ..] = after else { return Err(refused("a percent sign has no two digits")) };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (Some(high), Some(low)) = (digit(*high), digit(*low)) else {
            return Err(refused("a percent sign has no two digits"));
        };
        bytes.push((high * 16 + low) as u8);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| refused("its query is no UTF-8"))
}

fn refused(why: &str) -> CloudError {
    CloudError::Config(format!("not the address of a cloud: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Option<String> {
        CloudUrl::parse(url).unwrap().config.endpoint
    }

    #[test]
    fn an_address_says_where_and_how() {
        let read = CloudUrl::parse(
            "zero://host:9000?tls=1&region=local&max_retries=7&timeout_ms=250&request_timeout_ms=9&cell=%2Fa%20b",
        )
        .unwrap();
        assert_eq!(read.provider, Some(ProviderType::Zero));
        assert_eq!(read.config.endpoint.as_deref(), Some("https://host:9000"));
        assert_eq!(read.config.region, Region::zero_local());
        assert_eq!(read.config.max_retries, 7);
        assert_eq!(read.config.timeout, Duration::from_millis(250));
        assert_eq!(read.config.request_timeout, Duration::from_millis(9));
        assert_eq!(read.config.parameters["cell"], "/a b");
    }

    #[test]
    fn a_scheme_is_a_provider_with_its_defaults() {
        let cases = [
            ("zero://host", Some(ProviderType::Zero), Some("http://host:8080")),
            ("zero://", Some(ProviderType::Zero), None),
            ("zero://[::1]", Some(ProviderType::Zero), Some("http://[::1]:8080")),
            ("zero://[::1]:81/", Some(ProviderType::Zero), Some("http://[::1]:81")),
            ("s3://?region=eu-west-1", Some(ProviderType::Aws), None),
            ("s3://minio:9000?tls=0", Some(ProviderType::Aws), Some("http://minio:9000")),
            ("az://acc.example", Some(ProviderType::Azure), Some("https://acc.example")),
            ("gs://", Some(ProviderType::Gcp), None),
            ("oci://", Some(ProviderType::Oracle), None),
            ("memory://", None, None),
        ];
        for (url, provider, expected) in cases {
            assert_eq!(CloudUrl::parse(url).unwrap().provider, provider, "{url}");
            assert_eq!(endpoint(url).as_deref(), expected, "{url}");
        }
        assert_eq!(CloudUrl::parse("s3://").unwrap().config.region, Region::aws_us_east_1());
        assert_eq!(CloudUrl::parse("s3://?region=eu-west-1").unwrap().config.region, Region::aws_eu_west_1());
        assert_eq!(CloudUrl::parse("gs://").unwrap().config.region, Region::gcp_us_central1());
    }

    #[test]
    fn another_form_is_refused_without_repeating_the_address() {
        for url in [
            "",
            "host:8080",
            "http://host",
            "zero:/host",
            "zero://user:s3cr3t@host",
            "zero://host/bucket",
            "zero://host:99999",
            "zero://host:",
            "zero://:80",
            "zero://ho st",
            "zero://host?tls",
            "zero://host?tls=yes",
            "zero://host?timeout_ms=0",
            "zero://host?max_retries=-1",
            "zero://host?a=%4",
            "zero://host?a=%zz",
            "zero://host?a=%ff",
        ] {
            let refused = CloudUrl::parse(url).unwrap_err();
            assert!(matches!(refused, CloudError::Config(_)), "{url}: {refused:?}");
            assert!(!refused.to_string().contains("s3cr3t"), "{refused}");
        }
    }
}
