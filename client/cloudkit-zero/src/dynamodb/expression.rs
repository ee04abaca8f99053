//! Conditions, projections and updates as expressions of the protocol.
//! Invariant: an expression holds operators, digits and placeholders of ours, `#n` and `:n`; every name and every value of the
//! caller travels beside it, whatever it looks like. One placeholder stands for one name or one value.
//! Source: "Condition and filter expressions", DynamoDB developer guide.

use cloudkit_core::api::Condition;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use super::path::{Path, Step};
use super::value::{Tagged, TaggedInteger, TaggedText, is_too_deep};

/// The names of one request, in the order of their placeholders.
#[derive(Default, Debug)]
pub(super) struct Names<'a>(Vec<&'a str>);

/// The values of one request, in the order of their placeholders.
#[derive(Default, Debug)]
pub(super) struct Values<'a>(Vec<Operand<'a>>);

/// What an expression compares with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand<'a> {
    Value(&'a Value),
    Text(&'a str),
    Integer(i128),
}

/// The names and values of one request.
#[derive(Default, Debug)]
pub(super) struct Places<'a> {
    pub names: Names<'a>,
    pub values: Values<'a>,
}

impl<'a> Places<'a> {
    /// Appends the placeholder of a name; equal names share one.
    pub fn name(&mut self, out: &mut String, name: &'a str) {
        let names = &mut self.names.0;
        let index = names.iter().position(|known| *known == name).unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        });
        out.push('#');
        out.push_str(&index.to_string());
    }

    /// Appends the placeholder of a value.
    pub fn value(&mut self, out: &mut String, value: Operand<'a>) {
        out.push(':');
        out.push_str(&self.values.0.len().to_string());
        self.values.0.push(value);
    }

    /// Appends a path.
    pub fn path(&mut self, out: &mut String, path: &Path<'a>) {
        for (index, step) in path.steps().iter().enumerate() {
            match step {
                Step::Name(name) => {
                    if index > 0 {
                        out.push('.');
                    }
                    self.name(out, name);
                }
                Step::Index(index) => {
                    out.push('[');
                    out.push_str(&index.to_string());
                    out.push(']');
                }
            }
        }
    }
}

impl Names<'_> {
    /// Whether there is none; the protocol refuses an empty map.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Values<'_> {
    /// Whether there is none; the protocol refuses an empty map.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Names<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (index, name) in self.0.iter().enumerate() {
            map.serialize_entry(&format!("#{index}"), name)?;
        }
        map.end()
    }
}

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (index, value) in self.0.iter().enumerate() {
            let name = format!(":{index}");
            match value {
                Operand::Value(value) => map.serialize_entry(&name, &Tagged(value))?,
                Operand::Text(text) => map.serialize_entry(&name, &TaggedText(text))?,
                Operand::Integer(integer) => map.serialize_entry(&name, &TaggedInteger(*integer))?,
            }
        }
        map.end()
    }
}

