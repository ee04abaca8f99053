//! ListQueues and ListDeadLetterSourceQueues: names of queues in their order, page by page.

use std::ops::Bound;

use plan::{Context, Plan};
use store::{Direction, Fault, TableId};

use super::create_queue::URL_BYTES;
use crate::call::Shared;
use crate::engine::on_queue;
use crate::model::limits::QUEUE_NAME_BYTES_MAX;
use crate::model::page::{Listing, results};
use crate::store::{QUEUES, SOURCES, source_front};
use crate::wire::error::Error;
use crate::wire::input::Input;
use crate::wire::request::queue::{ListDeadLetterSourceQueues, ListQueues};

/// Begins ListQueues.
pub fn start(call: Shared, cx: &mut Context<'_>, input: &Input<'_>) -> Result<Plan, Error> {
    let request = ListQueues::decode(input)?;
    call.allow_own()?;
    let (prefix, account) = (request.prefix.as_deref().unwrap_or_default(), call.account()?.id);
    let listing = Listing { operation: "ListQueues", account: account.as_str(), parameter: prefix };
    let count = results(request.max_results)?;
    let after = request.next_token.as_deref().filter(|token| !token.is_empty());
    let after = after.map(|token| listing.after(token)).transpose()?;
    let mut front = account.as_str().as_bytes().to_vec();
    let own = front.len();
    front.extend_from_slice(prefix.as_bytes());
    // No queue's name begins with what is longer than a name.
    let is_name = prefix.len() <= QUEUE_NAME_BYTES_MAX;
    let page =
        if is_name { page(cx, QUEUES, &front, own, after.as_deref(), count)? } else { Page::default() };
    // Who does not say how many results a page has gets no second one.
    let token = page.last_if_more.filter(|_| request.max_results.is_some());
    let token = token.map(|last| listing.token_after(&last));
    let urls: Vec<String> = page.names.iter().map(|name| call.queue_url(account.as_str(), name)).collect();
    Ok(call.result(urls.len() * URL_BYTES, |out| {
        if !urls.is_empty() {
            out.texts("QueueUrls", "QueueUrl", urls.iter().map(String::as_str));
        }
        out.text_if("NextToken", token.as_deref());
    }))
}

/// Begins ListDeadLetterSourceQueues.
pub fn dead_letter_sources(call: Shared, cx: &mut Context<'_>, input: &Input<'_>) -> Result<Plan, Error> {
    let request = ListDeadLetterSourceQueues::decode(input)?;
    let queue = call.queue(cx, request.queue_url.as_deref())?;
    on_queue::find(cx, &queue)?.ok_or_else(Error::no_queue)?;
    let account = queue.key.account();
    let listing = Listing { operation: "ListDeadLetterSourceQueues", account, parameter: queue.key.name() };
    let count = results(request.max_results)?;
    let after = request.next_token.as_deref().filter(|token| !token.is_empty());
    let after = after.map(|token| listing.after(token)).transpose()?;
    // Sources are of their target's account.
    let mut front = source_front(&queue.key);
    front.extend_from_slice(account.as_bytes());
    let page = page(cx, SOURCES, &front, front.len(), after.as_deref(), count)?;
    let token = page.last_if_more.filter(|_| request.max_results.is_some());
    let token = token.map(|last| listing.token_after(&last));
    let urls: Vec<String> = page.names.iter().map(|name| call.queue_url(account, name)).collect();
    Ok(call.result(urls.len() * URL_BYTES, |out| {
        // The one list of this protocol whose name begins with a small letter.
        out.texts("queueUrls", "QueueUrl", urls.iter().map(String::as_str));
        out.text_if("NextToken", token.as_deref());
    }))
}

/// Some names in their order.
#[derive(Default)]
struct Page {
    names: Vec<String>,
    /// The last of them, if there are more behind it.
    last_if_more: Option<String>,
}

/// Names of keys over all shards that begin with `front`, from behind a name on. `own`: where in a key its name begins.
fn page(
    cx: &Context<'_>,
    table: TableId,
    front: &[u8],
    own: usize,
    after: Option<&str>,
    count: usize,
) -> Result<Page, Fault> {
    let behind = after.map(|name| [&front[..own], name.as_bytes()].concat());
    let start = match &behind {
        Some(key) => Bound::Excluded(key.as_slice()),
        None => Bound::Included(front),
    };
    let views = cx.store.view_all()?;
    let mut scan = views.scan(table, start, Direction::Forward);
    let mut names: Vec<String> = Vec::new();
    while let Some((_, key, _)) = scan.next()? {
        if !key.starts_with(front) {
            break;
        }
        if names.len() == count {
            return Ok(Page { last_if_more: names.last().cloned(), names });
        }
        let name = str::from_utf8(&key[own..])
            .map_err(|_| Fault::corrupt("the key of a queue is no text".into()))?;
        names.push(name.to_owned());
    }
    Ok(Page { names, last_if_more: None })
}
