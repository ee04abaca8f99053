//! Texts of expressions: taken or refused, in every grammar.

use crate::expression::lexer::{TokenKind, tokens};
use crate::expression::parse::{condition, projection, update};
use crate::expression::{Kind, TEXT_BYTES_MAX, print};

/// Any text: its tokens lie in it, and what it says is said again by what is printed of it.
pub fn texts(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let mut end = 0;
    let cut = tokens(text);
    for token in &cut {
        assert!(token.start >= end && token.end as usize <= text.len());
        assert!(text.get(token.start as usize..token.end as usize).is_some(), "between characters");
        assert_eq!(token.start == token.end, token.kind == TokenKind::End);
        end = token.end;
    }
    for kind in [Kind::Condition, Kind::Filter, Kind::KeyCondition] {
        match condition::parse(kind, text) {
            Ok(program) => {
                let printed = print::condition(&program);
                if printed.len() <= TEXT_BYTES_MAX {
                    assert_eq!(condition::parse(kind, &printed), Ok(program), "{printed}");
                }
            }
            Err(error) => assert_words(kind, text, error.message()),
        }
    }
    match update::parse(text) {
        Ok(program) => {
            let printed = print::update(&program);
            if printed.len() <= TEXT_BYTES_MAX {
                assert_eq!(update::parse(&printed), Ok(program), "{printed}");
            }
        }
        Err(error) => assert_words(Kind::Update, text, error.message()),
    }
    match projection::parse(text) {
        Ok(terms) => {
            let printed = print::projection(&terms);
            if printed.len() <= TEXT_BYTES_MAX {
                assert_eq!(projection::parse(&printed), Ok(terms), "{printed}");
            }
        }
        Err(error) => assert_words(Kind::Projection, text, error.message()),
    }
}

/// An error names its parameter, and what it shows of the text is there.
fn assert_words(kind: Kind, text: &str, message: &str) {
    let rest = message.strip_prefix("Invalid ").and_then(|rest| rest.strip_prefix(kind.parameter()));
    assert!(rest.is_some_and(|rest| rest.starts_with(": ")), "{message}");
    if let Some((_, near)) = message.split_once("near: \"") {
        assert!(text.contains(near.strip_suffix('"').expect("a closing quote")), "{message}");
    }
}
