//! A table as it should be: a map of items, sorted anew for every query.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::path::{Path, name, project};
use super::value::{Item, Value, item_size, item_to_json};

/// An attribute of a key and its type on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyAttribute {
    pub name: &'static str,
    pub kind: &'static str,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Projected {
    All,
    KeysOnly,
    Include(Vec<&'static str>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Index {
    pub name: String,
    pub is_local: bool,
    pub hash: Vec<KeyAttribute>,
    pub sort: Vec<KeyAttribute>,
    pub projected: Projected,
}

/// One change of an item, as a stream shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    pub old: Option<Item>,
    pub new: Option<Item>,
    pub by_service: bool,
}

pub struct Table {
    pub name: String,
    pub hash: KeyAttribute,
    pub sort: Option<KeyAttribute>,
    pub indexes: Vec<Index>,
    /// What the stream shows, if there is one.
    pub stream_view: Option<&'static str>,
    pub time_to_live: Option<String>,
    /// By the JSON of the key.
    pub items: BTreeMap<String, Item>,
    /// Of each key, in order, since the stream began.
    pub changes: BTreeMap<String, Vec<Change>>,
}

/// Bytes of the largest item.
pub const ITEM_BYTES_MAX: usize = 409_600;

/// The test of a sort key in a query.
#[derive(Clone, Debug)]
pub enum SortTest {
    Any,
    Compare(super::condition::Comparator, Value),
    Between(Value, Value),
    BeginsWith(Value),
}

impl SortTest {
    pub fn holds(&self, value: &Value) -> bool {
        use super::condition::Comparator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        let order = |other: &Value| value.compare(other);
        match self {
            SortTest::Any => true,
            SortTest::Compare(comparator, other) => match comparator {
                Equal => order(other) == Some(Ordering::Equal),
                Less => order(other) == Some(Ordering::Less),
                LessOrEqual => order(other).is_some_and(Ordering::is_le),
                Greater => order(other) == Some(Ordering::Greater),
                GreaterOrEqual => order(other).is_some_and(Ordering::is_ge),
                NotEqual => panic!("no test of a sort key"),
            },
            SortTest::Between(low, high) => {
                order(low).is_some_and(Ordering::is_ge) && order(high).is_some_and(Ordering::is_le)
            }
            SortTest::BeginsWith(prefix) => match (value, prefix) {
                (Value::S(text), Value::S(prefix)) => text.starts_with(prefix.as_str()),
                (Value::B(bytes), Value::B(prefix)) => bytes.starts_with(prefix),
                _ => panic!("no prefix"),
            },
        }
    }
}

impl Table {
    pub fn key_attributes(&self) -> impl Iterator<Item = &KeyAttribute> {
        std::iter::once(&self.hash).chain(&self.sort)
    }

    pub fn index(&self, index: &str) -> &Index {
        self.indexes.iter().find(|known| known.name == index).expect("a known index")
    }

    /// The key attributes of an item.
    pub fn key(&self, item: &Item) -> Item {
        self.key_attributes().map(|part| (part.name.to_owned(), item[part.name].clone())).collect()
    }

    pub fn key_text(&self, item: &Item) -> String {
        item_to_json(&self.key(item)).to_string()
    }

    pub fn get(&self, key: &Item) -> Option<&Item> {
        self.items.get(&self.key_text(key))
    }

    /// Puts an item or takes it away; gives the old one.
    pub fn set(&mut self, key: &Item, new: Option<Item>, by_service: bool) -> Option<Item> {
        let text = self.key_text(key);
        let old = match new.clone() {
            Some(item) => self.items.insert(text.clone(), item),
            None => self.items.remove(&text),
        };
        if self.stream_view.is_some() && old != new {
            let change = Change { old: old.clone(), new, by_service };
            self.changes.entry(text).or_default().push(change);
        }
        old
    }

