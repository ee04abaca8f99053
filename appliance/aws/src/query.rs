//! awsQuery: the flat parameters of a form or a query string as a tree, and the XML that answers them.
//!
//! ```text
//! Action=SendMessage&MessageAttribute.1.Name=a&MessageAttribute.1.Value.DataType=String
//! lists   flat  Tag.1.Key          SQS      member  Tags.member.1.Key                    SNS, IAM
//! maps    flat  Attribute.1.Name   SQS      entry   Attributes.entry.1.key, .value       SNS
//! ```
//! Invariant: the number of parameters, the parts of a name and the length of a name are bounded before anything is
//! sorted; reading is linear in the text but for that sort. Of parameters with one name the first counts. The numbers of
//! a list say its order and nothing else: gaps close, and what stands where a number belongs is no element.
//! Leaves to the services: which parameters an operation has. Those that it does not ask for are thereby ignored.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::uri;
use crate::xml::Writer;

/// A request may have so many parameters.
pub const PARAMETER_COUNT_MAX: usize = 10_000;
/// A name may have so many parts: `SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.StringValue` has six.
pub const PART_COUNT_MAX: usize = 10;
/// A name may have so many bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// A number in a name may have so many digits.
const INDEX_DIGITS_MAX: usize = 9;

/// Why parameters could not be read. Services answer `MalformedQueryString`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueryError {
    /// Text that is not UTF-8, coded or not.
    NotUtf8,
    /// More parameters than `PARAMETER_COUNT_MAX`.
    TooManyParameters,
    /// A name that is longer or has more parts than any that means something.
    NameTooLong,
}

/// The parameters of one request, in the order of their names.
#[derive(Debug)]
pub struct Parameters<'a> {
    list: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Parameters<'a> {
    /// Reads the query of a request and the form in its body, of which the query comes first.
    pub fn parse(query: Option<&'a str>, form: &'a [u8]) -> Result<Parameters<'a>, QueryError> {
        let form = str::from_utf8(form).map_err(|_| QueryError::NotUtf8)?;
        let mut list = Vec::new();
        for (name, value) in uri::query_pairs(query.unwrap_or_default()).chain(uri::query_pairs(form)) {
            if list.len() == PARAMETER_COUNT_MAX {
                return Err(QueryError::TooManyParameters);
            }
            let decode = |text| uri::decode_query(text).map_err(|_| QueryError::NotUtf8);
            let name = decode(name)?;
            if name.len() > NAME_BYTES_MAX || name.split('.').count() > PART_COUNT_MAX {
                return Err(QueryError::NameTooLong);
            }
            list.push((name, decode(value)?));
        }
        // Stable, so that the first of two parameters with one name stays in front.
        list.sort_by(|(one, _), (other, _)| compare(one, other));
        list.dedup_by(|later, first| later.0 == first.0);
        Ok(Parameters { list })
    }

    /// The whole of them.
    #[must_use]
    pub fn root(&self) -> Node<'_> {
        Node { list: &self.list, start: 0 }
    }

    /// What is asked: the parameter `Action`.
    #[must_use]
    pub fn action(&self) -> Option<&str> {
        self.root().text("Action")
    }
}

/// The value of one parameter of a query or a form, without reading the others whole. For those who have to know what a
/// request is before they know whose. The first counts, as it does in `Parameters`.
#[must_use]
pub fn peek<'a>(text: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let (_, value) = uri::query_pairs(text).take(PARAMETER_COUNT_MAX).find(|(known, _)| *known == name)?;
    uri::decode_query(value).ok()
}

/// The parameters whose names begin alike, with the value of the name that is just the beginning.
#[derive(Clone, Copy, Debug)]
pub struct Node<'q> {
    /// Sorted.
    list: &'q [(Cow<'q, str>, Cow<'q, str>)],
    /// Where the names inside begin: behind the beginning and its dot.
    start: usize,
}

