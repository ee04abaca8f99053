// dynamodb-toolbox over the document client: an entity with its own names and types, its conditions, queries and batches
// against the appliance that the environment names. Ends with 0 only when everything was as it should be.
import assert from "node:assert/strict";
import { CreateTableCommand, DeleteTableCommand, DynamoDBClient, waitUntilTableExists } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient } from "@aws-sdk/lib-dynamodb";
import { Entity } from "dynamodb-toolbox/entity";
import { GetItemCommand } from "dynamodb-toolbox/entity/actions/get";
import { PutItemCommand } from "dynamodb-toolbox/entity/actions/put";
import { $add, UpdateItemCommand } from "dynamodb-toolbox/entity/actions/update";
import { BatchPutRequest } from "dynamodb-toolbox/entity/actions/batchPut";
import { PutTransaction } from "dynamodb-toolbox/entity/actions/transactPut";
import { execute as executeTransaction } from "dynamodb-toolbox/entity/actions/transactWrite";
import { item } from "dynamodb-toolbox/schema/item";
import { list } from "dynamodb-toolbox/schema/list";
import { map } from "dynamodb-toolbox/schema/map";
import { number } from "dynamodb-toolbox/schema/number";
import { set } from "dynamodb-toolbox/schema/set";
import { string } from "dynamodb-toolbox/schema/string";
import { Table } from "dynamodb-toolbox/table";
import { BatchWriteCommand, execute as executeBatch } from "dynamodb-toolbox/table/actions/batchWrite";
import { QueryCommand } from "dynamodb-toolbox/table/actions/query";

const name = `toolbox-${process.pid}`;
const plain = new DynamoDBClient({});
await plain.send(new CreateTableCommand({
  TableName: name,
  BillingMode: "PAY_PER_REQUEST",
  AttributeDefinitions: [{ AttributeName: "pk", AttributeType: "S" }, { AttributeName: "sk", AttributeType: "N" }],
  KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }, { AttributeName: "sk", KeyType: "RANGE" }],
}));
await waitUntilTableExists({ client: plain, maxWaitTime: 60, minDelay: 1 }, { TableName: name });
const table = new Table({
  name,
  partitionKey: { name: "pk", type: "string" },
  sortKey: { name: "sk", type: "number" },
  documentClient: DynamoDBDocumentClient.from(plain),
});
const Order = new Entity({
  name: "Order",
  table,
  schema: item({
    customer: string().key().savedAs("pk"),
    number: number().key().savedAs("sk"),
    total: number().default(0),
    tags: set(string()).optional(),
    lines: list(map({ what: string(), count: number() })).default([]),
  }),
});

const first = { customer: "a", number: 1, total: 10, tags: new Set(["new"]), lines: [{ what: "pen", count: 2 }] };
await Order.build(PutItemCommand).item(first).options({ condition: { attr: "customer", exists: false } }).send();
await assert.rejects(
  Order.build(PutItemCommand).item(first).options({ condition: { attr: "customer", exists: false } }).send(),
  { name: "ConditionalCheckFailedException" },
);
const updated = await Order.build(UpdateItemCommand)
  .item({ customer: "a", number: 1, total: $add(5), tags: $add(new Set(["paid"])), lines: { 0: { count: 3 } } })
  .options({ condition: { and: [{ attr: "total", gte: 10 }, { attr: "lines[0].what", beginsWith: "p" }] }, returnValues: "ALL_NEW" })
  .send();
assert.deepEqual([updated.Attributes.total, updated.Attributes.tags, updated.Attributes.lines[0].count], [15, new Set(["new", "paid"]), 3]);
const got = await Order.build(GetItemCommand).key({ customer: "a", number: 1 }).options({ consistent: true, attributes: ["total", "lines[0].what"] }).send();
assert.deepEqual([got.Item.total, got.Item.lines], [15, [{ what: "pen" }]]);

const puts = Array.from({ length: 12 }, (_, n) => Order.build(BatchPutRequest).item({ customer: "b", number: n - 6, total: n }));
await executeBatch(table.build(BatchWriteCommand).requests(...puts));
const { Items } = await table.build(QueryCommand)
  .query({ partition: "b", range: { gte: -3 } })
  .entities(Order)
  .options({ reverse: true, filters: { Order: { attr: "total", lt: 10 } }, maxPages: Infinity, limit: 2 })
  .send();
assert.deepEqual(Items.map((order) => order.number), [3, 2, 1, 0, -1, -2, -3]);

const put = (number, options) => Order.build(PutTransaction).item({ customer: "c", number }).options(options ?? {});
await executeTransaction(put(1), put(2));
await assert.rejects(
  executeTransaction(put(3), put(1, { condition: { attr: "customer", exists: false } })),
  { name: "TransactionCanceledException" },
);
const none = await Order.build(GetItemCommand).key({ customer: "c", number: 3 }).send();
assert.equal(none.Item, undefined);
await plain.send(new DeleteTableCommand({ TableName: name }));
console.log("orders are as they should be");
