//! Paths, edits and projections: by example, and at random against model.rs.

use super::*;
use crate::json::{Reader, Writer, read_item};
use crate::value::{DEPTH_MAX, Item, ItemBuilder, Value, ValueBuilder};

fn item(text: &str) -> Item {
    let mut reader = Reader::new(text.as_bytes()).expect("UTF-8");
    read_item(&mut reader).expect("attribute values").value
}

fn json(item: &Item) -> String {
    let mut out = Writer::new();
    item.as_ref().write_json(&mut out);
    String::from_utf8(out.into_bytes()).expect("UTF-8")
}

/// `a.b[3]` as steps; names hold neither of the marks.
fn path(text: &str) -> Vec<Step> {
    text.split(['.', '['])
        .map(|part| match part.strip_suffix(']') {
            Some(index) => Step::Index(index.parse().expect("an index")),
            None => Step::Name(part.into()),
        })
        .collect()
}

fn set(at: &str, text: &str) -> Edit {
    Edit::Set(path(at), Value::s(text))
}

fn remove(at: &str) -> Edit {
    Edit::Remove(path(at))
}

const SAMPLE: &str = r#"{"k":{"S":"key"},"l":{"L":[{"S":"0"},{"S":"1"},{"M":{"x":{"S":"2x"}}}]},
    "m":{"M":{"a":{"S":"ma"},"b":{"L":[{"S":"mb0"}]}}},"s":{"SS":["q"]}}"#;

#[test]
fn a_path_finds_what_is_there() {
    let item = item(SAMPLE);
    let text = |at: &str| match find(item.as_ref(), &path(at)) {
        Some(ValueRef::S(text)) => Some(text.to_owned()),
        Some(other) => Some(other.kind().name().to_owned()),
        None => None,
    };
    for (at, found) in [
        ("k", Some("key")),
        ("l", Some("L")),
        ("l[1]", Some("1")),
        ("l[2].x", Some("2x")),
        ("l[3]", None),
        ("l.x", None),
        ("m.b[0]", Some("mb0")),
        ("m[0]", None),
        ("k.x", None),
        ("s[0]", None),
        ("absent", None),
    ] {
        assert_eq!(text(at).as_deref(), found, "{at}");
    }
    assert_eq!(find(item.as_ref(), &[]), None);
    assert_eq!(find(item.as_ref(), &[Step::Index(0)]), None);
}

/// As `hostile_shapes_cost_what_their_length_does`: moments or minutes.
#[test]
fn many_paths_into_a_long_list_take_one_walk() {
    let mut builder = ItemBuilder::new();
    let list = builder.attribute("l").begin_list();
    (0..400_000).for_each(|_| {
        list.null();
    });
    list.end_list();
    let item = builder.finish();
    let paths: Vec<Vec<Step>> =
        (0..3_000).map(|index| vec![Step::Name("l".into()), Step::Index(401_000 - index)]).collect();
    let finder = Finder::new(Some(item.as_ref()), &paths);
    let found = (0..paths.len()).filter(|place| finder.get(*place).is_some()).count();
    assert_eq!(found, 1_999);
    assert_eq!(Finder::new(None, &paths).get(0), None);
}

