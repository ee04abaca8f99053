//! Visibility, delays and waits. No case here looks at a clock: it waits for what must come, and what must not come yet is
//! kept away for far longer than a case lasts.

use super::{LONG, new_queue, receive, ten};
use crate::case::{Shown, eventually, refused};
use crate::subject::{Subject, Time};
use cloudkit_core::api::{MessageQueue, ReceiveOptions, ReceiveStreamOptions, SendOptions};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

pub(super) async fn a_received_message_is_hidden_until_it_is_given_back(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let url = new_queue(service, subject).await?;
    service.send(&url, "x").await?;
    let message = receive(service, subject, &url, 1).await?.remove(0);
    same!("hidden", service.receive(&url, ten()).await?.len(), 0);
    service.change_visibility(&url, &message, LONG).await?;
    same!("still hidden", service.receive(&url, ten()).await?.len(), 0);
    service.change_visibility(&url, &message, Duration::ZERO).await?;
    same!("given back", receive(service, subject, &url, 1).await?[0].id, message.id);
    Ok(())
}

pub(super) async fn a_message_comes_again_when_its_time_is_over(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let url = new_queue(service, subject).await?;
    let id = service.send(&url, "x").await?;
    let first = eventually(subject, "the first receive", async || {
        let options = ReceiveOptions::new().visibility_timeout(2 * SECOND);
        Ok(service.receive(&url, options).await?.pop())
    })
    .await?;
    if subject.time() == Time::Virtual {
        subject.pass(SECOND).await;
        same!("before its time", service.receive(&url, ten()).await?.len(), 0);
    }
    let again = receive(service, subject, &url, 1).await?.remove(0);
    same!("again", (&again.id, again.receive_count), (&id, 2));
    let gone = service.change_visibility(&url, &first, LONG).await;
    refused("by the old receipt", gone, "Validation")
}

pub(super) async fn a_delayed_message_comes_when_its_time_has_come(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let url = new_queue(service, subject).await?;
    service.send_with_options(&url, "much later", SendOptions::new().delay(900 * SECOND)).await?;
    service.send_with_options(&url, "later", SendOptions::new().delay(2 * SECOND)).await?;
    if subject.time() == Time::Virtual {
        subject.pass(SECOND).await;
        same!("before its time", service.receive(&url, ten()).await?.len(), 0);
    }
    same!("in its time", receive(service, subject, &url, 1).await?[0].body, "later");
    same!("the other one", service.receive(&url, ten()).await?.len(), 0);
    Ok(())
}

pub(super) async fn a_waiting_receive_is_woken_by_a_send(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let url = new_queue(service, subject).await?;
    let waiting = service.receive(&url, ten().wait_time(20 * SECOND));
    let sending = async {
        subject.pass(SECOND).await;
        service.send(&url, "x").await
    };
    let (received, sent) = tokio::join!(waiting, sending);
    let mut received = received?;
    // On a machine that stalls for 20 seconds the wait ends before the send: then the message comes with the next look.
    if received.is_empty() && subject.time() == Time::Real {
        received = receive(service, subject, &url, 1).await?;
    }
    same!("the message", received.into_iter().map(|message| message.id).collect::<Vec<_>>(), [sent?]);
    Ok(())
}

pub(super) async fn a_wait_without_messages_ends(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let url = new_queue(service, subject).await?;
    let (received, ()) =
        tokio::join!(service.receive(&url, ten().wait_time(2 * SECOND)), subject.pass(3 * SECOND));
    same!("nothing", received?.len(), 0);
    Ok(())
}

pub(super) async fn an_old_receipt_deletes_nothing(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let url = new_queue(service, subject).await?;
    service.send(&url, "x").await?;
    let old = receive(service, subject, &url, 1).await?.remove(0);
    service.change_visibility(&url, &old, Duration::ZERO).await?;
    let new = receive(service, subject, &url, 1).await?.remove(0);
    service.delete(&url, &old).await?;
    service.change_visibility(&url, &new, Duration::ZERO).await?;
    let third = receive(service, subject, &url, 1).await?.remove(0);
    same!("the message", (&third.id, third.receive_count), (&old.id, 3));
    Ok(())
}

pub(super) async fn receive_stream_gives_and_takes_messages(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let url = new_queue(service, subject).await?;
    service.send_batch(&url, &["a", "b", "c", "d", "e"]).await?;
    let options = ReceiveStreamOptions::new().max_messages(2).wait_time(SECOND).visibility_timeout(LONG);
    let mut bodies = Vec::new();
    {
        let mut stream = service.receive_stream(&url, options);
        for index in 0..5 {
            let Some(delivery) = stream.next().await else {
                return Err(crate::case::wrong("the stream ended"));
            };
            let delivery = delivery?;
            bodies.push(delivery.message().body.clone());
            let length = delivery.hold(async { delivery.message().body.len() }).await?;
            same!("the work", length, 1);
            if index == 4 {
                delivery.release(Duration::ZERO).await?;
            } else {
                delivery.acknowledge().await?;
            }
        }
    }
    let last = bodies[4].clone();
    bodies.sort();
    same!("the messages", bodies, ["a", "b", "c", "d", "e"]);
    same!("what was given back", receive(service, subject, &url, 1).await?[0].body, last);
    let none = service.create_queue(&subject.fresh("queue")).await?;
    service.delete_queue(&none).await?;
    let first = service.receive_stream(&none, ReceiveStreamOptions::new()).next().await;
    holds!("of no queue", first.is_some_and(|one| one.is_err_and(|failure| failure.kind.is_not_found())));
    Ok(())
}

pub(super) async fn a_held_message_is_kept_by_heartbeats(
    service: &(impl MessageQueue + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let url = new_queue(service, subject).await?;
    service.send(&url, "x").await?;
    let options = ReceiveStreamOptions::new().wait_time(SECOND).visibility_timeout(30 * SECOND);
    let mut stream = service.receive_stream(&url, options);
    let Some(delivery) = stream.next().await else { return Err(crate::case::wrong("the stream ended")) };
    let delivery = delivery?;
    let work = async {
        for _ in 0..20 {
            subject.pass(10 * SECOND).await;
            same!("meanwhile", service.receive(&url, ten()).await?.len(), 0);
        }
        Ok(())
    };
    delivery.hold(work).await??;
    delivery.acknowledge().await?;
    subject.pass(60 * SECOND).await;
    same!("afterwards", service.receive(&url, ten()).await?.len(), 0);
    Ok(())
}