/// A condition whose paths were read and in which what always or never holds is folded away.
#[derive(Debug)]
pub(super) enum Holds<'a> {
    Always,
    Never,
    Test(Path<'a>, Test<'a>),
    Not(Box<Holds<'a>>),
    All(Vec<Holds<'a>>),
    Any(Vec<Holds<'a>>),
}

/// What is asked of the value at a path.
#[derive(Debug)]
pub(super) enum Test<'a> {
    Exists,
    NotExists,
    Compare(&'static str, Operand<'a>),
    /// One of 1 to `IN_COUNT_MAX` values.
    In(&'a [Value]),
    Between(&'a Value, &'a Value),
    Function(&'static str, &'a str),
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
        let compare = |path, operator, value| {
            Ok(Holds::Test(path_of(path)?, Test::Compare(operator, Operand::Value(checked(value)?))))
        };
        match condition {
            Condition::Exists(path) => Ok(Holds::Test(path_of(path)?, Test::Exists)),
            Condition::NotExists(path) => Ok(Holds::Test(path_of(path)?, Test::NotExists)),
            Condition::Equals(path, value) => compare(path, "=", value),
            Condition::NotEquals(path, value) => compare(path, "<>", value),
            Condition::LessThan(path, value) => compare(path, "<", value),
            Condition::LessThanOrEqual(path, value) => compare(path, "<=", value),
            Condition::GreaterThan(path, value) => compare(path, ">", value),
            Condition::GreaterThanOrEqual(path, value) => compare(path, ">=", value),
            Condition::In(path, values) => Holds::one_of(path_of(path)?, values),
            Condition::Between(path, low, high) => {
                Ok(Holds::Test(path_of(path)?, Test::Between(checked(low)?, checked(high)?)))
            }
            Condition::BeginsWith(path, front) => {
                Ok(Holds::Test(path_of(path)?, Test::Function("begins_with", front)))
            }
            Condition::Contains(path, part) => {
                Ok(Holds::Test(path_of(path)?, Test::Function("contains", part)))
            }
            Condition::Not(inner) => Ok(Holds::within(inner, levels)?.not()),
            Condition::And(all) => {
                let all = all.iter().map(|one| Holds::within(one, levels)).collect::<Result<_, _>>()?;
                Ok(Holds::all(all))
            }
            Condition::Or(any) => {
                let any = any.iter().map(|one| Holds::within(one, levels)).collect::<Result<_, _>>()?;
                Ok(Holds::any(any))
            }
        }
    }

    fn one_of(path: Path<'a>, values: &'a [Value]) -> Result<Holds<'a>, String> {
        if values.is_empty() || values.len() > IN_COUNT_MAX {
            return Err(format!("In takes 1 to {IN_COUNT_MAX} values"));
        }
        values.iter().try_for_each(|value| checked(value).map(|_| ()))?;
        Ok(Holds::Test(path, Test::In(values)))
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
            Holds::Test(path, test) => test.write(out, places, path),
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

impl<'a> Test<'a> {
    fn write(&self, out: &mut String, places: &mut Places<'a>, path: &Path<'a>) {
        match self {
            Test::Exists => Test::call(out, places, "attribute_exists", path, None),
            Test::NotExists => Test::call(out, places, "attribute_not_exists", path, None),
            Test::Function(function, text) => Test::call(out, places, function, path, Some(text)),
            Test::Compare(operator, value) => {
                places.path(out, path);
                out.push_str(operator);
                places.value(out, *value);
            }
            Test::In(values) => {
                places.path(out, path);
                out.push_str(" IN (");
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    places.value(out, Operand::Value(value));
                }
                out.push(')');
            }
            Test::Between(low, high) => {
                places.path(out, path);
                out.push_str(" BETWEEN ");
                places.value(out, Operand::Value(low));
                out.push_str(" AND ");
                places.value(out, Operand::Value(high));
            }
        }
    }

    fn call(
        out: &mut String,
        places: &mut Places<'a>,
        function: &str,
        path: &Path<'a>,
        text: Option<&'a str>,
    ) {
        out.push_str(function);
        out.push('(');
        places.path(out, path);
        if let Some(text) = text {
            out.push(',');
            places.value(out, Operand::Text(text));
        }
        out.push(')');
    }
}

/// `SET #0=:0,#1=:1`, each name an attribute as it is; None without any. Errors: words for what is wrong.
pub(super) fn update<'a>(
    updates: &'a Map<String, Value>,
    places: &mut Places<'a>,
) -> Result<Option<String>, String> {
    let mut out = String::new();
    for (name, value) in updates {
        out.push_str(if out.is_empty() { "SET " } else { "," });
        places.name(&mut out, name);
        out.push('=');
        places.value(&mut out, Operand::Value(checked(value)?));
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
        places.path(&mut out, &path_of(path)?);
    }
    if out.is_empty() {
        places.name(&mut out, key_name);
    }
    Ok(out)
}

fn path_of(text: &str) -> Result<Path<'_>, String> {
    Path::parse(text).ok_or_else(|| format!("{text:?} is no path of attributes"))
}

fn checked(value: &Value) -> Result<&Value, String> {
    if is_too_deep(value) { Err("a value has more than 32 levels".into()) } else { Ok(value) }
}

