//! `zerocloud licenses`: the licences of the libraries in this binary.
//! Invariant: the text is that of the crates that this source builds; a test compares it with the dependency graph.

use std::io::Write;

use serde_json::{Value, json};

use crate::cli::LicensesArgs;
use crate::exit::Failure;

/// Made by `UPDATE_LICENSES=1 cargo test -p zerocloud --test licenses`.
const NOTICES: &str = include_str!("../licenses/NOTICES.txt");

/// Prints them.
pub fn run(args: &LicensesArgs) -> Result<(), Failure> {
    let text = if args.json { format!("{}\n", to_json(NOTICES)) } else { NOTICES.to_string() };
    match std::io::stdout().write_all(text.as_bytes()) {
        // `zerocloud licenses | head` is no failure.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::storage(format!("stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// The list at the head of the text: `name version licence`, up to the first empty line after it.
fn to_json(notices: &str) -> Value {
    let list: Vec<Value> = notices
        .lines()
        .skip_while(|line| !line.is_empty())
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let mut parts = line.splitn(3, ' ');
            Some(json!({ "name": parts.next()?, "version": parts.next()?, "license": parts.next()? }))
        })
        .collect();
    Value::Array(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_names_what_is_linked() {
        let list = to_json(NOTICES);
        let list = list.as_array().expect("a list");
        assert!(list.len() > 20);
        assert!(list.iter().any(|one| one["name"] == "rustls"));
    }
}
