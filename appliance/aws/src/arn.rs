//! Amazon resource names: `arn:partition:service:region:account:resource`.
//!
//! Invariant: an ARN is split at its first five colons only; the resource keeps every later one.

use std::fmt;

/// The parts of one ARN, borrowed from its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arn<'a> {
    /// `aws` for all of ours.
    pub partition: &'a str,
    /// Such as `s3`.
    pub service: &'a str,
    /// Empty where the service has global names.
    pub region: &'a str,
    /// Twelve digits, or empty where the service has global names.
    pub account: &'a str,
    /// The rest, colons and slashes included.
    pub resource: &'a str,
}

impl<'a> Arn<'a> {
    /// Splits `text`; `None` if it does not start with `arn:`, has fewer than six parts, or an empty
    /// partition, service or resource.
    pub fn parse(text: &'a str) -> Option<Arn<'a>> {
        let mut parts = text.splitn(6, ':');
        if parts.next()? != "arn" {
            return None;
        }
        let arn = Arn {
            partition: parts.next()?,
            service: parts.next()?,
            region: parts.next()?,
            account: parts.next()?,
            resource: parts.next()?,
        };
        let whole = !arn.partition.is_empty() && !arn.service.is_empty() && !arn.resource.is_empty();
        whole.then_some(arn)
    }
}

impl fmt::Display for Arn<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Arn { partition, service, region, account, resource } = self;
        write!(formatter, "arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}

/// `arn:aws:s3:::bucket`.
pub fn s3_bucket(bucket: &str) -> String {
    format!("arn:aws:s3:::{bucket}")
}

/// `arn:aws:s3:::bucket/key`.
pub fn s3_object(bucket: &str, key: &str) -> String {
    format!("arn:aws:s3:::{bucket}/{key}")
}

/// `arn:aws:iam::account:root`, the account's own identity.
pub fn account_root(account: &str) -> String {
    format!("arn:aws:iam::{account}:root")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_is_split_at_its_first_five_colons() {
        let text = "arn:aws:lambda:us-east-1:111111111111:function:f:prod";
        let arn = Arn::parse(text).unwrap();
        assert_eq!(arn.resource, "function:f:prod");
        assert_eq!(arn.to_string(), text);
        assert_eq!(Arn::parse(&s3_object("b", "a:b/c")).unwrap().resource, "b/a:b/c");
        assert_eq!(Arn::parse(&s3_bucket("b")).unwrap().account, "");
        assert_eq!(Arn::parse(&account_root("111111111111")).unwrap().account, "111111111111");
    }

    #[test]
    fn what_is_no_arn_is_refused() {
        for text in
            ["", "arn", "arn:aws:s3:::", "arn::s3:::b", "arn:aws::::b", "arn:aws:s3::b", "urn:aws:s3:::b"]
        {
            assert_eq!(Arn::parse(text), None, "{text}");
        }
    }
}
