//! Reading of request documents into a small read-only tree.
//!
//! Invariant: depth, element count and size are bounded before anything is built; a document type
//! declaration, an entity other than the five predefined ones, or bytes that are not UTF-8 refuse the
//! document. Namespaces and prefixes are dropped, so that the same request reads alike with the namespace,
//! without it, and with a prefix. Which elements must be there is the caller's to check; those it does not
//! ask for are thereby ignored.
//!
//! The tree is one vector in document order; each element knows where its subtree ends. Names and most text
//! are borrowed from the request.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::attributes::Attributes;
use quick_xml::events::{BytesRef, BytesStart, Event};

use crate::error::ErrorReply;

/// A parsed document.
#[derive(Debug)]
pub struct Document<'a> {
    /// Never empty; the root is first.
    nodes: Vec<Node<'a>>,
}

/// One element of a [`Document`].
#[derive(Clone, Copy, Debug)]
pub struct Element<'d, 'a> {
    document: &'d Document<'a>,
    index: usize,
}

/// Why a document was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XmlError {
    /// It has more bytes than the caller allows.
    TooLong,
    /// It is empty or nothing but blanks.
    Empty,
    /// It is not well-formed, not UTF-8, too deep, has too many elements, or uses what is refused.
    Malformed,
}

impl From<XmlError> for ErrorReply {
    fn from(error: XmlError) -> ErrorReply {
        match error {
            XmlError::TooLong => {
                ErrorReply::new("MaxMessageLengthExceeded", 400, "Your request was too big.")
            }
            XmlError::Empty => ErrorReply::new("MissingRequestBodyError", 400, "Request Body is empty"),
            XmlError::Malformed => ErrorReply::malformed_xml(),
        }
    }
}

impl<'a> Document<'a> {
    /// Parses `body`, which may have at most `bytes_max` bytes.
    pub fn parse(body: &'a [u8], bytes_max: usize) -> Result<Document<'a>, XmlError> {
        if body.len() > bytes_max {
            return Err(XmlError::TooLong);
        }
        let text = std::str::from_utf8(body).map_err(|_| XmlError::Malformed)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.bytes().all(is_blank) {
            return Err(XmlError::Empty);
        }
        Builder { text, nodes: Vec::new(), open: Vec::new() }.build()
    }

    /// The outermost element.
    pub fn root(&self) -> Element<'_, 'a> {
        Element { document: self, index: 0 }
    }

    /// The outermost element, if it has this name; `Malformed` otherwise.
    pub fn root_named(&self, name: &str) -> Result<Element<'_, 'a>, XmlError> {
        let root = self.root();
        if root.name() == name { Ok(root) } else { Err(XmlError::Malformed) }
    }
}

impl<'d, 'a> Element<'d, 'a> {
    /// The name without its prefix.
    pub fn name(self) -> &'d str {
        self.node().name
    }

    /// The text, references resolved, blanks kept. The text of an element with children is empty.
    pub fn text(self) -> &'d str {
        if self.has_children() { "" } else { &self.node().text }
    }

    /// The text without blanks around it, as numbers, dates and enumerations are read.
    pub fn trimmed(self) -> &'d str {
        self.text().trim_matches(|c: char| c.is_ascii() && is_blank(c as u8))
    }

    /// Whether any element is inside.
    pub fn has_children(self) -> bool {
        self.node().end > self.index + 1
    }

    /// The elements inside, in order.
    pub fn children(self) -> impl Iterator<Item = Element<'d, 'a>> {
        let document = self.document;
        let end = self.node().end;
        let mut next = self.index + 1;
        std::iter::from_fn(move || {
            if next >= end {
                return None;
            }
            let child = Element { document, index: next };
            next = child.node().end;
            Some(child)
        })
    }

    /// The elements inside with this name.
    pub fn children_named(self, name: &str) -> impl Iterator<Item = Element<'d, 'a>> {
        self.children().filter(move |child| child.name() == name)
    }

    /// The first element inside with this name.
    pub fn child(self, name: &str) -> Option<Element<'d, 'a>> {
        self.children_named(name).next()
    }

    /// The text of the first element inside with this name.
    pub fn child_text(self, name: &str) -> Option<&'d str> {
        self.child(name).map(Element::text)
    }

    /// The value of an attribute, by its name without prefix; `xmlns` declarations are not attributes.
    pub fn attribute(self, name: &str) -> Option<&'d str> {
        self.node().attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_ref())
    }

    fn node(self) -> &'d Node<'a> {
        &self.document.nodes[self.index]
    }
}

