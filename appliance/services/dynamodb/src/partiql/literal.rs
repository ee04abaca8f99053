//! Literals and parameters: the values of a statement.

use std::collections::HashSet;

use super::lexer::Token;
use super::parse::Parser;
use super::{NESTING_MAX, PartiqlError};
use crate::number::{Number, NumberError};
use crate::value::{DEPTH_MAX, Kind, Value, ValueBuilder, ValueRef};

/// Where in a value something stands.
struct Place {
    steps: Vec<String>,
    /// The value is an item, so that each of its attributes is a root.
    of_item: bool,
}

impl Place {
    fn text(&self) -> String {
        let skipped = usize::from(self.of_item).min(self.steps.len());
        format!("root{}", self.steps[skipped..].concat())
    }
}

impl Parser<'_> {
    /// Whether a literal or a parameter comes next.
    pub fn at_value(&self) -> bool {
        match self.peek() {
            Token::Text(_) | Token::Number(_) | Token::Parameter => true,
            Token::Sign("[" | "{" | "<<") => true,
            Token::Sign("-" | "+") => matches!(self.peek_second(), Token::Number(_)),
            Token::Word(_) => ["TRUE", "FALSE", "NULL"].iter().any(|word| self.at_word(word)),
            Token::Quoted(_) | Token::Sign(_) | Token::End => false,
        }
    }

    /// Reads a literal or a parameter.
    pub fn value(&mut self) -> Result<Value, PartiqlError> {
        self.value_at(&mut Place { steps: Vec::new(), of_item: false })
    }

    /// Reads the item of an INSERT: errors name places within its attributes.
    pub fn tuple(&mut self) -> Result<Value, PartiqlError> {
        self.value_at(&mut Place { steps: Vec::new(), of_item: true })
    }

    fn value_at(&mut self, place: &mut Place) -> Result<Value, PartiqlError> {
        let mut builder = ValueBuilder::new();
        self.put_value(&mut builder, place)?;
        let value = builder.finish();
        if value.as_ref().depth() > DEPTH_MAX { Err(too_deep()) } else { Ok(value) }
    }

    fn put_value(&mut self, builder: &mut ValueBuilder, place: &mut Place) -> Result<(), PartiqlError> {
        if place.steps.len() > NESTING_MAX {
            return Err(too_deep());
        }
        match self.peek() {
            Token::Text(text) => {
                builder.s(text);
                self.take();
            }
            Token::Number(_) | Token::Sign("-" | "+") => {
                builder.n(&self.number(place)?);
            }
            Token::Parameter => {
                builder.value(self.parameter()?.as_ref());
            }
            Token::Word(_) if self.at_word("TRUE") => {
                self.take();
                builder.bool(true);
            }
            Token::Word(_) if self.at_word("FALSE") => {
                self.take();
                builder.bool(false);
            }
            Token::Word(_) if self.at_word("NULL") => {
                self.take();
                builder.null();
            }
            Token::Sign("[") => {
                self.take();
                builder.begin_list();
                let mut index = 0;
                self.elements("]", |parser| {
                    place.steps.push(format!("[{index}]"));
                    index += 1;
                    parser.put_value(builder, place)?;
                    place.steps.pop();
                    Ok(())
                })?;
                builder.end_list();
            }
            Token::Sign("{") => {
                self.take();
                builder.begin_map();
                self.elements("}", |parser| {
                    let name = parser.member_name()?;
                    builder.name(&name);
                    place.steps.push(format!(".{name}"));
                    parser.put_value(builder, place)?;
                    place.steps.pop();
                    Ok(())
                })?;
                builder.end_map();
            }
            Token::Sign("<<") => {
                self.take();
                let set = self.set()?;
                builder.value(set.as_ref());
            }
            _ => return Err(self.unexpected()),
        }
        Ok(())
    }

    /// Reads what stands between brackets, with commas between.
    pub fn elements(
        &mut self,
        end: &str,
        mut each: impl FnMut(&mut Self) -> Result<(), PartiqlError>,
    ) -> Result<(), PartiqlError> {
        if self.took_sign(end) {
            return Ok(());
        }
        loop {
            each(self)?;
            if self.took_sign(end) {
                return Ok(());
            }
            self.expect_sign(",")?;
        }
    }

    /// Reads the name of a member and its colon.
    fn member_name(&mut self) -> Result<String, PartiqlError> {
        let Token::Text(name) = self.peek() else { return Err(self.unexpected()) };
        let name = name.to_string();
        self.take();
        self.expect_sign(":")?;
        if name.is_empty() {
            return Err(PartiqlError::new("Empty attribute name"));
        }
        Ok(name)
    }

    fn set(&mut self) -> Result<Value, PartiqlError> {
        let mut members: Vec<Value> = Vec::new();
        self.elements(">>", |parser| {
            let member = parser.value()?;
            members.push(member);
            Ok(())
        })?;
        let Some(kind) = members.first().map(|member| member.as_ref().kind()) else {
            return Err(PartiqlError::new("Empty bags are not supported"));
        };
        let set_kind = match kind {
            Kind::S => Kind::Ss,
            Kind::N => Kind::Ns,
            Kind::B => Kind::Bs,
            _ => return Err(PartiqlError::new("Unsupported type in bag")),
        };
        if members.iter().any(|member| member.as_ref().kind() != kind) {
            return Err(PartiqlError::new("All elements of a bag must be of the same type"));
        }
        check_distinct(&members, set_kind)?;
        let bytes = members.iter().map(|member| match member.as_ref() {
            ValueRef::S(text) => text.as_bytes(),
            ValueRef::N(number) => number.sortable(),
            ValueRef::B(bytes) => bytes,
            _ => &[],
        });
        Value::set(set_kind, bytes).ok_or_else(|| PartiqlError::new("Empty bags are not supported"))
    }

    fn number(&mut self, place: &Place) -> Result<Number, PartiqlError> {
        let mut text = String::new();
        if let Token::Sign(sign @ ("-" | "+")) = self.peek() {
            text.push_str(sign);
            self.take();
        }
        let Token::Number(digits) = self.peek() else { return Err(self.unexpected()) };
        text.push_str(digits);
        self.take();
        if !has_scale(&text) {
            return Err(PartiqlError::syntax(""));
        }
        let words = match Number::parse(text.as_bytes()) {
            Ok(number) => return Ok(number),
            Err(NumberError::NotANumber) => return Err(PartiqlError::syntax("")),
            Err(NumberError::TooManyDigits) => {
                "Attempting to store more than 38 significant digits in a Number"
            }
            Err(NumberError::Overflow) => {
                "Number overflow. Attempting to store a number with magnitude larger than supported range"
            }
            Err(NumberError::Underflow) => {
                "Number underflow. Attempting to store a number with magnitude smaller than supported range"
            }
        };
        Err(PartiqlError::new(format!("{words} under {}", place.text())))
    }
}

