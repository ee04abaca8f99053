//! DeleteObjects: up to 1,000 keys in one request.
//! Invariant: each key is decided by itself on its owner; one that is refused changes nothing for the others.

use std::collections::VecDeque;

use aws::xml::{Document, Element, Writer, XmlError};
use plan::{Context, Plan};
use store::ShardId;

use super::Refusal;
use super::delete_object::{DeleteVersions, Deleted, Deletion};
use crate::call::{Bucket, Shared, collect_announced, submit};
use crate::model::{Conditions, DELETE_KEY_COUNT_MAX, EtagList, LARGE_XML_BODY_BYTES_MAX, VersionId};
use crate::wire::address::checked_key;
use crate::wire::checksum::Announced;
use crate::wire::error::{Code, Error};
use crate::wire::{headers, reply};

/// Keys in one operation: what they change must fit one batch of the log, with the largest attributes allowed.
const KEYS_PER_OPERATION: usize = 64;

/// POST /b?delete.
pub fn start(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_as("s3:DeleteObject", &bucket, Some(aws::acl::Permission::Write))?;
    let announced = Announced::parse(call.headers())?;
    if !announced.is_some() {
        return Err(Error::request(
            "Missing required header for this request: Content-MD5 OR x-amz-checksum-*",
        ));
    }
    Ok(collect_announced(call, LARGE_XML_BODY_BYTES_MAX, announced, move |call, cx, body| {
        let request = parse(&body, call.now(cx))?;
        let mut groups: Vec<(ShardId, Vec<(usize, Deletion)>)> = Vec::new();
        let mut outcomes: Vec<Option<Outcome>> = Vec::new();
        for (index, item) in request.items.iter().enumerate() {
            match &item.deletion {
                Ok(deletion) => {
                    let shard = bucket.shard(cx, &deletion.key);
                    outcomes.push(None);
                    group(&mut groups, shard, index, deletion);
                }
                Err(error) => outcomes.push(Some(Err(error.clone()))),
            }
        }
        let owner = call.caller().filter(|caller| *caller != bucket.record.owner_canonical);
        let work = Work { request, bucket, owner, groups: groups.into(), outcomes };
        Ok(go_on(call.clone(), work))
    }))
}

type Outcome = Result<Deleted, Error>;

/// What is left to do, and what was done.
struct Work {
    request: Request,
    bucket: Bucket,
    owner: Option<aws::account::CanonicalId>,
    groups: VecDeque<(ShardId, Vec<(usize, Deletion)>)>,
    outcomes: Vec<Option<Outcome>>,
}

/// The same key may come twice, and the second time must see the first: the order within a shard is kept.
fn group(
    groups: &mut Vec<(ShardId, Vec<(usize, Deletion)>)>,
    shard: ShardId,
    index: usize,
    deletion: &Deletion,
) {
    let open = groups.iter_mut().rev().find(|(known, _)| *known == shard);
    match open {
        Some((_, group)) if group.len() < KEYS_PER_OPERATION => group.push((index, deletion.clone())),
        _ => groups.push((shard, vec![(index, deletion.clone())])),
    }
}

fn go_on(call: Shared, mut work: Work) -> Plan {
    let Some((shard, group)) = work.groups.pop_front() else {
        return Plan::Reply(reply::xml(write(&work)));
    };
    let (indices, deletions): (Vec<usize>, Vec<Deletion>) = group.into_iter().unzip();
    let delete = DeleteVersions::new(&work.bucket, deletions, work.owner);
    submit(call, shard, delete, move |call, _cx, outcome: Result<Vec<Result<Deleted, Refusal>>, Refusal>| {
        for (index, outcome) in indices.into_iter().zip(outcome?) {
            work.outcomes[index] = Some(outcome.map_err(Error::from));
        }
        Ok(go_on(call.clone(), work))
    })
}

/// One `<Object>` of the request.
pub(crate) struct Item {
    /// As the client wrote it.
    pub(crate) key: String,
    version: Option<String>,
    /// What is asked; a key that cannot be one is refused by itself.
    pub(crate) deletion: Result<Deletion, Error>,
}

/// A request that was read.
pub(crate) struct Request {
    is_quiet: bool,
    /// In the order of the document.
    pub(crate) items: Vec<Item>,
}

/// Reads the document. `now`: for dates that name no century.
pub(crate) fn parse(body: &[u8], now: aws::Timestamp) -> Result<Request, Error> {
    let document = Document::parse(body, LARGE_XML_BODY_BYTES_MAX)?;
    let root = document.root_named("Delete")?;
    let is_quiet = root.child("Quiet").is_some_and(|quiet| quiet.trimmed().eq_ignore_ascii_case("true"));
    let mut items = Vec::new();
    for object in root.children_named("Object") {
        if items.len() == DELETE_KEY_COUNT_MAX {
            return Err(Code::MalformedXml.into());
        }
        items.push(parse_item(object, now)?);
    }
    if items.is_empty() {
        return Err(Code::MalformedXml.into());
    }
    Ok(Request { is_quiet, items })
}

fn parse_item(object: Element<'_, '_>, now: aws::Timestamp) -> Result<Item, Error> {
    let key = object.child_text("Key").ok_or(XmlError::Malformed)?.to_owned();
    let version = object.child("VersionId").map(|id| id.trimmed().to_owned()).filter(|id| !id.is_empty());
    let time = |text: &str| {
        let iso = aws::Timestamp::parse_iso8601(text.as_bytes()).map(aws::Timestamp::as_seconds);
        iso.and_then(|seconds| u64::try_from(seconds).ok()).or_else(|| headers::http_seconds(text, now))
    };
    let size = match object.child("Size") {
        Some(size) => Some(size.trimmed().parse().map_err(|_| Error::from(Code::MalformedXml))?),
        None => None,
    };
    let conditions = Conditions {
        if_match: object.child("ETag").map(|etag| EtagList::parse(etag.trimmed())),
        if_modified_time: object.child("LastModifiedTime").and_then(|text| time(text.trimmed())),
        if_size: size,
        ..Conditions::default()
    };
    let parsed_version = match &version {
        None => Ok(None),
        Some(text) => VersionId::parse(text).map(Some).ok_or_else(|| Error::from(Code::NoSuchVersion)),
    };
    let deletion = checked_key(key.clone())
        .and_then(|key| parsed_version.map(|version| Deletion { key, version, conditions }));
    Ok(Item { key, version, deletion })
}

fn write(work: &Work) -> Vec<u8> {
    let mut writer = Writer::s3("DeleteResult", 256 + work.outcomes.len() * 128);
    for (item, outcome) in work.request.items.iter().zip(&work.outcomes) {
        match outcome {
            Some(Ok(_)) if work.request.is_quiet => {}
            Some(Ok(deleted)) => {
                writer.open("Deleted");
                writer.text("Key", &item.key);
                writer.text_if("VersionId", item.version.as_deref());
                if deleted.is_marker {
                    writer.boolean("DeleteMarker", true);
                    writer.text_if("DeleteMarkerVersionId", deleted.id.map(|id| id.to_string()).as_deref());
                }
                writer.close("Deleted");
            }
            Some(Err(error)) => write_error(&mut writer, item, error),
            None => write_error(&mut writer, item, &Error::from(Code::InternalError)),
        }
    }
    writer.close("DeleteResult");
    writer.into_bytes()
}

fn write_error(writer: &mut Writer, item: &Item, error: &Error) {
    writer.open("Error");
    writer.text("Key", &item.key);
    writer.text_if("VersionId", item.version.as_deref());
    writer.text("Code", error.reply.code);
    writer.text("Message", &error.reply.message);
    writer.close("Error");
}
