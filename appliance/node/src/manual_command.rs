//! `zerocloud completions` and `zerocloud manual`: what packages install beside the binary, made from its command line.

use std::path::Path;

use clap::{Command, CommandFactory};

use crate::cli::{Cli, CompletionsArgs, ManualArgs};
use crate::client::print;
use crate::exit::Failure;

/// Prints a shell's completions.
pub fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "zerocloud", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Writes a page for each command.
pub fn manual(args: &ManualArgs) -> Result<(), Failure> {
    let mut command = Cli::command();
    // Gives each command the name of its page.
    command.build();
    write_pages(&args.directory, &command)
}

fn write_pages(directory: &Path, command: &Command) -> Result<(), Failure> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = directory.join(format!("{name}.1"));
    let wrong = |error: std::io::Error| {
        Failure::storage(format!("{}: cannot be written: {error}; name a directory", path.display()))
    };
    let page = clap_mangen::Man::new(command.clone())
        .title(name.to_uppercase())
        .source(format!("zerocloud {}", env!("CARGO_PKG_VERSION")))
        .manual("ZeroCloud");
    let mut text = Vec::new();
    page.render(&mut text).map_err(wrong)?;
    std::fs::write(&path, text).map_err(wrong)?;
    command
        .get_subcommands()
        .filter(|one| one.get_name() != "help" && !one.is_hide_set())
        .try_for_each(|one| write_pages(directory, one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let directory = crate::scratch::Directory::new("manual");
        manual(&ManualArgs { directory: directory.path().to_path_buf() }).expect("written");
        for name in ["zerocloud.1", "zerocloud-serve.1", "zerocloud-token-create.1"] {
            let page = std::fs::read_to_string(directory.path().join(name)).expect(name);
            assert!(page.contains(".SH SYNOPSIS"), "{name}");
        }
    }
}
