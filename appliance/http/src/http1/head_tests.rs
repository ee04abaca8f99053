//! Heads that must be understood, and heads that must be refused.

use std::net::{Ipv4Addr, SocketAddr};

use super::*;

fn read(raw: &[u8]) -> Result<ParsedHead, Refusal> {
    let limits = Limits::default();
    let end = find_end(raw, 0, &limits)?.ok_or(Refusal::HeadTimeout)?;
    // A head found bytewise must be the same head.
    let mut scanned = 0;
    for len in 1..=end {
        match find_end(&raw[..len], scanned, &limits)? {
            Some(found) => assert_eq!((len, found), (end, end)),
            None => assert!(len < end),
        }
        scanned = len;
    }
    parse(&Bytes::copy_from_slice(&raw[..end]), &limits, SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), false)
}

fn with_fields(fields: &str) -> Result<ParsedHead, Refusal> {
    read(format!("PUT /k HTTP/1.1\r\nHost: h\r\n{fields}\r\n").as_bytes())
}

#[test]
fn the_target_is_kept_byte_for_byte() {
    for (target, path, query) in [
        ("/", "/", None),
        ("/a%2Fb//../%zz+c", "/a%2Fb//../%zz+c", None),
        ("/k?", "/k", Some("")),
        ("/k?a=%20+b?c&d", "/k", Some("a=%20+b?c&d")),
        ("/\u{e4}\u{1f600}", "/\u{e4}\u{1f600}", None),
        ("//double", "//double", None),
        ("http://other:80/x?y", "/x", Some("y")),
        ("HTTPS://other?y", "/", Some("y")),
    ] {
        let head = read(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap().head;
        assert_eq!((head.path.as_str(), head.query.as_deref()), (path, query), "{target}");
    }
}

#[test]
fn an_absolute_target_wins_over_host() {
    let head = read(b"GET http://real:8080/x HTTP/1.1\r\nHost: fake\r\n\r\n").unwrap().head;
    assert_eq!(head.authority.as_deref(), Some("real:8080"));
    assert_eq!(head.headers.get("host").unwrap(), "real:8080");
}

#[test]
fn asterisk_is_for_options_only() {
    assert_eq!(read(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").unwrap().head.path, "*");
    assert_eq!(
        read(b"GET * HTTP/1.1\r\nHost: h\r\n\r\n").unwrap_err(),
        Refusal::Malformed("the request target")
    );
}

#[test]
fn field_values_are_bytes() {
    let parsed = read(b"GET / HTTP/1.1\r\nHost: h\r\nx-amz-meta-a: \xff\xe4 b\t\r\n\r\n").unwrap();
    assert_eq!(parsed.head.headers.get("x-amz-meta-a").unwrap().as_bytes(), b"\xff\xe4 b");
}

#[test]
fn keep_alive_follows_version_and_connection() {
    let keeps = |raw: &str| read(raw.as_bytes()).unwrap().keep_alive;
    assert!(keeps("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert!(!keeps("GET / HTTP/1.1\r\nHost: h\r\nConnection: foo, Close\r\n\r\n"));
    assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
    assert!(keeps("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
}

#[test]
fn framing_is_read_from_exactly_one_field() {
    assert_eq!(with_fields("").unwrap().framing, BodyLength::None);
    assert_eq!(with_fields("Content-Length: 0\r\n").unwrap().framing, BodyLength::Known(0));
    assert_eq!(with_fields("content-length:  0010 \r\n").unwrap().framing, BodyLength::Known(10));
    assert_eq!(with_fields("Transfer-Encoding: Chunked\r\n").unwrap().framing, BodyLength::Unknown);
}

#[test]
fn ambiguous_framing_is_refused() {
    for fields in [
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length: 1 1\r\n",
        "Content-Length: 1.0\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X: a\r\n Transfer-Encoding: chunked\r\n",
        "X: a\r\n\tfolded\r\n",
        "X: a\rTransfer-Encoding: chunked\r\n",
        "X: a\nTransfer-Encoding: chunked\r\n",
        "X: a\r\r\nY: b\r\n",
        "X: a\0b\r\n",
        "X\0: a\r\n",
        "X\u{e4}: a\r\n",
        "no colon\r\n",
        ": empty\r\n",
        "Host: again\r\n",
    ] {
        assert!(matches!(with_fields(fields), Err(Refusal::Malformed(_))), "{fields:?}");
    }
    assert!(matches!(with_fields("Transfer-Encoding: gzip\r\n"), Err(Refusal::NotImplemented(_))));
}

#[test]
fn bad_request_lines_are_refused() {
    for line in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTX/1.1",
        "GET /\x01 HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /",
        "G\u{e4}T / HTTP/1.1",
        "GET relative HTTP/1.1",
        "GET ftp://h/ HTTP/1.1",
        "GET http:/// HTTP/1.1",
        "GET http://u@h/ HTTP/1.1",
        "\r\n\r\nGET / HTTP/1.1",
    ] {
        let result = read(format!("{line}\r\nHost: h\r\n\r\n").as_bytes());
        assert!(matches!(result, Err(Refusal::Malformed(_))), "{line:?} {result:?}");
    }
    assert!(matches!(read(b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n"), Err(Refusal::Malformed(_))));
    assert_eq!(read(b"GET / HTTP/1.2\r\nHost: h\r\n\r\n").unwrap_err(), Refusal::UnknownVersion);
    assert_eq!(read(b"PRI * HTTP/2.0\r\n\r\n").unwrap_err(), Refusal::UnknownVersion);
    assert!(matches!(read(b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n"), Err(Refusal::NotImplemented(_))));
}

#[test]
fn one_empty_line_before_the_request_is_tolerated() {
    assert_eq!(read(b"\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n").unwrap().head.path, "/x");
}

#[test]
fn host_is_demanded_once_and_well_formed() {
    assert!(read(b"GET / HTTP/1.1\r\n\r\n").is_err());
    assert_eq!(read(b"GET / HTTP/1.1\r\nHost:\r\n\r\n").unwrap().head.authority, None);
    assert_eq!(
        read(b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n").unwrap().head.authority.as_deref(),
        Some("[::1]:80")
    );
    for host in ["a b", "a/b", "u@h", "a,b", "\u{e4}"] {
        assert!(read(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).is_err(), "{host}");
    }
}

#[test]
fn expectations_other_than_continue_are_refused() {
    assert!(with_fields("Expect: 100-Continue\r\nContent-Length: 1\r\n").unwrap().expects_continue);
    assert!(
        !with_fields("Expect: 100-continue\r\n").unwrap().expects_continue,
        "no body, nothing to wait for"
    );
    assert_eq!(with_fields("Expect: tea\r\n").unwrap_err(), Refusal::UnknownExpectation);
}

#[test]
fn bounds_are_enforced_before_the_end_arrives() {
    let limits = Limits::default();
    let line = [b"GET /".as_slice(), &vec![b'a'; limits.request_line_bytes_max]].concat();
    assert_eq!(find_end(&line, 0, &limits), Err(Refusal::TargetTooLong));
    let fields = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &vec![b'a'; limits.head_bytes_max]].concat();
    assert_eq!(find_end(&fields, 0, &limits), Err(Refusal::HeadTooLarge));
    let many = "a: b\r\n".repeat(limits.header_count_max);
    assert_eq!(with_fields(&many).unwrap_err(), Refusal::HeadTooLarge);
    assert_eq!(with_fields("Content-Length: 99999999999999\r\n").unwrap_err(), Refusal::BodyTooLarge);
    assert!(matches!(find_end(b"\x16\x03\x01", 0, &limits), Err(Refusal::Malformed(_))));
}
