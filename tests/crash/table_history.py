"""Clients that fight for eight items of a table, with and without kill -9, and a judgement of what they saw.

Puts, puts if the version is still the one seen, ADD, deletes, reads, and transactions of two to four items. Every write
stores an id of its own and learns the id that it replaced: from the old item in the reply, or because its condition named
it. The history goes to the checker of appliance/services/dynamodb (tests/checker): it must be strictly serializable, over
restarts too. What a kill leaves open is open for the checker; a transaction with a token is sent again after the restart,
which must tell how it ended. A failure keeps the history.

`--plant NAME` runs a binary that was built with the feature `planted` and has that fault: then red is what is wanted.
"""

import argparse
import itertools
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from zctest.dynamodbraw import Client  # noqa: E402
from zctest.server import ROOT, Server, binary  # noqa: E402

TABLE = "contended"
KEYS = 8
CLIENTS = 12
IN_FLIGHT_MIN = 4
ACKNOWLEDGED_MIN = 100
REPLY_SECONDS_MAX = 300
LOAD_SECONDS_MAX = 300
POLL_SECONDS = 0.002
# What must have happened for a run to count.
EXPECTED = [
    "put done",
    "put-if-version done",
    "put-if-version ConditionalCheckFailedException",
    "add done",
    "delete done",
    "get done",
    "transact-get done",
    "transact-write done",
    "transact-write TransactionCanceledException",
]
EXPECTED_WITH_KILLS = ["cut off", "token replayed"]


def error(body: dict) -> str | None:
    """The name of the error in a reply."""
    return body["__type"].rsplit("#", 1)[-1] if "__type" in body else None


class Wrong(Exception):
    """A reply that no history explains."""


class Run:
    """What all clients share."""

    def __init__(self, seed: int, server: Server):
        self.seed, self.server = seed, server
        self.killed = threading.Event()
        self.lines: list[str] = []
        self.counts: Counter = Counter()
        self.totals: dict[tuple[int, int], int] = {}
        self.ids = itertools.count(1)
        self.lock = threading.Lock()

    def client(self) -> Client:
        key, secret = self.server.credentials()
        return Client(self.server.host, self.server.port, key, secret, timeout=REPLY_SECONDS_MAX)

    def total(self, key: int, version: int, total: int) -> None:
        """Every version shows one total, to everybody."""
        with self.lock:
            known = self.totals.setdefault((key, version), total)
        if version and known != total:
            raise Wrong(f"key {key}: version {version} shows {total}, and {known} before")


def place(key: int) -> dict:
    return {"pk": {"S": f"k{key}"}}


