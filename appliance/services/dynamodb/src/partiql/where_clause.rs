//! The condition of a WHERE clause.
//!
//! ```text
//! or   = and { OR and } ;  and = not { AND not } ;  not = { NOT } ( "(" or ")" | test ) ;
//! test = operand comparator operand | operand BETWEEN operand AND operand | operand IN ( "(" … ")" | "[" … "]" )
//!      | path IS [NOT] ( MISSING | NULL | type ) | function [ "=" ( TRUE | FALSE ) ] ;
//! operand = literal | "?" | path | size "(" path ")" | "(" operand ")" ;
//! ```
//! Invariant: what waits for its right side lies on a stack; the code that comes out is that of expressions.

use super::PartiqlError;
use super::lexer::Token;
use super::parse::Parser;
use super::plan::{KeyClause, KeyOperator, Where};
use crate::expression::IN_OPERAND_COUNT_MAX;
use crate::expression::maker::Maker;
use crate::expression::program::{Comparator, Function, Instruction, Operand, OperandId, Test};
use crate::value::path::Step;
use crate::value::{Value, ValueRef};

/// The types that IS knows, as statements and as attribute_type name them.
const TYPES: [(&str, &str); 12] = [
    ("STRING", "S"),
    ("BOOL", "BOOL"),
    ("BOOLEAN", "BOOL"),
    ("NUMBER", "N"),
    ("INT", "N"),
    ("INTEGER", "N"),
    ("DECIMAL", "N"),
    ("FLOAT", "N"),
    ("BINARY", "B"),
    ("BLOB", "B"),
    ("LIST", "L"),
    ("MAP", "M"),
];

/// What waits.
enum Open {
    Parenthesis,
    Not,
    /// Its place in the code.
    And(usize),
    Or(usize),
}

/// What was just completed.
enum Term {
    Operand(Side),
    Condition,
}

/// An operand, with what the planner of keys wants to know of it.
struct Side {
    id: OperandId,
    what: What,
}

enum What {
    /// A top-level attribute.
    Attribute(Box<str>),
    Value(Value),
    Other,
}

/// The clause in the making.
#[derive(Default)]
struct Draft {
    maker: Maker,
    /// What each test says about an attribute alone, by its place in the code.
    clauses: Vec<(usize, KeyClause)>,
}

