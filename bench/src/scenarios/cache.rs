//! A remote cache: blobs of one size, or of sizes between two, that are put under new names, read, or both mixed.
//!
//! ```text
//! native   /api/v1/objects/DIGEST             the appliance's own API: 64 hexadecimal digits of the body's SHA-256
//! files    /DD/DIGEST                         WebDAV and static files: a directory for each two first digits
//! turbo    /v8/artifacts/DIGEST16?slug=SLUG   Turborepo's: the first 16 digits
//! ```
//!
//! Invariant: no two bodies of a plan, and none of another run, are alike, so that no server saves a write by knowing one; a
//! good GET gave the very bytes that were put. When the bodies made ahead are used up the run is void: a put of a known body
//! is not the work that is measured.

use std::collections::HashMap;

use aws::encoding::hex;
use bytes::Bytes;

use crate::load::schedule::SplitMix;
use crate::prepare::keys::{Distribution, Keys, below};
use crate::prepare::sign::{ARENA_BYTES_MAX, Arena, Heads};
use crate::scenario::{CacheApi, Expect, Length, Plan, Prepared, Scenario, Sizes, Target};
use crate::scenarios::s3::now;

mod fill;

/// Bodies are told apart by their bytes: of so many at random no two are alike.
pub const BODY_BYTES_MIN: u32 = 16;
/// Bodies of one plan that are put have so many bytes together at most: they are digested before the clock, at about 1.5 GB
/// a second.
const PUT_BYTES_MAX: usize = 6 << 30;
/// The team of Turborepo's paths.
const SLUG: &str = "zerobench";

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// PUT of bodies that the server has never seen.
    Put,
    /// GET of bodies that were put before the clock.
    Get,
    /// Both, drawn request by request.
    Mixed {
        /// So many of a hundred are GET.
        reads_percent: u8,
    },
}

/// How large, how many.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is asked.
    pub operation: Operation,
    /// The shortest body.
    pub value_bytes_min: usize,
    /// The longest body; lengths between the two have equal chances.
    pub value_bytes_max: usize,
    /// Bodies that are there before the first request of loads that read.
    pub key_count: usize,
    /// Which of them is read next.
    pub distribution: Distribution,
    /// Of all that is drawn, and of the bodies that are there before.
    pub seed: u64,
}

/// A load of a cache.
pub struct Cache {
    settings: Settings,
    filled: Bodies,
}

impl Cache {
    /// Makes the bodies that are to be there before.
    pub fn new(settings: Settings) -> Cache {
        let Settings { value_bytes_min, value_bytes_max, key_count, seed, .. } = settings;
        Cache { filled: Bodies::new(value_bytes_min..=value_bytes_max, key_count, seed), settings }
    }

    fn draw(&self, asks: &mut Asks) -> Ask {
        let reads_percent = match self.settings.operation {
            Operation::Put => 0,
            Operation::Get => 100,
            Operation::Mixed { reads_percent } => usize::from(reads_percent),
        };
        if below(&mut asks.random, 100) < reads_percent {
            return Ask::Get { key: asks.keys.next() };
        }
        let index = asks.put_count;
        asks.put_count += 1;
        Ask::Put { index }
    }
}

impl Scenario for Cache {
    fn title(&self) -> String {
        let Settings { operation, value_bytes_min, value_bytes_max, key_count, distribution, .. } =
            &self.settings;
        let size = if value_bytes_min == value_bytes_max {
            format!("{value_bytes_min} B")
        } else {
            format!("{value_bytes_min} to {value_bytes_max} B")
        };
        let keys = match distribution {
            Distribution::Unique => format!("{key_count} blobs in turn"),
            Distribution::Uniform => format!("{key_count} blobs, uniform"),
            Distribution::Zipf { theta } => format!("{key_count} blobs, Zipf {theta}"),
        };
        match operation {
            Operation::Put => format!("Cache put of {size}, none known"),
            Operation::Get => format!("Cache get of {size}, {keys}, every byte compared"),
            Operation::Mixed { reads_percent } => {
                format!(
                    "Cache mix, {reads_percent} % get, of {size}, {keys}, every byte compared, puts of unknown blobs"
                )
            }
        }
    }

    fn sizes(&self) -> Sizes {
        let Settings { operation, value_bytes_min, value_bytes_max, key_count, distribution, .. } =
            &self.settings;
        let reads = *operation != Operation::Put;
        Sizes {
            value_bytes: (value_bytes_min == value_bytes_max).then_some(*value_bytes_min as u64),
            key_count: reads.then_some(*key_count as u64),
            distribution: reads.then(|| match distribution {
                Distribution::Unique => "unique".to_owned(),
                Distribution::Uniform => "uniform".to_owned(),
                Distribution::Zipf { theta } => format!("zipf {theta}"),
            }),
            part_count: None,
            read_percent: match operation {
                Operation::Mixed { reads_percent } => Some((*reads_percent).into()),
                Operation::Put | Operation::Get => None,
            },
        }
    }

