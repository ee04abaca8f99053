//! Tables and indexes come and go while items are written.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::Lane;
use crate::client::Client;
use crate::reference::random::Random;
use crate::reference::table::{Index, KeyAttribute, Projected, Table, definitions};
use crate::reference::value::item_size;

const KINDS: [&str; 3] = ["S", "N", "B"];
/// How often a table is asked for until its index is built or gone.
const POLL_COUNT_MAX: usize = 20_000;
/// Attributes that indexes are made of, each of one type for good.
const INDEXED: [KeyAttribute; 4] = [
    KeyAttribute { name: "g1", kind: "S" },
    KeyAttribute { name: "g2", kind: "N" },
    KeyAttribute { name: "b1", kind: "B" },
    KeyAttribute { name: "l1", kind: "S" },
];

fn projected(random: &mut Random) -> Projected {
    match random.below(3) {
        0 => Projected::All,
        1 => Projected::KeysOnly,
        _ => Projected::Include(vec!["a0", "num1"]),
    }
}

fn global(random: &mut Random, table: &Table, number: usize) -> Index {
    let place = random.below(INDEXED.len());
    let mut hash = vec![INDEXED[place].clone()];
    let mut sort = Vec::new();
    match random.below(5) {
        0 => {}
        1 => sort.push(table.hash.clone()),
        2 => sort.extend([INDEXED[(place + 1) % 4].clone(), INDEXED[(place + 2) % 4].clone()]),
        3 => {
            hash.push(INDEXED[(place + 1) % 4].clone());
            sort.push(INDEXED[(place + 2) % 4].clone());
        }
        _ => sort.push(INDEXED[(place + 1) % 4].clone()),
    }
    Index { name: format!("global-{number}"), is_local: false, hash, sort, projected: projected(random) }
}

impl<C: Client> Lane<C> {
    pub(super) async fn create_table(&mut self) {
        self.tables_made += 1;
        let number = self.tables_made;
        let random = &mut self.random;
        // The first tables show every kind of key; later ones are drawn.
        let hash = if number <= 3 { KINDS[number - 1] } else { random.one_of(&KINDS) };
        let sort = if number.is_multiple_of(4) { None } else { Some(random.one_of(&KINDS)) };
        let mut table = Table {
            name: format!("lane-{}-table-{number}", self.number),
            hash: KeyAttribute { name: "pk0", kind: hash },
            sort: sort.map(|kind| KeyAttribute { name: "sort", kind }),
            indexes: Vec::new(),
            stream_view: (random.chance(60)).then(|| {
                random.one_of(&[
                    "KEYS_ONLY",
                    "NEW_IMAGE",
                    "OLD_IMAGE",
                    "NEW_AND_OLD_IMAGES",
                    "NEW_AND_OLD_IMAGES",
                ])
            }),
            time_to_live: None,
            items: BTreeMap::new(),
            changes: BTreeMap::new(),
        };
        for local in 0..if sort.is_some() { random.below(3) } else { 0 } {
            let by = INDEXED[random.below(INDEXED.len())].clone();
            table.indexes.push(Index {
                name: format!("local-{local}"),
                is_local: true,
                hash: vec![table.hash.clone()],
                sort: vec![by],
                projected: projected(random),
            });
        }
        for place in 0..random.below(3) {
            let index = global(random, &table, place);
            table.indexes.push(index);
        }
        self.indexes_made += 3;
        let body = self.done("CreateTable", &table.creation()).await;
        self.same(&body["TableDescription"]["TableStatus"], &json!("CREATING"));
        let answer = self.call("CreateTable", &table.creation()).await;
        self.failed("CreateTable", &answer, "ResourceInUseException");
        self.count("CreateTable");
        if self.random.chance(50) {
            let on = json!({"AttributeName": super::values::EXPIRY, "Enabled": true});
            let request = json!({"TableName": table.name, "TimeToLiveSpecification": on});
            let body = self.done("UpdateTimeToLive", &request).await;
            self.same(&body, &json!({"TimeToLiveSpecification": on}));
            table.time_to_live = Some(super::values::EXPIRY.to_owned());
            self.count("UpdateTimeToLive");
        }
        self.tables.push(table);
    }

