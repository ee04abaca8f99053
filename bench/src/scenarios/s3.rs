//! S3: uploads, downloads and listings of objects of one size, and uploads mixed with downloads.
//!
//! ```text
//! /BUCKET/SIZE/NNNNNNNNNN       objects that `fill` makes: read, listed, and overwritten by puts of a drawn distribution
//! /BUCKET/RUN/XXXXXXXXXXXXXXXX  objects of puts under new keys; RUN differs from plan to plan
//! ```
//!
//! Invariant: a good answer is a 200 of exactly the length that the object has, or no shorter than the keys of its page;
//! every key is written with bodies of one size only. Equal requests share one head: signatures of one plan are as of one
//! moment.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws::Timestamp;
use aws::uri;
use bytes::Bytes;

use crate::load::schedule::SplitMix;
use crate::prepare::content::Content;
use crate::prepare::keys::{Distribution, Keys, below};
use crate::prepare::sign::{self, ARENA_BYTES_MAX, Arena, Call, EMPTY_DIGEST, UNSIGNED_PAYLOAD};
use crate::scenario::{Expect, Length, Plan, Prepared, Protocol, Scenario, Sizes, Target};

use heads::Heads;

pub(super) mod fill;
mod heads;

/// Keys of a listing's page: the most that S3 gives.
const PAGE_KEYS: usize = 1_000;

/// What stands around each key of a listing.
const KEY_ELEMENT: &str = "<Key></Key>";

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// PutObject.
    Put,
    /// GetObject.
    Get,
    /// ListObjectsV2, a page at a time.
    List,
    /// GetObject and PutObject, drawn request by request.
    Mixed {
        /// So many of a hundred are GetObject.
        reads_percent: u8,
    },
}

/// How large, how many, where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is asked.
    pub operation: Operation,
    /// Where; made if it is not there. Of characters that need no escape.
    pub bucket: String,
    /// Of every object.
    pub value_bytes: usize,
    /// Objects that are there before the first request, unless all requests are puts under new keys.
    pub key_count: usize,
    /// Which of them is next; of listings, which page. With `Unique`, puts go under new keys.
    pub distribution: Distribution,
    /// Whether signatures take in the digest of the body.
    pub is_payload_signed: bool,
    /// Of all that is drawn.
    pub seed: u64,
}

/// A load of S3 requests.
pub struct S3 {
    settings: Settings,
    content: Arc<Content>,
}

impl S3 {
    /// Makes the bodies.
    pub fn new(settings: Settings) -> S3 {
        let content = Arc::new(Content::new(settings.value_bytes, settings.seed));
        S3 { settings, content }
    }
}

impl Scenario for S3 {
    fn sizes(&self) -> Sizes {
        let Settings { operation, value_bytes, key_count, distribution, .. } = &self.settings;
        Sizes {
            value_bytes: Some(*value_bytes as u64),
            key_count: Some(*key_count as u64),
            part_count: None,
            distribution: Some(match distribution {
                Distribution::Unique => "unique".to_owned(),
                Distribution::Uniform => "uniform".to_owned(),
                Distribution::Zipf { theta } => format!("zipf {theta}"),
            }),
            read_percent: match operation {
                Operation::Mixed { reads_percent } => Some((*reads_percent).into()),
                Operation::Put | Operation::Get | Operation::List => None,
            },
        }
    }

    fn title(&self) -> String {
        let Settings { operation, value_bytes, key_count, distribution, .. } = &self.settings;
        let keys = match distribution {
            Distribution::Unique => format!("{key_count} keys in turn"),
            Distribution::Uniform => format!("{key_count} keys, uniform"),
            Distribution::Zipf { theta } => format!("{key_count} keys, Zipf {theta}"),
        };
        let written = if self.writes_new_keys() { ", puts under new keys" } else { "" };
        match operation {
            Operation::Put if self.writes_new_keys() => format!("S3 put of {value_bytes} B under new keys"),
            Operation::Put => format!("S3 put of {value_bytes} B, {keys}"),
            Operation::Get => format!("S3 get of {value_bytes} B, {keys}"),
            Operation::List => format!("S3 list, pages of {PAGE_KEYS} of {key_count} keys"),
            Operation::Mixed { reads_percent } => {
                format!("S3 mixed, {reads_percent} % get, of {value_bytes} B, {keys}{written}")
            }
        }
    }

