//! How many requests and bytes a namespace may have in a second, and how many requests an address may send.
//! Invariant: within any span of time no more requests are let in than the rate gives for it and one more second (an address: one more
//! minute). Bytes are counted when they are known, so a body that has begun is sent whole, and nobody is served until the
//! average is met again. A judgement costs one exchange of a word, on whatever core, and nothing where there is no bound.
//! Leaves to `refusal`: how each client is told. To `lib.rs` and `dialects::opaque`: when to tell it.
//!
//! A bucket is one word: the instant at which it will be full again. What is taken moves it into the future; what lies further
//! there than the bucket is large is refused (the generic cell rate algorithm of ITU-T I.371).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use cas::{Dialect, Namespace};
use store::Timestamp;

use crate::refusal::{Kind, Refusal};

/// The bounds of a namespace; nothing: none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rate {
    /// Requests in a second.
    pub requests_per_second: Option<u64>,
    /// Body bytes in a second, those that come and those that leave together.
    pub bytes_per_second: Option<u64>,
}

/// All bounds, and how far they are used. One for the process.
#[derive(Default, Debug)]
pub struct Rates {
    namespaces: BTreeMap<Namespace, Buckets>,
    hosts: Option<Hosts>,
    refused: [AtomicU64; 3],
}

/// What a refusal was for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// Requests of a namespace.
    Requests = 0,
    /// Bytes of a namespace.
    Bandwidth = 1,
    /// Requests of an address.
    Host = 2,
}

impl Bound {
    /// All of them, in the order of their numbers.
    pub const ALL: [Bound; 3] = [Bound::Requests, Bound::Bandwidth, Bound::Host];

    /// The word for it in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Bound::Requests => "requests",
            Bound::Bandwidth => "bandwidth",
            Bound::Host => "host",
        }
    }
}

/// What is asked to be let in.
#[derive(Clone, Copy, Debug)]
pub struct Entering<'r> {
    /// When.
    pub now: Timestamp,
    /// About which namespace.
    pub ns: &'r Namespace,
    /// From where.
    pub peer: IpAddr,
    /// In which dialect.
    pub dialect: Dialect,
    /// What for.
    pub kind: Kind,
    /// Whether it is about a single object of the native API, which the bound of an address is for.
    pub is_object: bool,
}

impl Rates {
    /// Nothing used yet. `host_requests_per_minute`: of each address, to objects of the native API.
    #[must_use]
    pub fn new(
        namespaces: impl IntoIterator<Item = (Namespace, Rate)>,
        host_requests_per_minute: Option<u64>,
    ) -> Rates {
        let buckets = |(ns, rate)| (ns, Buckets { rate, ..Buckets::default() });
        Rates {
            namespaces: namespaces.into_iter().map(buckets).collect(),
            hosts: host_requests_per_minute.map(Hosts::new),
            refused: Default::default(),
        }
    }

    /// Counts a request and says why it is not let in, if it is not.
    #[must_use]
    pub fn refusal_of(&self, entering: &Entering<'_>) -> Option<Refusal> {
        if self.namespaces.is_empty() && self.hosts.is_none() {
            return None;
        }
        // An administrator has to get in where others may not. What a hit has promised is counted and served: a client that was told
        // of it, in a protocol that knows nothing of rates, could only fail.
        let is_native = matches!(entering.dialect, Dialect::Native | Dialect::Go);
        let is_exempt = entering.kind == Kind::Admin || (entering.kind == Kind::Read && !is_native);
        let (bound, wait_ns) = self.wait_of(entering)?;
        if is_exempt {
            return None;
        }
        self.refused[bound as usize].fetch_add(1, Ordering::Relaxed);
        Some(Refusal::Throttled { retry_after_seconds: wait_ns.div_ceil(SECOND_NS).max(1) })
    }

    /// The first bound that a request meets, and how long until it does not.
    fn wait_of(&self, entering: &Entering<'_>) -> Option<(Bound, u64)> {
        let now_ns = nanoseconds(entering.now);
        if entering.is_object
            && let Some(hosts) = &self.hosts
            && let Err(wait_ns) = hosts.take(now_ns, entering.peer)
        {
            return Some((Bound::Host, wait_ns));
        }
        let buckets = self.namespaces.get(entering.ns)?;
        let spent = buckets.rate.bytes_per_second.map_or(0, |_| debt_ns(&buckets.bytes, now_ns));
        if spent > SECOND_NS {
            return Some((Bound::Bandwidth, spent - SECOND_NS));
        }
        let cost_ns = SECOND_NS / buckets.rate.requests_per_second?.max(1);
        let taken = take(&buckets.requests, now_ns, cost_ns, SECOND_NS);
        taken.err().map(|wait_ns| (Bound::Requests, wait_ns))
    }

