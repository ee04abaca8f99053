//! The record of a bucket, a copy of which lies on every shard.
//! Invariant: all copies are equal, since only transactions over all shards change them.
//!
//! ```text
//! version u8 (1) | generation number | created_ms number | owner account 12 | owner canonical id 64 | versioning u8
//! | flags u8 (1 object lock, 2 public access block is set) | ownership u8 | public access block u8
//! | grants | tags | configuration count | (kind u8 | bytes)*
//! grants = 0 | 1 count (grantee u8 [canonical id 64] | permission u8)*
//! ```
//! Configurations of later features are kept as the bytes that the client sent, under a kind of their own.

use aws::account::{AccountId, CanonicalId};
use aws::acl::{Acl, Grant, Grantee, Group, Permission};
use store::Fault;
use store::fields::{FieldReader, FieldWriter};

use crate::model::{Generation, Ownership, PublicAccessBlock, Tags, Versioning};

/// A bucket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BucketRecord {
    /// Tells this life of the name from others.
    pub generation: Generation,
    /// When it was made.
    pub created_ms: u64,
    /// The account that owns it.
    pub owner: AccountId,
    /// The same account as access lists name it.
    pub owner_canonical: CanonicalId,
    /// Whether it keeps versions.
    pub versioning: Versioning,
    /// Made with object lock.
    pub object_lock: bool,
    /// Who owns its objects; `None` where the setting was removed.
    pub ownership: Option<Ownership>,
    /// Public access switches; `None` where they were removed.
    pub public_access_block: Option<PublicAccessBlock>,
    /// Its access list; `None`: private.
    pub grants: Option<Vec<Grant>>,
    /// Its tags; `None` where it has no tag set.
    pub tags: Option<Tags>,
    /// Configurations of later features: kind and bytes.
    pub configurations: Vec<(u8, Vec<u8>)>,
}

const VERSION: u8 = 1;
const FLAG_LOCK: u8 = 1;
const FLAG_BLOCK: u8 = 2;
const FLAG_TAGS: u8 = 4;

impl BucketRecord {
    /// Who owns its objects in effect.
    #[must_use]
    pub fn effective_ownership(&self) -> Ownership {
        self.ownership.unwrap_or(Ownership::ObjectWriter)
    }

    /// The access list with its owner.
    #[must_use]
    pub fn acl(&self) -> Acl {
        acl_of(self.owner_canonical, self.grants.as_deref())
    }

    /// Whether public grants of the bucket and of its objects count.
    #[must_use]
    pub fn ignores_public_grants(&self) -> bool {
        self.public_access_block.is_some_and(|block| block.ignore_public_acls)
    }

    /// Whether new public grants are refused.
    #[must_use]
    pub fn blocks_public_grants(&self) -> bool {
        self.public_access_block.is_some_and(|block| block.block_public_acls)
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        out.number(self.generation.0);
        out.number(self.created_ms);
        out.raw(self.owner.as_str().as_bytes());
        out.raw(self.owner_canonical.as_str().as_bytes());
        out.byte(match self.versioning {
            Versioning::Never => 0,
            Versioning::Enabled => 1,
            Versioning::Suspended => 2,
        });
        let mut flags = 0;
        flags |= if self.object_lock { FLAG_LOCK } else { 0 };
        flags |= if self.public_access_block.is_some() { FLAG_BLOCK } else { 0 };
        flags |= if self.tags.is_some() { FLAG_TAGS } else { 0 };
        out.byte(flags);
        out.byte(match self.ownership {
            Some(Ownership::BucketOwnerEnforced) => 0,
            Some(Ownership::BucketOwnerPreferred) => 1,
            Some(Ownership::ObjectWriter) => 2,
            None => 3,
        });
        out.byte(self.public_access_block.map_or(0, block_bits));
        encode_grants(self.grants.as_deref(), &mut out);
        encode_tags(self.tags.as_ref().map_or(&[], Tags::pairs), &mut out);
        out.number(self.configurations.len() as u64);
        for (kind, bytes) in &self.configurations {
            out.byte(*kind);
            out.bytes(bytes);
        }
        out.into_bytes()
    }

    /// Reads the stored form.
    pub fn decode(value: &[u8]) -> Result<BucketRecord, Fault> {
        let mut fields = FieldReader::new(value, VERSION, "S3 bucket")?;
        let generation = Generation(fields.number()?);
        let created_ms = fields.number()?;
        let owner = decode_account(&mut fields)?;
        let owner_canonical = decode_canonical(&mut fields)?;
        let versioning = match fields.byte()? {
            0 => Versioning::Never,
            1 => Versioning::Enabled,
            2 => Versioning::Suspended,
            _ => return Err(fields.damaged("has an unknown versioning state")),
        };
        let flags = fields.byte()?;
        let ownership = match fields.byte()? {
            0 => Some(Ownership::BucketOwnerEnforced),
            1 => Some(Ownership::BucketOwnerPreferred),
            2 => Some(Ownership::ObjectWriter),
            3 => None,
            _ => return Err(fields.damaged("has an unknown ownership")),
        };
        let bits = fields.byte()?;
        let grants = decode_grants(&mut fields)?;
        let tags = decode_tags(&mut fields)?;
        let mut configurations = Vec::new();
        for _ in 0..fields.count()? {
            configurations.push((fields.byte()?, fields.bytes()?.to_vec()));
        }
        Ok(BucketRecord {
            generation,
            created_ms,
            owner,
            owner_canonical,
            versioning,
            object_lock: flags & FLAG_LOCK != 0,
            ownership,
            public_access_block: (flags & FLAG_BLOCK != 0).then(|| block_from_bits(bits)),
            grants,
            tags: (flags & FLAG_TAGS != 0).then_some(tags),
            configurations,
        })
    }
}

