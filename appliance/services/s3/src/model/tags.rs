//! Tag sets of objects and buckets.
//! Invariant: at most the allowed number of tags, keys unique and 1 to 128 characters, values at most 256, no `aws:` keys.

/// A set of tags, ordered by key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tags(Vec<(String, String)>);

/// Why a list of pairs is no tag set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TagFault {
    /// More tags than the resource may have.
    TooMany,
    /// A key that is empty, too long, reserved or has a forbidden character.
    Key,
    /// A value that is too long or has a forbidden character.
    Value,
    /// The same key twice.
    Duplicate,
}

/// The longest key of a tag, in characters.
pub const TAG_KEY_CHARS_MAX: usize = 128;
/// The longest value of a tag, in characters.
pub const TAG_VALUE_CHARS_MAX: usize = 256;

impl Tags {
    /// Checks the rules. `count_max`: 10 for objects, 50 for buckets.
    pub fn new(mut pairs: Vec<(String, String)>, count_max: usize) -> Result<Tags, TagFault> {
        if pairs.len() > count_max {
            return Err(TagFault::TooMany);
        }
        for (index, (key, value)) in pairs.iter().enumerate() {
            let key_chars = key.chars().count();
            if key_chars == 0 || key_chars > TAG_KEY_CHARS_MAX || key.starts_with("aws:") || !allowed(key) {
                return Err(TagFault::Key);
            }
            if value.chars().count() > TAG_VALUE_CHARS_MAX || !allowed(value) {
                return Err(TagFault::Value);
            }
            if pairs[..index].iter().any(|(earlier, _)| earlier == key) {
                return Err(TagFault::Duplicate);
            }
        }
        // A set has no order of its own, so equal ones are made to look alike.
        pairs.sort();
        Ok(Tags(pairs))
    }

    /// Takes pairs that were checked when they were stored.
    #[must_use]
    pub fn from_store(pairs: Vec<(String, String)>) -> Tags {
        Tags(pairs)
    }

    /// The pairs.
    #[must_use]
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// Whether there is no tag.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Letters, digits and blanks of any script and `+ - = . _ : / @` are what AWS documents; it accepts more, so only
/// what XML cannot carry back is refused here.
fn allowed(text: &str) -> bool {
    !text.chars().any(|char| char.is_control() || matches!(char, '\u{fffe}' | '\u{ffff}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: &str) -> Result<Tags, TagFault> {
        Tags::new(vec![(key.to_owned(), value.to_owned())], 10)
    }

    #[test]
    fn limits_are_counted_in_characters() {
        assert!(one(&"é".repeat(128), &"é".repeat(256)).is_ok());
        assert_eq!(one(&"k".repeat(129), ""), Err(TagFault::Key));
        assert_eq!(one("k", &"v".repeat(257)), Err(TagFault::Value));
        assert_eq!(one("", "v"), Err(TagFault::Key));
        assert_eq!(one("aws:x", "v"), Err(TagFault::Key));
        assert_eq!(one("k\n", "v"), Err(TagFault::Key));
        assert_eq!(one("k", "\u{fffe}"), Err(TagFault::Value));
    }

    #[test]
    fn duplicates_and_excess_are_refused_and_the_rest_is_ordered() {
        let pair = |key: &str| (key.to_owned(), String::new());
        let set = Tags::new(vec![pair("b"), pair("a")], 10).expect("valid");
        assert_eq!(set.pairs(), [pair("a"), pair("b")]);
        assert_eq!(Tags::new(vec![pair("a"), pair("a")], 10), Err(TagFault::Duplicate));
        let eleven = (0..11).map(|index| pair(&index.to_string())).collect::<Vec<_>>();
        assert_eq!(Tags::new(eleven.clone(), 10), Err(TagFault::TooMany));
        assert!(Tags::new(eleven, 50).is_ok());
    }
}
