//! The Range header (RFC 9110 14.2) and x-amz-copy-source-range.
//! Invariant: a resolved span lies within the object.

/// A range as the client wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ByteRange {
    /// `a-b` or `a-`: from the first byte to the last one, both included.
    From(u64, Option<u64>),
    /// `-n`: the last n bytes.
    Last(u64),
}

/// A stretch of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// First byte.
    pub start: u64,
    /// Number of bytes.
    pub length: u64,
}

/// Reads `bytes=...`. `None` where the syntax is bad or there are several ranges: such a header is ignored.
#[must_use]
pub fn parse(text: &str) -> Option<ByteRange> {
    let (unit, range) = text.trim().split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        return number(last).map(ByteRange::Last);
    }
    let first = number(first)?;
    if last.is_empty() {
        return Some(ByteRange::From(first, None));
    }
    let last = number(last)?;
    (first <= last).then_some(ByteRange::From(first, Some(last)))
}

/// Digits only; what is larger than any object counts as the largest number.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

impl ByteRange {
    /// The stretch of an object of this size. `None`: not satisfiable, 416.
    #[must_use]
    pub fn resolve(self, size: u64) -> Option<Span> {
        match self {
            ByteRange::From(first, last) if first < size => {
                let last = last.map_or(size - 1, |last| last.min(size - 1));
                Some(Span { start: first, length: last - first + 1 })
            }
            ByteRange::Last(count) if count > 0 && size > 0 => {
                let length = count.min(size);
                Some(Span { start: size - length, length })
            }
            ByteRange::From(..) | ByteRange::Last(_) => None,
        }
    }
}

/// `bytes=a-b`, the only form that UploadPartCopy takes. First and last byte.
#[must_use]
pub fn parse_copy(text: &str) -> Option<(u64, u64)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str, size: u64) -> Option<Option<(u64, u64)>> {
        parse(text).map(|range| range.resolve(size).map(|span| (span.start, span.length)))
    }

    #[test]
    fn ranges_are_clipped_to_the_object() {
        assert_eq!(resolve("bytes=0-4", 10), Some(Some((0, 5))));
        assert_eq!(resolve("bytes=5-", 10), Some(Some((5, 5))));
        assert_eq!(resolve("bytes=5-99999999999999999999999", 10), Some(Some((5, 5))));
        assert_eq!(resolve("bytes=-3", 10), Some(Some((7, 3))));
        assert_eq!(resolve("bytes=-30", 10), Some(Some((0, 10))));
        assert_eq!(resolve(" Bytes = 1 - 2 ", 10), Some(Some((1, 2))));
    }

    #[test]
    fn a_start_behind_the_end_cannot_be_satisfied() {
        for (text, size) in [("bytes=10-", 10), ("bytes=0-0", 0), ("bytes=-1", 0), ("bytes=-0", 10)] {
            assert_eq!(resolve(text, size), Some(None), "{text}");
        }
    }

    #[test]
    fn bad_syntax_and_several_ranges_are_ignored() {
        for text in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-4",
            "bytes=0-1,3-4",
            "items=0-1",
            "bytes=+1-2",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn copies_take_both_ends_only() {
        assert_eq!(parse_copy("bytes=0-9"), Some((0, 9)));
        for text in ["bytes=0-", "bytes=-5", "0-9", "bytes=9-0", "bytes=0-9,11-12", "bytes= 0-9"] {
            assert_eq!(parse_copy(text), None, "{text}");
        }
    }
}
