//! PartiQL: statements that say what the other operations of the lane do, with the same outcome.

use serde_json::{Value as Json, json};

use super::reads::sorted;
use super::writes::random_condition;
use super::{Lane, values};
use crate::client::{Answer, Client};
use crate::reference::condition::{Condition, Operand};
use crate::reference::path::{Path, Step};
use crate::reference::random::Random;
use crate::reference::table::Table;
use crate::reference::value::{Item, Value, item_to_json};

const EXECUTE: &str = "ExecuteStatement";
/// Pages of one SELECT at most: a lane's table has fewer items than this.
const PAGE_COUNT_MAX: usize = 5_000;

/// A statement's parameters, in the order of its marks.
struct Marks<'r> {
    random: &'r mut Random,
    sent: Vec<Json>,
}

impl Marks<'_> {
    fn value(&mut self, value: &Value) -> &'static str {
        self.sent.push(values::spell(self.random, value));
        "?"
    }

    fn operand(&mut self, operand: &Operand) -> String {
        match operand {
            Operand::Path(path) => path_text(path),
            Operand::Value(value) => self.value(value).to_owned(),
            Operand::Size(path) => format!("size({})", path_text(path)),
        }
    }

    fn condition(&mut self, condition: &Condition) -> String {
        match condition {
            Condition::Compare(left, comparator, right) => {
                let left = self.operand(left);
                format!("{left} {} {}", comparator.text(), self.operand(right))
            }
            Condition::Between(operand, low, high) => {
                let operand = self.operand(operand);
                format!("{operand} BETWEEN {} AND {}", self.value(low), self.value(high))
            }
            Condition::In(operand, members) => {
                let operand = self.operand(operand);
                let marks: Vec<&str> = members.iter().map(|member| self.value(member)).collect();
                format!("{operand} IN [{}]", marks.join(", "))
            }
            Condition::Exists(path) => format!("{} IS NOT MISSING", path_text(path)),
            Condition::NotExists(path) => format!("{} IS MISSING", path_text(path)),
            Condition::Type(path, kind) => format!("attribute_type({}, '{kind}')", path_text(path)),
            Condition::BeginsWith(path, prefix) => {
                format!("begins_with({}, {})", path_text(path), self.value(prefix))
            }
            Condition::Contains(path, part) => {
                format!("contains({}, {})", path_text(path), self.value(part))
            }
            Condition::And(parts) => self.joined(parts, " AND "),
            Condition::Or(parts) => self.joined(parts, " or "),
            Condition::Not(inner) => format!("NOT ({})", self.condition(inner)),
        }
    }

    fn joined(&mut self, parts: &[Condition], word: &str) -> String {
        let texts: Vec<String> = parts.iter().map(|part| format!("({})", self.condition(part))).collect();
        texts.join(word)
    }

    /// The equalities of a key, and a condition behind them.
    fn clause(&mut self, key: &Item, condition: Option<&Condition>) -> String {
        let mut parts: Vec<String> =
            key.iter().map(|(name, value)| format!("{} = {}", quoted(name), self.value(value))).collect();
        if let Some(condition) = condition {
            parts.push(format!("({})", self.condition(condition)));
        }
        parts.join(" AND ")
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn path_text(path: &Path) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Name(name) if text.is_empty() => text = quoted(name),
            Step::Name(name) => text.push_str(&format!(".{}", quoted(name))),
            Step::Index(place) => text.push_str(&format!("[{place}]")),
        }
    }
    text
}

impl<C: Client> Lane<C> {
    pub(super) async fn statement(&mut self) {
        let place = self.pick();
        match self.random.below(10) {
            0..=2 => self.insert(place).await,
            3..=4 => self.statement_delete(place).await,
            5..=7 => self.statement_update(place).await,
            _ => self.select(place).await,
        }
    }

    async fn execute(&mut self, text: String, parameters: Vec<Json>) -> Answer {
        let mut request = json!({"Statement": text});
        if !parameters.is_empty() {
            request["Parameters"] = json!(parameters);
        }
        self.call(EXECUTE, &request).await
    }

    async fn insert(&mut self, place: usize) {
        let item = values::item(&mut self.random, &self.tables[place], &self.expiries);
        let mut marks = Marks { random: &mut self.random, sent: Vec::new() };
        let members: Vec<String> =
            item.iter().map(|(name, value)| format!("'{name}': {}", marks.value(value))).collect();
        let sent = marks.sent;
        let text =
            format!("INSERT INTO {} VALUE {{{}}}", quoted(&self.tables[place].name), members.join(", "));
        let answer = self.execute(text, sent).await;
        let table = &self.tables[place];
        if table.accepts(&item).is_err() {
            return self.failed("INSERT", &answer, "ValidationException");
        }
        let key = table.key(&item);
        if table.get(&key).is_some() {
            return self.failed("INSERT", &answer, "DuplicateItemException");
        }
        self.check(answer.status == 200, "should succeed");
        self.same(&answer.body, &json!({"Items": []}));
        self.tables[place].set(&key, Some(item), false);
        self.count("INSERT");
    }

    /// A key, and half the time a condition beside it.
    fn target(&mut self, place: usize) -> (Item, Option<Condition>) {
        let key = values::key(&mut self.random, &self.tables[place]);
        let is_guarded = self.random.chance(50);
        (key, is_guarded.then(|| random_condition(&mut self.random, &self.tables[place])))
    }

