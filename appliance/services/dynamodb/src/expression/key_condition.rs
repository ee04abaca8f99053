//! Key conditions: a KeyConditionExpression, or legacy KeyConditions, put against the key of a table or an index.
//! Invariant: a `KeyTest` has one value of the right type for every attribute of the partition key.

use super::binder::Binder;
use super::check::Checker;
use super::parse::reserved;
use super::program::{Comparator, Function, Instruction, Operand, OperandId, PathStep, Program, Test};
use super::reserved::is_reserved;
use super::resolve::Bound;
use super::{ExpressionError, Kind};
use crate::model::table::{KeyAttribute, KeyType};
use crate::value::path::Step;
use crate::value::{Kind as ValueKind, Value, ValueRef};

/// What a request asks of the key, before it is known which key.
#[derive(Clone)]
pub struct KeyCondition {
    /// In the order of the text.
    clauses: Vec<Clause>,
}

#[derive(Clone)]
pub(crate) struct Clause {
    pub name: Box<str>,
    pub test: ClauseTest,
}

#[derive(Clone)]
pub(crate) enum ClauseTest {
    Compare(Comparator, Value),
    Between(Value, Value),
    BeginsWith(Value),
}

/// Which part of a table or an index a query reads.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyTest {
    /// The values of the partition key, in the key's order.
    pub hash: Vec<Value>,
    /// The values that the first attributes of the sort key must have.
    pub prefix: Vec<Value>,
    /// What is asked of the next attribute of the sort key.
    pub sort: SortTest,
}

/// What is asked of an attribute of a sort key.
#[derive(Clone, PartialEq, Eq)]
pub enum SortTest {
    /// Nothing.
    Any,
    /// That it is this.
    Equal(Value),
    /// That it is less.
    Less(Value),
    /// That it is this or less.
    LessOrEqual(Value),
    /// That it is greater.
    Greater(Value),
    /// That it is this or greater.
    GreaterOrEqual(Value),
    /// That it lies between two values or is one of them.
    Between(Value, Value),
    /// That it begins so.
    BeginsWith(Value),
}

impl KeyCondition {
    pub(crate) fn new(clauses: Vec<Clause>) -> KeyCondition {
        KeyCondition { clauses }
    }

    /// The names of the attributes that are asked about.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.clauses.iter().map(|clause| &*clause.name)
    }

    /// Puts the conditions against a key.
    ///
    /// # Errors
    /// AWS's words for too many conditions, for an attribute of the key that has none, for an operator that no key
    /// knows, for a value of another type and for an empty one.
    pub fn bind(&self, hash: &[KeyAttribute], sort: &[KeyAttribute]) -> Result<KeyTest, ExpressionError> {
        let (given, defined) = (self.clauses.len(), hash.len() + sort.len());
        if given > defined {
            return Err(ExpressionError(format!(
                "The number of query conditions ({given}) exceeds the number of key attributes defined in the \
                 schema ({defined})"
            )));
        }
        let find = |key: &KeyAttribute| self.clauses.iter().find(|clause| clause.name == key.name);
        let missed = |key: &KeyAttribute| {
            ExpressionError(format!("Query condition missed key schema element: {}", key.name))
        };
        let mut matched = Vec::with_capacity(given);
        for key in hash {
            matched.push((key, find(key).ok_or_else(|| missed(key))?));
        }
        // The sort key is used from its first attribute on, without a gap.
        for key in sort.iter().take(given - hash.len()) {
            matched.push((key, find(key).ok_or_else(|| missed(key))?));
        }
        let must_be_equal = hash.len().max(matched.len() - 1);
        let mut equal = Vec::with_capacity(matched.len());
        for (key, clause) in &matched[..must_be_equal.min(matched.len())] {
            let ClauseTest::Compare(Comparator::Equal, value) = &clause.test else {
                return Err(ExpressionError("Query key condition not supported".to_owned()));
            };
            check_value(key, value)?;
            equal.push(value.clone());
        }
        let prefix = equal.split_off(hash.len());
        let sort = match matched.get(must_be_equal) {
            Some((key, clause)) => clause.sort_test(key)?,
            None => SortTest::Any,
        };
        Ok(KeyTest { hash: equal, prefix, sort })
    }
}

impl Clause {
    fn sort_test(&self, key: &KeyAttribute) -> Result<SortTest, ExpressionError> {
        Ok(match &self.test {
            ClauseTest::Compare(comparator, value) => {
                check_value(key, value)?;
                let value = value.clone();
                match comparator {
                    Comparator::Equal => SortTest::Equal(value),
                    Comparator::Less => SortTest::Less(value),
                    Comparator::LessOrEqual => SortTest::LessOrEqual(value),
                    Comparator::Greater => SortTest::Greater(value),
                    Comparator::GreaterOrEqual => SortTest::GreaterOrEqual(value),
                    Comparator::NotEqual => {
                        return Err(ExpressionError("Query key condition not supported".to_owned()));
                    }
                }
            }
            ClauseTest::Between(low, high) => {
                check_value(key, low)?;
                check_value(key, high)?;
                SortTest::Between(low.clone(), high.clone())
            }
            ClauseTest::BeginsWith(prefix) => {
                check_value(key, prefix)?;
                SortTest::BeginsWith(prefix.clone())
            }
        })
    }
}

