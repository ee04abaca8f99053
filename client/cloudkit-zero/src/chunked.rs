//! The aws-chunked framing of a body that is sent while it is being made.
//!
//! ```text
//! unsigned   hex(length) CRLF data CRLF ... 0 CRLF x-amz-checksum-crc64nvme:VALUE CRLF CRLF
//! signed     hex(length) ;chunk-signature=SIG CRLF data CRLF ... 0 ;chunk-signature=SIG CRLF
//!            x-amz-checksum-crc64nvme:VALUE CRLF x-amz-trailer-signature:SIG CRLF CRLF
//! ```
//! Invariant: every chunk but the last has exactly `CHUNK_BYTES` of data, so the length on the wire follows from that of the data.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::body::StreamBody;
use crate::checksum::{CRC64NVME_NAME, Checksum};
use crate::error::WireError;
use crate::sign::chunks::ChunkSigner;

/// Data of a chunk. AWS wants at least 8 KiB; a chunk is held until it is full, so this is also what a stream holds.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// A stream in its framing.
#[derive(Debug)]
pub struct Chunked {
    source: StreamBody,
    signer: Option<ChunkSigner>,
    checksum: Checksum,
    /// Of the chunk that is filling.
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    /// What does not fit into it any more.
    rest: Bytes,
    /// Ready to be sent.
    out: VecDeque<Bytes>,
    is_ended: bool,
}

impl Chunked {
    /// Frames `source`; with a signer each chunk and the trailer are signed.
    pub fn new(source: StreamBody, signer: Option<ChunkSigner>) -> Chunked {
        Chunked {
            source,
            signer,
            checksum: Checksum::crc64nvme(),
            gathered: Vec::new(),
            gathered_bytes: 0,
            rest: Bytes::new(),
            out: VecDeque::new(),
            is_ended: false,
        }
    }

    /// Whether the source was asked for a byte.
    pub fn is_started(&self) -> bool {
        self.source.is_started()
    }

    /// The source back, for another attempt with another signature if it was not started.
    pub fn into_source(self) -> StreamBody {
        self.source
    }

    /// Bytes on the wire, where the data's length is known.
    pub fn encoded_length(&self) -> Option<u64> {
        const SIGNATURE: u64 = ";chunk-signature=".len() as u64 + 64;
        const VALUE: u64 = 12;
        let length = self.source.length()?;
        let signature = if self.signer.is_some() { SIGNATURE } else { 0 };
        let of_chunk = |data: u64| u64::from(16 - data.leading_zeros() / 4) + signature + 2 + data + 2;
        let (full, last) = (length / CHUNK_BYTES as u64, length % CHUNK_BYTES as u64);
        let mut bytes = full * of_chunk(CHUNK_BYTES as u64);
        if last > 0 {
            bytes += of_chunk(last);
        }
        bytes += 1 + signature + 2;
        bytes += CRC64NVME_NAME.len() as u64 + 1 + VALUE + 2;
        if self.signer.is_some() {
            bytes += "x-amz-trailer-signature:".len() as u64 + 64 + 2;
        }
        Some(bytes + 2)
    }

    /// The next piece of the framing; None after the last.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, WireError>>> {
        loop {
            if let Some(piece) = self.out.pop_front() {
                return Poll::Ready(Some(Ok(piece)));
            }
            if self.is_ended {
                return Poll::Ready(None);
            }
            let next = if self.rest.is_empty() {
                match std::task::ready!(self.source.poll_next(cx)) {
                    Some(Ok(bytes)) => Some(bytes),
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    None => None,
                }
            } else {
                Some(std::mem::take(&mut self.rest))
            };
            match next {
                Some(bytes) => self.gather(bytes),
                None => self.end(),
            }
        }
    }

    fn gather(&mut self, mut bytes: Bytes) {
        let room = CHUNK_BYTES - self.gathered_bytes;
        if bytes.len() > room {
            self.rest = bytes.split_off(room);
        }
        self.checksum.update(&bytes);
        self.gathered_bytes += bytes.len();
        self.gathered.push(bytes);
        if self.gathered_bytes == CHUNK_BYTES {
            self.emit();
        }
    }

    /// Frames what is gathered. An empty chunk is the last one, behind which the trailer follows instead of a line's end.
    fn emit(&mut self) {
        let mut head = format!("{:x}", self.gathered_bytes).into_bytes();
        if let Some(signer) = &mut self.signer {
            let mut digest = Sha256::new();
            self.gathered.iter().for_each(|piece| digest.update(piece));
            head.extend_from_slice(b";chunk-signature=");
            head.extend_from_slice(&signer.sign_chunk(&digest.finalize().into()));
        }
        head.extend_from_slice(b"\r\n");
        self.out.push_back(head.into());
        if self.gathered_bytes > 0 {
            self.out.extend(self.gathered.drain(..));
            self.out.push_back(Bytes::from_static(b"\r\n"));
        }
        self.gathered_bytes = 0;
    }

    fn end(&mut self) {
        if self.gathered_bytes > 0 {
            self.emit();
        }
        self.emit();
        let value = self.checksum.value();
        self.source.note_checksum(&value);
        let mut trailer = format!("{CRC64NVME_NAME}:{value}\r\n").into_bytes();
        if let Some(signer) = &mut self.signer {
            trailer.extend_from_slice(b"x-amz-trailer-signature:");
            trailer.extend_from_slice(&signer.sign_trailer(CRC64NVME_NAME, &value));
            trailer.extend_from_slice(b"\r\n");
        }
        trailer.extend_from_slice(b"\r\n");
        self.out.push_back(trailer.into());
        self.is_ended = true;
    }
}

