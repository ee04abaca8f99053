//! The echo on glommio.

use std::io;

use ::glommio::net::{TcpListener, TcpStream};
use ::glommio::{LocalExecutorBuilder, Placement};
use futures_lite::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Serves until killed.
pub fn serve() -> io::Result<()> {
    // The thread is on its core already.
    let executor = LocalExecutorBuilder::new(Placement::Unbound).make()?;
    executor.run(async {
        let listener = TcpListener::bind(crate::any_port())?;
        crate::say_ready(listener.local_addr()?);
        loop {
            let stream = listener.accept().await?;
            stream.set_nodelay(true)?;
            ::glommio::spawn_local(answer_all(stream)).detach();
        }
    })
}

/// glommio reads into a slice, so the buffer has its whole length and `filled` says how much of it counts.
async fn answer_all(mut stream: TcpStream) {
    let answer = crate::answer();
    let mut buffer = vec![0; crate::READ_BYTES];
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]).await {
            Ok(0) | Err(_) => return,
            Ok(count) => filled += count,
        }
        while let Some(end) = memchr::memmem::find(&buffer[..filled], b"\r\n\r\n") {
            buffer.copy_within(end + 4..filled, 0);
            filled -= end + 4;
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}
