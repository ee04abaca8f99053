//! Conditions, projections and updates as expressions of the protocol.
//! Invariant: an expression holds operators, digits and placeholders of ours, `#n` and `:n`; every name and every value of the
//! caller travels beside it, whatever it looks like. One placeholder stands for one name or one value, and each is used.
//! Source: "Condition and filter expressions", DynamoDB developer guide.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use cloudkit_core::api::Condition;
use serde_json::{Map, Value};

use super::value::{Attributes, is_too_deep, outgoing};

/// The names and values of one request.
#[derive(Default, Debug)]
pub(super) struct Places<'a> {
    names: Vec<&'a str>,
    values: Vec<AttributeValue>,
}

impl<'a> Places<'a> {
    /// Appends the placeholder of a name; equal names share one.
    pub fn name(&mut self, out: &mut String, name: &'a str) {
        let index = self.names.iter().position(|known| *known == name).unwrap_or_else(|| {
            self.names.push(name);
            self.names.len() - 1
        });
        out.push_str(&format!("#{index}"));
    }

    /// Appends the placeholder of a value.
    pub fn value(&mut self, out: &mut String, value: AttributeValue) {
        out.push_str(&format!(":{}", self.values.len()));
        self.values.push(value);
    }

    /// Appends a path. Errors: words for a text that is none.
    fn path(&mut self, out: &mut String, text: &'a str) -> Result<(), String> {
        for (index, step) in steps(text)?.into_iter().enumerate() {
            match step {
                Step::Name(name) => {
                    if index > 0 {
                        out.push('.');
                    }
                    self.name(out, name);
                }
                Step::Index(index) => out.push_str(&format!("[{index}]")),
            }
        }
        Ok(())
    }

    /// The names as the SDK takes them; the protocol refuses an empty map.
    pub fn names(&self) -> Option<HashMap<String, String>> {
        let names = self.names.iter().enumerate();
        let names: HashMap<_, _> =
            names.map(|(index, name)| (format!("#{index}"), name.to_string())).collect();
        Some(names).filter(|names| !names.is_empty())
    }

    /// The values, likewise.
    pub fn values(self) -> Option<Attributes> {
        let values = self.values.into_iter().enumerate();
        let values: Attributes = values.map(|(index, value)| (format!(":{index}"), value)).collect();
        Some(values).filter(|values| !values.is_empty())
    }
}

/// One step of a path.
enum Step<'a> {
    /// Into a map.
    Name(&'a str),
    /// Into a list.
    Index(u32),
}

/// The steps of a path such as `a.b[0].c`.
fn steps(text: &str) -> Result<Vec<Step<'_>>, String> {
    let wrong = || format!("{text:?} is no path of attributes");
    let mut steps = Vec::new();
    for part in text.split('.') {
        let (name, mut indexes) = part.split_at(part.find('[').unwrap_or(part.len()));
        if name.is_empty() {
            return Err(wrong());
        }
        steps.push(Step::Name(name));
        while let Some(rest) = indexes.strip_prefix('[') {
            let (index, after) = rest.split_once(']').ok_or_else(wrong)?;
            // `parse` would take a sign.
            let is_number = index.bytes().all(|byte| byte.is_ascii_digit());
            let index = index.parse().ok().filter(|_| is_number);
            steps.push(Step::Index(index.ok_or_else(wrong)?));
            indexes = after;
        }
        if !indexes.is_empty() {
            return Err(wrong());
        }
    }
    Ok(steps)
}

