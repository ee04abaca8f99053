//! Content codings of uploads: what arrives in gzip or zstd is kept as what it decodes to.
//! Invariant: a decoder gives out at most `STEP_BYTES`, one block and at the end of a frame its window in a call, and holds one
//! call's input, one block and one window at most, however little the client sends for however much.
//! Leaves to the node: that others run between two steps. To `cas`: the bound on what is kept, and the digest of it.

mod gzip;
mod zstd;

use plan::{BodyFailure, BodyFilter};

use crate::refusal::Refusal;

pub use gzip::Gunzip;
pub use zstd::Unzstd;

/// After so many bytes of output a decoder waits to be called again.
const STEP_BYTES: usize = 1 << 20;

/// How a body is coded on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coding {
    /// As it is.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// Reads a Content-Encoding header. Errors: `UnknownCoding`, also for several codings one above the other.
    pub fn parse(header: Option<&[u8]>) -> Result<Coding, Refusal> {
        let Some(text) = header else { return Ok(Coding::Identity) };
        let text = text.trim_ascii();
        // RFC 9110 8.4.1: names are of either case, and x-gzip is gzip.
        let is = |name: &str| text.eq_ignore_ascii_case(name.as_bytes());
        match () {
            () if text.is_empty() || is("identity") => Ok(Coding::Identity),
            () if is("gzip") || is("x-gzip") => Ok(Coding::Gzip),
            () if is("zstd") => Ok(Coding::Zstd),
            () => Err(Refusal::UnknownCoding),
        }
    }

    /// What decodes it; none where nothing is to be done.
    #[must_use]
    pub fn filter(self) -> Option<Box<dyn BodyFilter>> {
        match self {
            Coding::Identity => None,
            Coding::Gzip => Some(Box::new(Gunzip::default())),
            Coding::Zstd => Some(Box::new(Unzstd::default())),
        }
    }
}

/// The body is not what its coding says.
fn malformed(what: &str) -> BodyFailure {
    BodyFailure::BadForm(format!("The body is not {what}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a filter makes of an input that comes in pieces of `piece_bytes`.
    pub fn decoded(
        filter: &mut dyn BodyFilter,
        input: &[u8],
        piece_bytes: usize,
    ) -> Result<Vec<u8>, BodyFailure> {
        let mut out = Vec::new();
        for piece in input.chunks(piece_bytes.max(1)) {
            let mut piece = piece;
            loop {
                let before = out.len();
                filter.feed(piece, &mut |data| out.extend_from_slice(data))?;
                assert!(out.len() - before <= STEP_BYTES + (256 << 10), "one call gives out too much");
                if !filter.holds_more() {
                    break;
                }
                piece = &[];
            }
        }
        filter.finish()?;
        Ok(out)
    }

    #[test]
    fn codings_are_read_by_their_names() {
        let read = |text: &str| Coding::parse(Some(text.as_bytes())).ok();
        assert_eq!(Coding::parse(None).ok(), Some(Coding::Identity));
        assert_eq!(read(""), Some(Coding::Identity));
        assert_eq!(read("Identity"), Some(Coding::Identity));
        assert_eq!(read(" gzip "), Some(Coding::Gzip));
        assert_eq!(read("X-GZIP"), Some(Coding::Gzip));
        assert_eq!(read("zstd"), Some(Coding::Zstd));
        for text in ["br", "deflate", "gzip, zstd", "gzip,gzip", "aws-chunked"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
