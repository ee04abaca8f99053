//! `zerocloud cache block`, `unblock` and `blocked`: digests that nobody gets from the build cache and nobody brings to it.
//! Leaves to client.rs: the way to the node. To the cache: taking away and refusing what is blocked.

use clap::Args;
use http_types::Method;
use serde_json::{Value, json};

use crate::client::{Node, NodeArgs, print};
use crate::exit::Failure;

const PATH: &str = "/api/v1/blocked";

/// `cache block`.
#[derive(Args, Debug)]
pub struct BlockArgs {
    /// The SHA-256 of the object, in hexadecimal digits
    #[arg(value_name = "HASH")]
    hash: String,
    /// Why, for whoever looks at the list
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    node: NodeArgs,
}

/// `cache unblock`.
#[derive(Args, Debug)]
pub struct UnblockArgs {
    /// The SHA-256 of the object, in hexadecimal digits
    #[arg(value_name = "HASH")]
    hash: String,
    #[command(flatten)]
    node: NodeArgs,
}

/// `cache blocked`.
#[derive(Args, Debug)]
pub struct BlockedArgs {
    #[command(flatten)]
    node: NodeArgs,
}

/// Blocks a digest.
pub fn block(args: &BlockArgs) -> Result<(), Failure> {
    let wish = json!({ "hash": args.hash, "reason": args.reason });
    let made = Node::find(&args.node)?.ask_well(Method::POST, PATH, &[], Some(&wish))?;
    print(&if args.node.json { format!("{made}\n") } else { format!("{} is blocked\n", word(&made, "hash")) })
}

/// Takes a block away.
pub fn unblock(args: &UnblockArgs) -> Result<(), Failure> {
    let wish = json!({ "hash": args.hash });
    Node::find(&args.node)?.ask_well(Method::DELETE, PATH, &[], Some(&wish))?;
    print(&if args.node.json { format!("{wish}\n") } else { format!("{} is blocked no longer\n", args.hash) })
}

/// Shows what is blocked: one line each.
pub fn blocked(args: &BlockedArgs) -> Result<(), Failure> {
    let found = Node::find(&args.node)?.ask_well(Method::GET, PATH, &[], None)?;
    print(&if args.node.json { format!("{found}\n") } else { lines(&found) })
}

fn lines(found: &Value) -> String {
    let list = found["blocked"].as_array().map(Vec::as_slice).unwrap_or_default();
    let line = |one: &Value| {
        let words = ["hash", "since", "by", "reason"].map(|name| word(one, name));
        format!("{}\n", words.join("  ").trim_end())
    };
    list.iter().map(line).collect()
}

/// A text of the node's answer, with nothing in it that moves a terminal's cursor.
fn word(document: &Value, name: &str) -> String {
    let text = document[name].as_str().unwrap_or("-");
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_blocked_is_one_line_each_whatever_its_reason_says() {
        let one = |reason: &str| json!({ "hash": "ab", "since": "2030-01-31T12:00:00Z", "by": "root", "reason": reason });
        let found = json!({ "blocked": [one("poisoned\n\u{1b}[2J"), one("")] });
        let text = "ab  2030-01-31T12:00:00Z  root  poisoned??[2J\nab  2030-01-31T12:00:00Z  root\n";
        assert_eq!(lines(&found), text);
        assert_eq!(lines(&json!({ "blocked": [] })), "");
    }
}
