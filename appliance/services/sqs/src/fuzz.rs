//! Targets for fuzzing: each takes any bytes and panics if an invariant of the crate does not hold.
//!
//! They are plain functions, so that any fuzzer can drive them, and an ordinary test replays `corpus/` and mutations
//! of it through them. `TARGETS` names each with the directory of its corpus.

use std::fmt::Debug;

use aws::query::{Node, PARAMETER_COUNT_MAX, Parameters};
use aws::uri;

use crate::wire::error::Error;
use crate::wire::input::Input;
use crate::wire::request::message::{Batch, OfReceipt, Receive, Send};
use crate::wire::request::queue as of_queues;
use crate::wire::selection::{Names, SystemNames};
use crate::wire::{message, name, queue_url};

/// A target.
pub type Target = fn(&[u8]);

/// Every target with its name, which is also the directory of its corpus.
pub const TARGETS: [(&str, Target); 3] =
    [("queries", queries), ("queue_urls", queue_urls), ("requests", requests)];

/// Any parameters: each is found under its name, in the order of the numbers, and the first of a name counts.
pub fn queries(input: &[u8]) {
    let Ok(parameters) = Parameters::parse(None, input) else { return };
    let text = str::from_utf8(input).expect("what is read is text");
    let pairs: Vec<_> = uri::query_pairs(text)
        .map(|(name, value)| (uri::decode_query(name), uri::decode_query(value)))
        .map(|(name, value)| (name.expect("it was read"), value.expect("it was read")))
        .collect();
    assert!(pairs.len() <= PARAMETER_COUNT_MAX);
    for (name, _) in &pairs {
        let first = pairs.iter().find(|(known, _)| known == name).map(|(_, value)| &**value);
        let node = name.split('.').fold(parameters.root(), Node::child);
        assert_eq!(node.value(), first, "{name}");
    }
    let mut distinct: Vec<_> = pairs.iter().map(|(name, _)| &**name).collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(leaves(parameters.root(), 0), distinct.len(), "children are all there is, and each once");
    if let Some(action) = aws::query::peek(text, "Action") {
        assert_eq!(parameters.action(), Some(&*action));
    }
}

/// Values under a node. A name has so few parts that recursion is bounded.
fn leaves(node: Node<'_>, depth: usize) -> usize {
    let own = usize::from(depth > 0 && node.value().is_some());
    assert!(node.numbered().len() <= node.children().count());
    own + node.children().map(|(_, child)| leaves(child, depth + 1)).sum::<usize>()
}

/// Any text as a queue's URL: what it names is named by the URL that is given out for it.
pub fn queue_urls(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let Some(named) = queue_url::parse(text) else { return };
    assert!(name::is_queue_name(named.name), "{text}");
    assert_eq!(queue_url::parse(named.name).map(|again| again.name), Some(named.name));
    if let Some(account) = named.account {
        let printed = queue_url::print("http://host:1/base", account.as_str(), named.name);
        assert_eq!(queue_url::parse(&printed), Some(named), "{text}");
    }
}

/// The name of an operation on the first line, its request on the others, in the protocol that its first byte says: read
/// or refused without harm, and what is read passes through every check that needs no queue.
pub fn requests(input: &[u8]) {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let (operation, body) = (&input[..end], &input[end + 1..]);
    let Ok(operation) = str::from_utf8(operation) else { return };
    let input = match body.first() {
        Some(b'{' | b'[' | b'"') => Input::Json(body),
        _ => match Parameters::parse(None, body) {
            Ok(parameters) => Input::Query(parameters),
            Err(_) => return,
        },
    };
    if let Some(Ok(shown)) = decoded(operation, &input) {
        assert!(!shown.is_empty());
    }
}

/// What a request says, as text; None: there is no such operation.
pub fn decoded(operation: &str, input: &Input<'_>) -> Option<Result<String, Error>> {
    fn shown<T: Debug>(read: Result<T, Error>) -> Option<Result<String, Error>> {
        Some(read.map(|read| format!("{read:?}")))
    }
    match operation {
        "SendMessage" => shown(Send::decode(input).inspect(check_send)),
        "SendMessageBatch" => {
            shown(Batch::<Send<'_>>::decode(input).inspect(|batch| batch.entries.iter().for_each(check_send)))
        }
        "ReceiveMessage" => shown(Receive::decode(input).inspect(check_receive)),
        "DeleteMessage" | "ChangeMessageVisibility" => shown(OfReceipt::decode(input)),
        "DeleteMessageBatch" | "ChangeMessageVisibilityBatch" => {
            shown(Batch::<OfReceipt<'_>>::decode(input).inspect(|batch| {
                let ids = batch.entries.iter().filter_map(|entry| entry.id.as_deref());
                let distinct: std::collections::HashSet<&str> = ids.clone().collect();
                assert!(name::check_entry_ids(ids.clone()).is_err() || distinct.len() == ids.count());
            }))
        }
        "CreateQueue" => shown(of_queues::CreateQueue::decode(input)),
        "DeleteQueue" | "PurgeQueue" | "ListQueueTags" => shown(of_queues::OfQueue::decode(input)),
        "ListQueues" => shown(of_queues::ListQueues::decode(input)),
        "GetQueueUrl" => shown(of_queues::GetQueueUrl::decode(input)),
        "GetQueueAttributes" => shown(of_queues::GetQueueAttributes::decode(input)),
        "SetQueueAttributes" => shown(of_queues::SetQueueAttributes::decode(input)),
        "TagQueue" => shown(of_queues::TagQueue::decode(input)),
        "UntagQueue" => shown(of_queues::UntagQueue::decode(input)),
        "AddPermission" => shown(of_queues::AddPermission::decode(input)),
        "RemovePermission" => shown(of_queues::RemovePermission::decode(input)),
        "ListDeadLetterSourceQueues" => shown(of_queues::ListDeadLetterSourceQueues::decode(input)),
        "StartMessageMoveTask" => shown(of_queues::StartMessageMoveTask::decode(input)),
        "ListMessageMoveTasks" => shown(of_queues::ListMessageMoveTasks::decode(input)),
        "CancelMessageMoveTask" => shown(of_queues::CancelMessageMoveTask::decode(input)),
        _ => None,
    }
}

fn check_send(request: &Send<'_>) {
    if let Ok(body) = message::check_body(request.body.as_deref()) {
        // What a body may hold comes through XML as it was.
        let mut document = aws::xml::Writer::default();
        document.text("Body", body);
        let bytes = document.into_bytes();
        let read = aws::xml::Document::parse(&bytes, usize::MAX).expect("what is written is XML");
        assert_eq!(read.root().text(), body);
    }
    let attributes = message::check_attributes(request.attributes.clone());
    if let Ok(attributes) = &attributes {
        assert_eq!(attributes.is_empty(), crate::wire::md5::of_attributes(attributes).is_none());
    }
    drop(message::check_system_attributes(request.system.clone()));
    for id in [&request.group, &request.deduplication].into_iter().flatten() {
        drop(name::check_id("MessageGroupId", id));
    }
}

fn check_receive(request: &Receive<'_>) {
    drop(SystemNames::parse(&request.system_names));
    assert_eq!(Names::parse(&request.names), Names::parse(&request.names));
}

#[cfg(test)]
mod tests;
