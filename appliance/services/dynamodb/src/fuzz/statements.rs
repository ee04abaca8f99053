//! Texts of PartiQL statements: taken or refused, and what a clause says of keys held against what it says of items.

use crate::expression::{KeyTest, SortTest};
use crate::model::table::{KeyAttribute, KeyType};
use crate::partiql::{Access, Statement, Where, parse};
use crate::value::{Item, ItemRef, Value, ValueRef};

/// Any text, with as many parameters as it wants.
pub fn texts(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let values: Vec<Value> =
        ["a", "b", "c"].into_iter().cycle().take(PARAMETER_COUNT_MAX).map(Value::s).collect();
    let parsed = (0..=PARAMETER_COUNT_MAX).find_map(|count| parse(text, &values[..count]).ok());
    match parsed {
        Some(Statement::Select(select)) => {
            items().iter().for_each(|item| drop(select.columns.of(item.as_ref())));
            select.condition.iter().for_each(assert_keys);
        }
        Some(Statement::Update(update)) => {
            assert_keys(&update.condition);
            for item in items() {
                // Whether it fits the item or not, it is answered.
                drop(update.update.apply(Some(item.as_ref()), item.as_ref()));
            }
        }
        Some(Statement::Delete(delete)) => assert_keys(&delete.condition),
        Some(Statement::Exists(exists)) => assert_keys(&exists.condition),
        Some(Statement::Insert(insert)) => drop(ItemRef::new(insert.item.as_bytes()).expect("an encoding")),
        None => {}
    }
}

/// Statements that want more are refused here.
const PARAMETER_COUNT_MAX: usize = 3;

/// Items with every key that short texts name, and one without.
fn items() -> Vec<Item> {
    let texts = ["a", "b", "c"].map(Value::s);
    let pairs = texts.iter().flat_map(|pk| texts.iter().map(move |sk| (pk, sk)));
    let mut items: Vec<Item> = pairs
        .map(|(pk, sk)| {
            Item::from_pairs([("pk", pk.as_ref()), ("sk", sk.as_ref()), ("x", sk.as_ref())].into_iter())
        })
        .collect();
    items.push(Item::empty());
    items
}

/// An item that satisfies the clause lies in one of its parts, and without a filter every item of a part satisfies it.
fn assert_keys(clause: &Where) {
    let key = |name: &str| vec![KeyAttribute { name: name.into(), kind: KeyType::S }];
    let (hash, sort) = (key("pk"), key("sk"));
    let Ok(Access::Keys(parts)) = clause.access(&hash, &sort) else { return };
    let filter = clause.filter(&hash, &sort);
    for item in items().iter().map(Item::as_ref) {
        let lies = parts.iter().filter(|part| lies_in(part, item)).count();
        assert!(lies <= 1, "no item lies in two parts");
        let holds = clause.condition().holds(Some(item));
        let filtered = filter.as_ref().is_none_or(|filter| filter.holds(Some(item)));
        assert_eq!(lies == 1 && filtered, holds);
    }
    if let Ok((key, guarded)) = clause.key(&["pk", "sk"]) {
        for item in items().iter().map(Item::as_ref) {
            let is_it = ["pk", "sk"].iter().all(|name| item.get(name) == key.as_ref().get(name));
            let holds = clause.condition().holds(Some(item));
            assert!(is_it || !holds, "only the item that is named can satisfy the clause");
            assert!(guarded || holds == is_it, "a clause without a guard is its key");
        }
    }
}

fn lies_in(part: &KeyTest, item: ItemRef<'_>) -> bool {
    let text = |value: Option<ValueRef<'_>>| match value {
        Some(ValueRef::S(text)) => Some(text.to_owned()),
        _ => None,
    };
    let of = |value: &Value| text(Some(value.as_ref())).unwrap_or_default();
    let (Some(pk), Some(sk)) = (text(item.get("pk")), text(item.get("sk"))) else { return false };
    let sorted = match &part.sort {
        SortTest::Any => true,
        SortTest::Equal(value) => sk == of(value),
        SortTest::Less(value) => sk < of(value),
        SortTest::LessOrEqual(value) => sk <= of(value),
        SortTest::Greater(value) => sk > of(value),
        SortTest::GreaterOrEqual(value) => sk >= of(value),
        SortTest::Between(low, high) => sk >= of(low) && sk <= of(high),
        SortTest::BeginsWith(prefix) => sk.starts_with(&of(prefix)),
    };
    pk == of(&part.hash[0]) && sorted
}