    async fn statement_delete(&mut self, place: usize) {
        let (key, condition) = self.target(place);
        let mut marks = Marks { random: &mut self.random, sent: Vec::new() };
        let clause = marks.clause(&key, condition.as_ref());
        let sent = marks.sent;
        let shows = self.random.chance(50);
        let returning = if shows { " RETURNING ALL OLD *" } else { "" };
        let text = format!("DELETE FROM {} WHERE {clause}{returning}", quoted(&self.tables[place].name));
        let answer = self.execute(text, sent).await;
        let old = self.tables[place].get(&key).cloned();
        let holds = |condition: &Condition| old.as_ref().is_some_and(|old| condition.holds(old));
        if !condition.as_ref().is_none_or(holds) {
            return self.failed("DELETE", &answer, "ConditionalCheckFailedException");
        }
        self.check(answer.status == 200, "should succeed");
        let shown: Vec<Json> = old.iter().filter(|_| shows).map(item_to_json).collect();
        self.same(&answer.body, &json!({"Items": shown}));
        self.tables[place].set(&key, None, false);
        self.count("DELETE");
    }

    async fn statement_update(&mut self, place: usize) {
        let (key, condition) = self.target(place);
        let mut changes: Vec<(&str, Option<Value>)> = Vec::new();
        for name in values::PLAIN_NAMES {
            match self.random.below(4) {
                0 => changes.push((name, Some(values::value_of(&mut self.random, name)))),
                1 => changes.push((name, None)),
                _ => {}
            }
        }
        if changes.is_empty() {
            changes.push(("a0", None));
        }
        let mut marks = Marks { random: &mut self.random, sent: Vec::new() };
        let mut clauses = Vec::new();
        for (name, value) in &changes {
            clauses.push(match value {
                Some(value) => format!("SET {} = {}", quoted(name), marks.value(value)),
                None => format!("REMOVE {}", quoted(name)),
            });
        }
        let clause = marks.clause(&key, condition.as_ref());
        let sent = marks.sent;
        let returning = self.random.one_of(&["", " RETURNING ALL OLD *", " RETURNING ALL NEW *"]);
        let table = quoted(&self.tables[place].name);
        let text = format!("UPDATE {table} {} WHERE {clause}{returning}", clauses.join(" "));
        let answer = self.execute(text, sent).await;
        let old = self.tables[place].get(&key).cloned();
        let holds = |old: &Item| condition.as_ref().is_none_or(|condition| condition.holds(old));
        let Some(old) = old.filter(holds) else {
            return self.failed("UPDATE", &answer, "ConditionalCheckFailedException");
        };
        let mut new = old.clone();
        for (name, value) in changes {
            match value {
                Some(value) => new.insert(name.to_owned(), value),
                None => new.remove(name),
            };
        }
        if self.tables[place].accepts(&new).is_err() {
            return self.failed("UPDATE", &answer, "ValidationException");
        }
        self.check(answer.status == 200, "should succeed");
        let shown = match returning {
            "" => json!([]),
            " RETURNING ALL OLD *" => json!([item_to_json(&old)]),
            _ => json!([item_to_json(&new)]),
        };
        self.same(&answer.body, &json!({"Items": shown}));
        self.tables[place].set(&key, Some(new), false);
        self.count("UPDATE");
    }

    async fn select(&mut self, place: usize) {
        let (key, mut condition) = self.target(place);
        // The whole key, the partition key alone, or none of it.
        let table: &Table = &self.tables[place];
        let hash = table.hash.name;
        let (named, what) = match self.random.below(3) {
            0 => (key, "SELECT by key"),
            1 => (key.into_iter().filter(|(name, _)| name == hash).collect(), "SELECT by partition"),
            _ => (Item::new(), "SELECT by looking"),
        };
        if named.is_empty() && condition.is_none() {
            condition = Some(random_condition(&mut self.random, &self.tables[place]));
        }
        let mut marks = Marks { random: &mut self.random, sent: Vec::new() };
        let clause = marks.clause(&named, condition.as_ref());
        let sent = marks.sent;
        let text = format!("SELECT * FROM {} WHERE {clause}", quoted(&self.tables[place].name));
        let mut request = json!({"Statement": text});
        if !sent.is_empty() {
            request["Parameters"] = json!(sent);
        }
        if self.random.chance(40) {
            request["Limit"] = json!(1 + self.random.below(7));
        }
        let mut found = Vec::new();
        for page in 0.. {
            self.check(page < PAGE_COUNT_MAX, "has no end");
            let body = self.done(EXECUTE, &request).await;
            found.extend(body["Items"].as_array().expect("Items").iter().cloned());
            match body.get("NextToken") {
                Some(token) => request["NextToken"] = token.clone(),
                None => break,
            }
        }
        let is_wanted = |item: &&&Item| {
            named.iter().all(|(name, value)| item.get(name) == Some(value))
                && condition.as_ref().is_none_or(|condition| condition.holds(item))
        };
        let rows = self.tables[place].rows(None);
        let wanted: Vec<Json> = rows.iter().filter(is_wanted).map(|item| item_to_json(item)).collect();
        self.same(&sorted(&json!(found)), &sorted(&json!(wanted)));
        self.count(what);
    }
}
