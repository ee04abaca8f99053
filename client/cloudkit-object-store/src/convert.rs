//! Options and facts from one form into the other.
//! Invariant: what one side says and the other has no place for is refused, or stands in the table of `lib.rs`.

use crate::error::{STORE, generic};
use bytes::Bytes;
use cloudkit_core::api::{ByteRange, PutStreamOptions};
use cloudkit_core::common::{ByteStream, CloudResult, ObjectMetadata};
use futures_util::stream;
use object_store::path::Path;
use object_store::{Attribute, Attributes, Error, GetRange, ObjectMeta, PutPayload, Result, TagSet};

/// The facts of an object, which lies at this location.
pub(crate) fn meta(location: Path, facts: &ObjectMetadata) -> ObjectMeta {
    ObjectMeta {
        location,
        last_modified: facts.last_modified,
        size: facts.size,
        e_tag: facts.etag.as_deref().map(quoted),
        version: None,
    }
}

/// The path that spells this key; `None` if none does.
pub(crate) fn path_of(key: &str) -> Option<Path> {
    Path::parse(key).ok().filter(|path| path.as_ref() == key && !key.is_empty())
}

/// An entity tag as RFC 9110 8.8.3 writes it.
pub(crate) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

/// An entity tag as CloudKit writes it.
pub(crate) fn bare(etag: &str) -> String {
    etag.trim().trim_matches('"').to_owned()
}

/// Of an object's facts, which lack what only a stream tells.
pub(crate) fn attributes(facts: ObjectMetadata) -> Attributes {
    let ObjectMetadata { content_type, storage_class, metadata, .. } = facts;
    let named = [(Attribute::ContentType, content_type), (Attribute::StorageClass, storage_class)];
    let named = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let metadata = metadata.into_iter().map(|(name, value)| (Attribute::Metadata(name.into()), value));
    named.chain(metadata).collect()
}

/// What goes with a body.
pub(crate) fn put_options(attributes: &Attributes, tags: &TagSet) -> Result<PutStreamOptions> {
    let mut options = PutStreamOptions::new();
    for (attribute, value) in attributes {
        let value = value.as_ref().to_owned();
        match attribute {
            Attribute::ContentType => options.content_type = Some(value),
            Attribute::CacheControl => options.cache_control = Some(value),
            Attribute::ContentEncoding => options.content_encoding = Some(value),
            Attribute::StorageClass => options.storage_class = Some(value),
            Attribute::Metadata(name) => drop(options.metadata.insert(name.to_string(), value)),
            other => {
                return Err(Error::NotImplemented {
                    operation: format!("put with {other:?}"),
                    implementer: STORE.to_owned(),
                });
            }
        }
    }
    for pair in tags.encoded().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        options.tags.insert(form_decoded(name)?, form_decoded(value)?);
    }
    Ok(options)
}

/// The text of a form's field: `+` is a space, and percent signs lead two digits.
fn form_decoded(text: &str) -> Result<String> {
    let refused = || generic("a tag is not in the form of an address's query");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let [high, low, after @ ..] = after else { return Err(refused()) };
                let digit = |byte: &u8| char::from(*byte).to_digit(16).ok_or_else(refused);
                bytes.push((digit(high)? * 16 + digit(low)?) as u8);
                rest = after;
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).map_err(|_| refused())
}

/// A body that can be sent again, without joining its pieces.
pub(crate) fn body(payload: PutPayload) -> ByteStream {
    let length = payload.content_length() as u64;
    let pieces: Vec<Bytes> = payload.into_iter().collect();
    let open = move || stream::iter(pieces.clone().into_iter().map(CloudResult::Ok));
    ByteStream::from_open(open, Some(length))
}

pub(crate) fn byte_range(range: &GetRange) -> Result<ByteRange> {
    range.is_valid().map_err(generic)?;
    Ok(match range {
        // A range that is valid has a byte, so that its end is above 0.
        GetRange::Bounded(range) => ByteRange::Between(range.start, range.end - 1),
        GetRange::Offset(first) => ByteRange::From(*first),
        GetRange::Suffix(count) => ByteRange::Last(*count),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_come_out_of_their_form_as_they_went_in() {
        let mut tags = TagSet::default();
        for (name, value) in [("a b", "+%/&="), ("é", "日本"), ("", "")] {
            tags.push(name, value);
        }
        let options = put_options(&Attributes::new(), &tags).unwrap();
        assert_eq!(options.tags["a b"], "+%/&=");
        assert_eq!(options.tags["é"], "日本");
        assert_eq!(options.tags.len(), 3);
        for wrong in ["%", "%4", "%zz", "%ff", "%+1"] {
            assert!(form_decoded(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_has_a_path_if_that_spells_it() {
        for key in ["a", "a/b", "a b", "a%2Fb", "é/日本"] {
            assert_eq!(path_of(key).map(|path| path.to_string()).as_deref(), Some(key));
        }
        for key in ["", "/a", "a/", "a//b", "a/../b", "a/."] {
            assert_eq!(path_of(key), None, "{key}");
        }
    }

    #[test]
    fn an_attribute_without_a_place_is_refused() {
        let attributes = Attributes::from_iter([(Attribute::ContentLanguage, "en")]);
        let refused = put_options(&attributes, &TagSet::default()).unwrap_err();
        assert!(matches!(refused, Error::NotImplemented { .. }), "{refused}");
    }
}
