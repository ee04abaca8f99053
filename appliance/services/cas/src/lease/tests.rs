//! The lease table by itself, and every order in which the steps of readers and of the owner can follow each other.
//! Invariant: readers and owner take the steps of the table itself, each of which touches a slot once; only views and batches
//! are played.

use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const LEASE_S: u32 = 1_800;

fn table() -> LeaseTable {
    LeaseTable::new(0)
}

fn lease(table: &LeaseTable, digest: &Digest, now: Timestamp) -> Renewed {
    table.renew(digest, table.look(digest), now, LEASE_S)
}

#[test]
fn what_is_leased_is_not_condemned_before_its_second_has_passed() {
    let (table, digest) = (table(), Digest::of(b"a"));
    assert_eq!(lease(&table, &digest, NOW), Renewed::Leased);
    assert!(table.condemn(&digest, NOW).is_none());
    assert!(table.condemn(&digest, NOW.plus_ms(1_830_999)).is_none());
    assert!(table.condemn(&digest, NOW.plus_ms(1_831_000)).is_some());
}

#[test]
fn a_lease_lasts_its_whole_period_wherever_in_a_second_it_begins() {
    let (table, digest) = (table(), Digest::of(b"a"));
    let now = NOW.plus_ms(999);
    assert_eq!(table.renew(&digest, table.look(&digest), now, 1), Renewed::Leased);
    assert!(table.condemn(&digest, now.plus_ms(1_000)).is_none());
}

#[test]
fn a_lease_that_was_looked_at_before_an_eviction_fails_during_and_after_it() {
    let (table, digest) = (table(), Digest::of(b"a"));
    let seen = table.look(&digest);
    let condemned = table.condemn(&digest, NOW).expect("it is free");
    assert_eq!(table.renew(&digest, seen, NOW, LEASE_S), Renewed::Changed);
    assert!(table.look(&digest).is_condemned());
    assert!(table.condemn(&digest, NOW.plus_ms(5_000)).is_none());
    drop(condemned);
    assert_eq!(table.renew(&digest, seen, NOW, LEASE_S), Renewed::Changed);
    assert_eq!(lease(&table, &digest, NOW), Renewed::Leased);
}

#[test]
fn a_fresh_lease_is_not_written_again_at_each_use() {
    let (table, digest) = (table(), Digest::of(b"a"));
    assert_eq!(lease(&table, &digest, NOW), Renewed::Leased);
    let seen = table.look(&digest);
    assert_eq!(table.renew(&digest, seen, NOW.plus_ms(30_000), LEASE_S), Renewed::Leased);
    assert_eq!(table.look(&digest), seen);
    assert_eq!(table.renew(&digest, seen, NOW.plus_ms(31_000), LEASE_S), Renewed::Leased);
    assert_ne!(table.look(&digest), seen);
}

#[test]
fn a_use_that_writes_nothing_is_promised_a_whole_period_too() {
    let (table, digest) = (table(), Digest::of(b"a"));
    assert_eq!(lease(&table, &digest, NOW), Renewed::Leased);
    for second in 0..100 {
        let now = NOW.plus_ms(second * 1_000);
        assert_eq!(lease(&table, &digest, now), Renewed::Leased);
        assert!(table.condemn(&digest, now.plus_ms(1_800_000)).is_none(), "second {second}");
    }
}

#[test]
fn a_short_lease_is_renewed_at_each_use() {
    let (table, digest) = (table(), Digest::of(b"a"));
    for second in [0, 1, 2] {
        let now = NOW.plus_ms(second * 1_000);
        assert_eq!(table.renew(&digest, table.look(&digest), now, 5), Renewed::Leased);
        assert!(table.condemn(&digest, now.plus_ms(5_000)).is_none());
    }
}

#[test]
fn force_breaks_a_lease_and_an_unknown_outcome_keeps_the_slot() {
    let (table, digest) = (table(), Digest::of(b"a"));
    assert_eq!(lease(&table, &digest, NOW), Renewed::Leased);
    let seen = table.look(&digest);
    let condemned = table.condemn_by_force(&digest).expect("not condemned yet");
    assert!(condemned.holds(&digest) && table.condemn_by_force(&digest).is_none());
    drop(condemned);
    assert!(table.look(&digest) != seen && !table.look(&digest).is_leased(NOW), "what it said comes back");
    table.condemn_by_force(&digest).expect("free again").leave();
    assert!(table.look(&digest).is_condemned());
    assert_eq!(lease(&table, &digest, NOW), Renewed::Changed);
}

#[test]
fn what_was_set_free_can_be_condemned_again_at_once() {
    let (table, digest) = (table(), Digest::of(b"a"));
    for _ in 0..3 {
        drop(table.condemn(&digest, NOW).expect("it is free"));
    }
}

#[test]
fn no_time_reads_as_the_mark_of_a_condemned_slot() {
    let (table, digest) = (table(), Digest::of(b"a"));
    let last = Timestamp(u64::MAX);
    assert_eq!(lease(&table, &digest, last), Renewed::Leased);
    assert!(!table.look(&digest).is_condemned());
    drop(table.condemn_by_force(&digest));
    assert!(!table.look(&digest).is_condemned());
}