class Contender(threading.Thread):
    """One client. It does one request at a time."""

    def __init__(self, number: int, run: Run, seen: dict, pending: list, round_: int):
        super().__init__(daemon=True)
        self.number, self.run_, self.seen, self.pending = number, run, seen, pending
        self.random = random.Random(f"{run.seed}-{number}-{round_}")
        self.failure: str | None = None
        self.in_flight = False
        self.interrupted = False
        self.acknowledged = 0

    def run(self) -> None:
        client = self.run_.client()
        try:
            for request in list(self.pending):
                self.replay(client, *request)
                self.pending.remove(request)
            while not self.run_.killed.is_set():
                self.step(client)
        except (Wrong, AssertionError, KeyError, ValueError, TypeError) as wrong:
            self.failure = f"client {self.number}: {wrong!r}"
        except Exception as lost:  # OSError and many kinds of http.client for a connection that died
            # Before the kill every request gets its reply: a connection that closes without one is a fault.
            if not self.run_.killed.is_set():
                self.failure = f"client {self.number}: {lost!r}"
            self.interrupted = True
        client.close()

    def step(self, client: Client) -> None:
        key = self.random.randrange(KEYS)
        names = ["put", "put-if-version", "add", "delete", "get", "transact-write", "transact-get"]
        kind = self.random.choices(names, [6, 14, 6, 8, 12, 36, 18])[0]
        if kind == "get":
            self.get(client, key)
        elif kind == "transact-get":
            self.transact_get(client)
        elif kind == "transact-write":
            self.transact_write(client)
        else:
            self.write(client, kind, key)

    def send(self, client: Client, name: str, operation: str, request: dict, writes: list) -> tuple[int, int, dict]:
        """Begin, status and body. A request without its reply is an event whose outcome is open."""
        begin = time.monotonic_ns()
        self.in_flight = bool(writes)
        try:
            status, body = client.call(operation, request)
        except Exception:
            self.count("cut off")
            if writes:
                self.event(name, begin, None, [], writes)
            raise
        self.in_flight = False
        self.count(f"{name} {error(body) or 'done'}")
        if status >= 500 and writes:
            self.event(name, begin, None, [], writes)
        return begin, status, body

    def count(self, what: str) -> None:
        with self.run_.lock:
            self.run_.counts[what] += 1

    def event(self, name: str, begin: int, end: int | None, reads: list, writes: list) -> None:
        line = f"{name}-by-{self.number} {begin} {'-' if end is None else end}"
        line += "".join(f" r {key} {version}" for key, version in reads)
        line += "".join(f" w {key} {new} {'?' if old is None else old}" for key, new, old in writes)
        self.run_.lines.append(line)

    def look(self, key: int, item: dict | None) -> int:
        """Notes what a reply shows of a key; gives its version, 0 for none."""
        version, total = (0, 0) if item is None else (int(item["id"]["N"]), int(item["total"]["N"]))
        self.run_.total(key, version, total)
        self.seen[key] = (version, total)
        return version

    def expect(self, request: dict, key: int) -> None:
        version = self.seen.get(key, (0, 0))[0]
        if version == 0:
            request["ConditionExpression"] = "attribute_not_exists(pk)"
        else:
            request["ConditionExpression"] = "id = :seen"
            request.setdefault("ExpressionAttributeValues", {})[":seen"] = {"N": str(version)}
        request["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"

    @staticmethod
    def item(key: int, version: int, total: int) -> dict:
        return place(key) | {"id": {"N": str(version)}, "total": {"N": str(total)}}

    @staticmethod
    def adding(request: dict, version: int, by: int) -> None:
        request["UpdateExpression"] = "SET id = :id ADD #t :by"
        request["ExpressionAttributeNames"] = {"#t": "total"}
        request["ExpressionAttributeValues"] = {":id": {"N": str(version)}, ":by": {"N": str(by)}}

    def write(self, client: Client, kind: str, key: int) -> None:
        version, amount = next(self.run_.ids), self.random.randrange(100)
        request: dict = {"TableName": TABLE, "ReturnValues": "ALL_OLD"}
        if kind == "delete":
            version = 0
            request["Key"] = place(key)
        elif kind == "add":
            request["Key"] = place(key)
            self.adding(request, version, amount)
        else:
            request["Item"] = self.item(key, version, amount)
        # A delete names what it deletes: else one that was cut off could have ended any version.
        expected = None
        if kind in ("put-if-version", "delete"):
            self.expect(request, key)
            expected = self.seen.get(key, (0, 0))[0]
        operation = {"delete": "DeleteItem", "add": "UpdateItem"}.get(kind, "PutItem")
        begin, status, body = self.send(client, kind, operation, request, [(key, version, expected)])
        end, name = time.monotonic_ns(), error(body)
        if status == 200:
            self.acknowledged += 1
            replaced = self.look(key, body.get("Attributes"))
            total = self.seen[key][1] + amount if kind == "add" else amount
            if kind == "delete" and replaced == 0:
                self.event(kind, begin, end, [(key, 0)], [])
            else:
                self.event(kind, begin, end, [], [(key, version, replaced)])
            self.seen[key] = (version, 0 if version == 0 else total)
            self.run_.total(key, *self.seen[key])
        elif name == "ConditionalCheckFailedException":
            self.event(kind, begin, end, [(key, self.look(key, body.get("Item")))], [])
        elif status < 500 and name != "TransactionConflictException":
            raise Wrong(f"{kind}: {status} {body}")

    def get(self, client: Client, key: int) -> None:
        request = {"TableName": TABLE, "Key": place(key), "ConsistentRead": self.random.random() < 0.5}
        begin, status, body = self.send(client, "get", "GetItem", request, [])
        if status != 200:
            raise Wrong(f"get: {status} {body}")
        end = time.monotonic_ns()
        self.event("get", begin, end, [(key, self.look(key, body.get("Item")))], [])

    def transact_get(self, client: Client, keys: list[int] | None = None) -> None:
        keys = keys or self.random.sample(range(KEYS), self.random.randint(2, 4))
        gets = [{"Get": {"TableName": TABLE, "Key": place(key)}} for key in keys]
        begin, status, body = self.send(client, "transact-get", "TransactGetItems", {"TransactItems": gets}, [])
        end = time.monotonic_ns()
        if error(body) == "TransactionCanceledException":
            return
        if status != 200:
            raise Wrong(f"transact-get: {status} {body}")
        found = [self.look(key, one.get("Item")) for key, one in zip(keys, body["Responses"], strict=True)]
        self.event("transact-get", begin, end, list(zip(keys, found, strict=True)), [])

    def transact_write(self, client: Client) -> None:
        keys = self.random.sample(range(KEYS), self.random.randint(2, 4))
        if self.random.random() < 0.7:
            self.transact_get(client, keys)
        actions, writes, reads, totals = [], [], [], {}
        for key in keys:
            old, old_total = self.seen.get(key, (0, 0))
            version, amount = next(self.run_.ids), self.random.randrange(100)
            inner: dict = {"TableName": TABLE}
            kind = self.random.choices(["Put", "Update", "Delete", "ConditionCheck"], [4, 3, 1 if old else 0, 2])[0]
            if kind == "Put":
                inner["Item"] = self.item(key, version, amount)
                totals[key] = (version, amount)
            else:
                inner["Key"] = place(key)
            if kind == "Update":
                self.adding(inner, version, amount)
                totals[key] = (version, old_total + amount)
            if kind == "Delete":
                version = 0
                totals[key] = (0, 0)
            self.expect(inner, key)
            actions.append({kind: inner})
            if kind == "ConditionCheck":
                reads.append((key, old))
            else:
                writes.append((key, version, old))
        request = {"TransactItems": actions}
        if self.random.random() < 0.6:
            request["ClientRequestToken"] = f"{self.run_.seed}-{next(self.run_.ids)}"
        begin = time.monotonic_ns()
        try:
            # What is open is noted here: a token may still close it.
            self.in_flight = True
            status, body = client.call("TransactWriteItems", request)
        except Exception:
            self.count("cut off")
            if "ClientRequestToken" in request:
                self.pending.append((begin, request, keys, reads, writes, totals))
            elif writes:
                self.event("transact-write", begin, None, [], writes)
            raise
        self.in_flight = False
        self.count(f"transact-write {error(body) or 'done'}")
        self.transacted(status, body, begin, keys, reads, writes, totals)

    def transacted(self, status: int, body: dict, begin: int, keys: list, reads: list, writes: list, totals: dict) -> None:
        end = time.monotonic_ns()
        if status == 200:
            self.acknowledged += 1
            self.event("transact-write", begin, end, reads, writes)
            for key, (version, total) in totals.items():
                self.seen[key] = (version, total)
                self.run_.total(key, version, total)
        elif error(body) == "TransactionCanceledException":
            codes = [reason["Code"] for reason in body["CancellationReasons"]]
            if len(codes) != len(keys) or set(codes) == {"None"}:
                raise Wrong(f"transact-write: {body}")
            for key, reason in zip(keys, body["CancellationReasons"], strict=True):
                if reason["Code"] == "ConditionalCheckFailed":
                    self.event("reason", begin, end, [(key, self.look(key, reason.get("Item")))], [])
                elif reason["Code"] not in ("None", "TransactionConflict"):
                    raise Wrong(f"transact-write: {body}")
        elif status >= 500:
            if writes:
                self.event("transact-write", begin, None, [], writes)
        else:
            raise Wrong(f"transact-write: {status} {body}")

    def replay(self, client: Client, begin: int, request: dict, keys: list, reads: list, writes: list, totals: dict) -> None:
        """The same request with its token, after the restart: done once, whether then or now. A refusal says that it was
        not done before; only then may its reasons be later reads."""
        while True:
            sent = time.monotonic_ns()
            status, body = client.call("TransactWriteItems", request)
            conflict = {reason["Code"] for reason in body.get("CancellationReasons", [])} <= {"None", "TransactionConflict"}
            if error(body) == "TransactionInProgressException" or (error(body) == "TransactionCanceledException" and conflict):
                continue
            break
        self.count("token replayed")
        self.count(f"token replayed {error(body) or 'done'}")
        # Replays are retried, so what a success did was done between the first attempt and now.
        self.transacted(status, body, begin if status != 400 else sent, keys, reads, writes, totals)


def judge(run: Run, keeps: bool) -> str | None:
    """The checker's complaint about the history, which stays if it is wanted."""
    file = Path(tempfile.gettempdir()) / f"table-history-{run.seed}.txt"
    file.write_text("\n".join(run.lines) + "\n")
    command = ["cargo", "run", "-q", "--locked", "-p", "zerocloud-dynamodb", "--example", "check_history", "--", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(done.stdout[:3000])
    if done.returncode == 0 or not keeps:
        file.unlink()
    if done.returncode == 0:
        return None
    return done.stdout[:3000] + done.stderr[-2000:] + (f"\nhistory kept in {file}" if keeps else "")


def create(run: Run) -> None:
    # The second one puts other batches behind the first, so that a view that is a little late knows it.
    for name in (TABLE, "other"):
        run.client().good(
            "CreateTable",
            {
                "TableName": name,
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "total", "AttributeType": "N"}],
                "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
                "GlobalSecondaryIndexes": [
                    {
                        "IndexName": "by-total",
                        "KeySchema": [{"AttributeName": "total", "KeyType": "HASH"}],
                        "Projection": {"ProjectionType": "KEYS_ONLY"},
                    }
                ],
                "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
            },
        )


