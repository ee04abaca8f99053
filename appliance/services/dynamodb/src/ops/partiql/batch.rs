//! BatchExecuteStatement: several statements, each by itself.
//! Invariant: what is wrong with one statement is told in its place and leaves the others alone.

use std::collections::HashSet;
use std::sync::Arc;

use plan::{Context, Plan};

use super::statement::returned;
use super::{Parsed, get_of, not_held, read, returns, write_of};
use crate::call::{Call, Shared, settle};
use crate::engine::batch::{Wrote, batch_get, batch_write};
use crate::engine::capacity::read_units;
use crate::expression::Condition;
use crate::json::Writer;
use crate::model::keys::Key;
use crate::model::table::Table;
use crate::ops::item::rekey;
use crate::partiql::{Columns, Statement};
use crate::value::{Item, ItemRef};
use crate::wire::capacity::{Consumed, HalfUnits, Purpose, write_consumed_list};
use crate::wire::error::{CONFLICT, Error, ErrorName};
use crate::wire::request::partiql::{Several, Shape};
use crate::wire::words::{ReturnCapacity, ReturnValues};

const MIXED: &str = "Read and write requests together in the same batch is not supported.";
const DUPLICATES: &str = "Provided list of item keys contains duplicates";
const NO_KEY: &str =
    "Select statements within BatchExecuteStatement must specify the primary key in the where clause.";

/// The request after the checks that need no table: each statement, or what is wrong with it.
pub struct Checked {
    statements: Vec<Result<Parsed, Error>>,
    capacity: ReturnCapacity,
}

/// One answer.
struct Answer {
    table: Option<Box<str>>,
    outcome: Result<Option<Item>, Error>,
}

/// What the answers are made of, while they are made.
struct Answers {
    list: Vec<Answer>,
    consumed: Vec<Consumed>,
    capacity: ReturnCapacity,
}

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let Checked { statements, capacity } = check(&call, body)?;
    let mut answers = Answers { list: Vec::new(), consumed: Vec::new(), capacity };
    let mut writes = Vec::new();
    let mut gets = Vec::new();
    for (place, parsed) in statements.into_iter().enumerate() {
        let begun = parsed.and_then(|parsed| Begun::new(&call, cx, parsed));
        let (table, outcome) = match begun {
            Ok((begun, name)) => {
                match begun {
                    Begun::Get(get) => gets.push((place, get)),
                    Begun::Write(write) => writes.push((place, write)),
                }
                (Some(name), Ok(None))
            }
            Err(error) => (None, Err(error)),
        };
        answers.list.push(Answer { table, outcome });
    }
    let keys = gets.iter().map(|(_, get)| &get.key).chain(writes.iter().map(|(_, write)| &write.write.key));
    let mut seen = HashSet::new();
    if !keys.into_iter().all(|key| seen.insert(key.store_key().to_vec())) {
        return Err(Error::validation(DUPLICATES));
    }
    if writes.is_empty() {
        Ok(begin_gets(call, cx, answers, gets))
    } else {
        Ok(begin_writes(call, cx, answers, writes))
    }
}

/// The checks that need no table.
pub fn check(call: &Call, body: &[u8]) -> Result<Checked, Error> {
    let request = Several::decode(&call.core.scratch, body, Shape::Batch)?;
    let (capacity, on_failure) = request.constraints(Shape::Batch)?;
    let sent = request.statements.map(|statements| statements.list).unwrap_or_default();
    let statements: Vec<Result<Parsed, Error>> =
        sent.iter().zip(on_failure).map(|(sent, on_failure)| read(sent, on_failure)).collect();
    let mut kinds = statements.iter().flatten().map(|parsed| parsed.statement.is_read());
    if let Some(first) = kinds.next()
        && kinds.any(|kind| kind != first)
    {
        return Err(Error::validation(MIXED));
    }
    Ok(Checked { statements, capacity })
}

/// A statement whose table was found.
enum Begun {
    Get(Get),
    Write(Box<Write>),
}

struct Get {
    table: Arc<Table>,
    key: Key,
    condition: Option<Condition>,
    columns: Columns,
    consistent: bool,
}

struct Write {
    write: crate::engine::item_write::ItemWrite,
    is_insert: bool,
    wanted: ReturnValues,
}

impl Begun {
    fn new(call: &Call, cx: &Context<'_>, parsed: Parsed) -> Result<(Begun, Box<str>), Error> {
        let table = call.table(cx, parsed.statement.table())?;
        let name = table.name.clone();
        let begun = match &parsed.statement {
            Statement::Select(select) => {
                let (key, condition) = get_of(&table, &parsed.statement, NO_KEY)?;
                let columns = select.columns.clone();
                Begun::Get(Get { table, key, condition, columns, consistent: parsed.consistent })
            }
            statement => {
                let is_insert = matches!(statement, Statement::Insert(_));
                let wanted = returns(statement);
                Begun::Write(Box::new(Write { write: write_of(call, table, &parsed)?, is_insert, wanted }))
            }
        };
        Ok((begun, name))
    }
}

