//! Work that must happen once per turn, after the tasks and before the kernel is entered.
//!
//! The shard's log seals its batch here: everything that this turn's operations appended leaves with one write.

use crate::core::Core;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

type Hook = Rc<RefCell<dyn FnMut()>>;

/// The hooks of one reactor, in the order of their registration.
pub(crate) struct Hooks {
    list: RefCell<Vec<(u64, Hook)>>,
    next_id: Cell<u64>,
}

impl Hooks {
    pub fn new() -> Self {
        Hooks { list: RefCell::new(Vec::new()), next_id: Cell::new(0) }
    }

    /// Calls every hook once. A hook may add and remove hooks, itself too; an added one runs from the next turn.
    pub fn run(&self) {
        let last_id = self.next_id.get();
        let mut index = 0;
        loop {
            let next = self.list.borrow().get(index).map(|(id, hook)| (*id, Rc::clone(hook)));
            let Some((id, hook)) = next else { return };
            if id >= last_id {
                return;
            }
            (hook.borrow_mut())();
            // The hook may have removed itself, and then the next one has moved to this place.
            if self.list.borrow().get(index).is_some_and(|(now_here, _)| *now_here == id) {
                index += 1;
            }
        }
    }

    /// Forgets all hooks, dropping them outside the borrow.
    pub fn clear(&self) {
        let hooks = std::mem::take(&mut *self.list.borrow_mut());
        drop(hooks);
    }

    fn remove(&self, id: u64) {
        let mut list = self.list.borrow_mut();
        let removed = list.iter().position(|(candidate, _)| *candidate == id).map(|index| list.remove(index));
        drop(list);
        drop(removed);
    }
}

/// Keeps a hook registered; dropping it removes the hook.
#[must_use = "dropping the handle removes the hook"]
pub struct TurnHook {
    core: Weak<Core>,
    id: u64,
}

impl Drop for TurnHook {
    fn drop(&mut self) {
        if let Some(core) = self.core.upgrade() {
            core.hooks.remove(self.id);
        }
    }
}

/// Calls `hook` once per turn of this reactor's loop: after the ready tasks, before submission to the kernel. It may start
/// I/O, which leaves with this turn's submission, and wake tasks, which run in the next turn.
///
/// # Panics
/// Outside a reactor.
pub fn at_turn_end(hook: impl FnMut() + 'static) -> TurnHook {
    let core = Core::current();
    let id = core.hooks.next_id.get();
    core.hooks.next_id.set(id + 1);
    core.hooks.list.borrow_mut().push((id, Rc::new(RefCell::new(hook))));
    TurnHook { core: Rc::downgrade(&core), id }
}
