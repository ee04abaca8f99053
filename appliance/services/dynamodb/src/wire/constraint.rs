//! What the members of a request must keep to before anything else is looked at, collected into one message.
//! Invariant: the message names the members in the order in which they were checked, which is the server's, not the
//! request's.
//! Leaves to the operations: which member has which bound.

use std::borrow::Cow;
use std::fmt::Write;

use super::error::Error;

/// A word that a member may hold.
pub trait Word: Sized + Copy + 'static {
    /// Every word, in the order in which AWS lists them.
    const WORDS: &'static [(&'static str, Self)];
}

/// The violations of one request.
#[derive(Default, Debug)]
pub struct Violations {
    found: Vec<String>,
}

/// Bytes of what was sent that are repeated. It is ours; AWS's bound is not known.
const ECHO_BYTES_MAX: usize = 4_096;
/// More of them are not named. AWS stops there too.
const COUNT_MAX: usize = 10;

/// The characters of names of tables and indexes, in AWS's words.
pub const NAME_PATTERN: &str = "[a-zA-Z0-9_.-]+";

/// Whether a text is made of the characters of names of tables and indexes, at least one.
#[must_use]
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

impl Violations {
    /// None so far.
    #[must_use]
    pub fn new() -> Violations {
        Violations::default()
    }

    /// Whether there is none so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// One in words of its own: all that follows `1 validation error detected: `.
    pub fn add(&mut self, text: String) {
        if self.found.len() < COUNT_MAX {
            self.found.push(text);
        }
    }

    /// `Value 'x' at 'member' failed to satisfy constraint: …`, the form that repeats what was sent.
    pub fn echo(&mut self, member: &str, value: &str, constraint: &str) {
        let value = shortened(value);
        self.add(format!("Value '{value}' at '{member}' failed to satisfy constraint: {constraint}"));
    }

    /// `Value at 'Member' failed to satisfy constraint: …`, the form that does not.
    pub fn named(&mut self, member: &str, constraint: &str) {
        self.add(format!("Value at '{member}' failed to satisfy constraint: {constraint}"));
    }

    /// A member that has to be there.
    pub fn required(&mut self, member: &str, is_present: bool) {
        if !is_present {
            self.add(format!(
                "Value null at '{member}' failed to satisfy constraint: Member must not be null"
            ));
        }
    }

    /// The length of a text, in characters as Java counts them.
    pub fn length(&mut self, member: &str, value: &str, min: usize, max: usize) {
        let length = value.encode_utf16().count();
        if length < min {
            self.echo(member, value, &length_at_least(min));
        } else if length > max {
            self.echo(member, value, &length_at_most(max));
        }
    }

    /// The number of members of a list or map. `echo` is how the list is shown, such as `[]`.
    pub fn count(&mut self, member: &str, echo: &str, count: usize, min: usize, max: usize) {
        if count < min {
            self.echo(member, echo, &length_at_least(min));
        } else if count > max {
            self.echo(member, echo, &length_at_most(max));
        }
    }

    /// The bounds of a number.
    pub fn range(&mut self, member: &str, value: i64, min: i64, max: i64) {
        if value < min {
            let text = format!("Member must have value greater than or equal to {min}");
            self.echo(member, &value.to_string(), &text);
        } else if value > max {
            let text = format!("Member must have value less than or equal to {max}");
            self.echo(member, &value.to_string(), &text);
        }
    }

    /// The characters of a name. The empty text is reported by its length alone.
    pub fn name_pattern(&mut self, member: &str, value: &str) {
        if !value.is_empty() && !is_name(value) {
            let text = format!("Member must satisfy regular expression pattern: {NAME_PATTERN}");
            self.echo(member, value, &text);
        }
    }

    /// A name of a table or an index: there, of the right characters and length.
    pub fn name(&mut self, member: &str, value: Option<&str>, min: usize, max: usize) {
        self.required(member, value.is_some());
        if let Some(value) = value {
            self.name_pattern(member, value);
            self.length(member, value, min, max);
        }
    }

    /// One of a set of words, if it is there at all.
    pub fn word<W: Word>(&mut self, member: &str, value: Option<&str>) -> Option<W> {
        let value = value?;
        let found = W::WORDS.iter().find(|(word, _)| *word == value);
        if found.is_none() {
            let mut text = String::from("Member must satisfy enum value set: [");
            for (index, (word, _)) in W::WORDS.iter().enumerate() {
                let comma = if index > 0 { ", " } else { "" };
                write!(text, "{comma}{word}").expect("a String takes everything");
            }
            text.push(']');
            self.echo(member, value, &text);
        }
        found.map(|(_, meaning)| *meaning)
    }

