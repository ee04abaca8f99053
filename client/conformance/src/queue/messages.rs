//! Queues, messages, batches, receipts.

use super::{new_queue, receive, ten};
use crate::case::{Shown, Wrong, refused, wrong};
use crate::subject::Subject;
use cloudkit_core::api::{Message, MessageQueue, ReceiveOptions, SendOptions};
use std::collections::BTreeSet;
use std::time::Duration;

pub(super) async fn a_queue_is_there_from_its_making_to_its_deletion(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let name = subject.fresh("queue");
    refused("before", service.get_queue_url(&name).await, "NotFound Queue")?;
    let url = service.create_queue(&name).await?;
    same!("made again", service.create_queue(&name).await?, url);
    same!("found", service.get_queue_url(&name).await?, url);
    holds!("listed by its name", service.list_queues(Some(&name)).await?.contains(&url));
    holds!("listed by nothing", service.list_queues(None).await?.contains(&url));
    let other = service.list_queues(Some("there-is-no-such-queue")).await?;
    holds!("listed by another name", other.is_empty());
    service.send(&url, "x").await?;
    service.delete_queue(&url).await?;
    refused("after", service.get_queue_url(&name).await, "NotFound Queue")
}

pub(super) async fn names_that_no_queue_may_have_are_refused(
    service: &(impl MessageQueue + ?Sized),
    _: &impl Subject,
) -> Shown {
    for name in ["", "with space", "dots.in", "ü", ".fifo", &"q".repeat(81)] {
        refused(name, service.create_queue(name).await, "Validation")?;
    }
    Ok(())
}

pub(super) async fn whatever_is_asked_of_a_missing_queue_is_not_found(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let (url, other) = (new_queue(service, subject).await?, new_queue(service, subject).await?);
    service.send(&other, "x").await?;
    let message = receive(service, subject, &other, 1).await?.remove(0);
    service.delete_queue(&url).await?;
    let wanted = "NotFound Queue";
    refused("send", service.send(&url, "x").await, wanted)?;
    refused("send_with_options", service.send_with_options(&url, "x", SendOptions::new()).await, wanted)?;
    refused("send_batch", service.send_batch(&url, &["x"]).await, wanted)?;
    refused("receive", service.receive(&url, ReceiveOptions::new()).await, wanted)?;
    refused("delete", service.delete(&url, &message).await, wanted)?;
    refused("delete_batch", service.delete_batch(&url, &[&message]).await, wanted)?;
    refused("change", service.change_visibility(&url, &message, Duration::ZERO).await, wanted)?;
    refused("depth", service.get_queue_depth(&url).await, wanted)?;
    refused("purge", service.purge(&url).await, wanted)?;
    refused("delete_queue", service.delete_queue(&url).await, wanted)
}

pub(super) async fn a_message_comes_with_all_that_was_sent(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let url = new_queue(service, subject).await?;
    let options = SendOptions::new().attribute("kind", "a b").attribute("Other.name_1-x", "日本 & <x>");
    let id = service.send_with_options(&url, "body", options.clone()).await?;
    let message = receive(service, subject, &url, 1).await?.remove(0);
    same!("the message", (&message.id, message.body.as_str()), (&id, "body"));
    same!("the attributes", message.attributes, options.attributes);
    same!("the receive count", message.receive_count, 1);
    holds!("the receipt", message.receipt_handle.as_ref().is_some_and(|handle| !handle.is_empty()));
    holds!("the times", message.first_received_at.is_some_and(|first| first >= message.sent_at));
    service.change_visibility(&url, &message, Duration::ZERO).await?;
    let again = receive(service, subject, &url, 1).await?.remove(0);
    same!("again", (&again.id, again.receive_count), (&id, 2));
    same!(
        "the times again",
        (again.sent_at, again.first_received_at),
        (message.sent_at, message.first_received_at)
    );
    holds!("a new receipt", again.receipt_handle != message.receipt_handle);
    Ok(())
}

pub(super) async fn bodies_come_back_character_by_character(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let url = new_queue(service, subject).await?;
    let large = "ü".repeat(512 * 1024);
    let bodies = [
        " ",
        "\t\n\r x \n",
        "\r\n",
        "<a>&amp;]]>",
        "{\"json\": [1, \"\\\"\"]}",
        "🦀 e\u{301} \u{85}\u{a0}\u{feff}\u{fffd}",
        "a=b&c=%20+",
        &large,
    ];
    for body in bodies {
        let id = service.send(&url, body).await?;
        let message = receive(service, subject, &url, 1).await?.remove(0);
        holds!(format!("{:.40?}", body), message.body == body && message.id == id);
        service.delete(&url, &message).await?;
    }
    Ok(())
}

pub(super) async fn messages_that_break_a_rule_are_refused(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let url = new_queue(service, subject).await?;
    for body in ["", "\0", "a\u{b}b", "\u{fffe}", &"x".repeat(1024 * 1024 + 1)] {
        refused(&format!("{:.20?}", body), service.send(&url, body).await, "Validation")?;
    }
    let eleven =
        (0..11).fold(SendOptions::new(), |options, index| options.attribute(format!("a{index}"), "v"));
    for options in [
        eleven,
        SendOptions::new().attribute("", "v"),
        SendOptions::new().attribute("with space", "v"),
        SendOptions::new().attribute("AWS.x", "v"),
        SendOptions::new().attribute("empty", ""),
        SendOptions::new().delay(Duration::from_secs(901)),
    ] {
        let what = format!("{options:?}");
        refused(&what, service.send_with_options(&url, "x", options).await, "Validation")?;
    }
    same!("the queue", service.receive(&url, ten()).await?.len(), 0);
    Ok(())
}

