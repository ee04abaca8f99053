//! TagResource, UntagResource, ListTagsOfResource: the tags of a table, which its record holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plan::{Context, Plan};

use crate::call::{Shared, settle};
use crate::engine::change_table::{Decision, change};
use crate::json::Writer;
use crate::model::arn::{Part, TableArn};
use crate::model::table::Table;
use crate::store::table::table_key;
use crate::wire::constraint::Violations;
use crate::wire::describe::text;
use crate::wire::error::{Error, ErrorName};
use crate::wire::request::table::{RawTag, pairs, texts};
use crate::wire::request::{Text, decode};

/// Tags of a table at most.
const COUNT_MAX: usize = 50;
/// Characters of a key.
const KEY_MAX: usize = 128;
/// Characters of a value.
const VALUE_MAX: usize = 256;
/// Tags on one page.
const PAGE_COUNT: usize = 10;
/// Characters of a `ResourceArn`.
const ARN_MAX: usize = 1_283;

/// Tags as a record holds them.
pub type Tags = Vec<(Box<str>, Box<str>)>;

/// What these requests hold.
#[derive(Default)]
struct Request<'a> {
    arn: Option<Text<'a>>,
    tags: Option<Vec<RawTag<'a>>>,
    keys: Option<Vec<Text<'a>>>,
    token: Option<Text<'a>>,
}

