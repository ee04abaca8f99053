//! Recovery: the log's tail of every shard becomes its overlay again, and transactions that a crash left open are decided.
//! Invariant: what a shard serves afterwards is on stable storage; a transaction is decided by the rule of transact.rs and
//! alike on all of its shards.
//! Leaves to open.rs: the data directory, and starting owners.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::StoreConfig;
use crate::counter;
use crate::effect::{Effect, Items};
use crate::fault::Fault;
use crate::fold::applied;
use crate::format::{self, Format, OpenError};
use crate::index::Index;
use crate::log::{Checkpoint, LogConfig, Recovered, recover};
use crate::open::Random;
use crate::overlay::{Entry, OverlayWriter, overlay};
use crate::record::{BodyRef, Record};
use crate::shared::{ShardShared, Shared};
use crate::sweep::Named;
use crate::tables::PREPARED;
use crate::transact::{Prepared, PreparedContent};
use crate::tx_status::TxStatus;
use crate::types::{Lsn, ShardId};
use crate::view::{Direction, Overlays, View};

/// LMDB readers per shard: cores, companions and offline tools, four times over.
const READERS_MAX: u32 = 1_024;
/// A shard's map is at most this large: x86-64 has 128 TiB of address space for everything.
const MAP_BYTES_MAX: u64 = 1 << 40;
/// A map is a multiple of this, and so of every page size: LMDB refuses another one, and not every number of shards
/// divides the address space evenly.
const MAP_UNIT_BYTES: u64 = 1 << 20;

/// A transaction that a crash interrupted, decided.
pub(crate) struct Undecided {
    pub(crate) id: u128,
    pub(crate) commit: bool,
    pub(crate) holders: Vec<ShardId>,
    /// Every participant is here. A marker must outlive one that is not: it may come back with an open prepare.
    pub(crate) complete: bool,
}

/// A shard that recovery refused, and why.
pub(crate) struct Refused {
    pub(crate) id: ShardId,
    pub(crate) fault: Fault,
}

/// A shard between recovery and sharing.
pub(crate) struct Recovery {
    pub(crate) id: ShardId,
    pub(crate) index: Index,
    pub(crate) writer: OverlayWriter,
    pub(crate) overlays: Overlays,
    pub(crate) recovered: Recovered,
    /// The last batch in the index.
    pub(crate) applied: Lsn,
    pub(crate) log_config: LogConfig,
    pub(crate) log_reference_low: u64,
    /// The extents that its records name.
    pub(crate) named: Named,
}

/// Recovers all shards, each on a thread of its own: most of the time goes into reading. Errors: when none is sound.
pub(crate) fn recover_shards(
    config: &StoreConfig,
    format: Format,
    marks: &Arc<[u64]>,
    random: &mut Random,
) -> Result<Vec<Result<Recovery, Refused>>, OpenError> {
    // Drawn at random: a client that knew them could choose keys that make an overlay slow.
    let seeds: Vec<u64> = (0..format.shard_count).map(|_| random.next()).collect();
    let seeds = &seeds;
    let is_complete = format::is_complete(&config.disk, &config.data)?;
    let share = (config.map_bytes_total / u64::from(format.shard_count)).min(MAP_BYTES_MAX);
    let map_bytes = share.next_multiple_of(MAP_UNIT_BYTES) as usize;
    let recoveries: Vec<Result<Recovery, Refused>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..format.shard_count)
            .map(|number| {
                let (id, seed) = (ShardId(number), seeds[usize::from(number)]);
                let named = Named::new(Arc::clone(marks));
                let run = move || recover_shard(config, format, id, map_bytes, seed, is_complete, named);
                (id, scope.spawn(run))
            })
            .collect();
        threads
            .into_iter()
            .map(|(id, thread)| {
                let result =
                    thread.join().unwrap_or_else(|_| Err(Fault::corrupt("recovery panicked".into())));
                result.map_err(|fault| Refused { id, fault })
            })
            .collect()
    });
    if !is_complete && recoveries.iter().all(Result::is_ok) {
        format::write_complete(&config.disk, &config.data)?;
    }
    match recoveries.iter().find(|recovery| recovery.is_ok()) {
        Some(_) => Ok(recoveries),
        // With nothing to serve the start fails, and says why.
        None => {
            let first = recoveries.into_iter().find_map(Result::err);
            Err(OpenError::Fault(first.map_or(Fault::Closed, |refused| refused.fault)))
        }
    }
}

