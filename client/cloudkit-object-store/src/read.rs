//! Reads: conditions that the provider knows go to it, others are looked at here.
//! Invariant: facts that a condition was looked at with, and the bytes that are read, are of one version.

use crate::convert::{attributes, bare, byte_range, meta};
use crate::error::{error, generic};
use crate::store::BucketStore;
use cloudkit_core::api::{GetStreamOptions, ObjectStorage};
use cloudkit_core::common::ObjectMetadata;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{Attribute, Error, GetOptions, GetResult, GetResultPayload, Result};

impl<S: ObjectStorage + 'static> BucketStore<S> {
    pub(crate) async fn read(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.head {
            let (facts, version) = self.facts(location, &options).await?;
            let mut meta = meta(location.clone(), &facts);
            meta.version = version;
            options.check_preconditions(&meta)?;
            let range = 0..meta.size;
            return Ok(GetResult {
                payload: GetResultPayload::Stream(stream::empty().boxed()),
                meta,
                range,
                attributes: attributes(facts),
            });
        }
        if !is_local(&options) {
            return self.read_if(location, &options, options.if_match.clone()).await;
        }
        for _ in 1..READ_COUNT_MAX {
            match self.read_checked(location, &options).await {
                // The object has changed in between: what was looked at is not what would be read.
                Err(Error::Precondition { .. }) if self.still_holds(location, &options).await? => {}
                read => return read,
            }
        }
        self.read_checked(location, &options).await
    }

    /// Looks at the conditions, then reads what was looked at.
    async fn read_checked(&self, location: &Path, options: &GetOptions) -> Result<GetResult> {
        let (facts, _) = self.facts(location, options).await?;
        let meta = meta(location.clone(), &facts);
        options.check_preconditions(&meta)?;
        let mut unconditional = options.clone();
        unconditional.if_none_match = None;
        self.read_if(location, &unconditional, meta.e_tag).await
    }

    async fn still_holds(&self, location: &Path, options: &GetOptions) -> Result<bool> {
        let (facts, _) = self.facts(location, options).await?;
        Ok(options.check_preconditions(&meta(location.clone(), &facts)).is_ok())
    }

    async fn facts(&self, location: &Path, options: &GetOptions) -> Result<(ObjectMetadata, Option<String>)> {
        let (storage, bucket) = (&self.storage, &self.bucket);
        let Some(version) = &options.version else {
            let facts = storage.head_object(bucket, location.as_ref()).await;
            return Ok((facts.map_err(|failed| error(failed, location))?, None));
        };
        // A HEAD has no version; the body of this read is dropped before its first byte.
        let read = GetStreamOptions::new().version_id(version);
        let object = storage.get_stream(bucket, location.as_ref(), read).await;
        let object = object.map_err(|failed| error(failed, location))?;
        Ok((object.meta, object.version_id))
    }

    async fn read_if(
        &self,
        location: &Path,
        options: &GetOptions,
        if_match: Option<String>,
    ) -> Result<GetResult> {
        let mut read = GetStreamOptions::new();
        read.range = options.range.as_ref().map(byte_range).transpose()?;
        read.if_match = if_match.as_deref().map(bare);
        read.if_none_match = options.if_none_match.as_deref().map(bare);
        read.version_id = options.version.clone();
        let object = self.storage.get_stream(&self.bucket, location.as_ref(), read).await;
        let object = object.map_err(|failed| error(failed, location))?;
        let mut meta = meta(location.clone(), &object.meta);
        meta.version = object.version_id;
        let range = match &options.range {
            None => 0..meta.size,
            Some(range) => range.as_range(meta.size).map_err(generic)?,
        };
        let mut attributes = attributes(object.meta);
        let told = [
            (Attribute::CacheControl, object.cache_control),
            (Attribute::ContentEncoding, object.content_encoding),
        ];
        for (name, value) in told {
            if let Some(value) = value {
                attributes.insert(name, value.into());
            }
        }
        let place = location.clone();
        let body = object.body.map_err(move |failed| error(failed, &place));
        Ok(GetResult { payload: GetResultPayload::Stream(body.boxed()), meta, range, attributes })
    }
}

/// Whether there is a condition that a provider does not know: a date, a star, several entity tags.
fn is_local(options: &GetOptions) -> bool {
    let several = |tags: &Option<String>| tags.as_deref().is_some_and(|tags| tags.contains(['*', ',']));
    options.if_modified_since.is_some()
        || options.if_unmodified_since.is_some()
        || several(&options.if_match)
        || several(&options.if_none_match)
}

/// How often a read begins again because the object has changed in between.
const READ_COUNT_MAX: u32 = 5;
