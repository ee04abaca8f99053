//! Bytes into the store: from a request's body, or from other stored bodies.
//! Invariant: what is not sealed is lost. A sink that is dropped, because its client left or its body was wrong, gives its
//! space back by itself, and nothing of it was ever visible.
//! Leaves to the store: where the bytes go and when they are durable.

use std::mem;

use bytes::{Bytes, BytesMut};
use hash::{Digest, Md5State};
use plan::{BodyFailure, BodyFilter, Copy, Digests, Receive, Received, Then};
use store::{BodyOwner, BodyWriter, Fault, Store};

use super::intake::Intake;
use super::lanes::{Hashed, Lanes};
use super::{Host, drive};

/// Takes the bytes of one body: hashes them and writes them.
struct Sink<'a> {
    lanes: &'a Lanes,
    writer: BodyWriter,
    md5: Md5,
    digests: Vec<Digest>,
}

/// The MD5 of a body. One run of pieces at most is being hashed, while the next one is on its way from the client.
enum Md5 {
    Unwanted,
    Known(Md5State),
    Running(Hashed),
}

impl Md5 {
    /// Hashes `pieces` once those before them are done.
    async fn update(self, lanes: &Lanes, pieces: Vec<Bytes>) -> Md5 {
        match self.settle().await {
            Some(state) => Md5::Running(lanes.update(state, pieces)),
            None => Md5::Unwanted,
        }
    }

    async fn settle(self) -> Option<Md5State> {
        match self {
            Md5::Unwanted => None,
            Md5::Known(state) => Some(state),
            Md5::Running(hashed) => Some(hashed.await),
        }
    }
}

impl<'a> Sink<'a> {
    fn new(
        store: &Store,
        lanes: &'a Lanes,
        hint: Option<u64>,
        owner: BodyOwner,
        digests: &Digests,
    ) -> Sink<'a> {
        Sink {
            lanes,
            writer: store.body_writer(hint, owner),
            md5: if digests.md5 { Md5::Known(Md5State::new()) } else { Md5::Unwanted },
            digests: digests.algorithms.iter().map(|algorithm| Digest::new(*algorithm)).collect(),
        }
    }

    /// Appends `pieces` in order. The MD5 is computed at the end of a turn, together with other uploads', while the
    /// writes are on their way and the client sends more. The memory held is bounded: the next call waits for it.
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), Fault> {
        for digest in &mut self.digests {
            for piece in &pieces {
                digest.update(piece);
            }
        }
        let former = mem::replace(&mut self.md5, Md5::Unwanted);
        self.md5 = former.update(self.lanes, pieces.clone()).await;
        for piece in &pieces {
            self.writer.write_shared(piece).await?;
        }
        Ok(())
    }

    async fn seal(self, trailers: Vec<(String, String)>) -> Result<Received, Fault> {
        let length = self.writer.length();
        let checksums =
            self.digests.into_iter().map(|digest| (digest.algorithm(), digest.finish())).collect();
        let md5 = self.md5.settle().await.map(Md5State::finish);
        Ok(Received { body: self.writer.seal().await?, length, md5, checksums, trailers })
    }
}

/// Streams the body of a request into the store.
pub async fn receive(
    host: &impl Host,
    intake: &mut Intake,
    receive: Receive,
) -> Result<Received, BodyFailure> {
    let store = host.store();
    let Receive { length_hint, length_max, owner, digests, prefix, mut filter } = receive;
    // Before the first read, which is what sends 100-continue: a client that is made to wait here has sent nothing.
    store.admit(owner.shard).await?;
    let announced = intake.announced_bytes();
    if filter.is_none() && announced.is_some_and(|length| length > length_max) {
        return Err(BodyFailure::TooLarge);
    }
    let hint = length_hint.or(if filter.is_none() { announced } else { None });
    let mut sink = Sink::new(store, host.lanes(), hint, owner, &digests);
    let mut pieces = if prefix.is_empty() { intake.batch().await? } else { vec![prefix] };
    while !pieces.is_empty() {
        match &mut filter {
            None => append(&mut sink, pieces, length_max).await?,
            Some(filter) => {
                let mut rest = &pieces[..];
                while !rest.is_empty() || filter.holds_more() {
                    let through = filtered(filter.as_mut(), &mut rest)?;
                    while let Some(then) = filter.hold()? {
                        wait_for(host, then).await;
                    }
                    append(&mut sink, through, length_max).await?;
                    if filter.holds_more() {
                        ring::yield_now().await;
                    }
                }
            }
        }
        pieces = intake.batch().await?;
    }
    if let Some(filter) = &mut filter {
        filter.finish()?;
    }
    Ok(sink.seal(intake.take_trailers()).await?)
}

