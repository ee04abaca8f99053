//! `zerocloud token`: tokens of a running node are made, listed, rotated and revoked.
//! Invariant: stdout of `create` and `rotate` is the token and nothing else, so that a script can take it; what is said
//! about it goes to stderr.
//! Leaves to client.rs: the way to the node. To admin_tokens.rs: what happens there.

use clap::{Args, Subcommand};
use http_types::Method;
use serde_json::{Value, json};

use crate::client::{Node, NodeArgs, print};
use crate::config::cache::parse_namespace;
use crate::core::aws_now;
use crate::exit::Failure;

/// `token`.
#[derive(Args, Debug)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Subcommand, Debug)]
enum TokenCommand {
    /// Make a token and print it; it is shown this once
    #[command(after_help = "Examples:\n  \
        zerocloud token create --scope cache:read --name laptops\n  \
        ZIM_CACHE_TOKEN=$(zerocloud token create --scope cache:write --name ci --namespace web --expires 90d)\n  \
        zerocloud token create --scope metrics:read --name prometheus")]
    Create(CreateArgs),
    /// List the tokens, without their secrets
    #[command(after_help = "Examples:\n  zerocloud token list\n  zerocloud token list --json")]
    List(NodeArgs),
    /// Give a token another secret and print it; the former one stays good for a while
    #[command(after_help = "Examples:\n  \
        zerocloud token rotate ci --overlap 24h\n  \
        zerocloud token rotate k3v9x0az --overlap 0")]
    Rotate(RotateArgs),
    /// End a token, at once and everywhere
    #[command(after_help = "Example:\n  zerocloud token revoke ci")]
    Revoke(RevokeArgs),
}

#[derive(Args, Debug)]
struct CreateArgs {
    /// cache:read, cache:write or cache:admin, of which write includes read and admin both; or metrics:read, repeatable
    #[arg(long, value_name = "SCOPE", required = true, value_parser = parse_scope)]
    scope: Vec<String>,
    /// What to call it, 1 to 64 characters
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Where it is good, repeatable; the first is used where a client names none [default: everywhere]
    #[arg(long, value_name = "N", value_parser = parse_namespace)]
    namespace: Vec<String>,
    /// When it ends: after 12h, 90d, 1y, or at 2030-01-31 or 2030-01-31T12:00:00Z [default: never]
    #[arg(long, value_name = "D", value_parser = parse_expiry)]
    expires: Option<String>,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Args, Debug)]
struct RotateArgs {
    /// The token's id, or its name where only one has it
    #[arg(value_name = "ID")]
    token: String,
    /// How long the former secret stays good: 0, 30m, 24h, 7d
    #[arg(long, value_name = "D", default_value = "1h", value_parser = parse_seconds)]
    overlap: u64,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Args, Debug)]
struct RevokeArgs {
    /// The token's id, or its name where only one has it
    #[arg(value_name = "ID")]
    token: String,
    #[command(flatten)]
    node: NodeArgs,
}

const PATH: &str = "/-/admin/v1/tokens";

/// Does what the command says.
pub fn run(args: &TokenArgs) -> Result<(), Failure> {
    match &args.command {
        TokenCommand::Create(args) => create(args),
        TokenCommand::List(args) => list(args),
        TokenCommand::Rotate(args) => rotate(args),
        TokenCommand::Revoke(args) => revoke(args),
    }
}

fn create(args: &CreateArgs) -> Result<(), Failure> {
    let wish = json!({
        "name": args.name,
        "scopes": args.scope,
        "namespaces": args.namespace,
        "expires": args.expires,
    });
    let made = Node::find(&args.node)?.ask_well(Method::POST, PATH, &[], Some(&wish))?;
    reveal(&args.node, &made, "made")
}

fn rotate(args: &RotateArgs) -> Result<(), Failure> {
    let node = Node::find(&args.node)?;
    let id = id_of(&node, &args.token)?;
    let path = format!("{PATH}/{id}/rotate");
    let made = node.ask_well(Method::POST, &path, &[], Some(&json!({ "overlap_seconds": args.overlap })))?;
    reveal(&args.node, &made, "rotated")
}

fn revoke(args: &RevokeArgs) -> Result<(), Failure> {
    let node = Node::find(&args.node)?;
    let id = id_of(&node, &args.token)?;
    let ended = node.ask_well(Method::DELETE, &format!("{PATH}/{id}"), &[], None)?;
    print(&if args.node.json { format!("{ended}\n") } else { format!("revoked {id}\n") })
}

fn list(args: &NodeArgs) -> Result<(), Failure> {
    let found = Node::find(args)?.ask_well(Method::GET, PATH, &[], None)?;
    print(&if args.json { format!("{found}\n") } else { table(&found) })
}

fn reveal(args: &NodeArgs, made: &Value, verb: &str) -> Result<(), Failure> {
    if args.json {
        return print(&format!("{made}\n"));
    }
    let until = made["former_secret_until"].as_str();
    let former = until.map_or_else(String::new, |until| format!("; the former secret is good until {until}"));
    eprintln!(
        "{verb} {} ({}), {}; it is shown this once{former}",
        word(made, "id"),
        word(made, "name"),
        rights(made)
    );
    print(&format!("{}\n", word(made, "token")))
}

