//! Cases of [`KeyValueStore`].

mod conditions;
mod items;
mod more;
mod values;

use crate::case::Wrong;
use crate::subject::Subject;
use cloudkit_core::api::{CreateTableOptions, KeyValueStore};
use conditions::*;
use items::*;
use more::*;
use serde_json::Value;
use values::*;

suite! {
    /// Runs the cases of tables and items.
    kv: KeyValueStore;
    what_was_put_comes_back_with_its_key;
    a_key_of_its_own_is_the_key_or_refused;
    a_put_replaces_the_whole_item;
    a_missing_item_is_none;
    whatever_is_asked_of_a_missing_table_is_not_found;
    odd_keys_name_their_items;
    keys_that_no_item_may_have_are_refused;
    an_item_is_a_json_object;
    typed_values_come_back_typed;
    hostile_numbers_come_back_in_full;
    numbers_out_of_range_are_refused;
    nested_and_empty_values_come_back;
    an_item_at_the_limit_is_kept_and_one_above_refused;
    a_projection_gives_what_it_names;
    deleting_what_is_not_there_is_a_success;
    an_update_changes_what_it_names_and_makes_what_is_missing;
    put_on_a_condition_writes_if_it_holds;
    put_gives_the_old_item_if_asked;
    delete_on_a_condition_tells_whether_it_held;
    conditions_follow_the_types_of_values;
    conditions_lead_into_maps_and_lists;
    conditions_that_break_a_rule_are_refused;
    one_of_many_writers_on_a_condition_wins;
    a_partition_without_sort_key_has_one_item_at_most;
    a_query_gives_the_order_of_the_sort_key ["create_table"];
    pages_of_a_query_together_are_the_partition ["create_table"];
    a_filter_is_applied_after_the_limit ["create_table"];
    batches_above_any_request_are_read_and_written;
    a_key_named_twice_in_a_batch_is_one_item;
    names_in_an_update_are_literal;
    a_table_is_there_from_its_making_to_its_deletion ["create_table", "delete_table"];
    a_key_may_lie_in_any_attribute ["create_table"];
    items_of_two_keys_hold_both ["create_table"];
    a_transaction_does_all_or_nothing ["transact"];
    a_transaction_that_breaks_a_rule_is_refused ["transact"];
    a_scan_gives_all_items_once ["scan_stream"];
    increments_add_up_whoever_makes_them ["increment"];
    a_sum_beyond_64_bits_is_refused ["increment"];
}

/// A new table whose key lies in `id`.
async fn table(service: &(impl KeyValueStore + ?Sized), subject: &impl Subject) -> Result<String, Wrong> {
    table_of(service, subject, CreateTableOptions::new()).await
}

async fn table_of(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
    options: CreateTableOptions,
) -> Result<String, Wrong> {
    if !service.capabilities().supports("create_table") {
        return Err(Wrong::CannotAsk(String::from(
            "capabilities: no create_table, so that there is no table",
        )));
    }
    let name = subject.fresh("table");
    service.create_table(&name, options).await?;
    Ok(name)
}

/// The item as it comes back from a table of [`table`]: with its key.
fn keyed(key: &str, mut item: Value) -> Value {
    item["id"] = Value::from(key);
    item
}
