//! Buckets, and the versions of their objects.
//! Invariant: the versions of a key stand in the order in which they were written, and a key without any is not there.

use super::signed::Signer;
use crate::chance::Chance;
use crate::limits::{
    BUCKET_COUNT_MAX, METADATA_BYTES_MAX, OBJECT_BYTES_MAX, OBJECT_KEY_BYTES_MAX, OBJECT_TAG_COUNT_MAX,
    TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX, VERSION_COUNT_MAX,
};
use crate::refusal::{Outcome, Refusal};
use bytes::Bytes;
use chrono::{DateTime, SubsecRound, Utc};
use cloudkit_core::api::{GetStreamOptions, ObjectStream, PutCondition, PutResult, PutStreamOptions};
use cloudkit_core::common::{BucketMetadata, ByteStream, Metadata, ObjectMetadata};
use md5::{Digest, Md5};
use std::collections::BTreeMap;

/// All buckets.
pub(crate) struct Buckets {
    pub(super) by_name: BTreeMap<String, Bucket>,
    pub(super) signer: Signer,
}

pub(crate) struct Bucket {
    created: DateTime<Utc>,
    versioning: Versioning,
    pub(super) objects: BTreeMap<String, Vec<Version>>,
    version_count: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Versioning {
    Never,
    Enabled,
    Suspended,
}

/// One version of an object.
#[derive(Clone)]
pub(crate) struct Version {
    /// `null` for one that was written while the bucket kept no versions.
    pub(super) id: String,
    /// Without one, a marker that says that the object is deleted.
    pub(super) body: Option<Bytes>,
    pub(super) etag: String,
    pub(super) modified: DateTime<Utc>,
    pub(super) facts: Facts,
}

/// What goes with a body.
#[derive(Clone, Default)]
pub(crate) struct Facts {
    content_type: Option<String>,
    cache_control: Option<String>,
    content_encoding: Option<String>,
    storage_class: Option<String>,
    metadata: Metadata,
    pub(super) tags: Metadata,
}

/// On what an object is read.
pub(super) struct Conditions<'a> {
    pub(super) if_match: Option<&'a str>,
    pub(super) if_none_match: Option<&'a str>,
}

impl Facts {
    /// Checks what goes with a body.
    pub(super) fn new(options: &PutStreamOptions) -> Outcome<Self> {
        let bytes: usize = options.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > METADATA_BYTES_MAX {
            return Err(Refusal::invalid("MetadataTooLarge", "the metadata is larger than 2 KiB"));
        }
        if let Some(class) = options.storage_class.as_deref().filter(|class| !CLASSES.contains(class)) {
            return Err(Refusal::invalid("InvalidStorageClass", format!("there is no class {class}")));
        }
        check_tags(&options.tags)?;
        // HTTP's names have no case, and S3 gives them back in lower case.
        let metadata = options.metadata.iter().map(|(name, value)| (name.to_lowercase(), value.clone()));
        Ok(Self {
            content_type: options.content_type.clone(),
            cache_control: options.cache_control.clone(),
            content_encoding: options.content_encoding.clone(),
            storage_class: options.storage_class.clone().filter(|class| class != "STANDARD"),
            metadata: metadata.collect(),
            tags: options.tags.clone(),
        })
    }
}

impl Version {
    /// Its facts, if it has a body.
    pub(super) fn metadata(&self, key: &str) -> Option<ObjectMetadata> {
        let body = self.body.as_ref()?;
        Some(ObjectMetadata {
            key: key.to_owned(),
            size: body.len() as u64,
            content_type: Some(
                self.facts.content_type.clone().unwrap_or_else(|| CONTENT_TYPE_DEFAULT.to_owned()),
            ),
            etag: Some(self.etag.clone()),
            last_modified: self.modified,
            storage_class: self.facts.storage_class.clone(),
            metadata: self.facts.metadata.clone(),
        })
    }
}

impl Conditions<'_> {
    /// RFC 9110 13.2.2: If-Match is looked at first.
    fn check(&self, etag: &str) -> Outcome<()> {
        let names = |wanted: &str| wanted.trim() == "*" || wanted.trim().trim_matches('"') == etag;
        if self.if_match.is_some_and(|wanted| !names(wanted)) {
            return Err(precondition());
        }
        if self.if_none_match.is_some_and(names) {
            return Err(Refusal::provider("NotModified", 304, "the object is still the one that is known"));
        }
        Ok(())
    }
}

