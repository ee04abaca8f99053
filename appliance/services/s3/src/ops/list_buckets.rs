//! ListBuckets: the buckets of the caller's account, by name.

use std::ops::Bound;

use aws::xml::Writer;
use plan::{Context, Plan};
use store::Direction;

use crate::call::Shared;
use crate::model::BUCKET_PAGE_COUNT_MAX;
use crate::store::{OWNED, owned_key};
use crate::wire::error::Error;
use crate::wire::token::Position;
use crate::wire::{acl, reply};

/// GET /.
pub fn start(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let account = call.signed_account()?.clone();
    let query = &call.query;
    let page = query.page_size("max-buckets", BUCKET_PAGE_COUNT_MAX)?;
    if query.filled("max-buckets").is_some() && page == 0 {
        return Err(Error::argument("max-buckets", "0", "max-buckets must be between 1 and 10000"));
    }
    let prefix = query.get("prefix").unwrap_or("");
    let after = match query.filled("continuation-token") {
        None => None,
        Some(token) => match Position::decode(token) {
            Some(Position::Key(name)) => Some(name),
            _ => {
                return Err(Error::argument(
                    "continuation-token",
                    token,
                    "The continuation token provided is incorrect",
                ));
            }
        },
    };
    let region_matches = query.filled("bucket-region").is_none_or(|region| region == call.config.region);
    let mut names: Vec<(String, u64)> = Vec::new();
    let mut is_truncated = false;
    if region_matches {
        let shard =
            cx.store.shards().next().ok_or_else(|| Error::from(crate::wire::error::Code::InternalError))?;
        let view = cx.store.view(shard)?;
        let front = owned_key(account.id.as_str(), "");
        let first = owned_key(account.id.as_str(), prefix);
        let behind = after.map(|name| owned_key(account.id.as_str(), &name));
        let start = match &behind {
            Some(behind) if *behind >= first => Bound::Excluded(behind.as_slice()),
            _ => Bound::Included(first.as_slice()),
        };
        let mut scan = view.scan(OWNED, start, Direction::Forward);
        while let Some((key, record)) = scan.next()? {
            if !key.starts_with(&first) {
                break;
            }
            if names.len() == page {
                is_truncated = true;
                break;
            }
            let name = String::from_utf8_lossy(&key[front.len()..]).into_owned();
            let created = u64::from_be_bytes(
                record.value.get(1..9).and_then(|b| b.try_into().ok()).unwrap_or_default(),
            );
            names.push((name, created));
        }
    }
    let mut writer = Writer::s3("ListAllMyBucketsResult", 512 + names.len() * 160);
    acl::write_account(&mut writer, "Owner", account.canonical_id, cx.accounts);
    writer.open("Buckets");
    for (name, created_ms) in &names {
        writer.open("Bucket");
        writer.text("Name", name);
        writer.text("CreationDate", &reply::iso(*created_ms));
        writer.text("BucketRegion", &call.config.region);
        writer.close("Bucket");
    }
    writer.close("Buckets");
    if query.has("prefix") {
        writer.text("Prefix", prefix);
    }
    if is_truncated && let Some((last, _)) = names.last() {
        writer.text("ContinuationToken", &Position::Key(last.clone()).encode());
    }
    writer.close("ListAllMyBucketsResult");
    Ok(Plan::Reply(reply::xml(writer.into_bytes())))
}
