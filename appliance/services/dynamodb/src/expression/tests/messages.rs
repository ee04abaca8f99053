//! Each fault of an expression with AWS's exact words.

use super::*;

/// Each row: kind, text, names, values, what stands behind `Invalid <Kind>Expression: `.
fn check(rows: &[(Kind, &str, &str, &str, &str)]) {
    for (kind, text, names, values, words) in rows {
        let expected = format!("Invalid {}: {words}", kind.parameter());
        assert_eq!(refusal(*kind, text, names, values), Some(expected), "{text}");
    }
}

const C: Kind = Kind::Condition;
const F: Kind = Kind::Filter;
const U: Kind = Kind::Update;
const P: Kind = Kind::Projection;

#[test]
fn a_syntax_error_shows_the_token_and_its_neighbours() {
    check(&[
        (P, "!!! INVALID !!!", "", "{}", r#"Syntax error; token: "!", near: "!!""#),
        (P, "!!!", "", "{}", r#"Syntax error; token: "!", near: "!!""#),
        (P, "a,", "", "{}", r#"Syntax error; token: "<EOF>", near: ",""#),
        (P, "a b", "", "{}", r#"Syntax error; token: "b", near: "a b""#),
        (P, "a..b", "", "{}", r#"Syntax error; token: ".", near: "..b""#),
        (P, "a[b]", "", "{}", r#"Syntax error; token: "b", near: "[b]""#),
        (P, "a[-1]", "", "{}", r#"Syntax error; token: "-", near: "[-1""#),
        (P, "a.#", "#=x", "{}", "Syntax error; token: \"#\", near: \".#\""),
        (U, "INVALID SYNTAX HERE", "", "{}", r#"Syntax error; token: "INVALID", near: "INVALID SYNTAX""#),
        (U, "SET _123 = :v", "", "{}", r#"Syntax error; token: "_", near: "SET _123""#),
        (U, "SET", "", "{}", r#"Syntax error; token: "<EOF>", near: "SET""#),
        (U, "SET  ", "", "{}", r#"Syntax error; token: "<EOF>", near: "SET""#),
        (U, "   ", "", "{}", r#"Syntax error; token: "<EOF>", near: """#),
        (U, "SET a = :b + :c + :d", "", "{}", r#"Syntax error; token: "+", near: ":c + :d""#),
        (U, "SET a = :b,", "", "{}", r#"Syntax error; token: "<EOF>", near: ",""#),
        (U, "ADD a b", "", "{}", r#"Syntax error; token: "b", near: "a b""#),
        (U, "REMOVE a = :b", "", "{}", r#"Syntax error; token: "=", near: "a = :b""#),
        (U, "SET a = (:b", "", "{}", r#"Syntax error; token: "<EOF>", near: ":b""#),
        (U, "SET a = :b)", "", "{}", r#"Syntax error; token: ")", near: ":b)""#),
        (C, "a", "", "{}", r#"Syntax error; token: "<EOF>", near: "a""#),
        (C, "(a)", "", "{}", r#"Syntax error; token: "<EOF>", near: ")""#),
        (C, "a AND b = :c", "", "{}", r#"Syntax error; token: "AND", near: "a AND b""#),
        (C, "a = :b = :c", "", "{}", r#"Syntax error; token: "=", near: ":b = :c""#),
        (C, "(a = :b) = :c", "", "{}", r#"Syntax error; token: "=", near: ") = :c""#),
        (C, "a = (b = :c)", "", "{}", r#"Syntax error; token: "=", near: "b = :c""#),
        (C, "a = NOT b", "", "{}", r#"Syntax error; token: "NOT", near: "= NOT b""#),
        (C, "a IN ()", "", "{}", r#"Syntax error; token: ")", near: "()""#),
        (C, "a IN :b", "", "{}", r#"Syntax error; token: ":b", near: "IN :b""#),
        (C, "a BETWEEN :b OR :c", "", "{}", r#"Syntax error; token: "OR", near: ":b OR :c""#),
        (C, "a BETWEEN :b", "", "{}", r#"Syntax error; token: "<EOF>", near: ":b""#),
        (C, "(a = :b", "", "{}", r#"Syntax error; token: "<EOF>", near: ":b""#),
        (C, "a = :b)", "", "{}", r#"Syntax error; token: ")", near: ":b)""#),
        (C, "a = :b AND", "", "{}", r#"Syntax error; token: "<EOF>", near: "AND""#),
        (C, "and = :b", "", "{}", r#"Syntax error; token: "and", near: "and =""#),
        (C, "a = é", "", "{}", r#"Syntax error; token: "é", near: "= é""#),
        (C, "a == :b", "", "{}", r#"Syntax error; token: "=", near: "== :b""#),
        (C, "f(a,) = :b", "", "{}", r#"Syntax error; token: ")", near: ",) =""#),
    ]);
}

#[test]
fn a_text_is_neither_empty_nor_too_long() {
    let empty = "The expression can not be empty;";
    for kind in [C, F, Kind::KeyCondition, U, P] {
        let expected = format!("Invalid {}: {empty}", kind.parameter());
        assert_eq!(refusal(kind, "", "", "{}"), Some(expected));
    }
    let long = "a".repeat(4_097);
    let words = "Invalid FilterExpression: Expression size has exceeded the maximum allowed size; expression size: 4097";
    assert_eq!(refusal(F, &long, "", "{}").unwrap(), words);
    let words = "Invalid UpdateExpression: Expression size has exceeded the maximum allowed size;";
    assert_eq!(refusal(U, &long, "", "{}").unwrap(), words);
    assert_eq!(refusal(P, &"a".repeat(4_096), "", "{}"), None);
}

#[test]
fn a_name_or_a_value_that_is_not_defined_is_named() {
    check(&[
        (
            F,
            "#missing = :fv",
            "",
            r#"{":fv":{"S":"x"}}"#,
            "An expression attribute name used in the document path is not defined; attribute name: #missing",
        ),
        (
            U,
            "SET a = :v",
            "",
            "{}",
            "An expression attribute value used in expression is not defined; attribute value: :v",
        ),
        // In an update all names come before all values, in a condition the first bad test wins.
        (
            U,
            "SET a = :v, #b = :v",
            "",
            "{}",
            "An expression attribute name used in the document path is not defined; attribute name: #b",
        ),
        (
            C,
            "a = :v AND #b = :v",
            "",
            "{}",
            "An expression attribute value used in expression is not defined; attribute value: :v",
        ),
        (
            P,
            "a.#b",
            "",
            "{}",
            "An expression attribute name used in the document path is not defined; attribute name: #b",
        ),
    ]);
}

#[test]
fn what_is_sent_must_be_used() {
    let names = "Value provided in ExpressionAttributeNames unused in expressions: keys: {#a, #b}";
    let both = r##"{":a":{"S":"x"}}"##;
    assert_eq!(refusal(P, "c", "#a=x,#b=y", both).unwrap(), names);
    let values = "Value provided in ExpressionAttributeValues unused in expressions: keys: {:unused}";
    assert_eq!(refusal(U, "SET a = :v", "", r#"{":v":{"S":"x"},":unused":{"S":"y"}}"#).unwrap(), values);
    // A branch that is never asked counts as used.
    let sent = r#"{":v":{"S":"x"},":w":{"S":"y"}}"#;
    assert_eq!(refusal(C, "attribute_exists(pk) OR a = :v AND #b = :w", "#b=z", sent), None);
}

#[test]
fn keys_of_names_and_values_have_their_signs() {
    let words = |result: Result<(), ExpressionError>| result.unwrap_err().into_message();
    assert_eq!(words(check_names(&[])), "ExpressionAttributeNames must not be empty");
    assert_eq!(words(check_values(&[])), "ExpressionAttributeValues must not be empty");
    for key in ["a", "#", "#a-b", ":a", "", "#é"] {
        let expected = format!("ExpressionAttributeNames contains invalid key: Syntax error; key: \"{key}\"");
        assert_eq!(words(check_names(&[(key.into(), "x".into())])), expected);
    }
    let bad = [("v".into(), Value::s("x"))];
    let expected = "ExpressionAttributeValues contains invalid key: Syntax error; key: \"v\"";
    assert_eq!(words(check_values(&bad)), expected);
    assert_eq!(check_names(&names("#a=b,#0_9=c")), Ok(()));
}

#[test]
fn reserved_words_are_no_names_anywhere_in_a_path() {
    check(&[
        (C, "status = :v", "", "{}", "Attribute name is a reserved keyword; reserved keyword: status"),
        (F, "a.Name = :v", "", "{}", "Attribute name is a reserved keyword; reserved keyword: Name"),
        (P, "pk, a[0].TTL", "", "{}", "Attribute name is a reserved keyword; reserved keyword: TTL"),
        (U, "SET size = :v", "", "{}", "Attribute name is a reserved keyword; reserved keyword: size"),
        // In an update a reserved word comes before an unknown function, in a condition after it.
        (
            U,
            "SET a = f(b), status = :v",
            "",
            "{}",
            "Attribute name is a reserved keyword; reserved keyword: status",
        ),
        (C, "status = :v AND f(b)", "", "{}", "Invalid function name; function: f"),
    ]);
}

#[test]
fn counts_have_their_limits() {
    let path = |steps: usize| vec!["a"; steps].join(".");
    assert_eq!(refusal(P, &path(32), "", "{}"), None);
    let words = "Invalid ProjectionExpression: \
                 The document path has too many nesting elements; nesting levels: 33";
    assert_eq!(refusal(P, &path(33), "", "{}").unwrap(), words);

    let members = |count: usize| format!("a IN ({})", vec![":v"; count].join(","));
    let one = r#"{":v":{"S":"x"}}"#;
    assert_eq!(refusal(F, &members(100), "", one), None);
    let words = "Invalid FilterExpression: \
                 The IN operator is provided with too many operands; number of operands: 101";
    assert_eq!(refusal(F, &members(101), "", one).unwrap(), words);

    // One comparison has one operator; each further one adds its own and its AND.
    let tests = |count: usize| vec!["a=:v"; count].join(" AND ");
    assert_eq!(refusal(C, &format!("NOT {}", tests(150)), "", one), None);
    let words =
        "Invalid ConditionExpression: The expression contains too many operators; operator count: 301";
    assert_eq!(refusal(C, &tests(151), "", one).unwrap(), words);

    // A function counts like an operator.
    let functions = |count: usize| vec!["attribute_exists(a)"; count].join(" AND ");
    assert_eq!(refusal(C, &format!("NOT NOT {}", functions(149)), "", "{}"), None);
    assert!(refusal(C, &format!("NOT NOT {}", functions(150)), "", "{}").unwrap().ends_with("count: 301"));

    assert_eq!(refusal(P, "a[2147483647]", "", "{}"), None);
    let words =
        "Invalid ProjectionExpression: List index is not within the allowable range; index: [99999999999]";
    assert_eq!(refusal(P, "a[99999999999]", "", "{}").unwrap(), words);
}

#[test]
fn parentheses_around_parentheses_are_redundant() {
    let words = "The expression has redundant parentheses;";
    check(&[
        (C, "((a = :b))", "", "{}", words),
        (C, "((a)) = :b", "", "{}", words),
        (C, "a = ((:b))", "", "{}", words),
        (C, "(((attribute_exists(a))))", "", "{}", words),
        (C, "NOT ((a = :b))", "", "{}", words),
        (C, "((a = :b AND c = :d))", "", "{}", words),
        (U, "SET a = ((b + :c))", "", "{}", words),
        (U, "SET a = b + ((:c))", "", "{}", words),
        (U, "SET a = if_not_exists(((b)), :c)", "", "{}", words),
    ]);
    for text in [
        "(a = :v)",
        "((a = :v) AND (a = :v))",
        "(NOT (a = :v))",
        "(a) = (:v)",
        "((a) = :v)",
        "(a = (:v))",
        "((attribute_exists(a)) OR (size(a) > :v))",
    ] {
        assert_eq!(refusal(C, text, "", r#"{":v":{"N":"1"}}"#), None, "{text}");
    }
    for text in ["SET a = (b + :v)", "SET a = (b) + (:v)", "SET a = ((b) + :v)", "SET a = (:v)"] {
        assert_eq!(refusal(U, text, "", r#"{":v":{"N":"1"}}"#), None, "{text}");
    }
}

#[test]
fn functions_stand_where_they_belong() {
    check(&[
        (C, "f(a)", "", "{}", "Invalid function name; function: f"),
        (C, "Size(a) = :v", "", "{}", "Invalid function name; function: Size"),
        (
            C,
            "if_not_exists(a, :b) = :c",
            "",
            "{}",
            "The function is not allowed in a condition expression; function: if_not_exists",
        ),
        (
            U,
            "SET a = size(b)",
            "",
            "{}",
            "The function is not allowed in an update expression; function: size",
        ),
        (
            C,
            "size(a)",
            "",
            "{}",
            "The function is not allowed to be used this way in an expression; function: size",
        ),
        (
            C,
            "attribute_exists(a) = :b",
            "",
            "{}",
            "The function is not allowed to be used this way in an expression; function: attribute_exists",
        ),
        (
            C,
            "contains(begins_with(a, :b), :c)",
            "",
            "{}",
            "The function is not allowed to be used this way in an expression; function: begins_with",
        ),
        (
            C,
            "a IN (:b, attribute_exists(c))",
            "",
            "{}",
            "The function is not allowed to be used this way in an expression; function: attribute_exists",
        ),
        (
            U,
            "SET a = list_append(list_append(b, c), d)",
            "",
            "{}",
            "The function is not allowed to be used this way in an expression; function: list_append",
        ),
        (
            U,
            "SET a = list_append(b, if_not_exists(c, list_append(d, e)))",
            "",
            "{}",
            "The function is not allowed to be used this way in an expression; function: list_append",
        ),
    ]);
}

#[test]
fn operands_are_counted_and_typed() {
    let wrong = "Incorrect number of operands for operator or function; operator or function: ";
    check(&[
        (C, "begins_with(a)", "", "{}", &format!("{wrong}begins_with, number of operands: 1")),
        (C, "size(a, b) = :c", "", r#"{":c":{"N":"1"}}"#, &format!("{wrong}size, number of operands: 2")),
        (C, "attribute_exists()", "", "{}", &format!("{wrong}attribute_exists, number of operands: 0")),
        (U, "SET a = list_append(b)", "", "{}", &format!("{wrong}list_append, number of operands: 1")),
    ]);
    let wrong = "Incorrect operand type for operator or function; operator or function: ";
    check(&[
        (C, "begins_with(a, :n)", "", r#"{":n":{"N":"1"}}"#, &format!("{wrong}begins_with, operand type: N")),
        (C, "a < :l", "", r#"{":l":{"L":[]}}"#, &format!("{wrong}<, operand type: L")),
        (C, ":t >= a", "", r#"{":t":{"BOOL":true}}"#, &format!("{wrong}>=, operand type: BOOL")),
        (C, "a BETWEEN :s AND b", "", r#"{":s":{"SS":["x"]}}"#, &format!("{wrong}BETWEEN, operand type: SS")),
        (C, "size(:n) = a", "", r#"{":n":{"N":"1"}}"#, &format!("{wrong}size, operand type: N")),
        (C, "size(size(a)) = b", "", "{}", &format!("{wrong}size, operand type: N")),
        (
            C,
            "attribute_type(a, b)",
            "",
            "{}",
            &format!("{wrong}attribute_type, operand type: {{NS,SS,L,BS,N,M,B,BOOL,NULL,S}}"),
        ),
        (
            C,
            "attribute_type(a, :n)",
            "",
            r#"{":n":{"N":"1"}}"#,
            &format!("{wrong}attribute_type, operand type: N"),
        ),
        (U, "SET a = b + :s", "", r#"{":s":{"S":"1"}}"#, &format!("{wrong}+, operand type: S")),
        (U, "SET a = :l - b", "", r#"{":l":{"L":[]}}"#, &format!("{wrong}-, operand type: L")),
        (
            U,
            "SET a = list_append(b, :s)",
            "",
            r#"{":s":{"S":"1"}}"#,
            &format!("{wrong}list_append, operand type: S"),
        ),
    ]);
}

#[test]
fn operands_are_what_functions_and_sections_take() {
    check(&[
        (
            C,
            "attribute_exists(:v)",
            "",
            r#"{":v":{"S":"x"}}"#,
            "Operator or function requires a document path; operator or function: attribute_exists",
        ),
        (
            U,
            "SET a = if_not_exists(:v, :v)",
            "",
            r#"{":v":{"S":"x"}}"#,
            "Operator or function requires a document path; operator or function: if_not_exists",
        ),
        // What is not defined comes before what is no path.
        (
            U,
            "SET a = if_not_exists(:u, :v)",
            "",
            r#"{":v":{"S":"x"}}"#,
            "An expression attribute value used in expression is not defined; attribute value: :u",
        ),
        (
            C,
            "attribute_type(a, :t)",
            "",
            r#"{":t":{"S":"X"}}"#,
            "Invalid attribute type name found; type: X, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}",
        ),
        (
            U,
            "ADD a :s",
            "",
            r#"{":s":{"S":"x"}}"#,
            "Incorrect operand type for operator or function; operator: ADD, operand type: STRING, \
             typeSet: ALLOWED_FOR_ADD_OPERAND",
        ),
        (
            U,
            "ADD a :l",
            "",
            r#"{":l":{"L":[]}}"#,
            "Incorrect operand type for operator or function; operator: ADD, operand type: LIST, \
             typeSet: ALLOWED_FOR_ADD_OPERAND",
        ),
        (
            U,
            "DELETE a :n",
            "",
            r#"{":n":{"N":"1"}}"#,
            "Incorrect operand type for operator or function; operator: DELETE, operand type: NUMBER, \
             typeSet: ALLOWED_FOR_DELETE_OPERAND",
        ),
    ]);
}

#[test]
fn an_operand_is_not_compared_with_itself() {
    let words = |operator: &str| {
        format!(
            "The first operand must be distinct from the remaining operands for this operator or function; \
             operator: {operator}, first operand: [a]"
        )
    };
    check(&[
        (C, "contains(a, a)", "", "{}", &words("contains")),
        (C, "a = #a", "#a=a", "{}", &words("=")),
        (C, "a BETWEEN a AND :b", "", r#"{":b":{"N":"1"}}"#, &words("BETWEEN")),
        (F, "begins_with(a, a)", "", "{}", &words("begins_with")),
        (F, "a IN (b, a)", "", "{}", &words("IN")),
    ]);
    assert_eq!(refusal(C, "a.b = a.c AND a[0] = a[1]", "", "{}"), None);
}

#[test]
fn the_bounds_of_between_are_in_order_and_of_one_type() {
    check(&[
        (
            C,
            "a BETWEEN :x AND :y",
            "",
            r#"{":x":{"S":"b"},":y":{"S":"a"}}"#,
            "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; \
             lower bound operand: AttributeValue: {S:b}, upper bound operand: AttributeValue: {S:a}",
        ),
        (
            C,
            "a BETWEEN :x AND :y",
            "",
            r#"{":x":{"S":"b"},":y":{"N":"1.50"}}"#,
            "The BETWEEN operator requires same data type for lower and upper bounds; \
             lower bound operand: AttributeValue: {S:b}, upper bound operand: AttributeValue: {N:1.5}",
        ),
    ]);
    assert_eq!(refusal(C, "a BETWEEN :x AND :x", "", r#"{":x":{"N":"1"}}"#), None);
}

#[test]
fn paths_do_not_get_in_each_others_way() {
    let overlap = "Two document paths overlap with each other; must remove or rewrite one of these paths; ";
    let conflict = "Two document paths conflict with each other; must remove or rewrite one of these paths; ";
    check(&[
        (P, "a, a.b", "", "{}", &format!("{overlap}path one: [a], path two: [a, b]")),
        (P, "a[1].c, b, a[1]", "", "{}", &format!("{overlap}path one: [a, [1], c], path two: [a, [1]]")),
        (
            U,
            "SET #v = :a REMOVE val",
            "#v=val",
            r#"{":a":{"S":"x"}}"#,
            &format!("{overlap}path one: [val], path two: [val]"),
        ),
        (P, "a.b, a[0]", "", "{}", &format!("{conflict}path one: [a, b], path two: [a, [0]]")),
        (
            U,
            "SET a[0].x = :a, b = :a, a[0][1] = :a",
            "",
            r#"{":a":{"S":"x"}}"#,
            &format!("{conflict}path one: [a, [0], x], path two: [a, [0], [1]]"),
        ),
        // Of both sorts the overlap is named.
        (P, "a.b, a[0], c, c", "", "{}", &format!("{overlap}path one: [c], path two: [c]")),
    ]);
    // A name with a dot is one step.
    assert_eq!(refusal(P, "a, #d", "#d=a.b", "{}"), None);
    assert_eq!(refusal(P, "a[0], a[1], a[10], b.a, b.b", "", "{}"), None);
}

#[test]
fn a_section_stands_once() {
    let words = |name: &str| format!("The \"{name}\" section can only be used once in an update expression;");
    check(&[
        (U, "SET a = :b SET c = :d", "", "{}", &words("SET")),
        (U, "remove a add b :c REMOVE d", "", "{}", &words("REMOVE")),
    ]);
}