    fn fill(&self, target: &Target) -> Result<(), String> {
        if self.settings.operation == Operation::Put { Ok(()) } else { self.put_all(target) }
    }

    fn writes(&self) -> Option<Box<dyn Scenario>> {
        let settings = Settings { operation: Operation::Put, ..self.settings.clone() };
        (self.settings.operation != Operation::Get)
            .then(|| Box::new(Cache::new(settings)) as Box<dyn Scenario>)
    }

    fn plan(&self, target: &Target, worker: usize, count_max: usize) -> Result<Box<dyn Plan>, String> {
        let Settings { value_bytes_min, value_bytes_max, key_count, distribution, seed, .. } = self.settings;
        // Not from the seed: a second run against the same server would put what that has.
        let run = SplitMix(now().as_nanos() as u64 ^ ((worker as u64) << 48)).next();
        let fresh = Bodies::new(value_bytes_min..=value_bytes_max, count_max, run);
        let mut random = SplitMix(seed ^ ((worker as u64) << 48));
        let keys = Keys::new(distribution, key_count, random.next());
        let mut asks = Asks { keys, random, put_count: 0 };
        let mut arena = Arena::new(ARENA_BYTES_MAX);
        let mut gets: HashMap<usize, u32> = HashMap::new();
        let (mut requests, mut put_bytes) = (Vec::with_capacity(count_max), 0);
        for _ in 0..count_max {
            let ask = self.draw(&mut asks);
            let head = match ask {
                Ask::Get { key } => gets.get(&key).copied().or_else(|| {
                    let made = arena.add(|out| append_head(out, target, "GET", &self.filled.body(key)))?;
                    gets.insert(key, made);
                    Some(made)
                }),
                Ask::Put { index } => {
                    let body = fresh.body(index);
                    put_bytes += body.len();
                    let fits = put_bytes <= PUT_BYTES_MAX;
                    fits.then(|| arena.add(|out| append_head(out, target, "PUT", &body))).flatten()
                }
            };
            // What fits is made.
            let Some(head) = head else { break };
            requests.push((head, ask));
        }
        if requests.is_empty() {
            return Err("no request was asked for".to_owned());
        }
        Ok(Box::new(Requests {
            heads: arena.close(),
            comes_again: asks.put_count == 0,
            requests,
            next: 0,
            fresh,
            filled: self.filled.clone(),
            api: target.cache_api,
        }))
    }
}

/// Random bytes, of which each body is a window of its own: a million bodies take the memory of one and a megabyte.
#[derive(Clone)]
struct Bodies {
    pool: Bytes,
    bytes_min: usize,
    /// How many lengths there are.
    lengths: usize,
    seed: u64,
}

impl Bodies {
    fn new(sizes: std::ops::RangeInclusive<usize>, count: usize, seed: u64) -> Bodies {
        let (bytes_min, bytes_max) = (*sizes.start(), *sizes.end());
        let mut random = SplitMix(seed);
        let mut pool = Vec::with_capacity(bytes_max + count + size_of::<u64>());
        while pool.len() < bytes_max + count {
            pool.extend_from_slice(&random.next().to_le_bytes());
        }
        Bodies { pool: pool.into(), bytes_min, lengths: bytes_max - bytes_min + 1, seed }
    }

    /// Body `index`, which is below the count.
    fn body(&self, index: usize) -> Bytes {
        let length = self.bytes_min + below(&mut SplitMix(self.seed ^ index as u64), self.lengths);
        self.pool.slice(index..index + length)
    }
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// A put of new body `index`.
    Put { index: usize },
    /// A get of body `key` of those that were there before.
    Get { key: usize },
}

/// Draws what is asked.
struct Asks {
    keys: Keys,
    random: SplitMix,
    put_count: usize,
}

