//! Policy documents: from JSON to statements that are ready to be asked.
//!
//! Invariant: what is not understood is refused, never skipped: a lost condition would widen a policy. The shape is
//! fixed, so nothing recurses with the depth of the input, and memory is linear in its length, which is bounded first.
//! Leaves to compile.rs: what the texts of a statement mean.

use std::collections::BTreeSet;
use std::ops::Range;

use super::Policy;
use super::compile::statement;
use super::condition::Operator;
use super::flaw::{Flaw, PolicyError, quoted};
use super::pattern::is_key;
use super::principal::{Family, Named};
use crate::json::{Found, JsonError, Reader};

/// Which elements a policy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyType {
    /// Attached to an identity: no principals.
    Identity,
    /// Attached to a resource: principals and resources.
    Resource,
    /// Of a role: principals, no resources.
    Trust,
}

/// What a policy may be, by where it is written.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Which elements it has.
    pub kind: PolicyType,
    /// The one service whose actions it may name, such as `sqs`.
    pub service: Option<&'static str>,
    /// The longest document.
    pub bytes_max: usize,
    /// The most statements.
    pub statement_count_max: usize,
    /// The most actions of one statement.
    pub action_count_max: usize,
}

/// A statement as it is written.
#[derive(Default)]
pub(super) struct Raw {
    pub(super) sid: Option<String>,
    pub(super) effect: Option<String>,
    pub(super) principals: Option<Listed<Vec<Named>>>,
    pub(super) actions: Option<Listed<Vec<String>>>,
    pub(super) resources: Option<Listed<Vec<String>>>,
    pub(super) conditions: Option<Vec<RawCondition>>,
    /// Where it stands in the document.
    pub(super) span: Range<usize>,
}

/// An element or its `Not` form.
pub(super) struct Listed<T> {
    pub(super) is_not: bool,
    pub(super) values: T,
}

/// A key with its operator and values.
pub(super) struct RawCondition {
    pub(super) operator: Operator,
    pub(super) key: String,
    pub(super) values: Vec<String>,
}

/// What stands around the statements.
#[derive(Default)]
struct Head {
    version: Option<String>,
    id: Option<String>,
    statements: Option<Vec<Raw>>,
    /// Where the value of `Statement` stands.
    span: Range<usize>,
}

impl Policy {
    /// Reads a policy. Errors: what is wrong with it, and where.
    pub fn parse(text: &str, rules: &Rules) -> Result<Policy, PolicyError> {
        let whole = |flaw| PolicyError { flaw, statement: None, element: "" };
        if text.len() > rules.bytes_max {
            return Err(whole(Flaw::TooLong(rules.bytes_max)));
        }
        let mut document = Document { reader: json(Reader::new(text.as_bytes()))?, rules, statement: None };
        let head = document.head()?;
        json(document.reader.finish())?;
        let variables = match head.version.as_deref() {
            Some("2012-10-17") => true,
            None | Some("2008-10-17") => false,
            Some(_) => return Err(PolicyError { element: "Version", ..whole(Flaw::BadVersion) }),
        };
        let missing = || PolicyError { element: "Statement", ..whole(Flaw::Missing) };
        let raw = head.statements.ok_or_else(missing)?;
        let mut sids = BTreeSet::new();
        for (number, sid) in
            raw.iter().enumerate().filter_map(|(number, raw)| Some((number, raw.sid.as_deref()?)))
        {
            // An empty one is none.
            if !sid.is_empty() && !sids.insert(sid) {
                let flaw = Flaw::DuplicateSid(quoted(sid));
                return Err(PolicyError { flaw, statement: Some(number), element: "Sid" });
            }
        }
        let compiled = raw.into_iter().enumerate().map(|(number, raw)| {
            statement(raw, rules, variables).map_err(|(element, flaw)| PolicyError {
                flaw,
                statement: Some(number),
                element,
            })
        });
        let statements = compiled.collect::<Result<_, _>>()?;
        Ok(Policy { id: head.id.map(Into::into), statements, span: head.span })
    }
}

/// Reads one document from front to back.
struct Document<'a> {
    reader: Reader<'a>,
    rules: &'a Rules,
    /// The statement that is being read.
    statement: Option<usize>,
}

