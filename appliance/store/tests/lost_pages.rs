//! Index files that are cut under a running store: the process lives, the shard answers the typed fault and takes no
//! writes, the other shard serves, and nothing that was read from a lost page is told or stored.
//!
//! Each case runs in a child process, since what it guards against is the end of the process.

mod harness;
mod rig;

use std::path::Path;
use std::process::Command;

use harness::{TempDir, small_config};
use rig::{Put, TABLE, run, value_of};
use store::{Direction, Fault, Outcome, ShardId, Store};

const CHILD: &str = "ZEROCLOUD_LOST_PAGES_CHILD";
const KEYS: u64 = 3_000;
const PAGE_BYTES: u64 = 4096;

fn key(number: u64) -> Vec<u8> {
    format!("key{number:05}").into_bytes()
}

fn value(number: u64) -> Vec<u8> {
    format!("value-{number}-{}", "x".repeat((number % 200) as usize)).into_bytes()
}

fn index_file(data: &Path, shard: u16) -> std::path::PathBuf {
    data.join(ShardId(shard).to_string()).join("index/data.mdb")
}

fn config(data: &Path) -> store::StoreConfig {
    let mut config = small_config(data, 2);
    config.limits.fold_entries = 1_000_000;
    config
}

/// All keys on both shards, folded.
async fn fill(store: &Store) {
    for shard in 0..2 {
        put_all(store, shard).await;
    }
    store.fold_all().await;
}

async fn put_all(store: &Store, shard: u16) {
    for first in (0..KEYS).step_by(200) {
        let put = rig::call(move |tx| {
            for number in first..first + 200 {
                tx.put(TABLE, &key(number), &value(number), Vec::new(), false);
            }
            Ok(Outcome::Commit(()))
        });
        store.submit(ShardId(shard), put).await.expect("put");
    }
}

fn cut(data: &Path, shard: u16, bytes: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(index_file(data, shard)).expect("opens");
    file.set_len(bytes).expect("cut");
}

/// Every key of a shard reads right or is refused; gives how many are refused.
fn read_all(store: &Store, shard: u16) -> u64 {
    let mut refused = 0;
    for number in 0..KEYS {
        match value_of(store, ShardId(shard), &key(number)) {
            Ok(found) => assert_eq!(found, Some(value(number)), "key {number}"),
            Err(Fault::Corrupt(_)) => refused += 1,
            Err(other) => panic!("a lost page is {other:?}"),
        }
    }
    refused
}

async fn check_after_the_loss(store: &Store) {
    assert!(read_all(store, 0) > 0, "what is lost is told");
    assert!(matches!(store.view(ShardId(0)).map(|_| ()), Err(Fault::Corrupt(_))), "the shard stays refused");
    assert!(matches!(store.view_all().map(|_| ()), Err(Fault::Corrupt(_))), "no walk leaves the shard out");
    let refused = store.submit(ShardId(0), Put::plain(b"later", b"")).await;
    assert!(matches!(refused, Err(Fault::Corrupt(_) | Fault::ReadOnly(_))), "{refused:?}");
    let status = store.status();
    let trouble = status[0].trouble.as_deref().expect("the status names it");
    assert!(trouble.contains("could not be read"), "{trouble}");
    assert_eq!(read_all(store, 1), 0, "the other shard serves");
    store.submit(ShardId(1), Put::plain(b"later", b"here")).await.expect("the other shard takes writes");
    assert_eq!(value_of(store, ShardId(1), b"later").expect("reads"), Some(b"here".to_vec()));
    assert_eq!(status[1].trouble, None);
}

/// A reader meets the loss, and whoever asked for the store's reports hears of it once.
async fn reader(data: &Path, store: &Store, bytes: u64) {
    let (say, heard) = std::sync::mpsc::channel();
    store::report_to(move |text| say.send(text.to_owned()).expect("the test listens"));
    cut(data, 0, bytes);
    check_after_the_loss(store).await;
    let heard: Vec<String> = heard.try_iter().collect();
    assert!(heard.len() == 1 && heard[0].starts_with("shard-000 is not served any more"), "{heard:?}");
}

