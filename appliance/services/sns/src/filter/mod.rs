//! Filter policies: which messages a subscription wants, compiled from the policy's JSON.
//!
//! Invariant: a policy is bounded when it is compiled (size, keys, combinations, depth), so a match takes time that is
//! linear in the message for each of at most 150 combinations, and recurses only as deep as the policy goes.
//! Leaves to the callers: keeping the policy's text, the count of policies, which subscriptions a topic has.
//!
//! ```text
//! policy JSON -> tape -> limits -> Node { name -> Conditions | Node, $or -> [Node] }
//! message     -> attributes, or the tape of its body, read at most once for all subscriptions
//! ```
//!
//! Known gap: AWS takes `{"a.b": …}` for the path to a nested member too; here it is the name `a.b` alone.

mod condition;
mod matching;
mod number;
mod parse;
mod tape;

#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod reference;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::fmt;

use parse::Node;
use tape::Tape;

/// The bytes that a policy's text may have.
pub const POLICY_BYTES_MAX: usize = 256 * 1024;
/// The keys that a policy may have at its top.
pub const KEYS_MAX: usize = 5;
/// The combinations of values that a policy may come to.
pub const COMBINATIONS_MAX: u64 = 150;

/// What a policy is held against.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Scope {
    /// The message's attributes, which are not nested.
    #[default]
    MessageAttributes,
    /// The message itself, which must be a JSON object.
    MessageBody,
}

impl Scope {
    /// The value of the attribute FilterPolicyScope.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Scope::MessageAttributes => "MessageAttributes",
            Scope::MessageBody => "MessageBody",
        }
    }

    /// The scope of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Scope> {
        [Scope::MessageAttributes, Scope::MessageBody].into_iter().find(|scope| scope.name() == name)
    }
}

/// A compiled policy.
pub struct Filter {
    scope: Scope,
    root: Node,
}

/// Why a policy is refused: InvalidParameter with this text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilterError {
    text: String,
}

impl FilterError {
    /// The message of the refusal by SetSubscriptionAttributes.
    #[must_use]
    pub fn message(&self) -> String {
        format!("Invalid parameter: {}", self.text)
    }

    /// The message of the refusal by Subscribe, whose attributes come as a whole.
    #[must_use]
    pub fn message_of_subscribe(&self) -> String {
        format!("Invalid parameter: Attributes Reason: {}", self.text)
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for FilterError {}

impl Filter {
    /// Compiles a policy. Errors: it is no JSON object of keys with lists of values, breaks a limit, or holds a match
    /// expression that there is not.
    pub fn parse(policy_json: &str, scope: Scope) -> Result<Filter, FilterError> {
        Ok(Filter { scope, root: parse::policy(policy_json, scope)? })
    }

    /// What the policy is held against.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Whether the message is wanted. An empty policy wants every message.
    #[must_use]
    pub fn matches(&self, message: &Message<'_>) -> bool {
        if self.root.is_empty() {
            return true;
        }
        match self.scope {
            Scope::MessageAttributes => matching::attributes(&self.root, &message.attributes),
            Scope::MessageBody => match message.body() {
                Some(tape) => matching::body(&self.root, tape),
                None => false,
            },
        }
    }
}

/// A message as policies see it. One value serves all subscriptions of a topic.
pub struct Message<'a> {
    attributes: Vec<Attribute<'a>>,
    text: &'a str,
    body: OnceCell<Option<Tape<'a>>>,
}

impl<'a> Message<'a> {
    /// A message with these attributes and this text.
    #[must_use]
    pub fn new(attributes: Vec<Attribute<'a>>, text: &'a str) -> Message<'a> {
        Message { attributes, text, body: OnceCell::new() }
    }

    fn body(&self) -> Option<&Tape<'a>> {
        self.body.get_or_init(|| Tape::read(self.text)).as_ref()
    }
}

/// An attribute of a message.
pub struct Attribute<'a> {
    name: &'a str,
    value: Value<'a>,
}

/// An attribute's value, by its data type.
enum Value<'a> {
    Text(&'a str),
    Number(&'a str),
    Array {
        text: &'a str,
        tape: OnceCell<Option<Tape<'a>>>,
    },
    /// Binary: there for nobody.
    Hidden,
}

impl<'a> Attribute<'a> {
    /// An attribute of this name and data type (with its suffix, if it has one) and this text. Binary ones have none and
    /// match nothing.
    #[must_use]
    pub fn new(name: &'a str, data_type: &str, text: &'a str) -> Attribute<'a> {
        let base = data_type.split('.').next().unwrap_or_default();
        let value = match base {
            _ if data_type == "String.Array" || data_type.starts_with("String.Array.") => {
                Value::Array { text, tape: OnceCell::new() }
            }
            "String" => Value::Text(text),
            "Number" => Value::Number(text),
            _ => Value::Hidden,
        };
        Attribute { name, value }
    }
}
