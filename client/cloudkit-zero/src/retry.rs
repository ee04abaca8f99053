//! What may be sent again, and when.
//!
//! | what happened | Always | IfNotSent | Never |
//! |---|---|---|---|
//! | not processed (refused stream, GOAWAY, no connection) | again | again | again, if no connection was made or the peer refused |
//! | throttled (429, 503, throttling codes) | again | again | no |
//! | another 5xx, reset, closed, no answer in time | again | no | no |
//! | clock or session of the signature out of date | again, once | again, once | again, once |
//! | anything else | no | no | no |
//!
//! Invariant: a request that the peer may have carried out is repeated only where the caller said that this changes nothing.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use http_types::StatusCode;

use crate::date;
use crate::error::{Sent, WireError, WireKind};

/// What a repetition would do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idempotency {
    /// The same as once: reads, puts of the same bytes, deletes, calls with a token.
    Always,
    /// Something more, unless the peer did not begin with the first one.
    IfNotSent,
    /// The caller does not want it, whatever happened after the request set out.
    Never,
}

/// What kind of failure it was, for the decision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failed {
    /// The peer did not begin.
    NotProcessed,
    /// The peer wants less.
    Throttled,
    /// The peer may have carried it out, and the next time may go well.
    Unknown,
    /// As unknown, and time was lost over it.
    TimedOut,
    /// The signature's time was too far from the peer's.
    Skewed,
    /// The session of the keys is over; others are to be had.
    Expired,
    /// The next time would be the same.
    Final,
}

impl Failed {
    /// Of a failure on the wire.
    pub fn of_wire(error: &WireError) -> Failed {
        match (error.kind(), error.sent()) {
            (
                WireKind::Config
                | WireKind::Credentials
                | WireKind::Body
                | WireKind::Deadline
                | WireKind::Answer,
                _,
            ) => Failed::Final,
            (WireKind::ConnectTimeout | WireKind::AttemptTimeout | WireKind::Stalled, Sent::Maybe) => {
                Failed::TimedOut
            }
            (_, Sent::No) => Failed::NotProcessed,
            (_, Sent::Maybe) => Failed::Unknown,
        }
    }

    /// Of an answer that is none of success, with the code that its body names.
    pub fn of_answer(status: StatusCode, code: &str) -> Failed {
        // awsJson codes come with a namespace before `#`.
        let code = code.rsplit('#').next().unwrap_or(code);
        if THROTTLING.contains(&code) || status == StatusCode::TOO_MANY_REQUESTS {
            return Failed::Throttled;
        }
        if SKEWED.contains(&code) {
            return Failed::Skewed;
        }
        if matches!(code, "ExpiredToken" | "ExpiredTokenException") {
            return Failed::Expired;
        }
        match (status.as_u16(), code) {
            (503, _) => Failed::Throttled,
            (408, _) | (400, "RequestTimeout") => Failed::TimedOut,
            (500 | 502 | 504, _) => Failed::Unknown,
            // The peer runs transactions one after the other; which one loses is chance.
            (400, "TransactionInProgressException") => Failed::Unknown,
            _ => Failed::Final,
        }
    }

    /// Whether a request of that kind may be sent again. `is_replayable`: the body can be sent from its start.
    pub fn may_repeat(self, idempotency: Idempotency, is_replayable: bool) -> bool {
        if !is_replayable {
            return false;
        }
        match self {
            Failed::NotProcessed | Failed::Skewed | Failed::Expired => true,
            Failed::Throttled => idempotency != Idempotency::Never,
            Failed::Unknown | Failed::TimedOut => idempotency == Idempotency::Always,
            Failed::Final => false,
        }
    }
}

/// Codes by which services ask for less.
const THROTTLING: [&str; 14] = [
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "EC2ThrottledException",
    "ServiceUnavailable",
];

/// Codes by which services complain of the clock.
const SKEWED: [&str; 4] =
    ["RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture", "AuthFailureClockSkew"];

/// How far the peer's clock is from ours, learned from `Date`.
#[derive(Debug, Default)]
pub struct Skew(AtomicI64);

/// Below this a signature is good as it is (AWS takes 15 minutes), and the seconds in `Date` tell little more.
const SKEW_SECONDS_MIN: i64 = 30;

