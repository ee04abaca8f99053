//! What becomes of calls whose answers are lost, against a peer whose every answer the test writes.

use crate::dynamodb::ZeroDb;
use crate::trial::services::Answer::{self, Lost, Status, With};
use crate::trial::services::{script, shared};
use crate::trial::single;
use cloudkit_core::api::{Condition, KeyValueStore, KvPutOptions, TransactItem};
use cloudkit_core::common::CloudError;
use serde_json::{Value, json};
use std::collections::HashMap;

const DESCRIBED: Answer = Status(
    200,
    "{\"Table\":{\"TableStatus\":\"ACTIVE\",\"KeySchema\":[{\"AttributeName\":\"id\",\"KeyType\":\"HASH\"}]}}",
);
const OURS: Answer = Status(200, "{\"Item\":{\"id\":{\"S\":\"k\"},\"n\":{\"N\":\"1\"}}}");
const OTHER: Answer = Status(200, "{\"Item\":{\"id\":{\"S\":\"k\"},\"n\":{\"N\":\"2\"}}}");
const DONE: Answer = Status(200, "{}");
const BROKEN: Answer = Status(500, "{\"__type\":\"InternalServerError\"}");
const FAILED: Answer = Status(400, "{\"__type\":\"x#ConditionalCheckFailedException\",\"message\":\"no\"}");

/// What a call gives when it is answered so, and the bodies that it sent.
async fn answered<R>(answers: Vec<Answer>, call: impl AsyncFnOnce(ZeroDb) -> R) -> (R, Vec<String>) {
    let (caller, mut incoming) = single();
    let db = ZeroDb::new(shared(caller).await);
    let peer = tokio::spawn(async move {
        let peer = incoming.framed().await;
        let (peer, bodies) = script(peer, answers).await.expect("every answer is given");
        (peer, bodies, incoming)
    });
    let outcome = call(db).await;
    let (_peer, bodies, _incoming) = peer.await.expect("every answer is given");
    (outcome, bodies)
}

fn absent() -> KvPutOptions {
    KvPutOptions { condition: Some(Condition::NotExists("id".into())), return_old: false }
}

