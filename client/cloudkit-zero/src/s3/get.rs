//! Reading an object: whole, as a stream that goes on where it broke, or in several ranges at once.
//! Invariant: what is given is of one version and whole, or ends with an error; the checksum of the object is compared where all of
//! it is read.

use bytes::Bytes;
use cloudkit_core::api::{ByteRange, GetOptions, GetStreamOptions, ObjectStream};
use cloudkit_core::common::{ByteStream, CloudError, CloudResult, Failure, ObjectMetadata, within};
use futures_core::Stream;
use http_types::header::{self, HeaderMap};
use http_types::{Method, StatusCode};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::ranges::{Fetch, PARALLEL_FROM_BYTES, PARALLEL_RANGES_MAX, RangePlan, Ranges};
use super::request::{self, VERSION_ID, text_of};
use super::{ZeroStore, read};
use crate::call::Request;
use crate::checksum::Check;
use crate::download::{Download, Reopen, Reopening};
use crate::error::{Sent, WireError, WireKind};
use crate::failure::PROVIDER;
use crate::service::{Operation, ServiceClient};

/// Which object, and which version of it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// None: the newest.
    pub version_id: Option<String>,
    /// Only if it has this entity tag.
    pub if_match: Option<String>,
}

impl Wanted {
    /// Of an operation on it.
    pub fn operation(&self, name: &'static str) -> Operation<'_> {
        Operation::inside(name, &self.bucket, &self.key)
    }

    /// A GET or HEAD of it, or of a part of it. Errors: Validation.
    pub fn request(&self, method: Method, range: Option<ByteRange>) -> CloudResult<Request> {
        let mut request = request::of_object(method, &self.bucket, &self.key);
        if let Some(id) = &self.version_id {
            request.query.push("versionId", id);
        }
        if let Some(etag) = &self.if_match {
            request::set(&mut request.headers, header::IF_MATCH, &request::quoted(etag))?;
        }
        match range {
            Some(range) => {
                request::set(&mut request.headers, header::RANGE, &range.to_string())?;
                if let ByteRange::Between(first, last) = range {
                    request.answer_bytes = (last - first).saturating_add(1);
                }
            }
            None => request::want_checksum(&mut request.headers),
        }
        Ok(request)
    }
}

/// What the head of an answer tells of the object and of the part of it that follows.
struct Opened {
    meta: ObjectMetadata,
    offset: u64,
    version_id: Option<String>,
    cache_control: Option<String>,
    content_encoding: Option<String>,
}

impl ZeroStore {
    /// All bytes of an object, or of a part of it.
    pub(super) async fn get(&self, bucket: &str, key: &str, options: GetOptions) -> Result<Bytes, Failure> {
        let operation = Operation::inside("GetObject", bucket, key);
        let refuse = |kind: CloudError| self.client.refusal(&operation, kind);
        request::check_object(bucket, key).map_err(refuse)?;
        let range = options.byte_range().map_err(refuse)?;
        let wanted = Wanted {
            bucket: bucket.to_string(),
            key: key.to_string(),
            version_id: None,
            if_match: options.if_match,
        };
        let mut request = wanted.request(Method::GET, range).map_err(refuse)?;
        set_none_match(&mut request, options.if_none_match.as_deref()).map_err(refuse)?;
        let whole = self.client.whole(&operation, request, usize::MAX).await?;
        if range.is_some() {
            self.placed(&operation, whole.status, &whole.headers, range)?;
        }
        Ok(whole.body)
    }

    /// An object's facts.
    pub(super) async fn head(&self, bucket: &str, key: &str) -> Result<ObjectMetadata, Failure> {
        let operation = Operation::inside("HeadObject", bucket, key);
        request::check_object(bucket, key).map_err(|kind| self.client.refusal(&operation, kind))?;
        let request = request::of_object(Method::HEAD, bucket, key);
        match self.client.whole(&operation, request, 0).await {
            Ok(head) => {
                let opened = self.opened(&operation, head.status, &head.headers, key, None)?;
                Ok(opened.meta)
            }
            // The answer to a HEAD does not tell which of the two is missing.
            Err(failure) if failure.kind.is_not_found() => match self.head_bucket("HeadObject", bucket).await
            {
                Err(missing) if missing.kind.is_not_found() => Err(missing),
                _ => Err(failure),
            },
            Err(failure) => Err(failure),
        }
    }

