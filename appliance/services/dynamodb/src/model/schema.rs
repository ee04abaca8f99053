//! From the key schemas, definitions and indexes that a client asks for to those of a table.
//! Invariant: what comes out fits together: every key attribute is defined once, every index has a key that its kind may
//! have, and nothing exceeds a table's limits.
//! Leaves to the operations: bounds of single members; the billing mode.

use super::limits::{INDEX_HASH_COUNT_MAX, INDEX_SORT_COUNT_MAX};
use super::table::{Index, IndexNumber, IndexState, KeyAttribute, KeyShape, KeyType, Projected, Throughput};

/// Global indexes of a table.
pub const GLOBAL_COUNT_MAX: usize = 20;
/// Local indexes of a table.
pub const LOCAL_COUNT_MAX: usize = 5;
/// Projected attributes that are in no key, over all indexes.
pub const PROJECTED_COUNT_MAX: usize = 100;

/// What is wrong with a schema, in AWS's words. Always a ValidationException.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SchemaError(pub String);

/// An element of a key schema.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyElement {
    /// The attribute.
    pub name: Box<str>,
    /// Part of the partition key; else of the sort key.
    pub is_hash: bool,
}

/// The words for a projection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProjectionKind {
    /// Every attribute.
    All,
    /// Keys.
    KeysOnly,
    /// Keys and named attributes.
    Include,
}

/// An index as a client asks for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IndexWish {
    /// Its name.
    pub name: Box<str>,
    /// Its key.
    pub keys: Vec<KeyElement>,
    /// The kind of its projection.
    pub projection: Option<ProjectionKind>,
    /// Attributes to project.
    pub attributes: Option<Vec<Box<str>>>,
    /// Its capacity.
    pub throughput: Option<Throughput>,
    /// Its maxima on demand.
    pub on_demand: Option<(i64, i64)>,
    /// What it is to be ready for.
    pub warm: Option<Throughput>,
}

fn parameter(text: impl std::fmt::Display) -> SchemaError {
    SchemaError(format!("One or more parameter values were invalid: {text}"))
}

/// A list of names as Java prints it.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", names.collect::<Vec<_>>().join(", "))
}

fn defined<'d>(definitions: &'d [KeyAttribute], name: &str) -> Option<&'d KeyAttribute> {
    definitions.iter().find(|definition| &*definition.name == name)
}

/// Refuses two definitions of one attribute.
pub fn check_definitions(definitions: &[KeyAttribute]) -> Result<(), SchemaError> {
    for (index, definition) in definitions.iter().enumerate() {
        if definitions[..index].iter().any(|other| other.name == definition.name) {
            return Err(parameter(format_args!(
                "Duplicate AttributeName in AttributeDefinitions: {}",
                definition.name
            )));
        }
    }
    Ok(())
}

/// The key of a table. `elements` are one or two.
pub fn table_key(elements: &[KeyElement], definitions: &[KeyAttribute]) -> Result<KeyShape, SchemaError> {
    check_roles(elements)?;
    let undefined = || SchemaError("Invalid KeySchema: Some index key attribute have no definition".into());
    let mut keys = Vec::new();
    for element in elements {
        keys.push(defined(definitions, &element.name).ok_or_else(undefined)?.clone());
    }
    let mut keys = keys.into_iter();
    let hash = keys.next().ok_or_else(undefined)?;
    let sort = keys.next();
    // The same words as for an attribute without a definition: AWS counts the distinct ones.
    if sort.as_ref().is_some_and(|sort| sort.name == hash.name) {
        return Err(undefined());
    }
    Ok(KeyShape { hash, sort })
}

/// The first element is HASH, the second RANGE.
fn check_roles(elements: &[KeyElement]) -> Result<(), SchemaError> {
    if elements.first().is_none_or(|element| !element.is_hash) {
        return Err(SchemaError(
            "Invalid KeySchema: The first KeySchemaElement is not a HASH key type".into(),
        ));
    }
    if elements.get(1).is_some_and(|element| element.is_hash) {
        return Err(SchemaError(
            "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type".into(),
        ));
    }
    Ok(())
}

/// The attributes of an index's key, partition key first.
type IndexKeys = (Vec<KeyAttribute>, Vec<KeyAttribute>);

