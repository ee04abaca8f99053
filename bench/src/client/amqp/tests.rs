//! Frames as bytes, and a broker that answers what it should not.

use super::*;
use crate::client::hostile;
use crate::load::recorder::Failure;

fn method(channel: u16, id: MethodId, arguments: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    append_method(&mut out, channel, id, |out| out.extend_from_slice(arguments));
    out
}

#[test]
fn a_publication_is_laid_out_as_the_specification_says() {
    let mut out = Vec::new();
    append_publish(&mut out, true, 1_024);
    let publish = b"\x01\x00\x01\x00\x00\x00\x12\x00\x3c\x00\x28\x00\x00\x00\x09zerobench\x01\xce";
    let header =
        b"\x02\x00\x01\x00\x00\x00\x0f\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x10\x00\x02\xce";
    assert_eq!(out, [publish.as_slice(), header].concat());
}

#[test]
fn a_durable_queue_is_declared_as_a_quorum_queue() {
    let mut out = Vec::new();
    append_declare(&mut out, true);
    let declare = b"\x01\x00\x01\x00\x00\x00\x2d\x00\x32\x00\x0a\x00\x00\x09zerobench\x02\
        \x00\x00\x00\x18\x0cx-queue-typeS\x00\x00\x00\x06quorum\xce";
    assert_eq!(out, declare);
}

#[test]
fn frames_of_methods_are_read_and_others_are_passed() {
    let ack = b"\x01\x00\x01\x00\x00\x00\x0d\x00\x3c\x00\x50\x00\x00\x00\x00\x00\x00\x00\x07\x00\xce";
    let (frame, frame_bytes) = parse(ack).expect("AMQP").expect("whole");
    let arguments = b"\x00\x00\x00\x00\x00\x00\x00\x07\x00".to_vec();
    assert_eq!((frame, frame_bytes), (Frame::Method { channel: 1, id: BASIC_ACK, arguments }, ack.len()));
    let heartbeat = b"\x08\x00\x00\x00\x00\x00\x00\xce";
    assert_eq!(parse(heartbeat).expect("AMQP"), Some((Frame::Other, heartbeat.len())));
}

#[test]
fn what_is_not_a_frame_is_refused() {
    for bytes in [
        b"HTTP/1.1 400 Bad Request\r\n".as_slice(),
        b"AMQP\x00\x00\x09\x01",
        b"AMQX",
        b"\x04\x00",
        b"\x01\x00\x01\xff\xff\xff\xff",
        b"\x01\x00\x01\x00\x01\xff\xfa",
        b"\x01\x00\x01\x00\x00\x00\x04\x00\x3c\x00\x50\xcd",
        b"\x01\x00\x01\x00\x00\x00\x02\x00\x3c\xce",
    ] {
        assert!(parse(bytes).is_err(), "{}", words(bytes));
    }
}

#[test]
fn complaints_come_with_the_words_of_the_server() {
    let said = |id, arguments: &[u8]| complaint(id, arguments).expect_err("a failure");
    let close = b"\x01\x40\x0bACCESS_DENY\x00\x00\x00\x00";
    let closed = said(CONNECTION_CLOSE, close);
    assert_eq!(closed, (Failure::Refused, "the connection is closed: 320 ACCESS_DENY".to_owned()));
    let returned = said(BASIC_RETURN, b"\x01\x38\x08NO_ROUTE\x00\x09zerobench");
    assert_eq!(returned, (Failure::Refused, "the message comes back: 312 NO_ROUTE".to_owned()));
    assert_eq!(said(BASIC_NACK, b"").0, Failure::Refused);
    assert_eq!(said(CHANNEL_CLOSE, b"\x01\x40\x0bACC").0, Failure::Malformed);
    assert_eq!(complaint(CONNECTION_UNBLOCKED, b""), Ok(()));
}

