//! A condition with its values, and its evaluation over the bytes of an item as stored.
//!
//! Invariant: evaluation is one walk over the code with one truth in hand, so it takes time in proportion to the code
//! and what it reads of the item, and it cannot fail: what has no meaning is false.

use std::cmp::Ordering;
use std::sync::Arc;

use super::check::kind_of_name;
use super::maker::Maker;
use super::program::{Comparator, Function, Instruction, Operand, OperandId, Program, Test};
use super::resolve::Bound;
use crate::number::Number;
use crate::value::path::{Finder, Path, Step};
use crate::value::{ItemRef, Kind as ValueKind, Value, ValueRef};

/// A condition, ready to be asked on any thread.
#[derive(Clone)]
pub struct Condition(Arc<Inner>);

struct Inner {
    program: Arc<Program>,
    bound: Bound,
}

/// What an operand is worth for one item.
enum Worth<'a> {
    Value(ValueRef<'a>),
    /// What `size` answers.
    Count(usize),
    /// `size` of something that has none: no comparison with it is true.
    NoSize,
}

impl Condition {
    pub(crate) fn new(program: Arc<Program>, bound: Bound) -> Condition {
        Condition(Arc::new(Inner { program, bound }))
    }

    /// The condition that there is no such top-level attribute, which of a key attribute means: no such item.
    #[must_use]
    pub fn not_exists(name: &str) -> Condition {
        let mut maker = Maker::default();
        let path = maker.path(vec![Step::Name(name.into())]);
        let list = maker.program.terms.add_list(&[path]);
        maker.test(Test::Call(Function::AttributeNotExists, list));
        maker.into_condition()
    }

    /// Whether the condition is true of an item; None is an item that does not exist.
    #[must_use]
    pub fn holds(&self, item: Option<ItemRef<'_>>) -> bool {
        let code = &self.0.program.code;
        let item = Finder::new(item, &self.0.bound.paths);
        let mut truth = true;
        let mut at = 0;
        while let Some(instruction) = code.get(at) {
            at += 1;
            match instruction {
                Instruction::Test(test, _) => truth = self.0.test(test, &item),
                Instruction::Not => truth = !truth,
                Instruction::SkipIfFalse(to) if !truth => at = *to as usize,
                Instruction::SkipIfTrue(to) if truth => at = *to as usize,
                Instruction::SkipIfFalse(_) | Instruction::SkipIfTrue(_) => {}
            }
        }
        truth
    }

    /// Every path that the condition names.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.bound.paths.iter().map(Vec::as_slice)
    }
}

#[cfg(test)]
impl Condition {
    /// How many values it holds.
    pub(super) fn value_count(&self) -> usize {
        self.0.bound.value_count()
    }
}

impl Inner {
    fn test(&self, test: &Test, item: &Finder<'_, '_>) -> bool {
        let terms = &self.program.terms;
        match test {
            Test::Compare(comparator, left, right) => {
                compare(*comparator, self.worth(*left, item), self.worth(*right, item))
            }
            Test::Between { value, low, high } => {
                let value = self.worth(*value, item);
                let at_least =
                    |least: &Worth<'_>, most: &Worth<'_>| order(least, most).is_some_and(Ordering::is_le);
                match (value, self.worth(*low, item), self.worth(*high, item)) {
                    (Some(value), Some(low), Some(high)) => at_least(&low, &value) && at_least(&value, &high),
                    _ => false,
                }
            }
            Test::In(value, list) => self.worth(*value, item).is_some_and(|value| {
                let mut members = terms.list(list).iter().filter_map(|id| self.worth(*id, item));
                members.any(|member| equal(&value, &member))
            }),
            Test::Call(function, list) => self.call(*function, terms.list(list), item),
        }
    }

    fn call(&self, function: Function, list: &[OperandId], item: &Finder<'_, '_>) -> bool {
        let first = list.first().and_then(|id| self.worth(*id, item));
        let second = list.get(1).and_then(|id| self.worth(*id, item));
        match function {
            Function::AttributeExists => first.is_some(),
            Function::AttributeNotExists => first.is_none(),
            Function::AttributeType => match second {
                Some(Worth::Value(ValueRef::S(name))) => self.is_type(list[0], name, item),
                _ => false,
            },
            Function::BeginsWith => match (first, second) {
                (Some(Worth::Value(ValueRef::S(text))), Some(Worth::Value(ValueRef::S(prefix)))) => {
                    text.starts_with(prefix)
                }
                (Some(Worth::Value(ValueRef::B(bytes))), Some(Worth::Value(ValueRef::B(prefix)))) => {
                    bytes.starts_with(prefix)
                }
                _ => false,
            },
            Function::Contains => match (first, second) {
                (Some(Worth::Value(whole)), Some(Worth::Value(part))) => contains(whole, part),
                (Some(Worth::Value(whole)), Some(Worth::Count(count))) => {
                    count_number(count).is_some_and(|number| contains(whole, Value::n(&number).as_ref()))
                }
                _ => false,
            },
            // They answer values; check.rs and the parser let none stand as a test.
            Function::Size | Function::IfNotExists | Function::ListAppend => false,
        }
    }

