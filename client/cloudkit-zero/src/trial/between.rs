//! What stands between a client and an appliance: it cuts connections, and leads to where the appliance is now.

use super::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::net::{TcpListener, TcpStream};

/// Passes bytes on. The first connections are cut after so many bytes of answers.
pub struct Between {
    pub url: String,
    far: Arc<Mutex<String>>,
    connections: Arc<AtomicU64>,
}

impl Between {
    /// In front of the appliance at `url`; `cuts` connections are cut after `bytes_max`.
    pub async fn start(url: &str, bytes_max: usize, cuts: u64) -> Between {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let near = format!("http://{}", listener.local_addr().expect("it has one"));
        let between = Between { url: near, far: Arc::default(), connections: Arc::default() };
        between.lead_to(url);
        let (far, connections) = (between.far.clone(), between.connections.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let number = connections.fetch_add(1, Ordering::SeqCst);
                let limit = if number < cuts { bytes_max } else { usize::MAX };
                let far = far.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // Nobody there: the connection ends, as one to a dead appliance does.
                if let Ok(far) = TcpStream::connect(&far).await {
                    tokio::spawn(pass(near, far, limit));
                }
            }
        });
        between
    }

    /// From now on to the appliance at `url`.
    pub fn lead_to(&self, url: &str) {
        let address = url.strip_prefix("http://").expect("it is plain").to_string();
        *self.far.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// How many there were.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn pass(near: TcpStream, far: TcpStream, limit: usize) {
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let up = tokio::spawn(async move { tokio::io::copy(&mut near_read, &mut far_write).await });
    let mut buffer = vec![0; 64 * 1024];
    let mut passed = 0;
    while passed < limit {
        let read = far_read.read(&mut buffer).await.unwrap_or(0);
        if read == 0 || near_write.write_all(&buffer[..read]).await.is_err() {
            break;
        }
        passed += read;
    }
    up.abort();
}
