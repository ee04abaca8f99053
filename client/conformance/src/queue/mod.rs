//! Cases of [`MessageQueue`].

mod fifo;
mod messages;
mod times;

use crate::case::Wrong;
use crate::subject::Subject;
use cloudkit_core::api::{Message, MessageQueue, ReceiveOptions};
use fifo::*;
use messages::*;
use std::time::Duration;
use times::*;

suite! {
    /// Runs the cases of queues and messages.
    queue: MessageQueue;
    a_queue_is_there_from_its_making_to_its_deletion;
    names_that_no_queue_may_have_are_refused;
    whatever_is_asked_of_a_missing_queue_is_not_found;
    a_message_comes_with_all_that_was_sent;
    bodies_come_back_character_by_character;
    messages_that_break_a_rule_are_refused;
    receives_that_break_a_rule_are_refused;
    a_batch_above_any_request_arrives_whole;
    a_deleted_message_does_not_come_again;
    a_receipt_that_is_none_is_refused;
    depth_counts_what_may_be_received;
    a_purge_deletes_all_messages;
    a_received_message_is_hidden_until_it_is_given_back;
    a_message_comes_again_when_its_time_is_over;
    a_delayed_message_comes_when_its_time_has_come;
    a_waiting_receive_is_woken_by_a_send;
    a_wait_without_messages_ends;
    an_old_receipt_deletes_nothing;
    messages_of_a_group_come_in_the_order_of_their_sending;
    a_message_in_flight_holds_its_group_back;
    a_deduplication_is_known_for_five_minutes minutes;
    a_repeated_deduplication_adds_nothing;
    a_fifo_queue_refuses_what_breaks_its_rules;
    receive_stream_gives_and_takes_messages ["receive_stream"];
    a_held_message_is_kept_by_heartbeats ["receive_stream"] minutes;
}

/// A new queue.
async fn new_queue(service: &(impl MessageQueue + ?Sized), subject: &impl Subject) -> Result<String, Wrong> {
    Ok(service.create_queue(&subject.fresh("queue")).await?)
}

/// A new FIFO queue.
async fn fifo_queue(service: &(impl MessageQueue + ?Sized), subject: &impl Subject) -> Result<String, Wrong> {
    Ok(service.create_queue(&format!("{}.fifo", subject.fresh("queue"))).await?)
}

/// Up to ten messages, hidden from then on for as long as a case may last on a slow machine.
fn ten() -> ReceiveOptions {
    ReceiveOptions::new().max_messages(10).visibility_timeout(LONG)
}

/// Receives until there are so many messages.
pub(crate) async fn receive(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
    url: &str,
    count: usize,
) -> Result<Vec<Message>, Wrong> {
    let mut all: Vec<Message> = Vec::new();
    crate::case::eventually(subject, &format!("the arrival of {count} messages"), async || {
        all.extend(service.receive(url, ten()).await?);
        Ok((all.len() >= count).then_some(()))
    })
    .await?;
    same!("the number of messages", all.len(), count);
    Ok(all)
}

const LONG: Duration = Duration::from_secs(3600);