#[derive(Debug)]
struct Node<'a> {
    name: &'a str,
    text: Cow<'a, str>,
    attributes: Vec<(&'a str, Cow<'a, str>)>,
    /// One behind the last element inside.
    end: usize,
}

struct Builder<'a> {
    text: &'a str,
    nodes: Vec<Node<'a>>,
    /// Indices of the elements that are not closed yet, outermost first.
    open: Vec<usize>,
}

impl<'a> Builder<'a> {
    fn build(mut self) -> Result<Document<'a>, XmlError> {
        let mut reader = Reader::from_str(self.text);
        reader.config_mut().check_comments = true;
        loop {
            let start = usize::try_from(reader.buffer_position()).map_err(|_| XmlError::Malformed)?;
            match reader.read_event().map_err(|_| XmlError::Malformed)? {
                Event::Start(tag) => self.start(&tag, start)?,
                Event::Empty(tag) => {
                    self.start(&tag, start)?;
                    self.end();
                }
                Event::End(_) => self.end(),
                Event::Text(text) => self.append(line_ends(text.into_inner()))?,
                Event::CData(data) => self.append(line_ends(data.into_inner()))?,
                Event::GeneralRef(reference) => self.append(Cow::Owned(resolve(&reference)?.into()))?,
                // Instructions and comments say nothing to us; the declaration may only name UTF-8.
                Event::Comment(_) | Event::PI(_) => {}
                Event::Decl(declaration) => match declaration.encoding() {
                    None => {}
                    Some(Ok(name)) if name.eq_ignore_ascii_case("utf-8") => {}
                    Some(Ok(name)) if name.eq_ignore_ascii_case("us-ascii") => {}
                    Some(_) => return Err(XmlError::Malformed),
                },
                Event::DocType(_) => return Err(XmlError::Malformed),
                Event::Eof => break,
            }
        }
        // quick-xml does not mind a document that ends inside an element.
        if self.nodes.is_empty() || !self.open.is_empty() {
            return Err(XmlError::Malformed);
        }
        Ok(Document { nodes: self.nodes })
    }

    fn start(&mut self, tag: &BytesStart<'_>, tag_position: usize) -> Result<(), XmlError> {
        let second_root = self.open.is_empty() && !self.nodes.is_empty();
        if second_root || self.open.len() == DEPTH_MAX || self.nodes.len() == ELEMENT_COUNT_MAX {
            return Err(XmlError::Malformed);
        }
        let inside = self.inside_tag(tag, tag_position)?;
        let name = local_name(inside.get(..tag.name().as_ref().len()).ok_or(XmlError::Malformed)?)?;
        let attributes = attributes(&inside[tag.name().as_ref().len()..])?;
        let end = self.nodes.len() + 1;
        self.open.push(self.nodes.len());
        self.nodes.push(Node { name, text: Cow::Borrowed(""), attributes, end });
        Ok(())
    }

    /// The text between `<` and `>` of a tag, with the lifetime of the request; the event only lends it.
    fn inside_tag(&self, tag: &BytesStart<'_>, tag_position: usize) -> Result<&'a str, XmlError> {
        let lent: &str = tag.as_ref();
        let inside = self.text.get(tag_position + 1..).and_then(|rest| rest.get(..lent.len()));
        inside.filter(|inside| *inside == lent && !inside.is_empty()).ok_or(XmlError::Malformed)
    }

    fn end(&mut self) {
        let count = self.nodes.len();
        // The reader checks that end tags match, so there is one open.
        if let Some(index) = self.open.pop() {
            self.nodes[index].end = count;
        }
    }

    fn append(&mut self, text: Cow<'a, str>) -> Result<(), XmlError> {
        match self.open.last() {
            None if text.bytes().all(is_blank) => {}
            None => return Err(XmlError::Malformed),
            Some(&index) => {
                let node = &mut self.nodes[index];
                if node.text.is_empty() {
                    node.text = text;
                } else {
                    node.text.to_mut().push_str(&text);
                }
            }
        }
        Ok(())
    }
}

