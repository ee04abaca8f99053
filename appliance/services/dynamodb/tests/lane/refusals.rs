//! Requests that must be refused and must change nothing.

use serde_json::{Value as Json, json};

use super::{Lane, values};
use crate::client::Client;
use crate::reference::value::{Item, Value, item_to_json};

impl<C: Client> Lane<C> {
    pub(super) async fn refused(&mut self) {
        let place = self.pick();
        let item = values::item(&mut self.random, &self.tables[place], &self.expiries);
        let key = self.tables[place].key(&item);
        let (operation, request, error) = match self.random.below(6) {
            0 => self.wrong_key(place, &key),
            1 => self.wrong_value(place, &item),
            2 => self.wrong_expression(place, &key),
            3 => self.wrong_walk(place),
            4 => self.wrong_batch(place, &key),
            _ => self.nothing_there(&item),
        };
        let answer = self.call(operation, &request).await;
        self.failed(&format!("refused {operation}"), &answer, error);
    }

    fn wrong_key(&mut self, place: usize, key: &Item) -> (&'static str, Json, &'static str) {
        let table = &self.tables[place];
        let mut key = key.clone();
        match self.random.below(4) {
            0 => drop(key.remove(table.hash.name)),
            1 => drop(key.insert("another1".to_owned(), Value::Null)),
            2 => drop(key.insert(table.hash.name.to_owned(), Value::Bool(true))),
            _ => drop(key.insert(
                table.hash.name.to_owned(),
                match table.hash.kind {
                    "S" => Value::s(""),
                    "B" => Value::B(Vec::new()),
                    _ => Value::s("1"),
                },
            )),
        }
        let operation = self.random.one_of(&["GetItem", "DeleteItem", "UpdateItem"]);
        let mut request = self.request(place);
        request["Key"] = item_to_json(&key);
        (operation, request, "ValidationException")
    }

    fn wrong_value(&mut self, place: usize, item: &Item) -> (&'static str, Json, &'static str) {
        let mut request = self.request(place);
        request["Item"] = item_to_json(item);
        let wrongs = [
            json!({"N": "1e126"}),
            json!({"N": "1e-131"}),
            json!({"N": "123456789012345678901234567890123456789"}),
            json!({"N": "abc"}),
            json!({"N": ""}),
            json!({"SS": []}),
            json!({"NS": ["1", "1.0"]}),
            json!({"SS": ["a", "b", "a"]}),
            json!({"NULL": false}),
            json!({}),
            json!({"S": "a", "N": "1"}),
            json!({"L": [{"M": {"a": {"N": "x"}}}]}),
        ];
        request["Item"]["wrong1"] = wrongs[self.random.below(wrongs.len())].clone();
        if self.random.chance(20) {
            request["Item"]["wrong1"] = json!({"N": 5});
            return ("PutItem", request, "SerializationException");
        }
        if self.random.chance(10) {
            request["Item"]["wrong1"] = json!({"S": "x".repeat(409_600)});
        }
        ("PutItem", request, "ValidationException")
    }

    fn wrong_expression(&mut self, place: usize, key: &Item) -> (&'static str, Json, &'static str) {
        let mut request = self.request(place);
        request["Key"] = item_to_json(key);
        request["ExpressionAttributeValues"] = json!({":v": {"S": "x"}, ":n": {"N": "1"}});
        let hash = self.tables[place].hash.name;
        let text = self.random.one_of(&[
            "SET a0 = :v",
            "SET a0 = :v, a0 = :n",
            "SET a0 = :v REMOVE a0.b1, c1",
            "SET a0 = :v ADD b1 :v, c1 :n",
            "SET a0 = :v + :n",
            "SET a0 = :v, b1 = :n,",
            "SET a0 = :v, b1 = :n SET c1 = :n",
            "SET a0 = :v, b1 = :missing, c1 = :n",
            "SET a0 = :v, #missing = :n",
            "SET size = :v, b1 = :n",
            "SET a0 = :v, b1 = f(:n)",
        ]);
        request["UpdateExpression"] = json!(text);
        if self.random.chance(15) {
            request["UpdateExpression"] = json!(format!("SET {hash} = :v, a0 = :n"));
        }
        if self.random.chance(15) {
            request["UpdateExpression"] = json!("SET a0 = :v");
            request["ConditionExpression"] = json!("((b1 = :n))");
        }
        ("UpdateItem", request, "ValidationException")
    }

    fn wrong_walk(&mut self, place: usize) -> (&'static str, Json, &'static str) {
        let mut request = self.request(place);
        let hash = self.tables[place].hash.name;
        let operation = match self.random.below(6) {
            0 => "Query",
            1 => {
                request["KeyConditionExpression"] = json!(format!("{hash} > :v"));
                request["ExpressionAttributeValues"] = json!({":v": {"S": "x"}});
                "Query"
            }
            2 => {
                request["Limit"] = json!(0);
                "Scan"
            }
            3 => {
                request["IndexName"] = json!("no-such-index");
                "Scan"
            }
            4 => {
                request["Segment"] = json!(3);
                request["TotalSegments"] = json!(3);
                "Scan"
            }
            _ => {
                request["ExclusiveStartKey"] = json!({"another1": {"S": "x"}});
                "Scan"
            }
        };
        (operation, request, "ValidationException")
    }

    fn wrong_batch(&mut self, place: usize, key: &Item) -> (&'static str, Json, &'static str) {
        let name = &self.tables[place].name;
        let key = item_to_json(key);
        let (operation, request) = match self.random.below(5) {
            0 => ("BatchGetItem", json!({"RequestItems": {name: {"Keys": [key, key]}}})),
            1 => ("BatchGetItem", json!({"RequestItems": {}})),
            2 => {
                let delete = json!({"DeleteRequest": {"Key": key}});
                ("BatchWriteItem", json!({"RequestItems": {name: [delete, delete]}}))
            }
            3 => {
                let delete = json!({"Delete": {"TableName": name, "Key": key}});
                ("TransactWriteItems", json!({"TransactItems": [delete, delete]}))
            }
            _ => (
                "TransactWriteItems",
                json!({"TransactItems": [{"Delete": {"TableName": name, "Key": key}, "Put": {"TableName": name, "Item": key}}]}),
            ),
        };
        (operation, request, "ValidationException")
    }

    fn nothing_there(&mut self, item: &Item) -> (&'static str, Json, &'static str) {
        let name = format!("lane-{}-no-such-table", self.number);
        let item = item_to_json(item);
        let (operation, request) = match self.random.below(6) {
            0 => ("PutItem", json!({"TableName": name, "Item": item})),
            1 => ("GetItem", json!({"TableName": name, "Key": item})),
            2 => ("Scan", json!({"TableName": name})),
            3 => ("DescribeTable", json!({"TableName": name})),
            4 => ("BatchWriteItem", json!({"RequestItems": {name: [{"PutRequest": {"Item": item}}]}})),
            _ => ("TransactGetItems", json!({"TransactItems": [{"Get": {"TableName": name, "Key": item}}]})),
        };
        (operation, request, "ResourceNotFoundException")
    }
}
