//! The grammar of conditions, filters and key conditions.
//!
//! ```text
//! or      = and { OR and } ;  and = not { AND not } ;  not = { NOT } primary ;  primary = "(" or ")" | test ;
//! test    = operand comparator operand | operand BETWEEN operand AND operand
//!         | operand IN "(" operand { "," operand } ")" | function ;
//! ```
//! Invariant: what waits for its right side lies on a stack, so a text of `NOT NOT NOT …` costs memory in proportion and no
//! depth. A parenthesis may hold a condition or an operand; which of the two is known when it closes.

use super::{Parser, Read};
use crate::expression::lexer::TokenKind;
use crate::expression::program::{Comparator, Function, Operand, OperandId, Program, Test};
use crate::expression::{ExpressionError, IN_OPERAND_COUNT_MAX, Kind};

/// What waits.
enum Open {
    Parenthesis,
    Not,
    /// Its place in the code, for `Program::join`.
    And(usize),
    Or(usize),
}

/// What was just completed.
#[derive(Clone, Copy)]
enum Term {
    Operand(Read),
    /// A condition, and whether it stood in parentheses of its own.
    Condition(bool),
}

/// Parses a condition.
pub(crate) fn parse(kind: Kind, text: &str) -> Result<Program, ExpressionError> {
    let mut parser = Parser::new(kind, text)?;
    let mut open = Vec::new();
    loop {
        let mut term = parser.begin(&mut open)?;
        // Everything that the term completes, until something wants a right side.
        loop {
            match parser.peek() {
                TokenKind::CloseParenthesis => term = parser.close(&mut open, term)?,
                TokenKind::End => {
                    parser.settle(term)?;
                    parser.reduce(&mut open, false);
                    return if open.is_empty() { parser.finish() } else { Err(parser.syntax()) };
                }
                TokenKind::Identifier if parser.at_keyword("AND") || parser.at_keyword("OR") => {
                    parser.settle(term)?;
                    let and = parser.at_keyword("AND");
                    parser.take();
                    parser.count_operator();
                    parser.reduce(&mut open, and);
                    let place = parser.program.split(and);
                    open.push(if and { Open::And(place) } else { Open::Or(place) });
                    break;
                }
                _ => term = parser.test(term)?,
            }
        }
    }
}

/// The words that are no names in a condition, in any case.
pub(crate) fn is_keyword(word: &str) -> bool {
    ["AND", "OR", "NOT", "BETWEEN", "IN"].iter().any(|keyword| word.eq_ignore_ascii_case(keyword))
}

