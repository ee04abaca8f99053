//! The query of a request, decoded.
//! Invariant: names and values are UTF-8; an empty value and no value are the same, except where a sub-resource is told
//! from a parameter.

use aws::uri::{decode_query, query_pairs};

use super::error::{Code, Error};

/// Decoded parameters in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Decodes a raw query. Errors: InvalidURI where it is not UTF-8.
    pub fn parse(raw: Option<&str>) -> Result<Query, Error> {
        let mut pairs = Vec::new();
        for (name, value) in query_pairs(raw.unwrap_or("")) {
            let decode = |text| decode_query(text).map_err(|_| Error::from(Code::InvalidUri));
            pairs.push((decode(name)?.into_owned(), decode(value)?.into_owned()));
        }
        Ok(Query { pairs })
    }

    /// Whether there is no parameter at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Whether a parameter is there, with or without a value.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(known, _)| known == name)
    }

    /// The value of a parameter; "" where it has none, `None` where it is absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that is there and not empty.
    #[must_use]
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// All pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A page size: absent is `max`, more than `max` is `max`; not a number from 0 on is InvalidArgument.
    pub fn page_size(&self, name: &str, max: usize) -> Result<usize, Error> {
        let Some(text) = self.filled(name) else { return Ok(max) };
        match text.parse::<u32>() {
            Ok(count) => Ok((count as usize).min(max)),
            Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(max),
            Err(_) => Err(Error::argument(
                name,
                text,
                format!("Provided {name} not an integer or within integer range"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(raw: &str) -> Query {
        Query::parse(Some(raw)).expect("UTF-8")
    }

    #[test]
    fn parameters_are_decoded_and_told_apart_by_presence() {
        let query = query("acl&prefix=a+b%2Fc&marker=");
        assert!(query.has("acl") && query.has("marker") && !query.has("max-keys"));
        assert_eq!(query.get("prefix"), Some("a b/c"));
        assert_eq!(query.get("acl"), Some(""));
        assert_eq!(query.filled("marker"), None);
        assert!(Query::parse(Some("a=%ff")).is_err());
    }

    #[test]
    fn page_sizes_are_cut_and_zero_is_legal() {
        assert_eq!(query("").page_size("max-keys", 1000).expect("absent"), 1000);
        assert_eq!(query("max-keys=0").page_size("max-keys", 1000).expect("zero"), 0);
        assert_eq!(query("max-keys=99999999999999").page_size("max-keys", 1000).expect("large"), 1000);
        for bad in ["max-keys=-1", "max-keys=x", "max-keys=1.5"] {
            assert!(query(bad).page_size("max-keys", 1000).is_err(), "{bad}");
        }
    }
}
