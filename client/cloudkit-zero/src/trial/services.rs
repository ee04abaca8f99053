//! What the tests of services start with: a client's shared parts, over the appliance or over a peer within the process.

use std::sync::Arc;

use cloudkit_core::common::ProviderType;
use cloudkit_core::core::CloudContext;
use tokio::task::JoinHandle;

use super::{DATA, Peer};
use crate::call::Caller;
use crate::service::Shared;

/// The parts that all services of a client share, without metrics and log.
pub(crate) async fn shared(caller: Caller) -> Arc<Shared> {
    let context = CloudContext::builder(ProviderType::Zero).build().await.expect("it needs nothing");
    Arc::new(Shared { caller, context, metrics: None, logger: None })
}

/// What a peer does with one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// This status and body.
    Status(u16, &'static str),
    /// Status 200 with a header, and this body.
    With(&'static str, &'static str, &'static str),
    /// Nothing: the stream is reset after the request.
    Lost,
}

/// Answers one request after the other and gives their bodies. Ends behind the last answer.
pub(crate) fn script(mut peer: Peer, answers: Vec<Answer>) -> JoinHandle<(Peer, Vec<String>)> {
    tokio::spawn(async move {
        let mut bodies = Vec::new();
        for answer in answers {
            let stream = peer.request().await;
            let body = peer.next(DATA).await.payload;
            bodies.push(String::from_utf8(body).expect("it is text"));
            match answer {
                Answer::Status(status, body) => {
                    peer.head(stream, status, &[]).await;
                    peer.send(DATA, super::END_STREAM, stream, body.as_bytes()).await;
                }
                Answer::With(name, value, body) => {
                    peer.head(stream, 200, &[(name, value)]).await;
                    peer.send(DATA, super::END_STREAM, stream, body.as_bytes()).await;
                }
                Answer::Lost => peer.reset(stream, super::CANCEL).await,
            }
        }
        (peer, bodies)
    })
}
