//! Listings: buckets, objects, levels, versions.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::EncodingType;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use cloudkit_core::api::{Level, ListOptions, ObjectVersion};
use cloudkit_core::common::{BucketMetadata, Failure, ListResult, Metadata, ObjectMetadata, PaginationToken};

use super::text::{append_encoded, check_bucket, decoded, unquoted};
use super::{S3Storage, read};
use crate::operation::Operation;

impl S3Storage {
    /// All buckets, page after page.
    pub(super) async fn all_buckets(&self) -> Result<Vec<BucketMetadata>, Failure> {
        let operation = Operation::new("ListBuckets");
        let mut buckets = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let call = self.s3().list_buckets().set_continuation_token(token.clone()).send();
            let page = self.caller.run(&operation, call).await?;
            for bucket in page.buckets() {
                let name =
                    bucket.name().ok_or_else(|| self.caller.malformed(&operation, "Name is missing"))?;
                let region = bucket.bucket_region().unwrap_or_else(|| self.region_code());
                let mut metadata = BucketMetadata::new(name, region);
                metadata.created_at = read::time(bucket.creation_date())
                    .ok_or_else(|| self.caller.malformed(&operation, "CreationDate is missing"))?;
                buckets.push(metadata);
            }
            let next = page.continuation_token().filter(|token| !token.is_empty()).map(String::from);
            // A service that gives the same token again would never end.
            if next.is_none() || next == token {
                return Ok(buckets);
            }
            token = next;
        }
    }

    /// One page of the service.
    async fn page(
        &self,
        operation: &Operation<'_>,
        options: &ListOptions,
        delimiter: Option<&str>,
        count: usize,
        token: Option<&str>,
    ) -> Result<(Vec<ObjectMetadata>, Vec<String>, Option<String>), Failure> {
        let call = self
            .s3()
            .list_objects_v2()
            .bucket(operation.outer())
            // Keys may have characters that no XML document can hold.
            .encoding_type(EncodingType::Url)
            .max_keys(i32::try_from(count).unwrap_or(i32::MAX))
            .set_prefix(options.prefix.clone().filter(|prefix| !prefix.is_empty()))
            .set_delimiter(delimiter.filter(|delimiter| !delimiter.is_empty()).map(String::from))
            .set_continuation_token(token.map(String::from))
            .send();
        let output = self.caller.run(operation, call).await?;
        let malformed = |what: &str| self.caller.malformed(operation, what);
        let (objects, folders) = contents(&output).map_err(malformed)?;
        let next = match output.is_truncated() {
            Some(true) => {
                Some(output.next_continuation_token().ok_or_else(|| malformed(NO_TOKEN))?.to_string())
            }
            Some(false) | None => None,
        };
        if next.is_some() && next.as_deref() == token {
            return Err(malformed(STUCK));
        }
        Ok((objects, folders, next))
    }

    /// One page of objects. A delimiter makes the service count what it groups; then several of its pages are one here.
    pub(super) async fn page_of_objects(
        &self,
        bucket: &str,
        options: ListOptions,
    ) -> Result<ListResult<ObjectMetadata>, Failure> {
        let operation = Operation::on("ListObjectsV2", bucket);
        check_bucket(bucket).map_err(|kind| self.caller.refusal(&operation, kind))?;
        let wanted = wanted(&options);
        let mut items = Vec::new();
        let mut token = options.continuation_token.clone();
        loop {
            let delimiter = options.delimiter.as_deref();
            let rest = wanted - items.len();
            let (more, _, next) = self.page(&operation, &options, delimiter, rest, token.as_deref()).await?;
            items.extend(more);
            token = next;
            if token.is_none() || items.len() >= wanted {
                return Ok(ListResult::new(items, PaginationToken(token)));
            }
        }
    }

    /// One page of a level.
    pub(super) async fn page_of_level(&self, bucket: &str, options: ListOptions) -> Result<Level, Failure> {
        let operation = Operation::on("ListObjectsV2", bucket);
        check_bucket(bucket).map_err(|kind| self.caller.refusal(&operation, kind))?;
        let delimiter = options.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty()).unwrap_or("/");
        let token = options.continuation_token.as_deref();
        let page = self.page(&operation, &options, Some(delimiter), wanted(&options), token);
        let (objects, folders, next) = page.await?;
        Ok(Level::new(objects, folders, PaginationToken(next)))
    }

    /// One page of versions.
    pub(super) async fn page_of_versions(
        &self,
        bucket: &str,
        options: ListOptions,
    ) -> Result<ListResult<ObjectVersion>, Failure> {
        let operation = Operation::on("ListObjectVersions", bucket);
        check_bucket(bucket).map_err(|kind| self.caller.refusal(&operation, kind))?;
        let wanted = wanted(&options);
        let mut items = Vec::new();
        let mut token = options.continuation_token.clone();
        loop {
            let markers = token.as_deref().map(|token| {
                version_markers(token).ok_or_else(|| {
                    self.caller.invalid(&operation, "the continuation token is none of a listing of versions")
                })
            });
            let (key, id) = markers.transpose()?.unzip();
            let order = Order::default();
            let call = self
                .s3()
                .list_object_versions()
                .bucket(bucket)
                .encoding_type(EncodingType::Url)
                .max_keys(i32::try_from(wanted - items.len()).unwrap_or(i32::MAX))
                .set_prefix(options.prefix.clone().filter(|prefix| !prefix.is_empty()))
                .set_delimiter(options.delimiter.clone().filter(|delimiter| !delimiter.is_empty()))
                .set_key_marker(key)
                .set_version_id_marker(id.filter(|id| !id.is_empty()))
                .customize()
                .interceptor(order.clone())
                .send();
            let output = self.caller.run(&operation, call).await?;
            let malformed = |what: &str| self.caller.malformed(&operation, what);
            let (more, next) = versions(&output, &order.taken()).map_err(malformed)?;
            items.extend(more);
            if next.is_some() && next == token {
                return Err(malformed(STUCK));
            }
            token = next;
            if token.is_none() || items.len() >= wanted {
                return Ok(ListResult::new(items, PaginationToken(token)));
            }
        }
    }
}

