//! CompleteMultipartUpload: the listed parts become one object, without a byte being copied.
//! Invariant: object, manifest and removal of upload and parts are one batch; the same request again gets the same reply.

use std::ops::{Bound, ControlFlow};

use aws::xml::{Document, Element, Writer, XmlError};
use hash::{Algorithm, Digest};
use plan::{Context, Plan};
use store::{Body, BodyRef, Direction, Fault, Operation, Outcome, TableId, Tx};

use super::put_object::Written;
use super::{Refusal, Target};
use crate::call::{Shared, collect_announced, submit};
use crate::model::checksum::{ALGORITHMS, describe};
use crate::model::etag::unquote;
use crate::model::{
    COMPLETED_UPLOAD_MS, Checksum, ChecksumType, Conditions, Etag, LARGE_XML_BODY_BYTES_MAX,
    MANIFEST_PAGE_PARTS, OBJECT_BYTES_MAX, ObjectKey, PART_BYTES_MIN, PART_COUNT_MAX, PartNumber, UploadId,
    Verdict, VersionNumber,
};
use crate::store::record::VersionRecord;
use crate::store::upload::{CompletedRecord, ManifestPage, ManifestPart, PartRecord, UploadRecord};
use crate::store::versions::{self, Place};
use crate::store::{
    COMPLETED, EXPIRING, MANIFESTS, PARTS, UPLOADS, expiring_key, manifest_key, number_of_part, part_key,
    parts_prefix, upload_key,
};
use crate::wire::checksum::{Announced, decode_value};
use crate::wire::error::{Code, Error};
use crate::wire::{headers, reply};

/// POST /b/k?uploadId.
pub fn start(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, Some(aws::acl::Permission::Write))?;
    headers::refuse_encryption(call.headers())?;
    let key = call.key()?.clone();
    let id = super::upload_part::upload_id(&call)?;
    let conditions = headers::conditions(call.headers(), call.now(cx));
    let expected = Expected::parse(&call)?;
    // A checksum header is about the object here.
    let announced = Announced::md5_alone(call.headers())?;
    Ok(collect_announced(call, LARGE_XML_BODY_BYTES_MAX, announced, move |call, cx, body| {
        let parts = parse(&body)?;
        let shard = bucket.shard(cx, &key);
        let complete = CompleteUpload {
            target: Target::from(&bucket),
            key: key.clone(),
            id,
            parts,
            expected,
            conditions,
        };
        Ok(submit(call.clone(), shard, complete, move |call, _cx, outcome| {
            let done = outcome?;
            let mut writer = Writer::s3("CompleteMultipartUploadResult", 1024);
            writer.text("Location", &location(call, &bucket.name, &key));
            writer.text("Bucket", &bucket.name);
            writer.text("Key", key.as_str());
            reply::write_etag(&mut writer, &done.written.etag);
            reply::write_checksum(&mut writer, &done.checksum, done.written.etag.part_count);
            writer.close("CompleteMultipartUploadResult");
            let mut reply = reply::xml(writer.into_bytes());
            if let Some(id) = done.written.id {
                reply::set(&mut reply.headers, "x-amz-version-id", &id.to_string());
            }
            Ok(Plan::Reply(reply))
        }))
    }))
}

/// The URL of an object, as the request reached us.
pub fn location(call: &Shared, bucket: &str, key: &ObjectKey) -> String {
    let scheme = if call.head.tls { "https" } else { "http" };
    let host = call.head.authority.as_deref().unwrap_or("localhost");
    let key = aws::uri::encode_path(key.as_str());
    format!("{scheme}://{host}/{bucket}/{key}")
}

/// What the request says about the finished object.
struct Expected {
    checksum: Option<(Algorithm, Vec<u8>)>,
    kind: Option<ChecksumType>,
    size: Option<u64>,
}

