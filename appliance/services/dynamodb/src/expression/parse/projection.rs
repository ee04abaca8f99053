//! The grammar of projections: paths with commas between them.

use super::Parser;
use crate::expression::lexer::TokenKind;
use crate::expression::program::Terms;
use crate::expression::{ExpressionError, Kind};

/// Parses a projection: its paths are the terms' paths, in the order of the text.
pub(crate) fn parse(text: &str) -> Result<Terms, ExpressionError> {
    let mut parser = Parser::new(Kind::Projection, text)?;
    loop {
        let steps = parser.path(|_| false)?;
        parser.program.terms.add_path(steps);
        if !parser.took(TokenKind::Comma) {
            parser.expect(TokenKind::End)?;
            return Ok(parser.finish()?.terms);
        }
    }
}
