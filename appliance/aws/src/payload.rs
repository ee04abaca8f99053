//! What `x-amz-content-sha256` promises about a body, and the check of the plain promise.
//!
//! Invariant: an unknown value is refused, never read as "unsigned". The chunked promises are checked by
//! [`crate::chunked`].

use http_types::HeaderMap;
use sha2::{Digest, Sha256};

use crate::encoding::unhex;
use crate::error::ErrorReply;

/// How a body is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadMode {
    /// Not at all: `UNSIGNED-PAYLOAD`, presigned URLs, SigV2, anonymous requests.
    Unsigned,
    /// By the SHA-256 of the whole.
    Sha256([u8; 32]),
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`: signed chunks.
    StreamingSigned,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`: signed chunks and a signed trailer.
    StreamingSignedTrailer,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`: chunks without signatures and a trailer.
    StreamingUnsignedTrailer,
}

impl PayloadMode {
    /// Reads the value of the header. Anything unknown is `InvalidArgument`; the streaming forms of SigV4A
    /// are `NotImplemented`.
    pub fn parse(value: &[u8]) -> Result<PayloadMode, ErrorReply> {
        match value {
            b"UNSIGNED-PAYLOAD" => Ok(PayloadMode::Unsigned),
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Ok(PayloadMode::StreamingSigned),
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Ok(PayloadMode::StreamingSignedTrailer),
            b"STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Ok(PayloadMode::StreamingUnsignedTrailer),
            _ if value.starts_with(b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD") => Err(ErrorReply::new(
                "NotImplemented",
                501,
                "A header you provided implies functionality that is not implemented",
            )
            .with("Header", HEADER)),
            _ => match unhex(value) {
                Some(digest) => Ok(PayloadMode::Sha256(digest)),
                None => Err(ErrorReply::invalid_argument(
                    "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
                     STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid \
                     sha256 value.",
                    HEADER,
                    String::from_utf8_lossy(value),
                )),
            },
        }
    }

    /// What the headers of a request say whose signature does not cover its body: anonymous or Signature
    /// Version 2. Amazon's SDKs frame such bodies as `aws-chunked` without `x-amz-content-sha256`, so the
    /// Content-Encoding counts as well. Signed chunks are refused, since there is no signature for them to
    /// follow.
    pub fn announced(headers: &HeaderMap) -> Result<PayloadMode, ErrorReply> {
        let Some(value) = headers.get(HEADER) else {
            let codings = headers.get_all("content-encoding");
            let is_chunked = codings.iter().any(|value| {
                let mut tokens = value.as_bytes().split(|byte| *byte == b',');
                tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"aws-chunked"))
            });
            return Ok(if is_chunked {
                PayloadMode::StreamingUnsignedTrailer
            } else {
                PayloadMode::Unsigned
            });
        };
        match PayloadMode::parse(value.as_bytes().trim_ascii())? {
            PayloadMode::StreamingSigned | PayloadMode::StreamingSignedTrailer => {
                Err(ErrorReply::invalid_argument(
                    "Signed chunks need a request with a signature of version 4",
                    HEADER,
                    String::from_utf8_lossy(value.as_bytes()),
                ))
            }
            mode @ (PayloadMode::Unsigned
            | PayloadMode::Sha256(_)
            | PayloadMode::StreamingUnsignedTrailer) => Ok(mode),
        }
    }

    /// Whether the body has the `aws-chunked` framing.
    pub fn is_chunked(self) -> bool {
        match self {
            PayloadMode::Unsigned | PayloadMode::Sha256(_) => false,
            PayloadMode::StreamingSigned
            | PayloadMode::StreamingSignedTrailer
            | PayloadMode::StreamingUnsignedTrailer => true,
        }
    }
}

/// Compares a body with the SHA-256 that its headers promised, as the body passes by.
pub struct PayloadCheck {
    expected: [u8; 32],
    hash: Sha256,
}

impl PayloadCheck {
    /// Starts the check of `mode`; `None` if it promises no digest of the whole body.
    pub fn new(mode: PayloadMode) -> Option<PayloadCheck> {
        match mode {
            PayloadMode::Sha256(expected) => Some(PayloadCheck { expected, hash: Sha256::new() }),
            PayloadMode::Unsigned
            | PayloadMode::StreamingSigned
            | PayloadMode::StreamingSignedTrailer
            | PayloadMode::StreamingUnsignedTrailer => None,
        }
    }

    /// Takes the next piece.
    pub fn update(&mut self, data: &[u8]) {
        self.hash.update(data);
    }

    /// `XAmzContentSHA256Mismatch` if the whole was not what was promised.
    pub fn finish(self) -> Result<(), ErrorReply> {
        let computed: [u8; 32] = self.hash.finalize().into();
        if computed == self.expected {
            return Ok(());
        }
        Err(ErrorReply::new(
            "XAmzContentSHA256Mismatch",
            400,
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        )
        .with("ClientComputedContentSHA256", crate::encoding::hex(&self.expected))
        .with("S3ComputedContentSHA256", crate::encoding::hex(&computed)))
    }
}

/// The header that this file is about.
pub const HEADER: &str = "x-amz-content-sha256";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::hex;

    #[test]
    fn only_known_promises_are_accepted() {
        let digest = hex(&Sha256::digest(b"body"));
        assert!(matches!(PayloadMode::parse(digest.as_bytes()), Ok(PayloadMode::Sha256(_))));
        assert_eq!(PayloadMode::parse(b"UNSIGNED-PAYLOAD"), Ok(PayloadMode::Unsigned));
        for value in
            ["", "unsigned-payload", "STREAMING", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-", &digest[1..]]
        {
            assert_eq!(PayloadMode::parse(value.as_bytes()).unwrap_err().code, "InvalidArgument", "{value}");
        }
        let sigv4a = b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER";
        assert_eq!(PayloadMode::parse(sigv4a).unwrap_err().status, 501);
    }

    #[test]
    fn an_unsigned_request_may_frame_its_body_but_not_sign_its_chunks() {
        let announced = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            PayloadMode::announced(&headers).map_err(|error| error.code)
        };
        assert_eq!(announced("etag", "x"), Ok(PayloadMode::Unsigned));
        assert_eq!(
            announced("content-encoding", "gzip, AWS-Chunked"),
            Ok(PayloadMode::StreamingUnsignedTrailer)
        );
        assert_eq!(announced("content-encoding", "gzip"), Ok(PayloadMode::Unsigned));
        assert_eq!(announced(HEADER, " UNSIGNED-PAYLOAD"), Ok(PayloadMode::Unsigned));
        assert_eq!(
            announced(HEADER, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
            Ok(PayloadMode::StreamingUnsignedTrailer)
        );
        assert_eq!(announced(HEADER, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), Err("InvalidArgument"));
        assert_eq!(announced(HEADER, "x"), Err("InvalidArgument"));
    }

    #[test]
    fn a_body_that_differs_from_its_promise_is_refused() {
        let mode = PayloadMode::Sha256(Sha256::digest(b"body").into());
        let run = |pieces: &[&[u8]]| {
            let mut check = PayloadCheck::new(mode).unwrap();
            pieces.iter().for_each(|piece| check.update(piece));
            check.finish().map_err(|error| error.code)
        };
        assert_eq!(run(&[b"bo", b"", b"dy"]), Ok(()));
        assert_eq!(run(&[b"body!"]), Err("XAmzContentSHA256Mismatch"));
        assert!(PayloadCheck::new(PayloadMode::Unsigned).is_none());
    }
}
