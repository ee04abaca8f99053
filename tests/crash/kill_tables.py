"""What the kill loop asks of tables: a journal of acknowledged items, of transactions with their tokens, and of sums.

Each writer owns the partition `w<number>` and does one request at a time there. An item says its version, and its text follows
from it, so an item that is torn or mixed shows. After each restart
- every item shows the last acknowledged version or the open one, in the table and in both indexes alike;
- a transaction that was cut off is there whole or not at all; sent again with its token it has happened exactly once;
- the last acknowledged transaction, sent again, changes nothing;
- the sum that all writers add to is no less than what was acknowledged and no more than what was sent.
"""

import hashlib
import random
import threading
import time

from zctest.dynamodbraw import Client

TABLE = "kills"
WRITERS = 12
ITEMS_PER_WRITER = 8
SIZES = [0, 20, 500, 1_500, 6_000, 60_000]
# The item that counts a writer's transactions, and the one to which all add.
HITS = "hits"
SUM_KEY = {"pk": {"S": "sum"}, "sk": {"S": "sum"}}
ABSENT = 0
# A token is good for ten minutes; what is older is not sent again.
TOKEN_SECONDS = 300


def make_table(client: Client) -> None:
    index = {"Projection": {"ProjectionType": "ALL"}}
    keys = lambda hash_key, sort_key: [{"AttributeName": hash_key, "KeyType": "HASH"}, {"AttributeName": sort_key, "KeyType": "RANGE"}]  # noqa: E731
    client.good(
        "CreateTable",
        {
            "TableName": TABLE,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, kind in [("pk", "S"), ("sk", "S"), ("version", "N"), ("owner", "S")]],
            "KeySchema": keys("pk", "sk"),
            "LocalSecondaryIndexes": [{"IndexName": "local", "KeySchema": keys("pk", "version")} | index],
            "GlobalSecondaryIndexes": [{"IndexName": "global", "KeySchema": keys("owner", "version")} | index],
        },
    )


