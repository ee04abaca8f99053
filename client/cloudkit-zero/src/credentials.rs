//! Whose name a request bears: found at the first call, in a fixed order, and renewed before it expires.
//!
//! ```text
//! builder -> CLOUD_ACCESS_KEY .. -> AWS_ACCESS_KEY_ID .. -> ZERO_CREDENTIALS_FILE -> ./zerocloud-data/credentials -> the user's directory
//! ```
//! Invariant: however many calls wait, one of them asks the provider; nobody sees a secret in a message or in `Debug`.

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use cloudkit_core::common::{AuthError, CloudError, CloudResult, Credentials};
use cloudkit_core::spi::{AuthProvider, BoxedAuthProvider};

use crate::error::WireError;
use crate::profile;

/// An access key, its secret, and the token of a session.
pub type Keys = Credentials;

/// Keys, and when they stop being good.
#[derive(Clone, Debug)]
pub struct Lease {
    /// What to sign with.
    pub keys: Arc<Keys>,
    /// None: never.
    pub expires: Option<SystemTime>,
}

/// A future of keys.
pub type LeaseFuture<'a> = Pin<Box<dyn Future<Output = Result<Lease, WireError>> + Send + 'a>>;

/// Where keys come from.
pub trait KeySource: Send + Sync {
    /// Keys that are good now. Errors: none to be had.
    fn lease(&self) -> LeaseFuture<'_>;

    /// Keys in place of those that end soon or that the peer refused. Errors: none to be had.
    fn renew(&self) -> LeaseFuture<'_> {
        self.lease()
    }
}

/// Keys that never change.
#[derive(Debug)]
pub struct FixedKeys(pub Arc<Keys>);

impl KeySource for FixedKeys {
    fn lease(&self) -> LeaseFuture<'_> {
        let keys = self.0.clone();
        Box::pin(async move { Ok(Lease { keys, expires: None }) })
    }
}

/// Keys of a provider that the program brings. It does not say when they end, so those of a session are taken to be good for
/// `SESSION_LIFE` and thus asked for anew every ten minutes; lasting ones are kept.
pub struct ProvidedKeys {
    /// Whom to ask.
    pub provider: BoxedAuthProvider,
    /// What time it is.
    pub clock: fn() -> SystemTime,
}

/// No service of AWS gives sessions of less.
const SESSION_LIFE: Duration = Duration::from_secs(900);

impl ProvidedKeys {
    fn lease_of(&self, keys: CloudResult<Keys>) -> Result<Lease, WireError> {
        let keys = keys.map_err(|error| match error {
            // Its words alone: what is wrong is said again by the kind.
            CloudError::Auth(AuthError::MissingCredentials(words)) => WireError::credentials(words),
            other => WireError::credentials(other.to_string()),
        })?;
        let expires = keys.session_token.is_some().then(|| (self.clock)() + SESSION_LIFE);
        Ok(Lease { keys: Arc::new(keys), expires })
    }
}

impl KeySource for ProvidedKeys {
    fn lease(&self) -> LeaseFuture<'_> {
        Box::pin(async move { self.lease_of(self.provider.get_credentials().await) })
    }

    fn renew(&self) -> LeaseFuture<'_> {
        Box::pin(async move { self.lease_of(self.provider.refresh_credentials().await) })
    }
}

/// What the resolution looks at, so that tests need no environment of their own.
pub trait Surroundings: Send + Sync {
    /// A variable; None when it is not set or empty.
    fn variable(&self, name: &str) -> Option<String>;
    /// A file's text; None when it is not there.
    fn file(&self, path: &Path) -> std::io::Result<Option<String>>;
}

/// The process.
#[derive(Debug)]
pub struct ProcessSurroundings;

impl Surroundings for ProcessSurroundings {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn file(&self, path: &Path) -> std::io::Result<Option<String>> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Looks for keys in the environment, then in files.
#[derive(Debug)]
pub struct Chain<S>(pub S);

impl<S: Surroundings> KeySource for Chain<S> {
    fn lease(&self) -> LeaseFuture<'_> {
        // The files are small, local, and read once in a client's life.
        let found = resolve(&self.0);
        Box::pin(async move { Ok(Lease { keys: Arc::new(found?), expires: None }) })
    }
}

/// The search as a provider of credentials, for a context that names none.
#[derive(Debug, Clone, Copy, Default)]
pub struct ZeroAuthProvider;

