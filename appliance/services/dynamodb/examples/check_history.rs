//! Judges recorded histories: `cargo run -p zerocloud-dynamodb --example check_history -- FILE...`. The format is that of
//! tests/checker/recorded.rs. Ends with 1 if one is not strictly serializable.

#[path = "../tests/checker/mod.rs"]
mod checker;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut verdict = ExitCode::SUCCESS;
    let mut count = 0;
    for name in std::env::args().skip(1) {
        count += 1;
        let text = std::fs::read_to_string(&name).map_err(|error| error.to_string());
        let judged = text
            .and_then(|text| checker::recorded::parse(&text))
            .and_then(|events| checker::check(&events).map_err(|violation| violation.0));
        match judged {
            Ok(summary) => println!("{name}: strictly serializable, {summary:?}"),
            Err(why) => {
                println!("{name}: {why}");
                verdict = ExitCode::FAILURE;
            }
        }
    }
    assert!(count > 0, "no file named");
    verdict
}
