//! ZeroStore against a peer whose answers are lost or wrong, and what metrics and log hear of it.

use super::*;
use crate::ZeroClient;
use async_trait::async_trait;
use cloudkit_core::api::{ObjectStorage, PutStreamOptions};
use cloudkit_core::common::{AuthError, CloudError, NetworkError};
use cloudkit_core::spi::{LogEntry, LogLevel, Logger, MetricsCollector, OperationMetrics, OperationOutcome};
use std::sync::Mutex;

const HELLO_MD5: &str = "\"5d41402abc4b2a76b9719d911017c592\"";
const MODIFIED: (&str, &str) = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");

fn hello_checksum() -> String {
    crate::checksum::crc64nvme_of(b"hello")
}

/// A create-only put of `hello` in a task of its own.
fn put_if_absent(
    caller: Caller,
) -> tokio::task::JoinHandle<Result<cloudkit_core::api::PutResult, cloudkit_core::common::Failure>> {
    let storage = ZeroClient::over(caller, None, None).storage();
    let options = PutStreamOptions::new().if_absent();
    tokio::spawn(async move { storage.put_stream("bucket", "key", "hello".into(), options).await })
}

/// Loses the answer to the next request: the stream ends without one.
async fn lose(peer: &mut Peer) {
    let stream = peer.request().await;
    peer.reset(stream, CANCEL).await;
}

async fn refuse(peer: &mut Peer) {
    let stream = peer.request().await;
    peer.head(stream, 412, &[]).await;
    peer.send(DATA, END_STREAM, stream, b"<Error><Code>PreconditionFailed</Code></Error>").await;
}

/// Answers a HEAD with what is there.
async fn show(peer: &mut Peer, etag: &str, checksum: &str) {
    let stream = peer.request().await;
    let headers = [("etag", etag), ("x-amz-checksum-crc64nvme", checksum), MODIFIED, ("content-length", "5")];
    peer.head(stream, 200, &headers).await;
    peer.send(DATA, END_STREAM, stream, b"").await;
}

#[tokio::test(start_paused = true)]
async fn a_create_only_put_whose_answer_was_lost_finds_its_own_object() {
    let (caller, mut incoming) = single();
    let put = put_if_absent(caller);
    let mut peer = incoming.framed().await;
    lose(&mut peer).await;
    refuse(&mut peer).await;
    show(&mut peer, HELLO_MD5, &hello_checksum()).await;
    let result = put.await.unwrap().expect("the object is the one that was put");
    assert_eq!(result.etag.as_deref(), Some(HELLO_MD5.trim_matches('"')));
}

