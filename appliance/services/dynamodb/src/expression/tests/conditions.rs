//! What conditions answer.

use super::*;

const ITEM: &str = r#"{
    "pk":{"S":"k"}, "n":{"N":"5"}, "s":{"S":"hello"}, "b":{"B":"AQID"}, "t":{"BOOL":true}, "z":{"NULL":true},
    "ss":{"SS":["x","y"]}, "ns":{"NS":["1","2.0"]}, "bs":{"BS":["AQ==","Ag=="]},
    "l":{"L":[{"S":"x"},{"N":"1"},{"M":{"deep":{"L":[{"S":"in"}]}}}]},
    "m":{"M":{"a":{"S":"v"},"n":{"N":"7"},"dot.ted":{"S":"d"}}},
    "same":{"S":"hello"}, "smile":{"S":"aé😀"}, "blank":{"S":""}
}"#;

const VALUES: &str = r#"{
    ":five":{"N":"5.0"}, ":six":{"N":"6"}, ":four":{"N":"4"}, ":hello":{"S":"hello"}, ":hel":{"S":"hel"},
    ":x":{"S":"x"}, ":q":{"S":"q"}, ":b":{"B":"AQID"}, ":b1":{"B":"AQ=="}, ":b23":{"B":"AgM="}, ":one":{"N":"1"},
    ":two":{"N":"2"}, ":three":{"N":"3"}, ":true":{"BOOL":true}, ":null":{"NULL":true},
    ":ss":{"SS":["y","x"]}, ":m":{"M":{"deep":{"L":[{"S":"in"}]}}}, ":S":{"S":"S"}, ":L":{"S":"L"}, ":NS":{"S":"NS"},
    ":e":{"S":""}
}"#;

/// Evaluates with all values at hand; those that are not used do not matter here.
fn holds(text: &str, item_json: Option<&str>) -> bool {
    let (names, values) = (names("#d=dot.ted,#n=n"), values(VALUES));
    let mut binder = Binder::new(Some(&names), Some(&values));
    let condition = binder.condition(&mut Cache::new(), Kind::Filter, text).unwrap();
    let item = item_json.map(item);
    condition.holds(item.as_ref().map(Item::as_ref))
}

fn check(rows: &[(&str, bool)]) {
    for (text, expected) in rows {
        assert_eq!(holds(text, Some(ITEM)), *expected, "{text}");
        assert_eq!(holds(&format!("NOT {text}"), Some(ITEM)), !*expected, "NOT {text}");
    }
}

#[test]
fn values_of_one_type_are_compared() {
    check(&[
        ("n = :five", true),
        ("n <> :five", false),
        ("n < :six", true),
        ("n <= :five", true),
        ("n > :five", false),
        ("n >= :five", true),
        (":four < n", true),
        ("s = :hello", true),
        ("s = same", true),
        ("s > :hel", true),
        ("b = :b", true),
        ("b > :b1", true),
        ("t = :true", true),
        ("z = :null", true),
        ("ss = :ss", true),
        ("l[2] = :m", true),
        ("l[0] = :x", true),
        ("m.n > n", true),
        ("m.#d <> :x", true),
        ("n BETWEEN :four AND :six", true),
        ("n BETWEEN :five AND :five", true),
        (":five BETWEEN :four AND n", true),
        ("s BETWEEN :hel AND :q", true),
        ("n IN (:four, :five)", true),
        ("n IN (:four, m.n)", false),
        ("blank = :e", true),
    ]);
}

#[test]
fn another_type_is_different_and_has_no_order() {
    check(&[
        ("n = :hello", false),
        ("n <> :hello", true),
        ("n < :hello", false),
        ("n >= :hello", false),
        ("n BETWEEN :hel AND :hello", false),
        ("n IN (:hello, :true)", false),
        ("ss < :hello", false),
        ("t > :hello", false),
    ]);
}

#[test]
fn what_is_missing_differs_from_everything() {
    check(&[
        ("nope = :five", false),
        ("nope <> :five", true),
        ("nope < :five", false),
        ("nope = nada", false),
        ("nope <> nada", true),
        ("nope BETWEEN :four AND :six", false),
        ("nope IN (:four)", false),
        ("n IN (nope, :five)", true),
        ("attribute_exists(nope)", false),
        ("attribute_not_exists(nope)", true),
        ("attribute_exists(m.a)", true),
        ("attribute_not_exists(m.x.y)", true),
        ("attribute_exists(l[2].deep[0])", true),
        ("attribute_exists(l[3])", false),
        ("attribute_exists(s[0])", false),
        ("begins_with(nope, :hel)", false),
        ("contains(nope, :x)", false),
        ("attribute_type(nope, :S)", false),
        ("size(nope) = :one", false),
        ("size(nope) <> :one", true),
    ]);
}

