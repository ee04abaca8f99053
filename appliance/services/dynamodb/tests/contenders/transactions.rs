//! Transactions of two to four items. Each action names the version that it expects, so a success tells what it replaced.

use serde_json::{Value as Json, json};

use super::{Contender, Sent, TABLE};
use crate::checker::{Id, Key, Version, Write};
use crate::client::Client;

/// What a transaction does to a key.
#[derive(Clone, Copy)]
enum Deed {
    Put(Id, i64),
    Add(Id, i64),
    Delete,
    Check,
}

impl<C: Client> Contender<C> {
    pub(super) async fn transact_get(&mut self) {
        let keys = self.some_keys();
        self.get_together(&keys).await;
    }

    async fn get_together(&mut self, keys: &[Key]) {
        let gets: Vec<Json> = keys
            .iter()
            .map(|key| json!({"Get": {"TableName": TABLE, "Key": {"pk": {"S": format!("k{key}")}}}}))
            .collect();
        let sent = self.send("transact-get", "TransactGetItems", &json!({"TransactItems": gets})).await;
        if sent.answer.error() == Some("TransactionCanceledException") {
            // Reads may be refused beside writes; then nothing was seen.
            return;
        }
        assert_eq!(sent.answer.status, 200, "{:?}", sent.answer);
        let found = sent.answer.body["Responses"].as_array().expect("responses").clone();
        assert_eq!(found.len(), keys.len());
        let reads =
            keys.iter().zip(&found).map(|(key, one)| (*key, self.look(*key, one.get("Item")))).collect();
        self.event(&sent, reads, Vec::new());
    }

    pub(super) async fn transact_write(&mut self) {
        let keys = self.some_keys();
        // Mostly of what was just looked at: else nearly all would fail.
        if self.random.chance(80) {
            self.get_together(&keys).await;
        }
        let deeds: Vec<(Key, Deed)> = keys.into_iter().map(|key| (key, self.deed(key))).collect();
        let actions: Vec<Json> = deeds.iter().map(|(key, deed)| self.action(*key, *deed)).collect();
        let mut request = json!({"TransactItems": actions});
        if self.random.chance(50) {
            request["ClientRequestToken"] = json!(format!("t{}", self.record.new_id()));
        }
        let before: Vec<(Version, i64)> = deeds.iter().map(|(key, _)| self.seen[*key as usize]).collect();
        let sent = self.send("transact-write", "TransactWriteItems", &request).await;
        match (sent.answer.status, sent.answer.error()) {
            (200, _) => self.committed(&sent, &deeds, &before),
            (_, Some("TransactionCanceledException")) => self.cancelled(&sent, &deeds),
            // The table was changed again and again; nothing was done.
            (_, Some("TransactionInProgressException" | "ThrottlingException")) => {}
            (500.., _) => {
                let writes = writes(&deeds, &before);
                self.event(&sent, Vec::new(), writes);
            }
            _ => panic!("{:?}", sent.answer),
        }
    }

    fn deed(&mut self, key: Key) -> Deed {
        let is_there = self.seen[key as usize].0 != Version::Absent;
        match self.random.below(10) {
            0..=3 => Deed::Put(self.record.new_id(), self.random.below(100) as i64),
            4..=6 => Deed::Add(self.record.new_id(), self.random.below(9) as i64),
            7 if is_there => Deed::Delete,
            _ => Deed::Check,
        }
    }

    fn action(&self, key: Key, deed: Deed) -> Json {
        let mut inner = json!({"TableName": TABLE});
        let place = json!({"pk": {"S": format!("k{key}")}});
        let member = match deed {
            Deed::Put(id, total) => {
                inner["Item"] = self.item(key, id, total);
                "Put"
            }
            Deed::Add(id, by) => {
                inner["Key"] = place;
                inner["UpdateExpression"] = json!("SET id = :id, kind = :kind ADD #t :by");
                inner["ExpressionAttributeNames"] = json!({"#t": "total"});
                inner["ExpressionAttributeValues"] = json!({
                    ":id": {"N": id.to_string()}, ":by": {"N": by.to_string()}, ":kind": {"S": "x"},
                });
                "Update"
            }
            Deed::Delete => {
                inner["Key"] = place;
                "Delete"
            }
            Deed::Check => {
                inner["Key"] = place;
                "ConditionCheck"
            }
        };
        self.expect(&mut inner, key);
        json!({ member: inner })
    }

    fn committed(&mut self, sent: &Sent, deeds: &[(Key, Deed)], before: &[(Version, i64)]) {
        let checked = deeds.iter().zip(before).filter(|((_, deed), _)| matches!(deed, Deed::Check));
        let reads = checked.map(|((key, _), (version, _))| (*key, *version)).collect();
        for ((key, deed), (_, old)) in deeds.iter().zip(before) {
            let now = match deed {
                Deed::Put(id, total) => (Version::Is(*id), *total),
                Deed::Add(id, by) => (Version::Is(*id), old + by),
                Deed::Delete => (Version::Absent, 0),
                Deed::Check => continue,
            };
            self.record.total(*key, now.0, now.1);
            self.seen[*key as usize] = now;
        }
        self.event(sent, reads, writes(deeds, before));
    }

    /// Each reason is a read of its own: they are not found at one moment.
    fn cancelled(&mut self, sent: &Sent, deeds: &[(Key, Deed)]) {
        let reasons = sent.answer.body["CancellationReasons"].as_array().expect("reasons").clone();
        assert_eq!(reasons.len(), deeds.len(), "{:?}", sent.answer);
        let mut is_told = false;
        for (reason, (key, _)) in reasons.iter().zip(deeds) {
            let code = reason["Code"].as_str().expect("a code");
            self.record.count(&format!("transact-write reason {code}"));
            is_told |= code != "None";
            match code {
                "ConditionalCheckFailed" => {
                    let found = self.look(*key, reason.get("Item"));
                    self.event(sent, vec![(*key, found)], Vec::new());
                }
                "None" | "TransactionConflict" => {}
                other => panic!("{other}: {:?}", sent.answer),
            }
        }
        assert!(is_told, "cancelled for no reason: {:?}", sent.answer);
    }
}

fn writes(deeds: &[(Key, Deed)], before: &[(Version, i64)]) -> Vec<Write> {
    let write = |((key, deed), (old, _)): (&(Key, Deed), &(Version, i64))| {
        let version = match deed {
            Deed::Put(id, _) | Deed::Add(id, _) => Version::Is(*id),
            Deed::Delete => Version::Absent,
            Deed::Check => return None,
        };
        Some(Write { key: *key, version, replaced: Some(*old) })
    };
    deeds.iter().zip(before).filter_map(write).collect()
}
