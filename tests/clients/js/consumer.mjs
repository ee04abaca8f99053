// sqs-consumer over the AWS SDK for JavaScript v3: batches, a heartbeat that keeps a message hidden, failures that come back,
// all against the appliance that the environment names. Ends with 0 only when everything was as it should be.
import assert from "node:assert/strict";
import { CreateQueueCommand, DeleteQueueCommand, GetQueueAttributesCommand, SendMessageBatchCommand, SendMessageCommand, SQSClient } from "@aws-sdk/client-sqs";
import { Consumer } from "sqs-consumer";

const WAIT_MS = 120_000;
const HIDDEN_SECONDS = 4;
// What is received and not yet deleted comes back no earlier, although the machine stalls.
const HELD_SECONDS = 60;
const ATTEMPTS_MAX = 5;
const sqs = new SQSClient({});
const create = async (name, Attributes) => (await sqs.send(new CreateQueueCommand({ QueueName: `${name}-${process.pid}`, Attributes }))).QueueUrl;

// Runs a consumer until it has deleted `wanted` messages; its errors are ours.
async function consume(options, wanted, isExpected = () => false) {
  const consumer = Consumer.create({ sqs, waitTimeSeconds: 5, ...options });
  const errors = [];
  for (const event of ["error", "timeout_error"]) consumer.on(event, (error) => isExpected(error) || errors.push(error));
  let deleted = 0;
  consumer.on("message_processed", () => { deleted += 1; });
  const begun = Date.now();
  consumer.start();
  while (deleted < wanted && errors.length === 0) {
    assert.ok(Date.now() - begun < WAIT_MS, "the consumer does not come to an end");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const stopped = new Promise((resolve) => consumer.once("stopped", resolve));
  consumer.stop({ abort: true });
  await stopped;
  assert.deepEqual(errors, []);
}

async function assertEmpty(QueueUrl) {
  const begun = Date.now();
  const AttributeNames = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
  for (;;) {
    const { Attributes } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames }));
    if (AttributeNames.every((name) => Attributes[name] === "0")) return;
    assert.ok(Date.now() - begun < WAIT_MS, `messages are left: ${JSON.stringify(Attributes)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

// One by one, ten at a time from the queue; each that is handled is deleted.
const plain = await create("consumer");
for (let first = 0; first < 30; first += 10) {
  const Entries = Array.from({ length: 10 }, (_, n) => ({ Id: `e${n}`, MessageBody: `body ${first + n}`, MessageAttributes: { n: { DataType: "Number", StringValue: `${first + n}` } } }));
  const { Successful, Failed } = await sqs.send(new SendMessageBatchCommand({ QueueUrl: plain, Entries }));
  assert.equal(Successful.length, 10);
  assert.deepEqual(Failed ?? [], []);
}
const seen = [];
await consume({ queueUrl: plain, visibilityTimeout: HELD_SECONDS, batchSize: 10, messageAttributeNames: ["All"], handleMessage: async (message) => {
  assert.equal(message.Body, `body ${message.MessageAttributes.n.StringValue}`);
  seen.push(message.Body);
  return message;
} }, 30);
assert.equal(seen.length, 30);
assert.equal(new Set(seen).size, 30);
await assertEmpty(plain);

// A whole batch to one handler, deleted by DeleteMessageBatch.
for (let n = 0; n < 7; n += 1) await sqs.send(new SendMessageCommand({ QueueUrl: plain, MessageBody: `batch ${n}` }));
let count = 0;
await consume({ queueUrl: plain, visibilityTimeout: HELD_SECONDS, batchSize: 10, handleMessageBatch: async (messages) => { count += messages.length; return messages; } }, 7);
assert.equal(count, 7);
await assertEmpty(plain);

// Handling takes longer than the visibility: the heartbeat hides the message further, so it is handled once. A machine that
// stalls for as long as the message is hidden shows nothing: then another one is sent. The consumer's heart beats until its
// delete is answered, so that a beat may meet a message that is deleted: it has to be refused, and is no error of ours.
const hides = ["ReceiveMessageCommand", "ChangeMessageVisibilityCommand"];
let hidden = 0;
let longest = 0;
sqs.middlewareStack.add((next, context) => async (request) => {
  const begun = Date.now();
  const answer = await next(request);
  if (hides.includes(context.commandName)) {
    longest = Math.max(longest, hidden && Date.now() - hidden);
    hidden = begun;
  }
  return answer;
}, { step: "initialize" });
let short;
let handled = 0;
for (let attempt = 0; ; attempt += 1) {
  short = await create(`heartbeat-${attempt}`, { VisibilityTimeout: `${HIDDEN_SECONDS}` });
  await sqs.send(new SendMessageCommand({ QueueUrl: short, MessageBody: "slow" }));
  handled = 0;
  let ended = false;
  let inFlight;
  try {
    await consume({ queueUrl: short, visibilityTimeout: HIDDEN_SECONDS, heartbeatInterval: 1, handleMessage: async (message) => {
      handled += 1;
      longest = 0;
      await new Promise((resolve) => setTimeout(resolve, HIDDEN_SECONDS * 1_500));
      const AttributeNames = ["ApproximateNumberOfMessagesNotVisible"];
      const { Attributes } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl: short, AttributeNames }));
      inFlight = Attributes.ApproximateNumberOfMessagesNotVisible;
      ended = true;
      return message;
    } }, 1, (error) => ended && /changing visibility timeout.*not available/.test(error.message));
    await assertEmpty(short);
    assert.deepEqual([handled, inFlight], [1, "1"]);
    break;
  } catch (error) {
    longest = Math.max(longest, Date.now() - hidden);
    if (attempt === ATTEMPTS_MAX || longest < HIDDEN_SECONDS * 1_000) throw error;
  }
}

// A failure shows the message again at once, and it succeeds with a higher receive count.
const again = await create("again");
await sqs.send(new SendMessageCommand({ QueueUrl: again, MessageBody: "fails first" }));
const counts = [];
const failing = Consumer.create({ sqs, queueUrl: again, visibilityTimeout: HELD_SECONDS, waitTimeSeconds: 5, terminateVisibilityTimeout: true, messageSystemAttributeNames: ["All"], handleMessage: async (message) => {
  counts.push(message.Attributes?.ApproximateReceiveCount);
  if (counts.length === 1) throw new Error("not yet");
  return message;
} });
const failures = [];
failing.on("error", (error) => failures.push(error));
failing.on("processing_error", () => {});
let succeeded = false;
failing.on("message_processed", () => { succeeded = true; });
failing.start();
const begun = Date.now();
while (!succeeded && failures.length === 0) {
  assert.ok(Date.now() - begun < WAIT_MS, "the failed message does not come back");
  await new Promise((resolve) => setTimeout(resolve, 20));
}
failing.stop();
await assertEmpty(again);
assert.deepEqual(failures, []);
assert.deepEqual(counts, ["1", "2"]);

for (const QueueUrl of [plain, short, again]) await sqs.send(new DeleteQueueCommand({ QueueUrl }));
console.log("messages are consumed as they should be");
process.exit(0);
