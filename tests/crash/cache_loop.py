"""kill -9 under clients of a build cache that is full: blobs by their digest, values under keys by the paths of ccache and
Turborepo, and actions that name blobs, while eviction runs all the time, with a journal of what they were told outside the
appliance (see cache_journal.py). After each restart, and at the end, what was promised is read.

Leases are short and the limit is small, so that everything comes and goes many times. A kill counts only when it left requests
without their reply and enough was acknowledged since the last one. A failure prints the seed, the last events of what it is about,
what the appliance says of that when it is asked again, and the appliance's own figures; the data directory is kept.

`--plant NAME` runs a binary that was built with the feature `planted` and has that fault: then a finding is what is wanted,
and none is a failure.
"""

import argparse
import collections
import hashlib
import http.client
import json
import random
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from cache_events import Event, Events  # noqa: E402
from cache_journal import Broken, Journal, self_test, value_of  # noqa: E402
from zctest.server import Server, binary  # noqa: E402

# Faults of the cache; others are the store's, see Server.
CACHE_PLANTS = ("LeaseIgnored", "FreshEvicted", "GraceSkipped", "ReservationForgotten", "SlotFreedEarly", "SharedBlobTaken")
TOKEN = "cache-loop-write-token"
LIMIT_BYTES = 16_000_000
LEASE_SECONDS = 2
# Rounds are longer than a lease: after a start nothing is evicted for so long.
ROUND_SECONDS = (LEASE_SECONDS + 0.5, LEASE_SECONDS + 2.5)
# Inline, batch and extents bodies, around their borders. What is put within two leases has to fit: large ones are few.
SIZES = {1: 10, 100: 10, 512: 10, 513: 10, 4_000: 30, 9_000: 20, 32_768: 4, 32_769: 4, 70_000: 2, 300_000: 1}
# Before the first round the cache is made full with these.
FILL_BLOB_BYTES = 200_000
BLOB_CLIENTS = 4
KEY_CLIENTS = 3
ACTION_CLIENTS = 2
# Of each client, so that some are put again and again.
KEYS_PER_CLIENT = 60
# Digests that clients still ask for: more than the limit has room for.
REMEMBERED_MAX = 6_000
# Most questions are about the last few, since what is asked for stays, and all of it would.
YOUNG_MAX = 100
ASKED_AT_ONCE = 20
IN_FLIGHT_MIN = 4
ACKNOWLEDGED_MIN = 60
REPLY_SECONDS_MAX = 120
LOAD_SECONDS_MAX = 120
POLL_SECONDS = 0.002
FIGURES_SECONDS = 0.05
# Who is told that the cache is full waits a little.
FULL_SECONDS = 0.02
# Who hears that the appliance is too busy asks again after so long.
BUSY_SECONDS = 0.03
# After a restart so many of each kind are read, by so many clients, well before the promise ends; at the end all.
CHECKED_MAX = 300
CHECKERS = 3
# So long before the promise ends nothing new is read for the check.
CHECK_MARGIN_SECONDS = 0.5
# What broke a rule is asked for again after each of these: what was only overlooked is there then, and what is gone is not.
AGAIN_SECONDS = (0, 0.01, 0.1, 1)
# Of the appliance's metrics these are shown then.
METRICS = ("zerocloud_cache_", "zim_cache_", "zerocloud_shard_", "zerocloud_responses_aborted")
FIGURES_SECONDS_MAX = 10
# Without one of these the run has shown nothing.
MUST_HAPPEN = (
    "blobs put",
    "blobs hit",
    "blobs missed",
    "keys put by ccache's path",
    "keys put by Turborepo's path",
    "keys hit",
    "keys missed",
    "actions put",
    "actions hit",
    "actions missed",
    "asked whether missing",
    "promises read after a restart",
    "blobs that were evicted",
)


