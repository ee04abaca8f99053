//! HTTP/1.1 from the client's side.
//! Invariant: bytes beyond the end of an answer make its connection unfit for reuse.
//! Left to others: the pool (`client`).

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::Write;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_types::header::{HeaderName, HeaderValue};
use http_types::{HeaderMap, Method, StatusCode, header};
use tokio::io::AsyncBufRead;

use super::{ClientError, Inner, RequestTo};
use crate::http1::{Incoming, Outgoing, Turn, is_ours, parse_length};
use crate::{BodyLength, Limits, ResponseHead, Stream};

/// A connection between two calls.
pub(super) struct Idle {
    stream: Box<dyn Stream>,
}

/// A call on a connection of its own. Dropping it before both bodies are complete closes the connection.
pub struct Call {
    state: RefCell<State>,
    client: Rc<Inner>,
}

struct State {
    stream: Option<Box<dyn Stream>>,
    out: Outgoing,
    partial: Vec<u8>,
    sending: Sending,
    is_head: bool,
    reusable: bool,
    /// The answer's body, once its head is there.
    body: Option<Turn>,
    until_close: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sending {
    Sized(u64),
    Chunked,
    Done,
}

impl Idle {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream }
    }

    /// Whether the server has neither closed the connection nor sent anything unasked.
    pub(super) fn is_fresh(&mut self, cx: &mut Context<'_>) -> bool {
        Pin::new(&mut self.stream).poll_fill_buf(cx).is_pending()
    }

    /// Stages the head and the first piece of the body; they leave with the next write, `finish` or `response`.
    pub(super) fn begin(
        self,
        request: &RequestTo,
        length: Option<u64>,
        first: Bytes,
        client: &Rc<Inner>,
    ) -> Result<Call, ClientError> {
        let clean = |text: &str| !text.is_empty() && !text.bytes().any(|byte| byte <= b' ' || byte == 0x7f);
        if !clean(&request.target) || !clean(&request.authority) {
            return Err(ClientError::Misuse("the target or the authority holds blanks or controls"));
        }
        let mut out = Outgoing::default();
        write_head(out.head(), request, length);
        let sending = match length {
            Some(length) => {
                let left = length
                    .checked_sub(first.len() as u64)
                    .ok_or(ClientError::Misuse("more body than announced"))?;
                Sending::Sized(left)
            }
            None => Sending::Chunked,
        };
        out.stage(first, b"");
        let state = State {
            stream: Some(self.stream),
            out,
            partial: Vec::new(),
            sending,
            is_head: request.method == Method::HEAD,
            reusable: true,
            body: None,
            until_close: false,
        };
        Ok(Call { state: RefCell::new(state), client: Rc::clone(client) })
    }
}

