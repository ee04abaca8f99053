//! What the HTTP caches of Bazel and moon have in common: action results under keys, and the blobs that they name.
//!
//! ```text
//! [/{instance}]/ac/{64 hex}    an action result, under the SHA-256 of its action
//! [/{instance}]/cas/{64 hex}   a blob, under its own
//! ```
//! Invariant: an action result is found only while its whole closure is there. An instance tells results apart and nothing else:
//! rights, quotas and blobs are those of the namespace.
//!
//! ```text
//! PUT --closure whole--> closed: the record names the closure  --GET--> hit, or miss and gone
//!     --not yet-------> open: it names nothing                --GET--> closed, and a hit; or a miss, and gone after a minute
//! ```
//! Leaves to each dialect: the form of a result. To action/: what a result names.

use bytes::Bytes;
use cas::{Digest, KeyHit, KeyName, NewKey, Upload};
use http_types::{HeaderMap, HeaderValue, Method, StatusCode, header};
use plan::{Context, Plan, Reply, ReplyBody};

use super::opaque::swallow;
use crate::action::closure::Closure;
use crate::action::{EMPTY, Invalid, Names, RESULT_BYTES_MAX, walk};
use crate::call::{Call, Shared, collect, find, receive, settle};
use crate::native::coding::Coding;
use crate::native::{name, objects};
use crate::refusal::{Refusal, guard, head_only};

/// Methods of both kinds of paths.
pub const METHODS: &str = "GET, HEAD, PUT";
/// Characters of an instance's name at most.
const INSTANCE_BYTES_MAX: usize = 64;

/// What a path is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// An action result.
    Action,
    /// A blob.
    Blob,
}

/// A path of these caches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address<'p> {
    instance: Option<&'p str>,
    place: Place,
    hash: &'p str,
}

impl<'p> Address<'p> {
    /// Nothing of any other path.
    #[must_use]
    pub fn parse(rest: &'p str) -> Option<Address<'p>> {
        let (before, hash) = rest.strip_prefix('/')?.rsplit_once('/')?;
        let (instance, place) = match before.rsplit_once('/') {
            Some((instance, place)) => (Some(instance), place),
            None => (None, before),
        };
        let place = match place {
            "ac" => Place::Action,
            "cas" => Place::Blob,
            _ => return None,
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let is_instance =
            |text: &str| (1..=INSTANCE_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain);
        let is_legal = !hash.is_empty() && instance.is_none_or(is_instance);
        is_legal.then_some(Address { instance, place, hash })
    }

    /// What it is about.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    fn digest(&self) -> Result<Digest, Refusal> {
        Digest::parse(self.hash).ok_or_else(name::invalid)
    }
}

fn address(call: &Call) -> Result<Address<'_>, Refusal> {
    // The dialect's `find` has read the same path.
    Address::parse(call.rest()).ok_or(Refusal::NoRoute)
}

/// The name of a result's key record.
fn key(call: &Call) -> Result<KeyName, Refusal> {
    let address = address(call)?;
    let digest = address.digest()?;
    let key = match address.instance {
        Some(instance) => format!("{instance}/{digest}"),
        None => digest.to_string(),
    };
    KeyName::new(call.namespace, call.dialect(), key.into_bytes()).ok_or(Refusal::NotFound)
}

/// The form in which a dialect keeps action results.
pub struct Form {
    /// Reads what a result names.
    pub read: fn(&[u8]) -> Result<Names, Invalid>,
    /// What GET calls it.
    pub media_type: &'static str,
}

/// Answers GET and HEAD of an action result: what was stored, if its whole closure is there.
pub fn get_action(call: Shared, cx: &mut Context<'_>, form: &'static Form) -> Result<Plan, Refusal> {
    let name = key(&call)?;
    let cas = call.cas.clone();
    Ok(cas.key_get(cx, name.clone(), move |cx, found| {
        let hit = match found.map_err(Refusal::from).and_then(|hit| hit.ok_or(Refusal::NotFound)) {
            Ok(hit) => hit,
            Err(refusal) => return call.refuse(&refusal),
        };
        if is_open(&hit) {
            return close(call, cx, name, hit, form);
        }
        Plan::Reply(result(&call, hit.value, form))
    }))
}

fn result(call: &Call, value: Bytes, form: &Form) -> Reply {
    let mut reply = Reply::bytes(StatusCode::OK, form.media_type, value);
    // Another result may come under the key.
    reply.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    guard(&mut reply.headers);
    if call.head.method == Method::HEAD { head_only(reply) } else { reply }
}

/// Answers PUT of an action result. The last writer wins.
pub fn put_action(call: Shared, _cx: &mut Context<'_>, form: &'static Form) -> Result<Plan, Refusal> {
    let name = key(&call)?;
    if call.announced_bytes().is_some_and(|bytes| bytes > RESULT_BYTES_MAX as u64) {
        return Err(Refusal::TooLarge);
    }
    Ok(collect(call, RESULT_BYTES_MAX, move |call, cx, body| {
        let new = NewKey { value: body.bytes, by: call.provenance(), ..NewKey::default() };
        let call = Shared::clone(call);
        store(call, cx, name, new, form, |call, cx, name, new, written| match written {
            Err(Refusal::MissingOutputs(_)) => put_open(call, cx, name, new),
            written => settle(&call, written.map(|()| Plan::Reply(done()))),
        })
    }))
}

