//! Reads: one item, a page of a partition, a page of a table.

use std::sync::Arc;

use cloudkit_core::api::{Condition, KvGetOptions, KvQueryOptions, ScanOptions};
use cloudkit_core::common::Failure;

use super::ZeroDb;
use super::expression::{Holds, Operand, Places, projection};
use super::schema::KeyNames;
use super::token::{self, LastKey};
use super::value::{Item, TaggedKey};
use super::wire::{ItemReply, ItemRequest, ask};
use crate::retry::Idempotency;
use crate::service::Operation;

/// What a page begins behind.
type After<'a> = Option<&'a LastKey>;

impl ZeroDb {
    /// An item with its key; None if there is none.
    pub(super) async fn get_item(
        &self,
        operation: &Operation<'_>,
        table: &str,
        key: &str,
        options: &KvGetOptions,
    ) -> Result<Option<Item>, Failure> {
        let act = |names: Arc<KeyNames>| async move {
            let mut places = Places::default();
            let paths = options.projection.as_deref();
            let paths = paths.map(|paths| projection(paths, &names.key, &mut places)).transpose();
            let request = ItemRequest {
                table_name: table,
                key: Some(TaggedKey { name: &names.key, value: key }),
                projection_expression: paths.map_err(|words| self.invalid(operation, words))?,
                expression_attribute_names: places.names,
                consistent_read: options.consistent_read.then_some(true),
                ..ItemRequest::default()
            };
            let reply: ItemReply = ask(&self.client, operation, &request, Idempotency::Always).await?;
            // Of no paths at all, the key is what was asked for, and only tells that there is an item.
            let is_asked = options.projection.as_ref().is_none_or(|paths| !paths.is_empty());
            Ok(reply.item.map(|item| if is_asked { item } else { Item::default() }))
        };
        self.with_names(table, act).await
    }

    /// A page of a partition.
    pub(super) async fn query_page(
        &self,
        operation: &Operation<'_>,
        table: &str,
        partition: &str,
        options: &KvQueryOptions,
    ) -> Result<ItemReply, Failure> {
        let after = match options.continuation_token.as_deref().map(token::decode) {
            None => None,
            Some(Some(after)) => Some(after),
            Some(None) => return Err(self.invalid(operation, "the continuation token is none of this query")),
        };
        let after = after.as_ref();
        let act = |names: Arc<KeyNames>| async move {
            // The service refuses it too, but not what of it was folded away.
            let is_named = |name: &str| options.filter.as_ref().is_some_and(|filter| filter.names(name));
            let names_a_key = is_named(&names.key) || names.sort.as_deref().is_some_and(is_named);
            if names_a_key && !names.is_guess {
                return Err(self.invalid(operation, "the filter of a query names an attribute of the key"));
            }
            let mut places = Places::default();
            let mut of_partition = String::new();
            places.name(&mut of_partition, &names.key);
            of_partition.push('=');
            places.value(&mut of_partition, Operand::Text(partition));
            let filter = self.filter(operation, options.filter.as_ref(), &names, &mut places)?;
            let request = ItemRequest {
                table_name: table,
                key_condition_expression: Some(of_partition),
                filter_expression: filter,
                expression_attribute_names: places.names,
                expression_attribute_values: places.values,
                consistent_read: options.consistent_read.then_some(true),
                limit: options.limit,
                scan_index_forward: Some(options.scan_forward),
                exclusive_start_key: after.cloned(),
                ..ItemRequest::default()
            };
            ask(&self.client, operation, &request, Idempotency::Always).await
        };
        self.with_names(table, act).await
    }

    /// A page of a table.
    pub(super) async fn scan_page(
        &self,
        operation: &Operation<'_>,
        table: &str,
        options: &ScanOptions,
        after: After<'_>,
    ) -> Result<ItemReply, Failure> {
        let act = |names: Arc<KeyNames>| async move {
            let mut places = Places::default();
            let filter = self.filter(operation, options.filter.as_ref(), &names, &mut places)?;
            let request = ItemRequest {
                table_name: table,
                filter_expression: filter,
                expression_attribute_names: places.names,
                expression_attribute_values: places.values,
                consistent_read: options.consistent_read.then_some(true),
                limit: options.page_items,
                exclusive_start_key: after.cloned(),
                ..ItemRequest::default()
            };
            ask(&self.client, operation, &request, Idempotency::Always).await
        };
        self.with_names(table, act).await
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
        let holds = Holds::of(filter).map_err(|words| self.invalid(operation, words))?;
        let is_key = |name: &str| names.key == name || names.sort.as_deref() == Some(name);
        let no_key = NO_KEYS.into_iter().find(|name| !is_key(name)).unwrap_or(NO_KEYS[0]);
        Ok(holds.expression(places, no_key))
    }
}

/// Three names, of which two keys leave one.
const NO_KEYS: [&str; 3] = ["a", "b", "c"];
