//! SELECT by itself: pages of what a statement names, in parts one after the other.
//! Invariant: a page ends at `Limit` items read or at 1 MB over all its parts; the token of the next one says where.
//! Leaves to engine/page.rs: reading. To partiql: which parts.

use std::rc::Rc;
use std::sync::Arc;

use hash::Sha256;
use plan::{Context, Plan};

use super::next_token::{Digest, Position};
use super::{index, key_attributes};
use crate::call::{Shared, settle};
use crate::engine::capacity::read_units;
use crate::engine::page::{Page, PageRequest, Show, page};
use crate::engine::range::Range;
use crate::expression::{Condition, KeyTest};
use crate::json::Writer;
use crate::model::limits::PAGE_BYTES_MAX;
use crate::model::table::{Index, IndexNumber, KeyAttribute, Table};
use crate::ops::item::REPLY_BYTES;
use crate::ops::page::shows;
use crate::partiql::{Access, Columns, Select};
use crate::value::path::Step;
use crate::wire::capacity::{Consumed, HalfUnits, Purpose, write_consumed};
use crate::wire::error::Error;
use crate::wire::request::statement::Sent;
use crate::wire::words::ReturnCapacity;

/// What a request says beside its statement.
pub struct Asked {
    /// Names the statement with its parameters.
    pub digest: Digest,
    /// Items to be read at most.
    pub limit: Option<u32>,
    /// How its cost is told.
    pub capacity: ReturnCapacity,
    /// Whether it reads consistently.
    pub consistent: bool,
}

/// Names a statement with its parameters.
#[must_use]
pub fn digest(sent: &Sent<'_>) -> Digest {
    let mut sha = Sha256::new();
    let mut field = |bytes: &[u8]| {
        sha.update(&(bytes.len() as u64).to_be_bytes());
        sha.update(bytes);
    };
    field(sent.text.as_deref().unwrap_or_default().as_bytes());
    for parameter in sent.parameters.iter().flatten() {
        field(parameter.value.as_bytes());
    }
    let mut digest = Digest::default();
    let length = digest.len();
    digest.copy_from_slice(&sha.finish()[..length]);
    digest
}

/// Begins it.
pub fn start(
    call: Shared,
    cx: &mut Context<'_>,
    select: &Select,
    asked: Asked,
    token: Option<&str>,
) -> Result<Plan, Error> {
    let table = call.table(cx, &select.from.table)?;
    let index = index(&table, select, asked.consistent)?;
    let (hash, sort) = key_attributes(&table, index);
    let access = match &select.condition {
        Some(condition) => condition.access(hash, sort)?,
        None => Access::Scan,
    };
    let forward = forward(&select.order, hash, sort, &access)?;
    let filter = match (&select.condition, &access) {
        (Some(condition), Access::Keys(_)) => condition.filter(hash, sort),
        (Some(condition), Access::Scan) => Some(condition.condition().clone()),
        (None, _) => None,
    };
    let parts = match access {
        Access::Keys(tests) => tests.into_iter().map(Some).collect(),
        Access::Scan => vec![None],
    };
    let fetches = check_projected(&table, index, &select.columns)?;
    let position = match token {
        Some(token) => Position::read(token, &table, &asked.digest)?,
        None => Position { part: 0, behind: None },
    };
    if position.part as usize >= parts.len() {
        return Err(Error::validation("Invalid NextToken"));
    }
    let mut items = Writer::with_capacity(REPLY_BYTES);
    items.begin_object();
    items.key("Items");
    items.begin_array();
    let index = index.map(|(index, _)| index.number);
    let columns = Rc::new(select.columns.clone());
    let reading = Reading {
        consumed: Consumed::new(Arc::clone(&table), Purpose::Unsaid),
        scanned: 0,
        bytes: 0,
        table,
        index,
        parts,
        forward,
        filter,
        columns,
        fetches,
        asked,
        position,
    };
    Ok(reading.go_on(call, cx, items))
}

/// Whether ORDER BY ascends. Only what a key is sorted by can be asked for.
fn forward(
    order: &[(Box<str>, bool)],
    hash: &[KeyAttribute],
    sort: &[KeyAttribute],
    access: &Access,
) -> Result<bool, Error> {
    if order.is_empty() {
        return Ok(true);
    }
    let Access::Keys(tests) = access else {
        return Err(Error::validation(
            "Must have at least one non-optional hash key condition in WHERE clause when using ORDER BY clause.",
        ));
    };
    let is_of = |keys: &[KeyAttribute], name: &str| keys.iter().any(|key| *key.name == *name);
    if let Some((name, _)) = order.iter().find(|(name, _)| !is_of(hash, name) && !is_of(sort, name)) {
        return Err(Error::validation(format!(
            "Variable reference {name} in ORDER BY clause must be part of the primary key"
        )));
    }
    if tests.len() > 1 {
        return Err(Error::validation("ORDER BY is supported with one value of the hash key only"));
    }
    // All items have the same partition key, so that its own order says nothing.
    let mut of_sort = order.iter().filter(|(name, _)| is_of(sort, name)).map(|(_, ascends)| *ascends);
    let first = of_sort.next().unwrap_or(true);
    if of_sort.any(|ascends| ascends != first) {
        return Err(Error::validation("The attributes of ORDER BY must have one direction"));
    }
    Ok(first)
}