/// XML 1.0 2.11: a line end in the document is one line feed. A carriage return that is meant is written
/// `&#13;`, which is an event of its own and does not pass here.
fn line_ends(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains('\r') { Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")) } else { text }
}

/// A character reference or one of the five predefined entities. NUL is refused as XML does; other characters
/// that XML 1.0 forbids are accepted as references, since that is how clients name keys that hold them.
fn resolve(reference: &BytesRef<'_>) -> Result<char, XmlError> {
    resolve_name(reference.as_ref())
}

fn resolve_name(name: &str) -> Result<char, XmlError> {
    match name {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => {
            let digits = name.strip_prefix('#').ok_or(XmlError::Malformed)?;
            let (digits, radix) = match digits.strip_prefix('x') {
                Some(digits) => (digits, 16),
                None => (digits, 10),
            };
            if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(XmlError::Malformed);
            }
            let number = u32::from_str_radix(digits, radix).map_err(|_| XmlError::Malformed)?;
            char::from_u32(number).filter(|c| *c != '\0').ok_or(XmlError::Malformed)
        }
    }
}

/// The attributes in the rest of a tag, without namespace declarations.
fn attributes<'a>(rest: &'a str) -> Result<Vec<(&'a str, Cow<'a, str>)>, XmlError> {
    let mut found = Vec::new();
    for (count, attribute) in Attributes::new(rest, 0).enumerate() {
        let attribute = attribute.map_err(|_| XmlError::Malformed)?;
        if count == ATTRIBUTE_COUNT_MAX {
            return Err(XmlError::Malformed);
        }
        let key: &'a str = attribute.key.0;
        if key == "xmlns" || key.starts_with("xmlns:") {
            continue;
        }
        found.push((local_name(key)?, unescape(attribute.value)?));
    }
    Ok(found)
}

