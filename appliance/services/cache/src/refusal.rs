//! What is answered when the answer is no, in the shape that each client survives.
//! Invariant: an absence is 404 and nothing else is, but for key lookups that are shed where the table says so; a fault is
//! never told as an absence of a blob that a hit has promised. Every refusal of every dialect comes out of one table.
//! Leaves to dialects: when to refuse.

use std::borrow::Cow;

use aws::request_id::RequestId;
use cas::{Dialect, Digest};
use http_types::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use plan::{Reply, ReplyBody};
use serde_json::json;
use store::Fault;
use tokens::Denied;

/// Why a request is not done.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// The request carries no token.
    NoToken,
    /// The token is not known, has expired or was revoked.
    WrongToken,
    /// Too many wrong tokens came from this address; tokens of it are not looked at for so long.
    BackOff {
        /// When to come again.
        retry_after_seconds: u64,
    },
    /// A token over plain HTTP from another machine.
    Plaintext,
    /// The token does not have the right, in this namespace or at all.
    Forbidden,
    /// The object is longer than one may be, before or after decoding.
    TooLarge,
    /// Nothing more can be evicted, or the disk has no room.
    Full,
    /// The namespace holds as much as it may, and nothing of it can be evicted.
    QuotaFull,
    /// Too much is under way.
    Overloaded,
    /// The namespace, or the address, has had as much as it may for now.
    Throttled {
        /// When to come again.
        retry_after_seconds: u64,
    },
    /// The store failed.
    Broken,
    /// There is no such thing here.
    NotFound,
    /// There is no such route.
    NoRoute,
    /// The route does not have this method. The value of `Allow`.
    WrongMethod(&'static str),
    /// The request is malformed: a code for programs, a sentence for people.
    Bad(&'static str, Cow<'static, str>),
    /// An action names outputs that are not there.
    MissingOutputs(Vec<Digest>),
    /// An administrator has blocked an object of this digest.
    Blocked,
    /// What is there, or under way, forbids this: a code and a sentence.
    Conflict(&'static str, Cow<'static, str>),
    /// A condition of the request does not hold.
    ConditionFailed,
    /// The body is in a coding that is not known.
    UnknownCoding,
    /// The range lies behind the end of an object of so many bytes.
    RangeOutside {
        /// The object's length.
        length: u64,
    },
    /// The body came too slowly.
    TooSlow,
    /// A part of the protocol that is not built: which one.
    NotBuilt(&'static str),
}

/// What a request wants, as far as refusals depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Looks up a key: being shed may be told as a miss.
    Lookup,
    /// Reads a blob that a hit has promised, asks what is missing, or looks at the cache: being shed is never an absence.
    Read,
    /// Stores or removes.
    Write,
    /// Administers.
    Admin,
}

/// What a refusal must know of its request.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// In whose shape to answer.
    pub dialect: Dialect,
    /// What was asked for.
    pub kind: Kind,
    /// What the request is called.
    pub request_id: RequestId,
}

/// How a dialect's clients read errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Body {
    /// `{"error":{"code","message","request_id"}}`.
    Json,
    /// One line of `text/plain`.
    Text,
}

/// One line of the table. Each field is a status.
struct Row {
    dialect: Dialect,
    body: Body,
    /// A write by a token that may only read.
    read_only: u16,
    /// An object over the limit.
    too_large: u16,
    /// No room in the cache, the quota or on the disk.
    full: u16,
    /// A key lookup that is shed.
    busy_lookup: u16,
    /// A write that is shed.
    busy_write: u16,
    /// An object that an administrator has blocked.
    blocked: u16,
}

const fn row(dialect: Dialect, body: Body, statuses: [u16; 6]) -> Row {
    let [read_only, too_large, full, busy_lookup, busy_write, blocked] = statuses;
    Row { dialect, body, read_only, too_large, full, busy_lookup, busy_write, blocked }
}

