//! Reading of XML answers into a small tree.
//! Invariant: size, depth and count are bounded before anything is built, and nothing outside the document is looked at: a document
//! type is refused, and with it every entity but the five that XML has itself. Namespaces, prefixes and attributes are dropped.

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::error::{Sent, WireError, WireKind};

/// Larger answers are refused; a page of a listing has a few MiB at most.
pub const DOCUMENT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Deeper ones, too.
const DEPTH_MAX: usize = 32;
/// And those with more elements.
const ELEMENT_COUNT_MAX: usize = 500_000;

/// An element: its name, its own text and what is in it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Element {
    name: Box<str>,
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// Reads a document. Errors: Answer, for one that is not well formed or out of bounds.
    pub fn parse(document: &[u8]) -> Result<Element, WireError> {
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(bad("is too large"));
        }
        let text = std::str::from_utf8(document).map_err(|_| bad("is not UTF-8"))?;
        let mut reader = Reader::from_str(text);
        let mut builder = Builder::default();
        loop {
            match reader.read_event().map_err(|error| bad(&error.to_string()))? {
                Event::Start(tag) => builder.start(tag.local_name().as_ref())?,
                Event::Empty(tag) => {
                    builder.start(tag.local_name().as_ref())?;
                    builder.end();
                }
                Event::End(_) => builder.end(),
                Event::Text(text) => builder.text(&text.into_inner())?,
                Event::CData(data) => builder.text(&data.into_inner())?,
                Event::GeneralRef(reference) => {
                    let character =
                        resolve(reference.as_ref()).ok_or_else(|| bad("names an unknown entity"))?;
                    builder.text(character.encode_utf8(&mut [0; 4]))?;
                }
                Event::DocType(_) => return Err(bad("has a document type")),
                Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
                Event::Eof => return builder.finish(),
            }
        }
    }

    /// Without prefix.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text between its tags, that of its children left out.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first child of that name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| *child.name == *name)
    }

    /// All children of that name.
    pub fn children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| *child.name == *name)
    }

    /// All children in their order.
    pub fn elements(&self) -> &[Element] {
        &self.children
    }

    /// The text of the first child of that name.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }

    /// The element at the end of a path of names.
    pub fn at(&self, path: &[&str]) -> Option<&Element> {
        path.iter().try_fold(self, |element, name| element.child(name))
    }
}

#[derive(Default)]
struct Builder {
    open: Vec<Element>,
    root: Option<Element>,
    count: usize,
}

impl Builder {
    fn start(&mut self, name: &str) -> Result<(), WireError> {
        self.count += 1;
        if self.open.len() == DEPTH_MAX || self.count > ELEMENT_COUNT_MAX {
            return Err(bad("is too deep or has too many elements"));
        }
        if self.root.is_some() {
            return Err(bad("has two roots"));
        }
        self.open.push(Element { name: name.into(), ..Element::default() });
        Ok(())
    }

    /// The reader checks that end tags match, so one is open.
    fn end(&mut self) {
        if let Some(element) = self.open.pop() {
            match self.open.last_mut() {
                Some(parent) => parent.children.push(element),
                None => self.root = Some(element),
            }
        }
    }

    fn text(&mut self, text: &str) -> Result<(), WireError> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err(bad("has text outside its root")),
        }
        Ok(())
    }

    fn finish(self) -> Result<Element, WireError> {
        match self.root {
            Some(root) if self.open.is_empty() => Ok(root),
            _ => Err(bad("ends too early")),
        }
    }
}

/// One of the five entities, or a character by its number.
fn resolve(name: &str) -> Option<char> {
    let number = match name {
        "amp" => return Some('&'),
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "quot" => return Some('"'),
        "apos" => return Some('\''),
        _ => name.strip_prefix('#')?,
    };
    let (digits, radix) = number.strip_prefix('x').map_or((number, 10), |hex| (hex, 16));
    let plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u32::from_str_radix(digits, radix).ok()).flatten().and_then(char::from_u32)
}

/// Appends text so that a reader gets it back byte for byte: what has a meaning in XML, and line ends and tabs, which a parser
/// would change, as character references.
pub fn append_text(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            other => out.push(other),
        }
    }
}

/// Whether a document can hold the text at all: XML 1.0 2.2 has no place for most control characters.
pub fn can_hold(text: &str) -> bool {
    text.chars().all(|character| {
        !matches!(character, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
    })
}

fn bad(what: &str) -> WireError {
    WireError::new(WireKind::Answer, Sent::Maybe, format!("the answer's XML {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read() {
        let text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
            <Name>b</Name><IsTruncated>false</IsTruncated><!-- no -->\
            <Contents><Key>a &amp; b &#x1F980;&#10;</Key><Size>3</Size></Contents>\
            <Contents><Key><![CDATA[<raw>]]></Key></Contents><s3:Empty/></ListBucketResult>";
        let root = Element::parse(text.as_bytes()).unwrap();
        assert_eq!(root.name(), "ListBucketResult");
        let keys: Vec<_> = root.children("Contents").filter_map(|entry| entry.text_of("Key")).collect();
        assert_eq!(keys, ["a & b \u{1F980}\n", "<raw>"]);
        assert_eq!(root.at(&["Contents", "Size"]).map(Element::text), Some("3"));
        assert_eq!(root.text_of("Empty"), Some(""));
        assert_eq!(root.at(&["Contents", "None"]), None);
    }

    #[test]
    fn text_comes_back_as_it_was_written() {
        for text in ["", "a & b", "<x>\"'", " \t\r\n ", "]]>", "&amp;", "é🦀"] {
            let mut document = String::from("<a>");
            append_text(&mut document, text);
            document.push_str("</a>");
            assert_eq!(Element::parse(document.as_bytes()).unwrap().text(), text);
            assert!(can_hold(text));
        }
        assert!(!can_hold("a\0") && !can_hold("\u{1f}") && !can_hold("\u{fffe}"));
    }

    #[test]
    fn hostile_documents_are_refused() {
        let deep = format!("{}{}", "<a>".repeat(DEPTH_MAX + 1), "</a>".repeat(DEPTH_MAX + 1));
        let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><x>&b;</x>";
        let wide = format!("<x>{}</x>", "<a/>".repeat(ELEMENT_COUNT_MAX));
        for text in [
            "",
            "text",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "<a/>text",
            "<a>&unknown;</a>",
            "<a>&#xD800;</a>",
            "<a>&#99999999999;</a>",
            "<a",
            "<a>&amp</a>",
            &deep,
            bomb,
            &wide,
        ] {
            assert!(Element::parse(text.as_bytes()).is_err(), "{}", &text[..text.len().min(80)]);
        }
        assert!(Element::parse(b"<a>\xFF</a>").is_err());
        assert!(Element::parse(&vec![b' '; DOCUMENT_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn cut_anywhere_a_document_is_an_error_and_never_a_panic() {
        let text = "<Error><Code>NoSuchKey</Code><Message>a &lt; b</Message></Error>";
        for end in 0..text.len() {
            assert!(Element::parse(&text.as_bytes()[..end]).is_err(), "{end}");
        }
    }
}
