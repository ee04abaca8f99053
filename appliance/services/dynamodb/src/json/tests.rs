//! The reader and the writer: what is taken, what is refused and with which words.

use super::*;
use crate::number::NumberError;
use crate::value::{Item, Kind, Value, ValueRef};

fn item(text: &str) -> Read<Item> {
    let mut reader = Reader::new(text.as_bytes()).expect("UTF-8");
    let read = read_item(&mut reader).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    reader.finish().expect("nothing follows");
    read
}

fn good(text: &str) -> Item {
    let read = item(text);
    assert_eq!(read.error, None, "{text}");
    // What was made here is what the check of stored bytes lets through.
    crate::value::ItemRef::new(read.value.as_bytes()).expect("an encoding");
    read.value
}

fn printed(item: &Item) -> String {
    let mut out = Writer::new();
    item.as_ref().write_json(&mut out);
    String::from_utf8(out.into_bytes()).expect("JSON is UTF-8")
}

fn value_error(text: &str) -> Option<ValueError> {
    let mut reader = Reader::new(text.as_bytes()).expect("UTF-8");
    read_value(&mut reader).unwrap_or_else(|error| panic!("{text}: {error:?}")).error
}

fn json_error(text: &str) -> JsonError {
    let mut reader = Reader::new(text.as_bytes()).expect("UTF-8");
    read_value(&mut reader).expect_err(text)
}

#[test]
fn every_type_comes_back_as_it_was_with_names_in_order() {
    let text = r#" { "z" : {"S":"q\"\\\u00e4\ud83d\ude00\n"}, "b":{"BOOL":false},"c":{"NULL":true}, "n":{"N":"-1.50"},
        "bin":{"B":"AAEC/w=="},"e":{"S":""},"eb":{"B":""}, "ss":{"SS":["b","","a"]},"ns":{"NS":["10","9","-1"]},
        "bs":{"BS":["/w==","AA==",""]},"one":{"SS":[""]},"oneb":{"BS":[""]},
        "l":{"L":[{"S":"x"},{"L":[]},{"M":{}}]},"m":{"M":{"y":{"N":"1"},"x":{"M":{"b":{"S":""},"a":{"N":"2"}}}}} } "#;
    let read = good(text);
    assert_eq!(
        printed(&read),
        "{\"b\":{\"BOOL\":false},\"bin\":{\"B\":\"AAEC/w==\"},\"bs\":{\"BS\":[\"\",\"AA==\",\"/w==\"]},\
         \"c\":{\"NULL\":true},\"e\":{\"S\":\"\"},\"eb\":{\"B\":\"\"},\
         \"l\":{\"L\":[{\"S\":\"x\"},{\"L\":[]},{\"M\":{}}]},\
         \"m\":{\"M\":{\"x\":{\"M\":{\"a\":{\"N\":\"2\"},\"b\":{\"S\":\"\"}}},\"y\":{\"N\":\"1\"}}},\
         \"n\":{\"N\":\"-1.5\"},\"ns\":{\"NS\":[\"-1\",\"9\",\"10\"]},\"one\":{\"SS\":[\"\"]},\
         \"oneb\":{\"BS\":[\"\"]},\"ss\":{\"SS\":[\"\",\"a\",\"b\"]},\
         \"z\":{\"S\":\"q\\\"\\\\ä😀\\n\"}}"
    );
    assert_eq!(good(&printed(&read)), read, "and back");
    let sum = read.as_ref().iter().map(|(name, value)| name.len() as u32 + value.aws_bytes()).sum::<u32>();
    assert_eq!(read.as_ref().aws_bytes(), sum, "the size counted on the way is the size of the whole");
}

