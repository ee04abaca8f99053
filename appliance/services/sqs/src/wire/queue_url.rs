//! Queue URLs: every form that clients send, and the one that they get.
//!
//! ```text
//! http://127.0.0.1:8080/123456789012/orders      the base of this appliance, or any other, with whatever path before
//! https://sqs.eu-west-1.example.test/123456789012/orders    https://queue.example.test/…    https://eu-west-1.queue.example.test/…
//! 123456789012/orders    /123456789012/orders    orders
//! ```
//! Invariant: an account and a name that are given out are twelve digits and characters of a queue's name. The host says
//! nothing of whose the queue is: a client behind a proxy calls it by another one.
//! Leaves to the engine: whether the queue is there.

use aws::account::AccountId;

use super::name::is_queue_name;

/// What a QueueUrl names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Named<'u> {
    /// Whose queue; None: the caller's.
    pub account: Option<AccountId>,
    /// Its name.
    pub name: &'u str,
}

/// The queue that a QueueUrl names; None when it names none.
#[must_use]
pub fn parse(text: &str) -> Option<Named<'_>> {
    if !text.contains('/') {
        return is_queue_name(text).then_some(Named { account: None, name: text });
    }
    let behind_scheme = match text.split_once("://") {
        // A host is not the account, however much it looks like one.
        Some((_, rest)) => rest.split_once('/')?.1,
        None => text,
    };
    of_path(behind_scheme)
}

/// The queue that the last two segments of a path name.
#[must_use]
pub fn of_path(path: &str) -> Option<Named<'_>> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let (front, name) = path.rsplit_once('/')?;
    let account = front.rsplit('/').next().and_then(AccountId::parse)?;
    is_queue_name(name).then_some(Named { account: Some(account), name })
}

/// Where clients reach this appliance, without a slash at the end: the configured URL, else the host that the client used.
#[must_use]
pub fn base(public_url: Option<&str>, authority: Option<&str>, tls: bool) -> String {
    if let Some(url) = public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let scheme = if tls { "https" } else { "http" };
    // HTTP/1.0 needs no Host; such a client gets a URL that it can only use by its path.
    format!("{scheme}://{}", authority.unwrap_or("localhost"))
}

/// The URL of a queue.
#[must_use]
pub fn print(base: &str, account: &str, name: &str) -> String {
    format!("{base}/{account}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_names_its_queue() {
        let account = AccountId::parse("123456789012");
        for url in [
            "http://127.0.0.1:8080/123456789012/orders",
            "https://cloud.example.test/base/path/123456789012/orders",
            "https://sqs.eu-west-1.example.test/123456789012/orders",
            "https://queue.example.test/123456789012/orders",
            "http://eu-west-1.queue.example.test:4566/123456789012/orders",
            "http://[::1]:8080/123456789012/orders/",
            "sqs.eu-west-1.example.test/123456789012/orders",
            "/123456789012/orders",
            "123456789012/orders",
        ] {
            assert_eq!(parse(url), Some(Named { account, name: "orders" }), "{url}");
        }
        assert_eq!(parse("orders.fifo"), Some(Named { account: None, name: "orders.fifo" }));
    }

    #[test]
    fn what_names_no_queue_is_none() {
        let long = "q".repeat(81);
        for url in [
            "",
            "/",
            "//",
            "://",
            "http://",
            "http://host",
            "http://host/",
            "http://host/orders",
            "http://123456789012/orders",
            "http://host/12345678901/orders",
            "http://host/1234567890123/orders",
            "http://host/12345678901a/orders",
            "http://host/123456789012/",
            "http://host/123456789012/or ders",
            "http://host/123456789012/orders?x=1",
            "http://host/123456789012/orders#x",
            "http://host/123456789012/o%72ders",
            "orders.fif",
            ".fifo",
            "ä",
            &long,
        ] {
            assert_eq!(parse(url), None, "{url}");
        }
    }

    #[test]
    fn a_url_that_is_given_out_is_read_back() {
        let base = base(Some("https://cloud.example.test/"), Some("127.0.0.1:80"), false);
        let url = print(&base, "123456789012", "a.fifo");
        assert_eq!(url, "https://cloud.example.test/123456789012/a.fifo");
        let account = AccountId::parse("123456789012");
        assert_eq!(parse(&url), Some(Named { account, name: "a.fifo" }));
        assert_eq!(super::base(None, Some("localhost:8080"), false), "http://localhost:8080");
        assert_eq!(super::base(None, Some("zero.test"), true), "https://zero.test");
    }
}
