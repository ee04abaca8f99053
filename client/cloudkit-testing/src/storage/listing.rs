//! Pages of objects and of versions.
//! Invariant: a token names the last place that was given, so that what is written behind it meanwhile is still found.

use super::bucket::{Buckets, Version};
use crate::limits::PAGE_OBJECT_COUNT_MAX;
use crate::refusal::{Outcome, Refusal};
use cloudkit_core::api::{ListOptions, ObjectVersion};
use cloudkit_core::common::{ListResult, Metadata, ObjectMetadata, PaginationToken};

impl Buckets {
    /// One page of the objects; those that the delimiter groups are left out.
    pub(super) fn list_objects(
        &self,
        bucket: &str,
        options: &ListOptions,
    ) -> Outcome<ListResult<ObjectMetadata>> {
        let objects = &self.find(bucket)?.objects;
        let prefix = options.prefix.as_deref().unwrap_or("");
        let delimiter = options.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
        let after = token(options)?;
        let listed = objects
            .iter()
            .filter(|(key, _)| key.starts_with(prefix))
            .filter(|(key, _)| after.as_ref().is_none_or(|(after, _)| *key > after))
            .filter(|(key, _)| delimiter.is_none_or(|delimiter| !key[prefix.len()..].contains(delimiter)))
            .filter_map(|(key, versions)| versions.last()?.metadata(key))
            // A listing of S3 tells neither of these.
            .map(|facts| ObjectMetadata { content_type: None, metadata: Metadata::new(), ..facts });
        Ok(page(listed, options, |last| last.key.clone()))
    }

    /// One page of all versions, the newest of each key first.
    pub(super) fn list_versions(
        &self,
        bucket: &str,
        options: &ListOptions,
    ) -> Outcome<ListResult<ObjectVersion>> {
        let objects = &self.find(bucket)?.objects;
        let prefix = options.prefix.as_deref().unwrap_or("");
        let delimiter = options.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
        let after = token(options)?;
        let mut listed = Vec::new();
        for (key, versions) in objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
            if delimiter.is_some_and(|delimiter| key[prefix.len()..].contains(delimiter)) {
                continue;
            }
            let newest_first = versions.iter().rev().enumerate();
            let mut of_key: Vec<_> = newest_first.map(|(index, one)| version(key, one, index == 0)).collect();
            if let Some((last_key, last_id)) = &after {
                if key < last_key {
                    continue;
                }
                if key == last_key {
                    let given = of_key.iter().position(|version| version.version_id == *last_id);
                    of_key.drain(..given.map_or(0, |index| index + 1));
                }
            }
            listed.extend(of_key);
        }
        Ok(page(listed.into_iter(), options, |last| format!("{}\0{}", last.key, last.version_id)))
    }
}

fn version(key: &str, version: &Version, is_latest: bool) -> ObjectVersion {
    let mut told = ObjectVersion::new(key, &version.id);
    told.is_latest = is_latest;
    told.is_delete_marker = version.body.is_none();
    told.size = version.body.as_ref().map_or(0, |body| body.len() as u64);
    told.etag = version.body.is_some().then(|| version.etag.clone());
    told.last_modified = Some(version.modified);
    told
}

fn page<T>(
    mut listed: impl Iterator<Item = T>,
    options: &ListOptions,
    name: impl Fn(&T) -> String,
) -> ListResult<T> {
    let wanted = options.max_results.map_or(PAGE_OBJECT_COUNT_MAX, |max| max as usize);
    let items: Vec<T> = listed.by_ref().take(wanted.min(PAGE_OBJECT_COUNT_MAX)).collect();
    let next = match items.last() {
        Some(last) if listed.next().is_some() => PaginationToken::some(written(&name(last))),
        Some(_) | None => PaginationToken::none(),
    };
    ListResult::new(items, next)
}

fn written(place: &str) -> String {
    place.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// Key and version of a token; the version is empty in one of objects.
fn token(options: &ListOptions) -> Outcome<Option<(String, String)>> {
    let Some(token) = &options.continuation_token else { return Ok(None) };
    let refused = || Refusal::invalid("InvalidArgument", "the continuation token is none of this listing");
    if token.is_empty() || token.len() % 2 != 0 || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(refused());
    }
    let bytes = (0..token.len()).step_by(2).map(|at| u8::from_str_radix(&token[at..at + 2], 16));
    let bytes: Vec<u8> = bytes.collect::<Result<_, _>>().map_err(|_| refused())?;
    let text = String::from_utf8(bytes).map_err(|_| refused())?;
    let (key, version) = text.split_once('\0').unwrap_or((&text, ""));
    Ok(Some((key.to_owned(), version.to_owned())))
}