def text_of(key: str, version: int) -> str:
    block = hashlib.sha256(f"{key}|{version}".encode()).hexdigest()
    return (block * (SIZES[version % len(SIZES)] // len(block) + 1))[: SIZES[version % len(SIZES)]]


class Sum:
    """What all writers together have sent and heard of the item that counts."""

    def __init__(self):
        self.lock = threading.Lock()
        self.sent = self.acknowledged = 0

    def add(self, client: Client) -> int:
        with self.lock:
            self.sent += 1
        one = {"UpdateExpression": "ADD n :one", "ExpressionAttributeValues": {":one": {"N": "1"}}}
        status, answer = client.call("UpdateItem", {"TableName": TABLE, "Key": SUM_KEY} | one)
        if status == 200:
            with self.lock:
                self.acknowledged += 1
        return status if status != 400 else f"{status}: {answer}"

    def check(self, client: Client) -> str | None:
        item = client.good("GetItem", {"TableName": TABLE, "Key": SUM_KEY, "ConsistentRead": True}).get("Item")
        found = int(item["n"]["N"]) if item else 0
        if not self.acknowledged <= found <= self.sent:
            return f"the sum is {found}, with {self.acknowledged} acknowledged and {self.sent} sent"
        self.acknowledged = self.sent = found
        return None


class Journal:
    """What one writer's partition may show."""

    def __init__(self, number: int):
        self.partition = f"w{number}"
        # key -> versions that a read may show, the acknowledged one first.
        self.versions: dict[str, list[int]] = {f"k{n}": [ABSENT] for n in range(ITEMS_PER_WRITER)}
        self.hits = 0
        self.next_version = 1
        # The last acknowledged transaction with its time, and the one whose outcome is open, as they were sent.
        self.last: tuple[dict, float] | None = None
        self.open: tuple[dict, dict[str, tuple[int, int]]] | None = None

    def identify(self, item: dict) -> tuple[str, int]:
        """Key and version of an item; version -1 if it is not what was written."""
        key, version = item["sk"]["S"], int(item.get("version", {"N": "-1"})["N"])
        whole = {"pk": {"S": self.partition}, "sk": {"S": key}, "owner": {"S": self.partition}, "version": {"N": str(version)}, "text": {"S": text_of(key, version)}}
        return key, version if item == whole else -1

    def found(self, client: Client, index: str | None) -> dict[str, int]:
        """What a query shows, page by page."""
        query = {"TableName": TABLE, "KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": self.partition}}}
        if index == "global":
            query["KeyConditionExpression"] = "#o = :p"
            query["ExpressionAttributeNames"] = {"#o": "owner"}
        else:
            query["ConsistentRead"] = True
        if index is not None:
            query["IndexName"] = index
        seen: dict[str, int] = {}
        while True:
            page = client.good("Query", query)
            for item in page["Items"]:
                if item["sk"]["S"] != HITS:
                    key, version = self.identify(item)
                    assert key not in seen, f"{key} twice in a query of {index or 'the table'}"
                    seen[key] = version
            if "LastEvaluatedKey" not in page:
                return seen
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def check(self, client: Client) -> str | None:
        """Holds what is there against what may be; afterwards only that may be."""
        shown = self.found(client, None)
        for key, allowed in self.versions.items():
            if shown.get(key, ABSENT) not in allowed:
                return f"{self.partition}/{key} shows version {shown.get(key, ABSENT)}, allowed {allowed}"
        for index in ("local", "global"):
            if (indexed := self.found(client, index)) != shown:
                return f"{self.partition}: index {index} shows {indexed}, the table {shown}"
        if self.open is not None:
            changes = self.open[1]
            whole = {key: shown.get(key, ABSENT) == new for key, (_, new) in changes.items()}
            if len(set(whole.values())) > 1:
                return f"{self.partition}: half of a transaction is there: {whole}"
        self.versions = {key: [shown.get(key, ABSENT)] for key in self.versions}
        return self.replay(client)

    def replay(self, client: Client) -> str | None:
        """Sends transactions again: an acknowledged one has no effect, an open one has happened exactly once then."""
        if self.last is not None and time.monotonic() - self.last[1] < TOKEN_SECONDS:
            before = self.found(client, None)
            status, answer = client.call("TransactWriteItems", self.last[0])
            if status != 200:
                return f"{self.partition}: an acknowledged transaction, sent again, is answered {status}: {answer}"
            if (after := self.found(client, None)) != before:
                return f"{self.partition}: a transaction happened twice: {before} became {after}"
        if self.open is not None:
            request, changes = self.open
            status, answer = client.call("TransactWriteItems", request)
            if status != 200:
                return f"{self.partition}: an open transaction, sent again, is answered {status}: {answer}"
            self.versions |= {key: [new] for key, (_, new) in changes.items()}
            self.hits += 1
            self.last, self.open = (request, time.monotonic()), None
            shown = self.found(client, None)
            if any(shown.get(key, ABSENT) != allowed[0] for key, allowed in self.versions.items()):
                return f"{self.partition}: shows {shown} after a transaction was sent again, expected {self.versions}"
        item = client.good("GetItem", {"TableName": TABLE, "Key": self.key(HITS), "ConsistentRead": True}).get("Item")
        hits = int(item["n"]["N"]) if item else 0
        return None if hits == self.hits else f"{self.partition}: {hits} transactions counted, {self.hits} happened"

    def key(self, key: str) -> dict:
        return {"pk": {"S": self.partition}, "sk": {"S": key}}

    def item(self, key: str, version: int) -> dict:
        return self.key(key) | {"owner": {"S": self.partition}, "version": {"N": str(version)}, "text": {"S": text_of(key, version)}}


