//! The requests that make and change tables.
//! Invariant: as of the module.

use super::{Text, decode};
use crate::json::{JsonError, Reader};
use crate::model::arn::{Part, TableArn};
use crate::model::schema::ProjectionKind;
use crate::model::table::{KeyAttribute, KeyType, StreamView};
use crate::wire::constraint::{NAME_PATTERN, Violations, Word};
use crate::wire::error::Error;

/// Characters of the name of a table, at least.
const TABLE_NAME_MIN: usize = 3;
/// Characters of the name of a table or index, at most.
const NAME_MAX: usize = 255;
/// Elements of the key of a table or local index.
const KEY_COUNT_MAX: usize = 2;
/// Elements of the key of a global index: four of each role.
const GLOBAL_KEY_COUNT_MAX: usize = 8;
/// Attributes that an index includes.
const INCLUDED_COUNT_MAX: usize = 20;
/// Elements of any list; no table can have as many of anything.
const ELEMENT_COUNT_MAX: usize = 500;
/// CreateTable or UpdateTable, as sent.
#[derive(Default)]
pub struct TableRequest<'a> {
    /// `TableName`
    pub table_name: Option<Text<'a>>,
    /// `AttributeDefinitions`: name and type.
    pub definitions: Option<Vec<(Option<Text<'a>>, Option<Text<'a>>)>>,
    /// `KeySchema`
    pub key_schema: Option<Vec<RawElement<'a>>>,
    /// `LocalSecondaryIndexes`
    pub locals: Option<Vec<RawIndex<'a>>>,
    /// `GlobalSecondaryIndexes`
    pub globals: Option<Vec<RawIndex<'a>>>,
    /// `GlobalSecondaryIndexUpdates`
    pub updates: Option<Vec<RawUpdate<'a>>>,
    /// `BillingMode`
    pub billing: Option<Text<'a>>,
    /// `ProvisionedThroughput`
    pub throughput: Option<RawUnits>,
    /// `OnDemandThroughput`
    pub on_demand: Option<RawUnits>,
    /// `WarmThroughput`
    pub warm: Option<RawUnits>,
    /// `StreamSpecification`: enabled, view type.
    pub stream: Option<(Option<bool>, Option<Text<'a>>)>,
    /// `SSESpecification`
    pub encryption: Option<RawEncryption<'a>>,
    /// `Tags`: key and value.
    pub tags: Option<Vec<RawTag<'a>>>,
    /// `TableClass`
    pub class: Option<Text<'a>>,
    /// `DeletionProtectionEnabled`
    pub protected: Option<bool>,
    /// A member that asks for something that is not built.
    pub unbuilt: Option<&'static str>,
}

/// `KeySchemaElement`: name and role.
pub type RawElement<'a> = (Option<Text<'a>>, Option<Text<'a>>);
/// `Tag`: key and value.
pub type RawTag<'a> = (Option<Text<'a>>, Option<Text<'a>>);

/// Read and write units.
#[derive(Clone, Copy, Default)]
pub struct RawUnits {
    /// Reads.
    pub read: Option<i64>,
    /// Writes.
    pub write: Option<i64>,
}

/// `SSESpecification`
#[derive(Default)]
pub struct RawEncryption<'a> {
    /// `Enabled`
    pub enabled: Option<bool>,
    /// `SSEType`
    pub kind: Option<Text<'a>>,
    /// `KMSMasterKeyId`
    pub key: Option<Text<'a>>,
}

/// An index to make.
#[derive(Default)]
pub struct RawIndex<'a> {
    /// `IndexName`
    pub name: Option<Text<'a>>,
    /// `KeySchema`
    pub key_schema: Option<Vec<RawElement<'a>>>,
    /// Whether there is a `Projection`.
    pub has_projection: bool,
    /// `Projection.ProjectionType`
    pub projection: Option<Text<'a>>,
    /// `Projection.NonKeyAttributes`
    pub attributes: Option<Vec<Text<'a>>>,
    /// `ProvisionedThroughput`
    pub throughput: Option<RawUnits>,
    /// `OnDemandThroughput`
    pub on_demand: Option<RawUnits>,
    /// `WarmThroughput`
    pub warm: Option<RawUnits>,
}

