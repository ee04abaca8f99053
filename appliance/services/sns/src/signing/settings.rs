//! The key and the certificates in the store, on the first shard.
//! Invariant: the first key that was stored is the key, however many cores made one at the same time; it and its
//! certificate are one batch.
//!
//! ```text
//! key    "signing"                          value  version 1 | private key, PKCS#8 | certificate, DER
//! key    "certificate/" fingerprint 16      value  version 1 | certificate, DER
//! ```

use std::future::Future;
use std::pin::Pin;

use plan::{Context, Plan, Resume, Step};
use store::fields::{FieldReader, FieldWriter};
use store::{Fault, Operation, Outcome, ShardId, Store, TableId, Tx};

use super::KeyError;
use super::certificate::{self, Fingerprint};
use super::key::Key;
use crate::store::SETTINGS;

/// Where they lie: every core reads any shard.
pub(super) const SHARD: ShardId = ShardId(0);
const SIGNING: &[u8] = b"signing";
const CERTIFICATE: &[u8] = b"certificate/";
const VERSION: u8 = 1;
const WHAT: &str = "sns signing key";

/// A key with its certificate.
pub(super) struct Material {
    pub(super) private_key: Vec<u8>,
    pub(super) certificate: Vec<u8>,
}

impl Material {
    fn make() -> Result<Material, KeyError> {
        let private_key = Key::make()?;
        let certificate = certificate::make(&private_key)?;
        Ok(Material { private_key, certificate })
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        out.bytes(&self.private_key);
        out.bytes(&self.certificate);
        out.into_bytes()
    }

    fn decode(value: &[u8]) -> Result<Material, Fault> {
        let mut r = FieldReader::new(value, VERSION, WHAT)?;
        let material = Material { private_key: r.bytes()?.to_vec(), certificate: r.bytes()?.to_vec() };
        if r.is_empty() { Ok(material) } else { Err(r.damaged("goes on behind its end")) }
    }
}

/// The key, if one has been made.
pub(super) fn stored(store: &Store) -> Result<Option<Material>, Fault> {
    let view = store.view(SHARD)?;
    let record = view.get(SETTINGS, SIGNING)?;
    record.map(|record| Material::decode(record.value)).transpose()
}

/// The certificate of this name, if this appliance has ever used it.
pub(super) fn certificate(store: &Store, fingerprint: Fingerprint) -> Result<Option<Vec<u8>>, Fault> {
    let view = store.view(SHARD)?;
    let Some(record) = view.get(SETTINGS, &certificate_key(&fingerprint))? else { return Ok(None) };
    let mut r = FieldReader::new(record.value, VERSION, "sns certificate")?;
    Ok(Some(r.bytes()?.to_vec()))
}

fn certificate_key(fingerprint: &Fingerprint) -> Vec<u8> {
    [CERTIFICATE, &fingerprint[..]].concat()
}

/// Makes a key on a thread of its own, keeps it unless there is one already, and goes on with the one that is kept.
pub(super) fn make<F>(then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<Material, Fault>) -> Plan + 'static,
{
    Plan::Step(Box::new(Make { then }))
}

struct Make<F> {
    then: F,
}

impl<F> Step for Make<F>
where
    F: FnOnce(&mut Context<'_>, Result<Material, Fault>) -> Plan + 'static,
{
    fn run(self: Box<Self>, store: Store) -> Pin<Box<dyn Future<Output = Resume>>> {
        let then = self.then;
        Box::pin(async move {
            let kept = make_and_keep(&store).await;
            let resume: Resume = Box::new(move |cx| then(cx, kept));
            resume
        })
    }
}

async fn make_and_keep(store: &Store) -> Result<Material, Fault> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // Making a key takes longer than a reactor may stand still.
    let thread = std::thread::Builder::new().name("sns-key".into()).spawn(move || {
        // Whoever waited may be gone; the next one makes another.
        drop(sender.send(Material::make()));
    });
    thread.map_err(|_| Fault::Busy)?;
    let made = receiver.await.map_err(|_| Fault::Busy)?.map_err(|error| match error {
        KeyError::Malformed | KeyError::NotMade | KeyError::NotSigned => Fault::Busy,
    })?;
    let keep = Keep { material: made };
    store.admit_operation(SHARD, &keep).await?;
    store.submit(SHARD, keep).await
}

/// Stores a key if there is none, and gives the one that is there then.
struct Keep {
    material: Material,
}

impl Operation for Keep {
    type Reply = Material;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(SETTINGS, SIGNING);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Material>, Fault> {
        if let Some(record) = tx.get(SETTINGS, SIGNING)? {
            return Ok(Outcome::Rollback(Material::decode(&record.value)?));
        }
        let Material { private_key, certificate } = &self.material;
        let mut value = FieldWriter::new(VERSION);
        value.bytes(certificate);
        let fingerprint = certificate::fingerprint(certificate);
        tx.put(SETTINGS, &certificate_key(&fingerprint), &value.into_bytes(), Vec::new(), true);
        tx.put(SETTINGS, SIGNING, &self.material.encode(), Vec::new(), true);
        Ok(Outcome::Commit(Material { private_key: private_key.clone(), certificate: certificate.clone() }))
    }
}