impl Expected {
    fn parse(call: &Shared) -> Result<Expected, Error> {
        let mut checksum = None;
        for row in &ALGORITHMS {
            let Some(text) = call.header(row.header) else { continue };
            // A composite value may come with its part count, which the list of parts gives anyway.
            let value = text.rsplit_once('-').map_or(text, |(value, _)| value);
            let value = decode_value(row.algorithm, value.as_bytes())
                .ok_or_else(|| Error::request(format!("Value for {} header is invalid.", row.header)))?;
            if checksum.replace((row.algorithm, value)).is_some() {
                return Err(Error::request(
                    "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
                ));
            }
        }
        let kind = match call.header("x-amz-checksum-type") {
            None => None,
            Some(text) => Some(
                ChecksumType::parse(text)
                    .ok_or_else(|| Error::request("Value for x-amz-checksum-type header is invalid."))?,
            ),
        };
        let size = match call.header("x-amz-mp-object-size") {
            None => None,
            Some(text) => Some(
                text.parse()
                    .map_err(|_| Error::request("Value for x-amz-mp-object-size header is invalid."))?,
            ),
        };
        Ok(Expected { checksum, kind, size })
    }
}

/// A part as the request lists it.
pub(crate) struct Listed {
    /// Its number.
    pub(crate) number: PartNumber,
    /// Its tag, without quotes and in lower case.
    pub(crate) etag: String,
    checksum: Option<(Algorithm, Vec<u8>)>,
}

/// Reads the list of parts, whose numbers ascend.
pub(crate) fn parse(body: &[u8]) -> Result<Vec<Listed>, Error> {
    let document = Document::parse(body, LARGE_XML_BODY_BYTES_MAX).map_err(|error| match error {
        // A Complete without a list names no parts, which the schema forbids.
        XmlError::Empty => XmlError::Malformed,
        other => other,
    })?;
    let root = document.root_named("CompleteMultipartUpload")?;
    let mut parts: Vec<Listed> = Vec::new();
    for part in root.children_named("Part") {
        if parts.len() == usize::from(PART_COUNT_MAX) {
            return Err(Code::MalformedXml.into());
        }
        let listed = parse_part(part)?;
        if parts.last().is_some_and(|last| last.number >= listed.number) {
            return Err(Code::InvalidPartOrder.into());
        }
        parts.push(listed);
    }
    if parts.is_empty() {
        return Err(Code::MalformedXml.into());
    }
    Ok(parts)
}

fn parse_part(part: Element<'_, '_>) -> Result<Listed, Error> {
    let text = part.child("PartNumber").ok_or(XmlError::Malformed)?.trimmed();
    let number = PartNumber::parse(text).ok_or_else(|| match text.parse::<i64>() {
        Ok(_) => Error::argument("PartNumber", text, "PartNumber must be >= 1 and <= 10000"),
        Err(_) => Code::MalformedXml.into(),
    })?;
    let etag = part.child("ETag").ok_or(XmlError::Malformed)?.trimmed();
    let mut checksum = None;
    for row in &ALGORITHMS {
        if let Some(value) = part.child(row.element) {
            let value = decode_value(row.algorithm, value.trimmed().as_bytes());
            let value = value.ok_or_else(|| Error::from(Code::InvalidPart).with("PartNumber", text))?;
            checksum = Some((row.algorithm, value));
        }
    }
    Ok(Listed { number, etag: unquote(etag).to_ascii_lowercase(), checksum })
}

struct CompleteUpload {
    target: Target,
    key: ObjectKey,
    id: UploadId,
    parts: Vec<Listed>,
    expected: Expected,
    conditions: Conditions,
}

/// A finished object.
struct Done {
    written: Written,
    checksum: Checksum,
}

/// A part that was received and is listed.
struct Chosen {
    number: PartNumber,
    part: PartRecord,
    body: BodyRef,
}

impl Operation for CompleteUpload {
    type Reply = Result<Done, Refusal>;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        self.target.declare(declare);
        versions::declare(self.target.generation, &self.key, declare);
        declare(UPLOADS, &upload_key(self.target.generation, self.key.as_bytes(), self.id));
        declare(PARTS, &parts_prefix(self.target.generation, self.id));
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Self::Reply>, Fault> {
        Ok(match self.run(tx)? {
            Ok(done) => Outcome::Commit(Ok(done)),
            Err(refusal) => Outcome::Rollback(Err(refusal)),
        })
    }
}

