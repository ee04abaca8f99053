//! Statements and their clauses.
//!
//! ```text
//! statement = select | insert | update | delete | EXISTS "(" select ")" ;                    perhaps with ";" at the end
//! select    = SELECT ( "*" | path { "," path } ) FROM table [ "." index ] [ WHERE condition ] [ ORDER BY name [ASC|DESC] … ] ;
//! insert    = INSERT INTO table VALUE map ;
//! update    = ( UPDATE table changes WHERE condition | FROM table WHERE condition changes )
//!             [ RETURNING ( ALL | MODIFIED ) ( OLD | NEW ) "*" ] ;
//! changes   = { SET path "=" value { "," … } | REMOVE path { "," … } } ;
//! delete    = DELETE FROM table WHERE condition [ RETURNING ALL OLD "*" ] ;
//! ```

use super::ast::{Columns, Delete, Exists, Insert, Returning, Select, Statement, TableName, Update};
use super::lexer::{Placed, Token, tokens};
use super::plan::Where;
use super::{PartiqlError, STATEMENT_CHARACTERS_MAX};
use crate::expression::PATH_STEP_COUNT_MAX;
use crate::value::path::Step;
use crate::value::{Item, Value, ValueRef};

/// A statement being read.
pub(super) struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Placed<'t>>,
    at: usize,
    parameters: &'t [Value],
    used: usize,
}

/// Words that are no bare names.
const KEYWORDS: [&str; 26] = [
    "SELECT",
    "FROM",
    "WHERE",
    "INSERT",
    "INTO",
    "VALUE",
    "UPDATE",
    "SET",
    "REMOVE",
    "DELETE",
    "RETURNING",
    "AND",
    "OR",
    "NOT",
    "IN",
    "BETWEEN",
    "IS",
    "MISSING",
    "NULL",
    "TRUE",
    "FALSE",
    "ORDER",
    "BY",
    "EXISTS",
    "AS",
    "LIKE",
];

/// Parses a statement and puts its parameters in.
///
/// # Errors
/// AWS's words for a statement that cannot be read, that is not supported, or whose parameters are too few or too many.
pub fn parse(text: &str, parameters: &[Value]) -> Result<Statement, PartiqlError> {
    if text.chars().count() > STATEMENT_CHARACTERS_MAX {
        return Err(PartiqlError::syntax("The statement is too long"));
    }
    let mut parser = Parser { text, tokens: tokens(text)?, at: 0, parameters, used: 0 };
    let statement = parser.statement()?;
    parser.took_sign(";");
    if *parser.peek() != Token::End {
        return Err(PartiqlError::syntax("Unexpected token after expression"));
    }
    if parser.used != parameters.len() {
        return Err(wrong_parameter_count());
    }
    Ok(statement)
}

fn wrong_parameter_count() -> PartiqlError {
    PartiqlError::new("Number of parameters in request and statement don't match.")
}