/// A value must have the attribute's type, and a key is never empty.
fn check_value(key: &KeyAttribute, value: &Value) -> Result<(), ExpressionError> {
    let wanted = match key.kind {
        KeyType::S => ValueKind::S,
        KeyType::N => ValueKind::N,
        KeyType::B => ValueKind::B,
    };
    let empty = match value.as_ref() {
        value if value.kind() != wanted => {
            return Err(ExpressionError(
                "One or more parameter values were invalid: Condition parameter type does not match schema type"
                    .to_owned(),
            ));
        }
        ValueRef::S("") => "string",
        ValueRef::B([]) => "binary",
        _ => return Ok(()),
    };
    Err(ExpressionError(format!(
        "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an \
         empty {empty} value. Key: {}",
        key.name
    )))
}

/// Resolves and checks a KeyConditionExpression clause by clause as written: the first problem wins.
pub(super) fn resolve_key_condition(
    binder: &mut Binder<'_>,
    program: &Program,
) -> Result<KeyCondition, ExpressionError> {
    const KIND: Kind = Kind::KeyCondition;
    let mut bound = Bound::default();
    let mut clauses: Vec<Clause> = Vec::new();
    let mut start = 0;
    for instruction in &program.code {
        match instruction {
            Instruction::Test(test, end) => {
                let operands = &program.terms.operands[start as usize..*end as usize];
                start = *end;
                check_reserved(program, operands)?;
                bound.resolve_operands(binder, KIND, &program.terms, operands)?;
                Checker { kind: KIND, terms: &program.terms, bound: &bound }.test(test, operands)?;
                let clause = Reader { program, bound: &bound }.clause(test)?;
                if clauses.iter().any(|known| known.name == clause.name) {
                    return Err(KIND.error("KeyConditionExpressions must only contain one condition per key"));
                }
                clauses.push(clause);
            }
            Instruction::SkipIfFalse(_) => {}
            Instruction::SkipIfTrue(_) => return Err(invalid_operator("OR")),
            Instruction::Not => return Err(invalid_operator("NOT")),
        }
    }
    Ok(KeyCondition { clauses })
}

fn check_reserved(program: &Program, operands: &[Operand]) -> Result<(), ExpressionError> {
    for operand in operands {
        if let Operand::Path(path) = operand {
            for step in &program.terms.paths[path.0 as usize] {
                match step {
                    PathStep::Literal(name) if is_reserved(name) => {
                        return Err(Kind::KeyCondition.error(reserved(name)));
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

fn invalid_operator(name: &str) -> ExpressionError {
    Kind::KeyCondition.error(format_args!("Invalid operator used in KeyConditionExpression: {name}"))
}

fn invalid_condition(what: impl std::fmt::Display) -> ExpressionError {
    Kind::KeyCondition.error(format_args!("Invalid condition in KeyConditionExpression: {what}"))
}

/// Makes clauses of tests.
struct Reader<'r> {
    program: &'r Program,
    bound: &'r Bound,
}

impl Reader<'_> {
    fn clause(&self, test: &Test) -> Result<Clause, ExpressionError> {
        let terms = &self.program.terms;
        match test {
            Test::Compare(Comparator::NotEqual, ..) => Err(invalid_operator("<>")),
            Test::In(..) => Err(invalid_operator("IN")),
            Test::Compare(comparator, left, right) => {
                let (name, first) = self.attribute(&[*left, *right])?;
                // A value in front says the same the other way round.
                let (comparator, value) =
                    if first { (*comparator, *right) } else { (comparator.flipped(), *left) };
                Ok(Clause { name, test: ClauseTest::Compare(comparator, self.value(value)?) })
            }
            Test::Between { value, low, high } => {
                let name = self.first_attribute("BETWEEN", &[*value, *low, *high])?;
                Ok(Clause { name, test: ClauseTest::Between(self.value(*low)?, self.value(*high)?) })
            }
            Test::Call(Function::BeginsWith, list) => {
                let list = terms.list(list);
                let name = self.first_attribute("begins_with", list)?;
                Ok(Clause { name, test: ClauseTest::BeginsWith(self.value(list[1])?) })
            }
            Test::Call(Function::Size, _) => Err(nested_operations()),
            Test::Call(function, _) => Err(invalid_operator(function.name())),
        }
    }

    fn first_attribute(&self, name: &str, operands: &[OperandId]) -> Result<Box<str>, ExpressionError> {
        if !matches!(self.program.terms.operand(operands[0]), Operand::Path(_)) {
            return Err(invalid_condition(format_args!(
                "{name} operator must have the key attribute as its first operand"
            )));
        }
        Ok(self.attribute(operands)?.0)
    }

    /// The one attribute among some operands, and whether it is the first of them.
    fn attribute(&self, operands: &[OperandId]) -> Result<(Box<str>, bool), ExpressionError> {
        let mut found = None;
        for (place, id) in operands.iter().enumerate() {
            match self.program.terms.operand(*id) {
                Operand::Path(_) if found.is_some() => {
                    return Err(invalid_condition("Multiple attribute names used in one condition"));
                }
                Operand::Path(path) => match self.bound.paths[path.0 as usize].as_slice() {
                    [Step::Name(name)] => found = Some((name.clone(), place == 0)),
                    _ => {
                        return Err(Kind::KeyCondition
                            .error("KeyConditionExpressions cannot have conditions on nested attributes"));
                    }
                },
                Operand::Call(..) | Operand::Unknown => return Err(nested_operations()),
                Operand::Value(_) => {}
            }
        }
        found.ok_or_else(|| invalid_condition("No key attribute specified"))
    }

    fn value(&self, id: OperandId) -> Result<Value, ExpressionError> {
        match self.program.terms.operand(id) {
            Operand::Value(slot) => Ok(self.bound.value(*slot).clone()),
            _ => Err(nested_operations()),
        }
    }
}

fn nested_operations() -> ExpressionError {
    Kind::KeyCondition.error("KeyConditionExpressions cannot contain nested operations")
}
