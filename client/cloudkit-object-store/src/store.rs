//! One bucket as an [`ObjectStore`].

use crate::convert::{body, meta, path_of, put_options, quoted};
use crate::error::{Intent, error, error_of, generic};
use crate::upload::Upload;
use async_trait::async_trait;
use cloudkit_core::api::{GetStreamOptions, ListOptions, ObjectStorage, PutStreamOptions};
use cloudkit_core::common::{Metadata, ObjectMetadata};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::{DELIMITER, Path};
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::fmt;
use std::sync::Arc;

/// One bucket of a provider. Its clones are the same bucket.
///
/// The services of a cloud that is chosen at run time fit too: `BucketStore::new(cloud.storage()?, "bucket")`.
pub struct BucketStore<S> {
    pub(crate) storage: Arc<S>,
    pub(crate) bucket: Arc<str>,
}

impl<S: ObjectStorage + 'static> BucketStore<S> {
    /// The bucket of this name, which is not looked for before the first call.
    pub fn new(storage: S, bucket: impl Into<String>) -> Self {
        Self { storage: Arc::new(storage), bucket: bucket.into().into() }
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The provider's storage.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    async fn put(
        &self,
        location: &Path,
        payload: PutPayload,
        mut options: PutStreamOptions,
        mode: PutMode,
    ) -> Result<PutResult> {
        let intent = match mode {
            PutMode::Overwrite => Intent::Any,
            PutMode::Create => {
                options = options.if_absent();
                Intent::Create
            }
            PutMode::Update(version) => {
                let etag = version.e_tag.ok_or_else(|| generic("an update needs the object's entity tag"))?;
                options = options.if_match(crate::convert::bare(&etag));
                Intent::Update
            }
        };
        let written = self.storage.put_stream(&self.bucket, location.as_ref(), body(payload), options).await;
        let written = written.map_err(|failed| error_of(failed.into(), location, intent))?;
        Ok(PutResult { e_tag: written.etag.as_deref().map(quoted), version: written.version_id })
    }

    async fn delete(&self, location: Path) -> Result<Path> {
        match self.storage.delete_object(&self.bucket, location.as_ref()).await {
            Ok(()) => Ok(location),
            Err(failed) => Err(error(failed, &location)),
        }
    }

    /// Deletes what is named, all at once if the provider does it, and gives one answer for each in the same order.
    async fn delete_all(&self, locations: Vec<Result<Path>>) -> Vec<Result<Path>> {
        let keys: Vec<&str> =
            locations.iter().filter_map(|one| one.as_ref().ok()).map(AsRef::as_ref).collect();
        if keys.len() > 1 && self.storage.delete_objects(&self.bucket, &keys).await.is_ok() {
            return locations;
        }
        // One by one, so that each failure is told of the object that it is about.
        let deleted = stream::iter(locations).map(|location| async { self.delete(location?).await });
        deleted.buffered(DELETED_AT_ONCE).collect().await
    }

    /// The objects of a page of a listing, and the options of the next one.
    async fn page(
        &self,
        options: ListOptions,
        place: &Path,
    ) -> Result<(Vec<ObjectMeta>, Option<ListOptions>)> {
        let page = self.storage.list_objects(&self.bucket, options.clone()).await;
        let page = page.map_err(|failed| error(failed, place))?;
        let next = page.next_token.0.map(|token| options.continuation_token(token));
        Ok((objects(&page.items), next))
    }

    /// A copy that must not replace anything: CloudKit has no such copy, but a create-only put.
    async fn copy_new(&self, from: &Path, to: &Path) -> Result<()> {
        let capabilities = self.storage.capabilities();
        let object = self.storage.get_stream(&self.bucket, from.as_ref(), GetStreamOptions::new()).await;
        let object = object.map_err(|failed| error(failed, from))?;
        let mut options = PutStreamOptions::new().if_absent();
        options.content_type = object.meta.content_type;
        options.storage_class = object.meta.storage_class;
        options.metadata = object.meta.metadata;
        if capabilities.supports("get_tags") && capabilities.supports("put_tags") {
            let tags: Result<Metadata, _> = self.storage.get_tags(&self.bucket, from.as_ref()).await;
            options.tags = tags.map_err(|failed| error(failed, from))?;
        }
        let put = self.storage.put_stream(&self.bucket, to.as_ref(), object.body, options).await;
        put.map_err(|failed| error_of(failed.into(), to, Intent::Create))?;
        Ok(())
    }
}

