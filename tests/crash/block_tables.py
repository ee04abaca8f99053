"""What the block lab asks of tables: items, one index and transactions, after a cut at any moment.

An item says its version, which no other write of its writer has, and its text follows from it. So the version that an image
shows tells which of the writes before it must be there too: those of the same transaction on other items.
"""

import random
import threading

from block_history import ABSENT, Event, History
from zctest.dynamodbraw import Client
from zctest.server import Server

TABLE = "lab"
WRITERS = 4
ITEMS_PER_WRITER = 8
STEPS_PER_WRITER = 150
# Of the text, around the sizes of inline values and of pages.
SIZES = [0, 30, 600, 2_500, 9_000, 70_000]
TORN = "torn"
REPLY_SECONDS_MAX = 300


def client_of(server: Server) -> Client:
    return Client(server.host, server.port, *server.credentials(), timeout=REPLY_SECONDS_MAX)


def make_table(client: Client) -> None:
    keys = lambda hash_key, sort_key: [{"AttributeName": hash_key, "KeyType": "HASH"}, {"AttributeName": sort_key, "KeyType": "RANGE"}]  # noqa: E731
    client.good(
        "CreateTable",
        {
            "TableName": TABLE,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, kind in [("pk", "S"), ("sk", "S"), ("owner", "S"), ("version", "N")]],
            "KeySchema": keys("pk", "sk"),
            "GlobalSecondaryIndexes": [{"IndexName": "by-version", "KeySchema": keys("owner", "version"), "Projection": {"ProjectionType": "ALL"}}],
        },
    )