pub(super) async fn receives_that_break_a_rule_are_refused(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let url = new_queue(service, subject).await?;
    service.send(&url, "x").await?;
    for options in [
        ReceiveOptions::new().max_messages(0),
        ReceiveOptions::new().max_messages(11),
        ReceiveOptions::new().visibility_timeout(Duration::from_secs(43_201)),
        ReceiveOptions::new().wait_time(Duration::from_secs(21)),
    ] {
        let what = format!("{options:?}");
        refused(&what, service.receive(&url, options).await, "Validation")?;
    }
    let message = receive(service, subject, &url, 1).await?.remove(0);
    let long = service.change_visibility(&url, &message, Duration::from_secs(43_201)).await;
    refused("12 hours and a second", long, "Validation")
}

pub(super) async fn a_batch_above_any_request_arrives_whole(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let url = new_queue(service, subject).await?;
    let bodies: Vec<String> = (0..37).map(|index| format!("body {index}")).collect();
    let ids = service.send_batch(&url, &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let messages = receive(service, subject, &url, 37).await?;
    for (id, body) in ids.iter().zip(&bodies) {
        let found = messages.iter().find(|message| message.id == *id).map(|message| &message.body);
        same!(body, found, Some(body));
    }
    service.delete_batch(&url, &messages.iter().collect::<Vec<_>>()).await?;
    same!("what is left", service.get_queue_depth(&url).await?, 0);
    same!("no messages", service.send_batch(&url, &[]).await?.len(), 0);
    service.delete_batch(&url, &[]).await?;
    // Large ones, of which not even two fit into one request.
    let large = "x".repeat(700 * 1024);
    service.send_batch(&url, &[&large, &large, &large]).await?;
    let sizes =
        receive(service, subject, &url, 3).await?.iter().map(|message| message.body.len()).sum::<usize>();
    same!("the large ones", sizes, 3 * large.len());
    Ok(())
}

pub(super) async fn a_deleted_message_does_not_come_again(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let url = new_queue(service, subject).await?;
    service.send_batch(&url, &["one", "two"]).await?;
    let messages = receive(service, subject, &url, 2).await?;
    let (first, second) = (&messages[0], &messages[1]);
    service.delete(&url, first).await?;
    service.delete(&url, first).await?;
    service.change_visibility(&url, second, Duration::ZERO).await?;
    let again = receive(service, subject, &url, 1).await?;
    same!("what is left", again[0].id, second.id);
    let gone = service.change_visibility(&url, first, Duration::ZERO).await;
    refused("to change what is gone", gone, "Validation")
}

pub(super) async fn a_receipt_that_is_none_is_refused(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let url = new_queue(service, subject).await?;
    service.send(&url, "x").await?;
    let message = receive(service, subject, &url, 1).await?.remove(0);
    for handle in [None, Some(String::new()), Some(String::from("garbage"))] {
        let forged = Message { receipt_handle: handle.clone(), ..message.clone() };
        refused(&format!("delete {handle:?}"), service.delete(&url, &forged).await, "Validation")?;
        let batch = service.delete_batch(&url, &[&forged]).await;
        refused(&format!("delete_batch {handle:?}"), batch, "Validation")?;
        let change = service.change_visibility(&url, &forged, Duration::ZERO).await;
        refused(&format!("change {handle:?}"), change, "Validation")?;
    }
    Ok(())
}

pub(super) async fn depth_counts_what_may_be_received(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let url = new_queue(service, subject).await?;
    let depth = async |wanted: u64| -> Shown {
        crate::case::eventually(subject, &format!("a depth of {wanted}"), async || {
            Ok((service.get_queue_depth(&url).await? == wanted).then_some(()))
        })
        .await
    };
    depth(0).await?;
    service.send_batch(&url, &["a", "b", "c"]).await?;
    service.send_with_options(&url, "later", SendOptions::new().delay(Duration::from_secs(900))).await?;
    depth(3).await?;
    let received = service.receive(&url, ten()).await?;
    if received.is_empty() {
        return Err(wrong("nothing was received of three messages"));
    }
    depth(3 - received.len() as u64).await
}

pub(super) async fn a_purge_deletes_all_messages(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let url = new_queue(service, subject).await?;
    service.send_batch(&url, &["a", "b", "c"]).await?;
    let held =
        service.receive(&url, ReceiveOptions::new().visibility_timeout(Duration::from_secs(600))).await?;
    service.purge(&url).await?;
    for message in held {
        service.delete(&url, &message).await?;
    }
    same!("the depth", service.get_queue_depth(&url).await?, 0);
    service.send(&url, "new").await?;
    let left: BTreeSet<String> =
        receive(service, subject, &url, 1).await?.into_iter().map(|message| message.body).collect();
    same!("what comes", left, BTreeSet::from([String::from("new")]));
    Ok::<(), Wrong>(())
}