    fn fill(&self, target: &Target) -> Result<(), String> {
        let is_http = target.protocol == Protocol::Http;
        if is_http {
            self.make_bucket(target)?;
        }
        let has_objects = matches!(target.protocol, Protocol::Http | Protocol::Redis);
        if !has_objects || self.settings.operation == Operation::Put && self.writes_new_keys() {
            return Ok(());
        }
        self.make_objects(target)?;
        if is_http { self.check_listing(target) } else { Ok(()) }
    }

    fn writes(&self) -> Option<Box<dyn Scenario>> {
        match self.settings.operation {
            Operation::Get | Operation::List => None,
            Operation::Put | Operation::Mixed { .. } => Some(Box::new(S3::new(Settings {
                operation: Operation::Put,
                distribution: Distribution::Unique,
                ..self.settings.clone()
            }))),
        }
    }

    fn plan(&self, target: &Target, worker: usize, count_max: usize) -> Result<Box<dyn Plan>, String> {
        let now = now();
        let mut asks = Asks::new(&self.settings, worker);
        // Not from the seed: a second run against the same server would write over the objects of the first.
        let run = SplitMix(now.as_nanos() as u64 ^ ((worker as u64) << 48)).next();
        let mut heads = Heads::new(target, timestamp(now));
        let mut arena = Arena::new(ARENA_BYTES_MAX);
        let mut made: HashMap<Ask, u32> = HashMap::new();
        let mut requests = Vec::with_capacity(count_max);
        for _ in 0..count_max {
            let ask = asks.next();
            let head = match made.get(&ask) {
                Some(head) => Some(*head),
                None => self.add(&mut arena, &mut heads, ask, run),
            };
            // What fits is made; then the requests come again.
            let Some(head) = head else { break };
            if !matches!(ask, Ask::Create { .. }) {
                made.insert(ask, head);
            }
            requests.push(Request { head, bodies: self.bodies(ask) });
        }
        if requests.is_empty() {
            return Err("no request was asked for".to_owned());
        }
        let content = Arc::clone(&self.content);
        Ok(Box::new(Requests {
            heads: arena.close(),
            requests,
            next: 0,
            rounds: 0,
            // Messages have no names: nothing is written over.
            creates: asks.created > 0 && matches!(target.protocol, Protocol::Http | Protocol::Redis),
            content,
        }))
    }
}

impl S3 {
    fn writes_new_keys(&self) -> bool {
        self.settings.distribution == Distribution::Unique
    }

    /// Makes the head of `ask`; nothing when the arena is full.
    fn add(&self, arena: &mut Arena, heads: &mut Heads, ask: Ask, run: u64) -> Option<u32> {
        let bucket = &self.settings.bucket;
        let mut add = |call: &Call<'_>| arena.add(|out| heads.append(out, call));
        match ask {
            Ask::Create { index } => {
                // SplitMix permutes the 64-bit numbers: no name comes twice, and they are spread over the key space.
                let name = SplitMix(run.wrapping_add(index as u64)).next();
                add(&self.put(&format!("/{bucket}/{run:016x}/{name:016x}"), index))
            }
            Ask::Overwrite { key } => add(&self.put(&self.path(key), overwriting(key))),
            Ask::Get { key } => add(&self.get(&self.path(key), "")),
            Ask::List { page } => add(&self.get(&format!("/{bucket}"), &self.page_query(page))),
        }
    }

    /// PutObject of body `body`.
    fn put<'a>(&'a self, path: &'a str, body: usize) -> Call<'a> {
        let payload =
            if self.settings.is_payload_signed { self.content.digest(body) } else { UNSIGNED_PAYLOAD };
        Call { method: "PUT", path, query: "", payload, body_bytes: Some(self.settings.value_bytes) }
    }

    /// GetObject or ListObjectsV2.
    fn get<'a>(&self, path: &'a str, query: &'a str) -> Call<'a> {
        let payload = if self.settings.is_payload_signed { EMPTY_DIGEST } else { UNSIGNED_PAYLOAD };
        Call { method: "GET", path, query, payload, body_bytes: None }
    }

    /// The path of an object that `fill` makes.
    fn path(&self, key: usize) -> String {
        format!("/{}/{}", self.settings.bucket, self.key(key))
    }

    /// Objects of another size have other keys. As text the keys have the order of their numbers.
    fn key(&self, key: usize) -> String {
        format!("{}/{key:010}", self.settings.value_bytes)
    }

    fn bodies(&self, ask: Ask) -> Bodies {
        match ask {
            Ask::Create { index } => Bodies::Sent { index },
            Ask::Overwrite { key } => Bodies::Sent { index: overwriting(key) },
            Ask::Get { .. } => Bodies::Object,
            Ask::List { page } => {
                let first = page * PAGE_KEYS;
                let named = (self.settings.key_count - first).min(PAGE_KEYS);
                Bodies::Listing { bytes_min: named * (KEY_ELEMENT.len() + self.key(first).len()) }
            }
        }
    }

