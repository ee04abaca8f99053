//! Downloads over peers that break off.

use super::*;
use crate::checksum::{Check, crc64nvme_of};
use crate::download::{Download, Reopen, Reopening};
use crate::error::WireKind;
use futures_core::Stream;
use http_types::{HeaderValue, header};
use std::pin::Pin;

struct Again(Caller);

impl Reopen for Again {
    fn reopen(&mut self, offset: u64) -> Reopening {
        let caller = self.0.clone();
        Box::pin(async move {
            let mut request = get();
            let range = HeaderValue::from_str(&format!("bytes={offset}-")).expect("it is plain");
            request.headers.insert(header::RANGE, range);
            let answered = caller.call(request).await;
            Ok(answered.map_err(|error| crate::error::WireError::config(error.to_string()))?.reply.body)
        })
    }
}

async fn download(caller: &Caller, sum: &str, peer: &mut Peer, parts: &[&str]) -> Result<String, WireKind> {
    let call = start(caller, get());
    let stream = peer.request().await;
    peer.head(stream, 200, &[("x-amz-checksum-crc64nvme", sum), ("content-length", "10")]).await;
    let reply = call.await.unwrap().expect("the head is there").reply;
    let check = Check::from_headers(&reply.headers);
    let mut download = Download::new(reply.body, check, Box::new(Again(caller.clone())));
    let mut reading = tokio::spawn(async move {
        let mut all = String::new();
        while let Some(bytes) = std::future::poll_fn(|cx| Pin::new(&mut download).poll_next(cx)).await {
            all.push_str(std::str::from_utf8(&bytes.map_err(|error| error.kind())?).expect("it is text"));
        }
        Ok(all)
    });
    let mut stream = stream;
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            stream = tokio::select! {
                told = &mut reading => return told.expect("it does not panic"),
                stream = peer.request() => stream,
            };
            peer.head(stream, 206, &[]).await;
        }
        let is_last = index + 1 == parts.len();
        peer.send(DATA, if is_last { END_STREAM } else { 0 }, stream, part.as_bytes()).await;
        if !is_last {
            // What lies in the stream is read before the reset is.
            settle().await;
            peer.reset(stream, CANCEL).await;
        }
    }
    reading.await.expect("it does not panic")
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_goes_on_and_is_checked_as_one() {
    let (caller, mut incoming) = single();
    let call = start(&caller, get());
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    peer.answer(stream, b"").await;
    assert!(call.await.unwrap().is_ok());
    let sum = crc64nvme_of(b"0123456789");
    assert_eq!(download(&caller, &sum, &mut peer, &["0123456789"]).await, Ok("0123456789".into()));
    assert_eq!(download(&caller, &sum, &mut peer, &["012", "34", "56789"]).await, Ok("0123456789".into()));
    assert_eq!(download(&caller, &sum, &mut peer, &["012", "34", "56780"]).await, Err(WireKind::Checksum));
    assert_eq!(caller.in_flight().streams, 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_again_and_again_is_an_error() {
    let (caller, mut incoming) = single();
    let call = start(&caller, get());
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    peer.answer(stream, b"").await;
    assert!(call.await.unwrap().is_ok());
    let sum = crc64nvme_of(b"0123456789");
    let parts = ["0", "", "", "", "", "never asked for"];
    assert_eq!(download(&caller, &sum, &mut peer, &parts).await, Err(WireKind::Reset));
    settle().await;
    assert_eq!(caller.in_flight().streams, 0);
}