impl<'q> Node<'q> {
    /// The value of the parameter `name` inside.
    #[must_use]
    pub fn text(self, name: &str) -> Option<&'q str> {
        self.child(name).value()
    }

    /// What lies under `name`, which may be nothing.
    #[must_use]
    pub fn child(self, name: &str) -> Node<'q> {
        let from = self.list.partition_point(|(known, _)| {
            self.rest(known).is_some_and(|rest| before(rest, name) == Ordering::Less)
                || self.rest(known).is_none()
        });
        let behind = &self.list[from..];
        let count = behind.partition_point(|(known, _)| {
            self.rest(known).is_some_and(|rest| before(rest, name) == Ordering::Equal)
        });
        Node { list: &behind[..count], start: self.start + name.len() + 1 }
    }

    /// The value of the name itself.
    #[must_use]
    pub fn value(self) -> Option<&'q str> {
        let (name, value) = self.list.first()?;
        (name.len() < self.start).then_some(value.as_ref())
    }

    /// Whether there is neither a value nor anything inside.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.list.is_empty()
    }

    /// The elements of a flat list: `name.1`, `name.2`, in the order of their numbers.
    #[must_use]
    pub fn list(self, name: &str) -> Vec<Node<'q>> {
        self.child(name).numbered()
    }

    /// The elements of a list: `name.member.1`.
    #[must_use]
    pub fn members(self, name: &str) -> Vec<Node<'q>> {
        self.child(name).child("member").numbered()
    }

    /// The entries of a map: `name.entry.1`, each with what `key` and `value` hold.
    #[must_use]
    pub fn entries(self, name: &str) -> Vec<Node<'q>> {
        self.child(name).child("entry").numbered()
    }

    /// The values of elements that are text, as `TagKey.1`.
    #[must_use]
    pub fn texts(self, name: &str) -> Vec<&'q str> {
        self.list(name).into_iter().filter_map(Node::value).collect()
    }

    /// What lies inside, by its names, each once.
    pub fn children(self) -> impl Iterator<Item = (&'q str, Node<'q>)> {
        let mut rest = self.list;
        std::iter::from_fn(move || {
            loop {
                let (name, _) = rest.first()?;
                let Some(inside) = self.rest(name) else {
                    rest = &rest[1..];
                    continue;
                };
                let part = inside.split('.').next().unwrap_or_default();
                // Those of one name lie together.
                let same = |(name, _): &&(Cow<'q, str>, Cow<'q, str>)| {
                    self.rest(name).is_some_and(|inside| before(inside, part) == Ordering::Equal)
                };
                let count = rest.iter().take_while(same).count();
                let (list, behind) = rest.split_at(count);
                rest = behind;
                return Some((part, Node { list, start: self.start + part.len() + 1 }));
            }
        })
    }

    /// The elements of the list that this is, in the order of their numbers.
    #[must_use]
    pub fn numbered(self) -> Vec<Node<'q>> {
        let numbered = |(part, node)| index_of(part).map(|index| (index, node));
        let mut found: Vec<(u32, Node<'q>)> = self.children().filter_map(numbered).collect();
        found.sort_by_key(|(index, _)| *index);
        found.into_iter().map(|(_, node)| node).collect()
    }

    /// What of a name lies inside; None of the name itself.
    fn rest(self, name: &str) -> Option<&str> {
        name.get(self.start..)
    }
}

/// The order in which what lies under one name lies together: part by part.
fn compare(one: &str, other: &str) -> Ordering {
    one.split('.').cmp(other.split('.'))
}

/// How the first part of `name` stands to `part`, which has no dot.
fn before(name: &str, part: &str) -> Ordering {
    name.split('.').next().unwrap_or_default().cmp(part)
}

/// The number of an element. A second spelling of a number is none, so that no two elements have one.
fn index_of(part: &str) -> Option<u32> {
    let is_plain = part.len() <= INDEX_DIGITS_MAX
        && part.bytes().all(|byte| byte.is_ascii_digit())
        && (part == "0" || !part.starts_with('0'));
    if is_plain { part.parse().ok() } else { None }
}

/// How a service writes its documents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Form {
    /// The namespace of every document.
    pub namespace: &'static str,
    /// Whether documents begin with `<?xml version="1.0"?>`.
    pub is_declared: bool,
    /// Whether errors have an empty `<Detail/>`.
    pub has_detail: bool,
}

/// Whose fault an error is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The client's.
    Sender,
    /// Ours.
    Receiver,
}

