//! Condition keys: what a request tells the policies about itself.
//!
//! Invariant: a key is asked for by its name in lower case and gives all of its values; none means that it is absent.
//! Values are made when they are asked for, since most policies ask for few or none.

use std::net::IpAddr;

use crate::time::Timestamp;

/// Gives the values of condition keys.
pub trait Keys {
    /// Calls `each` with every value of `key`, a name in lower case such as `aws:sourceip`; not at all if the key is
    /// absent.
    fn visit(&self, key: &str, each: &mut dyn FnMut(&str));
}

/// No keys at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKeys;

impl Keys for NoKeys {
    fn visit(&self, _key: &str, _each: &mut dyn FnMut(&str)) {}
}

/// Keys and values as pairs; names in any case, a name for each of its values.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a>(pub &'a [(&'a str, &'a str)]);

impl Keys for Pairs<'_> {
    fn visit(&self, key: &str, each: &mut dyn FnMut(&str)) {
        for (name, value) in self.0 {
            if name.eq_ignore_ascii_case(key) {
                each(value);
            }
        }
    }
}

/// The one value of a key; `None` if it has none or several.
pub(super) fn single(keys: &dyn Keys, key: &str) -> Option<String> {
    let (mut found, mut count) = (None, 0);
    keys.visit(key, &mut |value| {
        count += 1;
        found = Some(value.to_owned());
    });
    found.filter(|_| count == 1)
}

/// The global keys of a signed or anonymous request, and behind them the keys of the service.
#[derive(Clone, Copy)]
pub struct RequestKeys<'a> {
    /// When the request is decided: `aws:CurrentTime`, `aws:EpochTime`.
    pub now: Timestamp,
    /// The other end of the connection: `aws:SourceIp`. An IPv4 address in IPv6 clothes counts as IPv4.
    pub source_ip: Option<IpAddr>,
    /// Whether the connection is encrypted: `aws:SecureTransport`.
    pub is_secure: bool,
    /// `aws:UserAgent`.
    pub user_agent: Option<&'a str>,
    /// `aws:Referer`.
    pub referer: Option<&'a str>,
    /// `aws:RequestedRegion`.
    pub region: &'a str,
    /// The service's own.
    pub service: &'a dyn Keys,
}

impl Keys for RequestKeys<'_> {
    fn visit(&self, key: &str, each: &mut dyn FnMut(&str)) {
        match key {
            "aws:currenttime" => each(&self.now.to_iso8601()),
            "aws:epochtime" => each(&self.now.as_seconds().to_string()),
            "aws:sourceip" => {
                if let Some(address) = self.source_ip {
                    each(&address.to_canonical().to_string());
                }
            }
            "aws:securetransport" => each(if self.is_secure { "true" } else { "false" }),
            "aws:useragent" => self.user_agent.into_iter().for_each(each),
            "aws:referer" => self.referer.into_iter().for_each(each),
            "aws:requestedregion" => each(self.region),
            // What only a calling service may say never comes from a request.
            "aws:sourcearn" | "aws:sourceaccount" => {}
            _ => self.service.visit(key, each),
        }
    }
}

/// What a service says of a call that it makes for somebody's resource.
#[derive(Clone, Copy, Debug)]
pub struct ServiceKeys<'a> {
    /// The ARN of the resource that it acts for: `aws:SourceArn`.
    pub source_arn: &'a str,
    /// The account of that resource: `aws:SourceAccount`.
    pub source_account: &'a str,
    /// `aws:CurrentTime`, `aws:EpochTime`.
    pub now: Timestamp,
    /// `aws:RequestedRegion`.
    pub region: &'a str,
}

impl Keys for ServiceKeys<'_> {
    fn visit(&self, key: &str, each: &mut dyn FnMut(&str)) {
        match key {
            "aws:sourcearn" => each(self.source_arn),
            "aws:sourceaccount" => each(self.source_account),
            "aws:currenttime" => each(&self.now.to_iso8601()),
            "aws:epochtime" => each(&self.now.as_seconds().to_string()),
            // The call does not leave the process.
            "aws:securetransport" => each("true"),
            "aws:requestedregion" => each(self.region),
            _ => {}
        }
    }
}
