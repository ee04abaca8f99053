//! Names of tables, indexes and streams beyond one account: `arn:aws:dynamodb:<region>:<account>:table/<name>[/...]`.
//! Invariant: what is parsed names a table; printing it gives the same text.
//! Leaves to the operations: whether region and account are theirs.

use store::Timestamp;

use super::names::{parse_stream_label, stream_label};

/// What follows the table in a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part<'a> {
    /// The table itself.
    Table,
    /// One of its indexes.
    Index(&'a str),
    /// The stream that was opened at this time.
    Stream(Timestamp),
}

/// The name of a table or of a part of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableArn<'a> {
    /// The region.
    pub region: &'a str,
    /// Twelve digits.
    pub account: &'a str,
    /// The table's name.
    pub table: &'a str,
    /// What of the table.
    pub part: Part<'a>,
}

impl<'a> TableArn<'a> {
    /// Reads a name.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<TableArn<'a>> {
        let mut fields = text.splitn(6, ':');
        if fields.next()? != "arn" || fields.next()? != "aws" || fields.next()? != "dynamodb" {
            return None;
        }
        let (region, account, resource) = (fields.next()?, fields.next()?, fields.next()?);
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        if region.is_empty() || !is_account {
            return None;
        }
        let mut parts = resource.splitn(4, '/');
        if parts.next()? != "table" {
            return None;
        }
        let table = parts.next().filter(|name| is_name(name))?;
        let part = match (parts.next(), parts.next()) {
            (None, _) => Part::Table,
            (Some("index"), Some(index)) if is_name(index) => Part::Index(index),
            (Some("stream"), Some(label)) => Part::Stream(parse_stream_label(label)?),
            _ => return None,
        };
        Some(TableArn { region, account, table, part })
    }
}

/// The characters of names of tables and indexes; `:` and `/` are not among them.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

impl std::fmt::Display for TableArn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TableArn { region, account, table, part } = self;
        write!(f, "arn:aws:dynamodb:{region}:{account}:table/{table}")?;
        match part {
            Part::Table => Ok(()),
            Part::Index(index) => write!(f, "/index/{index}"),
            Part::Stream(opened) => write!(f, "/stream/{}", stream_label(*opened)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tables_and_their_parts_come_back() {
        let texts = [
            "arn:aws:dynamodb:us-east-1:123456789012:table/a.b_c-D",
            "arn:aws:dynamodb:us-east-1:123456789012:table/t/index/i.1",
            "arn:aws:dynamodb:eu-west-1:123456789012:table/t/stream/2026-11-21T15:45:30.123",
        ];
        for text in texts {
            assert_eq!(TableArn::parse(text).expect("a name").to_string(), text);
        }
        let stream = TableArn::parse(texts[2]).expect("a name");
        assert_eq!(stream.part, Part::Stream(Timestamp(1_795_275_930_123)));
        assert_eq!((stream.region, stream.account, stream.table), ("eu-west-1", "123456789012", "t"));
    }

    #[test]
    fn other_texts_are_not_names_of_tables() {
        for text in [
            "",
            "arn",
            "t",
            "arn:aws:s3:::bucket",
            "arn:aws:dynamodb:us-east-1:123456789012:table/",
            "arn:aws:dynamodb:us-east-1:123456789012:table/a b",
            "arn:aws:dynamodb:us-east-1:12345678901:table/t",
            "arn:aws:dynamodb::123456789012:table/t",
            "arn:aws:dynamodb:us-east-1:123456789012:table/t/",
            "arn:aws:dynamodb:us-east-1:123456789012:table/t/index",
            "arn:aws:dynamodb:us-east-1:123456789012:table/t/index/a/b",
            "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/now",
            "arn:aws:dynamodb:us-east-1:123456789012:backup/t",
        ] {
            assert_eq!(TableArn::parse(text), None, "{text}");
        }
    }
}
