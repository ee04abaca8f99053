//! TLS through the real binary: the listener speaks nothing else, and a new certificate needs no restart.

mod harness;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::{Node, PATIENCE, Scratch, run, text, zerocloud};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A certificate for localhost that vouches for itself, and its key, in the scratch directory.
fn write_certificate(scratch: &Scratch) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).expect("a certificate");
    scratch.write("cert.pem", &made.cert.pem(), 0o644);
    scratch.write("key.pem", &made.signing_key.serialize_pem(), 0o600);
    made.cert.der().clone()
}

/// Asks `/-/live` over TLS under this root. Errors: the handshake's.
fn ask(address: &str, root: &CertificateDer<'static>) -> std::io::Result<String> {
    ask_for("/-/live", address, root)
}

fn ask_for(path: &str, address: &str, root: &CertificateDer<'static>) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(connection, socket);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Ok(text(&reply))
}

fn start(scratch: &Scratch) -> Node {
    start_with(scratch, &[])
}

fn start_with(scratch: &Scratch, more: &[&str]) -> Node {
    let (cert, key) = (scratch.join("cert.pem"), scratch.join("key.pem"));
    let (cert, key) = (cert.to_str().expect("UTF-8"), key.to_str().expect("UTF-8"));
    Node::start(&scratch.join("data"), &[&["--tls-cert", cert, "--tls-key", key], more].concat())
}

#[test]
fn a_listener_with_a_certificate_speaks_tls_only_and_takes_a_new_one_on_sighup() {
    let scratch = Scratch::new();
    let first = write_certificate(&scratch);
    let node = start(&scratch);
    assert!(node.greeting.starts_with("zerocloud ready on https://"), "{}", node.greeting);
    assert!(ask(&node.addresses[0], &first).expect("served").starts_with("HTTP/1.1 200"));
    let mut plain = TcpStream::connect(&node.addresses[0]).expect("connects");
    plain.set_read_timeout(Some(PATIENCE)).expect("socket option");
    plain.write_all(b"GET /-/live HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let mut reply = Vec::new();
    drop(plain.read_to_end(&mut reply));
    assert!(!text(&reply).starts_with("HTTP/"), "{}", text(&reply));
    let second = write_certificate(&scratch);
    node.signal("HUP");
    await_log(&node, "configuration reloaded");
    assert!(ask(&node.addresses[0], &second).expect("the new one is shown").starts_with("HTTP/1.1 200"));
    assert!(ask(&node.addresses[0], &first).is_err(), "the old one is gone");
    // Whoever made it wrote no end into it: rcgen's is the year 4096.
    let metrics = ask_for("/-/metrics", &node.addresses[0], &second).expect("served");
    let end = metrics
        .lines()
        .find_map(|line| line.strip_prefix("zerocloud_tls_certificate_end_timestamp_seconds "));
    assert_eq!(end, Some("67090118400"), "{metrics}");
    node.stop();
}

fn await_log(node: &Node, wanted: &str) {
    let begun = Instant::now();
    while !node.errors().contains(wanted) {
        assert!(begun.elapsed() < PATIENCE, "never said: {wanted}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_certificate_that_is_replaced_is_shown_without_a_signal_and_a_wrong_one_is_not() {
    let scratch = Scratch::new();
    write_certificate(&scratch);
    let node = start(&scratch);
    let second = write_certificate(&scratch);
    await_log(&node, "certificate reloaded");
    assert!(ask(&node.addresses[0], &second).expect("shown").starts_with("HTTP/1.1 200"));
    scratch.write("cert.pem", "no certificate\n", 0o644);
    await_log(&node, "certificate not reloaded, the former one stays");
    assert!(ask(&node.addresses[0], &second).expect("still shown").starts_with("HTTP/1.1 200"));
    node.stop();
}

#[test]
fn a_probe_asks_the_listener_whatever_its_certificate_is_for_and_wherever_clients_come_from() {
    let scratch = Scratch::new();
    write_certificate(&scratch);
    // Nobody on this machine reaches that URL, and 127.0.0.1 is not in the certificate.
    let config = scratch.write("z.toml", "public_url = \"https://store.invalid\"\n", 0o644);
    let node = start_with(&scratch, &["--config", config.to_str().expect("UTF-8")]);
    let health = || run(zerocloud().args(["health", "--data"]).arg(scratch.join("data")));
    let output = health();
    assert_eq!(text(&output.stdout), "ready\n", "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(0));
    node.stop();
    assert_eq!(health().status.code(), Some(1));
}

#[test]
fn init_keeps_the_names_of_the_certificate_before() {
    let scratch = Scratch::new();
    let init = |more: &[&str]| {
        let output = run(zerocloud().args(["init", "--data"]).arg(scratch.join("data")).args(more));
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    assert!(
        init(&["--hostname", "store.example", "--hostname", "10.0.0.5"])
            .contains("for store.example, 10.0.0.5, ")
    );
    let cert = || std::fs::read(scratch.join("data/tls/cert.pem")).expect("made");
    let first = cert();
    assert!(init(&[]).contains("(there)"));
    assert_eq!(cert(), first, "nobody has asked for another");
    assert!(init(&["--renew"]).contains("for store.example, 10.0.0.5, "));
    assert_ne!(cert(), first);
    assert!(init(&["--hostname", "other.example"]).contains("for other.example, store.example, 10.0.0.5, "));
}

#[test]
fn a_command_reaches_a_node_over_tls_only_under_a_certificate_that_it_trusts() {
    let scratch = Scratch::new();
    write_certificate(&scratch);
    let node = start(&scratch);
    let endpoint = node.addresses[0].replace("127.0.0.1", "https://localhost");
    let list = |more: &[&str]| {
        let mut command = zerocloud();
        command
            .args(["token", "list", "--json", "--endpoint", &endpoint, "--data"])
            .arg(scratch.join("data"));
        run(command.args(more).env_remove("SSL_CERT_FILE"))
    };
    let output = list(&[]);
    assert_eq!(output.status.code(), Some(75), "{}", text(&output.stderr));
    let trusted = scratch.join("cert.pem");
    let output = list(&["--ca", trusted.to_str().expect("UTF-8")]);
    assert_eq!(text(&output.stdout).trim(), "{\"tokens\":[]}", "{}", text(&output.stderr));
    let none = scratch.write("none.pem", "no certificate\n", 0o644);
    assert_eq!(list(&["--ca", none.to_str().expect("UTF-8")]).status.code(), Some(78));
    node.stop();
}

#[test]
fn check_refuses_a_key_that_others_may_read_and_one_that_does_not_fit() {
    let scratch = Scratch::new();
    write_certificate(&scratch);
    let config = scratch.write("z.toml", "tls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n", 0o644);
    let check = || run(zerocloud().args(["serve", "--check", "--config"]).arg(&config));
    assert_eq!(check().status.code(), Some(0), "{}", text(&check().stderr));
    let key = std::fs::read_to_string(scratch.join("key.pem")).expect("read");
    scratch.write("key.pem", &key, 0o644);
    assert_eq!(check().status.code(), Some(78));
    write_certificate(&scratch);
    scratch.write("key.pem", &key, 0o600);
    let output = check();
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("cannot be used"), "{}", text(&output.stderr));
}
