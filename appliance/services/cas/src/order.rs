//! Where the oldest of each namespace of a shard lies, so that an eviction does not walk over what it took away before.
//! Invariant: nothing of a namespace lies before its place; whoever puts something before it moves it back.
//! Leaves to evict.rs: looking. It is a resident of the shard, and is found anew after a start.

use std::collections::BTreeMap;

use ::store::{Fault, Tx};

use crate::namespace::Namespace;
use crate::usage;

/// The places of all namespaces of a shard.
#[derive(Clone, Default, Debug)]
pub(crate) struct Order {
    /// Whether the namespaces of the shard were looked for.
    is_known: bool,
    places: BTreeMap<Namespace, Place>,
}

/// Where to look for the oldest.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Place {
    /// Nothing lies before this second.
    pub(crate) second: u32,
    /// The key of the order of use behind which it lies; empty: at the beginning of the second.
    pub(crate) after: Vec<u8>,
}

/// The second of a namespace that has nothing.
const NEVER: u32 = u32::MAX;

impl Place {
    /// Of a namespace that has nothing.
    pub(crate) const NOTHING: Place = Place { second: NEVER, after: Vec::new() };
}

impl Order {
    /// The shard's order as it is before this operation. Errors: those of `tx`.
    pub(crate) fn of(tx: &mut Tx<'_>) -> Result<Order, Fault> {
        if let Some(order) = tx.resident::<Order>().filter(|order| order.is_known) {
            return Ok(order.clone());
        }
        let places = usage::namespaces_of(tx)?.into_iter().map(|ns| (ns, Place::default()));
        Ok(Order { is_known: true, places: places.collect() })
    }

    /// Something of a namespace was put into this second.
    pub(crate) fn came(&mut self, ns: &Namespace, second: u32) {
        if !self.is_known {
            return;
        }
        let place = self.places.entry(*ns).or_insert_with(|| Place { second, after: Vec::new() });
        if second <= place.second {
            *place = Place { second, after: Vec::new() };
        }
    }

    /// Forgets how far walks have come.
    pub(crate) fn begin_anew(&mut self) {
        self.places.values_mut().for_each(|place| *place = Place::default());
    }

    pub(crate) fn place(&self, ns: &Namespace) -> Place {
        self.places.get(ns).cloned().unwrap_or_default()
    }

    pub(crate) fn set(&mut self, ns: &Namespace, place: Place) {
        self.places.insert(*ns, place);
    }

    /// The namespace with the oldest, of those that may be looked at, and the second up to which it is the oldest.
    pub(crate) fn oldest(&self, may: impl Fn(&Namespace) -> bool) -> Option<(Namespace, u32)> {
        let (mut oldest, mut next) = (None, NEVER);
        let mut least = NEVER;
        for (ns, place) in self.places.iter().filter(|(ns, place)| place.second != NEVER && may(ns)) {
            if place.second < least {
                (oldest, next, least) = (Some(*ns), least, place.second);
            } else {
                next = next.min(place.second);
            }
        }
        Some((oldest?, next))
    }

    /// The oldest second of the shard.
    pub(crate) fn oldest_second(&self) -> Option<u32> {
        self.places.values().map(|place| place.second).filter(|second| *second != NEVER).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ns(text: &str) -> Namespace {
        Namespace::parse(text).expect("legal")
    }

    #[test]
    fn what_comes_into_the_second_of_a_place_moves_it_back() {
        let mut order = Order { is_known: true, ..Order::default() };
        order.set(&ns("a"), Place { second: 7, after: vec![1] });
        order.came(&ns("a"), 8);
        assert_eq!(order.place(&ns("a")), Place { second: 7, after: vec![1] });
        order.came(&ns("a"), 7);
        assert_eq!(order.place(&ns("a")), Place { second: 7, after: vec![] });
        order.set(&ns("a"), Place { second: NEVER, after: vec![] });
        order.came(&ns("a"), 9);
        assert_eq!(order.place(&ns("a")).second, 9);
    }

    #[test]
    fn the_oldest_namespace_is_the_oldest_until_the_next_ones_second() {
        let mut order = Order { is_known: true, ..Order::default() };
        assert_eq!(order.oldest(|_| true), None);
        for (name, second) in [("a", 5), ("b", 3), ("c", NEVER)] {
            order.set(&ns(name), Place { second, after: vec![] });
        }
        assert_eq!(order.oldest(|_| true), Some((ns("b"), 5)));
        assert_eq!(order.oldest(|name| *name == ns("a")), Some((ns("a"), NEVER)));
        assert_eq!(order.oldest(|name| *name == ns("c")), None);
        assert_eq!(order.oldest_second(), Some(3));
    }
}
