//! Prefix, delimiter and position: what every listing of keys shares.
//! Invariant: a key is on at most one page, as itself or inside a common prefix, and a common prefix is on one page only.

use std::ops::Bound;

use aws::xml::Writer;

use crate::model::Generation;
use crate::store::{object_key, successor};
use crate::wire::error::Error;
use crate::wire::query::Query;
use crate::wire::reply::Names;
use crate::wire::token::Position;

/// Which keys a listing shows and how it groups them.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Keys start with it.
    pub prefix: String,
    /// Groups keys behind the prefix; `None` where the request has none or an empty one.
    pub delimiter: Option<String>,
    /// How names are written.
    pub names: Names,
}

impl Filter {
    /// Reads `prefix`, `delimiter` and `encoding-type`.
    pub fn parse(query: &Query) -> Result<Filter, Error> {
        let is_url_encoded = match query.filled("encoding-type") {
            None => false,
            Some(text) if text.eq_ignore_ascii_case("url") => true,
            Some(text) => {
                return Err(Error::argument(
                    "encoding-type",
                    text,
                    "Invalid Encoding Method specified in Request",
                ));
            }
        };
        Ok(Filter {
            prefix: query.get("prefix").unwrap_or("").to_owned(),
            delimiter: query.filled("delimiter").map(str::to_owned),
            names: Names { is_url_encoded },
        })
    }

    /// The common prefix into which a key falls, if it falls into one. `key` starts with the filter's prefix.
    #[must_use]
    pub fn group<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.delimiter.as_deref()?;
        let start = self.prefix.len();
        let at = key.get(start..)?.find(delimiter)?;
        key.get(..start + at + delimiter.len())
    }

    /// Where to go on behind a marker that a client gave: a marker that is itself a common prefix stands for all keys in it.
    #[must_use]
    pub fn behind(&self, marker: &str) -> Position {
        let is_group = marker.starts_with(&self.prefix) && self.group(marker) == Some(marker);
        if is_group { Position::Prefix(marker.to_owned()) } else { Position::Key(marker.to_owned()) }
    }

    /// The first stored key that a listing from `position` may show, in a table whose keys are generation and object key
    /// with `suffix` behind: nothing in CURRENT, 01 in tables whose keys go on with 00.
    #[must_use]
    pub fn start(
        &self,
        generation: Generation,
        position: Option<&Position>,
        suffix: &[u8],
    ) -> Bound<Vec<u8>> {
        let first = object_key(generation, self.prefix.as_bytes());
        let from = match position {
            None => return Bound::Included(first),
            Some(Position::Key(key)) => {
                let mut from = object_key(generation, key.as_bytes());
                if suffix.is_empty() {
                    return if from >= first { Bound::Excluded(from) } else { Bound::Included(first) };
                }
                from.extend_from_slice(suffix);
                from
            }
            Some(Position::Prefix(prefix)) => behind_prefix(generation, prefix),
        };
        Bound::Included(from.max(first))
    }

    /// Writes the fields that every listing repeats from its request, `Prefix` first.
    pub fn write(&self, writer: &mut Writer) {
        self.names.write(writer, "Prefix", &self.prefix);
        if let Some(delimiter) = &self.delimiter {
            self.names.write(writer, "Delimiter", delimiter);
        }
        if self.names.is_url_encoded {
            writer.text("EncodingType", "url");
        }
    }

    /// Writes one common prefix.
    pub fn write_group(&self, writer: &mut Writer, group: &str) {
        writer.open("CommonPrefixes");
        self.names.write(writer, "Prefix", group);
        writer.close("CommonPrefixes");
    }
}

/// The first stored key behind everything with a prefix.
#[must_use]
pub fn behind_prefix(generation: Generation, prefix: &str) -> Vec<u8> {
    let front = object_key(generation, prefix.as_bytes());
    // A generation of all ones under an empty prefix has no successor; then nothing lies behind.
    successor(&front).unwrap_or_else(|| vec![u8::MAX; front.len() + crate::model::KEY_BYTES_MAX])
}

/// A bound over borrowed bytes.
#[must_use]
pub fn as_bound(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(prefix: &str, delimiter: &str) -> Filter {
        let query = format!("prefix={prefix}&delimiter={delimiter}");
        Filter::parse(&Query::parse(Some(&query)).expect("UTF-8")).expect("valid")
    }

    #[test]
    fn keys_fall_into_the_first_group_behind_the_prefix() {
        assert_eq!(filter("", "/").group("a/b/c"), Some("a/"));
        assert_eq!(filter("a/", "/").group("a/b/c"), Some("a/b/"));
        assert_eq!(filter("a/", "/").group("a/"), None);
        assert_eq!(filter("a/", "/").group("a/b"), None);
        assert_eq!(filter("", "").group("a/b"), None);
        assert_eq!(filter("", "éé").group("aéébéé"), Some("aéé"));
    }

    #[test]
    fn a_marker_that_is_a_group_stands_for_all_of_it() {
        assert_eq!(filter("", "/").behind("a/"), Position::Prefix("a/".into()));
        assert_eq!(filter("", "/").behind("a/b"), Position::Key("a/b".into()));
        assert_eq!(filter("", "").behind("a/"), Position::Key("a/".into()));
        assert_eq!(filter("a/", "/").behind("a/"), Position::Key("a/".into()));
    }

    #[test]
    fn a_listing_starts_at_the_later_of_prefix_and_position() {
        let generation = Generation(1);
        let at = |text: &str| object_key(generation, text.as_bytes());
        let filter = filter("m", "");
        assert_eq!(filter.start(generation, None, b""), Bound::Included(at("m")));
        let early = Position::Key("a".into());
        assert_eq!(filter.start(generation, Some(&early), b""), Bound::Included(at("m")));
        let late = Position::Key("mz".into());
        assert_eq!(filter.start(generation, Some(&late), b""), Bound::Excluded(at("mz")));
        assert_eq!(filter.start(generation, Some(&late), &[1]), Bound::Included(at("mz\u{1}")));
        let group = Position::Prefix("mz/".into());
        assert_eq!(filter.start(generation, Some(&group), b""), Bound::Included(at("mz0")));
    }
}