/// No or a wrong token is 401 everywhere; for Nx in `text/plain`, else it speaks of a misconfigured endpoint.
/// Gradle switches the remote cache off at any code that it does not know, so what it cannot store is "too large". Nx fails
/// the build at each code of a GET that it does not know. Turborepo tries again at 503, which costs seconds. What is blocked is told
/// to Turborepo and moon as what they cannot store, since at a code that is not in their contract they may try again.
static TABLE: [Row; 9] = [
    //                            read-only, too large, full, busy lookup, busy write, blocked
    row(Dialect::Native, Body::Json, [403, 413, 507, 503, 503, 409]),
    row(Dialect::Bazel, Body::Text, [403, 413, 413, 404, 503, 409]),
    row(Dialect::Ccache, Body::Text, [403, 413, 413, 404, 503, 409]),
    row(Dialect::Webdav, Body::Text, [403, 507, 507, 404, 507, 409]),
    row(Dialect::Gradle, Body::Text, [413, 413, 413, 404, 413, 413]),
    row(Dialect::Turbo, Body::Json, [403, 413, 413, 404, 403, 413]),
    row(Dialect::Nx, Body::Text, [403, 403, 403, 404, 403, 409]),
    row(Dialect::Moon, Body::Text, [403, 403, 403, 404, 403, 403]),
    row(Dialect::Go, Body::Json, [403, 413, 507, 503, 503, 409]),
];

/// After how long what was shed is worth another try.
const RETRY_AFTER_S: u32 = 1;

/// Who may ask, for clients that wait to be asked.
const CHALLENGES: [&str; 2] = [r#"Bearer realm="zerocloud""#, r#"Basic realm="zerocloud", charset="UTF-8""#];

fn row_of(dialect: Dialect) -> &'static Row {
    let found = TABLE.iter().find(|row| row.dialect == dialect);
    found.expect("a test shows that the table has a row for every dialect")
}

impl Refusal {
    /// The status in the shape of a dialect.
    #[must_use]
    pub fn status(&self, dialect: Dialect, kind: Kind) -> StatusCode {
        let row = row_of(dialect);
        let busy = match kind {
            Kind::Lookup => row.busy_lookup,
            Kind::Read | Kind::Admin => 503,
            Kind::Write => row.busy_write,
        };
        let is_native = matches!(dialect, Dialect::Native | Dialect::Go);
        let status = match self {
            Refusal::NoToken | Refusal::WrongToken => 401,
            // Clients of others know nothing of 429: to them the token is wrong for now.
            Refusal::BackOff { .. } if is_native => 429,
            Refusal::BackOff { .. } => 401,
            Refusal::Forbidden if kind == Kind::Write => row.read_only,
            // Nx shows the text of a 401 and takes any other code of a GET for a broken endpoint.
            Refusal::Forbidden | Refusal::Plaintext if dialect == Dialect::Nx && kind != Kind::Write => 401,
            Refusal::Forbidden | Refusal::Plaintext => 403,
            Refusal::TooLarge => row.too_large,
            Refusal::Full | Refusal::QuotaFull => row.full,
            Refusal::Overloaded => busy,
            // Clients of others know nothing of 429: to them it is what too much of everybody's is.
            Refusal::Throttled { .. } if is_native => 429,
            Refusal::Throttled { .. } => busy,
            // What is broken is not worth another try, except where the client must not hear of it at all.
            Refusal::Broken if busy == 503 => 500,
            Refusal::Broken => busy,
            Refusal::NotFound | Refusal::NoRoute => 404,
            Refusal::WrongMethod(_) => 405,
            Refusal::Bad(..) | Refusal::MissingOutputs(_) => 400,
            Refusal::Blocked => row.blocked,
            Refusal::Conflict(..) => 409,
            Refusal::ConditionFailed => 412,
            Refusal::UnknownCoding => 415,
            Refusal::RangeOutside { .. } => 416,
            Refusal::TooSlow => 408,
            Refusal::NotBuilt(_) => 501,
        };
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The reply to a request of this form.
    #[must_use]
    pub fn reply(&self, form: &Form) -> Reply {
        let status = self.status(form.dialect, form.kind);
        let (media_type, body) = match row_of(form.dialect).body {
            Body::Json => ("application/json", self.json(form)),
            // A miss is the most frequent answer of all, and no client reads its text.
            Body::Text if status == StatusCode::NOT_FOUND => ("", String::new()),
            Body::Text => {
                ("text/plain", format!("{}: {} ({})\n", self.code(), self.text(), form.request_id.as_str()))
            }
        };
        let mut reply = match body.is_empty() {
            true => Reply::empty(status),
            false => Reply::bytes(status, media_type, body),
        };
        self.describe(&mut reply.headers, status);
        reply
    }

    fn json(&self, form: &Form) -> String {
        // At this word Turborepo uploads no more for the run; at any other it tries again with each artifact.
        let is_final = form.dialect == Dialect::Turbo && self.status(form.dialect, form.kind) == 403;
        let mut error = json!({
            "code": if is_final { "forbidden" } else { self.code() },
            "message": self.text(),
            "request_id": form.request_id.as_str(),
        });
        if let Refusal::MissingOutputs(missing) = self {
            error["missing"] = missing.iter().map(ToString::to_string).collect();
        }
        json!({ "error": error }).to_string()
    }

    /// The headers of a refusal.
    fn describe(&self, headers: &mut HeaderMap, status: StatusCode) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if status == StatusCode::UNAUTHORIZED {
            for challenge in CHALLENGES {
                headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
        }
        // Also where it is told as a miss: the client does not look, and we know it for what it is.
        if self.is_shed() || status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        match self {
            Refusal::BackOff { retry_after_seconds } | Refusal::Throttled { retry_after_seconds } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from((*retry_after_seconds).max(1)));
            }
            Refusal::WrongMethod(allow) => {
                headers.insert(header::ALLOW, HeaderValue::from_static(allow));
            }
            Refusal::UnknownCoding => {
                // RFC 9110 15.5.16: 415 says which codings are understood.
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"));
            }
            Refusal::RangeOutside { length } => {
                if let Ok(value) = HeaderValue::try_from(format!("bytes */{length}")) {
                    headers.insert(header::CONTENT_RANGE, value);
                }
            }
            // The rest of the body would be read as the next request.
            Refusal::TooLarge | Refusal::TooSlow => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
    }

