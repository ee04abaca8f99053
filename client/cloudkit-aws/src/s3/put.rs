//! Writing an object: one request, or parts where it is long.
//!
//! ```text
//! create --(a task of its own)--> parts, some at once --> complete --> done
//!    |                               |                       |
//!    '--------- dropped or failed ---'-----------------------'--> abort, in a task of its own
//! ```
//! Invariant: an upload that was begun is completed or aborted, however its caller ends; no more of the body is in memory than the
//! parts that are under way.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, StorageClass};
use bytes::Bytes;
use cloudkit_core::api::{PutCondition, PutResult, PutStreamOptions};
use cloudkit_core::common::{ByteStream, CloudError, CloudResult, Failure, within};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};

use super::blank::taken;
use super::parts::{Cutter, PART_COUNT_MAX, PartPlan};
use super::text::{check_metadata, check_object, check_value, quoted, tag_form};
use super::{S3Storage, read};
use crate::fault::PROVIDER;
use crate::operation::Operation;

/// What goes with an object: a put and the making of an upload take it by the same names.
macro_rules! described {
    ($request:expr, $options:expr) => {{
        let options: &PutStreamOptions = $options;
        $request
            .set_content_type(options.content_type.clone())
            .set_cache_control(options.cache_control.clone())
            .set_content_encoding(options.content_encoding.clone())
            .set_storage_class(options.storage_class.as_deref().map(StorageClass::from))
            .set_metadata(Some(options.metadata.clone()).filter(|metadata| !metadata.is_empty()))
            .set_tagging(Some(tag_form(&options.tags)).filter(|tags| !tags.is_empty()))
    }};
}

impl S3Storage {
    /// Writes an object.
    pub(super) async fn put(
        &self,
        bucket: &str,
        key: &str,
        body: ByteStream,
        options: PutStreamOptions,
    ) -> Result<PutResult, Failure> {
        let operation = Operation::inside("PutObject", bucket, key);
        let checked = check_object(bucket, key).and_then(|()| check_options(&options));
        checked.map_err(|kind| self.caller.refusal(&operation, kind))?;
        within(options.deadline, PROVIDER, operation.name, self.put_in_time(&operation, body, &options)).await
    }

    async fn put_in_time(
        &self,
        operation: &Operation<'_>,
        body: ByteStream,
        options: &PutStreamOptions,
    ) -> Result<PutResult, Failure> {
        let refuse = |kind: CloudError| self.caller.refusal(operation, kind);
        let length = body.length().map(|length| length.saturating_sub(body.given()));
        let plan = PartPlan::new(options.part_bytes, length);
        let mut cutter = Cutter::new(body);
        let first = cutter.part(plan.bytes_of(1)).await.map_err(refuse)?;
        if !cutter.is_filled().await.map_err(refuse)? {
            return self.put_bytes(operation, first, options).await;
        }
        let mut upload = self.begin(operation, options).await?;
        match upload.send_all(cutter, first, plan, options.parallel_parts).await {
            Ok(parts) => self.complete(operation, upload, parts, options).await,
            Err(failure) => {
                upload.abort().await;
                Err(failure)
            }
        }
    }

    async fn put_bytes(
        &self,
        operation: &Operation<'_>,
        bytes: Bytes,
        options: &PutStreamOptions,
    ) -> Result<PutResult, Failure> {
        let (bucket, key) = self.names(operation);
        let (if_match, if_none_match) = conditions(options.condition.as_ref());
        let request = self.s3().put_object().bucket(bucket).key(taken(key)).body(bytes.into());
        let call =
            described!(request, options).set_if_match(if_match).set_if_none_match(if_none_match).send();
        let output = self.caller.run(&operation.once_if(options.condition.is_some()), call).await?;
        Ok(read::put(&output))
    }

