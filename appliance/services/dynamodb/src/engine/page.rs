//! One page of Query or Scan: what is read, what of it is shown, and where the next page begins.
//! Invariant: pages that follow each other show every item of the range that was there all the time exactly once, in the
//! range's order; a page ends behind `limit` items read, or behind the item with which 1 MB is reached, or at the end.
//! A page is read in turns and is not one instant, as DynamoDB does not promise one.
//! Leaves to range.rs: which keys. To wire: the reply around the items.

use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use plan::{Context, Plan};
use store::{Fault, Record, View};

use super::capacity::read_units;
use super::entry::IndexOf;
use super::range::{self, Range, StartError};
use super::read::warm;
use super::walk::{Ended, Walk};
use crate::expression::Condition;
use crate::json;
use crate::model::keys::KeyError;
use crate::model::limits::{BYTES_PER_TURN_MAX, EXAMINED_PER_TURN_MAX, PAGE_BYTES_MAX};
use crate::model::table::{IndexNumber, Table};
use crate::store::ITEMS;
use crate::store::index_key::item_key_of;
use crate::value::path::Projection;
use crate::value::{Item, ItemRef};

/// Writes what is shown of an item.
pub type Shaper = dyn Fn(ItemRef<'_>, &mut json::Writer);

/// What a page shows of the items that it found.
pub enum Show {
    /// Only how many there are.
    Count,
    /// The whole items.
    All,
    /// Parts of them.
    Project(Projection),
    /// What the index projects.
    IndexProjected,
    /// What the caller makes of them.
    Shaped(Rc<Shaper>),
}

/// A page to be read.
pub struct PageRequest {
    /// The table.
    pub table: Arc<Table>,
    /// An index of it that may be read.
    pub index: Option<IndexNumber>,
    /// Which items.
    pub range: Range,
    /// In ascending order; a scan is always.
    pub forward: bool,
    /// Where the last page ended.
    pub start: Option<Item>,
    /// Items to be read at most.
    pub limit: Option<u32>,
    /// What must hold of an item that is shown. In a global index it sees what the index projects.
    pub filter: Option<Condition>,
    /// What is shown.
    pub show: Show,
    /// A local index is asked for what it does not project, so that the items themselves are read, at a price.
    pub fetches: bool,
}

/// A page that was read.
pub struct Page {
    /// Behind the elements that it held before: one for each item shown.
    pub items: json::Writer,
    /// Items that passed the filter.
    pub count: u32,
    /// Items that were read.
    pub scanned: u32,
    /// Their bytes, in an index those that it projects.
    pub bytes: u64,
    /// Where the next page begins; None: there is none.
    pub last: Option<Item>,
    /// Read units of the items that a local index fetched.
    pub fetched_units: u64,
}

/// Why there is no page.
#[derive(Debug)]
pub enum PageError {
    /// A value of the key condition cannot be in a key.
    Key(KeyError),
    /// The start key is none.
    Start(StartError),
    /// The store failed.
    Fault(Fault),
}

impl From<Fault> for PageError {
    fn from(fault: Fault) -> PageError {
        PageError::Fault(fault)
    }
}

/// Reads a page into `items`, a writer that stands within an array, and goes on with it.
pub fn page<T>(cx: &mut Context<'_>, request: PageRequest, items: json::Writer, then: T) -> Plan
where
    T: FnOnce(&mut Context<'_>, Result<Page, PageError>) -> Plan + 'static,
{
    match begin(cx, &request) {
        Ok(walk) => {
            let page = Page { items, count: 0, scanned: 0, bytes: 0, last: None, fetched_units: 0 };
            begin_turn(cx, Reading { request, walk, page }, then)
        }
        Err(error) => then(cx, Err(error)),
    }
}

fn begin(cx: &Context<'_>, request: &PageRequest) -> Result<Walk, PageError> {
    let (table, index) = (&*request.table, request.index());
    let mut walk = range::walk(cx, table, index, &request.range, request.forward).map_err(PageError::Key)?;
    if let Some(start) = &request.start {
        range::start_behind(cx, table, index, &request.range, start.as_ref(), &mut walk)
            .map_err(PageError::Start)?;
    }
    Ok(walk)
}

/// Reads on, once the place where this turn begins is in memory.
fn begin_turn<T>(cx: &mut Context<'_>, reading: Reading, then: T) -> Plan
where
    T: FnOnce(&mut Context<'_>, Result<Page, PageError>) -> Plan + 'static,
{
    let cold = reading.walk.cold(cx);
    match cold.is_empty() {
        true => go_on(cx, reading, then),
        false => warm(cx, cold, move |cx| go_on(cx, reading, then)),
    }
}

fn go_on<T>(cx: &mut Context<'_>, mut reading: Reading, then: T) -> Plan
where
    T: FnOnce(&mut Context<'_>, Result<Page, PageError>) -> Plan + 'static,
{
    match reading.turn(cx) {
        Ok(true) => then(cx, Ok(reading.page)),
        Ok(false) => Plan::Pause(Box::new(move |cx, ()| begin_turn(cx, reading, then))),
        Err(fault) => then(cx, Err(fault.into())),
    }
}

impl PageRequest {
    fn index(&self) -> Option<IndexOf<'_>> {
        self.index.and_then(|number| IndexOf::find(&self.table, number))
    }
}

/// A page in the making.
struct Reading {
    request: PageRequest,
    walk: Walk,
    page: Page,
}

impl Reading {
    /// Reads on until the page is complete or this turn's budget is spent; says whether it is complete.
    fn turn(&mut self, cx: &Context<'_>) -> Result<bool, Fault> {
        let Reading { request, walk, page } = self;
        let index = request.index();
        let turn_bytes_max = page.bytes + BYTES_PER_TURN_MAX;
        let mut is_full = false;
        let ended = walk.turn(cx, EXAMINED_PER_TURN_MAX, &mut |view, key, record| {
            is_full = take(request, index, page, view, key, record)?;
            let pauses = is_full || page.bytes >= turn_bytes_max;
            Ok(if pauses { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(is_full || ended == Ended::Done)
    }
}

/// Reads one item, or entry; says whether the page is full with it.
fn take(
    request: &PageRequest,
    index: Option<IndexOf<'_>>,
    page: &mut Page,
    view: &View<'_>,
    key: &[u8],
    record: Record<'_>,
) -> Result<bool, Fault> {
    match index {
        None => Ok(read(request, None, page, ItemRef::new(record.value)?)),
        Some(found) => {
            let lost = || Fault::corrupt("an index entry leads to no item".into());
            let table = request.table.number;
            let item_key =
                item_key_of(table, found.index, found.is_local, key, record.value).ok_or_else(lost)?;
            let item = view.get(ITEMS, &item_key)?.ok_or_else(lost)?;
            Ok(read(request, index, page, ItemRef::new(item.value)?))
        }
    }
}

fn read(request: &PageRequest, index: Option<IndexOf<'_>>, page: &mut Page, item: ItemRef<'_>) -> bool {
    let table = &*request.table;
    let bytes = index.map_or_else(|| item.aws_bytes(), |index| index.projected_bytes(table, item));
    page.scanned += 1;
    page.bytes += u64::from(bytes);
    if request.fetches {
        page.fetched_units += read_units(u64::from(item.aws_bytes()));
    }
    // A local index can fetch the rest of an item, a global one shows what it projects, to filters too.
    let is_cut = index.is_some_and(|index| !index.is_local) || matches!(request.show, Show::IndexProjected);
    let projected = index.filter(|_| is_cut).and_then(|index| index.projected(table, item));
    let shown = projected.as_ref().map_or(item, Item::as_ref);
    let seen = if index.is_some_and(|index| index.is_local) { item } else { shown };
    if request.filter.as_ref().is_none_or(|filter| filter.holds(Some(seen))) {
        page.count += 1;
        match &request.show {
            Show::Count => {}
            Show::All | Show::IndexProjected => shown.write_json(&mut page.items),
            Show::Project(projection) => projection.write_json(shown, &mut page.items),
            Show::Shaped(write) => write(shown, &mut page.items),
        }
    }
    let is_full = request.limit.is_some_and(|limit| page.scanned >= limit) || page.bytes >= PAGE_BYTES_MAX;
    if is_full {
        page.last = Some(range::place_of(table, index, item));
    }
    is_full
}
