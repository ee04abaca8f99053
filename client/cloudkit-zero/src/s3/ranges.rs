//! Several ranges of one object at once, given in order.
//! Invariant: at most as many ranges as are read at once are in memory, each of the version that the first look saw; dropping the
//! stream ends all that is under way.

use std::collections::VecDeque;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use cloudkit_core::api::ByteRange;
use cloudkit_core::common::{CloudError, CloudResult, Failure};
use futures_core::Stream;
use http_types::Method;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::get::Wanted;
use super::read;
use crate::checksum::Check;
use crate::error::{Sent, WireError, WireKind};
use crate::service::ServiceClient;

/// The ranges that a span is read in, one after the other.
#[derive(Clone, Debug)]
pub struct RangePlan {
    rest: Range<u64>,
}

impl RangePlan {
    /// Of the bytes `span`.
    pub fn new(span: Range<u64>) -> RangePlan {
        RangePlan { rest: span }
    }
}

impl Iterator for RangePlan {
    type Item = Range<u64>;

    fn next(&mut self) -> Option<Range<u64>> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.start.saturating_add(RANGE_BYTES).min(self.rest.end);
        Some(std::mem::replace(&mut self.rest.start, end)..end)
    }
}

/// Reads one range.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// What calls.
    pub client: ServiceClient,
    /// The object, by its entity tag.
    pub wanted: Wanted,
}

impl Fetch {
    async fn fetch(self, range: Range<u64>) -> Result<Bytes, Failure> {
        let operation = self.wanted.operation("GetObject");
        let bytes = range.end - range.start;
        let request = self.wanted.request(Method::GET, Some(ByteRange::Between(range.start, range.end - 1)));
        let request = request.map_err(|kind| self.client.refusal(&operation, kind))?;
        let whole =
            self.client.whole(&operation, request, usize::try_from(bytes).unwrap_or(usize::MAX)).await?;
        let first = read::content_range(&whole.headers).map(|(first, _)| first);
        if first != Some(range.start) || whole.body.len() as u64 != bytes {
            return Err(self.client.malformed(&operation, "the range is not the one that was asked for"));
        }
        Ok(whole.body)
    }
}

/// A range on its way; dropping it ends it.
struct Fetching(JoinHandle<Result<Bytes, Failure>>);

impl Drop for Fetching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The body: ranges in order, several of them on their way.
pub struct Ranges {
    fetch: Fetch,
    plan: RangePlan,
    parallel: usize,
    under_way: VecDeque<Fetching>,
    check: Option<Check>,
    runtime: Handle,
    is_ended: bool,
}

impl Ranges {
    /// Reads the ranges of `plan`, `parallel` at once, and compares them all together with `check`.
    pub fn new(fetch: Fetch, plan: RangePlan, parallel: usize, check: Option<Check>) -> Ranges {
        let runtime = Handle::current();
        let under_way = VecDeque::with_capacity(parallel);
        Ranges { fetch, plan, parallel, under_way, check, runtime, is_ended: false }
    }

    fn start_more(&mut self) {
        while self.under_way.len() < self.parallel {
            let Some(range) = self.plan.next() else { return };
            self.under_way.push_back(Fetching(self.runtime.spawn(self.fetch.clone().fetch(range))));
        }
    }

    fn end(&mut self, outcome: Option<CloudResult<Bytes>>) -> Poll<Option<CloudResult<Bytes>>> {
        self.is_ended = true;
        self.under_way.clear();
        Poll::Ready(outcome)
    }
}

impl Stream for Ranges {
    type Item = CloudResult<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.is_ended {
            return Poll::Ready(None);
        }
        // Begun only when somebody reads, and one more only when one was given.
        this.start_more();
        let Some(first) = this.under_way.front_mut() else {
            let outcome = this.check.take().map(|check| check.finish());
            let Some(Err(words)) = outcome else { return this.end(None) };
            let error = WireError::new(WireKind::Checksum, Sent::Maybe, words);
            let failure = this.fetch.client.wire_failure(&this.fetch.wanted.operation("GetObject"), 1, error);
            return this.end(Some(Err(failure.into())));
        };
        let fetched = ready!(Pin::new(&mut first.0).poll(cx));
        this.under_way.pop_front();
        match fetched {
            Ok(Ok(bytes)) => {
                if let Some(check) = &mut this.check {
                    check.update(&bytes);
                }
                Poll::Ready(Some(Ok(bytes)))
            }
            Ok(Err(failure)) => this.end(Some(Err(failure.into()))),
            Err(error) => this.end(Some(Err(CloudError::Internal(format!("a range was not read: {error}"))))),
        }
    }
}

/// Bytes of a range.
pub const RANGE_BYTES: u64 = 8 * 1024 * 1024;
/// Up to here one range is as fast.
pub const PARALLEL_FROM_BYTES: u64 = 64 * 1024 * 1024;
/// More than this helps nobody.
pub const PARALLEL_RANGES_MAX: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_the_span_once_and_in_order() {
        for span in [0..0, 0..1, 5..RANGE_BYTES, 0..RANGE_BYTES, 3..RANGE_BYTES + 4, 7..5 * RANGE_BYTES + 6] {
            let mut next = span.start;
            for range in RangePlan::new(span.clone()) {
                assert_eq!(range.start, next);
                assert!(range.end - range.start <= RANGE_BYTES && !range.is_empty());
                next = range.end;
            }
            assert_eq!(next, span.end.max(span.start));
        }
        assert_eq!(RangePlan::new(u64::MAX - 1..u64::MAX).count(), 1);
    }
}
