//! The command line.
//! Invariant: flags become a `config::Layer` and nothing else; what a flag means is decided in `config`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::cache_command::CacheArgs;
use crate::client::NodeArgs;
use crate::config::{self, Backend, Layer};
use crate::log::Level;
use crate::token_command::TokenArgs;

/// The whole command line.
#[derive(Parser, Debug)]
#[command(
    name = "zerocloud",
    about = "A private cloud in one binary: objects over the S3 protocol, durable before every reply.",
    long_about = "A private cloud in one binary: objects over the S3 protocol, durable before every reply.\n\n\
        Without a command it serves: data in ./zerocloud-data, http://127.0.0.1:8080, and keys made at the first start.",
    after_help = "Examples:\n  \
        zerocloud                                   serve from ./zerocloud-data on http://127.0.0.1:8080\n  \
        eval \"$(zerocloud env)\"                     point aws, boto3 and every SDK of this shell at it\n  \
        zerocloud --data /srv/zc --listen [::]:8080  serve another directory, on every address\n  \
        zerocloud doctor --data /srv/zc             say what is wrong with this machine and how to mend it\n\n\
        Exit codes: 0 done, 64 usage, 70 storage, 75 data directory or port held by another process, 78 configuration.",
    args_conflicts_with_subcommands = true,
    disable_version_flag = true
)]
pub struct Cli {
    /// Print version, commit, on-disk format and backend.
    #[arg(short = 'V', long)]
    pub version: bool,
    /// Without a command: serve.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Serve a data directory (the default command).
    #[command(
        after_help = "Examples:\n  zerocloud serve --data /srv/zc --listen 127.0.0.1:8080 --listen [::1]:8080\n  \
        zerocloud serve --config /etc/zerocloud/zerocloud.toml --check"
    )]
    Serve(ServeArgs),
    /// Print the lines that point AWS SDKs and tools at a data directory's node, with its root key.
    #[command(
        after_help = "Examples:\n  eval \"$(zerocloud env --data /srv/zc)\"\n  zerocloud env --shell fish | source\n  \
        zerocloud env --shell powershell | Out-String | Invoke-Expression"
    )]
    Env(EnvArgs),
    /// Make a machine ready: data directory, root key, a certificate of its own, and what to do next.
    #[command(after_help = "Examples:\n  zerocloud init --config /etc/zerocloud/zerocloud.toml\n  \
        zerocloud init --data /srv/zc --hostname store.example\n\n\
        What is there stays. Root over a directory of another user works as that user.")]
    Init(InitArgs),
    /// Ask a node whether it is ready; exits 0 when it is and 1 when not.
    #[command(
        after_help = "Examples:\n  zerocloud health --data /srv/zc\n  zerocloud health --live --endpoint http://127.0.0.1:8080"
    )]
    Health(HealthArgs),
    /// Make, list, rotate and revoke tokens of the build cache
    #[command(
        after_help = "Examples:\n  zerocloud token create --scope cache:read --name ci\n  zerocloud token list"
    )]
    Token(TokenArgs),
    /// Look at the build cache, make room in it, or serve it alone
    #[command(
        after_help = "Examples:\n  zerocloud cache stats\n  zerocloud cache gc --target-bytes 50GB\n  \
        zerocloud cache serve --port 8080 --storage /data/cache"
    )]
    Cache(CacheArgs),
    /// Look at this machine: what is wrong for a storage server, why it matters, how to mend it.
    #[command(after_help = "Examples:\n  zerocloud doctor --data /srv/zc\n  zerocloud doctor --json\n\n\
        Exit codes: 0 nothing found, 1 warnings, 2 something must be mended.")]
    Doctor(DoctorArgs),
    /// Check every stored byte of a data directory that no node is serving.
    #[command(
        after_help = "Examples:\n  zerocloud verify --data /srv/zc\n  zerocloud verify --data /srv/zc --json"
    )]
    Verify(VerifyArgs),
    /// The build cache of the go command: its GOCACHEPROG child.
    #[command(after_help = "Example:\n  export ZIM_CACHE_TOKEN=zct_...\n  \
        GOCACHEPROG=\"zerocloud gocacheprog --url https://cache.example:8080\" go build ./...\n\n\
        Outputs are kept in a directory of this machine and uploaded beside the build. An appliance that is away, slow or full costs\n\
        a build hits, never an error.")]
    Gocacheprog(GoCacheProgArgs),
    /// Print the licences of the libraries in this binary.
    #[command(after_help = "Example:\n  zerocloud licenses | less")]
    Licenses(LicensesArgs),
    /// Print the completions of a shell.
    #[command(
        after_help = "Example:\n  zerocloud completions bash > /usr/share/bash-completion/completions/zerocloud"
    )]
    Completions(CompletionsArgs),
    /// Write the manual pages into a directory.
    #[command(after_help = "Example:\n  zerocloud manual /usr/local/share/man/man1")]
    Manual(ManualArgs),
}