def one_round(run: Run, contenders: list[Contender], seconds: float, kills: bool, wanted: list[str]) -> str | None:
    """Lets the clients fight for a while, and until all that is `wanted` has happened; with `kills`, ends it by killing the
    appliance under them."""
    begun = time.monotonic()
    failure = None
    while failure is None:
        failure = next((one.failure for one in contenders if one.failure), None)
        in_flight = sum(one.in_flight for one in contenders)
        done = sum(one.acknowledged for one in contenders)
        passed = time.monotonic() - begun
        is_enough = passed > seconds and all(run.counts[what] for what in wanted)
        if is_enough and (not kills or (in_flight >= IN_FLIGHT_MIN and done >= ACKNOWLEDGED_MIN)):
            break
        if passed > LOAD_SECONDS_MAX:
            failure = f"only {done} acknowledged and {in_flight} in flight after {LOAD_SECONDS_MAX} s"
        time.sleep(POLL_SECONDS)
    run.killed.set()
    if kills:
        run.server.kill()
    for one in contenders:
        one.join(REPLY_SECONDS_MAX)
    return failure or next((one.failure for one in contenders if one.failure), None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10, help="0: none, one long round")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a round")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--backend", choices=["io_uring", "epoll"], default="io_uring")
    parser.add_argument("--plant", help="a fault that must be found")
    options = parser.parse_args()
    arguments = ["--shards", "2"] + (["--backend", "epoll"] if options.backend == "epoll" else [])
    server = Server(arguments=arguments, plant=options.plant)
    run = Run(options.seed, server)
    seen: list[dict] = [{} for _ in range(CLIENTS)]
    pending: list[list] = [[] for _ in range(CLIENTS)]
    failure, begun = None, time.monotonic()
    try:
        server.start()
        create(run)
        if options.plant and not server.has_plant():
            raise SystemExit(f"table history: {binary()} does not plant {options.plant}")
        for round_ in range(max(options.kills, 1)):
            run.killed.clear()
            contenders = [Contender(number, run, seen[number], pending[number], round_) for number in range(CLIENTS)]
            for one in contenders:
                one.start()
            is_last = round_ + 1 >= options.kills and options.plant is None
            failure = one_round(run, contenders, options.seconds, options.kills > 0, EXPECTED if is_last else [])
            if failure:
                break
            if options.kills > 0:
                server.start()
        if failure is None:
            run.killed.clear()
            last = Contender(CLIENTS, run, {}, [], -1)
            client = run.client()
            for number, left in enumerate(pending):
                for request in left:
                    Contender(number, run, seen[number], [], -1).replay(client, *request)
            for key in range(KEYS):
                last.get(client, key)
            last.transact_get(client, list(range(KEYS)))
    except Exception as wrong:  # A start that fails, or any end of a connection: the data is the evidence.
        failure = f"{wrong!r}; the appliance {server.state()}"
    finally:
        run.killed.set()
        server.kill()
    failure = failure or judge(run, options.plant is None)
    expected = EXPECTED + (EXPECTED_WITH_KILLS if options.kills else [])
    for what, count in sorted(run.counts.items()):
        print(f"{count:8} {what}")
    missing = [what for what in expected if not run.counts[what]]
    if failure is None and missing and options.plant is None:
        failure = f"never happened: {missing}"
    print(f"table history: {len(run.lines)} events, {options.kills} kills, {time.monotonic() - begun:.0f} s, seed {options.seed}")
    if options.plant:
        server.__exit__()
        print(f"table history: {options.plant} was {f'caught: {failure[:300]}' if failure else 'NOT CAUGHT'}")
        return 0 if failure else 1
    if failure:
        print(f"FAILED: {failure}\ndata kept in {server.data}; seed {options.seed}")
        print("".join(server.log[-20:]))
        return 1
    server.__exit__()
    print("table history: strictly serializable")
    return 0


if __name__ == "__main__":
    sys.exit(main())
