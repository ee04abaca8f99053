//! The configuration: what it can say, and how its four sources are merged.
//! Invariant: a `Config` is complete and consistent; flag beats environment beats file beats default, key by key.
//! Leaves to layer.rs: reading one source. Leaves to the rest of the node: acting on it.

pub mod cache;
mod document;
mod environment;
mod layer;
mod nearest;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws::account::{AccessKey, Account as AwsAccount, AccountId, CanonicalId, KeyRing, Secret};
use aws::sigv4::SigV2;

pub use environment::{from_environment, root_key_override, unknown_variables};
#[cfg(test)]
pub use layer::from_text;
pub use layer::{
    Layer, from_file, parse_access_key, parse_address, parse_backend, parse_level, parse_region,
    parse_secret_key, parse_url,
};

use crate::exit::Failure;
use crate::log::Level;

/// Everything that a running node was told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data directory.
    pub data: PathBuf,
    /// Where to listen, at least one address.
    pub listen: Vec<SocketAddr>,
    /// Whether nobody named one, so that a service manager's sockets take its place.
    listen_is_default: bool,
    /// Shards of a new data directory; None: one per core. An existing directory keeps its count.
    pub shards: Option<u16>,
    /// Whether each core's thread stays on its core.
    pub pin: bool,
    /// Certificate and key; every listener speaks TLS if they are there.
    pub tls: Option<TlsFiles>,
    /// The region that clients must sign for.
    pub region: String,
    /// The root account.
    pub account_id: AccountId,
    /// The URL under which clients reach the appliance, where that is not the first listener's.
    pub public_url: Option<String>,
    /// Domains below which a host name's first part is a bucket.
    pub virtual_hosts: Vec<String>,
    /// How long a drain may take.
    pub drain_timeout: Duration,
    /// Serve from a network file system or FUSE all the same.
    pub allow_unsafe_filesystem: bool,
    /// Take customer keys over plain HTTP beyond loopback.
    pub allow_plaintext: bool,
    /// Which reactor backend to use.
    pub backend: Backend,
    /// Log level and access log.
    pub log: Log,
    /// Bounds on what clients may use.
    pub limits: Limits,
    /// Accounts besides root.
    pub accounts: Vec<Account>,
    /// The S3 service's settings.
    pub s3: S3,
    /// The build cache's settings.
    pub cache: cache::Cache,
    /// Whether nothing but the build cache is served.
    pub cache_only: bool,
    /// How many seconds a lifecycle day lasts; 0 for a real one.
    pub day_seconds: u64,
}

/// A certificate chain and its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// PEM, leaf first.
    pub cert: PathBuf,
    /// PEM, readable by us alone.
    pub key: PathBuf,
}

/// Which reactor backend to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Backend {
    /// io_uring, or epoll with a warning where that is forbidden.
    #[default]
    Auto,
    /// io_uring or no start.
    IoUring,
    /// epoll.
    Epoll,
}

/// Log level and access log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Log {
    /// The level.
    pub level: Level,
    /// Whether each request is logged.
    pub access: bool,
}

/// The `[log]` table.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogSettings {
    /// The level.
    pub level: Option<Level>,
    /// Whether each request is logged.
    pub access: Option<bool>,
}

/// The `[limits]` table. None leaves the default of `http::Limits`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Open connections of the whole process.
    pub connections: Option<u64>,
    /// Bytes of a request head.
    pub head_bytes: Option<u64>,
    /// Seconds without a body byte before RequestTimeout.
    pub body_idle_seconds: Option<u64>,
    /// Seconds that a connection may wait between requests.
    pub idle_seconds: Option<u64>,
    /// Seconds that a connection may still bring a request in a drain, where a service manager keeps the listener.
    pub drain_idle_seconds: Option<u64>,
    /// Requests on one connection.
    pub requests_per_connection: Option<u64>,
}

/// One `[[account]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Twelve digits.
    pub id: AccountId,
    /// Its name; the id where none is given.
    pub name: String,
    /// Access key id.
    pub access_key: String,
    /// Secret key.
    pub secret_key: Secret,
    /// S3's owner id, else derived.
    pub canonical_id: Option<CanonicalId>,
    /// `Owner/DisplayName`, else the name.
    pub display_name: Option<String>,
    /// E-mail grants resolve by it.
    pub email: Option<String>,
    /// Its own bucket name space.
    pub tenant: Option<String>,
}

