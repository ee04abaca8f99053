//! Conditions and filters as trees: random ones, their text, and what they say of an item.

use std::cmp::Ordering;

use super::path::{Path, Printer, find};
use super::random::Random;
use super::value::{Item, Value};

#[derive(Clone, Debug)]
pub enum Operand {
    Path(Path),
    Value(Value),
    Size(Path),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Debug)]
pub enum Condition {
    Compare(Operand, Comparator, Operand),
    Between(Operand, Value, Value),
    In(Operand, Vec<Value>),
    Exists(Path),
    NotExists(Path),
    Type(Path, &'static str),
    BeginsWith(Path, Value),
    Contains(Path, Value),
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
}

impl Comparator {
    pub const ALL: [Comparator; 6] = [
        Comparator::Equal,
        Comparator::NotEqual,
        Comparator::Less,
        Comparator::LessOrEqual,
        Comparator::Greater,
        Comparator::GreaterOrEqual,
    ];

    pub fn text(self) -> &'static str {
        match self {
            Comparator::Equal => "=",
            Comparator::NotEqual => "<>",
            Comparator::Less => "<",
            Comparator::LessOrEqual => "<=",
            Comparator::Greater => ">",
            Comparator::GreaterOrEqual => ">=",
        }
    }

    /// Missing operands are nothing.
    fn holds(self, left: Option<&Value>, right: Option<&Value>) -> bool {
        let (Some(left), Some(right)) = (left, right) else { return self == Comparator::NotEqual };
        let order = left.compare(right);
        match self {
            Comparator::Equal => left == right,
            Comparator::NotEqual => left != right,
            Comparator::Less => order == Some(Ordering::Less),
            Comparator::LessOrEqual => order.is_some_and(Ordering::is_le),
            Comparator::Greater => order == Some(Ordering::Greater),
            Comparator::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        }
    }
}

impl Operand {
    fn of(&self, item: &Item) -> Option<Value> {
        match self {
            Operand::Path(path) => find(item, path).cloned(),
            Operand::Value(value) => Some(value.clone()),
            Operand::Size(path) => find(item, path)?.length().map(|length| Value::n(length as i64)),
        }
    }

    fn print(&self, printer: &mut Printer, random: &mut Random) -> String {
        match self {
            Operand::Path(path) => printer.path(random, path),
            Operand::Value(value) => printer.value(value),
            Operand::Size(path) => format!("size({})", printer.path(random, path)),
        }
    }
}

impl Condition {
    /// Whether it holds; an absent item has no attributes.
    pub fn holds(&self, item: &Item) -> bool {
        match self {
            Condition::Compare(left, comparator, right) => {
                comparator.holds(left.of(item).as_ref(), right.of(item).as_ref())
            }
            Condition::Between(operand, low, high) => operand.of(item).is_some_and(|value| {
                value.compare(low).is_some_and(Ordering::is_ge)
                    && value.compare(high).is_some_and(Ordering::is_le)
            }),
            Condition::In(operand, values) => operand.of(item).is_some_and(|value| values.contains(&value)),
            Condition::Exists(path) => find(item, path).is_some(),
            Condition::NotExists(path) => find(item, path).is_none(),
            Condition::Type(path, kind) => find(item, path).is_some_and(|value| value.kind() == *kind),
            Condition::BeginsWith(path, prefix) => match (find(item, path), prefix) {
                (Some(Value::S(text)), Value::S(prefix)) => text.starts_with(prefix.as_str()),
                (Some(Value::B(bytes)), Value::B(prefix)) => bytes.starts_with(prefix),
                _ => false,
            },
            Condition::Contains(path, part) => find(item, path).is_some_and(|value| contains(value, part)),
            Condition::And(parts) => parts.iter().all(|part| part.holds(item)),
            Condition::Or(parts) => parts.iter().any(|part| part.holds(item)),
            Condition::Not(inner) => !inner.holds(item),
        }
    }

    pub fn print(&self, printer: &mut Printer, random: &mut Random) -> String {
        match self {
            Condition::Compare(left, comparator, right) => {
                let left = left.print(printer, random);
                format!("{left} {} {}", comparator.text(), right.print(printer, random))
            }
            Condition::Between(operand, low, high) => {
                let operand = operand.print(printer, random);
                let low = printer.value(low);
                format!("{operand} BETWEEN {low} AND {}", printer.value(high))
            }
            Condition::In(operand, values) => {
                let operand = operand.print(printer, random);
                let values: Vec<String> = values.iter().map(|value| printer.value(value)).collect();
                format!("{operand} in ({})", values.join(", "))
            }
            Condition::Exists(path) => format!("attribute_exists({})", printer.path(random, path)),
            Condition::NotExists(path) => format!("attribute_not_exists ( {} )", printer.path(random, path)),
            Condition::Type(path, kind) => {
                let path = printer.path(random, path);
                format!("attribute_type({path}, {})", printer.value(&Value::s(kind)))
            }
            Condition::BeginsWith(path, prefix) => {
                let path = printer.path(random, path);
                format!("begins_with({path}, {})", printer.value(prefix))
            }
            Condition::Contains(path, part) => {
                let path = printer.path(random, path);
                format!("contains({path},{})", printer.value(part))
            }
            Condition::And(parts) => join(parts, " AND ", printer, random),
            Condition::Or(parts) => join(parts, " or ", printer, random),
            Condition::Not(inner) => format!("NOT {}", inner.print_within(printer, random)),
        }
    }

    /// The text as a part of a longer one.
    fn print_within(&self, printer: &mut Printer, random: &mut Random) -> String {
        let text = self.print(printer, random);
        match self {
            Condition::And(_) | Condition::Or(_) | Condition::Not(_) => format!("({text})"),
            _ => text,
        }
    }

    /// Every attribute that it looks into.
    pub fn roots(&self, found: &mut Vec<String>) {
        let mut path = |path: &Path| found.push(super::path::root(path).to_owned());
        let mut operand = |operand: &Operand| match operand {
            Operand::Path(inner) | Operand::Size(inner) => path(inner),
            Operand::Value(_) => {}
        };
        match self {
            Condition::Compare(left, _, right) => {
                operand(left);
                operand(right);
            }
            Condition::Between(inner, ..) | Condition::In(inner, _) => operand(inner),
            Condition::Exists(inner)
            | Condition::NotExists(inner)
            | Condition::Type(inner, _)
            | Condition::BeginsWith(inner, _)
            | Condition::Contains(inner, _) => path(inner),
            Condition::And(parts) | Condition::Or(parts) => parts.iter().for_each(|part| part.roots(found)),
            Condition::Not(inner) => inner.roots(found),
        }
    }
}

fn join(parts: &[Condition], word: &str, printer: &mut Printer, random: &mut Random) -> String {
    let parts: Vec<String> = parts.iter().map(|part| part.print_within(printer, random)).collect();
    parts.join(word)
}

fn contains(value: &Value, part: &Value) -> bool {
    match (value, part) {
        (Value::S(text), Value::S(part)) => text.contains(part.as_str()),
        (Value::B(bytes), Value::B(part)) => {
            part.is_empty() || bytes.windows(part.len()).any(|window| window == part)
        }
        (Value::Ss(set), Value::S(member)) => set.contains(member),
        (Value::Ns(set), Value::N(member)) => set.contains(member),
        (Value::Bs(set), Value::B(member)) => set.contains(member),
        (Value::L(list), part) => list.contains(part),
        _ => false,
    }
}
