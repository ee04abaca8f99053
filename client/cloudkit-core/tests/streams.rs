//! Bodies and listings on their way: exact lengths, replays, pages, and nothing after an error.
#![allow(clippy::unwrap_used, reason = "a test ends where its preparation fails")]

use bytes::Bytes;
use cloudkit_core::common::*;
use futures_core::Stream;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// A stream of prepared pieces.
struct Pieces(VecDeque<CloudResult<Bytes>>);

impl Stream for Pieces {
    type Item = CloudResult<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.pop_front())
    }
}

fn pieces(texts: &[&'static str]) -> Pieces {
    Pieces(texts.iter().map(|text| Ok(Bytes::from_static(text.as_bytes()))).collect())
}

#[tokio::test]
async fn a_body_in_memory_is_given_once_and_replayed() {
    let mut body = ByteStream::from("hello");
    assert_eq!((body.length(), body.is_replayable()), (Some(5), true));
    assert_eq!(body.whole().map(|bytes| &bytes[..]), Some(&b"hello"[..]));
    assert_eq!(body.next().await.unwrap().unwrap(), "hello");
    assert!(body.next().await.is_none() && body.whole().is_none());
    assert_eq!(body.replay().unwrap().collect(5).await.unwrap(), "hello");
    assert!(ByteStream::empty().next().await.is_none());
    assert_eq!(ByteStream::default().length(), Some(0));
}

#[tokio::test]
async fn a_body_with_a_wrong_length_ends_with_an_error() {
    for (length, word) in [(5, "fewer"), (3, "more")] {
        let mut body = ByteStream::from_stream(pieces(&["ab", "", "cd"]), Some(length));
        assert_eq!(body.next().await.unwrap().unwrap(), "ab");
        let outcome = match body.next().await.unwrap() {
            Ok(piece) => {
                assert_eq!(piece, "cd");
                body.next().await.unwrap()
            }
            refused => refused,
        };
        let text = outcome.unwrap_err().to_string();
        assert!(text.contains(word), "{text}");
        assert!(body.next().await.is_none(), "nothing follows an error");
    }
    let right = ByteStream::from_stream(pieces(&["ab", "", "cd"]), Some(4));
    assert_eq!(right.collect(4).await.unwrap(), "abcd");
}

#[tokio::test]
async fn an_error_of_the_source_ends_the_body() {
    let broken: VecDeque<_> =
        [Ok(Bytes::from_static(b"a")), Err(CloudError::Internal("x".into())), Ok(Bytes::from_static(b"b"))]
            .into();
    let mut body = ByteStream::from_stream(Pieces(broken), None);
    assert_eq!(body.next().await.unwrap().unwrap(), "a");
    assert!(matches!(body.next().await, Some(Err(CloudError::Internal(_)))));
    assert!(body.next().await.is_none());
    assert_eq!(body.given(), 1);
}

#[tokio::test]
async fn collecting_refuses_what_is_too_long() {
    let known = ByteStream::from("hello").collect(4).await;
    assert!(matches!(known, Err(CloudError::Validation(_))));
    let unknown = ByteStream::from_stream(pieces(&["abc", "de"]), None).collect(4).await;
    assert!(matches!(unknown, Err(CloudError::Validation(_))));
    assert_eq!(ByteStream::from_stream(pieces(&["abc", "de"]), None).collect(5).await.unwrap(), "abcde");
    assert_eq!(ByteStream::from_stream(pieces(&[]), None).collect(0).await.unwrap(), "");
}

#[tokio::test]
async fn a_body_that_can_be_opened_again_starts_from_its_first_byte() {
    let opened = Arc::new(AtomicUsize::new(0));
    let count = opened.clone();
    let open = move || {
        count.fetch_add(1, Ordering::SeqCst);
        pieces(&["ab", "cd"])
    };
    let mut body = ByteStream::from_open(open, Some(4));
    assert_eq!(opened.load(Ordering::SeqCst), 0, "opened before it was read");
    assert_eq!(body.next().await.unwrap().unwrap(), "ab");
    let again = body.replay().unwrap();
    assert_eq!(again.given(), 0);
    assert_eq!(again.collect(4).await.unwrap(), "abcd");
    assert_eq!(body.next().await.unwrap().unwrap(), "cd");
    assert_eq!(opened.load(Ordering::SeqCst), 2);
    assert!(ByteStream::from_stream(pieces(&["x"]), None).replay().is_none());
}

#[tokio::test]
async fn a_reader_is_given_in_pieces_and_cannot_be_replayed() {
    let bytes: Vec<u8> = (0..READ_BYTES * 2 + 7).map(|index| index as u8).collect();
    let mut body = ByteStream::from_reader(io::Cursor::new(bytes.clone()), Some(bytes.len() as u64));
    assert!(!body.is_replayable());
    let mut read = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece.unwrap();
        assert!(!piece.is_empty() && piece.len() <= READ_BYTES);
        read.extend_from_slice(&piece);
    }
    assert_eq!(read, bytes);
}