    /// The word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::NoToken => "MissingToken",
            Refusal::WrongToken => "InvalidToken",
            Refusal::BackOff { .. } => "TooManyFailures",
            Refusal::Plaintext => "PlaintextToken",
            Refusal::Forbidden => "Forbidden",
            Refusal::TooLarge => "ObjectTooLarge",
            Refusal::Full => "CacheFull",
            Refusal::QuotaFull => "QuotaExceeded",
            Refusal::Overloaded => "SlowDown",
            Refusal::Throttled { .. } => "TooManyRequests",
            Refusal::Broken => "InternalError",
            Refusal::NotFound => "NotFound",
            Refusal::NoRoute => "NoSuchRoute",
            Refusal::WrongMethod(_) => "MethodNotAllowed",
            Refusal::Bad(code, _) | Refusal::Conflict(code, _) => code,
            Refusal::Blocked => "Blocked",
            Refusal::MissingOutputs(_) => "MissingOutputs",
            Refusal::ConditionFailed => "PreconditionFailed",
            Refusal::UnknownCoding => "UnsupportedContentEncoding",
            Refusal::RangeOutside { .. } => "RangeNotSatisfiable",
            Refusal::TooSlow => "RequestTimeout",
            Refusal::NotBuilt(_) => "NotImplemented",
        }
    }

    /// The sentence for people.
    #[must_use]
    pub fn text(&self) -> Cow<'static, str> {
        let text = match self {
            Refusal::NoToken => Denied::NoToken.message(),
            Refusal::WrongToken => Denied::WrongToken.message(),
            Refusal::BackOff { .. } => Denied::TooManyFailures { retry_after_seconds: 0 }.message(),
            Refusal::Plaintext => Denied::Plaintext.message(),
            Refusal::Forbidden => "The token does not allow this here.",
            Refusal::TooLarge => "The object is larger than one may be.",
            Refusal::Full => "The cache is full and nothing can be evicted.",
            Refusal::QuotaFull => "The namespace is full and nothing of it can be evicted.",
            Refusal::Overloaded => "Too much is under way; try again after a moment.",
            Refusal::Throttled { .. } => "This namespace or address has had as much as it may for now.",
            Refusal::Broken => "The storage failed.",
            Refusal::NotFound => "There is no such object here.",
            Refusal::NoRoute => "There is no such route.",
            Refusal::WrongMethod(_) => "The route does not have this method.",
            Refusal::Bad(_, text) | Refusal::Conflict(_, text) => return text.clone(),
            Refusal::Blocked => "An administrator has blocked an object of this digest.",
            Refusal::MissingOutputs(_) => "Outputs that the action names are not there.",
            Refusal::ConditionFailed => "There is a value under this key.",
            Refusal::UnknownCoding => "The content coding is neither identity, gzip nor zstd.",
            Refusal::RangeOutside { .. } => "The range lies behind the end of the object.",
            Refusal::TooSlow => "The body came too slowly.",
            Refusal::NotBuilt(what) => {
                return format!("{what} is not part of this version.").into();
            }
        };
        text.into()
    }

    /// Whether the appliance sheds work with this.
    #[must_use]
    pub fn is_shed(&self) -> bool {
        matches!(self, Refusal::Overloaded)
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        match fault {
            Fault::Full => Refusal::Full,
            Fault::Busy | Fault::InDoubt | Fault::Closed => Refusal::Overloaded,
            Fault::TooLarge { .. } => Refusal::TooLarge,
            Fault::Corrupt(_) | Fault::Io { .. } | Fault::ReadOnly(_) | Fault::Unknown(_) => Refusal::Broken,
        }
    }
}

