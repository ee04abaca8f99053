//! An update with its values, and what it makes of an item.
//!
//! Invariant: every right side reads the item as it was; the edits are applied together afterwards, at positions that
//! mean the item as it was. What is built never holds more than an item may, whatever a text copies how often.
//! Leaves to value::path: where an edit lands. To the engine: keys, conditions and the size of the finished item.

use std::sync::Arc;

use super::binder::Binder;
use super::check::Checker;
use super::overlap::check_paths;
use super::parse::misused;
use super::parse::update::{Action, Assignment, UpdateProgram, Verb};
use super::program::{Function, Operand, OperandId};
use super::resolve::Bound;
use super::{ExpressionError, Kind};
use crate::model::limits::ITEM_BYTES_MAX;
use crate::number::{Number, NumberError};
use crate::value::path::{Edit, EditError, Finder, Path, Projection, Step, edit, find};
use crate::value::{Item, ItemRef, Kind as ValueKind, Value, ValueBuilder, ValueRef};

/// An update, ready to be applied on any thread.
#[derive(Clone)]
pub struct Update(Arc<Inner>);

struct Inner {
    program: Arc<UpdateProgram>,
    bound: Bound,
    /// From `AttributeUpdates`: ADD appends to lists, and a type that does not fit has its own words.
    legacy: bool,
}

/// What an update made.
pub struct Updated {
    /// The item afterwards; None is an item that did not exist and is not made by removals alone.
    pub item: Option<Item>,
    /// The paths that the update names, in the order of the text.
    pub touched: Vec<Vec<Step>>,
}

/// Why an update cannot be applied to an item. Always a ValidationException.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpdateError {
    /// A right side names an attribute that the item does not have.
    MissingAttribute,
    /// An operand has a type that the operation does not take.
    WrongType,
    /// A path leads through something that has no such place.
    InvalidPath,
    /// The result is no number that can be stored.
    Number(NumberError),
    /// `WrongType` of `AttributeUpdates`.
    LegacyType,
    /// What would be stored is larger than an item.
    TooLarge,
    /// What would be stored is nested too deeply.
    TooDeep,
}

impl UpdateError {
    /// AWS's words.
    #[must_use]
    pub fn message(&self) -> &'static str {
        match self {
            UpdateError::MissingAttribute => {
                "The provided expression refers to an attribute that does not exist in the item"
            }
            UpdateError::WrongType => "An operand in the update expression has an incorrect data type",
            UpdateError::InvalidPath => {
                "The document path provided in the update expression is invalid for update"
            }
            UpdateError::Number(NumberError::Underflow) => {
                "Number underflow. Attempting to store a number with magnitude smaller than supported range"
            }
            // A sum that needs more digits than there are is refused as one that is too large.
            UpdateError::Number(_) => {
                "Number overflow. Attempting to store a number with magnitude larger than supported range"
            }
            UpdateError::LegacyType => "Type mismatch for attribute to update",
            UpdateError::TooLarge => "Item size to update has exceeded the maximum allowed size",
            UpdateError::TooDeep => {
                "Nesting Levels have exceeded supported limits: \
                 Attributes in the item have nested levels beyond supported limit"
            }
        }
    }
}

/// A value that is read where it lies or was made.
enum Worth<'a> {
    Lying(ValueRef<'a>),
    Made(Value),
}

impl Worth<'_> {
    fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Worth::Lying(value) => *value,
            Worth::Made(value) => value.as_ref(),
        }
    }

    fn into_value(self) -> Value {
        match self {
            Worth::Lying(value) => Value::from_ref(value),
            Worth::Made(value) => value,
        }
    }
}

impl Update {
    pub(crate) fn new(program: Arc<UpdateProgram>, bound: Bound, legacy: bool) -> Update {
        Update(Arc::new(Inner { program, bound, legacy }))
    }

    /// The update of a request that has none: an item that does not exist is made of its key.
    #[must_use]
    pub fn empty() -> Update {
        Update::new(Arc::default(), Bound::default(), false)
    }

