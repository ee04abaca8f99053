//! Why a policy is refused when it is written: what is wrong, and where.
//! Leaves to the services: their code and words around it.

use std::fmt;

/// A refused policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// What is wrong.
    pub flaw: Flaw,
    /// In which statement, counted from 0; none for the policy's own elements.
    pub statement: Option<usize>,
    /// In which element, such as `Principal`; empty for the whole.
    pub element: &'static str,
}

/// What can be wrong with a policy. Texts are what the policy has there, shortened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is no JSON.
    Syntax,
    /// It is longer than this many bytes.
    TooLong(usize),
    /// It has more than this many statements, or a statement more than this many actions.
    TooMany(usize),
    /// No policy has such an element.
    UnknownElement(Box<str>),
    /// An element, key or operator stands there twice, or both an element and its `Not` form do.
    Twice,
    /// Two statements have this Sid.
    DuplicateSid(Box<str>),
    /// The element must be there.
    Missing,
    /// The element must not be there, in policies of this kind or beside this Effect.
    Prohibited,
    /// A list without members.
    Empty,
    /// A value of another type than the element has.
    WrongType,
    /// Neither 2012-10-17 nor 2008-10-17.
    BadVersion,
    /// Neither Allow nor Deny.
    BadEffect,
    /// An action of another service, or without one.
    BadVendor(Box<str>),
    /// Not the ARN, or the pattern of one, that it should be.
    BadArn(Box<str>),
    /// Names no principal.
    BadPrincipal(Box<str>),
    /// No operator is called so.
    UnknownOperator(Box<str>),
    /// Not the name of a condition key.
    BadKey(Box<str>),
    /// A value that is not of its operator's type.
    BadValue(Box<str>),
    /// `${` without the rest of a variable.
    BadVariable(Box<str>),
}

impl PolicyError {
    /// Whether an action is of another service than the policy: services have words of their own for that.
    #[must_use]
    pub fn is_out_of_scope(&self) -> bool {
        matches!(self.flaw, Flaw::BadVendor(_))
    }

    /// Whether a principal is none.
    #[must_use]
    pub fn is_bad_principal(&self) -> bool {
        matches!(self.flaw, Flaw::BadPrincipal(_))
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(statement) = self.statement {
            write!(formatter, "statement {}: ", statement + 1)?;
        }
        if !self.element.is_empty() {
            write!(formatter, "{}: ", self.element)?;
        }
        self.flaw.fmt(formatter)
    }
}

impl std::error::Error for PolicyError {}

impl fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::Syntax => formatter.write_str("not valid JSON"),
            Flaw::TooLong(max) => write!(formatter, "longer than {max} bytes"),
            Flaw::TooMany(max) => write!(formatter, "more than {max}"),
            Flaw::UnknownElement(name) => write!(formatter, "unknown element {name}"),
            Flaw::Twice => formatter.write_str("given twice"),
            Flaw::DuplicateSid(sid) => write!(formatter, "the statement id {sid} is not unique"),
            Flaw::Missing => formatter.write_str("missing"),
            Flaw::Prohibited => formatter.write_str("not allowed here"),
            Flaw::Empty => formatter.write_str("empty"),
            Flaw::WrongType => formatter.write_str("a value of the wrong type"),
            Flaw::BadVersion => formatter.write_str("must be 2012-10-17 or 2008-10-17"),
            Flaw::BadEffect => formatter.write_str("must be Allow or Deny"),
            Flaw::BadVendor(text) => write!(formatter, "action {text} is out of the service's scope"),
            Flaw::BadArn(text) => write!(formatter, "{text} is not an ARN"),
            Flaw::BadPrincipal(text) => write!(formatter, "invalid principal {text}"),
            Flaw::UnknownOperator(text) => write!(formatter, "unknown operator {text}"),
            Flaw::BadKey(text) => write!(formatter, "invalid condition key {text}"),
            Flaw::BadValue(text) => write!(formatter, "invalid value for {text}"),
            Flaw::BadVariable(text) => write!(formatter, "invalid variable in {text}"),
        }
    }
}

/// Text of a policy for an error, shortened.
pub(super) fn quoted(text: &str) -> Box<str> {
    let end = text.char_indices().nth(QUOTED_CHARACTERS_MAX).map_or(text.len(), |(end, _)| end);
    text[..end].into()
}

const QUOTED_CHARACTERS_MAX: usize = 80;
