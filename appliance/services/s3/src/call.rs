//! One request on its way through the service: what it asks, of what, who asks, and what the configuration says.
//! Invariant: a bucket that is handed out exists, is the one that the request means, and belongs to whom the request
//! expects it to.
//! Leaves to ops: what the operation does.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use aws::account::{Account, AccountId, CanonicalId};
use aws::acl::{Acl, Permission};
use aws::policy::{self, Action, Decision, Principal, Resource};
use aws::request_id::{HostId, RequestId};
use http_types::{HeaderMap, HeaderName, Method, StatusCode};
use plan::{Context, Plan, Reply, ReplyBody};
use store::{Fault, ShardId, View};

use crate::Config;
use crate::model::{Attributes, BucketName, Generation, ObjectKey, VersionId, Versioning};
use crate::store::bucket::{BucketRecord, acl_of};
use crate::store::record::VersionRecord;
use crate::store::versions::Place;
use crate::store::{BUCKETS, bucket_key, object_key};
use crate::wire::checksum::Announced;
use crate::wire::error::{Code, Error};
use crate::wire::headers;
use crate::wire::query::Query;
use crate::wire::reply::head_only;

/// One request.
#[derive(Clone)]
pub struct Call {
    /// The service's configuration.
    pub config: Rc<Config>,
    /// Method, path, query and headers as sent.
    pub head: http::RequestHead,
    /// Which kinds of headers are among them.
    pub kinds: headers::Kinds,
    /// The buckets that this core has read.
    pub known: Rc<KnownBuckets>,
    /// How long the body on the wire is.
    pub body_length: http::BodyLength,
    /// Who asks; `None` for an anonymous caller.
    pub account: Option<Arc<Account>>,
    /// The id that the reply carries.
    pub request_id: RequestId,
    /// The longer id beside it.
    pub host_id: HostId,
    /// The decoded query.
    pub query: Query,
    /// The bucket's name, "" where the request is about none.
    pub bucket_name: String,
    /// The key, where the request is about an object.
    pub key: Option<ObjectKey>,
    /// The action of the operation, such as `s3:GetObject`.
    pub action: &'static str,
}

/// Buckets that one core has decoded. A stored value is always read anew; only its decoding is saved, and only while
/// the bytes are the same.
#[derive(Default)]
pub struct KnownBuckets {
    /// By key: the stored bytes and what they say.
    decoded: RefCell<HashMap<Vec<u8>, Decoded>>,
}

type Decoded = (Box<[u8]>, Rc<BucketRecord>);

/// Buckets that a core keeps decoded.
const KNOWN_COUNT_MAX: usize = 256;
/// A longer value is decoded each time, so that what is kept is bounded.
const KNOWN_BYTES_MAX: usize = 4 * 1024;

impl KnownBuckets {
    fn read(&self, key: &[u8], value: &[u8]) -> Result<Rc<BucketRecord>, Fault> {
        let mut decoded = self.decoded.borrow_mut();
        if let Some((bytes, record)) = decoded.get(key)
            && **bytes == *value
        {
            return Ok(Rc::clone(record));
        }
        let record = Rc::new(BucketRecord::decode(value)?);
        if value.len() <= KNOWN_BYTES_MAX {
            // Full: begin anew rather than keep an order of use for what is this cheap to read again.
            if decoded.len() >= KNOWN_COUNT_MAX {
                decoded.clear();
            }
            decoded.insert(key.to_vec(), (value.into(), Rc::clone(&record)));
        }
        Ok(record)
    }
}

/// A bucket as one view showed it.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Its key in every shard's BUCKETS.
    pub key: Vec<u8>,
    /// Its name.
    pub name: String,
    /// Its record.
    pub record: Rc<BucketRecord>,
}

impl Bucket {
    /// Its life.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.record.generation
    }

    /// Whether replies name versions.
    #[must_use]
    pub fn shows_versions(&self) -> bool {
        self.record.versioning != Versioning::Never
    }

    /// A key in it.
    #[must_use]
    pub fn place<'k>(&self, key: &'k ObjectKey) -> Place<'k> {
        Place { generation: self.generation(), key, versioning: self.record.versioning }
    }

    /// The shard that owns a key.
    #[must_use]
    pub fn shard(&self, cx: &Context<'_>, key: &ObjectKey) -> ShardId {
        cx.store.place(&object_key(self.generation(), key.as_bytes()))
    }

    /// The version id that replies show.
    #[must_use]
    pub fn shown_id(&self, record: &VersionRecord) -> Option<String> {
        self.shows_versions().then(|| record.id().to_string())
    }
}