#[async_trait]
impl<S: ObjectStorage + 'static> ObjectStore for BucketStore<S> {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let options = put_options(&opts.attributes, &opts.tags)?;
        self.put(location, payload, options, opts.mode).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let options = put_options(&opts.attributes, &opts.tags)?;
        let (storage, bucket) = (self.storage.clone(), self.bucket.clone());
        Ok(Box::new(Upload::begin(storage, bucket, location.clone(), options)?))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.read(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let chunks = locations.ready_chunks(DELETED_IN_ONE_MAX);
        let deleted = chunks.then(move |chunk| {
            let store = store.clone();
            async move { stream::iter(store.delete_all(chunk).await) }
        });
        deleted.flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let place = prefix.cloned().unwrap_or_default();
        let first = ListOptions { prefix: folder(prefix), ..ListOptions::new() };
        let store = self.clone();
        let pages = stream::try_unfold(Some(first), move |options| {
            let (store, place) = (store.clone(), place.clone());
            async move {
                match options {
                    Some(options) => store.page(options, &place).await.map(Some),
                    None => Ok(None),
                }
            }
        });
        let pages = pages.map_ok(|objects| stream::iter(objects.into_iter().map(Ok)));
        pages.try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let place = prefix.cloned().unwrap_or_default();
        let mut options = ListOptions { prefix: folder(prefix), ..ListOptions::new() }.delimiter(DELIMITER);
        let (mut all, mut common_prefixes) = (Vec::new(), Vec::new());
        loop {
            let page = self.storage.list_level(&self.bucket, options.clone()).await;
            let page = page.map_err(|failed| error(failed, &place))?;
            all.extend(objects(&page.objects));
            let names = page.folders.iter().filter_map(|folder| folder.strip_suffix(DELIMITER));
            common_prefixes.extend(names.filter_map(path_of));
            match page.next_token.0 {
                None => {
                    return Ok(ListResult { common_prefixes, objects: all });
                }
                Some(token) => options = options.continuation_token(token),
            }
        }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        match options.mode {
            CopyMode::Create => self.copy_new(from, to).await,
            // Providers refuse a copy onto itself, which changes nothing of an object that is there.
            CopyMode::Overwrite if from == to => {
                let there = self.storage.head_object(&self.bucket, from.as_ref()).await;
                there.map(|_| ()).map_err(|failed| error(failed, from))
            }
            CopyMode::Overwrite => {
                let (bucket, storage) = (&self.bucket, &self.storage);
                let copied = storage.copy_object(bucket, from.as_ref(), bucket, to.as_ref()).await;
                copied.map_err(|failed| error(failed, from))
            }
        }
    }
}

impl<S> Clone for BucketStore<S> {
    fn clone(&self) -> Self {
        Self { storage: self.storage.clone(), bucket: self.bucket.clone() }
    }
}

impl<S> fmt::Debug for BucketStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketStore").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

impl<S> fmt::Display for BucketStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloudKit({})", self.bucket)
    }
}

/// The objects that have a path.
fn objects(listed: &[ObjectMetadata]) -> Vec<ObjectMeta> {
    listed.iter().filter_map(|facts| Some(meta(path_of(&facts.key)?, facts))).collect()
}

/// The keys below a prefix begin with this: prefixes of `object_store` end where a segment ends.
fn folder(prefix: Option<&Path>) -> Option<String> {
    prefix.filter(|prefix| !prefix.as_ref().is_empty()).map(|prefix| format!("{prefix}{DELIMITER}"))
}

/// As many as a request of S3 may name.
const DELETED_IN_ONE_MAX: usize = 1_000;
const DELETED_AT_ONCE: usize = 10;