    /// Begins an upload in a task of its own: whoever is dropped while the answer is on its way leaves nothing behind.
    async fn begin(&self, operation: &Operation<'_>, options: &PutStreamOptions) -> Result<Upload, Failure> {
        let (bucket, key) = self.names(operation);
        let (store, bucket, key) = (self.clone(), bucket.to_string(), key.to_string());
        let (options, runtime) = (options.clone(), Handle::current());
        let (tell, told) = oneshot::channel();
        runtime.clone().spawn(async move {
            let created = store.create(bucket, key, &options, runtime).await;
            // Nobody listens any more: what comes back here is dropped, and an upload that is dropped is aborted.
            drop(tell.send(created));
        });
        told.await.unwrap_or_else(|_| {
            let words = "the runtime stopped while an upload was being made";
            Err(self.caller.refusal(operation, CloudError::Internal(words.into())))
        })
    }

    async fn create(
        self,
        bucket: String,
        key: String,
        options: &PutStreamOptions,
        runtime: Handle,
    ) -> Result<Upload, Failure> {
        let operation = Operation::inside("CreateMultipartUpload", &bucket, &key);
        let request = self.s3().create_multipart_upload().bucket(&bucket).key(taken(&key));
        let output = self.caller.run(&operation, described!(request, options).send()).await?;
        let id =
            output.upload_id().ok_or_else(|| self.caller.malformed(&operation, "UploadId is missing"))?;
        let id = id.to_string();
        let target = Some(Arc::new(Target { store: self, bucket, key, id }));
        Ok(Upload { target, tasks: JoinSet::new(), runtime })
    }

    /// Makes the object of the parts.
    async fn complete(
        &self,
        operation: &Operation<'_>,
        mut upload: Upload,
        parts: Vec<CompletedPart>,
        options: &PutStreamOptions,
    ) -> Result<PutResult, Failure> {
        let Some(target) = upload.target.clone() else {
            unreachable!("it is neither completed nor aborted yet")
        };
        let (if_match, if_none_match) = conditions(options.condition.as_ref());
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let call = self
            .s3()
            .complete_multipart_upload()
            .bucket(&target.bucket)
            .key(taken(&target.key))
            .upload_id(&target.id)
            .multipart_upload(parts)
            .set_if_match(if_match)
            .set_if_none_match(if_none_match)
            .send();
        // A second one would find no upload any more.
        let operation = Operation { name: "CompleteMultipartUpload", ..operation.once() };
        match self.caller.run(&operation, call).await {
            Ok(output) => {
                upload.target = None;
                Ok(read::completed(&output))
            }
            Err(failure) => {
                upload.abort().await;
                Err(failure)
            }
        }
    }
}

fn check_options(options: &PutStreamOptions) -> CloudResult<()> {
    let headers = [
        ("content_type", &options.content_type),
        ("cache_control", &options.cache_control),
        ("content_encoding", &options.content_encoding),
        ("storage_class", &options.storage_class),
    ];
    for (name, value) in headers {
        value.as_deref().map_or(Ok(()), |value| check_value(name, value))?;
    }
    if let Some(PutCondition::Matches(etag)) = &options.condition {
        check_value("if_match", etag)?;
    }
    check_metadata(&options.metadata)
}

/// If-Match and If-None-Match.
fn conditions(condition: Option<&PutCondition>) -> (Option<String>, Option<String>) {
    match condition {
        Some(PutCondition::Matches(etag)) => (Some(quoted(etag)), None),
        Some(_) => (None, Some("*".into())),
        None => (None, None),
    }
}

/// An upload that is under way. Dropping it aborts it in a task of its own.
struct Upload {
    /// None once it is completed or being aborted.
    target: Option<Arc<Target>>,
    tasks: JoinSet<Result<(u64, CompletedPart), Failure>>,
    runtime: Handle,
}

/// Which upload.
struct Target {
    store: S3Storage,
    bucket: String,
    key: String,
    id: String,
}