impl Fault {
    /// As it is spelled.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Fault::Sender => "Sender",
            Fault::Receiver => "Receiver",
        }
    }
}

impl Form {
    /// The reply of an operation that has a result, which `write` writes: `<OpResponse><OpResult>…`.
    pub fn reply(
        self,
        operation: &str,
        request_id: &str,
        capacity: usize,
        write: impl FnOnce(&mut Writer),
    ) -> Vec<u8> {
        self.envelope(operation, request_id, capacity, |out| {
            let result = format!("{operation}Result");
            out.open(&result);
            write(out);
            out.close(&result);
        })
    }

    /// The reply of an operation that answers nothing but that it was done.
    #[must_use]
    pub fn done(self, operation: &str, request_id: &str) -> Vec<u8> {
        self.envelope(operation, request_id, 0, |_| {})
    }

    /// An error.
    #[must_use]
    pub fn error(self, fault: Fault, code: &str, message: &str, request_id: &str) -> Vec<u8> {
        let mut out = self.begin("ErrorResponse", message.len());
        out.open("Error");
        out.text("Type", fault.name());
        out.text("Code", code);
        out.text("Message", message);
        if self.has_detail {
            out.empty("Detail");
        }
        out.close("Error");
        out.text("RequestId", request_id);
        out.close("ErrorResponse");
        out.into_bytes()
    }

    fn envelope(
        self,
        operation: &str,
        request_id: &str,
        capacity: usize,
        write: impl FnOnce(&mut Writer),
    ) -> Vec<u8> {
        let root = format!("{operation}Response");
        let mut out = self.begin(&root, capacity);
        write(&mut out);
        out.open("ResponseMetadata");
        out.text("RequestId", request_id);
        out.close("ResponseMetadata");
        out.close(&root);
        out.into_bytes()
    }

    fn begin(self, root: &str, capacity: usize) -> Writer {
        let mut out = Writer::with_capacity(capacity + ENVELOPE_BYTES);
        if self.is_declared {
            out.raw(b"<?xml version=\"1.0\"?>");
        }
        out.open_namespaced(root, self.namespace);
        out
    }
}