impl Parser<'_> {
    /// Reads a condition.
    pub(super) fn where_clause(&mut self) -> Result<Where, PartiqlError> {
        let mut draft = Draft::default();
        let mut open = Vec::new();
        loop {
            let mut term = self.begin(&mut draft, &mut open)?;
            loop {
                if self.at_sign(")") && open.iter().any(|open| matches!(open, Open::Parenthesis)) {
                    term = self.close(&mut draft, &mut open, term)?;
                } else if self.at_word("AND") || self.at_word("OR") {
                    settle(&term)?;
                    let and = self.at_word("AND");
                    self.take();
                    reduce(&mut draft, &mut open, and);
                    let place = draft.maker.program.split(and);
                    open.push(if and { Open::And(place) } else { Open::Or(place) });
                    break;
                } else if let Term::Operand(left) = term {
                    term = self.test(&mut draft, left)?;
                } else {
                    reduce(&mut draft, &mut open, false);
                    return if open.is_empty() {
                        Ok(Where::new(draft.maker, draft.clauses))
                    } else {
                        Err(self.unexpected())
                    };
                }
            }
        }
    }

    /// Reads NOTs and parentheses down to an operand or a function that is a test.
    fn begin(&mut self, draft: &mut Draft, open: &mut Vec<Open>) -> Result<Term, PartiqlError> {
        loop {
            if self.took_word("NOT") {
                open.push(Open::Not);
            } else if self.took_sign("(") {
                open.push(Open::Parenthesis);
            } else if let Some(function) = self.function()? {
                if function == Function::Size {
                    return Ok(Term::Operand(self.side(draft)?));
                }
                self.call(draft, function)?;
                // What a function answers may be compared with what it answers.
                if self.took_sign("=") {
                    if self.took_word("FALSE") {
                        draft.maker.program.code.push(Instruction::Not);
                    } else {
                        self.expect_word("TRUE")?;
                    }
                }
                return Ok(Term::Condition);
            } else {
                return Ok(Term::Operand(self.side(draft)?));
            }
        }
    }

    fn close(&mut self, draft: &mut Draft, open: &mut Vec<Open>, term: Term) -> Result<Term, PartiqlError> {
        if matches!((&term, open.last()), (Term::Condition, _) | (Term::Operand(_), Some(Open::Parenthesis)))
        {
            if matches!(term, Term::Condition) {
                reduce(draft, open, false);
            }
            if let Some(Open::Parenthesis) = open.pop() {
                self.take();
                return Ok(term);
            }
        }
        Err(self.unexpected())
    }

    /// The function that comes next, if one does.
    fn function(&self) -> Result<Option<Function>, PartiqlError> {
        let Token::Word(name) = self.peek() else { return Ok(None) };
        if *self.peek_second() != Token::Sign("(") || self.at_word("NOT") || self.at_word("IN") {
            return Ok(None);
        }
        if self.at_word("EXISTS") {
            return Err(self.unrecognized());
        }
        match Function::named(&name.to_ascii_lowercase()) {
            Some(function) if !function.is_of_updates() => Ok(Some(function)),
            _ => Err(self.unrecognized()),
        }
    }

    /// Reads a function that answers true or false.
    fn call(&mut self, draft: &mut Draft, function: Function) -> Result<(), PartiqlError> {
        self.take();
        self.expect_sign("(")?;
        let mut sides = Vec::new();
        self.elements(")", |parser| {
            sides.push(parser.side(draft)?);
            Ok(())
        })?;
        if sides.len() != function.operand_count() {
            return Err(PartiqlError::new(format!(
                "Incorrect number of operands for operator or function; \
                 operator or function: {}, number of operands: {}",
                function.name(),
                sides.len()
            )));
        }
        let ids: Vec<OperandId> = sides.iter().map(|side| side.id).collect();
        if function == Function::BeginsWith
            && let [Side { what: What::Attribute(name), .. }, Side { what: What::Value(value), .. }] =
                sides.as_slice()
        {
            let operator = KeyOperator::BeginsWith(value.clone());
            draft.clause(name.clone(), operator);
        }
        let list = draft.maker.program.terms.add_list(&ids);
        draft.test(Test::Call(function, list))
    }

    /// Reads an operand.
    fn side(&mut self, draft: &mut Draft) -> Result<Side, PartiqlError> {
        let mut depth = 0;
        while self.took_sign("(") {
            depth += 1;
        }
        let side = if self.at_value() {
            let value = self.value()?;
            Side { id: draft.maker.value(value.clone()), what: What::Value(value) }
        } else if self.function()? == Some(Function::Size) {
            self.take();
            self.expect_sign("(")?;
            let path = draft.maker.path(self.path()?);
            self.expect_sign(")")?;
            let terms = &mut draft.maker.program.terms;
            let list = terms.add_list(&[path]);
            Side { id: terms.add(Operand::Call(Function::Size, list)), what: What::Other }
        } else {
            let steps = self.path()?;
            let what = match steps.as_slice() {
                [Step::Name(name)] => What::Attribute(name.clone()),
                _ => What::Other,
            };
            Side { id: draft.maker.path(steps), what }
        };
        for _ in 0..depth {
            self.expect_sign(")")?;
        }
        Ok(side)
    }

    /// Reads what follows the first operand of a test.
    fn test(&mut self, draft: &mut Draft, left: Side) -> Result<Term, PartiqlError> {
        if let Some(comparator) = self.comparator() {
            self.take();
            if matches!(self.peek(), Token::End) {
                return Err(PartiqlError::syntax("Missing right-hand side expression of infix operator"));
            }
            let right = self.side(draft)?;
            let test = Test::Compare(comparator, left.id, right.id);
            match (left.what, right.what) {
                (What::Attribute(name), What::Value(value)) => {
                    draft.clause(name, KeyOperator::Compare(comparator, value));
                }
                (What::Value(value), What::Attribute(name)) => {
                    draft.clause(name, KeyOperator::Compare(comparator.flipped(), value));
                }
                _ => {}
            }
            draft.test(test)?;
        } else if self.took_word("BETWEEN") {
            let low = self.side(draft)?;
            self.expect_word("AND")?;
            let high = self.side(draft)?;
            let test = Test::Between { value: left.id, low: low.id, high: high.id };
            if let (What::Attribute(name), What::Value(low), What::Value(high)) =
                (left.what, low.what, high.what)
            {
                draft.clause(name, KeyOperator::Between(low, high));
            }
            draft.test(test)?;
        } else if self.took_word("IN") {
            self.members(draft, left)?;
        } else if self.took_word("IS") {
            self.is(draft, &left)?;
        } else {
            return Err(self.unexpected());
        }
        Ok(Term::Condition)
    }

    fn comparator(&self) -> Option<Comparator> {
        let Token::Sign(sign) = self.peek() else { return None };
        Some(match *sign {
            "=" => Comparator::Equal,
            "<>" | "!=" => Comparator::NotEqual,
            "<" => Comparator::Less,
            "<=" => Comparator::LessOrEqual,
            ">" => Comparator::Greater,
            ">=" => Comparator::GreaterOrEqual,
            _ => return None,
        })
    }

    fn members(&mut self, draft: &mut Draft, left: Side) -> Result<(), PartiqlError> {
        let end = if self.took_sign("(") { ")" } else { "]" };
        if end == "]" {
            self.expect_sign("[")?;
        }
        let mut sides = Vec::new();
        self.elements(end, |parser| {
            sides.push(parser.side(draft)?);
            Ok(())
        })?;
        if sides.is_empty() {
            return Err(PartiqlError::syntax("Unexpected term"));
        }
        if sides.len() > IN_OPERAND_COUNT_MAX {
            return Err(PartiqlError::new(format!(
                "The IN operator is provided with too many operands; number of operands: {}",
                sides.len()
            )));
        }
        let ids: Vec<OperandId> = sides.iter().map(|side| side.id).collect();
        let values: Option<Vec<Value>> = sides
            .into_iter()
            .map(|side| if let What::Value(value) = side.what { Some(value) } else { None })
            .collect();
        if let (What::Attribute(name), Some(values)) = (left.what, values) {
            draft.clause(name, KeyOperator::In(values));
        }
        let list = draft.maker.program.terms.add_list(&ids);
        draft.maker.test(Test::In(left.id, list));
        Ok(())
    }

    /// `IS MISSING`, `IS NULL` and `IS` with a type.
    fn is(&mut self, draft: &mut Draft, left: &Side) -> Result<(), PartiqlError> {
        let not = self.took_word("NOT");
        if self.took_word("MISSING") {
            let list = draft.maker.program.terms.add_list(&[left.id]);
            let function = if not { Function::AttributeExists } else { Function::AttributeNotExists };
            draft.maker.test(Test::Call(function, list));
        } else if self.took_word("NULL") {
            let null = draft.maker.value(Value::from_ref(ValueRef::Null));
            draft.maker.test(Test::Compare(Comparator::Equal, left.id, null));
            if not {
                draft.maker.program.code.push(Instruction::Not);
            }
        } else if let Token::Word(word) = self.peek() {
            let Some((_, name)) = TYPES.iter().find(|(known, _)| word.eq_ignore_ascii_case(known)) else {
                return Err(PartiqlError::new("Unsupported operation: IsType"));
            };
            self.take();
            let name = draft.maker.value(Value::s(name));
            let list = draft.maker.program.terms.add_list(&[left.id, name]);
            draft.maker.test(Test::Call(Function::AttributeType, list));
            if not {
                draft.maker.program.code.push(Instruction::Not);
            }
        } else {
            return Err(PartiqlError::syntax("Expected type name"));
        }
        Ok(())
    }
}

impl Draft {
    /// Adds a test whose types make sense.
    fn test(&mut self, test: Test) -> Result<(), PartiqlError> {
        self.maker.check_kinds(&test).map_err(PartiqlError::new)?;
        self.maker.test(test);
        Ok(())
    }

    /// Notes what the next test says about an attribute.
    fn clause(&mut self, name: Box<str>, operator: KeyOperator) {
        self.clauses.push((self.maker.program.code.len(), KeyClause { name, operator }));
    }
}

/// Where a condition is wanted an operand alone is none.
fn settle(term: &Term) -> Result<(), PartiqlError> {
    match term {
        Term::Condition => Ok(()),
        Term::Operand(_) => Err(PartiqlError::syntax("Unexpected keyword")),
    }
}

/// Completes what waits for the condition just read, up to a parenthesis; an OR goes on waiting before an AND.
fn reduce(draft: &mut Draft, open: &mut Vec<Open>, before_and: bool) {
    loop {
        match open.last() {
            Some(Open::Not) => draft.maker.program.code.push(Instruction::Not),
            Some(Open::And(place)) => draft.maker.program.join(*place),
            Some(Open::Or(place)) if !before_and => draft.maker.program.join(*place),
            _ => return,
        }
        open.pop();
    }
}
