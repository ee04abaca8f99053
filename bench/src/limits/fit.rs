//! Which limit a load is held against: one table, by what the load asks for, over which protocol, how large its values are.
//! Invariant: a share is taken only of a limit that was measured and that no other tool contradicts; otherwise the report
//! says which limit would fit, and why there is no share.

use super::append;
use super::{BARE_ECHO, DEVICE_READ, DEVICE_WRITE, HTTP_ECHO, HTTP2_ECHO, LARGE_BYTES};
use crate::report::json::{Fit, Limit, Scenario, rounded};

/// A row of the table.
struct Row {
    /// The scenario's name.
    scenario: &'static str,
    /// The only protocol that it is about.
    protocol: Option<&'static str>,
    /// Of values of 1 MiB and more, of smaller ones, or of any.
    is_large: Option<bool>,
    /// The limit.
    limit: Against,
}

enum Against {
    /// Requests per second of this name.
    Requests(&'static str),
    /// Bytes per second of this name.
    Bytes(&'static str),
    /// Appends per second of values as large as the load's.
    Appends,
}

const HTTP1: Option<&str> = Some("HTTP/1.1");
const HTTP2: Option<&str> = Some("HTTP/2");

/// The first row that is about a load is its own.
const ROWS: [Row; 20] = [
    Row { scenario: "echo", protocol: HTTP1, is_large: None, limit: Against::Requests(BARE_ECHO) },
    Row { scenario: "echo", protocol: HTTP2, is_large: None, limit: Against::Requests(HTTP2_ECHO) },
    Row { scenario: "put", protocol: None, is_large: Some(false), limit: Against::Appends },
    Row { scenario: "put", protocol: None, is_large: Some(true), limit: Against::Bytes(DEVICE_WRITE) },
    Row { scenario: "multipart", protocol: None, is_large: None, limit: Against::Bytes(DEVICE_WRITE) },
    Row { scenario: "get", protocol: None, is_large: Some(true), limit: Against::Bytes(DEVICE_READ) },
    Row { scenario: "get", protocol: HTTP1, is_large: None, limit: Against::Requests(HTTP_ECHO) },
    Row { scenario: "get", protocol: HTTP2, is_large: None, limit: Against::Requests(HTTP2_ECHO) },
    Row { scenario: "cache-put", protocol: None, is_large: Some(false), limit: Against::Appends },
    Row { scenario: "cache-put", protocol: None, is_large: Some(true), limit: Against::Bytes(DEVICE_WRITE) },
    Row { scenario: "cache-get", protocol: None, is_large: Some(true), limit: Against::Bytes(DEVICE_READ) },
    Row { scenario: "cache-get", protocol: HTTP1, is_large: None, limit: Against::Requests(HTTP_ECHO) },
    Row { scenario: "cache-get", protocol: HTTP2, is_large: None, limit: Against::Requests(HTTP2_ECHO) },
    Row { scenario: "list", protocol: HTTP1, is_large: None, limit: Against::Requests(HTTP_ECHO) },
    Row { scenario: "list", protocol: HTTP2, is_large: None, limit: Against::Requests(HTTP2_ECHO) },
    Row { scenario: "ddb-put", protocol: None, is_large: None, limit: Against::Appends },
    Row { scenario: "ddb-get", protocol: HTTP1, is_large: None, limit: Against::Requests(HTTP_ECHO) },
    Row { scenario: "ddb-get", protocol: HTTP2, is_large: None, limit: Against::Requests(HTTP2_ECHO) },
    Row { scenario: "ddb-query", protocol: HTTP1, is_large: None, limit: Against::Requests(HTTP_ECHO) },
    Row { scenario: "ddb-query", protocol: HTTP2, is_large: None, limit: Against::Requests(HTTP2_ECHO) },
];

impl Row {
    fn is_about(&self, scenario: &Scenario) -> bool {
        let is_large = scenario.value_bytes.is_some_and(|bytes| bytes >= LARGE_BYTES as u64);
        self.scenario == scenario.name
            && self.protocol.is_none_or(|protocol| protocol == scenario.protocol)
            && self.is_large.is_none_or(|large| large == is_large)
    }
}

/// What `scenario` is held against; nothing where no limits were given.
pub fn fit(scenario: &Scenario, limits: &[Limit]) -> Option<Fit> {
    if limits.is_empty() {
        return None;
    }
    let none = |limit: &str, reason: &str| Fit {
        limit: limit.to_owned(),
        rate: None,
        is_synced: false,
        is_of_http: false,
        reason: Some(reason.to_owned()),
    };
    let Some(row) = ROWS.iter().find(|row| row.is_about(scenario)) else {
        return Some(none("", "no single limit is that of this load"));
    };
    let bytes = scenario.value_bytes.unwrap_or(0);
    // Of an upload in parts the request that completes it has no body.
    let body_bytes = bytes as f64 * scenario.parts.map_or(1.0, |parts| parts as f64 / (parts + 1) as f64);
    let (name, per_request) = match row.limit {
        Against::Requests(name) => (name.to_owned(), 1.0),
        Against::Bytes(name) => (name.to_owned(), body_bytes),
        Against::Appends => (append::name(bytes), 1.0),
    };
    let Some(limit) = limits.iter().find(|limit| limit.name == name) else {
        return Some(none(&name, "it was not measured"));
    };
    if limit.agrees == Some(false) || limit.value <= 0.0 {
        return Some(none(&name, "another tool does not agree with it"));
    }
    if per_request <= 0.0 {
        return Some(none(&name, "requests without bytes do not reach it"));
    }
    Some(Fit {
        limit: name,
        rate: Some(rounded(limit.value / per_request)),
        is_synced: matches!(row.limit, Against::Appends),
        is_of_http: matches!(row.limit, Against::Requests(_)),
        reason: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(name: &str, protocol: &str, value_bytes: Option<u64>) -> Scenario {
        Scenario { name: name.to_owned(), protocol: protocol.to_owned(), value_bytes, ..Scenario::default() }
    }

    fn limits() -> Vec<Limit> {
        let appends = append::name(1024);
        [BARE_ECHO, HTTP_ECHO, HTTP2_ECHO, DEVICE_WRITE, DEVICE_READ, &appends]
            .iter()
            .zip(1_u32..)
            .map(|(name, number)| Limit {
                name: (*name).to_owned(),
                value: f64::from(number << 24),
                agrees: Some(true),
                ..Limit::default()
            })
            .collect()
    }

    #[test]
    fn every_load_is_held_against_the_limit_of_what_it_asks_for() {
        let mib = Some(1 << 20);
        let small = Some(1024);
        for (name, protocol, bytes, limit, rate) in [
            ("echo", "HTTP/1.1", None, BARE_ECHO, 1 << 24),
            ("echo", "HTTP/2", None, HTTP2_ECHO, 3 << 24),
            ("get", "HTTP/1.1", small, HTTP_ECHO, 2 << 24),
            ("get", "HTTP/2", small, HTTP2_ECHO, 3 << 24),
            ("get", "HTTP/1.1", mib, DEVICE_READ, 5 << 4),
            ("get", "HTTP/2", Some(4 << 20), DEVICE_READ, 5 << 2),
            ("list", "HTTP/1.1", small, HTTP_ECHO, 2 << 24),
            ("list", "HTTP/2", mib, HTTP2_ECHO, 3 << 24),
            ("put", "HTTP/1.1", mib, DEVICE_WRITE, 4 << 4),
            ("put", "HTTP/2", small, "bare log append, 1 KiB x 64 writers", 6 << 24),
            ("ddb-put", "HTTP/1.1", small, "bare log append, 1 KiB x 64 writers", 6 << 24),
            ("ddb-get", "HTTP/1.1", small, HTTP_ECHO, 2 << 24),
            ("ddb-query", "HTTP/2", small, HTTP2_ECHO, 3 << 24),
            ("cache-get", "HTTP/1.1", small, HTTP_ECHO, 2 << 24),
            ("cache-get", "HTTP/2", small, HTTP2_ECHO, 3 << 24),
            ("cache-get", "HTTP/1.1", mib, DEVICE_READ, 5 << 4),
            ("cache-put", "HTTP/1.1", small, "bare log append, 1 KiB x 64 writers", 6 << 24),
            ("cache-put", "HTTP/1.1", mib, DEVICE_WRITE, 4 << 4),
        ] {
            let fit = fit(&load(name, protocol, bytes), &limits()).expect("there are limits");
            assert_eq!((fit.limit.as_str(), fit.rate), (limit, Some(f64::from(rate))), "{name} {protocol}");
            assert_eq!(fit.is_synced, limit.starts_with("bare log append"), "{name}");
            assert_eq!(fit.is_of_http, limit.contains("echo"), "{name}");
        }
        let parts = Scenario { parts: Some(3), ..load("multipart", "HTTP/1.1", Some(1 << 20)) };
        assert_eq!(fit(&parts, &limits()).and_then(|fit| fit.rate), Some(rounded(f64::from(4 << 4) / 0.75)));
    }

    #[test]
    fn without_a_limit_that_fits_there_is_a_reason() {
        let of = |load: &Scenario, limits: &[Limit]| {
            let fit = fit(load, limits).expect("there are limits");
            assert!(fit.rate.is_none());
            (fit.limit, fit.reason.unwrap_or_default())
        };
        let other_size = of(&load("put", "HTTP/1.1", Some(4096)), &limits());
        assert_eq!(other_size.0, "bare log append, 4 KiB x 64 writers");
        assert_eq!(other_size.1, "it was not measured");
        assert_eq!(of(&load("mixed", "HTTP/1.1", Some(1024)), &limits()).0, "");
        assert_eq!(of(&load("get", "RESP 2", Some(1024)), &limits()).0, "");
        let mut wrong = limits();
        wrong[0].agrees = Some(false);
        assert!(of(&load("echo", "HTTP/1.1", None), &wrong).1.contains("does not agree"));
        assert_eq!(fit(&load("echo", "HTTP/1.1", None), &[]), None);
    }
}