/// The id that a user means. Errors: no token, or several.
fn id_of(node: &Node, meant: &str) -> Result<String, Failure> {
    let found = node.ask_well(Method::GET, PATH, &[], None)?;
    let tokens = found["tokens"].as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(token) = tokens.iter().find(|token| word(token, "id") == meant) {
        return Ok(word(token, "id").into());
    }
    let mut named = tokens.iter().filter(|token| word(token, "name") == meant);
    match (named.next(), named.next()) {
        (Some(token), None) => Ok(word(token, "id").into()),
        (None, _) => Err(Failure::usage(format!(
            "no token has the id or the name `{meant}`; see zerocloud token list"
        ))),
        (Some(_), Some(_)) => Err(Failure::usage(format!(
            "several tokens are called `{meant}`; name one by its id, see zerocloud token list"
        ))),
    }
}

fn word<'v>(document: &'v Value, name: &str) -> &'v str {
    document[name].as_str().unwrap_or("-")
}

fn words(document: &Value, name: &str) -> String {
    let list = document[name].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
}

fn rights(token: &Value) -> String {
    let namespaces = words(token, "namespaces");
    let place = if namespaces.is_empty() { "everywhere".into() } else { format!("in {namespaces}") };
    format!("{} {place}", words(token, "scopes"))
}

fn table(found: &Value) -> String {
    let mut rows =
        vec![["ID", "NAME", "SCOPES", "NAMESPACES", "CREATED", "EXPIRES", "LAST USED"].map(String::from)];
    for token in found["tokens"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let namespaces = words(token, "namespaces");
        let day = |name| word(token, name).get(..10).unwrap_or("-").to_owned();
        let expires = if token["is_expired"] == true { "expired".into() } else { day("expires") };
        // To the hour, as it is kept.
        let used = word(token, "last_used")
            .get(..13)
            .map_or_else(|| "never".into(), |hour| hour.replace('T', " ") + "h");
        rows.push([
            word(token, "id").into(),
            word(token, "name").escape_default().to_string(),
            words(token, "scopes"),
            if namespaces.is_empty() { "all".into() } else { namespaces },
            day("created"),
            if expires == "-" { "never".into() } else { expires },
            used,
        ]);
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn parse_scope(text: &str) -> Result<String, String> {
    tokens::Scope::parse(text)
        .map(|scope| scope.name().to_owned())
        .ok_or_else(|| "a scope is one of cache:read, cache:write, cache:admin, metrics:read".into())
}

/// Seconds: `0`, or a whole number of s, m, h, d, w or y.
fn parse_seconds(text: &str) -> Result<u64, String> {
    const UNITS: [(char, u64); 6] =
        [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 604_800), ('y', 31_536_000)];
    let seconds = || {
        if text == "0" {
            return Some(0);
        }
        let unit = text.chars().next_back()?;
        let (_, factor) = UNITS.iter().find(|(letter, _)| *letter == unit)?;
        let number = text.strip_suffix(unit)?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        number.parse::<u64>().ok().filter(|_| is_number)?.checked_mul(*factor)
    };
    let most = 100 * 31_536_000;
    seconds().filter(|seconds| *seconds <= most).ok_or_else(|| "a time is like 30m, 12h, 90d or 1y".into())
}

/// The instant at which a token ends, as the node reads it.
fn parse_expiry(text: &str) -> Result<String, String> {
    if let Some(at) = aws::Timestamp::parse_iso8601(text.as_bytes()) {
        return Ok(at.to_iso8601());
    }
    let seconds =
        parse_seconds(text).map_err(|_| "an end is like 12h, 90d, 1y, 2030-01-31 or 2030-01-31T12:00:00Z")?;
    let seconds = i64::try_from(seconds).map_err(|_| "an end is at most 100 years away")?;
    Ok(aws::Timestamp::from_seconds(aws_now().as_seconds() + seconds).to_iso8601())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_a_number_and_a_unit() {
        assert_eq!(parse_seconds("0"), Ok(0));
        assert_eq!(parse_seconds("90d"), Ok(7_776_000));
        assert_eq!(parse_seconds("1y"), Ok(31_536_000));
        for bad in ["", "d", "10", "-1h", "+1h", "1.5h", "1D", "1é", "101y", "99999999999999999999d"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_expiry("2030-01-31"), Ok("2030-01-31T00:00:00.000Z".into()));
        assert_eq!(parse_expiry("2030-01-31T12:00:00+01:00"), Ok("2030-01-31T11:00:00.000Z".into()));
        assert!(parse_expiry("90d").expect("an end") > aws_now().to_iso8601());
        assert!(parse_expiry("tomorrow").is_err());
    }

    #[test]
    fn the_table_has_a_line_for_each_token() {
        let found = json!({ "tokens": [
            { "id": "abcdefgh", "name": "ci\u{1b}[2J", "scopes": ["cache:write"], "namespaces": ["web", "app"],
              "created": "2026-01-02T03:04:05.000Z", "expires": null, "is_expired": false, "last_used": "2026-02-03T04:00:00.000Z" },
            { "id": "bcdefghj", "name": "old", "scopes": ["cache:read"], "namespaces": [],
              "created": "2025-01-02T03:04:05.000Z", "expires": "2025-02-02T03:04:05.000Z", "is_expired": true, "last_used": null },
        ] });
        let text = table(&found);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            lines[1],
            [
                "abcdefgh",
                "ci\\u{1b}[2J",
                "cache:write",
                "web,app",
                "2026-01-02",
                "never",
                "2026-02-03",
                "04h"
            ]
        );
        assert_eq!(lines[2], ["bcdefghj", "old", "cache:read", "all", "2025-01-02", "expired", "never"]);
        assert_eq!(table(&json!({ "tokens": [] })).lines().count(), 1);
    }
}
