//! `zerocloud init`: a machine made ready: data directory, root key, a certificate of its own, and what to do next.
//! Invariant: what is there stays; a second run changes nothing but what its flags ask for.
//! Leaves to serve/: making the directory. Leaves to `own_certificate`: the certificate.

use std::io::IsTerminal;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{Gid, Uid};

use crate::cli::{InitArgs, Shell};
use crate::client::print;
use crate::config::Config;
use crate::credentials;
use crate::env_command::{self, Endpoint};
use crate::exit::Failure;
use crate::own_certificate::OwnCertificate;
use crate::serve;

/// Does it.
pub fn run(args: &InitArgs) -> Result<(), Failure> {
    let config = serve::load(&args.serve())?;
    become_owner(&config.data)?;
    let is_new = !config.data.join("FORMAT").exists();
    let runs = !serve::prepare(&config)?;
    let key = credentials::load(&config.data, None)?.ok_or_else(|| {
        let data = config.data.display();
        Failure::held(format!("{data}: a node is just starting there; wait until it is ready"))
    })?;
    let own = OwnCertificate::of(&config.data);
    let mut certificate = None;
    if !args.no_tls && (!own.exists() || args.renew || !args.hostname.is_empty()) {
        let names = names(&config, &args.hostname);
        certificate = Some((own.make(&names)?, names));
    }
    print(&report(args, &config, &own, certificate, is_new, runs))?;
    if std::io::stdout().is_terminal() {
        let endpoint = Endpoint::read(&config.data).unwrap_or_else(|| Endpoint::expected(&config));
        print("\nFor a shell, with the secret key; keep it to yourself:\n\n")?;
        print(&env_command::render(Shell::Sh, &endpoint, &key.access_key, key.secret_key.reveal()))?;
    }
    Ok(())
}

/// Root over a directory of another user works as that user, to whom everything then belongs.
fn become_owner(data: &Path) -> Result<(), Failure> {
    let Ok(metadata) = std::fs::metadata(data) else { return Ok(()) };
    if !rustix::process::geteuid().is_root() || metadata.uid() == 0 {
        return Ok(());
    }
    let (user, group) = (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()));
    // No other thread has begun; those that do are of the same user.
    rustix::thread::set_thread_groups(&[group])
        .and_then(|()| rustix::thread::set_thread_gid(group))
        .and_then(|()| rustix::thread::set_thread_uid(user))
        .map_err(|error| {
            let data = data.display();
            Failure::configuration(format!(
                "{data}: belongs to user {}, whom this process cannot become: {error}; run it as that user",
                metadata.uid()
            ))
        })
}

/// Under which names clients may come: what was asked for, this machine's name, its listeners, and loopback.
fn names(config: &Config, asked: &[String]) -> Vec<String> {
    let mut names: Vec<String> = asked.to_vec();
    let mut add = |name: String| {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    };
    if let Some(url) = &config.public_url {
        let authority = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let host = crate::gocacheprog::split_port(authority, 443).map_or_else(String::new, |(host, _)| host);
        add(host);
    }
    add(crate::machine::hostname());
    add("localhost".into());
    for ip in config.listen.iter().map(|address| address.ip()).filter(|ip| !ip.is_unspecified()) {
        add(ip.to_string());
    }
    for ip in [IpAddr::from([127, 0, 0, 1]), IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)] {
        add(ip.to_string());
    }
    names
}

fn report(
    args: &InitArgs,
    config: &Config,
    own: &OwnCertificate,
    made: Option<(String, Vec<String>)>,
    is_new: bool,
    runs: bool,
) -> String {
    let data = config.data.display();
    let state = match (is_new, runs) {
        (true, _) => "made",
        (false, true) => "there, a node is running on it",
        (false, false) => "there",
    };
    let mut out = format!("data directory  {data} ({state})\n");
    out += &format!(
        "root key        {} (read it with: zerocloud env --data {data})\n",
        credentials::path(&config.data).display()
    );
    match &made {
        Some((last, names)) => {
            out += &format!("certificate     {}\n", own.cert().display());
            out += &format!("                for {}, until {last}\n", names.join(", "));
        }
        None if own.exists() => out += &format!("certificate     {} (there)\n", own.cert().display()),
        None => out += "certificate     none\n",
    }
    out += "\nWhat to do next\n";
    let config_file = args.config.as_ref().map(|path| path.display().to_string());
    if !runs {
        out += &match &config_file {
            Some(path) => format!("  start it:            zerocloud serve --config {path}\n"),
            None => format!("  start it:            zerocloud serve --data {data}\n"),
        };
        out += "                       (installed from a package: systemctl enable --now zerocloud)\n";
    }
    out += &format!("  point a shell at it: eval \"$(zerocloud env --data {data})\"\n");
    out += "  store something:     aws s3 mb s3://first && aws s3 cp FILE s3://first/\n";
    if own.exists() && config.tls.is_none() {
        let file = config_file.unwrap_or_else(|| "the configuration file".into());
        out += &format!("  serve over TLS:      in {file} set, then restart:\n");
        out += &format!("                         tls_cert = \"{}\"\n", own.cert().display());
        out += &format!("                         tls_key = \"{}\"\n", own.key().display());
    }
    if own.exists() {
        out += &format!("  have clients trust:  AWS_CA_BUNDLE={}\n", own.authority().display());
    }
    out += &format!("  look at the machine: zerocloud doctor --data {data}\n");
    out
}
