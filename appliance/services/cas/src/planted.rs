//! Faults that can be planted into the content store, to show that its model finds them: each is a mistake that a careless
//! change could make, and one line where it would be made.
//! Invariant: without the feature `planted` none can be switched on, and the questions are constants.
//!
//! `ZEROCLOUD_CAS_PLANT=<name>` plants one in the whole process.

/// A mistake. Its name is what `ZEROCLOUD_CAS_PLANT` takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Plant {
    /// What is leased is evicted all the same.
    LeaseIgnored,
    /// What was used or uploaded within a lease period is looked at, and what was just uploaded is evicted.
    FreshEvicted,
    /// What is pinned is evicted.
    PinIgnored,
    /// A blob goes with the first of its entries.
    SharedBlobTaken,
    /// Totals do not learn of what was evicted.
    UsageForgotten,
    /// After a start eviction begins at once.
    GraceSkipped,
    /// Slots are free before the deletion is durable.
    SlotFreedEarly,
    /// What was used is not moved in the order of use.
    TouchForgotten,
    /// A promise of room is not counted.
    ReservationForgotten,
    /// What is blocked is taken when it is brought again.
    BlockIgnored,
}

#[cfg(feature = "planted")]
mod switch {
    use super::Plant;
    use std::sync::OnceLock;

    const ALL: [Plant; 10] = [
        Plant::LeaseIgnored,
        Plant::FreshEvicted,
        Plant::PinIgnored,
        Plant::SharedBlobTaken,
        Plant::UsageForgotten,
        Plant::GraceSkipped,
        Plant::SlotFreedEarly,
        Plant::TouchForgotten,
        Plant::ReservationForgotten,
        Plant::BlockIgnored,
    ];

    /// A name that is none stops the process: a lab that ran without its fault would prove nothing.
    pub(super) fn in_process() -> Option<Plant> {
        static PLANT: OnceLock<Option<Plant>> = OnceLock::new();
        *PLANT.get_or_init(|| {
            let name = std::env::var("ZEROCLOUD_CAS_PLANT").ok()?;
            let plant = ALL.into_iter().find(|plant| format!("{plant:?}") == name);
            assert!(plant.is_some(), "ZEROCLOUD_CAS_PLANT={name} is no fault; there are {ALL:?}");
            eprintln!("cas: the fault {name} is planted");
            plant
        })
    }
}

/// Whether this fault is planted.
#[cfg(feature = "planted")]
pub(crate) fn is(plant: Plant) -> bool {
    switch::in_process() == Some(plant)
}

#[cfg(not(feature = "planted"))]
pub(crate) const fn is(_plant: Plant) -> bool {
    false
}