/// Drives what a filter waits for.
async fn wait_for(host: &impl Host, then: Then<()>) {
    let plan = host.with_context(|cx| then(cx, ()));
    // Boxed: a drive within a drive. Its reply has nobody to go to.
    drop(Box::pin(drive(host, plan, &mut Intake::empty())).await);
}

/// Writes more of a body that may have so many bytes at most.
async fn append(sink: &mut Sink<'_>, pieces: Vec<Bytes>, length_max: u64) -> Result<(), BodyFailure> {
    let more: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
    if sink.writer.length() + more > length_max {
        return Err(BodyFailure::TooLarge);
    }
    Ok(sink.write(pieces).await?)
}

/// What the filter lets through of what it holds and of the pieces, which are taken until it holds more than it gives at
/// once; parts of a piece share its memory.
fn filtered(filter: &mut dyn BodyFilter, pieces: &mut &[Bytes]) -> Result<Vec<Bytes>, BodyFailure> {
    let mut through = Vec::with_capacity(pieces.len());
    // Bytes that the filter held back from earlier pieces come from its own memory and are copied together.
    let mut held = BytesMut::new();
    let none = Bytes::new();
    loop {
        let piece = if filter.holds_more() {
            &none
        } else if let Some((first, rest)) = pieces.split_first() {
            *pieces = rest;
            first
        } else {
            break;
        };
        filter.feed(piece, &mut |data| {
            if data.is_empty() {
            } else if piece.as_ptr_range().contains(&data.as_ptr()) {
                if !held.is_empty() {
                    through.push(held.split().freeze());
                }
                through.push(piece.slice_ref(data));
            } else {
                held.extend_from_slice(data);
            }
        })?;
        if filter.holds_more() {
            break;
        }
    }
    if !held.is_empty() {
        through.push(held.freeze());
    }
    Ok(through)
}

