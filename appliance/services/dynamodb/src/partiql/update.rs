//! What an UPDATE statement does: its SET and REMOVE clauses.
//!
//! ```text
//! value  = source [ ( "+" | "-" ) source ] | set_add "(" path "," set ")" | set_delete "(" path "," set ")" ;
//! source = literal | "?" | path | list_append "(" source "," source ")" | if_not_exists "(" path "," source ")" ;
//! ```

use super::lexer::Token;
use super::parse::Parser;
use super::{NESTING_MAX, PartiqlError};
use crate::expression::Update;
use crate::expression::maker::Maker;
use crate::expression::parse::update::{Assignment, Verb};
use crate::expression::program::{Function, Operand, OperandId};
use crate::value::Kind as ValueKind;
use crate::value::path::Step;

impl Parser<'_> {
    /// Reads SET and REMOVE clauses, one at least.
    pub(super) fn update_clauses(&mut self) -> Result<Update, PartiqlError> {
        let mut maker = Maker::default();
        let mut empty = true;
        loop {
            if self.took_word("SET") {
                loop {
                    self.assignment(&mut maker)?;
                    if !self.took_sign(",") {
                        break;
                    }
                }
            } else if self.took_word("REMOVE") {
                loop {
                    let target = self.path()?;
                    maker.action(target, Verb::Remove);
                    if !self.took_sign(",") {
                        break;
                    }
                }
            } else if empty {
                return Err(self.unexpected());
            } else {
                maker.check_targets().map_err(|error| PartiqlError::new(error.into_message()))?;
                return Ok(maker.into_update(false));
            }
            empty = false;
        }
    }

    fn assignment(&mut self, maker: &mut Maker) -> Result<(), PartiqlError> {
        let target = self.path()?;
        self.expect_sign("=")?;
        for (name, verb) in [("set_add", Verb::Add as fn(OperandId) -> Verb), ("set_delete", Verb::Delete)] {
            if self.at_call(name) {
                let operand = self.set_operand(maker, name, &target)?;
                maker.action(target, verb(operand));
                return Ok(());
            }
        }
        let left = self.source(maker, 0)?;
        let assignment = if self.took_sign("+") {
            Assignment::Plus(left, self.source(maker, 0)?)
        } else if self.took_sign("-") {
            Assignment::Minus(left, self.source(maker, 0)?)
        } else {
            Assignment::Copy(left)
        };
        maker.action(target, Verb::Set(assignment));
        Ok(())
    }

    fn at_call(&self, name: &str) -> bool {
        self.at_word(name) && *self.peek_second() == Token::Sign("(")
    }

    /// Reads `set_add(path, set)`; the path must be the one that is set. The places in errors are those of AWS: of the
    /// function, or of its first operand.
    fn set_operand(
        &mut self,
        maker: &mut Maker,
        name: &str,
        target: &[Step],
    ) -> Result<OperandId, PartiqlError> {
        let upper = name.to_ascii_uppercase();
        let place = self.place(name);
        self.take();
        self.expect_sign("(")?;
        let of_first = match self.peek() {
            Token::Word(word) => self.place(word),
            _ => place.clone(),
        };
        let is_target = !self.at_value() && self.path()? == target;
        if !is_target {
            return Err(PartiqlError::new(format!(
                "The first argument to {upper} must equal the assignment value at {place}"
            )));
        }
        let wrong_count = || PartiqlError::new(format!("{upper} must have exactly two arguments at {place}"));
        if !self.took_sign(",") {
            return Err(wrong_count());
        }
        let set = if self.at_value() { Some(self.value()?) } else { None };
        let set =
            set.filter(|set| matches!(set.as_ref().kind(), ValueKind::Ss | ValueKind::Ns | ValueKind::Bs));
        let Some(set) = set else {
            return Err(PartiqlError::new(format!(
                "The second argument to {upper} must be a value with type SET at {of_first}"
            )));
        };
        if !self.took_sign(")") {
            return Err(wrong_count());
        }
        Ok(maker.value(set))
    }

    fn source(&mut self, maker: &mut Maker, depth: usize) -> Result<OperandId, PartiqlError> {
        if depth > NESTING_MAX {
            return Err(super::literal::too_deep());
        }
        if self.at_value() {
            return Ok(maker.value(self.value()?));
        }
        if self.took_sign("(") {
            let operand = self.source(maker, depth + 1)?;
            self.expect_sign(")")?;
            return Ok(operand);
        }
        if *self.peek_second() != Token::Sign("(") {
            return Ok(maker.path(self.path()?));
        }
        let function = if self.at_word("list_append") {
            Function::ListAppend
        } else if self.at_word("if_not_exists") {
            Function::IfNotExists
        } else {
            return Err(self.unrecognized());
        };
        self.take();
        self.expect_sign("(")?;
        let first = match function {
            Function::IfNotExists => maker.path(self.path()?),
            _ => self.source(maker, depth + 1)?,
        };
        self.expect_sign(",")?;
        let second = self.source(maker, depth + 1)?;
        self.expect_sign(")")?;
        let terms = &mut maker.program.terms;
        let list = terms.add_list(&[first, second]);
        Ok(terms.add(Operand::Call(function, list)))
    }
}