class Run:
    """The appliance, and what is known of its cache over all kills."""

    def __init__(self, seed: int, server: Server):
        self.seed, self.server = seed, server
        self.journal = Journal(LEASE_SECONDS, LIMIT_BYTES)
        self.events = Events()
        self.killed = threading.Event()
        # A rule did not hold: the appliance is still needed, to explain it.
        self.broken = threading.Event()
        # What the appliance says of itself at the first failure.
        self.figures: list[str] = []
        self.counts: collections.Counter = collections.Counter()
        self.lock = threading.Lock()
        self.digests: collections.deque[str] = collections.deque(maxlen=REMEMBERED_MAX)
        self.keys: dict[str, str] = {}
        self.actions: collections.deque[str] = collections.deque(maxlen=REMEMBERED_MAX)
        self.killed_at = 0.0
        self.started_at = time.monotonic()
        # Whether a fault that was asked for was there in any run of the appliance.
        self.is_planted = False

    def count(self, what: str, by: int = 1) -> None:
        with self.lock:
            self.counts[what] += by

    def take_figures(self) -> None:
        """Asks the appliance for its own figures, at the first failure, while it runs."""
        with self.lock:
            if self.figures or self.server.process is None or self.server.process.poll() is not None:
                return
            self.figures = ["the appliance's figures:"]
        for path in ("/api/v1/stats", "/-/metrics"):
            connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=FIGURES_SECONDS_MAX)
            try:
                connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
                text = connection.getresponse().read().decode()
                lines = text.splitlines()
                if path == "/-/metrics":
                    lines = [line for line in lines if line.startswith(METRICS) and "_bucket{" not in line]
                self.figures += lines
            except Exception as error:  # OSError and many kinds of http.client
                self.figures.append(f"{path}: {error!r}")
            finally:
                connection.close()

    def missing(self) -> list[str]:
        """What has to happen and has not."""
        self.counts["blobs that were evicted"] = len(self.journal.evicted)
        return [what for what in MUST_HAPPEN if not self.counts[what]]


