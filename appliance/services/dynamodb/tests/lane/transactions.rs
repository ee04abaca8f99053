//! TransactWriteItems: all or nothing, with every reason, and tokens that make a repeated call harmless.

use serde_json::{Value as Json, json};

use super::Lane;
use super::writes::{Deed, is_too_deep, print_condition, random_condition};
use crate::client::Client;
use crate::reference::path::Printer;
use crate::reference::value::{Item, item_to_json};

/// A transaction that was done under a token.
pub struct Sent {
    token: String,
    request: Json,
}

/// How many tokens are remembered: those are replayed long before they expire.
const TOKENS_KEPT: usize = 20;
const ACTION_COUNT_MAX: usize = 6;

impl<C: Client> Lane<C> {
    pub(super) async fn transact_write(&mut self) {
        if !self.tokens.is_empty() && self.random.chance(12) {
            return self.replay().await;
        }
        let (mut items, mut outcomes) = (Vec::new(), Vec::new());
        let count = 1 + self.random.below(ACTION_COUNT_MAX);
        for (place, key) in self.distinct_places(count) {
            let kind = self.random.below(4);
            let deed = match self.deed(place, kind) {
                Deed::Put(mut item) => {
                    item.extend(key);
                    Deed::Put(item)
                }
                Deed::Update(_, update) => Deed::Update(key, update),
                Deed::Delete(_) => Deed::Delete(key),
                Deed::Check(_) => Deed::Check(key),
            };
            if let Some((item, outcome)) = self.action(place, &deed) {
                items.push(item);
                outcomes.push((place, deed, outcome));
            }
        }
        if items.is_empty() {
            return;
        }
        let mut request = json!({"TransactItems": items});
        let token = self.random.chance(50).then(|| {
            self.tokens_made += 1;
            format!("{}-{}", self.number, self.tokens_made)
        });
        if let Some(token) = &token {
            request["ClientRequestToken"] = json!(token);
        }
        let answer = self.call("TransactWriteItems", &request).await;
        self.count("TransactWriteItems");
        if outcomes.iter().any(|(_, _, outcome)| outcome.is_err()) {
            self.failed("TransactWriteItems", &answer, "TransactionCanceledException");
            return self.reasons(&answer.body, &outcomes);
        }
        self.check(answer.status == 200, "should succeed");
        self.same(&answer.body, &json!({}));
        for (place, deed, outcome) in outcomes {
            let table = &mut self.tables[place];
            let key = deed.key(table);
            table.set(&key, outcome.expect("no reason"), false);
        }
        if let Some(token) = token {
            self.tokens.push(Sent { token, request });
            if self.tokens.len() > TOKENS_KEPT {
                self.tokens.remove(0);
            }
        }
    }

    /// One action, and what comes of it: the new item, or the reason against it. Nothing for one that no transaction
    /// takes by its text.
    fn action(&mut self, place: usize, deed: &Deed) -> Option<(Json, Outcome)> {
        let is_check = matches!(deed, Deed::Check(_));
        let is_conditional = is_check || self.random.chance(30);
        let condition = is_conditional.then(|| random_condition(&mut self.random, &self.tables[place]));
        let (mut inner, mut printer) = (self.request(place), Printer::default());
        self.deed_json(deed, &mut inner, &mut printer);
        if let Some(condition) = &condition {
            print_condition(&mut inner, condition, &mut printer, &mut self.random);
        }
        printer.finish(&mut inner);
        let shows_failure = self.random.chance(50);
        if shows_failure {
            inner["ReturnValuesOnConditionCheckFailure"] = json!("ALL_OLD");
        }
        let member = match deed {
            Deed::Put(_) => "Put",
            // Unlike UpdateItem, an update within a transaction says what it updates.
            Deed::Update(_, update) if update.0.is_empty() => return None,
            Deed::Update(..) => "Update",
            Deed::Delete(_) => "Delete",
            Deed::Check(_) => "ConditionCheck",
        };
        let table = &self.tables[place];
        let old = table.get(&deed.key(table)).cloned();
        let empty = Item::new();
        let result = deed.result(table);
        if matches!(&result, Ok(Some(item)) if is_too_deep(item)) {
            return None;
        }
        let is_taken = match &result {
            Ok(Some(item)) => table.accepts(item).is_ok(),
            Ok(None) => true,
            Err(_) => false,
        };
        let outcome = if condition.is_some_and(|condition| !condition.holds(old.as_ref().unwrap_or(&empty))) {
            // Which of two faults of one action is told is not foretold.
            if !is_taken {
                return None;
            }
            Err(Reason { code: "ConditionalCheckFailed", item: old.filter(|_| shows_failure) })
        } else if is_taken {
            Ok(result.expect("taken"))
        } else if matches!(deed, Deed::Put(_)) {
            // Whether a wrong put is a reason or refuses the request at once is wire's matter.
            return None;
        } else {
            Err(Reason { code: "ValidationError", item: None })
        };
        Some((json!({ member: inner }), outcome))
    }

