//! Paths, edits and projections: by example, and at random against a model on plain trees.

use std::collections::BTreeMap;

use super::*;
use crate::json::{Reader, Writer, read_item};
use crate::number::Number;
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

/// A value of the model.
#[derive(Clone, PartialEq, Debug)]
enum Tree {
    Leaf(u64),
    List(Vec<Tree>),
    Map(BTreeMap<String, Tree>),
    /// Removed, but still in its place.
    Gone,
}

impl Tree {
    fn at(&mut self, path: &[Step]) -> Option<&mut Tree> {
        path.iter().try_fold(self, |tree, step| match (tree, step) {
            (Tree::Map(map), Step::Name(name)) => map.get_mut(&**name),
            (Tree::List(list), Step::Index(index)) => list.get_mut(*index as usize),
            _ => None,
        })
    }

    fn compact(self) -> Tree {
        let stays = |tree: &Tree| *tree != Tree::Gone;
        match self {
            Tree::List(list) => Tree::List(list.into_iter().filter(stays).map(Tree::compact).collect()),
            Tree::Map(map) => Tree::Map(
                map.into_iter()
                    .filter(|(_, tree)| stays(tree))
                    .map(|(name, tree)| (name, tree.compact()))
                    .collect(),
            ),
            other => other,
        }
    }

    fn build(&self, out: &mut ValueBuilder) {
        match self {
            Tree::Leaf(value) => {
                out.n(&Number::from(*value as i64));
            }
            Tree::List(list) => {
                out.begin_list();
                list.iter().for_each(|tree| tree.build(out));
                out.end_list();
            }
            Tree::Map(map) => {
                out.begin_map();
                // In the other order, so that the builder has to sort.
                for (name, tree) in map.iter().rev() {
                    out.name(name);
                    tree.build(out);
                }
                out.end_map();
            }
            Tree::Gone => unreachable!("compact comes first"),
        }
    }

    fn value(&self) -> Value {
        let mut out = ValueBuilder::new();
        self.build(&mut out);
        out.finish()
    }

    fn item(&self) -> Item {
        let Tree::Map(map) = self else { panic!("an item is a map") };
        let mut item = ItemBuilder::new();
        for (name, tree) in map.iter().rev() {
            tree.build(item.attribute(name));
        }
        item.finish()
    }
}

/// The edits of the model: in place and with marks for what goes, then what is appended, then the gaps close.
fn model_edit(old: &Tree, edits: &[(Vec<Step>, Option<Tree>)]) -> Option<Tree> {
    let (mut new, mut appended) = (old.clone(), Vec::new());
    for (path, value) in edits {
        let (last, parent) = path.split_last()?;
        match (old.clone().at(parent)?, last) {
            (Tree::Map(_), Step::Name(name)) => {
                let Some(Tree::Map(map)) = new.at(parent) else { panic!("the edits do not overlap") };
                map.insert((**name).to_owned(), value.clone().unwrap_or(Tree::Gone));
            }
            (Tree::List(list), Step::Index(index)) if (*index as usize) < list.len() => {
                let Some(Tree::List(list)) = new.at(parent) else { panic!("the edits do not overlap") };
                list[*index as usize] = value.clone().unwrap_or(Tree::Gone);
            }
            (Tree::List(_), Step::Index(index)) => {
                appended.extend(value.clone().map(|value| (parent, *index, value)));
            }
            _ => return None,
        }
    }
    appended.sort_by_key(|(_, index, _)| *index);
    for (parent, _, value) in appended {
        let Some(Tree::List(list)) = new.at(parent) else { panic!("the edits do not overlap") };
        list.push(value);
    }
    Some(new.compact())
}