impl<'a> Request<'a> {
    fn decode(body: &'a [u8], shape: &'static str) -> Result<Request<'a>, Error> {
        let mut request = Request::default();
        decode(body, shape, &mut |name, r| {
            match name {
                "ResourceArn" => request.arn = Some(r.string()?),
                "Tags" => request.tags = Some(pairs(r, "Tag", ["Key", "Value"])?),
                "TagKeys" => request.keys = Some(texts(r)?),
                "NextToken" => request.token = Some(r.string()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(request)
    }

    /// The name of the table, which has to be the caller's. Errors: AccessDeniedException for that of another account or
    /// region, ValidationException for what names no table.
    fn table<'n>(&'n self, call: &Shared, mut v: Violations) -> Result<&'n str, Error> {
        v.required("resourceArn", self.arn.is_some());
        if let Some(arn) = &self.arn {
            v.length("resourceArn", arn, 1, ARN_MAX);
        }
        v.finish()?;
        let text = self.arn.as_deref().unwrap_or_default();
        let malformed =
            || Error::validation(format!("Invalid TableArn: Invalid ResourceArn provided as input {text}"));
        let arn = TableArn::parse(text).filter(|arn| arn.part == Part::Table).ok_or_else(malformed)?;
        if arn.region != call.config.region || arn.account != call.account_id() {
            return Err(call.denied(text, arn.account));
        }
        Ok(arn.table)
    }

    /// The table is not there, in the words of these operations (the spelling is AWS's).
    fn absent(&self) -> Error {
        let arn = self.arn.as_deref().unwrap_or_default();
        Error::new(
            ErrorName::ResourceNotFound,
            format!("Requested resource not found: ResourcArn: {arn} not found"),
        )
    }
}

/// Begins TagResource.
pub fn tag(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let request = Request::decode(body, "TagResourceInput")?;
    let mut v = Violations::new();
    v.required("tags", request.tags.is_some());
    let name = request.table(&call, v)?;
    if request.tags.as_ref().is_some_and(Vec::is_empty) {
        return Err(Error::validation("Atleast one Tag needs to be provided as Input."));
    }
    let more = merged(BTreeMap::new(), request.tags.as_deref())?;
    let absent = request.absent();
    rewrite(call, cx, name, absent, move |tags| {
        let mut all: BTreeMap<Box<str>, Box<str>> = tags.into_iter().collect();
        all.extend(more.iter().cloned());
        counted(all)
    })
}

/// Begins UntagResource.
pub fn untag(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let request = Request::decode(body, "UntagResourceInput")?;
    let mut v = Violations::new();
    v.required("tagKeys", request.keys.is_some());
    let name = request.table(&call, v)?;
    let keys: BTreeSet<Box<str>> = request.keys.iter().flatten().map(|key| (&**key).into()).collect();
    if keys.is_empty() {
        return Err(Error::validation("Atleast one Tag Key needs to be provided as Input."));
    }
    let absent = request.absent();
    rewrite(call, cx, name, absent, move |mut tags| {
        tags.retain(|(key, _)| !keys.contains(key));
        Ok(tags)
    })
}

/// Changes the tags of a table. A change that changes nothing writes nothing.
fn rewrite<F>(call: Shared, cx: &mut Context<'_>, name: &str, absent: Error, edit: F) -> Result<Plan, Error>
where
    F: Fn(Tags) -> Result<Tags, Error> + 'static,
{
    let key = table_key(call.account_id(), name);
    let decide = move |_: &mut Context<'_>, found: Option<Table>| {
        let Some(mut table) = found else { return Err(absent.clone()) };
        let tags = edit(table.tags.clone())?;
        if tags == table.tags {
            return Ok(Decision::Keep(()));
        }
        table.tags = tags;
        Ok(Decision::Write(Box::new(table), Vec::new(), ()))
    };
    Ok(change(cx, key, decide, move |_, outcome| settle(&call, outcome.map(|()| call.nothing()))))
}

/// Begins ListTagsOfResource.
pub fn list(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let request = Request::decode(body, "ListTagsOfResourceInput")?;
    let name = request.table(&call, Violations::new())?;
    let table: Arc<Table> = call.find_table(cx, name)?.ok_or_else(|| request.absent())?;
    // The token is the last key of the page before, not to be read by clients.
    let after = match request.token.as_deref() {
        None => None,
        Some(token) => {
            let key = aws::encoding::unbase64(token.as_bytes()).and_then(|key| String::from_utf8(key).ok());
            Some(key.ok_or_else(|| Error::validation("Invalid NextToken"))?)
        }
    };
    let behind = |key: &str| after.as_deref().is_none_or(|after| key > after);
    let rest: Vec<_> = table.tags.iter().filter(|(key, _)| behind(key)).collect();
    let mut out = Writer::new();
    out.begin_object();
    out.key("Tags");
    out.begin_array();
    for (key, value) in rest.iter().take(PAGE_COUNT) {
        out.begin_object();
        text(&mut out, "Key", key);
        text(&mut out, "Value", value);
        out.end_object();
    }
    out.end_array();
    if rest.len() > PAGE_COUNT {
        text(&mut out, "NextToken", &aws::encoding::base64(rest[PAGE_COUNT - 1].0.as_bytes()));
    }
    out.end_object();
    Ok(call.reply(out))
}

/// Tags with those of a request among them, sorted by key. Errors: ValidationException for keys and values that are none.
pub fn merged(mut all: BTreeMap<Box<str>, Box<str>>, tags: Option<&[RawTag<'_>]>) -> Result<Tags, Error> {
    if tags.is_some_and(|tags| tags.len() > COUNT_MAX) {
        return Err(too_many());
    }
    let mut v = Violations::new();
    for (number, (key, value)) in (1..).zip(tags.unwrap_or_default()) {
        for (member, text, min, max) in [("key", key, 1, KEY_MAX), ("value", value, 0, VALUE_MAX)] {
            let member = format!("tags.{number}.member.{member}");
            v.required(&member, text.is_some());
            if let Some(text) = text {
                v.length(&member, text, min, max);
            }
        }
    }
    v.finish()?;
    for (key, value) in tags.unwrap_or_default() {
        let (key, value) = (key.as_deref().unwrap_or_default(), value.as_deref().unwrap_or_default());
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Error::validation(format!(
                "Tag key {key} must not begin with aws:, which is reserved"
            )));
        }
        if !key.chars().chain(value.chars()).all(is_tag_character) {
            return Err(Error::validation(
                "Tag keys and values hold letters, digits, blanks and + - = . _ : / @ only",
            ));
        }
        all.insert(key.into(), value.into());
    }
    counted(all)
}

fn counted(all: BTreeMap<Box<str>, Box<str>>) -> Result<Tags, Error> {
    if all.len() > COUNT_MAX {
        return Err(too_many());
    }
    Ok(all.into_iter().collect())
}

fn too_many() -> Error {
    Error::validation(format!("Too many tags: a resource has at most {COUNT_MAX}"))
}

fn is_tag_character(character: char) -> bool {
    character.is_alphanumeric() || character.is_whitespace() || "+-=._:/@".contains(character)
}
