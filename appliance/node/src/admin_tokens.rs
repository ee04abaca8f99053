//! `/-/admin/v1/tokens`: tokens are made, listed, rotated and revoked.
//! Invariant: nothing below `/-/admin/` is answered but to a request whose head and body the root key has signed in its
//! Authorization header; a token's text is in the one reply that makes it and in no log.
//! Leaves to `tokens`: what a token is. To token_command.rs: the commands that ask here.
//!
//! ```text
//! POST   /-/admin/v1/tokens              {name, scopes, namespaces?, expires?}  201 {id, token, ..}
//! GET    /-/admin/v1/tokens                                                     200 {tokens: [{id, ..}]}
//! POST   /-/admin/v1/tokens/{id}/rotate  {overlap_seconds?}                     200 {id, token, ..}
//! DELETE /-/admin/v1/tokens/{id}                                                200 {id, revoked}
//! ```

use aws::payload::PayloadMode;
use aws::sigv4::{AuthMethod, Identity};
use bytes::Bytes;
use http::{BodyLength, RequestBody, RequestHead};
use http_types::{HeaderValue, Method, StatusCode, header};
use plan::{Plan, Reply, ReplyBody};
use serde_json::{Map, Value, json};
use store::Timestamp;
use tokens::{NewToken, Refused, Scope, Scopes, TokenId, TokenRecord, USE_RESOLUTION_MS, Wanted};

use crate::core::Core;
use crate::door::Seat;
use crate::drive::{self, Host, intake::Intake, reply::Ids};
use crate::entry::identify;
use crate::route::ServiceId;
use crate::status::Phase;

/// How the paths of the administration begin.
pub const PREFIX: &str = "/-/admin/v1/";
/// The longest document that is read.
const BODY_BYTES_MAX: usize = 64 << 10;
/// How long the former secret stays good where the request does not say.
const OVERLAP_SECONDS_DEFAULT: u64 = 3_600;

/// Why a request is not carried out.
struct Wrong {
    status: StatusCode,
    code: &'static str,
    message: String,
}

fn wrong(status: StatusCode, code: &'static str, message: impl Into<String>) -> Wrong {
    Wrong { status, code, message: message.into() }
}

fn bad(message: impl Into<String>) -> Wrong {
    wrong(StatusCode::BAD_REQUEST, "InvalidRequest", message)
}

/// What is asked.
enum Ask {
    Create(Wanted),
    List,
    Rotate { id: TokenId, overlap_ms: u64 },
    Revoke(TokenId),
}

