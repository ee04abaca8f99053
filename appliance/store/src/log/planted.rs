//! Faults that a test can plant into the log, to show that the checkers find them.
//! Invariant: outside of this crate's own tests none can be switched on, and the questions are constants.

/// A mistake that a careless change could make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Plant {
    /// Batches are written but not synced.
    SyncLeftOut,
    /// A batch need not name its predecessor's checksum.
    ChainNotChecked,
    /// Payload checksums are not compared.
    PayloadNotChecked,
    /// Recovery reads through the page cache and does not write the last batch again.
    CacheTrusted,
    /// A new segment is used before its name is durable.
    NameNotSynced,
    /// A missing batch that a later one proves is taken for a torn tail.
    ProofIgnored,
    /// A header counts wherever it lies.
    PositionNotChecked,
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Plant>> = const { std::cell::Cell::new(None) };
}

/// Whether this fault is planted in the running thread.
#[cfg(test)]
pub(crate) fn is(plant: Plant) -> bool {
    PLANTED.with(|planted| planted.get() == Some(plant))
}

#[cfg(not(test))]
pub(crate) const fn is(_plant: Plant) -> bool {
    false
}

/// Runs `body` with the fault planted in this thread.
#[cfg(test)]
pub(crate) fn with<T>(plant: Plant, body: impl FnOnce() -> T) -> T {
    PLANTED.with(|planted| planted.set(Some(plant)));
    let result = body();
    PLANTED.with(|planted| planted.set(None));
    result
}
