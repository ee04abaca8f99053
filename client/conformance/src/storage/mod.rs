//! Cases of [`ObjectStorage`].

mod buckets;
mod listings;
mod objects;
mod streams;

use crate::case::Wrong;
use crate::subject::Subject;
use buckets::*;
use cloudkit_core::api::{ListOptions, ObjectStorage};
use listings::*;
use objects::*;
use streams::*;

suite! {
    /// Runs the cases of buckets and objects.
    storage: ObjectStorage;
    a_bucket_is_there_from_its_making_to_its_deletion;
    making_ones_own_bucket_again_leaves_it_as_it_is;
    a_bucket_with_objects_is_not_deleted;
    names_that_no_bucket_may_have_are_refused;
    whatever_is_asked_of_a_missing_bucket_is_not_found;
    what_was_put_comes_back;
    a_put_replaces_what_was_there;
    odd_keys_are_kept_byte_by_byte;
    keys_that_no_object_may_have_are_refused;
    headers_and_metadata_come_back;
    a_missing_object_is_not_found;
    a_range_includes_both_ends;
    a_range_outside_of_the_object_is_refused;
    if_match_reads_the_known_object_only;
    if_none_match_tells_that_nothing_changed;
    deleting_what_is_not_there_is_a_success;
    more_keys_than_one_request_takes_are_deleted;
    a_copy_has_body_and_facts_of_its_source;
    a_copy_of_nothing_is_not_found;
    keys_are_listed_in_the_order_of_their_bytes;
    pages_together_are_the_whole_listing;
    a_delimiter_leaves_grouped_keys_out;
    a_prefix_may_be_any_text;
    list_stream_gives_all_pages ["list_stream"];
    a_level_has_its_objects_and_each_folder_once ["list_level"];
    a_signed_address_reads_without_credentials ["presigned_get_url"];
    a_signed_address_writes_without_credentials ["presigned_put_url"];
    a_signed_address_for_more_than_a_week_is_refused ["presigned_get_url"];
    a_signed_address_ends ["presigned_get_url"] minutes;
    a_stream_of_unknown_length_is_put_and_read_whole ["put_stream", "get_stream"];
    a_stream_tells_facts_and_place_of_a_part ["get_stream"];
    a_stream_is_read_on_a_condition ["get_stream"];
    a_stream_tells_the_headers_that_it_was_put_with ["put_stream", "get_stream", "stream_headers"];
    a_body_that_fails_writes_nothing ["put_stream"];
    put_if_absent_writes_once ["put_if_absent"];
    put_if_match_writes_over_the_known_object_only ["put_if_match"];
    old_versions_are_kept_and_told ["set_versioning", "list_versions", "get_version"];
    a_deleted_object_leaves_a_marker ["set_versioning", "list_versions", "delete_version"];
    pages_of_versions_together_are_all_versions ["set_versioning", "list_versions"];
    tags_are_set_replaced_and_taken_away ["get_tags", "set_tags", "delete_tags"];
    tags_go_with_a_put ["put_tags", "get_tags"];
    tags_that_break_a_rule_are_refused ["set_tags"];
}

/// A new bucket.
async fn bucket<S: ObjectStorage + ?Sized, U: Subject>(service: &S, subject: &U) -> Result<String, Wrong> {
    let name = subject.fresh("bucket");
    service.create_bucket(&name).await?;
    Ok(name)
}

/// All keys of a listing, page after page.
async fn keys<S: ObjectStorage + ?Sized>(
    service: &S,
    bucket: &str,
    options: ListOptions,
) -> Result<Vec<String>, Wrong> {
    let (mut keys, mut options) = (Vec::new(), options);
    loop {
        let page = service.list_objects(bucket, options.clone()).await?;
        if let Some(max) = options.max_results.filter(|max| page.items.len() > *max as usize) {
            return Err(crate::case::wrong(format!("{} objects on a page of {max}", page.items.len())));
        }
        keys.extend(page.items.into_iter().map(|object| object.key));
        if keys.len() > LISTED_COUNT_MAX {
            return Err(crate::case::wrong("the listing has no end"));
        }
        match page.next_token.0 {
            None => return Ok(keys),
            Some(token) => options.continuation_token = Some(token),
        }
    }
}

/// More than any case writes.
const LISTED_COUNT_MAX: usize = 10_000;
