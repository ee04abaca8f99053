//! What a certificate says: when it expires, and for which names it is.
//!
//! ```text
//! Certificate    ::= SEQUENCE { tbsCertificate, .. }                                               RFC 5280, 4.1
//! TBSCertificate ::= SEQUENCE { [0] version OPTIONAL, serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo,
//!                               [1] and [2] OPTIONAL, [3] extensions OPTIONAL }
//! Validity       ::= SEQUENCE { notBefore Time, notAfter Time }
//! Time           ::= CHOICE { UTCTime, GeneralizedTime }
//! Extension      ::= SEQUENCE { extnID, critical BOOLEAN OPTIONAL, extnValue OCTET STRING }
//! SubjectAltName ::= SEQUENCE OF { [2] dNSName, [7] iPAddress, .. }                                RFC 5280, 4.2.1.6
//! ```
//! Invariant: whatever bytes come, they are read within their bounds; what is not in the form that RFC 5280 asks for is not there.
//! Leaves to rustls: whether the certificate is any good.

use std::net::IpAddr;

use aws::Timestamp;
use aws::time::Civil;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]`, of the version; `[3]`, of the extensions: both hold something.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// When the first certificate of a chain, which is the server's own, expires, in seconds since 1970. None: it does not say.
pub fn end_of_first(pem: &[u8]) -> Option<i64> {
    let certificate = first(pem)?;
    let mut fields = behind_issuer(&certificate)?;
    let mut validity = fields.take(SEQUENCE)?;
    validity.any()?;
    let (tag, text) = validity.any()?;
    time(tag, text)
}

/// The names and addresses that the first certificate of a chain is for.
pub fn names_of_first(pem: &[u8]) -> Vec<String> {
    first(pem).and_then(|certificate| names(&certificate)).unwrap_or_default()
}

fn first(pem: &[u8]) -> Option<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).next()?.ok()
}

fn names(certificate: &[u8]) -> Option<Vec<String>> {
    let mut fields = behind_issuer(certificate)?;
    let mut extensions = loop {
        match fields.any()? {
            (EXTENSIONS, inner) => break Der(inner).take(SEQUENCE)?,
            _validity_subject_key => {}
        }
    };
    let mut names = Vec::new();
    while let Some(mut extension) = extensions.take(SEQUENCE) {
        if extension.take(OBJECT_IDENTIFIER)?.0 != SUBJECT_ALT_NAME {
            continue;
        }
        let value = match extension.any()? {
            (BOOLEAN, _critical) => extension.take(OCTET_STRING)?,
            (OCTET_STRING, inner) => Der(inner),
            _ => return None,
        };
        let mut list = { value }.take(SEQUENCE)?;
        while let Some((tag, value)) = list.any() {
            match tag {
                DNS_NAME => names.push(std::str::from_utf8(value).ok()?.to_owned()),
                IP_ADDRESS => names.push(address(value)?.to_string()),
                _ => {}
            }
        }
    }
    Some(names)
}

/// The fields of the certificate from its validity on.
fn behind_issuer(certificate: &[u8]) -> Option<Der<'_>> {
    let mut fields = Der(certificate).take(SEQUENCE)?.take(SEQUENCE)?;
    if fields.0.first() == Some(&VERSION) {
        fields.any()?;
    }
    for _serial_signature_issuer in 0..3 {
        fields.any()?;
    }
    Some(fields)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

/// Bytes in the Distinguished Encoding Rules, of which what was taken is gone.
struct Der<'d>(&'d [u8]);

impl<'d> Der<'d> {
    /// The next value and its tag.
    fn any(&mut self) -> Option<(u8, &'d [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // More than three bytes of length are no certificate's.
            0x81..=0x83 => {
                let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, value))
    }

    /// The next value, which has this tag.
    fn take(&mut self, tag: u8) -> Option<Der<'d>> {
        let (found, value) = self.any()?;
        (found == tag).then_some(Der(value))
    }
}

/// A time in the only forms that certificates may have: `YYMMDDhhmmssZ` and `YYYYMMDDhhmmssZ` (RFC 5280, 4.1.2.5).
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year = number(&digits[..2])?;
            (if year < 50 { 2000 + year } else { 1900 + year }, &digits[2..])
        }
        (GENERALIZED_TIME, 14) => (number(&digits[..4])?, &digits[4..]),
        _ => return None,
    };
    let mut pairs = [0; 5];
    for (value, pair) in pairs.iter_mut().zip(rest.chunks(2)) {
        *value = number(pair)?;
    }
    let [month, day, hour, minute, second] = pairs;
    let year = i32::try_from(year).ok()?;
    Some(
        Timestamp::from_civil(Civil { year, month, day, hour, minute, second, millisecond: 0 })?.as_seconds(),
    )
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(last_year: i32, names: &[&str]) -> String {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.not_after = rcgen::date_time_ymd(last_year, 6, 30);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn the_end_of_the_first_of_a_chain_is_found_in_both_forms_of_time() {
        // Up to 2049 as UTCTime, beyond as GeneralizedTime. date -u -d 2030-06-30 +%s, and so on.
        let (soon, late) = (certificate(2030, &["localhost"]), certificate(2060, &["localhost"]));
        assert_eq!(end_of_first(soon.as_bytes()), Some(1_909_008_000));
        assert_eq!(end_of_first(late.as_bytes()), Some(2_855_779_200));
        assert_eq!(end_of_first(format!("{late}{soon}").as_bytes()), Some(2_855_779_200));
        let nothing = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        assert_eq!((end_of_first(b""), end_of_first(nothing)), (None, None));
    }

    #[test]
    fn names_and_addresses_come_back() {
        let names = ["store.example", "10.0.0.5", "localhost", "2001:db8::5"];
        assert_eq!(names_of_first(certificate(2030, &names).as_bytes()), names);
        assert!(names_of_first(certificate(2030, &[]).as_bytes()).is_empty());
        assert!(names_of_first(b"nothing").is_empty());
    }

    #[test]
    fn a_certificate_that_is_cut_or_changed_anywhere_is_read_within_its_bounds() {
        let whole = first(certificate(2060, &["store.example", "10.0.0.5"]).as_bytes()).unwrap().to_vec();
        let read = |der: &[u8]| {
            let end = behind_issuer(der).and_then(|mut fields| {
                let mut validity = fields.take(SEQUENCE)?;
                validity.any()?;
                let (tag, text) = validity.any()?;
                time(tag, text)
            });
            (end, names(der))
        };
        let (end, found) = read(&whole);
        assert_eq!((end, found.map(|names| names.len())), (Some(2_855_779_200), Some(2)));
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]), (None, None), "cut after {length}");
        }
        for position in 0..whole.len() {
            for byte in [0x00, 0x7f, 0x80, 0x83, 0x84, 0x88, 0xff] {
                let mut changed = whole.clone();
                changed[position] = byte;
                let _whatever = read(&changed);
            }
        }
    }

    #[test]
    fn times_that_no_certificate_may_have_are_none() {
        let of = |tag, text: &str| time(tag, text.as_bytes());
        assert_eq!(of(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(of(GENERALIZED_TIME, "20000229235959Z"), Some(951_868_799));
        assert_eq!(of(GENERALIZED_TIME, "99991231235959Z"), Some(253_402_300_799));
        for wrong in [
            "99991231235959-0100",
            "20301331000000Z",
            "20300229000000Z",
            "2030010100000Z",
            "20300101000000",
            "2030010100000xZ",
            "",
        ] {
            assert_eq!(of(GENERALIZED_TIME, wrong), None, "{wrong}");
        }
        assert_eq!(of(UTC_TIME, "20000229235959Z"), None, "too long");
    }
}
