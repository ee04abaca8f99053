//! ZeroStore, the S3 service: protocol 2006-03-01 over the store of this appliance.
//!
//! Invariant: a reply that says "stored" rests on a durable batch; nothing that is not built is pretended.
//!
//! The table of operations, which is the index of the service, is [`router::OPERATIONS`].
//!
//! | Operations | Covered |
//! |---|---|
//! | ListBuckets, CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation | yes |
//! | PutObject, GetObject, HeadObject, DeleteObject, DeleteObjects, CopyObject, POST forms | yes |
//! | ListObjects, ListObjectsV2, ListObjectVersions | yes |
//! | multipart: Create, UploadPart, UploadPartCopy, Complete, Abort, ListParts, ListMultipartUploads | yes |
//! | GetObjectAttributes; tagging of objects and buckets; versioning | yes |
//! | access lists of buckets and objects, ownership controls, public access block | yes; the two policy switches of the block have nothing to act on |
//! | object lock | a bucket can be made with it; retention and legal hold are 501 |
//! | server-side encryption in every form, customer keys included | no: 501 |
//! | bucket policy, CORS, lifecycle, website, replication, notification, logging, inventory | no: GET says "not set", the rest is 501 |
//! | append (x-amz-write-offset-bytes), RenameObject, RestoreObject, SelectObjectContent, CreateSession | no: 501 |
//! | multipart objects with more extents than one batch of the log can name (about 6 TiB) | no: EntityTooLarge |
#![forbid(unsafe_code)]

pub mod call;
pub mod config;
#[doc(hidden)]
pub mod fuzz;
pub mod model;
pub mod ops;
pub mod router;
pub mod store;
pub mod wire;

use std::rc::Rc;

use plan::{Context, Plan, Reply, Request, Service, Started};

pub use config::Config;

use crate::call::{Call, KnownBuckets, Shared, render, settle};
use crate::wire::error::Error;
use crate::wire::headers::Kinds;
use crate::wire::query::Query;

/// The service. One for each core.
pub struct S3 {
    config: Rc<Config>,
    known: Rc<KnownBuckets>,
}

impl S3 {
    /// A service with this configuration.
    #[must_use]
    pub fn new(config: Config) -> S3 {
        S3 { config: Rc::new(config), known: Rc::default() }
    }

    /// The bucket that a request's host names, which Signature Version 2 covers.
    #[must_use]
    pub fn bucket_of_host(&self, authority: &str) -> Option<String> {
        let address = wire::address::parse("/", Some(authority), &self.config.virtual_hosts).ok()?;
        address.bucket
    }

    fn route(
        &self,
        request: &Request,
    ) -> Result<(wire::address::Address, Query, &'static router::Operation), Error> {
        let head = &request.head;
        let address =
            wire::address::parse(&head.path, head.authority.as_deref(), &self.config.virtual_hosts)?;
        let query = Query::parse(head.query.as_deref())?;
        let operation = router::route(&head.method, &address, &query, &head.headers)?;
        Ok((address, query, operation))
    }
}

impl Service for S3 {
    fn start(&self, cx: &mut Context<'_>, request: Request) -> Started {
        let (address, query, operation) = match self.route(&request) {
            Ok(found) => found,
            Err(error) => {
                let reply = render(&request.head, &request.request_id, &request.host_id, &error);
                return Started { operation: "Invalid", plan: Plan::Reply(reply) };
            }
        };
        let account = match request.caller {
            plan::Caller::Anonymous => None,
            plan::Caller::Account(account) => Some(account),
        };
        let call = Shared::new(Call {
            config: Rc::clone(&self.config),
            kinds: Kinds::of(&request.head.headers),
            known: Rc::clone(&self.known),
            head: request.head,
            body_length: request.body_length,
            account,
            request_id: request.request_id,
            host_id: request.host_id,
            query,
            bucket_name: address.bucket.unwrap_or_default(),
            key: address.key,
            action: operation.action,
        });
        let outcome = (operation.start)(call.clone(), cx);
        Started { operation: operation.name, plan: settle(&call, outcome) }
    }

    fn refuse(&self, request: &Request, error: aws::ErrorReply) -> Reply {
        render(&request.head, &request.request_id, &request.host_id, &Error::from(error))
    }
}
