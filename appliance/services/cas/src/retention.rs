//! What was not used for too long: once a minute, first in all namespaces that keep things as long as everybody, then in each that has
//! a time of its own.
//! Invariant: a namespace with a time of its own is touched by that one alone. Nothing goes that is leased or pinned, nor anything
//! within one lease period after a start.
//! Leaves to evict.rs: what a slice takes. To age.rs: what is too old however often it is used.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use ::store::{Direction, Fault, ShardId, Timestamp};
use plan::Context;

use crate::evict::Rules;
use crate::namespace::Namespace;
use crate::room::slice_in_turn;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::stats::Reason;
use crate::store::{ACCESS, second_of};
use crate::tick::{self, Work};

/// Between two rounds over the namespaces.
const EVERY_MS: u64 = 60_000;
/// Namespaces that one turn looks at; a turn comes each second.
const LOOK_COUNT: usize = 64;
/// Records that were taken away already, which a look steps over before it leaves the rest to a slice.
const GONE_COUNT: u64 = 256;

/// How far the round of a shard has come.
#[derive(Default)]
pub(crate) struct Mark {
    due: tick::Mark,
    /// Whose turn is next: a namespace, or all that have no time of their own.
    left: VecDeque<Option<Namespace>>,
}

/// Whether a slice of these rules may look at a namespace.
pub(crate) fn is_for(rules: &Rules, settings: &Settings, ns: &Namespace) -> bool {
    match &rules.ns {
        Some(only) => only == ns,
        None => rules.reason != Reason::Age || settings.own_retention_of(ns).is_none(),
    }
}

/// The next slice of the round.
pub(crate) fn look(
    shared: &Arc<Shared>,
    cx: &mut Context<'_>,
    shard: ShardId,
) -> Result<Option<Work>, Fault> {
    let Some(loaded) = shared.loaded() else { return Ok(None) };
    let mut marks = loaded.shard(shard).marks();
    let Mark { due, left } = &mut marks.retention;
    if left.is_empty() && due.is_due(cx.now, EVERY_MS) {
        left.push_back(None);
        let has_own = |(_, ages): &(_, &crate::settings::Ages)| ages.retention.is_some();
        left.extend(shared.settings.ages.iter().filter(has_own).map(|(ns, _)| Some(*ns)));
    }
    if shared.is_in_grace(cx.now) {
        left.clear();
    }
    for _ in 0..LOOK_COUNT {
        let Some(ns) = left.pop_front() else { break };
        let rules = rules(&shared.settings, ns, cx.now);
        let is_due = match &ns {
            None => true,
            Some(ns) => has_older(cx, shard, ns, rules.before_second)?,
        };
        if is_due {
            drop(marks);
            return Ok(Some(take(shared, shard, rules)));
        }
    }
    Ok(None)
}

fn rules(settings: &Settings, ns: Option<Namespace>, now: Timestamp) -> Rules {
    let retention: Duration = ns.map_or(settings.retention, |ns| settings.retention_of(&ns));
    let kept_ms = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
    let before_second = second_of(Timestamp(now.0.saturating_sub(kept_ms)));
    let (bytes, objects) = (u64::MAX, u64::MAX);
    Rules { reason: Reason::Age, now, ns, before_second, bytes, objects, dry: None }
}

/// Whether a shard may have something of a namespace that was last used before a second. So a namespace that has nothing of the kind,
/// which is nearly every one nearly always, costs no operation. Errors: a view's.
fn has_older(cx: &Context<'_>, shard: ShardId, ns: &Namespace, second: u32) -> Result<bool, Fault> {
    let front = [ns.as_bytes(), &[0]].concat();
    let view = cx.store.view(shard)?;
    let mut scan = view.scan(ACCESS, Bound::Included(&front), Direction::Forward);
    while scan.examined() < GONE_COUNT {
        let Some((key, record)) = scan.step()? else { return Ok(false) };
        let Some(rest) = key.strip_prefix(&front[..]) else { return Ok(false) };
        let Some(of) = rest.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)) else { return Ok(true) };
        if of >= second {
            return Ok(false);
        }
        if record.is_some() {
            return Ok(true);
        }
    }
    Ok(true)
}

fn take(shared: &Arc<Shared>, shard: ShardId, rules: Rules) -> Work {
    let shared = Arc::clone(shared);
    Box::new(move |cx, then| {
        let ns = rules.ns;
        slice_in_turn(cx, &Arc::clone(&shared), shard, rules, move |cx, outcome| {
            let mut more = matches!(outcome, Ok(true));
            if let Some(loaded) = shared.loaded() {
                let left = &mut loaded.shard(shard).marks().retention.left;
                if more {
                    left.push_front(ns);
                }
                more = !left.is_empty();
            }
            then(cx, outcome.map(|_| more))
        })
    })
}
