//! Paths into items: names of attributes, with dots into maps and brackets into lists, such as `a.b[0].c`.
//! Invariant: every step is either a name, which is sent beside the expression, or digits.

/// A path that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Path<'a>(Vec<Step<'a>>);

/// One step of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step<'a> {
    /// Into a map.
    Name(&'a str),
    /// Into a list.
    Index(u32),
}

impl<'a> Path<'a> {
    /// Reads a path; None for a text that is none.
    pub fn parse(text: &'a str) -> Option<Path<'a>> {
        let mut steps = Vec::new();
        for part in text.split('.') {
            let (name, mut indexes) = part.split_at(part.find('[').unwrap_or(part.len()));
            if name.is_empty() {
                return None;
            }
            steps.push(Step::Name(name));
            while let Some(rest) = indexes.strip_prefix('[') {
                let (index, after) = rest.split_once(']')?;
                // `parse` would take a sign.
                if !index.bytes().all(|byte| byte.is_ascii_digit()) {
                    return None;
                }
                steps.push(Step::Index(index.parse().ok()?));
                indexes = after;
            }
            if !indexes.is_empty() {
                return None;
            }
        }
        Some(Path(steps))
    }

    /// From the item inwards.
    pub fn steps(&self) -> &[Step<'a>] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_and_brackets_lead_inwards() {
        let path = Path::parse("a.b c[0][12].é").unwrap();
        let steps = [Step::Name("a"), Step::Name("b c"), Step::Index(0), Step::Index(12), Step::Name("é")];
        assert_eq!(path.steps(), steps);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "[0]",
            "a[",
            "a[]",
            "a[x]",
            "a[-1]",
            "a[+1]",
            "a[0]b",
            "a[4294967296]",
            "a.[0]",
        ] {
            let path = Path::parse(text);
            // Empty brackets have no digits to parse.
            assert!(path.is_none(), "{text:?}: {path:?}");
        }
    }
}
