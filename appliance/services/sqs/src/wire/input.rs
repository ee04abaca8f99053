//! One request in either protocol, read by the names of the JSON one, so that each operation says once what it takes.
//!
//! ```text
//! JSON   {"Attributes": {"DelaySeconds": "5"}, "Entries": [{"Id": "a"}], "TagKeys": ["k"]}
//! Query  Attribute.1.Name=DelaySeconds&Attribute.1.Value=5&SendMessageBatchRequestEntry.1.Id=a&TagKey.1=k
//! ```
//! Invariant: lists and maps have a bound, and reading is linear in the request. What an operation does not take is
//! skipped; in JSON it must be JSON all the same.
//! Leaves to request/: which members an operation has.

use std::borrow::Cow;

use aws::encoding::unbase64;
use aws::json::{JsonError, Shapes};
use aws::query::{Node, Parameters, QueryError};

use super::error::{Code, Error, shortened};

/// What the JSON reader has to know of this service.
pub struct Queues;

impl Shapes for Queues {
    const PACKAGE: &'static str = "com.amazonaws.sqs.";
    type Buffers = ();
}

/// The reader of the JSON protocol.
pub type Reader<'i> = aws::json::Reader<'i, Queues>;

/// A text of a request.
pub type Text<'i> = Cow<'i, str>;

/// The body of a request, or its parameters.
#[derive(Debug)]
pub enum Input<'b> {
    /// awsJson1.0.
    Json(&'b [u8]),
    /// awsQuery.
    Query(Parameters<'b>),
}

/// One value of a request, in front of which the reader stands.
pub enum Value<'r, 'i> {
    /// awsJson1.0.
    Json(&'r mut Reader<'i>),
    /// awsQuery.
    Query(Node<'i>),
}

/// Takes one member by its name: true once it was read, false to have it skipped.
pub type Member<'c, 'i> = dyn FnMut(&str, Value<'_, 'i>) -> Result<bool, JsonError> + 'c;

/// Lists and maps have at most so many elements. The longest that means something is the fifty tags of a queue.
pub const ELEMENT_COUNT_MAX: usize = 1_000;

/// The lists and maps of the Query protocol, which it calls by the names of their elements.
const PLURALS: [(&str, &str); 13] = [
    ("AWSAccountId", "AWSAccountIds"),
    ("ActionName", "Actions"),
    ("Attribute", "Attributes"),
    ("AttributeName", "AttributeNames"),
    ("ChangeMessageVisibilityBatchRequestEntry", "Entries"),
    ("DeleteMessageBatchRequestEntry", "Entries"),
    ("MessageAttribute", "MessageAttributes"),
    ("MessageAttributeName", "MessageAttributeNames"),
    ("MessageSystemAttribute", "MessageSystemAttributes"),
    ("MessageSystemAttributeName", "MessageSystemAttributeNames"),
    ("SendMessageBatchRequestEntry", "Entries"),
    ("Tag", "Tags"),
    ("TagKey", "TagKeys"),
];

impl Input<'_> {
    /// Reads the request's members. `shape` is Amazon's name of its structure.
    pub fn members<'i>(&'i self, shape: &'static str, each: &mut Member<'_, 'i>) -> Result<(), Error> {
        match self {
            // Clients that have nothing to say send `{}`; an empty body says as much.
            Input::Json([]) => Ok(()),
            Input::Json(text) => {
                let mut reader = Reader::new(text)?;
                reader.structure(shape, &mut |name, reader| each(canonical(name), Value::Json(reader)))?;
                Ok(reader.finish()?)
            }
            Input::Query(parameters) => Ok(Value::Query(parameters.root()).structure(shape, each)?),
        }
    }
}

/// One member of CreateQueue alone begins with a small letter.
fn canonical(name: &str) -> &str {
    if name == "tags" { "Tags" } else { name }
}

fn plural(name: &str) -> &str {
    PLURALS.iter().find(|(one, _)| *one == name).map_or(name, |(_, many)| many)
}