    /// Whether the table takes an item: the type of error if not.
    pub fn accepts(&self, item: &Item) -> Result<(), &'static str> {
        let refused = Err("ValidationException");
        for part in self.key_attributes().chain(self.index_attributes()) {
            let is_table_key = self.key_attributes().any(|own| own == part);
            match item.get(part.name) {
                None if is_table_key => return refused,
                None => {}
                Some(value) if value.kind() != part.kind => return refused,
                Some(Value::S(text)) if text.is_empty() => return refused,
                Some(Value::B(bytes)) if bytes.is_empty() => return refused,
                Some(_) => {}
            }
        }
        if item_size(item) > ITEM_BYTES_MAX { refused } else { Ok(()) }
    }

    pub fn index_attributes(&self) -> impl Iterator<Item = &KeyAttribute> {
        self.indexes.iter().flat_map(|index| index.hash.iter().chain(&index.sort))
    }

    pub fn is_in(index: &Index, item: &Item) -> bool {
        index
            .hash
            .iter()
            .chain(&index.sort)
            .all(|part| item.get(part.name).is_some_and(|v| v.kind() == part.kind))
    }

    /// The items of the table or an index.
    pub fn rows(&self, index: Option<&Index>) -> Vec<&Item> {
        self.items.values().filter(|item| index.is_none_or(|index| Table::is_in(index, item))).collect()
    }

    pub fn hash_parts<'t>(&'t self, index: Option<&'t Index>) -> Vec<&'t KeyAttribute> {
        index.map_or_else(|| vec![&self.hash], |index| index.hash.iter().collect())
    }

    pub fn sort_parts<'t>(&'t self, index: Option<&'t Index>) -> Vec<&'t KeyAttribute> {
        index.map_or_else(|| self.sort.iter().collect(), |index| index.sort.iter().collect())
    }

    /// Order by the sort key of the table or an index; local indexes order equal ones by the table's.
    pub fn order(&self, index: Option<&Index>, one: &Item, other: &Item) -> Ordering {
        let by = |part: &KeyAttribute| one[part.name].compare(&other[part.name]).expect("of one type");
        let parts = self.sort_parts(index);
        let order = parts.iter().map(|part| by(part)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal);
        match (index, &self.sort) {
            (Some(Index { is_local: true, .. }), Some(sort)) => order.then_with(|| by(sort)),
            _ => order,
        }
    }

    /// What the table or an index shows of an item.
    pub fn shown(&self, index: Option<&Index>, item: &Item) -> Item {
        let Some(index) = index else { return item.clone() };
        let mut paths: Vec<Path> = match &index.projected {
            Projected::All => return item.clone(),
            Projected::KeysOnly => Vec::new(),
            Projected::Include(names) => names.iter().map(|text| name(text)).collect(),
        };
        for part in self.key_attributes().chain(&index.hash).chain(&index.sort) {
            if !paths.contains(&name(part.name)) {
                paths.push(name(part.name));
            }
        }
        project(item, &paths)
    }

    /// The key by which a page that ends with this item is gone on from.
    pub fn page_key(&self, index: Option<&Index>, item: &Item) -> Item {
        let mut key = self.key(item);
        if let Some(index) = index {
            for part in index.hash.iter().chain(&index.sort) {
                key.insert(part.name.to_owned(), item[part.name].clone());
            }
        }
        key
    }

    pub fn creation(&self) -> Json {
        let mut defined: Vec<&KeyAttribute> = Vec::new();
        for part in self.key_attributes().chain(self.index_attributes()) {
            if !defined.contains(&part) {
                defined.push(part);
            }
        }
        let mut request = json!({
            "TableName": self.name,
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": key_schema(&[&self.hash], &self.sort.iter().collect::<Vec<_>>()),
            "AttributeDefinitions": definitions(&defined),
        });
        for (member, is_local) in [("LocalSecondaryIndexes", true), ("GlobalSecondaryIndexes", false)] {
            let wanted = self.indexes.iter().filter(|index| index.is_local == is_local);
            let listed: Vec<Json> = wanted.map(Index::creation).collect();
            if !listed.is_empty() {
                request[member] = Json::Array(listed);
            }
        }
        if let Some(view) = self.stream_view {
            request["StreamSpecification"] = json!({"StreamEnabled": true, "StreamViewType": view});
        }
        request
    }
}

impl Index {
    pub fn creation(&self) -> Json {
        let projection = match &self.projected {
            Projected::All => json!({"ProjectionType": "ALL"}),
            Projected::KeysOnly => json!({"ProjectionType": "KEYS_ONLY"}),
            Projected::Include(names) => json!({"ProjectionType": "INCLUDE", "NonKeyAttributes": names}),
        };
        let hash: Vec<&KeyAttribute> = self.hash.iter().collect();
        let sort: Vec<&KeyAttribute> = self.sort.iter().collect();
        json!({"IndexName": self.name, "KeySchema": key_schema(&hash, &sort), "Projection": projection})
    }
}

pub fn definitions(parts: &[&KeyAttribute]) -> Json {
    let list = parts.iter().map(|part| json!({"AttributeName": part.name, "AttributeType": part.kind}));
    Json::Array(list.collect())
}

fn key_schema(hash: &[&KeyAttribute], sort: &[&KeyAttribute]) -> Json {
    let element = |role: &str, part: &KeyAttribute| json!({"AttributeName": part.name, "KeyType": role});
    let hash = hash.iter().map(|part| element("HASH", part));
    Json::Array(hash.chain(sort.iter().map(|part| element("RANGE", part))).collect())
}