impl Skew {
    /// Seconds since 1970 by the peer's clock.
    pub fn seconds(&self, now: SystemTime) -> u64 {
        date::seconds_of(now).saturating_add_signed(self.0.load(Ordering::Relaxed))
    }

    /// The peer's time for ours.
    pub fn time(&self, now: SystemTime) -> SystemTime {
        let skew = self.0.load(Ordering::Relaxed);
        let far = Duration::from_secs(skew.unsigned_abs());
        let moved = if skew < 0 { now.checked_sub(far) } else { now.checked_add(far) };
        moved.unwrap_or(now)
    }

    /// Takes the value of a `Date`; nonsense changes nothing.
    pub fn learn(&self, value: &str, now: SystemTime) {
        let Some(theirs) = date::parse_http_date(value) else { return };
        let difference = theirs as i64 - date::seconds_of(now) as i64;
        let skew = if difference.abs() < SKEW_SECONDS_MIN { 0 } else { difference };
        self.0.store(skew, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn what_may_have_been_done_is_repeated_only_if_that_changes_nothing() {
        use Idempotency::{Always, IfNotSent, Never};
        for (failed, may) in [
            (Failed::NotProcessed, [true, true, true]),
            (Failed::Throttled, [true, true, false]),
            (Failed::Unknown, [true, false, false]),
            (Failed::TimedOut, [true, false, false]),
            (Failed::Skewed, [true, true, true]),
            (Failed::Expired, [true, true, true]),
            (Failed::Final, [false, false, false]),
        ] {
            let found = [Always, IfNotSent, Never].map(|idempotency| failed.may_repeat(idempotency, true));
            assert_eq!(found, may, "{failed:?}");
            assert!(!failed.may_repeat(Always, false), "a stream that was begun is never sent again");
        }
    }

    #[test]
    fn failures_on_the_wire_are_what_they_are() {
        let of = |kind, sent| Failed::of_wire(&WireError::new(kind, sent, ""));
        assert_eq!(of(WireKind::Connect, Sent::No), Failed::NotProcessed);
        assert_eq!(of(WireKind::NotProcessed, Sent::No), Failed::NotProcessed);
        assert_eq!(of(WireKind::Closed, Sent::Maybe), Failed::Unknown);
        assert_eq!(of(WireKind::AttemptTimeout, Sent::Maybe), Failed::TimedOut);
        assert_eq!(of(WireKind::Deadline, Sent::No), Failed::Final);
        assert_eq!(of(WireKind::Body, Sent::Maybe), Failed::Final);
    }

    #[test]
    fn answers_are_what_their_status_and_code_say() {
        let of = |status, code| Failed::of_answer(StatusCode::from_u16(status).unwrap(), code);
        assert_eq!(of(503, "SlowDown"), Failed::Throttled);
        assert_eq!(of(400, "com.amazonaws.dynamodb.v20120810#ThrottlingException"), Failed::Throttled);
        assert_eq!(of(429, ""), Failed::Throttled);
        assert_eq!(of(500, "InternalError"), Failed::Unknown);
        assert_eq!(of(403, "RequestTimeTooSkewed"), Failed::Skewed);
        assert_eq!(of(400, "RequestTimeout"), Failed::TimedOut);
        for (status, code) in [
            (404, "NoSuchKey"),
            (403, "AccessDenied"),
            (412, "PreconditionFailed"),
            (501, "NotImplemented"),
            (304, ""),
        ] {
            assert_eq!(of(status, code), Failed::Final, "{status} {code}");
        }
    }

    #[test]
    fn the_peers_clock_is_learned_and_small_differences_are_none() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let skew = Skew::default();
        skew.learn("Sun, 06 Nov 1994 09:49:37 GMT", now);
        assert_eq!(skew.seconds(now), 784_111_777 + 3_600);
        assert_eq!(skew.time(now), now + Duration::from_secs(3_600));
        skew.learn("nonsense", now);
        assert_eq!(skew.seconds(now), 784_111_777 + 3_600);
        skew.learn("Sun, 06 Nov 1994 07:49:37 GMT", now);
        assert_eq!(skew.time(now), now - Duration::from_secs(3_600));
        skew.learn("Sun, 06 Nov 1994 08:49:50 GMT", now);
        assert_eq!(skew.seconds(now), 784_111_777);
    }
}