#[test]
fn no_cut_and_no_change_of_a_frame_brings_the_parser_down() {
    for whole in [
        method(1, BASIC_ACK, &[0, 0, 0, 0, 0, 0, 0, 7, 0]),
        method(0, CONNECTION_START, START),
        method(0, CONNECTION_TUNE, TUNE),
        method(0, CONNECTION_CLOSE, b"\x01\x40\x0bACCESS_DENY\x00\x00\x00\x00"),
        method(1, BASIC_RETURN, b"\x01\x38\x08NO_ROUTE\x00\x09zerobench"),
    ] {
        hostile::every_beginning(&whole, |bytes| parse(bytes).map(|read| read.map(|(_, bytes)| bytes)));
        hostile::changed(&whole, |bytes| {
            if let Ok(Some((Frame::Method { id, arguments, .. }, _))) = parse(bytes) {
                drop(complaint(id, &arguments));
                drop((check_start(&arguments), frame_bytes_max(&arguments)));
            }
        });
    }
}

const START: &[u8] = b"\x00\x09\x00\x00\x00\x00\x00\x00\x00\x0eAMQPLAIN PLAIN\x00\x00\x00\x05en_US";
const TUNE: &[u8] = b"\x07\xff\x00\x00\x10\x00\x00\x3c";

/// What a server says until the first message.
fn greetings() -> Vec<Vec<u8>> {
    vec![
        method(0, CONNECTION_START, START),
        method(0, CONNECTION_TUNE, TUNE),
        method(0, CONNECTION_OPEN_OK, b"\x00"),
        method(1, CHANNEL_OPEN_OK, &[0; 4]),
        method(1, CONFIRM_SELECT_OK, b""),
        method(1, QUEUE_DECLARE_OK, b"\x09zerobench\x00\x00\x00\x00\x00\x00\x00\x00"),
    ]
}

/// What comes of a connection and one message when a server greets well and then sends `answers`.
fn published(body_bytes: usize, answers: &[Vec<u8>]) -> Result<Answer, Failed> {
    let script = [&greetings(), answers].concat();
    hostile::against(script.iter().map(Vec::as_slice).collect(), async move |wire| {
        let mut connection = Connection::greet(wire, None, true).await?;
        assert_eq!(connection.piece_bytes, 4_088, "frames are as long as the server takes");
        let mut head = Vec::new();
        append_publish(&mut head, true, body_bytes);
        connection.exchange(&head, &vec![7; body_bytes].into()).await
    })
}

#[test]
fn garbled_answers_end_an_exchange() {
    let mut script = greetings();
    script.push(method(1, BASIC_ACK, &[0, 0, 0, 0, 0, 0, 0, 1, 0]));
    let script: Vec<&[u8]> = script.iter().map(Vec::as_slice).collect();
    let mut head = Vec::new();
    append_publish(&mut head, true, 5);
    hostile::garbled(&script, false, async |wire| {
        let mut connection = Connection::greet(wire, None, true).await?;
        connection.exchange(&head, &Bytes::from_static(b"hello")).await
    });
}

#[test]
fn a_message_is_good_when_its_own_number_is_confirmed() {
    let ack = |tag: u8| method(1, BASIC_ACK, &[0, 0, 0, 0, 0, 0, 0, tag, 0]);
    let heartbeat = b"\x08\x00\x00\x00\x00\x00\x00\xce".to_vec();
    assert_eq!(published(1_024, &[[heartbeat, ack(1)].concat()]).expect("stored").status, 200);
    assert_eq!(published(0, &[ack(1)]).expect("stored").status, 200);
    let failed = |answer| published(1_024, &[answer]).map(drop).expect_err("a failure");
    assert_eq!(failed(ack(2)).0, Failure::Malformed);
    assert_eq!(failed(method(1, BASIC_NACK, &[0, 0, 0, 0, 0, 0, 0, 1, 0])).0, Failure::Refused);
    assert_eq!(failed(method(1, CHANNEL_OPEN_OK, &[0; 4])).0, Failure::Malformed);
    assert_eq!(failed(method(1, BASIC_ACK, &[0; 7])).0, Failure::Malformed);
    let closed = failed(method(1, CHANNEL_CLOSE, b"\x01\x94\x09NOT_FOUND\x00\x00\x00\x00"));
    assert_eq!(closed, (Failure::Refused, "the channel is closed: 404 NOT_FOUND".to_owned()));
    assert_eq!(published(1_024, &[]).map(drop).expect_err("a failure").0, Failure::Broken);
}
