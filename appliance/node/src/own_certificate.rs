//! A certificate of the machine's own: an authority that is made once, and a certificate under it.
//!
//! ```text
//! DATA/tls/ca.pem      the authority's certificate: what clients are told to trust
//! DATA/tls/ca-key.pem  its key, for further certificates of this machine
//! DATA/tls/cert.pem    the certificate, then the authority's: `tls_cert`
//! DATA/tls/key.pem     its key: `tls_key`
//! ```
//! Invariant: each file appears whole, keys are private from their first byte, and an authority that is there stays.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};

use crate::core::aws_now;
use crate::exit::Failure;
use crate::private_file;

/// Where the files lie.
pub struct OwnCertificate {
    directory: PathBuf,
}

/// Days that a certificate is valid: no longer is taken by every client.
const DAYS: i64 = 825;
/// Years of the authority.
const AUTHORITY_YEARS: i32 = 20;
const DAY_SECONDS: i64 = 86_400;

impl OwnCertificate {
    /// That of a data directory.
    pub fn of(data: &Path) -> OwnCertificate {
        OwnCertificate { directory: data.join("tls") }
    }

    /// What clients trust.
    pub fn authority(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// `tls_cert`.
    pub fn cert(&self) -> PathBuf {
        self.directory.join("cert.pem")
    }

    /// `tls_key`.
    pub fn key(&self) -> PathBuf {
        self.directory.join("key.pem")
    }

    fn authority_key(&self) -> PathBuf {
        self.directory.join("ca-key.pem")
    }

    /// Whether there is one.
    pub fn exists(&self) -> bool {
        self.cert().exists() && self.key().exists()
    }

    /// Makes a certificate for these names and addresses, and the authority if there is none. Gives its last day.
    pub fn make(&self, names: &[String]) -> Result<String, Failure> {
        let wrong = |error: rcgen::Error| {
            Failure::usage(format!("no certificate for {}: {error}; correct --hostname", names.join(", ")))
        };
        std::fs::create_dir_all(&self.directory).map_err(|error| self.unwritable(&self.directory, &error))?;
        let authority_key = self.load_or_make_authority()?;
        let authority = authority_params(&authority_key);
        let key = KeyPair::generate().map_err(wrong)?;
        let mut params = CertificateParams::new(names).map_err(wrong)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, names.first().map_or("zerocloud", String::as_str));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let now = aws_now().as_seconds();
        let last = day(now + DAYS * DAY_SECONDS);
        // Clients whose clocks are late take it, too.
        let first = day(now - DAY_SECONDS);
        params.not_before = rcgen::date_time_ymd(first.0, first.1, first.2);
        params.not_after = rcgen::date_time_ymd(last.0, last.1, last.2);
        let made = params.signed_by(&key, &Issuer::from_params(&authority, &authority_key)).map_err(wrong)?;
        let authority_path = self.authority();
        let authority_pem = std::fs::read_to_string(&authority_path).map_err(|error| {
            Failure::storage(format!("{}: cannot be read: {error}", authority_path.display()))
        })?;
        self.write(&self.key(), &key.serialize_pem(), 0o600)?;
        self.write(&self.cert(), &(made.pem() + &authority_pem), 0o644)?;
        Ok(format!("{:04}-{:02}-{:02}", last.0, last.1, last.2))
    }

    fn load_or_make_authority(&self) -> Result<KeyPair, Failure> {
        let path = self.authority_key();
        let wrong =
            |error: rcgen::Error| Failure::configuration(format!("{}: is no key: {error}", path.display()));
        if path.exists() && self.authority().exists() {
            private_file::check(&path)?;
            let text = std::fs::read_to_string(&path)
                .map_err(|error| Failure::storage(format!("{}: cannot be read: {error}", path.display())))?;
            return KeyPair::from_pem(&text).map_err(wrong);
        }
        let key = KeyPair::generate().map_err(wrong)?;
        let made = authority_params(&key).self_signed(&key).map_err(wrong)?;
        self.write(&path, &key.serialize_pem(), 0o600)?;
        self.write(&self.authority(), &made.pem(), 0o644)?;
        Ok(key)
    }

    fn write(&self, path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
        private_file::replace(path, text.as_bytes(), mode).map_err(|error| self.unwritable(path, &error))
    }

    fn unwritable(&self, path: &Path, error: &std::io::Error) -> Failure {
        Failure::storage(format!(
            "{}: cannot be written: {error}; give this user write access to the data directory",
            path.display()
        ))
    }
}

/// The same for the same key, but for the time in it: what a certificate names as its issuer.
fn authority_params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    // Two machines' authorities have different names, so that a client can trust both.
    let digest = aws::encoding::hex(&hash::sha256(&key.subject_public_key_info())[..4]);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("ZeroCloud machine authority {digest}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let (year, month, date) = day(aws_now().as_seconds() - DAY_SECONDS);
    params.not_before = rcgen::date_time_ymd(year, month, date);
    // No 29th of February where there is none.
    params.not_after = rcgen::date_time_ymd(year + AUTHORITY_YEARS, month, date.min(28));
    params
}

/// Year, month and day of a moment in seconds since 1970.
fn day(seconds: i64) -> (i32, u8, u8) {
    let civil = aws::Timestamp::from_seconds(seconds).to_civil();
    let small = |number: u32| u8::try_from(number).expect("months and days are small");
    (civil.year, small(civil.month), small(civil.day))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use std::os::unix::fs::MetadataExt;

    fn verify(own: &OwnCertificate, name: &str) -> Result<(), rustls::Error> {
        use rustls::client::danger::ServerCertVerifier;
        let read = |path: PathBuf| -> Vec<CertificateDer<'static>> {
            CertificateDer::pem_file_iter(path)
                .expect("reads")
                .map(|one| one.expect("a certificate"))
                .collect()
        };
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(read(own.authority()));
        let chain = read(own.cert());
        let verifier = rustls::client::WebPkiServerVerifier::builder(roots.into()).build().expect("a root");
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], UnixTime::now()).map(drop)
    }

    #[test]
    fn a_client_that_trusts_the_authority_takes_the_certificate_and_the_next_one() {
        let directory = crate::scratch::Directory::new("own-certificate");
        let own = OwnCertificate::of(directory.path());
        assert!(!own.exists());
        own.make(&["localhost".into(), "127.0.0.1".into()]).expect("made");
        let authority = std::fs::read(own.authority()).expect("reads");
        verify(&own, "localhost").expect("taken");
        verify(&own, "127.0.0.1").expect("taken by address");
        verify(&own, "store.example").expect_err("another name");
        own.make(&["store.example".into()]).expect("made");
        assert_eq!(std::fs::read(own.authority()).expect("reads"), authority, "clients trust it already");
        verify(&own, "store.example").expect("taken");
        for path in [own.key(), own.authority_key()] {
            assert_eq!(std::fs::metadata(path).expect("there").mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_name_that_no_certificate_can_have_is_the_callers_mistake() {
        let directory = crate::scratch::Directory::new("own-certificate-name");
        let failure =
            OwnCertificate::of(directory.path()).make(&["b\u{fc}ro".into()]).expect_err("not ASCII");
        assert_eq!(failure.exit, crate::exit::Exit::Usage);
    }
}
