//! From the older parameters as sent to the forms that expressions have too.
//! Invariant: words that are no operator or action were refused by the member constraints.
//! Leaves to expression/legacy.rs: what they mean, and their own faults.

use crate::expression::legacy::{
    self as meaning, LegacyAction, LegacyCondition, LegacyUpdate, Operator, check_conditional_operator,
};
use crate::expression::{Condition, KeyCondition, Update};
use crate::value::path::{Projection, Step};
use crate::wire::error::Error;
use crate::wire::request::legacy::{Legacy, SentCondition, SentUpdate};
use crate::wire::request::{Entries, Text};
use crate::wire::words::ConditionalOperator;

/// Refuses values that are not well formed.
pub fn check_values(legacy: &Legacy<'_>) -> Result<(), Error> {
    let conditions = [&legacy.expected, &legacy.key_conditions, &legacy.query_filter, &legacy.scan_filter];
    let sent = conditions.into_iter().flatten().flat_map(Entries::list);
    let mut faults = sent.filter_map(|(_, condition)| condition.error.as_ref());
    let updates = legacy.updates.iter().flat_map(Entries::list);
    let fault = faults.next().or_else(|| updates.filter_map(|(_, update)| update.error.as_ref()).next());
    fault.map_or(Ok(()), |error| Err(error.into()))
}

/// `Expected` as a condition.
pub fn expected(
    legacy: &Legacy<'_>,
    operator: Option<ConditionalOperator>,
) -> Result<Option<Condition>, Error> {
    if operator.is_some() {
        check_conditional_operator(legacy.expected.as_ref().map(Entries::len))?;
    }
    let Some(sent) = &legacy.expected else { return Ok(None) };
    if sent.is_empty() {
        return Ok(None);
    }
    Ok(Some(meaning::expected(&conditions(sent), operator == Some(ConditionalOperator::Or))?))
}

/// `QueryFilter` or `ScanFilter` as a filter.
pub fn filter(
    legacy: &Legacy<'_>,
    operator: Option<ConditionalOperator>,
) -> Result<Option<Condition>, Error> {
    let sent = legacy.query_filter.as_ref().or(legacy.scan_filter.as_ref());
    if operator.is_some() {
        check_conditional_operator(sent.map(Entries::len))?;
    }
    let Some(sent) = sent.filter(|sent| !sent.is_empty()) else { return Ok(None) };
    Ok(Some(meaning::filter(&conditions(sent), operator == Some(ConditionalOperator::Or))?))
}

/// `KeyConditions` as a key condition.
pub fn key_conditions(sent: &Entries<SentCondition<'_>>) -> Result<KeyCondition, Error> {
    Ok(meaning::key_conditions(&conditions(sent))?)
}

/// `AttributeUpdates` as an update.
pub fn updates(sent: &Entries<SentUpdate<'_>>) -> Result<Update, Error> {
    let updates: Vec<LegacyUpdate> = sent
        .list()
        .iter()
        .map(|(name, update)| LegacyUpdate {
            name: name.clone(),
            action: match update.action.as_deref() {
                Some("ADD") => LegacyAction::Add,
                Some("DELETE") => LegacyAction::Delete,
                _ => LegacyAction::Put,
            },
            value: update.value.clone(),
        })
        .collect();
    Ok(meaning::attribute_updates(&updates)?)
}

/// `AttributesToGet` as a projection, and its paths.
pub fn attributes_to_get(names: &[Text<'_>]) -> Result<(Projection, Vec<Vec<Step>>), Error> {
    let names: Vec<Box<str>> = names.iter().map(|name| Box::from(&**name)).collect();
    Ok(meaning::attributes_to_get(&names)?)
}

fn conditions(sent: &Entries<SentCondition<'_>>) -> Vec<LegacyCondition> {
    let entries = sent.list().iter();
    entries
        .map(|(name, condition)| LegacyCondition {
            name: name.clone(),
            value: condition.value.clone(),
            exists: condition.exists,
            operator: condition.operator.as_deref().and_then(Operator::named),
            values: condition.list.clone(),
        })
        .collect()
}