#[tokio::test(start_paused = true)]
async fn a_create_only_put_that_finds_another_object_is_refused() {
    for (etag, checksum) in [("\"other\"", hello_checksum()), (HELLO_MD5, "AAAAAAAAAAA=".to_string())] {
        let (caller, mut incoming) = single();
        let put = put_if_absent(caller);
        let mut peer = incoming.framed().await;
        lose(&mut peer).await;
        refuse(&mut peer).await;
        show(&mut peer, etag, &checksum).await;
        let failure = put.await.unwrap().expect_err("it is another object");
        assert!(failure.kind.is_precondition_failed() && failure.detail.attempts == 2, "{failure}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_at_the_first_attempt_is_believed() {
    let (caller, mut incoming) = single();
    let put = put_if_absent(caller);
    let mut peer = incoming.framed().await;
    refuse(&mut peer).await;
    let failure = put.await.unwrap().expect_err("it is refused");
    assert!(failure.kind.is_precondition_failed(), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn a_put_of_which_every_answer_is_lost_looks_before_it_fails() {
    let (caller, mut incoming) = single();
    let put = put_if_absent(caller);
    let mut peer = incoming.framed().await;
    for _ in 0..3 {
        lose(&mut peer).await;
    }
    show(&mut peer, HELLO_MD5, &hello_checksum()).await;
    put.await.unwrap().expect("the object is there");
}

#[tokio::test(start_paused = true)]
async fn another_checksum_in_the_answer_is_an_error() {
    let (caller, mut incoming) = single();
    let storage = ZeroClient::over(caller, None, None).storage();
    let put = tokio::spawn(async move { storage.put_object("bucket", "key", b"hello").await });
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    peer.head(stream, 200, &[("etag", HELLO_MD5), ("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=")]).await;
    peer.send(DATA, END_STREAM, stream, b"").await;
    let error = put.await.unwrap().expect_err("the service has other bytes");
    assert!(matches!(error, CloudError::Network(NetworkError::ResponseParsing(_))), "{error:?}");
    assert!(error.to_string().contains("AAAAAAAAAAA="), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_body_with_another_checksum_than_its_head_says_is_read_again() {
    let (caller, mut incoming) = single();
    let storage = ZeroClient::over(caller, None, None).storage();
    let get = tokio::spawn(async move { storage.get_object("bucket", "key").await });
    let mut peer = incoming.framed().await;
    let checksum = hello_checksum();
    for body in [b"hellO", b"hello"] {
        let stream = peer.request().await;
        let headers =
            [("etag", HELLO_MD5), MODIFIED, ("content-length", "5"), ("x-amz-checksum-crc64nvme", &checksum)];
        peer.head(stream, 200, &headers).await;
        peer.send(DATA, END_STREAM, stream, body).await;
    }
    assert_eq!(get.await.unwrap().expect("the second one is good"), "hello");
}

#[tokio::test(start_paused = true)]
async fn an_upload_whose_completion_was_lost_finds_its_own_object() {
    // Both parts by the same tag, that of "hello", as their real one is of no interest here.
    let tags =
        [0x5d, 0x41, 0x40, 0x2a, 0xbc, 0x4b, 0x2a, 0x76, 0xb9, 0x71, 0x9d, 0x91, 0x10, 0x17, 0xc5, 0x92];
    let whole = <md5::Md5 as md5::Digest>::digest([tags, tags].concat());
    let hex: String = whole.iter().map(|byte| format!("{byte:02x}")).collect();
    for (etag, is_found) in [(format!("\"{hex}-2\""), true), ("\"other-2\"".to_string(), false)] {
        let (caller, mut incoming) = single();
        let storage = ZeroClient::over(caller, None, None).storage();
        let bytes = vec![7; 5 * 1024 * 1024 + 1];
        let checksum = crate::checksum::crc64nvme_of(&bytes);
        let options = PutStreamOptions::new().part_bytes(1).parallel_parts(1);
        let put =
            tokio::spawn(async move { storage.put_stream("bucket", "key", bytes.into(), options).await });
        let mut peer = incoming.framed().await;
        peer.open_window(0, 64 * 1024 * 1024).await;
        let stream = peer.request().await;
        peer.answer(stream, b"<R><UploadId>u1</UploadId></R>").await;
        for _ in 0..2 {
            let stream = peer.request().await;
            peer.open_window(stream, 64 * 1024 * 1024).await;
            while peer.next(DATA).await.flags & END_STREAM == 0 {}
            peer.head(stream, 200, &[("etag", HELLO_MD5)]).await;
            peer.send(DATA, END_STREAM, stream, b"").await;
        }
        // The completion, three times, and the look at what is there.
        for _ in 0..3 {
            lose(&mut peer).await;
        }
        show(&mut peer, &etag, &checksum).await;
        if !is_found {
            let stream = peer.request().await;
            peer.head(stream, 204, &[]).await;
            peer.send(DATA, END_STREAM, stream, b"").await;
        }
        let outcome = put.await.unwrap();
        assert_eq!(outcome.is_ok(), is_found, "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_behind_a_status_of_success_is_one() {
    let (caller, mut incoming) = single();
    let storage = ZeroClient::over(caller, None, None).storage();
    let copy = tokio::spawn(async move { storage.copy_object("bucket", "a", "bucket", "b").await });
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    peer.answer(stream, b"<Error><Code>InternalError</Code><Message>late</Message></Error>").await;
    let error = copy.await.unwrap().expect_err("it is not copied");
    assert!(matches!(&error, CloudError::Provider { code, .. } if code == "InternalError"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn without_credentials_nothing_is_sent_and_the_failure_says_so() {
    struct Nobody;
    impl crate::credentials::KeySource for Nobody {
        fn lease(&self) -> crate::credentials::LeaseFuture<'_> {
            Box::pin(async { Err(crate::error::WireError::credentials("none to be had")) })
        }
    }
    let (caller, mut incoming) = client(Settings { keys: Arc::new(Nobody), ..settings() });
    let storage = ZeroClient::over(caller, None, None).storage();
    let error = storage.list_buckets().await.expect_err("nobody signs");
    let detail = error.detail().expect("it carries its facts");
    assert!(matches!(error, CloudError::Auth(AuthError::MissingCredentials(_))), "{error:?}");
    assert_eq!((detail.attempts, incoming.has_next()), (0, false));
    assert!(error.to_string().contains("[not sent]. Hint: set CLOUD_ACCESS_KEY"), "{error}");
}

/// Keeps what it hears.
#[derive(Default)]
struct Heard {
    figures: Mutex<Vec<OperationMetrics>>,
    entries: Mutex<Vec<LogEntry>>,
}

#[async_trait]
impl MetricsCollector for Heard {
    async fn record(&self, metrics: OperationMetrics) {
        self.figures.lock().unwrap().push(metrics);
    }
    async fn increment_counter(&self, _: &str, _: u64, _: &[(&str, &str)]) {}
    async fn record_gauge(&self, _: &str, _: f64, _: &[(&str, &str)]) {}
    async fn record_histogram(&self, _: &str, _: f64, _: &[(&str, &str)]) {}
}

#[async_trait]
impl Logger for Heard {
    async fn log(&self, entry: LogEntry) {
        self.entries.lock().unwrap().push(entry);
    }
    fn is_enabled(&self, level: LogLevel) -> bool {
        level >= LogLevel::Warn
    }
}

#[tokio::test(start_paused = true)]
async fn metrics_and_log_hear_of_every_operation_once() {
    let (caller, mut incoming) = single();
    let heard = Arc::new(Heard::default());
    let storage = ZeroClient::over(caller, Some(heard.clone()), Some(heard.clone())).storage();
    let puts = tokio::spawn(async move {
        let first = storage.put_object("bucket", "key", b"hello").await;
        (first, storage.put_object("bucket", "key", b"hello").await)
    });
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    peer.head(stream, 503, &[]).await;
    peer.send(DATA, END_STREAM, stream, b"<Error><Code>SlowDown</Code></Error>").await;
    let stream = peer.request().await;
    peer.answer(stream, b"").await;
    let stream = peer.request().await;
    peer.head(stream, 403, &[("x-amz-request-id", "R9")]).await;
    peer.send(DATA, END_STREAM, stream, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
        .await;
    let (first, second) = puts.await.unwrap();
    first.expect("the second attempt is answered");
    assert!(second.expect_err("it is refused").to_string().contains("[request R9, 1 attempt]"));

    let figures = heard.figures.lock().unwrap();
    let [good, bad] = &figures[..] else { panic!("{figures:?}") };
    assert_eq!(
        (good.provider.as_str(), good.service.as_str(), good.operation.as_str()),
        ("zero", "s3", "PutObject")
    );
    assert_eq!((good.outcome, good.retry_count, good.status_code), (OperationOutcome::Success, 1, Some(200)));
    assert_eq!(good.bytes_transferred, Some(5));
    assert_eq!((bad.outcome, bad.retry_count, bad.status_code), (OperationOutcome::Failure, 0, Some(403)));
    assert_eq!(bad.error_code.as_deref(), Some("AccessDenied"));
    let entries = heard.entries.lock().unwrap();
    let words: Vec<_> =
        entries.iter().map(|entry| (entry.level, entry.fields["attempts"].as_str())).collect();
    assert_eq!(words, [(LogLevel::Warn, "2"), (LogLevel::Warn, "1")]);
    assert!(entries[1].message.contains("zero PutObject bucket/key: AccessDenied (403): no"), "{entries:?}");
    assert_eq!(entries[0].message, "PutObject bucket/key succeeded");
    assert_eq!(entries[1].fields["resource"], "bucket/key");
}
