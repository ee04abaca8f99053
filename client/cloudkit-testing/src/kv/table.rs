//! Tables and what changes them.
//! Invariant: an item lies with its key in it, and comes out so.

use super::condition::Checked;
use super::value::{Item, item_bytes, normal};
use crate::limits::{
    ITEM_BYTES_MAX, ITEM_COUNT_MAX, PAGE_ITEM_BYTES_MAX, PARTITION_KEY_BYTES_MAX, SORT_KEY_BYTES_MAX,
    TABLE_COUNT_MAX, TRANSACT_COUNT_MAX,
};
use crate::refusal::{CONDITION_FAILED, Outcome, Refusal};
use cloudkit_core::api::{Condition, CreateTableOptions, KvQueryOptions, TransactItem};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// All tables.
#[derive(Default)]
pub(crate) struct Tables {
    by_name: BTreeMap<String, Table>,
}

pub(super) struct Table {
    key_name: String,
    pub(super) sort_key_name: Option<String>,
    /// By partition and sort key; the latter is empty in a table without one.
    items: BTreeMap<(String, String), Item>,
}

/// A change that was checked and only has to be done.
enum Change {
    Put((String, String), Item),
    Delete((String, String)),
    Nothing,
}

impl Tables {
    pub(super) fn create(&mut self, name: &str, options: &CreateTableOptions) -> Outcome<()> {
        check_table_name(name)?;
        let sort = options.sort_key_name.as_deref();
        if options.key_name.is_empty() || sort.is_some_and(|sort| sort.is_empty() || sort == options.key_name)
        {
            return Err(invalid("the names of a table's keys are not empty and differ"));
        }
        if self.by_name.contains_key(name) {
            return Err(Refusal::exists("ResourceInUseException", "Table", name));
        }
        if self.by_name.len() >= TABLE_COUNT_MAX {
            return Err(Refusal::full("tables"));
        }
        let table = Table {
            key_name: options.key_name.clone(),
            sort_key_name: options.sort_key_name.clone(),
            items: BTreeMap::new(),
        };
        self.by_name.insert(name.to_owned(), table);
        Ok(())
    }

    pub(super) fn delete(&mut self, name: &str) -> Outcome<()> {
        self.find(name)?;
        self.by_name.remove(name);
        Ok(())
    }

    pub(super) fn find(&self, name: &str) -> Outcome<&Table> {
        check_table_name(name)?;
        self.by_name.get(name).ok_or_else(|| missing(name))
    }

    pub(super) fn find_mut(&mut self, name: &str) -> Outcome<&mut Table> {
        check_table_name(name)?;
        self.by_name.get_mut(name).ok_or_else(|| missing(name))
    }

    /// Does all of it or nothing.
    pub(super) fn transact(&mut self, parts: &[TransactItem]) -> Outcome<()> {
        if parts.is_empty() || parts.len() > TRANSACT_COUNT_MAX {
            return Err(invalid("a transaction has 1 to 100 parts"));
        }
        for part in parts {
            match part {
                TransactItem::Put { item, condition, .. } => check_form(Some(item), condition.as_ref())?,
                TransactItem::Delete { condition, .. } => check_form(None, condition.as_ref())?,
                TransactItem::Check { condition, .. } => check_form(None, Some(condition))?,
                _ => return Err(invalid("a part of a kind that is not known")),
            }
        }
        let mut named = BTreeSet::new();
        let mut changes = Vec::with_capacity(parts.len());
        let mut failed = None;
        for part in parts {
            let table = self.find(part.table())?;
            let (place, change, condition) = match part {
                TransactItem::Put { key, item, condition, .. } => {
                    let (place, item) = table.incoming(key, item)?;
                    (place.clone(), Change::Put(place, item), condition.as_ref())
                }
                TransactItem::Delete { key, condition, .. } => {
                    let place = table.place(key)?;
                    (place.clone(), Change::Delete(place), condition.as_ref())
                }
                TransactItem::Check { key, condition, .. } => {
                    (table.place(key)?, Change::Nothing, Some(condition))
                }
                _ => return Err(invalid("a part of a kind that is not known")),
            };
            if let Err(refusal) = table.check(&place, condition) {
                if !refusal.is_failed_condition() {
                    return Err(refusal);
                }
                failed.get_or_insert(refusal);
            }
            if !named.insert((part.table(), place)) {
                return Err(invalid("no two parts of a transaction may be about one item"));
            }
            changes.push((part.table(), change));
        }
        if let Some(refusal) = failed {
            return Err(refusal);
        }
        for (table, change) in changes {
            self.find_mut(table)?.apply(change);
        }
        Ok(())
    }
}

