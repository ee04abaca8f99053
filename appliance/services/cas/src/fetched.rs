//! What is fetched most: names and how often each was fetched since the start of the process.
//! Invariant: a fetch costs one look at eight places of a table of this core and waits for nobody; memory is bounded. A name is never
//! shown with more fetches than it had; one that was out of the table meanwhile may be shown with fewer.
//! Leaves to its users: what the names are, and which fetches count.
//!
//! Each core has a table of sets of eight places. A name belongs to one set, by its hash. Within a set the space-saving algorithm
//! (Metwally, Agrawal, El Abbadi 2005) decides who stays: a new name takes the place of the lightest one and weighs one more than that
//! one did. So whoever has more than an eighth of the fetches of a set is never pushed out, and a stream of names that come once is not
//! able to keep a frequent one from growing.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::Cas;
use crate::namespace::{Dialect, Namespace};

/// Tables: threads have one each, as long as there are not more of them.
const TABLE_COUNT: usize = 64;
/// Sets of a table; a power of two.
const SET_COUNT: usize = 128;
/// Names of a set.
const PLACE_COUNT: usize = 8;
/// Bytes of a name that are kept; longer ones are cut, and count together where they begin alike.
pub const NAME_BYTES_MAX: usize = 256;

/// A name that was fetched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// In which namespace.
    pub ns: Namespace,
    /// Through which door.
    pub dialect: Dialect,
    /// What its user calls it.
    pub name: Box<str>,
    /// How often it was fetched, at least.
    pub count: u64,
}

/// What all cores counted.
pub(crate) struct Tables([Mutex<Option<Box<Table>>>; TABLE_COUNT]);

impl Default for Tables {
    fn default() -> Tables {
        Tables(std::array::from_fn(|_| Mutex::default()))
    }
}

/// What one core counted. It gets its memory when something is fetched first.
struct Table([Set; SET_COUNT]);

#[derive(Default)]
struct Set {
    /// Of the names in these places; 0 where there is none.
    hashes: [u64; PLACE_COUNT],
    places: [Place; PLACE_COUNT],
}

/// What tells one name from all others.
type Named = (Namespace, Dialect, Box<str>);

#[derive(Default)]
struct Place {
    /// What decides who goes: never less than the fetches of the name.
    weight: u64,
    /// Fetches since the name came here.
    count: u64,
    named: Option<Named>,
}

impl Set {
    fn count(&mut self, hash: u64, ns: &Namespace, dialect: Dialect, name: &str) {
        let is_same = |(of, by, text): &Named| of == ns && *by == dialect && **text == *name;
        let is_it = |place: &Place| place.named.as_ref().is_some_and(is_same);
        let known = (0..PLACE_COUNT).find(|place| self.hashes[*place] == hash && is_it(&self.places[*place]));
        if let Some(place) = known.map(|place| &mut self.places[place]) {
            (place.weight, place.count) = (place.weight + 1, place.count + 1);
            return;
        }
        let lightest = (0..PLACE_COUNT).min_by_key(|place| self.places[*place].weight).unwrap_or(0);
        self.hashes[lightest] = hash;
        let place = &mut self.places[lightest];
        *place = Place { weight: place.weight + 1, count: 1, named: Some((*ns, dialect, name.into())) };
    }
}

impl Tables {
    /// Counts a fetch. Never waits: a table is somebody else's only for the moment in which it is shown.
    fn count(&self, ns: &Namespace, dialect: Dialect, name: &str) {
        let name = &name[..name.floor_char_boundary(NAME_BYTES_MAX)];
        let hash = hash::xxh3_64(name.as_bytes()) ^ hash::xxh3_64(ns.as_bytes()).rotate_left(32);
        let hash = hash.wrapping_add(dialect as u64);
        if let Ok(mut table) = self.0[table_index()].try_lock() {
            let empty = || Box::new(Table(std::array::from_fn(|_| Set::default())));
            table.get_or_insert_with(empty).0[hash as usize % SET_COUNT].count(hash, ns, dialect, name);
        }
    }

