//! Corruption: random damage to every kind of file of a data directory, then a start and a read of everything. What comes
//! back is right or a named error; nothing is wrong, nothing panics, nothing hangs.
//!
//! Each damage is judged in a child process, because the index is C code over a memory map. `ZEROCLOUD_FLIPS` sets how many
//! per kind of file (three times as many for the index), `ZEROCLOUD_FLIPS_SEED` the seed.

mod harness;
mod rig;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use harness::{TempDir, small_config};
use rig::{Delete, PATIENCE, Put, Random, TABLE, body_of, run, seed, value_of, within};
use store::{BodyOwner, Direction, Fault, OpenError, ShardId, Store};

const KEYS: u64 = 240;
const SIZES: [usize; 6] = [0, 100, 700, 6_000, 40_000, 150_000];
const CHILD: &str = "ZEROCLOUD_CORRUPTION_CHILD";

fn key(number: u64) -> Vec<u8> {
    format!("key{number:04}").into_bytes()
}

fn bytes_of(number: u64) -> Vec<u8> {
    let mut random = Random(number);
    (0..SIZES[(number % SIZES.len() as u64) as usize]).map(|_| random.next() as u8).collect()
}

fn value_for(number: u64) -> Vec<u8> {
    format!("value-{number}-{}", "x".repeat((number % 50) as usize)).into_bytes()
}

fn shard_of(number: u64) -> ShardId {
    ShardId((number % 2) as u16)
}

/// Every fifth key was deleted again.
fn is_deleted(number: u64) -> bool {
    number.is_multiple_of(5)
}

/// Most of it folded, the last sixth only in the log.
fn build(data: &Path) {
    let mut config = small_config(data, 2);
    config.limits.fold_entries = 1_000_000;
    run(config, 1, true, true, |store| async move {
        for number in 0..KEYS {
            let shard = shard_of(number);
            let bytes = bytes_of(number);
            let owner = BodyOwner { shard, table: TABLE, key: key(number) };
            let mut writer = store.body_writer(Some(bytes.len() as u64), owner);
            writer.write(&bytes).await.expect("written");
            let body = Some(writer.seal().await.expect("sealed"));
            store
                .submit(shard, Put { key: key(number), value: value_for(number), body, fresh: false })
                .await
                .expect("put");
            if is_deleted(number) {
                store.submit(shard, Delete(vec![key(number)])).await.expect("deleted");
            }
            if number == KEYS * 5 / 6 {
                store.fold_all().await;
            }
        }
    })
    .expect("opens");
}

/// What one damaged directory shows.
#[derive(Default)]
struct Shown {
    right: u64,
    named: u64,
    wrong: Vec<String>,
}

fn read_all(data: &Path) -> Result<Shown, OpenError> {
    let mut config = small_config(data, 2);
    config.limits.fold_entries = 1_000_000;
    run(config, 1, true, false, |store| async move {
        let mut shown = Shown::default();
        for number in 0..KEYS {
            let (shard, key) = (shard_of(number), key(number));
            let value = value_of(&store, shard, &key);
            let body = body_of(&store, shard, &key).await;
            let (value_expected, body_expected) = if is_deleted(number) {
                (None, None)
            } else {
                (Some(value_for(number)), Some(bytes_of(number)))
            };
            match (value, body) {
                (Ok(value), Ok(body)) if value == value_expected && body == body_expected => shown.right += 1,
                (Ok(value), _) if value != value_expected => {
                    let value = value.map(|value| String::from_utf8_lossy(&value).into_owned());
                    shown.wrong.push(format!("{} has the value {value:?}", String::from_utf8_lossy(&key)));
                }
                (_, Ok(body)) if body != body_expected => {
                    let length = body.map(|body| body.len());
                    shown
                        .wrong
                        .push(format!("{} has a body of {length:?} bytes", String::from_utf8_lossy(&key)));
                }
                (Err(Fault::Corrupt(_) | Fault::Io { .. }), _)
                | (_, Err(Fault::Corrupt(_) | Fault::Io { .. })) => shown.named += 1,
                (value, body) => panic!("an error without a name: {value:?} {body:?}"),
            }
        }
        for shard in 0..2 {
            match walk(&store, ShardId(shard)) {
                Ok(numbers) => {
                    let expected: Vec<u64> = (0..KEYS)
                        .filter(|number| shard_of(*number).0 == shard && !is_deleted(*number))
                        .collect();
                    if numbers != expected {
                        shown.wrong.push(format!("a walk over shard {shard} shows {} keys", numbers.len()));
                    }
                }
                Err(Fault::Corrupt(_) | Fault::Io { .. }) => shown.named += 1,
                Err(other) => panic!("a walk answers an error without a name: {other:?}"),
            }
        }
        // What is damaged may not take the rest down when the next fold comes.
        for shard in 0..2 {
            let put = Put { key: b"later".to_vec(), value: Vec::new(), body: None, fresh: false };
            match within(PATIENCE, {
                let store = store.clone();
                async move { store.submit(ShardId(shard), put).await }
            })
            .await
            {
                Some(
                    Ok(())
                    | Err(Fault::Corrupt(_) | Fault::ReadOnly(_) | Fault::Unknown(_) | Fault::Io { .. }),
                ) => {}
                Some(Err(other)) => panic!("a write after damage answers {other:?}"),
                None => panic!("a write after damage is never answered"),
            }
        }
        shown
    })
}