/// Answers a request below `/-/admin/v1/`.
pub async fn answer(
    core: &Core,
    head: &RequestHead,
    body: RequestBody,
    client: &http::Responder,
    ids: &Ids,
) -> Reply {
    let reply = match carry_out(core, head, body, client, ids).await {
        Ok(reply) => reply,
        Err(wrong) => refusal(&wrong, ids),
    };
    reply.with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

async fn carry_out(
    core: &Core,
    head: &RequestHead,
    body: RequestBody,
    client: &http::Responder,
    ids: &Ids,
) -> Result<Reply, Wrong> {
    let body = admit(core, head, body).await?;
    let ask = parse(&head.method, &head.path, &body)?;
    let shows_token = matches!(ask, Ask::Create(_) | Ask::Rotate { .. });
    if shows_token
        && !core.config.allow_plaintext
        && !head.tls
        && !head.peer.ip().to_canonical().is_loopback()
    {
        let text = "A token is not sent over plain HTTP beyond loopback: use TLS, or start the appliance with --allow-plaintext.";
        return Err(wrong(StatusCode::FORBIDDEN, "PlaintextRefused", text));
    }
    let seat = Seat { core, door: core.door(ServiceId::Cache), client: Some(client) };
    let plan = seat.with_context(|cx| plan_of(cx, &core.shared().tokens, ask, ids.shown().to_owned()));
    let reply = drive::drive(&seat, plan, &mut Intake::empty()).await;
    if reply.status.is_success() && head.method != Method::GET {
        // Who changed what stands in the log; the id is all that it shows of a token.
        let document: Value = match &reply.body {
            ReplyBody::Bytes(bytes) => serde_json::from_slice(bytes).unwrap_or_default(),
            _ => Value::Null,
        };
        let id = document["id"].as_str().unwrap_or("-").to_owned();
        let rotated = head.path.ends_with("/rotate");
        let change = match head.method {
            Method::DELETE => "token revoked",
            _ if rotated => "token rotated",
            _ => "token made",
        };
        core.log.info(change, &[("request_id", &ids.shown()), ("token", &id), ("peer", &head.peer)]);
    }
    Ok(reply)
}

/// The body of a request that the root key has signed, all of it.
async fn admit(core: &Core, head: &RequestHead, body: RequestBody) -> Result<Bytes, Wrong> {
    let denied = || {
        let text = "Requests here are signed with the root key in their Authorization header, body included.";
        wrong(StatusCode::FORBIDDEN, "AccessDenied", text)
    };
    if core.store_if_started().is_none() || core.status.phase() == Phase::Recovering {
        let text = "The appliance is starting. Please try again.";
        return Err(wrong(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", text));
    }
    // No service has keys of its own; S3's scope is the one that such a request is signed for.
    let identity = identify(core, core.door(ServiceId::S3), head, None);
    let (Identity::Key(key), mode) =
        identity.map_err(|error| wrong(StatusCode::FORBIDDEN, "AccessDenied", error.message))?
    else {
        return Err(denied());
    };
    let is_whole = matches!(mode, PayloadMode::Sha256(_)) || body.length() == BodyLength::None;
    if !core.is_root_key(&key.access_key) || key.method != AuthMethod::V4Header || !is_whole {
        return Err(denied());
    }
    let mut intake = Intake::new(body, mode, None, &head.headers).map_err(|error| bad(error.message))?;
    intake
        .collect(BODY_BYTES_MAX)
        .await
        .map_err(|_| bad("The body is not what was signed, or longer than 64 KiB."))
}

fn parse(method: &Method, path: &str, body: &[u8]) -> Result<Ask, Wrong> {
    let rest = path.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix("tokens"));
    let mut parts = rest.unwrap_or("/").split('/').skip(1);
    let (id, word, more) = (parts.next(), parts.next(), parts.next());
    let not_found = || wrong(StatusCode::NOT_FOUND, "NotFound", "known here: /-/admin/v1/tokens");
    if rest.is_none_or(|rest| !rest.is_empty() && !rest.starts_with('/')) || more.is_some() {
        return Err(not_found());
    }
    let not_allowed = |allowed: &str| {
        Err(wrong(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            format!("{allowed} is what is taken here."),
        ))
    };
    let known = |id: &str| {
        TokenId::parse(id.as_bytes())
            .ok_or_else(|| wrong(StatusCode::NOT_FOUND, "NoSuchToken", NO_SUCH_TOKEN))
    };
    match (id, word) {
        (None, _) if method == Method::GET => Ok(Ask::List),
        (None, _) if method == Method::POST => Ok(Ask::Create(wanted(body)?)),
        (None, _) => not_allowed("GET or POST"),
        (Some(id), None) if method == Method::DELETE => Ok(Ask::Revoke(known(id)?)),
        (Some(_), None) => not_allowed("DELETE"),
        (Some(id), Some("rotate")) if method == Method::POST => {
            Ok(Ask::Rotate { id: known(id)?, overlap_ms: overlap_ms(body)? })
        }
        (Some(_), Some("rotate")) => not_allowed("POST"),
        (Some(_), Some(_)) => Err(not_found()),
    }
}

const NO_SUCH_TOKEN: &str = "No token has this id.";

/// The fields of a document, each taken out as it is read, so that what is left is what nobody knows.
fn fields(body: &[u8]) -> Result<Map<String, Value>, Wrong> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        _ => Err(bad("The body must be a JSON object.")),
    }
}

fn none_left(fields: &Map<String, Value>) -> Result<(), Wrong> {
    match fields.keys().next() {
        Some(_) => Err(bad("The body has a field that is not known here.")),
        None => Ok(()),
    }
}

fn wanted(body: &[u8]) -> Result<Wanted, Wrong> {
    let mut fields = fields(body)?;
    let name = match fields.remove("name") {
        Some(Value::String(name)) => name,
        _ => return Err(bad("name must be a string.")),
    };
    let mut scopes = Scopes::NONE;
    for scope in strings(fields.remove("scopes"), "scopes")? {
        let scope = Scope::parse(&scope);
        scopes =
            scopes.with(scope.ok_or_else(|| {
                bad("scopes must be of cache:read, cache:write, cache:admin, metrics:read.")
            })?);
    }
    let namespaces = strings(fields.remove("namespaces"), "namespaces")?;
    let expires = match fields.remove("expires") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => {
            Some(instant(&text).ok_or_else(|| bad("expires must be like 2030-01-31T12:00:00Z."))?)
        }
        Some(_) => return Err(bad("expires must be like 2030-01-31T12:00:00Z.")),
    };
    none_left(&fields)?;
    Ok(Wanted { name, scopes, namespaces, expires })
}

