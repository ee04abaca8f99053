// AWS SDK for JavaScript v3 with queues and topics, sqs-producer and sns-validator against the appliance that the environment
// names. Ends with 0 only when everything was as it should be.
import assert from "node:assert/strict";
import http from "node:http";
import https from "node:https";
import { BatchEntryIdsNotDistinct, CreateQueueCommand, DeleteMessageBatchCommand, DeleteQueueCommand, GetQueueAttributesCommand, GetQueueUrlCommand, ListQueuesCommand, QueueDoesNotExist, ReceiptHandleIsInvalid, DeleteMessageCommand, ReceiveMessageCommand, SendMessageBatchCommand, SendMessageCommand, SetQueueAttributesCommand, SQSClient, paginateListQueues } from "@aws-sdk/client-sqs";
import { CreateTopicCommand, DeleteTopicCommand, NotFoundException, PublishBatchCommand, PublishCommand, SNSClient, SubscribeCommand } from "@aws-sdk/client-sns";
import MessageValidator from "sns-validator";
import { Producer } from "sqs-producer";

const sqs = new SQSClient({});
const sns = new SNSClient({});
const send = (command) => sqs.send(command);
const name = (text) => `js-${text}-${process.pid}`;
const create = async (text, Attributes) => (await send(new CreateQueueCommand({ QueueName: name(text), Attributes }))).QueueUrl;
const receive = async (QueueUrl, more) => (await send(new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, MessageAttributeNames: ["All"], MessageSystemAttributeNames: ["All"], ...more }))).Messages ?? [];

// The SDK checks MD5 sums of what it sends and receives, and sends to the host of the queue's URL.
const QueueUrl = await create("queue");
const MessageAttributes = { s: { DataType: "String", StringValue: "ünïcode 鍵 😀" }, n: { DataType: "Number", StringValue: "1.5" }, b: { DataType: "Binary", BinaryValue: new Uint8Array([0, 1, 255]) } };
const { MessageId } = await send(new SendMessageCommand({ QueueUrl, MessageBody: "Grüße <&>", MessageAttributes }));
const [message] = await receive(QueueUrl);
assert.equal(message.MessageId, MessageId);
assert.equal(message.Body, "Grüße <&>");
assert.deepEqual([...message.MessageAttributes.b.BinaryValue], [0, 1, 255]);
assert.equal(message.MessageAttributes.s.StringValue, MessageAttributes.s.StringValue);
await send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: message.ReceiptHandle }));

// Errors are classes of their own.
await assert.rejects(send(new GetQueueUrlCommand({ QueueName: name("absent") })), QueueDoesNotExist);
await assert.rejects(send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: "no" })), ReceiptHandleIsInvalid);
await assert.rejects(send(new SendMessageBatchCommand({ QueueUrl, Entries: [{ Id: "a", MessageBody: "x" }, { Id: "a", MessageBody: "x" }] })), BatchEntryIdsNotDistinct);
await assert.rejects(sns.send(new PublishCommand({ TopicArn: "arn:aws:sns:us-east-1:000000000000:absent", Message: "x" })), NotFoundException);

// Pages.
const urls = [];
for (let n = 0; n < 5; n += 1) urls.push(await create(`page-${n}`));
const found = [];
for await (const page of paginateListQueues({ client: sqs, pageSize: 2 }, { QueueNamePrefix: "js-page-" })) found.push(...page.QueueUrls);
assert.ok(urls.every((url) => found.includes(url)));
assert.equal((await send(new ListQueuesCommand({ QueueNamePrefix: name("page-3") }))).QueueUrls[0], urls[3]);

// FIFO: order in the group, and a repeat that stores nothing.
const makeLine = new CreateQueueCommand({ QueueName: `${name("line")}.fifo`, Attributes: { FifoQueue: "true", ContentBasedDeduplication: "true" } });
const fifo = (await send(makeLine)).QueueUrl;
const put = (body) => send(new SendMessageCommand({ QueueUrl: fifo, MessageBody: body, MessageGroupId: "g" }));
const first = await put("1");
await put("2");
assert.equal((await put("1")).SequenceNumber, first.SequenceNumber);
const line = await receive(fifo);
assert.deepEqual(line.map((one) => one.Body), ["1", "2"]);
const { Successful } = await send(new DeleteMessageBatchCommand({ QueueUrl: fifo, Entries: line.map((one, n) => ({ Id: `${n}`, ReceiptHandle: one.ReceiptHandle })) }));
assert.equal(Successful.length, 2);

// sqs-producer: batches of its own making.
const producer = Producer.create({ queueUrl: QueueUrl, sqs });
await producer.send(Array.from({ length: 25 }, (_, n) => ({ id: `p${n}`, body: `produced ${n}` })));
assert.equal(await producer.queueSize(), 25);
const produced = new Set();
while (produced.size < 25) {
  for (const one of await receive(QueueUrl, { WaitTimeSeconds: 5 })) {
    produced.add(one.Body);
    await send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: one.ReceiptHandle }));
  }
}

// A topic that feeds the queue.
const { TopicArn } = await sns.send(new CreateTopicCommand({ Name: name("topic") }));
const { Attributes } = await send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["QueueArn"] }));
const Policy = JSON.stringify({ Version: "2012-10-17", Statement: [{ Effect: "Allow", Principal: { Service: "sns.amazonaws.com" }, Action: "sqs:SendMessage", Resource: Attributes.QueueArn, Condition: { ArnEquals: { "aws:SourceArn": TopicArn } } }] });
await send(new SetQueueAttributesCommand({ QueueUrl, Attributes: { Policy } }));
await sns.send(new SubscribeCommand({ TopicArn, Protocol: "sqs", Endpoint: Attributes.QueueArn }));
const batch = await sns.send(new PublishBatchCommand({ TopicArn, PublishBatchRequestEntries: [{ Id: "a", Message: "one", Subject: "s" }, { Id: "b", Message: "two" }] }));
assert.equal(batch.Successful.length, 2);
const envelopes = [];
while (envelopes.length < 2) {
  for (const one of await receive(QueueUrl, { WaitTimeSeconds: 5 })) {
    envelopes.push(JSON.parse(one.Body));
    await send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: one.ReceiptHandle }));
  }
}
assert.deepEqual(envelopes.map((one) => one.Message).sort(), ["one", "two"]);

// sns-validator fetches the certificate and checks the signature. It takes https alone, and this appliance may speak plain
// HTTP: the scheme is not signed, and the request goes where the appliance listens.
const there = new URL(process.env.AWS_ENDPOINT_URL);
if (there.protocol === "http:") https.get = (url, callback) => http.get(url.replace(/^https:/, "http:"), callback);
const validator = new MessageValidator(new RegExp(`^${there.host.replaceAll(".", "\\.")}$`));
const validated = (envelope) => new Promise((resolve) => {
  const SigningCertURL = envelope.SigningCertURL.replace(/^http:/, "https:");
  validator.validate({ ...envelope, SigningCertURL }, (error) => resolve(error ?? null));
});
for (const envelope of envelopes) assert.equal(await validated(envelope), null);
assert.match(String(await validated({ ...envelopes[0], Message: "other" })), /signature is invalid/);

for (const url of [QueueUrl, fifo, ...urls]) await send(new DeleteQueueCommand({ QueueUrl: url }));
await sns.send(new DeleteTopicCommand({ TopicArn }));
console.log("queues and topics are as they should be");
