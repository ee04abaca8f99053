//! BatchWriteItem.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::writes::Deed;
use super::{Lane, values};
use crate::client::Client;
use crate::reference::value::Item;

const REQUEST_COUNT_MAX: usize = 10;

impl<C: Client> Lane<C> {
    pub(super) async fn batch_write(&mut self) {
        let mut chosen: Vec<(usize, Deed)> = Vec::new();
        let mut seen: BTreeSet<(usize, String)> = BTreeSet::new();
        for _ in 0..1 + self.random.below(REQUEST_COUNT_MAX) {
            let place = self.pick();
            let kind = if self.random.chance(70) { 0 } else { 2 };
            let deed = self.deed(place, kind);
            let table = &self.tables[place];
            if seen.insert((place, table.key_text(&deed.key(table)))) {
                chosen.push((place, deed));
            }
        }
        let mut items = json!({});
        for (place, deed) in &chosen {
            let request = match deed {
                Deed::Put(item) => {
                    json!({"PutRequest": {"Item": values::spell_item(&mut self.random, item)}})
                }
                other => {
                    let key: Item = other.key(&self.tables[*place]);
                    json!({"DeleteRequest": {"Key": values::spell_item(&mut self.random, &key)}})
                }
            };
            let name = &self.tables[*place].name;
            match items.get_mut(name).and_then(Json::as_array_mut) {
                Some(list) => list.push(request),
                None => items[name] = json!([request]),
            }
        }
        let answer = self.call("BatchWriteItem", &json!({"RequestItems": items})).await;
        self.count("BatchWriteItem");
        let is_taken = chosen.iter().all(|(place, deed)| match deed {
            Deed::Put(item) => self.tables[*place].accepts(item).is_ok(),
            _ => true,
        });
        if !is_taken {
            // One wrong item refuses the whole batch, before anything is written.
            return self.failed("BatchWriteItem", &answer, "ValidationException");
        }
        self.check(answer.status == 200, "should succeed");
        self.same(&answer.body, &json!({"UnprocessedItems": {}}));
        for (place, deed) in chosen {
            let table = &mut self.tables[place];
            let (key, new) = (deed.key(table), deed.result(table).expect("no update"));
            table.set(&key, new, false);
        }
    }
}