fn index_keys(wish: &IndexWish, definitions: &[KeyAttribute]) -> Result<IndexKeys, SchemaError> {
    let found: Option<Vec<_>> =
        wish.keys.iter().map(|key| defined(definitions, &key.name).map(|found| (key, found))).collect();
    let Some(found) = found else {
        return Err(parameter(format_args!(
            "Some index key attributes are not defined in AttributeDefinitions. Keys: {}, AttributeDefinitions: {}",
            listed(wish.keys.iter().map(|key| &*key.name)),
            listed(definitions.iter().map(|definition| &*definition.name)),
        )));
    };
    let of = |is_hash: bool| {
        let wanted = found.iter().filter(move |(key, _)| key.is_hash == is_hash);
        wanted.map(|(_, definition)| (*definition).clone()).collect::<Vec<_>>()
    };
    Ok((of(true), of(false)))
}

/// A local index, without its number.
pub fn local_index(
    wish: &IndexWish,
    table: &KeyShape,
    definitions: &[KeyAttribute],
) -> Result<Index, SchemaError> {
    if table.sort.is_none() {
        return Err(parameter(
            "Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex",
        ));
    }
    let (hash, sort) = index_keys(wish, definitions)?;
    check_roles(&wish.keys)?;
    if sort.is_empty() {
        return Err(parameter(format_args!(
            "Index KeySchema does not have a range key for index: {}",
            wish.name
        )));
    }
    if hash[0].name != table.hash.name {
        return Err(parameter(format_args!(
            "Index KeySchema does not have the same leading hash key as table KeySchema for index: {}. index hash key: \
             {}, table hash key: {}",
            wish.name, hash[0].name, table.hash.name
        )));
    }
    if sort[0].name == hash[0].name {
        return Err(SchemaError("Invalid KeySchema: Some index key attribute have no definition".into()));
    }
    Ok(Index {
        throughput: Throughput::default(),
        on_demand: None,
        warm: None,
        ..finish_index(wish, hash, sort)?
    })
}

/// A global index, without its number. Its key has one to four HASH elements, then none to four RANGE elements.
pub fn global_index(wish: &IndexWish, definitions: &[KeyAttribute]) -> Result<Index, SchemaError> {
    let (hash, sort) = index_keys(wish, definitions)?;
    if wish.keys.first().is_none_or(|key| !key.is_hash) {
        check_roles(&wish.keys)?;
    }
    let hash_comes_late = wish.keys.windows(2).any(|pair| !pair[0].is_hash && pair[1].is_hash);
    if hash_comes_late || hash.len() > INDEX_HASH_COUNT_MAX || sort.len() > INDEX_SORT_COUNT_MAX {
        return Err(SchemaError(format!(
            "Invalid KeySchema: An index has up to {INDEX_HASH_COUNT_MAX} HASH key types, then up to \
             {INDEX_SORT_COUNT_MAX} RANGE key types"
        )));
    }
    let mut names: Vec<&str> = hash.iter().chain(&sort).map(|attribute| &*attribute.name).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(SchemaError("Invalid KeySchema: Some index key attribute have no definition".into()));
    }
    finish_index(wish, hash, sort)
}

fn finish_index(
    wish: &IndexWish,
    hash: Vec<KeyAttribute>,
    sort: Vec<KeyAttribute>,
) -> Result<Index, SchemaError> {
    Ok(Index {
        number: IndexNumber(0),
        name: wish.name.clone(),
        hash,
        sort,
        projected: projected(wish)?,
        state: IndexState::Active,
        throughput: wish.throughput.unwrap_or_default(),
        on_demand: wish.on_demand,
        warm: wish.warm,
    })
}

fn projected(wish: &IndexWish) -> Result<Projected, SchemaError> {
    let kind = wish.projection.ok_or_else(|| parameter("Unknown ProjectionType: null"))?;
    match (kind, &wish.attributes) {
        (ProjectionKind::All, None) => Ok(Projected::All),
        (ProjectionKind::KeysOnly, None) => Ok(Projected::KeysOnly),
        (ProjectionKind::Include, Some(attributes)) => {
            let mut attributes = attributes.clone();
            attributes.sort_unstable();
            attributes.dedup();
            Ok(Projected::Include(attributes))
        }
        (ProjectionKind::All, Some(_)) => {
            Err(parameter("ProjectionType is ALL, but NonKeyAttributes is specified"))
        }
        (ProjectionKind::KeysOnly, Some(_)) => {
            Err(parameter("ProjectionType is KEYS_ONLY, but NonKeyAttributes is specified"))
        }
        (ProjectionKind::Include, None) => {
            Err(parameter("ProjectionType is INCLUDE, but NonKeyAttributes is not specified"))
        }
    }
}

