//! ListStreams, DescribeStream, GetShardIterator, GetRecords: reading what was changed in a table.

use std::ops::Bound;

use plan::{Context, Plan};
use store::{Direction, ShardId, Timestamp};

use crate::call::{Shared, settle};
use crate::engine::streams::{self, ITERATOR_LIFE_MS, Position, RECORD_COUNT_MAX};
use crate::json::Writer;
use crate::model::arn::{Part, TableArn};
use crate::model::names::{
    parse_sequence, parse_stream_shard_name, sequence_text, stream_label, stream_shard_name,
};
use crate::store::stream::{RETENTION_MS, STREAMS, StreamRecord, stream_of, streams_front, streams_key};
use crate::wire::constraint::{Violations, Word};
use crate::wire::describe::{key_schema, text, time, view_word};
use crate::wire::error::{Error, ErrorName};
use crate::wire::request::table::check_table_name;
use crate::wire::request::{Text, decode};

/// Streams or shards on one page.
const PAGE_COUNT_MAX: i64 = 100;
/// Characters of a `StreamArn`.
const ARN_LENGTH: (usize, usize) = (37, 1_024);
/// Characters of a `ShardId`.
const SHARD_LENGTH: (usize, usize) = (28, 65);
/// Characters of a `SequenceNumber`.
const SEQUENCE_LENGTH: (usize, usize) = (21, 40);
/// Characters of a `ShardIterator`.
const ITERATOR_LENGTH: (usize, usize) = (1, 2_048);

/// What these requests hold.
#[derive(Default)]
struct Request<'a> {
    arn: Option<Text<'a>>,
    start_arn: Option<Text<'a>>,
    table_name: Option<Text<'a>>,
    shard: Option<Text<'a>>,
    start_shard: Option<Text<'a>>,
    filter: Option<(Option<Text<'a>>, Option<Text<'a>>)>,
    kind: Option<Text<'a>>,
    sequence: Option<Text<'a>>,
    iterator: Option<Text<'a>>,
    limit: Option<i64>,
}

/// `ShardIteratorType`
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    After,
    Latest,
    At,
    TrimHorizon,
}

impl Word for Kind {
    const WORDS: &'static [(&'static str, Kind)] = &[
        ("AFTER_SEQUENCE_NUMBER", Kind::After),
        ("LATEST", Kind::Latest),
        ("AT_SEQUENCE_NUMBER", Kind::At),
        ("TRIM_HORIZON", Kind::TrimHorizon),
    ];
}

/// `ShardFilterType`
#[derive(Clone, Copy)]
struct ChildShards;

impl Word for ChildShards {
    const WORDS: &'static [(&'static str, ChildShards)] = &[("CHILD_SHARDS", ChildShards)];
}

