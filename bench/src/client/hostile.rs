//! What tests do to parsers and connections: answers cut short, changed at random, and sent by a server that follows a script.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use super::http1::Failed;
use super::wire::{When, Wire};
use crate::load::runtime;
use crate::load::schedule::SplitMix;

const CHANGES: u64 = 20_000;
/// Each takes a connection.
const GARBLED: u64 = 60;
/// A server that waits for a caller who waits for the rest of an answer closes after this.
const PATIENCE: Duration = Duration::from_millis(30);

/// A parser that waits for more with each beginning of `whole`, takes the whole of it, and no more than that.
pub fn every_beginning(whole: &[u8], parse: impl Fn(&[u8]) -> Result<Option<usize>, Failed>) {
    for length in 0..whole.len() {
        let read = parse(&whole[..length]);
        assert!(matches!(read, Ok(None)), "{length} of {} bytes: {read:?}", whole.len());
    }
    assert_eq!(parse(whole).expect("a whole one"), Some(whole.len()));
    let followed = [whole, b"\x01\x02\r\n+"].concat();
    assert_eq!(parse(&followed).expect("a whole one and more"), Some(whole.len()));
}

/// Has `read` look at changed copies: bytes replaced, taken out, doubled, cut. It may say what it likes, but must come back.
pub fn changed(whole: &[u8], read: impl Fn(&[u8])) {
    for seed in 0..CHANGES {
        read(&change(whole, seed));
    }
}

/// Copy number `seed`.
pub fn change(whole: &[u8], seed: u64) -> Vec<u8> {
    let mut random = SplitMix(seed);
    let mut below = |count: usize| (random.next() % count.max(1) as u64) as usize;
    let mut bytes = whole.to_vec();
    for _ in 0..=below(4) {
        let at = below(bytes.len());
        match below(5) {
            _ if bytes.is_empty() => {}
            0 => bytes[at] = below(256) as u8,
            1 => bytes[at] ^= 1 << below(8),
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, bytes[at]),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

/// Has `talk` meet servers that follow a script but for one answer, which is changed. It may make of it what it likes, but
/// must come back.
pub fn garbled<T: Send>(answers: &[&[u8]], speaks_first: bool, talk: impl AsyncFn(Wire) -> T + Sync) {
    for seed in 0..GARBLED {
        let at = (seed % answers.len() as u64) as usize;
        let changed = change(answers[at], seed);
        let mut script = answers.to_vec();
        script[at] = &changed;
        run(script, speaks_first, Some(PATIENCE), &talk);
    }
}

/// What `talk` makes of a server that sends the first of `answers` when it is spoken to first, then the next, and then
/// closes.
pub fn against<T: Send>(answers: Vec<&[u8]>, talk: impl AsyncFnOnce(Wire) -> T + Send) -> T {
    run(answers, false, None, talk)
}

/// The same with a server that sends the first unasked.
pub fn against_first<T: Send>(answers: Vec<&[u8]>, talk: impl AsyncFnOnce(Wire) -> T + Send) -> T {
    run(answers, true, None, talk)
}

fn run<T: Send>(
    answers: Vec<&[u8]>,
    speaks_first: bool,
    patience: Option<Duration>,
    talk: impl AsyncFnOnce(Wire) -> T + Send,
) -> T {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    thread::scope(|scope| {
        scope.spawn(move || {
            let (mut socket, _) = listener.accept().expect("accepted");
            socket.set_read_timeout(patience).expect("set");
            for (index, answer) in answers.into_iter().enumerate() {
                let mut heard = [0; 64 << 10];
                // A caller that has given up is not told the rest.
                let is_asked =
                    (speaks_first && index == 0) || socket.read(&mut heard).is_ok_and(|count| count > 0);
                if !is_asked || socket.write_all(answer).is_err() {
                    break;
                }
            }
        });
        let talked = scope.spawn(move || {
            let core = *ring::cores().first().expect("a core");
            let mut runtime = runtime::start(core).expect("a runtime");
            runtime.block_on(async {
                let (wire, _) = Wire::connect(address, None, When::BeforeTheClock).await.expect("connected");
                talk(wire).await
            })
        });
        talked.join().expect("ended")
    })
}