fn recover_shard(
    config: &StoreConfig,
    format: Format,
    id: ShardId,
    map_bytes: usize,
    seed: u64,
    is_complete: bool,
    mut named: Named,
) -> Result<Recovery, Fault> {
    let dir = config.data.join(id.to_string());
    let log_dir = dir.join("log");
    let index_dir = index_dir(config, id);
    let disk = &config.disk;
    for path in [&dir, &log_dir] {
        disk.create_dir(path).map_err(|error| Fault::io("mkdir", path, 0, &error))?;
    }
    for path in [&config.data, &dir] {
        disk.sync_dir(path).map_err(|error| Fault::io("fsync", path, 0, &error))?;
    }
    if !index_dir.exists() {
        if is_complete {
            let place = index_dir.display();
            return Err(Fault::corrupt(format!("index {place} is gone; put the shard's directory back")));
        }
        Index::make(&index_dir)?;
    }
    let index = Index::open(&index_dir, map_bytes, READERS_MAX, &mut |key, value| named.note(key, value))?;
    if index.damaged().next().is_some() {
        named.doubt();
    }
    let log_config = LogConfig {
        segment_bytes: config.log_segment_bytes,
        batch_bytes_max: config.batch_bytes_max,
        ..LogConfig::new(log_dir, format.directory, id)
    };
    let from: Option<Checkpoint> = applied(&index)?;
    let applied = from.map_or(Lsn::ZERO, |checkpoint| checkpoint.lsn);
    let (mut writer, active) = overlay(config.limits.arena_hint_bytes, seed);
    let mut log_reference_low = u64::MAX;
    let recovered = recover(disk, &log_config, from, &mut |batch| {
        replay(&mut writer, batch.lsn, batch.payload, &mut log_reference_low, &mut named)
    })?;
    if recovered.rejected.is_some() {
        // It may be an acknowledged batch that rotted, and a person may want what it names.
        named.doubt();
    }
    let overlays = Overlays { active, frozen: None };
    Ok(Recovery { id, index, writer, overlays, recovered, applied, log_config, log_reference_low, named })
}

/// Where LMDB's files of a shard lie.
pub(crate) fn index_dir(config: &StoreConfig, id: ShardId) -> PathBuf {
    config.index_root.join(id.to_string()).join("index")
}

fn replay(
    writer: &mut OverlayWriter,
    lsn: Lsn,
    payload: &[u8],
    log_reference_low: &mut u64,
    named: &mut Named,
) -> Result<(), Fault> {
    let mut items = Items::new(payload);
    while let Some(effect) = items.next_effect()? {
        match effect {
            Effect::Put { key, record, fresh } => {
                for body in Record::decode(record)?.bodies {
                    if let BodyRef::Log { position, .. } = body {
                        *log_reference_low = (*log_reference_low).min(position.segment);
                    }
                }
                named.note_replayed(key, record);
                writer.insert(key, lsn, Entry::Put { value: record, fresh });
            }
            Effect::Delete { key } => writer.insert(key, lsn, Entry::Delete),
            Effect::Counter { key, record } => writer.insert(key, lsn, counter::entry(record)),
        }
    }
    Ok(())
}

pub(crate) type PreparedOfShards = BTreeMap<ShardId, HashMap<u128, Prepared>>;

/// Every transaction that some shard has not forgotten. A shard whose own list cannot be read is refused.
pub(crate) fn find_prepared(shared: &Shared) -> PreparedOfShards {
    let mut found = PreparedOfShards::new();
    for shard in shared.shards.iter().filter(|shard| shard.is_sound()) {
        match prepared_of(shard) {
            Ok(prepared) if prepared.is_empty() => {}
            Ok(prepared) => drop(found.insert(shard.id, prepared)),
            Err(fault) => shard.refuse(&fault),
        }
    }
    found
}

fn prepared_of(shard: &ShardShared) -> Result<HashMap<u128, Prepared>, Fault> {
    let mut found = HashMap::new();
    let view = View::take(shard, u64::MAX)?;
    let mut scan = view.scan(PREPARED, std::ops::Bound::Unbounded, Direction::Forward);
    while let Some((key, record)) = scan.next()? {
        let id = key.try_into().map(u128::from_be_bytes);
        let id = id.map_err(|_| Fault::corrupt("a PREPARED key is not a transaction id".into()))?;
        let content = PreparedContent::decode(record.value)?;
        let status = Arc::new(TxStatus::pending());
        found.insert(id, Prepared { status, content, bodies: record.bodies, lsn: view.lsn() });
    }
    Ok(found)
}

/// A transaction is committed if some participant has resolved it so, or all of them have prepared it.
pub(crate) fn decide(shared: &Shared, found: &mut PreparedOfShards) -> Vec<Undecided> {
    let mut transactions: BTreeMap<u128, Vec<ShardId>> = BTreeMap::new();
    for (shard, prepared) in found.iter() {
        for id in prepared.keys() {
            transactions.entry(*id).or_default().push(*shard);
        }
    }
    let mut decided = Vec::new();
    for (id, holders) in transactions {
        let prepared = |shard: &ShardId| found.get(shard).and_then(|of_shard| of_shard.get(&id));
        let resolved = holders.iter().filter_map(prepared).any(|prepared| prepared.content.resolved);
        let complete = holders.first().and_then(prepared).is_some_and(|one| {
            one.content.participants.iter().all(|participant| holders.contains(participant))
        });
        let missing = holders.first().and_then(prepared).is_some_and(|one| {
            one.content.participants.iter().any(|participant| !shared.shard(*participant).is_sound())
        });
        let commit = resolved || complete;
        if !commit && missing {
            // Nobody guesses: the shard that cannot be read may hold the prepare that makes it a commit.
            continue;
        }
        let status = Arc::new(TxStatus::pending());
        if commit {
            shared.commits.commit(&status);
        } else {
            status.abort();
        }
        for shard in &holders {
            if let Some(prepared) = found.get_mut(shard).and_then(|of_shard| of_shard.get_mut(&id)) {
                prepared.status = Arc::clone(&status);
            }
        }
        decided.push(Undecided { id, commit, holders, complete: !missing });
    }
    decided
}