/// The `[s3]` table as it was written.
#[derive(Clone, Debug, Default)]
pub struct S3Settings {
    /// Ownership of new buckets.
    pub default_ownership: Option<String>,
    /// Whether new buckets block public access.
    pub default_public_access_block: Option<bool>,
    /// Where SigV2 is accepted.
    pub sigv2: Option<SigV2>,
    /// Whether customer keys are refused over plain HTTP.
    pub sse_c_needs_tls: Option<bool>,
    /// Storage class names.
    pub storage_classes: Option<Vec<String>>,
    /// Names of local KMS keys.
    pub kms_keys: Option<Vec<String>>,
    /// Buckets that one account may have.
    pub buckets_per_account: Option<u64>,
}

/// The `[s3]` table with its defaults.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct S3 {
    /// Ownership of new buckets.
    pub default_ownership: String,
    /// Whether new buckets block public access.
    pub default_public_access_block: bool,
    /// Where SigV2 is accepted.
    pub sigv2: SigV2,
    /// Whether customer keys are refused over plain HTTP.
    pub sse_c_needs_tls: bool,
    /// Storage class names.
    pub storage_classes: Vec<String>,
    /// Names of local KMS keys.
    pub kms_keys: Vec<String>,
    /// Buckets that one account may have.
    pub buckets_per_account: u64,
}

/// The port that SDK examples use for a local endpoint.
pub const DEFAULT_LISTEN: ([u8; 4], u16) = ([127, 0, 0, 1], 8080);
const DEFAULT_DATA: &str = "./zerocloud-data";
const DEFAULT_DRAIN: Duration = Duration::from_secs(30);

impl Config {
    /// Merges the sources. `debug` allows the `[debug]` table. Errors: settings that contradict each other.
    pub fn merge(
        flags: Layer,
        environment: Layer,
        file: Option<Layer>,
        debug: bool,
    ) -> Result<Config, Failure> {
        let file = file.unwrap_or_default();
        macro_rules! pick {
            ($key:ident) => {
                flags.$key.or(environment.$key).or(file.$key)
            };
        }
        let day_seconds = file.day_seconds.unwrap_or(0);
        if day_seconds > 0 && !debug {
            return Err(Failure::configuration(
                "debug.day_seconds shortens lifecycle days and needs --debug beside it",
            ));
        }
        let tls = match (pick!(tls_cert), pick!(tls_key)) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            (Some(_), None) => {
                return Err(Failure::configuration("tls_cert is set without tls_key; set both or neither"));
            }
            (None, Some(_)) => {
                return Err(Failure::configuration("tls_key is set without tls_cert; set both or neither"));
            }
        };
        let listen = pick!(listen);
        let account_id =
            pick!(account_id).unwrap_or_else(|| AccountId::parse("000000000000").expect("twelve digits"));
        let config = Config {
            data: pick!(data).unwrap_or_else(|| DEFAULT_DATA.into()),
            listen_is_default: listen.is_none(),
            listen: listen.unwrap_or_else(|| vec![SocketAddr::from(DEFAULT_LISTEN)]),
            shards: pick!(shards),
            pin: pick!(pin).unwrap_or(true),
            tls,
            region: pick!(region).unwrap_or_else(|| "us-east-1".into()),
            account_id,
            public_url: pick!(public_url),
            virtual_hosts: pick!(virtual_hosts).unwrap_or_else(|| vec!["localhost".into()]),
            drain_timeout: pick!(drain_timeout).unwrap_or(DEFAULT_DRAIN),
            allow_unsafe_filesystem: pick!(allow_unsafe_filesystem).unwrap_or(false),
            allow_plaintext: pick!(allow_plaintext).unwrap_or(false),
            backend: pick!(backend).unwrap_or_default(),
            log: Log {
                level: pick!(log_level).unwrap_or(Level::Info),
                access: pick!(log_access).unwrap_or(false),
            },
            limits: file.limits,
            accounts: file.accounts,
            s3: S3::complete(file.s3.unwrap_or_default()),
            cache: cache::Cache::complete(
                environment.cache.unwrap_or_default(),
                file.cache.unwrap_or_default(),
            )?,
            cache_only: flags.cache_only,
            day_seconds,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), Failure> {
        if self.listen.is_empty() {
            return Err(Failure::configuration(
                "listen is empty; name at least one address such as 127.0.0.1:8080",
            ));
        }
        for (index, account) in self.accounts.iter().enumerate() {
            let earlier = &self.accounts[..index];
            if earlier.iter().any(|other| other.access_key == account.access_key) {
                let key = &account.access_key;
                return Err(Failure::configuration(format!(
                    "access key {key} is listed twice; each key speaks for one account"
                )));
            }
        }
        Ok(())
    }