/// Operands of one IN.
const IN_COUNT_MAX: usize = 100;
/// Levels of a condition. The protocol allows 300 operators in all.
const CONDITION_DEPTH_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text_of(condition: &Condition) -> (Option<String>, Value, Value) {
        let holds = Holds::of(condition).expect("it is good");
        let mut places = Places::default();
        let text = holds.expression(&mut places, "id");
        (text, serde_json::to_value(&places.names).unwrap(), serde_json::to_value(&places.values).unwrap())
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
            (
                And(vec![exists("a"), exists("b"), exists("a")]),
                "attribute_exists(#0) AND attribute_exists(#1) AND attribute_exists(#0)",
            ),
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
        assert_eq!(text_of(&Condition::Not(Box::new(never()))).0, None);
        assert_eq!(text_of(&Condition::Or(vec![exists("a"), none()])).0, None);
        assert_eq!(expression(&Condition::And(vec![exists("a"), none()])), "attribute_exists(#0)");
        // Names of what was folded away are not sent: the protocol refuses a name that nothing uses.
        let (text, names, _) = text_of(&Condition::And(vec![exists("b"), never()]));
        assert_eq!(
            (text.as_deref(), names),
            (Some("attribute_exists(#0) AND attribute_not_exists(#0)"), json!({"#0": "id"}))
        );
        let twice = Condition::Not(Box::new(Condition::Not(Box::new(exists("a")))));
        assert_eq!(expression(&twice), "attribute_exists(#0)");
        let mut places = Places::default();
        assert_eq!(
            Holds::Always.demanded(&mut places, "id"),
            "attribute_exists(#0) OR attribute_not_exists(#0)"
        );
    }

    #[test]
    fn one_in_takes_a_hundred_values() {
        let values = |count: usize| Condition::In("a".into(), (0..count).map(Value::from).collect());
        let (text, names, places) = text_of(&values(IN_COUNT_MAX));
        assert_eq!(text.unwrap().matches("#0 IN (").count(), 1);
        assert_eq!((names, places.as_object().unwrap().len()), (json!({"#0": "a"}), IN_COUNT_MAX));
        assert!(Holds::of(&values(IN_COUNT_MAX + 1)).is_err());
    }

    #[test]
    fn hostile_texts_stay_out_of_the_expression() {
        let hostile = [
            "#0",
            ":0",
            "a OR b",
            "x) OR attribute_exists(y",
            "size",
            "NULL",
            "select",
            "\u{0}",
            "日本",
            "a b",
            "'",
            "\"",
            "#0=:0 OR #0",
        ];
        for name in hostile {
            for other in hostile {
                let condition = Condition::And(vec![
                    Condition::Equals(name.into(), json!(other)),
                    Condition::BeginsWith(other.into(), name.into()),
                    Condition::In(format!("{name}.{other}[7]"), vec![json!(name), json!({other: name})]),
                ]);
                let (text, names, values) = text_of(&condition);
                let text = text.unwrap();
                let ours =
                    |c: char| c.is_ascii_digit() || "#:=(),.[]_ ".contains(c) || c.is_ascii_alphabetic();
                assert!(text.chars().all(ours), "{text}");
                for word in text.split(|c: char| !c.is_ascii_alphabetic() && c != '_') {
                    assert!(["", "AND", "IN", "begins_with"].contains(&word), "{word} in {text}");
                }
                let distinct = if name == other { 1 } else { 2 };
                assert_eq!(names.as_object().unwrap().len(), distinct);
                assert!(names.as_object().unwrap().values().any(|value| value == name));
                assert_eq!(values[":0"], json!({"S": other}));
                assert_eq!(values[":1"], json!({"S": name}));
                assert_eq!(values[":3"], json!({"M": {other: {"S": name}}}));
            }
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused_with_words() {
        for path in ["", "a..b", "a[x]"] {
            let error =
                Holds::of(&Condition::Or(vec![Condition::Or(vec![]), exists(path)])).map(|_| ()).unwrap_err();
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
        assert_eq!(serde_json::to_value(&places.names).unwrap(), json!({"#0": "a.b", "#1": "c"}));
        assert_eq!(update(&Map::new(), &mut Places::default()).unwrap(), None);
        let mut places = Places::default();
        let paths = ["a.b[0]".to_string(), "a.c".to_string()];
        assert_eq!(projection(&paths, "id", &mut places).unwrap(), "#0.#1[0],#0.#2");
        assert_eq!(projection(&[], "id", &mut Places::default()).unwrap(), "#0");
        assert!(projection(&["a[".to_string()], "id", &mut Places::default()).is_err());
    }
}
