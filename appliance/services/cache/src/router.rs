//! Which dialect a request speaks and which operation it names: the table of dialects, which is the index of the service.
//! Invariant: a path belongs to one dialect at most; metrics have the names of operations for words, a bounded set.
//! Leaves to dialects: what their paths mean behind the place where they are mounted.

use cas::Dialect;
use http_types::Method;
use plan::{Context, Plan};

use crate::call::Shared;
use crate::refusal::{Kind, Refusal};
use crate::{dialects, native};

/// Begins an operation. An error becomes the reply that the dialect's clients survive.
pub type Start = fn(Shared, &mut Context<'_>) -> Result<Plan, Refusal>;

/// One operation of a dialect.
pub struct Operation {
    /// Its name for metrics and the access log, such as `bazel_get_action`.
    pub name: &'static str,
    /// What it is, which decides what right it needs and how it is shed.
    pub kind: Kind,
    /// Begins it.
    pub start: Start,
}

impl Operation {
    /// A row of a dialect's table.
    #[must_use]
    pub const fn new(name: &'static str, kind: Kind, start: Start) -> Operation {
        Operation { name, kind, start }
    }
}

/// What a dialect says of a method and a path behind its mount.
pub enum Found {
    /// This operation.
    Operation(&'static Operation),
    /// The path is one of the dialect's; the method is none of it. The value of `Allow`.
    WrongMethod(&'static str),
    /// No path of the dialect.
    Nothing,
}

/// Finds an operation of a dialect. The path begins with `/` and is as it was sent, percent-coding included.
pub type Find = fn(&Method, &str) -> Found;

/// A dialect and how its paths are read.
pub struct Row {
    /// The dialect. Its name is its segment in `/api/v1/cache/{ns}/{dialect}/...`.
    pub dialect: Dialect,
    /// Finds its operations.
    pub find: Find,
}

/// Every dialect that is built. `dialects::x::find` is the door of a dialect's file.
pub static DIALECTS: &[Row] = &[
    Row { dialect: Dialect::Native, find: native::find },
    Row { dialect: Dialect::Bazel, find: dialects::bazel::find },
    Row { dialect: Dialect::Ccache, find: dialects::ccache::find },
    Row { dialect: Dialect::Webdav, find: dialects::webdav::find },
    Row { dialect: Dialect::Gradle, find: dialects::gradle::find },
    Row { dialect: Dialect::Turbo, find: dialects::turbo::find },
    Row { dialect: Dialect::Nx, find: dialects::nx::find },
    Row { dialect: Dialect::Moon, find: dialects::moon::find },
];

/// A dialect that is mounted outside of `/api/v1/cache/`.
struct Root {
    /// How its paths begin. What follows is nothing or a further segment.
    prefix: &'static str,
    /// How many characters of the path are not the dialect's.
    cut: usize,
    dialect: Dialect,
    /// Parameters of the query that may name the namespace; the first that is there counts.
    namespace: &'static [&'static str],
    /// Only where the listener serves nothing but the cache, since these words may be names of buckets.
    is_dedicated: bool,
}

const NATIVE_CUT: usize = "/api/v1".len();
const NS: &[&str] = &["ns"];

const fn native(prefix: &'static str) -> Root {
    Root { prefix, cut: NATIVE_CUT, dialect: Dialect::Native, namespace: NS, is_dedicated: false }
}

const fn alias(prefix: &'static str, dialect: Dialect) -> Root {
    Root { prefix, cut: 0, dialect, namespace: NS, is_dedicated: true }
}

static ROOTS: [Root; 13] = [
    native("/api/v1/objects"),
    native("/api/v1/actions"),
    native("/api/v1/stats"),
    native("/api/v1/gc"),
    native("/api/v1/pins"),
    native("/api/v1/blocked"),
    Root {
        prefix: "/v8/artifacts",
        cut: 0,
        dialect: Dialect::Turbo,
        namespace: &["slug", "teamId"],
        is_dedicated: false,
    },
    Root { prefix: "/v1/cache", cut: 0, dialect: Dialect::Nx, namespace: &[], is_dedicated: false },
    alias("/ac", Dialect::Bazel),
    alias("/cas", Dialect::Bazel),
    alias("/moon-outputs", Dialect::Moon),
    alias("/status", Dialect::Moon),
    alias("/.sccache_check", Dialect::Webdav),
];

/// Where dialects are mounted on the shared port.
pub const SHARED: &str = "/api/v1/cache/";

/// Where the namespace of a request is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said<'p> {
    /// In the path.
    InPath(&'p str),
    /// In one of these parameters of the query, or nowhere.
    InQuery(&'static [&'static str]),
}

/// A request whose dialect is known.
#[derive(Clone, Copy)]
pub struct Routed<'p> {
    /// The dialect.
    pub row: &'static Row,
    /// Where its namespace is said.
    pub namespace: Said<'p>,
    /// The path behind the mount: `/` and what follows.
    pub rest: &'p str,
}

