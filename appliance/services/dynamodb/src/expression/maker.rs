//! Conditions and updates that are made without an expression's text: of legacy parameters and of PartiQL.
//! Invariant: paths and values are bound when they are added, so there is nothing to resolve and no word is reserved.

use std::sync::Arc;

use super::check::Checker;
use super::condition::Condition;
use super::overlap::check_paths;
use super::parse::update::{Action, UpdateProgram, Verb};
use super::program::{Operand, OperandId, PathId, Program, Test, ValueSlot};
use super::resolve::Bound;
use super::update::Update;
use super::{ExpressionError, Kind};
use crate::value::Value;
use crate::value::path::{Path, Step};

/// A condition or an update in the making.
#[derive(Default)]
pub(crate) struct Maker {
    pub program: Program,
    bound: Bound,
    actions: Vec<Action>,
}

impl Maker {
    /// Adds a path as an operand.
    pub fn path(&mut self, steps: Vec<Step>) -> OperandId {
        let path = self.push_path(steps);
        self.program.terms.add(Operand::Path(path))
    }

    /// Adds a value as an operand.
    pub fn value(&mut self, value: Value) -> OperandId {
        let slot = ValueSlot(self.bound.push_value(value));
        self.program.terms.add(Operand::Value(slot))
    }

    /// Adds a test of the operands just added.
    pub fn test(&mut self, test: Test) {
        self.program.test(test);
    }

    /// Checks the types of a test that is to be added; the words name no parameter.
    pub fn check_kinds(&self, test: &Test) -> Result<(), String> {
        let kind = Kind::Filter;
        let checked = Checker { kind, terms: &self.program.terms, bound: &self.bound }.kinds(test);
        let prefix = kind.error("").into_message();
        checked.map_err(|error| match error.message().strip_prefix(&prefix) {
            Some(words) => words.to_owned(),
            None => error.into_message(),
        })
    }

    /// Adds what is done at a path.
    pub fn action(&mut self, target: Vec<Step>, verb: Verb) {
        let target = self.push_path(target);
        self.actions.push(Action { target, verb });
    }

    fn push_path(&mut self, steps: Vec<Step>) -> PathId {
        PathId(self.bound.push_path(steps))
    }

    /// The condition; one without a test is true of everything.
    pub fn into_condition(self) -> Condition {
        Condition::new(Arc::new(self.program), self.bound)
    }

    /// The update.
    pub fn into_update(self, legacy: bool) -> Update {
        let program = UpdateProgram { terms: self.program.terms, actions: self.actions };
        Update::new(Arc::new(program), self.bound, legacy)
    }

    /// Checks that no two actions get in each other's way.
    pub fn check_targets(&self) -> Result<(), ExpressionError> {
        let paths = &self.bound.paths;
        let targets: Vec<&Path> =
            self.actions.iter().map(|action| paths[action.target.0 as usize].as_slice()).collect();
        check_paths(Kind::Update, &targets)
    }
}