impl Call {
    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The text of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        if self.kinds.may_hold(name) { headers::text(&self.head.headers, name) } else { None }
    }

    /// The text of a header that HTTP itself knows.
    #[must_use]
    pub fn standard_header(&self, name: &HeaderName) -> Option<&str> {
        headers::text(&self.head.headers, name)
    }

    /// The key; operations on objects have one.
    pub fn key(&self) -> Result<&ObjectKey, Error> {
        self.key.as_ref().ok_or_else(|| Code::MethodNotAllowed.into())
    }

    /// The caller's canonical id.
    #[must_use]
    pub fn caller(&self) -> Option<CanonicalId> {
        self.account.as_ref().map(|account| account.canonical_id)
    }

    /// The `versionId` of the query.
    pub fn version_id(&self) -> Result<Option<VersionId>, Error> {
        match self.query.get("versionId") {
            None => Ok(None),
            Some(text) => headers::parse_version(text).map(Some),
        }
    }

    /// The bucket of the request.
    pub fn bucket(&self, cx: &Context<'_>) -> Result<Bucket, Error> {
        let bucket = self.find_bucket(cx, &self.bucket_name)?;
        self.check_owner(&bucket, "x-amz-expected-bucket-owner")?;
        Ok(bucket)
    }

    /// The bucket of the request and a view of the shard that owns a key in it.
    pub fn bucket_and_view<'s>(
        &self,
        cx: &'s Context<'_>,
        key: &ObjectKey,
    ) -> Result<(Bucket, ShardId, View<'s>), Error> {
        let (bucket, seen_by, view) = self.find_bucket_in_view(cx, &self.bucket_name)?;
        self.check_owner(&bucket, "x-amz-expected-bucket-owner")?;
        let shard = bucket.shard(cx, key);
        // The view that showed the bucket is as good for a key of the same shard.
        let view = if shard == seen_by { view } else { cx.store.view(shard)? };
        Ok((bucket, shard, view))
    }

    /// A bucket by name, in the name space of the caller or in the one that `tenant:name` says.
    pub fn find_bucket(&self, cx: &Context<'_>, name: &str) -> Result<Bucket, Error> {
        self.find_bucket_in_view(cx, name).map(|(bucket, ..)| bucket)
    }

    fn find_bucket_in_view<'s>(
        &self,
        cx: &'s Context<'_>,
        name: &str,
    ) -> Result<(Bucket, ShardId, View<'s>), Error> {
        let no_such = || Error::from(Code::NoSuchBucket).with("BucketName", name);
        let (tenant, plain) = self.name_space(name);
        if BucketName::parse(plain).is_none() {
            return Err(no_such());
        }
        let key = bucket_key(tenant, plain);
        let shard = cx.store.shards().next().ok_or_else(no_such)?;
        let view = cx.store.view(shard)?;
        let Some(record) = view.get(BUCKETS, &key)? else { return Err(no_such()) };
        let record = self.known.read(&key, record.value)?;
        Ok((Bucket { key, name: plain.to_owned(), record }, shard, view))
    }

    fn name_space<'n>(&'n self, name: &'n str) -> (&'n str, &'n str) {
        match name.split_once(':') {
            Some((tenant, plain)) => (tenant, plain),
            None => (self.tenant(), name),
        }
    }

    /// The caller's name space; anonymous callers use the one without a name.
    #[must_use]
    pub fn tenant(&self) -> &str {
        self.account.as_ref().and_then(|account| account.tenant.as_deref()).unwrap_or("")
    }

    /// Refuses when the bucket does not belong to the account that a header names.
    pub fn check_owner(&self, bucket: &Bucket, header: &str) -> Result<(), Error> {
        match self.header(header) {
            None => Ok(()),
            // What is no account number names no owner of this bucket either.
            Some(text) if AccountId::parse(text) == Some(bucket.record.owner) => Ok(()),
            Some(_) => Err(Code::AccessDenied.into()),
        }
    }

    /// Whether the caller may do the operation's action on the bucket. `permission`: what an access list must grant to
    /// those to whom the bucket does not belong.
    pub fn authorize_bucket(&self, bucket: &Bucket, permission: Option<Permission>) -> Result<(), Error> {
        self.authorize_as(self.action, bucket, permission)
    }

    /// The same for another action than the operation's own.
    pub fn authorize_as(
        &self,
        action: &'static str,
        bucket: &Bucket,
        permission: Option<Permission>,
    ) -> Result<(), Error> {
        let granted =
            permission.is_some_and(|permission| self.is_granted(bucket, permission, || bucket.record.acl()));
        self.decide(action, bucket, self.key.as_ref(), granted)
    }

    /// Whether the caller may do an action on an object of the bucket.
    pub fn authorize_object(
        &self,
        action: &'static str,
        bucket: &Bucket,
        key: &ObjectKey,
        attributes: &Attributes,
        permission: Permission,
    ) -> Result<(), Error> {
        let owner = attributes.owner.unwrap_or(bucket.record.owner_canonical);
        // The owner of an object in somebody else's bucket has it at home.
        let is_owner = self.caller() == Some(owner);
        let granted =
            is_owner || self.is_granted(bucket, permission, || acl_of(owner, attributes.grants.as_deref()));
        self.decide(action, bucket, Some(key), granted)
    }

    /// `acl` is made only where lists count.
    fn is_granted(&self, bucket: &Bucket, permission: Permission, acl: impl FnOnce() -> Acl) -> bool {
        use crate::model::Ownership;
        if bucket.record.effective_ownership() == Ownership::BucketOwnerEnforced {
            return false;
        }
        let mut acl = acl();
        if bucket.record.ignores_public_grants() {
            // Public groups count as absent.
            acl.grants.retain(|grant| matches!(grant.grantee, aws::acl::Grantee::Account(_)));
        }
        acl.allows(self.caller().as_ref(), permission)
    }

    fn decide(
        &self,
        action: &'static str,
        bucket: &Bucket,
        key: Option<&ObjectKey>,
        acl_grants: bool,
    ) -> Result<(), Error> {
        let arn = match key {
            Some(key) => format!("arn:aws:s3:::{}/{key}", bucket.name),
            None => format!("arn:aws:s3:::{}", bucket.name),
        };
        let principal = match &self.account {
            Some(account) => Principal::Account(account),
            None => Principal::Anonymous,
        };
        let resource = Resource { arn: &arn, owner: Some(bucket.record.owner) };
        let context = policy::Context { acl_grants, ..policy::Context::default() };
        match policy::decide(&principal, Action(action), &resource, &context) {
            Decision::Allow => Ok(()),
            Decision::Deny(reason) => {
                let text = policy::denial_text(&principal, Action(action), &resource, reason);
                Err(Error::from(Code::AccessDenied).message(text))
            }
        }
    }

    /// The account of a signed request; anonymous callers are refused.
    pub fn signed_account(&self) -> Result<&Arc<Account>, Error> {
        self.account.as_ref().ok_or_else(|| Code::AccessDenied.into())
    }

    /// What a caller learns about a key that is not there: without the right to list, nothing.
    pub fn absent(&self, bucket: &Bucket, key: &ObjectKey, code: Code) -> Error {
        match self.authorize_as("s3:ListBucket", bucket, Some(Permission::Read)) {
            Ok(()) => Error::from(code).with("Key", key.as_str()),
            Err(denied) => denied,
        }
    }

    /// A view of the shard that owns a key.
    pub fn view<'s>(&self, cx: &'s Context<'_>, bucket: &Bucket, key: &ObjectKey) -> Result<View<'s>, Error> {
        Ok(cx.store.view(bucket.shard(cx, key))?)
    }

    /// The time, as signatures and dates count it.
    #[must_use]
    pub fn now(&self, cx: &Context<'_>) -> aws::Timestamp {
        aws::Timestamp(i64::try_from(cx.now.0).unwrap_or(i64::MAX))
    }

    /// Turns an error into the reply that the client gets.
    #[must_use]
    pub fn refuse(&self, error: &Error) -> Reply {
        render(&self.head, &self.request_id, &self.host_id, error)
    }
}

