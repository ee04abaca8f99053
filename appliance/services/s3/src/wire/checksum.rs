//! The checksums that a request announces, and whether the body has them.
//! Invariant: a body whose announced value differs is never adopted, whether the value came as header or as trailer.

use aws::encoding::{base64, unbase64};
use hash::Algorithm;
use http_types::HeaderMap;
use plan::{Collected, Received};

use super::error::{Code, Error};
use super::headers::{content_md5, text};
use crate::model::checksum::{by_header, by_name, describe};
use crate::model::{Checksum, ChecksumType};

/// Where the client says what the value is.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Expected {
    /// In a header.
    Header(Vec<u8>),
    /// In a trailer of that name.
    Trailer(&'static str),
}

/// What a request with a body says about its checksums.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Announced {
    md5: Option<[u8; 16]>,
    value: Option<(Algorithm, Expected)>,
}

impl Announced {
    /// Reads Content-MD5, x-amz-checksum-*, x-amz-trailer and x-amz-sdk-checksum-algorithm.
    pub fn parse(headers: &HeaderMap) -> Result<Announced, Error> {
        let md5 = content_md5(headers)?;
        let mut value: Option<(Algorithm, Expected)> = None;
        let mut is_named_elsewhere = false;
        // One pass over what is there instead of a look-up for each algorithm that is not.
        for name in headers.keys().map(|name| name.as_str()) {
            is_named_elsewhere |= name == "x-amz-trailer" || name == "x-amz-sdk-checksum-algorithm";
            let Some(algorithm) = name.starts_with("x-amz-checksum-").then(|| by_header(name)).flatten()
            else {
                continue;
            };
            let sent = headers.get(name).map(|sent| sent.as_bytes()).unwrap_or_default();
            let bytes = decode_value(algorithm, sent).ok_or_else(|| invalid_value(name))?;
            if value.replace((algorithm, Expected::Header(bytes))).is_some() {
                return Err(several());
            }
        }
        if !is_named_elsewhere {
            return Ok(Announced { md5, value });
        }
        for name in text(headers, "x-amz-trailer").unwrap_or("").split(',') {
            let Some(algorithm) = by_header(&name.trim().to_ascii_lowercase()) else { continue };
            if value.replace((algorithm, Expected::Trailer(describe(algorithm).header))).is_some() {
                return Err(several());
            }
        }
        if let Some(named) = text(headers, "x-amz-sdk-checksum-algorithm") {
            let named = algorithm_named("x-amz-sdk-checksum-algorithm", named)?;
            match &value {
                Some((algorithm, _)) if *algorithm != named => {
                    return Err(Error::request("Value for x-amz-sdk-checksum-algorithm header is invalid."));
                }
                None if named != Algorithm::Md5 || md5.is_none() => {
                    return Err(Error::request(
                        "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.",
                    ));
                }
                _ => {}
            }
        }
        Ok(Announced { md5, value })
    }

    /// Only the MD5, for a request whose checksum headers are about something else than its body.
    pub fn md5_alone(headers: &HeaderMap) -> Result<Announced, Error> {
        Ok(Announced { md5: content_md5(headers)?, value: None })
    }

    /// One value of an algorithm, as a form field carries it.
    pub fn from_field(name: &str, field: &str) -> Result<Option<Announced>, Error> {
        let Some(algorithm) = by_header(name) else { return Ok(None) };
        let bytes = decode_value(algorithm, field.as_bytes()).ok_or_else(|| invalid_value(name))?;
        Ok(Some(Announced { md5: None, value: Some((algorithm, Expected::Header(bytes))) }))
    }

    /// The algorithm that the client named.
    #[must_use]
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.value.as_ref().map(|(algorithm, _)| *algorithm)
    }

    /// Whether the body is protected by any digest.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.md5.is_some() || self.value.is_some()
    }

    /// What has to be computed while the body passes: what the client announced, and what will be stored.
    #[must_use]
    pub fn digests(&self, stored: Algorithm) -> plan::Digests {
        let mut algorithms = vec![stored];
        algorithms.extend(self.algorithm().filter(|algorithm| *algorithm != stored));
        plan::Digests { md5: true, algorithms }
    }

    /// Checks a received body, and gives the value that is stored.
    pub fn verify(&self, received: &Received, stored: Algorithm) -> Result<Checksum, Error> {
        if let (Some(expected), Some(computed)) = (self.md5, received.md5)
            && expected != computed
        {
            return Err(Error::from(Code::BadDigest)
                .with("ExpectedDigest", base64(&expected))
                .with("CalculatedDigest", base64(&computed)));
        }
        let computed = |algorithm: Algorithm| {
            let found = received.checksums.iter().find(|(known, _)| *known == algorithm);
            found.map(|(_, value)| value.as_bytes().to_vec()).ok_or_else(|| Error::from(Code::InternalError))
        };
        if let Some((algorithm, expected)) = &self.value {
            let expected = match expected {
                Expected::Header(bytes) => bytes.clone(),
                Expected::Trailer(name) => trailing_value(*algorithm, name, &received.trailers)?,
            };
            if expected != computed(*algorithm)? {
                return Err(mismatch(*algorithm));
            }
        }
        Ok(Checksum { algorithm: stored, kind: ChecksumType::FullObject, value: computed(stored)? })
    }

    /// Checks a body that lies in memory, such as the XML of DeleteObjects.
    pub fn verify_collected(&self, body: &Collected) -> Result<(), Error> {
        let compute = |algorithm| {
            let mut digest = hash::Digest::new(algorithm);
            digest.update(&body.bytes);
            digest.finish()
        };
        if let Some(expected) = self.md5 {
            let computed = compute(Algorithm::Md5);
            if computed.as_bytes() != expected {
                return Err(Error::from(Code::BadDigest)
                    .with("ExpectedDigest", base64(&expected))
                    .with("CalculatedDigest", base64(computed.as_bytes())));
            }
        }
        let Some((algorithm, expected)) = &self.value else { return Ok(()) };
        let expected = match expected {
            Expected::Header(bytes) => bytes.clone(),
            Expected::Trailer(name) => trailing_value(*algorithm, name, &body.trailers)?,
        };
        if compute(*algorithm).as_bytes() == expected.as_slice() { Ok(()) } else { Err(mismatch(*algorithm)) }
    }
}

