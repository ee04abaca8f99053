//! Names and values of a request put where an expression has placeholders.
//! Invariant: a value that a text names many times is held once, so a bound form is never larger than its request.

use std::sync::Arc;

use super::binder::Binder;
use super::program::{Instruction, Operand, PathStep, Program, Terms, ValueSlot};
use super::{ExpressionError, Kind, check};
use crate::value::Value;
use crate::value::path::Step;

/// Paths and values of one expression of one request.
#[derive(Default)]
pub(crate) struct Bound {
    /// By `PathId`.
    pub paths: Vec<Vec<Step>>,
    /// By `ValueSlot`: the place in `values`.
    slots: Vec<u32>,
    values: Vec<Value>,
    /// The place of each of `values` among those of the request.
    places: Vec<usize>,
}

impl Bound {
    /// The value in a slot.
    pub fn value(&self, slot: ValueSlot) -> &Value {
        &self.values[self.slots[slot.0 as usize] as usize]
    }

    /// How many values it holds.
    #[cfg(test)]
    pub fn value_count(&self) -> usize {
        self.values.len()
    }

    /// Adds a path that stands for itself; answers its place.
    pub fn push_path(&mut self, steps: Vec<Step>) -> u32 {
        self.paths.push(steps);
        self.paths.len() as u32 - 1
    }

    /// Adds a value that stands for itself; answers its slot.
    pub fn push_value(&mut self, value: Value) -> u32 {
        self.slots.push(self.values.len() as u32);
        self.values.push(value);
        self.slots.len() as u32 - 1
    }

    /// Resolves the next path.
    pub fn resolve_path(
        &mut self,
        binder: &mut Binder<'_>,
        kind: Kind,
        steps: &[PathStep],
    ) -> Result<(), ExpressionError> {
        let mut resolved = Vec::with_capacity(steps.len());
        for step in steps {
            resolved.push(match step {
                PathStep::Literal(name) => Step::Name(name.clone()),
                PathStep::Name(key) => Step::Name(binder.name(key, kind)?.into()),
                PathStep::Index(index) => Step::Index(*index),
            });
        }
        self.paths.push(resolved);
        Ok(())
    }

    /// Resolves the next value.
    pub fn resolve_value(
        &mut self,
        binder: &mut Binder<'_>,
        kind: Kind,
        key: &str,
    ) -> Result<(), ExpressionError> {
        let (place, value) = binder.value(key, kind)?;
        let known = self.places.iter().position(|known| *known == place);
        let index = known.unwrap_or_else(|| {
            self.values.push(value.clone());
            self.places.push(place);
            self.values.len() - 1
        });
        self.slots.push(index as u32);
        Ok(())
    }

    /// Resolves the operands from one place to another, in the order of the text.
    pub fn resolve_operands(
        &mut self,
        binder: &mut Binder<'_>,
        kind: Kind,
        terms: &Terms,
        operands: &[Operand],
    ) -> Result<(), ExpressionError> {
        for operand in operands {
            match operand {
                Operand::Path(id) => {
                    self.resolve_path(binder, kind, &terms.paths[id.0 as usize])?;
                }
                Operand::Value(slot) => {
                    self.resolve_value(binder, kind, &terms.values[slot.0 as usize])?;
                }
                Operand::Call(..) | Operand::Unknown => {}
            }
        }
        Ok(())
    }
}

/// Resolves and checks a condition, test by test in the order of the text.
pub(super) fn resolve_condition(
    binder: &mut Binder<'_>,
    kind: Kind,
    program: &Arc<Program>,
) -> Result<Bound, ExpressionError> {
    let mut bound = Bound::default();
    let mut start = 0;
    for instruction in &program.code {
        if let Instruction::Test(test, end) = instruction {
            let operands = &program.terms.operands[start as usize..*end as usize];
            bound.resolve_operands(binder, kind, &program.terms, operands)?;
            check::Checker { kind, terms: &program.terms, bound: &bound }.test(test, operands)?;
            start = *end;
        }
    }
    Ok(bound)
}
