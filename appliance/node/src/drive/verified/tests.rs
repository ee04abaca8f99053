//! Bodies on a real store, sent over a real connection, with digests that are theirs and digests that are not.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use aws::account::KeyRing;
use aws::request_id::RequestId;
use aws::sigv4::{Dialect, PathCoding, Verifier};
use http::{Handler, Limits, Server, Shutdown};
use http_types::StatusCode;
use plan::{Context, Plan, Reply, ReplyBody};
use store::disk::RealDisk;
use store::{
    Body, BodyOwner, BodyRef, NewBody, Opened, Operation, Outcome, ShardId, Store, StoreConfig, TableId, Tx,
};

use super::*;
use crate::drive::kept::Kept;
use crate::drive::lanes::Lanes;
use crate::drive::testing::on_reactor;
use crate::scratch::Directory;

const TABLE: TableId = TableId(100);
const SHARD: ShardId = ShardId(0);

/// A core without doors.
pub(in crate::drive) struct Bench {
    store: Store,
    lanes: Lanes,
    kept: Kept,
    verifier: RefCell<Verifier>,
}

impl Host for Bench {
    fn store(&self) -> &Store {
        &self.store
    }

    fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    fn kept(&self) -> &Kept {
        &self.kept
    }

    fn client_gone(&self) -> impl Future<Output = ()> {
        std::future::pending()
    }

    fn with_context<R>(&self, run: impl FnOnce(&mut Context<'_>) -> R) -> R {
        run(&mut Context {
            store: &self.store,
            now: self.store.now(),
            random: &mut || 7,
            accounts: &KeyRing::default(),
            verifier: &mut self.verifier.borrow_mut(),
        })
    }
}

/// One body, how it is asked for, and how often it turned out wrong.
#[derive(Clone)]
struct Case {
    bench: Rc<Bench>,
    body: BodyRef,
    span: std::ops::Range<u64>,
    sha256: Option<[u8; 32]>,
    mismatches: Rc<Cell<u32>>,
}

impl Handler for Case {
    async fn call(&self, request: http::Request) {
        let piece = Piece {
            body: self.body.clone(),
            pin: self.bench.store.pin(SHARD, &self.body),
            start: self.span.start,
            length: self.span.end - self.span.start,
        };
        let mismatches = Rc::clone(&self.mismatches);
        // A step and a pause, as a service makes that puts the body aside.
        let mismatch: Then<()> = Box::new(move |_, ()| {
            Plan::wait(Duration::from_millis(1), move |_| {
                mismatches.set(mismatches.get() + 1);
                let miss = Reply::bytes(StatusCode::NOT_FOUND, "text/plain", "miss");
                Plan::Pause(Box::new(move |_, ()| Plan::Reply(miss)))
            })
        });
        let body = ReplyBody::Verified { piece, sha256: self.sha256, mismatch, late: None };
        let reply = Reply { body, ..Reply::empty(StatusCode::OK) };
        let ids = Ids::Uuid { request: RequestId::uuid(1, 2) };
        let method = &request.head.method;
        reply::send(Some(&*self.bench), method, &ids, reply, request.responder).await;
    }
}

struct Put(NewBody);

impl Operation for Put {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TABLE, b"k");
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        tx.put(TABLE, b"k", b"", vec![Body::New(self.0.clone())], false);
        Ok(Outcome::Commit(()))
    }
}

impl Case {
    async fn new(bench: &Rc<Bench>, bytes: &[u8]) -> Case {
        let owner = BodyOwner { shard: SHARD, table: TABLE, key: b"k".to_vec() };
        let mut writer = bench.store.body_writer(Some(bytes.len() as u64), owner);
        writer.write(bytes).await.expect("written");
        let body = writer.seal().await.expect("written");
        bench.store.submit(SHARD, Put(body)).await.expect("durable");
        let view = bench.store.view(SHARD).expect("readable");
        let body = view.get(TABLE, b"k").expect("readable").expect("there").bodies.remove(0);
        let (bench, span) = (Rc::clone(bench), 0..bytes.len() as u64);
        Case { bench, body, span, sha256: Some(hash::sha256(bytes)), mismatches: Rc::default() }
    }