    pub(super) async fn delete_table(&mut self) {
        let place = self.pick();
        if self.building.as_ref().is_some_and(|(table, _)| *table == self.tables[place].name) {
            // A table whose index is being built is in use.
            return;
        }
        let request = self.request(place);
        let body = self.done("DeleteTable", &request).await;
        self.same(&body["TableDescription"]["TableStatus"], &json!("DELETING"));
        self.count("DeleteTable");
        let gone = self.tables.remove(place);
        for operation in ["DescribeTable", "DeleteTable", "Scan"] {
            let answer = self.call(operation, &request).await;
            self.failed(operation, &answer, "ResourceNotFoundException");
        }
        if self.random.chance(50) {
            // The name is free at once, and nothing of the old table shows through.
            let again =
                Table { items: BTreeMap::new(), changes: BTreeMap::new(), time_to_live: None, ..gone };
            self.done("CreateTable", &again.creation()).await;
            self.count("CreateTable under an old name");
            self.tables.push(again);
            let place = self.tables.len() - 1;
            self.judge_description(place).await;
        }
    }

    /// Adds or removes a global index. An added one is built while other steps write.
    pub(super) async fn change_indexes(&mut self) {
        if let Some((table, index)) = self.building.clone() {
            let place = self.tables.iter().position(|known| known.name == table).expect("a table that stays");
            let description = self.description(place).await;
            if status(&description, &index) == Some("ACTIVE") {
                self.building = None;
                self.count("global index built");
            }
            return;
        }
        let place = self.pick();
        let globals = self.tables[place].indexes.iter().filter(|index| !index.is_local).count();
        if globals > 0 && (globals > 2 || self.random.chance(40)) {
            return self.remove_index(place).await;
        }
        self.indexes_made += 1;
        let index = global(&mut self.random, &self.tables[place], self.indexes_made);
        let parts: Vec<&KeyAttribute> = index.hash.iter().chain(&index.sort).collect();
        let mut request = self.request(place);
        request["AttributeDefinitions"] = definitions(&parts);
        request["GlobalSecondaryIndexUpdates"] = json!([{"Create": index.creation()}]);
        self.done("UpdateTable", &request).await;
        self.count("UpdateTable adds an index");
        self.building = Some((self.tables[place].name.clone(), index.name.clone()));
        self.tables[place].indexes.push(index);
    }

    async fn remove_index(&mut self, place: usize) {
        let at = self.tables[place].indexes.iter().position(|index| !index.is_local).expect("a global index");
        let index = self.tables[place].indexes.remove(at);
        let mut request = self.request(place);
        request["GlobalSecondaryIndexUpdates"] = json!([{"Delete": {"IndexName": index.name}}]);
        self.done("UpdateTable", &request).await;
        self.count("UpdateTable removes an index");
        for _ in 0..POLL_COUNT_MAX {
            let description = self.description(place).await;
            if status(&description, &index.name).is_none() {
                let mut query = self.request(place);
                query["IndexName"] = json!(index.name);
                let answer = self.call("Scan", &query).await;
                return self.failed("Scan of an old index", &answer, "ValidationException");
            }
            self.client.work().await;
        }
        self.check(false, "the index should be gone");
    }

    /// Waits for an index that is being built.
    pub async fn finish_building(&mut self) {
        for _ in 0..POLL_COUNT_MAX {
            if self.building.is_none() {
                return;
            }
            self.client.work().await;
            self.change_indexes().await;
        }
        self.check(false, "the index should be built");
    }

    pub(super) async fn describe(&mut self) {
        let place = self.pick();
        self.judge_description(place).await;
        let listed = self.listed().await;
        let wanted: Vec<String> = {
            let mut names: Vec<String> = self.tables.iter().map(|table| table.name.clone()).collect();
            names.sort();
            names
        };
        self.check(listed == wanted, &format!("tables {wanted:?}, listed {listed:?}"));
        self.count("ListTables");
    }