impl Table {
    /// The place of an item that a key alone names.
    pub(super) fn place(&self, key: &str) -> Outcome<(String, String)> {
        check_key(key, PARTITION_KEY_BYTES_MAX)?;
        if self.sort_key_name.is_some() {
            return Err(invalid("the items of this table are named by two keys"));
        }
        Ok((key.to_owned(), String::new()))
    }

    /// Place and form of an item that is to be written.
    fn incoming(&self, key: &str, item: &Value) -> Outcome<((String, String), Item)> {
        check_key(key, PARTITION_KEY_BYTES_MAX)?;
        let Value::Object(mut item) = normal(item, 0)? else {
            return Err(invalid("an item is a value that serializes to a JSON object"));
        };
        self.set_key(&mut item, key)?;
        let mut place = (key.to_owned(), String::new());
        if let Some(name) = &self.sort_key_name {
            let Some(Value::String(sort)) = item.get(name) else {
                return Err(invalid(format!("the sort key {name} must be a text in the item")));
            };
            check_key(sort, SORT_KEY_BYTES_MAX)?;
            place.1 = sort.clone();
        }
        if item_bytes(&item) > ITEM_BYTES_MAX {
            return Err(invalid("an item has at most 400 KiB"));
        }
        if self.items.len() >= ITEM_COUNT_MAX {
            return Err(Refusal::full("items"));
        }
        Ok((place, item))
    }

    /// Puts the key into the item, which may have it already.
    fn set_key(&self, item: &mut Item, key: &str) -> Outcome<()> {
        let name = &self.key_name;
        match item.get(name) {
            Some(Value::String(own)) if own == key => Ok(()),
            None => {
                item.insert(name.clone(), Value::from(key));
                Ok(())
            }
            Some(_) => {
                let text = format!("the item's attribute {name} is the table's key and has another value");
                let hint =
                    "create_table(.., CreateTableOptions::new().key_name(\"an attribute of its own\"))";
                Err(invalid(text).hint(hint))
            }
        }
    }