#[tokio::test(start_paused = true)]
async fn a_conditional_put_whose_answer_is_lost_is_looked_for() {
    for lost in [Lost, BROKEN] {
        let put = async |db: ZeroDb| db.put_with_options("t", "k", &json!({"n": 1.0}), absent()).await;
        let (outcome, bodies) = answered(vec![DESCRIBED, lost, OURS], put).await;
        assert!(matches!(outcome, Ok(None)), "{outcome:?}");
        assert_eq!(bodies.len(), 3, "the put itself went out once");
        assert!(bodies[2].contains("\"ConsistentRead\":true"), "{}", bodies[2]);
        for found in [OTHER, DONE, BROKEN] {
            // A look without an answer is tried as often as any read.
            let looks = if found == BROKEN { 3 } else { 1 };
            let answers = [vec![DESCRIBED, lost], vec![found; looks]].concat();
            let (outcome, _) = answered(answers, put).await;
            let error = outcome.expect_err("nobody knows");
            assert!(error.is_retryable() && !error.is_precondition_failed(), "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_changes_nothing_more_is_sent_again() {
    let (outcome, bodies) =
        answered(vec![DESCRIBED, Lost, BROKEN, DONE], async |db| db.put("t", "k", &json!({})).await).await;
    outcome.expect("the third one is answered");
    assert_eq!(bodies[1], bodies[3]);
    let (outcome, _) = answered(vec![DESCRIBED, Lost, DONE], async |db| db.delete("t", "k").await).await;
    outcome.expect("it is answered");
    let update = async |db: ZeroDb| db.update("t", "k", HashMap::from([("a".to_string(), json!(1))])).await;
    let (outcome, _) = answered(vec![DESCRIBED, Lost, DONE], update).await;
    outcome.expect("it is answered");
    let (outcome, _) =
        answered(vec![BROKEN, DESCRIBED, Lost, OURS], async |db| db.get::<Value>("t", "k").await).await;
    assert_eq!(outcome.expect("it is answered"), Some(json!({"id": "k", "n": 1})));
}

#[tokio::test(start_paused = true)]
async fn a_transaction_keeps_its_token() {
    let call = async |db: ZeroDb| db.transact(vec![TransactItem::delete("t", "k")]).await;
    let (outcome, bodies) = answered(vec![DESCRIBED, Lost, BROKEN, DONE], call).await;
    outcome.expect("it is answered");
    assert!(bodies[1].contains("\"ClientRequestToken\":\""), "{}", bodies[1]);
    assert!(bodies[1] == bodies[2] && bodies[2] == bodies[3]);
}

#[tokio::test(start_paused = true)]
async fn what_would_happen_twice_is_sent_once() {
    let (outcome, _) = answered(vec![DESCRIBED, Lost], async |db| db.increment("t", "k", "n", 1).await).await;
    assert!(matches!(outcome.expect_err("nobody knows").kind, CloudError::Network(_)));
    let delete = async |db: ZeroDb| db.delete_with_condition("t", "k", Condition::Exists("n".into())).await;
    let (outcome, _) = answered(vec![DESCRIBED, BROKEN], delete).await;
    assert!(outcome.expect_err("nobody knows").is_retryable());
    let old = KvPutOptions { condition: None, return_old: true };
    let (outcome, _) = answered(vec![DESCRIBED, Lost], async |db| {
        db.put_with_options("t", "k", &json!({}), old.clone()).await
    })
    .await;
    outcome.expect_err("nobody knows what was there");
    let (outcome, _) = answered(vec![DESCRIBED, FAILED], async |db| {
        db.put_with_options("t", "k", &json!({}), absent()).await
    })
    .await;
    assert!(outcome.expect_err("it is there").is_precondition_failed());
}

#[tokio::test(start_paused = true)]
async fn what_is_left_over_is_sent_again_until_there_is_nothing() {
    let left =
        Status(200, "{\"UnprocessedItems\":{\"t\":[{\"PutRequest\":{\"Item\":{\"id\":{\"S\":\"b\"}}}}]}}");
    let write = async |db: ZeroDb| db.batch_write("t", &[("a", &json!({})), ("b", &json!({}))]).await;
    let (outcome, bodies) = answered(vec![DESCRIBED, left, DONE], write).await;
    outcome.expect("all is written");
    assert_eq!(bodies[2], "{\"RequestItems\":{\"t\":[{\"PutRequest\":{\"Item\":{\"id\":{\"S\":\"b\"}}}}]}}");
    let left = || {
        Status(
            200,
            "{\"Responses\":{\"t\":[]},\"UnprocessedKeys\":{\"t\":{\"Keys\":[{\"id\":{\"S\":\"a\"}}]}}}",
        )
    };
    let got = Status(
        200,
        "{\"Responses\":{\"t\":[{\"id\":{\"S\":\"a\"},\"n\":{\"N\":\"1\"}}]},\"UnprocessedKeys\":{}}",
    );
    let read = async |db: ZeroDb| db.batch_get::<Value>("t", &["a"]).await;
    let (outcome, bodies) = answered(vec![DESCRIBED, left(), got], read).await;
    assert_eq!(outcome.expect("all is read"), [json!({"id": "a", "n": 1})]);
    assert_eq!(bodies[1], bodies[2]);
    // A service that never gets on is given up.
    let (outcome, _) = answered(vec![DESCRIBED, left(), left(), left()], read).await;
    assert!(outcome.expect_err("it is given up").is_throttled());
}

#[tokio::test(start_paused = true)]
async fn an_answer_with_another_checksum_is_none() {
    let body = "{\"Item\":{\"id\":{\"S\":\"k\"},\"n\":{\"N\":\"1\"}}}";
    let wrong = With("x-amz-crc32", "1", body);
    let right = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, body.as_bytes()).to_string();
    let right = With("x-amz-crc32", right.leak(), body);
    let get = async |db: ZeroDb| db.get::<Value>("t", "k").await;
    let (outcome, _) = answered(vec![DESCRIBED, wrong, wrong, right], get).await;
    assert_eq!(outcome.expect("the third one is whole"), Some(json!({"id": "k", "n": 1})));
    let (outcome, _) = answered(vec![DESCRIBED, wrong, wrong, wrong], get).await;
    let error = outcome.expect_err("none is whole");
    assert!(matches!(error, CloudError::Network(_)), "{error}");
    // A sum that was added is not added again.
    let (outcome, _) =
        answered(vec![DESCRIBED, wrong], async |db| db.increment("t", "k", "n", 1).await).await;
    assert!(matches!(outcome.expect_err("it is not whole").kind, CloudError::Network(_)));
}