class Client(threading.Thread):
    """One client: a loop of steps until the kill, which finds it between a request and its reply or not."""

    def __init__(self, run: Run, kind: str, number: int, round_: int):
        super().__init__(daemon=True)
        self.run_, self.label = run, f"{kind} {number}"
        self.random = random.Random(f"{run.seed} {self.label} {round_}")
        self.in_flight = self.interrupted = False
        # Whether the last answer sheds work, which some dialects tell as a miss.
        self.is_shed = False
        self.acknowledged = 0
        self.failure: str | None = None
        self.connection = http.client.HTTPConnection(run.server.host, run.server.port, timeout=REPLY_SECONDS_MAX)

    def run(self) -> None:
        while not self.run_.killed.is_set() and self.failure is None:
            try:
                self.step()
            except Broken as broken:
                self.failure = self.explained(broken)
            except Exception as error:  # OSError and many kinds of http.client for a connection that died
                # Before the kill every request gets its reply: a connection that closes without one is a fault.
                if not self.run_.killed.is_set():
                    self.failure = f"{self.label}: {error!r}"
                self.interrupted = self.in_flight
            self.in_flight = False
        self.connection.close()

    def step(self) -> None:
        raise NotImplementedError

    def explained(self, broken: Broken) -> str:
        """The failure, what led to it, and what the appliance says now."""
        now = time.monotonic()
        self.run_.broken.set()
        before = {name: self.run_.events.of(name) for name in broken.names}
        lines = [f"{self.label}, {now - self.run_.started_at:.3f} s after the start: {broken}"]
        again = [line for name in broken.names for line in self.again(name, now)]
        for name, events in before.items():
            lines += [f" {name}, in seconds from now on:", *(event.shown(now) for event in events)]
        self.run_.take_figures()
        return "\n".join(lines + again)

    def again(self, name: str, now: float) -> list[str]:
        """What the appliance says of a blob, key or action when it is asked again."""
        run = self.run_
        kind = "objects" if name in run.journal.blobs else "actions"
        path = run.keys.get(name, f"/api/v1/{kind}/{name}")
        lines = [f" {name}, asked again:"]
        try:
            for pause in AGAIN_SECONDS:
                time.sleep(pause)
                event = Event(self.label, f"GET {path}", time.monotonic())
                status, data = self.ask("GET", path)
                event.ends(f"{status}, {len(data)} bytes")
                lines.append(event.shown(now))
        except Exception as error:  # OSError and many kinds of http.client: the appliance is gone
            lines.append(f"  {error!r}")
        return lines

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/octet-stream") -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {TOKEN}"} | ({"Content-Type": kind} if body is not None else {})
        self.in_flight = True
        self.connection.request(method, path, body=body, headers=headers)
        reply = self.connection.getresponse()
        data = reply.read()
        self.in_flight = False
        self.acknowledged += 1
        self.is_shed = reply.getheader("retry-after") is not None
        return reply.status, data

    def size(self) -> int:
        return self.random.choices(list(SIZES), list(SIZES.values()))[0]

    def is_full(self, what: str, status: int, data: bytes) -> bool:
        """Whether a put was refused since the cache is full, which it may be while all of it is promised."""
        if status in (403, 413, 503, 507) and (b"Full" in data or b"SlowDown" in data):
            self.run_.count(f"{what} refused: full")
            time.sleep(FULL_SECONDS)
            return True
        return False

    def wrong(self, what: str, status: int, data: bytes) -> None:
        raise Broken(f"{what} is answered {status}: {data[:300]!r}")

    def put_blob(self, data: bytes) -> str | None:
        """Its digest, if it was taken."""
        digest = hashlib.sha256(data).hexdigest()
        event = self.run_.events.begins(self.label, f"PUT of {len(data)} bytes", digest)
        began = time.monotonic()
        status, answer = self.ask("PUT", f"/api/v1/objects/{digest}", data)
        event.ends(str(status))
        if status not in (200, 201):
            return None if self.is_full("put", status, answer) else self.wrong("PUT of a blob", status, answer)
        self.run_.journal.blob_put(began, digest, len(data))
        self.run_.digests.append(digest)
        self.run_.count("blobs put" if status == 201 else "blobs put again")
        return digest

    def get_blob(self, digest: str) -> bool:
        journal = self.run_.journal
        event = self.run_.events.begins(self.label, "GET", digest)
        floor, began = journal.blob_begins(digest), time.monotonic()
        status, data = self.ask("GET", f"/api/v1/objects/{digest}")
        event.ends(str(status))
        if status == 503 and b"SlowDown" in data:
            self.run_.count("blobs asked for in vain: too busy")
            return False
        if status not in (200, 404):
            self.wrong("GET of a blob", status, data)
        journal.blob_got(floor, began, time.monotonic(), digest, data if status == 200 else None)
        self.run_.count("blobs hit" if status == 200 else "blobs missed")
        return status == 200

    def look_up(self, path: str, until: float) -> tuple[int, bytes]:
        """Looks a key up. An appliance that is too busy may say that it has none, and that it is worth asking again: one that
        is promised is asked for until it is said truly, or the promise is over."""
        while True:
            status, data = self.ask("GET", path)
            if status != 404 or not self.is_shed or time.monotonic() > until:
                return status, data
            self.run_.count("keys asked for again")
            time.sleep(BUSY_SECONDS)

    def get_key(self, name: str, path: str) -> None:
        journal = self.run_.journal
        event = self.run_.events.begins(self.label, "GET", name)
        floor = journal.look_begins(name)
        status, data = self.look_up(path, floor[1])
        event.ends(f"{status}, {data[:100]!r}")
        if status not in (200, 404):
            self.wrong(f"GET of key {name}", status, data)
        journal.key_got(floor, time.monotonic(), name, data if status == 200 else None)
        self.run_.count("keys hit" if status == 200 else "keys missed")

    def get_action(self, name: str) -> None:
        """Looks it up, and after a hit reads all that it names."""
        journal = self.run_.journal
        event = self.run_.events.begins(self.label, "GET of an action", name)
        floor, began = journal.action_begins(name), time.monotonic()
        status, data = self.look_up(f"/api/v1/actions/{name}", floor)
        event.ends(str(status))
        if status == 503 and b"SlowDown" in data:
            return self.run_.count("actions asked for in vain: too busy")
        if status not in (200, 404):
            self.wrong("GET of an action", status, data)
        outputs = tuple(one["hash"] for one in json.loads(data)["outputs"]) if status == 200 else None
        for digest in outputs or ():
            self.run_.events.begins(self.label, f"action {name} was looked up", digest).ends("named")
        journal.action_got(floor, began, time.monotonic(), name, outputs)
        self.run_.count("actions hit" if outputs else "actions missed")
        for digest in outputs or ():
            self.get_blob(digest)


