//! Gets: one item, batches, transactions.

use serde_json::{Value as Json, json};

use super::{Lane, expressions, values};
use crate::client::Client;
use crate::reference::path::{Path, Printer, name, project};
use crate::reference::value::{Item, item_to_json};

/// Keys in one batch or transaction.
const KEY_COUNT_MAX: usize = 8;

impl<C: Client> Lane<C> {
    /// Paths for a projection, sometimes with a key among them.
    fn projection(&mut self, place: usize) -> Option<Vec<Path>> {
        if self.random.chance(60) {
            return None;
        }
        let key = self.tables[place].hash.name;
        let count = 1 + self.random.below(4);
        let make = |random: &mut crate::reference::random::Random| {
            if random.chance(20) { name(key) } else { expressions::path(random) }
        };
        Some(expressions::paths(&mut self.random, count, make))
    }

    fn print_projection(&mut self, paths: Option<&Vec<Path>>, request: &mut Json) {
        let Some(paths) = paths else { return };
        let mut printer = Printer::default();
        let texts: Vec<String> = paths.iter().map(|path| printer.path(&mut self.random, path)).collect();
        request["ProjectionExpression"] = json!(texts.join(" , "));
        printer.finish(request);
    }

    pub(super) async fn get(&mut self) {
        let place = self.pick();
        let key = values::key(&mut self.random, &self.tables[place]);
        let paths = self.projection(place);
        let mut request = self.request(place);
        request["Key"] = values::spell_item(&mut self.random, &key);
        if self.random.chance(50) {
            request["ConsistentRead"] = json!(true);
        }
        self.print_projection(paths.as_ref(), &mut request);
        let body = self.done("GetItem", &request).await;
        let wanted = self.tables[place].get(&key).map(|item| kept(item, paths.as_deref()));
        self.count(if wanted.is_some() { "GetItem" } else { "GetItem of nothing" });
        self.same(&body, &wanted.map_or(json!({}), |item| json!({"Item": item_to_json(&item)})));
    }

    pub(super) async fn batch_get(&mut self) {
        let (mut items, mut wanted) = (json!({}), json!({}));
        let first = self.pick();
        for place in [first, (first + 1) % self.tables.len()].into_iter().take(1 + self.random.below(2)) {
            let paths = self.projection(place);
            let count = 1 + self.random.below(KEY_COUNT_MAX);
            let keys = self.distinct_keys(place, count);
            let spelled: Vec<Json> =
                keys.iter().map(|key| values::spell_item(&mut self.random, key)).collect();
            let mut of_table = json!({"Keys": spelled});
            self.print_projection(paths.as_ref(), &mut of_table);
            let table = &self.tables[place];
            let found = keys.iter().filter_map(|key| table.get(key));
            let found: Vec<Json> = found.map(|item| item_to_json(&kept(item, paths.as_deref()))).collect();
            items[&table.name] = of_table;
            wanted[&table.name] = sorted(&Json::Array(found));
        }
        let request = json!({"RequestItems": items});
        let mut body = self.done("BatchGetItem", &request).await;
        self.count("BatchGetItem");
        self.same(&body["UnprocessedKeys"], &json!({}));
        // The order within a table is nobody's promise.
        for (_, list) in body["Responses"].as_object_mut().expect("an object") {
            *list = sorted(list);
        }
        self.same(&body["Responses"], &wanted);
    }

    pub(super) async fn transact_get(&mut self) {
        let count = 1 + self.random.below(KEY_COUNT_MAX);
        let (mut items, mut wanted): (Vec<Json>, Vec<Json>) = (Vec::new(), Vec::new());
        for (place, key) in self.distinct_places(count) {
            let paths = self.projection(place);
            let mut get = self.request(place);
            get["Key"] = values::spell_item(&mut self.random, &key);
            self.print_projection(paths.as_ref(), &mut get);
            items.push(json!({"Get": get}));
            let found = self.tables[place].get(&key);
            wanted.push(
                found.map_or(json!({}), |item| json!({"Item": item_to_json(&kept(item, paths.as_deref()))})),
            );
        }
        let body = self.done("TransactGetItems", &json!({"TransactItems": items})).await;
        self.count("TransactGetItems");
        self.same(&body, &json!({"Responses": wanted}));
    }

    pub(super) fn distinct_keys(&mut self, place: usize, count: usize) -> Vec<Item> {
        let mut keys: Vec<Item> = Vec::new();
        for _ in 0..count {
            let key = values::key(&mut self.random, &self.tables[place]);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    /// Tables with keys in them, no item twice.
    pub(super) fn distinct_places(&mut self, count: usize) -> Vec<(usize, Item)> {
        let mut places: Vec<(usize, Item)> = Vec::new();
        for _ in 0..count {
            let place = self.pick();
            let key = values::key(&mut self.random, &self.tables[place]);
            if !places.contains(&(place, key.clone())) {
                places.push((place, key));
            }
        }
        places
    }
}

fn kept(item: &Item, paths: Option<&[Path]>) -> Item {
    paths.map_or_else(|| item.clone(), |paths| project(item, paths))
}

pub fn sorted(list: &Json) -> Json {
    let mut list = list.as_array().expect("a list").clone();
    list.sort_by_cached_key(Json::to_string);
    Json::Array(list)
}