    fn check(&self, place: &(String, String), condition: Option<&Condition>) -> Outcome<()> {
        let Some(condition) = condition else { return Ok(()) };
        let none = Item::new();
        let item = self.items.get(place).unwrap_or(&none);
        if Checked::new(condition)?.holds(item) {
            return Ok(());
        }
        Err(Refusal::provider(CONDITION_FAILED, 400, "the condition does not hold"))
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Put(place, item) => {
                self.items.insert(place, item);
            }
            Change::Delete(place) => {
                self.items.remove(&place);
            }
            Change::Nothing => {}
        }
    }

    pub(super) fn get(&self, key: &str) -> Outcome<Option<Item>> {
        let place = self.place(key)?;
        Ok(self.items.get(&place).cloned())
    }

    /// Writes an item; gives the one that was there.
    pub(super) fn put(
        &mut self,
        key: &str,
        item: &Value,
        condition: Option<&Condition>,
    ) -> Outcome<Option<Item>> {
        let (place, item) = self.incoming(key, item)?;
        self.check(&place, condition)?;
        Ok(self.items.insert(place, item))
    }

    /// Checks that an item may be written, without writing it.
    pub(super) fn check_put(&self, key: &str, item: &Value) -> Outcome<()> {
        self.incoming(key, item).map(|_| ())
    }

    pub(super) fn delete(&mut self, key: &str, condition: Option<&Condition>) -> Outcome<()> {
        let place = self.place(key)?;
        self.check(&place, condition)?;
        self.items.remove(&place);
        Ok(())
    }

    pub(super) fn update(&mut self, key: &str, updates: HashMap<String, Value>) -> Outcome<()> {
        let place = self.place(key)?;
        if updates.contains_key(&self.key_name) {
            return Err(invalid(format!("{} is the key and cannot be changed", self.key_name)));
        }
        let mut item = self.items.get(&place).cloned().unwrap_or_default();
        item.extend(updates);
        let (place, item) = self.incoming(key, &Value::Object(item))?;
        self.items.insert(place, item);
        Ok(())
    }

    pub(super) fn increment(&mut self, key: &str, attribute: &str, by: i64) -> Outcome<i64> {
        let place = self.place(key)?;
        let before = match self.items.get(&place).and_then(|item| item.get(attribute)) {
            None => 0,
            Some(value) => {
                let whole = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
                whole.ok_or_else(|| invalid(format!("{attribute} holds no whole number of 64 bits")))?
            }
        };
        let sum = i64::try_from(before + i128::from(by))
            .map_err(|_| invalid("the sum has more than 64 bits with a sign"))?;
        self.update(key, HashMap::from([(attribute.to_owned(), Value::from(sum))]))?;
        Ok(sum)
    }

    /// One page of a partition, and the sort key of its last item if there may be more.
    pub(super) fn query(
        &self,
        partition: &str,
        options: &KvQueryOptions,
    ) -> Outcome<(Vec<Item>, Option<String>)> {
        check_key(partition, PARTITION_KEY_BYTES_MAX)?;
        if options.limit == Some(0) {
            return Err(invalid("the limit is at least 1"));
        }
        let filter = options.filter.as_ref().map(Checked::new).transpose()?;
        let is_named = |name: &str| options.filter.as_ref().is_some_and(|filter| filter.names(name));
        if is_named(&self.key_name) || self.sort_key_name.as_deref().is_some_and(is_named) {
            return Err(invalid("the filter of a query names an attribute of the key"));
        }
        let after = match options.continuation_token.as_deref() {
            None => None,
            Some(token) => {
                let sort = token.strip_prefix(TOKEN_FRONT);
                Some(sort.ok_or_else(|| invalid("the continuation token is none of this query"))?)
            }
        };
        let of_partition = self
            .items
            .range((partition.to_owned(), String::new())..)
            .take_while(|((found, _), _)| found == partition);
        let mut places: Vec<_> = of_partition.collect();
        if !options.scan_forward {
            places.reverse();
        }
        let (mut page, mut bytes) = (Vec::new(), 0);
        let limit = options.limit.map_or(usize::MAX, |limit| limit as usize);
        for (read, ((_, sort), item)) in places
            .into_iter()
            .filter(|((_, sort), _)| match after {
                None => true,
                Some(after) if options.scan_forward => sort.as_str() > after,
                Some(after) => sort.as_str() < after,
            })
            .enumerate()
        {
            bytes += item_bytes(item);
            if filter.as_ref().is_none_or(|filter| filter.holds(item)) {
                page.push(item.clone());
            }
            // As in DynamoDB, a page that is full has a token even if nothing follows.
            if read + 1 == limit || bytes > PAGE_ITEM_BYTES_MAX {
                return Ok((page, Some(format!("{TOKEN_FRONT}{sort}"))));
            }
        }
        Ok((page, None))
    }

    /// All items for which the filter holds.
    pub(super) fn scan(&self, filter: Option<&Condition>) -> Outcome<Vec<Item>> {
        let filter = filter.map(Checked::new).transpose()?;
        let held = self.items.values().filter(|item| filter.as_ref().is_none_or(|filter| filter.holds(item)));
        Ok(held.cloned().collect())
    }
}

/// Checks what needs no table to be known, as the service does before it looks for one: the form and size of an item, and
/// the condition.
pub(super) fn check_form(item: Option<&Value>, condition: Option<&Condition>) -> Outcome<()> {
    if let Some(item) = item {
        let Value::Object(item) = normal(item, 0)? else {
            return Err(invalid("an item is a value that serializes to a JSON object"));
        };
        if item_bytes(&item) > ITEM_BYTES_MAX {
            return Err(invalid("an item has at most 400 KiB"));
        }
    }
    condition.map(Checked::new).transpose().map(|_| ())
}

fn check_table_name(name: &str) -> Outcome<()> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if (3..=255).contains(&name.len()) && name.bytes().all(word) {
        return Ok(());
    }
    Err(invalid("a table's name has 3 to 255 letters, digits, underscores, dots and hyphens"))
}

pub(super) fn check_key(key: &str, bytes_max: usize) -> Outcome<()> {
    if (1..=bytes_max).contains(&key.len()) {
        return Ok(());
    }
    Err(invalid(format!("a key has 1 to {bytes_max} bytes")))
}

fn missing(name: &str) -> Refusal {
    Refusal::missing("ResourceNotFoundException", "Table", name)
        .hint(format!("create_table(\"{name}\", CreateTableOptions::new())"))
}

pub(super) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::invalid("ValidationException", message)
}

/// Before the sort key in a token, so that one of an empty key is a token too.
const TOKEN_FRONT: &str = "after:";
