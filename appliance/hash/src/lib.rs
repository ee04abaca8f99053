//! Digests and checksums: every algorithm that a protocol or a disk format of ours names, and MD5 over many streams at once.
//! Invariant: each result equals that of the published algorithm, whatever the processor offers and however the bytes
//! are cut into updates.
//! Leaves to aws/ and store/: where a digest is written, in which alphabet, and what a mismatch means.
//!
//! MD5 is ours, since an ETag needs one per upload and a single stream cannot go faster than its chain of dependencies:
//! many streams side by side can. The CRCs, the SHAs and the XXHs come from crates that are at the machine's limit.

mod crc;
mod digest;
mod md5;
mod sha;
mod xxh;

pub use crc::{
    Crc32, Crc32c, Crc64Nvme, crc32, crc32_combine, crc32c, crc32c_combine, crc64nvme, crc64nvme_combine,
};
pub use digest::{Algorithm, DIGEST_BYTES_MAX, Digest, Value};
pub use md5::{LANE_COUNT_MAX, Md5, Md5State, lane_count, md5_update_many};
pub use sha::{Sha1, Sha256, Sha512, sha256};
pub use xxh::{XxHash3, XxHash64, XxHash128, xxh3_64};