/// Resolves the references of an attribute's value.
fn unescape(value: Cow<'_, str>) -> Result<Cow<'_, str>, XmlError> {
    if !value.contains('&') {
        return Ok(value);
    }
    let mut text = String::with_capacity(value.len());
    let mut rest: &str = &value;
    while let Some((before, behind)) = rest.split_once('&') {
        let (name, behind) = behind.split_once(';').ok_or(XmlError::Malformed)?;
        text.push_str(before);
        text.push(resolve_name(name)?);
        rest = behind;
    }
    text.push_str(rest);
    Ok(Cow::Owned(text))
}

/// A name without its prefix; both must be names. What XML allows beyond ASCII is not told apart.
fn local_name(name: &str) -> Result<&str, XmlError> {
    let is_name = |part: &str| {
        let is_start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80;
        let is_inner = |byte: u8| is_start(byte) || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        part.bytes().next().is_some_and(is_start) && part.bytes().all(is_inner)
    };
    let (prefix, local) = name.split_once(':').unwrap_or(("_", name));
    if is_name(prefix) && is_name(local) { Ok(local) } else { Err(XmlError::Malformed) }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Elements may lie so deep in one another.
pub const DEPTH_MAX: usize = 32;
/// So many elements may be in one document: CompleteMultipartUpload with 10,000 parts has at most 80,000.
pub const ELEMENT_COUNT_MAX: usize = 100_000;
/// So many attributes may be on one element, namespace declarations included.
const ATTRIBUTE_COUNT_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;

    fn parse(text: &str) -> Result<Document<'_>, XmlError> {
        Document::parse(text.as_bytes(), LIMIT)
    }

    fn refused(text: &str) {
        assert_eq!(parse(text).err(), Some(XmlError::Malformed), "{text}");
    }

    #[test]
    fn a_request_reads_alike_with_without_and_with_prefixed_namespace() {
        let forms = [
            "<Delete><Object><Key>k</Key></Object><Quiet>true</Quiet></Delete>",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Delete \
             xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"> <Object>\n<Key>k</Key></Object> \
             <Quiet>true</Quiet></Delete>\n",
            "\u{feff}<s3:Delete xmlns:s3='http://s3.amazonaws.com/doc/2006-03-01/'><s3:Object><s3:Key>k</s3:Key>\
             <s3:Other/></s3:Object><s3:Unknown><s3:Quiet>false</s3:Quiet></s3:Unknown><s3:Quiet> true </s3:Quiet>\
             </s3:Delete>",
        ];
        for text in forms {
            let document = parse(text).unwrap();
            let root = document.root_named("Delete").unwrap();
            let keys: Vec<_> =
                root.children_named("Object").filter_map(|object| object.child_text("Key")).collect();
            assert_eq!(keys, ["k"], "{text}");
            assert_eq!(root.child("Quiet").unwrap().trimmed(), "true");
            assert_eq!(root.text(), "");
            assert!(root.child("Missing").is_none());
        }
        assert!(parse(forms[0]).unwrap().root_named("Delet").is_err());
    }

    #[test]
    fn text_keeps_blanks_and_resolves_references() {
        let text = |xml: &str| parse(xml).unwrap().root().text().to_owned();
        assert_eq!(text("<K> a  b </K>"), " a  b ");
        assert_eq!(text("<K>&lt;&amp;&gt;&quot;&apos;&#65;&#x1F600;</K>"), "<&>\"'A😀");
        assert_eq!(text("<K>a&#13;&#10;b&#1;</K>"), "a\r\nb\u{1}");
        assert_eq!(text("<K>a\r\nb\rc</K>"), "a\nb\nc");
        assert_eq!(text("<K>a<![CDATA[<&amp;>]]>b<!-- no -->c<?no?></K>"), "a<&amp;>bc");
        assert_eq!(text("<K/>"), "");
        assert_eq!(text("<K></K>"), "");
    }

    #[test]
    fn attributes_are_found_without_their_prefix() {
        let document = parse(
            "<Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Group\" a='&lt;&#65;'/>",
        )
        .unwrap();
        assert_eq!(document.root().attribute("type"), Some("Group"));
        assert_eq!(document.root().attribute("a"), Some("<A"));
        assert_eq!(document.root().attribute("xsi"), None);
    }

    #[test]
    fn declarations_of_types_and_entities_are_refused() {
        refused("<!DOCTYPE a><a/>");
        refused("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>");
        refused("<a>&b;</a>");
        refused("<a>&;</a>");
        refused("<a b=\"&c;\"/>");
        refused("<a>&#0;</a>");
        refused("<a>&#xD800;</a>");
        refused("<a>&#x110000;</a>");
        refused("<a>&#+65;</a>");
        refused("<a>&#;</a>");
        refused("<?xml version=\"1.0\" encoding=\"UTF-16\"?><a/>");
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for text in [
            "a",
            "<a>",
            "<a",
            "<",
            "</a>",
            "<a></b>",
            "<a/><b/>",
            "<a/>text",
            "text<a/>",
            "<a>&lt</a>",
            "<a><!-- -- --></a>",
            "<a><![CDATA[</a>",
            "<a b></a>",
            "<a b=c/>",
            "<a b='1' b='2'/>",
            "<>x</>",
            "<-/>",
            "<1a/>",
            "<a:b:c/>",
            "<:a/>",
            "<a:/>",
            "<a x:y:z='1'/>",
            "<a>]]",
        ] {
            refused(text);
        }
        assert_eq!(Document::parse(b"<a>\xff</a>", LIMIT).err(), Some(XmlError::Malformed));
    }

    #[test]
    fn depth_count_and_size_are_bounded() {
        let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert!(parse(&nested(DEPTH_MAX)).is_ok());
        refused(&nested(DEPTH_MAX + 1));
        refused(&nested(100_000));
        let wide = |count: usize| format!("<r>{}</r>", "<a/>".repeat(count));
        assert!(parse(&wide(ELEMENT_COUNT_MAX - 1)).is_ok());
        refused(&wide(ELEMENT_COUNT_MAX));
        let attributes: String = (0..=ATTRIBUTE_COUNT_MAX).map(|n| format!(" a{n}='1'")).collect();
        refused(&format!("<a{attributes}/>"));
        assert_eq!(Document::parse(b"<a></a>", 6).err(), Some(XmlError::TooLong));
        assert!(Document::parse(b"<a></a>", 7).is_ok());
        assert_eq!(parse("").err(), Some(XmlError::Empty));
        assert_eq!(parse(" \r\n\t").err(), Some(XmlError::Empty));
    }

    #[test]
    fn errors_have_the_codes_of_s3() {
        assert_eq!(ErrorReply::from(XmlError::TooLong).code, "MaxMessageLengthExceeded");
        assert_eq!(ErrorReply::from(XmlError::Empty).code, "MissingRequestBodyError");
        assert_eq!(ErrorReply::from(XmlError::Malformed).code, "MalformedXML");
    }
}
