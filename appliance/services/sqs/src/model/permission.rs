//! The statements that AddPermission writes into a queue's policy and RemovePermission takes out again.
//! Invariant: what is written is a policy that SetQueueAttributes would take; a label names one statement at most; the
//! policy goes away with its last statement.
//! Leaves to aws::policy: writing it, and what it allows.

use aws::policy::{EditError, Flaw, NewStatement, PolicyError, add_statement, remove_statement};

use super::document::{ACTIONS_MAX, STATEMENTS_MAX, statements_over};
use crate::access::RULES;
use crate::wire::error::{Code, Error};

/// Characters of a label.
const LABEL_MAX: usize = 80;
/// Digits of an account.
const ACCOUNT_DIGITS: usize = 12;
/// What a queue's owner may share.
const SHARED_ACTIONS: [&str; 9] = [
    "*",
    "ChangeMessageVisibility",
    "DeleteMessage",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListDeadLetterSourceQueues",
    "PurgeQueue",
    "ReceiveMessage",
    "SendMessage",
];
/// What only the owner may do, whatever a policy says (AWS API reference, AddPermission).
const OWNERS_ACTIONS: [&str; 12] = [
    "AddPermission",
    "CancelMessageMoveTask",
    "CreateQueue",
    "DeleteQueue",
    "ListMessageMoveTasks",
    "ListQueues",
    "ListQueueTags",
    "RemovePermission",
    "SetQueueAttributes",
    "StartMessageMoveTask",
    "TagQueue",
    "UntagQueue",
];
/// One permission to give.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Permission {
    /// Names the statement.
    pub label: String,
    /// Who gets it: twelve digits each.
    pub accounts: Vec<String>,
    /// What they may do: names without the service.
    pub actions: Vec<String>,
}

impl Permission {
    /// Checks what needs no queue. Errors: MissingParameter, InvalidParameterValue, OverLimit.
    pub fn new(label: &str, accounts: Vec<String>, actions: Vec<String>) -> Result<Permission, Error> {
        check_label(label)?;
        if actions.is_empty() {
            return Err(Error::missing("Actions"));
        }
        if actions.len() > ACTIONS_MAX {
            let count = actions.len();
            return Err(Error::new(
                Code::OverLimit,
                format!("{count} Actions were found, maximum allowed is {ACTIONS_MAX}."),
            ));
        }
        for action in &actions {
            check_action(action)?;
        }
        let is_account =
            |text: &String| text.len() == ACCOUNT_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
        if accounts.is_empty() || !accounts.iter().all(is_account) {
            let listed = format!("[{}]", accounts.join(", "));
            return Err(Error::invalid_value("PrincipalId", listed, "Unable to verify."));
        }
        Ok(Permission { label: label.to_owned(), accounts, actions })
    }

    /// The policy of a queue with this permission in it. Errors: InvalidParameterValue when the label is used, OverLimit
    /// when the policy would be too large.
    pub fn add_to(&self, policy: Option<&str>, queue_arn: &str) -> Result<String, Error> {
        let accounts: Vec<&str> = self.accounts.iter().map(String::as_str).collect();
        let actions: Vec<String> = self.actions.iter().map(|action| format!("SQS:{action}")).collect();
        let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
        let statement =
            NewStatement { sid: &self.label, accounts: &accounts, actions: &actions, resource: queue_arn };
        let id = format!("{queue_arn}/SQSDefaultPolicy");
        add_statement(policy, &id, &statement, &RULES).map_err(|error| match error {
            EditError::LabelTaken => Error::invalid_value("Label", &self.label, "Already exists."),
            EditError::Policy(PolicyError { flaw: Flaw::TooMany(_), .. }) => {
                // The actions of this statement were counted, and those of the others when they were set.
                statements_over(STATEMENTS_MAX + 1)
            }
            EditError::Policy(PolicyError { flaw: Flaw::TooLong(bytes_max), .. }) => {
                Error::new(Code::OverLimit, format!("The policy would be longer than {bytes_max} bytes."))
            }
            // The policy was checked when it was set.
            EditError::NoSuchLabel | EditError::Policy(_) => Error::internal(),
        })
    }
}

/// The policy of a queue without the statement of a label; nothing when it was the last one. Errors:
/// InvalidParameterValue when there is none.
pub fn remove(policy: Option<&str>, label: &str) -> Result<Option<String>, Error> {
    check_label(label)?;
    let absent = || Error::invalid_value("Label", label, "can't find label.");
    remove_statement(policy.ok_or_else(absent)?, label, &RULES).map_err(|error| match error {
        EditError::NoSuchLabel => absent(),
        EditError::LabelTaken | EditError::Policy(_) => Error::internal(),
    })
}

fn check_label(label: &str) -> Result<(), Error> {
    if label.is_empty() {
        return Err(Error::missing("Label"));
    }
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if label.len() > LABEL_MAX || !label.bytes().all(is_good) {
        let rule = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length.";
        return Err(Error::invalid_value("Label", label, rule));
    }
    Ok(())
}