    /// The accounts and keys of this configuration, root first. Errors: an account that contradicts the root account.
    pub fn key_ring(&self, root_access_key: &str, root_secret: &Secret) -> Result<KeyRing, Failure> {
        let mut ring = KeyRing::default();
        let root = Arc::new(AwsAccount::new(self.account_id, "root"));
        ring.add_key(AccessKey {
            id: root_access_key.into(),
            secret: root_secret.clone(),
            session: None,
            account: root.clone(),
        });
        let mut seen: Vec<Arc<AwsAccount>> = vec![root];
        for account in &self.accounts {
            if account.access_key == root_access_key {
                let key = &account.access_key;
                return Err(Failure::configuration(format!(
                    "access key {key} is the root key; give the account another"
                )));
            }
            let described = Arc::new(account.describe());
            // Two keys of one account share its description, so their descriptions must agree.
            let shared = match seen.iter().find(|other| other.id == account.id) {
                Some(other) if **other == *described || other.name == "root" => other.clone(),
                Some(_) => {
                    let id = account.id.as_str();
                    return Err(Failure::configuration(format!(
                        "account {id} is described twice and differently"
                    )));
                }
                None => described,
            };
            if !seen.iter().any(|other| Arc::ptr_eq(other, &shared)) {
                seen.push(shared.clone());
            }
            let id = account.access_key.as_str().into();
            ring.add_key(AccessKey {
                id,
                secret: account.secret_key.clone(),
                session: None,
                account: shared,
            });
        }
        Ok(ring)
    }

    /// Names the settings that differ between `self` and `new` and that only a restart can change.
    pub fn needs_restart(&self, new: &Config) -> Vec<&'static str> {
        let mut names = Vec::new();
        let mut compare = |name, same: bool| {
            if !same {
                names.push(name);
            }
        };
        compare("data", self.data == new.data);
        compare("listen", self.listen == new.listen);
        compare("shards", self.shards == new.shards);
        compare("pin", self.pin == new.pin);
        compare("tls_cert", self.tls.is_some() == new.tls.is_some());
        compare("region", self.region == new.region);
        compare("account_id", self.account_id == new.account_id);
        compare("public_url", self.public_url == new.public_url);
        compare("virtual_hosts", self.virtual_hosts == new.virtual_hosts);
        compare("backend", self.backend == new.backend);
        compare("drain_timeout", self.drain_timeout == new.drain_timeout);
        compare("allow_plaintext", self.allow_plaintext == new.allow_plaintext);
        compare("s3", self.s3 == new.s3);
        // Whom the cache lets in without a token is reloaded.
        let cache = cache::Cache { anonymous: self.cache.anonymous, ..new.cache.clone() };
        compare("cache", self.cache == cache);
        compare("debug.day_seconds", self.day_seconds == new.day_seconds);
        names
    }

    /// Takes over where a service manager listens for us: instead of the default, besides what was named.
    pub fn inherit(&mut self, addresses: &[SocketAddr]) {
        if addresses.is_empty() {
            return;
        }
        if std::mem::take(&mut self.listen_is_default) {
            self.listen.clear();
        }
        self.listen.retain(|address| !addresses.contains(address));
        self.listen.splice(0..0, addresses.iter().copied());
    }

    /// Whether any listener is reachable from other machines.
    pub fn beyond_loopback(&self) -> bool {
        self.listen.iter().any(|address| !address.ip().is_loopback())
    }

    /// The default data directory, for commands that take only `--data`.
    pub fn data_or_default(data: Option<&Path>) -> PathBuf {
        data.map_or_else(|| DEFAULT_DATA.into(), Path::to_path_buf)
    }
}

impl Account {
    fn describe(&self) -> AwsAccount {
        let mut account = AwsAccount::new(self.id, self.name.clone());
        if let Some(id) = self.canonical_id {
            account.canonical_id = id;
        }
        if let Some(name) = &self.display_name {
            account.display_name.clone_from(name);
        }
        account.email.clone_from(&self.email);
        account.tenant.clone_from(&self.tenant);
        account
    }
}

impl S3 {
    fn complete(settings: S3Settings) -> S3 {
        S3 {
            default_ownership: settings.default_ownership.unwrap_or_else(|| "BucketOwnerEnforced".into()),
            default_public_access_block: settings.default_public_access_block.unwrap_or(true),
            sigv2: settings.sigv2.unwrap_or_default(),
            sse_c_needs_tls: settings.sse_c_needs_tls.unwrap_or(true),
            storage_classes: settings.storage_classes.unwrap_or_else(|| vec!["STANDARD".into()]),
            kms_keys: settings.kms_keys.unwrap_or_default(),
            buckets_per_account: settings.buckets_per_account.unwrap_or(10_000),
        }
    }
}

#[cfg(test)]
mod tests;
