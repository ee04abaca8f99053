//! Notes the commit that is being built, for `--version`.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=ZEROCLOUD_COMMIT");
    // A package build has no repository and says its commit; elsewhere the repository does.
    let commit = std::env::var("ZEROCLOUD_COMMIT").ok().or_else(from_git).unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=ZEROCLOUD_COMMIT={commit}");
}

fn from_git() -> Option<String> {
    let run = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok().map(|text| text.trim().to_string())
    };
    let directory = run(&["rev-parse", "--absolute-git-dir"])?;
    // The log of HEAD changes with every commit and checkout.
    let log = Path::new(&directory).join("logs/HEAD");
    if log.exists() {
        println!("cargo:rerun-if-changed={}", log.display());
    }
    run(&["rev-parse", "--short=12", "HEAD"])
}
