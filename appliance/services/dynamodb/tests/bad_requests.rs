//! Requests that are wrong, byte for byte, and the bytes that answer them. Nothing of them needs a table: each is refused
//! before one is looked up. Where AWS's own words are not known the row says "ours".

mod driver;

use driver::{MAIN, with_world};

/// `{"__type":"<name space>#<name>"`: the beginning of every error.
const VALIDATION: &str = "com.amazon.coral.validate#ValidationException";
const SERIALIZATION: &str = "com.amazon.coral.service#SerializationException";
const UNKNOWN: &str = "com.amazon.coral.service#UnknownOperationException";
const NOT_FOUND: &str = "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException";

/// One request: the target without the version, the body, the error's type and its text ("": it has none).
struct Row(&'static str, &'static str, &'static str, &'static str);

const SYNTAX: &[Row] = &[
    Row("PutItem", "", SERIALIZATION, ""),
    Row("PutItem", "{", SERIALIZATION, ""),
    Row("PutItem", "{}}", SERIALIZATION, ""),
    Row("PutItem", "{'TableName':'t'}", SERIALIZATION, ""),
    Row("PutItem", "{\"TableName\":\"t\",}", SERIALIZATION, ""),
    Row("PutItem", "{\"TableName\":\"\u{1}\"}", SERIALIZATION, ""),
    Row("PutItem", "{\"TableName\":\"\\ud800\"}", SERIALIZATION, ""),
    Row("PutItem", "{\"TableName\":tru}", SERIALIZATION, ""),
    Row("PutItem", "{\"Other\":[1,2", SERIALIZATION, ""),
    Row("PutItem", "\u{feff}{}", SERIALIZATION, ""),
    Row("ListTablesX", "{}", UNKNOWN, ""),
    Row("CreateGlobalTable", "{}", UNKNOWN, ""),
    Row("", "{}", UNKNOWN, ""),
];

