//! The dialects of others' clients. Each file has a `find` for its row in `router::DIALECTS`.
//! Invariant: a dialect keeps nothing by itself; what it stores goes through `cas`.
//! Leaves to `refusal`: how the answer no looks to each client.

pub mod bazel;
pub mod ccache;
pub mod gradle;
pub mod moon;
pub mod nx;
pub mod opaque;
pub mod proven;
pub mod remote_execution;
pub mod turbo;
pub mod turbo_events;
pub mod webdav;

#[cfg(test)]
pub(crate) mod tests {
    use http_types::Method;

    use crate::router::{Find, Found};

    /// What a dialect makes of a request.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) enum Seen {
        /// This operation.
        Operation(&'static str),
        WrongMethod,
        Nothing,
    }

    /// Each request, by method and path, is what its table says.
    pub(crate) fn found(find: Find, table: &[(&str, &str, Seen)]) {
        for (method, path, expected) in table {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let seen = match find(&method, path) {
                Found::Operation(operation) => Seen::Operation(operation.name),
                Found::WrongMethod(_) => Seen::WrongMethod,
                Found::Nothing => Seen::Nothing,
            };
            assert_eq!(seen, *expected, "{method} {path}");
        }
    }
}