type Read<T> = Result<T, PolicyError>;

fn json<T>(result: Result<T, JsonError>) -> Read<T> {
    result.map_err(|_| PolicyError { flaw: Flaw::Syntax, statement: None, element: "" })
}

impl Document<'_> {
    fn head(&mut self) -> Read<Head> {
        let mut head = Head::default();
        self.members("", &mut |document, name| match name {
            "Version" => document.once("Version", &mut head.version, |document| document.text("Version")),
            "Id" => document.once("Id", &mut head.id, |document| document.text("Id")),
            "Statement" => {
                let start = document.reader.position();
                document.once("Statement", &mut head.statements, Document::statements)?;
                head.span = start..document.reader.position();
                Ok(())
            }
            _ => Err(document.refuse("", Flaw::UnknownElement(quoted(name)))),
        })?;
        Ok(head)
    }

    fn statements(&mut self) -> Read<Vec<Raw>> {
        let mut statements = Vec::new();
        self.one_or_list("Statement", b'{', &mut |document| {
            document.statement = Some(statements.len());
            if statements.len() == document.rules.statement_count_max {
                return Err(document.refuse("", Flaw::TooMany(document.rules.statement_count_max)));
            }
            let start = document.reader.position();
            let mut raw = document.statement()?;
            raw.span = start..document.reader.position();
            statements.push(raw);
            document.statement = None;
            Ok(())
        })?;
        Ok(statements)
    }

    fn statement(&mut self) -> Read<Raw> {
        let mut raw = Raw::default();
        self.members("", &mut |document, name| match name {
            "Sid" => document.once("Sid", &mut raw.sid, |document| document.text("Sid")),
            "Effect" => document.once("Effect", &mut raw.effect, |document| document.text("Effect")),
            "Principal" | "NotPrincipal" => document.once("Principal", &mut raw.principals, |document| {
                Ok(Listed { is_not: name == "NotPrincipal", values: document.principals()? })
            }),
            "Action" | "NotAction" => document.once("Action", &mut raw.actions, |document| {
                let values = document.texts("Action")?;
                if values.len() > document.rules.action_count_max {
                    return Err(document.refuse("Action", Flaw::TooMany(document.rules.action_count_max)));
                }
                Ok(Listed { is_not: name == "NotAction", values })
            }),
            "Resource" | "NotResource" => document.once("Resource", &mut raw.resources, |document| {
                Ok(Listed { is_not: name == "NotResource", values: document.texts("Resource")? })
            }),
            "Condition" => document.once("Condition", &mut raw.conditions, Document::conditions),
            _ => Err(document.refuse("", Flaw::UnknownElement(quoted(name)))),
        })?;
        Ok(raw)
    }

    fn principals(&mut self) -> Read<Vec<Named>> {
        if self.reader.peek() == Some(b'"') {
            let text = self.text("Principal")?;
            if text == "*" {
                return Ok(vec![Named::Everybody]);
            }
            return Err(self.refuse("Principal", Flaw::BadPrincipal(quoted(&text))));
        }
        let (mut names, mut families) = (Vec::new(), Vec::new());
        self.members("Principal", &mut |document, name| {
            let refuse =
                |document: &Document<'_>| Err(document.refuse("Principal", Flaw::BadPrincipal(quoted(name))));
            let Some(family) = Family::parse(name) else { return refuse(document) };
            if families.contains(&family) {
                return Err(document.refuse("Principal", Flaw::Twice));
            }
            families.push(family);
            for text in document.texts("Principal")? {
                match Named::parse(family, &text) {
                    Some(name) => names.push(name),
                    None => return Err(document.refuse("Principal", Flaw::BadPrincipal(quoted(&text)))),
                }
            }
            Ok(())
        })?;
        if names.is_empty() {
            return Err(self.refuse("Principal", Flaw::Empty));
        }
        Ok(names)
    }

    fn conditions(&mut self) -> Read<Vec<RawCondition>> {
        const ELEMENT: &str = "Condition";
        let (mut conditions, mut operators) = (Vec::new(), BTreeSet::new());
        self.members(ELEMENT, &mut |document, name| {
            let Some(operator) = Operator::parse(name) else {
                return Err(document.refuse(ELEMENT, Flaw::UnknownOperator(quoted(name))));
            };
            if !operators.insert(name.to_owned()) {
                return Err(document.refuse(ELEMENT, Flaw::Twice));
            }
            let mut keys = BTreeSet::new();
            document.members(ELEMENT, &mut |document, key| {
                if !is_key(key) {
                    return Err(document.refuse(ELEMENT, Flaw::BadKey(quoted(key))));
                }
                if !keys.insert(key.to_lowercase()) {
                    return Err(document.refuse(ELEMENT, Flaw::Twice));
                }
                let values = document.values(ELEMENT)?;
                conditions.push(RawCondition { operator, key: key.to_owned(), values });
                Ok(())
            })?;
            if keys.is_empty() {
                return Err(document.refuse(ELEMENT, Flaw::Empty));
            }
            Ok(())
        })?;
        Ok(conditions)
    }

    /// One text, or a list of texts that is not empty.
    fn texts(&mut self, element: &'static str) -> Read<Vec<String>> {
        let mut texts = Vec::new();
        self.one_or_list(element, b'"', &mut |document| {
            texts.push(document.text(element)?);
            Ok(())
        })?;
        Ok(texts)
    }

    /// The same of texts, numbers and booleans, as text.
    fn values(&mut self, element: &'static str) -> Read<Vec<String>> {
        let mut values = Vec::new();
        let mut value = |document: &mut Document<'_>| {
            if document.reader.peek() == Some(b'"') {
                values.push(document.text(element)?);
                return Ok(());
            }
            let start = document.reader.position();
            match json(document.reader.found())? {
                Found::Whole | Found::Decimal | Found::True | Found::False => {
                    values.push(document.reader.text_from(start).to_owned());
                    Ok(())
                }
                _ => Err(document.refuse(element, Flaw::WrongType)),
            }
        };
        if self.reader.peek() != Some(b'[') {
            value(self)?;
            return Ok(values);
        }
        self.elements(element, &mut value)?;
        Ok(values)
    }

    fn one_or_list(
        &mut self,
        element: &'static str,
        opens: u8,
        each: &mut dyn FnMut(&mut Self) -> Read<()>,
    ) -> Read<()> {
        match self.reader.peek() {
            Some(byte) if byte == opens => each(self),
            Some(b'[') => self.elements(element, each),
            _ => Err(self.wrong_type(element)),
        }
    }

    fn elements(&mut self, element: &'static str, each: &mut dyn FnMut(&mut Self) -> Read<()>) -> Read<()> {
        let mut more = json(self.reader.open_list())?;
        if !more {
            return Err(self.refuse(element, Flaw::Empty));
        }
        while more {
            each(self)?;
            more = json(self.reader.next_element())?;
        }
        Ok(())
    }

    fn members(
        &mut self,
        element: &'static str,
        each: &mut dyn FnMut(&mut Self, &str) -> Read<()>,
    ) -> Read<()> {
        if self.reader.peek() != Some(b'{') {
            return Err(self.wrong_type(element));
        }
        let mut more = json(self.reader.open_map(""))?;
        while more {
            let name = json(self.reader.key())?;
            each(self, &name)?;
            more = json(self.reader.next_member())?;
        }
        Ok(())
    }

    fn text(&mut self, element: &'static str) -> Read<String> {
        if self.reader.peek() != Some(b'"') {
            return Err(self.wrong_type(element));
        }
        Ok(json(self.reader.quoted())?.into_owned())
    }

    fn once<T>(
        &mut self,
        element: &'static str,
        place: &mut Option<T>,
        read: impl FnOnce(&mut Self) -> Read<T>,
    ) -> Read<()> {
        if place.is_some() {
            return Err(self.refuse(element, Flaw::Twice));
        }
        *place = Some(read(self)?);
        Ok(())
    }

    /// What stands here is of another type, or no JSON.
    fn wrong_type(&mut self, element: &'static str) -> PolicyError {
        match self.reader.found() {
            Ok(_) => self.refuse(element, Flaw::WrongType),
            Err(_) => self.refuse("", Flaw::Syntax),
        }
    }

    fn refuse(&self, element: &'static str, flaw: Flaw) -> PolicyError {
        PolicyError { flaw, statement: self.statement, element }
    }
}
