//! Targets for fuzzing: each takes any bytes and panics if an invariant of the crate does not hold.
//!
//! They are plain functions, so that any fuzzer can drive them, and an ordinary test replays `corpus/` and mutations
//! of it through them. `TARGETS` names each with the directory of its corpus.

use serde_json::Value;

use crate::filter::{Attribute, Filter, Message, Scope, reference};
use crate::hooks::{DeliveryPolicy, Endpoint};
use crate::model::subscription::Protocol;

/// A target.
pub type Target = fn(&[u8]);

/// Every target with its name, which is also the directory of its corpus.
pub const TARGETS: [(&str, Target); 2] = [("filters", filters), ("hooks", hooks)];

/// A policy on the first line, a message on the others: taken or refused without harm, and decided as the reference
/// decides where both readers take both texts for the same.
pub fn filters(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let (policy, body) = text.split_once('\n').unwrap_or((text, "{}"));
    for scope in [Scope::MessageAttributes, Scope::MessageBody] {
        let Ok(filter) = Filter::parse(policy, scope) else { continue };
        let attribute = Attribute::new("a", "String.Array", body);
        let message = Message::new(vec![attribute], body);
        assert_eq!(filter.matches(&message), filter.matches(&message), "what was read serves again");
    }
    // The other reader keeps the last of two members of a name, and reads numbers as binary ones.
    let (Ok(policy), Ok(body)) = (serde_json::from_str::<Value>(policy), serde_json::from_str::<Value>(body))
    else {
        return;
    };
    let (policy_text, body_text) = (policy.to_string(), body.to_string());
    if !reference::has_plain_numbers(&policy) || !reference::has_plain_numbers(&body) {
        return;
    }
    if let Ok(filter) = Filter::parse(&policy_text, Scope::MessageBody) {
        let decided = filter.matches(&Message::new(Vec::new(), &body_text));
        assert_eq!(decided, reference::wants(&policy, &body), "{policy_text} {body_text}");
    }
}

/// An endpoint on the first line, a delivery policy on the others: what is taken can be sent and keeps the bounds.
pub fn hooks(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let (url, policy) = text.split_once('\n').unwrap_or((text, "{}"));
    for protocol in Protocol::ALL {
        if let Some(endpoint) = Endpoint::parse(url, protocol) {
            endpoint.assert_sendable();
        }
    }
    let topic = format!("{{\"http\":{policy}}}");
    let policies = [
        DeliveryPolicy::of_subscription(policy).ok(),
        DeliveryPolicy::of_topic(policy).ok().map(|(policy, _)| policy),
        DeliveryPolicy::of_topic(&topic).ok().map(|(policy, _)| policy),
    ];
    for policy in policies.into_iter().flatten() {
        let delays: Vec<u64> = (1..=1_000).map_while(|failures| policy.delay_ms(failures)).collect();
        assert!(delays.len() <= 100 && delays.iter().sum::<u64>() <= 3_600_000, "{delays:?}");
        assert!(policy.receives_per_second() != Some(0));
    }
}

#[cfg(test)]
mod tests;