/// A condition that was checked, in which what always or never holds is folded away.
#[derive(Debug)]
pub(super) enum Holds<'a> {
    Always,
    Never,
    Test(&'a Condition),
    Not(Box<Holds<'a>>),
    All(Vec<Holds<'a>>),
    Any(Vec<Holds<'a>>),
}

impl<'a> Holds<'a> {
    /// Reads a condition. Errors: words for what is wrong with it.
    pub fn of(condition: &'a Condition) -> Result<Holds<'a>, String> {
        Holds::within(condition, CONDITION_DEPTH_MAX)
    }

    fn within(condition: &'a Condition, levels: usize) -> Result<Holds<'a>, String> {
        let levels = levels
            .checked_sub(1)
            .ok_or_else(|| format!("a condition has more than {CONDITION_DEPTH_MAX} levels"))?;
        let all_of = |all: &'a [Condition]| {
            all.iter().map(|one| Holds::within(one, levels)).collect::<Result<Vec<_>, _>>()
        };
        match condition {
            Condition::Not(inner) => Ok(Holds::within(inner, levels)?.not()),
            Condition::And(all) => Ok(Holds::all(all_of(all)?)),
            Condition::Or(any) => Ok(Holds::any(all_of(any)?)),
            Condition::In(path, values) => {
                steps(path)?;
                if values.is_empty() || values.len() > IN_COUNT_MAX {
                    return Err(format!("In takes 1 to {IN_COUNT_MAX} values"));
                }
                values.iter().try_for_each(check_depth)?;
                Ok(Holds::Test(condition))
            }
            test => {
                let (path, values) = parts(test);
                steps(path)?;
                values.into_iter().flatten().try_for_each(check_depth)?;
                Ok(Holds::Test(test))
            }
        }
    }

    fn not(self) -> Holds<'a> {
        match self {
            Holds::Always => Holds::Never,
            Holds::Never => Holds::Always,
            Holds::Not(inner) => *inner,
            other => Holds::Not(Box::new(other)),
        }
    }

    fn all(mut all: Vec<Holds<'a>>) -> Holds<'a> {
        if all.iter().any(|one| matches!(one, Holds::Never)) {
            return Holds::Never;
        }
        all.retain(|one| !matches!(one, Holds::Always));
        match all.len() {
            0 => Holds::Always,
            1 => all.remove(0),
            _ => Holds::All(all),
        }
    }

    fn any(mut any: Vec<Holds<'a>>) -> Holds<'a> {
        if any.iter().any(|one| matches!(one, Holds::Always)) {
            return Holds::Always;
        }
        any.retain(|one| !matches!(one, Holds::Never));
        match any.len() {
            0 => Holds::Never,
            1 => any.remove(0),
            _ => Holds::Any(any),
        }
    }

    /// The expression; None for what always holds. `any_name`: some attribute that the expression may name, to say "never" with.
    pub fn expression(&self, places: &mut Places<'a>, any_name: &'a str) -> Option<String> {
        let mut out = String::new();
        match self {
            Holds::Always => return None,
            Holds::Never => both_ways(&mut out, places, any_name, " AND "),
            other => other.write(&mut out, places),
        }
        Some(out)
    }

    /// As `expression`, where the protocol demands one.
    pub fn demanded(&self, places: &mut Places<'a>, any_name: &'a str) -> String {
        self.expression(places, any_name).unwrap_or_else(|| {
            let mut out = String::new();
            both_ways(&mut out, places, any_name, " OR ");
            out
        })
    }

    fn write(&self, out: &mut String, places: &mut Places<'a>) {
        match self {
            // Folding leaves them at the top only, where `expression` sees to them.
            Holds::Always | Holds::Never => unreachable!("what always or never holds was folded away"),
            Holds::Test(test) => write_test(out, places, test),
            Holds::Not(inner) => {
                out.push_str("NOT (");
                inner.write(out, places);
                out.push(')');
            }
            Holds::All(all) => list(out, places, all, " AND "),
            Holds::Any(any) => list(out, places, any, " OR "),
        }
    }
}

/// Each part that is a list itself in parentheses; around others they would be refused as redundant.
fn list<'a>(out: &mut String, places: &mut Places<'a>, parts: &[Holds<'a>], between: &str) {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            out.push_str(between);
        }
        let is_list = matches!(part, Holds::All(_) | Holds::Any(_));
        if is_list {
            out.push('(');
        }
        part.write(out, places);
        if is_list {
            out.push(')');
        }
    }
}

/// `there AND not there` never holds, with OR it always does; the grammar has no words for that.
fn both_ways<'a>(out: &mut String, places: &mut Places<'a>, name: &'a str, between: &str) {
    out.push_str("attribute_exists(");
    places.name(out, name);
    out.push(')');
    out.push_str(between);
    out.push_str("attribute_not_exists(");
    places.name(out, name);
    out.push(')');
}

/// Path and values of a test.
fn parts(test: &Condition) -> (&str, [Option<&Value>; 2]) {
    match test {
        Condition::Exists(path)
        | Condition::NotExists(path)
        | Condition::BeginsWith(path, _)
        | Condition::Contains(path, _)
        | Condition::In(path, _) => (path, [None, None]),
        Condition::Equals(path, value)
        | Condition::NotEquals(path, value)
        | Condition::LessThan(path, value)
        | Condition::LessThanOrEqual(path, value)
        | Condition::GreaterThan(path, value)
        | Condition::GreaterThanOrEqual(path, value) => (path, [Some(value), None]),
        Condition::Between(path, low, high) => (path, [Some(low), Some(high)]),
        Condition::Not(_) | Condition::And(_) | Condition::Or(_) => ("", [None, None]),
    }
}

fn write_test<'a>(out: &mut String, places: &mut Places<'a>, test: &'a Condition) {
    let mut compare = |operator: &str, path: &'a str, value: &Value| {
        path_of(out, places, path);
        out.push_str(operator);
        places.value(out, outgoing(value));
    };
    match test {
        Condition::Equals(path, value) => compare("=", path, value),
        Condition::NotEquals(path, value) => compare("<>", path, value),
        Condition::LessThan(path, value) => compare("<", path, value),
        Condition::LessThanOrEqual(path, value) => compare("<=", path, value),
        Condition::GreaterThan(path, value) => compare(">", path, value),
        Condition::GreaterThanOrEqual(path, value) => compare(">=", path, value),
        Condition::Between(path, low, high) => {
            compare(" BETWEEN ", path, low);
            out.push_str(" AND ");
            places.value(out, outgoing(high));
        }
        Condition::Exists(path) => call(out, places, "attribute_exists", path, None),
        Condition::NotExists(path) => call(out, places, "attribute_not_exists", path, None),
        Condition::BeginsWith(path, text) => call(out, places, "begins_with", path, Some(text)),
        Condition::Contains(path, text) => call(out, places, "contains", path, Some(text)),
        Condition::In(path, values) => {
            path_of(out, places, path);
            out.push_str(" IN (");
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                places.value(out, outgoing(value));
            }
            out.push(')');
        }
        Condition::Not(_) | Condition::And(_) | Condition::Or(_) => {
            unreachable!("`Holds` has forms of its own for them")
        }
    }
}

