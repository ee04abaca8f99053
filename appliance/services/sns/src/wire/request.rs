//! Parts of requests that several operations have: names of things, tags, page tokens.

use aws::query::Node;

use super::error::{Code, Error};
use crate::model::arn::{SubscriptionArn, TopicArn};
use crate::model::limits::{TAG_COUNT_MAX, TAG_KEY_MAX, TAG_VALUE_MAX};
use crate::model::topic::Tags;

/// A parameter that must be there and not be empty.
pub fn required<'q>(node: Node<'q>, name: &str) -> Result<&'q str, Error> {
    node.text(name).filter(|value| !value.is_empty()).ok_or_else(|| Error::missing(name))
}

/// The topic that `TopicArn` names.
pub fn topic_arn<'q>(node: Node<'q>) -> Result<TopicArn<'q>, Error> {
    TopicArn::parse(required(node, "TopicArn")?).ok_or_else(|| Error::invalid("TopicArn"))
}

/// The subscription that `SubscriptionArn` names.
pub fn subscription_arn<'q>(node: Node<'q>) -> Result<SubscriptionArn<'q>, Error> {
    SubscriptionArn::parse(required(node, "SubscriptionArn")?)
        .ok_or_else(|| Error::invalid("SubscriptionArn Reason: An ARN must have at least 6 elements"))
}

/// The entries of a map of attributes, in their order.
pub fn pairs<'q>(node: Node<'q>, name: &str) -> Result<Vec<(&'q str, &'q str)>, Error> {
    let pair = |entry: Node<'q>| {
        let key = entry.text("key").ok_or_else(|| Error::invalid(name))?;
        Ok((key, entry.text("value").unwrap_or_default()))
    };
    node.entries(name).into_iter().map(pair).collect()
}

/// The tags of a request, checked. Errors: InvalidParameter, TagLimitExceeded.
pub fn tags(node: Node<'_>) -> Result<Tags, Error> {
    let mut tags = Tags::new();
    for tag in node.members("Tags") {
        let key = tag.text("Key").unwrap_or_default();
        let value = tag.text("Value").unwrap_or_default();
        if key.is_empty() || key.chars().count() > TAG_KEY_MAX || value.chars().count() > TAG_VALUE_MAX {
            return Err(Error::invalid(
                "Tags Reason: A tag has a key of 1 to 128 and a value of up to 256 characters",
            ));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Error::invalid("Tags Reason: Keys that begin with aws: are reserved"));
        }
        if !key.chars().chain(value.chars()).all(is_tag_character) {
            return Err(Error::invalid(
                "Tags Reason: Tags hold letters, digits, blanks and + - = . _ : / @ only",
            ));
        }
        if tags.insert(key.into(), value.into()).is_some() {
            return Err(Error::invalid("Tags Reason: Duplicated keys are not allowed."));
        }
    }
    within_tag_limit(&tags)?;
    Ok(tags)
}

/// Refuses more tags than a topic may have.
pub fn within_tag_limit(tags: &Tags) -> Result<(), Error> {
    if tags.len() <= TAG_COUNT_MAX {
        return Ok(());
    }
    Err(Error::new(Code::TagLimitExceeded, "Could not complete request: tag quota of per resource exceeded"))
}

fn is_tag_character(letter: char) -> bool {
    letter.is_alphanumeric() || letter.is_whitespace() || "+-=._:/@".contains(letter)
}

/// Where a page begins, from a `NextToken`: the shard and the key behind which it goes on. None: at the beginning.
pub fn page_start(node: Node<'_>) -> Result<Option<(u16, Vec<u8>)>, Error> {
    let Some(token) = node.text("NextToken").filter(|token| !token.is_empty()) else { return Ok(None) };
    let bytes = aws::encoding::unbase64(token.as_bytes()).unwrap_or_default();
    let Some((shard, key)) = bytes.split_first_chunk::<2>() else { return Err(Error::invalid("NextToken")) };
    if key.len() > PAGE_KEY_BYTES_MAX {
        return Err(Error::invalid("NextToken"));
    }
    Ok(Some((u16::from_be_bytes(*shard), key.to_vec())))
}

/// The `NextToken` of a page that ended at a key of a shard.
#[must_use]
pub fn page_token(shard: u16, key: &[u8]) -> String {
    aws::encoding::base64(&[&shard.to_be_bytes()[..], key].concat())
}

/// The longest key that a token may name: account, name, a zero, an id.
const PAGE_KEY_BYTES_MAX: usize = 12 + crate::model::limits::TOPIC_NAME_MAX + 1 + 16;

#[cfg(test)]
mod tests {
    use aws::query::Parameters;

    use super::*;

    fn parse(text: &str) -> Parameters<'_> {
        Parameters::parse(None, text.as_bytes()).expect("they read")
    }

    #[test]
    fn tags_are_checked() {
        let read = |text: &str| tags(parse(text).root()).map_err(|error| error.code);
        let two = read("Tags.member.1.Key=a&Tags.member.1.Value=1&Tags.member.2.Key=b").expect("tags");
        assert_eq!(two.into_iter().collect::<Vec<_>>(), [("a".into(), "1".into()), ("b".into(), "".into())]);
        for text in [
            "Tags.member.1.Value=1",
            "Tags.member.1.Key=aws:x",
            "Tags.member.1.Key=a%00",
            "Tags.member.1.Key=a&Tags.member.2.Key=a",
            &format!("Tags.member.1.Key={}", "k".repeat(129)),
            &format!("Tags.member.1.Key=k&Tags.member.1.Value={}", "v".repeat(257)),
        ] {
            assert_eq!(read(text), Err(Code::InvalidParameter), "{text}");
        }
        let many: String = (0..51).map(|n| format!("Tags.member.{n}.Key=k{n}&")).collect();
        assert_eq!(read(&many), Err(Code::TagLimitExceeded));
    }

    #[test]
    fn a_page_token_names_where_the_next_page_begins() {
        let token = page_token(3, b"000000000000orders");
        let text = format!("NextToken={}", aws::uri::encode(&token));
        assert_eq!(page_start(parse(&text).root()), Ok(Some((3, b"000000000000orders".to_vec()))));
        assert_eq!(page_start(parse("NextToken=").root()), Ok(None));
        for bad in ["NextToken=x", "NextToken=AA", "NextToken=%2F%2F%2F%2F%2F"] {
            assert_eq!(
                page_start(parse(bad).root()).map_err(|error| error.code),
                Err(Code::InvalidParameter)
            );
        }
    }
}