class TableWriter(threading.Thread):
    """One client of its own partition: puts, conditions, updates, deletes, transactions, queries, and the sum of all."""

    def __init__(self, number: int, journal: Journal, total: Sum, loop):
        super().__init__(daemon=True)
        self.journal, self.total, self.loop = journal, total, loop
        self.random = random.Random(loop.seed * 7_919 + number + journal.next_version)
        self.in_flight = False
        # Whether the kill came between a write and its reply.
        self.interrupted = False
        self.acknowledged = 0
        self.failure: str | None = None

    def run(self) -> None:
        client = self.loop.table_client()
        while not self.loop.killed.is_set() and self.failure is None:
            try:
                self.step(client)
            except Exception as error:  # OSError and many kinds of http.client for a connection that died
                # Before the kill every request gets its reply: a connection that closes without one is a fault.
                if not self.loop.killed.is_set():
                    self.failure = f"{self.journal.partition}: {error!r}"
                self.interrupted = self.in_flight
                break
            self.in_flight = False
        client.close()

    def step(self, client: Client) -> None:
        journal = self.journal
        if journal.open is not None or any(len(allowed) > 1 for allowed in journal.versions.values()):
            # An answer of 500 left something open: what it came to is looked up before the next write.
            self.failure = journal.check(client)
            return
        kind = self.random.choices(["put", "condition", "update", "delete", "transaction", "query", "sum"], [30, 10, 15, 12, 15, 8, 10])[0]
        key = self.random.choice(list(journal.versions))
        current, new = journal.versions[key][0], journal.next_version
        journal.next_version += 1
        item = journal.item(key, new)
        if kind == "query":
            self.failure = journal.check(client)
        elif kind == "sum":
            self.in_flight = True
            status = self.total.add(client)
            self.acknowledged += status == 200
            self.failure = None if isinstance(status, int) else f"the sum: {status}"
        elif kind == "put":
            self.attempt(client, key, new, "PutItem", {"Item": item})
        elif kind == "condition":
            condition = {"ConditionExpression": "attribute_not_exists(pk)"}
            if current != ABSENT:
                condition = {"ConditionExpression": "version = :v", "ExpressionAttributeValues": {":v": {"N": str(current)}}}
            self.attempt(client, key, new, "PutItem", {"Item": item} | condition)
        elif kind == "update":
            values = {":v": item["version"], ":t": item["text"], ":o": item["owner"]}
            change = {"UpdateExpression": "SET version = :v, #t = :t, #o = :o", "ExpressionAttributeNames": {"#t": "text", "#o": "owner"}, "ExpressionAttributeValues": values}
            self.attempt(client, key, new, "UpdateItem", {"Key": journal.key(key)} | change)
        elif kind == "delete":
            self.attempt(client, key, ABSENT, "DeleteItem", {"Key": journal.key(key)})
        else:
            self.transact(client)

    def attempt(self, client: Client, key: str, new: int, operation: str, request: dict) -> None:
        versions = self.journal.versions
        # Before the request leaves: from here on its outcome is possible too, until the reply is here.
        versions[key] = list(dict.fromkeys([*versions[key], new]))
        self.in_flight = True
        status, answer = client.call(operation, {"TableName": TABLE} | request)
        if status == 200:
            versions[key] = [new]
            self.acknowledged += 1
        elif status < 500:
            self.failure = f"{self.journal.partition}/{key}: {operation} is answered {status}: {answer}"

    def transact(self, client: Client) -> None:
        journal = self.journal
        keys = self.random.sample(list(journal.versions), self.random.randint(1, 4))
        changes, actions = {}, []
        for key in keys:
            old, new = journal.versions[key][0], journal.next_version
            journal.next_version += 1
            if self.random.random() < 0.3:
                new = ABSENT
                actions.append({"Delete": {"TableName": TABLE, "Key": journal.key(key)}})
            else:
                actions.append({"Put": {"TableName": TABLE, "Item": journal.item(key, new)}})
            changes[key] = (old, new)
        count = {"UpdateExpression": "ADD n :one", "ExpressionAttributeValues": {":one": {"N": "1"}}}
        actions.append({"Update": {"TableName": TABLE, "Key": journal.key(HITS)} | count})
        # One key of it that surely changes tells whether it has happened.
        surely = {key: change for key, change in changes.items() if change[0] != change[1]}
        request = {"TransactItems": actions, "ClientRequestToken": f"{journal.partition}-{self.random.getrandbits(64):016x}"}
        for key, (_, new) in changes.items():
            journal.versions[key] = list(dict.fromkeys([*journal.versions[key], new]))
        journal.open = (request, surely)
        self.in_flight = True
        status, answer = client.call("TransactWriteItems", request)
        if status == 200:
            journal.versions |= {key: [new] for key, (_, new) in changes.items()}
            journal.hits += 1
            journal.last, journal.open = (request, time.monotonic()), None
            self.acknowledged += 1
        elif status < 500:
            self.failure = f"{journal.partition}: a transaction is answered {status}: {answer}"


def check_all(client: Client, journals: list[Journal], total: Sum) -> tuple[int, str | None]:
    """Holds every partition against its journal after a restart; gives the number of items looked at and the first failure."""
    for count, journal in enumerate(journals, 1):
        if failure := journal.check(client):
            return count * ITEMS_PER_WRITER, failure
    return len(journals) * ITEMS_PER_WRITER, total.check(client)
