//! Reads and writes of one item, pages of a partition and of a table.

use std::sync::Arc;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use cloudkit_core::api::{Condition, KvGetOptions, KvPutOptions, KvQueryOptions, ScanOptions};
use cloudkit_core::common::{CloudError, Failure};
use serde_json::{Map, Value};

use super::DynamoDbStore;
use super::expression::{self, Holds, Places, projection};
use super::schema::KeyNames;
use super::token;
use super::value::{Attributes, incoming, incoming_item, outgoing_item};
use crate::operation::Operation;

/// Items, and what the next page begins behind.
pub(super) struct Page {
    pub items: Vec<Attributes>,
    pub last: Option<Attributes>,
}

impl DynamoDbStore {
    /// An item with its key; None if there is none.
    pub(super) async fn get_item(
        &self,
        operation: &Operation<'_>,
        table: &str,
        key: &str,
        options: &KvGetOptions,
    ) -> Result<Option<Attributes>, Failure> {
        let act = |names: Arc<KeyNames>| async move {
            let mut places = Places::default();
            let paths = options.projection.as_deref();
            let paths = paths.map(|paths| projection(paths, &names.key, &mut places)).transpose();
            let call = self
                .sdk()
                .get_item()
                .table_name(table)
                .key(&names.key, AttributeValue::S(key.into()))
                .set_projection_expression(paths.map_err(|words| self.caller.invalid(operation, words))?)
                .set_expression_attribute_names(places.names())
                .consistent_read(options.consistent_read)
                .send();
            let found = self.caller.run(operation, call).await?.item;
            // Of no paths at all, the key is what was asked for, and only tells that there is an item.
            let is_asked = options.projection.as_ref().is_none_or(|paths| !paths.is_empty());
            Ok(found.map(|item| if is_asked { item } else { Attributes::default() }))
        };
        self.with_names(table, act).await
    }

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
            let mut places = Places::default();
            let condition = self.condition(operation, options.condition.as_ref(), &names, &mut places)?;
            let is_harmful = condition.is_some() || options.return_old;
            let call = self
                .sdk()
                .put_item()
                .table_name(table)
                .set_item(Some(self.keyed(operation, &names, key, item)?))
                .set_condition_expression(condition)
                .set_expression_attribute_names(places.names())
                .set_expression_attribute_values(places.values())
                .set_return_values(options.return_old.then_some(ReturnValue::AllOld))
                .send();
            self.caller.run(&operation.once_if(is_harmful), call).await
        };
        let old = self.with_names(table, act).await?.attributes.filter(|_| options.return_old);
        old.map(|old| self.item(operation, old).map(Value::Object)).transpose()
    }

    /// An item with the key in it. Errors: Validation, if it has something else in its place.
    pub(super) fn keyed(
        &self,
        operation: &Operation<'_>,
        names: &KeyNames,
        key: &str,
        item: &Map<String, Value>,
    ) -> Result<Attributes, Failure> {
        keyed(names, key, item).map_err(|words| {
            let mut failure = self.caller.invalid(operation, words);
            failure.detail.hint = Some(KEY_HINT.into());
            failure
        })
    }

    /// Deletes an item.
    pub(super) async fn delete_item(
        &self,
        table: &str,
        key: &str,
        condition: Option<&Condition>,
    ) -> Result<(), Failure> {
        let operation = Operation::inside("DeleteItem", table, key).once_if(condition.is_some());
        let operation = &operation;
        let act = |names: Arc<KeyNames>| async move {
            let mut places = Places::default();
            let condition = self.condition(operation, condition, &names, &mut places)?;
            let call = self
                .sdk()
                .delete_item()
                .table_name(table)
                .key(&names.key, AttributeValue::S(key.into()))
                .set_condition_expression(condition)
                .set_expression_attribute_names(places.names())
                .set_expression_attribute_values(places.values())
                .send();
            self.caller.run(operation, call).await.map(drop)
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
            let set = expression::update(updates, &mut places)
                .map_err(|words| self.caller.invalid(operation, words))?;
            let call = self
                .sdk()
                .update_item()
                .table_name(table)
                .key(&names.key, AttributeValue::S(key.into()))
                .set_update_expression(set)
                .set_expression_attribute_names(places.names())
                .set_expression_attribute_values(places.values())
                .send();
            self.caller.run(operation, call).await.map(drop)
        };
        self.with_names(table, act).await
    }

    /// Adds to a number and gives the sum.
    pub(super) async fn add(&self, table: &str, key: &str, attribute: &str, by: i64) -> Result<i64, Failure> {
        let operation = Operation::inside("UpdateItem", table, key).once();
        let operation = &operation;
        let number = |number: i128| AttributeValue::N(number.to_string());
        let act = |names: Arc<KeyNames>| async move {
            let mut places = Places::default();
            let mut sum = String::from("ADD ");
            places.name(&mut sum, attribute);
            sum.push(' ');
            places.value(&mut sum, number(by.into()));
            // The service's numbers are larger than ours: what would leave 64 bits is refused before it is added.
            let mut fits = String::from("attribute_not_exists(");
            places.name(&mut fits, attribute);
            fits.push_str(") OR ");
            places.name(&mut fits, attribute);
            fits.push_str(" BETWEEN ");
            places.value(&mut fits, number(i128::from(i64::MIN) - i128::from(by)));
            fits.push_str(" AND ");
            places.value(&mut fits, number(i128::from(i64::MAX) - i128::from(by)));
            let call = self
                .sdk()
                .update_item()
                .table_name(table)
                .key(&names.key, AttributeValue::S(key.into()))
                .update_expression(sum)
                .condition_expression(fits)
                .set_expression_attribute_names(places.names())
                .set_expression_attribute_values(places.values())
                .return_values(ReturnValue::UpdatedNew)
                .send();
            self.caller.run(operation, call).await
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
        let sum = reply.attributes.and_then(|mut item| item.remove(attribute)).and_then(incoming);
        sum.and_then(|sum| sum.as_i64()).ok_or_else(|| self.caller.invalid(operation, not_whole()))
    }

    /// A page of a partition.
    pub(super) async fn query_page(
        &self,
        operation: &Operation<'_>,
        table: &str,
        partition: &str,
        options: &KvQueryOptions,
    ) -> Result<Page, Failure> {
        let invalid = |words: &str| self.caller.invalid(operation, words);
        let after = options.continuation_token.as_deref();
        let after =
            after.map(|after| token::decode(after).ok_or_else(|| invalid(FOREIGN_TOKEN))).transpose()?;
        let after = &after;
        let act = |names: Arc<KeyNames>| async move {
            // The service refuses it too, but not what of it was folded away.
            let names_it = |name: &str| options.filter.as_ref().is_some_and(|one| one.names(name));
            if names_it(&names.key) || names.sort.as_deref().is_some_and(names_it) {
                return Err(invalid("the filter of a query names an attribute of the key"));
            }
            let mut places = Places::default();
            let mut of_partition = String::new();
            places.name(&mut of_partition, &names.key);
            of_partition.push('=');
            places.value(&mut of_partition, AttributeValue::S(partition.into()));
            let filter = self.filter(operation, options.filter.as_ref(), &names, &mut places)?;
            let call = self
                .sdk()
                .query()
                .table_name(table)
                .key_condition_expression(of_partition)
                .set_filter_expression(filter)
                .set_expression_attribute_names(places.names())
                .set_expression_attribute_values(places.values())
                .consistent_read(options.consistent_read)
                .set_limit(options.limit.map(limit))
                .scan_index_forward(options.scan_forward)
                .set_exclusive_start_key(after.clone())
                .send();
            let output = self.caller.run(operation, call).await?;
            Ok(Page { items: output.items.unwrap_or_default(), last: output.last_evaluated_key })
        };
        self.with_names(table, act).await
    }

    /// A page of a table.
    pub(super) async fn scan_page(
        &self,
        operation: &Operation<'_>,
        table: &str,
        options: &ScanOptions,
        after: Option<Attributes>,
    ) -> Result<Page, Failure> {
        let after = &after;
        let act = |names: Arc<KeyNames>| async move {
            let mut places = Places::default();
            let filter = self.filter(operation, options.filter.as_ref(), &names, &mut places)?;
            let call = self
                .sdk()
                .scan()
                .table_name(table)
                .set_filter_expression(filter)
                .set_expression_attribute_names(places.names())
                .set_expression_attribute_values(places.values())
                .consistent_read(options.consistent_read)
                .set_limit(options.page_items.map(limit))
                .set_exclusive_start_key(after.clone())
                .send();
            let output = self.caller.run(operation, call).await?;
            Ok(Page { items: output.items.unwrap_or_default(), last: output.last_evaluated_key })
        };
        self.with_names(table, act).await
    }

    fn condition<'a>(
        &self,
        operation: &Operation<'_>,
        condition: Option<&'a Condition>,
        names: &'a KeyNames,
        places: &mut Places<'a>,
    ) -> Result<Option<String>, Failure> {
        let Some(condition) = condition else { return Ok(None) };
        let holds = Holds::of(condition).map_err(|words| self.caller.invalid(operation, words))?;
        Ok(holds.expression(places, &names.key))
    }

    /// The expression of a filter. One that never holds is said with an attribute that is no key: a query takes no other.
    fn filter<'a>(
        &self,
        operation: &Operation<'_>,
        filter: Option<&'a Condition>,
        names: &KeyNames,
        places: &mut Places<'a>,
    ) -> Result<Option<String>, Failure> {
        let Some(filter) = filter else { return Ok(None) };
        let holds = Holds::of(filter).map_err(|words| self.caller.invalid(operation, words))?;
        let is_key = |name: &str| names.key == name || names.sort.as_deref() == Some(name);
        let no_key = NO_KEYS.into_iter().find(|name| !is_key(name)).unwrap_or(NO_KEYS[0]);
        Ok(holds.expression(places, no_key))
    }

    /// An item that came, as JSON.
    pub(super) fn item(
        &self,
        operation: &Operation<'_>,
        item: Attributes,
    ) -> Result<Map<String, Value>, Failure> {
        incoming_item(item).ok_or_else(|| self.caller.malformed(operation, "an attribute of an unknown kind"))
    }
}

/// An item with the key in it. Errors: words for one that has something else in its place.
pub(super) fn keyed(names: &KeyNames, key: &str, item: &Map<String, Value>) -> Result<Attributes, String> {
    match item.get(&names.key) {
        Some(Value::String(own)) if own == key => Ok(outgoing_item(item)),
        Some(_) => {
            Err(format!("the item's attribute {:?} is the table's key and has another value", names.key))
        }
        None => {
            let mut item = outgoing_item(item);
            item.insert(names.key.clone(), AttributeValue::S(key.into()));
            Ok(item)
        }
    }
}

/// What is beyond every bound stays beyond it.
fn limit(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

pub(super) const KEY_HINT: &str =
    "create_table(.., CreateTableOptions::new().key_name(\"an attribute of its own\"))";
const FOREIGN_TOKEN: &str = "the continuation token is none of this query";
/// Three names, of which two keys leave one.
const NO_KEYS: [&str; 3] = ["a", "b", "c"];
