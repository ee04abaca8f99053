//! Writing of reply documents: one growing buffer, names as they are, text escaped.
//!
//! Invariant: what is written is well-formed as long as every `open` has its `close` with the same name.
//! Characters that XML 1.0 cannot carry become U+FFFD: one odd key must not make a whole listing unreadable,
//! and a client that has such keys asks for `encoding-type=url`.

/// A document in the making.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
}

/// The namespace of S3's replies.
pub const S3_NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

impl Writer {
    /// An empty document with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Writer {
        Writer { out: Vec::with_capacity(capacity) }
    }

    /// A document with its declaration and an open root in S3's namespace.
    pub fn s3(root: &str, capacity: usize) -> Writer {
        let mut writer = Writer::with_capacity(capacity);
        writer.declaration();
        writer.open_namespaced(root, S3_NAMESPACE);
        writer
    }

    /// `<?xml version="1.0" encoding="UTF-8"?>` and a line feed, as S3 sends it.
    pub fn declaration(&mut self) {
        self.out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    }

    /// `<name>`.
    pub fn open(&mut self, name: &str) {
        self.out.push(b'<');
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b'>');
    }

    /// `<name xmlns="namespace">`.
    pub fn open_namespaced(&mut self, name: &str, namespace: &str) {
        self.open_with(name, &[("xmlns", namespace)]);
    }

    /// `<name attribute="value" ...>`.
    pub fn open_with(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.out.push(b'<');
        self.out.extend_from_slice(name.as_bytes());
        for (attribute, value) in attributes {
            self.out.push(b' ');
            self.out.extend_from_slice(attribute.as_bytes());
            self.out.extend_from_slice(b"=\"");
            self.escaped(value);
            self.out.push(b'"');
        }
        self.out.push(b'>');
    }

    /// `</name>`.
    pub fn close(&mut self, name: &str) {
        self.out.extend_from_slice(b"</");
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b'>');
    }

    /// `<name/>`.
    pub fn empty(&mut self, name: &str) {
        self.out.push(b'<');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"/>");
    }

    /// `<name>value</name>` with the value escaped.
    pub fn text(&mut self, name: &str, value: &str) {
        self.open(name);
        self.escaped(value);
        self.close(name);
    }

    /// `<name>value</name>` if there is a value.
    pub fn text_if(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// `<name>&quot;value&quot;</name>`: an ETag, quoted as everywhere but in GetObjectAttributes.
    pub fn quoted(&mut self, name: &str, value: &str) {
        self.open(name);
        self.out.extend_from_slice(b"&quot;");
        self.escaped(value);
        self.out.extend_from_slice(b"&quot;");
        self.close(name);
    }

    /// `<name>value</name>` with a decimal number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.open(name);
        let mut digits = [0u8; 20];
        let mut start = digits.len();
        let mut rest = value;
        loop {
            start -= 1;
            digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.out.extend_from_slice(&digits[start..]);
        self.close(name);
    }

    /// `<name>true</name>` or `<name>false</name>`.
    pub fn boolean(&mut self, name: &str, value: bool) {
        self.text(name, if value { "true" } else { "false" });
    }

    /// Bytes as they are, for what is XML already.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Text, escaped for content and attribute values alike.
    pub fn escaped(&mut self, text: &str) {
        let bytes = text.as_bytes();
        // Most text needs nothing: copy the runs between what does.
        let mut copied = 0;
        for (index, &byte) in bytes.iter().enumerate() {
            let replacement: &[u8] = match CLASS[usize::from(byte)] {
                Class::Plain => continue,
                Class::Escape => escape_of(byte),
                Class::Forbidden => REPLACEMENT,
                // U+FFFE and U+FFFF are EF BF BE and EF BF BF.
                Class::Lead => match bytes.get(index + 1..index + 3) {
                    Some([0xbf, 0xbe | 0xbf]) => {
                        self.out.extend_from_slice(&bytes[copied..index]);
                        self.out.extend_from_slice(REPLACEMENT);
                        copied = index + 3;
                        continue;
                    }
                    _ => continue,
                },
            };
            self.out.extend_from_slice(&bytes[copied..index]);
            self.out.extend_from_slice(replacement);
            copied = index + 1;
        }
        self.out.extend_from_slice(&bytes[copied..]);
    }

    /// How many bytes there are by now.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// The document.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }
}

fn escape_of(byte: u8) -> &'static [u8] {
    match byte {
        b'&' => b"&amp;",
        b'<' => b"&lt;",
        b'>' => b"&gt;",
        b'"' => b"&quot;",
        b'\'' => b"&apos;",
        // Raw, the three would be normalised away by the client's parser.
        b'\r' => b"&#13;",
        b'\n' => b"&#10;",
        _ => b"&#9;",
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Plain,
    Escape,
    Forbidden,
    Lead,
}

const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

const CLASS: [Class; 256] = {
    let mut table = [Class::Plain; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = Class::Forbidden;
        byte += 1;
    }
    table[b'\t' as usize] = Class::Escape;
    table[b'\n' as usize] = Class::Escape;
    table[b'\r' as usize] = Class::Escape;
    table[b'&' as usize] = Class::Escape;
    table[b'<' as usize] = Class::Escape;
    table[b'>' as usize] = Class::Escape;
    table[b'"' as usize] = Class::Escape;
    table[b'\'' as usize] = Class::Escape;
    table[0xef] = Class::Lead;
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::Document;

    #[test]
    fn a_listing_is_written_as_s3_writes_it() {
        let mut writer = Writer::s3("ListBucketResult", 0);
        writer.text("Name", "b");
        writer.empty("Prefix");
        writer.number("MaxKeys", 1000);
        writer.number("KeyCount", 0);
        writer.boolean("IsTruncated", false);
        writer.quoted("ETag", "d41d8");
        writer.text_if("Delimiter", None);
        writer.open_with("Grantee", &[("xsi:type", "Group")]);
        writer.close("Grantee");
        writer.close("ListBucketResult");
        assert_eq!(
            String::from_utf8(writer.into_bytes()).unwrap(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><Prefix/>\
             <MaxKeys>1000</MaxKeys><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated>\
             <ETag>&quot;d41d8&quot;</ETag><Grantee xsi:type=\"Group\"></Grantee></ListBucketResult>"
        );
    }

    #[test]
    fn text_comes_back_from_a_reader_unchanged() {
        let text: String =
            (0x20..0x3000).chain([9, 10, 13]).filter_map(char::from_u32).chain(['😀']).collect();
        let mut writer = Writer::default();
        writer.text("T", &text);
        let bytes = writer.into_bytes();
        let document = Document::parse(&bytes, 1 << 20).unwrap();
        assert_eq!(document.root().text(), text);
    }

    #[test]
    fn characters_that_xml_cannot_carry_are_replaced() {
        let mut writer = Writer::default();
        writer.escaped("a\u{0}\u{1}b\u{1f}\u{fffe}c\u{ffff}\u{fffd}\u{feff}");
        let text = String::from_utf8(writer.into_bytes()).unwrap();
        assert_eq!(text, "a\u{fffd}\u{fffd}b\u{fffd}\u{fffd}c\u{fffd}\u{fffd}\u{feff}");
    }

    #[test]
    fn numbers_are_written_to_their_limits() {
        let mut writer = Writer::default();
        writer.number("N", u64::MAX);
        assert_eq!(writer.into_bytes(), b"<N>18446744073709551615</N>");
    }
}
