//! Statements: what they become, and what is refused.

use super::*;
use crate::expression::{KeyTest, SortTest};
use crate::json::{Reader, read_item, read_value};
use crate::model::table::{KeyAttribute, KeyType};
use crate::value::{Item, Value};

fn item(json: &str) -> Item {
    read_item(&mut Reader::new(json.as_bytes()).unwrap()).unwrap().value
}

fn value(json: &str) -> Value {
    read_value(&mut Reader::new(json.as_bytes()).unwrap()).unwrap().value
}

fn refused(text: &str) -> String {
    parse(text, &[]).err().unwrap_or_else(|| panic!("{text} was taken")).into_message()
}

fn select(text: &str) -> Select {
    match parse(text, &[]).unwrap() {
        Statement::Select(select) => select,
        _ => panic!("{text} is no SELECT"),
    }
}

fn clause(text: &str) -> Where {
    select(&format!("SELECT * FROM t WHERE {text}")).condition.unwrap()
}

fn key(name: &str) -> Vec<KeyAttribute> {
    vec![KeyAttribute { name: name.into(), kind: KeyType::S }]
}

#[test]
fn a_select_names_its_table_its_index_and_its_columns() {
    let plain = select(r#"SELECT * FROM "_my-table""#);
    assert_eq!(plain.from, TableName { table: "_my-table".into(), index: None });
    assert!(plain.columns == Columns::All && plain.condition.is_none() && plain.order.is_empty());
    let full = select(r#"select pk, m.nested, l[0] from "t"."i-1" where pk = 'x' order by pk desc, sk ;"#);
    assert_eq!(full.from, TableName { table: "t".into(), index: Some("i-1".into()) });
    assert_eq!(full.order, [("pk".into(), false), ("sk".into(), true)]);
    let shown = full.columns.of(item(
        r#"{"pk":{"S":"x"},"other":{"S":"y"},"m":{"M":{"nested":{"N":"1"}}},"l":{"L":[{"BOOL":true}]}}"#,
    )
    .as_ref());
    assert_eq!(shown, item(r#"{"pk":{"S":"x"},"nested":{"N":"1"},"_3":{"BOOL":true}}"#));
    assert_eq!(full.columns.of(item(r#"{"a":{"S":"x"}}"#).as_ref()), Item::empty());
}

#[test]
fn an_insert_takes_literals_of_every_type_and_parameters() {
    let text = r#"INSERT INTO "t" VALUE {'pk': ?, 'n': -1.50, 'e': 1e3, 't': TRUE, 'z': null, 'q': 'it''s',
        'l': [1, 'a', [], ?], 'm': {'x': {'y': FALSE}}, 'ss': <<'b', 'a'>>, 'ns': <<1, 2>>}"#;
    let parameters = [value(r#"{"S":"k"}"#), value(r#"{"M":{"deep":{"B":"AQID"}}}"#)];
    let Statement::Insert(insert) = parse(text, &parameters).unwrap() else { panic!() };
    assert_eq!(&*insert.table, "t");
    let expected = r#"{"pk":{"S":"k"},"n":{"N":"-1.5"},"e":{"N":"1000"},"t":{"BOOL":true},"z":{"NULL":true},
        "q":{"S":"it's"},"l":{"L":[{"N":"1"},{"S":"a"},{"L":[]},{"M":{"deep":{"B":"AQID"}}}]},
        "m":{"M":{"x":{"M":{"y":{"BOOL":false}}}}},"ss":{"SS":["a","b"]},"ns":{"NS":["1","2"]}}"#;
    assert_eq!(insert.item, item(expected));
}

#[test]
fn conditions_answer_as_expressions_do() {
    let item = item(
        r#"{"pk":{"S":"x"},"n":{"N":"5"},"z":{"NULL":true},"ss":{"SS":["a"]},"m":{"M":{"k":{"S":"vw"}}}}"#,
    );
    for (text, truth) in [
        ("pk = 'x'", true),
        ("pk <> 'x'", false),
        ("pk != 'y'", true),
        ("n > 4 AND n < 6", true),
        ("n BETWEEN 5 AND 6 AND pk = 'y'", false),
        ("4 < n", true),
        ("n IN (1, 5)", true),
        ("n IN [1, 2]", false),
        ("m.k = 'vw'", true),
        ("m['k'] = 'vw'", true),
        ("\"m\".\"k\" = 'vw'", true),
        ("begins_with(m.k, 'v')", true),
        ("BEGINS_WITH(\"pk\", 'y')", false),
        ("contains(ss, 'a')", true),
        ("attribute_type(n, 'N')", true),
        ("attribute_exists(n)", true),
        ("size(m.k) = 2", true),
        ("nope IS MISSING", true),
        ("n IS NOT MISSING", true),
        ("z IS NULL", true),
        ("pk IS STRING", true),
        ("pk IS NOT bool", true),
        ("m IS NUMBER", false),
        ("attribute_exists(n) = true AND attribute_exists(nope) = FALSE", true),
        ("n IS NULL", false),
        ("n IS NOT NULL", true),
        ("NOT (n = 5 OR pk = 'y')", false),
        ("NOT n = 6 AND (pk = 'y' OR (n = 5))", true),
        ("((n = 5))", true),
        ("(n) = (5)", true),
        ("n = 5 OR pk = 'y' AND pk = 'z'", true),
    ] {
        assert_eq!(clause(text).condition().holds(Some(item.as_ref())), truth, "{text}");
    }
}

fn parts(text: &str) -> Vec<KeyTest> {
    match clause(text).access(&key("pk"), &key("sk")).unwrap() {
        Access::Keys(tests) => tests,
        Access::Scan => Vec::new(),
    }
}

#[test]
fn keys_are_found_among_what_is_joined_by_and() {
    let s = Value::s;
    for (text, sort) in [
        ("pk = 'a'", SortTest::Any),
        ("'a' = pk", SortTest::Any),
        ("pk = 'a' AND sk = 'b'", SortTest::Equal(s("b"))),
        ("x = 1 AND (sk > 'b' AND pk = 'a')", SortTest::Greater(s("b"))),
        ("'b' > sk AND pk = 'a'", SortTest::Less(s("b"))),
        ("pk = 'a' AND sk BETWEEN 'b' AND 'c'", SortTest::Between(s("b"), s("c"))),
        ("pk = 'a' AND begins_with(sk, 'b')", SortTest::BeginsWith(s("b"))),
        ("pk = 'a' AND (sk = 'b' OR x = 1)", SortTest::Any),
        ("pk = 'a' AND NOT sk = 'b'", SortTest::Any),
        ("pk = 'a' AND sk <> 'b'", SortTest::Any),
    ] {
        let parts = parts(text);
        assert!(parts.len() == 1 && parts[0].hash == [s("a")] && parts[0].sort == sort, "{text}");
    }
    for text in [
        "sk = 'a'",
        "pk > 'a'",
        "pk = 'a' OR sk = 'b'",
        "NOT pk = 'a'",
        "pk = x",
        "size(pk) = 1",
        "pk.a = 'a'",
    ] {
        assert!(parts(text).is_empty(), "{text}");
    }
    let several = parts("pk IN ['b', 'a', 'b'] AND sk IN ('x', 'y')");
    let seen: Vec<_> = several.iter().map(|part| (part.hash[0].clone(), part.sort.clone())).collect();
    let expected = [("b", "x"), ("b", "y"), ("a", "x"), ("a", "y")];
    assert!(seen == expected.map(|(hash, sort)| (s(hash), SortTest::Equal(s(sort)))));
    let chosen = parts("(sk = 'x' OR sk IN ('y')) AND (pk = 'a' OR 'b' = pk OR pk = 'a')");
    let seen: Vec<_> = chosen.iter().map(|part| (part.hash[0].clone(), part.sort.clone())).collect();
    let expected = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")];
    assert!(seen == expected.map(|(hash, sort)| (s(hash), SortTest::Equal(s(sort)))));
    assert!(parts("pk = 'a' OR pk > 'b'").is_empty() && parts("(pk = 'a' AND x = 1) OR pk = 'b'").is_empty());
    let many: Vec<String> = (0..101).map(|number| format!("pk = '{number}'")).collect();
    assert!(parts(&many.join(" OR ")).is_empty() && parts(&many[..100].join(" OR ")).len() == 100);
    let twice = clause("pk = 'a' AND sk > 'b' AND sk < 'c'").access(&key("pk"), &key("sk"));
    let words = "Overlapping conditions with range keys are not supported in where clause";
    assert_eq!(twice.err().unwrap().message(), words);
}

#[test]
fn a_clause_that_says_only_the_key_needs_no_filter() {
    let filtered = |text: &str| clause(text).filter(&key("pk"), &key("sk")).is_some();
    for text in ["pk = 'a'", "pk = 'a' AND sk > 'b'", "pk IN ('a', 'b') AND sk = 'c'", "pk = 'a' OR pk = 'b'"]
    {
        assert!(!filtered(text), "{text}");
    }
    for text in [
        "pk = 'a' AND x = 1",
        "pk = 'a' AND pk = 'b'",
        "pk = 'a' OR sk = 'b'",
        "pk = 'a' AND sk <> 'b'",
        "NOT pk = 'a'",
        "pk = 'a' AND pk > 'b'",
        "sk = 'a'  OR NOT x = 1",
    ] {
        assert!(filtered(text), "{text}");
    }
}

#[test]
fn writes_name_a_whole_key() {
    let key_of = |text: &str| clause(text).key(&["pk", "sk"]);
    let whole = item(r#"{"pk":{"S":"a"},"sk":{"N":"1"}}"#);
    assert_eq!(key_of("pk = 'a' AND sk = 1"), Ok((whole.clone(), false)));
    assert_eq!(key_of("sk = 1 AND x > 2 AND pk = 'a'"), Ok((whole.clone(), true)));
    assert_eq!(key_of("pk = 'a' AND sk = 1 AND sk = 2"), Ok((whole, true)));
    for text in ["pk = 'a'", "pk = 'a' AND sk > 1", "pk = 'a' OR sk = 1", "pk IN ('a') AND sk = 1"] {
        let words = "Where clause does not contain a mandatory equality on all key attributes";
        assert_eq!(key_of(text).err().unwrap().message(), words, "{text}");
    }
}

#[test]
fn an_update_sets_and_removes() {
    let apply = |clauses: &str, old: &str| {
        let text = format!("UPDATE \"t\" {clauses} WHERE pk = 'k'");
        let Statement::Update(update) = parse(&text, &[]).unwrap() else { panic!() };
        let (old, key) = (item(old), item(r#"{"pk":{"S":"k"}}"#));
        update.update.apply(Some(old.as_ref()), key.as_ref()).map(|updated| updated.item.unwrap())
    };
    for (clauses, old, new) in [
        ("SET data = 'after'", "{}", r#"{"data":{"S":"after"}}"#),
        (
            "SET a = 1, b = a SET c = 2 REMOVE d, m.x",
            r#"{"a":{"N":"0"},"d":{"N":"1"},"m":{"M":{"x":{"N":"1"}}}}"#,
            r#"{"a":{"N":"1"},"b":{"N":"0"},"c":{"N":"2"},"m":{"M":{}}}"#,
        ),
        ("SET a = a + 1", r#"{"a":{"N":"1"}}"#, r#"{"a":{"N":"2"}}"#),
        ("SET a = 10 - a", r#"{"a":{"N":"1"}}"#, r#"{"a":{"N":"9"}}"#),
        ("SET l = list_append(l, [2])", r#"{"l":{"L":[{"N":"1"}]}}"#, r#"{"l":{"L":[{"N":"1"},{"N":"2"}]}}"#),
        ("SET a = if_not_exists(a, if_not_exists(b, 3))", "{}", r#"{"a":{"N":"3"}}"#),
        ("SET s = set_add(s, <<'b'>>)", r#"{"s":{"SS":["a"]}}"#, r#"{"s":{"SS":["a","b"]}}"#),
        ("SET s = set_delete(s, <<'b'>>)", r#"{"s":{"SS":["a","b"]}}"#, r#"{"s":{"SS":["a"]}}"#),
        ("REMOVE l[0]", r#"{"l":{"L":[{"N":"1"},{"N":"2"}]}}"#, r#"{"l":{"L":[{"N":"2"}]}}"#),
    ] {
        assert_eq!(apply(clauses, old), Ok(item(new)), "{clauses}");
    }
    assert!(refused("UPDATE t SET a = 1, a.b = 2 WHERE pk = 'k'").contains("overlap"));
}

#[test]
fn an_update_may_begin_with_its_table_and_condition() {
    let text = "from t where pk = ? AND a = 1 SET c = ?, d = 2 REMOVE b RETURNING ALL NEW *";
    let parameters = [value(r#"{"S":"k"}"#), value(r#"{"N":"7"}"#)];
    let Statement::Update(update) = parse(text, &parameters).unwrap() else { panic!() };
    assert_eq!(update.condition.key(&["pk"]), Ok((item(r#"{"pk":{"S":"k"}}"#), true)));
    let old = item(r#"{"pk":{"S":"k"},"b":{"N":"1"}}"#);
    let new = update.update.apply(Some(old.as_ref()), old.as_ref()).unwrap().item;
    assert_eq!(new, Some(item(r#"{"pk":{"S":"k"},"c":{"N":"7"},"d":{"N":"2"}}"#)));
    assert_eq!(update.returning, Some(Returning::AllNew));
    refused("FROM t SET a = 1 WHERE pk = 'k'");
    refused("FROM t SET a = 1");
}

#[test]
fn returning_says_what_is_answered() {
    let returning =
        |words: &str| match parse(&format!("UPDATE t SET a = 1 WHERE pk = 'k' {words}"), &[]).unwrap() {
            Statement::Update(update) => update.returning,
            _ => None,
        };
    assert_eq!(returning(""), None);
    assert_eq!(returning("RETURNING ALL OLD *"), Some(Returning::AllOld));
    assert_eq!(returning("returning all new *"), Some(Returning::AllNew));
    assert_eq!(returning("RETURNING MODIFIED OLD *"), Some(Returning::ModifiedOld));
    assert_eq!(returning("RETURNING MODIFIED NEW *"), Some(Returning::ModifiedNew));
    let Statement::Delete(delete) = parse("DELETE FROM t WHERE pk = 'k' RETURNING ALL OLD *", &[]).unwrap()
    else {
        panic!()
    };
    assert!(delete.returning_old);
    assert_eq!(
        refused("DELETE FROM t WHERE pk = 'k' RETURNING MODIFIED NEW *"),
        "Invalid returning clause: RETURNING MODIFIED NEW *. \
         Only RETURNING ALL OLD * is allowed in DELETE statements."
    );
}

#[test]
fn a_check_is_a_select_that_exists() {
    let Statement::Exists(exists) = parse("EXISTS(SELECT * FROM t WHERE pk = 'k' AND a = 1)", &[]).unwrap()
    else {
        panic!()
    };
    assert_eq!(exists.condition.key(&["pk"]), Ok((item(r#"{"pk":{"S":"k"}}"#), true)));
}

#[test]
fn parameters_are_as_many_as_their_marks() {
    let words = "Number of parameters in request and statement don't match.";
    let one = [value(r#"{"S":"x"}"#)];
    for (text, parameters) in [
        ("SELECT * FROM t WHERE a = ?", &[][..]),
        ("SELECT * FROM t", &one),
        ("SELECT * FROM t WHERE a = ? OR b = ?", &one),
    ] {
        assert_eq!(parse(text, parameters).err().unwrap().message(), words, "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_refused() {
    let malformed = "Statement wasn't well formed, can't be processed: ";
    for (text, words) in [
        ("", "Expected data manipulation"),
        ("'x'", "Expected data manipulation"),
        ("SELECTT * FROMM \"t\"", "Unexpected token after expression"),
        ("SELECT * FROM t WHERE a = 1 2", "Unexpected token after expression"),
        ("WHERE", "Unexpected keyword"),
        ("SELECT FROM t", "Unexpected keyword"),
        ("SELECT * FROM t WHERE a =", "Missing right-hand side expression of infix operator"),
        ("SELECT * FROM t WHERE", "Unexpected term"),
        ("SELECT * FROM t WHERE a", "Unexpected term"),
        ("SELECT a.* FROM t", "Invalid path dot component"),
        ("SELECT * FROM t WHERE a IS 5", "Expected type name"),
        ("SELECT * FROM t WHERE (a = 1", "Unexpected term"),
        ("SELECT * FROM t WHERE a = 1)", "Unexpected token after expression"),
        ("SELECT * FROM t WHERE a AND b = 1", "Unexpected keyword"),
        ("INSERT INTO t VALUE {'a' 1}", "Unexpected term"),
        ("UPDATE t WHERE a = 1", "Unexpected keyword"),
        ("UPDATE t SET a = 1", "Unexpected term"),
        ("DELETE FROM t", "Unexpected term"),
        ("SELECT * FROM t WHERE a = 'x", ""),
        ("SELECT * FROM t WHERE a[99999999999] = 1", ""),
    ] {
        assert_eq!(refused(text), format!("{malformed}{words}"), "{text}");
    }
    for (text, words) in [
        ("SELECT COUNT(*) FROM t", "Unexpected path component at 1:8:5"),
        ("SELECT * FROM t AS u", "Aliasing is not supported"),
        ("SELECT a AS b FROM t", "Aliasing is not supported"),
        ("SELECT * FROM t WHERE f(a) = 1", "Unrecognized function: f at 1:23:1"),
        ("UPDATE t SET\n a = g(b) WHERE c = 1", "Unrecognized function: g at 2:6:1"),
        ("SELECT * FROM t WHERE EXISTS(a)", "Unrecognized function: exists at 1:23:6"),
        ("SELECT * FROM t WHERE a IS STRUCTURE", "Unsupported operation: IsType"),
        ("SELECT \"\" FROM t", "Path component cannot be an empty string"),
        ("SELECT * FROM a.b.c", "A path may contain at most 2 components in the FROM clause"),
        ("DELETE FROM a.b WHERE c = 1", "This operation is not supported on an index"),
        ("INSERT INTO t VALUE {'a': << >>}", "Empty bags are not supported"),
        (
            "INSERT INTO t VALUE {'a': 1e126}",
            "Number overflow. Attempting to store a number with magnitude larger than supported range under root",
        ),
    ] {
        assert_eq!(refused(text), words, "{text}");
    }
}

#[test]
fn depth_is_bounded_and_takes_no_stack() {
    let list =
        |depth: usize| format!("INSERT INTO t VALUE {{'a': {}1{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(&list(30), &[]).is_ok());
    assert!(refused(&list(40)).starts_with("Nesting Levels"));
    assert!(refused(&list(4_000)).starts_with("Nesting Levels"));
    let nots = format!("SELECT * FROM t WHERE {}a = 1", "NOT ".repeat(2_000));
    assert!(parse(&nots, &[]).is_ok());
    let open = format!("SELECT * FROM t WHERE {}a = 1{}", "(".repeat(2_000), ")".repeat(2_000));
    assert!(parse(&open, &[]).is_ok());
    let nested =
        format!("UPDATE t SET a = {}1{} WHERE b = 1", "if_not_exists(b,".repeat(100), ")".repeat(100));
    assert!(refused(&nested).starts_with("Nesting Levels"));
    assert!(refused(&"x".repeat(STATEMENT_CHARACTERS_MAX + 1)).contains("too long"));
}

#[test]
fn numbers_are_refused_with_their_place_and_literals_that_are_none_without_a_word() {
    let over =
        "Number overflow. Attempting to store a number with magnitude larger than supported range under ";
    let under =
        "Number underflow. Attempting to store a number with magnitude smaller than supported range under ";
    let digits = "Attempting to store more than 38 significant digits in a Number under ";
    let malformed = "Statement wasn't well formed, can't be processed: ";
    for (text, words, place) in [
        ("SELECT * FROM t WHERE pk = 1e126", over, "root"),
        ("SELECT * FROM t WHERE pk = 1e-131", under, "root"),
        ("SELECT * FROM t WHERE pk = 123456789012345678901234567890123456789", digits, "root"),
        ("INSERT INTO t VALUE {'pk': 1e126}", over, "root"),
        ("UPDATE t SET a = 1e-131 WHERE pk = 1", under, "root"),
        ("INSERT INTO t VALUE {'pk': 1, 'm': {'x': 1e126}}", over, "root.x"),
        ("INSERT INTO t VALUE {'pk': 1, 'l': [1, 1e126]}", over, "root[1]"),
        ("SELECT * FROM t WHERE pk = 1e2147483648", malformed, ""),
        ("SELECT * FROM t WHERE pk = 1e99999999999", malformed, ""),
        ("SELECT * FROM t WHERE pk = 1.5e-2147483647", malformed, ""),
    ] {
        assert_eq!(refused(text), format!("{words}{place}"), "{text}");
    }
}

#[test]
fn functions_are_refused_with_their_place() {
    let update = |set: &str| format!("UPDATE t SET {set} WHERE pk = 'k'");
    for (text, words) in [
        (
            update("t = set_add(ss, <<'x'>>)"),
            "The first argument to SET_ADD must equal the assignment value at 1:18:7",
        ),
        (
            update("ss = set_add(<<'a'>>, <<'b'>>)"),
            "The first argument to SET_ADD must equal the assignment value at 1:19:7",
        ),
        (
            update("ss = set_delete(ss, 'x')"),
            "The second argument to SET_DELETE must be a value with type SET at 1:30:2",
        ),
        (
            update("ss = set_add(ss, ['x'])"),
            "The second argument to SET_ADD must be a value with type SET at 1:27:2",
        ),
        (update("ss = set_add(ss)"), "SET_ADD must have exactly two arguments at 1:19:7"),
        (update("ss = set_add(ss, <<'x'>>, <<'y'>>)"), "SET_ADD must have exactly two arguments at 1:19:7"),
        (
            update("ss = set_add(ss, <<'x', 'x'>>)"),
            "One or more parameter values were invalid: Input collection [x, x] contains duplicates.",
        ),
        ("SELECT attribute_exists(ss) FROM t".to_owned(), "Unexpected path component at 1:8:16"),
        ("SELECT * FROM t WHERE set_add(ss, 1) = ss".to_owned(), "Unrecognized function: set_add at 1:23:7"),
        (
            "SELECT * FROM t WHERE attribute_exists('ss')".to_owned(),
            "Operator or function requires a document path; operator or function: attribute_exists",
        ),
        (
            "SELECT * FROM t WHERE attribute_exists(a, b)".to_owned(),
            "Incorrect number of operands for operator or function; \
             operator or function: attribute_exists, number of operands: 2",
        ),
        (
            "SELECT * FROM t WHERE a <= TRUE".to_owned(),
            "Incorrect operand type for operator or function; operator or function: <=, operand type: BOOL",
        ),
        (
            "SELECT * FROM t WHERE a BETWEEN NULL AND 1".to_owned(),
            "Incorrect operand type for operator or function; operator or function: BETWEEN, operand type: NULL",
        ),
        (
            "INSERT INTO t x VALUE {'pk': 'x'}".to_owned(),
            "Statement wasn't well formed, can't be processed: Unexpected token after expression",
        ),
    ] {
        assert_eq!(refused(&text), words, "{text}");
    }
    let text = "UPDATE t SET ss = SET_ADD(ss, ?) WHERE pk = 'k'";
    assert!(parse(text, &[value(r#"{"BS":["AQ=="]}"#)]).is_ok());
}