#[test]
fn leased_slots_are_counted_until_their_second() {
    let (table, digest) = (table(), Digest::of(b"a"));
    assert_eq!(table.leased_count(NOW), (0, SLOT_COUNT_MIN));
    assert_eq!(lease(&table, &digest, NOW), Renewed::Leased);
    assert_eq!(table.leased_count(NOW).0, 1);
    assert_eq!(table.leased_count(NOW.plus_ms(2_000_000)).0, 0);
}

#[test]
fn of_a_large_table_a_part_of_the_slots_tells_how_many_are_leased() {
    let table = LeaseTable::new(u64::MAX);
    assert_eq!(table.leased_count(NOW), (0, SLOT_COUNT_MAX));
    for number in 0..400_000_u32 {
        // Slots follow the last bytes of a digest, which count here in steps that meet all chunks alike.
        let mut bytes = [0; 32];
        bytes[28..].copy_from_slice(&number.wrapping_mul(0x9e37_79b1).to_le_bytes());
        assert_eq!(lease(&table, &Digest::new(bytes), NOW), Renewed::Leased);
    }
    let (leased, _) = table.leased_count(NOW);
    assert!((360_000..=440_000).contains(&leased), "{leased} of about 400,000");
}

/// What is wrong on purpose, to show that the walk over all orders finds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mistake {
    None,
    /// A reader takes its view before it looks at the slot.
    ViewBeforeLook,
    /// A reader does not lease what it saw.
    NotRenewed,
    /// A reader that finds the slot changed answers all the same.
    ChangeIgnored,
    /// The owner sets the slot free before the deletion is durable.
    FreedBeforeDurable,
    /// The owner looks for leases, stages the deletion, and condemns then.
    CondemnedLate,
    /// The owner writes the slot without comparing.
    CondemnedBlindly,
    /// A free slot gets the number again that it had.
    NumberComesBack,
    /// An operation that runs again keeps what it staged, not what it condemned.
    RunAgainUnguarded,
}

#[derive(Clone, Copy)]
enum Reader {
    Looking,
    Viewing(Seen),
    /// With what the view showed.
    Renewing(Seen, bool),
    /// With what a view showed that was taken too early.
    LookingLate(bool),
    /// It has told its client that the blob stays for the lease period.
    Promised,
    /// It has told its client that there is none.
    Missed,
    /// It is to ask the owner, which sees what is pending; the answer waits for that.
    Asking,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Durable,
    /// The batch fails, and nothing of the operation happens.
    Failed,
    /// The operation runs again from its beginning, once, and is durable then.
    Again,
}

enum Owner {
    Looking(End),
    Condemning(Seen, End),
    Staging(Option<CondemnedSlot>, End),
    Publishing(Option<CondemnedSlot>),
    Freeing(Option<CondemnedSlot>),
    Done,
}

/// A blob, its slot, readers and the owner.
struct World {
    table: LeaseTable,
    digest: Digest,
    before: u64,
    /// What the owner sees.
    is_pending: bool,
    /// What views see.
    is_durable: bool,
    readers: Vec<Reader>,
    owner: Owner,
    mistake: Mistake,
}

impl World {
    fn new(table: &LeaseTable, readers: usize, before: u64, end: End, mistake: Mistake) -> World {
        let digest = Digest::of(b"a");
        table.slot(table.index(&digest)).store(before, Ordering::Release);
        let readers = vec![Reader::Looking; readers];
        let owner = Owner::Looking(end);
        World {
            table: table.clone(),
            digest,
            before,
            is_pending: true,
            is_durable: true,
            readers,
            owner,
            mistake,
        }
    }

    /// Whether the actor has a step to do. The owner is the last one.
    fn is_runnable(&self, actor: usize) -> bool {
        match self.readers.get(actor) {
            Some(reader) => !matches!(reader, Reader::Promised | Reader::Missed),
            None => !matches!(self.owner, Owner::Done),
        }
    }

    fn step(&mut self, actor: usize) {
        match self.readers.get(actor) {
            Some(reader) => self.readers[actor] = self.read(*reader),
            None => self.own(),
        }
    }

    fn read(&self, reader: Reader) -> Reader {
        let look = |is_there: Option<bool>| match (self.table.look(&self.digest), is_there) {
            (seen, _) if seen.is_condemned() => Reader::Asking,
            (seen, None) => Reader::Viewing(seen),
            (seen, Some(is_there)) => Reader::Renewing(seen, is_there),
        };
        match reader {
            Reader::Looking if self.mistake == Mistake::ViewBeforeLook => {
                Reader::LookingLate(self.is_durable)
            }
            Reader::Looking => look(None),
            Reader::LookingLate(was_there) => look(Some(was_there)),
            Reader::Viewing(seen) => Reader::Renewing(seen, self.is_durable),
            Reader::Renewing(_, false) => Reader::Missed,
            Reader::Renewing(_, true) if self.mistake == Mistake::NotRenewed => Reader::Promised,
            Reader::Renewing(seen, true) => match self.table.renew(&self.digest, seen, NOW, LEASE_S) {
                Renewed::Leased => Reader::Promised,
                Renewed::Changed if self.mistake == Mistake::ChangeIgnored => Reader::Promised,
                Renewed::Changed => Reader::Looking,
            },
            Reader::Asking if self.is_pending => Reader::Looking,
            Reader::Asking => Reader::Missed,
            over @ (Reader::Promised | Reader::Missed) => over,
        }
    }

