//! Credentials from a place of one's own: they are asked for at the first call, once for however many calls wait, and again
//! before a session ends.
//!
//! `CLOUD_ACCESS_KEY=.. CLOUD_SECRET_KEY=.. cargo run -p cloudkit --example 05_credentials`

use async_trait::async_trait;
use cloudkit::prelude::*;
use std::sync::atomic::{AtomicU32, Ordering};

/// A vault; this one only looks into the environment.
#[derive(Default)]
struct VaultAuth {
    asked: AtomicU32,
}

#[async_trait]
impl AuthProvider for VaultAuth {
    async fn get_credentials(&self) -> CloudResult<Credentials> {
        let count = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        println!("the vault is asked, {count}. time");
        Credentials::from_env()
    }

    /// A real vault would give a new session here.
    async fn refresh_credentials(&self) -> CloudResult<Credentials> {
        self.get_credentials().await
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> CloudResult<()> {
    let zero = CloudKit::zero().auth_provider(VaultAuth::default()).build().await?;
    println!("built; nobody was asked yet");
    let storage = zero.storage();
    let (first, second) = tokio::join!(storage.list_buckets(), storage.list_buckets());
    println!("{} buckets, and again {}", first?.len(), second?.len());
    Ok(())
}
