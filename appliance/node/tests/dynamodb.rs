//! DynamoDB's protocol as far as the node's part goes, on raw sockets through the real binary.

mod harness;

use harness::{Node, Scratch};

#[test]
fn amazons_host_name_gets_the_health_text() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    let reply =
        node.raw(b"GET / HTTP/1.1\r\nHost: dynamodb.us-east-1.amazonaws.com\r\nConnection: close\r\n\r\n");
    let (head, body) = reply.split_once("\r\n\r\n").expect("a whole head");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("x-amzn-requestid: "), "{head}");
    assert_eq!(body, "healthy: dynamodb.us-east-1.amazonaws.com ");
    node.stop();
}
