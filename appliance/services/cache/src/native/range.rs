//! The Range header (RFC 9110 14.2), and the conditions that a read carries.
//! Invariant: a span lies within the object. What is not one byte range is ignored, which is always allowed: the whole body
//! answers it.

/// A stretch of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// First byte.
    pub start: u64,
    /// Number of bytes, at least one.
    pub length: u64,
}

/// What a Range header asks of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// All of it: there is no range, several, or none that can be read.
    Whole,
    /// This stretch.
    Part(Span),
    /// What lies behind its end: 416.
    Outside,
}

/// Reads `bytes=...` for an object of `size` bytes.
#[must_use]
pub fn wanted(text: &str, size: u64) -> Wanted {
    let Some((first, last)) = ends(text) else { return Wanted::Whole };
    let span = match (first, last) {
        (Some(first), last) if first < size => {
            let last = last.map_or(size - 1, |last| last.min(size - 1));
            Some(Span { start: first, length: last - first + 1 })
        }
        (None, Some(count)) if count > 0 && size > 0 => {
            let length = count.min(size);
            Some(Span { start: size - length, length })
        }
        _ => None,
    };
    span.map_or(Wanted::Outside, Wanted::Part)
}

/// The two ends of a single byte range, of which one at least is there and which are in order.
fn ends(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, range) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    match (first.is_empty(), last.is_empty()) {
        (true, true) => None,
        (true, false) => Some((None, Some(number(last)?))),
        (false, true) => Some((Some(number(first)?), None)),
        (false, false) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some((Some(first), Some(last)))
        }
    }
}

/// Digits only; what is larger than any object counts as the largest number.
fn number(text: &str) -> Option<u64> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

/// Whether an If-None-Match header names this tag, quotes included (RFC 9110 13.1.2: weak comparison).
#[must_use]
pub fn names(header: &str, tag: &str) -> bool {
    header.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str, size: u64) -> Option<(u64, u64)> {
        match wanted(text, size) {
            Wanted::Part(span) => Some((span.start, span.length)),
            Wanted::Whole | Wanted::Outside => None,
        }
    }

    #[test]
    fn a_range_is_cut_to_the_object() {
        assert_eq!(part("bytes=0-4", 10), Some((0, 5)));
        assert_eq!(part("bytes=5-", 10), Some((5, 5)));
        assert_eq!(part("bytes=5-99999999999999999999999", 10), Some((5, 5)));
        assert_eq!(part("bytes=-3", 10), Some((7, 3)));
        assert_eq!(part("bytes=-30", 10), Some((0, 10)));
        assert_eq!(part(" Bytes = 1 - 2 ", 10), Some((1, 2)));
    }

    #[test]
    fn a_range_behind_the_end_is_outside() {
        for (text, size) in [("bytes=10-", 10), ("bytes=0-0", 0), ("bytes=-1", 0), ("bytes=-0", 10)] {
            assert_eq!(wanted(text, size), Wanted::Outside, "{text}");
        }
    }

    #[test]
    fn several_ranges_and_what_is_none_mean_the_whole() {
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
            "bytes=1",
            "bytes=--1",
        ] {
            assert_eq!(wanted(text, 10), Wanted::Whole, "{text}");
        }
    }

    #[test]
    fn a_tag_is_found_in_a_list_weak_or_strong() {
        for header in ["*", "\"a\"", "\"b\", \"a\"", "W/\"a\"", " \"a\" ,\"b\""] {
            assert!(names(header, "\"a\""), "{header}");
        }
        for header in ["", "a", "\"b\"", "\"ab\"", "W/a"] {
            assert!(!names(header, "\"a\""), "{header}");
        }
    }
}