/// A list with its owner; no grants stored means that the owner has everything.
#[must_use]
pub fn acl_of(owner: CanonicalId, grants: Option<&[Grant]>) -> Acl {
    match grants {
        Some(grants) => Acl { owner, grants: grants.to_vec() },
        None => aws::acl::CannedAcl::Private.to_acl(owner, owner),
    }
}

fn block_bits(block: PublicAccessBlock) -> u8 {
    u8::from(block.block_public_acls)
        | u8::from(block.ignore_public_acls) << 1
        | u8::from(block.block_public_policy) << 2
        | u8::from(block.restrict_public_buckets) << 3
}

fn block_from_bits(bits: u8) -> PublicAccessBlock {
    PublicAccessBlock {
        block_public_acls: bits & 1 != 0,
        ignore_public_acls: bits & 2 != 0,
        block_public_policy: bits & 4 != 0,
        restrict_public_buckets: bits & 8 != 0,
    }
}

fn decode_account(fields: &mut FieldReader<'_>) -> Result<AccountId, Fault> {
    let digits = fields.array::<12>()?;
    let text = std::str::from_utf8(&digits).ok().and_then(AccountId::parse);
    text.ok_or_else(|| fields.damaged("has a malformed account id"))
}

/// Reads the 64 digits of a canonical id.
pub(super) fn decode_canonical(fields: &mut FieldReader<'_>) -> Result<CanonicalId, Fault> {
    let digits = fields.array::<64>()?;
    let text = std::str::from_utf8(&digits).ok().and_then(CanonicalId::parse);
    text.ok_or_else(|| fields.damaged("has a malformed canonical id"))
}

/// Writes an access list without its owner.
pub(super) fn encode_grants(grants: Option<&[Grant]>, out: &mut FieldWriter) {
    let Some(grants) = grants else {
        out.byte(0);
        return;
    };
    out.byte(1);
    out.number(grants.len() as u64);
    for grant in grants {
        match grant.grantee {
            Grantee::Account(id) => {
                out.byte(0);
                out.raw(id.as_str().as_bytes());
            }
            Grantee::Group(Group::AllUsers) => out.byte(1),
            Grantee::Group(Group::AuthenticatedUsers) => out.byte(2),
            Grantee::Group(Group::LogDelivery) => out.byte(3),
        }
        out.byte(match grant.permission {
            Permission::FullControl => 0,
            Permission::Read => 1,
            Permission::Write => 2,
            Permission::ReadAcp => 3,
            Permission::WriteAcp => 4,
        });
    }
}

/// Reads an access list without its owner.
pub(super) fn decode_grants(fields: &mut FieldReader<'_>) -> Result<Option<Vec<Grant>>, Fault> {
    if fields.byte()? == 0 {
        return Ok(None);
    }
    let mut grants = Vec::new();
    for _ in 0..fields.count()? {
        let grantee = match fields.byte()? {
            0 => Grantee::Account(decode_canonical(fields)?),
            1 => Grantee::Group(Group::AllUsers),
            2 => Grantee::Group(Group::AuthenticatedUsers),
            3 => Grantee::Group(Group::LogDelivery),
            _ => return Err(fields.damaged("has an unknown grantee")),
        };
        let permission = match fields.byte()? {
            0 => Permission::FullControl,
            1 => Permission::Read,
            2 => Permission::Write,
            3 => Permission::ReadAcp,
            4 => Permission::WriteAcp,
            _ => return Err(fields.damaged("has an unknown permission")),
        };
        grants.push(Grant { grantee, permission });
    }
    Ok(Some(grants))
}

/// Writes tags.
pub(super) fn encode_tags(pairs: &[(String, String)], out: &mut FieldWriter) {
    out.number(pairs.len() as u64);
    for (key, value) in pairs {
        out.bytes(key.as_bytes());
        out.bytes(value.as_bytes());
    }
}

/// Reads tags.
pub(super) fn decode_tags(fields: &mut FieldReader<'_>) -> Result<Tags, Fault> {
    let mut pairs = Vec::new();
    for _ in 0..fields.count()? {
        pairs.push((fields.text()?.to_owned(), fields.text()?.to_owned()));
    }
    Ok(Tags::from_store(pairs))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> BucketRecord {
        let owner = AccountId::parse("000000000000").expect("digits");
        let canonical = CanonicalId::derive(owner);
        BucketRecord {
            generation: Generation(u64::MAX),
            created_ms: 1_700_000_000_123,
            owner,
            owner_canonical: canonical,
            versioning: Versioning::Suspended,
            object_lock: true,
            ownership: Some(Ownership::ObjectWriter),
            public_access_block: Some(PublicAccessBlock { ignore_public_acls: true, ..Default::default() }),
            grants: Some(aws::acl::CannedAcl::PublicRead.to_acl(canonical, canonical).grants),
            tags: Some(Tags::new(vec![("k".into(), "v".into())], 50).expect("valid")),
            configurations: vec![(7, b"<X/>".to_vec())],
        }
    }

    #[test]
    fn a_bucket_round_trips_and_truncation_is_a_fault() {
        let bucket = sample();
        let bytes = bucket.encode();
        assert_eq!(BucketRecord::decode(&bytes).expect("decodes"), bucket);
        let plain = BucketRecord {
            versioning: Versioning::Never,
            object_lock: false,
            ownership: None,
            public_access_block: None,
            grants: None,
            tags: None,
            configurations: vec![],
            ..sample()
        };
        assert_eq!(BucketRecord::decode(&plain.encode()).expect("decodes"), plain);
        for length in 0..bytes.len() {
            assert!(BucketRecord::decode(&bytes[..length]).is_err(), "length {length}");
        }
    }
}
