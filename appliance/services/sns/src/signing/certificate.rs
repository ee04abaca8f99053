//! The certificate that says which key signs, made by the key itself, and its address.
//! Invariant: the address holds the fingerprint of the bytes behind it, so it is good for ever and never changes its answer.
//! Leaves to recipients: whether they trust the place they fetch it from; nobody else vouches for it.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_RSA_SHA256, date_time_ymd};
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::KeyError;

/// The path of every certificate begins and ends so, as AWS's do.
const PATH_START: &str = "/SimpleNotificationService-";
const PATH_END: &str = ".pem";
/// Bytes of the SHA-256 of the certificate that name it.
pub(super) const FINGERPRINT_BYTES: usize = 16;

/// Which certificate.
pub(super) type Fingerprint = [u8; FINGERPRINT_BYTES];

/// Makes the certificate of a key, in DER. Recipients take the key out of it; few look at its dates, so it has wide ones.
pub(super) fn make(private_key: &[u8]) -> Result<Vec<u8>, KeyError> {
    let key = PrivatePkcs8KeyDer::from(private_key);
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_RSA_SHA256);
    let key = key.map_err(|_| KeyError::Malformed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "ZeroCloud SNS");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    let certificate = params.self_signed(&key).map_err(|_| KeyError::NotMade)?;
    Ok(certificate.der().to_vec())
}

/// What names a certificate.
pub(super) fn fingerprint(der: &[u8]) -> Fingerprint {
    let digest = hash::sha256(der);
    let mut fingerprint = [0; FINGERPRINT_BYTES];
    fingerprint.copy_from_slice(&digest[..FINGERPRINT_BYTES]);
    fingerprint
}

/// The path under which a certificate is served.
pub(super) fn path(der: &[u8]) -> String {
    format!("{PATH_START}{}{PATH_END}", aws::encoding::hex(&fingerprint(der)))
}

/// The certificate that a path names; None for any other path.
pub(super) fn fingerprint_of(path: &str) -> Option<Fingerprint> {
    let name = path.strip_prefix(PATH_START)?.strip_suffix(PATH_END)?;
    let is_one =
        name.len() == 2 * FINGERPRINT_BYTES && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if is_one { aws::encoding::unhex(name.as_bytes()) } else { None }
}

/// The text form of a certificate (RFC 7468).
pub(super) fn pem(der: &[u8]) -> String {
    let text = aws::encoding::base64(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = behind;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}