    /// The paths that are written to, in the order of the text.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let inner = &*self.0;
        inner.program.actions.iter().map(|action| inner.target(action))
    }

    /// Applies the update. `key` holds the key's attributes, of which an item that does not exist is made.
    ///
    /// # Errors
    /// The first action that cannot be done, in the order of the text; then paths that lead nowhere.
    pub fn apply(&self, old: Option<ItemRef<'_>>, key: ItemRef<'_>) -> Result<Updated, UpdateError> {
        let inner = &*self.0;
        let actions = &inner.program.actions;
        let removes = |action: &Action| matches!(action.verb, Verb::Remove | Verb::Delete(_));
        let touched: Vec<Vec<Step>> = actions.iter().map(|action| inner.target(action).to_vec()).collect();
        if old.is_none() && !actions.is_empty() && actions.iter().all(removes) {
            return Ok(Updated { item: None, touched });
        }
        let item = Finder::new(old, &inner.bound.paths);
        let mut edits = Vec::with_capacity(actions.len());
        let mut new_bytes = 0;
        for action in actions {
            // There is nothing to remove from an item that does not exist.
            if old.is_none() && removes(action) {
                continue;
            }
            if let Some(edit) = inner.edit(action, &item)? {
                if let Edit::Set(_, value) = &edit {
                    new_bytes += value.as_ref().aws_bytes() as usize;
                    if new_bytes > ITEM_BYTES_MAX as usize {
                        return Err(UpdateError::TooLarge);
                    }
                }
                edits.push(edit);
            }
        }
        let item = edit(old.unwrap_or(key), &edits).map_err(|error| match error {
            EditError::InvalidPath => UpdateError::InvalidPath,
            EditError::TooDeep => UpdateError::TooDeep,
        })?;
        Ok(Updated { item: Some(item), touched })
    }
}

/// The attributes that `UPDATED_OLD` and `UPDATED_NEW` show of an item: the touched paths in their nested shape.
#[must_use]
pub fn updated_attributes(item: ItemRef<'_>, touched: &[Vec<Step>]) -> Option<Item> {
    let shown = Projection::new(touched).project(item);
    (!shown.as_ref().is_empty()).then_some(shown)
}

impl Inner {
    fn target(&self, action: &Action) -> &Path {
        &self.bound.paths[action.target.0 as usize]
    }

    /// What one action does to the item; None if it changes nothing.
    fn edit(&self, action: &Action, old: &Finder<'_, '_>) -> Result<Option<Edit>, UpdateError> {
        let path = self.target(action);
        let value = match &action.verb {
            Verb::Set(Assignment::Copy(source)) => self.worth(*source, old)?.into_value(),
            Verb::Set(Assignment::Plus(left, right)) => {
                self.sum(self.worth(*left, old)?.as_ref(), self.worth(*right, old)?.as_ref(), false)?
            }
            Verb::Set(Assignment::Minus(left, right)) => {
                self.sum(self.worth(*left, old)?.as_ref(), self.worth(*right, old)?.as_ref(), true)?
            }
            Verb::Remove => return Ok(Some(Edit::Remove(path.to_vec()))),
            Verb::Add(operand) => {
                let added = self.worth(*operand, old)?;
                match old.get(action.target.0 as usize) {
                    None => added.into_value(),
                    Some(value) => self.add(value, added.as_ref())?,
                }
            }
            Verb::Delete(operand) => {
                let gone = self.worth(*operand, old)?;
                return self.delete(action, old, gone.as_ref());
            }
        };
        Ok(Some(Edit::Set(path.to_vec(), value)))
    }

    fn wrong_type(&self) -> UpdateError {
        if self.legacy { UpdateError::LegacyType } else { UpdateError::WrongType }
    }