impl Parser<'_> {
    fn at_keyword(&self, keyword: &str) -> bool {
        self.identifier().is_some_and(|word| word.eq_ignore_ascii_case(keyword))
    }

    /// Reads NOTs and parentheses down to an operand.
    fn begin(&mut self, open: &mut Vec<Open>) -> Result<Term, ExpressionError> {
        loop {
            if self.took(TokenKind::OpenParenthesis) {
                open.push(Open::Parenthesis);
            } else if self.at_keyword("NOT") {
                self.take();
                self.count_operator();
                open.push(Open::Not);
            } else {
                return Ok(Term::Operand(self.operand(is_keyword)?));
            }
        }
    }

    /// Takes a closing parenthesis. What it holds stays an operand if it is one and nothing else can be meant.
    fn close(&mut self, open: &mut Vec<Open>, term: Term) -> Result<Term, ExpressionError> {
        let closed = match (term, open.last()) {
            (Term::Operand(read), Some(Open::Parenthesis)) => {
                if read.in_parentheses {
                    self.note_parentheses();
                }
                Term::Operand(Read { in_parentheses: true, ..read })
            }
            (term, _) => {
                self.settle(term)?;
                // NOT, AND and OR within; a condition that is itself in parentheses is no longer one after them.
                let alone = matches!(open.last(), Some(Open::Parenthesis));
                self.reduce(open, false);
                if alone && matches!(term, Term::Condition(true)) {
                    self.note_parentheses();
                }
                Term::Condition(true)
            }
        };
        match open.pop() {
            Some(Open::Parenthesis) => {
                self.take();
                Ok(closed)
            }
            _ => Err(self.syntax()),
        }
    }

    /// Makes a condition of a term where no operand is wanted any more: a function that answers true or false.
    fn settle(&mut self, term: Term) -> Result<(), ExpressionError> {
        let Term::Operand(read) = term else { return Ok(()) };
        match self.program.terms.operand(read.id).clone() {
            Operand::Call(function, list) => {
                if function == Function::Size {
                    self.note_misused(function);
                }
                self.program.test(Test::Call(function, list));
                Ok(())
            }
            // A text with an unknown function is refused at its end.
            Operand::Unknown => Ok(()),
            Operand::Path(_) | Operand::Value(_) => Err(self.syntax()),
        }
    }

    /// Completes what waits for the condition just read, up to a parenthesis; an OR goes on waiting before an AND.
    fn reduce(&mut self, open: &mut Vec<Open>, before_and: bool) {
        loop {
            match open.last() {
                Some(Open::Not) => self.program.code.push(crate::expression::program::Instruction::Not),
                Some(Open::And(place)) => self.program.join(*place),
                Some(Open::Or(place)) if !before_and => self.program.join(*place),
                _ => return,
            }
            open.pop();
        }
    }

    /// Reads what follows the first operand of a test.
    fn test(&mut self, term: Term) -> Result<Term, ExpressionError> {
        let Term::Operand(Read { id: left, .. }) = term else { return Err(self.syntax()) };
        let comparator = match self.peek() {
            TokenKind::Equal => Some(Comparator::Equal),
            TokenKind::NotEqual => Some(Comparator::NotEqual),
            TokenKind::Less => Some(Comparator::Less),
            TokenKind::LessOrEqual => Some(Comparator::LessOrEqual),
            TokenKind::Greater => Some(Comparator::Greater),
            TokenKind::GreaterOrEqual => Some(Comparator::GreaterOrEqual),
            _ => None,
        };
        let test = if let Some(comparator) = comparator {
            self.take();
            Test::Compare(comparator, left, self.side()?)
        } else if self.at_keyword("BETWEEN") {
            self.take();
            let low = self.side()?;
            if !self.at_keyword("AND") {
                return Err(self.syntax());
            }
            self.take();
            Test::Between { value: left, low, high: self.side()? }
        } else if self.at_keyword("IN") {
            self.take();
            Test::In(left, self.members()?)
        } else {
            return Err(self.syntax());
        };
        self.note_misused_side(left);
        self.count_operator();
        self.program.test(test);
        Ok(Term::Condition(false))
    }

    /// Reads an operand that is compared.
    fn side(&mut self) -> Result<OperandId, ExpressionError> {
        let id = self.operand(is_keyword)?.id;
        self.note_misused_side(id);
        Ok(id)
    }

    fn members(&mut self) -> Result<std::ops::Range<u32>, ExpressionError> {
        self.expect(TokenKind::OpenParenthesis)?;
        let mut members = vec![self.side()?];
        while self.took(TokenKind::Comma) {
            members.push(self.side()?);
        }
        self.expect(TokenKind::CloseParenthesis)?;
        let count = members.len();
        if count > IN_OPERAND_COUNT_MAX {
            self.note(super::Finding::InOperands, || {
                format!("The IN operator is provided with too many operands; number of operands: {count}")
            });
        }
        Ok(self.program.terms.add_list(&members))
    }

    /// Of the functions only `size` answers something that can be compared.
    fn note_misused_side(&mut self, id: OperandId) {
        if let Operand::Call(function, _) = *self.program.terms.operand(id)
            && function != Function::Size
        {
            self.note_misused(function);
        }
    }
}