    fn own(&mut self) {
        let slot = self.table.slot(self.table.index(&self.digest));
        self.owner = match std::mem::replace(&mut self.owner, Owner::Done) {
            Owner::Looking(end) => {
                let seen = self.table.look(&self.digest);
                if seen.is_leased(NOW) { Owner::Done } else { Owner::Condemning(seen, end) }
            }
            Owner::Condemning(_, end) if self.mistake == Mistake::CondemnedLate => Owner::Staging(None, end),
            Owner::Condemning(seen, end) => {
                if self.mistake == Mistake::CondemnedBlindly {
                    slot.store(seen.0, Ordering::Release);
                }
                match self.table.condemn_seen(&self.digest, seen) {
                    Some(condemned) => Owner::Staging(Some(condemned), end),
                    None => Owner::Done,
                }
            }
            Owner::Staging(condemned, End::Again) => {
                drop(condemned);
                if self.mistake == Mistake::RunAgainUnguarded {
                    self.is_pending = false;
                    Owner::Publishing(None)
                } else {
                    Owner::Looking(End::Durable)
                }
            }
            Owner::Staging(condemned, end) => {
                self.is_pending = end == End::Failed;
                let condemned = match self.mistake {
                    Mistake::CondemnedLate => self.table.condemn_by_force(&self.digest),
                    Mistake::FreedBeforeDurable => None,
                    _ => condemned,
                };
                Owner::Publishing(condemned)
            }
            Owner::Publishing(condemned) => {
                self.is_durable = self.is_pending;
                Owner::Freeing(condemned)
            }
            Owner::Freeing(condemned) => {
                drop(condemned);
                if self.mistake == Mistake::NumberComesBack {
                    slot.store(self.before, Ordering::Release);
                }
                Owner::Done
            }
            Owner::Done => Owner::Done,
        };
    }

    /// No client that was told of the blob is without it.
    fn is_kept(&self) -> bool {
        self.is_durable || !self.readers.iter().any(|reader| matches!(reader, Reader::Promised))
    }
}

/// A reader that meets a condemned slot asks again and again; longer orders only repeat that.
const STEPS_MAX: usize = 11;

/// Walks over every order in which the steps of the actors can follow each other. Gives how many there are, and one that breaks
/// a promise.
fn walk(readers: usize, before: u64, end: End, mistake: Mistake) -> (u64, Option<Vec<usize>>) {
    let table = table();
    let mut orders: Vec<Vec<usize>> = vec![Vec::new()];
    let mut count = 0;
    while let Some(order) = orders.pop() {
        let mut world = World::new(&table, readers, before, end, mistake);
        order.iter().for_each(|actor| world.step(*actor));
        if !world.is_kept() {
            return (count, Some(order));
        }
        let runnable: Vec<usize> = (0..=readers).filter(|actor| world.is_runnable(*actor)).collect();
        if runnable.is_empty() || order.len() >= STEPS_MAX {
            count += 1;
            continue;
        }
        orders.extend(runnable.into_iter().map(|actor| [order.as_slice(), &[actor]].concat()));
    }
    (count, None)
}

/// A lease that ran out, one that runs on, and none.
fn befores() -> [u64; 3] {
    [0, second(NOW) - 60, second(NOW) + LEASE_S + 1].map(|until| Seen(7).leased(until))
}

#[test]
fn in_no_order_of_steps_is_a_blob_promised_and_gone() {
    let mut orders = 0;
    for before in befores() {
        for readers in [1, 2] {
            for end in [End::Durable, End::Failed, End::Again] {
                let (count, broken) = walk(readers, before, end, Mistake::None);
                assert_eq!(broken, None, "{readers} readers, {before} before, {end:?}");
                orders += count;
            }
        }
    }
    println!("{orders} orders");
    assert!(orders > 10_000, "only {orders} orders");
}

#[test]
fn every_mistake_of_the_protocol_shows_in_some_order() {
    let mistakes = [
        Mistake::ViewBeforeLook,
        Mistake::NotRenewed,
        Mistake::ChangeIgnored,
        Mistake::FreedBeforeDurable,
        Mistake::CondemnedLate,
        Mistake::CondemnedBlindly,
        Mistake::NumberComesBack,
    ];
    for (mistake, end) in mistakes
        .map(|mistake| (mistake, End::Durable))
        .into_iter()
        .chain([(Mistake::RunAgainUnguarded, End::Again)])
    {
        let (count, broken) = walk(1, befores()[0], end, mistake);
        assert!(broken.is_some(), "{mistake:?} shows in none of {count} orders");
    }
}