    /// What was fetched most, of one namespace or of all.
    fn first(&self, ns: Option<&Namespace>, count_max: usize) -> Vec<Fetched> {
        let mut sums: HashMap<Named, u64> = HashMap::new();
        for table in &self.0 {
            let table = table.lock().unwrap_or_else(PoisonError::into_inner);
            let places = table.iter().flat_map(|table| table.0.iter()).flat_map(|set| set.places.iter());
            for Place { count, named, .. } in places {
                let wanted = named.as_ref().filter(|(of, ..)| ns.is_none_or(|ns| ns == of));
                if let Some(named) = wanted {
                    *sums.entry(named.clone()).or_default() += count;
                }
            }
        }
        let fetched = |((ns, dialect, name), count)| Fetched { ns, dialect, name, count };
        let mut all: Vec<Fetched> = sums.into_iter().map(fetched).collect();
        let order = |of: &Fetched| (std::cmp::Reverse(of.count), of.ns, of.dialect);
        all.sort_unstable_by(|one, other| {
            order(one).cmp(&order(other)).then_with(|| one.name.cmp(&other.name))
        });
        all.truncate(count_max);
        all
    }
}

/// The table of this thread.
fn table_index() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % TABLE_COUNT);
    }
    MINE.get()
}

impl Cas {
    /// Counts that something of this name was fetched from a namespace. While the counts of this core are being shown it counts
    /// nothing.
    pub fn count_fetched(&self, ns: &Namespace, dialect: Dialect, name: &str) {
        self.0.fetched.count(ns, dialect, name);
    }

    /// What was fetched most since the start of the process, of one namespace or of all.
    #[must_use]
    pub fn most_fetched(&self, ns: Option<&Namespace>, count_max: usize) -> Vec<Fetched> {
        self.0.fetched.first(ns, count_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ns(text: &str) -> Namespace {
        Namespace::parse(text).expect("legal")
    }

    fn shown(tables: &Tables, of: Option<&str>, count_max: usize) -> Vec<(String, u64)> {
        let found = tables.first(of.map(ns).as_ref(), count_max);
        found.into_iter().map(|found| (format!("{}/{}", found.ns, found.name), found.count)).collect()
    }

    #[test]
    fn frequent_names_stay_with_their_counts_however_many_others_come_once() {
        let tables = Tables::default();
        for number in 0..40_000 {
            tables.count(&ns("a"), Dialect::Nx, "often");
            if number % 4 == 0 {
                tables.count(&ns("b"), Dialect::Nx, "often");
            }
            tables.count(&ns("a"), Dialect::Nx, &format!("once {number}"));
        }
        assert_eq!(shown(&tables, None, 2), [("a/often".into(), 40_000), ("b/often".into(), 10_000)]);
        assert_eq!(shown(&tables, Some("b"), 9), [("b/often".into(), 10_000)]);
        // Nobody of the others is said to have come more often than it did.
        let all = tables.first(None, usize::MAX);
        assert!(all.len() <= SET_COUNT * PLACE_COUNT);
        assert!(all.iter().skip(2).all(|fetched| fetched.count == 1));
    }

    #[test]
    fn what_threads_counted_is_added_up() {
        let tables = Tables::default();
        tables.count(&ns("a"), Dialect::Moon, "x");
        let counted = || (0..1_000).for_each(|_| tables.count(&ns("a"), Dialect::Nx, "x"));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(counted);
            }
        });
        // More threads than tables would share some, and might meet.
        assert_eq!(shown(&tables, None, 9), [("a/x".into(), 4_000), ("a/x".into(), 1)]);
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let tables = Tables::default();
        let long = format!("x{}", "é".repeat(NAME_BYTES_MAX));
        tables.count(&ns("a"), Dialect::Nx, &long);
        let [(name, 1)] = &shown(&tables, None, 9)[..] else { panic!("one name") };
        assert_eq!(name.len(), "a/".len() + NAME_BYTES_MAX - 1);
        assert!(long.starts_with(&name["a/".len()..]));
    }
}