/// Adds what every good answer of the cache carries.
pub fn guard(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// Takes the body away and keeps its length, for HEAD.
#[must_use]
pub fn head_only(mut reply: Reply) -> Reply {
    let length = reply.length();
    reply.body = ReplyBody::Head { length };
    reply
}

/// A header of ours, in lower case.
#[must_use]
pub const fn name(text: &'static str) -> HeaderName {
    HeaderName::from_static(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(dialect: Dialect, kind: Kind) -> Form {
        Form { dialect, kind, request_id: RequestId::new(7) }
    }

    fn status(refusal: &Refusal, dialect: Dialect, kind: Kind) -> u16 {
        refusal.reply(&form(dialect, kind)).status.as_u16()
    }

    fn text(reply: &Reply) -> String {
        match &reply.body {
            ReplyBody::Bytes(bytes) => String::from_utf8(bytes.to_vec()).expect("text"),
            _ => String::new(),
        }
    }

    fn header<'r>(reply: &'r Reply, name: &str) -> Option<&'r str> {
        reply.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    /// The table of the contract, written a second time and read by columns, in the order of `columns` below.
    const CONTRACT: [(Dialect, [u16; 11]); 9] = [
        (Dialect::Native, [401, 401, 403, 413, 507, 507, 503, 503, 409, 429, 429]),
        (Dialect::Bazel, [401, 401, 403, 413, 413, 413, 404, 503, 409, 404, 503]),
        (Dialect::Ccache, [401, 401, 403, 413, 413, 413, 404, 503, 409, 404, 503]),
        (Dialect::Webdav, [401, 401, 403, 507, 507, 507, 404, 507, 409, 404, 507]),
        (Dialect::Gradle, [401, 401, 413, 413, 413, 413, 404, 413, 413, 404, 413]),
        (Dialect::Turbo, [401, 401, 403, 413, 413, 413, 404, 403, 413, 404, 403]),
        (Dialect::Nx, [401, 401, 403, 403, 403, 403, 404, 403, 409, 404, 403]),
        (Dialect::Moon, [401, 401, 403, 403, 403, 403, 404, 403, 403, 404, 403]),
        (Dialect::Go, [401, 401, 403, 413, 507, 507, 503, 503, 409, 429, 429]),
    ];

    #[test]
    fn every_dialect_refuses_as_the_contract_says() {
        assert_eq!(CONTRACT.map(|(dialect, _)| dialect), Dialect::ALL);
        let columns = [
            (Refusal::NoToken, Kind::Lookup),
            (Refusal::WrongToken, Kind::Write),
            (Refusal::Forbidden, Kind::Write),
            (Refusal::TooLarge, Kind::Write),
            (Refusal::Full, Kind::Write),
            (Refusal::QuotaFull, Kind::Write),
            (Refusal::Overloaded, Kind::Lookup),
            (Refusal::Overloaded, Kind::Write),
            (Refusal::Blocked, Kind::Write),
            (Refusal::Throttled { retry_after_seconds: 1 }, Kind::Lookup),
            (Refusal::Throttled { retry_after_seconds: 1 }, Kind::Write),
        ];
        for (dialect, statuses) in CONTRACT {
            for ((refusal, kind), expected) in columns.iter().zip(statuses) {
                assert_eq!(status(refusal, dialect, *kind), expected, "{dialect:?} {refusal:?} {kind:?}");
            }
        }
    }

    #[test]
    fn nx_and_turborepo_read_what_they_are_refused_with() {
        for refusal in [Refusal::Forbidden, Refusal::Plaintext] {
            assert_eq!(status(&refusal, Dialect::Nx, Kind::Lookup), 401);
            assert_eq!(status(&refusal, Dialect::Nx, Kind::Write), 403);
            assert_eq!(status(&refusal, Dialect::Ccache, Kind::Lookup), 403);
        }
        for (refusal, word) in [
            (Refusal::Forbidden, "forbidden"),
            (Refusal::Overloaded, "forbidden"),
            (Refusal::WrongToken, "InvalidToken"),
            (Refusal::Full, "CacheFull"),
        ] {
            let document: serde_json::Value =
                serde_json::from_str(&refusal.json(&form(Dialect::Turbo, Kind::Write))).expect("JSON");
            assert_eq!(document["error"]["code"], word, "{refusal:?}");
        }
    }

    #[test]
    fn the_table_has_a_row_for_each_dialect_in_order() {
        let rows: Vec<Dialect> = TABLE.iter().map(|row| row.dialect).collect();
        assert_eq!(rows, Dialect::ALL);
    }

    #[test]
    fn a_blob_that_a_hit_has_promised_is_never_absent_because_of_trouble() {
        for dialect in Dialect::ALL {
            assert_eq!(status(&Refusal::Overloaded, dialect, Kind::Read), 503, "{dialect:?}");
            assert_eq!(status(&Refusal::Broken, dialect, Kind::Read), 500, "{dialect:?}");
        }
    }

    #[test]
    fn an_absence_is_404_in_every_dialect() {
        for dialect in Dialect::ALL {
            for kind in [Kind::Lookup, Kind::Read] {
                assert_eq!(status(&Refusal::NotFound, dialect, kind), 404, "{dialect:?}");
            }
        }
    }

    #[test]
    fn nothing_but_an_absence_is_404_where_lookups_are_not_shed_as_misses() {
        let errors = [
            Refusal::NoToken,
            Refusal::WrongToken,
            Refusal::BackOff { retry_after_seconds: 3 },
            Refusal::Plaintext,
            Refusal::Forbidden,
            Refusal::TooLarge,
            Refusal::Full,
            Refusal::QuotaFull,
            Refusal::Overloaded,
            Refusal::Broken,
            Refusal::WrongMethod("GET"),
            Refusal::Bad("X", "x".into()),
            Refusal::MissingOutputs(Vec::new()),
            Refusal::Conflict("X", "x".into()),
            Refusal::ConditionFailed,
            Refusal::UnknownCoding,
            Refusal::RangeOutside { length: 1 },
            Refusal::TooSlow,
            Refusal::NotBuilt("x"),
        ];
        for refusal in errors {
            for kind in [Kind::Lookup, Kind::Read, Kind::Write, Kind::Admin] {
                assert_ne!(status(&refusal, Dialect::Native, kind), 404, "{refusal:?}");
                let is_trouble = matches!(refusal, Refusal::Overloaded | Refusal::Broken);
                for dialect in Dialect::ALL.into_iter().filter(|_| !(is_trouble && kind == Kind::Lookup)) {
                    assert_ne!(status(&refusal, dialect, kind), 404, "{dialect:?} {refusal:?} {kind:?}");
                }
            }
        }
    }

    #[test]
    fn trouble_never_stops_a_build_of_nx_and_never_switches_gradle_off() {
        for refusal in [Refusal::Overloaded, Refusal::Broken] {
            for (dialect, write) in [(Dialect::Nx, 403), (Dialect::Gradle, 413)] {
                assert_eq!(status(&refusal, dialect, Kind::Lookup), 404);
                assert_eq!(status(&refusal, dialect, Kind::Write), write);
            }
        }
    }

    #[test]
    fn a_401_challenges_and_is_plain_text_for_nx() {
        let reply = Refusal::NoToken.reply(&form(Dialect::Nx, Kind::Lookup));
        assert_eq!(header(&reply, "content-type"), Some("text/plain"));
        assert!(text(&reply).starts_with("MissingToken: A token is needed"), "{}", text(&reply));
        let challenges: Vec<_> = reply.headers.get_all("www-authenticate").iter().collect();
        assert_eq!(challenges, CHALLENGES);
        assert!(
            Refusal::Forbidden
                .reply(&form(Dialect::Ccache, Kind::Lookup))
                .headers
                .get("www-authenticate")
                .is_none()
        );
    }

    #[test]
    fn turbo_and_the_native_api_always_get_json_with_the_request_id() {
        let refusals = [
            Refusal::NoToken,
            Refusal::Forbidden,
            Refusal::NotFound,
            Refusal::TooLarge,
            Refusal::Full,
            Refusal::Overloaded,
        ];
        for dialect in [Dialect::Native, Dialect::Turbo] {
            for refusal in &refusals {
                let reply = refusal.reply(&form(dialect, Kind::Write));
                assert_eq!(header(&reply, "content-type"), Some("application/json"));
                let document: serde_json::Value = serde_json::from_str(&text(&reply)).expect("JSON");
                let is_final = dialect == Dialect::Turbo && reply.status == StatusCode::FORBIDDEN;
                assert_eq!(document["error"]["code"], if is_final { "forbidden" } else { refusal.code() });
                assert_eq!(document["error"]["message"], *refusal.text());
                assert_eq!(document["error"]["request_id"], "0000000000000007");
            }
        }
    }

    #[test]
    fn a_refusal_says_when_to_come_again() {
        let busy = Refusal::Overloaded.reply(&form(Dialect::Native, Kind::Lookup));
        assert_eq!(header(&busy, "retry-after"), Some("1"));
        let wait = Refusal::BackOff { retry_after_seconds: 9 };
        let native = wait.reply(&form(Dialect::Native, Kind::Lookup));
        assert_eq!((native.status.as_u16(), header(&native, "retry-after")), (429, Some("9")));
        let bazel = wait.reply(&form(Dialect::Bazel, Kind::Lookup));
        assert_eq!((bazel.status.as_u16(), header(&bazel, "retry-after")), (401, Some("9")));
    }

    #[test]
    fn refusals_carry_what_their_status_asks_for() {
        let native = |refusal: Refusal| refusal.reply(&form(Dialect::Native, Kind::Read));
        assert_eq!(header(&native(Refusal::WrongMethod("GET, PUT")), "allow"), Some("GET, PUT"));
        assert_eq!(header(&native(Refusal::UnknownCoding), "accept-encoding"), Some("gzip, zstd"));
        let outside = native(Refusal::RangeOutside { length: 12 });
        assert_eq!((outside.status.as_u16(), header(&outside, "content-range")), (416, Some("bytes */12")));
        assert_eq!(header(&native(Refusal::TooLarge), "connection"), Some("close"));
        for refusal in [Refusal::NotFound, Refusal::Broken] {
            let reply = native(refusal);
            assert_eq!(header(&reply, "cache-control"), Some("no-store"));
            assert_eq!(header(&reply, "x-content-type-options"), Some("nosniff"));
        }
    }

    #[test]
    fn an_action_without_its_outputs_lists_them() {
        let missing = Refusal::MissingOutputs(vec![Digest::of(b"a"), Digest::of(b"b")]);
        let reply = missing.reply(&form(Dialect::Native, Kind::Write));
        let document: serde_json::Value = serde_json::from_str(&text(&reply)).expect("JSON");
        assert_eq!(reply.status.as_u16(), 400);
        assert_eq!(document["error"]["missing"][1], Digest::of(b"b").to_string());
    }

    #[test]
    fn a_fault_of_the_store_is_trouble_or_a_full_disk() {
        let shown = |fault| Refusal::from(fault).code();
        assert_eq!(shown(Fault::Full), "CacheFull");
        assert_eq!(shown(Fault::Busy), "SlowDown");
        assert_eq!(shown(Fault::Closed), "SlowDown");
        assert_eq!(shown(Fault::corrupt("x".into())), "InternalError");
        assert!(Refusal::Overloaded.is_shed() && !Refusal::Broken.is_shed());
    }
}
