//! What must hold at rest: every walk shows the reference's items, streams tell every change in order, counters agree,
//! and what expired is gone.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::Lane;
use crate::client::Client;
use crate::reference::table::{Change, Table};
use crate::reference::value::{Item, Value, item_from_json, item_to_json};

/// Seconds by which time goes on in an audit: short of a stream's day over a whole run, longer than a token's life.
pub const PASSED_SECONDS: i64 = 1_000;
/// Times of expiry that lie ahead, in audits.
const EXPIRIES_AHEAD: i64 = 4;
/// Empty pages of a shard until it is taken for read to its end.
const EMPTY_PAGES: usize = 2;

impl<C: Client> Lane<C> {
    /// Sets the times that items may expire at. Between two audits none of them comes.
    pub fn plan_expiries(&mut self) {
        let now = self.client.now();
        let from = now + PASSED_SECONDS / 2;
        self.expiries = (0..EXPIRIES_AHEAD).map(|audit| from + audit * PASSED_SECONDS).collect();
    }

    /// Everything, against the reference. Other lanes must be at rest.
    pub async fn audit(&mut self) {
        self.look_at_everything().await;
        self.count("audit");
    }

    /// Behind a step of the clock, when all that was due is done: takes away from the reference what expired, then looks at everything.
    pub async fn audit_expired(&mut self) {
        let now = self.client.now();
        let mut expired = 0;
        for table in &mut self.tables {
            let Some(attribute) = table.time_to_live.clone() else { continue };
            let due: Vec<Item> =
                table.items.values().filter(|item| is_expired(item, &attribute, now)).cloned().collect();
            expired += due.len() as u64;
            for item in due {
                table.set(&item, None, true);
            }
        }
        *self.counts.entry("item expired".to_owned()).or_default() += expired;
        self.forget_tokens();
        self.look_at_everything().await;
    }

    async fn look_at_everything(&mut self) {
        for place in 0..self.tables.len() {
            self.judge_description(place).await;
            let mut walks = vec![None];
            walks.extend(self.tables[place].indexes.iter().map(|index| Some(index.name.clone())));
            for index in walks {
                self.scan_everything(place, index.as_deref()).await;
            }
            if self.tables[place].stream_view.is_some() {
                self.judge_stream(place).await;
            }
        }
    }

    async fn scan_everything(&mut self, place: usize, index: Option<&str>) {
        let mut request = self.request(place);
        if let Some(index) = index {
            request["IndexName"] = json!(index);
        }
        let mut found = Vec::new();
        loop {
            let body = self.done("Scan", &request).await;
            found.extend(body["Items"].as_array().expect("items").iter().cloned());
            match body.get("LastEvaluatedKey") {
                Some(last) => request["ExclusiveStartKey"] = last.clone(),
                None => break,
            }
        }
        let table = &self.tables[place];
        let index = index.map(|name| table.index(name));
        let wanted =
            table.rows(index).into_iter().map(|item| item_to_json(&table.shown(index, item))).collect();
        self.same(&super::reads::sorted(&Json::Array(found)), &super::reads::sorted(&Json::Array(wanted)));
    }

    /// Every change of every item, in order, once; and played to an empty table they give the table.
    async fn judge_stream(&mut self, place: usize) {
        let records = self.stream_records(place).await;
        let mut found: BTreeMap<String, Vec<Json>> = BTreeMap::new();
        let table = &self.tables[place];
        for record in &records {
            let key = item_from_json(&record["dynamodb"]["Keys"]);
            self.same(&record["dynamodb"]["Keys"], &item_to_json(&table.key(&key)));
            found.entry(table.key_text(&key)).or_default().push(told(record));
        }
        let view = table.stream_view.expect("a stream");
        let wanted: BTreeMap<String, Vec<Json>> = table
            .changes
            .iter()
            .map(|(key, changes)| (key.clone(), changes.iter().map(|change| wanted(view, change)).collect()))
            .collect();
        let keys: std::collections::BTreeSet<&String> = found.keys().chain(wanted.keys()).collect();
        for key in keys {
            let (found, wanted) = (json!(found.get(key)), json!(wanted.get(key)));
            assert_eq!(found, wanted, "stream of {} for {key}\n{}", table.name, self.last);
        }
        if view == "NEW_AND_OLD_IMAGES" || view == "NEW_IMAGE" {
            let replayed = replay(table, &records);
            assert!(replayed == table.items, "the stream of {} played again gives another table", table.name);
            self.count("stream replayed");
        }
        *self.counts.entry("stream record".to_owned()).or_default() += records.len() as u64;
    }

    async fn stream_records(&mut self, place: usize) -> Vec<Json> {
        let request = self.request(place);
        let description = self.done("DescribeTable", &request).await;
        let stream = description["Table"]["LatestStreamArn"].clone();
        let shards = self.done("DescribeStream", &json!({"StreamArn": stream})).await;
        let shards = shards["StreamDescription"]["Shards"].as_array().expect("shards").clone();
        let mut records = Vec::new();
        for shard in shards {
            let request = json!({"StreamArn": stream, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"});
            let mut iterator = self.done("GetShardIterator", &request).await["ShardIterator"].clone();
            let limit = self.random.one_of(&[1_000, 1_000, 97]);
            let (mut empty, mut last) = (0, String::new());
            while empty < EMPTY_PAGES {
                let body = self.done("GetRecords", &json!({"ShardIterator": iterator, "Limit": limit})).await;
                let page = body["Records"].as_array().expect("records");
                empty = if page.is_empty() { empty + 1 } else { 0 };
                for record in page {
                    let sequence = record["dynamodb"]["SequenceNumber"].as_str().expect("text");
                    let padded = format!("{sequence:0>40}");
                    self.check(padded > last, "sequence numbers rise");
                    last = padded;
                }
                records.extend(page.iter().cloned());
                match body.get("NextShardIterator") {
                    Some(next) => iterator = next.clone(),
                    None => break,
                }
            }
        }
        records
    }
}

fn is_expired(item: &Item, attribute: &str, now: i64) -> bool {
    const YEARS_5: i64 = 5 * 365 * 86_400;
    let Some(Value::N(at)) = item.get(attribute) else { return false };
    let at: i64 = at.plain().parse().unwrap_or(i64::MAX);
    at <= now && at > now - YEARS_5
}

/// What a record says, without numbers and times.
fn told(record: &Json) -> Json {
    let inner = &record["dynamodb"];
    json!([
        record["eventName"],
        inner.get("OldImage"),
        inner.get("NewImage"),
        record.get("userIdentity").is_some()
    ])
}

fn wanted(view: &str, change: &Change) -> Json {
    let event = match (&change.old, &change.new) {
        (None, _) => "INSERT",
        (Some(_), Some(_)) => "MODIFY",
        (Some(_), None) => "REMOVE",
    };
    let image = |item: &Option<Item>, views: [&str; 2]| {
        item.as_ref().filter(|_| views.contains(&view)).map(item_to_json)
    };
    let old = image(&change.old, ["OLD_IMAGE", "NEW_AND_OLD_IMAGES"]);
    let new = image(&change.new, ["NEW_IMAGE", "NEW_AND_OLD_IMAGES"]);
    json!([event, old, new, change.by_service])
}

fn replay(table: &Table, records: &[Json]) -> BTreeMap<String, Item> {
    let mut items = BTreeMap::new();
    for record in records {
        let inner = &record["dynamodb"];
        let key = table.key_text(&item_from_json(&inner["Keys"]));
        match inner.get("NewImage") {
            Some(image) => drop(items.insert(key, item_from_json(image))),
            None => drop(items.remove(&key)),
        }
    }
    items
}
