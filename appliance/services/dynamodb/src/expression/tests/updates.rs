//! What updates make of items.

use super::*;

const VALUES: &str = r#"{
    ":one":{"N":"1"}, ":two":{"N":"2"}, ":s":{"S":"new"}, ":e":{"L":[]}, ":l":{"L":[{"N":"1"},{"N":"2"}]},
    ":ss":{"SS":["b","c"]}, ":ns":{"NS":["1"]}, ":m":{"M":{"k":{"S":"v"}}}, ":n":{"N":"-5.5"},
    ":big":{"N":"99999999999999999999999999999999999999"}, ":small":{"N":"0.1"}, ":huge":{"N":"9e125"}
}"#;

fn update(text: &str) -> Update {
    let (names, values) = (names("#d=a.b,#c=c"), values(VALUES));
    Binder::new(Some(&names), Some(&values)).update(&mut Cache::new(), text).unwrap()
}

fn key() -> Item {
    item(r#"{"pk":{"S":"k"}}"#)
}

fn apply(text: &str, old: &str) -> Result<Updated, UpdateError> {
    update(text).apply(Some(item(old).as_ref()), key().as_ref())
}

/// Applies to an item that exists; the key need not be written out.
fn check(rows: &[(&str, &str, &str)]) {
    for (text, old, new) in rows {
        let made = apply(text, old).map(|updated| updated.item);
        assert_eq!(made, Ok(Some(item(new))), "{text}");
    }
}

fn refused(rows: &[(&str, &str, UpdateError)]) {
    for (text, old, error) in rows {
        assert_eq!(apply(text, old).err(), Some(*error), "{text}");
    }
}

#[test]
fn every_right_side_reads_the_old_item() {
    check(&[
        ("SET a = b, b = a", r#"{"a":{"S":"x"},"b":{"S":"y"}}"#, r#"{"a":{"S":"y"},"b":{"S":"x"}}"#),
        ("SET a = :s, b = a", r#"{"a":{"N":"1"}}"#, r#"{"a":{"S":"new"},"b":{"N":"1"}}"#),
        ("REMOVE a SET b = a", r#"{"a":{"N":"1"}}"#, r#"{"b":{"N":"1"}}"#),
        (
            "SET n = n + :one ADD m :one",
            r#"{"n":{"N":"1"},"m":{"N":"1"}}"#,
            r#"{"n":{"N":"2"},"m":{"N":"2"}}"#,
        ),
        ("SET #d = :s", r#"{"a":{"N":"1"}}"#, r#"{"a":{"N":"1"},"a.b":{"S":"new"}}"#),
    ]);
}

#[test]
fn lists_are_set_by_old_positions_and_grow_at_their_end() {
    let old = r#"{"l":{"L":[{"S":"a"},{"S":"b"},{"S":"c"}]}}"#;
    check(&[
        ("SET l[1] = :one", old, r#"{"l":{"L":[{"S":"a"},{"N":"1"},{"S":"c"}]}}"#),
        ("SET l[5] = :one", old, r#"{"l":{"L":[{"S":"a"},{"S":"b"},{"S":"c"},{"N":"1"}]}}"#),
        (
            "SET l[9] = :two, l[5] = :one",
            old,
            r#"{"l":{"L":[{"S":"a"},{"S":"b"},{"S":"c"},{"N":"1"},{"N":"2"}]}}"#,
        ),
        ("REMOVE l[0], l[2]", old, r#"{"l":{"L":[{"S":"b"}]}}"#),
        ("REMOVE l[0] SET l[1] = :one, l[7] = :two", old, r#"{"l":{"L":[{"N":"1"},{"S":"c"},{"N":"2"}]}}"#),
        ("REMOVE l[7]", old, old),
        (
            "SET l = list_append(l, :l)",
            r#"{"l":{"L":[{"S":"a"}]}}"#,
            r#"{"l":{"L":[{"S":"a"},{"N":"1"},{"N":"2"}]}}"#,
        ),
        (
            "SET l = list_append(:l, l)",
            r#"{"l":{"L":[{"S":"a"}]}}"#,
            r#"{"l":{"L":[{"N":"1"},{"N":"2"},{"S":"a"}]}}"#,
        ),
        ("SET l = list_append(if_not_exists(l, :e), :l)", "{}", r#"{"l":{"L":[{"N":"1"},{"N":"2"}]}}"#),
        ("SET l[0] = :one", r#"{"l":{"L":[]}}"#, r#"{"l":{"L":[{"N":"1"}]}}"#),
        ("REMOVE l[0]", r#"{"l":{"L":[{"S":"a"}]}}"#, r#"{"l":{"L":[]}}"#),
    ]);
}

#[test]
fn paths_lead_through_what_is_there() {
    let old = r#"{"m":{"M":{"a":{"S":"x"},"b":{"M":{"c":{"N":"1"}}}}},"s":{"S":"x"}}"#;
    check(&[
        (
            "SET m.b.#c = m.b.#c + :one",
            old,
            r#"{"m":{"M":{"a":{"S":"x"},"b":{"M":{"c":{"N":"2"}}}}},"s":{"S":"x"}}"#,
        ),
        (
            "SET m.z = :m",
            old,
            r#"{"m":{"M":{"a":{"S":"x"},"z":{"M":{"k":{"S":"v"}}},"b":{"M":{"c":{"N":"1"}}}}},"s":{"S":"x"}}"#,
        ),
        ("REMOVE m.a, m.b.#c", old, r#"{"m":{"M":{"b":{"M":{}}}},"s":{"S":"x"}}"#),
        ("REMOVE nope, m.nope", old, old),
        (
            "ADD m.count_ :two",
            old,
            r#"{"m":{"M":{"a":{"S":"x"},"count_":{"N":"2"},"b":{"M":{"c":{"N":"1"}}}}},"s":{"S":"x"}}"#,
        ),
        ("DELETE m.nope :ss", old, old),
    ]);
    refused(&[
        ("SET nope.a = :s", old, UpdateError::InvalidPath),
        ("SET s.a = :s", old, UpdateError::InvalidPath),
        ("SET m[0] = :s", old, UpdateError::InvalidPath),
        ("SET nope[0] = :s", old, UpdateError::InvalidPath),
        ("REMOVE nope.a", old, UpdateError::InvalidPath),
        ("REMOVE s[0]", old, UpdateError::InvalidPath),
        ("ADD nope.a :one", old, UpdateError::InvalidPath),
        ("DELETE nope.a :ss", old, UpdateError::InvalidPath),
    ]);
}

#[test]
fn what_is_missing_is_missed_unless_there_is_something_instead() {
    refused(&[
        ("SET a = b", "{}", UpdateError::MissingAttribute),
        ("SET a = a + :one", "{}", UpdateError::MissingAttribute),
        ("SET a = list_append(a, :l)", "{}", UpdateError::MissingAttribute),
        ("SET a = if_not_exists(a, b)", "{}", UpdateError::MissingAttribute),
    ]);
    check(&[
        ("SET a = if_not_exists(a, :one)", "{}", r#"{"a":{"N":"1"}}"#),
        ("SET a = if_not_exists(a, :one)", r#"{"a":{"S":"x"}}"#, r#"{"a":{"S":"x"}}"#),
        ("SET a = if_not_exists(a, :one) + :two", "{}", r#"{"a":{"N":"3"}}"#),
        (
            "SET a = if_not_exists(b, if_not_exists(c, :two))",
            r#"{"c":{"S":"y"}}"#,
            r#"{"c":{"S":"y"},"a":{"S":"y"}}"#,
        ),
        ("SET a = if_not_exists(b, c)", r#"{"c":{"S":"y"}}"#, r#"{"c":{"S":"y"},"a":{"S":"y"}}"#),
    ]);
}

#[test]
fn numbers_are_added_exactly_or_not_at_all() {
    use crate::number::NumberError::Overflow;
    check(&[
        ("SET a = a + :n", r#"{"a":{"N":"5"}}"#, r#"{"a":{"N":"-0.5"}}"#),
        ("SET a = :one - a", r#"{"a":{"N":"5"}}"#, r#"{"a":{"N":"-4"}}"#),
        ("SET a = a - :one", r#"{"a":{"N":"1"}}"#, r#"{"a":{"N":"0"}}"#),
        ("ADD a :n", r#"{"a":{"N":"5"}}"#, r#"{"a":{"N":"-0.5"}}"#),
        ("ADD a :n", "{}", r#"{"a":{"N":"-5.5"}}"#),
    ]);
    refused(&[
        ("SET a = a + :one", r#"{"a":{"S":"5"}}"#, UpdateError::WrongType),
        ("SET a = :one - a", r#"{"a":{"L":[]}}"#, UpdateError::WrongType),
        ("SET a = list_append(a, :l)", r#"{"a":{"S":"x"}}"#, UpdateError::WrongType),
    ]);
    for text in ["SET a = :big + :small", "SET a = :huge + :huge", "ADD a :big"] {
        let error = apply(text, r#"{"a":{"N":"0.1"}}"#).err().unwrap();
        assert!(matches!(error, UpdateError::Number(_)), "{text}");
        assert_eq!(error.message(), UpdateError::Number(Overflow).message(), "{text}");
    }
}

#[test]
fn sets_are_united_and_reduced() {
    check(&[
        ("ADD a :ss", r#"{"a":{"SS":["a","b"]}}"#, r#"{"a":{"SS":["a","b","c"]}}"#),
        ("ADD a :ss", "{}", r#"{"a":{"SS":["b","c"]}}"#),
        ("DELETE a :ss", r#"{"a":{"SS":["a","b"]}}"#, r#"{"a":{"SS":["a"]}}"#),
        ("DELETE a :ss", r#"{"a":{"SS":["c","b"]},"x":{"N":"1"}}"#, r#"{"x":{"N":"1"}}"#),
        ("DELETE a :ss", r#"{"x":{"N":"1"}}"#, r#"{"x":{"N":"1"}}"#),
        ("DELETE a :ns", r#"{"a":{"NS":["1.0","2"]}}"#, r#"{"a":{"NS":["2"]}}"#),
    ]);
    refused(&[
        ("ADD a :ss", r#"{"a":{"NS":["1"]}}"#, UpdateError::WrongType),
        ("ADD a :ss", r#"{"a":{"N":"1"}}"#, UpdateError::WrongType),
        ("ADD a :one", r#"{"a":{"S":"1"}}"#, UpdateError::WrongType),
        ("DELETE a :ss", r#"{"a":{"NS":["1"]}}"#, UpdateError::WrongType),
        ("DELETE a :ss", r#"{"a":{"S":"b"}}"#, UpdateError::WrongType),
    ]);
}

#[test]
fn an_absent_item_is_made_of_its_key_unless_things_are_only_removed() {
    let made = |update: &Update| update.apply(None, key().as_ref()).unwrap().item;
    assert_eq!(made(&Update::empty()), Some(key()));
    assert_eq!(made(&update("SET a = :one")), Some(item(r#"{"pk":{"S":"k"},"a":{"N":"1"}}"#)));
    assert_eq!(made(&update("ADD a :ss")), Some(item(r#"{"pk":{"S":"k"},"a":{"SS":["b","c"]}}"#)));
    assert_eq!(made(&update("REMOVE a, b.c")), None);
    assert_eq!(made(&update("DELETE a :ss")), None);
    let expected = Some(item(r#"{"pk":{"S":"k"},"a":{"N":"1"}}"#));
    assert_eq!(made(&update("SET a = :one REMOVE b.c DELETE d :ss")), expected);
    let refused = |text: &str| update(text).apply(None, key().as_ref()).err();
    assert_eq!(refused("SET a = b"), Some(UpdateError::MissingAttribute));
    assert_eq!(refused("SET a.b = :one"), Some(UpdateError::InvalidPath));
}

#[test]
fn updated_attributes_are_the_touched_paths_in_their_shape() {
    let shown = |text: &str, old: &str| {
        let old = item(old);
        let updated = update(text).apply(Some(old.as_ref()), key().as_ref()).unwrap();
        let new = updated.item.unwrap();
        let before = updated_attributes(old.as_ref(), &updated.touched);
        (before, updated_attributes(new.as_ref(), &updated.touched))
    };
    let old = r#"{"pk":{"S":"k"},"a":{"M":{"x":{"N":"1"},"y":{"N":"2"}}},"l":{"L":[{"S":"a"},{"S":"b"},{"S":"c"}]}}"#;
    assert_eq!(
        shown("SET a.x = :s", old),
        (Some(item(r#"{"a":{"M":{"x":{"N":"1"}}}}"#)), Some(item(r#"{"a":{"M":{"x":{"S":"new"}}}}"#)))
    );
    assert_eq!(
        shown("SET l[2] = :one, l[0] = :two", old),
        (
            Some(item(r#"{"l":{"L":[{"S":"a"},{"S":"c"}]}}"#)),
            Some(item(r#"{"l":{"L":[{"N":"2"},{"N":"1"}]}}"#))
        )
    );
    assert_eq!(shown("SET z = :s", old), (None, Some(item(r#"{"z":{"S":"new"}}"#))));
    assert_eq!(shown("SET l[100] = :s", old), (None, None));
    let moved = (Some(item(r#"{"l":{"L":[{"S":"b"}]}}"#)), Some(item(r#"{"l":{"L":[{"S":"c"}]}}"#)));
    assert_eq!(shown("REMOVE l[1]", old), moved);
    assert_eq!(shown("REMOVE nope", old), (None, None));
}

#[test]
fn what_is_copied_often_does_not_grow_beyond_an_item() {
    let large = format!(r#"{{":v":{{"S":"{}"}}}}"#, "x".repeat(300_000));
    let values = values(&large);
    let copies: Vec<String> = (0..400).map(|number| format!("a{number}=:v")).collect();
    let text = format!("SET {}", copies.join(","));
    let update = Binder::new(None, Some(&values)).update(&mut Cache::new(), &text).unwrap();
    assert_eq!(update.apply(None, key().as_ref()).err(), Some(UpdateError::TooLarge));
}

#[test]
fn a_value_is_not_put_deeper_than_an_item_goes() {
    let deep = format!("{}{}{}", r#"{"L":["#.repeat(31), r#"{"N":"1"}"#, "]}".repeat(31));
    let values = values(&format!(r#"{{":v":{deep}}}"#));
    let bind = |text: &str| Binder::new(None, Some(&values)).update(&mut Cache::new(), text).unwrap();
    let old = item(r#"{"m":{"M":{}}}"#);
    assert!(bind("SET a = :v").apply(Some(old.as_ref()), key().as_ref()).is_ok());
    let error = bind("SET m.a = :v").apply(Some(old.as_ref()), key().as_ref()).err();
    assert_eq!(error, Some(UpdateError::TooDeep));
}
