//! CreateBucket: a record on every shard, in one transaction.
//! Invariant: of racing requests for one name exactly one makes the bucket; a re-created bucket has a new generation and
//! starts empty.

use std::time::Duration;

use aws::xml::{Document, XmlError};
use plan::{Context, Plan};
use store::{Direction, Fault, Operation, Outcome, ShardId, TableId, TransactFailure, Tx};

use super::access;
use crate::call::{Shared, collect, settle};
use crate::model::{BucketName, Generation, Ownership, Versioning, XML_BODY_BYTES_MAX};
use crate::store::bucket::BucketRecord;
use crate::store::{BUCKETS, OWNED, bucket_key, owned_key};
use crate::wire::error::{Code, Error};
use crate::wire::{headers, reply};

/// Transactions that are tried before a conflict is reported: about six seconds with the waits between them.
pub const ATTEMPTS_MAX: u32 = 128;
/// The longest wait between two attempts doubles up to this.
const WAIT_MS_MAX: u64 = 96;

/// Tries a transaction again that met another one on its keys. Waits differ at random and grow, so that many that
/// change one bucket at once get through one after the other.
pub fn try_again<F>(cx: &mut Context<'_>, attempts_left: u32, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>) -> Plan + 'static,
{
    let tried = ATTEMPTS_MAX.saturating_sub(attempts_left).min(6);
    let wait_ms = 1 + (cx.random)() % (2_u64 << tried).min(WAIT_MS_MAX);
    Plan::wait(Duration::from_millis(wait_ms), then)
}

/// PUT /b.
pub fn start(call: Shared, _cx: &mut Context<'_>) -> Result<Plan, Error> {
    call.signed_account()?;
    if call.bucket_name.contains(':') || BucketName::parse(&call.bucket_name).is_none() {
        return Err(Error::from(Code::InvalidBucketName).with("BucketName", call.bucket_name.as_str()));
    }
    Ok(collect(call, XML_BODY_BYTES_MAX, |call, cx, body| {
        check_location(call, &body)?;
        let record = new_record(call, cx)?;
        check_count(call, cx)?;
        Ok(attempt(call.clone(), cx, record, ATTEMPTS_MAX))
    }))
}

fn check_location(call: &Shared, body: &[u8]) -> Result<(), Error> {
    let region = call.config.region.as_str();
    let document = match Document::parse(body, XML_BODY_BYTES_MAX) {
        Ok(document) => document,
        Err(XmlError::Empty) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let root = document.root_named("CreateBucketConfiguration")?;
    let Some(named) = root.child("LocationConstraint").map(|location| location.trimmed().to_owned()) else {
        return Ok(());
    };
    if named.is_empty() || named == region {
        return Ok(());
    }
    if named == "EU" && region == "eu-west-1" {
        return Ok(());
    }
    let looks_like_a_region = named.len() <= 32
        && named.split('-').count() >= 3
        && named.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if looks_like_a_region {
        return Err(Error::from(Code::IllegalLocationConstraintException).message(format!(
            "The {named} location constraint is incompatible for the region specific endpoint this request was sent to."
        )));
    }
    Err(Error::from(Code::InvalidLocationConstraint).with("LocationConstraint", named))
}

fn new_record(call: &Shared, cx: &mut Context<'_>) -> Result<BucketRecord, Error> {
    let account = call.signed_account()?;
    let named = headers::acl(call.headers(), cx.accounts)?;
    let ownership = match call.header("x-amz-object-ownership") {
        None => call.config.default_ownership,
        Some(text) => Ownership::parse(text).ok_or_else(|| {
            Error::argument("x-amz-object-ownership", text, "Invalid x-amz-object-ownership header")
        })?,
    };
    let grants = access::resolve(&named, account.canonical_id, account.canonical_id);
    let only_owner = grants.as_ref().is_none_or(|grants| {
        grants.iter().all(|grant| grant.grantee == aws::acl::Grantee::Account(account.canonical_id))
    });
    if ownership == Ownership::BucketOwnerEnforced && !only_owner {
        return Err(Code::InvalidBucketAclWithObjectOwnership.into());
    }
    let block = call.config.default_public_access_block;
    access::refuse_blocked(
        block.is_some_and(|block| block.block_public_acls),
        grants.as_deref(),
        account.canonical_id,
    )?;
    let object_lock = match call.header("x-amz-bucket-object-lock-enabled") {
        None => false,
        Some(text) if text.eq_ignore_ascii_case("true") => true,
        Some(text) if text.eq_ignore_ascii_case("false") => false,
        Some(text) => {
            return Err(Error::argument("x-amz-bucket-object-lock-enabled", text, "Must be true or false"));
        }
    };
    Ok(BucketRecord {
        // Random, so that no later life of any name shares it; placement hashes it anyway.
        generation: Generation((cx.random)()),
        created_ms: cx.now.0,
        owner: account.id,
        owner_canonical: account.canonical_id,
        versioning: if object_lock { Versioning::Enabled } else { Versioning::Never },
        object_lock,
        ownership: Some(ownership),
        public_access_block: block,
        grants: if ownership == Ownership::BucketOwnerEnforced { None } else { grants },
        tags: None,
        configurations: Vec::new(),
    })
}

/// Racing requests may overshoot the bound by their number, which harms nobody.
fn check_count(call: &Shared, cx: &Context<'_>) -> Result<(), Error> {
    let account = call.signed_account()?;
    let Some(shard) = cx.store.shards().next() else { return Ok(()) };
    let view = cx.store.view(shard)?;
    let front = owned_key(account.id.as_str(), "");
    let mut scan = view.scan(OWNED, std::ops::Bound::Included(&front), Direction::Forward);
    let mut count = 0;
    while let Some((key, _)) = scan.next()? {
        if !key.starts_with(&front) {
            break;
        }
        count += 1;
        if count >= call.config.bucket_count_max {
            // Making one's own bucket again is not a new one.
            return match call.find_bucket(cx, &call.bucket_name) {
                Ok(_) => Ok(()),
                Err(_) => Err(Code::TooManyBuckets.into()),
            };
        }
    }
    Ok(())
}

fn attempt(call: Shared, cx: &mut Context<'_>, record: BucketRecord, attempts_left: u32) -> Plan {
    let key = bucket_key(call.tenant(), &call.bucket_name);
    let owned = owned_key(record.owner.as_str(), &call.bucket_name);
    let make = MakeBucket { key, owned, record: record.encode(), created_ms: record.created_ms };
    let parts: Vec<(ShardId, MakeBucket)> = cx.store.shards().map(|shard| (shard, make.clone())).collect();
    Plan::transact(parts, move |cx, outcome| {
        let outcome = match outcome {
            Ok(_) => Ok(made(&call)),
            Err(TransactFailure::Cancelled(found)) => match found.into_iter().next() {
                Some((_, Made::Exists(existing))) => exists(&call, &existing, &record),
                _ => Err(Code::OperationAborted.into()),
            },
            Err(TransactFailure::Conflict | TransactFailure::Fault(Fault::InDoubt)) if attempts_left > 1 => {
                let again = call.clone();
                Ok(try_again(cx, attempts_left, move |cx| attempt(again, cx, record, attempts_left - 1)))
            }
            Err(TransactFailure::Conflict) => Err(Code::OperationAborted.into()),
            Err(TransactFailure::Fault(fault)) => Err(fault.into()),
        };
        settle(&call, outcome)
    })
}

fn made(call: &Shared) -> Plan {
    let mut reply = reply::ok();
    reply::set_location(&mut reply.headers, &format!("/{}", call.bucket_name));
    Plan::Reply(reply)
}

/// us-east-1 answers the owner's repeated request with success; the bucket stays as it is.
fn exists(call: &Shared, existing: &[u8], wanted: &BucketRecord) -> Result<Plan, Error> {
    let existing = BucketRecord::decode(existing)?;
    let named = |code: Code| Error::from(code).with("BucketName", call.bucket_name.as_str());
    if existing.owner != wanted.owner {
        return Err(named(Code::BucketAlreadyExists));
    }
    if call.config.region != "us-east-1" {
        return Err(named(Code::BucketAlreadyOwnedByYou));
    }
    // A different access list would be a change that this call does not make.
    if existing.grants != wanted.grants {
        return Err(named(Code::BucketAlreadyExists));
    }
    Ok(made(call))
}

/// Writes the record of a new bucket on one shard.
#[derive(Clone)]
struct MakeBucket {
    key: Vec<u8>,
    owned: Vec<u8>,
    record: Vec<u8>,
    created_ms: u64,
}

enum Made {
    Yes,
    Exists(Vec<u8>),
}

/// The value in OWNED: version byte and the time of making.
fn owned_value(created_ms: u64) -> Vec<u8> {
    let mut value = vec![1];
    value.extend_from_slice(&created_ms.to_be_bytes());
    value
}

impl Operation for MakeBucket {
    type Reply = Made;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(BUCKETS, &self.key);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Made>, Fault> {
        if let Some(existing) = tx.get(BUCKETS, &self.key)? {
            return Ok(Outcome::Rollback(Made::Exists(existing.value)));
        }
        tx.put(BUCKETS, &self.key, &self.record, Vec::new(), true);
        tx.put(OWNED, &self.owned, &owned_value(self.created_ms), Vec::new(), true);
        Ok(Outcome::Commit(Made::Yes))
    }
}