/// A change of an index.
#[derive(Default)]
pub struct RawUpdate<'a> {
    /// `Create`
    pub create: Option<RawIndex<'a>>,
    /// `Update`
    pub update: Option<RawIndex<'a>>,
    /// `Delete.IndexName`
    pub delete: Option<Option<Text<'a>>>,
}

/// `BillingMode`
impl Word for crate::model::table::Billing {
    const WORDS: &'static [(&'static str, Self)] =
        &[("PROVISIONED", Self::Provisioned), ("PAY_PER_REQUEST", Self::PayPerRequest)];
}

/// `KeyType`
#[derive(Clone, Copy)]
pub(super) struct Role {
    pub(super) is_hash: bool,
}

impl Word for Role {
    const WORDS: &'static [(&'static str, Role)] =
        &[("HASH", Role { is_hash: true }), ("RANGE", Role { is_hash: false })];
}

/// `AttributeType`
impl Word for KeyType {
    const WORDS: &'static [(&'static str, KeyType)] =
        &[("B", KeyType::B), ("N", KeyType::N), ("S", KeyType::S)];
}

/// `ProjectionType`
impl Word for ProjectionKind {
    const WORDS: &'static [(&'static str, ProjectionKind)] = &[
        ("ALL", ProjectionKind::All),
        ("INCLUDE", ProjectionKind::Include),
        ("KEYS_ONLY", ProjectionKind::KeysOnly),
    ];
}

/// `StreamViewType`
impl Word for StreamView {
    const WORDS: &'static [(&'static str, StreamView)] = &[
        ("NEW_IMAGE", StreamView::NewImage),
        ("OLD_IMAGE", StreamView::OldImage),
        ("NEW_AND_OLD_IMAGES", StreamView::NewAndOldImages),
        ("KEYS_ONLY", StreamView::KeysOnly),
    ];
}

/// `TableClass`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Class(pub &'static str);

impl Word for Class {
    const WORDS: &'static [(&'static str, Class)] = &[
        ("STANDARD", Class("STANDARD")),
        ("STANDARD_INFREQUENT_ACCESS", Class("STANDARD_INFREQUENT_ACCESS")),
    ];
}

/// `SSEType`
#[derive(Clone, Copy)]
struct Encryption;

impl Word for Encryption {
    const WORDS: &'static [(&'static str, Encryption)] = &[("AES256", Encryption), ("KMS", Encryption)];
}

/// Members that ask for what is not built. Taking them without a word would pretend.
const UNBUILT: &[&str] = &[
    "ReplicaUpdates",
    "MultiRegionConsistency",
    "GlobalTableWitnessUpdates",
    "GlobalTableSettingsReplicationMode",
    "GlobalTableSourceArn",
    "ResourcePolicy",
    "VectorIndexes",
    "VectorIndexUpdates",
];