#[test]
fn sizes_follow_aws() {
    let cases = [
        (r#"{}"#, 0),
        (r#"{"pk":{"S":"abc"}}"#, 5),
        (r#"{"ä":{"S":"ä"}}"#, 4),
        (r#"{"a":{"B":"AAEC"}}"#, 4),
        (r#"{"a":{"BOOL":true},"b":{"NULL":true}}"#, 4),
        (r#"{"a":{"N":"100.5"}}"#, 5),
        (r#"{"a":{"SS":["ab","c"]}}"#, 4),
        (r#"{"a":{"NS":["1","-42"]}}"#, 6),
        (r#"{"a":{"L":[]}}"#, 4),
        (r#"{"a":{"L":[{"S":"ab"},{"NULL":true}]}}"#, 9),
        (r#"{"a":{"M":{"bc":{"S":"d"}}}}"#, 8),
        (r#"{"a":{"M":{"b":{"S":"dd"},"a":{"L":[{"M":{}}]},"b":{"S":"d"}}}}"#, 16),
    ];
    for (text, size) in cases {
        assert_eq!(good(text).as_ref().aws_bytes(), size, "{text}");
    }
}

#[test]
fn of_two_members_of_one_name_the_later_counts() {
    let cases = [
        (r#"{"a":{"S":"1"},"a":{"S":"2"}}"#, r#"{"a":{"S":"2"}}"#),
        (r#"{"b":{"S":"1"},"a":{"N":"1"},"b":{"N":"2"},"a":{"S":"x"}}"#, r#"{"a":{"S":"x"},"b":{"N":"2"}}"#),
        (r#"{"a":{"S":"1","S":"2"}}"#, r#"{"a":{"S":"2"}}"#),
        (r#"{"a":{"L":[{"S":"1"}],"L":[]}}"#, r#"{"a":{"L":[]}}"#),
        (
            r#"{"m":{"M":{"x":{"M":{"b":{"S":"1"},"a":{"S":"1"},"b":{"S":"2"}}},"x":{"S":"3"},"a":{"S":"4"}}}}"#,
            r#"{"m":{"M":{"a":{"S":"4"},"x":{"S":"3"}}}}"#,
        ),
        (
            r#"{"m":{"M":{"x":{"M":{"b":{"S":"1"},"a":{"S":"1"},"b":{"S":"2"}}}}},"l":{"L":[{"M":{"d":{"S":""},"c":{"S":""}}}]}}"#,
            r#"{"l":{"L":[{"M":{"c":{"S":""},"d":{"S":""}}}]},"m":{"M":{"x":{"M":{"a":{"S":"1"},"b":{"S":"2"}}}}}}"#,
        ),
    ];
    for (text, kept) in cases {
        let read = good(text);
        assert_eq!(printed(&read), kept, "{text}");
        assert_eq!(read, good(kept), "equal items are equal bytes");
    }
}

#[test]
fn nulls_are_absent_and_unknown_members_are_skipped() {
    let cases = [
        (r#"{"a":null,"b":{"S":null,"N":"1"}}"#, r#"{"b":{"N":"1"}}"#),
        (r#"{"a":{"Q":[1,{"x":[true,null,-1.5e3,"]"]}],"S":"x","R":{}}}"#, r#"{"a":{"S":"x"}}"#),
        (r#"{"\u0061":{"\u0053":"x"}}"#, r#"{"a":{"S":"x"}}"#),
    ];
    for (text, kept) in cases {
        assert_eq!(printed(&good(text)), kept, "{text}");
    }
}

#[test]
fn what_is_wrong_with_a_value_is_named_and_the_first_counts() {
    let duplicate = |kind, members: &[&str]| {
        Some(ValueError::Duplicate { kind, members: members.iter().map(|text| (*text).to_owned()).collect() })
    };
    let number = |error, text: &str| Some(ValueError::Number(error, text.to_owned()));
    let cases = [
        (r#"{}"#, Some(ValueError::Empty)),
        (r#"{"S":null}"#, Some(ValueError::Empty)),
        (r#"{"X":1}"#, Some(ValueError::Empty)),
        (r#"{"L":[null]}"#, Some(ValueError::Empty)),
        (r#"{"S":"a","N":"1"}"#, Some(ValueError::MoreThanOne)),
        (r#"{"S":"a","N":"1","S":"b"}"#, Some(ValueError::MoreThanOne)),
        (r#"{"N":"abc"}"#, number(NumberError::NotANumber, "abc")),
        (r#"{"N":""}"#, number(NumberError::NotANumber, "")),
        (r#"{"NS":["1","1e126"]}"#, number(NumberError::Overflow, "1e126")),
        (r#"{"SS":[]}"#, Some(ValueError::EmptySet(Kind::Ss))),
        (r#"{"M":{"a":{"BS":[]}}}"#, Some(ValueError::EmptySet(Kind::Bs))),
        (r#"{"SS":["b","a","b"]}"#, duplicate(Kind::Ss, &["b", "a", "b"])),
        (r#"{"NS":["1","1.0"]}"#, duplicate(Kind::Ns, &["1", "1.0"])),
        (r#"{"BS":["AA==","AA=="]}"#, duplicate(Kind::Bs, &["AA==", "AA=="])),
        (r#"{"SS":["a",null]}"#, Some(ValueError::NullMember(Kind::Ss))),
        (r#"{"NULL":false}"#, Some(ValueError::NullFalse)),
        (r#"{"L":[{"N":"x"},{}]}"#, number(NumberError::NotANumber, "x")),
        (r#"{"L":[{},{"N":"x"}]}"#, Some(ValueError::Empty)),
        (r#"{"N":"1"}"#, None),
    ];
    for (text, error) in cases {
        assert_eq!(value_error(text), error, "{text}");
    }
    assert_eq!(item(r#"{"":{"S":""}}"#).error, Some(ValueError::EmptyName));
    assert_eq!(item(r#"{"a":{"M":{"":{"S":""}}}}"#).error, None);
    let long = format!(r#"{{"{}":{{"S":""}}}}"#, "n".repeat(65_536));
    assert_eq!(item(&long).error, Some(ValueError::NameTooLong));
}

#[test]
fn what_is_wrong_with_a_replaced_member_does_not_count() {
    let cases = [
        (r#"{"a":{"N":"x"},"a":{"N":"1"}}"#, None),
        (r#"{"a":{"N":"x","N":"1"}}"#, None),
        (r#"{"a":{"N":"x","S":"y","N":"1"}}"#, Some(ValueError::Number(NumberError::NotANumber, "x".into()))),
        (r#"{"a":{"N":"1"},"a":{}}"#, Some(ValueError::Empty)),
        (r#"{"b":{},"a":{"N":"x"},"a":{"N":"1"}}"#, Some(ValueError::Empty)),
        (r#"{"a":{"M":{"b":{"SS":[]},"b":{"S":""}}}}"#, None),
        (r#"{"a":{"L":[{"S":"a","N":"1"},{"S":"x","S":"y"}]}}"#, Some(ValueError::MoreThanOne)),
        (r#"{"a":{"S":"a","N":"1"},"b":{"S":"x"},"a":{"BOOL":true}}"#, None),
        (r#"{"":{"S":""},"a":{"S":"x"},"a":{"S":"y"}}"#, Some(ValueError::EmptyName)),
        (r#"{"":{"S":"1","S":"2"}}"#, Some(ValueError::EmptyName)),
        (r#"{"a":{"L":[{"S":"a long text"},{"N":"x"}],"S":""},"a":{"S":""}}"#, None),
        (r#"{"a":{"L":[{"N":"x"}],"L":[{"NULL":false}]}}"#, Some(ValueError::NullFalse)),
    ];
    for (text, error) in cases {
        assert_eq!(item(text).error, error, "{text}");
    }
    // So many that not all are kept: one is told, even though each is replaced.
    let many = r#""a":{},"#.repeat(100);
    assert_eq!(item(&format!(r#"{{{many}"a":{{"S":""}}}}"#)).error, Some(ValueError::Empty));
}

#[test]
fn thirty_two_levels_are_taken_and_one_more_is_named() {
    let nested = |lists: usize| format!("{}{{\"S\":\"\"}}{}", "{\"L\":[".repeat(lists), "]}".repeat(lists));
    assert_eq!(value_error(&nested(31)), None);
    assert_eq!(value_error(&nested(32)), Some(ValueError::TooDeep));
    assert_eq!(value_error(&nested(90)), Some(ValueError::TooDeep));
    assert_eq!(json_error(&nested(200)), JsonError::Syntax);
    let read = good(&format!("{{\"a\":{}}}", nested(31)));
    assert_eq!(read.as_ref().get("a").expect("it is there").depth(), 32);
}

#[test]
fn types_that_do_not_fit_are_named_as_aws_does() {
    let cases = [
        (r#"{"S":1}"#, "NUMBER_VALUE cannot be converted to String"),
        (r#"{"S":1.5}"#, "DECIMAL_VALUE cannot be converted to String"),
        (r#"{"N":123}"#, "NUMBER_VALUE cannot be converted to String"),
        (r#"{"S":true}"#, "TRUE_VALUE cannot be converted to String"),
        (r#"{"S":[]}"#, "Unrecognized collection type class java.lang.String"),
        (r#"{"S":{}}"#, "Start of structure or map found where not expected."),
        (r#"{"BOOL":"maybe"}"#, "Unexpected token received from parser"),
        (r#"{"BOOL":1}"#, "Unexpected token received from parser"),
        (r#"{"L":"x"}"#, "Unexpected field type"),
        (r#"{"L":{}}"#, "Start of structure or map found where not expected."),
        (r#"{"SS":"x"}"#, "Unexpected field type"),
        (r#"{"M":"x"}"#, "Unexpected field type"),
        (
            r#"{"M":[]}"#,
            "Unrecognized collection type java.util.Map<java.lang.String, \
             com.amazonaws.dynamodb.v20120810.AttributeValue>",
        ),
        (r#""x""#, "Unexpected value type in payload"),
        (
            r#"{"L":[[]]}"#,
            "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.AttributeValue",
        ),
        (r#"{"B":"AAAAA"}"#, "Base64 encoded length is expected a multiple of 4 bytes but found: 5"),
        (r#"{"B":"AB=="}"#, "Invalid last non-pad Base64 character dectected"),
        (r#"{"B":"AA&="}"#, "Invalid Base64 character: '&'"),
        (r#"{"B":1}"#, "only base-64-encoded strings are convertible to bytes"),
        (r#"{"BS":["AB=="]}"#, "Invalid last non-pad Base64 character dectected"),
    ];
    for (text, words) in cases {
        assert_eq!(json_error(text), JsonError::Type(words.into()), "{text}");
    }
}

#[test]
fn what_is_no_json_is_refused() {
    let cases = [
        "",
        "{",
        "}",
        "{\"S\"",
        "{\"S\":",
        "{\"S\":\"",
        "{\"S\":\"a\"",
        "{\"S\":\"a\",}",
        "{\"S\" \"a\"}",
        "{S:\"a\"}",
        "{\"S\":\"\u{1}\"}",
        "{\"S\":\"\\x\"}",
        "{\"S\":\"\\ud800\"}",
        "{\"S\":\"\\udc00\"}",
        "{\"S\":\"\\ud800\\u0041\"}",
        "{\"S\":\"\\u12\"}",
        "{\"S\":\"\\u+123\"}",
        "{\"X\":01}",
        "{\"X\":1.}",
        "{\"X\":-}",
        "{\"X\":1e}",
        "{\"X\":tru}",
        "{\"X\":[1,]}",
        "{\"X\":[1 2]}",
        "{\"X\":{\"a\":1,}}",
        "{\"X\":[}",
        "{\"X\":{]}",
        "{\"X\":{1:2}}",
        "\u{feff}{}",
        "{\"L\":[,]}",
        "{\"L\":[{}",
    ];
    for text in cases {
        assert_eq!(json_error(text), JsonError::Syntax, "{text}");
    }
    assert_eq!(Reader::new(b"{\"S\":\"\xff\"}").err(), Some(JsonError::Syntax));
    let mut reader = Reader::new(b"{} x").expect("UTF-8");
    assert_eq!(reader.skip(), Ok(()));
    assert_eq!(reader.finish(), Err(JsonError::Syntax));
}

#[test]
fn buffers_go_from_one_reader_to_the_next() {
    let mut scratch = Scratch::default();
    for text in [r#"{"b":{"S":"1"},"a":{"S":"2"}}"#, r#"{"L":[]}"#, r#"{"a":{"N":"7"}}"#] {
        let mut reader = Reader::with_scratch(text.as_bytes(), scratch).expect("UTF-8");
        let read = read_item(&mut reader);
        scratch = match read {
            Ok(read) => {
                assert_eq!(read.value, good(text));
                let (ended, scratch) = reader.finish_with_scratch();
                assert_eq!(ended, Ok(()));
                scratch
            }
            Err(error) => {
                assert_eq!(
                    error,
                    JsonError::Type(
                        "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.AttributeValue"
                            .into()
                    )
                );
                reader.finish_with_scratch().1
            }
        };
    }
}

#[test]
fn a_value_alone_is_sorted_inside() {
    let mut reader = Reader::new(br#"{"M":{"b":{"N":"1"},"a":{"S":"x"},"b":{"N":"2"}}}"#).expect("UTF-8");
    let read = read_value(&mut reader).expect("it reads");
    let ValueRef::M(map) = read.value.as_ref() else { panic!("a map") };
    assert_eq!(map.get("a"), Some(ValueRef::S("x")));
    assert_eq!(map.len(), 2);
    assert_eq!(read.value, Value::from_ref(read.value.as_ref()));
    assert_eq!(read.value.as_ref().aws_bytes(), 3 + 1 + 1 + 1 + 1 + 1 + 2);
}

/// Each of these takes moments where the work grows with the text, and minutes where it grows with its square.
#[test]
fn hostile_shapes_cost_what_their_length_does() {
    const COUNT: usize = 100_000;
    // Backwards, so that everything has to move.
    let members: Vec<String> = (0..COUNT).rev().map(|index| format!("\"{index:06}\"")).collect();
    let set = good(&format!(r#"{{"a":{{"SS":[{}]}}}}"#, members.join(",")));
    let Some(ValueRef::Set(set)) = set.as_ref().get("a") else { panic!("a set") };
    assert_eq!((set.len(), set.iter().next()), (COUNT, Some(&b"000000"[..])));
    let attributes: Vec<String> = members.iter().map(|name| format!("{name}:{{\"NULL\":true}}")).collect();
    let map = good(&format!("{{{}}}", attributes.join(",")));
    assert_eq!((map.as_ref().len(), map.as_ref().aws_bytes()), (COUNT, 7 * COUNT as u32));
    let same = "\"same\":{\"NULL\":true},".repeat(COUNT);
    assert_eq!(good(&format!("{{{same}\"a\":{{\"S\":\"\"}}}}")).as_ref().len(), 2);
    // Maps in maps, each out of order around a long text: it is copied once, not once for each.
    let long = "x".repeat(1_000_000);
    let before = r#"{"M":{"b":{"NULL":true},"a":"#.repeat(31);
    let nested = good(&format!(r#"{{"a":{before}{{"S":"{long}"}}{}}}"#, "}}".repeat(31)));
    assert!(nested.as_bytes().len() < long.len() + 31 * 16 + 16);
    let zeros = format!(r#"{{"N":"{}1e-{}"}}"#, "0".repeat(1_000_000), "0".repeat(1_000_000));
    assert_eq!(value_error(&zeros), None);
    for text in ["[".repeat(16 << 20), "{\"a\":".repeat(3 << 20), "{\"L\":[".repeat(2 << 20)] {
        assert_eq!(json_error(&format!("{{\"X\":{text}")), JsonError::Syntax);
    }
    assert_eq!(json_error(&"{\"L\":[".repeat(2 << 20)), JsonError::Syntax);
}
