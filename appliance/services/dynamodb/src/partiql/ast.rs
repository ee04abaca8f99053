//! Statements, with their parameters put in.

use super::plan::Where;
use crate::expression;
use crate::value::path::Step;
use crate::value::{Item, ItemBuilder, ItemRef};

/// A statement.
#[derive(Clone)]
pub enum Statement {
    /// Reads.
    Select(Select),
    /// Puts an item that must not exist.
    Insert(Insert),
    /// Changes an item that must exist.
    Update(Update),
    /// Deletes an item.
    Delete(Delete),
    /// Checks an item within a transaction.
    Exists(Exists),
}

/// The table that a statement names, and perhaps an index of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableName {
    /// A name or an ARN.
    pub table: Box<str>,
    /// The index's name.
    pub index: Option<Box<str>>,
}

/// `SELECT`.
#[derive(Clone)]
pub struct Select {
    /// Where it reads.
    pub from: TableName,
    /// What it shows.
    pub columns: Columns,
    /// What it wants.
    pub condition: Option<Where>,
    /// The names of `ORDER BY`, with whether they ascend.
    pub order: Vec<(Box<str>, bool)>,
}

/// What a `SELECT` shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Columns {
    /// `*`.
    All,
    /// Paths.
    Paths(Vec<Vec<Step>>),
}

/// `INSERT`.
#[derive(Clone)]
pub struct Insert {
    /// The table.
    pub table: Box<str>,
    /// The item.
    pub item: Item,
}

/// `UPDATE`.
#[derive(Clone)]
pub struct Update {
    /// The table.
    pub table: Box<str>,
    /// What is changed.
    pub update: expression::Update,
    /// Which item, and what must hold of it.
    pub condition: Where,
    /// What is answered.
    pub returning: Option<Returning>,
}

/// `DELETE`.
#[derive(Clone)]
pub struct Delete {
    /// The table.
    pub table: Box<str>,
    /// Which item, and what must hold of it.
    pub condition: Where,
    /// Whether the item is answered as it was.
    pub returning_old: bool,
}

/// `EXISTS(SELECT …)`.
#[derive(Clone)]
pub struct Exists {
    /// The table.
    pub table: Box<str>,
    /// Which item, and what must hold of it.
    pub condition: Where,
}

/// `RETURNING` of an update.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Returning {
    /// `ALL OLD *`.
    AllOld,
    /// `ALL NEW *`.
    AllNew,
    /// `MODIFIED OLD *`.
    ModifiedOld,
    /// `MODIFIED NEW *`.
    ModifiedNew,
}

impl Statement {
    /// The table that the statement names.
    #[must_use]
    pub fn table(&self) -> &str {
        match self {
            Statement::Select(select) => &select.from.table,
            Statement::Insert(insert) => &insert.table,
            Statement::Update(update) => &update.table,
            Statement::Delete(delete) => &delete.table,
            Statement::Exists(exists) => &exists.table,
        }
    }

    /// Whether the statement only reads.
    #[must_use]
    pub fn is_read(&self) -> bool {
        matches!(self, Statement::Select(_))
    }
}

impl Columns {
    /// What is shown of an item: of each path its value under the name of its last step. A column that the item does
    /// not have is left out.
    #[must_use]
    pub fn of(&self, item: ItemRef<'_>) -> Item {
        let Columns::Paths(paths) = self else { return Item::from_ref(item) };
        let mut shown = ItemBuilder::new();
        for (place, path) in paths.iter().enumerate() {
            if let Some(value) = crate::value::path::find(item, path) {
                match path.last() {
                    Some(Step::Name(name)) => shown.set(name, value),
                    // An element of a list has no name: PartiQL numbers the columns from one.
                    _ => shown.set(&format!("_{}", place + 1), value),
                };
            }
        }
        shown.finish()
    }
}
