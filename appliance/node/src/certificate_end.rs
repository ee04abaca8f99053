//! When a certificate expires.
//!
//! ```text
//! Certificate    ::= SEQUENCE { tbsCertificate, .. }                                               RFC 5280, 4.1
//! TBSCertificate ::= SEQUENCE { [0] version OPTIONAL, serialNumber, signature, issuer, validity, .. }
//! Validity       ::= SEQUENCE { notBefore Time, notAfter Time }
//! Time           ::= CHOICE { UTCTime, GeneralizedTime }
//! ```
//! Leaves to rustls: whether the certificate is any good.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use yasna::tags::TAG_UTCTIME;
use yasna::{ASN1Result, BERReader, Tag};

/// When the first certificate of a chain, which is the server's own, expires, in seconds since 1970. None: it does not say. For what
/// rustls has taken: the DER of anything else is not to be trusted with.
pub fn of_first(pem: &[u8]) -> Option<i64> {
    not_after(&CertificateDer::pem_slice_iter(pem).next()?.ok()?).ok()
}

fn not_after(certificate: &[u8]) -> ASN1Result<i64> {
    yasna::parse_der(certificate, |reader| {
        reader.read_sequence(|fields| {
            let end = fields.next().read_sequence(|fields| {
                fields.read_optional(|version| {
                    version.read_tagged(Tag::context(0), |inner| inner.read_der())
                })?;
                for _serial_signature_issuer in 0..3 {
                    fields.next().read_der()?;
                }
                let end = fields.next().read_sequence(|validity| {
                    validity.next().read_der()?;
                    time(validity.next())
                })?;
                while fields.read_optional(|rest| rest.read_der())?.is_some() {}
                Ok(end)
            })?;
            for _algorithm_signature in 0..2 {
                fields.next().read_der()?;
            }
            Ok(end)
        })
    })
}

fn time(reader: BERReader<'_, '_>) -> ASN1Result<i64> {
    if reader.lookahead_tag()? == TAG_UTCTIME {
        return Ok(reader.read_utctime()?.datetime().unix_timestamp());
    }
    Ok(reader.read_generalized_time()?.datetime().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(last_year: i32) -> String {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(last_year, 6, 30);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn the_end_of_the_first_of_a_chain_is_found_in_both_forms_of_time() {
        // Up to 2049 as UTCTime, beyond as GeneralizedTime. date -u -d 2030-06-30 +%s, and so on.
        let (soon, late) = (certificate(2030), certificate(2060));
        assert_eq!(of_first(soon.as_bytes()), Some(1_909_008_000));
        assert_eq!(of_first(late.as_bytes()), Some(2_855_779_200));
        assert_eq!(of_first(format!("{late}{soon}").as_bytes()), Some(2_855_779_200));
        assert_eq!(
            (of_first(b""), of_first(b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")),
            (None, None)
        );
    }
}
