//! Queues that keep the order.

use super::{fifo_queue, new_queue, receive, ten};
use crate::case::{Shown, refused};
use crate::subject::Subject;
use cloudkit_core::api::{MessageQueue, ReceiveOptions, SendOptions};
use std::time::Duration;

fn of(group: &str, deduplication: &str) -> SendOptions {
    SendOptions {
        deduplication_id: Some(deduplication.to_owned()),
        ..SendOptions::new().message_group_id(group)
    }
}

pub(super) async fn messages_of_a_group_come_in_the_order_of_their_sending(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let url = fifo_queue(service, subject).await?;
    for index in 0..12 {
        let group = if index % 3 == 0 { "a" } else { "b" };
        let body = format!("{group}{index:02}");
        service.send_with_options(&url, &body, of(group, &body)).await?;
    }
    let mut bodies = Vec::new();
    for _ in 0..40 {
        let messages = service
            .receive(&url, ReceiveOptions::new().max_messages(3).visibility_timeout(super::LONG))
            .await?;
        bodies.extend(messages.iter().map(|message| message.body.clone()));
        for message in &messages {
            service.delete(&url, message).await?;
        }
        if bodies.len() == 12 {
            break;
        }
    }
    let of_group = |group: &str| bodies.iter().filter(|body| body.starts_with(group)).collect::<Vec<_>>();
    same!("the first group", of_group("a"), ["a00", "a03", "a06", "a09"].iter().collect::<Vec<_>>());
    let second = ["b01", "b02", "b04", "b05", "b07", "b08", "b10", "b11"];
    same!("the second group", of_group("b"), second.iter().collect::<Vec<_>>());
    Ok(())
}

pub(super) async fn a_message_in_flight_holds_its_group_back(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let url = fifo_queue(service, subject).await?;
    for (group, body) in [("a", "a1"), ("a", "a2"), ("b", "b1")] {
        service.send_with_options(&url, body, of(group, body)).await?;
    }
    let one = || ReceiveOptions::new().visibility_timeout(super::LONG);
    let first = service.receive(&url, one()).await?;
    same!("the first", first.iter().map(|message| message.body.as_str()).collect::<Vec<_>>(), ["a1"]);
    let second = service.receive(&url, ten()).await?;
    same!("the other group", second.iter().map(|message| message.body.as_str()).collect::<Vec<_>>(), ["b1"]);
    same!("nothing else", service.receive(&url, ten()).await?.len(), 0);
    service.change_visibility(&url, &first[0], Duration::ZERO).await?;
    let again = service.receive(&url, one()).await?;
    same!("again", again.iter().map(|message| message.body.as_str()).collect::<Vec<_>>(), ["a1"]);
    refused("by the old receipt", service.delete(&url, &first[0]).await, "Validation")?;
    service.delete(&url, &again[0]).await?;
    let next = service.receive(&url, ten()).await?;
    same!("the next", next.iter().map(|message| message.body.as_str()).collect::<Vec<_>>(), ["a2"]);
    Ok(())
}

pub(super) async fn a_repeated_deduplication_adds_nothing(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let url = fifo_queue(service, subject).await?;
    let first = service.send_with_options(&url, "x", of("g", "same")).await?;
    let second = service.send_with_options(&url, "y", of("g", "same")).await?;
    same!("the identity", second, first);
    let message = receive(service, subject, &url, 1).await?.remove(0);
    same!("the message", message.body, "x");
    service.delete(&url, &message).await?;
    service.send_with_options(&url, "z", of("h", "same")).await?;
    same!("after its deletion", service.receive(&url, ten()).await?.len(), 0);
    Ok(())
}

pub(super) async fn a_deduplication_is_known_for_five_minutes(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let url = fifo_queue(service, subject).await?;
    let send = async || service.send_with_options(&url, "x", of("g", "same")).await;
    let first = send().await?;
    let message = receive(service, subject, &url, 1).await?.remove(0);
    service.delete(&url, &message).await?;
    subject.pass(Duration::from_secs(280)).await;
    same!("before", send().await?, first);
    subject.pass(Duration::from_secs(30)).await;
    holds!("after", send().await? != first);
    receive(service, subject, &url, 1).await?;
    Ok(())
}

pub(super) async fn a_fifo_queue_refuses_what_breaks_its_rules(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let (fifo, standard) = (fifo_queue(service, subject).await?, new_queue(service, subject).await?);
    refused("no group", service.send(&fifo, "x").await, "Validation")?;
    let groupless = SendOptions { deduplication_id: Some(String::from("d")), ..SendOptions::new() };
    refused("no group", service.send_with_options(&fifo, "x", groupless.clone()).await, "Validation")?;
    let delayed = of("g", "d").delay(Duration::from_secs(5));
    refused("a delay", service.send_with_options(&fifo, "x", delayed).await, "Validation")?;
    refused("a group of spaces", service.send_with_options(&fifo, "x", of("a b", "d")).await, "Validation")?;
    let long = "d".repeat(129);
    refused(
        "a long deduplication",
        service.send_with_options(&fifo, "x", of("g", &long)).await,
        "Validation",
    )?;
    let deduplicated = service.send_with_options(&standard, "x", groupless).await;
    refused("a deduplication in a standard queue", deduplicated, "Validation")
}