/// Appends the head of a request for `body` by its name.
fn append_head(out: &mut Vec<u8>, target: &Target, method: &str, body: &[u8]) {
    let digest = hex(&hash::sha256(body));
    let path = match target.cache_api {
        CacheApi::Native | CacheApi::Echo => format!("/api/v1/objects/{digest}"),
        CacheApi::Files => format!("/{}/{digest}", &digest[..2]),
        CacheApi::Turbo => format!("/v8/artifacts/{}?slug={SLUG}", &digest[..16]),
    };
    let mut line = |text: String| out.extend_from_slice(text.as_bytes());
    line(format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", target.host));
    if let Some(token) = &target.token {
        line(format!("Authorization: Bearer {token}\r\n"));
    }
    if method == "PUT" {
        line(format!("Content-Type: application/octet-stream\r\nContent-Length: {}\r\n", body.len()));
    }
    line("\r\n".to_owned());
}

/// The status of a put of a body that was not there. (turborepo-remote-cache 2.12 answers 200 where Vercel's answers 202.)
fn created(api: CacheApi) -> u16 {
    match api {
        CacheApi::Native | CacheApi::Files => 201,
        CacheApi::Turbo | CacheApi::Echo => 200,
    }
}

/// Requests in the order drawn.
struct Requests {
    heads: Heads,
    requests: Vec<(u32, Ask)>,
    next: usize,
    /// Whether they are sent over and over: not when one of them is a put.
    comes_again: bool,
    fresh: Bodies,
    filled: Bodies,
    api: CacheApi,
}

impl Plan for Requests {
    fn next(&mut self) -> Option<Prepared> {
        if self.next == self.requests.len() && self.comes_again {
            self.next = 0;
        }
        let (head, ask) = *self.requests.get(self.next)?;
        self.next += 1;
        let (body, status, length) = match ask {
            Ask::Put { index } => (self.fresh.body(index), created(self.api), Length::Any),
            Ask::Get { key } => {
                let body = self.filled.body(key);
                let length = match self.api {
                    CacheApi::Echo => Length::Exactly(body.len() as u64),
                    CacheApi::Native | CacheApi::Files | CacheApi::Turbo => Length::Same(body),
                };
                (Bytes::new(), 200, length)
            }
        };
        Some(Prepared { head: self.heads.get(head), body, expect: Expect { status, length }, tag: None })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn scenario(operation: Operation, sizes: (usize, usize)) -> Cache {
        Cache::new(Settings {
            operation,
            value_bytes_min: sizes.0,
            value_bytes_max: sizes.1,
            key_count: 500,
            distribution: Distribution::Uniform,
            seed: 1,
        })
    }

    fn target(cache_api: CacheApi) -> Target {
        let target = Target::at("127.0.0.1:1").expect("an address");
        Target { token: Some("secret".to_owned()), cache_api, ..target }
    }

    fn head(prepared: &Prepared) -> String {
        String::from_utf8(prepared.head.to_vec()).expect("ASCII")
    }

    #[test]
    fn a_put_goes_under_the_digest_of_a_body_that_no_worker_and_no_run_has_twice() {
        let scenario = scenario(Operation::Put, (100, 200));
        let mut paths = HashSet::new();
        for worker in [0, 1, 0] {
            let mut plan = scenario.plan(&target(CacheApi::Native), worker, 300).expect("a plan");
            for _ in 0..300 {
                let put = plan.next().expect("one of 300");
                let digest = hex(&hash::sha256(&put.body));
                let length = put.body.len();
                let expected = format!(
                    "PUT /api/v1/objects/{digest} HTTP/1.1\r\nHost: 127.0.0.1:1\r\nAuthorization: Bearer secret\r\n\
                     Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n"
                );
                assert_eq!(head(&put), expected);
                assert!((100..=200).contains(&length) && put.expect.status == 201);
                assert!(paths.insert(digest));
            }
            assert!(plan.next().is_none(), "a put that came again would be of a known body");
        }
    }

    #[test]
    fn a_get_wants_the_bytes_that_its_name_says_and_comes_again() {
        let scenario = scenario(Operation::Get, (64, 64));
        for (api, prefix) in [
            (CacheApi::Native, "GET /api/v1/objects/"),
            (CacheApi::Files, "GET /"),
            (CacheApi::Turbo, "GET /v8/artifacts/"),
        ] {
            let mut plan = scenario.plan(&target(api), 0, 100).expect("a plan");
            for _ in 0..250 {
                let get = plan.next().expect("it comes again");
                let Length::Same(body) = &get.expect.length else { panic!("a body is wanted") };
                let digest = hex(&hash::sha256(body));
                assert!(head(&get).starts_with(prefix) && head(&get).contains(&digest[..16]));
                assert!(get.body.is_empty() && body.len() == 64 && get.expect.status == 200);
            }
        }
    }

    #[test]
    fn a_mix_has_the_share_of_reads_and_ends_with_its_puts() {
        let scenario = scenario(Operation::Mixed { reads_percent: 80 }, (10, 10));
        let mut plan = scenario.plan(&target(CacheApi::Files), 0, 10_000).expect("a plan");
        let sent: Vec<String> = std::iter::from_fn(|| plan.next().as_ref().map(head)).collect();
        let reads = sent.iter().filter(|head| head.starts_with("GET /")).count();
        assert!(sent.len() == 10_000 && reads.abs_diff(8_000) < 200, "{reads} of {}", sent.len());
    }
}