/// Room for a document around its content.
const ENVELOPE_BYTES: usize = 384;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Parameters<'_> {
        Parameters::parse(None, text.as_bytes()).expect("they read")
    }

    #[test]
    fn flat_lists_and_maps_are_read_in_the_order_of_their_numbers() {
        let text = "Action=SetQueueAttributes&Attribute.10.Name=j&Attribute.10.Value=10&Attribute.2.Value=2\
                    &Attribute.2.Name=b&Attribute.7.Name=g&AttributeName.2=y&AttributeName.1=x&AttributeX=no&QueueUrl=q";
        let parameters = parse(text);
        let root = parameters.root();
        assert_eq!(parameters.action(), Some("SetQueueAttributes"));
        assert_eq!(root.text("QueueUrl"), Some("q"));
        let pairs: Vec<_> = root
            .list("Attribute")
            .into_iter()
            .map(|entry| (entry.text("Name"), entry.text("Value")))
            .collect();
        assert_eq!(pairs, [(Some("b"), Some("2")), (Some("g"), None), (Some("j"), Some("10"))]);
        assert_eq!(root.texts("AttributeName"), ["x", "y"]);
        assert_eq!(root.text("Attribute"), None);
        assert!(root.child("Attr").is_empty() && root.child("AttributeName.1").is_empty());
    }

    #[test]
    fn members_and_entries_are_read() {
        let text = "TopicArn=t&Attributes.entry.1.key=DisplayName&Attributes.entry.1.value=d&TagKeys.member.2=b\
                    &TagKeys.member.1=a&Entries.member.1.Id=1&Entries.member.1.Attributes.entry.1.Name=n\
                    &Entries.member.1.Attributes.entry.1.Value.DataType=String&Empty=";
        let parameters = parse(text);
        let root = parameters.root();
        let entries = root.entries("Attributes");
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].text("key"), entries[0].text("value")), (Some("DisplayName"), Some("d")));
        let keys: Vec<_> = root.members("TagKeys").into_iter().map(Node::value).collect();
        assert_eq!(keys, [Some("a"), Some("b")]);
        let inner = root.members("Entries")[0].entries("Attributes")[0];
        assert_eq!(inner.child("Value").text("DataType"), Some("String"));
        // How SDKs send a list without elements.
        assert_eq!((root.text("Empty"), root.members("Empty").len()), (Some(""), 0));
    }

    #[test]
    fn values_are_decoded_and_the_query_comes_before_the_form() {
        let parameters =
            Parameters::parse(Some("Action=A&x=1"), b"Action=B&MessageBody=a%20b+c%26%C3%A4&y=2&y=3&%79=4&z")
                .expect("they read");
        let root = parameters.root();
        assert_eq!(parameters.action(), Some("A"), "the first counts");
        assert_eq!(root.text("MessageBody"), Some("a b c&ä"));
        assert_eq!((root.text("x"), root.text("y"), root.text("z")), (Some("1"), Some("2"), Some("")));
        assert_eq!(peek("a=1&Action=Send%4dessage&Action=x", "Action").as_deref(), Some("SendMessage"));
        assert_eq!(peek("Actions=1", "Action"), None);
    }

    #[test]
    fn what_stands_where_a_number_belongs_is_no_element() {
        let parameters = parse("L.a=1&L.01=2&L.-1=3&L.4294967296=4&L..=5&L.=6&L.0=zero&L.1=one&L.1.x=in&L=v");
        let elements: Vec<_> = parameters.root().list("L").into_iter().map(Node::value).collect();
        assert_eq!(elements, [Some("zero"), Some("one")]);
        assert_eq!(parameters.root().text("L"), Some("v"));
        assert_eq!(parameters.root().list("L")[1].text("x"), Some("in"));
    }

    #[test]
    fn counts_names_and_text_are_bounded() {
        let parse = |text: &str| Parameters::parse(None, text.as_bytes()).map(|_| ());
        assert_eq!(parse(&"a=1&".repeat(PARAMETER_COUNT_MAX)), Ok(()));
        assert_eq!(parse(&"a=1&".repeat(PARAMETER_COUNT_MAX + 1)), Err(QueryError::TooManyParameters));
        assert_eq!(parse(&["a"; PART_COUNT_MAX].join(".")), Ok(()));
        assert_eq!(parse(&["a"; PART_COUNT_MAX + 1].join(".")), Err(QueryError::NameTooLong));
        assert_eq!(parse(&"a".repeat(NAME_BYTES_MAX + 1)), Err(QueryError::NameTooLong));
        assert_eq!(parse("a=%ff"), Err(QueryError::NotUtf8));
        assert_eq!(Parameters::parse(None, b"a=\xff").map(|_| ()), Err(QueryError::NotUtf8));
        assert_eq!(parse(&"&".repeat(1 << 20)), Ok(()), "empty pairs are nothing");
    }

    #[test]
    fn documents_are_as_the_services_write_them() {
        let queues = Form {
            namespace: "http://queue.amazonaws.com/doc/2012-11-05/",
            is_declared: true,
            has_detail: true,
        };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        assert_eq!(
            text(queues.reply("GetQueueUrl", "id", 0, |out| out.text("QueueUrl", "http://a/&"))),
            "<?xml version=\"1.0\"?><GetQueueUrlResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\">\
             <GetQueueUrlResult><QueueUrl>http://a/&amp;</QueueUrl></GetQueueUrlResult><ResponseMetadata>\
             <RequestId>id</RequestId></ResponseMetadata></GetQueueUrlResponse>"
        );
        assert_eq!(
            text(queues.error(Fault::Sender, "C", "m<", "id")),
            "<?xml version=\"1.0\"?><ErrorResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\"><Error>\
             <Type>Sender</Type><Code>C</Code><Message>m&lt;</Message><Detail/></Error><RequestId>id</RequestId>\
             </ErrorResponse>"
        );
        let topics = Form { namespace: "n", is_declared: false, has_detail: false };
        assert_eq!(
            text(topics.done("DeleteTopic", "id")),
            "<DeleteTopicResponse xmlns=\"n\"><ResponseMetadata><RequestId>id</RequestId></ResponseMetadata>\
             </DeleteTopicResponse>"
        );
        assert!(text(topics.error(Fault::Receiver, "C", "", "id")).contains("<Message></Message></Error>"));
    }
}
