//! `zerocloud init`: a machine made ready: data directory, root key, a certificate of its own, and what to do next.
//! Invariant: what is there stays; a second run changes nothing but what its flags ask for.
//! Leaves to serve/: making the directory. Leaves to `own_certificate`: the certificate.

use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::Path;

use crate::certificate;
use crate::cli::{InitArgs, Shell};
use crate::client::print;
use crate::config::Config;
use crate::credentials;
use crate::env_command::{self, Endpoint};
use crate::exit::Failure;
use crate::own_certificate::OwnCertificate;
use crate::owner;
use crate::serve;

/// Does it.
pub fn run(args: &InitArgs) -> Result<(), Failure> {
    let config = serve::load(&args.serve())?;
    let caller = Caller::of(&config.data)?;
    let is_new = !config.data.join(store::format::FORMAT_NAME).exists();
    let runs = !serve::prepare(&config)?;
    let key = credentials::load(&config.data, None)?.ok_or_else(|| {
        let data = config.data.display();
        Failure::held(format!("{data}: a node is just starting there; wait until it is ready"))
    })?;
    let own = OwnCertificate::of(&config.data);
    let mut made = None;
    if !args.no_tls && (!own.exists() || args.renew || !args.hostname.is_empty()) {
        let former =
            std::fs::read(own.cert()).map_or_else(|_| Vec::new(), |pem| certificate::names_of_first(&pem));
        let names = names(&config, &args.hostname, former);
        made = Some((own.make(&names)?, names));
    }
    print(&report(args, &config, &own, made, Found { is_new, runs, caller }))?;
    if std::io::stdout().is_terminal() {
        let endpoint = Endpoint::read(&config.data).unwrap_or_else(|| Endpoint::expected(&config));
        print("\nFor a shell, with the secret key; keep it to yourself:\n\n")?;
        print(&env_command::render(Shell::Sh, &endpoint, &key.access_key, key.secret_key.reveal()))?;
    }
    Ok(())
}

/// Who calls, as the hints have to know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    /// The directory's owner, or who becomes it by making it.
    Owner,
    /// Root, whose own the directory is.
    Root,
    /// Root for the user that owns the directory, as is that of a package's service; through sudo or not.
    ForService { by_sudo: bool },
}

impl Caller {
    /// Root becomes the owner of a directory that is there.
    fn of(data: &Path) -> Result<Caller, Failure> {
        let is_root = rustix::process::geteuid().is_root();
        Ok(match owner::become_owner(data)? {
            true => Caller::ForService { by_sudo: std::env::var_os("SUDO_UID").is_some() },
            false if is_root => Caller::Root,
            false => Caller::Owner,
        })
    }
}

/// What a run found.
struct Found {
    /// The directory was made by this run.
    is_new: bool,
    /// A node runs on it.
    runs: bool,
    caller: Caller,
}

/// Under which names clients may come: what was asked for, what the certificate before was for, this machine's name, its listeners,
/// and loopback.
fn names(config: &Config, asked: &[String], former: Vec<String>) -> Vec<String> {
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
    former.into_iter().for_each(&mut add);
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
    found: Found,
) -> String {
    let Found { is_new, runs, caller } = found;
    let data = config.data.display();
    let sudo = if caller == (Caller::ForService { by_sudo: true }) { "sudo " } else { "" };
    let state = match (is_new, runs) {
        (true, _) => "made",
        (false, true) => "there, a node is running on it",
        (false, false) => "there",
    };
    let mut out = format!("data directory  {data} ({state})\n");
    out += &format!(
        "root key        {} (read it with: {sudo}zerocloud env --data {data})\n",
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
        const SERVICE: &str = "systemctl enable --now zerocloud.socket zerocloud.service";
        let serve = match &config_file {
            Some(path) => format!("zerocloud serve --config {path}"),
            None => format!("zerocloud serve --data {data}"),
        };
        out += &match caller {
            Caller::Owner => format!("  start it:            {serve}\n"),
            Caller::Root => format!(
                "  start it:            {serve}\n                       (or as a package's service, which has a user of its own:\n                       \
                 chown -R zerocloud: {data} && {SERVICE})\n"
            ),
            Caller::ForService { .. } => format!("  start it:            {sudo}{SERVICE}\n"),
        };
    }
    out += &format!("  point a shell at it: eval \"$({sudo}zerocloud env --data {data})\"\n");
    let aws = "aws --endpoint-url \"$AWS_ENDPOINT_URL\" s3";
    out += &format!("  store something:     {aws} mb s3://first && {aws} cp FILE s3://first/\n");
    if own.exists() && config.tls.is_none() {
        let file = config_file.unwrap_or_else(|| "the configuration file".into());
        out += &format!("  serve over TLS:      in {file} set, then restart:\n");
        out += &format!("                         tls_cert = \"{}\"\n", own.cert().display());
        out += &format!("                         tls_key = \"{}\"\n", own.key().display());
    }
    if own.exists() {
        let authority = own.authority();
        out += &format!("  have clients trust:  {sudo}cat {} >zerocloud-ca.pem\n", authority.display());
        out += "                       export AWS_CA_BUNDLE=\"$PWD/zerocloud-ca.pem\"\n";
    }
    out += &format!("  look at the machine: {sudo}zerocloud doctor --data {data}\n");
    out
}
