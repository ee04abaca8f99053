//! The echo on monoio, as it comes and with the ring's flags that ours has.

use std::io;

use ::monoio::io::{AsyncReadRent as _, AsyncWriteRentExt as _};
use ::monoio::net::{TcpListener, TcpStream};
use ::monoio::{IoUringDriver, RuntimeBuilder};

/// Serves until killed, with no flags of the ring.
pub fn serve_as_shipped() -> io::Result<()> {
    serve(uring_of_monoio::IoUring::builder())
}

/// Serves until killed. These flags are for a ring that one thread alone uses, as here.
pub fn serve_with_flags() -> io::Result<()> {
    let mut ring = uring_of_monoio::IoUring::builder();
    ring.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun();
    serve(ring)
}

fn serve(ring: uring_of_monoio::Builder) -> io::Result<()> {
    let builder = RuntimeBuilder::<IoUringDriver>::new();
    let mut runtime = builder.with_entries(crate::RING_ENTRIES).uring_builder(ring).build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(crate::any_port())?;
        crate::say_ready(listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            ::monoio::spawn(answer_all(stream));
        }
    })
}

/// A buffer is the kernel's while it reads, so what is left of one read is kept aside; with heads that come whole that is
/// nothing.
async fn answer_all(mut stream: TcpStream) {
    let mut answer = crate::answer();
    let mut received = Vec::new();
    let mut buffer = Vec::with_capacity(crate::READ_BYTES);
    while received.len() < crate::READ_BYTES {
        let result;
        (result, buffer) = stream.read(buffer).await;
        match result {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if received.is_empty() {
            std::mem::swap(&mut received, &mut buffer);
        } else {
            received.extend_from_slice(&buffer);
        }
        while crate::take_head(&mut received) {
            let result;
            (result, answer) = stream.write_all(answer).await;
            if result.is_err() {
                return;
            }
        }
        if received.is_empty() {
            std::mem::swap(&mut received, &mut buffer);
        }
        buffer.clear();
    }
}
