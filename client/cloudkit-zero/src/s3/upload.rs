//! A body in parts.
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
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use cloudkit_core::api::{ChecksumAlgorithm, PutResult, PutStreamOptions};
use cloudkit_core::common::{CloudError, CloudResult, Failure};
use http_types::Method;
use http_types::header::{HeaderMap, HeaderName, HeaderValue};
use md5::{Digest, Md5};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::parts::{Cutter, PART_COUNT_MAX, PartPlan, too_long};
use super::put::{hex, may_have_succeeded};
use super::request::{self, CHECKSUM_ALGORITHM, CHECKSUM_TYPE, CRC64NVME};
use super::{ZeroStore, read};
use crate::call::Request;
use crate::checksum::Crc64;
use crate::service::{ANSWER_BYTES_MAX, Operation, ServiceClient};
use crate::xml;

/// An upload that is under way. Dropping it aborts it in a task of its own.
pub struct Upload {
    /// None once it is completed or being aborted.
    target: Option<Arc<Target>>,
    tasks: JoinSet<Result<Part, Failure>>,
    runtime: Handle,
}

/// Which upload.
#[derive(Debug)]
pub struct Target {
    client: ServiceClient,
    bucket: String,
    key: String,
    id: String,
    deadline: Option<Instant>,
}

/// A part that the service has.
#[derive(Clone, Debug)]
pub struct Part {
    number: u64,
    etag: String,
    checksum: Option<Crc64>,
    bytes: u64,
}

impl ZeroStore {
    /// Sends a body in parts. `first`: what was cut from it already.
    #[allow(clippy::too_many_arguments, reason = "each is something else, and the caller is one")]
    pub(super) async fn upload(
        &self,
        bucket: &str,
        key: &str,
        mut cutter: Cutter<'_>,
        first: Option<Bytes>,
        plan: PartPlan,
        options: &PutStreamOptions,
        deadline: Option<Instant>,
    ) -> Result<PutResult, Failure> {
        let parallel = options.parallel_parts.unwrap_or(PARALLEL_PARTS).clamp(1, PARALLEL_PARTS_MAX) as usize;
        let operation = Operation::inside("CreateMultipartUpload", bucket, key);
        let mut headers = HeaderMap::new();
        let mut conditions = HeaderMap::new();
        request::describe(&mut headers, options)
            .and_then(|()| request::condition(&mut conditions, options.condition.as_ref()))
            .map_err(|kind| self.client.refusal(&operation, kind))?;
        let mut upload = self.begin(bucket, key, headers, deadline).await?;
        let parts = match upload.send_all(&mut cutter, first, plan, parallel).await {
            Ok(parts) => parts,
            Err(failure) => {
                upload.abort().await;
                return Err(failure);
            }
        };
        self.complete(upload, parts, conditions).await
    }

    /// Begins an upload in a task of its own: whoever is dropped while the answer is on its way leaves nothing behind.
    pub(super) async fn begin(
        &self,
        bucket: &str,
        key: &str,
        headers: HeaderMap,
        deadline: Option<Instant>,
    ) -> Result<Upload, Failure> {
        let (client, bucket, key) = (self.client.clone(), bucket.to_string(), key.to_string());
        let runtime = Handle::current();
        let (tell, told) = oneshot::channel();
        runtime.clone().spawn(async move {
            let created = create(client, bucket, key, headers, deadline, runtime).await;
            // Nobody listens any more: what comes back here is dropped, and an upload that is dropped is aborted.
            drop(tell.send(created));
        });
        match told.await {
            Ok(created) => created,
            Err(_) => {
                let kind = CloudError::Internal("the runtime stopped while an upload was being made".into());
                Err(self.client.refusal(&Operation::new("CreateMultipartUpload"), kind))
            }
        }
    }

    /// Makes the object of the parts.
    pub(super) async fn complete(
        &self,
        mut upload: Upload,
        parts: Vec<Part>,
        conditions: HeaderMap,
    ) -> Result<PutResult, Failure> {
        let Some(target) = upload.target.clone() else {
            unreachable!("it is neither completed nor aborted yet")
        };
        let checksum = whole_checksum(&parts).map(Crc64::value);
        let completed = complete(&target, &parts, conditions, checksum.as_deref()).await;
        let (bucket, key) = (target.bucket.as_str(), target.key.as_str());
        let outcome = match completed {
            Ok(result) => self.confirmed(bucket, key, result, checksum),
            Err(failure) if may_have_succeeded(&failure) => {
                let found = match (whole_etag(&parts), &checksum) {
                    (Some(etag), Some(checksum)) => {
                        self.found_as_put(bucket, key, &etag, checksum, target.deadline).await
                    }
                    _ => None,
                };
                found.ok_or(failure)
            }
            Err(failure) => Err(failure),
        };
        match &outcome {
            Ok(_) => upload.target = None,
            Err(_) => upload.abort().await,
        }
        outcome
    }
}