#[test]
fn edits_read_the_old_positions() {
    let l = |list: &str| format!(r#"{{"l":{{"L":[{list}]}}}}"#);
    let abc = l(r#"{"S":"a"},{"S":"b"},{"S":"c"}"#);
    let cases: [(&[Edit], &str); 7] = [
        (&[set("l[1]", "B")], r#"{"S":"a"},{"S":"B"},{"S":"c"}"#),
        (&[set("l[5]", "x")], r#"{"S":"a"},{"S":"b"},{"S":"c"},{"S":"x"}"#),
        (&[set("l[9]", "y"), set("l[5]", "x")], r#"{"S":"a"},{"S":"b"},{"S":"c"},{"S":"x"},{"S":"y"}"#),
        (&[remove("l[0]"), remove("l[1]")], r#"{"S":"c"}"#),
        (&[remove("l[0]"), set("l[1]", "B"), set("l[3]", "d")], r#"{"S":"B"},{"S":"c"},{"S":"d"}"#),
        (&[remove("l[7]")], r#"{"S":"a"},{"S":"b"},{"S":"c"}"#),
        (&[remove("l[0]"), remove("l[1]"), remove("l[2]")], ""),
    ];
    for (edits, after) in cases {
        let done = edit(item(&abc).as_ref(), edits).expect("a valid edit");
        assert_eq!(done, item(&l(after)), "{edits:?}");
    }
}

#[test]
fn edits_go_into_maps_and_refuse_what_is_not_there() {
    let old = item(SAMPLE);
    let after = |edits: &[Edit]| edit(old.as_ref(), edits).map(|item| json(&item));
    assert_eq!(
        after(&[set("m.c", "new"), remove("m.a"), set("a", "first"), remove("absent"), remove("l[2].x")]),
        Ok(r#"{"a":{"S":"first"},"k":{"S":"key"},"l":{"L":[{"S":"0"},{"S":"1"},{"M":{}}]},"m":{"M":{"b":{"L":[{"S":"mb0"}]},"c":{"S":"new"}}},"s":{"SS":["q"]}}"#.to_owned())
    );
    for bad in [
        set("x.y", ""),
        set("k.y", ""),
        set("k[0]", ""),
        set("m[0]", ""),
        set("l.x", ""),
        set("l[9].x", ""),
        set("m.a.b", ""),
        remove("x.y"),
        remove("k[0]"),
        remove("m[0]"),
        remove("m.x.y"),
        remove("l[3].x"),
    ] {
        assert_eq!(after(std::slice::from_ref(&bad)), Err(EditError::InvalidPath), "{bad:?}");
    }
    assert_eq!(after(&[]), Ok(json(&old)));
    assert_eq!(after(&[set("k", "1"), set("k", "2")]), after(&[set("k", "2")]), "the later counts");
}

#[test]
fn an_edit_does_not_make_an_item_too_deep() {
    let nested = |levels: usize| {
        let mut value = ValueBuilder::new();
        for _ in 1..levels {
            value.begin_list();
        }
        value.null();
        for _ in 1..levels {
            value.end_list();
        }
        value.finish()
    };
    let old = item(r#"{"m":{"M":{"a":{"M":{}}}}}"#);
    let at_level_3 = |levels| edit(old.as_ref(), &[Edit::Set(path("m.a.x"), nested(levels))]);
    let fits = at_level_3(DEPTH_MAX - 2).expect("32 levels");
    assert!(crate::value::ItemRef::new(fits.as_bytes()).is_ok());
    assert_eq!(at_level_3(DEPTH_MAX - 1), Err(EditError::TooDeep));
}

#[test]
fn a_projection_keeps_the_shape_and_closes_gaps_in_lists() {
    let item = item(SAMPLE);
    let cases: [(&[&str], &str); 8] = [
        (&["k"], r#"{"k":{"S":"key"}}"#),
        (&["l[2]", "l[0]"], r#"{"l":{"L":[{"S":"0"},{"M":{"x":{"S":"2x"}}}]}}"#),
        (
            &["l[2].x", "m.b[0]"],
            r#"{"l":{"L":[{"M":{"x":{"S":"2x"}}}]},"m":{"M":{"b":{"L":[{"S":"mb0"}]}}}}"#,
        ),
        (&["m.a", "m.b[4]", "m.z"], r#"{"m":{"M":{"a":{"S":"ma"}}}}"#),
        (&["m.z", "l[9]", "absent", "k.x", "s[0]", "l[2].y"], "{}"),
        (&["m", "m.a"], r#"{"m":{"M":{"a":{"S":"ma"},"b":{"L":[{"S":"mb0"}]}}}}"#),
        (&[], "{}"),
        (&["s", "k", "k"], r#"{"k":{"S":"key"},"s":{"SS":["q"]}}"#),
    ];
    for (paths, shown) in cases {
        let paths: Vec<_> = paths.iter().map(|text| path(text)).collect();
        let projection = Projection::new(&paths);
        let projected = projection.project(item.as_ref());
        assert_eq!(json(&projected), shown);
        let mut out = Writer::new();
        projection.write_json(item.as_ref(), &mut out);
        assert_eq!(String::from_utf8(out.into_bytes()).expect("UTF-8"), shown);
        assert_eq!(projection.aws_bytes(item.as_ref()), projected.as_ref().aws_bytes());
    }
}

#[test]
fn random_edits_and_projections_agree_with_the_model() {
    let mut state = 7u64;
    let mut below = |end: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % end
    };
    let (mut done_count, mut refused_count, mut found_count) = (0, 0, 0);
    for _ in 0..20_000 {
        let (is_done, is_found) = model::round(&mut below);
        done_count += usize::from(is_done);
        refused_count += usize::from(!is_done);
        found_count += usize::from(is_found);
    }
    assert!(done_count > 2_000 && refused_count > 2_000 && found_count > 2_000, "the rounds say something");
}