impl Buckets {
    pub(crate) fn new(secret: String) -> Self {
        Self { by_name: BTreeMap::new(), signer: Signer::new(secret) }
    }

    pub(super) fn list(&self) -> Vec<BucketMetadata> {
        let bucket = |(name, bucket): (&String, &Bucket)| BucketMetadata {
            created_at: bucket.created,
            versioning_enabled: bucket.versioning == Versioning::Enabled,
            ..BucketMetadata::new(name, "memory")
        };
        self.by_name.iter().map(bucket).collect()
    }

    /// To make one's own bucket again is a success, and leaves it as it is (S3 in us-east-1).
    pub(super) fn create(&mut self, name: &str, now: DateTime<Utc>) -> Outcome<()> {
        if !is_bucket_name(name) {
            return Err(Refusal::invalid("InvalidBucketName", format!("\"{name}\" names no bucket")));
        }
        if self.by_name.len() >= BUCKET_COUNT_MAX && !self.by_name.contains_key(name) {
            return Err(Refusal::full("buckets"));
        }
        self.by_name.entry(name.to_owned()).or_insert_with(|| Bucket {
            created: now.trunc_subsecs(0),
            versioning: Versioning::Never,
            objects: BTreeMap::new(),
            version_count: 0,
        });
        Ok(())
    }

    pub(super) fn delete(&mut self, name: &str) -> Outcome<()> {
        if !self.find(name)?.objects.is_empty() {
            let text = format!("bucket \"{name}\" is not empty");
            return Err(Refusal::provider("BucketNotEmpty", 409, text).hint("delete its objects first"));
        }
        self.by_name.remove(name);
        Ok(())
    }

    pub(super) fn find(&self, name: &str) -> Outcome<&Bucket> {
        self.by_name.get(name).ok_or_else(|| no_bucket(name))
    }

    fn find_mut(&mut self, name: &str) -> Outcome<&mut Bucket> {
        self.by_name.get_mut(name).ok_or_else(|| no_bucket(name))
    }

    /// The newest version of an object, if that has a body.
    pub(super) fn current(&self, bucket: &str, key: &str) -> Outcome<&Version> {
        check_key(key)?;
        let found = self.find(bucket)?.objects.get(key).and_then(|versions| versions.last());
        found.filter(|version| version.body.is_some()).ok_or_else(|| no_object(bucket, key))
    }

    pub(super) fn head(&self, bucket: &str, key: &str) -> Outcome<ObjectMetadata> {
        self.current(bucket, key)?.metadata(key).ok_or_else(|| no_object(bucket, key))
    }

    pub(super) fn get(&self, bucket: &str, key: &str, options: &GetStreamOptions) -> Outcome<ObjectStream> {
        let version = match &options.version_id {
            None => self.current(bucket, key)?,
            Some(id) => self.version(bucket, key, id)?,
        };
        let (Some(body), Some(meta)) = (&version.body, version.metadata(key)) else {
            return Err(Refusal::provider("MethodNotAllowed", 405, "a delete marker has no body"));
        };
        Conditions::of_get(options).check(&version.etag)?;
        let range = match options.range {
            None => 0..meta.size,
            Some(range) => range
                .of(meta.size)
                .map_err(|error| Refusal::provider("InvalidRange", 416, error.to_string()))?,
        };
        // A body in memory is shorter than OBJECT_BYTES_MAX, so that its places fit.
        let part = body.slice(range.start as usize..range.end as usize);
        let mut object = ObjectStream::new(meta, ByteStream::from(part)).with_offset(range.start);
        object.cache_control = version.facts.cache_control.clone();
        object.content_encoding = version.facts.content_encoding.clone();
        let kept = self.find(bucket)?.versioning != Versioning::Never;
        Ok(if kept { object.with_version_id(version.id.clone()) } else { object })
    }