#[async_trait]
impl AuthProvider for ZeroAuthProvider {
    async fn get_credentials(&self) -> CloudResult<Credentials> {
        resolve(&ProcessSurroundings)
            .map_err(|error| CloudError::Auth(AuthError::MissingCredentials(error.message().to_string())))
    }
}

/// The endpoint when the builder names none: `ZERO_URL`, `AWS_ENDPOINT_URL`, the local default.
pub fn endpoint_url(surroundings: &dyn Surroundings) -> String {
    ["ZERO_URL", "AWS_ENDPOINT_URL"]
        .into_iter()
        .find_map(|name| surroundings.variable(name))
        .unwrap_or_else(|| "http://localhost:8080".into())
}

fn resolve(surroundings: &dyn Surroundings) -> Result<Keys, WireError> {
    const VARIABLES: [[&str; 3]; 2] = [
        ["CLOUD_ACCESS_KEY", "CLOUD_SECRET_KEY", "CLOUD_SESSION_TOKEN"],
        ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"],
    ];
    for [access, secret, token] in VARIABLES {
        match (surroundings.variable(access), surroundings.variable(secret)) {
            (Some(access_key), Some(secret_key)) => {
                return Ok(Keys { access_key, secret_key, session_token: surroundings.variable(token) });
            }
            (None, None) => {}
            _ => {
                return Err(WireError::credentials(format!(
                    "{access} and {secret} go together; set both or neither"
                )));
            }
        }
    }
    let profile = surroundings.variable("ZERO_PROFILE").unwrap_or_else(|| "default".into());
    let named = surroundings.variable("ZERO_CREDENTIALS_FILE").map(PathBuf::from);
    let is_named = named.is_some();
    let paths = named.map_or_else(|| default_files(surroundings), |path| vec![path]);
    for path in &paths {
        let text = surroundings.file(path).map_err(|error| {
            WireError::credentials(format!("{}: cannot be read: {error}", path.display()))
        })?;
        if let Some(text) = text
            && let Some(keys) = profile::parse(path, &text, &profile)?
        {
            return Ok(keys);
        }
    }
    let places = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and ");
    let named = if is_named { "ZERO_CREDENTIALS_FILE names " } else { "" };
    Err(WireError::credentials(format!(
        "no credentials: neither CLOUD_ACCESS_KEY and CLOUD_SECRET_KEY nor their AWS_ names are set, and {named}{places} holds no profile [{profile}]"
    )))
}

/// The appliance's own file under the working directory, then the user's.
fn default_files(surroundings: &dyn Surroundings) -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("zerocloud-data/credentials")];
    let user = surroundings
        .variable("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| surroundings.variable("HOME").map(|home| Path::new(&home).join(".config")));
    files.extend(user.map(|directory| directory.join("zerocloud/credentials")));
    files
}

/// Renewed this long before they expire.
pub const REFRESH_BEFORE: Duration = Duration::from_secs(300);
/// After a failed renewal of keys that are still good, the next one waits this long.
const REFRESH_PAUSE: Duration = Duration::from_secs(10);

/// The keys in use.
pub struct KeyCache {
    source: Arc<dyn KeySource>,
    held: Mutex<Held>,
    /// Who holds it asks the source.
    asking: tokio::sync::Mutex<()>,
    was_asked: AtomicBool,
}

#[derive(Default)]
struct Held {
    lease: Option<Lease>,
    ask_again: Option<SystemTime>,
}

impl KeyCache {
    /// Asks nothing yet.
    pub fn new(source: Arc<dyn KeySource>) -> KeyCache {
        KeyCache {
            source,
            held: Mutex::new(Held::default()),
            asking: tokio::sync::Mutex::new(()),
            was_asked: AtomicBool::new(false),
        }
    }

