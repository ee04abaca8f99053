//! AddPermission, RemovePermission: statements of a topic's policy, named by their labels.

use aws::account::AccountId;
use aws::policy::{EditError, NewStatement, add_statement, remove_statement};
use aws::query::{Node, Parameters};
use plan::{Context, Plan};
use store::Tx;

use crate::access::RULES;
use crate::call::{Shared, settle};
use crate::engine::on_topic::{on_topic, put_topic};
use crate::model::topic::{Setting, Topic};
use crate::wire::attributes::{OWNER_ACTIONS, default_policy};
use crate::wire::error::Error;
use crate::wire::request::{required, topic_arn};

/// Letters of a label.
const LABEL_MAX: usize = 80;
/// Accounts of one statement.
const ACCOUNT_COUNT_MAX: usize = 100;

/// Begins AddPermission.
pub fn add(call: Shared, cx: &mut Context<'_>, parameters: &Parameters<'_>) -> Result<Plan, Error> {
    let root = parameters.root();
    let arn = topic_arn(root)?.to_string();
    let label = label(root)?.to_owned();
    let accounts = values(root, "AWSAccountId")?;
    let actions = values(root, "ActionName")?;
    if accounts.len() > ACCOUNT_COUNT_MAX
        || accounts.iter().any(|account| AccountId::parse(account).is_none())
    {
        return Err(Error::invalid("AWSAccountId"));
    }
    if actions.iter().any(|action| !OWNER_ACTIONS.contains(&action.as_str())) {
        return Err(Error::invalid("Policy statement action out of service scope!"));
    }
    let actions: Vec<String> = actions.iter().map(|action| format!("SNS:{action}")).collect();
    rewrite(call, cx, root, move |policy| {
        let accounts: Vec<&str> = accounts.iter().map(String::as_str).collect();
        let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
        let statement = NewStatement { sid: &label, accounts: &accounts, actions: &actions, resource: &arn };
        add_statement(Some(policy), "", &statement, &RULES).map(Some).map_err(in_words)
    })
}

/// Begins RemovePermission.
pub fn remove(call: Shared, cx: &mut Context<'_>, parameters: &Parameters<'_>) -> Result<Plan, Error> {
    let root = parameters.root();
    let label = label(root)?.to_owned();
    rewrite(call, cx, root, move |policy| remove_statement(policy, &label, &RULES).map_err(in_words))
}

fn rewrite<F>(call: Shared, cx: &mut Context<'_>, root: Node<'_>, edit: F) -> Result<Plan, Error>
where
    F: Fn(&str) -> Result<Option<String>, Error> + Send + 'static,
{
    let arn = topic_arn(root)?;
    call.topic(cx, arn)?;
    let text = arn.to_string();
    let work = move |tx: &mut Tx<'_>, found: Option<Topic>| {
        let Some(mut topic) = found else { return Ok(Err(Error::no_topic())) };
        let default = default_policy(&text, &topic.account);
        match edit(topic.setting(Setting::Policy).unwrap_or(&default)) {
            Ok(Some(policy)) => topic.settings.insert(Setting::Policy, policy.into()),
            // Without a statement it is as if none had been set.
            Ok(None) => topic.settings.remove(&Setting::Policy),
            Err(error) => return Ok(Err(error)),
        };
        put_topic(tx, &mut topic);
        Ok(Ok(()))
    };
    Ok(on_topic(cx, arn, work, move |_, outcome| {
        let plan = outcome.map(|()| call.done());
        settle(&call, plan)
    }))
}

fn label(root: Node<'_>) -> Result<&str, Error> {
    let label = required(root, "Label")?;
    let fits = label.len() <= LABEL_MAX
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if fits { Ok(label) } else { Err(Error::invalid("Label")) }
}

fn values(root: Node<'_>, name: &str) -> Result<Vec<String>, Error> {
    let values: Vec<String> =
        root.members(name).into_iter().filter_map(Node::value).map(str::to_owned).collect();
    if values.is_empty() { Err(Error::missing(name)) } else { Ok(values) }
}

fn in_words(error: EditError) -> Error {
    match error {
        EditError::LabelTaken => Error::invalid("Statement already exists"),
        EditError::NoSuchLabel => Error::invalid("Label Reason: Statement does not exist"),
        EditError::Policy(_) => Error::invalid("Policy Error: null"),
    }
}