def item(key: str, version: int) -> dict:
    """Half of the items are alone in their partition, so that transactions touch several shards."""
    writer, name = key.split("/")
    size = SIZES[version % len(SIZES)]
    text = (f"{key}|{version}|" * (size // 8 + 1))[:size]
    return {"pk": {"S": partition(key)}, "sk": {"S": name}, "owner": {"S": writer}, "version": {"N": str(version)}, "text": {"S": text}}


def partition(key: str) -> str:
    writer, name = key.split("/")
    return key if int(name[1:]) % 2 else writer


def state_of(key: str, found: dict | None) -> str:
    if found is None:
        return ABSENT
    version = found.get("version", {"N": "0"})["N"]
    return version if found == item(key, int(version)) else TORN


class TableWriter(threading.Thread):
    """One client with items of its own."""

    def __init__(self, number: int, recording):
        super().__init__(daemon=True)
        self.recording = recording
        self.random = random.Random(f"tables/{recording.seed}/{number}")
        self.name_of_writer = f"t{number}"
        self.histories = {f"t{number}/k{n}": History() for n in range(ITEMS_PER_WRITER)}
        # What each transaction wrote: key -> version.
        self.transactions: list[dict[str, str]] = []
        self.version = 0
        self.failure: str | None = None

    def run(self) -> None:
        client = client_of(self.recording.server)
        try:
            for _ in range(STEPS_PER_WRITER):
                self.step(client)
        except Exception as error:  # Any end of the load but its own is a failed recording.
            self.failure = f"{error!r}"
        client.close()

    def step(self, client: Client) -> None:
        kind = self.random.choices(["put", "update", "delete", "get", "transaction"], [40, 15, 12, 10, 23])[0]
        key = self.random.choice(list(self.histories))
        address = {"TableName": TABLE, "Key": {"pk": {"S": partition(key)}, "sk": {"S": key.split("/")[1]}}}
        if kind == "get":
            history = self.histories[key]
            shown = state_of(key, client.good("GetItem", address | {"ConsistentRead": True}).get("Item"))
            assert shown == history.events[-1].state, f"{key} shows {shown}, wanted {history.events[-1].state}"
            # Read is as good as acknowledged, from here on.
            history.events.append(Event(shown, history.events[-1].begun, self.recording.disk.count()))
        elif kind == "delete":
            self.write(client, {key: ABSENT}, "DeleteItem", address)
        elif kind == "update":
            new = item(key, self.next())
            change = {"UpdateExpression": "SET version = :v, #t = :t, #o = :o", "ExpressionAttributeNames": {"#t": "text", "#o": "owner"}}
            values = {":v": new["version"], ":t": new["text"], ":o": new["owner"]}
            self.write(client, {key: new["version"]["N"]}, "UpdateItem", address | change | {"ExpressionAttributeValues": values})
        elif kind == "put":
            new = item(key, self.next())
            self.write(client, {key: new["version"]["N"]}, "PutItem", {"TableName": TABLE, "Item": new})
        else:
            items = {key: item(key, self.next()) for key in self.random.sample(list(self.histories), self.random.randint(2, 4))}
            states = {key: new["version"]["N"] for key, new in items.items()}
            self.transactions.append(states)
            puts = [{"Put": {"TableName": TABLE, "Item": new}} for new in items.values()]
            token = f"{self.name_of_writer}-{self.version}"
            self.write(client, states, "TransactWriteItems", {"TransactItems": puts, "ClientRequestToken": token})

    def next(self) -> int:
        self.version += 1
        return self.version

    def write(self, client: Client, states: dict[str, str], operation: str, request: dict) -> None:
        begun = self.recording.disk.count()
        events = [Event(state, begun) for state in states.values()]
        for key, event in zip(states, events, strict=True):
            self.histories[key].events.append(event)
        client.good(operation, request)
        ended = self.recording.disk.count()
        for event in events:
            event.ended = ended


def load(recording) -> list[TableWriter]:
    """Makes the table and starts its writers."""
    make_table(client_of(recording.server))
    recording.table_at = recording.disk.count()
    recording.table_writers = [TableWriter(number, recording) for number in range(WRITERS)]
    for writer in recording.table_writers:
        writer.start()
    return recording.table_writers


def compare(server: Server, recording, cut: int) -> tuple[int, str | None]:
    """Holds an image against what clients were told before the cut; gives the number of items looked at and a finding."""
    if cut < recording.table_at:
        return 0, None
    client, count = client_of(server), 0
    for writer in recording.table_writers:
        shown = {}
        for key, history in writer.histories.items():
            address = {"TableName": TABLE, "Key": {"pk": {"S": partition(key)}, "sk": {"S": key.split("/")[1]}}}
            shown[key] = state_of(key, client.good("GetItem", address | {"ConsistentRead": True}).get("Item"))
            allowed = history.allowed(cut)
            count += 1
            if shown[key] not in allowed:
                return count, f"item {key} shows {shown[key]}, allowed {sorted(allowed)}"
        if finding := index_differs(client, writer, shown) or half_there(writer, shown):
            return count, finding
    client.good("PutItem", {"TableName": TABLE, "Item": {"pk": {"S": "fresh"}, "sk": {"S": "fresh"}}})
    client.close()
    return count, None


def index_differs(client: Client, writer: TableWriter, shown: dict[str, str]) -> str | None:
    """The index names what the table shows, whole and in the order of versions."""
    query = {"KeyConditionExpression": "#o = :o", "ExpressionAttributeNames": {"#o": "owner"}, "ExpressionAttributeValues": {":o": {"S": writer.name_of_writer}}}
    found = client.good("Query", {"TableName": TABLE, "IndexName": "by-version"} | query)["Items"]
    keys = {entry["version"]["N"]: f"{writer.name_of_writer}/{entry['sk']['S']}" for entry in found}
    indexed = [state_of(keys[entry["version"]["N"]], entry) for entry in found]
    expected = sorted((state for state in shown.values() if state != ABSENT), key=int)
    return None if indexed == expected else f"{writer.name_of_writer}: the index shows {indexed}, the table {expected}"


def half_there(writer: TableWriter, shown: dict[str, str]) -> str | None:
    """Every transaction is there on all of its items or on none, as far as what they show tells."""
    places = {}
    for key, state in shown.items():
        if state != ABSENT:
            places[key] = max(place for place, event in enumerate(writer.histories[key].events) if event.state == state)
    for states in writer.transactions:
        there = {}
        for key, state in states.items():
            if key in places:
                own = min(place for place, event in enumerate(writer.histories[key].events) if event.state == state)
                there[key] = places[key] >= own
        if len(set(there.values())) > 1:
            return f"half of a transaction is there: {there}"
    return None
