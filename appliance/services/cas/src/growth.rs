//! Uploads that are long, or of a length that nobody knows: promised room as they come, and made to wait where there is none.
//! Invariant: nothing is written that room was not promised for. What is asked for ahead of the bytes is asked for when half of it is
//! used up, so that where something can be evicted there is room before it is needed.
//! Leaves to room.rs: making room. To the node: doing what is asked between two pieces of a body.

use std::cell::RefCell;
use std::rc::Rc;

use http_types::StatusCode;
use plan::{BodyFailure, BodyFilter, Context, Plan, Reply, Then};

use crate::Cas;
use crate::namespace::Namespace;
use crate::room::{NoRoom, Reservation};
use crate::store::stored_bytes;

/// A growing body is promised this much more than has come, or as much as has come where that is less: so nobody keeps room from
/// others by announcing what never comes.
pub(crate) const AHEAD_BYTES_MAX: u64 = 16 * 1024 * 1024;
const AHEAD_BYTES_MIN: u64 = 256 * 1024;
/// Where others have to go for it, only so much is made ahead of what has come: nobody is evicted for what may never come.
const MADE_BYTES: u64 = 1024 * 1024;

/// What a growing body has been promised so far.
pub(crate) struct Meter {
    cas: Cas,
    ns: Namespace,
    pub(crate) room: Reservation,
    pub(crate) promised_bytes: u64,
    /// What of it the bytes take that have come.
    came_bytes: u64,
    /// Room to be made before more is taken.
    wanted_bytes: Option<u64>,
    /// Where nothing could be made: only when so much has come is it tried again.
    again_at_bytes: u64,
    /// Why there is no room for what has come.
    pub(crate) refused: Option<NoRoom>,
}

impl Meter {
    /// Of a body of which nothing has come.
    pub(crate) fn new(cas: &Cas, ns: Namespace, room: Reservation, promised_bytes: u64) -> Meter {
        Meter {
            cas: cas.clone(),
            ns,
            room,
            promised_bytes,
            came_bytes: 0,
            wanted_bytes: None,
            again_at_bytes: 0,
            refused: None,
        }
    }

    fn is_short(&self) -> bool {
        self.promised_bytes < self.came_bytes
    }

    /// So many bytes of the blob have come, of `total`, where that was announced.
    fn came(&mut self, length: u64, total: Option<u64>) {
        let ahead = length.clamp(AHEAD_BYTES_MIN, AHEAD_BYTES_MAX);
        let end = total.map_or(u64::MAX, |total| total.max(length));
        let promised_to = |ahead| stored_bytes(length.saturating_add(ahead).min(end));
        self.came_bytes = promised_to(0);
        if self.promised_bytes >= promised_to(ahead / 2) {
            return;
        }
        let more = promised_to(ahead) - self.promised_bytes;
        if self.room.grow(more).is_ok() {
            self.promised_bytes += more;
            return;
        }
        let left = self.promised_bytes.saturating_sub(self.came_bytes);
        let is_due = left < MADE_BYTES / 2 && self.came_bytes >= self.again_at_bytes;
        if self.is_short() || is_due {
            let short = self.came_bytes.saturating_sub(self.promised_bytes);
            self.wanted_bytes = Some(more.min(short.saturating_add(MADE_BYTES)));
        }
    }

    /// Room was made, or could not be.
    fn answered(&mut self, room: Result<Reservation, NoRoom>, bytes: u64) {
        let why = match room {
            Ok(more) => {
                self.room.absorb(more);
                self.promised_bytes += bytes;
                return;
            }
            Err(why) => why,
        };
        if !self.is_short() {
            self.again_at_bytes = self.came_bytes + (self.promised_bytes - self.came_bytes) / 2;
            return;
        }
        // Nothing to spare, but perhaps enough.
        let short = self.came_bytes - self.promised_bytes;
        match self.room.grow(short) {
            Ok(()) => self.promised_bytes += short,
            Err(_) => self.refused = Some(why),
        }
    }
}

/// Measures a body as it comes.
pub(crate) struct Metered {
    /// What finds the blob in the body.
    pub(crate) inner: Option<Box<dyn BodyFilter>>,
    /// Bytes of the blob that have come.
    pub(crate) length: u64,
    /// Bytes that it will have, where that was announced.
    pub(crate) total: Option<u64>,
    pub(crate) meter: Rc<RefCell<Meter>>,
}

impl BodyFilter for Metered {
    fn feed(&mut self, input: &[u8], data: &mut dyn FnMut(&[u8])) -> Result<(), BodyFailure> {
        if self.meter.borrow().is_short() {
            // Nobody has waited for the room that was asked for.
            return Err(BodyFailure::TooLarge);
        }
        let length = &mut self.length;
        match &mut self.inner {
            Some(inner) => inner.feed(input, &mut |found| {
                *length += found.len() as u64;
                data(found);
            })?,
            None => {
                *length += input.len() as u64;
                data(input);
            }
        }
        self.meter.borrow_mut().came(self.length, self.total);
        Ok(())
    }

    fn holds_more(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.holds_more())
    }

    fn hold(&mut self) -> Result<Option<Then<()>>, BodyFailure> {
        let mut meter = self.meter.borrow_mut();
        if meter.refused.is_some() {
            return Err(BodyFailure::TooLarge);
        }
        let Some(bytes) = meter.wanted_bytes.take() else { return Ok(None) };
        let meter = Rc::clone(&self.meter);
        Ok(Some(Box::new(move |cx, ()| make_room(cx, meter, bytes))))
    }

    fn finish(&mut self) -> Result<(), BodyFailure> {
        if self.meter.borrow().is_short() {
            return Err(BodyFailure::TooLarge);
        }
        self.inner.as_mut().map_or(Ok(()), |inner| inner.finish())
    }
}

/// Makes room for so many bytes more, within the patience of an upload.
fn make_room(cx: &mut Context<'_>, meter: Rc<RefCell<Meter>>, bytes: u64) -> Plan {
    let (cas, ns) = {
        let meter = meter.borrow();
        (meter.cas.clone(), meter.ns)
    };
    cas.with_more_room(cx, ns, bytes, move |_, room| {
        meter.borrow_mut().answered(room, bytes);
        Plan::Reply(Reply::empty(StatusCode::OK))
    })
}