/// The data of a framed body and what stands behind its last chunk's line. None when it is not well formed.
#[cfg(test)]
pub fn data_of(mut framed: &[u8]) -> Option<(Vec<u8>, String)> {
    let mut data = Vec::new();
    loop {
        let end = framed.windows(2).position(|pair| pair == b"\r\n")?;
        let line = std::str::from_utf8(&framed[..end]).ok()?;
        let length = usize::from_str_radix(line.split(';').next()?, 16).ok()?;
        framed = &framed[end + 2..];
        if length == 0 {
            return Some((data, String::from_utf8(framed.to_vec()).ok()?));
        }
        data.extend_from_slice(framed.get(..length)?);
        framed = framed[length..].strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::stream_of;
    use crate::checksum::crc64nvme_of;
    use crate::credentials::Keys;
    use crate::date::AmzDate;
    use crate::sign::{Payload, Signer, Subject};
    use http_types::HeaderMap;
    use std::future::poll_fn;

    fn signer() -> ChunkSigner {
        let subject =
            Subject { method: "PUT", path: "/b/k", query: "", host: "h", service: "s3", region: "r" };
        let mut headers = HeaderMap::new();
        let keys = Keys::new("a", "s");
        let payload = Payload::SignedChunksTrailer;
        ChunkSigner::new(
            Signer::new()
                .sign_headers(&subject, &keys, payload, &mut headers, AmzDate::of(0))
                .expect("it is signed"),
        )
    }

    async fn frame(data: &[u8], piece: usize, is_signed: bool) -> (Vec<u8>, u64) {
        let pieces = data.chunks(piece).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
        let source = stream_of(pieces, Some(data.len() as u64));
        let mut chunked = Chunked::new(source, is_signed.then(signer));
        let length = chunked.encoded_length().expect("it is known");
        let mut framed = Vec::new();
        while let Some(piece) = poll_fn(|cx| chunked.poll_piece(cx)).await {
            framed.extend_from_slice(&piece.expect("the source does not fail"));
        }
        (framed, length)
    }

    #[tokio::test]
    async fn the_length_is_told_beforehand_and_the_data_comes_back() {
        for length in
            [0, 1, 15, 16, 4_096, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 200_001]
        {
            let data: Vec<u8> = (0..length).map(|index| (index * 31 % 251) as u8).collect();
            for piece in [1_000, CHUNK_BYTES, 1_000_000] {
                for is_signed in [false, true] {
                    let (framed, told) = frame(&data, piece, is_signed).await;
                    assert_eq!(
                        framed.len() as u64,
                        told,
                        "{length} bytes in pieces of {piece}, signed: {is_signed}"
                    );
                    let (back, trailer) = data_of(&framed).expect("it is well formed");
                    assert!(back == data, "{length} bytes in pieces of {piece}");
                    let sum = format!("x-amz-checksum-crc64nvme:{}\r\n", crc64nvme_of(&data));
                    assert!(trailer.starts_with(&sum), "{trailer}");
                    assert_eq!(trailer.contains("x-amz-trailer-signature:"), is_signed);
                }
            }
        }
    }

    #[tokio::test]
    async fn pieces_do_not_change_the_framing() {
        let data = vec![9; CHUNK_BYTES * 2 + 77];
        let (one, _) = frame(&data, 7_001, true).await;
        let (other, _) = frame(&data, data.len(), true).await;
        assert!(one == other);
    }
}
