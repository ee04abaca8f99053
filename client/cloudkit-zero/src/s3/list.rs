//! Listings: buckets, objects, versions.

use cloudkit_core::api::{Level, ListOptions, ObjectVersion};
use cloudkit_core::common::{
    BucketMetadata, CloudError, Failure, ListResult, ObjectMetadata, PaginationToken,
};
use http_types::Method;

use super::read::{self, Page};
use super::{ZeroStore, request};
use crate::call::Request;
use crate::service::{ANSWER_BYTES_MAX, Operation};
use crate::xml::Element;

impl ZeroStore {
    /// All buckets, page after page.
    pub(super) async fn all_buckets(&self) -> Result<Vec<BucketMetadata>, Failure> {
        let operation = Operation::new("ListBuckets");
        let mut buckets = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut request = Request::new("s3", Method::GET, "/");
            if let Some(token) = &token {
                request.query.push("continuation-token", token);
            }
            let root = self.document(&operation, request).await?;
            let page = read::buckets(&root, self.client.region_code());
            let page = page.map_err(|what| self.client.malformed(&operation, &what))?;
            buckets.extend(page.items);
            // A service that gives the same token again would never end.
            if page.next_token.is_none() || page.next_token == token {
                return Ok(buckets);
            }
            token = page.next_token;
        }
    }

    /// One page of objects. A delimiter makes the service count what it groups; then several of its pages are one here.
    pub(super) async fn page_of_objects(
        &self,
        bucket: &str,
        options: ListOptions,
    ) -> Result<ListResult<ObjectMetadata>, Failure> {
        let operation = Operation::on("ListObjectsV2", bucket);
        request::check_bucket(bucket).map_err(|kind| self.client.refusal(&operation, kind))?;
        let wanted = options.max_results.unwrap_or(PAGE_COUNT_MAX).min(PAGE_COUNT_MAX) as usize;
        let mut items = Vec::new();
        let mut token = options.continuation_token.clone();
        loop {
            let mut request = filtered(bucket, &options, wanted - items.len());
            request.query.push("list-type", "2");
            if let Some(token) = &token {
                request.query.push("continuation-token", token);
            }
            let root = self.document(&operation, request).await?;
            let Page { items: more, next_token } =
                read::objects(&root).map_err(|what| self.client.malformed(&operation, &what))?;
            items.extend(more);
            let is_stuck = next_token.is_some() && next_token == token;
            token = next_token;
            if is_stuck {
                return Err(self.client.malformed(&operation, "the next page is this one again"));
            }
            if token.is_none() || items.len() >= wanted {
                return Ok(ListResult::new(items, PaginationToken(token)));
            }
        }
    }

    /// One page of a level, as the service groups it.
    pub(super) async fn page_of_level(
        &self,
        bucket: &str,
        mut options: ListOptions,
    ) -> Result<Level, Failure> {
        let operation = Operation::on("ListObjectsV2", bucket);
        request::check_bucket(bucket).map_err(|kind| self.client.refusal(&operation, kind))?;
        options.delimiter = options.delimiter.filter(|delimiter| !delimiter.is_empty());
        options.delimiter.get_or_insert_with(|| DELIMITER.into());
        let wanted = options.max_results.unwrap_or(PAGE_COUNT_MAX).min(PAGE_COUNT_MAX) as usize;
        let mut request = filtered(bucket, &options, wanted);
        request.query.push("list-type", "2");
        if let Some(token) = &options.continuation_token {
            request.query.push("continuation-token", token);
        }
        let root = self.document(&operation, request).await?;
        let malformed = |what: String| self.client.malformed(&operation, &what);
        let Page { items, next_token } = read::objects(&root).map_err(malformed)?;
        let folders = read::folders(&root).map_err(malformed)?;
        Ok(Level::new(items, folders, PaginationToken(next_token)))
    }

    /// One page of versions.
    pub(super) async fn page_of_versions(
        &self,
        bucket: &str,
        options: ListOptions,
    ) -> Result<ListResult<ObjectVersion>, Failure> {
        let operation = Operation::on("ListObjectVersions", bucket);
        let refuse = |kind: CloudError| self.client.refusal(&operation, kind);
        request::check_bucket(bucket).map_err(refuse)?;
        let wanted = options.max_results.unwrap_or(PAGE_COUNT_MAX).min(PAGE_COUNT_MAX) as usize;
        let mut items = Vec::new();
        let mut token = options.continuation_token.clone();
        loop {
            let mut request = filtered(bucket, &options, wanted - items.len());
            request.query.push("versions", "");
            if let Some(token) = &token {
                let words = "the continuation token is none of a listing of versions";
                let (key, id) = read::version_markers(token)
                    .ok_or_else(|| refuse(CloudError::Validation(words.into())))?;
                request.query.push("key-marker", &key);
                if !id.is_empty() {
                    request.query.push("version-id-marker", &id);
                }
            }
            let root = self.document(&operation, request).await?;
            let Page { items: more, next_token } =
                read::versions(&root).map_err(|what| self.client.malformed(&operation, &what))?;
            items.extend(more);
            let is_stuck = next_token.is_some() && next_token == token;
            token = next_token;
            if is_stuck {
                return Err(self.client.malformed(&operation, "the next page is this one again"));
            }
            if token.is_none() || items.len() >= wanted {
                return Ok(ListResult::new(items, PaginationToken(token)));
            }
        }
    }

    /// Calls and reads a document.
    pub(super) async fn document(
        &self,
        operation: &Operation<'_>,
        request: Request,
    ) -> Result<Element, Failure> {
        let whole = self.client.whole(operation, request, ANSWER_BYTES_MAX).await?;
        read::document(&whole.body).map_err(|what| self.client.malformed(operation, &what))
    }
}

/// A listing of a bucket with what both kinds of it have.
fn filtered(bucket: &str, options: &ListOptions, count_max: usize) -> Request {
    let mut request = request::of_bucket(Method::GET, bucket);
    let query = &mut request.query;
    // Keys may have characters that no XML document can hold.
    query.push("encoding-type", "url");
    query.push("max-keys", &count_max.to_string());
    for (name, value) in [("prefix", &options.prefix), ("delimiter", &options.delimiter)] {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            query.push(name, value);
        }
    }
    request
}

/// The most objects of one page, as S3 has it.
const PAGE_COUNT_MAX: u32 = 1_000;
/// What parts folders unless the listing says otherwise.
const DELIMITER: &str = "/";