/// The numbers of a shard's keys, as a walk over all of them shows them.
fn walk(store: &Store, shard: ShardId) -> Result<Vec<u64>, Fault> {
    let view = store.view(shard)?;
    let mut scan = view.scan(TABLE, Bound::Unbounded, Direction::Forward);
    let mut numbers = Vec::new();
    while let Some((key, _)) = scan.next()? {
        let number = String::from_utf8_lossy(key.get(3..).unwrap_or_default()).parse();
        numbers.push(number.unwrap_or(u64::MAX));
    }
    Ok(numbers)
}

/// The child: opens, reads, and says how it was by one line.
#[test]
fn child() {
    let Ok(data) = std::env::var(CHILD) else { return };
    match read_all(Path::new(&data)) {
        Ok(shown) if shown.wrong.is_empty() => {
            println!("VERDICT ok right={} named={}", shown.right, shown.named)
        }
        Ok(shown) => println!(
            "VERDICT wrong {} of them: {}",
            shown.wrong.len(),
            shown.wrong[..shown.wrong.len().min(3)].join("; ")
        ),
        Err(error) => println!("VERDICT refused {error}"),
    }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("mkdir");
    for entry in std::fs::read_dir(from).expect("list").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).expect("copy");
        }
    }
}

fn files_in(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("list").flatten() {
        if entry.path().is_dir() {
            files_in(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

fn kind_of(path: &Path) -> Option<&'static str> {
    let text = path.to_string_lossy();
    [
        ("/log/", "log"),
        ("/packed/", "packed"),
        ("/extents/", "extents"),
        ("data.mdb", "index"),
        ("FORMAT", "FORMAT"),
    ]
    .iter()
    .find(|(part, _)| text.contains(part))
    .map(|(_, kind)| *kind)
}

/// Damages a file in one of several ways and says how.
fn damage(path: &Path, random: &mut Random) -> String {
    let mut bytes = std::fs::read(path).expect("read");
    // Mostly where something lies: segments end in zeros.
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1) as u64;
    let what = match random.below(10) {
        0..6 => {
            let (place, bit) = (random.below(used), random.below(8));
            bytes[place as usize] ^= 1 << bit;
            format!("bit {bit} of byte {place} flipped")
        }
        6..8 => {
            let block = random.below(used.div_ceil(4096)) as usize * 4096;
            let end = (block + 4096).min(bytes.len());
            for byte in &mut bytes[block..end] {
                *byte = if random.below(2) == 0 { 0 } else { random.next() as u8 };
            }
            format!("block at {block} garbled")
        }
        8 if used > 8192 => {
            let blocks = used / 4096;
            let (one, other) = (random.below(blocks) as usize * 4096, random.below(blocks) as usize * 4096);
            for place in 0..4096 {
                bytes.swap(one + place, other + place);
            }
            format!("blocks at {one} and {other} swapped")
        }
        _ => {
            let length = random.below(used);
            bytes.truncate(length as usize);
            format!("cut at {length}")
        }
    };
    std::fs::write(path, &bytes).expect("write");
    format!("{}: {what}", path.file_name().unwrap_or_default().to_string_lossy())
}

/// How the child judged; `Err` is a finding.
fn judge(data: &Path) -> Result<&'static str, String> {
    // To files: a pipe that nobody empties would stop a child that says much.
    let (said, complained) = (data.with_extension("out"), data.with_extension("err"));
    let file = |path: &Path| std::fs::File::create(path).expect("temporary file");
    let child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, data)
        .stdout(file(&said))
        .stderr(file(&complained))
        .spawn();
    let mut child = child.expect("starts");
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("waits") {
            break status;
        }
        if begun.elapsed() > 2 * PATIENCE {
            child.kill().expect("killed");
            child.wait().expect("waits");
            return Err("hangs".to_owned());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let read = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).expect("read")).into_owned();
    let text = read(&said);
    let verdict =
        text.lines().find_map(|line| line.split_once("VERDICT ").map(|(_, verdict)| verdict.to_owned()));
    match verdict {
        Some(verdict) if verdict.starts_with("ok") && verdict.contains("named=0") => Ok("all right"),
        Some(verdict) if verdict.starts_with("ok") => Ok("some named"),
        Some(verdict) if verdict.starts_with("refused") => Ok("refused to open"),
        Some(verdict) => Err(verdict),
        None => {
            let errors = read(&complained);
            let line = errors
                .lines()
                .find(|line| line.contains("panicked") || line.contains("Assert"))
                .unwrap_or("");
            let why = errors.lines().skip_while(|each| *each != line).nth(1).unwrap_or("");
            Err(format!("died: {status:?}: {line} {why}"))
        }
    }
}

