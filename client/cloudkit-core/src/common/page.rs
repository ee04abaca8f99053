//! Pages of a listing and the token that asks for the next one.

use serde::{Deserialize, Serialize};

/// Where the next page begins; `None` after the last one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PaginationToken(pub Option<String>);

impl PaginationToken {
    /// There is no further page.
    pub fn none() -> Self {
        Self(None)
    }

    /// The next page begins at this token.
    pub fn some(token: impl Into<String>) -> Self {
        Self(Some(token.into()))
    }

    /// Whether there is a further page.
    pub fn has_more(&self) -> bool {
        self.0.is_some()
    }
}

/// One page of a listing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListResult<T> {
    /// What the page holds, in the provider's order.
    pub items: Vec<T>,
    /// Where the next page begins.
    pub next_token: PaginationToken,
    /// How many items all pages hold together, where the provider tells.
    pub total_count: Option<u64>,
}

impl<T> ListResult<T> {
    /// A page without a total.
    pub fn new(items: Vec<T>, next_token: PaginationToken) -> Self {
        Self { items, next_token, total_count: None }
    }

    /// Whether there is a further page.
    pub fn has_more(&self) -> bool {
        self.next_token.has_more()
    }
}

#[cfg(test)]
mod tests {
    use super::{ListResult, PaginationToken};

    #[test]
    fn a_page_has_more_while_it_carries_a_token() {
        assert!(ListResult::new(vec![1], PaginationToken::some("x")).has_more());
        let last = ListResult::<u8>::new(vec![], PaginationToken::none());
        assert!(!last.has_more());
        assert_eq!(last.total_count, None);
    }
}
