//! Values and items: what builders make, what the check of stored bytes refuses.

use std::cmp::Ordering;

use super::*;
use crate::number::Number;

fn number(text: &str) -> Value {
    Value::n(&Number::parse(text.as_bytes()).expect("a number"))
}

fn sample() -> Item {
    let mut item = ItemBuilder::new();
    item.set("z", ValueRef::S("text"));
    item.attribute("m")
        .begin_map()
        .name("b")
        .n(&Number::from(5))
        .name("a")
        .begin_list()
        .null()
        .bool(true)
        .end_list()
        .end_map();
    item.attribute("s").set(Kind::Ss, [&b"b"[..], b"a", b"b"].into_iter());
    item.set("z", ValueRef::B(&[1, 2]));
    item.finish()
}

#[test]
fn a_builder_sorts_and_keeps_the_later_of_two() {
    let item = sample();
    let names: Vec<&str> = item.as_ref().iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["m", "s", "z"]);
    assert_eq!(item.as_ref().get("z"), Some(ValueRef::B(&[1, 2])));
    assert_eq!(item.as_ref().get("y"), None);
    let Some(ValueRef::Set(set)) = item.as_ref().get("s") else { panic!("a set") };
    assert_eq!((set.len(), set.contains(b"a"), set.contains(b"c")), (2, true, false));
    let Some(ValueRef::M(map)) = item.as_ref().get("m") else { panic!("a map") };
    let Some(ValueRef::L(list)) = map.get("a") else { panic!("a list") };
    assert_eq!((list.len(), list.get(1), list.get(2)), (2, Some(ValueRef::Bool(true)), None));
    assert_eq!(Item::from_pairs(item.as_ref().iter()), item);
    assert!(Item::empty().as_ref().is_empty());
    assert_eq!(Item::empty(), ItemBuilder::new().finish());
}

#[test]
fn names_sort_by_their_bytes_whatever_their_length() {
    let names =
        ["", "\0", "a", "a\0", "a\0\0\0\0\0\0\0b", "ab", "abc", "abcd", "abcde", "abcdefg", "abcdefgh"];
    let more = ["abcdefgha", "abcdefghb", "abcdf", "abce", "b", "ba", "\u{7f}", "ä", "ää", "\u{10ffff}"];
    let all: Vec<&str> = names.into_iter().chain(more).collect();
    // Every pair in both orders, and all of them backwards.
    for a in &all {
        for b in all.iter().filter(|b| *b != a) {
            let mut item = ItemBuilder::new();
            item.set(a, ValueRef::Null).set(b, ValueRef::Null);
            let item = item.finish();
            let found: Vec<&str> = item.as_ref().iter().map(|(name, _)| name).collect();
            assert_eq!(found, [*a.min(b), *a.max(b)]);
        }
    }
    let item = Item::from_pairs(all.iter().rev().map(|name| (*name, ValueRef::Null)));
    let mut sorted = all.clone();
    sorted.sort_unstable();
    assert_eq!(item.as_ref().iter().map(|(name, _)| name).collect::<Vec<_>>(), sorted);
}

#[test]
fn values_compare_within_their_type_only() {
    let (one, ten) = (number("1"), number("10"));
    assert_eq!(one.as_ref().compare(&ten.as_ref()), Some(Ordering::Less));
    assert_eq!(number("-1").as_ref().compare(&number("-10").as_ref()), Some(Ordering::Greater));
    assert_eq!(ValueRef::S("b").compare(&ValueRef::S("ab")), Some(Ordering::Greater));
    assert_eq!(ValueRef::S("1").compare(&one.as_ref()), None);
    assert_eq!(ValueRef::Bool(true).compare(&ValueRef::Bool(false)), None);
    assert_eq!(number("1.0"), one);
    assert_ne!(ValueRef::S("a"), ValueRef::B(b"a"));
}

#[test]
fn a_string_is_the_same_value_however_long_it_is() {
    for length in [0, 1, 63, 64, 65, 127, 128, 20_000] {
        let text = "ä".repeat(length);
        let value = Value::s(&text);
        assert_eq!(value.as_ref(), ValueRef::S(&text));
        assert_eq!(value.as_bytes(), ValueRef::S(&text).encoded());
        assert_eq!(value, Value::from_ref(value.as_ref()));
        assert_ne!(value, Value::s(&format!("{text}.")));
    }
}

#[test]
fn copies_of_parts_are_equal_to_the_parts() {
    let item = sample();
    for (_, value) in item.as_ref().iter() {
        let copy = Value::from_ref(value);
        assert_eq!(copy.as_ref(), value);
        assert_eq!(copy.as_bytes(), value.encoded());
        let mut builder = ValueBuilder::new();
        builder.value(value);
        assert_eq!(builder.finish(), copy);
    }
    assert_eq!(Value::set(Kind::Ns, std::iter::empty()), None);
    let empty = Value::set(Kind::Bs, [&b""[..]].into_iter()).expect("it has a member");
    assert_eq!(empty.as_bytes().len(), 1);
    assert_eq!(Value::from_ref(empty.as_ref()), empty);
}