fn write_head(out: &mut Vec<u8>, request: &RequestTo, length: Option<u64>) {
    let RequestTo { method, target, authority, headers } = request;
    write!(out, "{method} {target} HTTP/1.1\r\nhost: {authority}\r\n").expect("a Vec takes every write");
    for (name, value) in headers.iter().filter(|(name, _)| !is_ours(name) && **name != header::HOST) {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    match length {
        // A method without a body by nature needs no length to say so.
        Some(0) if [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS].contains(method) => {}
        Some(length) => write!(out, "content-length: {length}\r\n").expect("a Vec takes every write"),
        None => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}

impl Call {
    pub(super) async fn write(&self, data: Bytes) -> Result<(), ClientError> {
        poll_fn(|cx| self.state.borrow_mut().poll_drain(cx)).await?;
        {
            let state = &mut *self.state.borrow_mut();
            match &mut state.sending {
                Sending::Sized(left) => {
                    *left = left
                        .checked_sub(data.len() as u64)
                        .ok_or(ClientError::Misuse("more body than announced"))?;
                    state.out.stage(data, b"");
                }
                Sending::Chunked if data.is_empty() => {}
                Sending::Chunked => {
                    write!(state.out.head(), "{:x}\r\n", data.len()).expect("a Vec takes every write");
                    state.out.stage(data, b"\r\n");
                }
                Sending::Done => return Err(ClientError::Misuse("the body has ended")),
            }
        }
        poll_fn(|cx| self.state.borrow_mut().poll_drain(cx)).await
    }

    pub(super) async fn finish(&self) -> Result<(), ClientError> {
        poll_fn(|cx| self.state.borrow_mut().poll_drain(cx)).await?;
        {
            let state = &mut *self.state.borrow_mut();
            match state.sending {
                Sending::Sized(1..) => return Err(ClientError::Misuse("less body than announced")),
                Sending::Chunked => state.out.stage(Bytes::new(), b"0\r\n\r\n"),
                Sending::Sized(0) | Sending::Done => {}
            }
        }
        poll_fn(|cx| self.state.borrow_mut().poll_drain(cx)).await?;
        self.state.borrow_mut().sending = Sending::Done;
        Ok(())
    }

    pub(super) fn poll_response(&self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, ClientError>> {
        let state = &mut *self.state.borrow_mut();
        loop {
            let Some(stream) = &mut state.stream else { return Poll::Ready(Err(ClientError::Closed)) };
            let buffer = ready!(Pin::new(&mut *stream).poll_fill_buf(cx))?;
            if buffer.is_empty() {
                return Poll::Ready(Err(ClientError::Closed));
            }
            let before = state.partial.len();
            state.partial.extend_from_slice(buffer);
            let length = buffer.len();
            let searched = before.saturating_sub(3);
            let end = memchr::memmem::find(&state.partial[searched..], b"\r\n\r\n");
            let Some(end) = end.map(|at| searched + at + 4) else {
                if state.partial.len() > self.client.limits.head_bytes_max {
                    return Poll::Ready(Err(ClientError::Malformed("the head is too large")));
                }
                Pin::new(stream).consume(length);
                continue;
            };
            Pin::new(stream).consume(end - before);
            state.partial.truncate(end);
            let (head, http11) = parse_head(&state.partial, &self.client.limits)?;
            state.partial.clear();
            if head.status.is_informational() {
                continue;
            }
            state.receive(&head, http11, &self.client.limits)?;
            return Poll::Ready(Ok(head));
        }
    }

    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ClientError>>> {
        let state = &mut *self.state.borrow_mut();
        loop {
            let Some(body) = &mut state.body else {
                return Poll::Ready(Some(Err(ClientError::Misuse("the body before the head"))));
            };
            if body.body_is_done() && !state.until_close {
                self.give_back(state);
                return Poll::Ready(None);
            }
            let Some(stream) = &mut state.stream else { return Poll::Ready(None) };
            let buffer = ready!(Pin::new(&mut *stream).poll_fill_buf(cx))?;
            if state.until_close {
                let data = Bytes::copy_from_slice(buffer);
                Pin::new(stream).consume(data.len());
                return Poll::Ready((!data.is_empty()).then_some(Ok(data)));
            }
            if buffer.is_empty() {
                state.stream = None;
                return Poll::Ready(Some(Err(ClientError::Closed)));
            }
            let taken = body.take_body(buffer, &self.client.limits);
            let Ok((used, data)) = taken else {
                state.stream = None;
                return Poll::Ready(Some(Err(ClientError::Malformed("the body's framing"))));
            };
            Pin::new(stream).consume(used);
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(data)));
            }
        }
    }

    fn give_back(&self, state: &mut State) {
        if state.reusable
            && state.sending == Sending::Done
            && let Some(stream) = state.stream.take()
        {
            self.client.give_back(Idle { stream });
        }
    }
}

impl State {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Err(ClientError::Closed)) };
        self.out.poll_drain(stream, cx, |_| {}).map_err(ClientError::Io)
    }

    /// Notes how the answer's body is framed.
    fn receive(&mut self, head: &ResponseHead, http11: bool, limits: &Limits) -> Result<(), ClientError> {
        let fields = &head.headers;
        let chunked = fields.contains_key(header::TRANSFER_ENCODING);
        let length = fields.get(header::CONTENT_LENGTH).map(|value| parse_length(value.as_bytes()));
        let closes = fields.get_all(header::CONNECTION).iter().any(|value| value == "close");
        self.reusable = http11 && !closes;
        let bodyless =
            self.is_head || head.status == StatusCode::NO_CONTENT || head.status == StatusCode::NOT_MODIFIED;
        let framing = match (bodyless, chunked, length) {
            (true, _, _) => BodyLength::None,
            (_, true, None) => BodyLength::Unknown,
            (_, false, Some(Some(length))) => BodyLength::Known(length),
            (_, false, None) => {
                self.until_close = true;
                self.reusable = false;
                BodyLength::None
            }
            _ => return Err(ClientError::Malformed("the framing fields")),
        };
        let mut body = Turn::none();
        body.body = Incoming::new(framing, limits);
        self.body = Some(body);
        Ok(())
    }
}

const HEADER_COUNT_MAX: usize = 128;

fn parse_head(raw: &[u8], limits: &Limits) -> Result<(ResponseHead, bool), ClientError> {
    if raw.len() > limits.head_bytes_max {
        return Err(ClientError::Malformed("the head is too large"));
    }
    let mut slots = [const { MaybeUninit::uninit() }; HEADER_COUNT_MAX];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut response, raw, &mut slots) {
        Ok(httparse::Status::Complete(length)) if length == raw.len() => {}
        _ => return Err(ClientError::Malformed("the head")),
    }
    let status = StatusCode::from_u16(response.code.unwrap_or_default())
        .map_err(|_| ClientError::Malformed("the status"))?;
    let mut headers = HeaderMap::with_capacity(response.headers.len());
    for field in response.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes())
            .map_err(|_| ClientError::Malformed("a field name"))?;
        let value =
            HeaderValue::from_bytes(field.value).map_err(|_| ClientError::Malformed("a field value"))?;
        headers.append(name, value);
    }
    Ok((ResponseHead { status, headers }, response.version == Some(1)))
}
