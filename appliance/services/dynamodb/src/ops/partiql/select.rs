//! SELECT: the pages of one key, of several keys one after the other, or of everything.
//! Invariant: a page ends as Query's does; its token says in which of the keys, and behind which item.

use std::sync::Arc;

use plan::{Context, Plan};

use super::token::Place;
use crate::call::{Shared, settle};
use crate::engine::capacity::read_units;
use crate::engine::page::{PageRequest as Walk, Show, page as read_page};
use crate::engine::range::Range;
use crate::expression::{Condition, KeyTest};
use crate::json::Writer;
use crate::model::limits::PAGE_BYTES_MAX;
use crate::model::table::{Index, IndexNumber, KeyAttribute, Table};
use crate::ops::item::REPLY_BYTES;
use crate::ops::page::{check_projects, index as find_index, shows};
use crate::partiql::{Access, Columns, Select};
use crate::value::path::Step;
use crate::wire::capacity::{Consumed, HalfUnits, Purpose, write_consumed};
use crate::wire::error::Error;
use crate::wire::words::ReturnCapacity;

/// A SELECT on its way.
pub struct Reading {
    call: Shared,
    table: Arc<Table>,
    index: Option<IndexNumber>,
    columns: Columns,
    /// The keys; None: everything.
    parts: Option<Vec<KeyTest>>,
    filter: Option<Condition>,
    forward: bool,
    fetches: bool,
    place: Place,
    consistent: bool,
    limit_left: Option<u32>,
    bytes: u64,
    units: HalfUnits,
    fetched: HalfUnits,
    capacity: ReturnCapacity,
    digest: [u8; 16],
}

/// What a request says beside its statement.
pub struct Beside {
    /// `ConsistentRead`
    pub consistent: bool,
    /// `Limit`
    pub limit: Option<u32>,
    /// `ReturnConsumedCapacity`
    pub capacity: ReturnCapacity,
    /// Where it goes on.
    pub place: Place,
    /// What its token is bound to.
    pub digest: [u8; 16],
}

const CONSISTENT: &str = "Strongly consistent read is not supported on Global Secondary Indexes";

/// Begins it.
pub fn begin(call: Shared, cx: &mut Context<'_>, select: Select, beside: Beside) -> Result<Plan, Error> {
    let table = call.table(cx, &select.from.table)?;
    let index = find_index(&table, select.from.index.as_deref(), false)
        .map_err(|_| Error::validation("The table does not have the specified index"))?;
    if beside.consistent && index.is_some_and(|(_, is_local)| !is_local) {
        return Err(Error::validation(CONSISTENT));
    }
    let (hash, sort) = key_of(&table, index.map(|(index, _)| index));
    let access = match &select.condition {
        Some(clause) => clause.access(hash, sort)?,
        None => Access::Scan,
    };
    let filter = match (&select.condition, &access) {
        (Some(clause), Access::Keys(_)) => clause.filter(hash, sort),
        (Some(clause), Access::Scan) => Some(clause.condition().clone()),
        (None, _) => None,
    };
    let forward = order(&select, hash, sort, &access)?;
    let fetches = match index {
        Some((index, is_local)) => fetches(&table, index, is_local, &select.columns)?,
        None => false,
    };
    let parts = match access {
        Access::Keys(parts) => Some(parts),
        Access::Scan => None,
    };
    let reading = Reading {
        index: index.map(|(index, _)| index.number),
        columns: select.columns,
        place: beside.place,
        consistent: beside.consistent,
        limit_left: beside.limit,
        bytes: 0,
        units: HalfUnits(0),
        fetched: HalfUnits(0),
        capacity: beside.capacity,
        digest: beside.digest,
        call,
        parts,
        filter,
        forward,
        fetches,
        table,
    };
    let mut out = Writer::with_capacity(REPLY_BYTES);
    out.begin_object();
    out.key("Items");
    out.begin_array();
    Ok(reading.go_on(cx, out))
}

fn key_of<'t>(table: &'t Table, index: Option<&'t Index>) -> (&'t [KeyAttribute], &'t [KeyAttribute]) {
    match index {
        Some(index) => (&index.hash, &index.sort),
        None => (std::slice::from_ref(&table.key.hash), table.key.sort.as_slice()),
    }
}

