//! The build cache: one remote cache for every build tool, a native API and a door for each dialect.
//!
//! Invariant: an answer that says "hit" names bytes that are there, whole and right. An absence is never an error and an
//! error never an absence, but for lookups that are shed in the way that [`refusal`] lists.
//!
//! The table of dialects, which is the index of the service, is [`router::DIALECTS`].
//!
//! | Part | Covered |
//! |---|---|
//! | `/api/v1/objects/{hash}`: GET, HEAD, PUT; ranges, conditions, 100-continue | yes, by SHA-256. BLAKE3 names and Zig package hashes are recognised and answered 400 `InvalidDigest` with a text that says so: nothing is kept under them |
//! | Content-Encoding gzip and zstd of uploads | yes, kept decoded; windows of zstd over 8 MiB and dictionaries are refused |
//! | content coding of replies | no: a GET answers identity, whatever `Accept-Encoding` says |
//! | `/api/v1/objects/missing`, `/api/v1/actions/{key}` | yes |
//! | `/api/v1/stats`, `/api/v1/gc`, `/api/v1/pins` | yes; until there is a registry `top_packages` names clients' keys, and pins are of objects and keys alone |
//! | `/api/v1/blocked`: blocking a digest | yes, in all namespaces at once: it is absent, and refused when it is brought, in the shape of each dialect |
//! | Bazel HTTP, ccache, WebDAV (sccache), Gradle, Turborepo, Nx, moon | yes, `/api/v1/cache/{ns}/{dialect}/`; the root aliases of a listener that serves nothing else are Bazel's `/ac` and `/cas`, moon's `/status`, WebDAV's `/.sccache_check` |
//! | what Turborepo tells in its events | yes, in statistics of their own beside what was counted here |
//! | locks, listings, copies of WebDAV | no; PROPFIND of a depth other than 0 is 501 |
//! | requests and bytes a second of a namespace, requests a minute of an address | yes, [`rate`]; bodies are not slowed down: who has had too much waits before the next |
//! | shedding of lookups by the time to their first byte | yes, [`observe`]; not values of Nx and Gradle that are compared before they leave, nor uploads |
//! | GOCACHEPROG | yes, as a subcommand of the node that speaks the native API |
//! | tokens: Bearer, Basic, X-Zero-Token, the root key | yes |
//! | gRPC, chunking, capability URLs, OIDC, mTLS, htpasswd, branch namespaces, `X-Forwarded-For` | no |
//! | blob bytes kept in zstd, import and export of the `objects/` tree, storage drivers other than local, encryption at rest | no |
//!
//! Leaves to `cas`: what is kept, for how long, and that it is right. To the node: HTTP and driving plans.
#![forbid(unsafe_code)]

pub mod access;
pub mod action;
pub mod call;
pub mod config;
pub mod dialects;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
pub mod native;
pub mod observe;
pub mod outcome;
pub mod rate;
pub mod refusal;
pub mod router;

pub use config::Config;

use std::cell::Cell;
use std::rc::Rc;

use cas::{Cas, Dialect};
use http_types::Method;
use plan::{Context, Deadline, Plan, Reply, Request, Service, Started};
use store::ShardId;
use tokens::Tokens;

use crate::call::{Call, settle};
use crate::rate::Entering;
use crate::refusal::{Form, Kind, Refusal};
use crate::router::{Found, Routed, route};

/// The service. One for each core.
pub struct Cache {
    config: Rc<Config>,
    cas: Cas,
    tokens: Tokens,
    /// Lookups of this core that wait for the store.
    waiting: Rc<Cell<usize>>,
}

impl Cache {
    /// A service over what `cas` keeps, open to whom `tokens` lets in.
    #[must_use]
    pub fn new(config: Config, cas: Cas, tokens: Tokens) -> Cache {
        Cache { config: Rc::new(config), cas, tokens, waiting: Rc::default() }
    }

