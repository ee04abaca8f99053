//! Tokens of expressions: what a text is cut into before anything is understood.
//! Invariant: tokens lie inside the text, in order, without overlap, each on character boundaries; the last one is `End`.
//! Leaves to the parsers: which identifiers are keywords, and where a run of digits may stand.

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TokenKind {
    /// A letter, then letters, digits and underscores.
    Identifier,
    /// `#` with its name.
    Name,
    /// `:` with its name.
    Value,
    /// A run of digits.
    Digits,
    OpenParenthesis,
    CloseParenthesis,
    OpenBracket,
    CloseBracket,
    Comma,
    Dot,
    Plus,
    Minus,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// One character that begins no token; no grammar takes it.
    Unknown,
    /// The end of the text.
    End,
}

/// A token and where it lies, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    pub kind: TokenKind,
    pub start: u32,
    pub end: u32,
}

/// Cuts a text into tokens.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::with_capacity(bytes.len() / 4 + 2);
    let mut at = 0;
    while at < bytes.len() {
        if is_blank(bytes[at]) {
            at += 1;
            continue;
        }
        let (kind, length) = token(text, at);
        tokens.push(Token { kind, start: at as u32, end: (at + length) as u32 });
        at += length;
    }
    tokens.push(Token { kind: TokenKind::End, start: at as u32, end: at as u32 });
    tokens
}

/// The token that begins at a byte that is no blank, and its length.
fn token(text: &str, at: usize) -> (TokenKind, usize) {
    let rest = &text.as_bytes()[at..];
    let next = rest.get(1).copied();
    match rest[0] {
        b'A'..=b'Z' | b'a'..=b'z' => (TokenKind::Identifier, word_bytes(rest)),
        b'0'..=b'9' => (TokenKind::Digits, rest.iter().take_while(|byte| byte.is_ascii_digit()).count()),
        b'#' | b':' if word_bytes(&rest[1..]) > 0 => {
            let kind = if rest[0] == b'#' { TokenKind::Name } else { TokenKind::Value };
            (kind, 1 + word_bytes(&rest[1..]))
        }
        b'(' => (TokenKind::OpenParenthesis, 1),
        b')' => (TokenKind::CloseParenthesis, 1),
        b'[' => (TokenKind::OpenBracket, 1),
        b']' => (TokenKind::CloseBracket, 1),
        b',' => (TokenKind::Comma, 1),
        b'.' => (TokenKind::Dot, 1),
        b'+' => (TokenKind::Plus, 1),
        b'-' => (TokenKind::Minus, 1),
        b'=' => (TokenKind::Equal, 1),
        b'<' if next == Some(b'>') => (TokenKind::NotEqual, 2),
        b'<' if next == Some(b'=') => (TokenKind::LessOrEqual, 2),
        b'<' => (TokenKind::Less, 1),
        b'>' if next == Some(b'=') => (TokenKind::GreaterOrEqual, 2),
        b'>' => (TokenKind::Greater, 1),
        _ => (TokenKind::Unknown, text[at..].chars().next().map_or(1, char::len_utf8)),
    }
}

/// Whether a byte separates tokens and is nothing else.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// How many bytes at the start are letters, digits or underscores.
pub(crate) fn word_bytes(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(TokenKind, &str)> {
        tokens(text)
            .into_iter()
            .map(|token| (token.kind, &text[token.start as usize..token.end as usize]))
            .collect()
    }

    #[test]
    fn references_may_begin_with_a_digit_and_identifiers_may_not() {
        use TokenKind::*;
        let expected = vec![
            (Name, "#1a"),
            (Value, ":0"),
            (Digits, "1"),
            (Identifier, "a_2"),
            (Unknown, "_"),
            (Digits, "123"),
            (End, ""),
        ];
        assert_eq!(cut("#1a :0 1a_2 _123"), expected);
    }

    #[test]
    fn the_longest_comparator_wins() {
        use TokenKind::*;
        let kinds: Vec<_> = cut("<><=<>=>=").into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [NotEqual, LessOrEqual, NotEqual, Equal, GreaterOrEqual, End]);
    }

    #[test]
    fn a_lone_sign_and_a_foreign_character_are_tokens_of_one_character() {
        use TokenKind::*;
        assert_eq!(cut("# :é"), [(Unknown, "#"), (Unknown, ":"), (Unknown, "é"), (End, "")]);
    }
}