/// `serve`.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeArgs {
    /// The data directory, made if it is not there [default: ./zerocloud-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address and port, repeatable; port 0 picks one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT", value_parser = config::parse_address)]
    pub listen: Vec<SocketAddr>,
    /// Shards of a new data directory; an existing one keeps its count [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub shards: Option<u16>,
    /// Configuration file, TOML
    #[arg(long, value_name = "FILE", env = "ZEROCLOUD_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Certificate chain, PEM; every listener then speaks TLS only
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// error, warn, info or debug [default: info]
    #[arg(long, value_name = "LEVEL", value_parser = config::parse_level)]
    pub log: Option<Level>,
    /// Seconds that requests in flight get on SIGTERM [default: 30]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub drain_timeout: Option<u64>,
    /// Check the configuration and exit: 0 good, 78 not
    #[arg(long)]
    pub check: bool,
    /// auto, io_uring or epoll [default: auto]
    #[arg(long, value_name = "BACKEND", value_parser = config::parse_backend)]
    pub backend: Option<Backend>,
    /// Serve from a network file system or FUSE all the same; acknowledged writes may be lost there
    #[arg(long)]
    pub allow_unsafe_filesystem: bool,
    /// Take customer keys and tokens over plain HTTP beyond loopback
    #[arg(long)]
    pub allow_plaintext: bool,
    /// Allow the [debug] table of the configuration
    #[arg(long)]
    pub debug: bool,
    /// Whether nothing but the build cache is served; `cache serve` says so.
    #[arg(skip)]
    pub cache_only: bool,
}

impl ServeArgs {
    /// The flags as one source of settings.
    pub fn layer(&self) -> Layer {
        Layer {
            data: self.data.clone(),
            listen: (!self.listen.is_empty()).then(|| self.listen.clone()),
            shards: self.shards,
            tls_cert: self.tls_cert.clone(),
            tls_key: self.tls_key.clone(),
            drain_timeout: self.drain_timeout.map(Duration::from_secs),
            allow_unsafe_filesystem: self.allow_unsafe_filesystem.then_some(true),
            allow_plaintext: self.allow_plaintext.then_some(true),
            backend: self.backend,
            log_level: self.log,
            cache_only: self.cache_only,
            ..Layer::default()
        }
    }
}

/// `env`.
#[derive(Args, Debug)]
pub struct EnvArgs {
    /// The data directory [default: ./zerocloud-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The shell that will read the lines
    #[arg(long, value_enum, default_value_t = Shell::Sh)]
    pub shell: Shell,
    /// Print a JSON object instead
    #[arg(long, conflicts_with = "shell")]
    pub json: bool,
}

/// Whose syntax `env` writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Shell {
    /// sh, bash, zsh, dash, ksh.
    Sh,
    /// fish.
    Fish,
    /// PowerShell.
    Powershell,
    /// The Windows command prompt.
    Cmd,
}

/// `init`.
#[derive(Args, Debug)]
pub struct InitArgs {
    /// The data directory [default: ./zerocloud-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Configuration file, TOML
    #[arg(long, value_name = "FILE", env = "ZEROCLOUD_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// A name or address under which clients come, repeatable; a new certificate is made for it, the names of the one before, this
    /// machine's own name and loopback
    #[arg(long, value_name = "NAME")]
    pub hostname: Vec<String>,
    /// Make a new certificate although there is one; clients that trust its authority need nothing
    #[arg(long)]
    pub renew: bool,
    /// Make no certificate
    #[arg(long, conflicts_with_all = ["hostname", "renew"])]
    pub no_tls: bool,
}

impl InitArgs {
    /// The serving that it prepares.
    pub fn serve(&self) -> ServeArgs {
        ServeArgs { data: self.data.clone(), config: self.config.clone(), ..ServeArgs::default() }
    }
}

/// `health`.
#[derive(Args, Debug)]
pub struct HealthArgs {
    /// Which node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Ask only whether its cores turn, as a liveness probe does
    #[arg(long)]
    pub live: bool,
}

/// `completions`.
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `manual`.
#[derive(Args, Debug)]
pub struct ManualArgs {
    /// Where the pages go
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

/// `doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// The data directory, or where it will be [default: ./zerocloud-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Configuration file whose addresses and certificates to look at
    #[arg(long, value_name = "FILE", env = "ZEROCLOUD_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Print a JSON document instead
    #[arg(long)]
    pub json: bool,
}

/// `verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// The data directory [default: ./zerocloud-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Print a JSON document instead
    #[arg(long)]
    pub json: bool,
}

/// `gocacheprog`.
#[derive(Args, Debug)]
pub struct GoCacheProgArgs {
    /// The appliance whose cache stands behind the directory; without it only the directory is used
    #[arg(long, value_name = "URL", env = "ZIM_CACHE_URL")]
    pub url: Option<String>,
    /// The namespace [default: the token's own]
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// A file with the token [default: ZIM_CLOUD_TOKEN, ZIM_CACHE_TOKEN, ZIM_CACHE_WRITE_TOKEN or ZIM_CACHE_READ_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Where outputs are kept [default: zerocloud/go in XDG_CACHE_HOME or ~/.cache]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Send the token over plain HTTP beyond this machine
    #[arg(long)]
    pub allow_plaintext: bool,
    /// Say at the end how many hits, misses and uploads there were
    #[arg(long)]
    pub verbose: bool,
}

/// `licenses`.
#[derive(Args, Debug)]
pub struct LicensesArgs {
    /// Print name, version and licence of each as JSON
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_is_the_default_command() {
        let cli = Cli::try_parse_from([
            "zerocloud",
            "--data",
            "/d",
            "--listen",
            "[::1]:0",
            "--listen",
            "127.0.0.1:0",
        ]);
        let cli = cli.expect("valid");
        assert!(cli.command.is_none());
        assert_eq!(cli.serve.layer().listen.expect("set").len(), 2);
    }

    #[test]
    fn every_command_has_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{}", command.get_name());
        }
    }
}