    /// All of them as one error, if there are any.
    pub fn finish(self) -> Result<(), Error> {
        let count = self.found.len();
        match count {
            0 => Ok(()),
            1 => Err(Error::validation(format!("1 validation error detected: {}", self.found[0]))),
            _ => {
                let all = self.found.join("; ");
                Err(Error::validation(format!("{count} validation errors detected: {all}")))
            }
        }
    }
}

/// The beginning of what was sent, so that a refusal is not as long as its request.
#[must_use]
pub fn shortened(value: &str) -> Cow<'_, str> {
    if value.len() <= ECHO_BYTES_MAX {
        return Cow::Borrowed(value);
    }
    Cow::Owned(format!("{}...", &value[..value.floor_char_boundary(ECHO_BYTES_MAX)]))
}

/// `Member must have length greater than or equal to …`
#[must_use]
pub fn length_at_least(min: usize) -> String {
    format!("Member must have length greater than or equal to {min}")
}

/// `Member must have length less than or equal to …`
#[must_use]
pub fn length_at_most(max: usize) -> String {
    format!("Member must have length less than or equal to {max}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Metric {
        Size,
        None,
    }

    impl Word for Metric {
        const WORDS: &'static [(&'static str, Metric)] = &[("SIZE", Metric::Size), ("NONE", Metric::None)];
    }

    fn text(fill: impl FnOnce(&mut Violations)) -> String {
        let mut violations = Violations::new();
        fill(&mut violations);
        violations.finish().expect_err("a violation").message.into_owned()
    }

    #[test]
    fn one_violation_is_told_alone_and_several_are_joined_in_the_order_of_the_checks() {
        assert_eq!(
            text(|v| v.name("tableName", None, 1, 255)),
            "1 validation error detected: Value null at 'tableName' failed to satisfy constraint: Member must not be null"
        );
        assert_eq!(
            text(|v| {
                v.name("tableName", Some(""), 1, 255);
                assert_eq!(v.word::<Metric>("returnItemCollectionMetrics", Some("X")), None);
            }),
            "2 validation errors detected: Value '' at 'tableName' failed to satisfy constraint: Member must have length \
             greater than or equal to 1; Value 'X' at 'returnItemCollectionMetrics' failed to satisfy constraint: Member \
             must satisfy enum value set: [SIZE, NONE]"
        );
        assert_eq!(
            text(|v| v.name("tableName", Some("bad table!@#"), 1, 255)),
            "1 validation error detected: Value 'bad table!@#' at 'tableName' failed to satisfy constraint: Member must \
             satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
        );
        assert_eq!(
            text(|v| v.range("limit", 0, 1, i64::MAX)),
            "1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value greater \
             than or equal to 1"
        );
        assert_eq!(
            text(|v| v.named("Limit", "Member must have value greater than or equal to 1")),
            "1 validation error detected: Value at 'Limit' failed to satisfy constraint: Member must have value greater \
             than or equal to 1"
        );
    }

    #[test]
    fn what_keeps_to_its_bounds_is_no_violation() {
        let mut violations = Violations::new();
        violations.name("tableName", Some(&"a".repeat(255)), 3, 255);
        violations.range("limit", 1, 1, 1);
        violations.count("keys", "[]", 0, 0, 5);
        assert_eq!(violations.word("m", Some("NONE")), Some(Metric::None));
        assert_eq!(violations.word::<Metric>("m", None), None);
        assert!(violations.is_empty() && violations.finish().is_ok());
    }

    #[test]
    fn a_message_repeats_a_long_value_in_part_only() {
        let message = text(|v| v.name("tableName", Some(&"é!".repeat(1 << 20)), 1, 255));
        assert!(message.len() < 16 << 10, "{} bytes", message.len());
        assert!(message.contains("é!...' at 'tableName'") || message.contains("é...' at 'tableName'"));
    }

    #[test]
    fn a_message_names_ten_violations_at_most() {
        let message = text(|v| (0..100).for_each(|_| v.required("a", false)));
        assert!(message.starts_with("10 validation errors detected: "), "{message}");
    }
}
