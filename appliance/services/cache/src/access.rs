//! The namespace that a request is about, and whether its sender may do there what it asks.
//! Invariant: a request goes on only with a namespace that its sender may use in the way it asks.
//! Leaves to `tokens`: who the sender is.

use aws::uri;
use cas::Namespace;
use tokens::{Denied, Principal, Scope};

use crate::refusal::{Kind, Refusal};
use crate::router::Said;

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Refusal {
        match denied {
            Denied::NoToken => Refusal::NoToken,
            Denied::WrongToken => Refusal::WrongToken,
            Denied::TooManyFailures { retry_after_seconds } => Refusal::BackOff { retry_after_seconds },
            Denied::Plaintext => Refusal::Plaintext,
            Denied::Fault(fault) => Refusal::from(fault),
        }
    }
}

/// The namespace that a request is about, which its sender may use for this kind of thing. Errors: `Forbidden`, whether there
/// is such a namespace or not; `Bad` where its text is none.
pub fn namespace(
    principal: &Principal,
    said: Said<'_>,
    query: Option<&str>,
    kind: Kind,
) -> Result<Namespace, Refusal> {
    let named = match said {
        Said::InPath(text) => Some(parse(text)?),
        Said::InQuery(names) => names.iter().find_map(|name| parameter(query, name)).transpose()?,
    };
    let namespace = match named {
        Some(named) => named,
        None => parse(principal.namespace())?,
    };
    if principal.may(needed(kind), namespace.as_str()) { Ok(namespace) } else { Err(Refusal::Forbidden) }
}

/// The right that a kind of operation needs.
fn needed(kind: Kind) -> Scope {
    match kind {
        Kind::Lookup | Kind::Read => Scope::CacheRead,
        Kind::Write => Scope::CacheWrite,
        Kind::Admin => Scope::CacheAdmin,
    }
}

/// The namespace in a parameter of the query, if it is there and not empty.
fn parameter(query: Option<&str>, name: &str) -> Option<Result<Namespace, Refusal>> {
    let mut pairs = uri::query_pairs(query?);
    let (_, value) = pairs.find(|(found, value)| *found == name && !value.is_empty())?;
    let text = uri::decode_query(value).unwrap_or(value.into());
    // Ids of teams are written in both cases, and a namespace carries no right: the two spellings are one team.
    Some(if name == TEAM_ID { parse(&text.to_ascii_lowercase()) } else { parse(&text) })
}

/// Turborepo's parameter for the id of a team.
const TEAM_ID: &str = "teamId";

fn parse(text: &str) -> Result<Namespace, Refusal> {
    Namespace::parse(text).ok_or(Refusal::Bad(
        "InvalidNamespace",
        "A namespace has 1 to 64 characters of a-z, 0-9, '.', '_' and '-', the first a letter or a digit."
            .into(),
    ))
}

#[cfg(test)]
mod tests {
    use tokens::{Scopes, Who};

    use super::*;

    fn holder(scope: Scope, namespaces: &[&str]) -> Principal {
        Principal {
            who: Who::Root,
            scopes: Scopes::NONE.with(scope),
            namespaces: namespaces.iter().map(|text| (*text).into()).collect(),
        }
    }

    const NS: Said<'static> = Said::InQuery(&["ns"]);

    fn chosen(holder: &Principal, said: Said<'_>, query: Option<&str>) -> Result<String, &'static str> {
        let found = namespace(holder, said, query, Kind::Lookup);
        found.map(|found| found.to_string()).map_err(|refusal| refusal.code())
    }

    #[test]
    fn a_token_without_namespaces_is_for_all_and_means_the_default_one() {
        let free = holder(Scope::CacheRead, &[]);
        assert_eq!(chosen(&free, NS, None), Ok("default".into()));
        assert_eq!(chosen(&free, NS, Some("")), Ok("default".into()));
        assert_eq!(chosen(&free, NS, Some("ns=")), Ok("default".into()));
        assert_eq!(chosen(&free, NS, Some("x=1&ns=ci")), Ok("ci".into()));
        assert_eq!(chosen(&free, NS, Some("ns=c%69")), Ok("ci".into()));
        assert_eq!(chosen(&free, Said::InPath("ci"), Some("ns=other")), Ok("ci".into()));
    }

    #[test]
    fn a_token_with_namespaces_means_its_first_and_opens_no_other() {
        let bound = holder(Scope::CacheWrite, &["ci", "dev"]);
        assert_eq!(chosen(&bound, NS, None), Ok("ci".into()));
        assert_eq!(chosen(&bound, NS, Some("ns=dev")), Ok("dev".into()));
        assert_eq!(chosen(&bound, NS, Some("ns=default")), Err("Forbidden"));
        assert_eq!(chosen(&bound, Said::InPath("other"), None), Err("Forbidden"));
    }

    #[test]
    fn what_is_no_namespace_is_refused() {
        let free = holder(Scope::CacheRead, &[]);
        for text in ["A", "", "a/b", "-a", "a%2e"] {
            assert_eq!(chosen(&free, Said::InPath(text), None), Err("InvalidNamespace"), "{text}");
        }
        assert_eq!(chosen(&free, NS, Some("ns=%2e%2e")), Err("InvalidNamespace"));
        assert_eq!(chosen(&free, NS, Some("ns=%zz")), Err("InvalidNamespace"));
    }

    #[test]
    fn each_kind_needs_its_right() {
        let needs = [
            (Kind::Lookup, Scope::CacheRead),
            (Kind::Read, Scope::CacheRead),
            (Kind::Write, Scope::CacheWrite),
            (Kind::Admin, Scope::CacheAdmin),
        ];
        for (kind, least) in needs {
            let rising = [Scope::CacheRead, Scope::CacheWrite, Scope::CacheAdmin];
            let place = |scope| rising.iter().position(|one| *one == scope);
            for scope in rising {
                let allowed = namespace(&holder(scope, &[]), NS, None, kind).is_ok();
                assert_eq!(allowed, place(scope) >= place(least), "{kind:?} with {scope:?}");
            }
            assert!(namespace(&holder(Scope::MetricsRead, &[]), NS, None, kind).is_err());
        }
        let none = Principal { scopes: Scopes::NONE, ..holder(Scope::CacheRead, &[]) };
        assert!(namespace(&none, NS, None, Kind::Lookup).is_err());
    }

    #[test]
    fn the_first_of_several_parameters_that_is_there_counts() {
        let free = holder(Scope::CacheRead, &[]);
        let said = Said::InQuery(&["slug", "teamId"]);
        assert_eq!(chosen(&free, said, Some("teamId=b&slug=a")), Ok("a".into()));
        assert_eq!(chosen(&free, said, Some("slug=&teamId=team_Bc")), Ok("team_bc".into()));
    }
}
