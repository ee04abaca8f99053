//! One statement more or less: what AddPermission and RemovePermission do to a document.
//!
//! Invariant: the other statements keep their text, byte for byte, and what comes out is a policy under the same rules.

use super::Policy;
use super::document::Rules;
use super::flaw::PolicyError;
use crate::json::Writer;

/// A statement that allows actions to accounts.
#[derive(Clone, Copy, Debug)]
pub struct NewStatement<'a> {
    /// The label.
    pub sid: &'a str,
    /// Numbers of accounts.
    pub accounts: &'a [&'a str],
    /// Such as `SQS:SendMessage`.
    pub actions: &'a [&'a str],
    /// The ARN of the resource.
    pub resource: &'a str,
}

/// Why a document was not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EditError {
    /// A statement has this label already.
    LabelTaken,
    /// No statement has this label.
    NoSuchLabel,
    /// The document, or what would become of it, is no policy under the rules.
    Policy(PolicyError),
}

impl From<PolicyError> for EditError {
    fn from(error: PolicyError) -> EditError {
        EditError::Policy(error)
    }
}

/// The document with a statement more, at the end. Without a document it begins one with the id `new_id`.
/// Errors: the label is taken; no policy under `rules`.
pub fn add_statement(
    document: Option<&str>,
    new_id: &str,
    statement: &NewStatement<'_>,
    rules: &Rules,
) -> Result<String, EditError> {
    let written = written(statement);
    let edited = match document {
        None => {
            let mut writer = Writer::new();
            writer.begin_object();
            writer.key("Version");
            // The version that AWS begins such a policy with; the statements hold no variables.
            writer.string("2008-10-17");
            writer.key("Id");
            writer.string(new_id);
            writer.key("Statement");
            writer.begin_array();
            writer.raw(written.as_bytes());
            writer.end_array();
            writer.end_object();
            text(writer)
        }
        Some(document) => {
            let policy = Policy::parse(document, rules)?;
            if policy.sids().any(|sid| sid == statement.sid) {
                return Err(EditError::LabelTaken);
            }
            let mut statements: Vec<&str> = statements_of(&policy, document).collect();
            statements.push(&written);
            spliced(&policy, document, &statements)
        }
    };
    Policy::parse(&edited, rules)?;
    Ok(edited)
}

/// The document without the statement of this label; `None` when it was the only one.
/// Errors: there is none of this label; no policy under `rules`.
pub fn remove_statement(document: &str, sid: &str, rules: &Rules) -> Result<Option<String>, EditError> {
    let policy = Policy::parse(document, rules)?;
    let is_other = |known: &Option<Box<str>>| known.as_deref() != Some(sid);
    let kept: Vec<&str> = policy
        .statements
        .iter()
        .zip(statements_of(&policy, document))
        .filter_map(|(statement, text)| is_other(&statement.sid).then_some(text))
        .collect();
    match kept.len() {
        count if count == policy.statements.len() => Err(EditError::NoSuchLabel),
        0 => Ok(None),
        _ => Ok(Some(spliced(&policy, document, &kept))),
    }
}

fn statements_of<'d>(policy: &Policy, document: &'d str) -> impl Iterator<Item = &'d str> {
    policy.statements.iter().map(move |statement| document.get(statement.span.clone()).unwrap_or_default())
}

fn spliced(policy: &Policy, document: &str, statements: &[&str]) -> String {
    let before = document.get(..policy.span.start).unwrap_or_default();
    let behind = document.get(policy.span.end..).unwrap_or_default();
    format!("{before}[{}]{behind}", statements.join(","))
}

fn written(statement: &NewStatement<'_>) -> String {
    let mut writer = Writer::new();
    writer.begin_object();
    writer.key("Sid");
    writer.string(statement.sid);
    writer.key("Effect");
    writer.string("Allow");
    writer.key("Principal");
    writer.begin_object();
    writer.key("AWS");
    let roots: Vec<String> =
        statement.accounts.iter().map(|account| crate::arn::account_root(account)).collect();
    one_or_list(&mut writer, &roots);
    writer.end_object();
    writer.key("Action");
    one_or_list(&mut writer, statement.actions);
    writer.key("Resource");
    writer.string(statement.resource);
    writer.end_object();
    text(writer)
}

/// AWS writes one value without brackets.
fn one_or_list<T: AsRef<str>>(writer: &mut Writer, values: &[T]) {
    if let [value] = values {
        return writer.string(value.as_ref());
    }
    writer.begin_array();
    values.iter().for_each(|value| writer.string(value.as_ref()));
    writer.end_array();
}

fn text(writer: Writer) -> String {
    String::from_utf8(writer.into_bytes()).expect("the writer writes UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Flaw, PolicyType};

    const RULES: Rules = Rules {
        kind: PolicyType::Resource,
        service: Some("sqs"),
        bytes_max: 10_000,
        statement_count_max: 3,
        action_count_max: 7,
    };

    fn add(document: Option<&str>, sid: &str) -> Result<String, EditError> {
        let resource = "arn:aws:sqs:us-east-1:111111111111:q";
        let actions = ["SQS:SendMessage", "SQS:ReceiveMessage"];
        let statement = NewStatement { sid, accounts: &["222222222222"], actions: &actions, resource };
        add_statement(document, "q/SQSDefaultPolicy", &statement, &RULES)
    }

    #[test]
    fn a_first_permission_begins_a_policy_and_the_last_one_ends_it() {
        let one = add(None, "a").unwrap();
        assert_eq!(
            one,
            concat!(
                r#"{"Version":"2008-10-17","Id":"q/SQSDefaultPolicy","Statement":[{"Sid":"a","Effect":"Allow","#,
                r#""Principal":{"AWS":"arn:aws:iam::222222222222:root"},"Action":["SQS:SendMessage","SQS:ReceiveMessage"],"#,
                r#""Resource":"arn:aws:sqs:us-east-1:111111111111:q"}]}"#
            )
        );
        let two = add(Some(&one), "b").unwrap();
        assert_eq!(Policy::parse(&two, &RULES).unwrap().sids().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(remove_statement(&two, "b", &RULES), Ok(Some(one.clone())));
        assert_eq!(remove_statement(&one, "a", &RULES), Ok(None));
    }

    #[test]
    fn a_label_is_taken_once_and_has_to_be_there() {
        let one = add(None, "a").unwrap();
        assert_eq!(add(Some(&one), "a"), Err(EditError::LabelTaken));
        assert_eq!(remove_statement(&one, "b", &RULES), Err(EditError::NoSuchLabel));
        let three = add(Some(&add(Some(&one), "b").unwrap()), "c").unwrap();
        let full = PolicyError { flaw: Flaw::TooMany(3), statement: Some(3), element: "" };
        assert_eq!(add(Some(&three), "d"), Err(EditError::Policy(full)));
    }

    #[test]
    fn the_other_statements_and_what_stands_around_them_keep_their_text() {
        let document = concat!(
            "{ \"Statement\" :\n {\"Sid\":\"\\u0061\",\"Effect\":\"Deny\",\"Principal\":\"*\",",
            "\"Action\":\"sqs:*\",\"Resource\":\"*\" },\"Id\": \"é\" }"
        );
        let two = add(Some(document), "b").unwrap();
        let listed = document.replacen("{\"Sid\"", "[{\"Sid\"", 1).replacen("},\"Id\"", "}],\"Id\"", 1);
        assert_eq!(remove_statement(&two, "b", &RULES), Ok(Some(listed)));
        assert_eq!(add(Some(document), "a"), Err(EditError::LabelTaken), "labels are compared unescaped");
    }
}