fn wanted(options: &ListOptions) -> usize {
    options.max_results.unwrap_or(PAGE_COUNT_MAX).min(PAGE_COUNT_MAX) as usize
}

/// What is wrong with an answer.
type Read<T> = Result<T, &'static str>;

fn name(text: Option<&str>, encoding: Option<&EncodingType>) -> Read<String> {
    let text = text.ok_or("a name is missing")?;
    match encoding {
        Some(EncodingType::Url) => decoded(text).ok_or("a name is not encoded as the listing says"),
        _ => Ok(text.to_string()),
    }
}

fn contents(output: &ListObjectsV2Output) -> Read<(Vec<ObjectMetadata>, Vec<String>)> {
    let encoding = output.encoding_type();
    let objects = output.contents().iter().map(|object| {
        Ok(ObjectMetadata {
            key: name(object.key(), encoding)?,
            size: read::count(object.size()).ok_or("Size is missing")?,
            content_type: None,
            etag: object.e_tag().map(unquoted),
            last_modified: read::time(object.last_modified()).ok_or("LastModified is missing")?,
            storage_class: object.storage_class().map(|class| class.as_str().to_string()),
            metadata: Metadata::new(),
        })
    });
    let folders = output.common_prefixes().iter().map(|folder| name(folder.prefix(), encoding));
    Ok((objects.collect::<Read<_>>()?, folders.collect::<Read<_>>()?))
}

/// Which of the entries of a listing of versions are delete markers, in the order of the answer: the SDK gives both apart.
#[derive(Clone, Debug, Default)]
struct Order(Arc<Mutex<Vec<bool>>>);