    fn is_type(&self, operand: OperandId, name: &str, item: &Finder<'_, '_>) -> bool {
        let kind = match self.worth(operand, item) {
            Some(Worth::Value(value)) => value.kind(),
            Some(Worth::Count(_)) => ValueKind::N,
            Some(Worth::NoSize) | None => return false,
        };
        kind_of_name(name) == Some(kind)
    }

    /// What an operand is worth; None is an attribute that does not exist.
    fn worth<'w, 'a: 'w>(&'w self, id: OperandId, item: &Finder<'a, '_>) -> Option<Worth<'w>> {
        match self.program.terms.operand(id) {
            Operand::Path(path) => item.get(path.0 as usize).map(Worth::Value),
            Operand::Value(slot) => Some(Worth::Value(self.bound.value(*slot).as_ref())),
            Operand::Call(Function::Size, list) => {
                // The operand is a path or a value: `size(size(…))` is refused by its type.
                let value = match self.program.terms.operand(*self.program.terms.list(list).first()?) {
                    Operand::Path(path) => item.get(path.0 as usize)?,
                    Operand::Value(slot) => self.bound.value(*slot).as_ref(),
                    Operand::Call(..) | Operand::Unknown => return Some(Worth::NoSize),
                };
                Some(size(value).map_or(Worth::NoSize, Worth::Count))
            }
            Operand::Call(..) | Operand::Unknown => None,
        }
    }
}

/// What `size` counts: UTF-16 units of a string, bytes of a binary, elements of everything that has elements.
fn size(value: ValueRef<'_>) -> Option<usize> {
    match value {
        ValueRef::S(text) => Some(text.chars().map(char::len_utf16).sum()),
        ValueRef::B(bytes) => Some(bytes.len()),
        ValueRef::Set(set) => Some(set.len()),
        ValueRef::L(list) => Some(list.len()),
        ValueRef::M(map) => Some(map.len()),
        ValueRef::Null | ValueRef::Bool(_) | ValueRef::N(_) => None,
    }
}

fn compare(comparator: Comparator, left: Option<Worth<'_>>, right: Option<Worth<'_>>) -> bool {
    let no_size = |worth: &Option<Worth<'_>>| matches!(worth, Some(Worth::NoSize));
    if no_size(&left) || no_size(&right) {
        return false;
    }
    // What does not exist differs from everything, from what does not exist either too.
    let (Some(left), Some(right)) = (left, right) else { return comparator == Comparator::NotEqual };
    match comparator {
        Comparator::Equal => equal(&left, &right),
        Comparator::NotEqual => !equal(&left, &right),
        Comparator::Less => order(&left, &right).is_some_and(Ordering::is_lt),
        Comparator::LessOrEqual => order(&left, &right).is_some_and(Ordering::is_le),
        Comparator::Greater => order(&left, &right).is_some_and(Ordering::is_gt),
        Comparator::GreaterOrEqual => order(&left, &right).is_some_and(Ordering::is_ge),
    }
}

/// Values are equal if their encodings are: numbers, sets and maps have one encoding each.
fn equal(left: &Worth<'_>, right: &Worth<'_>) -> bool {
    match (left, right) {
        (Worth::Value(left), Worth::Value(right)) => left == right,
        _ => order(left, right) == Some(Ordering::Equal),
    }
}

/// The order of two values of the same type that has one.
fn order(left: &Worth<'_>, right: &Worth<'_>) -> Option<Ordering> {
    match (left, right) {
        (Worth::Value(left), Worth::Value(right)) => left.compare(right),
        (Worth::Count(left), Worth::Count(right)) => Some(left.cmp(right)),
        (Worth::Count(left), Worth::Value(ValueRef::N(right))) => {
            Some(count_number(*left)?.cmp(&right.number()))
        }
        (Worth::Value(ValueRef::N(left)), Worth::Count(right)) => {
            Some(left.number().cmp(&count_number(*right)?))
        }
        _ => None,
    }
}

fn count_number(count: usize) -> Option<Number> {
    Number::parse(count.to_string().as_bytes()).ok()
}

/// Substring, run of bytes, member of a set or element of a list.
fn contains(whole: ValueRef<'_>, part: ValueRef<'_>) -> bool {
    match (whole, part) {
        (ValueRef::S(text), ValueRef::S(part)) => {
            memchr::memmem::find(text.as_bytes(), part.as_bytes()).is_some()
        }
        (ValueRef::B(bytes), ValueRef::B(part)) => memchr::memmem::find(bytes, part).is_some(),
        (ValueRef::Set(set), part) => match (set.kind(), part) {
            (ValueKind::Ss, ValueRef::S(text)) => set.contains(text.as_bytes()),
            (ValueKind::Ns, ValueRef::N(number)) => set.contains(number.sortable()),
            (ValueKind::Bs, ValueRef::B(bytes)) => set.contains(bytes),
            _ => false,
        },
        (ValueRef::L(list), part) => list.iter().any(|element| element == part),
        _ => false,
    }
}
