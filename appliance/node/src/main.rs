//! The appliance: one process that serves a data directory, and the commands that look after it.
//! Invariant: what goes wrong before serving is one line on stderr and an exit code that tells a supervisor what to do.
//! Leaves to serve.rs: serving. Leaves to the services: what requests mean.
#![forbid(unsafe_code)]

mod admin;
mod admin_tokens;
mod block_command;
mod cache_command;
mod certificate;
mod cli;
mod client;
mod config;
mod core;
mod credentials;
mod doctor;
mod door;
mod drive;
mod entry;
mod env_command;
mod exit;
mod gocacheprog;
mod handler;
mod health_command;
mod init_command;
mod licenses_command;
mod log;
mod machine;
mod manual_command;
mod metrics;
mod own_certificate;
mod owner;
mod private_file;
mod random;
mod route;
#[cfg(test)]
mod scratch;
mod serve;
mod services;
mod status;
mod surroundings;
mod tick;
mod token_command;
mod verify_command;

use std::io::Write as _;
use std::process::ExitCode;

/// A request allocates its future and a body of some kilobytes, which glibc's per-thread cache is too small for; and what
/// it frees there goes back to the system only at the heap's end.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use clap::Parser;

use cli::{Cli, Command};
use exit::Exit;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse_usage(&error),
    };
    if cli.version {
        print_version();
        return ExitCode::SUCCESS;
    }
    let outcome = match &cli.command {
        None => serve::run(&cli.serve).map(|()| -> ExitCode { leave() }),
        Some(Command::Serve(args)) => serve::run(args).map(|()| -> ExitCode { leave() }),
        Some(Command::Token(args)) => token_command::run(args).map(|()| ExitCode::SUCCESS),
        Some(Command::Cache(args)) => cache_command::run(args).map(|()| ExitCode::SUCCESS),
        Some(Command::Init(args)) => init_command::run(args).map(|()| ExitCode::SUCCESS),
        Some(Command::Health(args)) => health_command::run(args),
        Some(Command::Completions(args)) => manual_command::completions(args).map(|()| ExitCode::SUCCESS),
        Some(Command::Manual(args)) => manual_command::manual(args).map(|()| ExitCode::SUCCESS),
        Some(Command::Env(args)) => env_command::run(args).map(|()| ExitCode::SUCCESS),
        Some(Command::Doctor(args)) => doctor::run(args),
        Some(Command::Verify(args)) => verify_command::run(args),
        Some(Command::Gocacheprog(args)) => gocacheprog::run(args),
        Some(Command::Licenses(args)) => licenses_command::run(args).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|failure| {
        eprintln!("zerocloud: {failure}");
        failure.exit.into()
    })
}

/// Ends the process of an appliance that has stored and said everything. Threads that wait for work for ever are still there, and
/// what an ordinary exit runs would run beside them.
fn leave() -> ! {
    // Nobody may be left who reads it.
    drop(std::io::stdout().flush());
    signal_hook::low_level::exit(0)
}

fn refuse_usage(error: &clap::Error) -> ExitCode {
    // Help and version come this way too and are no failure.
    drop(error.print());
    if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS }
}

fn print_version() {
    let backend = match ring::probe_io_uring() {
        Ok(_) => "io_uring",
        Err(_) => "epoll",
    };
    println!(
        "zerocloud {} (commit {}, on-disk format {}, backend {backend})",
        env!("CARGO_PKG_VERSION"),
        env!("ZEROCLOUD_COMMIT"),
        store::format::LAYOUT_VERSION,
    );
}
