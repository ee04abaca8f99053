//! Query and Scan: first all of it, which must be what the reference has, in a legal order; then the same by pages of a
//! random size with filter and projection, which must go along that order exactly.

use serde_json::{Value as Json, json};

use super::reads::sorted;
use super::{Lane, expressions, values};
use crate::client::Client;
use crate::reference::condition::{Comparator, Condition};
use crate::reference::path::{Path, Printer, Step, name, project, root};
use crate::reference::random::Random;
use crate::reference::table::{Index, Projected, SortTest, Table};
use crate::reference::value::{Item, Value, item_from_json, item_to_json};

/// A walk over a table or an index, as requests name it, without what pages it.
#[derive(Clone)]
struct Walk {
    place: usize,
    index: Option<Index>,
    operation: &'static str,
    /// TableName, IndexName, key condition, direction, segment.
    request: Json,
    names: Json,
    values: Json,
}

/// What is asked beside the walk.
#[derive(Default)]
struct View {
    filter: Option<Condition>,
    projection: Option<Vec<Path>>,
    counts_only: bool,
}

impl<C: Client> Lane<C> {
    pub(super) async fn query(&mut self) {
        let place = self.pick();
        let index = self.random_index(place);
        let table = &self.tables[place];
        let mut printer = Printer::default();
        let mut clauses = Vec::new();
        let mut hash = Vec::new();
        for part in table.hash_parts(index.as_ref()) {
            let value = match part == &table.hash {
                true => values::hash_value(&mut self.random, part.kind),
                false => values::key_value(&mut self.random, part.kind),
            };
            let left = printer.name(&mut self.random, part.name);
            clauses.push(format!("{left} = {}", printer.value(&value)));
            hash.push((part.name, value));
        }
        let tests = sort_tests(&mut self.random, table, index.as_ref());
        for (attribute, test) in &tests {
            let left = printer.name(&mut self.random, attribute);
            clauses.extend(print_test(&left, test, &mut printer));
        }
        let mut wanted: Vec<Item> = table.rows(index.as_ref()).into_iter().cloned().collect();
        wanted.retain(|item| {
            hash.iter().all(|(attribute, value)| item[*attribute] == *value)
                && tests.iter().all(|(attribute, test)| test.holds(&item[*attribute]))
        });
        wanted.sort_by(|one, other| table.order(index.as_ref(), one, other));
        let mut request = self.walk_request(place, index.as_ref());
        request["KeyConditionExpression"] = json!(clauses.join(" AND "));
        let forward = self.random.chance(50);
        if !forward {
            wanted.reverse();
            request["ScanIndexForward"] = json!(false);
        }
        let (names, bound) = (Json::Object(printer.names), Json::Object(printer.values));
        let walk = Walk { place, index, operation: "Query", request, names, values: bound };
        let found = self.everything(&walk).await;
        self.count(match &walk.index {
            None => "Query table",
            Some(index) if index.is_local => "Query local index",
            Some(_) => "Query global index",
        });
        self.count(if forward { "Query forward" } else { "Query backward" });
        self.judge_order(&walk, &found, &wanted);
        self.page_through(&walk, &found).await;
        if tests.is_empty() && walk.index.is_none() && self.tables[place].sort.is_some() {
            self.start_anywhere(&walk, &found, forward).await;
        }
    }

    pub(super) async fn scan(&mut self) {
        let place = self.pick();
        let index = self.random_index(place);
        let request = self.walk_request(place, index.as_ref());
        let walk = Walk { place, index, operation: "Scan", request, names: json!({}), values: json!({}) };
        let found = self.everything(&walk).await;
        self.count(if walk.index.is_none() { "Scan table" } else { "Scan index" });
        let table = &self.tables[place];
        let wanted: Vec<Item> = table.rows(walk.index.as_ref()).into_iter().cloned().collect();
        self.judge_members(&found, &wanted);
        if walk.index.is_none() {
            self.judge_partitions(place, &found);
        }
        self.page_through(&walk, &found).await;
        let total = 1 + self.random.below(5);
        let mut together = Vec::new();
        for segment in 0..total {
            let mut part = walk.clone();
            part.request["TotalSegments"] = json!(total);
            part.request["Segment"] = json!(segment);
            let of_segment = self.everything(&part).await;
            self.page_through(&part, &of_segment).await;
            together.extend(of_segment);
        }
        self.judge_members(&together, &wanted);
        self.count("Scan by segments");
    }

    fn random_index(&mut self, place: usize) -> Option<Index> {
        let table = &self.tables[place];
        let is_ready = |index: &&Index| {
            self.building.as_ref().is_none_or(|(of, name)| *of != table.name || *name != index.name)
        };
        let indexes: Vec<&Index> = table.indexes.iter().filter(is_ready).collect();
        let chosen = self.random.below(indexes.len() + 1);
        indexes.get(chosen).map(|index| (*index).clone())
    }