    /// What an operand is worth. `if_not_exists` in `if_not_exists` is a loop; `list_append` stands in no other.
    fn worth<'w, 'a: 'w>(&'w self, id: OperandId, old: &Finder<'a, '_>) -> Result<Worth<'w>, UpdateError> {
        match self.leaf(id, old)? {
            Ok(value) => Ok(Worth::Lying(value)),
            Err([left, right]) => {
                let (left, right) = (self.leaf(left, old)?, self.leaf(right, old)?);
                let (Ok(ValueRef::L(left)), Ok(ValueRef::L(right))) = (left, right) else {
                    return Err(UpdateError::WrongType);
                };
                let mut builder = ValueBuilder::new();
                builder.begin_list();
                for element in left.iter().chain(right.iter()) {
                    builder.value(element);
                }
                builder.end_list();
                Ok(Worth::Made(builder.finish()))
            }
        }
    }

    /// What an operand is worth if it is not made: the value, or the operands of `list_append`.
    fn leaf<'w, 'a: 'w>(
        &'w self,
        mut id: OperandId,
        old: &Finder<'a, '_>,
    ) -> Result<Result<ValueRef<'w>, [OperandId; 2]>, UpdateError> {
        let terms = &self.program.terms;
        loop {
            match terms.operand(id) {
                Operand::Path(path) => {
                    let value = old.get(path.0 as usize);
                    return value.map(Ok).ok_or(UpdateError::MissingAttribute);
                }
                Operand::Value(slot) => return Ok(Ok(self.bound.value(*slot).as_ref())),
                Operand::Call(function, list) => match (function, terms.list(list)) {
                    (Function::IfNotExists, [first, second]) => {
                        let Operand::Path(path) = terms.operand(*first) else {
                            return Err(UpdateError::WrongType);
                        };
                        if let Some(value) = old.get(path.0 as usize) {
                            return Ok(Ok(value));
                        }
                        id = *second;
                    }
                    (Function::ListAppend, [first, second]) => return Ok(Err([*first, *second])),
                    _ => return Err(UpdateError::WrongType),
                },
                Operand::Unknown => return Err(UpdateError::WrongType),
            }
        }
    }

    /// The sum or the difference of two numbers.
    fn sum(&self, left: ValueRef<'_>, right: ValueRef<'_>, minus: bool) -> Result<Value, UpdateError> {
        let (ValueRef::N(left), ValueRef::N(right)) = (left, right) else {
            return Err(self.wrong_type());
        };
        let (left, right): (Number, Number) = (left.number(), right.number());
        let result = if minus { left.checked_sub(&right) } else { left.checked_add(&right) };
        Ok(Value::n(&result.map_err(UpdateError::Number)?))
    }

    /// ADD on what is there: a sum, a union, and of `AttributeUpdates` a longer list.
    fn add(&self, value: ValueRef<'_>, added: ValueRef<'_>) -> Result<Value, UpdateError> {
        match (value, added) {
            (ValueRef::N(_), ValueRef::N(_)) => self.sum(value, added, false),
            (ValueRef::Set(set), ValueRef::Set(more)) if set.kind() == more.kind() => {
                Value::set(set.kind(), set.iter().chain(more.iter())).ok_or(self.wrong_type())
            }
            (ValueRef::L(list), ValueRef::L(more)) if self.legacy => {
                let mut builder = ValueBuilder::new();
                builder.begin_list();
                for element in list.iter().chain(more.iter()) {
                    builder.value(element);
                }
                builder.end_list();
                Ok(builder.finish())
            }
            _ => Err(self.wrong_type()),
        }
    }

    /// DELETE: a set without some members; without any left there is no attribute.
    fn delete(
        &self,
        action: &Action,
        old: &Finder<'_, '_>,
        gone: ValueRef<'_>,
    ) -> Result<Option<Edit>, UpdateError> {
        let path = self.target(action);
        let Some(value) = old.get(action.target.0 as usize) else {
            return match old.item() {
                Some(item) if !has_place(item, path) => Err(UpdateError::InvalidPath),
                _ => Ok(None),
            };
        };
        match (value, gone) {
            (ValueRef::Set(set), ValueRef::Set(gone)) if set.kind() == gone.kind() => {
                let left = set.without(gone);
                Ok(Some(match Value::set(set.kind(), left) {
                    Some(value) => Edit::Set(path.to_vec(), value),
                    None => Edit::Remove(path.to_vec()),
                }))
            }
            _ => Err(self.wrong_type()),
        }
    }
}

/// Whether the item has something around the last step of a path that such a step could be in.
fn has_place(item: ItemRef<'_>, path: &Path) -> bool {
    match path.split_last() {
        Some((_, [])) | None => true,
        Some((Step::Name(_), parent)) => matches!(find(item, parent), Some(ValueRef::M(_))),
        Some((Step::Index(_), parent)) => matches!(find(item, parent), Some(ValueRef::L(_))),
    }
}

