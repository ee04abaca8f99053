// AWS SDK for JavaScript v3: round trips against the appliance that the environment names. Ends with 0 only when every
// object came back byte for byte.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { CreateBucketCommand, DeleteObjectsCommand, GetObjectCommand, PutObjectCommand, S3Client, paginateListObjectsV2 } from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";

const Bucket = "js-clients";
const MULTIPART_BYTES = 18 << 20;
const SIZES = [0, 1, 4096, 65537, 1 << 20];
const ODD_NAMES = [
  "with space", "plus+sign", "percent%2Fsign", "double//slash", "trailing/", "ünïcode/ключ/鍵", "emoji-😀", "quote'\"quote",
  "tilde~star*paren()", "ampersand&equals=semicolon;", "question?mark#hash", "back\\slash",
];

/** Bytes that follow from length and seed. */
function content(length, seed) {
  const blocks = [];
  for (let at = 0; at < length; at += 32) {
    blocks.push(createHash("sha256").update(`${seed}:${at}`).digest());
  }
  return Buffer.concat(blocks).subarray(0, length);
}

const client = new S3Client({ forcePathStyle: process.env.ZEROCLOUD_VIRTUAL_HOST !== "1" });
const wanted = new Map();
SIZES.forEach((size) => wanted.set(`size-${size}`, content(size, 1)));
ODD_NAMES.forEach((name, number) => wanted.set(`odd/${name}`, content(100, number + 2)));

async function fetched(Key) {
  const reply = await client.send(new GetObjectCommand({ Bucket, Key }));
  return Buffer.from(await reply.Body.transformToByteArray());
}

await client.send(new CreateBucketCommand({ Bucket }));
for (const [Key, Body] of wanted) {
  await client.send(new PutObjectCommand({ Bucket, Key, Body, Metadata: { size: String(Body.length) } }));
  assert.deepEqual(await fetched(Key), Body, Key);
}

// A stream in small pieces of unknown length goes up in parts.
const large = content(MULTIPART_BYTES, 99);
const pieces = [];
for (let at = 0; at < large.length; at += 10_000) {
  pieces.push(large.subarray(at, at + 10_000));
}
await new Upload({ client, params: { Bucket, Key: "multipart", Body: Readable.from(pieces) }, partSize: 6 << 20 }).done();
assert.deepEqual(await fetched("multipart"), large, "multipart");
wanted.set("multipart", large);

// A stream of known length goes up in one request with a trailing checksum.
const ContentLength = 3 << 20;
const Body = Readable.from([large.subarray(0, ContentLength / 2), large.subarray(ContentLength / 2, ContentLength)]);
await client.send(new PutObjectCommand({ Bucket, Key: "streamed", Body, ContentLength }));
assert.deepEqual(await fetched("streamed"), large.subarray(0, ContentLength), "streamed");
wanted.set("streamed", large.subarray(0, ContentLength));

const listed = [];
for await (const page of paginateListObjectsV2({ client, pageSize: 5 }, { Bucket })) {
  listed.push(...(page.Contents ?? []).map((object) => object.Key));
}
assert.deepEqual(new Set(listed), new Set(wanted.keys()), "listing");
assert.equal(listed.length, wanted.size);
const gone = await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: listed.map((Key) => ({ Key })) } }));
assert.equal(gone.Deleted.length, wanted.size);
console.log(`@aws-sdk/client-s3: ${wanted.size - 1} objects and one of ${MULTIPART_BYTES} bytes in parts came back whole`);