    /// An object as a stream.
    pub(super) async fn open(
        &self,
        bucket: &str,
        key: &str,
        options: GetStreamOptions,
    ) -> Result<ObjectStream, Failure> {
        let operation = Operation::inside("GetObject", bucket, key);
        request::check_object(bucket, key).map_err(|kind| self.client.refusal(&operation, kind))?;
        let deadline = options.deadline;
        within(deadline, PROVIDER, operation.name, self.open_in_time(bucket, key, options)).await
    }

    async fn open_in_time(
        &self,
        bucket: &str,
        key: &str,
        options: GetStreamOptions,
    ) -> Result<ObjectStream, Failure> {
        let wanted = Wanted {
            bucket: bucket.to_string(),
            key: key.to_string(),
            version_id: options.version_id.clone(),
            if_match: options.if_match.clone(),
        };
        let parallel = options.parallel_ranges.unwrap_or(1).min(PARALLEL_RANGES_MAX) as usize;
        if parallel > 1
            && let Some(stream) = self.open_ranges(&wanted, &options, parallel).await?
        {
            return Ok(stream);
        }
        let operation = wanted.operation("GetObject");
        let refuse = |kind: CloudError| self.client.refusal(&operation, kind);
        let mut request = wanted.request(Method::GET, options.range).map_err(refuse)?;
        set_none_match(&mut request, options.if_none_match.as_deref()).map_err(refuse)?;
        let reply = self.client.start(&operation, request).await?.reply;
        let opened = self.opened(&operation, reply.status, &reply.headers, key, options.range)?;
        let length = reply.body.expected();
        let is_whole = length == Some(opened.meta.size);
        let check = Check::from_headers(&reply.headers).filter(|_| is_whole);
        let etag = opened.meta.etag.clone();
        let rest = Rest {
            client: self.client.clone(),
            wanted: Wanted {
                if_match: etag,
                version_id: opened.version_id.clone().or(wanted.version_id.clone()),
                ..wanted.clone()
            },
            first: opened.offset,
            last: length.map(|length| (opened.offset + length).saturating_sub(1)),
        };
        let download = Download::new(reply.body, check, Box::new(rest));
        let body = Told { download, client: self.client.clone(), wanted };
        Ok(opened.into_stream(ByteStream::from_stream(body, length)))
    }

    /// Several ranges at once; None where the object is too small for that to help.
    async fn open_ranges(
        &self,
        wanted: &Wanted,
        options: &GetStreamOptions,
        parallel: usize,
    ) -> Result<Option<ObjectStream>, Failure> {
        let operation = wanted.operation("HeadObject");
        let refuse = |kind: CloudError| self.client.refusal(&operation, kind);
        let mut request = wanted.request(Method::HEAD, None).map_err(refuse)?;
        set_none_match(&mut request, options.if_none_match.as_deref()).map_err(refuse)?;
        let head = self.client.whole(&operation, request, 0).await;
        // The GET that follows says what is missing, which this answer cannot.
        let Ok(head) = head else { return Ok(None) };
        let mut opened = self.opened(&operation, head.status, &head.headers, &wanted.key, None)?;
        let size = opened.meta.size;
        let Ok(span) = options.range.map_or(Ok(0..size), |range| range.of(size)) else {
            return Ok(None);
        };
        if span.end - span.start <= PARALLEL_FROM_BYTES || opened.meta.etag.is_none() {
            return Ok(None);
        }
        opened.offset = span.start;
        let check = Check::from_headers(&head.headers).filter(|_| span == (0..size));
        let fetch = Fetch {
            client: self.client.clone(),
            wanted: Wanted {
                if_match: opened.meta.etag.clone(),
                version_id: opened.version_id.clone().or(wanted.version_id.clone()),
                ..wanted.clone()
            },
        };
        let length = span.end - span.start;
        let ranges = Ranges::new(fetch, RangePlan::new(span), parallel, check);
        Ok(Some(opened.into_stream(ByteStream::from_stream(ranges, Some(length)))))
    }