    /// Keys that are good at `now`. Keys near their end are renewed by one caller while the others go on with them.
    /// Errors: the source's, when there are no good ones.
    pub async fn keys(&self, now: SystemTime) -> Result<Arc<Keys>, WireError> {
        let (good, is_fresh) = self.look(now);
        if let (Some(keys), true) = (&good, is_fresh) {
            return Ok(keys.clone());
        }
        let guard = match &good {
            Some(keys) => match self.asking.try_lock() {
                Ok(guard) => guard,
                Err(_) => return Ok(keys.clone()),
            },
            None => self.asking.lock().await,
        };
        // Somebody else may have asked while this one waited.
        if let (Some(keys), true) = self.look(now) {
            return Ok(keys);
        }
        let asked = if self.was_asked.swap(true, Ordering::Relaxed) {
            self.source.renew()
        } else {
            self.source.lease()
        };
        let asked = asked.await;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match (asked, good) {
            (Ok(lease), _) => {
                let keys = lease.keys.clone();
                *held = Held { lease: Some(lease), ask_again: None };
                Ok(keys)
            }
            (Err(_), Some(keys)) => {
                held.ask_again = Some(now + REFRESH_PAUSE);
                Ok(keys)
            }
            (Err(error), None) => Err(error),
        };
        drop(held);
        drop(guard);
        answer
    }

    /// Forgets `keys`, which the peer calls expired or unknown; the next call asks anew.
    pub fn forget(&self, keys: &Arc<Keys>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.lease.as_ref().is_some_and(|lease| Arc::ptr_eq(&lease.keys, keys)) {
            *held = Held::default();
        }
    }

