//! The life of an HTTP/1 connection: head, handler, rest of the body, again; and the end.
//!
//! ```text
//! read head --> run handler --> settle --> discard unread body --> read head
//!     |              |                          |
//!     +-- refusal    +-- aborted, unanswered    +-- too much, too slow --> shut down, linger, drop
//! ```
//!
//! Invariant: the handler's future runs to its end whatever the client does.
//! Left to others: each step (`connection`).

use std::future::poll_fn;
use std::rc::Rc;

use http_types::StatusCode;

use crate::core::Core;
use crate::exchange::Settlement;
use crate::http1::connection::Connection;
use crate::server::Stream;
use crate::{Handler, ResponseHead};

/// How a connection ends.
enum End {
    /// Nothing is owed to the client: it closed, or was idle.
    Quiet,
    /// The client may still be sending while our last answer is under way.
    Linger,
}

pub(crate) async fn serve<S: Stream, H: Handler>(connection: Rc<Connection<S>>, handler: H, core: Rc<Core>) {
    let end = loop {
        match poll_fn(|cx| connection.poll_head(cx)).await {
            Ok(None) => break End::Quiet,
            Err(refusal) => {
                let (head, body) = handler.refuse(refusal);
                connection.stage_last_words(&head, body);
                break End::Linger;
            }
            Ok(Some(parsed)) => {
                let request = connection.open(parsed);
                // Boxed, so that an idle connection does not carry the handler's largest state.
                Box::pin(handler.call(request)).await;
                if let Some(end) = end_turn(&connection, &core).await {
                    break end;
                }
            }
        }
    };
    close(&connection, &core, end).await;
}

/// What comes after the handler; `None` if the connection serves on.
async fn end_turn<S: Stream>(connection: &Rc<Connection<S>>, core: &Core) -> Option<End> {
    let settlement = poll_fn(|cx| connection.poll_settled(cx)).await;
    connection.close_turn();
    match settlement {
        Settlement::Finished if connection.keeps() => {
            let mut budget = core.limits.drain_bytes_max;
            let deadline = ring::now() + core.limits.drain_time;
            let clean = poll_fn(|cx| connection.poll_discard(cx, &mut budget, deadline)).await;
            (!clean).then_some(End::Linger)
        }
        Settlement::Finished => Some(End::Linger),
        Settlement::Aborted => {
            connection.cut_short();
            Some(End::Linger)
        }
        Settlement::Unanswered => {
            connection.stage_failure(&ResponseHead::new(StatusCode::INTERNAL_SERVER_ERROR));
            Some(End::Linger)
        }
    }
}

async fn close<S: Stream>(connection: &Rc<Connection<S>>, core: &Core, end: End) {
    if connection.is_broken() || poll_fn(|cx| connection.poll_shutdown(cx)).await.is_err() {
        return;
    }
    if let End::Linger = end {
        let mut budget = core.limits.drain_bytes_max;
        let deadline = ring::now() + core.limits.drain_time;
        poll_fn(|cx| connection.poll_linger(cx, &mut budget, deadline)).await;
    }
}