    /// Counts bytes that came or leave.
    pub fn count_bytes(&self, now: Timestamp, ns: &Namespace, bytes: u64) {
        let Some(buckets) = self.namespaces.get(ns) else { return };
        let Some(rate) = buckets.rate.bytes_per_second else { return };
        let cost_ns = u128::from(bytes) * u128::from(SECOND_NS) / u128::from(rate.max(1));
        let (now_ns, cost_ns) = (nanoseconds(now), u64::try_from(cost_ns).unwrap_or(u64::MAX));
        let after = |full_at: u64| {
            let from = full_at.clamp(now_ns, now_ns.saturating_add(DEBT_NS_MAX));
            from.saturating_add(cost_ns).min(now_ns.saturating_add(DEBT_NS_MAX))
        };
        buckets.bytes.update(Ordering::Relaxed, Ordering::Relaxed, after);
    }

    /// The bounds of a namespace.
    #[must_use]
    pub fn of(&self, ns: &Namespace) -> Option<Rate> {
        self.namespaces.get(ns).map(|buckets| buckets.rate)
    }

    /// How often something was refused, in the order of `Bound::ALL`.
    #[must_use]
    pub fn refused(&self) -> [u64; 3] {
        std::array::from_fn(|place| self.refused[place].load(Ordering::Relaxed))
    }
}

