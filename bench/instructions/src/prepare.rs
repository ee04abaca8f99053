//! The fixed inputs, and what must be there before counting begins.
//! Invariant: nothing random: seeds are constants, and the only map with random hashes (the key ring) holds one key, whose
//! look-up takes the same steps under every hash.
//! Leaves to measured.rs: what is counted.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use aws::account::{AccessKey, Account, AccountId, KeyRing, Secret};
use aws::sigv4::{Dialect, PathCoding, SigV2, SignedRequest, Verifier};
use http::Limits;
use http_types::{HeaderMap, HeaderValue};
use ring::{Backend, Reactor, ReactorConfig};
use store::disk::sim::{SimDisk, SplitMix64};
use store::disk::{Disk, RealDisk};
use store::log::{LogConfig, LogWriter, SegmentSupply, recover};
use store::overlay::{Entry, overlay};
use store::{
    BodyRef, DirectoryId, Fault, Lsn, Opened, Operation, Outcome, ShardId, Store, StoreConfig, TableId, Tx,
};

use crate::measured;

const SEED: u64 = 0x5eed;
/// Operations that are counted, where the input is one request.
const REQUEST_COUNT: usize = 1_000;
const BATCH_COUNT: usize = 20;
/// Puts of one batch: as many as there are writers in the benchmark of puts.
const BATCH_PUTS: usize = 64;
/// Entries of the overlay or the index; every one is looked up once.
const ENTRY_COUNT: usize = 5_000;
/// Keys and records of the size that an object's are.
const KEY_BYTES: usize = 60;
const VALUE_BYTES: usize = 140;
const BODY_BYTES: usize = 300;
const TABLE: TableId = store::FIRST_SERVICE_TABLE;

/// As boto3 sends it; the names come in no order.
const PUT_ITEM: &str = r#"{"TableName": "bench", "Item": {"pk": {"S": "user#0000012345"}, "sk": {"N": "42"},
    "name": {"S": "Ada Lovelace"}, "email": {"S": "ada@example.test"}, "created": {"N": "1763750000"},
    "active": {"BOOL": true}, "balance": {"N": "1234.56"}, "tags": {"SS": ["admin", "founder"]},
    "address": {"M": {"street": {"S": "12 St James's Square"}, "city": {"S": "London"}}},
    "scores": {"L": [{"N": "1"}, {"N": "2"}]}, "note": {"S": "Line one.\nLine two, with \"quotes\"."}}}"#;

/// Amazon's documented GET of an object ("Signature calculations for the Authorization header"), with what an SDK sends
/// beside it unsigned.
pub fn sigv4_check() -> usize {
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "examplebucket.s3.amazonaws.com"),
        ("accept-encoding", "identity"),
        ("amz-sdk-invocation-id", "4a2f2cb0-9c39-4c33-8f1e-2a1f0ce7cf0a"),
        ("amz-sdk-request", "attempt=1"),
        ("range", "bytes=0-9"),
        ("user-agent", "aws-sdk-rust/1.3"),
        ("x-amz-content-sha256", EMPTY),
        ("x-amz-date", "20130524T000000Z"),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let request = SignedRequest {
        method: "GET",
        path: "/test.txt",
        query: None,
        headers: &headers,
        authority: "examplebucket.s3.amazonaws.com",
        bucket_of_host: None,
        body_sha256: None,
    };
    let account = Arc::new(Account::new(AccountId::parse("000000000000").expect("twelve digits"), "root"));
    let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    let mut keys = KeyRing::default();
    keys.add_key(AccessKey { id: "AKIAIOSFODNN7EXAMPLE".into(), secret, session: None, account });
    let mut verifier = Verifier::new(Dialect {
        service: "s3",
        region: "us-east-1".to_owned(),
        path_coding: PathCoding::Once,
        sigv2: SigV2::Refused,
    });
    let now = aws::Timestamp::parse_basic(b"20130524T000000Z").expect("a date");
    measured::sigv4_check(&mut verifier, &request, &keys, now, REQUEST_COUNT);
    REQUEST_COUNT
}

/// A GET as boto3 sends it.
pub fn request_head() -> usize {
    const SENT: &str = "GET /bench/photos/2026/11/21/IMG_0042.jpeg?versionId=null HTTP/1.1\r\n\
        Host: 127.0.0.1:8080\r\n\
        Accept-Encoding: identity\r\n\
        User-Agent: Boto3/1.36.0 md/Botocore#1.36.0 ua/2.0 os/linux#6.1 md/arch#x86_64 lang/python#3.11.2\r\n\
        X-Amz-Date: 20261121T120000Z\r\n\
        X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\r\n\
        Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261121/us-east-1/s3/aws4_request, \
        SignedHeaders=host;x-amz-content-sha256;x-amz-date, \
        Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41\r\n\
        amz-sdk-invocation-id: 4a2f2cb0-9c39-4c33-8f1e-2a1f0ce7cf0a\r\n\
        amz-sdk-request: attempt=1\r\n\
        \r\n";
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    measured::request_head(SENT.as_bytes(), &Limits::default(), peer, REQUEST_COUNT);
    REQUEST_COUNT
}