    fn version(&self, bucket: &str, key: &str, id: &str) -> Outcome<&Version> {
        check_key(key)?;
        check_version_id(id)?;
        let versions = self.find(bucket)?.objects.get(key);
        let found = versions.and_then(|versions| versions.iter().find(|version| version.id == id));
        found.ok_or_else(|| Refusal::provider("NoSuchVersion", 404, format!("{key} has no version {id}")))
    }

    #[expect(clippy::too_many_arguments, reason = "one write, with time and chance as arguments")]
    pub(super) fn put(
        &mut self,
        bucket: &str,
        key: &str,
        body: Bytes,
        facts: Facts,
        condition: Option<&PutCondition>,
        now: DateTime<Utc>,
        chance: &mut Chance,
    ) -> Outcome<PutResult> {
        check_key(key)?;
        if body.len() > OBJECT_BYTES_MAX {
            return Err(Refusal::invalid("EntityTooLarge", "the object is larger than memory may hold"));
        }
        self.find(bucket)?;
        let current = self.current(bucket, key).ok();
        match (condition, current) {
            (None, _) | (Some(PutCondition::Absent), None) => {}
            (Some(PutCondition::Absent), Some(_)) => return Err(precondition()),
            (Some(PutCondition::Matches(_)), None) => return Err(no_object(bucket, key)),
            (Some(PutCondition::Matches(etag)), Some(version)) => {
                Conditions { if_match: Some(etag), if_none_match: None }.check(&version.etag)?;
            }
            (Some(_), _) => return Err(Refusal::invalid("NotImplemented", "an unknown condition")),
        }
        let etag = Md5::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let result = PutResult::new().with_etag(etag.clone());
        let version =
            Version { id: String::new(), body: Some(body), etag, modified: now.trunc_subsecs(0), facts };
        let id = self.find_mut(bucket)?.write(key, version, chance)?;
        Ok(match id {
            Some(id) => result.with_version_id(id),
            None => result,
        })
    }

    pub(super) fn remove(
        &mut self,
        bucket: &str,
        key: &str,
        now: DateTime<Utc>,
        chance: &mut Chance,
    ) -> Outcome<()> {
        check_key(key)?;
        let bucket = self.find_mut(bucket)?;
        if bucket.versioning == Versioning::Never {
            let gone = bucket.objects.remove(key);
            bucket.version_count -= gone.map_or(0, |versions| versions.len());
            return Ok(());
        }
        let marker = Version {
            id: String::new(),
            body: None,
            etag: String::new(),
            modified: now.trunc_subsecs(0),
            facts: Facts::default(),
        };
        bucket.write(key, marker, chance)?;
        Ok(())
    }

    pub(super) fn copy(
        &mut self,
        from: (&str, &str),
        to: (&str, &str),
        now: DateTime<Utc>,
        chance: &mut Chance,
    ) -> Outcome<()> {
        check_key(to.1)?;
        self.find(to.0)?;
        let source = self.current(from.0, from.1)?.clone();
        if from == to {
            let text = "a copy onto itself must change something";
            return Err(Refusal::invalid("InvalidRequest", text));
        }
        let mut facts = source.facts;
        // S3 copies the class of the request, which asks for none, and not that of the source.
        facts.storage_class = None;
        self.put(to.0, to.1, source.body.unwrap_or_default(), facts, None, now, chance)?;
        Ok(())
    }

    pub(super) fn delete_version(&mut self, bucket: &str, key: &str, id: &str) -> Outcome<()> {
        check_key(key)?;
        check_version_id(id)?;
        let bucket = self.find_mut(bucket)?;
        if let Some(versions) = bucket.objects.get_mut(key) {
            let before = versions.len();
            versions.retain(|version| version.id != id);
            bucket.version_count -= before - versions.len();
            if versions.is_empty() {
                bucket.objects.remove(key);
            }
        }
        Ok(())
    }

    pub(super) fn set_versioning(&mut self, bucket: &str, enabled: bool) -> Outcome<()> {
        let bucket = self.find_mut(bucket)?;
        bucket.versioning = if enabled { Versioning::Enabled } else { Versioning::Suspended };
        Ok(())
    }

