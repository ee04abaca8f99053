//! DynamoDB's protocol as far as the node's part goes: who is let in, what is read first, how replies are named. Signed
//! requests on raw sockets through the real binary.

mod harness;

use aws::encoding::hex;
use harness::signed::{Ask, Client, Reply};
use harness::{Node, Scratch};

const LIST: Ask<'_> = Ask {
    target: "DynamoDB_20120810.ListTables",
    body: b"{}",
    announced: None,
    length: None,
    service: "dynamodb",
};

#[test]
fn a_signature_counts_over_the_body_that_came_whatever_a_header_announces() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    let client = Client::of(&node, &scratch.join("data"));
    let digest = hex(&hash::sha256(LIST.body));
    for ask in [LIST, Ask { announced: Some(&digest), ..LIST }] {
        let reply = client.send(&client.head(ask), ask.body);
        assert_eq!(reply.status, 200, "{}\n{}", reply.head, reply.body);
        // The same head over another body of the same length.
        client.send(&client.head(ask), b"[]").assert_error(400, "InvalidSignatureException");
    }
    let unsigned = Ask { announced: Some("UNSIGNED-PAYLOAD"), ..LIST };
    client.send(&client.head(unsigned), unsigned.body).assert_error(400, "InvalidSignatureException");
    let large = vec![b' '; 1 << 20];
    let large = Ask { body: &[b"{}", &large[..]].concat(), ..LIST };
    assert_eq!(client.send(&client.head(large), large.body).status, 200);
    client
        .send(&client.head(large), &vec![b' '; large.body.len()])
        .assert_error(400, "InvalidSignatureException");
    node.stop();
}

#[test]
fn a_stranger_is_refused_before_the_body_is_read() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    let client = Client::of(&node, &scratch.join("data"));
    let stranger = Client { access_key: "AKIANOBODY".into(), ..Client::of(&node, &scratch.join("data")) };
    // Nothing follows these heads, so an answer shows that nobody waited for a body.
    let bare = "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: DynamoDB_20120810.ListTables\r\n\
                Content-Type: application/x-amz-json-1.0\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n";
    client.send(bare, b"").assert_error(400, "MissingAuthenticationTokenException");
    let long = Ask { length: Some(10 << 20), ..LIST };
    stranger.send(&stranger.head(long), b"").assert_error(400, "UnrecognizedClientException");
    let foreign = Ask { service: "s3", ..long };
    client.send(&client.head(foreign), b"").assert_error(400, "InvalidSignatureException");
    let too_long = client.send(&client.head(Ask { length: Some((16 << 20) + 1), ..LIST }), b"");
    assert_eq!((too_long.status, too_long.body.as_str()), (413, ""));
    node.stop();
}

#[test]
fn replies_are_named_as_amazons_json_services_name_them() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    let client = Client::of(&node, &scratch.join("data"));
    let refused = "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: DynamoDBStreams_20120810.ListStreams\r\n\
                   Content-Type: application/x-amz-json-1.0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for reply in [client.send(&client.head(LIST), LIST.body), client.send(refused, b"")] {
        let id = reply.head.split("x-amzn-requestid: ").nth(1).and_then(|rest| rest.lines().next());
        assert_eq!(id.map(str::len), Some(52), "{}", reply.head);
        assert!(
            !reply.head.contains("x-amz-request-id") && !reply.head.contains("x-amz-id-2"),
            "{}",
            reply.head
        );
        assert!(reply.head.contains("x-amz-crc32: ") && reply.head.contains("server: "), "{}", reply.head);
    }
    let metrics = node.request("GET /-/metrics HTTP/1.1");
    for name in [
        "zerocloud_requests_total{service=\"dynamodb\",operation=\"ListTables\",status=\"2xx\"} 1",
        "zerocloud_collected_body_bytes{core=\"0\"} 0",
    ] {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
    node.stop();
}

#[test]
fn amazons_host_name_gets_the_health_text() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    let reply =
        node.raw(b"GET / HTTP/1.1\r\nHost: dynamodb.us-east-1.amazonaws.com\r\nConnection: close\r\n\r\n");
    let reply = Reply::parse(&reply);
    assert_eq!((reply.status, reply.body.as_str()), (200, "healthy: dynamodb.us-east-1.amazonaws.com "));
    node.stop();
}