impl<'a> TableRequest<'a> {
    /// Decodes a body of a structure with this name.
    pub fn decode(body: &'a [u8], shape: &'static str) -> Result<TableRequest<'a>, JsonError> {
        let mut request = TableRequest::default();
        decode(body, shape, &mut |name, r| request.member(name, r))?;
        Ok(request)
    }

    fn member(&mut self, name: &str, r: &mut Reader<'a>) -> Result<bool, JsonError> {
        match name {
            "TableName" => self.table_name = Some(r.string()?),
            "AttributeDefinitions" => {
                self.definitions = Some(pairs(r, "AttributeDefinition", ["AttributeName", "AttributeType"])?);
            }
            "KeySchema" => self.key_schema = Some(key_schema(r)?),
            "LocalSecondaryIndexes" => self.locals = Some(indexes(r, "LocalSecondaryIndex")?),
            "GlobalSecondaryIndexes" => self.globals = Some(indexes(r, "GlobalSecondaryIndex")?),
            "GlobalSecondaryIndexUpdates" => self.updates = Some(updates(r)?),
            "BillingMode" => self.billing = Some(r.string()?),
            "ProvisionedThroughput" => self.throughput = Some(throughput(r)?),
            "OnDemandThroughput" => self.on_demand = Some(on_demand(r)?),
            "WarmThroughput" => self.warm = Some(warm(r)?),
            "StreamSpecification" => {
                let stream = self.stream.insert((None, None));
                r.structure("StreamSpecification", &mut |name, r| {
                    match name {
                        "StreamEnabled" => stream.0 = Some(r.boolean()?),
                        "StreamViewType" => stream.1 = Some(r.string()?),
                        _ => return Ok(false),
                    }
                    Ok(true)
                })?;
            }
            "SSESpecification" => {
                let encryption = self.encryption.insert(RawEncryption::default());
                r.structure("SSESpecification", &mut |name, r| {
                    match name {
                        "Enabled" => encryption.enabled = Some(r.boolean()?),
                        "SSEType" => encryption.kind = Some(r.string()?),
                        "KMSMasterKeyId" => encryption.key = Some(r.string()?),
                        _ => return Ok(false),
                    }
                    Ok(true)
                })?;
            }
            "Tags" => self.tags = Some(pairs(r, "Tag", ["Key", "Value"])?),
            "TableClass" => self.class = Some(r.string()?),
            "DeletionProtectionEnabled" => self.protected = Some(r.boolean()?),
            _ => {
                self.unbuilt = self.unbuilt.or(UNBUILT.iter().find(|unbuilt| **unbuilt == name).copied());
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The constraints of single members, but for those of the name.
    pub fn constraints(&self, is_new: bool) -> Result<(), Error> {
        self.check_counts()?;
        let mut v = Violations::new();
        if is_new {
            v.required("attributeDefinitions", self.definitions.is_some());
            v.required("keySchema", self.key_schema.is_some());
        }
        for (number, (name, kind)) in numbered(self.definitions.as_deref()) {
            let path = format!("attributeDefinitions.{number}.member");
            v.required(&format!("{path}.attributeName"), name.is_some());
            if let Some(name) = name {
                v.length(&format!("{path}.attributeName"), name, 1, NAME_MAX);
            }
            v.required(&format!("{path}.attributeType"), kind.is_some());
            v.word::<KeyType>(&format!("{path}.attributeType"), kind.as_deref());
        }
        v.word::<crate::model::table::Billing>("billingMode", self.billing.as_deref());
        check_throughput(&mut v, "provisionedThroughput", self.throughput);
        check_warm(&mut v, "warmThroughput", self.warm);
        if let Some(elements) = &self.key_schema {
            check_elements(&mut v, "keySchema", elements, KEY_COUNT_MAX);
        }
        for (number, index) in numbered(self.globals.as_deref()) {
            let path = format!("globalSecondaryIndexes.{number}.member");
            index.constraints(&mut v, &path, GLOBAL_KEY_COUNT_MAX);
        }
        for (number, index) in numbered(self.locals.as_deref()) {
            let path = format!("localSecondaryIndexes.{number}.member");
            index.constraints(&mut v, &path, KEY_COUNT_MAX);
        }
        for (number, update) in numbered(self.updates.as_deref()) {
            update.constraints(&mut v, &format!("globalSecondaryIndexUpdates.{number}.member"));
        }
        if let Some((enabled, view)) = &self.stream {
            v.required("streamSpecification.streamEnabled", enabled.is_some());
            v.word::<StreamView>("streamSpecification.streamViewType", view.as_deref());
        }
        if let Some(encryption) = &self.encryption {
            v.word::<Encryption>("sSESpecification.sSEType", encryption.kind.as_deref());
        }
        v.word::<Class>("tableClass", self.class.as_deref());
        v.finish()?;
        match self.unbuilt {
            None => Ok(()),
            Some(member) => Err(Error::validation(format!("{member} is not supported"))),
        }
    }

    /// Refuses lists that are so long that looking at each of their elements would take long.
    fn check_counts(&self) -> Result<(), Error> {
        let length = |list: Option<usize>| list.unwrap_or(0);
        let lists = [
            ("AttributeDefinitions", length(self.definitions.as_ref().map(Vec::len))),
            ("KeySchema", length(self.key_schema.as_ref().map(Vec::len))),
            ("LocalSecondaryIndexes", length(self.locals.as_ref().map(Vec::len))),
            ("GlobalSecondaryIndexes", length(self.globals.as_ref().map(Vec::len))),
            ("GlobalSecondaryIndexUpdates", length(self.updates.as_ref().map(Vec::len))),
            ("Tags", length(self.tags.as_ref().map(Vec::len))),
        ];
        let creates = self.updates.iter().flatten().filter_map(|update| update.create.as_ref());
        let indexes = self.locals.iter().flatten().chain(self.globals.iter().flatten()).chain(creates);
        let of_indexes = indexes.flat_map(|index| {
            let keys = ("KeySchema", length(index.key_schema.as_ref().map(Vec::len)));
            [keys, ("NonKeyAttributes", length(index.attributes.as_ref().map(Vec::len)))]
        });
        match lists.into_iter().chain(of_indexes).find(|(_, count)| *count > ELEMENT_COUNT_MAX) {
            None => Ok(()),
            Some((name, _)) => {
                Err(Error::invalid_values(&format!("{name} has more than {ELEMENT_COUNT_MAX} elements")))
            }
        }
    }

    /// The definitions, once the constraints hold.
    #[must_use]
    pub fn key_attributes(&self) -> Vec<KeyAttribute> {
        let definitions = self.definitions.iter().flatten();
        let understood = definitions.filter_map(|(name, kind)| {
            let kind = word::<KeyType>(kind.as_deref()?)?;
            Some(KeyAttribute { name: name.as_deref()?.into(), kind })
        });
        understood.collect()
    }
}

/// What a word means, where it was checked already.
#[must_use]
pub fn word<W: Word>(text: &str) -> Option<W> {
    W::WORDS.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning)
}

/// The constraints of a `TableName` of the operations on tables, which may be an ARN. The name, if it holds.
pub fn table_name<'n>(name: Option<&'n Text<'_>>) -> Result<&'n str, Error> {
    let mut v = Violations::new();
    check_table_name(&mut v, "tableName", name.map(|name| &**name));
    v.finish()?;
    Ok(name.map_or("", |name| &**name))
}

/// The same beside other members. What an ARN names keeps to the same bounds, so that no table gets another name by one.
pub fn check_table_name(v: &mut Violations, member: &str, name: Option<&str>) {
    match name {
        Some(arn) if arn.starts_with("arn:") => match TableArn::parse(arn) {
            Some(TableArn { table, part: Part::Table, .. }) => {
                v.name(member, Some(table), TABLE_NAME_MIN, NAME_MAX)
            }
            Some(_) | None => {
                v.echo(
                    member,
                    arn,
                    &format!("Member must satisfy regular expression pattern: {NAME_PATTERN}"),
                );
            }
        },
        _ => v.name(member, name, TABLE_NAME_MIN, NAME_MAX),
    }
}

impl RawIndex<'_> {
    fn constraints(&self, v: &mut Violations, path: &str, key_count_max: usize) {
        v.name(&format!("{path}.indexName"), self.name.as_deref(), TABLE_NAME_MIN, NAME_MAX);
        v.required(&format!("{path}.keySchema"), self.key_schema.is_some());
        if let Some(elements) = &self.key_schema {
            check_elements(v, &format!("{path}.keySchema"), elements, key_count_max);
        }
        v.required(&format!("{path}.projection"), self.has_projection);
        v.word::<ProjectionKind>(&format!("{path}.projection.projectionType"), self.projection.as_deref());
        if let Some(attributes) = &self.attributes {
            let member = format!("{path}.projection.nonKeyAttributes");
            let echo = format!("[{}]", attributes.join(", "));
            v.count(&member, &echo, attributes.len(), 1, INCLUDED_COUNT_MAX);
            for (number, attribute) in (1..).zip(attributes) {
                v.length(&format!("{member}.{number}.member"), attribute, 1, NAME_MAX);
            }
        }
        check_throughput(v, &format!("{path}.provisionedThroughput"), self.throughput);
        check_warm(v, &format!("{path}.warmThroughput"), self.warm);
    }
}

