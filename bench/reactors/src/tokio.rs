//! The echo on tokio's single-threaded runtime.

use std::io;

use ::tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use ::tokio::net::{TcpListener, TcpStream};
use ::tokio::task::LocalSet;

/// Serves until killed.
pub fn serve() -> io::Result<()> {
    let runtime = ::tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(crate::any_port()).await?;
        crate::say_ready(listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            ::tokio::task::spawn_local(answer_all(stream));
        }
    })
}

async fn answer_all(mut stream: TcpStream) {
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