impl<'i> Value<'_, 'i> {
    /// A text.
    pub fn text(self) -> Result<Text<'i>, JsonError> {
        match self {
            Value::Json(reader) => reader.string(),
            Value::Query(node) => node.value().map(Cow::Borrowed).ok_or_else(no_scalar),
        }
    }

    /// A whole number.
    pub fn integer(self) -> Result<i32, JsonError> {
        match self {
            Value::Json(reader) => reader.integer(),
            Value::Query(node) => {
                let text = node.value().ok_or_else(no_scalar)?;
                text.trim().parse().map_err(|_| {
                    JsonError::Type(format!("{} is not a valid integer", shortened(text)).into())
                })
            }
        }
    }

    /// Bytes, which are base64 in both protocols.
    pub fn blob(self) -> Result<Vec<u8>, JsonError> {
        match self {
            Value::Json(reader) => reader.blob(),
            Value::Query(node) => {
                let text = node.value().ok_or_else(no_scalar)?;
                unbase64(text.as_bytes())
                    .ok_or_else(|| JsonError::Type("Invalid Base64 in a binary value".into()))
            }
        }
    }

    /// A list of texts.
    pub fn texts(self) -> Result<Vec<Text<'i>>, JsonError> {
        let mut texts = Vec::new();
        self.list(&mut |element| {
            let text = element.text()?;
            bounded(&mut texts, text)
        })?;
        Ok(texts)
    }

    /// A map of texts. Of two entries with one key the later counts.
    pub fn map(self, key: &'static str) -> Result<Vec<(Box<str>, Text<'i>)>, JsonError> {
        let mut entries: Vec<(Box<str>, Text<'i>)> = Vec::new();
        self.entries(key, &mut |name, value| {
            let value = value.text()?;
            match entries.iter_mut().find(|(known, _)| **known == *name) {
                Some((_, old)) => *old = value,
                None => bounded(&mut entries, (name.into(), value))?,
            }
            Ok(true)
        })?;
        Ok(entries)
    }

    /// The elements of a list.
    pub fn list(self, each: &mut dyn FnMut(Value<'_, 'i>) -> Result<(), JsonError>) -> Result<(), JsonError> {
        match self {
            Value::Json(reader) => reader.list(&mut |reader| each(Value::Json(reader))),
            Value::Query(node) => node.numbered().into_iter().try_for_each(|node| each(Value::Query(node))),
        }
    }

    /// The entries of a map. In the Query protocol it is a list whose elements call the key `key`, and the value `Value`.
    pub fn entries(self, key: &'static str, each: &mut Member<'_, 'i>) -> Result<(), JsonError> {
        match self {
            Value::Json(reader) => reader.map(JAVA_MAP, &mut |name, reader| each(name, Value::Json(reader))),
            Value::Query(node) => node.numbered().into_iter().try_for_each(|entry| {
                let name = entry.text(key).unwrap_or_default();
                each(name, Value::Query(entry.child("Value"))).map(|_| ())
            }),
        }
    }

    /// The members of a structure.
    pub fn structure(self, shape: &'static str, each: &mut Member<'_, 'i>) -> Result<(), JsonError> {
        match self {
            Value::Json(reader) => {
                reader.structure(shape, &mut |name, reader| each(name, Value::Json(reader)))
            }
            Value::Query(node) => node
                .children()
                .try_for_each(|(name, node)| each(plural(name), Value::Query(node)).map(|_| ())),
        }
    }
}

/// Appends to a list that has its bound.
fn bounded<T>(list: &mut Vec<T>, element: T) -> Result<(), JsonError> {
    if list.len() == ELEMENT_COUNT_MAX {
        return Err(JsonError::Type(
            format!("A list or map has more than {ELEMENT_COUNT_MAX} elements").into(),
        ));
    }
    list.push(element);
    Ok(())
}

/// Something lies where a value belongs, in the Query protocol.
fn no_scalar() -> JsonError {
    JsonError::Type(Cow::Borrowed(aws::json::STRUCTURE_FOUND))
}

const JAVA_MAP: &str = "java.util.Map<java.lang.String, java.lang.String>";

impl From<JsonError> for Error {
    fn from(error: JsonError) -> Error {
        match error {
            JsonError::Syntax => Error::new(Code::MalformedInput, ""),
            JsonError::Type(text) => Error::new(Code::MalformedInput, text),
        }
    }
}

