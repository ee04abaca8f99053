//! Making, listing, rotating and revoking tokens.
//! Invariant: a token leaves this file in whole once, towards the one who made or rotated it; whoever lists them sees ids.
//! Leaves to the node: who may do this.

use std::ops::Bound;

use plan::{Context, Plan};
use store::{Direction, Fault, Operation, Outcome, TableId, Timestamp, Tx};

use crate::judge::{Tokens, stored};
use crate::record::{Former, TOKENS, TokenRecord};
use crate::scope::{Scope, Scopes};
use crate::text::{Fingerprint, NewToken, TokenId};

/// Tokens of one appliance.
pub const TOKENS_MAX: usize = 4_096;
/// Characters of a name.
pub const NAME_CHARACTERS_MAX: usize = 64;
/// Namespaces of one token.
pub const NAMESPACES_MAX: usize = 64;
/// Letters of a namespace, as the cache bounds them.
const NAMESPACE_BYTES_MAX: usize = 64;
/// The longest time for which the former secret stays good.
pub const OVERLAP_MS_MAX: u64 = 90 * 86_400_000;

/// A token that is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What its operator calls it.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// Where; none: everywhere.
    pub namespaces: Vec<String>,
    /// From then on it is refused.
    pub expires: Option<Timestamp>,
}

/// Why nothing was done.
#[derive(Debug)]
pub enum Refused {
    /// The wish is malformed; the sentence says how.
    Invalid(String),
    /// There are `TOKENS_MAX` already.
    TooMany,
    /// No token has this id.
    NotFound,
    /// The store.
    Fault(Fault),
}

impl Wanted {
    fn check(&self, now: Timestamp) -> Result<(), Refused> {
        let invalid = |text: String| Err(Refused::Invalid(text));
        let is_name = (1..=NAME_CHARACTERS_MAX).contains(&self.name.chars().count())
            && !self.name.chars().any(char::is_control);
        if !is_name {
            return invalid(format!(
                "name must be 1 to {NAME_CHARACTERS_MAX} characters without control characters"
            ));
        }
        if self.scopes.is_empty() {
            return invalid(
                "scopes must name at least one of cache:read, cache:write, cache:admin, metrics:read".into(),
            );
        }
        if self.scopes.has(Scope::MetricsRead) && !self.namespaces.is_empty() {
            return invalid("metrics:read is for the whole appliance and takes no namespaces".into());
        }
        if self.namespaces.len() > NAMESPACES_MAX {
            return invalid(format!("namespaces must be at most {NAMESPACES_MAX}"));
        }
        if !self.namespaces.iter().all(|name| is_namespace(name)) {
            return invalid(
                "namespaces must each be 1 to 64 of a-z, 0-9, . _ -, and begin with a letter or a digit"
                    .into(),
            );
        }
        if self.expires.is_some_and(|at| at <= now) {
            return invalid("expires must lie in the future".into());
        }
        Ok(())
    }
}

/// Whether a text is a namespace of the cache.
#[must_use]
pub fn is_namespace(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    (1..=NAMESPACE_BYTES_MAX).contains(&text.len())
        && text.bytes().all(inner)
        && text.as_bytes()[0].is_ascii_alphanumeric()
}