/// The reply for an error.
#[must_use]
pub fn render(head: &http::RequestHead, request_id: &str, host_id: &str, error: &Error) -> Reply {
    let status = StatusCode::from_u16(error.reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = error.reply.to_xml(Some(&head.path), request_id, host_id);
    let mut reply = Reply::bytes(status, "application/xml", body);
    for (name, value) in &error.headers {
        reply.headers.insert(name.clone(), value.clone());
    }
    if head.method == Method::HEAD {
        reply = head_only(reply);
        reply.body = ReplyBody::Empty;
        reply.headers.remove(http_types::header::CONTENT_TYPE);
    }
    reply
}

/// A call that a plan's closures share.
pub type Shared = Rc<Call>;

/// Turns the outcome of a closure into a plan.
pub fn settle(call: &Shared, outcome: Result<Plan, Error>) -> Plan {
    match outcome {
        Ok(plan) => plan,
        Err(error) => Plan::Reply(call.refuse(&error)),
    }
}

/// Runs an operation on a shard and goes on with its reply.
pub fn submit<O, F>(call: Shared, shard: ShardId, operation: O, then: F) -> Plan
where
    O: store::Operation,
    F: FnOnce(&Shared, &mut Context<'_>, O::Reply) -> Result<Plan, Error> + 'static,
{
    Plan::submit(shard, operation, move |cx, outcome| {
        let outcome = outcome.map_err(Error::from).and_then(|reply| then(&call, cx, reply));
        settle(&call, outcome)
    })
}

/// Reads the whole body, checks the digests that the request announces, and goes on with it. More than `limit_bytes`
/// is MaxMessageLengthExceeded.
pub fn collect<F>(call: Shared, limit_bytes: usize, then: F) -> Plan
where
    F: FnOnce(&Shared, &mut Context<'_>, bytes::Bytes) -> Result<Plan, Error> + 'static,
{
    match Announced::parse(call.headers()) {
        Ok(announced) => collect_announced(call, limit_bytes, announced, then),
        Err(error) => Plan::Reply(call.refuse(&error)),
    }
}

/// The same where the caller knows which digests are about the body.
pub fn collect_announced<F>(call: Shared, limit_bytes: usize, announced: Announced, then: F) -> Plan
where
    F: FnOnce(&Shared, &mut Context<'_>, bytes::Bytes) -> Result<Plan, Error> + 'static,
{
    Plan::Collect {
        limit_bytes,
        then: Box::new(move |cx, body| {
            let outcome = match body {
                Ok(body) => announced.verify_collected(&body).and_then(|()| then(&call, cx, body.bytes)),
                Err(plan::BodyFailure::TooLarge) => Err(Code::MaxMessageLengthExceeded.into()),
                Err(failure) => Err(failure.into()),
            };
            settle(&call, outcome)
        }),
    }
}

/// Receives the body into the store and goes on with it.
pub fn receive<F>(call: Shared, receive: plan::Receive, then: F) -> Plan
where
    F: FnOnce(&Shared, &mut Context<'_>, plan::Received) -> Result<Plan, Error> + 'static,
{
    Plan::Receive(
        receive,
        Box::new(move |cx, received| {
            let outcome = received.map_err(Error::from).and_then(|received| then(&call, cx, received));
            settle(&call, outcome)
        }),
    )
}

/// Copies stored bodies into a new one and goes on with it.
pub fn copy<F>(call: Shared, copy: plan::Copy, then: F) -> Plan
where
    F: FnOnce(&Shared, &mut Context<'_>, plan::Received) -> Result<Plan, Error> + 'static,
{
    Plan::Copy(
        copy,
        Box::new(move |cx, received| {
            let outcome = received.map_err(Error::from).and_then(|received| then(&call, cx, received));
            settle(&call, outcome)
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(generation: u64) -> Vec<u8> {
        let owner = AccountId::parse("111111111111").expect("digits");
        let record = BucketRecord {
            generation: Generation(generation),
            created_ms: 5,
            owner,
            owner_canonical: CanonicalId::derive(owner),
            versioning: Versioning::Never,
            object_lock: false,
            ownership: None,
            public_access_block: None,
            grants: None,
            tags: None,
            configurations: Vec::new(),
        };
        record.encode()
    }

    #[test]
    fn a_known_bucket_is_what_the_store_holds_now() {
        let known = KnownBuckets::default();
        let read = |value: &[u8]| known.read(b"b", value).expect("decodes");
        assert!(Rc::ptr_eq(&read(&stored(1)), &read(&stored(1))));
        assert_eq!(read(&stored(2)).generation, Generation(2));
        assert_eq!(read(&stored(1)).generation, Generation(1));
        assert!(known.read(b"b", b"damaged").is_err());
        for index in 0..4 * KNOWN_COUNT_MAX {
            known.read(&index.to_be_bytes(), &stored(3)).expect("decodes");
            assert!(known.decoded.borrow().len() <= KNOWN_COUNT_MAX);
        }
    }
}