#[test]
fn a_set_without_another_keeps_the_rest_in_order() {
    let set = |members: &[&str]| {
        Value::set(Kind::Ss, members.iter().map(|text| text.as_bytes())).expect("it has members")
    };
    let left = |whole: &[&str], gone: &[&str]| {
        let (whole, gone) = (set(whole), set(gone));
        let (ValueRef::Set(whole), ValueRef::Set(gone)) = (whole.as_ref(), gone.as_ref()) else {
            panic!("two sets")
        };
        whole.without(gone).map(|member| String::from_utf8_lossy(member).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(left(&["a", "b", "c", "d"], &["b", "d", "e"]), ["a", "c"]);
    assert_eq!(left(&["b", ""], &["a", "c"]), ["", "b"]);
    assert_eq!(left(&["a", "b"], &["b", "a"]), [""; 0]);
    assert_eq!(left(&["a"], &["", "0", "1", "b"]), ["a"]);
}

#[test]
fn every_other_version_and_every_cut_is_corrupt() {
    let item = sample();
    let bytes = item.as_bytes();
    assert!(ItemRef::new(bytes).is_ok());
    let boundaries = [4, bytes.len()];
    for length in 0..bytes.len() {
        // An item may end behind any of its attributes; within one it may not.
        let ends_between = boundaries.contains(&length)
            || item
                .as_ref()
                .iter()
                .scan(4, |at, (name, value)| {
                    *at += 1 + name.len() + value.encoded().len();
                    Some(*at)
                })
                .any(|end| end == length);
        assert_eq!(ItemRef::new(&bytes[..length]).is_ok(), ends_between, "cut at {length}");
    }
    let mut other = bytes.to_vec();
    other[0] = 2;
    assert!(ItemRef::new(&other).is_err());
}

#[test]
fn what_is_not_the_one_form_of_a_value_is_corrupt() {
    let attribute = |value: &[u8]| [&[1, 0, 0, 0, 1, b'a'], value].concat();
    let cases: [(&str, &[u8]); 14] = [
        ("an unknown tag", &[13]),
        ("a string that is not UTF-8", &[3, 1, 0xff]),
        ("a length in two bytes that fits one", &[3, 0x81, 0, b'a']),
        ("a length without end", &[3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ("a length past the end", &[5, 9, 1]),
        ("a number that is none", &[4, 2, 0xc0, 0]),
        ("a number in a longer form", &[4, 5, 0xc0, 130, 11, 1, 0]),
        ("an empty set", &[6, 0]),
        ("a set of one empty member in the long form", &[6, 1, 0]),
        ("a set that is not sorted", &[6, 4, 1, b'b', 1, b'a']),
        ("a set with a member twice", &[8, 4, 1, b'a', 1, b'a']),
        ("a set of numbers with another member", &[7, 2, 1, b'a']),
        ("a map that is not sorted", &[10, 6, 0, 0, 0, 1, b'b', 0, 1, b'a', 0]),
        ("a list that ends inside its last value", &[9, 2, 0, 0, 0, 3, 9]),
    ];
    for (what, value) in cases {
        assert!(ItemRef::new(&attribute(value)).is_err(), "{what}");
    }
    let nested = |levels: usize| {
        (1..levels).fold(vec![0], |inside: Vec<u8>, _| {
            [&[9], &(inside.len() as u32).to_le_bytes()[..], &inside[..]].concat()
        })
    };
    assert!(ItemRef::new(&attribute(&nested(DEPTH_MAX))).is_ok());
    assert!(ItemRef::new(&attribute(&nested(DEPTH_MAX + 1))).is_err());
}

#[test]
fn the_item_that_grows_most_is_a_value_that_the_store_takes() {
    const AWS_BYTES_MAX: u32 = crate::model::limits::ITEM_BYTES_MAX;
    let set = |kind, members: &[&[u8]]| Value::set(kind, members.iter().copied()).expect("it has a member");
    let strings =
        |members: &[&str]| set(Kind::Ss, &members.iter().map(|text| text.as_bytes()).collect::<Vec<_>>());
    let container = |is_map: bool| {
        let mut value = ValueBuilder::new();
        if is_map {
            value.begin_map().end_map()
        } else {
            value.begin_list().end_list()
        };
        value.finish()
    };
    // The encodings that are longest beside what AWS counts.
    let elements = [
        strings(&["", "a"]),
        strings(&["a"]),
        strings(&[""]),
        set(Kind::Bs, &[b"", b"\0"]),
        set(Kind::Ns, &[&[0x80]]),
        Value::s(""),
        Value::s("a"),
        number("0"),
        number("1"),
        Value::null(),
        container(false),
        container(true),
    ];
    let mut longest = 0;
    for element in &elements {
        let element = element.as_ref();
        let mut item = ItemBuilder::new();
        let mut left = AWS_BYTES_MAX - 2 - 3;
        // Short names make it a little worse still, as long as there are any.
        let one = (0..128u8).map(|byte| vec![byte]);
        let two = (0..128u8).flat_map(|a| (0..128u8).map(move |b| vec![a, b]));
        for name in one.chain(two) {
            left -= name.len() as u32 + element.aws_bytes();
            item.set(str::from_utf8(&name).expect("ASCII"), element);
        }
        let list = item.attribute("zzz").begin_list();
        for _ in 0..left / (1 + element.aws_bytes()) {
            list.value(element);
        }
        list.end_list();
        let item = item.finish();
        assert!(item.as_ref().aws_bytes() > AWS_BYTES_MAX - 8, "it is as large as an item may be");
        longest = longest.max(item.as_bytes().len());
    }
    // What the stream's record of the item adds, its keys among it, fits beside it.
    assert!(longest + 8_192 < store::VALUE_BYTES_MAX, "{longest} bytes");
}