/// The counts and names of all indexes of a table together.
pub fn check_indexes(locals: &[Index], globals: &[Index]) -> Result<(), SchemaError> {
    let mut names: Vec<&str> = Vec::new();
    for index in globals.iter().chain(locals) {
        if names.contains(&&*index.name) {
            return Err(parameter(format_args!("Duplicate index name: {}", index.name)));
        }
        names.push(&index.name);
    }
    if globals.len() > GLOBAL_COUNT_MAX {
        return Err(parameter(format_args!(
            "GlobalSecondaryIndex count exceeds the per-table limit of {GLOBAL_COUNT_MAX}"
        )));
    }
    if locals.len() > LOCAL_COUNT_MAX {
        return Err(parameter(format_args!(
            "Number of LocalSecondaryIndexes exceeds per-table limit of {LOCAL_COUNT_MAX}"
        )));
    }
    let projected = |index: &Index| match &index.projected {
        Projected::Include(names) => names.len(),
        Projected::All | Projected::KeysOnly => 0,
    };
    if globals.iter().chain(locals).map(projected).sum::<usize>() > PROJECTED_COUNT_MAX {
        return Err(parameter(format_args!(
            "The total number of projected attributes exceeds the per-table limit of {PROJECTED_COUNT_MAX}"
        )));
    }
    Ok(())
}

/// The names of all attributes that are part of some key, each once, the table's first.
fn used<'i>(key: &'i KeyShape, indexes: impl Iterator<Item = &'i Index>) -> Vec<&'i str> {
    let mut names: Vec<&str> = Vec::new();
    let own = std::iter::once(&key.hash).chain(&key.sort);
    let others = indexes.flat_map(|index| index.hash.iter().chain(&index.sort));
    for attribute in own.chain(others) {
        if !names.contains(&&*attribute.name) {
            names.push(&attribute.name);
        }
    }
    names
}

/// Refuses definitions that no key needs.
pub fn check_all_used(
    definitions: &[KeyAttribute],
    key: &KeyShape,
    locals: &[Index],
    globals: &[Index],
) -> Result<(), SchemaError> {
    let used = used(key, locals.iter().chain(globals));
    if definitions.iter().all(|definition| used.contains(&&*definition.name)) {
        return Ok(());
    }
    if locals.is_empty() && globals.is_empty() {
        return Err(parameter(
            "Number of attributes in KeySchema does not exactly match number of attributes defined in \
             AttributeDefinitions",
        ));
    }
    Err(parameter(format_args!(
        "Some AttributeDefinitions are not used. AttributeDefinitions: {}, keys used: {}",
        listed(definitions.iter().map(|definition| &*definition.name)),
        listed(used.into_iter()),
    )))
}

/// The definitions that are still needed once an index is gone.
#[must_use]
pub fn needed(
    definitions: &[KeyAttribute],
    key: &KeyShape,
    locals: &[Index],
    globals: &[Index],
) -> Vec<KeyAttribute> {
    let used = used(key, locals.iter().chain(globals));
    definitions.iter().filter(|definition| used.contains(&&*definition.name)).cloned().collect()
}