/// Batches of puts with small bodies, on a simulated disk, which takes a write at once.
pub fn log_append() -> usize {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(SEED));
    let path = PathBuf::from("/data/shard-000/log");
    disk.create_dir(&path).expect("a simulated disk makes directories");
    let config = LogConfig::new(path, DirectoryId([1; 16]), ShardId(0));
    let recovered = recover(&disk, &config, None, &mut |_| Ok(())).expect("an empty log is sound");
    let supply = SegmentSupply::new(disk, config.clone(), Arc::default(), &recovered, Box::new(|| {}));
    supply.refill().expect("a simulated disk has room");
    let mut log = LogWriter::new(config, recovered.tail, SEED, supply, recovered.files).expect("a new log");
    let keys = keys(BATCH_PUTS);
    let bodies = [BodyRef::Inline(vec![b'b'; BODY_BYTES])];
    let mut scratch = Vec::new();
    for _ in 0..BATCH_COUNT {
        let write = measured::log_append(&mut log, &mut scratch, &keys, &[b'v'; VALUE_BYTES], &bodies);
        at_once(write).expect("a simulated disk writes");
    }
    BATCH_COUNT * BATCH_PUTS
}

/// Look-ups of all keys in another order than that of their insertion.
pub fn overlay_get() -> usize {
    let (mut writer, overlay) = overlay(0, SEED);
    let mut keys = keys(ENTRY_COUNT);
    for key in &keys {
        writer.insert(key, Lsn(1), Entry::Put { value: &[b'v'; VALUE_BYTES], fresh: true });
    }
    keys.reverse();
    measured::overlay_get(&overlay, &keys, Lsn(1));
    ENTRY_COUNT
}

/// Look-ups of folded records: a view's own cost, an overlay that holds nothing, and the index. What lies in an overlay is
/// `overlay_get`'s, since a shard draws the heights of its overlay's nodes at random.
pub fn view_get() -> usize {
    let directory = Directory::new();
    let mut config = StoreConfig::new(directory.0.clone(), 1, Arc::new(RealDisk));
    config.map_bytes_total = 1 << 30;
    config.ballast_bytes = 0;
    config.log_segment_bytes = 8 << 20;
    let opened = Opened::open(config, false, SEED).expect("an empty directory becomes a store");
    // Valgrind does not know io_uring.
    let config = ReactorConfig { backend: Backend::Epoll, ..ReactorConfig::default() };
    let mut reactor = Reactor::new(&config).expect("a reactor");
    reactor.block_on(async {
        let store = opened.start_core(0, 1, SEED).expect("the core starts");
        opened.finish_recovery(&store).await;
        let shard = ShardId(0);
        let mut keys = keys(ENTRY_COUNT);
        for keys in keys.chunks(500) {
            store.submit(shard, Puts(keys.to_vec())).await.expect("the records fit");
        }
        store.fold_all().await;
        assert_in_index_only(&store);
        keys.reverse();
        measured::view_get(&store, shard, TABLE, &keys);
        store.drain().await;
    });
    drop(reactor);
    opened.close();
    ENTRY_COUNT
}

/// A GetItem as boto3 sends it.
pub fn get_item_read() -> usize {
    const BODY: &str =
        r#"{"TableName": "bench", "Key": {"pk": {"S": "user#0000012345"}, "sk": {"N": "42"}}}"#;
    measured::get_item_read(BODY.as_bytes(), REQUEST_COUNT);
    REQUEST_COUNT
}

/// A PutItem of an item of every common type.
pub fn put_item_read() -> usize {
    measured::put_item_read(PUT_ITEM.as_bytes(), REQUEST_COUNT);
    REQUEST_COUNT
}

/// The same item as the reply of a GetItem.
pub fn item_write() -> usize {
    let stored = dynamodb::measured::stored(PUT_ITEM.as_bytes(), "Item").expect("a sound item");
    measured::item_write(&stored, REQUEST_COUNT);
    REQUEST_COUNT
}

fn assert_in_index_only(store: &Store) {
    for status in store.status() {
        assert_eq!((status.overlay_entries, status.folded_entries), (0, ENTRY_COUNT as u64), "{status:?}");
    }
}

/// Puts a record under each key.
struct Puts(Vec<Vec<u8>>);

impl Operation for Puts {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        self.0.iter().for_each(|key| declare(TABLE, key));
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        for key in &self.0 {
            tx.put(TABLE, key, &[b'v'; VALUE_BYTES], Vec::new(), true);
        }
        Ok(Outcome::Commit(()))
    }
}

/// Different keys in no order, the same on every run.
fn keys(count: usize) -> Vec<Vec<u8>> {
    let mut random = SplitMix64(SEED);
    let mut key =
        || (0..KEY_BYTES.div_ceil(8)).flat_map(|_| random.next_u64().to_le_bytes()).take(KEY_BYTES).collect();
    (0..count).map(|_| key()).collect()
}

/// The result of a future that has nothing to wait for.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("a simulated disk never waits"),
    }
}

/// A directory of this process that is gone when it ends.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        let path = std::env::temp_dir().join(format!("zerocloud-instructions-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary directory can be written to");
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let path: &Path = &self.0;
        // What cannot be removed is the system's to clean, like all of the temporary directory.
        let _gone: std::io::Result<()> = std::fs::remove_dir_all(path);
    }
}
