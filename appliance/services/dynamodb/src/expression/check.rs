//! What can be said against a test or an action once names and values are known, in AWS's words.
//! Invariant: a test that passes is evaluated without an error: whatever an item holds, it answers true or false.

use super::program::{Comparator, Function, Operand, OperandId, Terms, Test};
use super::resolve::Bound;
use super::{ExpressionError, Kind};
use crate::value::path::{Path, Step};
use crate::value::{Kind as ValueKind, ValueRef};

/// The type names that attribute_type knows, in AWS's order.
const TYPE_NAMES: &str = "{B,NULL,SS,BOOL,L,BS,N,NS,S,M}";
/// What attribute_type's second operand might be if it is a path; again AWS's order.
const ANY_TYPE: &str = "{NS,SS,L,BS,N,M,B,BOOL,NULL,S}";

/// Checks tests of one expression.
pub(super) struct Checker<'c> {
    pub kind: Kind,
    pub terms: &'c Terms,
    pub bound: &'c Bound,
}

impl Checker<'_> {
    /// Checks a test: numbers of operands, then whether they are distinct, then their types.
    /// `operands` are all that the test is made of.
    pub fn test(&self, test: &Test, operands: &[Operand]) -> Result<(), ExpressionError> {
        for operand in operands {
            if let Operand::Call(function, list) = operand {
                self.count(*function, self.terms.list(list))?;
            }
        }
        if let Test::Call(function, list) = test {
            self.count(*function, self.terms.list(list))?;
        }
        self.distinct(test)?;
        for operand in operands {
            if let Operand::Call(Function::Size, list) = operand {
                self.size(self.terms.list(list)[0])?;
            }
        }
        self.types(test)
    }

    /// A function must have as many operands as it takes.
    pub fn count(&self, function: Function, list: &[OperandId]) -> Result<(), ExpressionError> {
        if list.len() == function.operand_count() {
            return Ok(());
        }
        Err(self.kind.error(format_args!(
            "Incorrect number of operands for operator or function; \
             operator or function: {}, number of operands: {}",
            function.name(),
            list.len()
        )))
    }

    /// The error for an operand whose type has no meaning.
    pub fn wrong_type(&self, name: &str, found: &str) -> ExpressionError {
        self.kind.error(format_args!(
            "Incorrect operand type for operator or function; operator or function: {name}, operand type: {found}"
        ))
    }

    /// The error for an operand that must be a path.
    pub fn not_a_path(&self, function: Function) -> ExpressionError {
        let name = function.name();
        self.kind.error(format_args!(
            "Operator or function requires a document path; operator or function: {name}"
        ))
    }

    /// The type that an operand has whatever the item holds.
    pub fn fixed_kind(&self, id: OperandId) -> Option<ValueKind> {
        match self.terms.operand(id) {
            Operand::Value(slot) => Some(self.bound.value(*slot).as_ref().kind()),
            Operand::Call(Function::Size, _) => Some(ValueKind::N),
            Operand::Call(Function::ListAppend, _) => Some(ValueKind::L),
            Operand::Path(_) | Operand::Call(..) | Operand::Unknown => None,
        }
    }

    fn path(&self, id: OperandId) -> Option<&Path> {
        match self.terms.operand(id) {
            Operand::Path(path) => Some(&self.bound.paths[path.0 as usize]),
            _ => None,
        }
    }

    fn fixed_value(&self, id: OperandId) -> Option<ValueRef<'_>> {
        match self.terms.operand(id) {
            Operand::Value(slot) => Some(self.bound.value(*slot).as_ref()),
            _ => None,
        }
    }

    /// A path compared with itself says nothing.
    fn distinct(&self, test: &Test) -> Result<(), ExpressionError> {
        let low_and_high;
        let (name, first, rest): (&str, OperandId, &[OperandId]) = match test {
            Test::Compare(comparator, left, right) => (comparator.sign(), *left, std::slice::from_ref(right)),
            Test::Between { value, low, high } => {
                low_and_high = [*low, *high];
                ("BETWEEN", *value, &low_and_high)
            }
            Test::In(value, list) => ("IN", *value, self.terms.list(list)),
            Test::Call(function, list) => match self.terms.list(list) {
                [first, rest @ ..] => (function.name(), *first, rest),
                [] => return Ok(()),
            },
        };
        let Some(path) = self.path(first) else { return Ok(()) };
        if !rest.iter().any(|id| self.path(*id) == Some(path)) {
            return Ok(());
        }
        Err(self.kind.error(format_args!(
            "The first operand must be distinct from the remaining operands for this operator or function; \
             operator: {name}, first operand: {}",
            print_path(path)
        )))
    }

    fn types(&self, test: &Test) -> Result<(), ExpressionError> {
        match test {
            Test::Compare(comparator, left, right) if comparator.is_ordering() => {
                self.ordered(*comparator, &[*left, *right])
            }
            Test::Between { value, low, high } => self.between(*value, *low, *high),
            Test::Call(function, list) => self.function(*function, self.terms.list(list)),
            Test::Compare(..) | Test::In(..) => Ok(()),
        }
    }

    /// Checks of a test only what PartiQL checks: operands without an order, and what must be a path.
    pub fn kinds(&self, test: &Test) -> Result<(), ExpressionError> {
        let ordered = [ValueKind::S, ValueKind::N, ValueKind::B];
        match test {
            Test::Compare(comparator, left, right) if comparator.is_ordering() => {
                self.ordered(*comparator, &[*left, *right])
            }
            Test::Between { value, low, high } => self.of_kinds("BETWEEN", &[*value, *low, *high], &ordered),
            Test::Call(
                function @ (Function::BeginsWith | Function::AttributeExists | Function::AttributeNotExists),
                list,
            ) => self.function(*function, self.terms.list(list)),
            Test::Compare(..) | Test::In(..) | Test::Call(..) => Ok(()),
        }
    }

    fn ordered(&self, comparator: Comparator, operands: &[OperandId]) -> Result<(), ExpressionError> {
        self.of_kinds(comparator.sign(), operands, &[ValueKind::S, ValueKind::N, ValueKind::B])
    }

    /// Operands whose type is known must have one of these.
    pub fn of_kinds(
        &self,
        name: &str,
        operands: &[OperandId],
        kinds: &[ValueKind],
    ) -> Result<(), ExpressionError> {
        match operands.iter().filter_map(|id| self.fixed_kind(*id)).find(|kind| !kinds.contains(kind)) {
            Some(kind) => Err(self.wrong_type(name, kind.name())),
            None => Ok(()),
        }
    }

    fn between(&self, value: OperandId, low: OperandId, high: OperandId) -> Result<(), ExpressionError> {
        self.of_kinds("BETWEEN", &[value, low, high], &[ValueKind::S, ValueKind::N, ValueKind::B])?;
        let (Some(low), Some(high)) = (self.fixed_value(low), self.fixed_value(high)) else {
            return Ok(());
        };
        let rule = match low.compare(&high) {
            None => "same data type for lower and upper bounds",
            Some(std::cmp::Ordering::Greater) => "upper bound to be greater than or equal to lower bound",
            Some(_) => return Ok(()),
        };
        Err(self.kind.error(format_args!(
            "The BETWEEN operator requires {rule}; lower bound operand: AttributeValue: {}, \
             upper bound operand: AttributeValue: {}",
            print_value(low),
            print_value(high)
        )))
    }

    fn function(&self, function: Function, list: &[OperandId]) -> Result<(), ExpressionError> {
        match function {
            Function::AttributeExists | Function::AttributeNotExists if self.path(list[0]).is_none() => {
                Err(self.not_a_path(function))
            }
            Function::BeginsWith => self.of_kinds(function.name(), list, &[ValueKind::S, ValueKind::B]),
            Function::AttributeType => self.type_name(list[1]),
            _ => Ok(()),
        }
    }

    fn size(&self, operand: OperandId) -> Result<(), ExpressionError> {
        match self.fixed_kind(operand) {
            Some(kind @ (ValueKind::N | ValueKind::Bool | ValueKind::Null)) => {
                Err(self.wrong_type("size", kind.name()))
            }
            _ => Ok(()),
        }
    }

    /// The second operand of attribute_type: a value of type S that names a type.
    fn type_name(&self, operand: OperandId) -> Result<(), ExpressionError> {
        let name = Function::AttributeType.name();
        match self.fixed_value(operand) {
            Some(ValueRef::S(text)) if kind_of_name(text).is_some() => Ok(()),
            Some(ValueRef::S(text)) => Err(self.kind.error(format_args!(
                "Invalid attribute type name found; type: {text}, valid types: {TYPE_NAMES}"
            ))),
            Some(value) => Err(self.wrong_type(name, value.kind().name())),
            None => Err(self.wrong_type(name, self.fixed_kind(operand).map_or(ANY_TYPE, ValueKind::name))),
        }
    }
}

/// The type that a name of attribute_type stands for.
pub(super) fn kind_of_name(name: &str) -> Option<ValueKind> {
    use ValueKind::{B, Bool, Bs, L, M, N, Ns, Null, S, Ss};
    [B, Null, Ss, Bool, L, Bs, N, Ns, S, M].into_iter().find(|kind| kind.name() == name)
}

/// A path as errors show it: `[a, b, [1]]`.
pub(crate) fn print_path(path: &Path) -> String {
    let steps: Vec<String> = path
        .iter()
        .map(|step| match step {
            Step::Name(name) => name.to_string(),
            Step::Index(index) => format!("[{index}]"),
        })
        .collect();
    format!("[{}]", steps.join(", "))
}

/// A bound of BETWEEN as errors show it: `{S:a}`.
fn print_value(value: ValueRef<'_>) -> String {
    let text = match value {
        ValueRef::S(text) => text.to_owned(),
        ValueRef::N(number) => {
            let mut plain = Vec::new();
            number.number().write_plain(&mut plain);
            String::from_utf8_lossy(&plain).into_owned()
        }
        ValueRef::B(bytes) => aws::encoding::base64(bytes),
        _ => String::new(),
    };
    format!("{{{}:{text}}}", value.kind().name())
}
