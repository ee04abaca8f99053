//! The requests to the appliance.
//! Invariant: each wait has its limit: a connection, the first byte, and each body for its length.
//! Leaves to worker.rs: which requests, and what an answer means. To `http`: the wire.

use std::io::{self, Read};
use std::time::Duration;

use bytes::Bytes;
use http::client::{Call, Client, RequestTo};
use http_types::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::breaker::Limits;
use crate::gocacheprog::local::Incoming;

/// The longest action record that is read.
const RECORD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a body that are sent at once.
const PIECE_BYTES: usize = 64 * 1024;
/// A slower connection than a MiB a second is no help to a build.
const BODY_PER_MIB: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Debug)]
pub struct NoAnswer;

/// The appliance, as one namespace of its cache.
#[derive(Clone)]
pub struct Exchange {
    client: Client,
    authority: String,
    prefix: String,
    query: String,
    authorization: Option<HeaderValue>,
    limits: Limits,
}

impl Exchange {
    /// `prefix`: what stands before `/api`. `query`: what follows each path, with its `?`.
    pub fn new(
        client: Client,
        authority: String,
        prefix: String,
        query: String,
        authorization: Option<HeaderValue>,
        limits: Limits,
    ) -> Exchange {
        Exchange { client, authority, prefix, query, authorization, limits }
    }

    /// The record of a key: its status, and its bytes if there is one.
    pub async fn action(&self, key: &str, first_byte: Duration) -> Result<(StatusCode, Vec<u8>), NoAnswer> {
        let call = self.start(Method::GET, &format!("actions/{key}"), Some(0)).await?;
        let status = answer(&call, first_byte).await?;
        let mut record = Vec::new();
        let limit = self.body_limit(RECORD_BYTES_MAX as u64);
        each_piece(&call, limit, &mut |piece| {
            record.extend_from_slice(piece);
            record.len() <= RECORD_BYTES_MAX
        })
        .await?;
        Ok((status, record))
    }

    /// The bytes of an object into `incoming`: its status, and whether its length is right.
    pub async fn object(
        &self,
        hash: &str,
        length: u64,
        first_byte: Duration,
        incoming: &mut Incoming,
    ) -> Result<(StatusCode, bool), NoAnswer> {
        let call = self.start(Method::GET, &format!("objects/{hash}"), Some(0)).await?;
        let status = answer(&call, first_byte).await?;
        if status != StatusCode::OK {
            return Ok((status, false));
        }
        let mut missing = Some(length);
        each_piece(&call, self.body_limit(length), &mut |piece| {
            missing = missing.and_then(|missing| missing.checked_sub(piece.len() as u64));
            missing.is_some() && incoming.write(piece).is_ok()
        })
        .await?;
        Ok((status, missing == Some(0)))
    }

    /// Sends an object from a file.
    pub async fn put_object(
        &self,
        hash: &str,
        mut file: std::fs::File,
        length: u64,
        first_byte: Duration,
    ) -> Result<StatusCode, NoAnswer> {
        let call = self.start(Method::PUT, &format!("objects/{hash}"), Some(length)).await?;
        let sent = ring::timeout(self.body_limit(length), send(&call, &mut file, length)).await;
        self.conclude(&call, matches!(sent, Ok(Ok(()))), first_byte).await
    }

    /// Sends a record.
    pub async fn put_action(
        &self,
        key: &str,
        record: Vec<u8>,
        first_byte: Duration,
    ) -> Result<StatusCode, NoAnswer> {
        let call = self.start(Method::PUT, &format!("actions/{key}"), Some(record.len() as u64)).await?;
        let sent = ring::timeout(first_byte, async {
            call.write(record.into()).await?;
            call.finish().await
        })
        .await;
        self.conclude(&call, matches!(sent, Ok(Ok(()))), first_byte).await
    }

    fn body_limit(&self, length: u64) -> Duration {
        let mibs = u32::try_from(length.div_ceil(1 << 20)).unwrap_or(u32::MAX);
        self.limits.body_base.saturating_add(BODY_PER_MIB.saturating_mul(mibs))
    }

    async fn start(&self, method: Method, path: &str, length: Option<u64>) -> Result<Call, NoAnswer> {
        let mut headers = HeaderMap::new();
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        headers.insert(header::USER_AGENT, AGENT);
        if method == Method::PUT && path.starts_with("actions/") {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let request = RequestTo {
            method,
            target: format!("{}/api/v1/{path}{}", self.prefix, self.query),
            authority: self.authority.clone(),
            headers,
        };
        let call = ring::timeout(self.limits.connect, self.client.start(&request, length)).await;
        call.map_err(|ring::Elapsed| NoAnswer)?.map_err(|_| NoAnswer)
    }

    /// The status of a request with a body. A server may refuse without reading: then its answer counts, not that the body did not
    /// get through.
    async fn conclude(
        &self,
        call: &Call,
        is_sent: bool,
        first_byte: Duration,
    ) -> Result<StatusCode, NoAnswer> {
        let head = ring::timeout(first_byte, call.response()).await;
        let status = head.map_err(|ring::Elapsed| NoAnswer)?.map_err(|_| NoAnswer)?.status;
        if !is_sent && status.is_success() {
            return Err(NoAnswer);
        }
        // What it says beside is read so that the connection can be used again.
        let mut left = RECORD_BYTES_MAX;
        each_piece(call, self.limits.body_base, &mut |piece| {
            left = left.saturating_sub(piece.len());
            left > 0
        })
        .await?;
        Ok(status)
    }
}

const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("zerocloud-gocacheprog/", env!("CARGO_PKG_VERSION")));

/// Ends a request without a body, or one whose body was sent, and waits for the head of its answer.
async fn answer(call: &Call, first_byte: Duration) -> Result<StatusCode, NoAnswer> {
    let head = ring::timeout(first_byte, async {
        call.finish().await?;
        call.response().await
    })
    .await;
    Ok(head.map_err(|ring::Elapsed| NoAnswer)?.map_err(|_| NoAnswer)?.status)
}

/// Takes the body of an answer until it ends or `take` has enough. Errors: it does not end in time.
async fn each_piece(
    call: &Call,
    limit: Duration,
    take: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<(), NoAnswer> {
    let whole = ring::timeout(limit, async {
        while let Some(piece) = call.next().await {
            if !take(&piece.map_err(|_| NoAnswer)?) {
                break;
            }
        }
        Ok(())
    })
    .await;
    whole.map_err(|ring::Elapsed| NoAnswer)?
}

/// Sends a file. Reading blocks this thread, which has nothing but these requests to do.
async fn send(call: &Call, file: &mut std::fs::File, length: u64) -> io::Result<()> {
    let mut missing = length;
    while missing > 0 {
        let mut piece = vec![0; missing.min(PIECE_BYTES as u64) as usize];
        file.read_exact(&mut piece)?;
        missing -= piece.len() as u64;
        call.write(Bytes::from(piece)).await.map_err(io::Error::other)?;
    }
    call.finish().await.map_err(io::Error::other)
}
