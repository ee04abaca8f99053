//! Paths into items: names of attributes, with dots into maps and brackets into lists, such as `a.b[0].c`.

use super::value::Item;
use crate::refusal::{Outcome, Refusal};
use serde_json::Value;

/// A path that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
}

impl Path {
    pub(super) fn parse(text: &str) -> Outcome<Self> {
        let refused = || Refusal::invalid("ValidationException", format!("\"{text}\" is no path"));
        let mut steps = Vec::new();
        for part in text.split('.') {
            let name_end = part.find('[').unwrap_or(part.len());
            let (name, mut indexes) = part.split_at(name_end);
            if name.is_empty() {
                return Err(refused());
            }
            steps.push(Step::Name(name.to_owned()));
            while let Some(rest) = indexes.strip_prefix('[') {
                let (index, after) = rest.split_once(']').ok_or_else(refused)?;
                steps.push(Step::Index(index.parse().map_err(|_| refused())?));
                indexes = after;
            }
            if !indexes.is_empty() {
                return Err(refused());
            }
        }
        Ok(Self(steps))
    }

    /// The value that it leads to, if there is one.
    pub(super) fn find<'a>(&self, item: &'a Item) -> Option<&'a Value> {
        let mut steps = self.0.iter();
        let Some(Step::Name(first)) = steps.next() else { return None };
        steps.try_fold(item.get(first)?, |value, step| match step {
            Step::Name(name) => value.as_object()?.get(name),
            Step::Index(index) => value.as_array()?.get(*index),
        })
    }

    /// Whether one of both lies on the other, so that they cannot be asked for together.
    fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a == b)
    }
}

/// What these paths lead to, each in its place; elements of a list keep their order and close up.
pub(super) fn project(item: &Item, texts: &[String]) -> Outcome<Item> {
    let paths = texts.iter().map(|text| Path::parse(text)).collect::<Outcome<Vec<_>>>()?;
    for (index, path) in paths.iter().enumerate() {
        if paths[..index].iter().any(|earlier| earlier.overlaps(path)) {
            let text = format!("two paths of the projection overlap: {}", texts[index]);
            return Err(Refusal::invalid("ValidationException", text));
        }
    }
    let paths: Vec<&[Step]> = paths.iter().map(|path| path.0.as_slice()).collect();
    Ok(project_map(item, &paths))
}

fn project_map(map: &Item, paths: &[&[Step]]) -> Item {
    let mut projected = Item::new();
    for (name, value) in map {
        let inner = inner(paths, |step| matches!(step, Step::Name(wanted) if wanted == name));
        if let Some(value) = project_value(value, &inner) {
            projected.insert(name.clone(), value);
        }
    }
    projected
}

fn inner<'p>(paths: &[&'p [Step]], is_this: impl Fn(&Step) -> bool) -> Vec<&'p [Step]> {
    let leads =
        |path: &&'p [Step]| path.split_first().filter(|(step, _)| is_this(step)).map(|(_, rest)| rest);
    paths.iter().filter_map(leads).collect()
}

/// The value, or what of it the paths lead to; `None` if they lead nowhere.
fn project_value(value: &Value, paths: &[&[Step]]) -> Option<Value> {
    if paths.iter().any(|path| path.is_empty()) {
        return Some(value.clone());
    }
    match value {
        Value::Object(map) => Some(project_map(map, paths)).filter(|map| !map.is_empty()).map(Value::Object),
        Value::Array(list) => {
            let element = |(index, value): (usize, &Value)| {
                project_value(value, &inner(paths, |step| *step == Step::Index(index)))
            };
            let list: Vec<Value> = list.iter().enumerate().filter_map(element).collect();
            (!list.is_empty()).then_some(Value::Array(list))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_leads_through_maps_and_lists() {
        let item = json!({"a": {"b": [1, {"c": 2}]}});
        let item = item.as_object().unwrap();
        assert_eq!(Path::parse("a.b[1].c").unwrap().find(item), Some(&json!(2)));
        assert_eq!(Path::parse("a.b[2]").unwrap().find(item), None);
        for refused in ["", "a..b", "a[", "a[x]", "[0]", "a[0]b"] {
            assert!(Path::parse(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_projection_keeps_what_it_names_in_its_place() {
        let item = json!({"a": {"b": [1, 2, 3], "c": 4}, "d": 5});
        let texts = ["a.b[2]", "a.b[0]", "d", "x"].map(String::from);
        let projected = project(item.as_object().unwrap(), &texts).unwrap();
        assert_eq!(Value::Object(projected), json!({"a": {"b": [1, 3]}, "d": 5}));
        assert!(project(&Item::new(), &["a".into(), "a.b".into()]).is_err());
    }
}
