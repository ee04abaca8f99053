//! `zerocloud env`: the lines that point SDKs and tools at a node.
//! Invariant: whatever the values hold, the shell that reads the lines sets exactly them and runs nothing.

use std::io::Write;
use std::path::Path;

use crate::cli::{EnvArgs, Shell};
use crate::config::{self, Config};
use crate::credentials;
use crate::exit::Failure;

/// The file in the data directory in which a running node keeps its URL and region.
pub const ENDPOINT_FILE: &str = "endpoint";

/// Prints the lines. Errors: no credentials in the data directory.
pub fn run(args: &EnvArgs) -> Result<(), Failure> {
    let environment = config::from_environment(&|name| std::env::var_os(name))?;
    let data = Config::data_or_default(args.data.as_deref().or(environment.data.as_deref()));
    let over = config::root_key_override(&|name| std::env::var_os(name))?;
    let key = credentials::load(&data, over)?.ok_or_else(|| {
        let data = data.display();
        Failure::configuration(format!("{data}: no credentials here; start the node once (zerocloud serve --data {data}) or name its directory with --data"))
    })?;
    let endpoint = Endpoint::read(&data).unwrap_or_else(|| {
        let (ip, port) = config::DEFAULT_LISTEN;
        let url = environment
            .public_url
            .clone()
            .unwrap_or_else(|| format!("http://{}:{port}", std::net::Ipv4Addr::from(ip)));
        eprintln!("zerocloud: no node is running on {}; assuming {url}", data.display());
        let region = environment.region.clone().unwrap_or_else(|| "us-east-1".into());
        Endpoint { url, region, listener: None }
    });
    let secret = key.secret_key.reveal();
    let text = if args.json {
        let object: serde_json::Map<String, serde_json::Value> = pairs(&endpoint, &key.access_key, secret)
            .into_iter()
            .map(|(name, value)| (name.to_string(), value.into()))
            .collect();
        format!("{}\n", serde_json::Value::Object(object))
    } else {
        render(args.shell, &endpoint, &key.access_key, secret)
    };
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| Failure::storage(format!("stdout: {error}")))
}

/// What a running node says about itself in its data directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Where clients reach it.
    pub url: String,
    /// What they must sign for.
    pub region: String,
    /// Where it listens, as this machine reaches it: clients may have to take another way, by name and through proxies.
    pub listener: Option<String>,
}

impl Endpoint {
    /// Reads the file; None when there is none or when it is not of our making.
    pub fn read(data: &Path) -> Option<Endpoint> {
        let text = std::fs::read_to_string(data.join(ENDPOINT_FILE)).ok()?;
        let mut lines = text.lines();
        let url = config::parse_url(lines.next()?.trim()).ok()?;
        let region = lines.next().and_then(|line| config::parse_region(line.trim()).ok());
        let listener = lines.next().and_then(|line| config::parse_url(line.trim()).ok());
        Some(Endpoint { url, region: region.unwrap_or_else(|| "us-east-1".into()), listener })
    }

    /// Where a node under this configuration will be reached.
    pub fn expected(config: &Config) -> Endpoint {
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let listening = config.listen.first().map(|address| crate::serve::reachable(*address));
        let url = listening.map_or_else(String::new, |address| format!("{scheme}://{address}"));
        let region = config.region.clone();
        Endpoint { url: config.public_url.clone().unwrap_or(url), region, listener: None }
    }

    /// Writes the file at once.
    pub fn write(&self, data: &Path) -> std::io::Result<()> {
        let listener = self.listener.as_deref().unwrap_or_default();
        let text = format!("{}\n{}\n{listener}\n", self.url, self.region);
        crate::private_file::replace(&data.join(ENDPOINT_FILE), text.as_bytes(), 0o600)
    }

    /// Removes the file when the node stops. A file that stays behind only makes `env` print an old URL.
    pub fn remove(data: &Path) {
        drop(std::fs::remove_file(data.join(ENDPOINT_FILE)));
    }
}

fn pairs<'a>(endpoint: &'a Endpoint, access_key: &'a str, secret: &'a str) -> [(&'static str, &'a str); 5] {
    [
        ("AWS_ENDPOINT_URL", &endpoint.url),
        ("AWS_ACCESS_KEY_ID", access_key),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_REGION", &endpoint.region),
        // boto3 reads only this one, the others the one before.
        ("AWS_DEFAULT_REGION", &endpoint.region),
    ]
}

/// The lines for one shell.
pub fn render(shell: Shell, endpoint: &Endpoint, access_key: &str, secret: &str) -> String {
    pairs(endpoint, access_key, secret).iter().map(|(name, value)| line(shell, name, value)).collect()
}

fn line(shell: Shell, name: &str, value: &str) -> String {
    match shell {
        Shell::Sh => format!("export {name}='{}'\n", value.replace('\'', "'\\''")),
        Shell::Fish => format!("set -gx {name} '{}'\n", value.replace('\\', "\\\\").replace('\'', "\\'")),
        Shell::Powershell => {
            // PowerShell takes typographic quotes for apostrophes too; values are visible ASCII, so only ' can occur.
            format!("$Env:{name} = '{}'\n", value.replace('\'', "''"))
        }
        // Inside the quotes only % is special at a prompt that reads from a file; %% stands for it.
        Shell::Cmd => format!("set \"{name}={}\"\r\n", value.replace('%', "%%")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(shell: Shell, secret: &str) -> String {
        let (url, region) = ("http://127.0.0.1:8080".into(), "us-east-1".into());
        let endpoint = Endpoint { url, region, listener: None };
        render(shell, &endpoint, "AKEY", secret)
    }

    #[test]
    fn sh_sets_exactly_the_value_even_with_quotes_and_dollars() {
        let secret = r#"a'b"c$(touch /tmp/never)`d`\e"#;
        let script = format!("{}printf %s \"$AWS_SECRET_ACCESS_KEY\"", text(Shell::Sh, secret));
        let output = std::process::Command::new("sh").arg("-c").arg(script).output().expect("sh runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), secret);
    }

    #[test]
    fn each_shell_has_its_own_quoting() {
        assert!(text(Shell::Fish, r"a'b\c").contains(r"set -gx AWS_SECRET_ACCESS_KEY 'a\'b\\c'"));
        assert!(text(Shell::Powershell, "a'b$c").contains("$Env:AWS_SECRET_ACCESS_KEY = 'a''b$c'"));
        assert!(text(Shell::Cmd, "a%b").contains("set \"AWS_SECRET_ACCESS_KEY=a%%b\"\r\n"));
        assert_eq!(text(Shell::Sh, "x").lines().count(), 5);
    }

    #[test]
    fn the_endpoint_file_round_trips_and_foreign_text_is_ignored() {
        let directory = crate::scratch::Directory::new("endpoint");
        assert_eq!(Endpoint::read(directory.path()), None);
        for listener in [None, Some("https://127.0.0.1:8443".to_owned())] {
            let (url, region) = ("https://zc.example".into(), "eu-west-1".into());
            let endpoint = Endpoint { url, region, listener };
            endpoint.write(directory.path()).expect("written");
            assert_eq!(Endpoint::read(directory.path()), Some(endpoint));
        }
        std::fs::write(directory.path().join(ENDPOINT_FILE), "'; rm -rf /").expect("written");
        assert_eq!(Endpoint::read(directory.path()), None);
        Endpoint::remove(directory.path());
        assert!(!directory.path().join(ENDPOINT_FILE).exists());
    }
}
