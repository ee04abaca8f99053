//! What was parsed, as a text that parses to the same. For tests and fuzzing.
//! Invariant: parentheses stand only where the text would say something else without them.

use super::parse::update::{Action, Assignment, UpdateProgram, Verb};
use super::program::{Instruction, Operand, OperandId, PathId, PathStep, Program, Terms, Test};

/// How tightly a part of a condition holds together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Or,
    And,
    Not,
    Test,
}

/// Prints a condition.
pub(crate) fn condition(program: &Program) -> String {
    let texts = operands(&program.terms);
    let mut done: Vec<(String, Level)> = Vec::new();
    let mut waiting: Vec<(usize, Level)> = Vec::new();
    for place in 0..=program.code.len() {
        while waiting.last().is_some_and(|(end, _)| *end == place) {
            let (_, level) = waiting.pop().expect("looked at above");
            let (right, left) = (done.pop().expect("the right side"), done.pop().expect("the left side"));
            let word = if level == Level::And { "AND" } else { "OR" };
            // The left side was joined before, the right one was not.
            let left = within(left, level);
            let right = within(right, if level == Level::And { Level::Not } else { Level::And });
            done.push((format!("{left} {word} {right}"), level));
        }
        match program.code.get(place) {
            Some(Instruction::Test(asked, _)) => {
                done.push((test(&program.terms, &texts, asked), Level::Test));
            }
            Some(Instruction::Not) => {
                let inner = done.pop().expect("what is negated");
                done.push((format!("NOT {}", within(inner, Level::Not)), Level::Not));
            }
            Some(Instruction::SkipIfFalse(end)) => waiting.push((*end as usize, Level::And)),
            Some(Instruction::SkipIfTrue(end)) => waiting.push((*end as usize, Level::Or)),
            None => {}
        }
    }
    done.pop().map_or(String::new(), |(text, _)| text)
}

/// Puts parentheses around what holds together less tightly than it must.
fn within((text, level): (String, Level), least: Level) -> String {
    if level < least { format!("({text})") } else { text }
}

fn test(terms: &Terms, texts: &[String], asked: &Test) -> String {
    let text = |id: &OperandId| texts[id.0 as usize].as_str();
    match asked {
        Test::Compare(comparator, left, right) => {
            format!("{} {} {}", text(left), comparator.sign(), text(right))
        }
        Test::Between { value, low, high } => {
            format!("{} BETWEEN {} AND {}", text(value), text(low), text(high))
        }
        Test::In(value, list) => format!("{} IN ({})", text(value), joined(terms.list(list), texts)),
        Test::Call(function, list) => format!("{}({})", function.name(), joined(terms.list(list), texts)),
    }
}

/// Prints an update.
pub(crate) fn update(program: &UpdateProgram) -> String {
    let texts = operands(&program.terms);
    let mut out = String::new();
    let mut section = "";
    for Action { target, verb } in &program.actions {
        let name = match verb {
            Verb::Set(_) => "SET",
            Verb::Remove => "REMOVE",
            Verb::Add(_) => "ADD",
            Verb::Delete(_) => "DELETE",
        };
        out.push_str(if name == section { ", " } else { " " });
        if name != section {
            out.push_str(name);
            out.push(' ');
            section = name;
        }
        out.push_str(&path(&program.terms, *target));
        let text = |id: &OperandId| texts[id.0 as usize].as_str();
        match verb {
            Verb::Set(Assignment::Copy(source)) => out.push_str(&format!(" = {}", text(source))),
            Verb::Set(Assignment::Plus(left, right)) => {
                out.push_str(&format!(" = {} + {}", text(left), text(right)));
            }
            Verb::Set(Assignment::Minus(left, right)) => {
                out.push_str(&format!(" = {} - {}", text(left), text(right)));
            }
            Verb::Remove => {}
            Verb::Add(value) | Verb::Delete(value) => out.push_str(&format!(" {}", text(value))),
        }
    }
    out
}

/// Prints a projection.
pub(crate) fn projection(terms: &Terms) -> String {
    let paths: Vec<String> = (0..terms.paths.len()).map(|place| path(terms, PathId(place as u32))).collect();
    paths.join(", ")
}

/// Prints every operand, those first that others are made of.
fn operands(terms: &Terms) -> Vec<String> {
    let mut texts: Vec<String> = Vec::with_capacity(terms.operands.len());
    for operand in &terms.operands {
        texts.push(match operand {
            Operand::Path(id) => path(terms, *id),
            Operand::Value(slot) => terms.values[slot.0 as usize].to_string(),
            Operand::Call(function, list) => {
                format!("{}({})", function.name(), joined(terms.list(list), &texts))
            }
            Operand::Unknown => "unknown()".to_owned(),
        });
    }
    texts
}

fn joined(list: &[OperandId], texts: &[String]) -> String {
    let texts: Vec<&str> = list.iter().map(|id| texts[id.0 as usize].as_str()).collect();
    texts.join(", ")
}

fn path(terms: &Terms, id: PathId) -> String {
    let mut out = String::new();
    for step in &terms.paths[id.0 as usize] {
        match step {
            PathStep::Literal(name) | PathStep::Name(name) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
            PathStep::Index(index) => out.push_str(&format!("[{index}]")),
        }
    }
    out
}