    /// Makes the store's checksum of a short body another one.
    fn damage(&mut self) {
        match &mut self.body {
            BodyRef::Log { crc, .. } | BodyRef::Packed { crc, .. } => *crc ^= 1,
            body => panic!("{body:?}"),
        }
    }

    /// All that a client gets, who reads until the connection ends, and how often the body turned out wrong.
    async fn ask(&self, method: &'static str) -> (Vec<u8>, u32) {
        let listener = ring::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("binds");
        let address = listener.local_addr().expect("bound");
        let client = std::thread::spawn(move || {
            let mut stream = std::net::TcpStream::connect(address).expect("connects");
            write!(stream, "{method} / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").expect("sent");
            let mut answer = Vec::new();
            // A connection that is reset has given what it gave.
            drop(stream.read_to_end(&mut answer));
            answer
        });
        let shutdown = Shutdown::new();
        let server = Server::new(Limits::default(), self.clone());
        let stop = shutdown.clone();
        let serving = ring::spawn(async move { server.serve(listener, None, stop).await });
        while !client.is_finished() {
            ring::sleep(Duration::from_millis(1)).await;
        }
        shutdown.begin(Duration::from_secs(60));
        assert_eq!(serving.await, 0, "the handler ended");
        (client.join().expect("the client ended well"), self.mismatches.get())
    }
}

pub(in crate::drive) fn with_bench<F: Future<Output = ()>>(name: &str, work: impl FnOnce(Rc<Bench>) -> F) {
    let directory = Directory::new(name);
    let mut settings = StoreConfig::new(directory.path().to_path_buf(), 1, Arc::new(RealDisk));
    settings.map_bytes_total = 1 << 30;
    settings.ballast_bytes = 1 << 20;
    settings.log_segment_bytes = 4 << 20;
    let opened = Opened::open(settings, true, 1).expect("opens");
    on_reactor(async {
        let store = opened.start_core(0, 1, 1).expect("starts");
        opened.finish_recovery(&store).await;
        let dialect = Dialect {
            service: "cache",
            region: "us-east-1".to_owned(),
            path_coding: PathCoding::Once,
            sigv2: aws::sigv4::SigV2::Refused,
        };
        let verifier = RefCell::new(Verifier::new(dialect));
        let kept = Kept::new(1);
        let bench = Rc::new(Bench { store: store.clone(), lanes: Lanes::new(), kept, verifier });
        work(bench).await;
        store.drain().await;
    });
    opened.close();
}

fn bytes_of(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place / 251) as u8 ^ place as u8).collect()
}

fn split(answer: &[u8]) -> (String, &[u8]) {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head") + 4;
    (String::from_utf8_lossy(&answer[..end]).to_lowercase(), &answer[end..])
}

/// Of one piece, and of many.
const SHORT: [usize; 4] = [0, 1, 4_096, 32_768];
const LONG: [usize; 2] = [2_000_000, 5_000_001];
/// A body up to this length lies in its record.
const INLINE_BYTES_MAX: usize = 512;

#[test]
fn a_body_with_the_digest_that_it_should_have_is_sent_whole() {
    with_bench("verified-right", |bench| async move {
        for length in SHORT.into_iter().chain(LONG) {
            let bytes = bytes_of(length);
            let case = Case::new(&bench, &bytes).await;
            let (answer, mismatches) = case.ask("GET").await;
            let (head, body) = split(&answer);
            assert!(head.starts_with("http/1.1 200 "), "{head}");
            assert!(head.contains(&format!("content-length: {length}\r\n")), "{head}");
            assert!(body == bytes, "{length} bytes: {} came", body.len());
            assert_eq!(mismatches, 0);
            let (answer, _) = case.ask("HEAD").await;
            let (head, body) = split(&answer);
            assert!(head.contains(&format!("content-length: {length}\r\n")) && body.is_empty(), "{head}");
        }
    });
}

#[test]
fn a_short_body_with_another_digest_is_answered_by_what_its_service_says() {
    with_bench("verified-short", |bench| async move {
        for length in SHORT {
            let mut case = Case::new(&bench, &bytes_of(length)).await;
            case.sha256 = Some(hash::sha256(b"another"));
            let (answer, mismatches) = case.ask("GET").await;
            let (head, body) = split(&answer);
            assert!(head.starts_with("http/1.1 404 "), "{head}");
            assert_eq!((body, mismatches), (&b"miss"[..], 1));
        }
    });
}