/// Whether the items come in ascending order. The words are not verified on AWS.
fn order(
    select: &Select,
    hash: &[KeyAttribute],
    sort: &[KeyAttribute],
    access: &Access,
) -> Result<bool, Error> {
    let mut forward = true;
    for (name, ascends) in &select.order {
        if select.condition.is_none() {
            return Err(Error::validation(
                "Must have WHERE clause in the statement when using ORDER BY clause.",
            ));
        }
        if !matches!(access, Access::Keys(_)) {
            return Err(Error::validation(
                "Must have at least one non-optional hash key condition in WHERE clause when using ORDER BY clause.",
            ));
        }
        if sort.iter().any(|key| key.name == *name) {
            forward = *ascends;
        } else if !hash.iter().any(|key| key.name == *name) {
            return Err(Error::validation(format!(
                "Variable reference {name} in ORDER BY clause must be part of the primary key"
            )));
        }
    }
    Ok(forward)
}

/// Whether an index has to fetch what it does not project; a global one cannot.
fn fetches(table: &Table, index: &Index, is_local: bool, columns: &Columns) -> Result<bool, Error> {
    let Columns::Paths(paths) = columns else { return Ok(false) };
    let tops = paths.iter().filter_map(|path| match path.first() {
        Some(Step::Name(name)) => Some(name.clone()),
        Some(Step::Index(_)) | None => None,
    });
    let names: Vec<Box<str>> = tops.collect();
    if is_local {
        return Ok(!names.iter().all(|name| shows(table, index, name)));
    }
    check_projects(table, index, &names)?;
    Ok(false)
}

impl Reading {
    /// Reads the next part of what is asked for into `out`.
    fn go_on(mut self, cx: &mut Context<'_>, out: Writer) -> Plan {
        let range = match &self.parts {
            None if self.place.part == 0 => Range::Scan { segment: None },
            None => return self.finish(out, None),
            Some(parts) => match parts.get(self.place.part as usize) {
                Some(test) => Range::Query(test.clone()),
                None => return self.finish(out, None),
            },
        };
        let show = match (&self.columns, self.index) {
            (Columns::All, None) => Show::All,
            (Columns::All, Some(_)) => Show::IndexProjected,
            (columns @ Columns::Paths(_), _) => Show::Columns(columns.clone()),
        };
        let walk = Walk {
            table: Arc::clone(&self.table),
            index: self.index,
            range,
            forward: self.forward,
            start: self.place.start.take(),
            limit: self.limit_left,
            filter: self.filter.clone(),
            show,
            fetches: self.fetches,
        };
        read_page(cx, walk, out, move |_, outcome| match outcome {
            Err(error) => settle(&self.call, Err(error.into())),
            Ok(page) => {
                self.bytes += page.bytes;
                self.units.0 += HalfUnits::read(read_units(page.bytes), self.consistent).0;
                self.fetched.0 += HalfUnits::read(page.fetched_units, self.consistent).0;
                self.limit_left = self.limit_left.map(|left| left.saturating_sub(page.scanned));
                if page.last.is_some() {
                    let part = self.place.part;
                    return self.finish(page.items, Some(Place { part, start: page.last }));
                }
                self.place.part += 1;
                let is_last = self.parts.as_ref().is_none_or(|parts| self.place.part as usize >= parts.len());
                if !is_last && (self.limit_left == Some(0) || self.bytes >= PAGE_BYTES_MAX) {
                    let place = Place { part: self.place.part, start: None };
                    return self.finish(page.items, Some(place));
                }
                if is_last {
                    return self.finish(page.items, None);
                }
                // Several keys are several pages: others run between them.
                Plan::Pause(Box::new(move |cx, ()| self.go_on(cx, page.items)))
            }
        })
    }

    fn finish(self, mut out: Writer, next: Option<Place>) -> Plan {
        out.end_array();
        if let Some(place) = next {
            if let Some(last) = &place.start {
                out.key("LastEvaluatedKey");
                last.as_ref().write_json(&mut out);
            }
            out.key("NextToken");
            out.string(&place.encode(&self.digest));
        }
        if self.capacity != ReturnCapacity::None {
            let mut consumed = Consumed::new(self.table, Purpose::Unsaid);
            match self.index {
                Some(index) => consumed.add_index(index, self.units),
                None => consumed.units = self.units,
            }
            consumed.units.0 += self.fetched.0;
            write_consumed(self.capacity, &consumed, &mut out);
        }
        out.end_object();
        self.call.reply(out)
    }
}