/// The fold meets the loss, in the middle of its transaction.
async fn fold(data: &Path, store: &Store, bytes: u64) {
    put_all(store, 0).await;
    cut(data, 0, bytes);
    let begun = ring::now();
    for number in (0..2).cycle() {
        let put = Put::plain(&key(number), &value(number));
        // The owner may be told of the fold's end before or behind this.
        let either: Result<(), Fault> = store.submit(ShardId(0), put).await;
        if either.is_err() {
            break;
        }
        assert!(ring::now() - begun < rig::PATIENCE, "no fold meets the loss");
        let _one_turn = rig::within(std::time::Duration::from_millis(300), {
            let store = store.clone();
            async move { store.fold_all().await }
        })
        .await;
    }
    let length = std::fs::metadata(index_file(data, 0)).expect("stat").len();
    assert!(length <= bytes, "nothing was written to the cut file: {length} bytes");
    let refused = store.submit(ShardId(0), Put::plain(b"later", b"")).await;
    assert!(matches!(refused, Err(Fault::Corrupt(_) | Fault::ReadOnly(_))), "{refused:?}");
    assert_eq!(read_all(store, 1), 0, "the other shard serves");
}

/// A walk meets the loss behind its first records. LMDB's assertions, which only debug builds have, would end the process.
async fn walk(data: &Path, store: &Store, bytes: u64) {
    for direction in [Direction::Forward, Direction::Backward] {
        let shard = u16::from(direction == Direction::Backward);
        let view = store.view(ShardId(shard)).expect("view");
        let mut scan = view.scan(TABLE, std::ops::Bound::Unbounded, direction);
        for _ in 0..3 {
            assert!(scan.next().expect("is there").is_some());
        }
        cut(data, shard, bytes);
        let mut met = 0;
        let fault = loop {
            match scan.next() {
                Ok(Some((key, record))) => {
                    let number: u64 = String::from_utf8_lossy(&key[3..]).parse().expect("one of ours");
                    assert_eq!(record.value, value(number));
                    met += 1;
                }
                Ok(None) => panic!("the walk ends behind {met} records as if there were no more"),
                Err(fault) => break fault,
            }
        };
        assert!(matches!(fault, Fault::Corrupt(_)), "{fault:?}");
    }
}

/// The child: one case, named by the environment.
#[test]
fn child() {
    let Ok(case) = std::env::var(CHILD) else { return };
    let mut parts = case.split('|');
    let mut next = || parts.next().expect("kind, bytes and directory");
    let (kind, bytes, data) = (next().to_owned(), next().parse().expect("a number"), next().to_owned());
    run(config(Path::new(&data)), 1, true, true, |store| async move {
        let data = Path::new(&data);
        fill(&store).await;
        match kind.as_str() {
            "reader" => reader(data, &store, bytes).await,
            "fold" => fold(data, &store, bytes).await,
            _ => walk(data, &store, bytes).await,
        }
    })
    .expect("opens");
    println!("SURVIVED");
}

fn judge(kind: &str, bytes: u64) {
    let dir = TempDir::new("lost-pages");
    let output = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, format!("{kind}|{bytes}|{}", dir.0.display()))
        .output()
        .expect("runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success() && out.contains("SURVIVED"),
        "{kind} cut at {bytes}: {:?}\n{out}\n{err}",
        output.status
    );
    // A restart names what is lost and serves the rest.
    let refused = run(config(&dir.0), 1, true, false, |store| async move {
        match kind {
            "walk" => Ok(0),
            _ => value_of(&store, ShardId(0), &key(1)).map(|_| read_all(&store, 1)),
        }
    });
    match refused {
        Ok(Err(Fault::Corrupt(_))) => {}
        Err(store::OpenError::Fault(Fault::Corrupt(_))) if kind == "walk" => {}
        other => panic!("{kind} cut at {bytes}: the restart says {other:?}"),
    }
}

#[test]
fn a_reader_survives_the_loss_of_a_page() {
    for pages in [0, 2, 3, 20, 60] {
        judge("reader", pages * PAGE_BYTES);
    }
}

#[test]
fn a_fold_survives_the_loss_of_a_page_and_writes_nothing() {
    for pages in [0, 2, 20, 60] {
        judge("fold", pages * PAGE_BYTES);
    }
}

#[cfg(not(debug_assertions))]
#[test]
fn a_walk_survives_the_loss_of_a_page() {
    for pages in [0, 2, 20, 60] {
        judge("walk", pages * PAGE_BYTES);
    }
}