async fn create(
    client: ServiceClient,
    bucket: String,
    key: String,
    headers: HeaderMap,
    deadline: Option<Instant>,
    runtime: Handle,
) -> Result<Upload, Failure> {
    let operation = Operation::inside("CreateMultipartUpload", &bucket, &key);
    let mut request = request::of_object(Method::POST, &bucket, &key);
    request.query.push("uploads", "");
    request.headers.extend(headers);
    request.headers.insert(CHECKSUM_ALGORITHM, HeaderValue::from_static("CRC64NVME"));
    request.headers.insert(CHECKSUM_TYPE, FULL_OBJECT);
    request.deadline = deadline;
    let whole = client.whole(&operation, request, ANSWER_BYTES_MAX).await?;
    let root = read::document(&whole.body).map_err(|what| client.malformed(&operation, &what))?;
    let id = request::required(&client, &operation, root.text_of("UploadId"), "UploadId")?.to_string();
    let target = Some(Arc::new(Target { client, bucket, key, id, deadline }));
    Ok(Upload { target, tasks: JoinSet::new(), runtime })
}

/// What happens next while parts are sent.
enum Event {
    Cut(CloudResult<Bytes>),
    Sent(Result<Result<Part, Failure>, JoinError>),
}

impl Upload {
    /// Cuts and sends all parts. Errors: the body's, and the first part's that fails.
    async fn send_all(
        &mut self,
        cutter: &mut Cutter<'_>,
        mut first: Option<Bytes>,
        plan: PartPlan,
        parallel: usize,
    ) -> Result<Vec<Part>, Failure> {
        let mut sent = BTreeMap::new();
        let mut number = 1;
        let mut is_cut = false;
        while !is_cut || !self.tasks.is_empty() {
            // The part that is filling is one of those in memory.
            let may_cut = !is_cut && self.tasks.len() < parallel;
            let bytes = usize::try_from(plan.bytes_of(number)).unwrap_or(usize::MAX);
            let event = match first.take() {
                Some(part) => Event::Cut(Ok(part)),
                None => self.next_event(cutter, may_cut.then_some(bytes)).await,
            };
            match event {
                // The first part is sent even if it is empty: an object of no bytes is one.
                Event::Cut(Ok(part)) if part.is_empty() && number > 1 => is_cut = true,
                Event::Cut(Ok(_)) if number > PART_COUNT_MAX => return Err(self.refusal(too_long())),
                Event::Cut(Ok(part)) => {
                    self.send(number, part);
                    number += 1;
                }
                Event::Cut(Err(kind)) => return Err(self.refusal(kind)),
                Event::Sent(joined) => self.note(joined, &mut sent)?,
            }
        }
        Ok(sent.into_values().collect())
    }

    async fn next_event(&mut self, cutter: &mut Cutter<'_>, part_bytes: Option<usize>) -> Event {
        std::future::poll_fn(|cx| {
            if let Poll::Ready(Some(joined)) = self.tasks.poll_join_next(cx) {
                return Poll::Ready(Event::Sent(joined));
            }
            match part_bytes {
                Some(bytes) => cutter.poll_part(cx, bytes).map(Event::Cut),
                None => Poll::Pending,
            }
        })
        .await
    }

    fn note(
        &self,
        joined: Result<Result<Part, Failure>, JoinError>,
        sent: &mut BTreeMap<u64, Part>,
    ) -> Result<(), Failure> {
        let part = match joined {
            Ok(part) => part?,
            Err(error) => {
                return Err(self.refusal(CloudError::Internal(format!("a part was not sent: {error}"))));
            }
        };
        sent.insert(part.number, part);
        Ok(())
    }

    fn send(&mut self, number: u64, bytes: Bytes) {
        if let Some(target) = self.target.clone() {
            self.tasks.spawn_on(async move { target.put_part(number, bytes).await }, &self.runtime);
        }
    }