class Blobs(Client):
    """Puts blobs, most of them new, reads what anybody put, and asks which of many are missing."""

    def step(self) -> None:
        chance = self.random.random()
        known = list(self.run_.digests) if chance >= 0.45 else []
        if chance < 0.45 or len(known) < ASKED_AT_ONCE:
            # Some bodies come again, from any client, when they were evicted or not.
            name = f"again {self.random.randrange(300)}" if self.random.random() < 0.1 else f"{self.label} {self.random.random()}"
            self.put_blob(value_of(name, 1, self.size()))
        elif chance < 0.93:
            # Some reads are of what may be gone.
            self.get_blob(self.random.choice(known[-YOUNG_MAX:] if self.random.random() < 0.9 else known))
        else:
            self.missing(self.random.sample(known[-YOUNG_MAX:], ASKED_AT_ONCE - 1) + [self.random.choice(known)])

    def missing(self, digests: list[str]) -> None:
        """What is not missing is promised, and what was promised is not missing."""
        journal = self.run_.journal
        events = [self.run_.events.begins(self.label, "asked whether missing", digest) for digest in digests]
        floors, began = [journal.blob_begins(digest) for digest in digests], time.monotonic()
        status, data = self.ask("POST", "/api/v1/objects/missing", json.dumps({"hashes": digests}).encode(), "application/json")
        ended = time.monotonic()
        for event in events:
            event.ends(str(status))
        if status == 503 and self.is_shed:
            return self.run_.count("asked in vain whether missing: too busy")
        if status != 200:
            self.wrong("missing", status, data)
        absent = set(json.loads(data)["missing"])
        for digest, event in zip(digests, events, strict=True):
            event.told = "missing" if digest in absent else "there"
        for digest, floor in zip(digests, floors, strict=True):
            if digest in absent:
                journal.blob_got(floor, began, ended, digest, None)
        # A later look must find the others.
        present = [digest for digest in digests if digest not in absent]
        for digest in present:
            journal.blob_seen(began, digest)
        self.run_.count("asked whether missing", len(digests))
        if present:
            self.get_blob(self.random.choice(present))


class Keys(Client):
    """Puts values under keys of its own by ccache's and Turborepo's paths, and reads those of all."""

    def __init__(self, run: Run, number: int, round_: int):
        super().__init__(run, "keys", number, round_)
        self.names: dict[str, str] = {}
        for place in range(KEYS_PER_CLIENT):
            name = hashlib.sha256(f"{self.label} {place}".encode()).hexdigest()
            if place % 2 == 0:
                self.names[name] = f"/api/v1/cache/default/ccache/{name[:2]}/{name[2:33]}"
            else:
                self.names[name] = f"/v8/artifacts/{name[:16]}?slug=default"
        run.keys |= self.names

    def step(self) -> None:
        if self.random.random() < 0.65:
            name = self.random.choice(list(self.run_.keys))
            return self.get_key(name, self.run_.keys[name])
        name, journal = self.random.choice(list(self.names)), self.run_.journal
        event = self.run_.events.begins(self.label, "PUT", name)
        version, began = journal.key_begins(name), time.monotonic()
        data = value_of(name, version, self.size())
        status, answer = self.ask("PUT", self.names[name], data)
        event.ends(f"{status}, version {version}, {len(data)} bytes")
        if status not in (200, 202):
            return None if self.is_full("put of a key", status, answer) else self.wrong("PUT of a key", status, answer)
        journal.key_put(began, name, version)
        self.run_.count("keys put by ccache's path" if "ccache" in self.names[name] else "keys put by Turborepo's path")