/// The dialect of a path. `is_dedicated`: the listener serves nothing but the cache.
#[must_use]
pub fn route(path: &str, is_dedicated: bool) -> Option<Routed<'_>> {
    if let Some(rest) = path.strip_prefix(SHARED) {
        let (namespace, rest) = rest.split_once('/')?;
        let end = rest.find('/').unwrap_or(rest.len());
        let row = row(Dialect::parse(&rest[..end])?)?;
        let rest = if end == rest.len() { "/" } else { &rest[end..] };
        return Some(Routed { row, namespace: Said::InPath(namespace), rest });
    }
    let root = ROOTS.iter().filter(|root| is_dedicated || !root.is_dedicated).find(|root| {
        path.strip_prefix(root.prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })?;
    Some(Routed {
        row: row(root.dialect)?,
        namespace: Said::InQuery(root.namespace),
        rest: &path[root.cut..],
    })
}

fn row(dialect: Dialect) -> Option<&'static Row> {
    DIALECTS.iter().find(|row| row.dialect == dialect)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(path: &str, is_dedicated: bool) -> Option<(Dialect, Said<'_>, &str)> {
        route(path, is_dedicated).map(|routed| (routed.row.dialect, routed.namespace, routed.rest))
    }

    #[test]
    fn each_dialect_has_one_row() {
        let mut seen: Vec<Dialect> = DIALECTS.iter().map(|row| row.dialect).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), DIALECTS.len());
    }

    #[test]
    fn the_native_paths_are_found_at_the_root_and_below_a_namespace() {
        let ns = Said::InQuery(NS);
        assert_eq!(routed("/api/v1/objects/ab", false), Some((Dialect::Native, ns, "/objects/ab")));
        assert_eq!(routed("/api/v1/stats", false), Some((Dialect::Native, ns, "/stats")));
        let path = "/api/v1/cache/ci/native/objects/ab";
        assert_eq!(routed(path, false), Some((Dialect::Native, Said::InPath("ci"), "/objects/ab")));
        assert_eq!(
            routed("/api/v1/cache/ci/native", false),
            Some((Dialect::Native, Said::InPath("ci"), "/"))
        );
    }

    #[test]
    fn other_paths_belong_to_nobody() {
        for path in [
            "",
            "/",
            "/api/v1/objectsx",
            "/api/v1",
            "/api/v1/",
            "/api/v1/packages",
            "/api/v1/cache",
            "/api/v1/cache/",
            "/api/v1/cache/ci",
            "/api/v1/cache/ci/",
            "/api/v1/cache/ci/unknown/x",
            "/api/v1/cache/ci/Native/objects",
            "/v8/artifactsx",
            "/bucket/key",
        ] {
            assert!(routed(path, true).is_none(), "{path}");
        }
    }

    #[test]
    fn words_that_may_be_buckets_are_ours_on_a_dedicated_listener_only() {
        for root in ROOTS.iter().filter(|root| root.is_dedicated) {
            assert!(routed(root.prefix, false).is_none(), "{}", root.prefix);
            let built = row(root.dialect).is_some();
            assert_eq!(routed(root.prefix, true).is_some(), built, "{}", root.prefix);
        }
    }
}