impl Tokens {
    /// Makes a token; `then` gets it with the only copy of its secret, once it is durable.
    pub fn create<F>(&self, cx: &mut Context<'_>, wanted: Wanted, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<(NewToken, TokenRecord), Refused>) -> Plan + 'static,
    {
        if let Err(refused) = wanted.check(cx.now) {
            return then(cx, Err(refused));
        }
        match count(cx) {
            Ok(found) if found < TOKENS_MAX => {}
            Ok(_) => return then(cx, Err(Refused::TooMany)),
            Err(fault) => return then(cx, Err(Refused::Fault(fault))),
        }
        let token = NewToken::draw(TokenId::draw(cx.random), cx.random);
        let record = TokenRecord {
            name: wanted.name.into(),
            scopes: wanted.scopes,
            namespaces: wanted.namespaces.into_iter().map(Into::into).collect(),
            created: cx.now,
            expires: wanted.expires,
            used_hour: 0,
            secret: token.fingerprint(),
            former: None,
        };
        let shard = cx.store.place(token.id.as_bytes());
        let operation = Create { id: token.id, record: record.clone() };
        Plan::submit(shard, operation, move |cx, made| match made {
            Ok(true) => then(cx, Ok((token, record))),
            // Two of 2^40: as rare as a fault, and as harmless.
            Ok(false) => then(cx, Err(Refused::Fault(Fault::Busy))),
            Err(fault) => then(cx, Err(Refused::Fault(fault))),
        })
    }

    /// All tokens, by age. Errors: the store's.
    pub fn list(&self, cx: &Context<'_>) -> Result<Vec<(TokenId, TokenRecord)>, Fault> {
        let views = cx.store.view_all()?;
        let mut scan = views.scan(TOKENS, Bound::Unbounded, Direction::Forward);
        let mut tokens = Vec::new();
        while let Some((_, key, record)) = scan.next()? {
            let id = TokenId::parse(key).ok_or_else(|| Fault::corrupt("a token's key is no id".into()))?;
            tokens.push((id, TokenRecord::decode(record.value)?));
        }
        tokens.sort_by_key(|(id, record)| (record.created, *id));
        Ok(tokens)
    }

    /// Gives a token another secret. The one of now stays good for `overlap_ms`; one that was kept so before ends at once.
    pub fn rotate<F>(&self, cx: &mut Context<'_>, id: TokenId, overlap_ms: u64, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<(NewToken, TokenRecord), Refused>) -> Plan + 'static,
    {
        if overlap_ms > OVERLAP_MS_MAX {
            let days = OVERLAP_MS_MAX / 86_400_000;
            return then(cx, Err(Refused::Invalid(format!("overlap must be at most {days} days"))));
        }
        if let Err(refused) = known(cx, id) {
            return then(cx, Err(refused));
        }
        let token = NewToken::draw(id, cx.random);
        let operation = Rotate { id, secret: token.fingerprint(), overlap_ms };
        Plan::submit(cx.store.place(id.as_bytes()), operation, move |cx, rotated| match rotated {
            Ok(Some(record)) => then(cx, Ok((token, record))),
            Ok(None) => then(cx, Err(Refused::NotFound)),
            Err(fault) => then(cx, Err(Refused::Fault(fault))),
        })
    }

    /// Ends a token: from the moment that `then` runs every core refuses it.
    pub fn revoke<F>(&self, cx: &mut Context<'_>, id: TokenId, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<(), Refused>) -> Plan + 'static,
    {
        if let Err(refused) = known(cx, id) {
            return then(cx, Err(refused));
        }
        Plan::submit(cx.store.place(id.as_bytes()), Revoke(id), |cx, revoked| match revoked {
            Ok(true) => then(cx, Ok(())),
            Ok(false) => then(cx, Err(Refused::NotFound)),
            Err(fault) => then(cx, Err(Refused::Fault(fault))),
        })
    }
}

/// Refuses an id of no token without asking its shard.
fn known(cx: &Context<'_>, id: TokenId) -> Result<(), Refused> {
    stored(cx, id).map_err(Refused::Fault)?.map(drop).ok_or(Refused::NotFound)
}

/// Tokens that there are. Two that are made at once may both be the last one.
fn count(cx: &Context<'_>) -> Result<usize, Fault> {
    let views = cx.store.view_all()?;
    let mut scan = views.scan(TOKENS, Bound::Unbounded, Direction::Forward);
    let mut found = 0;
    while scan.next()?.is_some() {
        found += 1;
    }
    Ok(found)
}

/// Makes a record unless its id is taken.
struct Create {
    id: TokenId,
    record: TokenRecord,
}

impl Operation for Create {
    type Reply = bool;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TOKENS, self.id.as_bytes());
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<bool>, Fault> {
        if tx.get(TOKENS, self.id.as_bytes())?.is_some() {
            return Ok(Outcome::Rollback(false));
        }
        tx.put(TOKENS, self.id.as_bytes(), &self.record.encode(), Vec::new(), true);
        Ok(Outcome::Commit(true))
    }
}

/// Sets another secret.
struct Rotate {
    id: TokenId,
    secret: Fingerprint,
    overlap_ms: u64,
}

impl Operation for Rotate {
    type Reply = Option<TokenRecord>;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TOKENS, self.id.as_bytes());
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Option<TokenRecord>>, Fault> {
        let Some(found) = tx.get(TOKENS, self.id.as_bytes())? else { return Ok(Outcome::Rollback(None)) };
        let mut record = TokenRecord::decode(&found.value)?;
        record.former = (self.overlap_ms > 0)
            .then(|| Former { secret: record.secret, until: tx.now().plus_ms(self.overlap_ms) });
        record.secret = self.secret;
        tx.put(TOKENS, self.id.as_bytes(), &record.encode(), Vec::new(), false);
        Ok(Outcome::Commit(Some(record)))
    }
}

/// Removes a record.
struct Revoke(TokenId);

impl Operation for Revoke {
    type Reply = bool;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TOKENS, self.0.as_bytes());
    }

    fn frees(&self) -> bool {
        true
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<bool>, Fault> {
        if tx.get(TOKENS, self.0.as_bytes())?.is_none() {
            return Ok(Outcome::Rollback(false));
        }
        tx.delete(TOKENS, self.0.as_bytes());
        Ok(Outcome::Commit(true))
    }
}
