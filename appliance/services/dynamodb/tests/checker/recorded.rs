//! A history as a file: one event a line, fields between blanks, which any language can write.
//!
//! ```text
//! event  = name begin end { item }          name without blanks; end is "-" where no reply came
//! item   = "r" key version                  found this version
//!        | "w" key version version|"?"      wrote the first, replaced the second
//! version = id > 0, or 0: there is no item
//! ```

use super::{Event, Version, Write};

/// Reads a history. The error names the line.
pub fn parse(text: &str) -> Result<Vec<Event>, String> {
    text.lines()
        .enumerate()
        .map(|(number, line)| event(line).ok_or_else(|| format!("line {}: {line:?} is no event", number + 1)))
        .collect()
}

/// Writes a history as `parse` reads it.
pub fn print(events: &[Event]) -> String {
    let number = |version: &Version| match version {
        Version::Absent => 0,
        Version::Is(id) => *id,
    };
    let mut text = String::new();
    for event in events {
        let end = event.end.map_or("-".to_owned(), |end| end.to_string());
        text += &format!("{} {} {end}", event.name.replace(' ', "_"), event.begin);
        for (key, version) in &event.reads {
            text += &format!(" r {key} {}", number(version));
        }
        for write in &event.writes {
            let replaced = write.replaced.map_or("?".to_owned(), |version| number(&version).to_string());
            text += &format!(" w {} {} {replaced}", write.key, number(&write.version));
        }
        text.push('\n');
    }
    text
}

fn event(line: &str) -> Option<Event> {
    let mut fields = line.split(' ');
    let name = fields.next()?.to_owned();
    let begin = fields.next()?.parse().ok()?;
    let end = optional(fields.next()?, "-")?;
    let mut event = Event { name, begin, end, reads: Vec::new(), writes: Vec::new() };
    while let Some(kind) = fields.next() {
        let key = fields.next()?.parse().ok()?;
        let found = version(fields.next()?)?;
        match kind {
            "r" => event.reads.push((key, found)),
            "w" => {
                let replaced = optional(fields.next()?, "?")?.map(of_number);
                event.writes.push(Write { key, version: found, replaced });
            }
            _ => return None,
        }
    }
    Some(event)
}

/// A number, or nothing where this sign stands.
fn optional(field: &str, sign: &str) -> Option<Option<u64>> {
    if field == sign { Some(None) } else { field.parse().ok().map(Some) }
}

fn version(field: &str) -> Option<Version> {
    field.parse().ok().map(of_number)
}

fn of_number(number: u64) -> Version {
    if number == 0 { Version::Absent } else { Version::Is(number) }
}