impl Order {
    fn taken(&self) -> Vec<bool> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[dyn_dispatch_hint]
impl Intercept for Order {
    fn name(&self) -> &'static str {
        "cloudkit order of versions"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response().body().bytes().unwrap_or_default();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = markers(&String::from_utf8_lossy(body));
        Ok(())
    }
}

/// For each `<Version>` and `<DeleteMarker>` of a document, whether it is the latter. Texts in it cannot hold a `<`.
fn markers(document: &str) -> Vec<bool> {
    let tags = document.split('<').filter_map(|tag| {
        let tag = tag.split(['>', ' ', '/']).next()?;
        match tag {
            "Version" => Some(false),
            "DeleteMarker" => Some(true),
            _ => None,
        }
    });
    tags.collect()
}

/// The entries in their order, and the token of the next page.
fn versions(output: &ListObjectVersionsOutput, order: &[bool]) -> Read<(Vec<ObjectVersion>, Option<String>)> {
    let encoding = output.encoding_type();
    let (mut versions, mut markers) = (output.versions().iter(), output.delete_markers().iter());
    if order.len() != versions.len() + markers.len() {
        return Err("the order of its entries is not told");
    }
    let mut items = Vec::with_capacity(order.len());
    for is_delete_marker in order {
        let item = if *is_delete_marker {
            let marker = markers.next().ok_or("a delete marker is missing")?;
            let mut item =
                ObjectVersion::new(name(marker.key(), encoding)?, marker.version_id().unwrap_or_default());
            item.is_latest = marker.is_latest().unwrap_or_default();
            item.is_delete_marker = true;
            item.last_modified = read::time(marker.last_modified());
            item
        } else {
            let version = versions.next().ok_or("a version is missing")?;
            let mut item =
                ObjectVersion::new(name(version.key(), encoding)?, version.version_id().unwrap_or_default());
            item.is_latest = version.is_latest().unwrap_or_default();
            item.size = read::count(version.size()).ok_or("Size is missing")?;
            item.etag = version.e_tag().map(unquoted);
            item.last_modified = read::time(version.last_modified());
            item
        };
        items.push(item);
    }
    let next = match output.is_truncated() {
        Some(true) => {
            let key = name(output.next_key_marker(), encoding)?;
            Some(version_token(&key, output.next_version_id_marker().unwrap_or_default()))
        }
        Some(false) | None => None,
    };
    Ok((items, next))
}

/// Both markers in one text: `key&version`, encoded.
fn version_token(key: &str, version_id: &str) -> String {
    let mut token = String::new();
    append_encoded(&mut token, key);
    token.push('&');
    append_encoded(&mut token, version_id);
    token
}

/// The markers in a token; None for a text that is none.
fn version_markers(token: &str) -> Option<(String, String)> {
    let (key, version_id) = token.split_once('&')?;
    Some((decoded(key)?, decoded(version_id)?))
}

/// The most objects of one page, as S3 has it.
const PAGE_COUNT_MAX: u32 = 1_000;
const NO_TOKEN: &str = "NextContinuationToken is missing";
const STUCK: &str = "the next page is this one again";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_versions_is_that_of_the_document() {
        let document = "<?xml version=\"1.0\"?><ListVersionsResult xmlns=\"x\"><IsTruncated>false</IsTruncated>\
            <DeleteMarker><Key>Version</Key><VersionId>3</VersionId></DeleteMarker>\
            <Version><Key>&lt;DeleteMarker></Key><VersionId>2</VersionId></Version>\
            <Version></Version><VersionIdMarker/></ListVersionsResult>";
        assert_eq!(markers(document), [true, false, false]);
    }

    #[test]
    fn both_markers_are_one_token() {
        let token = version_token("k&é", "v1");
        assert_eq!(version_markers(&token), Some(("k&é".into(), "v1".into())));
        assert_eq!(version_markers("none"), None);
    }
}