#[test]
fn damage_to_any_file_gives_right_data_or_a_named_error() {
    let count = std::env::var("ZEROCLOUD_FLIPS").ok().and_then(|text| text.parse().ok()).unwrap_or(12_u64);
    let only = std::env::var("ZEROCLOUD_FLIPS_KIND").ok();
    let mut random = Random(seed("ZEROCLOUD_FLIPS_SEED"));
    let dir = TempDir::new("corruption");
    let sound = dir.0.join("sound");
    build(&sound);
    assert_eq!(judge_copy(&dir.0, &sound, &mut |_| ()), Ok("all right"));
    let mut files = Vec::new();
    files_in(&sound, &mut files);
    files.sort();
    let mut verdicts: BTreeMap<(&str, String), u64> = BTreeMap::new();
    let mut findings = Vec::new();
    for kind in ["log", "packed", "extents", "index", "FORMAT"] {
        if only.as_deref().is_some_and(|only| only != kind) {
            continue;
        }
        let of_kind: Vec<&PathBuf> = files
            .iter()
            .filter(|path| kind_of(path) == Some(kind))
            .filter(|path| std::fs::read(path).is_ok_and(|bytes| bytes.iter().any(|byte| *byte != 0)))
            .collect();
        assert!(!of_kind.is_empty(), "no file of kind {kind} holds anything");
        for _ in 0..if kind == "index" { 3 * count } else { count } {
            let file = of_kind[random.below(of_kind.len() as u64) as usize];
            let relative = file.strip_prefix(&sound).expect("inside").to_path_buf();
            let mut what = String::new();
            let verdict =
                judge_copy(&dir.0, &sound, &mut |copy| what = damage(&copy.join(&relative), &mut random));
            let name = match &verdict {
                Ok(name) => (*name).to_owned(),
                Err(finding) => {
                    findings.push(format!("{} {what}: {finding}", relative.display()));
                    finding.split([' ', ':']).next().unwrap_or_default().to_uppercase()
                }
            };
            *verdicts.entry((kind, name)).or_default() += 1;
        }
    }
    println!("{verdicts:#?}");
    for finding in &findings {
        println!("FINDING {finding}");
    }
    assert!(findings.is_empty(), "{} findings", findings.len());
}

fn judge_copy(root: &Path, sound: &Path, change: &mut dyn FnMut(&Path)) -> Result<&'static str, String> {
    let copy = root.join("copy");
    copy_dir(sound, &copy);
    change(&copy);
    let verdict = judge(&copy);
    std::fs::remove_dir_all(&copy).expect("removed");
    verdict
}
