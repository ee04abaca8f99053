//! The transport against the appliance itself: the binary that `ZEROCLOUD_BINARY` names. The tests that need it are ignored unless
//! they are asked for (`--ignored`), and fail without that variable.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::body::{Body, Outgoing, stream_of};
use crate::call::Cause;
use crate::checksum::Check;
use crate::connect::ConnectOptions;
use crate::credentials::{Chain, Surroundings};
use crate::encode::{Query, object_path, test_keys};
use crate::http2::Waits;
use crate::retry::Idempotency;
use crate::wire::{self, Head};
use http_types::{HeaderMap, HeaderName, HeaderValue, header};

/// A running appliance with a data directory of its own; both go when it is dropped.
pub(crate) struct Appliance {
    child: Child,
    directory: PathBuf,
    pub(crate) url: String,
}

impl Appliance {
    pub(crate) fn start(name: &str, arguments: &[&str], files: &[(&str, &str)]) -> Appliance {
        let directory = std::env::temp_dir().join(format!("cloudkit-zero-{name}-{}", std::process::id()));
        // A process of this number that was killed may have left one.
        drop(std::fs::remove_dir_all(&directory));
        std::fs::create_dir_all(&directory).expect("it can be made");
        for (file, text) in files {
            std::fs::write(directory.join(file), text).expect("it can be written");
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(directory.join(file), private).expect("it is ours");
        }
        let (child, url) = launch(&directory, arguments);
        Appliance { child, directory, url }
    }

    /// Kills it, as a power loss would, and starts it again on its data, at another port.
    pub(super) fn restart(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
        (self.child, self.url) = launch(&self.directory, &[]);
    }

    pub(crate) fn settings(&self) -> Settings {
        struct Found(PathBuf);
        impl Surroundings for Found {
            fn variable(&self, name: &str) -> Option<String> {
                (name == "ZERO_CREDENTIALS_FILE").then(|| self.0.display().to_string())
            }
            fn file(&self, path: &Path) -> std::io::Result<Option<String>> {
                std::fs::read_to_string(path).map(Some)
            }
        }
        let keys = Arc::new(Chain(Found(self.directory.join("data/credentials"))));
        let settings = Settings::new(&self.url, keys);
        Settings { connect: patient(), attempt: PATIENCE, stall: PATIENCE, ..settings }
    }

    pub(crate) fn caller(&self) -> Caller {
        Caller::new(self.settings()).expect("the URL is good")
    }
}

/// Starts the binary in a directory and waits until it is ready. Gives its URL.
fn launch(directory: &Path, arguments: &[&str]) -> (Child, String) {
    let binary = std::env::var_os("ZEROCLOUD_BINARY").expect("ZEROCLOUD_BINARY names the appliance");
    let mut child = Command::new(binary)
        .args(["serve", "--data", "data", "--listen", "127.0.0.1:0"])
        .args(arguments)
        .current_dir(directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let url = loop {
        let line = lines.next().expect("it becomes ready").expect("it is text");
        if let Some((_, url)) = line.split_once("zerocloud ready on ") {
            let url = url.split_whitespace().next().expect("it names its URL");
            break url.trim_end_matches('/').to_string();
        }
    };
    // Somebody has to read on, or the appliance waits for its log.
    std::thread::spawn(move || lines.for_each(drop));
    (child, url)
}

/// A machine that stands still for a while makes no test fail.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

pub(super) fn patient() -> ConnectOptions {
    ConnectOptions { timeout: PATIENCE, ..ConnectOptions::default() }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.directory).ok();
    }
}

fn object(method: Method, key: &str) -> Request {
    Request::new("s3", method, object_path("bucket", Some(key)))
}

async fn make_bucket(caller: &Caller) {
    let request = Request::new("s3", Method::PUT, object_path("bucket", None));
    caller.call(request).await.expect("the bucket is made");
}