    fn page_query(&self, page: usize) -> String {
        let prefix = uri::encode(&format!("{}/", self.settings.value_bytes));
        let first = format!("list-type=2&max-keys={PAGE_KEYS}&prefix={prefix}");
        match page {
            0 => first,
            page => format!("{first}&start-after={}", uri::encode(&self.key(page * PAGE_KEYS - 1))),
        }
    }
}

/// An object that is written over gets another body than it was made with.
fn overwriting(key: usize) -> usize {
    key + 1
}

/// Since 1970.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

pub(super) fn timestamp(now: Duration) -> Timestamp {
    Timestamp::from_seconds(i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Ask {
    /// A put under a key that was never there, number `index` of this plan.
    Create { index: usize },
    /// A put over an object that `fill` made.
    Overwrite { key: usize },
    /// A get of one.
    Get { key: usize },
    /// A page of them.
    List { page: usize },
}

/// Draws what is asked.
struct Asks {
    operation: Operation,
    writes_new_keys: bool,
    keys: Keys,
    random: SplitMix,
    created: usize,
}

impl Asks {
    fn new(settings: &Settings, worker: usize) -> Asks {
        let mut random = SplitMix(settings.seed ^ ((worker as u64) << 48));
        let count = match settings.operation {
            Operation::List => settings.key_count.div_ceil(PAGE_KEYS),
            Operation::Put | Operation::Get | Operation::Mixed { .. } => settings.key_count,
        };
        Asks {
            operation: settings.operation,
            writes_new_keys: settings.distribution == Distribution::Unique,
            keys: Keys::new(settings.distribution, count, random.next()),
            random,
            created: 0,
        }
    }

    fn next(&mut self) -> Ask {
        match self.operation {
            Operation::Put => self.write(),
            Operation::Get => Ask::Get { key: self.keys.next() },
            Operation::List => Ask::List { page: self.keys.next() },
            Operation::Mixed { reads_percent } => {
                if below(&mut self.random, 100) < usize::from(reads_percent) {
                    Ask::Get { key: self.keys.next() }
                } else {
                    self.write()
                }
            }
        }
    }

    fn write(&mut self) -> Ask {
        if !self.writes_new_keys {
            return Ask::Overwrite { key: self.keys.next() };
        }
        let index = self.created;
        self.created += 1;
        Ask::Create { index }
    }
}

/// The bodies that go with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bodies {
    /// Body `index` is sent, and nothing comes back.
    Sent { index: usize },
    /// An object comes back.
    Object,
    /// XML comes back, no shorter than the keys that it must name.
    Listing { bytes_min: usize },
}

struct Request {
    head: u32,
    bodies: Bodies,
}

/// Requests in the order drawn, over and over.
struct Requests {
    heads: sign::Heads,
    requests: Vec<Request>,
    next: usize,
    /// How often all of them were sent.
    rounds: usize,
    /// Whether there are puts under new keys among them.
    creates: bool,
    content: Arc<Content>,
}

impl Plan for Requests {
    fn next(&mut self) -> Option<Prepared> {
        if self.next == self.requests.len() {
            self.next = 0;
            self.rounds += 1;
        }
        let request = &self.requests[self.next];
        self.next += 1;
        let (body, length) = match request.bodies {
            Bodies::Sent { index } => (self.content.body(index), Length::Exactly(0)),
            Bodies::Object => (Bytes::new(), Length::Exactly(self.content.body_bytes() as u64)),
            Bodies::Listing { bytes_min } => (Bytes::new(), Length::AtLeast(bytes_min as u64)),
        };
        let expect = Expect { status: 200, length };
        Some(Prepared { head: self.heads.get(request.head), body, expect, tag: None })
    }

    fn finish(&mut self) -> Result<Vec<String>, String> {
        if self.rounds == 0 || !self.creates {
            return Ok(Vec::new());
        }
        let count = self.requests.len();
        Ok(vec![format!(
            "The {count} requests made ahead for a worker came round: from then on puts wrote over keys of the same run."
        )])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::scenario::Credentials;

    fn scenario(operation: Operation, distribution: Distribution) -> S3 {
        S3::new(Settings {
            operation,
            bucket: "b".to_owned(),
            value_bytes: 100,
            key_count: 2_500,
            distribution,
            is_payload_signed: true,
            seed: 1,
        })
    }

    fn credentials() -> Credentials {
        let [access_key, secret_key, region] = ["AK", "secret", "us-east-1"].map(str::to_owned);
        Credentials { access_key, secret_key, region }
    }

    fn target() -> Target {
        Target { host: "h:1".to_owned(), ..Target::at("127.0.0.1:1").expect("an address") }
    }

    /// Request lines without the protocol, and what is sent and expected.
    fn drawn(scenario: &S3, worker: usize, count: usize) -> Vec<(String, usize, Length)> {
        let mut plan = scenario.plan(&target(), worker, count).expect("a plan");
        let mut drawn = Vec::new();
        for _ in 0..count {
            let Prepared { head, body, expect, .. } = plan.next().expect("it comes again");
            let head = String::from_utf8(head.to_vec()).expect("ASCII");
            let line = head.split(" HTTP/1.1").next().expect("a request line").to_owned();
            drawn.push((line, body.len(), expect.length));
        }
        drawn
    }

    #[test]
    fn puts_go_under_keys_that_no_worker_and_no_run_has_twice() {
        let scenario = scenario(Operation::Put, Distribution::Unique);
        let mut lines = HashSet::new();
        for worker in [0, 1, 0] {
            for (line, body_bytes, expected) in drawn(&scenario, worker, 3_000) {
                assert!(line.starts_with("PUT /b/") && body_bytes == 100 && expected == Length::Exactly(0));
                assert!(lines.insert(line));
            }
        }
    }

    #[test]
    fn gets_ask_for_filled_objects_and_equal_ones_share_a_head() {
        let scenario = scenario(Operation::Get, Distribution::Zipf { theta: 0.99 });
        for (line, body_bytes, expected) in drawn(&scenario, 0, 1_000) {
            let number: usize =
                line.strip_prefix("GET /b/100/").and_then(|key| key.parse().ok()).expect("a key");
            assert!(number < 2_500 && body_bytes == 0 && expected == Length::Exactly(100));
        }
        let mut plan = scenario.plan(&target(), 0, 100_000).expect("a plan");
        let heads: HashSet<*const u8> =
            (0..100_000).filter_map(|_| Some(plan.next()?.head.as_ptr())).collect();
        assert!(heads.len() <= 2_500, "{}", heads.len());
    }

    #[test]
    fn pages_begin_after_the_last_key_of_the_page_before() {
        let scenario = scenario(Operation::List, Distribution::Unique);
        let mut pages = drawn(&scenario, 0, 3);
        pages.sort_unstable_by(|(one, ..), (other, ..)| one.cmp(other));
        // `<Key>100/0000000000</Key>` has 25 bytes; the last page has 500 of them.
        let page = |from: &str, least| {
            let line = format!("GET /b?list-type=2&max-keys=1000&prefix=100%2F{from}");
            (line, 0, Length::AtLeast(least))
        };
        assert_eq!(
            pages,
            [
                page("", 25_000),
                page("&start-after=100%2F0000000999", 25_000),
                page("&start-after=100%2F0000001999", 12_500),
            ]
        );
    }

    #[test]
    fn a_mixture_has_the_share_of_reads_and_writes_over_the_same_keys() {
        let scenario = scenario(Operation::Mixed { reads_percent: 80 }, Distribution::Uniform);
        let drawn = drawn(&scenario, 0, 10_000);
        let reads = drawn.iter().filter(|(line, ..)| line.starts_with("GET /b/100/")).count();
        assert!(reads.abs_diff(8_000) < 200, "{reads}");
        let writes = drawn.iter().filter(|(line, ..)| line.starts_with("PUT /b/100/")).count();
        assert_eq!(reads + writes, 10_000);
    }

    #[test]
    fn a_plan_comes_again_when_it_is_through_and_says_so_of_new_keys() {
        for (operation, is_told) in [(Operation::Put, true), (Operation::Get, false)] {
            for credentials in [None, Some(credentials())] {
                let target = Target { credentials, ..target() };
                let scenario = scenario(operation, Distribution::Unique);
                let mut plan = scenario.plan(&target, 0, 3).expect("a plan");
                let mut heads = || plan.next().expect("it comes again").head;
                let first = [heads(), heads(), heads()];
                assert_eq!(plan.finish(), Ok(Vec::new()));
                let mut heads = || plan.next().expect("it comes again").head;
                assert_eq!(first, [heads(), heads(), heads()]);
                assert_eq!(plan.finish().map(|notes| notes.len()), Ok(usize::from(is_told)));
            }
        }
    }
}
