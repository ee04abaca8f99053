//! One level of a bucket's tree: the objects that lie in it, and the folders below.
//!
//! Invariant: a listing gives each folder once. Where it is made of pages of all keys, the token of a page names the folder
//! that the page ended in:
//!
//! ```text
//! length of the folder's name in bytes, decimal ":" the folder's name, the token of the keys' next page
//! ```

use super::storage::ListOptions;
use crate::common::{CloudError, CloudResult, ListResult, ObjectMetadata, PaginationToken};

/// One page of a level.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Level {
    /// The objects that lie in it, ordered by the bytes of their keys.
    pub objects: Vec<ObjectMetadata>,
    /// What keys further down share, from their first byte up to and with the delimiter, in the same order.
    pub folders: Vec<String>,
    /// Where the next page begins. A page may be empty and have one all the same.
    pub next_token: PaginationToken,
}

impl Level {
    /// A page of these objects and folders.
    pub fn new(objects: Vec<ObjectMetadata>, folders: Vec<String>, next_token: PaginationToken) -> Self {
        Self { objects, folders, next_token }
    }

    /// Whether there is a further page.
    pub fn has_more(&self) -> bool {
        self.next_token.has_more()
    }
}

/// How pages of all keys become pages of a level.
pub(super) struct Grouping {
    prefix_bytes: usize,
    delimiter: String,
    /// The folder that the page before ended in.
    last_folder: String,
}

impl Grouping {
    /// What a page of the level needs, and the options of the page of keys that it is made of.
    pub(super) fn new(mut options: ListOptions) -> CloudResult<(Self, ListOptions)> {
        let delimiter = options.delimiter.take().filter(|delimiter| !delimiter.is_empty());
        let mut last_folder = String::new();
        if let Some(token) = options.continuation_token.take() {
            let (folder, of_keys) = parsed(&token).ok_or_else(|| {
                CloudError::Validation(String::from("the continuation token is none of this listing"))
            })?;
            last_folder = folder.to_owned();
            options.continuation_token = Some(of_keys.to_owned());
        }
        let grouping = Self {
            prefix_bytes: options.prefix.as_deref().map_or(0, str::len),
            delimiter: delimiter.unwrap_or_else(|| String::from(DELIMITER)),
            last_folder,
        };
        Ok((grouping, options))
    }

    /// The page of the level.
    pub(super) fn level(self, page: ListResult<ObjectMetadata>) -> Level {
        let Self { prefix_bytes, delimiter, mut last_folder } = self;
        let (mut objects, mut folders) = (Vec::new(), Vec::new());
        for object in page.items {
            let below = object.key.get(prefix_bytes..).and_then(|rest| rest.find(&delimiter));
            let Some(place) = below else {
                objects.push(object);
                continue;
            };
            let folder = &object.key[..prefix_bytes + place + delimiter.len()];
            // The keys of a folder follow each other, so that the last one tells whether it was given.
            if folder != last_folder {
                last_folder = folder.to_owned();
                folders.push(last_folder.clone());
            }
        }
        let next = page.next_token.0.map(|of_keys| format!("{}:{last_folder}{of_keys}", last_folder.len()));
        Level::new(objects, folders, PaginationToken(next))
    }
}

/// The folder and the token of keys of a token.
fn parsed(token: &str) -> Option<(&str, &str)> {
    let (length, rest) = token.split_once(':')?;
    rest.split_at_checked(length.parse().ok()?)
}

/// What parts folders unless the listing says otherwise.
const DELIMITER: &str = "/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_none_is_refused() {
        for token in ["", "x", ":", "3:ab", "1:é", "-1:a", "99999999999999999999:a"] {
            let options = ListOptions::new().continuation_token(token);
            assert!(matches!(Grouping::new(options), Err(CloudError::Validation(_))), "{token}");
        }
        let (grouping, options) = Grouping::new(ListOptions::new().continuation_token("3:a:/7:x")).unwrap();
        assert_eq!(
            (grouping.last_folder.as_str(), options.continuation_token.as_deref()),
            ("a:/", Some("7:x"))
        );
    }
}