    /// Has `count` parts made by `part`, `parallel` at once; for copies.
    pub(super) async fn make_all<F, Fut>(
        &mut self,
        count: u64,
        parallel: usize,
        part: F,
    ) -> Result<Vec<Part>, Failure>
    where
        F: Fn(Arc<Target>, u64) -> Fut,
        Fut: Future<Output = Result<Part, Failure>> + Send + 'static,
    {
        let mut sent = BTreeMap::new();
        for number in 1..=count {
            if self.tasks.len() >= parallel
                && let Some(joined) = self.tasks.join_next().await
            {
                self.note(joined, &mut sent)?;
            }
            if let Some(target) = self.target.clone() {
                self.tasks.spawn_on(part(target, number), &self.runtime);
            }
        }
        while let Some(joined) = self.tasks.join_next().await {
            self.note(joined, &mut sent)?;
        }
        Ok(sent.into_values().collect())
    }

    fn refusal(&self, kind: CloudError) -> Failure {
        match &self.target {
            Some(target) => target.client.refusal(&target.operation("PutObject"), kind),
            None => kind.into(),
        }
    }

    /// Aborts it and waits for that. Whoever stops waiting changes nothing: the task goes on.
    pub(super) async fn abort(mut self) {
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

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Target {
    fn operation(&self, name: &'static str) -> Operation<'_> {
        Operation::inside(name, &self.bucket, &self.key)
    }

    /// A request about part `number`.
    pub(super) fn part_request(&self, number: u64) -> Request {
        let mut request = request::of_object(Method::PUT, &self.bucket, &self.key);
        request.query.push("partNumber", &number.to_string());
        request.query.push("uploadId", &self.id);
        request.deadline = self.deadline;
        request
    }

    async fn put_part(&self, number: u64, bytes: Bytes) -> Result<Part, Failure> {
        let operation = self.operation("UploadPart");
        let checksum = Crc64::of(&bytes);
        let length = bytes.len() as u64;
        let mut request = self.part_request(number);
        request::set(&mut request.headers, CRC64NVME, &checksum.value())
            .map_err(|kind| self.client.refusal(&operation, kind))?;
        request.body = bytes.into();
        let whole = self.client.whole(&operation, request, ANSWER_BYTES_MAX).await?;
        let etag = request::required(&self.client, &operation, read::etag(&whole.headers), "ETag")?;
        let told = request::text_of(&whole.headers, CRC64NVME);
        if told.is_some_and(|told| told != checksum.value()) {
            return Err(self.client.malformed(&operation, "the service has another checksum of the part"));
        }
        Ok(Part { number, etag, checksum: Some(checksum), bytes: length })
    }

    /// Makes part `number` of bytes that lie in the service. `bytes`: how many.
    pub(super) async fn copy_part(
        &self,
        number: u64,
        bytes: u64,
        headers: HeaderMap,
    ) -> Result<Part, Failure> {
        let operation = self.operation("UploadPartCopy");
        let mut request = self.part_request(number);
        request.headers.extend(headers);
        request.wait = LONG_WORK;
        let whole = self.client.whole(&operation, request, ANSWER_BYTES_MAX).await?;
        let root = read::document(&whole.body).map_err(|what| self.client.malformed(&operation, &what))?;
        super::refuse_hidden_error(&self.client, &operation, &root, &whole)?;
        let etag =
            request::required(&self.client, &operation, root.text_of("ETag").map(read::unquoted), "ETag")?;
        Ok(Part { number, etag, checksum: None, bytes })
    }

    async fn abort(&self) {
        let mut request = request::of_object(Method::DELETE, &self.bucket, &self.key);
        request.query.push("uploadId", &self.id);
        let operation = self.operation("AbortMultipartUpload");
        match self.client.whole(&operation, request, ANSWER_BYTES_MAX).await {
            Ok(_) => {}
            Err(failure) if failure.kind.is_not_found() => {}
            Err(failure) => tracing::warn!(upload = self.id, %failure, "an upload could not be aborted"),
        }
    }
}

async fn complete(
    target: &Target,
    parts: &[Part],
    conditions: HeaderMap,
    checksum: Option<&str>,
) -> Result<PutResult, Failure> {
    let operation = target.operation("CompleteMultipartUpload");
    let client = &target.client;
    let mut request = request::of_object(Method::POST, &target.bucket, &target.key);
    request.query.push("uploadId", &target.id);
    request::set_document(&mut request, part_document(parts))
        .map_err(|kind| client.refusal(&operation, kind))?;
    // Here the header is about the object and not about the document.
    request.headers.remove(CRC64NVME);
    if let Some(checksum) = checksum {
        request::set(&mut request.headers, CRC64NVME, checksum)
            .map_err(|kind| client.refusal(&operation, kind))?;
        request.headers.insert(CHECKSUM_TYPE, FULL_OBJECT);
    }
    let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
    request.headers.insert(OBJECT_SIZE, HeaderValue::from(bytes));
    request.headers.extend(conditions);
    request.wait = LONG_WORK;
    request.deadline = target.deadline;
    let whole = client.whole(&operation, request, ANSWER_BYTES_MAX).await?;
    let root = read::document(&whole.body).map_err(|what| client.malformed(&operation, &what))?;
    super::refuse_hidden_error(client, &operation, &root, &whole)?;
    let etag = request::required(client, &operation, root.text_of("ETag"), "ETag")?;
    let mut result = read::put_result(&whole.headers);
    result.etag = Some(read::unquoted(etag));
    Ok(match root.text_of("ChecksumCRC64NVME") {
        Some(value) => result.with_checksum(ChecksumAlgorithm::Crc64Nvme, value),
        None => result,
    })
}

fn part_document(parts: &[Part]) -> String {
    let mut document =
        String::from("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for part in parts {
        document.push_str(&format!("<Part><PartNumber>{}</PartNumber><ETag>", part.number));
        xml::append_text(&mut document, &format!("\"{}\"", part.etag));
        document.push_str("</ETag>");
        if let Some(checksum) = part.checksum {
            document.push_str(&format!("<ChecksumCRC64NVME>{}</ChecksumCRC64NVME>", checksum.value()));
        }
        document.push_str("</Part>");
    }
    document.push_str("</CompleteMultipartUpload>");
    document
}

/// The checksum of the object, if that of each part is known.
fn whole_checksum(parts: &[Part]) -> Option<Crc64> {
    parts.iter().try_fold(Crc64::default(), |whole, part| Some(whole.followed_by(part.checksum?, part.bytes)))
}

/// The tag of an object in parts: the MD5 of their MD5s, and how many there are. None where a part's tag is no MD5.
fn whole_etag(parts: &[Part]) -> Option<String> {
    let mut digest = Md5::new();
    for part in parts {
        let etag = part.etag.as_bytes();
        if etag.len() != 32 {
            return None;
        }
        for pair in etag.chunks_exact(2) {
            digest.update([u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?]);
        }
    }
    Some(format!("{}-{}", hex(&digest.finalize()), parts.len()))
}

const FULL_OBJECT: HeaderValue = HeaderValue::from_static("FULL_OBJECT");
const OBJECT_SIZE: HeaderName = HeaderName::from_static("x-amz-mp-object-size");
/// Parts that are sent at once.
const PARALLEL_PARTS: u32 = 4;
/// More than this helps nobody.
const PARALLEL_PARTS_MAX: u32 = 64;
/// What the service may need beyond the time of an attempt to put parts together or to copy them.
pub(super) const LONG_WORK: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u64, bytes: &[u8]) -> Part {
        let etag = hex(&Md5::digest(bytes));
        Part { number, etag, checksum: Some(Crc64::of(bytes)), bytes: bytes.len() as u64 }
    }

    #[test]
    fn tag_and_checksum_of_the_whole_follow_from_the_parts() {
        let parts = [part(1, b"12345"), part(2, b"6789")];
        assert_eq!(whole_checksum(&parts).map(Crc64::value).as_deref(), Some("rosUhgp5mIg="));
        let both = [Md5::digest(b"12345"), Md5::digest(b"6789")].concat();
        assert_eq!(whole_etag(&parts), Some(format!("{}-2", hex(&Md5::digest(&both)))));
        assert_eq!(whole_etag(&[Part { etag: "odd".into(), ..part(1, b"") }]), None);
        assert_eq!(whole_checksum(&[Part { checksum: None, ..part(1, b"") }]), None);
    }

    #[test]
    fn the_list_of_parts_is_well_formed() {
        let root = xml::Element::parse(part_document(&[part(1, b"a"), part(2, b"b")]).as_bytes())
            .expect("it is XML");
        let numbers: Vec<_> = root.children("Part").filter_map(|part| part.text_of("PartNumber")).collect();
        assert_eq!(numbers, ["1", "2"]);
        assert!(root.at(&["Part", "ETag"]).is_some_and(|etag| etag.text().starts_with('"')));
    }
}