fn strings(value: Option<Value>, what: &str) -> Result<Vec<String>, Wrong> {
    let malformed = || bad(format!("{what} must be a list of strings."));
    match value {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                _ => Err(malformed()),
            })
            .collect(),
        Some(_) => Err(malformed()),
    }
}

fn instant(text: &str) -> Option<Timestamp> {
    let ms = aws::Timestamp::parse_iso8601(text.as_bytes())?.as_ms();
    u64::try_from(ms).ok().map(Timestamp)
}

fn overlap_ms(body: &[u8]) -> Result<u64, Wrong> {
    if body.is_empty() {
        return Ok(OVERLAP_SECONDS_DEFAULT * 1_000);
    }
    let mut fields = fields(body)?;
    let seconds = match fields.remove("overlap_seconds") {
        None => OVERLAP_SECONDS_DEFAULT,
        Some(value) => value.as_u64().ok_or_else(|| bad("overlap_seconds must be a whole number."))?,
    };
    none_left(&fields)?;
    Ok(seconds.saturating_mul(1_000))
}

fn plan_of(cx: &mut plan::Context<'_>, tokens: &tokens::Tokens, ask: Ask, request_id: String) -> Plan {
    let refused = move |refused| Plan::Reply(refusal_of(&explain(refused), &request_id));
    match ask {
        Ask::List => match tokens.list(cx) {
            Ok(found) => {
                let found: Vec<Value> = found.iter().map(|(id, record)| shown(*id, record, cx.now)).collect();
                Plan::Reply(json_reply(StatusCode::OK, &json!({ "tokens": found })))
            }
            Err(fault) => refused(Refused::Fault(fault)),
        },
        Ask::Create(wanted) => tokens.create(cx, wanted, move |cx, made| match made {
            Ok((token, record)) => Plan::Reply(revealed(StatusCode::CREATED, &token, &record, cx.now)),
            Err(why) => refused(why),
        }),
        Ask::Rotate { id, overlap_ms } => tokens.rotate(cx, id, overlap_ms, move |cx, made| match made {
            Ok((token, record)) => Plan::Reply(revealed(StatusCode::OK, &token, &record, cx.now)),
            Err(why) => refused(why),
        }),
        Ask::Revoke(id) => tokens.revoke(cx, id, move |_, ended| match ended {
            Ok(()) => Plan::Reply(json_reply(StatusCode::OK, &json!({ "id": id.as_str(), "revoked": true }))),
            Err(why) => refused(why),
        }),
    }
}

fn explain(refused: Refused) -> Wrong {
    match refused {
        Refused::Invalid(text) => bad(text),
        Refused::TooMany => wrong(
            StatusCode::CONFLICT,
            "TooManyTokens",
            format!("There are {} tokens already; revoke one.", tokens::TOKENS_MAX),
        ),
        Refused::NotFound => wrong(StatusCode::NOT_FOUND, "NoSuchToken", NO_SUCH_TOKEN),
        Refused::Fault(store::Fault::Full) => {
            wrong(StatusCode::INSUFFICIENT_STORAGE, "StorageFull", "The storage is full.")
        }
        Refused::Fault(_) => wrong(
            StatusCode::SERVICE_UNAVAILABLE,
            "StorageUnavailable",
            "The storage refused. Please try again.",
        ),
    }
}

/// A token as the list shows it.
fn shown(id: TokenId, record: &TokenRecord, now: Timestamp) -> Value {
    let time = |at: Timestamp| aws::Timestamp(i64::try_from(at.0).unwrap_or(i64::MAX)).to_iso8601();
    let last_used = (record.used_hour > 0).then(|| time(Timestamp(record.used_hour * USE_RESOLUTION_MS)));
    let former = record.former.filter(|former| former.until > now);
    json!({
        "id": id.as_str(),
        "name": record.name,
        "scopes": record.scopes.names(),
        "namespaces": record.namespaces,
        "created": time(record.created),
        "expires": record.expires.map(time),
        "is_expired": record.is_expired(now),
        "last_used": last_used,
        "former_secret_until": former.map(|former| time(former.until)),
    })
}

