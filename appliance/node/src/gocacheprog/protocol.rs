//! The lines between the go command and its cache program.
//!
//! ```text
//! we:  {"ID":0,"KnownCommands":["get","put","close"]}
//! go:  {"ID":1,"Command":"get","ActionID":"<base64>"}
//! we:  {"ID":1,"Miss":true}   or   {"ID":1,"OutputID":"<base64>","Size":5,"Time":"..","DiskPath":".."}
//! go:  {"ID":2,"Command":"put","ActionID":..,"OutputID":..,"BodySize":5} and, if the size is not 0, "<base64>" on a line of its own
//! we:  {"ID":2,"DiskPath":".."}
//! go:  {"ID":3,"Command":"close"}
//! ```
//! Rule: cmd/go/internal/cacheprog of Go 1.24 to 1.27. Empty lines stand between requests.
//! Invariant: a body is decoded as it comes; no line but it is longer than `LINE_BYTES_MAX`.

use std::io::{self, BufRead, Read};
use std::path::Path;

use aws::encoding::base64;
use serde_json::{Map, Value, json};

use super::local::Entry;

/// The longest request, without its body: two ids and three numbers.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// The longest id: a digest of 64 bytes.
const ID_BYTES_MAX: usize = 64;
/// Characters of base64 that are decoded at once; a multiple of 4.
const GROUP_BYTES: usize = 64 * 1024;

/// What the go command wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// The output of an action.
    Get,
    /// To keep the output of an action.
    Put,
    /// To end.
    Close,
    /// Something that we did not say that we know.
    Unknown,
}

/// A request without its body.
#[derive(Debug)]
pub struct Request {
    /// Echoed in the answer.
    pub id: i64,
    /// What is wanted.
    pub command: Command,
    /// The key. Not empty for get and put.
    pub action: Vec<u8>,
    /// What go calls the output: its SHA-256. Not empty for put.
    pub output: Vec<u8>,
    /// Bytes of the body that follows.
    pub body_bytes: u64,
}

/// The requests of one go command.
pub struct Requests<R> {
    input: R,
}

impl<R: BufRead> Requests<R> {
    /// Reads from `input`.
    pub fn new(input: R) -> Requests<R> {
        Requests { input }
    }

    /// The next request; None at the end. Errors: the input is not what the protocol says, and nothing after it can be read.
    pub fn next(&mut self) -> io::Result<Option<Request>> {
        loop {
            let mut line = Vec::new();
            (&mut self.input).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
            if line.is_empty() {
                return Ok(None);
            }
            let text = line.trim_ascii();
            if text.is_empty() {
                continue;
            }
            return parse(text).map(Some).ok_or_else(|| invalid("a line that is no request"));
        }
    }

    /// Decodes the body of a request and hands it on in pieces. Errors: as for `next`.
    pub fn body(&mut self, request: &Request, data: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        if request.body_bytes == 0 {
            return Ok(());
        }
        self.expect(b'"')?;
        let mut missing = request.body_bytes;
        let mut group = Vec::with_capacity(GROUP_BYTES);
        let mut decoded = Vec::with_capacity(GROUP_BYTES / 4 * 3);
        while missing > 0 {
            // Three bytes are four characters, and the last group is filled up.
            let wanted = missing.div_ceil(3).saturating_mul(4).min(GROUP_BYTES as u64);
            group.clear();
            if (&mut self.input).take(wanted).read_to_end(&mut group)? as u64 != wanted {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            decoded.clear();
            aws::json::base64::decode(&group, &mut decoded)
                .map_err(|_| invalid("a body that is no base64"))?;
            if decoded.is_empty() || decoded.len() as u64 > missing {
                return Err(invalid("a body of another length than was announced"));
            }
            missing -= decoded.len() as u64;
            data(&decoded);
        }
        self.expect(b'"')
    }

    /// Reads a body that nobody wants.
    pub fn skip_body(&mut self, request: &Request) -> io::Result<()> {
        self.body(request, &mut |_| {})
    }

    /// Steps over one byte, and over white space before it.
    fn expect(&mut self, wanted: u8) -> io::Result<()> {
        let mut byte = [0];
        for _ in 0..BLANKS_MAX {
            self.input.read_exact(&mut byte)?;
            if byte[0] == wanted {
                return Ok(());
            }
            if !byte[0].is_ascii_whitespace() {
                break;
            }
        }
        Err(invalid("a body that is no string of its announced length"))
    }
}

/// White space before a body's quote.
const BLANKS_MAX: usize = 16;

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("sent {what}"))
}