/// Resolves and checks an update: names, values, paths against each other, operands, places of functions.
pub(super) fn resolve_update(
    binder: &mut Binder<'_>,
    program: &UpdateProgram,
) -> Result<Bound, ExpressionError> {
    let terms = &program.terms;
    let mut bound = Bound::default();
    for steps in &terms.paths {
        bound.resolve_path(binder, Kind::Update, steps)?;
    }
    for key in &terms.values {
        bound.resolve_value(binder, Kind::Update, key)?;
    }
    let targets: Vec<&Path> =
        program.actions.iter().map(|action| bound.paths[action.target.0 as usize].as_slice()).collect();
    check_paths(Kind::Update, &targets)?;
    let checker = Checker { kind: Kind::Update, terms, bound: &bound };
    for operand in &terms.operands {
        check_call(&checker, operand)?;
    }
    for action in &program.actions {
        check_action(&checker, &action.verb)?;
    }
    check_nesting(&checker)?;
    Ok(bound)
}

/// Checks number and types of a function's operands.
fn check_call(checker: &Checker<'_>, operand: &Operand) -> Result<(), ExpressionError> {
    let Operand::Call(function, list) = operand else { return Ok(()) };
    let list = checker.terms.list(list);
    checker.count(*function, list)?;
    match function {
        Function::IfNotExists if !matches!(checker.terms.operand(list[0]), Operand::Path(_)) => {
            Err(checker.not_a_path(*function))
        }
        Function::ListAppend => checker.of_kinds(function.name(), list, &[ValueKind::L]),
        _ => Ok(()),
    }
}

/// Checks the types of an action's operands.
fn check_action(checker: &Checker<'_>, verb: &Verb) -> Result<(), ExpressionError> {
    match verb {
        Verb::Set(Assignment::Plus(left, right)) => checker.of_kinds("+", &[*left, *right], &[ValueKind::N]),
        Verb::Set(Assignment::Minus(left, right)) => checker.of_kinds("-", &[*left, *right], &[ValueKind::N]),
        Verb::Add(operand) => {
            let kinds = [ValueKind::N, ValueKind::Ss, ValueKind::Ns, ValueKind::Bs];
            check_clause(checker, "ADD", *operand, &kinds)
        }
        Verb::Delete(operand) => {
            check_clause(checker, "DELETE", *operand, &[ValueKind::Ss, ValueKind::Ns, ValueKind::Bs])
        }
        Verb::Set(Assignment::Copy(_)) | Verb::Remove => Ok(()),
    }
}

fn check_clause(
    checker: &Checker<'_>,
    clause: &str,
    operand: OperandId,
    kinds: &[ValueKind],
) -> Result<(), ExpressionError> {
    match checker.fixed_kind(operand) {
        Some(kind) if !kinds.contains(&kind) => {
            let name = match kind {
                ValueKind::S => "STRING",
                ValueKind::N => "NUMBER",
                ValueKind::B => "BINARY",
                ValueKind::Bool => "BOOLEAN",
                ValueKind::Null => "NULL",
                ValueKind::L => "LIST",
                ValueKind::M => "MAP",
                ValueKind::Ss => "STRING_SET",
                ValueKind::Ns => "NUMBER_SET",
                ValueKind::Bs => "BINARY_SET",
            };
            Err(Kind::Update.error(format_args!(
                "Incorrect operand type for operator or function; \
                 operator: {clause}, operand type: {name}, typeSet: ALLOWED_FOR_{clause}_OPERAND"
            )))
        }
        _ => Ok(()),
    }
}

/// No `list_append` stands below another, not even with an `if_not_exists` between them.
fn check_nesting(checker: &Checker<'_>) -> Result<(), ExpressionError> {
    // Operands stand after their own operands, so one pass knows of each whether there is one at or below it.
    let mut holds = Vec::with_capacity(checker.terms.operands.len());
    for operand in &checker.terms.operands {
        let Operand::Call(function, list) = operand else {
            holds.push(false);
            continue;
        };
        let below = checker.terms.list(list).iter().any(|id| holds[id.0 as usize]);
        let is_append = *function == Function::ListAppend;
        if is_append && below {
            return Err(Kind::Update.error(misused(*function)));
        }
        holds.push(is_append || below);
    }
    Ok(())
}
