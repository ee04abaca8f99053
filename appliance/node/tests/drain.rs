//! The end of a process that is told to stop: what it still answers.

mod harness;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use harness::signed::{Ask, Client, Reply};
use harness::{Node, PATIENCE, Scratch, text};
use serde_json::{Value, json};

/// More queues than cores, so that shards of every core have some.
const QUEUE_COUNT: usize = 8;
/// How long a poll waits that nobody answers.
const POLL_SECONDS: u64 = 20;
const ATTEMPTS_MAX: usize = 5;

fn ask(client: &Client, target: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let ask =
        Ask { target, body: body.as_bytes(), announced: None, length: None, service: service_of(target) };
    let reply = client.send(&client.head(ask), ask.body);
    (reply.status, serde_json::from_str(&reply.body).expect("JSON"))
}

fn service_of(target: &str) -> &'static str {
    if target.starts_with("AmazonSQS.") { "sqs" } else { "dynamodb" }
}

/// A request whose body the node has asked for: it is under way, on whichever core.
struct Begun {
    stream: TcpStream,
    body: String,
}

impl Begun {
    fn new(client: &Client, target: &str, body: &Value) -> Begun {
        let body = body.to_string();
        let ask =
            Ask { target, body: body.as_bytes(), announced: None, length: None, service: service_of(target) };
        let head = client.head(ask);
        let head =
            head.strip_suffix("\r\n").expect("an empty line").to_owned() + "expect: 100-continue\r\n\r\n";
        let mut stream = TcpStream::connect(&client.address).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("socket option");
        stream.write_all(head.as_bytes()).expect("sent");
        let mut word = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        stream.read_exact(&mut word).expect("asked for the body");
        assert_eq!(text(&word), "HTTP/1.1 100 Continue\r\n\r\n");
        Begun { stream, body }
    }

    fn end(mut self) -> (u16, Value) {
        self.stream.write_all(self.body.as_bytes()).expect("sent");
        let mut reply = Vec::new();
        self.stream.read_to_end(&mut reply).expect("answered");
        let reply = Reply::parse(&text(&reply));
        (reply.status, serde_json::from_str(&reply.body).expect("JSON"))
    }
}

/// Waits until nobody listens at `address` any more. Each worker has a listener of its own and closes it in its own time:
/// one that closes while a connection is under way resets it though another still listens, so only more failures
/// in a row than there are workers say that all are closed.
fn await_refusal(address: &str) {
    let begun = Instant::now();
    let mut failures_in_a_row = 0;
    while failures_in_a_row < 16 {
        assert!(begun.elapsed() < PATIENCE, "a draining node takes connections");
        failures_in_a_row = if TcpStream::connect(address).is_ok() { 0 } else { failures_in_a_row + 1 };
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_drain_lets_a_request_under_way_end_on_every_core_and_takes_no_new_connection() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    let node = Node::start(&data, &["--drain-timeout", "120"]);
    let client = Client::of(&node, &data);
    let table = json!({
        "TableName": "table",
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "N"}],
        "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
    });
    let (status, made) = ask(&client, "DynamoDB_20120810.CreateTable", &table);
    assert_eq!(status, 200, "{made}");
    let named = json!({"TableName": "table"});
    while ask(&client, "DynamoDB_20120810.DescribeTable", &named).1["Table"]["TableStatus"] != "ACTIVE" {
        thread::sleep(Duration::from_millis(10));
    }
    // So many that shards of every core have some: a core that has nothing to do itself must not leave before.
    let puts: Vec<Value> =
        (0..25).map(|key| json!({"PutRequest": {"Item": {"k": {"N": key.to_string()}}}})).collect();
    let writes = json!({"RequestItems": {"table": puts}});
    let begun = Begun::new(&client, "DynamoDB_20120810.BatchWriteItem", &writes);
    node.signal("TERM");
    await_refusal(&node.addresses[0]);
    assert_eq!(begun.end(), (200, json!({"UnprocessedItems": {}})));
    let (status, log) = node.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_second_signal_stops_at_once() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    let node = Node::start(&data, &["--drain-timeout", "120"]);
    let client = Client::of(&node, &data);
    let _under_way = Begun::new(&client, "DynamoDB_20120810.ListTables", &json!({}));
    node.signal("TERM");
    await_refusal(&node.addresses[0]);
    node.signal("INT");
    let (status, log) = node.wait();
    assert_eq!(status.code(), Some(130), "{log}");
    // What a hard stop leaves behind opens again.
    Node::start(&data, &[]).stop();
}

#[test]
fn a_stop_that_comes_with_a_reload_is_carried_out() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    for _ in 0..10 {
        let mut node = Node::start(&data, &[]);
        let script = "kill -HUP $0 && kill -TERM $0";
        let sent =
            std::process::Command::new("sh").args(["-c", script]).arg(node.child.id().to_string()).status();
        assert!(sent.expect("sh runs").success());
        let begun = Instant::now();
        while node.child.try_wait().expect("a child").is_none() {
            assert!(begun.elapsed() < PATIENCE, "the stop was lost: {}", node.errors());
            thread::sleep(Duration::from_millis(10));
        }
        let (status, log) = node.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(!log.contains("the run before"), "{log}");
    }
}

/// Operations that wait on all shards.
fn waiting(node: &Node) -> u64 {
    let metrics = node.request("GET /-/metrics HTTP/1.1");
    let lines = metrics.lines().filter(|line| line.starts_with("zerocloud_shard_waiting{"));
    lines.map(|line| line.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0_u64)).sum()
}

#[test]
fn long_polls_answer_that_nothing_is_there_when_a_drain_begins() {
    // A machine that stalls for as long as the polls wait shows nothing: they may have ended by themselves.
    assert!((0..ATTEMPTS_MAX).any(|_| a_drain_ends_long_polls()), "every poll waited for its own time");
}

/// Whether polls were answered by a drain before their own time was over.
fn a_drain_ends_long_polls() -> bool {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    let node = Node::start(&data, &["--drain-timeout", "120"]);
    let urls: Vec<Value> = (0..QUEUE_COUNT)
        .map(|number| {
            let client = Client::of(&node, &data);
            let (status, made) =
                ask(&client, "AmazonSQS.CreateQueue", &json!({"QueueName": format!("q{number}")}));
            assert_eq!(status, 200, "{made}");
            made["QueueUrl"].clone()
        })
        .collect();
    let before = waiting(&node);
    let begun = Instant::now();
    let polls: Vec<_> = urls
        .into_iter()
        .map(|url| {
            let client = Client::of(&node, &data);
            let request = json!({"QueueUrl": url, "WaitTimeSeconds": POLL_SECONDS});
            thread::spawn(move || ask(&client, "AmazonSQS.ReceiveMessage", &request))
        })
        .collect();
    while waiting(&node) < before + QUEUE_COUNT as u64 && !polls.iter().any(thread::JoinHandle::is_finished) {
        thread::sleep(Duration::from_millis(10));
    }
    node.signal("TERM");
    for poll in polls {
        assert_eq!(poll.join().expect("answered"), (200, json!({})));
    }
    // From before the first poll was sent, so none had its own time behind it.
    let is_early = begun.elapsed() < Duration::from_secs(POLL_SECONDS);
    let (status, log) = node.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("connections cut"), "{log}");
    is_early
}