    /// Names the operation and its sender, in this order of checks: route, token, path, right. Nobody without a token
    /// learns more than which dialects there are.
    fn admit(&self, cx: &mut Context<'_>, request: Request) -> Result<Rc<Call>, (Form, Refusal)> {
        let judged = self.tokens.judge(cx, &request);
        let Request { head, body_length, request_id, .. } = request;
        let Some(routed) = route(&head.path, self.config.root_aliases) else {
            let form = Form { dialect: Dialect::Native, kind: Kind::Lookup, request_id };
            return Err((form, Refusal::NoRoute));
        };
        let found = (routed.row.find)(&head.method, routed.rest);
        let kind = kind_of(&head.method, &found);
        let form = Form { dialect: routed.row.dialect, kind, request_id };
        let principal = judged.map_err(|denied| (form, Refusal::from(denied)))?;
        let operation = match found {
            Found::Operation(operation) => operation,
            Found::WrongMethod(allow) => return Err((form, Refusal::WrongMethod(allow))),
            Found::Nothing => return Err((form, Refusal::NoRoute)),
        };
        let query = head.query.as_deref();
        let namespace = access::namespace(&principal, routed.namespace, query, operation.kind);
        let namespace = namespace.map_err(|refusal| (form, refusal))?;
        let throttled = self.config.rates.refusal_of(&Entering {
            now: cx.now,
            ns: &namespace,
            peer: head.peer.ip(),
            dialect: form.dialect,
            kind,
            is_object: form.dialect == Dialect::Native && routed.rest.starts_with(native::objects::PREFIX),
        });
        let is_hurried = matches!(head.method, Method::GET | Method::HEAD) && operation.kind == Kind::Lookup;
        let rest_at = head.path.len() - if routed.rest == "/" { 0 } else { routed.rest.len() };
        Ok(Rc::new(Call {
            config: Rc::clone(&self.config),
            cas: self.cas.clone(),
            principal,
            namespace,
            operation,
            form: Form { kind: operation.kind, ..form },
            now: cx.now,
            rest_at,
            body_length,
            stored_bytes: Cell::new(0),
            deadline: Cell::new(is_hurried.then(|| Deadline::after(self.config.first_byte))),
            waiting: Rc::clone(&self.waiting),
            throttled,
            head,
        }))
    }
}

/// The word for requests that name no operation, or were refused before one was looked for.
const REFUSED: &str = "refused";

/// What a request wants, before its operation has begun. An upload is one, also where the operation lets readers in so that they
/// read its refusal.
fn kind_of(method: &Method, found: &Found) -> Kind {
    match (method, found) {
        (&Method::PUT | &Method::DELETE, _) => Kind::Write,
        (_, Found::Operation(operation)) => operation.kind,
        (&Method::POST, _) => Kind::Read,
        _ => Kind::Lookup,
    }
}

impl Service for Cache {
    fn start(&self, cx: &mut Context<'_>, request: Request) -> Started {
        match self.admit(cx, request) {
            Ok(call) => {
                let outcome = match &call.throttled {
                    // Uploads that were let in as readers are refused where they would be stored, once the client has sent them.
                    Some(refusal) if call.head.method != Method::PUT || call.form.kind == Kind::Write => {
                        Err(refusal.clone())
                    }
                    _ => (call.operation.start)(Rc::clone(&call), cx),
                };
                let plan = observe::watch(&call, settle(&call, outcome));
                Started { operation: call.operation.name, plan }
            }
            Err((form, refusal)) => Started { operation: REFUSED, plan: Plan::Reply(refusal.reply(&form)) },
        }
    }

    fn refuse(&self, request: &Request, error: aws::ErrorReply) -> Reply {
        let head = &request.head;
        let (dialect, kind) = match route(&head.path, self.config.root_aliases) {
            Some(Routed { row, rest, .. }) => {
                (row.dialect, kind_of(&head.method, &(row.find)(&head.method, rest)))
            }
            None => (Dialect::Native, Kind::Read),
        };
        let form = Form { dialect, kind, request_id: request.request_id };
        let refusal = match error.status {
            503 => Refusal::Overloaded,
            500..=599 => Refusal::Broken,
            401 | 403 => Refusal::WrongToken,
            _ => Refusal::Bad(error.code, error.message),
        };
        refusal.reply(&form)
    }

    fn tick(&self, cx: &mut Context<'_>, shard: ShardId) -> Option<Plan> {
        self.tokens.tick(cx, shard).or_else(|| self.cas.tick(cx, shard))
    }
}