/// The one reply that holds the token itself.
fn revealed(status: StatusCode, token: &NewToken, record: &TokenRecord, now: Timestamp) -> Reply {
    let mut document = shown(token.id, record, now);
    document["token"] = token.reveal().into();
    json_reply(status, &document)
}

fn json_reply(status: StatusCode, document: &Value) -> Reply {
    Reply::bytes(status, "application/json", format!("{document}\n"))
}

fn refusal(wrong: &Wrong, ids: &Ids) -> Reply {
    refusal_of(wrong, ids.shown())
}

fn refusal_of(wrong: &Wrong, request_id: &str) -> Reply {
    let error = json!({ "code": wrong.code, "message": wrong.message, "request_id": request_id });
    json_reply(wrong.status, &json!({ "error": error }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &Method, path: &str, body: &str) -> Result<Ask, u16> {
        parse(method, path, body.as_bytes()).map_err(|wrong| wrong.status.as_u16())
    }

    #[test]
    fn every_route_has_its_method_and_every_other_path_is_not_found() {
        let ci = r#"{"name":"ci","scopes":["cache:read"]}"#;
        assert!(matches!(asked(&Method::GET, "/-/admin/v1/tokens", ""), Ok(Ask::List)));
        assert!(matches!(asked(&Method::POST, "/-/admin/v1/tokens", ci), Ok(Ask::Create(_))));
        assert!(matches!(asked(&Method::DELETE, "/-/admin/v1/tokens/abcdefgh", ""), Ok(Ask::Revoke(_))));
        assert!(matches!(
            asked(&Method::POST, "/-/admin/v1/tokens/abcdefgh/rotate", ""),
            Ok(Ask::Rotate { overlap_ms: 3_600_000, .. })
        ));
        for (method, path, status) in [
            (Method::PUT, "/-/admin/v1/tokens", 405),
            (Method::GET, "/-/admin/v1/tokens/abcdefgh", 405),
            (Method::GET, "/-/admin/v1/tokens/abcdefgh/rotate", 405),
            (Method::DELETE, "/-/admin/v1/tokens/ABCDEFGH", 404),
            (Method::DELETE, "/-/admin/v1/tokens/", 404),
            (Method::POST, "/-/admin/v1/tokens/abcdefgh/other", 404),
            (Method::POST, "/-/admin/v1/tokens/abcdefgh/rotate/x", 404),
            (Method::GET, "/-/admin/v1/tokensx", 404),
            (Method::GET, "/-/admin/v1/", 404),
        ] {
            assert_eq!(asked(&method, path, "").err(), Some(status), "{method} {path}");
        }
    }

    #[test]
    fn a_wish_is_read_whole_and_a_malformed_one_is_refused() {
        let text = r#"{"name":"ci","scopes":["cache:read","cache:write"],"namespaces":["web"],"expires":"2030-01-31T12:00:00Z"}"#;
        let Ok(Ask::Create(wanted)) = asked(&Method::POST, "/-/admin/v1/tokens", text) else {
            panic!("valid");
        };
        assert_eq!(
            (wanted.name.as_str(), wanted.namespaces.as_slice()),
            ("ci", ["web".to_string()].as_slice())
        );
        assert!(wanted.scopes.has(Scope::CacheWrite));
        assert_eq!(wanted.expires, Some(Timestamp(1_896_091_200_000)));
        for text in [
            "",
            "[]",
            "{",
            r#"{"scopes":["cache:read"]}"#,
            r#"{"name":1,"scopes":["cache:read"]}"#,
            r#"{"name":"ci","scopes":"cache:read"}"#,
            r#"{"name":"ci","scopes":["cache:all"]}"#,
            r#"{"name":"ci","scopes":[1]}"#,
            r#"{"name":"ci","scopes":["cache:read"],"expires":"tomorrow"}"#,
            r#"{"name":"ci","scopes":["cache:read"],"expires":5}"#,
            r#"{"name":"ci","scopes":["cache:read"],"role":"x"}"#,
        ] {
            assert_eq!(asked(&Method::POST, "/-/admin/v1/tokens", text).err(), Some(400), "{text}");
        }
        for text in [r#"{"overlap_seconds":-1}"#, r#"{"overlap_seconds":"1h"}"#, r#"{"x":1}"#] {
            let path = "/-/admin/v1/tokens/abcdefgh/rotate";
            assert_eq!(asked(&Method::POST, path, text).err(), Some(400), "{text}");
        }
    }
}
