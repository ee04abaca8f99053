//! A stream of unknown length up and down again, and the most memory that took: `stream MIB [RANGES]`. Endpoint and credentials are
//! those of the environment. The bytes are made as they go and compared as they come, so that no file is in the way.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use cloudkit_core::api::{GetStreamOptions, ObjectStorage, PutStreamOptions};
use cloudkit_core::common::{ByteStream, CloudResult};
use cloudkit_zero::ZeroBuilder;
use futures_core::Stream;

const PIECE_BYTES: u64 = 1024 * 1024;

/// The piece that begins at a byte: another one for each.
fn piece(at: u64) -> Bytes {
    let seed = (at / PIECE_BYTES).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let words = (0..PIECE_BYTES / 8)
        .flat_map(|word| seed.rotate_left(word as u32 % 64).wrapping_add(word).to_le_bytes());
    words.collect::<Vec<u8>>().into()
}

/// Pieces up to a length that nobody is told.
struct Made {
    at: u64,
    end: u64,
}

impl Stream for Made {
    type Item = CloudResult<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.at == self.end {
            return Poll::Ready(None);
        }
        let next = piece(self.at);
        self.at += PIECE_BYTES;
        Poll::Ready(Some(Ok(next)))
    }
}

/// The most memory that the process had, in KiB.
fn peak_kib() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("?").trim().to_string()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mib: u64 = arguments.next().ok_or("stream MIB [RANGES]")?.parse()?;
    let ranges: u32 = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let end = mib * PIECE_BYTES;
    let storage = ZeroBuilder::new().build().await?.storage();
    storage.create_bucket("stream-example").await?;

    let begin = Instant::now();
    let body = ByteStream::from_stream(Made { at: 0, end }, None);
    let put = storage.put_stream("stream-example", "k", body, PutStreamOptions::new()).await?;
    println!("up: {mib} MiB in {:.1?}, {:?}, peak {}", begin.elapsed(), put.etag, peak_kib());

    let begin = Instant::now();
    let options = GetStreamOptions::new().parallel_ranges(ranges);
    let mut body = storage.get_stream("stream-example", "k", options).await?.body;
    let (mut at, mut expected) = (0, Bytes::new());
    while let Some(mut found) = body.next().await.transpose()? {
        while !found.is_empty() {
            if expected.is_empty() {
                expected = piece(at);
                at += PIECE_BYTES;
            }
            let length = found.len().min(expected.len());
            if found.split_to(length) != expected.split_to(length) {
                return Err(format!("other bytes came back before {at}").into());
            }
        }
    }
    if at != end || !expected.is_empty() {
        return Err(format!("{at} of {end} bytes came back").into());
    }
    println!("down: {mib} MiB in {:.1?}, all as they were, peak {}", begin.elapsed(), peak_kib());
    storage.delete_object("stream-example", "k").await?;
    storage.delete_bucket("stream-example").await?;
    Ok(())
}
