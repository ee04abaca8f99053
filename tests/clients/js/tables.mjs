// AWS SDK for JavaScript v3, the document client: tables against the appliance that the environment names. Ends with 0 only
// when everything was as it should be.
import assert from "node:assert/strict";
import { ConditionalCheckFailedException, CreateTableCommand, DeleteTableCommand, DynamoDBClient, TransactionCanceledException, waitUntilTableExists, waitUntilTableNotExists } from "@aws-sdk/client-dynamodb";
import { BatchWriteCommand, DeleteCommand, DynamoDBDocumentClient, GetCommand, NumberValue, PutCommand, TransactGetCommand, TransactWriteCommand, UpdateCommand, paginateQuery, paginateScan } from "@aws-sdk/lib-dynamodb";

const TableName = `js-tables-${process.pid}`;
const ITEMS = 60;

const plain = new DynamoDBClient({});
const client = DynamoDBDocumentClient.from(plain, { marshallOptions: { removeUndefinedValues: true }, unmarshallOptions: { wrapNumbers: false } });
const send = (command) => client.send(command);

await plain.send(new CreateTableCommand({
  TableName,
  BillingMode: "PAY_PER_REQUEST",
  AttributeDefinitions: [{ AttributeName: "pk", AttributeType: "S" }, { AttributeName: "sk", AttributeType: "N" }],
  KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }, { AttributeName: "sk", KeyType: "RANGE" }],
}));
await waitUntilTableExists({ client: plain, maxWaitTime: 60, minDelay: 1 }, { TableName });

// Values of each kind come back as they were.
const Item = {
  pk: "types", sk: 1, text: "ünïcode 鍵 😀", empty: "", yes: true, nothing: null, fraction: -1.5e-7,
  bytes: new Uint8Array([0, 1, 254, 255]), list: [1, "two", [null, { three: 3 }]], map: { deep: { er: {} } },
  words: new Set(["a", "ä"]), numbers: new Set([1, 2.5]),
};
await send(new PutCommand({ TableName, Item: { ...Item, left: undefined } }));
const got = await send(new GetCommand({ TableName, Key: { pk: "types", sk: 1 }, ConsistentRead: true }));
assert.deepEqual(got.Item, Item);
await send(new PutCommand({ TableName, Item: { pk: "exact", sk: 2, n: NumberValue.from("12345678901234567890.123456789") } }));
const exact = DynamoDBDocumentClient.from(new DynamoDBClient({}), { unmarshallOptions: { wrapNumbers: true } });
const wrapped = await exact.send(new GetCommand({ TableName, Key: { pk: "exact", sk: 2 } }));
assert.equal(wrapped.Item.n.toString(), "12345678901234567890.123456789");
await send(new DeleteCommand({ TableName, Key: { pk: "exact", sk: 2 } }));

// Conditions and updates.
const only = new PutCommand({ TableName, Item: { pk: "types", sk: 1 }, ConditionExpression: "attribute_not_exists(pk)", ReturnValuesOnConditionCheckFailure: "ALL_OLD" });
await assert.rejects(send(only), (error) => error instanceof ConditionalCheckFailedException && error.Item.text.S === Item.text);
const updated = await send(new UpdateCommand({
  TableName, Key: { pk: "types", sk: 1 }, ReturnValues: "UPDATED_NEW",
  UpdateExpression: "SET #m.deep.n = :n ADD words :w REMOVE bytes", ExpressionAttributeNames: { "#m": "map" },
  ExpressionAttributeValues: { ":n": 7, ":w": new Set(["z"]) },
}));
assert.deepEqual(updated.Attributes, { map: { deep: { n: 7 } }, words: new Set(["a", "z", "ä"]) });

// Batches, then pages in order in both directions, then a scan in segments.
for (let first = 0; first < ITEMS; first += 20) {
  const puts = Array.from({ length: 20 }, (_, n) => ({ PutRequest: { Item: { pk: "many", sk: first + n - 30, even: n % 2 === 0 } } }));
  const { UnprocessedItems } = await send(new BatchWriteCommand({ RequestItems: { [TableName]: puts } }));
  assert.deepEqual(UnprocessedItems ?? {}, {});
}
const query = { TableName, KeyConditionExpression: "pk = :p AND sk >= :s", ExpressionAttributeValues: { ":p": "many", ":s": -20 }, Limit: 9 };
for (const ScanIndexForward of [true, false]) {
  const found = [];
  for await (const page of paginateQuery({ client }, { ...query, ScanIndexForward })) found.push(...page.Items.map((item) => item.sk));
  const expected = Array.from({ length: 50 }, (_, n) => n - 20);
  assert.deepEqual(found, ScanIndexForward ? expected : expected.reverse());
}
const segments = await Promise.all([0, 1, 2].map(async (Segment) => {
  const found = [];
  for await (const page of paginateScan({ client }, { TableName, Segment, TotalSegments: 3, Limit: 10 })) found.push(...page.Items);
  return found;
}));
assert.equal(new Set(segments.flat().map((item) => `${item.pk}/${item.sk}`)).size, ITEMS + 1);
assert.equal(segments.flat().length, ITEMS + 1);

// Transactions.
const put = (sk, more) => ({ Put: { TableName, Item: { pk: "tx", sk }, ...more } });
await send(new TransactWriteCommand({ TransactItems: [put(1), put(2)] }));
const cancelled = new TransactWriteCommand({ TransactItems: [put(3), put(2, { ConditionExpression: "attribute_not_exists(pk)" })] });
await assert.rejects(send(cancelled), (error) => error instanceof TransactionCanceledException
  && error.CancellationReasons.map((reason) => reason.Code).join() === "None,ConditionalCheckFailed");
const keys = [1, 2, 3].map((sk) => ({ Get: { TableName, Key: { pk: "tx", sk } } }));
const { Responses } = await send(new TransactGetCommand({ TransactItems: keys }));
assert.deepEqual(Responses.map((reply) => reply.Item?.sk), [1, 2, undefined]);

const gone = await send(new DeleteCommand({ TableName, Key: { pk: "tx", sk: 1 }, ReturnValues: "ALL_OLD" }));
assert.deepEqual(gone.Attributes, { pk: "tx", sk: 1 });
await plain.send(new DeleteTableCommand({ TableName }));
await waitUntilTableNotExists({ client: plain, maxWaitTime: 60, minDelay: 1 }, { TableName });
console.log("tables are as they should be");
