//! From text to what it says: the parts that all grammars share, namely tokens, paths and operands.
//!
//! Invariant: a syntax error ends the parse at once; any other fault of the text alone is noted and the worst by
//! `Finding`'s order is answered at the end. Nothing here recurses: open parentheses and calls lie on a stack.
//! Leaves to condition.rs, update.rs and projection.rs: what stands around operands. To resolve.rs and check.rs: everything
//! that needs the names and values of a request.

pub(crate) mod condition;
pub(crate) mod projection;
pub(crate) mod update;

use crate::expression::lexer::{Token, TokenKind, tokens};
use crate::expression::program::{Function, Operand, OperandId, PathStep, Program};
use crate::expression::reserved::is_reserved;
use crate::expression::{
    ExpressionError, Kind, LIST_INDEX_MAX, OPERATOR_COUNT_MAX, PATH_STEP_COUNT_MAX, TEXT_BYTES_MAX,
};

/// Faults of the text alone, the one that is answered first in front.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Finding {
    Index,
    Operators,
    InOperands,
    Depth,
    Parentheses,
    /// In updates a reserved word comes before an unknown function, in conditions after it.
    ReservedInUpdate,
    UnknownFunction,
    SectionTwice,
    MisusedFunction,
    Reserved,
}

/// A parse under way.
pub(crate) struct Parser<'t> {
    pub kind: Kind,
    text: &'t str,
    tokens: Vec<Token>,
    at: usize,
    pub program: Program,
    finding: Option<(Finding, String)>,
    operator_count: u32,
}

/// What an operand waits for while it is read.
enum Open {
    Parenthesis,
    /// A function, its operands so far.
    Call(Called, Vec<OperandId>),
}

/// The function of a call.
#[derive(Clone, Copy)]
enum Called {
    Known(Function),
    Unknown,
}

/// An operand, and whether it stood in parentheses of its own.
#[derive(Clone, Copy)]
pub(crate) struct Read {
    pub id: OperandId,
    pub in_parentheses: bool,
}

impl<'t> Parser<'t> {
    /// Begins: checks the size of the text and cuts it.
    pub fn new(kind: Kind, text: &'t str) -> Result<Parser<'t>, ExpressionError> {
        if text.len() > TEXT_BYTES_MAX {
            // The size is said for all but UpdateExpression, whose text ends at the semicolon.
            return Err(match kind {
                Kind::Update => kind.error("Expression size has exceeded the maximum allowed size;"),
                _ => kind.error(format_args!(
                    "Expression size has exceeded the maximum allowed size; expression size: {}",
                    text.len()
                )),
            });
        }
        if text.is_empty() {
            return Err(kind.error("The expression can not be empty;"));
        }
        let program = Program::default();
        Ok(Parser { kind, text, tokens: tokens(text), at: 0, program, finding: None, operator_count: 0 })
    }

    /// Ends: answers the worst fault that was noted.
    pub fn finish(mut self) -> Result<Program, ExpressionError> {
        if self.operator_count > OPERATOR_COUNT_MAX {
            let count = self.operator_count;
            self.note(Finding::Operators, || {
                format!("The expression contains too many operators; operator count: {count}")
            });
        }
        match self.finding {
            Some((_, what)) => Err(self.kind.error(what)),
            None => Ok(self.program),
        }
    }

    /// Notes a fault of the text, unless a worse or an earlier one of the same sort is known.
    pub fn note(&mut self, finding: Finding, what: impl FnOnce() -> String) {
        if self.finding.as_ref().is_none_or(|(known, _)| finding < *known) {
            self.finding = Some((finding, what()));
        }
    }

    pub fn note_parentheses(&mut self) {
        self.note(Finding::Parentheses, || "The expression has redundant parentheses;".to_owned());
    }

    pub fn note_misused(&mut self, function: Function) {
        self.note(Finding::MisusedFunction, || misused(function));
    }

    pub fn count_operator(&mut self) {
        self.operator_count += 1;
    }

    pub fn peek(&self) -> TokenKind {
        self.tokens[self.at].kind
    }

    /// The kind of the token after the next.
    pub fn peek_second(&self) -> TokenKind {
        self.tokens.get(self.at + 1).map_or(TokenKind::End, |token| token.kind)
    }

    /// The next token if it is an identifier.
    pub fn identifier(&self) -> Option<&'t str> {
        (self.peek() == TokenKind::Identifier).then(|| self.words(self.at, self.at))
    }