    /// Where the body begins and how large the object is; and that this is the part which was asked for.
    fn placed(
        &self,
        operation: &Operation<'_>,
        status: StatusCode,
        headers: &HeaderMap,
        range: Option<ByteRange>,
    ) -> Result<(u64, u64), Failure> {
        let bad = |what: &str| self.client.malformed(operation, what);
        let (offset, size) = if status == StatusCode::PARTIAL_CONTENT {
            read::content_range(headers).ok_or_else(|| bad("Content-Range is missing"))?
        } else {
            (0, read::content_length(headers).ok_or_else(|| bad("Content-Length is missing"))?)
        };
        if let Some(range) = range {
            let span = range.of(size).map_err(|_| bad("the range is not the one that was asked for"))?;
            if span.start != offset || (status == StatusCode::OK && span != (0..size)) {
                return Err(bad("the range is not the one that was asked for"));
            }
        }
        Ok((offset, size))
    }

    /// Reads the head of an answer.
    fn opened(
        &self,
        operation: &Operation<'_>,
        status: StatusCode,
        headers: &HeaderMap,
        key: &str,
        range: Option<ByteRange>,
    ) -> Result<Opened, Failure> {
        let (offset, size) = self.placed(operation, status, headers, range)?;
        let meta =
            read::object(headers, key, size).map_err(|what| self.client.malformed(operation, &what))?;
        let text = |name| text_of(headers, name);
        Ok(Opened {
            meta,
            offset,
            version_id: text_of(headers, VERSION_ID),
            cache_control: text(header::CACHE_CONTROL),
            content_encoding: text(header::CONTENT_ENCODING),
        })
    }
}

impl Opened {
    fn into_stream(self, body: ByteStream) -> ObjectStream {
        let mut stream = ObjectStream::new(self.meta, body).with_offset(self.offset);
        stream.version_id = self.version_id;
        stream.cache_control = self.cache_control;
        stream.content_encoding = self.content_encoding;
        stream
    }
}

fn set_none_match(request: &mut Request, etag: Option<&str>) -> CloudResult<()> {
    match etag {
        Some(etag) => request::set(&mut request.headers, header::IF_NONE_MATCH, &request::quoted(etag)),
        None => Ok(()),
    }
}

/// Asks for the rest of a body.
struct Rest {
    client: ServiceClient,
    wanted: Wanted,
    first: u64,
    last: Option<u64>,
}

impl Reopen for Rest {
    fn reopen(&mut self, offset: u64) -> Reopening {
        let (client, wanted) = (self.client.clone(), self.wanted.clone());
        let first = self.first + offset;
        let range = self.last.map_or(ByteRange::From(first), |last| ByteRange::Between(first, last));
        Box::pin(async move {
            let broken = |words: String| WireError::new(WireKind::Answer, Sent::Maybe, words);
            if wanted.if_match.is_none() {
                return Err(broken(
                    "the body broke off, and the object has no entity tag to go on by".into(),
                ));
            }
            let request = wanted.request(Method::GET, Some(range));
            let request = request.map_err(|error| broken(error.to_string()))?;
            let answered = client.start(&wanted.operation("GetObject"), request).await;
            let reply = answered
                .map_err(|failure| broken(format!("the body broke off, and its rest: {failure}")))?
                .reply;
            match read::content_range(&reply.headers) {
                Some((found, _)) if found == first => Ok(reply.body),
                _ => Err(broken("the rest of the body begins elsewhere".into())),
            }
        })
    }
}

/// A download whose failures say what was read.
struct Told {
    download: Download,
    client: ServiceClient,
    wanted: Wanted,
}

impl Stream for Told {
    type Item = CloudResult<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        Pin::new(&mut this.download).poll_next(cx).map(|item| {
            item.map(|bytes| {
                bytes.map_err(|error| {
                    this.client.wire_failure(&this.wanted.operation("GetObject"), 1, error).into()
                })
            })
        })
    }
}