const TYPES: &[Row] = &[
    Row("PutItem", r#"{"TableName":5}"#, SERIALIZATION, "NUMBER_VALUE cannot be converted to String"),
    Row("PutItem", r#"{"TableName":true}"#, SERIALIZATION, "TRUE_VALUE cannot be converted to String"),
    Row(
        "PutItem",
        r#"{"TableName":[]}"#,
        SERIALIZATION,
        "Unrecognized collection type class java.lang.String",
    ),
    Row(
        "PutItem",
        r#"{"TableName":{}}"#,
        SERIALIZATION,
        "Start of structure or map found where not expected.",
    ),
    Row(
        "PutItem",
        r#"{"TableName":"t","Item":{"a":{"N":5}}}"#,
        SERIALIZATION,
        "NUMBER_VALUE cannot be converted to String",
    ),
    Row("Query", r#"{"Limit":"5"}"#, SERIALIZATION, "STRING_VALUE cannot be converted to Integer"),
    Row("Query", r#"{"Limit":true}"#, SERIALIZATION, "TRUE_VALUE cannot be converted to Integer"),
    Row("GetItem", r#"{"Key":"x"}"#, SERIALIZATION, "Unexpected field type"),
    Row("GetItem", r#"{"AttributesToGet":"x"}"#, SERIALIZATION, "Unexpected field type"),
    Row(
        "PutItem",
        r#"{"TableName":"t","Item":{"a":{"B":"AAAAA"}}}"#,
        SERIALIZATION,
        "Base64 encoded length is expected a multiple of 4 bytes but found: 5",
    ),
    // The first wrong type in the text is told, though a later member is wrong too.
    Row(
        "PutItem",
        r#"{"Item":{"a":{"S":1}},"TableName":[]}"#,
        SERIALIZATION,
        "NUMBER_VALUE cannot be converted to String",
    ),
];

const CONSTRAINTS: &[Row] = &[
    Row(
        "GetItem",
        "{}",
        VALIDATION,
        "2 validation errors detected: Value null at 'tableName' failed to satisfy constraint: Member must not be null; Value \
         null at 'key' failed to satisfy constraint: Member must not be null",
    ),
    Row(
        "PutItem",
        r#"{"TableName":null,"ReturnValues":"X"}"#,
        VALIDATION,
        "1 validation error detected: Value null at 'tableName' failed to satisfy constraint: Member must not be null",
    ),
    Row(
        "PutItem",
        r#"{"TableName":"","Item":{},"ReturnValues":"X"}"#,
        VALIDATION,
        "1 validation error detected: Value '' at 'tableName' failed to satisfy constraint: Member must have length greater \
         than or equal to 1",
    ),
    Row(
        "PutItem",
        r#"{"TableName":"bad table!@#","Item":{}}"#,
        VALIDATION,
        "1 validation error detected: Value 'bad table!@#' at 'tableName' failed to satisfy constraint: Member must satisfy \
         regular expression pattern: [a-zA-Z0-9_.-]+",
    ),
    Row(
        "UpdateItem",
        r#"{"TableName":"t","ReturnValues":"X","ReturnConsumedCapacity":"Y"}"#,
        VALIDATION,
        "3 validation errors detected: Value 'Y' at 'returnConsumedCapacity' failed to satisfy constraint: Member must satisfy \
         enum value set: [INDEXES, TOTAL, NONE]; Value 'X' at 'returnValues' failed to satisfy constraint: Member must satisfy \
         enum value set: [ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]; Value null at 'key' failed to satisfy constraint: \
         Member must not be null",
    ),
    Row(
        "Query",
        r#"{"TableName":"t","Select":"INVALID_VALUE"}"#,
        VALIDATION,
        "1 validation error detected: Value 'INVALID_VALUE' at 'select' failed to satisfy constraint: Member must satisfy enum \
         value set: [SPECIFIC_ATTRIBUTES, COUNT, ALL_ATTRIBUTES, ALL_PROJECTED_ATTRIBUTES]",
    ),
    Row(
        "Query",
        r#"{"TableName":"t","Limit":0}"#,
        VALIDATION,
        "1 validation error detected: Value at 'Limit' failed to satisfy constraint: Member must have value greater than or \
         equal to 1",
    ),
    Row(
        "Scan",
        r#"{"TableName":"t","Limit":0}"#,
        VALIDATION,
        "1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or \
         equal to 1",
    ),
    Row(
        "BatchGetItem",
        r#"{"RequestItems":{}}"#,
        VALIDATION,
        "The requestItems parameter is required for BatchGetItem",
    ),
    Row(
        "BatchWriteItem",
        r#"{"RequestItems":{}}"#,
        VALIDATION,
        "The requestItems parameter is required for BatchWriteItem",
    ),
    Row(
        "BatchGetItem",
        r#"{"RequestItems":{"tab":{"Keys":[]}}}"#,
        VALIDATION,
        "1 validation error detected: Value at 'RequestItems.tab.member.Keys' failed to satisfy constraint: Member must have \
         length greater than or equal to 1",
    ),
    Row(
        "TransactWriteItems",
        r#"{"TransactItems":[]}"#,
        VALIDATION,
        "1 validation error detected: Value '[]' at 'transactItems' failed to satisfy constraint: Member must have length \
         greater than or equal to 1",
    ),
    Row(
        "TransactGetItems",
        r#"{"TransactItems":[]}"#,
        VALIDATION,
        "1 validation error detected: Value '[]' at 'transactItems' failed to satisfy constraint: Member must have length \
         greater than or equal to 1",
    ),
];

const VALUES: &[Row] = &[
    Row(
        "PutItem",
        r#"{"TableName":"t","Item":{"a":{}}}"#,
        VALIDATION,
        "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
    ),
    Row(
        "PutItem",
        r#"{"TableName":"t","Item":{"a":{"S":null}}}"#,
        VALIDATION,
        "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
    ),
    Row(
        "PutItem",
        r#"{"TableName":"t","Item":{"a":{"S":"x","N":"1"}}}"#,
        VALIDATION,
        "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes",
    ),
    Row(
        "PutItem",
        r#"{"TableName":"t","Item":{"a":{"N":"0x10"}}}"#,
        VALIDATION,
        "The parameter cannot be converted to a numeric value: 0x10",
    ),
    Row(
        "PutItem",
        r#"{"TableName":"t","Item":{"a":{"N":"NaN"}}}"#,
        VALIDATION,
        "The parameter cannot be converted to a numeric value: NaN",
    ),
    Row(
        "PutItem",
        r#"{"TableName":"t","Item":{"a":{"SS":["a","a"]}}}"#,
        VALIDATION,
        "One or more parameter values were invalid: Input collection [a, a] contains duplicates.",
    ),
    Row(
        "PutItem",
        r#"{"TableName":"t","Item":{"a":{"NULL":false}}}"#,
        VALIDATION,
        "One or more parameter values were invalid: Null attribute value types must have the value of true",
    ),
    Row(
        "GetItem",
        r#"{"TableName":"t","Key":{"pk":{"N":"1e126"}}}"#,
        VALIDATION,
        "Number overflow. Attempting to store a number with magnitude larger than supported range",
    ),
    Row(
        "UpdateItem",
        r#"{"TableName":"t","Key":{"pk":{"S":"a"}},"UpdateExpression":"SET a = :v","ExpressionAttributeValues":{":v":{"SS":[]}}}"#,
        VALIDATION,
        "ExpressionAttributeValues contains invalid value: One or more parameter values were invalid: An string set  may not \
         be empty for key :v",
    ),
];

const SEMANTICS: &[Row] = &[
    Row(
        "PutItem",
        r#"{"TableName":"t","Item":{},"Expected":{"a":{"Exists":false}},"ConditionExpression":"a = b"}"#,
        VALIDATION,
        "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {Expected} \
         Expression parameters: {ConditionExpression}",
    ),
    Row(
        "PutItem",
        r#"{"TableName":"t","Item":{},"ExpressionAttributeValues":{":v":{"S":"a"}}}"#,
        VALIDATION,
        "ExpressionAttributeValues can only be specified when using expressions: ConditionExpression is null",
    ),
    Row(
        "UpdateItem",
        r#"{"TableName":"t","Key":{},"ExpressionAttributeValues":{":v":{"S":"a"}}}"#,
        VALIDATION,
        "ExpressionAttributeValues can only be specified when using expressions: UpdateExpression and ConditionExpression are \
         null",
    ),
    Row(
        "PutItem",
        r#"{"TableName":"t","Item":{},"ConditionExpression":"a = :v","ExpressionAttributeValues":{"v":{"S":"a"}}}"#,
        VALIDATION,
        "ExpressionAttributeValues contains invalid key: Syntax error; key: \"v\"",
    ),
    Row(
        "PutItem",
        r#"{"TableName":"t","Item":{},"ConditionExpression":"a = :v","ExpressionAttributeValues":{}}"#,
        VALIDATION,
        "ExpressionAttributeValues must not be empty",
    ),
    Row(
        "PutItem",
        r#"{"TableName":"t","Item":{},"ReturnValues":"ALL_NEW"}"#,
        VALIDATION,
        "ReturnValues can only be ALL_OLD or NONE",
    ),
    Row(
        "UpdateItem",
        r#"{"TableName":"t","Key":{"pk":{"S":"a"}},"UpdateExpression":"INVALID SYNTAX HERE"}"#,
        VALIDATION,
        "Invalid UpdateExpression: Syntax error; token: \"INVALID\", near: \"INVALID SYNTAX\"",
    ),
    Row(
        "UpdateItem",
        r##"{"TableName":"t","Key":{"pk":{"S":"a"}},"UpdateExpression":"REMOVE a","ExpressionAttributeNames":{"#unused":"b"}}"##,
        VALIDATION,
        "Value provided in ExpressionAttributeNames unused in expressions: keys: {#unused}",
    ),
    Row(
        "Query",
        r#"{"TableName":"t"}"#,
        VALIDATION,
        "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.",
    ),
    Row(
        "Scan",
        r#"{"TableName":"t","Segment":0}"#,
        VALIDATION,
        "The TotalSegments parameter is required but was not present in the request when Segment parameter is present",
    ),
    Row(
        "Scan",
        r#"{"TableName":"t","TotalSegments":5}"#,
        VALIDATION,
        "The Segment parameter is required but was not present in the request when parameter TotalSegments is present",
    ),
    Row(
        "Scan",
        r#"{"TableName":"t","Segment":5,"TotalSegments":5}"#,
        VALIDATION,
        "The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: 5 is not less than \
         TotalSegments: 5",
    ),
    Row(
        "TransactWriteItems",
        r#"{"TransactItems":[{"Put":{"TableName":"tab","Item":{}},"Delete":{"TableName":"tab","Key":{}}}]}"#,
        VALIDATION,
        "TransactItems can only contain one of Check, Put, Update or Delete",
    ),
    // Only now the table.
    Row("GetItem", r#"{"TableName":"t","Key":{}}"#, NOT_FOUND, "Requested resource not found"),
    Row("PutItem", r#"{"TableName":"t","Item":{}}"#, NOT_FOUND, "Requested resource not found"),
    Row("UpdateItem", r#"{"TableName":"t","Key":{}}"#, NOT_FOUND, "Requested resource not found"),
    Row("DeleteItem", r#"{"TableName":"t","Key":{}}"#, NOT_FOUND, "Requested resource not found"),
    Row("Scan", r#"{"TableName":"t"}"#, NOT_FOUND, "Requested resource not found"),
    Row(
        "TransactGetItems",
        r#"{"TransactItems":[{"Get":{"TableName":"tab","Key":{}}}]}"#,
        NOT_FOUND,
        "Requested resource not found",
    ),
    Row(
        "BatchWriteItem",
        r#"{"RequestItems":{"tab":[{"DeleteRequest":{"Key":{}}}]}}"#,
        NOT_FOUND,
        "Requested resource not found",
    ),
    // Unknown members are skipped, null ones are absent, the last of two of one name counts.
    Row(
        "GetItem",
        r#"{"What":{"deep":[1,{"x":null}]},"TableName":7e0,"TableName":"t","Key":{},"ConsistentRead":null}"#,
        SERIALIZATION,
        "DECIMAL_VALUE cannot be converted to String",
    ),
    Row(
        "GetItem",
        r#"{"What":{"deep":[1,{"x":null}]},"TableName":"","TableName":"t","Key":{},"ConsistentRead":null}"#,
        NOT_FOUND,
        "Requested resource not found",
    ),
];

/// The document of an error.
fn document(kind: &str, text: &str) -> String {
    let member = if kind == SERIALIZATION { "Message" } else { "message" };
    match text {
        "" => format!("{{\"__type\":\"{kind}\"}}"),
        text => {
            let text = serde_json::Value::from(text);
            format!("{{\"__type\":\"{kind}\",\"{member}\":{text}}}")
        }
    }
}

fn check(rows: &'static [Row], name: &str) {
    with_world(name, |world| async move {
        for Row(operation, body, kind, text) in rows {
            let target = format!("DynamoDB_20120810.{operation}");
            let answer = world.send_raw(MAIN, &target, body.as_bytes().to_vec()).await;
            let sent = String::from_utf8_lossy(&answer.body).into_owned();
            assert_eq!(sent, document(kind, text), "{operation} {body}");
            assert_eq!(answer.status, 400, "{operation} {body}");
            let crc = answer.headers["x-amz-crc32"].to_str().expect("ASCII");
            assert_eq!(crc, hash::crc32(&answer.body).to_string(), "{operation} {body}");
        }
    });
}

#[test]
fn what_is_no_json_or_names_nothing_is_refused_without_a_text() {
    check(SYNTAX, "bad-syntax");
}

#[test]
fn json_of_the_wrong_type_is_told_in_the_words_of_java() {
    check(TYPES, "bad-types");
}

#[test]
fn members_that_break_their_constraints_are_told_together() {
    check(CONSTRAINTS, "bad-members");
}

#[test]
fn values_that_cannot_be_stored_are_told_by_what_is_wrong_with_them() {
    check(VALUES, "bad-values");
}

#[test]
fn what_needs_no_table_is_checked_before_the_table_is_looked_up() {
    check(SEMANTICS, "bad-semantics");
}

#[test]
fn hostile_sizes_and_depths_are_refused_and_not_held() {
    with_world("bad-sizes", |world| async move {
        let world = &world;
        let send = |operation: &'static str, body: String| async move {
            world.send_raw(MAIN, &format!("DynamoDB_20120810.{operation}"), body.into_bytes()).await
        };
        // Brackets without end.
        for bracket in ["[", "{\"a\":", "{\"M\":{\"a\":"] {
            let answer = send("PutItem", format!("{{\"Item\":{{\"a\":{}", bracket.repeat(200_000))).await;
            assert_eq!(
                (answer.status, answer.error().as_str()),
                (400, "SerializationException"),
                "{bracket}"
            );
        }
        // A value on 33 levels is told as such, one on 32 is not.
        for (levels, error) in [(33, "ValidationException"), (32, "ResourceNotFoundException")] {
            let value =
                format!("{}{{\"S\":\"x\"}}{}", "{\"L\":[".repeat(levels - 1), "]}".repeat(levels - 1));
            let answer = send("PutItem", format!("{{\"TableName\":\"t\",\"Item\":{{\"a\":{value}}}}}")).await;
            assert_eq!(answer.error(), error, "{levels} levels");
        }
        // Numbers with as many digits as the body holds.
        for digits in
            [format!("1e{}", "9".repeat(1 << 20)), "9".repeat(1 << 20), format!("0.{}1", "0".repeat(1 << 20))]
        {
            let answer =
                send("PutItem", format!("{{\"TableName\":\"t\",\"Item\":{{\"a\":{{\"N\":\"{digits}\"}}}}}}"))
                    .await;
            assert_eq!(answer.error(), "ValidationException");
            assert!(answer.body.len() < 4 << 20);
        }
        // Lists that are longer than any operation takes.
        let many = |one: &str, count: usize| vec![one; count].join(",");
        let long = [
            ("TransactWriteItems", format!("{{\"TransactItems\":[{}]}}", many("{}", 1_000_000))),
            ("TransactGetItems", format!("{{\"TransactItems\":[{}]}}", many("{}", 1_000_000))),
            ("BatchWriteItem", format!("{{\"RequestItems\":{{\"tab\":[{}]}}}}", many("{}", 1_000_000))),
            (
                "BatchGetItem",
                format!("{{\"RequestItems\":{{\"tab\":{{\"Keys\":[{}]}}}}}}", many("{}", 1_000_000)),
            ),
        ];
        for (operation, body) in long {
            let answer = send(operation, body).await;
            assert_eq!((answer.status, answer.error().as_str()), (400, "ValidationException"), "{operation}");
            assert!(answer.body.len() < 64 << 10, "{operation}: {} bytes", answer.body.len());
        }
        // Maps of as many names as the body holds.
        let names = |form: &dyn Fn(usize) -> String| (0..500_000).map(form).collect::<Vec<_>>().join(",");
        let maps = [
            (
                "GetItem",
                format!("\"ExpressionAttributeNames\":{{{}}}", names(&|n| format!("\"#{n}\":\"a\""))),
            ),
            ("PutItem", format!("\"Expected\":{{{}}}", names(&|n| format!("\"{n}\":{{}}")))),
            ("UpdateItem", format!("\"AttributeUpdates\":{{{}}}", names(&|n| format!("\"{n}\":{{}}")))),
            ("GetItem", format!("\"AttributesToGet\":[{}]", names(&|n| format!("\"{n}\"")))),
        ];
        for (operation, map) in maps {
            let item = if operation == "PutItem" { "Item" } else { "Key" };
            let expression = if map.contains("#1") { ",\"ProjectionExpression\":\"a\"" } else { "" };
            let body = format!("{{\"TableName\":\"tab\",\"{item}\":{{}},{map}{expression}}}");
            let answer = send(operation, body).await;
            assert_eq!(answer.error(), "ValidationException", "{operation}");
            assert!(answer.body.len() < 1 << 20, "{operation}: {} bytes", answer.body.len());
        }
        // Transactions of more than 4 MB.
        let put = |text: &str| {
            format!("{{\"Put\":{{\"TableName\":\"tab\",\"Item\":{{\"a\":{{\"S\":\"{text}\"}}}}}}}}")
        };
        let put = put(&"x".repeat(350_000));
        for (count, error) in [(12, "ValidationException"), (11, "ResourceNotFoundException")] {
            let answer =
                send("TransactWriteItems", format!("{{\"TransactItems\":[{}]}}", many(&put, count))).await;
            assert_eq!(answer.error(), error, "{count} puts");
        }
        // A body of more than 16 MiB.
        let answer = send("PutItem", " ".repeat(dynamodb::BODY_BYTES_MAX + 1)).await;
        assert_eq!((answer.status, answer.body.len()), (413, 0));
        // An item of one byte too many.
        let put = |bytes: usize| {
            let text = "x".repeat(bytes);
            send("PutItem", format!("{{\"TableName\":\"t\",\"Item\":{{\"a\":{{\"S\":\"{text}\"}}}}}}"))
        };
        assert_eq!(put(409_600).await.message(), "Item size has exceeded the maximum allowed size");
        assert_eq!(put(409_599).await.error(), "ResourceNotFoundException");
    });
}
