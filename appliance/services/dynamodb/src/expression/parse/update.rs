//! The grammar of updates.
//!
//! ```text
//! update  = section { section } ;                                   each keyword once, in any order
//! section = SET path "=" value { "," … } | REMOVE path { "," … } | ADD path :value { "," … } | DELETE path :value { "," … } ;
//! value   = operand [ ("+" | "-") operand ] | "(" value ")" ;       one sign; functions take operands only
//! ```

use super::{Finding, Parser, Read};
use crate::expression::lexer::TokenKind;
use crate::expression::program::{Operand, OperandId, PathId, Terms};
use crate::expression::{ExpressionError, Kind};

/// What is done at one path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Action {
    pub target: PathId,
    pub verb: Verb,
}

/// What is done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verb {
    Set(Assignment),
    Remove,
    Add(OperandId),
    Delete(OperandId),
}

/// The right side of a SET.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Assignment {
    Copy(OperandId),
    Plus(OperandId, OperandId),
    Minus(OperandId, OperandId),
}

/// An update as written.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct UpdateProgram {
    pub terms: Terms,
    /// In the order of the text.
    pub actions: Vec<Action>,
}

/// The sections, by their keywords.
const SECTIONS: [&str; 4] = ["SET", "REMOVE", "ADD", "DELETE"];

/// Parses an update.
pub(crate) fn parse(text: &str) -> Result<UpdateProgram, ExpressionError> {
    let mut parser = Parser::new(Kind::Update, text)?;
    let mut actions = Vec::new();
    let mut seen = [false; SECTIONS.len()];
    loop {
        let word = parser.identifier().unwrap_or_default();
        let Some(section) = SECTIONS.iter().position(|name| word.eq_ignore_ascii_case(name)) else {
            return Err(parser.syntax());
        };
        parser.take();
        if std::mem::replace(&mut seen[section], true) {
            parser.note(Finding::SectionTwice, || {
                let name = SECTIONS[section];
                format!("The \"{name}\" section can only be used once in an update expression;")
            });
        }
        actions.push(parser.action(section)?);
        while parser.took(TokenKind::Comma) {
            actions.push(parser.action(section)?);
        }
        if parser.peek() == TokenKind::End {
            return Ok(UpdateProgram { terms: parser.finish()?.terms, actions });
        }
    }
}

/// The words that are no names in an update, in any case.
fn is_keyword(word: &str) -> bool {
    SECTIONS.iter().any(|keyword| word.eq_ignore_ascii_case(keyword))
}

impl Parser<'_> {
    fn action(&mut self, section: usize) -> Result<Action, ExpressionError> {
        let steps = self.path(is_keyword)?;
        let id = self.program.terms.add_path(steps);
        let Operand::Path(target) = *self.program.terms.operand(id) else {
            unreachable!("add_path adds a path");
        };
        let verb = match SECTIONS[section] {
            "SET" => {
                self.expect(TokenKind::Equal)?;
                Verb::Set(self.assignment()?)
            }
            "REMOVE" => Verb::Remove,
            name => {
                if self.peek() != TokenKind::Value {
                    return Err(self.syntax());
                }
                let value = self.operand(is_keyword)?.id;
                if name == "ADD" { Verb::Add(value) } else { Verb::Delete(value) }
            }
        };
        Ok(Action { target, verb })
    }

    /// Reads a value. The parentheses in front belong to the first operand or to the whole; which, the closing one says.
    fn assignment(&mut self) -> Result<Assignment, ExpressionError> {
        let mut depth = 0;
        while self.took(TokenKind::OpenParenthesis) {
            depth += 1;
        }
        let Read { id: left, .. } = self.operand(is_keyword)?;
        let mut value = Assignment::Copy(left);
        let mut in_parentheses = false;
        loop {
            match self.peek() {
                TokenKind::CloseParenthesis if depth > 0 => {
                    self.take();
                    depth -= 1;
                    if in_parentheses {
                        self.note_parentheses();
                    }
                    in_parentheses = true;
                }
                sign @ (TokenKind::Plus | TokenKind::Minus) if matches!(value, Assignment::Copy(_)) => {
                    self.take();
                    self.count_operator();
                    let right = self.operand(is_keyword)?.id;
                    value = match sign {
                        TokenKind::Plus => Assignment::Plus(left, right),
                        _ => Assignment::Minus(left, right),
                    };
                    in_parentheses = false;
                }
                _ if depth > 0 => return Err(self.syntax()),
                _ => return Ok(value),
            }
        }
    }
}