    /// Every action has its reason, in the order of the request.
    fn reasons(&mut self, body: &Json, outcomes: &[(usize, Deed, Outcome)]) {
        let found = body["CancellationReasons"].as_array().cloned().unwrap_or_default();
        self.check(found.len() == outcomes.len(), "one reason for each action");
        for (reason, (_, _, outcome)) in found.iter().zip(outcomes) {
            let code = outcome.as_ref().err().map_or("None", |reason| reason.code);
            self.same(&reason["Code"], &json!(code));
            self.check(reason.get("Message").is_some() == (code != "None"), "a message if there is a reason");
            let item = outcome.as_ref().err().and_then(|reason| reason.item.as_ref()).map(item_to_json);
            self.same(&json!(reason.get("Item")), &json!(item));
            self.count(&format!("TransactWriteItems reason {code}"));
        }
    }

    /// The same request with the same token does nothing; another one with it is refused.
    async fn replay(&mut self) {
        let place = self.random.below(self.tokens.len());
        let mut request = self.tokens[place].request.clone();
        self.check(
            request["ClientRequestToken"] == json!(self.tokens[place].token),
            "the token of the request",
        );
        let names: Vec<&str> = self.tables.iter().map(|table| table.name.as_str()).collect();
        let items = request["TransactItems"].as_array().expect("a list");
        let is_live = items
            .iter()
            .flat_map(|item| item.as_object().expect("an action").values())
            .all(|action| names.contains(&action["TableName"].as_str().expect("a name")));
        if !is_live {
            self.tokens.remove(place);
            return;
        }
        if self.random.chance(60) {
            let answer = self.call("TransactWriteItems", &request).await;
            self.count("TransactWriteItems replayed");
            self.check(answer.status == 200, "a replay should succeed");
            return;
        }
        let items = request["TransactItems"].as_array_mut().expect("a list");
        let table = self.random.below(self.tables.len());
        let key = super::values::key(&mut self.random, &self.tables[table]);
        let name = &self.tables[table].name;
        *items =
            vec![json!({"Delete": {"TableName": name, "Key": crate::reference::value::item_to_json(&key)}})];
        if self.tokens[place].request["TransactItems"] == request["TransactItems"] {
            return;
        }
        let answer = self.call("TransactWriteItems", &request).await;
        self.failed("TransactWriteItems", &answer, "IdempotentParameterMismatchException");
    }

    /// Behind their ten minutes.
    pub(super) fn forget_tokens(&mut self) {
        self.tokens.clear();
    }
}

/// The item afterwards, or why not.
type Outcome = Result<Option<Item>, Reason>;

/// Why an action cancels its transaction.
#[derive(Clone, Debug)]
struct Reason {
    code: &'static str,
    item: Option<Item>,
}