impl<'a> Request<'a> {
    fn decode(body: &'a [u8], shape: &'static str) -> Result<Request<'a>, Error> {
        let mut request = Request::default();
        decode(body, shape, &mut |name, r| {
            match name {
                "StreamArn" => request.arn = Some(r.string()?),
                "ExclusiveStartStreamArn" => request.start_arn = Some(r.string()?),
                "TableName" => request.table_name = Some(r.string()?),
                "ShardId" => request.shard = Some(r.string()?),
                "ExclusiveStartShardId" => request.start_shard = Some(r.string()?),
                "ShardFilter" => {
                    let filter = request.filter.insert((None, None));
                    r.structure("ShardFilter", &mut |name, r| {
                        match name {
                            "Type" => filter.0 = Some(r.string()?),
                            "ShardId" => filter.1 = Some(r.string()?),
                            _ => return Ok(false),
                        }
                        Ok(true)
                    })?;
                }
                "ShardIteratorType" => request.kind = Some(r.string()?),
                "SequenceNumber" => request.sequence = Some(r.string()?),
                "ShardIterator" => request.iterator = Some(r.string()?),
                "Limit" => request.limit = Some(i64::from(r.integer()?)),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(request)
    }

    /// How many streams or shards a page has.
    fn page_count(&self) -> usize {
        usize::try_from(self.limit.unwrap_or(PAGE_COUNT_MAX)).unwrap_or(1)
    }
}

fn length(v: &mut Violations, member: &str, text: Option<&str>, (min, max): (usize, usize)) {
    if let Some(text) = text {
        v.length(member, text, min, max);
    }
}

fn limit(v: &mut Violations, limit: Option<i64>, max: i64) {
    if let Some(limit) = limit {
        v.range("limit", limit, 1, max);
    }
}

/// The table and time of opening that an ARN of a stream of the caller says.
fn stream_name<'n>(call: &Shared, text: &'n str) -> Result<(&'n str, Timestamp), Error> {
    let malformed = || Error::validation(format!("Invalid StreamArn: {text}"));
    let arn = TableArn::parse(text).ok_or_else(malformed)?;
    let Part::Stream(opened) = arn.part else { return Err(malformed()) };
    if arn.region != call.config.region || arn.account != call.account_id() {
        return Err(call.denied(text, arn.account));
    }
    Ok((arn.table, opened))
}

fn no_stream(arn: &str) -> Error {
    Error::new(ErrorName::ResourceNotFound, format!("Requested resource not found: Stream: {arn} not found"))
}

fn stream_arn(call: &Shared, table: &str, opened: Timestamp) -> String {
    let (region, account) = (call.config.region.as_str(), call.account_id());
    TableArn { region, account, table, part: Part::Stream(opened) }.to_string()
}

/// Begins ListStreams.
pub fn list(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let request = Request::decode(body, "ListStreamsInput")?;
    let mut v = Violations::new();
    if let Some(name) = &request.table_name {
        check_table_name(&mut v, "tableName", Some(name));
    }
    limit(&mut v, request.limit, PAGE_COUNT_MAX);
    length(&mut v, "exclusiveStartStreamArn", request.start_arn.as_deref(), ARN_LENGTH);
    v.finish()?;
    let table = request.table_name.as_deref().map(|name| call.table_name(name)).transpose()?;
    let front = streams_front(call.account_id(), table);
    let start = match request.start_arn.as_deref() {
        None => Bound::Included(front.clone()),
        Some(arn) => {
            let (table, opened) = stream_name(&call, arn)?;
            Bound::Excluded(streams_key(call.account_id(), table, opened).max(front.clone()))
        }
    };
    let mut found: Vec<(String, Timestamp)> = Vec::new();
    let mut more = false;
    if let Some(shard) = cx.store.shards().next() {
        let view = cx.store.view(shard)?;
        let mut scan = view.scan(STREAMS, start.as_ref().map(|key| &key[..]), Direction::Forward);
        while let Some((key, record)) = scan.next()? {
            if !key.starts_with(&front) {
                break;
            }
            if StreamRecord::decode(record.value)?.is_over(cx.now) {
                continue;
            }
            if found.len() >= request.page_count() {
                more = true;
                break;
            }
            let (_, table, opened) = stream_of(key)?;
            found.push((table.to_owned(), opened));
        }
    }
    let mut out = Writer::new();
    out.begin_object();
    out.key("Streams");
    out.begin_array();
    for (table, opened) in &found {
        out.begin_object();
        text(&mut out, "StreamArn", &stream_arn(&call, table, *opened));
        text(&mut out, "TableName", table);
        text(&mut out, "StreamLabel", &stream_label(*opened));
        out.end_object();
    }
    out.end_array();
    if let Some((table, opened)) = found.last().filter(|_| more) {
        text(&mut out, "LastEvaluatedStreamArn", &stream_arn(&call, table, *opened));
    }
    out.end_object();
    Ok(call.reply(out))
}

/// Begins DescribeStream.
pub fn describe(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let request = Request::decode(body, "DescribeStreamInput")?;
    let mut v = Violations::new();
    v.required("streamArn", request.arn.is_some());
    length(&mut v, "streamArn", request.arn.as_deref(), ARN_LENGTH);
    limit(&mut v, request.limit, PAGE_COUNT_MAX);
    length(&mut v, "exclusiveStartShardId", request.start_shard.as_deref(), SHARD_LENGTH);
    if let Some((kind, shard)) = &request.filter {
        v.word::<ChildShards>("shardFilter.type", kind.as_deref());
        length(&mut v, "shardFilter.shardId", shard.as_deref(), SHARD_LENGTH);
    }
    v.finish()?;
    let arn = request.arn.as_deref().unwrap_or_default();
    let (table, opened) = stream_name(&call, arn)?;
    let Some(first) = cx.store.shards().next() else { return Err(no_stream(arn)) };
    let stream = streams::find(&cx.store.view(first)?, call.account_id(), table, opened, cx.now)?;
    let stream = stream.ok_or_else(|| no_stream(arn))?;
    let mut out = Writer::new();
    out.begin_object();
    out.key("StreamDescription");
    out.begin_object();
    text(&mut out, "StreamArn", arn);
    text(&mut out, "StreamLabel", &stream_label(opened));
    text(&mut out, "StreamStatus", if stream.closed.is_some() { "DISABLED" } else { "ENABLED" });
    text(&mut out, "StreamViewType", view_word(stream.view));
    time(&mut out, "CreationRequestDateTime", opened);
    text(&mut out, "TableName", table);
    key_schema(&mut out, &stream.key);
    let last = shards(cx, &request, &stream, opened, &mut out)?;
    if let Some(last) = last {
        text(&mut out, "LastEvaluatedShardId", &last);
    }
    out.end_object();
    out.end_object();
    Ok(call.reply(out))
}

/// Writes a page of shards. Gives the last one's name if there are more.
fn shards(
    cx: &Context<'_>,
    request: &Request<'_>,
    stream: &StreamRecord,
    opened: Timestamp,
    out: &mut Writer,
) -> Result<Option<String>, Error> {
    out.key("Shards");
    out.begin_array();
    let after = request.start_shard.as_deref();
    let mut last = None;
    let mut more = false;
    let mut count = 0;
    // Shards are never divided here, so that none has children.
    let wanted = cx.store.shards().filter(|_| request.filter.is_none());
    for shard in wanted {
        let name = stream_shard_name(opened, shard);
        if after.is_some_and(|after| *name <= *after) {
            continue;
        }
        if count >= request.page_count() {
            more = true;
            break;
        }
        let ends = streams::ends(&cx.store.view(shard)?, stream.number, cx.now)?;
        out.begin_object();
        text(out, "ShardId", &name);
        out.key("SequenceNumberRange");
        out.begin_object();
        text(out, "StartingSequenceNumber", &sequence_text(ends.map_or(0, |(first, _)| first)));
        if stream.closed.is_some() {
            text(out, "EndingSequenceNumber", &sequence_text(ends.map_or(0, |(_, last)| last)));
        }
        out.end_object();
        out.end_object();
        last = Some(name);
        count += 1;
    }
    out.end_array();
    Ok(last.filter(|_| more))
}

/// Begins GetShardIterator.
pub fn shard_iterator(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let request = Request::decode(body, "GetShardIteratorInput")?;
    let mut v = Violations::new();
    v.required("streamArn", request.arn.is_some());
    length(&mut v, "streamArn", request.arn.as_deref(), ARN_LENGTH);
    v.required("shardId", request.shard.is_some());
    length(&mut v, "shardId", request.shard.as_deref(), SHARD_LENGTH);
    v.required("shardIteratorType", request.kind.is_some());
    let kind: Option<Kind> = v.word("shardIteratorType", request.kind.as_deref());
    length(&mut v, "sequenceNumber", request.sequence.as_deref(), SEQUENCE_LENGTH);
    v.finish()?;
    let sequence = wanted_sequence(kind, request.sequence.as_deref())?;
    let arn = request.arn.as_deref().unwrap_or_default();
    let (table, opened) = stream_name(&call, arn)?;
    let name = request.shard.as_deref().unwrap_or_default();
    let no_shard = || {
        let text = format!("Requested resource not found: Shard: {name} in Stream: {arn} not found");
        Error::new(ErrorName::ResourceNotFound, text)
    };
    let shard: Option<ShardId> = parse_stream_shard_name(name, opened);
    let first = cx.store.shards().next().ok_or_else(no_shard)?;
    let known = shard.filter(|shard| cx.store.shards().any(|known| known == *shard));
    let view = cx.store.view(known.unwrap_or(first))?;
    let stream = streams::find(&view, call.account_id(), table, opened, cx.now)?;
    let stream = stream.ok_or_else(|| no_stream(arn))?;
    let shard = known.ok_or_else(no_shard)?;
    let from = match (kind, sequence) {
        (Some(Kind::Latest), _) => streams::latest(&view, stream.number, cx.now)?,
        (_, None) => 0,
        (_, Some(from)) => {
            // A younger stream has lost nothing yet.
            let may_be_trimmed = opened.plus_ms(RETENTION_MS) <= cx.now;
            let first = streams::ends(&view, stream.number, cx.now)?.map(|(first, _)| first);
            if may_be_trimmed && first.is_none_or(|first| from < first) {
                return Err(trimmed());
            }
            from
        }
    };
    let account = call.account_id().to_owned();
    let position = Position { account, table: table.to_owned(), opened, shard, from };
    let mut out = Writer::new();
    out.begin_object();
    text(&mut out, "ShardIterator", &position.iterator(cx.now));
    out.end_object();
    Ok(call.reply(out))
}

fn trimmed() -> Error {
    Error::new(
        ErrorName::TrimmedDataAccess,
        "The operation attempted to read past the oldest stream record in a shard",
    )
}

/// The first sequence that an iterator of this kind shows, where the request says one.
fn wanted_sequence(kind: Option<Kind>, sequence: Option<&str>) -> Result<Option<u128>, Error> {
    let is_needed = matches!(kind, Some(Kind::At | Kind::After));
    match (is_needed, sequence) {
        (false, None) => Ok(None),
        (false, Some(_)) => Err(Error::validation(
            "SequenceNumber must not be specified for a ShardIteratorType of LATEST or TRIM_HORIZON",
        )),
        (true, None) => Err(Error::validation(
            "SequenceNumber must be specified for a ShardIteratorType of AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER",
        )),
        (true, Some(text)) => {
            let invalid = || Error::validation(format!("Invalid SequenceNumber: {text}"));
            let sequence = parse_sequence(text).ok_or_else(invalid)?;
            Ok(Some(sequence.saturating_add(u128::from(kind == Some(Kind::After)))))
        }
    }
}

/// Begins GetRecords.
pub fn records(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let request = Request::decode(body, "GetRecordsInput")?;
    let count_max = i64::try_from(RECORD_COUNT_MAX).unwrap_or(i64::MAX);
    let mut v = Violations::new();
    v.required("shardIterator", request.iterator.is_some());
    length(&mut v, "shardIterator", request.iterator.as_deref(), ITERATOR_LENGTH);
    limit(&mut v, request.limit, count_max);
    v.finish()?;
    let invalid = || Error::validation("Invalid ShardIterator");
    let (position, issued) =
        Position::parse(request.iterator.as_deref().unwrap_or_default()).ok_or_else(invalid)?;
    let is_known = cx.store.shards().any(|shard| shard == position.shard);
    if position.account != call.account_id() || !is_known || issued > cx.now.plus_ms(ITERATOR_LIFE_MS) {
        return Err(invalid());
    }
    if issued.plus_ms(ITERATOR_LIFE_MS) < cx.now {
        return Err(Error::new(
            ErrorName::ExpiredIterator,
            "Iterator expired: the iterator was created more than 15 minutes ago",
        ));
    }
    let arn = stream_arn(&call, &position.table, position.opened);
    let mut out = Writer::new();
    out.begin_object();
    out.key("Records");
    out.begin_array();
    let count = usize::try_from(request.limit.unwrap_or(count_max)).unwrap_or(1);
    let region = call.config.region.clone();
    Ok(streams::read(cx, position, region, count, out, move |cx, shown| {
        let outcome = shown.map_err(Error::from).and_then(|shown| {
            let shown = shown.ok_or_else(|| no_stream(&arn))?;
            let mut out = shown.records;
            out.end_array();
            if let Some(next) = shown.next {
                text(&mut out, "NextShardIterator", &next.iterator(cx.now));
            }
            out.end_object();
            Ok(call.reply(out))
        });
        settle(&call, outcome)
    }))
}