impl RawUpdate<'_> {
    fn constraints(&self, v: &mut Violations, path: &str) {
        if let Some(create) = &self.create {
            create.constraints(v, &format!("{path}.create"), GLOBAL_KEY_COUNT_MAX);
        }
        if let Some(update) = &self.update {
            v.name(&format!("{path}.update.indexName"), update.name.as_deref(), TABLE_NAME_MIN, NAME_MAX);
            check_throughput(v, &format!("{path}.update.provisionedThroughput"), update.throughput);
            check_warm(v, &format!("{path}.update.warmThroughput"), update.warm);
        }
        if let Some(name) = &self.delete {
            v.name(&format!("{path}.delete.indexName"), name.as_deref(), TABLE_NAME_MIN, NAME_MAX);
        }
    }
}

fn numbered<T>(things: Option<&[T]>) -> impl Iterator<Item = (usize, &T)> {
    (1..).zip(things.unwrap_or_default())
}

fn check_elements(v: &mut Violations, path: &str, elements: &[RawElement<'_>], count_max: usize) {
    let shown = |(name, role): &RawElement<'_>| {
        let (name, role) = (name.as_deref().unwrap_or("null"), role.as_deref().unwrap_or("null"));
        format!("KeySchemaElement(attributeName={name}, keyType={role})")
    };
    let echo = format!("[{}]", elements.iter().map(shown).collect::<Vec<_>>().join(", "));
    v.count(path, &echo, elements.len(), 1, count_max);
    for (number, (name, role)) in (1..).zip(elements) {
        let member = format!("{path}.{number}.member");
        v.required(&format!("{member}.attributeName"), name.is_some());
        if let Some(name) = name {
            v.length(&format!("{member}.attributeName"), name, 1, NAME_MAX);
        }
        v.required(&format!("{member}.keyType"), role.is_some());
        v.word::<Role>(&format!("{member}.keyType"), role.as_deref());
    }
}