impl CompleteUpload {
    fn run(&self, tx: &mut Tx<'_>) -> Result<Result<Done, Refusal>, Fault> {
        let Some(bucket) = self.target.read(tx)? else { return Ok(Err(Refusal::NoSuchBucket)) };
        let upload_at = upload_key(bucket.generation, self.key.as_bytes(), self.id);
        let Some(upload) = tx.get(UPLOADS, &upload_at)? else { return self.repeated(tx, &upload_at) };
        let upload = UploadRecord::decode(&upload.value)?;
        let (received, numbers) = self.received(tx)?;
        let chosen = match self.choose(received, &upload) {
            Ok(chosen) => chosen,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let size: u64 = chosen.iter().map(|chosen| chosen.part.size).sum();
        let etag = etag_of(&chosen);
        let checksum = checksum_of(&chosen, upload.algorithm, upload.kind);
        if let Err(refusal) = self.check(size, &checksum) {
            return Ok(Err(refusal));
        }
        let place = Place { generation: bucket.generation, key: &self.key, versioning: bucket.versioning };
        let newest = versions::newest(tx, &place)?;
        let subject =
            newest.as_ref().filter(|newest| !newest.record.is_marker).map(|newest| newest.record.subject());
        let verdict = self.conditions.judge_write(subject.as_ref());
        if verdict != Verdict::Pass {
            return Ok(Err(Refusal::Condition(verdict)));
        }
        for number in numbers {
            tx.delete(PARTS, &part_key(bucket.generation, self.id, number));
        }
        tx.delete(UPLOADS, &upload_at);
        self.write_manifest(tx, chosen);
        let record = VersionRecord {
            number: VersionNumber(0),
            is_marker: false,
            is_null: false,
            null_at: None,
            modified_ms: tx.now().0,
            size,
            etag,
            manifest: Some(self.id),
            checksum: Some(checksum.clone()),
            attributes: upload.attributes,
        };
        let record = versions::put(tx, &place, newest.as_ref(), record, Vec::new())?;
        let written = Written::of(&record, bucket.versioning);
        self.remember(tx, &upload_at, &written, &checksum)?;
        Ok(Ok(Done { written, checksum }))
    }

    /// The reply of an earlier Complete with the same list.
    fn repeated(&self, tx: &mut Tx<'_>, upload_at: &[u8]) -> Result<Result<Done, Refusal>, Fault> {
        let Some(completed) = tx.get(COMPLETED, upload_at)? else { return Ok(Err(Refusal::NoSuchUpload)) };
        let completed = CompletedRecord::decode(&completed.value)?;
        if completed.expires_ms <= tx.now().0 || completed.list_digest != self.list_digest() {
            return Ok(Err(Refusal::NoSuchUpload));
        }
        let written = Written {
            id: completed.version,
            modified_ms: completed.expires_ms.saturating_sub(COMPLETED_UPLOAD_MS),
            etag: completed.etag,
        };
        Ok(Ok(Done { written, checksum: completed.checksum }))
    }

    /// Every part that was received.
    fn received(&self, tx: &mut Tx<'_>) -> Result<(Vec<Chosen>, Vec<PartNumber>), Fault> {
        let prefix = parts_prefix(self.target.generation, self.id);
        let mut received: Vec<Result<Chosen, Fault>> = Vec::new();
        tx.scan(PARTS, Bound::Included(&prefix), Direction::Forward, u64::MAX, &mut |key, record| {
            let Some(number) = number_of_part(&prefix, key) else { return ControlFlow::Break(()) };
            received.push(PartRecord::decode(record.value).and_then(|part| {
                let mut bodies = record.bodies.into_iter();
                let body = bodies.next().ok_or_else(|| Fault::corrupt("a part has no body".into()))?;
                Ok(Chosen { number, part, body })
            }));
            ControlFlow::Continue(())
        })?;
        let received = received.into_iter().collect::<Result<Vec<_>, _>>()?;
        let numbers = received.iter().map(|chosen| chosen.number).collect();
        Ok((received, numbers))
    }

    /// The listed parts; both lists ascend.
    fn choose(&self, received: Vec<Chosen>, upload: &UploadRecord) -> Result<Vec<Chosen>, Refusal> {
        let mut chosen = Vec::with_capacity(self.parts.len());
        let mut received = received.into_iter();
        for (index, listed) in self.parts.iter().enumerate() {
            let invalid = Refusal::InvalidPart(listed.number.get());
            let found = received.find(|part| part.number >= listed.number);
            let Some(found) = found.filter(|part| part.number == listed.number) else { return Err(invalid) };
            if Etag::plain(found.part.md5).to_string() != listed.etag {
                return Err(invalid);
            }
            if let Some((algorithm, value)) = &listed.checksum
                && (upload.is_algorithm_named || *algorithm == upload.algorithm)
                && (*algorithm != upload.algorithm || *value != found.part.checksum.value)
            {
                return Err(invalid);
            }
            if found.part.size < PART_BYTES_MIN && index + 1 < self.parts.len() {
                return Err(Refusal::EntityTooSmall(listed.number.get()));
            }
            chosen.push(found);
        }
        Ok(chosen)
    }

    fn check(&self, size: u64, checksum: &Checksum) -> Result<(), Refusal> {
        if size > OBJECT_BYTES_MAX {
            return Err(Refusal::EntityTooLarge);
        }
        if self.expected.size.is_some_and(|expected| expected != size) {
            return Err(Refusal::SizeDiffers);
        }
        if self.expected.kind.is_some_and(|kind| kind != checksum.kind) {
            return Err(Refusal::BadDigest);
        }
        match &self.expected.checksum {
            Some((algorithm, value)) if *algorithm != checksum.algorithm || *value != checksum.value => {
                Err(Refusal::BadDigest)
            }
            _ => Ok(()),
        }
    }

    fn write_manifest(&self, tx: &mut Tx<'_>, chosen: Vec<Chosen>) {
        let mut chosen = chosen.into_iter().peekable();
        let mut index = 0;
        while chosen.peek().is_some() {
            let mut page = ManifestPage { key: self.key.as_bytes().to_vec(), parts: Vec::new() };
            let mut bodies = Vec::new();
            for Chosen { number, part, body } in chosen.by_ref().take(MANIFEST_PAGE_PARTS) {
                page.parts.push(ManifestPart { number, size: part.size, checksum: part.checksum.value });
                bodies.push(Body::Kept(body));
            }
            let key = manifest_key(self.target.generation, self.id, index);
            tx.put(MANIFESTS, &key, &page.encode(), bodies, true);
            index += 1;
        }
    }

    /// Keeps the reply for a repeated request, and drops a few that are too old.
    fn remember(
        &self,
        tx: &mut Tx<'_>,
        upload_at: &[u8],
        written: &Written,
        checksum: &Checksum,
    ) -> Result<(), Fault> {
        let now_ms = tx.now().0;
        let mut expired: Vec<Vec<u8>> = Vec::new();
        tx.scan(EXPIRING, Bound::Unbounded, Direction::Forward, u64::MAX, &mut |key, _| {
            let is_due = key.first_chunk::<8>().is_some_and(|when| u64::from_be_bytes(*when) <= now_ms);
            if !is_due || expired.len() == EXPIRED_PER_COMPLETE {
                return ControlFlow::Break(());
            }
            expired.push(key.to_vec());
            ControlFlow::Continue(())
        })?;
        for key in expired {
            tx.delete(COMPLETED, &key[8..]);
            tx.delete(EXPIRING, &key);
        }
        let completed = CompletedRecord {
            expires_ms: now_ms + COMPLETED_UPLOAD_MS,
            list_digest: self.list_digest(),
            etag: written.etag,
            version: written.id,
            checksum: checksum.clone(),
        };
        tx.put(COMPLETED, upload_at, &completed.encode(), Vec::new(), true);
        tx.put(EXPIRING, &expiring_key(completed.expires_ms, upload_at), &[], Vec::new(), true);
        Ok(())
    }

    fn list_digest(&self) -> [u8; 16] {
        let mut digest = hash::Md5::new();
        for listed in &self.parts {
            digest.update(&listed.number.get().to_be_bytes());
            digest.update(listed.etag.as_bytes());
            digest.update(b"\n");
        }
        digest.finish()
    }
}

/// Expired records that one Complete drops: more than it adds, so that they never pile up.
const EXPIRED_PER_COMPLETE: usize = 4;

/// MD5 of the parts' MD5s, and their count.
fn etag_of(chosen: &[Chosen]) -> Etag {
    let mut md5 = hash::Md5::new();
    for part in chosen {
        md5.update(&part.part.md5);
    }
    Etag { md5: md5.finish(), part_count: chosen.len() as u16 }
}

/// The object's value, from its parts' values alone.
fn checksum_of(chosen: &[Chosen], algorithm: Algorithm, kind: ChecksumType) -> Checksum {
    let value = match kind {
        ChecksumType::Composite => {
            let mut digest = Digest::new(algorithm);
            for part in chosen {
                digest.update(&part.part.checksum.value);
            }
            digest.finish().as_bytes().to_vec()
        }
        ChecksumType::FullObject => {
            let mut parts = chosen.iter();
            let first = parts.next().map(|part| part.part.checksum.value.clone()).unwrap_or_default();
            parts.fold(first, |whole, part| {
                combine(algorithm, &whole, &part.part.checksum.value, part.part.size)
            })
        }
    };
    Checksum { algorithm, kind, value }
}

/// The CRC of two stretches of bytes from the CRC of each.
fn combine(algorithm: Algorithm, first: &[u8], second: &[u8], second_bytes: u64) -> Vec<u8> {
    let narrow = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap_or_default());
    let wide = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap_or_default());
    match algorithm {
        Algorithm::Crc32 => {
            hash::crc32_combine(narrow(first), narrow(second), second_bytes).to_be_bytes().to_vec()
        }
        Algorithm::Crc32c => {
            hash::crc32c_combine(narrow(first), narrow(second), second_bytes).to_be_bytes().to_vec()
        }
        Algorithm::Crc64Nvme => {
            hash::crc64nvme_combine(wide(first), wide(second), second_bytes).to_be_bytes().to_vec()
        }
        Algorithm::Sha1
        | Algorithm::Sha256
        | Algorithm::Sha512
        | Algorithm::Md5
        | Algorithm::XxHash64
        | Algorithm::XxHash3
        | Algorithm::XxHash128 => {
            unreachable!(
                "{} has no full object value: CreateMultipartUpload refuses it",
                describe(algorithm).name
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(algorithm: Algorithm, bytes: &[u8]) -> Chosen {
        let digest = |algorithm| {
            let mut digest = Digest::new(algorithm);
            digest.update(bytes);
            digest.finish()
        };
        let checksum = Checksum {
            algorithm,
            kind: ChecksumType::FullObject,
            value: digest(algorithm).as_bytes().to_vec(),
        };
        let md5 = digest(Algorithm::Md5).as_bytes().try_into().expect("16 bytes");
        let part = PartRecord { key: b"k".to_vec(), modified_ms: 0, size: bytes.len() as u64, md5, checksum };
        Chosen { number: PartNumber::new(1).expect("valid"), part, body: BodyRef::EMPTY }
    }

    #[test]
    fn full_object_values_combine_to_the_value_of_all_bytes() {
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let parts = [&b"first "[..], b"second ", b"", b"third"];
            let chosen: Vec<_> = parts.iter().map(|part| chosen(algorithm, part)).collect();
            let mut whole = Digest::new(algorithm);
            whole.update(&parts.concat());
            let combined = checksum_of(&chosen, algorithm, ChecksumType::FullObject);
            assert_eq!(combined.value, whole.finish().as_bytes(), "{algorithm:?}");
        }
    }

    #[test]
    fn a_multipart_etag_is_the_md5_of_md5s() {
        // Two parts "a" and "b": the MD5 of the two digests, computed with md5sum.
        let etag = etag_of(&[chosen(Algorithm::Crc32, b"a"), chosen(Algorithm::Crc32, b"b")]);
        let mut md5 = hash::Md5::new();
        md5.update(&aws::encoding::unhex::<16>(b"0cc175b9c0f1b6a831c399e269772661").expect("hex"));
        md5.update(&aws::encoding::unhex::<16>(b"92eb5ffee6ae2fec3ad71c777531578f").expect("hex"));
        assert_eq!(etag.md5, md5.finish());
        assert!(etag.to_string().ends_with("-2"));
    }

    #[test]
    fn lists_ascend_and_are_not_empty() {
        let part =
            |number: &str| format!("<Part><PartNumber>{number}</PartNumber><ETag>\"AB\"</ETag></Part>");
        let list = |numbers: &[&str]| {
            let parts: String = numbers.iter().map(|number| part(number)).collect();
            parse(format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>").as_bytes())
        };
        let parsed = list(&["1", "3"]).expect("valid");
        assert_eq!(parsed[1].number.get(), 3);
        assert_eq!(parsed[0].etag, "ab");
        let code = |numbers: &[&str]| list(numbers).err().expect("refused").reply.code;
        assert_eq!(code(&["2", "1"]), "InvalidPartOrder");
        assert_eq!(code(&["1", "1"]), "InvalidPartOrder");
        assert_eq!(code(&[]), "MalformedXML");
        assert_eq!(code(&["0"]), "InvalidArgument");
        assert_eq!(code(&["x"]), "MalformedXML");
        assert_eq!(parse(b"").err().expect("refused").reply.code, "MalformedXML");
    }
}
