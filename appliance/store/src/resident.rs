//! Memory that a service keeps about one shard, derived from its records: which messages are ready, who is subscribed. It is
//! never the truth; after a start it is empty and built anew.
//! Invariant: a resident says what the records say with every effect before the running operation and none after: it changes
//! only between operations, right after the effects from which the change follows. Who looks at it rests on these effects.
//! Leaves to execute.rs: when changes are made.

use std::any::{Any, TypeId};

use crate::tx::Tx;
use crate::types::Lsn;
use crate::wait::Wakes;

/// The residents of one shard, one of a type.
#[derive(Default)]
pub(crate) struct Residents {
    /// A handful at most: each service has one.
    list: Vec<Resident>,
}

struct Resident {
    id: TypeId,
    value: Box<dyn Any>,
    /// The last batch from which something in it follows.
    changed_at: Lsn,
}

impl Residents {
    fn get<T: 'static>(&self) -> Option<(&T, Lsn)> {
        let resident = self.list.iter().find(|resident| resident.id == TypeId::of::<T>())?;
        resident.value.downcast_ref().map(|value| (value, resident.changed_at))
    }

    /// For a change that follows from the batch `at`.
    fn change<T: Default + 'static>(&mut self, at: Lsn) -> &mut T {
        let id = TypeId::of::<T>();
        let place = self.list.iter().position(|resident| resident.id == id).unwrap_or_else(|| {
            self.list.push(Resident { id, value: Box::new(T::default()), changed_at: Lsn::ZERO });
            self.list.len() - 1
        });
        let resident = &mut self.list[place];
        resident.changed_at = resident.changed_at.max(at);
        resident.value.downcast_mut().expect("the place was found by the type")
    }
}

/// A change of a resident that waits for its operation to succeed, its type erased.
pub(crate) struct Change(Box<Make>);

type Make = dyn FnOnce(&mut Residents, Lsn, &mut Wakes<'_>);

impl Change {
    pub(crate) fn new(make: impl FnOnce(&mut Residents, Lsn, &mut Wakes<'_>) + 'static) -> Change {
        Change(Box::new(make))
    }

    /// Makes the change, which follows from the batch `at`.
    pub(crate) fn make(self, residents: &mut Residents, at: Lsn, wakes: &mut Wakes<'_>) {
        (self.0)(residents, at, wakes);
    }
}

impl<'a> Tx<'a> {
    /// What this shard's services remember in a `T`, as it is before this operation; nothing until a `then` has made one.
    /// The reply waits until everything from which it follows is durable.
    #[must_use]
    pub fn resident<T: 'static>(&self) -> Option<&'a T> {
        let (value, changed_at) = self.residents().get()?;
        self.rest_on(changed_at);
        Some(value)
    }

    /// Changes the shard's `T` once this operation has succeeded: right after its effects have entered the overlay, before the
    /// next operation of the shard runs; for one without effects all the same. It is dropped when the operation rolls back,
    /// waits or fails, and when it has to run again. The part of a transaction over shards makes its changes when
    /// the transaction is carried out here, if it was not cancelled. Must not use the store.
    pub fn then<T: Default + 'static>(&mut self, change: impl FnOnce(&mut T, &mut Wakes<'_>) + 'static) {
        self.stage_change(Change::new(move |residents, at, wakes| change(residents.change(at), wakes)));
    }
}