/// The projection of the model: every found value at its place in a tree with gaps, then the gaps close.
fn model_project(old: &Tree, paths: &[Vec<Step>]) -> Tree {
    let mut out = Tree::Map(BTreeMap::new());
    for path in paths {
        let Some(value) = old.clone().at(path).cloned() else { continue };
        let mut place = &mut out;
        for (depth, step) in path.iter().enumerate() {
            let next_is_list = matches!(path.get(depth + 1), Some(Step::Index(_)));
            let empty = if next_is_list { Tree::List(Vec::new()) } else { Tree::Map(BTreeMap::new()) };
            place = match (place, step) {
                (Tree::Map(map), Step::Name(name)) => map.entry((**name).to_owned()).or_insert(empty),
                (Tree::List(list), Step::Index(index)) => {
                    let index = *index as usize;
                    list.resize(list.len().max(index + 1), Tree::Gone);
                    if list[index] == Tree::Gone {
                        list[index] = empty;
                    }
                    &mut list[index]
                }
                _ => panic!("the value was found"),
            };
        }
        *place = value;
    }
    out.compact()
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn tree(&mut self, depth: u64) -> Tree {
        match self.below(5) {
            0 | 1 if depth > 0 => Tree::List((0..self.below(4)).map(|_| self.tree(depth - 1)).collect()),
            2 | 3 if depth > 0 => self.map(depth),
            _ => Tree::Leaf(self.below(1000)),
        }
    }

    fn map(&mut self, depth: u64) -> Tree {
        let count = self.below(5);
        Tree::Map((0..count).map(|_| (self.name(), self.tree(depth - 1))).collect())
    }

    fn name(&mut self) -> String {
        ["a", "b", "bb", "ä", ""][self.below(5) as usize].to_owned()
    }

    /// Most of its steps lead somewhere.
    fn path(&mut self, tree: &Tree) -> Vec<Step> {
        let mut path = vec![Step::Name(self.name().into())];
        while self.below(3) > 0 && path.len() < 6 {
            let found = tree.clone().at(&path).cloned();
            let index = match (&found, self.below(8)) {
                (_, 0) => self.below(2) == 0,
                (Some(Tree::List(_)), _) => true,
                _ => false,
            };
            path.push(if index { Step::Index(self.below(5) as u32) } else { Step::Name(self.name().into()) });
        }
        path
    }

    fn paths(&mut self, tree: &Tree) -> Vec<Vec<Step>> {
        let mut paths: Vec<Vec<Step>> = Vec::new();
        for _ in 0..=self.below(6) {
            let path = self.path(tree);
            let overlaps = |other: &Vec<Step>| path.iter().zip(other).all(|(a, b)| a == b);
            if !paths.iter().any(overlaps) {
                paths.push(path);
            }
        }
        paths
    }
}

#[test]
fn random_edits_and_projections_agree_with_the_model() {
    let mut random = Random(7);
    let (mut done_count, mut refused_count, mut found_count) = (0, 0, 0);
    for round in 0..20_000 {
        let tree = random.map(4);
        let item = tree.item();
        crate::value::ItemRef::new(item.as_bytes()).expect("an encoding");
        let paths = random.paths(&tree);
        let changes: Vec<_> =
            paths.iter().map(|path| (path.clone(), (random.below(3) > 0).then(|| random.tree(2)))).collect();
        let edits: Vec<Edit> = changes
            .iter()
            .map(|(path, value)| match value {
                Some(value) => Edit::Set(path.clone(), value.value()),
                None => Edit::Remove(path.clone()),
            })
            .collect();
        let wanted = model_edit(&tree, &changes).map(|tree| tree.item());
        let done = edit(item.as_ref(), &edits);
        match &wanted {
            Some(_) => done_count += 1,
            None => refused_count += 1,
        }
        // Equal items are equal bytes, and the size is among them.
        assert_eq!(done, wanted.ok_or(EditError::InvalidPath), "round {round}: {tree:?}, {changes:?}");
        for path in &paths {
            let found = tree.clone().at(path).map(|tree| tree.value());
            assert_eq!(find(item.as_ref(), path).map(Value::from_ref), found, "round {round}: {path:?}");
        }
        let projected = Projection::new(&paths).project(item.as_ref());
        let wanted = model_project(&tree, &paths).item();
        assert_eq!(projected, wanted, "round {round}: {tree:?}, {paths:?}");
        found_count += usize::from(!wanted.as_ref().is_empty());
    }
    assert!(done_count > 2_000 && refused_count > 2_000 && found_count > 2_000, "the rounds say something");
}