impl From<QueryError> for Error {
    fn from(error: QueryError) -> Error {
        let text = match error {
            QueryError::NotUtf8 => "The query string contains a syntax error.",
            QueryError::TooManyParameters => "The request has too many parameters.",
            QueryError::NameTooLong => "The name of a parameter is too long.",
        };
        Error::new(Code::MalformedQueryString, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = (Option<String>, Option<i32>, Vec<String>, Vec<(String, String)>, Vec<String>);

    fn read(input: &Input<'_>) -> Result<Read, Error> {
        let mut found = Read::default();
        input.members("Request", &mut |name, value| {
            match name {
                "QueueUrl" => found.0 = Some(value.text()?.into_owned()),
                "DelaySeconds" => found.1 = Some(value.integer()?),
                "AttributeNames" => {
                    found.2 = value.texts()?.into_iter().map(Cow::into_owned).collect();
                }
                "Attributes" => {
                    let entries = value.map("Name")?.into_iter();
                    found.3 = entries.map(|(key, value)| (key.into(), value.into_owned())).collect();
                }
                "Entries" => value.list(&mut |entry| {
                    entry.structure("Entry", &mut |name, value| {
                        if name == "Id" {
                            found.4.push(value.text()?.into_owned());
                        }
                        Ok(name == "Id")
                    })
                })?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(found)
    }

    fn query(text: &str) -> Input<'_> {
        Input::Query(Parameters::parse(None, text.as_bytes()).expect("they read"))
    }

    #[test]
    fn both_protocols_read_alike() {
        let json = Input::Json(
            br#"{"QueueUrl":"q","DelaySeconds":5,"AttributeNames":["All","x"],"Other":[{}],
                "Attributes":{"a":"1","b":"2","a":"3"},"Entries":[{"Id":"one","X":{}},{"Id":"two"}]}"#,
        );
        let query = query(
            "Action=X&QueueUrl=q&DelaySeconds=5&AttributeName.1=All&AttributeName.2=x&Other.1.Y=1&Attribute.1.Name=a\
             &Attribute.1.Value=1&Attribute.2.Name=b&Attribute.2.Value=2&Attribute.3.Name=a&Attribute.3.Value=3\
             &SendMessageBatchRequestEntry.1.Id=one&SendMessageBatchRequestEntry.2.Id=two",
        );
        let read = [read(&json).expect("JSON"), read(&query).expect("Query")];
        assert_eq!(read[0], read[1]);
        let pairs = [("a".to_owned(), "3".to_owned()), ("b".to_owned(), "2".to_owned())];
        assert_eq!((read[0].1, &read[0].3[..]), (Some(5), &pairs[..]));
        assert_eq!(read[0].4, ["one", "two"]);
    }

    #[test]
    fn what_has_another_type_is_malformed() {
        for text in [&b"{"[..], b"[]", br#"{"QueueUrl":1}"#, br#"{"DelaySeconds":"5"}"#, b"{} {}"] {
            let error = read(&Input::Json(text)).expect_err("refused");
            assert_eq!(error.code, Code::MalformedInput, "{}", String::from_utf8_lossy(text));
        }
        for text in ["DelaySeconds=five", "DelaySeconds=", "QueueUrl.1=q", "DelaySeconds=4294967296"] {
            assert_eq!(read(&query(text)).expect_err("refused").code, Code::MalformedInput, "{text}");
        }
        assert_eq!(read(&Input::Json(b"")), Ok(Read::default()));
    }

    #[test]
    fn lists_and_maps_have_a_bound() {
        let list = |count: usize| format!("{{\"AttributeNames\":[{}\"\"]}}", "\"x\",".repeat(count - 1));
        assert!(read(&Input::Json(list(ELEMENT_COUNT_MAX).as_bytes())).is_ok());
        assert!(read(&Input::Json(list(ELEMENT_COUNT_MAX + 1).as_bytes())).is_err());
        let names: Vec<String> = (0..=ELEMENT_COUNT_MAX).map(|index| format!("\"{index}\":\"\"")).collect();
        let map = format!("{{\"Attributes\":{{{}}}}}", names.join(","));
        assert!(read(&Input::Json(map.as_bytes())).is_err());
    }
}