    fn walk_request(&mut self, place: usize, index: Option<&Index>) -> Json {
        let mut request = self.request(place);
        if let Some(index) = index {
            request["IndexName"] = json!(index.name);
        }
        if index.is_none_or(|index| index.is_local) && self.random.chance(30) {
            request["ConsistentRead"] = json!(true);
        }
        request
    }

    /// One page: what it shows, what it counts, where it ends.
    async fn page(&mut self, walk: &Walk, view: &View, limit: Option<usize>, start: Option<&Item>) -> Json {
        let mut request = walk.request.clone();
        let mut printer = Printer::default();
        printer.names.extend(walk.names.as_object().expect("an object").clone());
        printer.values.extend(walk.values.as_object().expect("an object").clone());
        if let Some(filter) = &view.filter {
            request["FilterExpression"] = json!(filter.print(&mut printer, &mut self.random));
        }
        if let Some(paths) = &view.projection {
            let texts: Vec<String> = paths.iter().map(|path| printer.path(&mut self.random, path)).collect();
            request["ProjectionExpression"] = json!(texts.join(","));
        }
        printer.finish(&mut request);
        if view.counts_only {
            request["Select"] = json!("COUNT");
        }
        if let Some(limit) = limit {
            request["Limit"] = json!(limit);
        }
        if let Some(start) = start {
            request["ExclusiveStartKey"] = item_to_json(start);
        }
        self.done(walk.operation, &request).await
    }

    /// The whole walk without a limit: items as the reference has them, in the order found.
    async fn everything(&mut self, walk: &Walk) -> Vec<Item> {
        let (mut found, mut start) = (Vec::new(), None);
        loop {
            let body = self.page(walk, &View::default(), None, start.as_ref()).await;
            let items = body["Items"].as_array().expect("items").clone();
            self.same(&body["Count"], &json!(items.len()));
            self.same(&body["ScannedCount"], &json!(items.len()));
            for shown in &items {
                let table = &self.tables[walk.place];
                let full = table.get(&item_from_json(shown)).cloned();
                self.check(full.is_some(), &format!("no such item: {shown}"));
                let full = full.expect("checked");
                self.same(shown, &item_to_json(&table.shown(walk.index.as_ref(), &full)));
                found.push(full);
            }
            match body.get("LastEvaluatedKey") {
                None => return found,
                Some(last) => {
                    self.count("page cut by size");
                    start = Some(item_from_json(last));
                }
            }
        }
    }

    fn judge_members(&self, found: &[Item], wanted: &[Item]) {
        let list = |items: &[Item]| sorted(&Json::Array(items.iter().map(item_to_json).collect()));
        self.same(&list(found), &list(wanted));
    }

    /// The items must be these, in this order but for equal ones of a global index.
    fn judge_order(&self, walk: &Walk, found: &[Item], wanted: &[Item]) {
        self.judge_members(found, wanted);
        let table = &self.tables[walk.place];
        for (one, other) in found.iter().zip(wanted) {
            let order = table.order(walk.index.as_ref(), one, other);
            self.check(order.is_eq(), "in order of the sort key");
        }
    }

    /// Items of a partition stand together and in order.
    fn judge_partitions(&self, place: usize, found: &[Item]) {
        let table = &self.tables[place];
        let mut ended: Vec<&Value> = Vec::new();
        for pair in found.windows(2) {
            let (one, next) = (&pair[0][table.hash.name], &pair[1][table.hash.name]);
            if one == next {
                self.check(table.order(None, &pair[0], &pair[1]).is_lt(), "in order within the partition");
            } else {
                ended.push(one);
                self.check(!ended.contains(&next), "a partition stands together");
            }
        }
    }

    /// The walk in pages along a known order, with a filter and a projection.
    async fn page_through(&mut self, walk: &Walk, order: &[Item]) {
        let limit =
            1 + self.random.below(order.len().clamp(1, PAGE_ITEMS_MAX) + 1).max(order.len() / PAGES_MAX);
        let view = self.view(walk);
        let (mut at, mut start) = (0, None);
        loop {
            let body = self.page(walk, &view, Some(limit), start.as_ref()).await;
            let table = &self.tables[walk.place];
            let index = walk.index.as_ref();
            let read = &order[at..order.len().min(at + limit)];
            at += read.len();
            let matches = |item: &&Item| {
                view.filter.as_ref().is_none_or(|filter| filter.holds(&table.shown(index, item)))
            };
            let matched: Vec<Item> =
                read.iter().filter(matches).map(|item| table.shown(index, item)).collect();
            let mut wanted = json!({"Count": matched.len(), "ScannedCount": read.len()});
            if !view.counts_only {
                let kept = matched.iter().map(|item| match &view.projection {
                    Some(paths) => item_to_json(&project(item, paths)),
                    None => item_to_json(item),
                });
                wanted["Items"] = Json::Array(kept.collect());
            }
            let last = read.last().filter(|_| read.len() == limit).map(|item| table.page_key(index, item));
            if let Some(last) = &last {
                wanted["LastEvaluatedKey"] = item_to_json(last);
            }
            self.same(&body, &wanted);
            start = last;
            if start.is_none() {
                break;
            }
            self.count("page resumed");
        }
        if view.filter.is_some() {
            self.count("page filtered");
        }
        if view.projection.is_some() {
            self.count("page projected");
        }
    }