#[test]
fn functions_answer_by_type() {
    check(&[
        ("begins_with(s, :hel)", true),
        ("begins_with(s, :hello)", true),
        ("begins_with(s, :e)", true),
        ("begins_with(s, :q)", false),
        ("begins_with(b, :b1)", true),
        ("begins_with(b, :hel)", false),
        ("begins_with(n, :hel)", false),
        ("begins_with(:hello, s)", true),
        ("contains(s, :hel)", true),
        ("contains(s, :e)", true),
        ("contains(s, :q)", false),
        ("contains(b, :b23)", true),
        ("contains(ss, :x)", true),
        ("contains(ss, :q)", false),
        ("contains(ns, :two)", true),
        ("contains(ns, :x)", false),
        ("contains(bs, :b1)", true),
        ("contains(bs, :x)", false),
        ("contains(l, :x)", true),
        ("contains(l, :one)", true),
        ("contains(l, :m)", true),
        ("contains(l, :q)", false),
        ("contains(m, :x)", false),
        ("contains(n, :five)", false),
        ("contains(l, size(blank))", false),
        ("attribute_type(s, :S)", true),
        ("attribute_type(l, :L)", true),
        ("attribute_type(ns, :NS)", true),
        ("attribute_type(n, :S)", false),
        ("attribute_type(:hello, :S)", true),
    ]);
}

#[test]
fn size_counts_units_bytes_and_elements() {
    check(&[
        ("size(s) = :five", true),
        ("size(smile) = :four", true),
        ("size(b) = :three", true),
        ("size(ss) = :two", true),
        ("size(l) = :three", true),
        ("size(m) >= :three", true),
        ("size(s) = size(same)", true),
        ("size(b) < size(s)", true),
        (":two < size(b)", true),
        ("size(:hello) = n", true),
        ("size(s) BETWEEN :four AND :six", true),
        ("size(b) IN (:two, :three)", true),
        ("size(b) = :hello", false),
        ("contains(l, size(m.a))", true),
    ]);
    // A type that has no size makes every comparison false.
    check(&[("size(n) = :five", false), ("size(n) <> :five", false), ("size(t) < :five", false)]);
}

#[test]
fn operators_bind_as_they_do_elsewhere() {
    check(&[
        ("(n = :six AND n = :six OR n = :five)", true),
        ("(n = :five OR n = :five AND n = :six)", true),
        ("((n = :five OR n = :five) AND n = :six)", false),
        ("(NOT n = :six AND n = :six)", false),
        ("(NOT (n = :six AND n = :six))", true),
        ("(NOT NOT n = :five)", true),
        ("(n between :four and :six and not s = :q)", true),
        ("(n = :six OR n = :six OR n = :five)", true),
        ("(n = :five AND (s = :q OR (b = :b AND (t = :true))))", true),
    ]);
}

#[test]
fn an_item_that_does_not_exist_has_no_attributes() {
    for (text, expected) in [
        ("attribute_not_exists(pk)", true),
        ("attribute_exists(pk)", false),
        ("n = :five", false),
        ("n <> :five", true),
        ("size(s) > :one", false),
        (":five = :five", true),
    ] {
        assert_eq!(holds(text, None), expected, "{text}");
    }
}

#[test]
fn a_deep_text_takes_no_stack() {
    let deep = format!("{}n = :five", "NOT ".repeat(299));
    assert!(!holds(&deep, Some(ITEM)));
    let nested = format!("{}n = :five{}", "(NOT ".repeat(299), ")".repeat(299));
    assert!(!holds(&nested, Some(ITEM)));
    let open = "(".repeat(TEXT_BYTES_MAX);
    assert!(refusal(Kind::Condition, &open, "", "{}").unwrap().contains("<EOF>"));
    let calls = format!("{}a{} = :v", "size(".repeat(299), ")".repeat(299));
    assert!(refusal(Kind::Condition, &calls, "", r#"{":v":{"N":"1"}}"#).unwrap().contains("size"));
    let sources = format!("SET a = {}:v{}", "if_not_exists(b,".repeat(200), ")".repeat(200));
    assert_eq!(refusal(Kind::Update, &sources, "", r#"{":v":{"N":"1"}}"#), None);
}

#[test]
fn a_condition_goes_to_another_thread() {
    fn sent<T: Send + Sync + Clone + 'static>(value: T) -> T {
        value
    }
    let condition = sent(condition("a = :v", "", r#"{":v":{"S":"x"}}"#));
    let answer = std::thread::spawn(move || condition.holds(Some(item(r#"{"a":{"S":"x"}}"#).as_ref())));
    assert!(answer.join().unwrap());
    sent(Update::empty());
}

#[test]
fn a_value_that_is_named_often_is_held_once() {
    let text = vec!["a = :v"; 100].join(" OR ");
    let condition = condition(&text, "", r#"{":v":{"S":"x"}}"#);
    assert_eq!(condition.paths().count(), 100);
    assert_eq!(condition.value_count(), 1);
}