impl Upload {
    /// Cuts and sends all parts. Errors: the body's, and the first part's that fails.
    async fn send_all(
        &mut self,
        mut cutter: Cutter,
        first: Bytes,
        plan: PartPlan,
        parallel: Option<u32>,
    ) -> Result<Vec<CompletedPart>, Failure> {
        let parallel = parallel.unwrap_or(PARALLEL_PARTS).clamp(1, PARALLEL_PARTS_MAX) as usize;
        let mut sent = BTreeMap::new();
        let (mut number, mut part) = (1, first);
        while !part.is_empty() {
            if number > PART_COUNT_MAX {
                return Err(
                    self.refusal(CloudError::Validation("the body has more than 10,000 parts".into()))
                );
            }
            self.send(number, part);
            // The part that is filling is one of those in memory.
            while self.tasks.len() >= parallel {
                self.join(&mut sent).await?;
            }
            number += 1;
            part = cutter.part(plan.bytes_of(number)).await.map_err(|kind| self.refusal(kind))?;
        }
        while !self.tasks.is_empty() {
            self.join(&mut sent).await?;
        }
        Ok(sent.into_values().collect())
    }

    async fn join(&mut self, sent: &mut BTreeMap<u64, CompletedPart>) -> Result<(), Failure> {
        let Some(joined) = self.tasks.join_next().await else { return Ok(()) };
        let broken = |error: JoinError| CloudError::Internal(format!("a part was not sent: {error}"));
        let (number, part) = joined.map_err(|error| self.refusal(broken(error)))??;
        sent.insert(number, part);
        Ok(())
    }

    fn send(&mut self, number: u64, bytes: Bytes) {
        if let Some(target) = self.target.clone() {
            self.tasks.spawn_on(async move { target.put_part(number, bytes).await }, &self.runtime);
        }
    }

    fn refusal(&self, kind: CloudError) -> Failure {
        match &self.target {
            Some(target) => target.store.caller.refusal(&target.operation("PutObject"), kind),
            None => kind.into(),
        }
    }

    /// Aborts it and waits for that. Whoever stops waiting changes nothing: the task goes on.
    async fn abort(mut self) {
        if let Some(task) = self.abort_behind() {
            // A task that panicked has said so by itself.
            task.await.ok();
        }
    }

    fn abort_behind(&mut self) -> Option<tokio::task::JoinHandle<()>> {
        let target = self.target.take()?;
        let mut tasks = std::mem::take(&mut self.tasks);
        Some(self.runtime.spawn(async move {
            // A part that arrives behind the abort would be kept, and paid for.
            tasks.shutdown().await;
            target.abort().await;
        }))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.abort_behind();
    }
}

impl Target {
    fn operation(&self, name: &'static str) -> Operation<'_> {
        Operation::inside(name, &self.bucket, &self.key)
    }

    async fn put_part(&self, number: u64, bytes: Bytes) -> Result<(u64, CompletedPart), Failure> {
        let operation = self.operation("UploadPart");
        let part_number = i32::try_from(number).unwrap_or(i32::MAX);
        let call = self
            .store
            .s3()
            .upload_part()
            .bucket(&self.bucket)
            .key(taken(&self.key))
            .upload_id(&self.id)
            .part_number(part_number)
            .body(bytes.into())
            .send();
        let output = self.store.caller.run(&operation, call).await?;
        // What the service was told of a part it is told of the whole again.
        let part = CompletedPart::builder()
            .part_number(part_number)
            .set_e_tag(output.e_tag().map(String::from))
            .set_checksum_crc32(output.checksum_crc32().map(String::from))
            .build();
        Ok((number, part))
    }

    async fn abort(&self) {
        let operation = self.operation("AbortMultipartUpload");
        let call = self.store.s3().abort_multipart_upload().bucket(&self.bucket).key(taken(&self.key));
        match self.store.caller.run(&operation, call.upload_id(&self.id).send()).await {
            Ok(_) => {}
            Err(failure) if failure.kind.is_not_found() => {}
            Err(failure) => tracing::warn!(upload = self.id, %failure, "an upload could not be aborted"),
        }
    }
}

/// Parts that are sent at once.
const PARALLEL_PARTS: u32 = 4;
/// More than this helps nobody.
const PARALLEL_PARTS_MAX: u32 = 64;