/// Gets an object and compares its body with the checksum that the appliance keeps.
async fn checked(caller: &Caller, key: &str) -> Bytes {
    let mut request = object(Method::GET, key);
    request
        .headers
        .insert(HeaderName::from_static("x-amz-checksum-mode"), HeaderValue::from_static("ENABLED"));
    let mut reply = caller.call(request).await.expect("it is there").reply;
    let check = Check::from_headers(&reply.headers).expect("the appliance keeps a checksum");
    reply.body.verify(Some(check));
    reply.body.collect(usize::MAX).await.expect("it is whole")
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn every_awkward_key_is_put_got_and_reached_by_presigned_addresses() {
    let appliance = Appliance::start("keys", &[], &[]);
    let caller = appliance.caller();
    make_bucket(&caller).await;
    let pool = crate::pool::Pool::new(
        crate::connect::Connector::new(crate::connect::Target::parse(&appliance.url).unwrap(), patient()),
        PoolOptions::default(),
    );
    let bare = async |method: Method, url: &str, mut body: Outgoing| {
        let path = Bytes::copy_from_slice(url.strip_prefix(&appliance.url).expect("it begins so").as_bytes());
        let head = Head { method, path_and_query: path, headers: HeaderMap::new(), answer_bytes: 0 };
        let mut reply =
            wire::send(&pool, head, &mut body, &Waits { head: PATIENCE, stall: PATIENCE, deadline: None })
                .await
                .expect("it is answered");
        (reply.status, reply.body.collect(usize::MAX).await.expect("it is whole"))
    };
    for key in test_keys() {
        caller
            .call(Request { body: Bytes::from(key.clone()).into(), ..object(Method::PUT, &key) })
            .await
            .expect(&key);
        assert_eq!(body_of(caller.call(object(Method::GET, &key)).await).await, key);
        let path = object_path("bucket", Some(&key));
        let sign = async |method| {
            let life = Duration::from_secs(600);
            caller.presign(method, &path, Query::new(), &HeaderMap::new(), life).await.expect("it is signed")
        };
        let got = bare(Method::GET, &sign(Method::GET).await, Outgoing::Empty).await;
        assert_eq!(got, (http_types::StatusCode::OK, Bytes::from(key.clone())), "{key}");
        let put =
            bare(Method::PUT, &sign(Method::PUT).await, Outgoing::Bytes(Bytes::from_static(b"second"))).await;
        assert_eq!(put.0, http_types::StatusCode::OK, "{key}: {put:?}");
        assert_eq!(body_of(caller.call(object(Method::GET, &key)).await).await, "second");
    }
    // All keys are objects of their own.
    let mut list = Request::new("s3", Method::GET, object_path("bucket", None));
    list.query = Query::new().with("list-type", "2").with("encoding-type", "url");
    let listing = crate::xml::Element::parse(&body_of(caller.call(list).await).await).expect("it is XML");
    assert_eq!(listing.children("Contents").count(), test_keys().len());
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn streams_go_up_signed_and_unsigned_and_come_back_with_their_checksum() {
    let appliance = Appliance::start("streams", &[], &[]);
    let caller = appliance.caller();
    make_bucket(&caller).await;
    let data: Vec<u8> = (0..5_000_001_u32).map(|index| (index * 31 % 251) as u8).collect();
    for (name, signs_bodies) in [("unsigned", Some(false)), ("signed", Some(true)), ("by itself", None)] {
        let caller = Caller::new(Settings { signs_bodies, ..appliance.settings() }).unwrap();
        for length in [Some(data.len() as u64), None] {
            if length.is_none() && signs_bodies.is_some() {
                continue;
            }
            let pieces = data.chunks(100_003).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            let body = Body::Stream(stream_of(pieces, length));
            let put = caller.call(Request { body, ..object(Method::PUT, name) }).await;
            match (put, length) {
                (Ok(_), _) => assert!(checked(&caller, name).await == data, "{name}"),
                (Err(error), None) => assert!(error.to_string().contains("MissingContentLength"), "{error}"),
                (Err(error), Some(_)) => panic!("{name}: {error}"),
            }
        }
        let mut put = Request { body: Bytes::from(data.clone()).into(), ..object(Method::PUT, name) };
        let sum = crate::checksum::crc64nvme_of(&data);
        put.headers.insert(
            HeaderName::from_static(crate::checksum::CRC64NVME_NAME),
            HeaderValue::from_str(&sum).unwrap(),
        );
        caller.call(put).await.expect("bytes go up");
        assert!(checked(&caller, name).await == data, "{name}");
    }
    assert_eq!((caller.in_flight().streams, caller.in_flight().bytes), (0, 0));
}

async fn dynamodb(caller: &Caller, operation: &'static str, body: &str) -> Result<String, CallError> {
    let mut request =
        Request { body: Bytes::from(body.to_string()).into(), ..Request::new("dynamodb", Method::POST, "/") };
    let target = format!("DynamoDB_20120810.{operation}");
    request.headers.insert(HeaderName::from_static("x-amz-target"), HeaderValue::from_str(&target).unwrap());
    request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    let mut reply = caller.call(request).await?.reply;
    let body = reply.body.collect(1 << 20).await.expect("it is whole");
    Ok(String::from_utf8(body.to_vec()).expect("JSON is text"))
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn tables_are_called_by_many_at_once_over_one_connection() {
    let appliance = Appliance::start("tables", &[], &[]);
    let pool = PoolOptions { connections_max: 1, ..PoolOptions::default() };
    let caller = Caller::new(Settings { pool, ..appliance.settings() }).unwrap();
    let table = "{\"TableName\":\"things\",\"BillingMode\":\"PAY_PER_REQUEST\",\"KeySchema\":[{\"AttributeName\":\"id\",\"KeyType\":\"HASH\"}],\"AttributeDefinitions\":[{\"AttributeName\":\"id\",\"AttributeType\":\"S\"}]}";
    dynamodb(&caller, "CreateTable", table).await.expect("it is made");
    let tasks: Vec<_> = (0..32)
        .map(|task| {
            let caller = caller.clone();
            tokio::spawn(async move {
                for round in 0..20 {
                    let item = format!(
                        "{{\"TableName\":\"things\",\"Item\":{{\"id\":{{\"S\":\"{task}/{round}\"}}}}}}"
                    );
                    dynamodb(&caller, "PutItem", &item).await.expect("it is put");
                    let key = item.replace("Item", "Key");
                    let got = dynamodb(&caller, "GetItem", &key).await.expect("it is there");
                    assert!(got.contains(&format!("\"{task}/{round}\"")), "{got}");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("it went well");
    }
    assert_eq!((caller.in_flight().connections, caller.in_flight().streams), (1, 0));
    let error = dynamodb(&caller, "GetItem", "{\"TableName\":\"none\",\"Key\":{\"id\":{\"S\":\"1\"}}}")
        .await
        .expect_err("no table");
    let Cause::Fault(fault) = &error.cause else { panic!("{error}") };
    assert_eq!(fault.code, "ResourceNotFoundException");
    assert!(!fault.request_id.is_empty());
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn tls_is_spoken_to_a_peer_whose_authority_is_named() {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["zero.test".into()]).unwrap();
    let certificate = certificate.signed_by(&key, &issuer).unwrap().pem();
    let files = [
        ("authority.pem", authority_pem.as_str()),
        ("own.pem", &certificate),
        ("key.pem", &key.serialize_pem()),
    ];
    let arguments = ["--tls-cert", "own.pem", "--tls-key", "key.pem"];
    let appliance = Appliance::start("tls", &arguments, &files);
    let ca_file = Some(appliance.directory.join("authority.pem"));
    let named =
        ConnectOptions { ca_file: ca_file.clone(), server_name: Some("zero.test".into()), ..patient() };
    let caller = Caller::new(Settings { connect: named, ..appliance.settings() }).unwrap();
    make_bucket(&caller).await;
    caller
        .call(Request { body: Bytes::from_static(b"secret").into(), ..object(Method::PUT, "k") })
        .await
        .expect("it is put");
    assert_eq!(body_of(caller.call(object(Method::GET, "k")).await).await, "secret");
    assert_eq!((caller.in_flight().connections, caller.in_flight().http1), (1, 0), "ALPN chose HTTP/2");
    // Under another name, and without the authority, there is no trust and nothing is sent.
    for connect in [
        ConnectOptions { ca_file, ..patient() },
        ConnectOptions { server_name: Some("zero.test".into()), ..patient() },
    ] {
        let policy = Arc::new(cloudkit_core::spi::NoRetry);
        let caller = Caller::new(Settings { connect, policy, ..appliance.settings() }).unwrap();
        let error = caller.call(object(Method::GET, "k")).await.expect_err("it is not trusted");
        assert!(
            matches!(&error.cause, Cause::Wire(error) if matches!(error.kind(), crate::error::WireKind::Tls | crate::error::WireKind::Config)),
            "{error}"
        );
    }
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn refusals_name_code_and_request() {
    let appliance = Appliance::start("refusals", &[], &[]);
    let caller = appliance.caller();
    let error = caller.call(object(Method::GET, "k")).await.expect_err("there is no bucket");
    let failure = error.into_failure("GetObject", Some("bucket/k".into()), None);
    assert!(failure.kind.is_not_found(), "{failure}");
    assert!(failure.detail.request_id.is_some(), "{failure}");
    let stranger = Arc::new(FixedKeys(Arc::new(Keys::new("ZCLDNOBODY", "wrong"))));
    let caller = Caller::new(Settings { keys: stranger, ..appliance.settings() }).unwrap();
    let request = Request { idempotency: Idempotency::Never, ..object(Method::HEAD, "k") };
    let error = caller.call(request).await.expect_err("nobody knows that key");
    assert!(matches!(&error.cause, Cause::Fault(fault) if fault.status.as_u16() == 403), "{error}");
}
