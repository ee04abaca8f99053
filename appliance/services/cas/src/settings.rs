//! What an operator decides: how much is kept, for how long, and for whom.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::namespace::Namespace;
use crate::scrub::Scrub;

/// The settings of a content store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Stored bytes of all namespaces, records included.
    pub max_bytes: u64,
    /// What was not used for so long goes.
    pub retention: Duration,
    /// What was made so long ago goes, used or not.
    pub max_age: Option<Duration>,
    /// How long something that was promised stays.
    pub lease: Duration,
    /// Bytes of one blob.
    pub object_bytes_max: u64,
    /// Bounds of single namespaces; those that are not named have none of their own.
    pub quotas: BTreeMap<Namespace, Quota>,
    /// How long single namespaces keep things, where that is not how long all others do.
    pub ages: BTreeMap<Namespace, Ages>,
    /// The part of `max_bytes` that may be pinned.
    pub pinned_share_percent: u8,
    /// How long an upload waits for what others are evicting; where nothing can go it does not wait.
    pub room_patience: Duration,
    /// How what is stored is read again.
    pub scrub: Scrub,
}

/// What `room_patience` is where nobody has a reason for another one.
pub const ROOM_PATIENCE: Duration = Duration::from_millis(250);

/// The bounds of a namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quota {
    /// Stored bytes.
    pub bytes: u64,
    /// Entries and key records.
    pub objects: u64,
}

/// How long a namespace keeps things; what is not said is as for all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ages {
    /// What was not used for so long goes.
    pub retention: Option<Duration>,
    /// What was made so long ago goes, used or not.
    pub max_age: Option<Duration>,
}

impl Settings {
    /// Without a use for how long things of a namespace stay.
    #[must_use]
    pub fn retention_of(&self, ns: &Namespace) -> Duration {
        self.own_retention_of(ns).unwrap_or(self.retention)
    }

    /// The same, where it was decided for this namespace alone.
    pub(crate) fn own_retention_of(&self, ns: &Namespace) -> Option<Duration> {
        self.ages.get(ns)?.retention
    }

    /// How long things of a namespace stay at most.
    #[must_use]
    pub fn max_age_of(&self, ns: &Namespace) -> Option<Duration> {
        self.ages.get(ns).and_then(|ages| ages.max_age).or(self.max_age)
    }
}

impl Default for Settings {
    /// 100 GB, 90 days since the last use, leases of 30 minutes, blobs of up to 16 GiB.
    fn default() -> Settings {
        Settings {
            max_bytes: 100_000_000_000,
            retention: Duration::from_secs(90 * 24 * 60 * 60),
            max_age: None,
            lease: Duration::from_secs(30 * 60),
            object_bytes_max: 16 << 30,
            quotas: BTreeMap::new(),
            ages: BTreeMap::new(),
            pinned_share_percent: 50,
            room_patience: ROOM_PATIENCE,
            scrub: Scrub::default(),
        }
    }
}