class Actions(Client):
    """Puts outputs and actions that name them, and looks actions up: then every output must be there."""

    def step(self) -> None:
        if self.random.random() < 0.6 and self.run_.actions:
            known = list(self.run_.actions)
            return self.get_action(self.random.choice(known[-YOUNG_MAX // 4 :] if self.random.random() < 0.9 else known))
        run, journal = self.run_, self.run_.journal
        outputs = []
        for number in range(self.random.randint(1, 4)):
            data = value_of(f"{self.label} {number} {self.random.random()}", 1, self.size())
            # Older outputs are shared, which may be gone by now.
            shared = run.digests and self.random.random() < 0.3
            digest = self.random.choice(list(run.digests)) if shared else self.put_blob(data)
            if digest is None:
                return None
            outputs.append((digest, journal.known[digest]))
        name = hashlib.sha256(f"{self.label} {self.random.random()}".encode()).hexdigest()
        listed = [{"path": f"out/{number}", "hash": digest, "size": size, "mode": 420} for number, (digest, size) in enumerate(outputs)]
        events = [run.events.begins(self.label, f"PUT of action {name}", one) for one in (name, *(digest for digest, _ in outputs))]
        floors, began = {digest: journal.blob_begins(digest) for digest, _ in outputs}, time.monotonic()
        status, answer = self.ask("PUT", f"/api/v1/actions/{name}", json.dumps({"outputs": listed}).encode(), "application/json")
        for event in events:
            event.ends(str(status))
        if status == 400 and b"MissingOutputs" in answer:
            journal.action_refused(floors, time.monotonic(), name)
            return run.count("actions refused: outputs missing")
        if status not in (200, 201, 204):
            return None if self.is_full("put of an action", status, answer) else self.wrong("PUT of an action", status, answer)
        journal.action_put(began, name, tuple(digest for digest, _ in outputs))
        run.actions.append(name)
        run.count("actions put")


class Figures(Client):
    """Asks how much is stored, all the time."""

    def step(self) -> None:
        status, data = self.ask("GET", "/api/v1/stats")
        if status != 200:
            self.wrong("stats", status, data)
        answer = json.loads(data)
        self.run_.journal.stored(answer["stored_bytes"])
        with self.run_.lock:
            self.run_.counts["most bytes stored"] = max(self.run_.counts["most bytes stored"], answer["stored_bytes"])
        time.sleep(FIGURES_SECONDS)


class Checker(Client):
    """Reads what was promised, until its part is read."""

    def __init__(self, run: Run, number: int, tasks: list):
        super().__init__(run, "checker", number, -1)
        self.tasks = tasks

    def run(self) -> None:
        try:
            for task, *arguments in self.tasks:
                task(self, *arguments)
                self.run_.count("promises read after a restart")
        except Broken as broken:
            self.failure = f"after a restart: {self.explained(broken)}"
        except Exception as error:
            self.failure = f"{self.label}: {error!r}; the appliance {self.run_.server.state()}"
        self.connection.close()


def check(run: Run, most: int | None) -> str | None:
    """Reads what is promised now, at most so many of each kind."""
    chosen = random.Random(f"{run.seed} {run.counts['restarts']}")
    blobs, keys, actions = run.journal.promised_now(time.monotonic() + CHECK_MARGIN_SECONDS)
    tasks: list = []
    for make, names in [
        (lambda name: (Client.get_action, name), actions),
        (lambda name: (Client.get_key, name, run.keys[name]), keys),
        (lambda name: (Client.get_blob, name), blobs),
    ]:
        chosen.shuffle(names)
        tasks += [make(name) for name in names[:most]]
    checkers = [Checker(run, number, tasks[number::CHECKERS]) for number in range(CHECKERS)]
    for checker in checkers:
        checker.start()
    for checker in checkers:
        checker.join()
    return next((checker.failure for checker in checkers if checker.failure), None)


def one_round(run: Run, clients: list[Client]) -> tuple[str | None, int, bool]:
    """Load, and a kill under it. Gives the first failure, what was acknowledged, and whether the kill counts."""
    for client in clients:
        client.start()
    time.sleep(random.Random(f"{run.seed} {run.counts['restarts']} pause").uniform(*ROUND_SECONDS))
    failure, deadline = None, time.monotonic() + LOAD_SECONDS_MAX
    while True:
        in_flight = sum(client.in_flight for client in clients)
        done = sum(client.acknowledged for client in clients)
        failure = next((client.failure for client in clients if client.failure), None)
        is_done = in_flight >= IN_FLIGHT_MIN and done >= ACKNOWLEDGED_MIN
        if failure or (is_done and not run.broken.is_set()):
            break
        if time.monotonic() > deadline:
            failure = f"only {done} acknowledged and {in_flight} in flight after {LOAD_SECONDS_MAX} s"
            break
        time.sleep(POLL_SECONDS)
    if failure:
        run.take_figures()
    run.killed.set()
    run.server.kill()
    # Behind the kill: before it the appliance lives on, and what is not promised any more may go, however long this one stalls.
    run.killed_at = time.monotonic()
    for client in clients:
        client.join(REPLY_SECONDS_MAX)
        failure = failure or client.failure
    run.is_planted |= any(" is planted" in line for line in run.server.log)
    return failure, done, sum(client.interrupted for client in clients) >= IN_FLIGHT_MIN


def restart(run: Run, is_last: bool) -> str | None:
    """Starts the appliance again and reads what was promised when it was killed."""
    started = time.monotonic()
    run.server.start()
    run.started_at = time.monotonic()
    run.count("restarts")
    run.journal.restarted(run.killed_at, started)
    return check(run, None if is_last else CHECKED_MAX)


def fill(run: Run) -> None:
    """Makes the cache full, so that from the first round on whoever puts has something evicted."""
    client = Client(run, "fill", 0, 0)
    for number in range(LIMIT_BYTES // FILL_BLOB_BYTES):
        client.put_blob(value_of(f"fill {number}", 1, FILL_BLOB_BYTES))
    client.connection.close()
    # Nobody reads these: they are what goes first.
    run.digests.clear()


def loop(run: Run, options: argparse.Namespace) -> tuple[str | None, int, int]:
    """Kills until there were enough, and all that has to happen has happened. Gives the first failure, the kills that count and what was acknowledged."""
    failure, kills, acknowledged, begun, round_ = None, 0, 0, time.monotonic(), 0
    wanted = lambda: kills < options.kills or options.plant is None and run.missing()  # noqa: E731
    while wanted() and failure is None and time.monotonic() - begun < options.minutes * 60:
        run.killed.clear()
        round_ += 1
        clients: list[Client] = [Blobs(run, "blobs", number, round_) for number in range(BLOB_CLIENTS)]
        clients += [Keys(run, number, round_) for number in range(KEY_CLIENTS)]
        clients += [Actions(run, "actions", number, round_) for number in range(ACTION_CLIENTS)]
        clients.append(Figures(run, "figures", 0, round_))
        failure, done, counts = one_round(run, clients)
        acknowledged += done
        kills += counts
        if failure is None:
            failure = restart(run, not wanted())
    if failure is None and kills < options.kills and options.plant is None:
        failure = f"only {kills} of {options.kills} kills in {options.minutes} minutes"
    return failure, kills, acknowledged


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=10.0, help="fewer kills after this long are a failure")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--backend", choices=["io_uring", "epoll"], default="io_uring")
    parser.add_argument("--plant", help="a fault that must be found")
    options = parser.parse_args()
    print(f"cache journal: {self_test()} broken rules are noticed")
    config = f"[cache]\nmax_bytes = \"{LIMIT_BYTES}\"\nlease_seconds = {LEASE_SECONDS}\n"
    arguments = ["--shards", "2"] + (["--backend", "epoll"] if options.backend == "epoll" else [])
    server = Server(arguments=arguments, config=config, plant=None if options.plant in CACHE_PLANTS else options.plant)
    if options.plant in CACHE_PLANTS:
        server.serve_environment["ZEROCLOUD_CAS_PLANT"] = options.plant
    server.serve_environment["ZIM_CACHE_WRITE_TOKEN"] = TOKEN
    run = Run(options.seed, server)
    failure, kills, acknowledged, begun = None, 0, 0, time.monotonic()
    try:
        server.start()
        run.started_at = time.monotonic()
        fill(run)
        failure, kills, acknowledged = loop(run, options)
    except Broken as broken:
        failure = str(broken)
    except Exception as error:  # A start that fails, or any end of a connection: the data is the evidence, and is kept.
        failure = f"{error!r}; the appliance {server.state()}"
    finally:
        run.killed.set()
        if failure is not None:
            run.take_figures()
        server.kill()
    missing = run.missing()
    for what, count in sorted(run.counts.items()):
        print(f"{count:10} {what}")
    if failure is None and missing and options.plant is None:
        failure = f"never happened: {missing}"
    print(f"cache loop: {kills} kills, {acknowledged} answered, {time.monotonic() - begun:.0f} s, seed {options.seed}")
    if options.plant:
        server.__exit__()
        if not run.is_planted:
            raise SystemExit(f"cache loop: {binary()} does not plant {options.plant}")
        print(f"cache loop: {options.plant} was {f'caught: {failure[:300]}' if failure else 'NOT CAUGHT'}")
        return 0 if failure else 1
    if failure:
        print(f"FAILED: {failure}")
        print("\n".join(run.figures))
        print(f"data kept in {server.data}; seed {options.seed}")
        print("".join(server.log[-20:]))
        return 1
    server.__exit__()
    print("cache loop: no hit was wrong or missed a part, nothing promised was gone, the limit was kept")
    return 0


if __name__ == "__main__":
    sys.exit(main())