    /// A filter and a projection that the walk may have: of attributes that it shows, and no filter on its keys.
    fn view(&mut self, walk: &Walk) -> View {
        let shown: Option<Vec<&str>> = match walk.index.as_ref().map(|index| &index.projected) {
            None | Some(Projected::All) => None,
            Some(Projected::KeysOnly) => Some(vec![]),
            Some(Projected::Include(names)) => Some(names.clone()),
        };
        let make = |random: &mut Random| match &shown {
            None => expressions::path(random),
            Some(names) if names.is_empty() => name(self.tables[walk.place].hash.name),
            Some(names) => name(random.one_of(names)),
        };
        let may_filter = shown.as_ref().is_none_or(|names| !names.is_empty());
        let filter = (may_filter && self.random.chance(50)).then(|| match &shown {
            None => expressions::condition(&mut self.random, &make, 2),
            // One attribute alone stands against values, never against itself.
            Some(_) => {
                let path = make(&mut self.random);
                match self.random.below(2) {
                    0 => Condition::Exists(path),
                    _ => Condition::Type(path, "S"),
                }
            }
        });
        let counts_only = self.random.chance(15);
        let projection = (!counts_only && self.random.chance(30)).then(|| {
            let count = 1 + self.random.below(3);
            expressions::paths(&mut self.random, count, make)
        });
        debug_assert!(filter.as_ref().is_none_or(|filter| is_free_of_keys(filter, &self.tables[walk.place])));
        View { filter, projection, counts_only }
    }

    /// A start key names a place, not an item: it need not be there.
    async fn start_anywhere(&mut self, walk: &Walk, order: &[Item], forward: bool) {
        let table = &self.tables[walk.place];
        let (Some(sort), Some(first)) = (&table.sort, order.first()) else { return };
        let mut start = table.key(first);
        start.insert(sort.name.to_owned(), values::key_value(&mut self.random, sort.kind));
        let behind = order.iter().filter(|item| match forward {
            true => table.order(None, item, &start).is_gt(),
            false => table.order(None, item, &start).is_lt(),
        });
        let wanted = Json::Array(behind.map(item_to_json).collect());
        let body = self.page(walk, &View::default(), None, Some(&start)).await;
        // A first page of everything else may end by its size.
        if body.get("LastEvaluatedKey").is_none() {
            self.same(&body["Items"], &wanted);
            self.count("Query from any key");
        }
    }
}

fn is_free_of_keys(filter: &Condition, table: &Table) -> bool {
    let mut roots = Vec::new();
    filter.roots(&mut roots);
    !roots
        .iter()
        .any(|found| table.key_attributes().any(|part| root(&vec![Step::Name(found.clone())]) == part.name))
}

/// Tests of the sort key's parts: equalities from the left, then at most one other.
fn sort_tests(random: &mut Random, table: &Table, index: Option<&Index>) -> Vec<(&'static str, SortTest)> {
    let mut tests = Vec::new();
    for part in table.sort_parts(index) {
        if random.chance(40) {
            break;
        }
        let value = values::key_value(random, part.kind);
        let is_equality = random.chance(40);
        let test = match random.below(if part.kind == "N" { 5 } else { 6 }) {
            _ if is_equality => SortTest::Compare(Comparator::Equal, value),
            0 => SortTest::Compare(Comparator::Less, value),
            1 => SortTest::Compare(Comparator::LessOrEqual, value),
            2 => SortTest::Compare(Comparator::Greater, value),
            3 => SortTest::Compare(Comparator::GreaterOrEqual, value),
            4 => {
                let other = values::key_value(random, part.kind);
                match value.compare(&other) {
                    Some(std::cmp::Ordering::Greater) => SortTest::Between(other, value),
                    _ => SortTest::Between(value, other),
                }
            }
            _ => SortTest::BeginsWith(match value {
                Value::S(text) => Value::S(text.chars().take(1 + random.below(8)).collect()),
                Value::B(bytes) => Value::B(bytes[..1 + random.below(bytes.len())].to_vec()),
                other => other,
            }),
        };
        tests.push((part.name, test));
        if !is_equality {
            break;
        }
    }
    tests
}

fn print_test(left: &str, test: &SortTest, printer: &mut Printer) -> Option<String> {
    Some(match test {
        SortTest::Any => return None,
        SortTest::Compare(comparator, value) => {
            format!("{left} {} {}", comparator.text(), printer.value(value))
        }
        SortTest::Between(low, high) => {
            let low = printer.value(low);
            format!("{left} BETWEEN {low} AND {}", printer.value(high))
        }
        SortTest::BeginsWith(prefix) => format!("begins_with({left}, {})", printer.value(prefix)),
    })
}

const PAGE_ITEMS_MAX: usize = 7;
/// A long walk is cut into so many pages at most.
const PAGES_MAX: usize = 8;
