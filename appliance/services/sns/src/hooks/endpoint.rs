//! The URL of a web hook, taken apart.
//! Invariant: what was parsed can be sent as the head of a request without a further look: no blanks, no controls.
//! Source: RFC 3986, as far as `http` and `https` need it; a fragment is not sent.
//! Leaves to address.rs: whether anything may be sent there.

use std::net::IpAddr;

use crate::model::limits::ENDPOINT_BYTES_MAX;
use crate::model::subscription::Protocol;

/// Where to connect, and what the request says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Whether TLS is spoken.
    pub(super) is_tls: bool,
    /// Name or address, without brackets.
    pub(super) host: String,
    /// The port.
    pub(super) port: u16,
    /// Path and query.
    pub(super) target: String,
    /// What `Host` says.
    pub(super) authority: String,
    /// The value of `Authorization`, if the URL names a user.
    pub(super) authorization: Option<String>,
}

impl Endpoint {
    /// Reads the endpoint of a subscription over this protocol; None for what is none.
    #[must_use]
    pub fn parse(url: &str, protocol: Protocol) -> Option<Endpoint> {
        let (scheme, rest) = url.split_once("://")?;
        let is_tls = match protocol {
            Protocol::Http if scheme.eq_ignore_ascii_case("http") => false,
            Protocol::Https if scheme.eq_ignore_ascii_case("https") => true,
            Protocol::Http | Protocol::Https | Protocol::Sqs => return None,
        };
        if url.len() > ENDPOINT_BYTES_MAX
            || url.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'\\')
        {
            return None;
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let (place, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user, place) = match place.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, place),
        };
        let (host, port) = host_and_port(place, if is_tls { 443 } else { 80 })?;
        let slash = if target.starts_with('/') { "" } else { "/" };
        Some(Endpoint {
            is_tls,
            host: host.to_owned(),
            port,
            target: format!("{slash}{}", escaped(target)),
            authority: place.to_owned(),
            authorization: match user {
                Some(user) => Some(basic(user)?),
                None => None,
            },
        })
    }

    /// Panics if a request that is made of it could be read as another.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn assert_sendable(&self) {
        for part in [&self.target, &self.authority] {
            assert!(!part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic()), "{self:?}");
        }
        assert!(self.target.starts_with('/') && self.port != 0 && !self.host.is_empty(), "{self:?}");
        assert!(!self.target.contains('#') && !self.authority.contains(['/', '@', '?']), "{self:?}");
        let authorization = self.authorization.as_deref().unwrap_or_default();
        assert!(http_types::HeaderValue::from_str(authorization).is_ok(), "{self:?}");
    }

    /// The host, where it is an address and no name.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

fn host_and_port(place: &str, default_port: u16) -> Option<(&str, u16)> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            let port = if behind.is_empty() { None } else { Some(behind.strip_prefix(':')?) };
            return Some((host, port.map_or(Some(default_port), port_of)?));
        }
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let is_name = !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    if !is_name {
        return None;
    }
    Some((host, port.map_or(Some(default_port), port_of)?))
}

fn port_of(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| is_number && *port != 0)
}

/// Letters beyond ASCII as clients send them.
fn escaped(target: &str) -> String {
    let mut out = String::with_capacity(target.len());
    for byte in target.bytes() {
        if byte.is_ascii() {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// RFC 7617: user and password, whose escapes are taken away.
fn basic(user: &str) -> Option<String> {
    let plain = aws::uri::decode_path(user).ok()?;
    let pair = if plain.contains(':') { plain.to_string() } else { format!("{plain}:") };
    Some(format!("Basic {}", aws::encoding::base64(pair.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let parse = |url| Endpoint::parse(url, Protocol::Http).expect(url);
        let hook = parse("HTTP://user:p%40ss@example.com:8080/a/ä?b=c#d");
        assert_eq!((hook.host.as_str(), hook.port, hook.is_tls), ("example.com", 8080, false));
        assert_eq!((hook.target.as_str(), hook.authority.as_str()), ("/a/%C3%A4?b=c", "example.com:8080"));
        assert_eq!(hook.authorization.as_deref(), Some("Basic dXNlcjpwQHNz"));
        let bare = parse("http://[::1]?x");
        assert_eq!((bare.host.as_str(), bare.port, bare.target.as_str()), ("::1", 80, "/?x"));
        assert!(bare.address().is_some() && bare.authorization.is_none());
        let tls = Endpoint::parse("https://example.com", Protocol::Https).expect("parses");
        assert_eq!((tls.port, tls.is_tls, tls.target.as_str()), (443, true, "/"));
        assert_eq!(parse("http://a@b@c.example/").host, "c.example");
    }

    #[test]
    fn what_is_no_endpoint_of_the_protocol_is_refused() {
        for url in [
            "",
            "http://",
            "https://example.com/",
            "example.com",
            "ftp://example.com",
            "http://exa mple.com/",
            "http://example.com/a b",
            "http://example.com/\r\nHost: x",
            "http://example.com:0/",
            "http://example.com:99999/",
            "http://example.com:+80/",
            "http://[::1/",
            "http://[::1]x/",
            "http://[127.0.0.1]/",
            "http://ex\u{e4}mple.com/",
            "http://a\\@b/",
            &format!("http://example.com/{}", "x".repeat(ENDPOINT_BYTES_MAX)),
        ] {
            assert_eq!(Endpoint::parse(url, Protocol::Http), None, "{url}");
        }
        assert_eq!(Endpoint::parse("http://example.com/", Protocol::Https), None);
    }
}