/// Stores a result with its closure, and goes on with it, and with `MissingOutputs` if that is not whole. Errors: the result is none.
fn store<F>(
    call: Shared,
    cx: &mut Context<'_>,
    name: KeyName,
    new: NewKey,
    form: &'static Form,
    then: F,
) -> Result<Plan, Refusal>
where
    F: FnOnce(Shared, &mut Context<'_>, KeyName, NewKey, Result<(), Refusal>) -> Plan + 'static,
{
    let closure = (form.read)(&new.value).and_then(|names| Closure::of(&names)).map_err(walk::refusal)?;
    Ok(walk::resolve(call, cx, closure, move |call, cx, references| {
        let references = match references {
            Ok(references) => references,
            Err(refusal) => return then(call, cx, name, new, Err(refusal)),
        };
        let cas = call.cas.clone();
        let closed = NewKey { references, ..new.clone() };
        cas.key_put(cx, name.clone(), closed, move |cx, written| {
            then(call, cx, name, new, written.map_err(Refusal::from))
        })
    }))
}

/// What the metadata of an open result says.
const OPEN: (&str, &str) = ("closure", "open");
/// An open result that is younger than this stays when its closure is not whole: uploads may be under way.
const OPEN_GRACE_MS: u64 = 60_000;

fn is_open(hit: &KeyHit) -> bool {
    hit.metadata.iter().any(|(name, value)| (&**name, &**value) == OPEN)
}

/// Stores a result whose closure is not whole yet. Bazel leaves out an upload that another action of the same build has begun, and
/// does not wait for its end: results come before their last blobs.
fn put_open(call: Shared, cx: &mut Context<'_>, name: KeyName, new: NewKey) -> Plan {
    let metadata = vec![(OPEN.0.into(), OPEN.1.into())];
    let cas = call.cas.clone();
    cas.key_put(cx, name, NewKey { metadata, ..new }, move |_cx, written| {
        settle(&call, written.map(|()| Plan::Reply(done())).map_err(Refusal::from))
    })
}

/// Answers the first look-up of an open result: closed and a hit, or a miss, and then it goes if it had the time.
fn close(call: Shared, cx: &mut Context<'_>, name: KeyName, hit: KeyHit, form: &'static Form) -> Plan {
    let KeyHit { value, by, created_ms, .. } = hit;
    let new = NewKey { value, by, ..NewKey::default() };
    let shared = Shared::clone(&call);
    let closed = store(call, cx, name, new, form, move |call, cx, name, new, written| match written {
        Ok(()) => Plan::Reply(result(&call, new.value, form)),
        // A record cannot be written at the moment, but what it would say is known to be there, and leased.
        Err(Refusal::Full | Refusal::QuotaFull) => Plan::Reply(result(&call, new.value, form)),
        Err(Refusal::MissingOutputs(_)) => {
            let age_ms = cx.now.0.saturating_sub(created_ms);
            if age_ms < OPEN_GRACE_MS {
                return call.refuse(&Refusal::NotFound);
            }
            let cas = call.cas.clone();
            cas.key_delete(cx, name, move |_cx, gone| {
                settle(&call, Err(gone.map_or_else(Refusal::from, |_| Refusal::NotFound)))
            })
        }
        Err(refusal) => call.refuse(&refusal),
    });
    settle(&shared, closed)
}

/// The answer to an upload that is kept. Both clients take any status of success.
fn done() -> Reply {
    let mut reply = Reply::empty(StatusCode::OK);
    guard(&mut reply.headers);
    reply
}

/// Answers GET and HEAD of a blob.
pub fn get_blob(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let digest = address(&call)?.digest()?;
    if digest == EMPTY {
        // Always there: a result may name it though nobody has uploaded it.
        let mut headers = HeaderMap::new();
        guard(&mut headers);
        return Ok(Plan::Reply(Reply { status: StatusCode::OK, headers, body: ReplyBody::Empty }));
    }
    Ok(find(&call, cx, digest, |call, _cx, found| {
        objects::reply(call, found.ok_or(Refusal::NotFound)?).map(Plan::Reply)
    }))
}

/// Answers PUT of a blob, which is compared with its digest while it comes.
pub fn put_blob(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let digest = address(&call)?.digest()?;
    let coding = Coding::parse(call.head.headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes))?;
    if digest == EMPTY && call.announced_bytes() == Some(0) {
        return Ok(Plan::Reply(done()));
    }
    let length = call.announced_bytes().filter(|_| coding == Coding::Identity);
    if length.is_some_and(|length| length > call.cas.settings().object_bytes_max) {
        return Err(Refusal::TooLarge);
    }
    Ok(find(&call, cx, digest, move |call, cx, found| {
        Ok(match found {
            // Both clients send every blob each time, and take a connection that ends under them for a failure.
            Some(_) => swallow(call, done()),
            None => {
                let upload = Upload {
                    ns: call.namespace,
                    expected: Some(digest),
                    length,
                    filter: coding.filter(),
                    content_type: None,
                    by: call.provenance(),
                    prefix: Bytes::new(),
                };
                receive(call, cx, upload, |_call, _cx, _stored| Ok(Plan::Reply(done())))
            }
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_an_instance_or_none() {
        let address = |instance, place| Some(Address { instance, place, hash: "00" });
        assert_eq!(Address::parse("/ac/00"), address(None, Place::Action));
        assert_eq!(Address::parse("/cas/00"), address(None, Place::Blob));
        assert_eq!(Address::parse("/moon-outputs/cas/00"), address(Some("moon-outputs"), Place::Blob));
        assert_eq!(Address::parse("/ac/ac/00"), address(Some("ac"), Place::Action));
        let long = format!("/{}/ac/00", "i".repeat(INSTANCE_BYTES_MAX + 1));
        for path in [
            "",
            "/",
            "/ac",
            "/ac/",
            "ac/00",
            "//ac/00",
            "/a/b/ac/00",
            "/a b/ac/00",
            "/xac/00",
            "/a%2f/ac/00",
            &long,
        ] {
            assert_eq!(Address::parse(path), None, "{path}");
        }
    }
}
