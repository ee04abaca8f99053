//! Who reads the stream while the others fight: it must tell every version of every key once, in the order in which they
//! replaced each other.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::{KEY_COUNT, TABLE};
use crate::client::Client;

/// A reader of all shards of the stream. It goes on after a restart where it was.
pub struct Follower {
    iterators: BTreeMap<String, Json>,
    /// The id of each key's item, as the records so far tell it.
    last: Vec<Option<String>>,
    pub record_count: usize,
}

impl Default for Follower {
    fn default() -> Follower {
        Follower { iterators: BTreeMap::new(), last: vec![None; KEY_COUNT], record_count: 0 }
    }
}

impl Follower {
    /// Reads one page of every shard; gives how many records that were.
    pub async fn read(&mut self, client: &impl Client) -> usize {
        if self.iterators.is_empty() {
            self.begin(client).await;
        }
        let mut found = 0;
        for iterator in self.iterators.values_mut() {
            let answer = client.call("GetRecords", &json!({"ShardIterator": iterator})).await;
            assert_eq!(answer.status, 200, "{:?}", answer.body);
            for change in answer.body["Records"].as_array().expect("records") {
                let inner = &change["dynamodb"];
                let name = inner["Keys"]["pk"]["S"].as_str().expect("a key");
                let key: usize = name[1..].parse().expect("a number");
                let id = |image: &str| inner[image]["id"]["N"].as_str().map(str::to_owned);
                let before = &self.last[key];
                assert_eq!(id("OldImage"), *before, "key {key}: the stream leaves out a version: {change}");
                self.last[key] = id("NewImage");
                found += 1;
            }
            *iterator = answer.body["NextShardIterator"].clone();
        }
        self.record_count += found;
        found
    }

    /// At rest, what the stream ends with is what the table has.
    pub fn judge(&self, items: &[Json]) {
        for (key, version) in self.last.iter().enumerate() {
            let item = items.iter().find(|item| item["pk"]["S"] == json!(format!("k{key}")));
            let now = item.map(|item| item["id"]["N"].as_str().expect("an id").to_owned());
            assert_eq!(*version, now, "key {key}: the stream ends with another version than the table has");
        }
    }

    async fn begin(&mut self, client: &impl Client) {
        let described = client.call("DescribeTable", &json!({"TableName": TABLE})).await;
        let stream = &described.body["Table"]["LatestStreamArn"];
        let shards = client.call("DescribeStream", &json!({"StreamArn": stream})).await;
        for shard in shards.body["StreamDescription"]["Shards"].as_array().expect("shards") {
            let id = shard["ShardId"].as_str().expect("an id");
            let request = json!({"StreamArn": stream, "ShardId": id, "ShardIteratorType": "TRIM_HORIZON"});
            let answer = client.call("GetShardIterator", &request).await;
            self.iterators.insert(id.to_owned(), answer.body["ShardIterator"].clone());
        }
    }
}