/// A set has each member once.
fn check_distinct(members: &[Value], kind: Kind) -> Result<(), PartiqlError> {
    let mut seen = HashSet::with_capacity(members.len());
    if members.iter().all(|member| seen.insert(member.as_bytes())) {
        return Ok(());
    }
    let shown: Option<Vec<&str>> = members
        .iter()
        .map(|member| if let ValueRef::S(text) = member.as_ref() { Some(text) } else { None })
        .collect();
    Err(PartiqlError::new(match (kind, shown) {
        (Kind::Ss, Some(shown)) => format!(
            "One or more parameter values were invalid: Input collection [{}] contains duplicates.",
            shown.join(", ")
        ),
        _ => "Input collection contains duplicates".to_owned(),
    }))
}

/// Whether the exponent of a number, and its digits behind the point less the exponent, each fit 32 bits: what does not is
/// no literal at all.
fn has_scale(text: &str) -> bool {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let fraction = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i64);
    exponent.parse::<i32>().is_ok_and(|exponent| i32::try_from(fraction - i64::from(exponent)).is_ok())
}

/// The words for a value that is nested beyond what an item may hold.
pub(super) fn too_deep() -> PartiqlError {
    PartiqlError::new(
        "Nesting Levels have exceeded supported limits: \
         Attributes in the item have nested levels beyond supported limit",
    )
}