    async fn description(&mut self, place: usize) -> Json {
        let request = self.request(place);
        self.done("DescribeTable", &request).await["Table"].clone()
    }

    /// Counts and sizes are those of the items, as soon as the last transaction is carried out on every shard.
    pub(super) async fn judge_description(&mut self, place: usize) {
        for _ in 0..POLL_COUNT_MAX {
            let description = self.description(place).await;
            if self.counted(place, &description) == self.expected_counts(place, &description) {
                return self.count("DescribeTable");
            }
            self.client.work().await;
        }
        let description = self.description(place).await;
        let wanted = self.expected_counts(place, &description);
        assert_eq!(self.counted(place, &description), wanted, "counts and sizes\n{}", self.last);
    }

    /// Names with items and bytes: of the table, and of each index that is not being built.
    fn counted(&self, place: usize, description: &Json) -> Vec<(String, Json, Json)> {
        let table = &self.tables[place];
        let of_table =
            (table.name.clone(), description["ItemCount"].clone(), description["TableSizeBytes"].clone());
        let shown = self.indexes_shown(place, description).into_iter().map(|shown| {
            let name = shown["IndexName"].as_str().expect("a name").to_owned();
            (name, shown["ItemCount"].clone(), shown["IndexSizeBytes"].clone())
        });
        std::iter::once(of_table).chain(shown).collect()
    }

    fn expected_counts(&self, place: usize, description: &Json) -> Vec<(String, Json, Json)> {
        let table = &self.tables[place];
        let bytes: usize = table.items.values().map(item_size).sum();
        let of_table = (table.name.clone(), json!(table.items.len()), json!(bytes));
        let shown = self.indexes_shown(place, description).into_iter().map(|shown| {
            let index = table.index(shown["IndexName"].as_str().expect("a name"));
            let rows = table.rows(Some(index));
            let bytes: usize = rows.iter().map(|item| item_size(&table.shown(Some(index), item))).sum();
            (index.name.clone(), json!(rows.len()), json!(bytes))
        });
        std::iter::once(of_table).chain(shown).collect()
    }

    fn indexes_shown<'d>(&self, place: usize, description: &'d Json) -> Vec<&'d Json> {
        let members = ["LocalSecondaryIndexes", "GlobalSecondaryIndexes"];
        let shown = members.iter().flat_map(|member| description[*member].as_array().into_iter().flatten());
        let building = self.building.as_ref().filter(|(table, _)| *table == self.tables[place].name);
        shown.filter(|shown| building.is_none_or(|(_, index)| shown["IndexName"] != json!(index))).collect()
    }

    /// The names of this lane's tables, page by page.
    async fn listed(&mut self) -> Vec<String> {
        let (mut names, mut start): (Vec<String>, Option<String>) = (Vec::new(), None);
        let limit = 1 + self.random.below(4);
        loop {
            let mut request = json!({"Limit": limit});
            if let Some(start) = &start {
                request["ExclusiveStartTableName"] = json!(start);
            }
            let body = self.done("ListTables", &request).await;
            let page = body["TableNames"].as_array().expect("names");
            self.check(page.len() <= limit, "no more than asked for");
            names.extend(page.iter().map(|name| name.as_str().expect("text").to_owned()));
            match body.get("LastEvaluatedTableName") {
                Some(last) => start = Some(last.as_str().expect("text").to_owned()),
                None => break,
            }
        }
        self.check(names.is_sorted(), "in order");
        let own = format!("lane-{}-", self.number);
        names.retain(|name| name.starts_with(&own));
        names
    }
}

/// The status of a global index, if the table shows it.
fn status<'d>(description: &'d Json, index: &str) -> Option<&'d str> {
    let indexes = description["GlobalSecondaryIndexes"].as_array()?;
    indexes.iter().find(|shown| shown["IndexName"] == json!(index))?["IndexStatus"].as_str()
}