/// A global index shows nothing that it does not hold; a local one fetches it, which is the answer.
fn check_projected(table: &Table, index: Option<(&Index, bool)>, columns: &Columns) -> Result<bool, Error> {
    let (Some((index, is_local)), Columns::Paths(paths)) = (index, columns) else { return Ok(false) };
    let tops = paths.iter().filter_map(|path| match path.first() {
        Some(Step::Name(name)) => Some(&**name),
        Some(Step::Index(_)) | None => None,
    });
    let missing: Vec<&str> = tops.filter(|name| !shows(table, index, name)).collect();
    if missing.is_empty() || is_local {
        return Ok(!missing.is_empty());
    }
    Err(Error::validation(format!(
        "Global secondary index {} does not project [{}]",
        index.name,
        missing.join(", ")
    )))
}

/// A page in the making.
struct Reading {
    table: Arc<Table>,
    index: Option<IndexNumber>,
    /// The parts of the table that are read; None is all of it.
    parts: Vec<Option<KeyTest>>,
    forward: bool,
    filter: Option<Condition>,
    columns: Rc<Columns>,
    fetches: bool,
    asked: Asked,
    /// Where the next part that is read begins.
    position: Position,
    scanned: u32,
    bytes: u64,
    consumed: Consumed,
}

impl Reading {
    fn go_on(mut self, call: Shared, cx: &mut Context<'_>, items: Writer) -> Plan {
        let request = self.request();
        page(cx, request, items, move |_, outcome| match outcome {
            Err(error) => settle(&call, Err(error.into())),
            Ok(page) => match self.take(page) {
                (items, true) => call.reply(self.reply(items)),
                // Not from within this page's own end, so that many parts need no stack.
                (items, false) => Plan::Pause(Box::new(move |cx, ()| self.go_on(call, cx, items))),
            },
        })
    }

    fn request(&mut self) -> PageRequest {
        let part = self.parts.get(self.position.part as usize).cloned().flatten();
        let show = match &*self.columns {
            Columns::All if self.index.is_some() => Show::IndexProjected,
            Columns::All => Show::All,
            Columns::Paths(_) => {
                let columns = Rc::clone(&self.columns);
                Show::Shaped(Rc::new(move |item, out| columns.of(item).as_ref().write_json(out)))
            }
        };
        PageRequest {
            table: Arc::clone(&self.table),
            index: self.index,
            range: part.map_or(Range::Scan { segment: None }, Range::Query),
            forward: self.forward,
            start: self.position.behind.take(),
            limit: self.asked.limit.map(|limit| limit.saturating_sub(self.scanned)),
            filter: self.filter.clone(),
            show,
            fetches: self.fetches,
        }
    }

    /// Takes what was read of a part; says whether the page is complete with it.
    fn take(&mut self, page: Page) -> (Writer, bool) {
        self.scanned += page.scanned;
        self.bytes += page.bytes;
        let units = HalfUnits::read(read_units(page.bytes), self.asked.consistent);
        match self.index {
            Some(index) => self.consumed.add_index(index, units),
            None => self.consumed.units.0 += units.0,
        }
        self.consumed.units.0 += HalfUnits::read(page.fetched_units, self.asked.consistent).0;
        if page.last.is_some() {
            self.position.behind = page.last;
            return (page.items, true);
        }
        self.position.part += 1;
        let is_last = self.position.part as usize >= self.parts.len();
        let is_full =
            self.bytes >= PAGE_BYTES_MAX || self.asked.limit.is_some_and(|limit| self.scanned >= limit);
        (page.items, is_last || is_full)
    }

    fn reply(self, mut out: Writer) -> Writer {
        out.end_array();
        if (self.position.part as usize) < self.parts.len() {
            out.key("NextToken");
            out.string(&self.position.token(&self.table, &self.asked.digest));
            if let Some(behind) = &self.position.behind {
                out.key("LastEvaluatedKey");
                behind.as_ref().write_json(&mut out);
            }
        }
        write_consumed(self.asked.capacity, &self.consumed, &mut out);
        out.end_object();
        out
    }
}
