//! Signatures of messages, so that recipients can tell that they came from this appliance: the key, its certificate, and
//! the address under which everybody can fetch that.
//!
//! Invariant: a signature that leaves has been checked against the public key; the private key is in the store and in the
//! memory of each core and nowhere else, above all in no log and no error. A certificate that was served once is served as
//! long as the store lasts.
//! Leaves to the callers: which messages need one, and what else an envelope holds.

mod certificate;
mod key;
mod settings;
mod text;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use aws::encoding::base64;
use bytes::Bytes;
use http_types::StatusCode;
use plan::{Context, MORE_IS_DUE, Plan, Reply};
use store::{Fault, ShardId};

use key::Key;
pub use key::KeyError;
pub use text::{Confirmation, Notification};

/// Which signature an envelope has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SignatureVersion {
    /// SHA1withRSA, which topics have unless they ask for the other.
    #[default]
    V1,
    /// SHA256withRSA.
    V2,
}

impl SignatureVersion {
    /// The value of `SignatureVersion` in envelopes and attributes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SignatureVersion::V1 => "1",
            SignatureVersion::V2 => "2",
        }
    }
}

/// Signs texts with the appliance's key.
pub struct Signer {
    key: Key,
    certificate_path: String,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("certificate_path", &self.certificate_path).finish_non_exhaustive()
    }
}

impl Signer {
    /// The signature of a text, in base64, as envelopes have it. Errors: the arithmetic or the memory of this machine is
    /// broken, since what it gave is no signature of this key.
    pub fn sign(&self, version: SignatureVersion, text: &str) -> Result<String, KeyError> {
        let signature = match version {
            SignatureVersion::V1 => self.key.sign_sha1(text.as_bytes())?,
            SignatureVersion::V2 => self.key.sign_sha256(text.as_bytes())?,
        };
        Ok(base64(&signature))
    }

    /// The path of the certificate below the appliance's own address, with the slash.
    #[must_use]
    pub fn certificate_path(&self) -> &str {
        &self.certificate_path
    }
}

/// One core's signer, once it has been asked for.
#[derive(Default)]
pub struct Signing {
    signer: RefCell<Option<Rc<Signer>>>,
}

impl Signing {
    /// Goes on with the signer. The first call of all makes the key, beside the reactor, and keeps it in the store.
    pub fn with<F>(self: &Rc<Self>, cx: &mut Context<'_>, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<Rc<Signer>, Fault>) -> Plan + 'static,
    {
        let known = self.signer.borrow().clone();
        if let Some(signer) = known {
            return then(cx, Ok(signer));
        }
        let signing = Rc::clone(self);
        match settings::stored(cx.store) {
            Ok(Some(material)) => then(cx, signing.adopt(&material)),
            Ok(None) => settings::make(move |cx, made| {
                let signer = made.and_then(|material| signing.adopt(&material));
                then(cx, signer)
            }),
            Err(fault) => then(cx, Err(fault)),
        }
    }

    /// Makes the key on the core that owns the shard where it lies, so that the first publish need not wait for it. From
    /// `Service::tick`.
    #[must_use]
    pub fn tick(self: &Rc<Self>, cx: &mut Context<'_>, shard: ShardId) -> Option<Plan> {
        if shard != settings::SHARD || self.signer.borrow().is_some() {
            return None;
        }
        Some(self.with(cx, |_, signer| {
            let status = if signer.is_ok() { MORE_IS_DUE } else { StatusCode::SERVICE_UNAVAILABLE };
            Plan::Reply(Reply::empty(status))
        }))
    }

    fn adopt(&self, material: &settings::Material) -> Result<Rc<Signer>, Fault> {
        let key = Key::from_pkcs8(&material.private_key);
        let key = key.map_err(|error| Fault::corrupt(format!("the signing key: {error}")))?;
        let certificate_path = certificate::path(&material.certificate);
        let signer = Rc::new(Signer { key, certificate_path });
        self.signer.replace(Some(Rc::clone(&signer)));
        Ok(signer)
    }
}

/// Whether a path is that of a certificate, of this appliance or of another.
#[must_use]
pub fn is_certificate_path(path: &str) -> bool {
    certificate::fingerprint_of(path).is_some()
}

/// Answers a GET of a certificate's path, whoever asks.
#[must_use]
pub fn serve_certificate(cx: &Context<'_>, path: &str) -> Reply {
    let found =
        certificate::fingerprint_of(path).map(|fingerprint| settings::certificate(cx.store, fingerprint));
    match found {
        Some(Ok(Some(der))) => {
            Reply::bytes(StatusCode::OK, "application/x-pem-file", Bytes::from(certificate::pem(&der)))
        }
        Some(Ok(None)) | None => Reply::empty(StatusCode::NOT_FOUND),
        Some(Err(_)) => Reply::empty(StatusCode::SERVICE_UNAVAILABLE),
    }
}

#[cfg(test)]
mod tests;
