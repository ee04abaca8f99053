//! The reader and the writer: what is taken, what is refused and with which words.

use super::*;

struct Tests;

impl Shapes for Tests {
    const PACKAGE: &'static str = "com.amazonaws.tests.";
    type Buffers = Vec<u8>;
}

fn skipped(text: &str) -> Result<(), JsonError> {
    let mut reader: Reader<'_> = Reader::new(text.as_bytes())?;
    reader.skip()?;
    reader.finish()
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
        "01",
        "1.",
        "-",
        "1e",
        "tru",
        "[1,]",
        "[1 2]",
        "[}",
        "{]}",
        "{1:2}",
        "\u{feff}{}",
        "[,]",
        "{} x",
    ];
    for text in cases {
        assert_eq!(skipped(text), Err(JsonError::Syntax), "{text}");
    }
    assert_eq!(Reader::<Plain>::new(b"\"\xff\"").err(), Some(JsonError::Syntax));
}

#[test]
fn depth_has_its_bound_and_length_costs_no_more_than_itself() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(skipped(&nested(DEPTH_MAX)), Ok(()));
    assert_eq!(skipped(&nested(DEPTH_MAX + 1)), Err(JsonError::Syntax));
    assert_eq!(skipped(&"[".repeat(16 << 20)), Err(JsonError::Syntax));
    assert_eq!(skipped(&"{\"a\":".repeat(3 << 20)), Err(JsonError::Syntax));
    assert_eq!(skipped(&format!("[{}1]", "1,".repeat(1 << 20))), Ok(()));
}

#[test]
fn buffers_go_from_one_reader_to_the_next() {
    let mut reader = Reader::<Tests>::new(b"1").expect("UTF-8");
    let mut buffers = reader.take_buffers();
    buffers.push(7);
    reader.keep(buffers);
    let (ended, scratch) = {
        assert_eq!(reader.long(), Ok(1));
        reader.finish_with_scratch()
    };
    assert_eq!(ended, Ok(()));
    let mut reader = Reader::<Tests>::with_scratch(b"2", scratch).expect("UTF-8");
    assert_eq!(*reader.take_buffers(), vec![7]);
}

#[test]
fn structures_give_each_member_once_and_scalars_convert_as_aws_does() {
    let text = br#"{"Limit":1.7,"Big":123456789012,"Flag":"YES","Names":["a",null,"b"],"Blob":"AAE=","Rest":{"x":[]},"No":null}"#;
    let mut reader = Reader::<Tests>::new(text).expect("UTF-8");
    let (mut limit, mut big, mut flag, mut names, mut blob) = (0, 0, false, Vec::new(), Vec::new());
    reader
        .structure("QueryInput", &mut |name, member| {
            match name {
                "Limit" => limit = member.integer()?,
                "Big" => big = member.long()?,
                "Flag" => flag = member.boolean()?,
                "Blob" => blob = member.blob()?,
                "Names" => member.list(&mut |element| {
                    names.push(element.string()?.into_owned());
                    Ok(())
                })?,
                "No" => unreachable!("it is null"),
                _ => return Ok(false),
            }
            Ok(true)
        })
        .expect("it reads");
    assert_eq!((limit, big, flag), (1, 123_456_789_012, true));
    assert_eq!((names, blob), (vec!["a".to_owned(), "b".to_owned()], vec![0, 1]));
    let wrong = |text: &str| {
        let mut reader = Reader::<Tests>::new(text.as_bytes()).expect("UTF-8");
        reader.integer().expect_err("no integer")
    };
    for (text, words) in [
        ("\"1\"", "STRING_VALUE cannot be converted to Integer"),
        ("true", "TRUE_VALUE cannot be converted to Integer"),
        ("[]", "Unrecognized collection type class java.lang.Integer"),
        ("{}", "Start of structure or map found where not expected."),
    ] {
        assert_eq!(wrong(text), JsonError::Type(words.into()));
    }
    let mut reader = Reader::<Tests>::new(b"[]").expect("UTF-8");
    assert_eq!(
        reader.structure("GetItemInput", &mut |_, _| Ok(false)),
        Err(JsonError::Type("Unrecognized collection type class com.amazonaws.tests.GetItemInput".into()))
    );
}

#[test]
fn the_writer_puts_commas_and_escapes() {
    let mut out = Writer::new();
    out.begin_object();
    out.key("a\"");
    out.string("x\u{1}y\\\n");
    out.key("n");
    out.integer(-5);
    out.key("d");
    out.begin_array();
    for value in [0.0, 0.5, 2.0, 1234.567, 0.001, -1.25] {
        out.double(value);
    }
    out.begin_object();
    out.end_object();
    out.raw(b"1,2");
    out.raw(b"");
    out.boolean(true);
    out.end_array();
    out.key("b");
    out.blob(&[0, 255]);
    out.end_object();
    let text = String::from_utf8(out.into_bytes()).expect("UTF-8");
    assert_eq!(
        text,
        "{\"a\\\"\":\"x\\u0001y\\\\\\n\",\"n\":-5,\"d\":[0.0,0.5,2.0,1234.567,0.001,-1.25,{},1,2,true],\"b\":\"AP8=\"}"
    );
    let mut reader: Reader<'_> = Reader::new(text.as_bytes()).expect("UTF-8");
    assert_eq!(reader.skip(), Ok(()));
    assert_eq!(reader.finish(), Ok(()), "the reader takes what the writer gives");
}
