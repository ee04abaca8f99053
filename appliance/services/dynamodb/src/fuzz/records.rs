//! Bytes as the records of tables, streams and what is pending, and texts as names and iterators: what is read can be
//! written, and reads as the same again.

use crate::engine::streams::Position;
use crate::model::arn::TableArn;
use crate::model::names::{parse_sequence, parse_stream_label, sequence_text, stream_label};
use crate::store::due::{entry_key, entry_of};
use crate::store::pending::{Dropped, Progress};
use crate::store::stream::{Change, StreamRecord, record_key, record_of, stream_of, streams_key};
use crate::store::table::{decode, decode_fence, encode, table_key_in_fence};

/// The bytes of a value or key of each kind of record.
pub fn bytes(input: &[u8]) {
    if let Ok(table) = decode(input) {
        assert_eq!(decode(&encode(&table)).expect("what was written is read"), table);
    }
    if let Ok(stream) = StreamRecord::decode(input) {
        assert_eq!(StreamRecord::decode(&stream.encode()).expect("what was written is read"), stream);
    }
    if let Ok(change) = Change::decode(input) {
        assert_eq!(Change::decode(&change.encode()).expect("what was written is read"), change);
    }
    if let Ok(progress) = Progress::decode(input) {
        assert_eq!(Progress::decode(&progress.encode()).expect("what was written is read"), progress);
    }
    if let Ok(dropped) = Dropped::decode(input) {
        assert_eq!(Dropped::decode(&dropped.encode()).expect("what was written is read"), dropped);
    }
    // The key comes behind the epoch, so that a fence may hold the one without the other.
    if table_key_in_fence(input).is_ok() {
        decode_fence(input).expect("the epoch comes first");
    }
    if let Ok((when, entry)) = entry_of(input) {
        assert_eq!(entry_key(when, entry), input);
    }
    if let Ok((stream, sequence, part)) = record_of(input) {
        assert_eq!(record_key(stream, sequence, part), input);
    }
    if let Ok((account, table, opened)) = stream_of(input) {
        assert_eq!(streams_key(account, table, opened), input);
    }
    if let Ok(text) = str::from_utf8(input) {
        texts(text);
    }
}

fn texts(text: &str) {
    if let Some(arn) = TableArn::parse(text) {
        assert_eq!(arn.to_string(), text);
    }
    if let Some(opened) = parse_stream_label(text) {
        assert_eq!(stream_label(opened), text);
    }
    if let Some(sequence) = parse_sequence(text) {
        assert_eq!(parse_sequence(&sequence_text(sequence)), Some(sequence));
    }
    if let Some((position, issued)) = Position::parse(text) {
        assert_eq!(Position::parse(&position.iterator(issued)), Some((position, issued)));
    }
}
