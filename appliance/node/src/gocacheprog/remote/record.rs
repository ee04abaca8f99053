//! The native API's action record, as the outputs of Go are kept in it.
//!
//! ```text
//! {"outputs":[{"path":"output","hash":"<64 hex>","size":5,"mode":420}],
//!  "metadata":{"go.output_id":"<hex>","go.time":"2026-11-21T23:49:23.001Z"}}
//! ```
//! Invariant: a record that is not of this form is a miss. Its key is a digest over the action's id and a word of ours, since other
//! users of the same namespace have keys of their own.

use aws::encoding::{hex, unhex};
use aws::time::Timestamp;
use serde_json::{Value, json};

use super::super::local::Entry;

/// What a record says about an output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// What go calls it.
    pub output: Vec<u8>,
    /// The SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// How many bytes it has.
    pub length: u64,
    /// When it was built.
    pub put_at: Timestamp,
}

/// What goes before an action's id in the digest that is its key.
const KEY_PREFIX: &[u8] = b"zerocloud gocacheprog 1\0";

/// The key of an action.
pub fn key_of(action: &[u8]) -> String {
    hex(&hash::sha256(&[KEY_PREFIX, action].concat()))
}

/// The record of an output.
pub fn write(entry: &Entry) -> Vec<u8> {
    let output = json!({"path": "output", "hash": hex(&entry.sha256), "size": entry.length, "mode": 0o644});
    let metadata = json!({"go.output_id": hex(&entry.output), "go.time": entry.put_at.to_iso8601()});
    json!({"outputs": [output], "metadata": metadata}).to_string().into_bytes()
}

/// Reads a record; None if it is none of ours.
pub fn read(text: &[u8]) -> Option<Record> {
    let record: Value = serde_json::from_slice(text).ok()?;
    let [output] = record.get("outputs")?.as_array()?.as_slice() else { return None };
    let metadata = record.get("metadata")?;
    let id = metadata.get("go.output_id")?.as_str()?;
    let is_id = (2..=2 * ID_BYTES_MAX).contains(&id.len());
    let id: Option<Vec<u8>> =
        id.as_bytes().chunks(2).map(|pair| unhex::<1>(pair).map(|[byte]| byte)).collect();
    Some(Record {
        output: id.filter(|_| is_id)?,
        sha256: unhex::<32>(output.get("hash")?.as_str()?.as_bytes())?,
        length: output.get("size")?.as_u64()?,
        put_at: Timestamp::parse_iso8601(metadata.get("go.time")?.as_str()?.as_bytes())?,
    })
}

/// The longest id of an output.
const ID_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back() {
        let entry = Entry {
            output: vec![1, 2, 250],
            sha256: hash::sha256(b"x"),
            length: 1,
            put_at: Timestamp(1_795_305_600_123),
            path: "/nowhere".into(),
        };
        let Record { output, sha256, length, put_at } = read(&write(&entry)).unwrap();
        assert_eq!(
            (output, sha256, length, put_at),
            (entry.output, entry.sha256, entry.length, entry.put_at)
        );
    }

    #[test]
    fn records_of_others_are_misses() {
        let good = r#"{"outputs":[{"path":"output","hash":"HASH","size":1}],"metadata":{"go.output_id":"01","go.time":"2026-11-21T00:00:00Z"}}"#;
        let good = good.replace("HASH", &hex(&[7; 32]));
        assert!(read(good.as_bytes()).is_some());
        for (from, to) in [
            ("go.output_id", "id"),
            ("\"01\"", "\"0\""),
            ("\"01\"", "\"\""),
            ("07070", "0707g"),
            (":1}", ":-1}"),
            ("outputs", "out"),
        ] {
            assert!(read(good.replace(from, to).as_bytes()).is_none(), "{from}");
        }
        assert!(read(b"").is_none() && read(b"[]").is_none());
    }
}
