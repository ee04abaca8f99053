//! Tokens of PartiQL statements.
//! Invariant: tokens lie inside the text, in order, on character boundaries; the last one is `End`. Quoted texts are
//! unquoted here, so that a parser never looks at the statement again.

use std::borrow::Cow;

use super::PartiqlError;

/// What a token is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Token<'t> {
    /// A bare word: a keyword, a function or a name.
    Word(&'t str),
    /// A name in double quotes, unquoted.
    Quoted(Cow<'t, str>),
    /// A string in single quotes, unquoted.
    Text(Cow<'t, str>),
    /// Digits, perhaps with a fraction and an exponent; never a sign.
    Number(&'t str),
    /// `?`.
    Parameter,
    /// Anything else that has a meaning, as written.
    Sign(&'static str),
    /// The end of the statement.
    End,
}

/// A token and where it begins, in bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Placed<'t> {
    pub token: Token<'t>,
    pub start: usize,
}

/// The signs, longer ones before those that they begin with.
const SIGNS: [&str; 22] = [
    "<<", ">>", "<>", "<=", ">=", "!=", "(", ")", "[", "]", "{", "}", ",", ".", "*", "=", "<", ">", "+", "-",
    ":", ";",
];

/// Cuts a statement into tokens.
pub(crate) fn tokens(text: &str) -> Result<Vec<Placed<'_>>, PartiqlError> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::with_capacity(bytes.len() / 4 + 2);
    let mut at = 0;
    while at < bytes.len() {
        if let Some(length) = blank_bytes(&text[at..])? {
            at += length;
            continue;
        }
        let (token, length) = token(&text[at..])?;
        tokens.push(Placed { token, start: at });
        at += length;
    }
    tokens.push(Placed { token: Token::End, start: at });
    Ok(tokens)
}

/// The length of white space or of a comment at the start.
fn blank_bytes(rest: &str) -> Result<Option<usize>, PartiqlError> {
    let bytes = rest.as_bytes();
    if rest.starts_with("--") {
        return Ok(Some(memchr::memchr(b'\n', bytes).unwrap_or(bytes.len())));
    }
    if let Some(comment) = rest.strip_prefix("/*") {
        let end = comment.find("*/").ok_or_else(|| PartiqlError::syntax(""))?;
        return Ok(Some(end + 4));
    }
    let length = bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count();
    Ok((length > 0).then_some(length))
}

/// The token at the start, and its length.
fn token(rest: &str) -> Result<(Token<'_>, usize), PartiqlError> {
    let bytes = rest.as_bytes();
    match bytes[0] {
        b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'$' => {
            let is_word = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
            let length = bytes.iter().take_while(is_word).count();
            Ok((Token::Word(&rest[..length]), length))
        }
        b'0'..=b'9' => {
            let length = number_bytes(bytes);
            Ok((Token::Number(&rest[..length]), length))
        }
        b'.' if bytes.get(1).is_some_and(u8::is_ascii_digit) => {
            let length = number_bytes(bytes);
            Ok((Token::Number(&rest[..length]), length))
        }
        quote @ (b'"' | b'\'') => {
            let (text, length) = quoted(rest, quote)?;
            Ok((if quote == b'"' { Token::Quoted(text) } else { Token::Text(text) }, length))
        }
        b'?' => Ok((Token::Parameter, 1)),
        _ => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            Some(sign) => Ok((Token::Sign(sign), sign.len())),
            None => Err(PartiqlError::syntax("")),
        },
    }
}

/// The length of a number: digits, a fraction, an exponent. An `e` without digits is left to be a word.
fn number_bytes(bytes: &[u8]) -> usize {
    let digits = |at: usize| bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = digits(0);
    if bytes.get(at) == Some(&b'.') {
        at += 1 + digits(at + 1);
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits((at + 1 + sign).min(bytes.len()));
        if exponent > 0 {
            at += 1 + sign + exponent;
        }
    }
    at
}

/// What stands between quotes, of which a doubled one is one, and the length with them.
fn quoted(rest: &str, quote: u8) -> Result<(Cow<'_, str>, usize), PartiqlError> {
    let bytes = rest.as_bytes();
    let mut text = Cow::Borrowed("");
    let mut start = 1;
    loop {
        let length = memchr::memchr(quote, &bytes[start..]).ok_or_else(|| PartiqlError::syntax(""))?;
        let end = start + length;
        let part = &rest[start..end];
        let doubled = bytes.get(end + 1) == Some(&quote);
        if text.is_empty() && !doubled {
            return Ok((Cow::Borrowed(part), end + 1));
        }
        text.to_mut().push_str(part);
        if !doubled {
            return Ok((text, end + 1));
        }
        text.to_mut().push(char::from(quote));
        start = end + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<Token<'_>> {
        tokens(text).unwrap().into_iter().map(|placed| placed.token).collect()
    }

    #[test]
    fn doubled_quotes_are_one() {
        let quoted = |text: &str| Token::Quoted(Cow::Owned(text.to_owned()));
        let single = |text: &str| Token::Text(Cow::Owned(text.to_owned()));
        assert_eq!(
            cut(r#""a""b" 'it''s' '' '''' "é""#),
            [quoted("a\"b"), single("it's"), single(""), single("'"), quoted("é"), Token::End]
        );
    }

    #[test]
    fn comments_are_blank() {
        assert_eq!(cut("a -- b\n/* c\n*/ d--"), [Token::Word("a"), Token::Word("d"), Token::End]);
        assert!(tokens("a /* b").is_err());
    }

    #[test]
    fn numbers_have_fractions_and_exponents() {
        let number = Token::Number;
        assert_eq!(
            cut("1 1.5 .5 5. 1e5 1E-5 2.5e+10"),
            [
                number("1"),
                number("1.5"),
                number(".5"),
                number("5."),
                number("1e5"),
                number("1E-5"),
                number("2.5e+10"),
                Token::End
            ]
        );
        assert_eq!(cut("1e"), [number("1"), Token::Word("e"), Token::End]);
        assert_eq!(
            cut("a[1].b"),
            [
                Token::Word("a"),
                Token::Sign("["),
                number("1"),
                Token::Sign("]"),
                Token::Sign("."),
                Token::Word("b"),
                Token::End
            ]
        );
    }

    #[test]
    fn what_is_open_or_unknown_is_refused() {
        for text in ["'a", "\"a", "'a''", "a # b", "é", "`x`"] {
            assert!(tokens(text).is_err(), "{text}");
        }
    }
}