    pub(super) fn set_tags(&mut self, bucket: &str, key: &str, tags: Metadata) -> Outcome<()> {
        // As the service does it: the bucket, the document, the object.
        check_key(key)?;
        self.find(bucket)?;
        check_tags(&tags)?;
        self.current(bucket, key)?;
        let versions = self.find_mut(bucket)?.objects.get_mut(key);
        if let Some(version) = versions.and_then(|versions| versions.last_mut()) {
            version.facts.tags = tags;
        }
        Ok(())
    }
}

impl Bucket {
    /// Writes a version after the others, or in place of the one without an identity; gives the identity, if the bucket tells.
    fn write(&mut self, key: &str, mut version: Version, chance: &mut Chance) -> Outcome<Option<String>> {
        if self.version_count >= VERSION_COUNT_MAX {
            return Err(Refusal::full("versions of objects"));
        }
        let keeps = self.versioning == Versioning::Enabled;
        version.id = if keeps { chance.hex(VERSION_ID_DIGITS) } else { NO_VERSION.to_owned() };
        let versions = self.objects.entry(key.to_owned()).or_default();
        let before = versions.len();
        if !keeps {
            versions.retain(|version| version.id != NO_VERSION);
        }
        let told = (self.versioning != Versioning::Never).then(|| version.id.clone());
        versions.push(version);
        self.version_count = self.version_count + versions.len() - before;
        Ok(told)
    }
}

/// Whether a bucket may have this name: the rules of general purpose buckets.
fn is_bucket_name(name: &str) -> bool {
    let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    let shaped = (3..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| edge(*byte) || matches!(byte, b'.' | b'-'))
        && edge(bytes[0])
        && edge(bytes[bytes.len() - 1])
        && !name.contains("..");
    let groups: Vec<&str> = name.split('.').collect();
    let is_address = groups.len() == 4
        && groups.iter().all(|group| group.len() <= 3 && group.bytes().all(|byte| byte.is_ascii_digit()));
    shaped
        && !is_address
        && !["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|front| name.starts_with(front))
        && !["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"].iter().any(|end| name.ends_with(end))
}

pub(super) fn check_key(key: &str) -> Outcome<()> {
    if key.is_empty() {
        return Err(Refusal::invalid("InvalidArgument", "a key has at least one byte"));
    }
    if key.len() > OBJECT_KEY_BYTES_MAX {
        return Err(Refusal::invalid("KeyTooLongError", "a key has at most 1,024 bytes"));
    }
    if key.contains('\0') {
        return Err(Refusal::invalid("InvalidArgument", "a key has no NUL"));
    }
    Ok(())
}

fn check_version_id(id: &str) -> Outcome<()> {
    let shaped = id.len() == VERSION_ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if shaped || id == NO_VERSION {
        return Ok(());
    }
    Err(Refusal::invalid("InvalidArgument", format!("\"{id}\" names no version")))
}

fn check_tags(tags: &Metadata) -> Outcome<()> {
    let bad = |text: &str| text.chars().any(|char| char.is_control());
    let wrong = |(key, value): (&String, &String)| {
        key.is_empty()
            || key.chars().count() > TAG_KEY_CHARS_MAX
            || value.chars().count() > TAG_VALUE_CHARS_MAX
            || key.starts_with("aws:")
            || bad(key)
            || bad(value)
    };
    if tags.len() > OBJECT_TAG_COUNT_MAX || tags.iter().any(wrong) {
        return Err(Refusal::invalid("InvalidTag", "an object has up to 10 tags, of 128 and 256 characters"));
    }
    Ok(())
}

fn precondition() -> Refusal {
    Refusal::provider("PreconditionFailed", 412, "the condition of the request does not hold")
}

fn no_bucket(name: &str) -> Refusal {
    Refusal::missing("NoSuchBucket", "Bucket", name).hint(format!("create_bucket(\"{name}\")"))
}

fn no_object(bucket: &str, key: &str) -> Refusal {
    Refusal::missing("NoSuchKey", "Object", format!("{bucket}/{key}"))
}

const CONTENT_TYPE_DEFAULT: &str = "binary/octet-stream";
pub(super) const NO_VERSION: &str = "null";
const VERSION_ID_DIGITS: usize = 32;
const CLASSES: [&str; 8] = [
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "GLACIER_IR",
];
