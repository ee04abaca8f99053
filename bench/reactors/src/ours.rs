//! The echo on the appliance's reactor.

use std::io;
use std::time::Duration;

use ::tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Serves until killed.
pub fn serve() -> io::Result<()> {
    let config = ring::ReactorConfig { backend: ring::Backend::IoUring, ..ring::ReactorConfig::default() };
    ring::Reactor::new(&config)?.block_on(async {
        let listener = ring::TcpListener::bind(crate::any_port())?;
        crate::say_ready(listener.local_addr()?);
        loop {
            match listener.accept().await {
                Ok((stream, _)) => ring::spawn(answer_all(stream)).detach(),
                // Too many descriptors pass.
                Err(_) => ring::sleep(Duration::from_millis(10)).await,
            }
        }
    })
}

async fn answer_all(mut stream: ring::TcpStream) {
    let answer = crate::answer();
    let mut received = Vec::with_capacity(crate::READ_BYTES);
    while received.len() < crate::READ_BYTES {
        match stream.read_buf(&mut received).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        while crate::take_head(&mut received) {
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}