fn parse(line: &[u8]) -> Option<Request> {
    let Value::Object(fields) = serde_json::from_slice(line).ok()? else { return None };
    let command = match fields.get("Command")?.as_str()? {
        "get" => Command::Get,
        "put" => Command::Put,
        "close" => Command::Close,
        _ => Command::Unknown,
    };
    let request = Request {
        id: fields.get("ID")?.as_i64()?,
        command,
        action: id_of(&fields, "ActionID")?,
        output: id_of(&fields, "OutputID")?,
        body_bytes: fields.get("BodySize").map_or(Some(0), Value::as_u64)?,
    };
    let needs_action = matches!(command, Command::Get | Command::Put);
    let is_whole =
        !(needs_action && request.action.is_empty() || command == Command::Put && request.output.is_empty());
    is_whole.then_some(request)
}

/// An id, empty if it is not there; None if it is none.
fn id_of(fields: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    let Some(value) = fields.get(name) else { return Some(Vec::new()) };
    let mut id = Vec::new();
    let text = value.as_str()?.as_bytes();
    if aws::json::base64::decoded_bytes(text).ok()? > ID_BYTES_MAX {
        return None;
    }
    aws::json::base64::decode(text, &mut id).ok()?;
    Some(id)
}

/// The first line, which says what we can do.
pub fn greeting() -> String {
    line(&json!({"ID": 0, "KnownCommands": ["get", "put", "close"]}))
}

/// The output is not here.
pub fn miss(id: i64) -> String {
    line(&json!({"ID": id, "Miss": true}))
}

/// The output, in a file that stays at least until the end.
pub fn hit(id: i64, entry: &Entry) -> String {
    line(&json!({
        "ID": id,
        "OutputID": base64(&entry.output),
        "Size": entry.length,
        "Time": entry.put_at.to_iso8601(),
        "DiskPath": entry.path.to_string_lossy(),
    }))
}

/// The output is kept in this file.
pub fn stored(id: i64, path: &Path) -> String {
    line(&json!({"ID": id, "DiskPath": path.to_string_lossy()}))
}

/// The end.
pub fn closed(id: i64) -> String {
    line(&json!({"ID": id}))
}

/// Something of this machine went wrong; what goes wrong with the appliance is a miss.
pub fn error(id: i64, reason: &str) -> String {
    line(&json!({"ID": id, "Err": format!("zerocloud gocacheprog: {reason}")}))
}

fn line(answer: &Value) -> String {
    format!("{answer}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_all_lengths_around_a_group_come_back() {
        for length in [1, 2, 3, 4, 49_151, 49_152, 49_153, 100_000] {
            let body: Vec<u8> = (0..length).map(|index| (index * 7) as u8).collect();
            let text = format!("\n\"{}\"\n{{\"ID\":1,\"Command\":\"close\"}}", base64(&body));
            let request = Request {
                id: 1,
                command: Command::Put,
                action: vec![1],
                output: vec![1],
                body_bytes: length,
            };
            let mut requests = Requests::new(text.as_bytes());
            let mut found = Vec::new();
            requests.body(&request, &mut |bytes| found.extend_from_slice(bytes)).unwrap();
            assert!(found == body, "{length}");
            assert_eq!(requests.next().unwrap().unwrap().command, Command::Close);
        }
    }

    #[test]
    fn requests_without_their_ids_are_none() {
        let bad = [
            "{}",
            "[]",
            "{\"ID\":1,\"Command\":\"get\"}",
            "{\"ID\":1,\"Command\":\"put\",\"ActionID\":\"AAAA\"}",
            "{\"ID\":1,\"Command\":\"get\",\"ActionID\":\"A\"}",
            "{\"ID\":1,\"Command\":\"get\",\"ActionID\":7}",
            "{\"ID\":1,\"Command\":\"put\",\"ActionID\":\"AAAA\",\"OutputID\":\"AAAA\",\"BodySize\":-1}",
        ];
        for text in bad {
            assert!(Requests::new(text.as_bytes()).next().is_err(), "{text}");
        }
        let long = format!("{{\"ID\":1,\"Command\":\"get\",\"ActionID\":\"{}\"}}", "A".repeat(100));
        assert!(Requests::new(long.as_bytes()).next().is_err());
        let unknown = Requests::new(&b"{\"ID\":1,\"Command\":\"get2\"}"[..]).next().unwrap().unwrap();
        assert_eq!(unknown.command, Command::Unknown);
    }

    #[test]
    fn a_line_without_end_is_refused_at_its_bound() {
        let text = vec![b'x'; 2 * LINE_BYTES_MAX as usize];
        assert!(Requests::new(&text[..]).next().is_err());
    }
}