fn check_action(action: &str) -> Result<(), Error> {
    if SHARED_ACTIONS.contains(&action) {
        return Ok(());
    }
    let reason = if OWNERS_ACTIONS.contains(&action) {
        "Only the queue owner is allowed to invoke this action."
    } else {
        "Please refer to the appropriate WSDL for a list of valid actions."
    };
    Err(Error::invalid_value("ActionName", format!("SQS:{action}"), reason))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ARN: &str = "arn:aws:sqs:us-east-1:111111111111:q";

    fn permission(label: &str, accounts: &[&str], actions: &[&str]) -> Result<Permission, Error> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Permission::new(label, owned(accounts), owned(actions))
    }

    fn one(label: &str) -> Permission {
        permission(label, &["222222222222"], &["SendMessage"]).expect("is valid")
    }

    #[test]
    fn the_first_permission_makes_the_default_policy() {
        let policy = one("a").add_to(None, ARN).expect("is added");
        assert_eq!(
            policy,
            "{\"Version\":\"2008-10-17\",\"Id\":\"arn:aws:sqs:us-east-1:111111111111:q/SQSDefaultPolicy\",\
             \"Statement\":[{\"Sid\":\"a\",\"Effect\":\"Allow\",\
             \"Principal\":{\"AWS\":\"arn:aws:iam::222222222222:root\"},\"Action\":\"SQS:SendMessage\",\
             \"Resource\":\"arn:aws:sqs:us-east-1:111111111111:q\"}]}"
        );
    }

    #[test]
    fn several_accounts_and_actions_become_lists() {
        let both = permission("a", &["222222222222", "333333333333"], &["SendMessage", "*"]).expect("valid");
        let policy: Value = serde_json::from_str(&both.add_to(None, ARN).expect("added")).expect("JSON");
        let statement = &policy["Statement"][0];
        assert_eq!(
            statement["Principal"]["AWS"],
            json!(["arn:aws:iam::222222222222:root", "arn:aws:iam::333333333333:root"])
        );
        assert_eq!(statement["Action"], json!(["SQS:SendMessage", "SQS:*"]));
    }

    #[test]
    fn a_label_is_used_once() {
        let policy = one("a").add_to(None, ARN).expect("is added");
        let error = one("a").add_to(Some(&policy), ARN).expect_err("twice");
        assert_eq!(error.message, "Value a for parameter Label is invalid. Reason: Already exists.");
        let policy = one("b").add_to(Some(&policy), ARN).expect("another label");
        assert_eq!(policy.matches("\"Sid\"").count(), 2);
    }

    #[test]
    fn a_statement_that_stands_alone_becomes_the_first_of_a_list() {
        let alone = r#"{"Statement":{"Sid":"x","Effect":"Deny","Principal":"*","Action":"SQS:*","Resource":"*"},"Version":"2012-10-17"}"#;
        let policy: Value =
            serde_json::from_str(&one("a").add_to(Some(alone), ARN).expect("added")).expect("JSON");
        assert_eq!(policy["Version"], "2012-10-17");
        assert_eq!(
            (policy["Statement"][0]["Sid"].clone(), policy["Statement"][1]["Sid"].clone()),
            (json!("x"), json!("a"))
        );
    }

    #[test]
    fn the_policy_goes_with_its_last_statement() {
        let policy = one("a").add_to(None, ARN).expect("is added");
        let policy = one("b").add_to(Some(&policy), ARN).expect("is added");
        let left = remove(Some(&policy), "a").expect("removed").expect("one is left");
        assert_eq!(left, one("b").add_to(None, ARN).expect("is added"));
        assert_eq!(remove(Some(&left), "b").expect("removed"), None);
    }

    #[test]
    fn an_unknown_label_cannot_be_removed() {
        for policy in [None, Some(one("a").add_to(None, ARN).expect("is added"))] {
            let error = remove(policy.as_deref(), "b").expect_err("no such label");
            assert_eq!(error.message, "Value b for parameter Label is invalid. Reason: can't find label.");
        }
    }

    #[test]
    fn a_policy_holds_twenty_statements() {
        let mut policy = None;
        for number in 0..STATEMENTS_MAX {
            policy = Some(one(&format!("l{number}")).add_to(policy.as_deref(), ARN).expect("has room"));
        }
        let error = one("more").add_to(policy.as_deref(), ARN).expect_err("too many");
        assert_eq!(error.message, "21 statements were found in the submitted policy, max allowed is 20");
    }

    #[test]
    fn a_statement_holds_seven_actions() {
        let error = permission("a", &["222222222222"], &["SendMessage"; 8]).expect_err("too many");
        assert_eq!(error.message, "8 Actions were found, maximum allowed is 7.");
        permission("a", &["222222222222"], &["SendMessage"; 7]).expect("fits");
    }

    #[test]
    fn owners_actions_and_unknown_ones_are_not_given_away() {
        let refused = |action| permission("a", &["222222222222"], &[action]).expect_err("is refused");
        assert_eq!(
            refused("DeleteQueue").message,
            "Value SQS:DeleteQueue for parameter ActionName is invalid. Reason: Only the queue owner is allowed to \
             invoke this action."
        );
        assert_eq!(
            refused("Fly").message,
            "Value SQS:Fly for parameter ActionName is invalid. Reason: Please refer to the appropriate WSDL for a \
             list of valid actions."
        );
    }

    #[test]
    fn principals_are_accounts() {
        for accounts in [&[][..], &["1"], &["22222222222x"], &["222222222222", "*"]] {
            let error = permission("a", accounts, &["SendMessage"]).expect_err("is refused");
            assert_eq!(
                error.message,
                format!(
                    "Value [{}] for parameter PrincipalId is invalid. Reason: Unable to verify.",
                    accounts.join(", ")
                )
            );
        }
    }

    #[test]
    fn a_label_has_up_to_eighty_letters_digits_hyphens_and_underscores() {
        permission(&"x".repeat(80), &["222222222222"], &["SendMessage"]).expect("the longest");
        for label in ["a b", "ä", &"x".repeat(81)] {
            permission(label, &["222222222222"], &["SendMessage"]).expect_err("is refused");
        }
        let error = permission("", &["222222222222"], &["SendMessage"]).expect_err("none");
        assert_eq!(error.message, "The request must contain the parameter Label.");
    }
}