/// Streams pieces of stored bodies into a new one.
pub async fn copy(store: &Store, lanes: &Lanes, copy: Copy) -> Result<Received, BodyFailure> {
    let Copy { pieces, owner, digests } = copy;
    store.admit(owner.shard).await?;
    let length = pieces.iter().map(|piece| piece.length).sum();
    let mut sink = Sink::new(store, lanes, Some(length), owner, &digests);
    for piece in pieces {
        let before = sink.writer.length();
        let mut stream = store.read(&piece.pin, &piece.body, piece.start..piece.start + piece.length);
        while let Some(data) = stream.next().await {
            sink.write(vec![data?]).await?;
        }
        if sink.writer.length() - before != piece.length {
            return Err(BodyFailure::Fault(Fault::corrupt(format!(
                "a body ended after {} of {} bytes",
                sink.writer.length() - before,
                piece.length
            ))));
        }
    }
    Ok(sink.seal(Vec::new()).await?)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::time::Duration;

    use http_types::StatusCode;
    use plan::{Plan, Reply};
    use store::{ShardId, TableId};

    use super::*;
    use crate::drive::verified::tests::with_bench;

    /// Lets through what is between the first `<` and the next `>`, as one run per piece and one byte late.
    struct Late {
        open: bool,
        held: Option<u8>,
    }

    impl BodyFilter for Late {
        fn feed(&mut self, input: &[u8], data: &mut dyn FnMut(&[u8])) -> Result<(), BodyFailure> {
            if let Some(byte) = self.held.take() {
                data(&[byte]);
            }
            let (last, front) = input.split_last().expect("pieces are not empty");
            data(front);
            self.held = Some(*last);
            self.open = true;
            Ok(())
        }
        fn finish(&mut self) -> Result<(), BodyFailure> {
            Ok(())
        }
    }

    #[test]
    fn filtered_bytes_keep_their_order_whether_shared_or_copied() {
        let mut filter = Late { open: false, held: None };
        let pieces = [Bytes::from_static(b"abc"), Bytes::from_static(b"d"), Bytes::from_static(b"efg")];
        let mut rest = &pieces[..];
        let through = filtered(&mut filter, &mut rest).expect("passes");
        let text: Vec<u8> = through.iter().flatten().copied().collect();
        assert_eq!(text, b"abcdef");
        assert_eq!(filter.held, Some(b'g'));
        assert!(rest.is_empty());
    }

    /// Has something done twice before what it let through may be written, and notes what happened.
    struct Holding {
        log: Rc<RefCell<Vec<&'static str>>>,
        due: u32,
        is_given_up: bool,
    }

    impl BodyFilter for Holding {
        fn feed(&mut self, input: &[u8], data: &mut dyn FnMut(&[u8])) -> Result<(), BodyFailure> {
            self.log.borrow_mut().push("fed");
            self.due = 2;
            data(input);
            Ok(())
        }
        fn hold(&mut self) -> Result<Option<Then<()>>, BodyFailure> {
            if self.due == 0 {
                return if self.is_given_up { Err(BodyFailure::TooLarge) } else { Ok(None) };
            }
            self.due -= 1;
            let log = Rc::clone(&self.log);
            Ok(Some(Box::new(move |_, ()| {
                Plan::wait(Duration::from_millis(1), move |_| {
                    log.borrow_mut().push("held");
                    Plan::Reply(Reply::empty(StatusCode::OK))
                })
            })))
        }
        fn finish(&mut self) -> Result<(), BodyFailure> {
            self.log.borrow_mut().push("finished");
            Ok(())
        }
    }

    #[test]
    fn a_filter_holds_the_body_up_until_what_it_wants_is_done() {
        with_bench("receive-hold", |bench| async move {
            for is_given_up in [false, true] {
                let log = Rc::default();
                let filter = Box::new(Holding { log: Rc::clone(&log), due: 0, is_given_up });
                let wanted = Receive {
                    length_hint: None,
                    length_max: 100,
                    owner: BodyOwner { shard: ShardId(0), table: TableId(100), key: b"k".to_vec() },
                    digests: Digests::default(),
                    prefix: Bytes::from_static(b"bytes"),
                    filter: Some(filter),
                };
                let received = receive(&*bench, &mut Intake::empty(), wanted).await;
                let expected: &[&str] =
                    if is_given_up { &["fed", "held", "held"] } else { &["fed", "held", "held", "finished"] };
                assert_eq!(*log.borrow(), expected);
                match received {
                    Ok(received) => assert_eq!((received.length, is_given_up), (5, false)),
                    Err(failure) => assert!(is_given_up && matches!(failure, BodyFailure::TooLarge)),
                }
            }
        });
    }

    /// Makes three bytes of each, one in a call.
    #[derive(Default)]
    struct Thrice(Vec<u8>);

    impl BodyFilter for Thrice {
        fn feed(&mut self, input: &[u8], data: &mut dyn FnMut(&[u8])) -> Result<(), BodyFailure> {
            assert!(self.0.is_empty() || input.is_empty(), "what it holds comes first");
            self.0.extend(input.iter().flat_map(|byte| [*byte; 3]));
            data(&[self.0.remove(0)]);
            Ok(())
        }
        fn holds_more(&self) -> bool {
            !self.0.is_empty()
        }
        fn finish(&mut self) -> Result<(), BodyFailure> {
            Ok(())
        }
    }

    #[test]
    fn a_filter_that_holds_more_gets_no_further_piece_before_it_was_asked_for_all() {
        let mut filter = Thrice::default();
        let pieces = [Bytes::from_static(b"ab"), Bytes::from_static(b"c")];
        let mut rest = &pieces[..];
        let mut text = Vec::new();
        while !rest.is_empty() || filter.holds_more() {
            let through = filtered(&mut filter, &mut rest).expect("passes");
            assert!(through.iter().map(Bytes::len).sum::<usize>() <= 2, "it was asked again in one turn");
            text.extend(through.iter().flatten().copied());
        }
        assert_eq!(text, b"aaabbbccc");
    }
}