/// The word for a key type.
#[must_use]
pub fn key_type_word(kind: KeyType) -> &'static str {
    match kind {
        KeyType::S => "S",
        KeyType::N => "N",
        KeyType::B => "B",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definitions(names: &[&str]) -> Vec<KeyAttribute> {
        names.iter().map(|name| KeyAttribute { name: (*name).into(), kind: KeyType::S }).collect()
    }

    fn elements(text: &str) -> Vec<KeyElement> {
        let one = |part: &str| {
            let (name, role) = part.split_once(':').expect("name:role");
            KeyElement { name: name.into(), is_hash: role == "h" }
        };
        text.split_whitespace().map(one).collect()
    }

    fn wish(keys: &str) -> IndexWish {
        IndexWish {
            name: "i".into(),
            keys: elements(keys),
            projection: Some(ProjectionKind::All),
            attributes: None,
            throughput: None,
            on_demand: None,
            warm: None,
        }
    }

    #[test]
    fn a_tables_key_is_a_hash_and_perhaps_a_range() {
        let defined = definitions(&["a", "b"]);
        let key = table_key(&elements("a:h b:r"), &defined).expect("a key");
        assert_eq!((&*key.hash.name, key.sort.map(|sort| sort.name)), ("a", Some("b".into())));
        let undefined = "Invalid KeySchema: Some index key attribute have no definition";
        for (keys, text) in [
            ("a:r", "Invalid KeySchema: The first KeySchemaElement is not a HASH key type"),
            ("a:h b:h", "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type"),
            ("x:h", undefined),
            ("a:h a:r", undefined),
        ] {
            assert_eq!(table_key(&elements(keys), &defined), Err(SchemaError(text.into())), "{keys}");
        }
    }

    #[test]
    fn a_local_index_shares_the_tables_partition_key() {
        let defined = definitions(&["a", "b", "c"]);
        let table = table_key(&elements("a:h b:r"), &defined).expect("a key");
        assert!(local_index(&wish("a:h c:r"), &table, &defined).is_ok());
        let text = |keys: &str| local_index(&wish(keys), &table, &defined).expect_err("refused").0;
        assert_eq!(
            text("c:h b:r"),
            "One or more parameter values were invalid: Index KeySchema does not have the same leading hash key as table \
             KeySchema for index: i. index hash key: c, table hash key: a"
        );
        assert_eq!(
            text("a:h"),
            "One or more parameter values were invalid: Index KeySchema does not have a range key for index: i"
        );
        assert_eq!(
            text("a:h d:r"),
            "One or more parameter values were invalid: Some index key attributes are not defined in \
             AttributeDefinitions. Keys: [a, d], AttributeDefinitions: [a, b, c]"
        );
        let hash_only = KeyShape { hash: table.hash.clone(), sort: None };
        let error = local_index(&wish("a:h c:r"), &hash_only, &defined).expect_err("refused");
        assert_eq!(
            error.0,
            "One or more parameter values were invalid: Table KeySchema does not have a range key, which is required when \
             specifying a LocalSecondaryIndex"
        );
    }

    #[test]
    fn a_global_index_has_up_to_four_attributes_of_each_role() {
        let defined = definitions(&["a", "b", "c", "d", "e", "f"]);
        let index = global_index(&wish("a:h b:h c:r d:r"), &defined).expect("an index");
        assert_eq!((index.hash.len(), index.sort.len()), (2, 2));
        for keys in ["a:r", "a:h b:r c:h", "a:h b:h c:h d:h e:h", "a:h a:r", "a:h b:r b:r"] {
            assert!(global_index(&wish(keys), &defined).is_err(), "{keys}");
        }
    }

    #[test]
    fn a_projection_names_attributes_only_when_it_includes_some() {
        let defined = definitions(&["a"]);
        let text = |projection, attributes: Option<Vec<Box<str>>>| {
            let wish = IndexWish { projection, attributes, ..wish("a:h") };
            global_index(&wish, &defined).map(|index| index.projected).map_err(|error| error.0)
        };
        let bad = |words: &str| Err(format!("One or more parameter values were invalid: {words}"));
        assert_eq!(text(None, None), bad("Unknown ProjectionType: null"));
        assert_eq!(
            text(Some(ProjectionKind::KeysOnly), Some(vec!["x".into()])),
            bad("ProjectionType is KEYS_ONLY, but NonKeyAttributes is specified")
        );
        assert_eq!(
            text(Some(ProjectionKind::Include), None),
            bad("ProjectionType is INCLUDE, but NonKeyAttributes is not specified")
        );
        let included = text(Some(ProjectionKind::Include), Some(vec!["y".into(), "x".into(), "y".into()]));
        assert_eq!(included, Ok(Projected::Include(vec!["x".into(), "y".into()])));
    }

    #[test]
    fn indexes_have_names_of_their_own_and_their_number_is_bounded() {
        let defined = definitions(&["a"]);
        let named = |name: &str| {
            global_index(&IndexWish { name: name.into(), ..wish("a:h") }, &defined).expect("an index")
        };
        let twice = check_indexes(&[], &[named("i"), named("i")]).expect_err("refused");
        assert_eq!(twice.0, "One or more parameter values were invalid: Duplicate index name: i");
        let many: Vec<Index> = (0..21).map(|number| named(&format!("i{number}"))).collect();
        assert!(check_indexes(&[], &many[..20]).is_ok());
        assert!(check_indexes(&[], &many).is_err());
        assert!(check_indexes(&many[..6], &[]).is_err());
    }

    #[test]
    fn definitions_that_no_key_uses_are_refused() {
        let defined = definitions(&["a", "b"]);
        let table = table_key(&elements("a:h"), &defined).expect("a key");
        let index = global_index(&wish("b:h"), &defined).expect("an index");
        assert!(check_all_used(&defined, &table, &[], std::slice::from_ref(&index)).is_ok());
        assert_eq!(
            check_all_used(&defined, &table, &[], &[]).expect_err("refused").0,
            "One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match number \
             of attributes defined in AttributeDefinitions"
        );
        let more = definitions(&["a", "b", "z"]);
        assert_eq!(
            check_all_used(&more, &table, &[], std::slice::from_ref(&index)).expect_err("refused").0,
            "One or more parameter values were invalid: Some AttributeDefinitions are not used. AttributeDefinitions: [a, \
             b, z], keys used: [a, b]"
        );
        assert_eq!(needed(&more, &table, &[], &[]), definitions(&["a"]));
        assert!(check_definitions(&definitions(&["a", "a"])).is_err());
    }
}
