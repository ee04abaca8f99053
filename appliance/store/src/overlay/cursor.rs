//! A place in the overlay's key order, movable in both directions.
//! Invariant: it stands on a node or nowhere; nodes are never unlinked, so a place once taken stays good.
//! Leaves to merge.rs: uniting several overlays and the index.

use super::node::Node;
use super::{Latest, Overlay, Seen, hides_in, latest_in, seen_in};
use crate::types::Lsn;

/// See the file's head. Nodes inserted while the cursor moves may be met or not; those that a reader may see, that is of
/// batches whose durable LSN it loaded before, are always met.
#[derive(Clone, Copy)]
pub struct Cursor<'a> {
    overlay: &'a Overlay,
    node: Option<Node<'a>>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(overlay: &'a Overlay) -> Cursor<'a> {
        Cursor { overlay, node: None }
    }

    /// Goes to the first key, or nowhere when there is none.
    pub fn seek_first(&mut self) {
        self.node = self.overlay.head().next(0);
    }

    /// Goes to the last key, or nowhere when there is none.
    pub fn seek_last(&mut self) {
        self.go_unless_head(self.overlay.gap(|_| true, |_, _| {}).left);
    }

    /// Goes to the first key that is `key` or greater.
    pub fn seek(&mut self, key: &[u8]) {
        self.node = self.overlay.first_from(key, |_, _| {});
    }

    /// Goes to the last key that is less than `key`, or, if `inclusive`, `key` itself.
    pub fn seek_before(&mut self, key: &[u8], inclusive: bool) {
        self.go_unless_head(if inclusive {
            self.overlay.gap(|candidate| candidate <= key, |_, _| {}).left
        } else {
            self.overlay.gap(|candidate| candidate < key, |_, _| {}).left
        });
    }

    /// Goes to the next greater key. A cursor that stands nowhere stays there.
    pub fn next(&mut self) {
        self.node = self.node.and_then(|node| node.next(0));
    }

    /// Goes to the next smaller key. A cursor that stands nowhere stays there.
    pub fn prev(&mut self) {
        if let Some(previous) = self.node.take().and_then(Node::previous) {
            self.go_unless_head(previous);
        }
    }

    /// The key it stands on; `None` when it stands nowhere.
    #[must_use]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.node.map(Node::key)
    }

    /// `Overlay::get` of the key it stands on.
    #[must_use]
    pub fn get(&self, at: Lsn, commit: u64) -> Option<Seen<'a>> {
        seen_in(self.node?, at, commit)
    }

    /// Whether the key it stands on has an intent that a reader of this instant does not see and a later one may.
    #[must_use]
    pub fn hides(&self, at: Lsn, commit: u64) -> bool {
        self.node.is_some_and(|node| hides_in(node, at, commit))
    }

    /// `Overlay::latest` of the key it stands on.
    #[must_use]
    pub fn latest(&self) -> Option<Latest<'a>> {
        latest_in(self.node?)
    }

    fn go_unless_head(&mut self, node: Node<'a>) {
        self.node = (node != self.overlay.head()).then_some(node);
    }
}
