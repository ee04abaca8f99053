//! The hot paths of a request, one by one, for `tests/tools/instructions.py`, which counts their instructions.
//! Invariant: `instructions NAME` prepares, then runs the function `NAME` of measured.rs once, over the same input every time,
//! and says on its first line how many operations that were.
//! Leaves to the script: valgrind, the division, and the comparison with counts.txt.
#![forbid(unsafe_code)]

use std::process::ExitCode;

mod measured;
mod prepare;

/// The appliance's own: allocations are part of what is counted.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Prepares, runs, and gives the number of operations.
type Run = fn() -> usize;

/// By the names of measured.rs.
const RUNS: [(&str, Run); 8] = [
    ("sigv4_check", prepare::sigv4_check),
    ("request_head", prepare::request_head),
    ("log_append", prepare::log_append),
    ("overlay_get", prepare::overlay_get),
    ("view_get", prepare::view_get),
    ("get_item_read", prepare::get_item_read),
    ("put_item_read", prepare::put_item_read),
    ("item_write", prepare::item_write),
];

fn main() -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_default();
    if argument == "--list" {
        RUNS.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    if argument == "--features" {
        println!("{}", features().join(" "));
        return ExitCode::SUCCESS;
    }
    let Some((_, run)) = RUNS.iter().find(|(name, _)| *name == argument) else {
        eprintln!("usage: instructions --list | --features | NAME");
        return ExitCode::from(2);
    };
    println!("{}", run());
    ExitCode::SUCCESS
}

/// What the processor says of itself, as far as code here or below chooses its way by it. Valgrind hides some of it.
fn features() -> Vec<&'static str> {
    macro_rules! detected {
        ($($name:tt)*) => {
            [$(($name, std::arch::is_x86_feature_detected!($name))),*]
        };
    }
    let all = detected! {
        "sse4.2" "pclmulqdq" "aes" "avx" "avx2" "bmi1" "bmi2" "fma" "sha" "avx512f" "avx512vl" "vaes" "vpclmulqdq"
    };
    all.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect()
}