fn call<'a>(out: &mut String, places: &mut Places<'a>, function: &str, path: &'a str, text: Option<&str>) {
    out.push_str(function);
    out.push('(');
    path_of(out, places, path);
    if let Some(text) = text {
        out.push(',');
        places.value(out, AttributeValue::S(text.into()));
    }
    out.push(')');
}

fn path_of<'a>(out: &mut String, places: &mut Places<'a>, path: &'a str) {
    places.path(out, path).expect("`Holds::of` has read the path");
}

/// `SET #0=:0,#1=:1`, each name an attribute as it is; None without any. Errors: words for what is wrong.
pub(super) fn update<'a>(
    updates: &'a Map<String, Value>,
    places: &mut Places<'a>,
) -> Result<Option<String>, String> {
    let mut out = String::new();
    for (name, value) in updates {
        check_depth(value)?;
        out.push_str(if out.is_empty() { "SET " } else { "," });
        places.name(&mut out, name);
        out.push('=');
        places.value(&mut out, outgoing(value));
    }
    Ok((!out.is_empty()).then_some(out))
}

/// The paths of a projection; of none at all, the key alone, which tells that there is an item. Errors: words for what is no path.
pub(super) fn projection<'a>(
    paths: &'a [String],
    key_name: &'a str,
    places: &mut Places<'a>,
) -> Result<String, String> {
    let mut out = String::new();
    for path in paths {
        if !out.is_empty() {
            out.push(',');
        }
        places.path(&mut out, path)?;
    }
    if out.is_empty() {
        places.name(&mut out, key_name);
    }
    Ok(out)
}

fn check_depth(value: &Value) -> Result<(), String> {
    if is_too_deep(value) { Err("a value has more than 32 levels".into()) } else { Ok(()) }
}