impl<'t> Parser<'t> {
    pub fn peek(&self) -> &Token<'t> {
        &self.tokens[self.at].token
    }

    pub fn peek_second(&self) -> &Token<'t> {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].token
    }

    /// Takes the next token; the end is never passed.
    pub fn take(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    pub fn at_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word(found) if found.eq_ignore_ascii_case(word))
    }

    pub fn took_word(&mut self, word: &str) -> bool {
        let is = self.at_word(word);
        if is {
            self.take();
        }
        is
    }

    pub fn expect_word(&mut self, word: &str) -> Result<(), PartiqlError> {
        if self.took_word(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub fn at_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(found) if *found == sign)
    }

    pub fn took_sign(&mut self, sign: &str) -> bool {
        let is = self.at_sign(sign);
        if is {
            self.take();
        }
        is
    }

    pub fn expect_sign(&mut self, sign: &str) -> Result<(), PartiqlError> {
        if self.took_sign(sign) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// The next token is not what the grammar wants.
    pub fn unexpected(&self) -> PartiqlError {
        PartiqlError::syntax(match self.peek() {
            Token::Word(word) if is_keyword(word) => "Unexpected keyword",
            Token::Sign("=" | "<" | ">" | "<=" | ">=" | "<>" | "!=" | "+" | "-" | "*") => {
                "Unexpected operator"
            }
            _ => "Unexpected term",
        })
    }

    /// The next token is the name of a function that there is not, or not here.
    pub fn unrecognized(&self) -> PartiqlError {
        match self.peek() {
            Token::Word(name) => {
                let lower = name.to_ascii_lowercase();
                PartiqlError::new(format!("Unrecognized function: {lower} at {}", self.place(name)))
            }
            _ => self.unexpected(),
        }
    }

    /// Line, column and length of the next token.
    pub fn place(&self, word: &str) -> String {
        let before = &self.text[..self.tokens[self.at].start];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        format!("{line}:{column}:{}", word.len())
    }

    /// Takes the next parameter of the request.
    pub fn parameter(&mut self) -> Result<&'t Value, PartiqlError> {
        let value = self.parameters.get(self.used).ok_or_else(wrong_parameter_count)?;
        self.used += 1;
        self.take();
        Ok(value)
    }

    /// Reads a name that stands for itself, bare or quoted.
    pub fn name(&mut self) -> Result<Box<str>, PartiqlError> {
        let name: Box<str> = match self.peek() {
            Token::Word(word) if !is_keyword(word) => (*word).into(),
            Token::Quoted(name) => name.as_ref().into(),
            _ => return Err(self.unexpected()),
        };
        self.take();
        if name.is_empty() {
            return Err(PartiqlError::new("Path component cannot be an empty string"));
        }
        Ok(name)
    }

    /// Reads a document path.
    pub fn path(&mut self) -> Result<Vec<Step>, PartiqlError> {
        let mut steps = vec![Step::Name(self.name()?)];
        loop {
            if self.took_sign(".") {
                // Behind a dot even a keyword is a name.
                if let Token::Word(word) = self.peek() {
                    steps.push(Step::Name((*word).into()));
                    self.take();
                } else if matches!(self.peek(), Token::Quoted(_)) {
                    steps.push(Step::Name(self.name()?));
                } else {
                    return Err(PartiqlError::syntax("Invalid path dot component"));
                }
            } else if self.took_sign("[") {
                match self.peek() {
                    Token::Number(digits) => match digits.parse::<u32>() {
                        Ok(index) if index <= crate::expression::LIST_INDEX_MAX => {
                            steps.push(Step::Index(index));
                        }
                        _ => return Err(PartiqlError::syntax("")),
                    },
                    Token::Text(name) if !name.is_empty() => steps.push(Step::Name(name.as_ref().into())),
                    _ => return Err(self.unexpected()),
                }
                self.take();
                self.expect_sign("]")?;
            } else {
                break;
            }
        }
        if steps.len() > PATH_STEP_COUNT_MAX {
            return Err(PartiqlError::new(format!(
                "The document path has too many nesting elements; nesting levels: {}",
                steps.len()
            )));
        }
        Ok(steps)
    }

    fn statement(&mut self) -> Result<Statement, PartiqlError> {
        if self.took_word("SELECT") {
            return Ok(Statement::Select(self.select()?));
        }
        if self.took_word("INSERT") {
            return self.insert();
        }
        if self.took_word("UPDATE") {
            return self.update_statement(false);
        }
        if self.took_word("FROM") {
            return self.update_statement(true);
        }
        if self.took_word("DELETE") {
            return self.delete();
        }
        if self.took_word("EXISTS") {
            return self.exists();
        }
        Err(match self.peek() {
            Token::Word(word) if !is_keyword(word) => {
                PartiqlError::syntax("Unexpected token after expression")
            }
            Token::Word(_) => self.unexpected(),
            _ => PartiqlError::syntax("Expected data manipulation"),
        })
    }

    fn select(&mut self) -> Result<Select, PartiqlError> {
        let columns = if self.took_sign("*") {
            Columns::All
        } else {
            let mut paths = vec![self.column()?];
            while self.took_sign(",") {
                paths.push(self.column()?);
            }
            Columns::Paths(paths)
        };
        self.refuse_alias()?;
        self.expect_word("FROM")?;
        let from = self.table(true)?;
        let condition = if self.took_word("WHERE") { Some(self.where_clause()?) } else { None };
        let mut order = Vec::new();
        if self.took_word("ORDER") {
            self.expect_word("BY")?;
            loop {
                let name = self.name()?;
                let descending = self.took_word("DESC");
                if !descending {
                    self.took_word("ASC");
                }
                order.push((name, !descending));
                if !self.took_sign(",") {
                    break;
                }
            }
        }
        Ok(Select { from, columns, condition, order })
    }

    /// Reads a column: a path, and no function.
    fn column(&mut self) -> Result<Vec<Step>, PartiqlError> {
        if let (Token::Word(word), Token::Sign("(")) = (self.peek(), self.peek_second()) {
            let place = self.place(word);
            return Err(PartiqlError::new(format!("Unexpected path component at {place}")));
        }
        self.path()
    }

    /// Reads a table's name, perhaps with an index.
    fn table(&mut self, may_alias: bool) -> Result<TableName, PartiqlError> {
        let table = self.name()?;
        let index = if self.took_sign(".") { Some(self.name()?) } else { None };
        if self.at_sign(".") || self.at_sign("[") {
            return Err(PartiqlError::new("A path may contain at most 2 components in the FROM clause"));
        }
        if may_alias {
            self.refuse_alias()?;
        }
        Ok(TableName { table, index })
    }

    /// Reads the name of a table that is written to. `may_alias`: an alias behind it is refused as such.
    fn written_table(&mut self, may_alias: bool) -> Result<Box<str>, PartiqlError> {
        let TableName { table, index } = self.table(may_alias)?;
        match index {
            None => Ok(table),
            Some(_) => Err(PartiqlError::new("This operation is not supported on an index")),
        }
    }

    fn refuse_alias(&self) -> Result<(), PartiqlError> {
        let bare_name = matches!(self.peek(), Token::Word(word) if !is_keyword(word));
        if self.at_word("AS") || bare_name || matches!(self.peek(), Token::Quoted(_)) {
            return Err(PartiqlError::new("Aliasing is not supported"));
        }
        Ok(())
    }

    fn insert(&mut self) -> Result<Statement, PartiqlError> {
        self.expect_word("INTO")?;
        let table = self.written_table(false)?;
        if !self.took_word("VALUE") {
            return Err(PartiqlError::syntax("Unexpected token after expression"));
        }
        let value = self.tuple()?;
        let ValueRef::M(map) = value.as_ref() else {
            return Err(PartiqlError::new("The value of an INSERT statement must be a tuple"));
        };
        if self.at_word("RETURNING") {
            return Err(PartiqlError::new(
                "Invalid returning clause: RETURNING is not allowed in INSERT statements.",
            ));
        }
        Ok(Statement::Insert(Insert { table, item: Item::from_pairs(map.iter()) }))
    }

    /// Reads an update; in the form that begins with FROM the condition comes first.
    fn update_statement(&mut self, from_first: bool) -> Result<Statement, PartiqlError> {
        let table = self.written_table(true)?;
        let (update, condition);
        if from_first {
            self.expect_word("WHERE")?;
            condition = self.where_clause()?;
            update = self.update_clauses()?;
        } else {
            update = self.update_clauses()?;
            self.expect_word("WHERE")?;
            condition = self.where_clause()?;
        }
        let returning = self.returning()?.map(|words| match words {
            ("ALL", "OLD") => Returning::AllOld,
            ("ALL", _) => Returning::AllNew,
            (_, "OLD") => Returning::ModifiedOld,
            _ => Returning::ModifiedNew,
        });
        Ok(Statement::Update(Update { table, update, condition, returning }))
    }

    fn delete(&mut self) -> Result<Statement, PartiqlError> {
        self.expect_word("FROM")?;
        let table = self.written_table(true)?;
        self.expect_word("WHERE")?;
        let condition = self.where_clause()?;
        let returning_old = match self.returning()? {
            None => false,
            Some(("ALL", "OLD")) => true,
            Some((what, which)) => {
                return Err(PartiqlError::new(format!(
                    "Invalid returning clause: RETURNING {what} {which} *. \
                     Only RETURNING ALL OLD * is allowed in DELETE statements."
                )));
            }
        };
        Ok(Statement::Delete(Delete { table, condition, returning_old }))
    }

    /// Reads `RETURNING ALL OLD *` and its kin.
    fn returning(&mut self) -> Result<Option<(&'static str, &'static str)>, PartiqlError> {
        if !self.took_word("RETURNING") {
            return Ok(None);
        }
        let what = if self.took_word("ALL") {
            "ALL"
        } else {
            self.expect_word("MODIFIED")?;
            "MODIFIED"
        };
        let which = if self.took_word("OLD") {
            "OLD"
        } else {
            self.expect_word("NEW")?;
            "NEW"
        };
        self.expect_sign("*")?;
        Ok(Some((what, which)))
    }

    fn exists(&mut self) -> Result<Statement, PartiqlError> {
        self.expect_sign("(")?;
        self.expect_word("SELECT")?;
        let Select { from, condition, .. } = self.select()?;
        self.expect_sign(")")?;
        if from.index.is_some() {
            return Err(PartiqlError::new("This operation is not supported on an index"));
        }
        let condition: Where = condition.ok_or_else(super::plan::missing_key)?;
        Ok(Statement::Exists(Exists { table: from.table, condition }))
    }
}

fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().any(|keyword| word.eq_ignore_ascii_case(keyword))
}