fn begin_gets(call: Shared, cx: &mut Context<'_>, answers: Answers, gets: Vec<(usize, Get)>) -> Plan {
    let keys = gets.iter().map(|(_, get)| get.key.clone()).collect();
    let state = (answers, gets);
    let each = |(answers, gets): &mut (Answers, Vec<(usize, Get)>),
                number: usize,
                item: Option<ItemRef<'_>>| {
        let (place, get) = &gets[number];
        let units = read_units(item.map_or(0, |item| u64::from(item.aws_bytes())));
        answers.consumed(&get.table).units.0 += HalfUnits::read(units, get.consistent).0;
        let holds =
            |item: &ItemRef<'_>| get.condition.as_ref().is_none_or(|condition| condition.holds(Some(*item)));
        answers.list[*place].outcome = Ok(item.filter(holds).map(|item| get.columns.of(item)));
    };
    batch_get(cx, keys, state, each, move |_, (mut answers, gets), outcome| {
        let outcome = outcome.map_err(Error::from).map(|read_count| {
            // What is beyond 16 MB of a reply is to be asked for again.
            for (place, _) in &gets[read_count..] {
                answers.list[*place].outcome =
                    Err(Error::new(ErrorName::ProvisionedThroughputExceeded, LATER));
            }
            call.reply(answers.write())
        });
        settle(&call, outcome)
    })
}

const LATER: &str = "The request was not carried out. Try again later.";

fn begin_writes(
    call: Shared,
    cx: &mut Context<'_>,
    mut answers: Answers,
    writes: Vec<(usize, Box<Write>)>,
) -> Plan {
    let mut asked = Vec::with_capacity(writes.len());
    let mut items = Vec::with_capacity(writes.len());
    for (place, write) in writes {
        asked.push((place, write.is_insert, write.wanted, Arc::clone(&write.write.table)));
        items.push(write.write);
    }
    batch_write(cx, items, rekey(&call, Error::from), move |_, outcome| {
        let outcome = outcome.map(|wrote| {
            for ((place, is_insert, wanted, table), wrote) in asked.iter().zip(wrote) {
                let outcome = match wrote {
                    Wrote::Done(done) => {
                        answers.consumed(table).add_write(&done.cost, 1);
                        Ok(returned(*wanted, &done))
                    }
                    Wrote::ConditionFailed(item) => Err(not_held(*is_insert, item)),
                    Wrote::Refused(refusal) => Err(refusal.into()),
                    Wrote::Later => Err(Error::new(ErrorName::TransactionConflict, CONFLICT)),
                };
                answers.list[*place].outcome = outcome;
            }
            call.reply(answers.write())
        });
        settle(&call, outcome)
    })
}

impl Answers {
    fn consumed(&mut self, table: &Arc<Table>) -> &mut Consumed {
        let place = self.consumed.iter().position(|consumed| consumed.table.number == table.number);
        let place = place.unwrap_or_else(|| {
            self.consumed.push(Consumed::new(Arc::clone(table), Purpose::Unsaid));
            self.consumed.len() - 1
        });
        &mut self.consumed[place]
    }

    fn write(&self) -> Writer {
        let mut out = Writer::new();
        out.begin_object();
        out.key("Responses");
        out.begin_array();
        for answer in &self.list {
            answer.write(&mut out);
        }
        out.end_array();
        write_consumed_list(self.capacity, &self.consumed, &mut out);
        out.end_object();
        out
    }
}

impl Answer {
    fn write(&self, out: &mut Writer) {
        out.begin_object();
        let mut names_table = true;
        match &self.outcome {
            Ok(Some(item)) => {
                out.key("Item");
                item.as_ref().write_json(out);
            }
            Ok(None) => {}
            Err(error) => {
                names_table =
                    matches!(error.name, ErrorName::ConditionalCheckFailed | ErrorName::DuplicateItem);
                out.key("Error");
                out.begin_object();
                out.key("Code");
                out.string(code(error.name));
                out.key("Message");
                out.string(&error.message);
                if let Some(item) = &error.item {
                    out.key("Item");
                    item.as_ref().write_json(out);
                }
                out.end_object();
            }
        }
        if let Some(table) = self.table.as_deref().filter(|_| names_table) {
            out.key("TableName");
            out.string(table);
        }
        out.end_object();
    }
}

/// `BatchStatementErrorCodeEnum`
fn code(name: ErrorName) -> &'static str {
    match name {
        ErrorName::Validation => "ValidationError",
        ErrorName::ConditionalCheckFailed => "ConditionalCheckFailed",
        ErrorName::ItemCollectionSizeLimitExceeded => "ItemCollectionSizeLimitExceeded",
        ErrorName::ProvisionedThroughputExceeded => "ProvisionedThroughputExceeded",
        ErrorName::TransactionConflict => "TransactionConflict",
        ErrorName::Throttling => "ThrottlingError",
        ErrorName::ResourceNotFound => "ResourceNotFound",
        ErrorName::AccessDenied => "AccessDenied",
        ErrorName::DuplicateItem => "DuplicateItem",
        _ => "InternalServerError",
    }
}