fn check_throughput(v: &mut Violations, path: &str, units: Option<RawUnits>) {
    let Some(units) = units else { return };
    for (name, value) in [("writeCapacityUnits", units.write), ("readCapacityUnits", units.read)] {
        let member = format!("{path}.{name}");
        v.required(&member, value.is_some());
        if let Some(value) = value {
            v.range(&member, value, 1, i64::MAX);
        }
    }
}

fn check_warm(v: &mut Violations, path: &str, units: Option<RawUnits>) {
    let Some(units) = units else { return };
    for (name, value) in [("readUnitsPerSecond", units.read), ("writeUnitsPerSecond", units.write)] {
        if let Some(value) = value {
            v.range(&format!("{path}.{name}"), value, 1, i64::MAX);
        }
    }
}

fn key_schema<'a>(r: &mut Reader<'a>) -> Result<Vec<RawElement<'a>>, JsonError> {
    pairs(r, "KeySchemaElement", ["AttributeName", "KeyType"])
}

/// A list of structures of two texts.
pub fn pairs<'a>(
    r: &mut Reader<'a>,
    shape: &'static str,
    names: [&'static str; 2],
) -> Result<Vec<RawElement<'a>>, JsonError> {
    let mut list = Vec::new();
    r.list(&mut |r| {
        let mut pair = (None, None);
        r.structure(shape, &mut |name, r| {
            match name {
                _ if name == names[0] => pair.0 = Some(r.string()?),
                _ if name == names[1] => pair.1 = Some(r.string()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        list.push(pair);
        Ok(())
    })?;
    Ok(list)
}

fn throughput(r: &mut Reader<'_>) -> Result<RawUnits, JsonError> {
    units(r, "ProvisionedThroughput", ["ReadCapacityUnits", "WriteCapacityUnits"])
}

fn on_demand(r: &mut Reader<'_>) -> Result<RawUnits, JsonError> {
    units(r, "OnDemandThroughput", ["MaxReadRequestUnits", "MaxWriteRequestUnits"])
}

fn warm(r: &mut Reader<'_>) -> Result<RawUnits, JsonError> {
    units(r, "WarmThroughput", ["ReadUnitsPerSecond", "WriteUnitsPerSecond"])
}

fn units(r: &mut Reader<'_>, shape: &'static str, names: [&'static str; 2]) -> Result<RawUnits, JsonError> {
    let mut units = RawUnits::default();
    r.structure(shape, &mut |name, r| {
        match name {
            _ if name == names[0] => units.read = Some(r.long()?),
            _ if name == names[1] => units.write = Some(r.long()?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(units)
}

fn indexes<'a>(r: &mut Reader<'a>, shape: &'static str) -> Result<Vec<RawIndex<'a>>, JsonError> {
    let mut list = Vec::new();
    r.list(&mut |r| {
        list.push(index(r, shape)?);
        Ok(())
    })?;
    Ok(list)
}

fn index<'a>(r: &mut Reader<'a>, shape: &'static str) -> Result<RawIndex<'a>, JsonError> {
    let mut index = RawIndex::default();
    r.structure(shape, &mut |name, r| {
        match name {
            "IndexName" => index.name = Some(r.string()?),
            "KeySchema" => index.key_schema = Some(key_schema(r)?),
            "Projection" => {
                index.has_projection = true;
                r.structure("Projection", &mut |name, r| {
                    match name {
                        "ProjectionType" => index.projection = Some(r.string()?),
                        "NonKeyAttributes" => index.attributes = Some(texts(r)?),
                        _ => return Ok(false),
                    }
                    Ok(true)
                })?;
            }
            "ProvisionedThroughput" => index.throughput = Some(throughput(r)?),
            "OnDemandThroughput" => index.on_demand = Some(on_demand(r)?),
            "WarmThroughput" => index.warm = Some(warm(r)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(index)
}

/// A list of texts.
pub fn texts<'a>(r: &mut Reader<'a>) -> Result<Vec<Text<'a>>, JsonError> {
    let mut list = Vec::new();
    r.list(&mut |r| {
        list.push(r.string()?);
        Ok(())
    })?;
    Ok(list)
}

fn updates<'a>(r: &mut Reader<'a>) -> Result<Vec<RawUpdate<'a>>, JsonError> {
    let mut list = Vec::new();
    r.list(&mut |r| {
        let mut update = RawUpdate::default();
        r.structure("GlobalSecondaryIndexUpdate", &mut |name, r| {
            match name {
                "Create" => update.create = Some(index(r, "CreateGlobalSecondaryIndexAction")?),
                "Update" => update.update = Some(index(r, "UpdateGlobalSecondaryIndexAction")?),
                "Delete" => {
                    let index = index(r, "DeleteGlobalSecondaryIndexAction")?;
                    update.delete = Some(index.name);
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        list.push(update);
        Ok(())
    })?;
    Ok(list)
}
