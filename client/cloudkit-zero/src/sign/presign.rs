//! Presigned addresses: whoever has one may send that one request until it expires. Made without any network.
//! The payload is never signed, and no checksum is asked for: the one who uses the address need not know about either.

use std::time::Duration;

use http_types::HeaderMap;

use super::{Signer, Subject, scope_of, sign_canonical, write_canonical};
use crate::credentials::Keys;
use crate::date::AmzDate;
use crate::encode::Query;
use crate::error::WireError;

/// AWS takes no presigned address that lives longer.
pub const EXPIRES_MAX: Duration = Duration::from_secs(7 * 86_400);

impl Signer {
    /// Path and query of `subject` with the signature in the query. `subject.query` is not looked at, `query` is what it holds;
    /// `headers` are those that the user of the address must send just so, mostly none.
    /// Errors: `expires` of less than a second or more than seven days.
    pub fn presign(
        &self,
        subject: &Subject<'_>,
        keys: &Keys,
        mut query: Query,
        headers: &HeaderMap,
        expires: Duration,
        date: AmzDate,
    ) -> Result<String, WireError> {
        if expires.as_secs() == 0 || expires > EXPIRES_MAX {
            return Err(WireError::config("a presigned URL lives between one second and seven days"));
        }
        let scope = scope_of(date, subject);
        let mut names: Vec<&str> =
            headers.keys().filter(|name| super::is_signed(name)).map(|name| name.as_str()).collect();
        names.push("host");
        names.sort_unstable();
        query.push("X-Amz-Algorithm", "AWS4-HMAC-SHA256");
        query.push("X-Amz-Credential", &format!("{}/{scope}", keys.access_key));
        query.push("X-Amz-Date", date.as_str());
        query.push("X-Amz-Expires", &expires.as_secs().to_string());
        query.push("X-Amz-SignedHeaders", &names.join(";"));
        if let Some(token) = &keys.session_token {
            query.push("X-Amz-Security-Token", token);
        }
        let query = query.encode();
        let mut canonical = Vec::with_capacity(1024);
        write_canonical(&mut canonical, subject, &query, headers, b"UNSIGNED-PAYLOAD");
        let key = self.key(keys, date.day(), subject.region, subject.service);
        let signature = sign_canonical(&key, date, &scope, &canonical);
        let signature = std::str::from_utf8(&signature).unwrap_or_default();
        Ok(format!("{}?{query}&X-Amz-Signature={signature}", subject.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_lives_from_a_second_to_seven_days() {
        let subject =
            Subject { method: "GET", path: "/b/k", query: "", host: "h", service: "s3", region: "us-east-1" };
        let keys = Keys::new("a", "s");
        let sign = |expires| {
            Signer::new().presign(&subject, &keys, Query::new(), &HeaderMap::new(), expires, AmzDate::of(0))
        };
        assert!(sign(Duration::from_millis(999)).is_err());
        assert!(sign(EXPIRES_MAX + Duration::from_nanos(1)).is_err());
        assert!(sign(Duration::from_secs(1)).is_ok());
        assert!(sign(EXPIRES_MAX).expect("the longest is taken").contains("X-Amz-Expires=604800&"));
    }

    // The example of AWS's page "Authenticating Requests: Using Query Parameters".
    #[test]
    fn the_published_example_comes_out() {
        let subject = Subject {
            method: "GET",
            path: "/test.txt",
            query: "",
            host: "examplebucket.s3.amazonaws.com",
            service: "s3",
            region: "us-east-1",
        };
        let keys = Keys::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let date = AmzDate::of(1_369_353_600);
        let expires = Duration::from_secs(86_400);
        let url = Signer::new().presign(&subject, &keys, Query::new(), &HeaderMap::new(), expires, date);
        assert_eq!(
            url.expect("it is signed").rsplit('=').next(),
            Some("aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")
        );
    }
}