/// A namespace's, each the instant in nanoseconds at which it will be full.
#[derive(Default, Debug)]
struct Buckets {
    rate: Rate,
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// Those of addresses, in a table of fixed size; addresses that fall on one place share its bucket.
#[derive(Debug)]
struct Hosts {
    cost_ns: u64,
    full_at: Box<[AtomicU64]>,
}

impl Hosts {
    fn new(requests_per_minute: u64) -> Hosts {
        Hosts {
            cost_ns: MINUTE_NS / requests_per_minute.max(1),
            full_at: (0..HOST_COUNT).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn take(&self, now_ns: u64, peer: IpAddr) -> Result<(), u64> {
        let hash = match peer.to_canonical() {
            IpAddr::V4(address) => hash::xxh3_64(&address.octets()),
            // Whoever has one address of such a network has all of them.
            IpAddr::V6(address) => hash::xxh3_64(&address.octets()[..8]),
        };
        take(&self.full_at[hash as usize % HOST_COUNT], now_ns, self.cost_ns, MINUTE_NS)
    }
}

/// Takes from a bucket that is full at the instant in the word and as large as `size_ns`. Errors: how long until it has as much.
fn take(word: &AtomicU64, now_ns: u64, cost_ns: u64, size_ns: u64) -> Result<(), u64> {
    let taken = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
        // Further ahead than it ever goes: the clock was set back.
        let full_at = if full_at > now_ns.saturating_add(size_ns) { now_ns } else { full_at.max(now_ns) };
        let after = full_at.saturating_add(cost_ns);
        (after <= now_ns.saturating_add(size_ns)).then_some(after)
    });
    taken.map(|_| ()).map_err(|full_at| full_at.saturating_add(cost_ns) - now_ns.saturating_add(size_ns))
}

/// How far ahead the instant in a word lies.
fn debt_ns(word: &AtomicU64, now_ns: u64) -> u64 {
    word.load(Ordering::Relaxed).saturating_sub(now_ns).min(DEBT_NS_MAX)
}

fn nanoseconds(at: Timestamp) -> u64 {
    at.0.saturating_mul(1_000_000)
}

const SECOND_NS: u64 = 1_000_000_000;
const MINUTE_NS: u64 = 60 * SECOND_NS;
/// Nobody pays longer than this for what was sent, however large it was.
const DEBT_NS_MAX: u64 = 60 * MINUTE_NS;
/// Buckets for addresses; half a MiB.
const HOST_COUNT: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_800_000_000_000);

    fn ns(text: &str) -> Namespace {
        Namespace::parse(text).expect("legal")
    }

    fn rates(requests: Option<u64>, bytes: Option<u64>) -> Rates {
        let rate = Rate { requests_per_second: requests, bytes_per_second: bytes };
        Rates::new([(ns("a"), rate)], None)
    }

    /// Seconds to wait; nothing: let in.
    fn ask(rates: &Rates, ms: u64, name: &str, dialect: Dialect, kind: Kind) -> Option<u64> {
        let entering = Entering {
            now: START.plus_ms(ms),
            ns: &ns(name),
            peer: "10.0.0.1".parse().expect("an address"),
            dialect,
            kind,
            is_object: false,
        };
        match rates.refusal_of(&entering) {
            None => None,
            Some(Refusal::Throttled { retry_after_seconds }) => Some(retry_after_seconds),
            Some(other) => panic!("{other:?}"),
        }
    }

    fn look_up(rates: &Rates, ms: u64) -> Option<u64> {
        ask(rates, ms, "a", Dialect::Nx, Kind::Lookup)
    }

    #[test]
    fn a_namespace_has_as_many_requests_at_once_as_in_a_second_and_then_its_rate() {
        let rates = rates(Some(10), None);
        let let_in =
            |from_ms: u64, to_ms: u64| (from_ms..to_ms).filter(|ms| look_up(&rates, *ms).is_none()).count();
        assert_eq!((0..100).filter(|_| look_up(&rates, 0).is_none()).count(), 10);
        assert_eq!(let_in(1, 1_001), 10);
        assert_eq!(let_in(1_001, 11_001), 100);
        // A quiet minute saves up no more than a second.
        assert_eq!((0..100).filter(|_| look_up(&rates, 71_001).is_none()).count(), 10);
        assert_eq!(rates.refused(), [90 + 990 + 9_900 + 90, 0, 0]);
        assert!((0..100).all(|_| ask(&rates, 71_001, "b", Dialect::Nx, Kind::Lookup).is_none()));
    }

    #[test]
    fn who_is_refused_is_told_when_to_come_again_and_then_gets_in() {
        let slow = rates(Some(1), None);
        assert_eq!((look_up(&slow, 0), look_up(&slow, 0), look_up(&slow, 999)), (None, Some(1), Some(1)));
        assert_eq!((look_up(&slow, 1_000), look_up(&slow, 1_000)), (None, Some(1)));
        let bytes = rates(None, Some(1_000));
        assert_eq!(look_up(&bytes, 0), None);
        bytes.count_bytes(START, &ns("a"), 1_000);
        assert_eq!(look_up(&bytes, 0), None, "a second is nobody's debt");
        bytes.count_bytes(START, &ns("a"), 9_500);
        assert_eq!((look_up(&bytes, 0), look_up(&bytes, 9_499)), (Some(10), Some(1)));
        assert_eq!((look_up(&bytes, 9_500), bytes.refused()), (None, [0, 2, 0]));
        bytes.count_bytes(START, &ns("b"), u64::MAX);
        assert_eq!(look_up(&bytes, 9_500), None);
    }

    #[test]
    fn the_largest_body_and_a_clock_that_is_set_back_cost_an_hour_at_most() {
        let rates = rates(Some(1), Some(1));
        for _ in 0..3 {
            rates.count_bytes(START, &ns("a"), u64::MAX);
        }
        assert_eq!(look_up(&rates, 0), Some(3_599));
        assert_eq!(look_up(&rates, 3_599_000), None);
        let back = Timestamp(START.0 - 86_400_000);
        let entering = Entering {
            now: back,
            ns: &ns("a"),
            peer: "::1".parse().expect("an address"),
            dialect: Dialect::Nx,
            kind: Kind::Lookup,
            is_object: false,
        };
        assert!(rates.refusal_of(&entering).is_some());
        rates.count_bytes(back, &ns("a"), 1);
        assert!(rates.refusal_of(&Entering { now: back.plus_ms(3_599_000), ..entering }).is_none());
    }

    #[test]
    fn what_a_hit_has_promised_is_counted_and_served_and_an_administrator_gets_in() {
        let rates = rates(Some(2), None);
        for _ in 0..5 {
            assert_eq!(ask(&rates, 0, "a", Dialect::Bazel, Kind::Read), None);
        }
        assert_eq!(ask(&rates, 0, "a", Dialect::Bazel, Kind::Lookup), Some(1));
        assert_eq!(ask(&rates, 0, "a", Dialect::Bazel, Kind::Write), Some(1));
        assert_eq!(ask(&rates, 0, "a", Dialect::Native, Kind::Read), Some(1));
        assert_eq!(ask(&rates, 0, "a", Dialect::Native, Kind::Admin), None);
    }

    #[test]
    fn an_address_has_its_minute_and_networks_of_version_6_are_one() {
        let rates = Rates::new([], Some(60));
        let ask = |peer: &str, ms: u64, is_object: bool| {
            let peer = peer.parse().expect("an address");
            let (now, ns) = (START.plus_ms(ms), &ns("a"));
            let (dialect, kind) = (Dialect::Native, Kind::Lookup);
            rates.refusal_of(&Entering { now, ns, peer, dialect, kind, is_object }).is_none()
        };
        assert_eq!((0..100).filter(|_| ask("10.0.0.1", 0, true)).count(), 60);
        assert!(ask("10.0.0.1", 0, false), "only objects");
        assert!(!ask("::ffff:10.0.0.1", 0, true) && ask("10.0.0.2", 0, true));
        assert!(ask("10.0.0.1", 1_000, true) && !ask("10.0.0.1", 1_000, true));
        assert_eq!((0..99).filter(|host| ask(&format!("fd00::{host:x}"), 0, true)).count(), 60);
        assert_eq!(rates.refused()[Bound::Host as usize], 40 + 1 + 1 + 39);
    }

    #[test]
    fn cores_that_count_at_once_let_no_more_in() {
        let rates = rates(Some(1_000), None);
        let let_in = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let own = (0..1_000).filter(|_| look_up(&rates, 0).is_none()).count();
                    let_in.fetch_add(own as u64, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(let_in.into_inner(), 1_000);
    }
}
