//! Tag sets on the wire: the `x-amz-tagging` header and the Tagging document.

use aws::uri::{decode_query, query_pairs};
use aws::xml::{Document, Element, Writer, XmlError};

use super::error::{Code, Error};
use crate::model::{BUCKET_TAG_COUNT_MAX, OBJECT_TAG_COUNT_MAX, TagFault, Tags, XML_BODY_BYTES_MAX};

/// Reads `k=v&k2=v2`.
pub fn parse_header(text: &str) -> Result<Tags, Error> {
    let mut pairs = Vec::new();
    for (key, value) in query_pairs(text) {
        let decode = |raw| decode_query(raw).map_err(|_| Error::from(Code::InvalidTag));
        pairs.push((decode(key)?.into_owned(), decode(value)?.into_owned()));
        if pairs.len() > OBJECT_TAG_COUNT_MAX {
            break;
        }
    }
    Tags::new(pairs, OBJECT_TAG_COUNT_MAX).map_err(|fault| refuse(fault, OBJECT_TAG_COUNT_MAX))
}

/// Reads a Tagging document. `count_max`: `OBJECT_TAG_COUNT_MAX` or `BUCKET_TAG_COUNT_MAX`.
pub fn parse_document(body: &[u8], count_max: usize) -> Result<Tags, Error> {
    let document = Document::parse(body, XML_BODY_BYTES_MAX)?;
    parse_element(document.root_named("Tagging")?, count_max)
}

/// Reads the element `Tagging`.
pub fn parse_element(root: Element<'_, '_>, count_max: usize) -> Result<Tags, Error> {
    let set = root.child("TagSet").ok_or(XmlError::Malformed)?;
    let mut pairs = Vec::new();
    for tag in set.children_named("Tag") {
        let key = tag.child_text("Key").ok_or(XmlError::Malformed)?;
        let value = tag.child_text("Value").ok_or(XmlError::Malformed)?;
        pairs.push((key.to_owned(), value.to_owned()));
    }
    Tags::new(pairs, count_max).map_err(|fault| refuse(fault, count_max))
}

/// Writes a Tagging document.
#[must_use]
pub fn write_document(tags: &Tags) -> Vec<u8> {
    let mut writer = Writer::s3("Tagging", 256);
    writer.open("TagSet");
    for (key, value) in tags.pairs() {
        writer.open("Tag");
        writer.text("Key", key);
        writer.text("Value", value);
        writer.close("Tag");
    }
    writer.close("TagSet");
    writer.close("Tagging");
    writer.into_bytes()
}

fn refuse(fault: TagFault, count_max: usize) -> Error {
    let message = match fault {
        TagFault::TooMany if count_max == BUCKET_TAG_COUNT_MAX => {
            "Bucket tag count cannot be greater than 50"
        }
        TagFault::TooMany => "Object tags cannot be greater than 10",
        TagFault::Key => "The TagKey you have provided is invalid",
        TagFault::Value => "The TagValue you have provided is invalid",
        TagFault::Duplicate => "Cannot provide multiple Tags with the same key",
    };
    Error::from(Code::InvalidTag).message(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_read_like_a_query() {
        let tags = parse_header("a=1&b%20c=x+y&d=&e").expect("valid");
        let pairs: Vec<_> = tags.pairs().iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("a", "1"), ("b c", "x y"), ("d", ""), ("e", "")]);
        assert!(parse_header("a=1&a=2").expect_err("twice").is(Code::InvalidTag));
        let eleven: Vec<_> = (0..11).map(|index| format!("k{index}=v")).collect();
        assert!(parse_header(&eleven.join("&")).expect_err("many").is(Code::InvalidTag));
    }

    #[test]
    fn a_document_round_trips() {
        let tags = parse_header("a=1&b=%3Cx%3E").expect("valid");
        assert_eq!(parse_document(&write_document(&tags), 10).expect("valid"), tags);
        let xml = "<Tagging><TagSet><Tag><Key>k</Key></Tag></TagSet></Tagging>";
        assert!(parse_document(xml.as_bytes(), 10).expect_err("no value").is(Code::MalformedXml));
        assert!(parse_document(b"<Tagging/>", 10).expect_err("no set").is(Code::MalformedXml));
        assert!(parse_document(b"", 10).expect_err("empty").is(Code::MissingRequestBodyError));
    }
}