#[test]
fn a_short_body_that_was_read_twice_is_sent_though_the_disk_has_lost_it() {
    with_bench("verified-kept", |bench| async move {
        for length in SHORT {
            let bytes = bytes_of(length);
            let mut case = Case::new(&bench, &bytes).await;
            for _ in 0..2 {
                assert_eq!(split(&case.ask("GET").await.0).1, bytes);
            }
            // A shorter one lies in its record.
            if length > INLINE_BYTES_MAX {
                case.damage();
            }
            let (answer, mismatches) = case.ask("GET").await;
            let (head, body) = split(&answer);
            assert!(head.starts_with("http/1.1 200 "), "{head}");
            assert!(head.contains(&format!("content-length: {length}\r\n")), "{head}");
            assert!(body == bytes && mismatches == 0, "{length} bytes: {} came", body.len());
        }
    });
}

#[test]
fn bytes_with_another_digest_are_never_kept() {
    with_bench("verified-not-kept", |bench| async move {
        let mut case = Case::new(&bench, &bytes_of(4_096)).await;
        let another = hash::sha256(b"another");
        case.sha256 = Some(another);
        for count in 1..=4 {
            let (answer, mismatches) = case.ask("GET").await;
            assert!(split(&answer).0.starts_with("http/1.1 404 "));
            assert_eq!(mismatches, count);
        }
        assert!(bench.kept.get(&another).is_none());
    });
}

#[test]
fn a_long_body_with_another_digest_is_cut_before_its_last_bytes() {
    with_bench("verified-long", |bench| async move {
        for length in LONG {
            let bytes = bytes_of(length);
            let mut case = Case::new(&bench, &bytes).await;
            case.sha256 = Some(hash::sha256(b"another"));
            let (answer, mismatches) = case.ask("GET").await;
            let (head, body) = split(&answer);
            assert!(head.contains(&format!("content-length: {length}\r\n")), "{head}");
            assert!(body.len() < length && bytes.starts_with(body), "{} bytes came", body.len());
            assert_eq!(mismatches, 1);
        }
    });
}

#[test]
fn a_body_that_fails_the_checksum_of_the_store_is_answered_in_the_same_way() {
    with_bench("verified-damaged", |bench| async move {
        let mut case = Case::new(&bench, &bytes_of(4_096)).await;
        case.damage();
        let (answer, mismatches) = case.ask("GET").await;
        assert!(split(&answer).0.starts_with("http/1.1 404 "));
        assert_eq!(mismatches, 1);
    });
}

#[test]
fn a_part_of_a_body_needs_no_digest_and_is_answered_in_the_same_way_where_it_is_damaged() {
    with_bench("verified-part", |bench| async move {
        for (length, span) in [(4_096, 1_000..3_000), (3_000_000, 70_000..2_900_001)] {
            let bytes = bytes_of(length);
            let case = Case { span: span.clone(), sha256: None, ..Case::new(&bench, &bytes).await };
            let (answer, mismatches) = case.ask("GET").await;
            let (head, body) = split(&answer);
            assert!(head.contains(&format!("content-length: {}\r\n", span.end - span.start)), "{head}");
            assert!(body == &bytes[span.start as usize..span.end as usize], "{} bytes came", body.len());
            assert_eq!(mismatches, 0);
        }
        let mut case = Case::new(&bench, &bytes_of(4_096)).await;
        case.damage();
        let case = Case { span: 5..10, sha256: None, ..case };
        let (answer, mismatches) = case.ask("GET").await;
        assert!(split(&answer).0.starts_with("http/1.1 404 "));
        assert_eq!(mismatches, 1);
    });
}

#[test]
fn only_what_the_disk_cannot_give_is_damage() {
    let io = |errno: rustix::io::Errno| Fault::Io {
        action: "read",
        path: std::path::Path::new("f").into(),
        offset: 0,
        errno: errno.raw_os_error(),
    };
    assert!(is_damage(&Fault::corrupt("checksum".into())) && is_damage(&io(rustix::io::Errno::IO)));
    assert!(!is_damage(&io(rustix::io::Errno::MFILE)) && !is_damage(&io(rustix::io::Errno::NOMEM)));
    assert!(!is_damage(&Fault::Closed) && !is_damage(&Fault::Busy));
}