#[cfg(feature = "fs")]
#[tokio::test]
async fn a_file_is_read_twice_and_a_file_that_shrank_is_an_error() {
    let path = std::env::temp_dir().join(format!("cloudkit-{}", ResourceId::generate()));
    std::fs::write(&path, vec![7; 100_000]).unwrap();
    let body = ByteStream::from_path(&path).await.unwrap();
    assert_eq!(body.length(), Some(100_000));
    let again = body.replay().unwrap();
    assert_eq!(body.collect(100_000).await.unwrap(), vec![7; 100_000]);
    std::fs::write(&path, b"short").unwrap();
    assert!(matches!(again.collect(100_000).await, Err(CloudError::Io(_))));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(ByteStream::from_path(&path).await, Err(CloudError::Io(_))));
    assert!(matches!(ByteStream::from_path(std::env::temp_dir()).await, Err(CloudError::Io(_))));
}

#[tokio::test]
async fn a_listing_asks_for_a_page_when_it_needs_it() {
    let asked = AtomicUsize::new(0);
    let fetch = |token: Option<u32>| {
        asked.fetch_add(1, Ordering::SeqCst);
        async move {
            match token {
                None => Ok((vec![1, 2], Some(1))),
                Some(1) => Ok((vec![], Some(2))),
                Some(_) => Ok((vec![3], None)),
            }
        }
    };
    let mut items = ItemStream::pages(fetch);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    assert_eq!(items.next().await.unwrap().unwrap(), 1);
    assert_eq!(items.next().await.unwrap().unwrap(), 2);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(items.next().await.unwrap().unwrap(), 3, "an empty page in between is passed over");
    assert!(items.next().await.is_none() && items.next().await.is_none());
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_listing_ends_with_its_first_failure() {
    let fetch = |token: Option<()>| async move {
        match token {
            None => Ok((vec![1, 2], Some(()))),
            Some(()) => Err(Failure::from(CloudError::Internal("x".into()))),
        }
    };
    let mut items = ItemStream::pages(fetch).map_items(|item| Ok(item * 10));
    assert_eq!(items.next().await.unwrap().unwrap(), 10);
    assert_eq!(items.next().await.unwrap().unwrap(), 20);
    assert!(items.next().await.unwrap().is_err());
    assert!(items.next().await.is_none());
    assert!(ItemStream::pages(fetch).collect(9).await.is_err());

    let endless = || ItemStream::pages(|_: Option<()>| async { Ok((vec![1, 2, 3], Some(()))) });
    let refused = endless().collect(7).await.unwrap_err();
    assert!(matches!(refused.kind, CloudError::Validation(_)));
    let mut refused = endless().map_items(|_| Err::<u8, _>(CloudError::Internal("y".into()).into()));
    assert!(refused.next().await.unwrap().is_err());
    assert!(refused.next().await.is_none());
}