/// Operands of one IN.
const IN_COUNT_MAX: usize = 100;
/// Levels of a condition. The protocol allows 300 operators in all.
const CONDITION_DEPTH_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text_of(condition: &Condition) -> (Option<String>, Vec<String>, usize) {
        let holds = Holds::of(condition).expect("it is good");
        let mut places = Places::default();
        let text = holds.expression(&mut places, "id");
        (text, places.names.iter().map(|name| name.to_string()).collect(), places.values.len())
    }

    fn expression(condition: &Condition) -> String {
        text_of(condition).0.expect("it has an expression")
    }

    fn exists(name: &str) -> Condition {
        Condition::Exists(name.into())
    }

    #[test]
    fn each_kind_has_its_form() {
        use Condition::*;
        let a = || String::from("a");
        let cases = [
            (Exists(a()), "attribute_exists(#0)"),
            (NotExists(a()), "attribute_not_exists(#0)"),
            (Equals(a(), json!(1)), "#0=:0"),
            (NotEquals(a(), json!(1)), "#0<>:0"),
            (LessThan(a(), json!(1)), "#0<:0"),
            (LessThanOrEqual(a(), json!(1)), "#0<=:0"),
            (GreaterThan(a(), json!(1)), "#0>:0"),
            (GreaterThanOrEqual(a(), json!(1)), "#0>=:0"),
            (In(a(), vec![json!(1), json!("x")]), "#0 IN (:0,:1)"),
            (Between(a(), json!(1), json!(2)), "#0 BETWEEN :0 AND :1"),
            (BeginsWith(a(), "x".into()), "begins_with(#0,:0)"),
            (Contains(a(), "x".into()), "contains(#0,:0)"),
            (Not(Box::new(exists("a"))), "NOT (attribute_exists(#0))"),
            (And(vec![exists("a"), exists("b")]), "attribute_exists(#0) AND attribute_exists(#1)"),
            (
                Or(vec![And(vec![exists("a"), exists("b")]), exists("c")]),
                "(attribute_exists(#0) AND attribute_exists(#1)) OR attribute_exists(#2)",
            ),
            (Equals("a.b[3].c".into(), json!(1)), "#0.#1[3].#2=:0"),
        ];
        for (condition, text) in cases {
            assert_eq!(expression(&condition), text);
        }
    }

    #[test]
    fn what_always_or_never_holds_is_folded() {
        let none = || Condition::And(Vec::new());
        let never = || Condition::Or(Vec::new());
        assert_eq!(text_of(&none()).0, None);
        assert_eq!(expression(&never()), "attribute_exists(#0) AND attribute_not_exists(#0)");
        assert_eq!(text_of(&Condition::Or(vec![exists("a"), none()])).0, None);
        // Names of what was folded away are not sent: the protocol refuses a name that nothing uses.
        let (_, names, _) = text_of(&Condition::And(vec![exists("b"), never()]));
        assert_eq!(names, ["id"]);
        let mut places = Places::default();
        let always = Holds::Always.demanded(&mut places, "id");
        assert_eq!(always, "attribute_exists(#0) OR attribute_not_exists(#0)");
    }

    #[test]
    fn one_in_takes_a_hundred_values() {
        let values = |count: usize| Condition::In("a".into(), (0..count).map(Value::from).collect());
        let condition = values(IN_COUNT_MAX);
        let (text, names, count) = text_of(&condition);
        assert_eq!(text.unwrap().matches("#0 IN (").count(), 1);
        assert_eq!((names.len(), count), (1, IN_COUNT_MAX));
        assert!(Holds::of(&values(IN_COUNT_MAX + 1)).is_err());
    }

    #[test]
    fn hostile_texts_stay_out_of_the_expression() {
        for name in ["#0", ":0", "a OR b", "x) OR attribute_exists(y", "size", "\u{0}", "日本", "'"] {
            let condition = Condition::Or(vec![
                Condition::Equals(name.into(), json!(name)),
                Condition::BeginsWith(format!("{name}[7]"), name.into()),
            ]);
            let (text, names, count) = text_of(&condition);
            assert_eq!(text.as_deref(), Some("#0=:0 OR begins_with(#0[7],:1)"));
            assert_eq!((names, count), (vec![name.to_string()], 2));
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused_with_words() {
        for path in
            ["", ".", "a.", "a..b", "[0]", "a[", "a[]", "a[x]", "a[-1]", "a[+1]", "a[0]b", "a[4294967296]"]
        {
            let error = Holds::of(&exists(path)).map(|_| ()).unwrap_err();
            assert!(error.contains("is no path"), "{error}");
        }
        assert!(Holds::of(&Condition::In("a".into(), vec![])).is_err());
        let deep = (0..CONDITION_DEPTH_MAX).fold(exists("a"), |inner, _| Condition::And(vec![inner]));
        assert!(Holds::of(&deep).is_err());
        let deep = (0..33).fold(json!(1), |value, _| json!([value]));
        assert!(Holds::of(&Condition::Equals("a".into(), deep)).is_err());
    }

    #[test]
    fn updates_and_projections_name_attributes() {
        let Value::Object(updates) = json!({"a.b": 1, "c": "x"}) else { unreachable!() };
        let mut places = Places::default();
        assert_eq!(update(&updates, &mut places).unwrap().as_deref(), Some("SET #0=:0,#1=:1"));
        assert_eq!(places.names, ["a.b", "c"]);
        let mut places = Places::default();
        let paths = ["a.b[0]".to_string(), "a.c".to_string()];
        assert_eq!(projection(&paths, "id", &mut places).unwrap(), "#0.#1[0],#0.#2");
        assert_eq!(projection(&[], "id", &mut Places::default()).unwrap(), "#0");
    }
}