fn trailing_value(algorithm: Algorithm, name: &str, trailers: &[(String, String)]) -> Result<Vec<u8>, Error> {
    let trailer = trailers.iter().find(|(known, _)| known == name);
    let (_, text) = trailer.ok_or_else(|| Error::from(Code::MalformedTrailerError))?;
    decode_value(algorithm, text.trim().as_bytes()).ok_or_else(|| invalid_value(name))
}

/// Base64 of exactly the algorithm's bytes.
#[must_use]
pub fn decode_value(algorithm: Algorithm, text: &[u8]) -> Option<Vec<u8>> {
    unbase64(text.trim_ascii()).filter(|bytes| bytes.len() == algorithm.digest_bytes())
}

/// An algorithm by the name that a header or element gives.
pub fn algorithm_named(place: &str, name: &str) -> Result<Algorithm, Error> {
    by_name(name).ok_or_else(|| Error::request(format!("Value for {place} header is invalid.")))
}

fn invalid_value(header: &str) -> Error {
    Error::request(format!("Value for {header} header is invalid."))
}

fn several() -> Error {
    Error::request("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
}

fn mismatch(algorithm: Algorithm) -> Error {
    let name = describe(algorithm).name;
    Error::from(Code::BadDigest)
        .message(format!("The {name} you specified did not match the calculated checksum."))
}

#[cfg(test)]
mod tests {
    use http_types::{HeaderName, HeaderValue};

    use super::*;
    use crate::model::checksum::ALGORITHMS;

    fn parse(pairs: &[(&'static str, &str)]) -> Result<Announced, Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("value"));
        }
        Announced::parse(&headers)
    }

    #[test]
    fn one_checksum_in_one_place() {
        assert!(!parse(&[]).expect("none").is_some());
        let header = parse(&[("x-amz-checksum-crc32", "AAAAAA==")]).expect("valid");
        assert_eq!(header.algorithm(), Some(Algorithm::Crc32));
        let trailer = parse(&[("x-amz-trailer", "X-Amz-Checksum-SHA256")]).expect("valid");
        assert_eq!(trailer.algorithm(), Some(Algorithm::Sha256));
        for bad in [
            &[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-crc32c", "AAAAAA==")][..],
            &[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-trailer", "x-amz-checksum-sha1")],
            &[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-sdk-checksum-algorithm", "SHA1")],
            &[("x-amz-sdk-checksum-algorithm", "SHA1")],
            &[("x-amz-sdk-checksum-algorithm", "NONE"), ("x-amz-checksum-crc32", "AAAAAA==")],
            &[("x-amz-checksum-crc32", "AAAA")],
            &[("x-amz-checksum-sha256", "AAAAAA==")],
        ] {
            assert!(parse(bad).expect_err("refused").is(Code::InvalidRequest), "{bad:?}");
        }
        assert!(
            parse(&[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-sdk-checksum-algorithm", "crc32")]).is_ok()
        );
    }

    #[test]
    fn bodies_in_memory_are_checked_under_each_algorithm() {
        let body = b"body";
        for row in &ALGORITHMS {
            let mut digest = hash::Digest::new(row.algorithm);
            digest.update(body);
            let value = base64(&digest.finish());
            let announced = parse(&[(row.header, &value)]).expect("valid");
            let verify = |announced: &Announced, body: &'static [u8], trailers: &[(String, String)]| {
                announced.verify_collected(&Collected { bytes: body.into(), trailers: trailers.to_vec() })
            };
            assert!(verify(&announced, body, &[]).is_ok(), "{}", row.name);
            assert!(
                verify(&announced, b"bodx", &[]).expect_err("differs").is(Code::BadDigest),
                "{}",
                row.name
            );
            let announced = parse(&[("x-amz-trailer", row.header)]).expect("valid");
            let trailer = [(row.header.to_owned(), value)];
            assert!(verify(&announced, body, &trailer).is_ok(), "{}", row.name);
            assert!(verify(&announced, b"bodx", &trailer).expect_err("differs").is(Code::BadDigest));
            assert!(verify(&announced, body, &[]).expect_err("absent").is(Code::MalformedTrailerError));
        }
    }

    #[test]
    fn the_digests_of_a_body_are_what_is_stored_and_what_is_announced() {
        let announced = parse(&[("x-amz-checksum-crc32", "AAAAAA==")]).expect("valid");
        let digests = announced.digests(Algorithm::Crc64Nvme);
        assert_eq!(digests.algorithms, [Algorithm::Crc64Nvme, Algorithm::Crc32]);
        assert_eq!(announced.digests(Algorithm::Crc32).algorithms, [Algorithm::Crc32]);
    }
}