    /// The keys if they are good at `now`, and whether nobody need ask for others yet.
    fn look(&self, now: SystemTime) -> (Option<Arc<Keys>>, bool) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(lease) = &held.lease else { return (None, false) };
        match lease.expires {
            None => (Some(lease.keys.clone()), true),
            Some(expires) if expires <= now => (None, false),
            Some(expires) => {
                let is_fresh =
                    expires > now + REFRESH_BEFORE || held.ask_again.is_some_and(|again| again > now);
                (Some(lease.keys.clone()), is_fresh)
            }
        }
    }
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyCache")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::sync::atomic::AtomicUsize;
    use std::time::UNIX_EPOCH;

    #[derive(Default)]
    struct Fake {
        variables: HashMap<&'static str, &'static str>,
        files: HashMap<&'static str, &'static str>,
    }

    impl Surroundings for Fake {
        fn variable(&self, name: &str) -> Option<String> {
            self.variables.get(name).map(|value| value.to_string())
        }
        fn file(&self, path: &Path) -> std::io::Result<Option<String>> {
            Ok(self.files.get(path.to_str().unwrap_or_default()).map(|text| text.to_string()))
        }
    }

    const FILE: &str = "[default]\naws_access_key_id=F\naws_secret_access_key=f\n[two]\naws_access_key_id=G\naws_secret_access_key=g\n";

    #[test]
    fn the_order_is_cloud_then_aws_then_files() {
        let mut fake = Fake::default();
        assert!(
            resolve(&fake).expect_err("nothing is there").message().contains("zerocloud-data/credentials")
        );
        fake.variables.insert("HOME", "/home/u");
        fake.files.insert("/home/u/.config/zerocloud/credentials", FILE);
        assert_eq!(resolve(&fake).unwrap().access_key, "F");
        fake.variables.insert("ZERO_PROFILE", "two");
        assert_eq!(resolve(&fake).unwrap().access_key, "G");
        fake.files
            .insert("zerocloud-data/credentials", "[two]\naws_access_key_id=D\naws_secret_access_key=d\n");
        assert_eq!(resolve(&fake).unwrap().access_key, "D");
        fake.variables.insert("ZERO_CREDENTIALS_FILE", "/named");
        assert!(resolve(&fake).is_err(), "a file that is named and not there is not passed over");
        fake.files.insert("/named", FILE);
        assert_eq!(resolve(&fake).unwrap().access_key, "G");
        fake.variables.extend([
            ("AWS_ACCESS_KEY_ID", "A"),
            ("AWS_SECRET_ACCESS_KEY", "a"),
            ("AWS_SESSION_TOKEN", "t"),
        ]);
        assert_eq!(resolve(&fake).unwrap().session_token.as_deref(), Some("t"));
        fake.variables.extend([("CLOUD_ACCESS_KEY", "C"), ("CLOUD_SECRET_KEY", "c")]);
        let keys = resolve(&fake).unwrap();
        assert_eq!((keys.access_key.as_str(), keys.session_token), ("C", None));
        fake.variables.remove("CLOUD_SECRET_KEY");
        assert!(resolve(&fake).is_err(), "half a key is an error");
    }

    #[test]
    fn the_endpoint_has_an_order_too() {
        let mut fake = Fake::default();
        assert_eq!(endpoint_url(&fake), "http://localhost:8080");
        fake.variables.insert("AWS_ENDPOINT_URL", "http://a");
        assert_eq!(endpoint_url(&fake), "http://a");
        fake.variables.insert("ZERO_URL", "http://z");
        assert_eq!(endpoint_url(&fake), "http://z");
    }

    /// Gives keys for 1,000 s and counts; waits until it is let go.
    struct Counting {
        asked: AtomicUsize,
        go: tokio::sync::Semaphore,
        fails: std::sync::atomic::AtomicBool,
    }

    impl Counting {
        fn new() -> Arc<Counting> {
            let go = tokio::sync::Semaphore::new(0);
            Arc::new(Counting { asked: AtomicUsize::new(0), go, fails: false.into() })
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    impl KeySource for Counting {
        fn lease(&self) -> LeaseFuture<'_> {
            Box::pin(async {
                let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
                self.go.acquire().await.expect("it is never closed").forget();
                if self.fails.load(Ordering::SeqCst) {
                    return Err(WireError::credentials("not now"));
                }
                let keys = Arc::new(Keys::new(number.to_string(), "s"));
                Ok(Lease { keys, expires: Some(at(1_000 * number as u64)) })
            })
        }
    }

    #[tokio::test]
    async fn one_asks_and_all_get_the_answer() {
        let source = Counting::new();
        let cache = Arc::new(KeyCache::new(source.clone()));
        let calls: Vec<_> = (0..20)
            .map(|_| {
                let cache = cache.clone();
                tokio::spawn(async move { cache.keys(at(1)).await })
            })
            .collect();
        source.go.add_permits(1);
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap().access_key, "1");
        }
        assert_eq!(source.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn keys_are_renewed_five_minutes_early_and_kept_while_that_fails() {
        let source = Counting::new();
        let cache = KeyCache::new(source.clone());
        source.go.add_permits(100);
        assert_eq!(cache.keys(at(0)).await.unwrap().access_key, "1");
        assert_eq!(cache.keys(at(699)).await.unwrap().access_key, "1");
        source.fails.store(true, Ordering::SeqCst);
        assert_eq!(cache.keys(at(700)).await.unwrap().access_key, "1");
        assert_eq!(cache.keys(at(705)).await.unwrap().access_key, "1");
        assert_eq!(source.asked.load(Ordering::SeqCst), 2, "a failed renewal is not repeated at once");
        assert!(cache.keys(at(1_000)).await.is_err(), "expired keys are never used");
        source.fails.store(false, Ordering::SeqCst);
        assert_eq!(cache.keys(at(1_001)).await.unwrap().access_key, "4");
    }

    #[tokio::test]
    async fn forgotten_keys_are_asked_for_anew() {
        let source = Counting::new();
        let cache = KeyCache::new(source.clone());
        source.go.add_permits(100);
        let keys = cache.keys(at(0)).await.unwrap();
        cache.forget(&keys);
        assert_eq!(cache.keys(at(0)).await.unwrap().access_key, "2");
        cache.forget(&keys);
        assert_eq!(cache.keys(at(0)).await.unwrap().access_key, "2", "those in use stay");
    }

    /// Gives a session, and counts how often it was asked for the first and for further ones.
    #[derive(Default)]
    struct Vault(AtomicUsize, AtomicUsize);

    #[async_trait::async_trait]
    impl cloudkit_core::spi::AuthProvider for Vault {
        async fn get_credentials(&self) -> CloudResult<Keys> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(Keys::with_session_token("first", "s", "t"))
        }
        async fn refresh_credentials(&self) -> CloudResult<Keys> {
            self.1.fetch_add(1, Ordering::SeqCst);
            Ok(Keys::with_session_token("further", "s", "t"))
        }
    }

    #[tokio::test]
    async fn a_provider_is_asked_once_and_then_to_refresh() {
        let vault = Arc::new(Vault::default());
        let clock = || at(1_000);
        let cache = KeyCache::new(Arc::new(ProvidedKeys { provider: vault.clone(), clock }));
        assert_eq!(cache.keys(at(1_000)).await.unwrap().access_key, "first");
        assert_eq!(cache.keys(at(1_599)).await.unwrap().access_key, "first");
        assert_eq!(cache.keys(at(1_600)).await.unwrap().access_key, "further");
        assert_eq!((vault.0.load(Ordering::SeqCst), vault.1.load(Ordering::SeqCst)), (1, 1));
    }
}
