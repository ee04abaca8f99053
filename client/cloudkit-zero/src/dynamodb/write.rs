//! Writes of one item. The head of mod.rs says which of them are sent again.

use std::sync::Arc;

use cloudkit_core::api::{Condition, KvGetOptions, KvPutOptions};
use cloudkit_core::common::{CloudError, Failure};
use serde_json::{Map, Value};

use super::ZeroDb;
use super::expression::{Holds, Operand, Places, update};
use super::schema::KeyNames;
use super::value::{TaggedKey, TaggedMap, is_same_item};
use super::wire::{Ignored, ItemReply, ItemRequest, ask, is_in_doubt};
use crate::retry::Idempotency;
use crate::service::Operation;

impl ZeroDb {
    /// Writes an item; gives the one that was there, if that was asked for.
    pub(super) async fn put_item(
        &self,
        operation: &Operation<'_>,
        table: &str,
        key: &str,
        item: &Map<String, Value>,
        options: &KvPutOptions,
    ) -> Result<Option<Value>, Failure> {
        let act = |names: Arc<KeyNames>| async move {
            self.check_key(operation, &names, key, item)?;
            let mut places = Places::default();
            let condition = self.condition(operation, options.condition.as_ref(), &names, &mut places)?;
            let is_plain = condition.is_none() && !options.return_old;
            let request = ItemRequest {
                table_name: table,
                item: Some(TaggedMap { item, key: Some((&names.key, key)) }),
                condition_expression: condition,
                expression_attribute_names: places.names,
                expression_attribute_values: places.values,
                return_values: options.return_old.then_some("ALL_OLD"),
                ..ItemRequest::default()
            };
            let idempotency = if is_plain { Idempotency::Always } else { Idempotency::IfNotSent };
            let outcome = ask::<ItemReply>(&self.client, operation, &request, idempotency).await;
            match outcome {
                Ok(reply) => {
                    let old = reply.attributes.filter(|_| options.return_old);
                    Ok(old.map(|old| Value::Object(old.0)))
                }
                Err(failure) if !options.return_old && is_in_doubt(&failure) => {
                    let mut sent = item.clone();
                    sent.insert(names.key.clone(), Value::from(key));
                    if self.is_there(table, key, &sent).await { Ok(None) } else { Err(failure) }
                }
                Err(failure) => Err(failure),
            }
        };
        self.with_names(table, act).await
    }

    /// Whether the item of this key is this one now.
    async fn is_there(&self, table: &str, key: &str, item: &Map<String, Value>) -> bool {
        let operation = Operation::inside("GetItem", table, key);
        let options = KvGetOptions { consistent_read: true, projection: None };
        // Without an answer nothing is known, and the write's own failure is told.
        match Box::pin(self.get_item(&operation, table, key, &options)).await {
            Ok(Some(found)) => is_same_item(item, &found.0),
            Ok(None) | Err(_) => false,
        }
    }

    /// Deletes an item.
    pub(super) async fn delete_item(
        &self,
        table: &str,
        key: &str,
        condition: Option<&Condition>,
    ) -> Result<(), Failure> {
        let operation = Operation::inside("DeleteItem", table, key);
        let operation = &operation;
        let act = |names: Arc<KeyNames>| async move {
            let mut places = Places::default();
            let condition = self.condition(operation, condition, &names, &mut places)?;
            let idempotency = if condition.is_none() { Idempotency::Always } else { Idempotency::IfNotSent };
            let request = ItemRequest {
                table_name: table,
                key: Some(TaggedKey { name: &names.key, value: key }),
                condition_expression: condition,
                expression_attribute_names: places.names,
                expression_attribute_values: places.values,
                ..ItemRequest::default()
            };
            ask::<Ignored>(&self.client, operation, &request, idempotency).await.map(|_| ())
        };
        self.with_names(table, act).await
    }

    /// Sets attributes of an item.
    pub(super) async fn update_item(
        &self,
        table: &str,
        key: &str,
        updates: &Map<String, Value>,
    ) -> Result<(), Failure> {
        let operation = Operation::inside("UpdateItem", table, key);
        let operation = &operation;
        let act = |names: Arc<KeyNames>| async move {
            let mut places = Places::default();
            let set = update(updates, &mut places).map_err(|words| self.invalid(operation, words))?;
            let request = ItemRequest {
                table_name: table,
                key: Some(TaggedKey { name: &names.key, value: key }),
                update_expression: set,
                expression_attribute_names: places.names,
                expression_attribute_values: places.values,
                ..ItemRequest::default()
            };
            ask::<Ignored>(&self.client, operation, &request, Idempotency::Always).await.map(|_| ())
        };
        self.with_names(table, act).await
    }

    /// Adds to a number and gives the sum.
    pub(super) async fn add(&self, table: &str, key: &str, attribute: &str, by: i64) -> Result<i64, Failure> {
        let operation = Operation::inside("UpdateItem", table, key);
        let operation = &operation;
        let act = |names: Arc<KeyNames>| async move {
            let mut places = Places::default();
            let mut sum = String::from("ADD ");
            places.name(&mut sum, attribute);
            sum.push(' ');
            places.value(&mut sum, Operand::Integer(i128::from(by)));
            // The service's numbers are larger than ours: what would leave 64 bits is refused before it is added.
            let mut fits = String::from("attribute_not_exists(");
            places.name(&mut fits, attribute);
            fits.push_str(") OR ");
            places.name(&mut fits, attribute);
            fits.push_str(" BETWEEN ");
            // Both ends are exact: a stored number of more than 63 bits may have a sum that fits.
            places.value(&mut fits, Operand::Integer(i128::from(i64::MIN) - i128::from(by)));
            fits.push_str(" AND ");
            places.value(&mut fits, Operand::Integer(i128::from(i64::MAX) - i128::from(by)));
            let request = ItemRequest {
                table_name: table,
                key: Some(TaggedKey { name: &names.key, value: key }),
                update_expression: Some(sum),
                condition_expression: Some(fits),
                expression_attribute_names: places.names,
                expression_attribute_values: places.values,
                return_values: Some("UPDATED_NEW"),
                ..ItemRequest::default()
            };
            ask::<ItemReply>(&self.client, operation, &request, Idempotency::IfNotSent).await
        };
        let not_whole = || format!("{attribute:?} holds no whole number whose sum with {by} has 64 bits");
        let reply = self.with_names(table, act).await.map_err(|mut failure| {
            if failure.kind.is_precondition_failed() {
                failure.kind = CloudError::Validation(not_whole());
                failure.detail.message = not_whole();
                failure.detail.hint = None;
            }
            failure
        })?;
        let sum = reply.attributes.as_ref().and_then(|item| item.0.get(attribute)).and_then(Value::as_i64);
        sum.ok_or_else(|| self.invalid(operation, not_whole()))
    }

    fn condition<'a>(
        &self,
        operation: &Operation<'_>,
        condition: Option<&'a Condition>,
        names: &'a KeyNames,
        places: &mut Places<'a>,
    ) -> Result<Option<String>, Failure> {
        let Some(condition) = condition else { return Ok(None) };
        let holds = Holds::of(condition).map_err(|words| self.invalid(operation, words))?;
        Ok(holds.expression(places, &names.key))
    }
}
