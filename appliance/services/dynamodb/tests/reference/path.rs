//! Document paths: what they find, what a projection keeps, and how expressions are printed with placeholders.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::random::Random;
use super::value::{Item, Value};

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    Name(String),
    Index(usize),
}

/// Begins with a name.
pub type Path = Vec<Step>;

pub fn name(text: &str) -> Path {
    vec![Step::Name(text.to_owned())]
}

/// The attribute that a path begins in.
pub fn root(path: &Path) -> &str {
    match &path[0] {
        Step::Name(name) => name,
        Step::Index(_) => panic!("a path begins with a name"),
    }
}

/// Whether one is the other or within it, or both go on from one place in ways that exclude each other.
pub fn collide(a: &Path, b: &Path) -> bool {
    for (one, other) in a.iter().zip(b) {
        match (one, other) {
            (Step::Name(_), Step::Index(_)) | (Step::Index(_), Step::Name(_)) => return true,
            _ if one != other => return false,
            _ => {}
        }
    }
    true
}

pub fn find<'i>(item: &'i Item, path: &Path) -> Option<&'i Value> {
    let mut value = item.get(root(path))?;
    for step in &path[1..] {
        value = match (step, value) {
            (Step::Name(name), Value::M(map)) => map.get(name)?,
            (Step::Index(place), Value::L(list)) => list.get(*place)?,
            _ => return None,
        };
    }
    Some(value)
}

/// What is left of an item when only these paths stay: a tree of what each path finds, lists made dense.
pub fn project(item: &Item, paths: &[Path]) -> Item {
    let mut kept = Kept::Inner(BTreeMap::new());
    for path in paths {
        if let Some(value) = find(item, path) {
            kept.insert(path, value);
        }
    }
    match kept.into_value() {
        Value::M(map) => map,
        _ => panic!("paths begin with names"),
    }
}

enum Kept {
    Leaf(Value),
    Inner(BTreeMap<Step, Kept>),
}

impl Kept {
    fn insert(&mut self, path: &[Step], value: &Value) {
        let Kept::Inner(children) = self else { panic!("paths do not overlap") };
        match path {
            [last] => drop(children.insert(last.clone(), Kept::Leaf(value.clone()))),
            [step, rest @ ..] => children
                .entry(step.clone())
                .or_insert_with(|| Kept::Inner(BTreeMap::new()))
                .insert(rest, value),
            [] => panic!("a path has a step"),
        }
    }

    fn into_value(self) -> Value {
        let children = match self {
            Kept::Leaf(value) => return value,
            Kept::Inner(children) => children,
        };
        if matches!(children.keys().next(), Some(Step::Index(_))) {
            return Value::L(children.into_values().map(Kept::into_value).collect());
        }
        let named = children.into_iter().map(|(step, kept)| match step {
            Step::Name(name) => (name, kept.into_value()),
            Step::Index(_) => panic!("paths do not conflict"),
        });
        Value::M(named.collect())
    }
}

/// Prints expressions; gathers the names and values that they need.
#[derive(Default)]
pub struct Printer {
    pub names: Map<String, Json>,
    pub values: Map<String, Json>,
}

/// Names that may stand in an expression as they are.
fn may_be_bare(name: &str) -> bool {
    // Every short word of the generator is no reserved one; those that are have no digit.
    name.bytes().all(|byte| byte.is_ascii_alphanumeric()) && name.bytes().any(|byte| byte.is_ascii_digit())
}

impl Printer {
    pub fn name(&mut self, random: &mut Random, name: &str) -> String {
        if may_be_bare(name) && random.chance(60) {
            return name.to_owned();
        }
        let known = self.names.iter().find(|(_, known)| known.as_str() == Some(name));
        if let Some((placeholder, _)) = known {
            return placeholder.clone();
        }
        let placeholder = format!("#{}", self.names.len());
        self.names.insert(placeholder.clone(), Json::from(name));
        placeholder
    }

    pub fn path(&mut self, random: &mut Random, path: &Path) -> String {
        let mut text = String::new();
        for step in path {
            match step {
                Step::Name(name) => {
                    text += if text.is_empty() { "" } else { "." };
                    text += &self.name(random, name);
                }
                Step::Index(place) => text += &format!("[{place}]"),
            }
        }
        text
    }

    pub fn value(&mut self, value: &Value) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value.to_json());
        placeholder
    }

    /// Puts names and values into a request.
    pub fn finish(self, request: &mut Json) {
        if !self.names.is_empty() {
            request["ExpressionAttributeNames"] = Json::Object(self.names);
        }
        if !self.values.is_empty() {
            request["ExpressionAttributeValues"] = Json::Object(self.values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(steps: &[&str]) -> Path {
        steps
            .iter()
            .map(|step| step.parse().map_or_else(|_| Step::Name((*step).to_owned()), Step::Index))
            .collect()
    }

    #[test]
    fn projections_keep_shapes_and_make_lists_dense() {
        let element =
            |a: i64| Value::M(BTreeMap::from([("x".into(), Value::n(a)), ("y".into(), Value::Null)]));
        let list = Value::L((0..4).map(element).collect());
        let item = BTreeMap::from([("l".to_owned(), list), ("z".to_owned(), Value::Null)]);
        let kept = project(&item, &[at(&["l", "3", "x"]), at(&["l", "1"]), at(&["l", "9"]), at(&["q"])]);
        let only = Value::M(BTreeMap::from([("x".into(), Value::n(3))]));
        assert_eq!(kept, BTreeMap::from([("l".to_owned(), Value::L(vec![element(1), only]))]));
        assert_eq!(project(&item, &[at(&["l", "9"])]), Item::new());
    }

    #[test]
    fn paths_collide_within_each_other_and_across_kinds() {
        assert!(collide(&at(&["a"]), &at(&["a", "b"])));
        assert!(collide(&at(&["a", "b"]), &at(&["a", "1"])));
        assert!(!collide(&at(&["a", "b"]), &at(&["a", "c", "d"])));
    }
}
