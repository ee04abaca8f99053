//! Amazon's SDK for Rust with queues and topics on the appliance that the environment names. Ends well only when everything was
//! as it should be.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::operation::get_queue_url::GetQueueUrlError;
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchError;
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, Message, MessageAttributeValue, MessageSystemAttributeName,
    QueueAttributeName, SendMessageBatchRequestEntry,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let config = aws_config::load_from_env().await;
    let (queues, topics) = (Client::new(&config), aws_sdk_sns::Client::new(&config));
    messages(&queues).await?;
    errors(&queues).await?;
    fifo(&queues).await?;
    fan_out(&queues, &topics).await?;
    println!("queues and topics are as they should be");
    Ok(())
}

async fn create(client: &Client, name: &str) -> Result<String, Box<dyn std::error::Error>> {
    let made = client.create_queue().queue_name(name).send().await?;
    made.queue_url.ok_or_else(|| "a queue without a URL".into())
}

async fn receive(client: &Client, url: &str) -> Result<Vec<Message>, Box<dyn std::error::Error>> {
    let request = client.receive_message().queue_url(url).max_number_of_messages(10).wait_time_seconds(5);
    let request = request.message_attribute_names("All");
    let received = request.message_system_attribute_names(MessageSystemAttributeName::All).send().await?;
    Ok(received.messages.unwrap_or_default())
}

async fn messages(client: &Client) -> Outcome {
    let url = create(client, "rust").await?;
    let text = MessageAttributeValue::builder().data_type("String").string_value("ünïcode 鍵").build()?;
    let octets = MessageAttributeValue::builder().data_type("Binary").binary_value(Blob::new([0, 1, 255])).build()?;
    let sent = client
        .send_message()
        .queue_url(&url)
        .message_body("Grüße <&>")
        .message_attributes("text", text.clone())
        .message_attributes("octets", octets.clone())
        .send()
        .await?;
    let received = receive(client, &url).await?;
    let [message] = received.as_slice() else { return Err(format!("{} messages", received.len()).into()) };
    assert_eq!((message.body(), message.message_id()), (Some("Grüße <&>"), sent.message_id()));
    let attributes = message.message_attributes().ok_or("no attributes")?;
    assert_eq!((&attributes["text"], &attributes["octets"]), (&text, &octets));
    let handle = message.receipt_handle().ok_or("no handle")?;
    client.change_message_visibility().queue_url(&url).receipt_handle(handle).visibility_timeout(60).send().await?;
    client.delete_message().queue_url(&url).receipt_handle(handle).send().await?;
    let entries = (0..10).map(|n| {
        SendMessageBatchRequestEntry::builder().id(format!("e{n}")).message_body(format!("body {n}")).build()
    });
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    let sent = client.send_message_batch().queue_url(&url).set_entries(Some(entries)).send().await?;
    assert_eq!((sent.successful().len(), sent.failed().len()), (10, 0));
    let received = receive(client, &url).await?;
    assert_eq!(received.len(), 10);
    let entries = received.iter().enumerate().map(|(n, message)| {
        let handle = message.receipt_handle().unwrap_or_default();
        DeleteMessageBatchRequestEntry::builder().id(format!("e{n}")).receipt_handle(handle).build()
    });
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    let deleted = client.delete_message_batch().queue_url(&url).set_entries(Some(entries)).send().await?;
    assert_eq!((deleted.successful().len(), deleted.failed().len()), (10, 0));
    client.delete_queue().queue_url(&url).send().await?;
    Ok(())
}

async fn errors(client: &Client) -> Outcome {
    let absent = client.get_queue_url().queue_name("rust-absent").send().await.expect_err("it is not there");
    let absent = absent.into_service_error();
    assert!(matches!(absent, GetQueueUrlError::QueueDoesNotExist(_)), "{absent:?}");
    // The code of the Query protocol, from the header x-amzn-query-error.
    assert_eq!(absent.meta().code(), Some("AWS.SimpleQueueService.NonExistentQueue"));
    let url = create(client, "rust-errors").await?;
    let entry = SendMessageBatchRequestEntry::builder().id("a").message_body("x").build()?;
    let twice = client.send_message_batch().queue_url(&url).entries(entry.clone()).entries(entry);
    let twice = twice.send().await.expect_err("an id twice").into_service_error();
    assert!(matches!(twice, SendMessageBatchError::BatchEntryIdsNotDistinct(_)), "{twice:?}");
    client.delete_queue().queue_url(&url).send().await?;
    Ok(())
}

async fn fifo(client: &Client) -> Outcome {
    let made = client
        .create_queue()
        .queue_name("rust.fifo")
        .attributes(QueueAttributeName::FifoQueue, "true")
        .attributes(QueueAttributeName::ContentBasedDeduplication, "true")
        .send()
        .await?;
    let url = made.queue_url.ok_or("no URL")?;
    let mut numbers = Vec::new();
    for body in ["1", "2", "1"] {
        let sent = client.send_message().queue_url(&url).message_body(body).message_group_id("g").send().await?;
        numbers.push(sent.sequence_number.ok_or("no sequence number")?);
    }
    assert!(numbers[0] < numbers[1] && numbers[0] == numbers[2], "{numbers:?}");
    let received = receive(client, &url).await?;
    assert_eq!(received.iter().filter_map(Message::body).collect::<Vec<_>>(), ["1", "2"]);
    client.delete_queue().queue_url(&url).send().await?;
    Ok(())
}

async fn fan_out(queues: &Client, topics: &aws_sdk_sns::Client) -> Outcome {
    let url = create(queues, "rust-fed").await?;
    let name = QueueAttributeName::QueueArn;
    let found = queues.get_queue_attributes().queue_url(&url).attribute_names(name.clone()).send().await?;
    let arn = found.attributes().and_then(|all| all.get(&name)).ok_or("no ARN")?.clone();
    let topic = topics.create_topic().name("rust").send().await?.topic_arn.ok_or("no ARN")?;
    let policy = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"Service":"sns.amazonaws.com"}},"Action":"sqs:SendMessage","Resource":"{arn}","Condition":{{"ArnEquals":{{"aws:SourceArn":"{topic}"}}}}}}]}}"#
    );
    queues.set_queue_attributes().queue_url(&url).attributes(QueueAttributeName::Policy, policy).send().await?;
    let subscribe = topics.subscribe().topic_arn(&topic).protocol("sqs").endpoint(&arn);
    subscribe.attributes("RawMessageDelivery", "true").send().await?;
    topics.publish().topic_arn(&topic).message("through the topic").send().await?;
    let mut received = Vec::new();
    while received.is_empty() {
        received = receive(queues, &url).await?;
    }
    assert_eq!(received[0].body(), Some("through the topic"));
    let refused = topics.publish().topic_arn(format!("{topic}-absent")).message("x").send().await;
    let refused = refused.expect_err("there is no such topic").into_service_error();
    assert!(refused.is_not_found_exception(), "{refused:?}");
    topics.delete_topic().topic_arn(&topic).send().await?;
    queues.delete_queue().queue_url(&url).send().await?;
    Ok(())
}