    /// Takes the next token. The end is never passed.
    pub fn take(&mut self) -> Token {
        let token = self.tokens[self.at];
        if token.kind != TokenKind::End {
            self.at += 1;
        }
        token
    }

    /// Takes the next token if it is of this kind.
    pub fn took(&mut self, kind: TokenKind) -> bool {
        let is = self.peek() == kind;
        if is {
            self.take();
        }
        is
    }

    pub fn expect(&mut self, kind: TokenKind) -> Result<Token, ExpressionError> {
        if self.peek() != kind { Err(self.syntax()) } else { Ok(self.take()) }
    }

    /// The next token is not what the grammar wants: says it with its neighbours on both sides.
    pub fn syntax(&self) -> ExpressionError {
        let (first, last) = (self.at.saturating_sub(1), (self.at + 1).min(self.tokens.len() - 1));
        let token = if self.peek() == TokenKind::End { "<EOF>" } else { self.words(self.at, self.at) };
        let near = self.words(first, last);
        self.kind.error(format_args!("Syntax error; token: \"{token}\", near: \"{near}\""))
    }

    /// The text from one token to another.
    fn words(&self, first: usize, last: usize) -> &'t str {
        let range = self.tokens[first].start as usize..self.tokens[last].end as usize;
        // The end of the text lies behind trailing blanks, which belong to no token.
        self.text[range].trim_end_matches([' ', '\t', '\r', '\n'])
    }

    /// Reads a path. `keyword` says which identifiers of this grammar are none.
    pub fn path(&mut self, keyword: fn(&str) -> bool) -> Result<Vec<PathStep>, ExpressionError> {
        let mut steps = vec![self.name_step(keyword)?];
        loop {
            match self.peek() {
                TokenKind::Dot => {
                    self.take();
                    steps.push(self.name_step(keyword)?);
                }
                TokenKind::OpenBracket => {
                    self.take();
                    let digits = self.expect(TokenKind::Digits)?;
                    self.expect(TokenKind::CloseBracket)?;
                    steps.push(self.index_step(digits));
                }
                _ => break,
            }
        }
        if steps.len() > PATH_STEP_COUNT_MAX {
            let count = steps.len();
            self.note(Finding::Depth, || {
                format!("The document path has too many nesting elements; nesting levels: {count}")
            });
        }
        Ok(steps)
    }

    fn name_step(&mut self, keyword: fn(&str) -> bool) -> Result<PathStep, ExpressionError> {
        let word = self.words(self.at, self.at);
        match self.peek() {
            TokenKind::Identifier if !keyword(word) => {
                self.take();
                // A KeyConditionExpression is checked clause by clause, reserved words with the rest.
                if self.kind != Kind::KeyCondition && is_reserved(word) {
                    let finding = match self.kind {
                        Kind::Update => Finding::ReservedInUpdate,
                        _ => Finding::Reserved,
                    };
                    self.note(finding, || reserved(word));
                }
                Ok(PathStep::Literal(word.into()))
            }
            TokenKind::Name => {
                self.take();
                Ok(PathStep::Name(word.into()))
            }
            _ => Err(self.syntax()),
        }
    }

    fn index_step(&mut self, digits: Token) -> PathStep {
        let written = &self.text[digits.start as usize..digits.end as usize];
        match written.parse::<u32>() {
            Ok(index) if index <= LIST_INDEX_MAX => PathStep::Index(index),
            _ => {
                self.note(Finding::Index, || {
                    format!("List index is not within the allowable range; index: [{written}]")
                });
                PathStep::Index(LIST_INDEX_MAX)
            }
        }
    }

    /// Reads an operand: a path, a value, a function or one of these in parentheses.
    pub fn operand(&mut self, keyword: fn(&str) -> bool) -> Result<Read, ExpressionError> {
        let mut open = Vec::new();
        loop {
            // Down to something that stands for itself.
            let mut read = loop {
                match self.peek() {
                    TokenKind::OpenParenthesis => {
                        self.take();
                        open.push(Open::Parenthesis);
                    }
                    TokenKind::Identifier if self.peek_second() == TokenKind::OpenParenthesis => {
                        let called = self.called(keyword)?;
                        if self.took(TokenKind::CloseParenthesis) {
                            break self.call(called, &[]);
                        }
                        open.push(Open::Call(called, Vec::new()));
                    }
                    TokenKind::Value => {
                        let token = self.take();
                        let name = &self.text[token.start as usize..token.end as usize];
                        let id = self.program.terms.add_value(name.into());
                        break Read { id, in_parentheses: false };
                    }
                    _ => {
                        let steps = self.path(keyword)?;
                        break Read { id: self.program.terms.add_path(steps), in_parentheses: false };
                    }
                }
            };
            // Up through everything that it completes.
            loop {
                match open.pop() {
                    None => return Ok(read),
                    Some(Open::Parenthesis) => {
                        self.expect(TokenKind::CloseParenthesis)?;
                        if read.in_parentheses {
                            self.note_parentheses();
                        }
                        read.in_parentheses = true;
                    }
                    Some(Open::Call(called, mut operands)) => {
                        operands.push(read.id);
                        if self.took(TokenKind::Comma) {
                            open.push(Open::Call(called, operands));
                            break;
                        }
                        self.expect(TokenKind::CloseParenthesis)?;
                        read = self.call(called, &operands);
                    }
                }
            }
        }
    }

    /// Takes a function's name and its parenthesis.
    fn called(&mut self, keyword: fn(&str) -> bool) -> Result<Called, ExpressionError> {
        let name = self.words(self.at, self.at);
        if keyword(name) {
            return Err(self.syntax());
        }
        self.take();
        self.take();
        self.count_operator();
        let Some(function) = Function::named(name) else {
            self.note(Finding::UnknownFunction, || format!("Invalid function name; function: {name}"));
            return Ok(Called::Unknown);
        };
        let in_update = self.kind == Kind::Update;
        if function.is_of_updates() != in_update {
            let place = if in_update { "an update" } else { "a condition" };
            self.note(Finding::UnknownFunction, || {
                format!("The function is not allowed in {place} expression; function: {name}")
            });
        }
        Ok(Called::Known(function))
    }

    /// Makes a call of its function and its operands.
    fn call(&mut self, called: Called, operands: &[OperandId]) -> Read {
        let terms = &mut self.program.terms;
        let operand = match called {
            Called::Known(function) => Operand::Call(function, terms.add_list(operands)),
            Called::Unknown => Operand::Unknown,
        };
        let id = terms.add(operand);
        // A function that answers true or false is no operand of another.
        let wrong = operands.iter().find_map(|id| match self.program.terms.operand(*id) {
            Operand::Call(function, _) if *function != Function::Size && !function.is_of_updates() => {
                Some(*function)
            }
            _ => None,
        });
        if let Some(function) = wrong {
            self.note_misused(function);
        }
        Read { id, in_parentheses: false }
    }
}

/// The words for a bare name that is reserved.
pub(crate) fn reserved(word: &str) -> String {
    format!("Attribute name is a reserved keyword; reserved keyword: {word}")
}

/// The words for a function in a place where it has no meaning.
pub(crate) fn misused(function: Function) -> String {
    format!("The function is not allowed to be used this way in an expression; function: {}", function.name())
}
