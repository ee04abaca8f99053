"""kill -9 under mixed load, with a journal of acknowledgements and of reads outside the appliance.

Each writer owns its keys and does one request at a time on them, so for every key the journal knows the last acknowledged
state and the requests since whose outcome is open. After each restart every key is read and listed: it must show the last
acknowledged state or an open one, whole; what a read has shown must still be there. Tables are loaded beside it, see kill_tables.py. A kill counts only when it left at
least 8 writes without their reply and 100 were acknowledged since the last one. A failure prints the seed.

`--plant NAME` runs a binary that was built with the feature `planted` and has that fault: then a finding is what is wanted,
and none is a failure. kill -9 spares the page cache, so this loop cannot see a sync that was left out; the block lab does.
"""

import argparse
import hashlib
import html
import random
import re
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import kill_tables  # noqa: E402
from zctest import dynamodbraw  # noqa: E402
from zctest.s3raw import Client  # noqa: E402
from zctest.server import Server, binary  # noqa: E402

BUCKET = "kills"
WRITERS = 24
KEYS_PER_WRITER = 16
# Inline, batch and extents bodies, around their borders.
SIZES = [0, 1, 100, 512, 513, 4_000, 32_768, 32_769, 70_000, 300_000, 1_200_000]
IN_FLIGHT_MIN = 8
ACKNOWLEDGED_MIN = 100
# Every so many restarts the data directory is also read through offline.
VERIFY_EVERY = 10
# A stalled machine is no finding: these are waits for something that comes, not limits of the appliance.
REPLY_SECONDS_MAX = 300
LOAD_SECONDS_MAX = 300
POLL_SECONDS = 0.002
ABSENT = "absent"


def body(tag: str, size: int) -> bytes:
    """Bytes that any torn or mixed body fails to equal."""
    if size == 0:
        return b""
    block = hashlib.sha256(tag.encode()).digest()
    return (block * (size // len(block) + 1))[:size]


class Writer(threading.Thread):
    """One client: puts, conditional puts, copies, multipart uploads, deletes and reads of its own keys."""

    def __init__(self, number: int, loop: "Loop"):
        super().__init__(daemon=True)
        self.number, self.loop = number, loop
        self.random = random.Random(loop.seed * 1_000 + number)
        # key -> what the next read may show: the acknowledged state first, then the open one.
        self.states: dict[str, list[str]] = {f"w{number}/k{n}": [ABSENT] for n in range(KEYS_PER_WRITER)}
        self.sequence = 0
        self.in_flight = False
        # Whether the kill came between a write and its reply.
        self.interrupted = False
        self.acknowledged = 0
        self.failure: str | None = None

    def run(self) -> None:
        client = self.loop.client()
        while not self.loop.killed.is_set():
            key = self.random.choice(list(self.states))
            try:
                self.step(client, key)
            except Exception as error:  # OSError and many kinds of http.client for a connection that died
                # Before the kill every request gets its reply: a connection that closes without one is a fault.
                if not self.loop.killed.is_set():
                    self.failure = f"{key}: {error!r}"
                self.interrupted = self.in_flight
                break
            self.in_flight = False
        client.close()

    def step(self, client: Client, key: str) -> None:
        kind = self.random.choices(["put", "create", "copy", "multipart", "delete", "get"], [50, 8, 6, 4, 15, 17])[0]
        path = f"/{BUCKET}/{key}"
        current = self.states[key][0]
        if kind == "get":
            status, _, data = client.request("GET", path)
            self.check_read(key, status, data)
            return
        self.sequence += 1
        size = self.random.choice(SIZES)
        tag = f"{key}|{self.number}|{self.sequence}|{size}"
        if kind == "delete":
            self.attempt(key, ABSENT, lambda: client.request("DELETE", path), {204})
        elif kind == "create":
            if len(self.states[key]) > 1:
                return
            wanted = {200} if current == ABSENT else {412}
            new = tag if current == ABSENT else current
            self.attempt(key, new, lambda: client.request("PUT", path, body(tag, size), headers={"if-none-match": "*"}), wanted)
        elif kind == "copy":
            source = self.random.choice(list(self.states))
            if self.states[source][0] == ABSENT or len(self.states[source]) > 1 or source == key:
                return
            header = {"x-amz-copy-source": f"/{BUCKET}/{source}"}
            self.attempt(key, self.states[source][0], lambda: client.request("PUT", path, headers=header), {200})
        elif kind == "multipart":
            self.multipart(client, key, path, tag)
        else:
            self.attempt(key, tag, lambda: client.request("PUT", path, body(tag, size)), {200})

    def multipart(self, client: Client, key: str, path: str, tag: str) -> None:
        tag = tag.rsplit("|", 1)[0] + f"|{5 * 1024 * 1024 + 1000}"
        data = body(tag, 5 * 1024 * 1024 + 1000)
        status, _, reply = client.request("POST", path, query="uploads=")
        assert status == 200, (status, reply[:300])
        upload = reply.split(b"<UploadId>")[1].split(b"</UploadId>")[0].decode()
        parts = ""
        for number, part in enumerate([data[: 5 * 1024 * 1024], data[5 * 1024 * 1024 :]], 1):
            self.in_flight = True
            status, headers, _ = client.request("PUT", path, part, query=f"partNumber={number}&uploadId={upload}")
            assert status == 200, status
            parts += f"<Part><PartNumber>{number}</PartNumber><ETag>{headers['etag']}</ETag></Part>"
        document = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        self.attempt(key, tag, lambda: client.request("POST", path, document, query=f"uploadId={upload}"), {200})

    def attempt(self, key: str, new: str, send, wanted: set[int]) -> None:
        # Before the request leaves: from here on its outcome is possible too, until the reply is here.
        self.states[key] = self.states[key] + [new]
        self.in_flight = True
        status, _, data = send()
        if status in wanted and not (status == 200 and b"<Error>" in data):
            self.states[key] = [new]
            self.acknowledged += 1
        elif status >= 500:
            pass  # Not acknowledged; the outcome is open.
        else:
            self.failure = f"{key}: status {status}, wanted {wanted}: {data[:300]!r}"

    def check_read(self, key: str, status: int, data: bytes) -> None:
        shown = self.identify(status, data)
        allowed = self.states[key]
        if shown not in allowed:
            self.failure = f"{key}: shows {shown}, allowed {allowed}"
            return
        # A value that a read has shown may not vanish: from now on only this one counts.
        self.states[key] = [shown]

    @staticmethod
    def identify(status: int, data: bytes) -> str:
        if status == 404:
            return ABSENT
        return f"{status}:{len(data)}:{hashlib.sha256(data).hexdigest()}"


class Loop:
    def __init__(self, seed: int, arguments: list[str], plant: str | None):
        self.seed = seed
        self.server = Server(arguments=arguments, plant=plant)
        self.killed = threading.Event()
        self.random = random.Random(seed)

    def client(self) -> Client:
        key, secret = self.server.credentials()
        return Client(self.server.host, self.server.port, key, secret, timeout=REPLY_SECONDS_MAX)

    def table_client(self) -> dynamodbraw.Client:
        key, secret = self.server.credentials()
        return dynamodbraw.Client(self.server.host, self.server.port, key, secret, timeout=REPLY_SECONDS_MAX)


def shown(tag: str) -> str:
    """A state as `identify` names it."""
    if tag == ABSENT or tag.startswith("200:"):
        return tag
    data = body(tag, int(tag.rsplit("|", 1)[1]))
    return f"200:{len(data)}:{hashlib.sha256(data).hexdigest()}"


class States(dict):
    """Keeps every state in the form in which reads show it."""

    def __setitem__(self, key, states):
        super().__setitem__(key, list(dict.fromkeys(shown(state) for state in states)))


def listed(client: Client) -> set[str]:
    """Every key that the listing shows, page by page."""
    keys: set[str] = set()
    token = ""
    while True:
        query = "list-type=2&max-keys=500"
        if token:
            query = f"continuation-token={urllib.parse.quote(token, safe='')}&{query}"
        status, _, data = client.request("GET", f"/{BUCKET}", query=query)
        assert status == 200, data[:300]
        keys |= {html.unescape(key) for key in re.findall(r"<Key>(.*?)</Key>", data.decode())}
        found = re.search(r"<NextContinuationToken>(.*?)</NextContinuationToken>", data.decode())
        if not found:
            return keys
        token = html.unescape(found[1])


def check_all(loop: Loop, states: dict[str, dict[str, list[str]]]) -> tuple[int, str | None]:
    """Reads every key after a restart; gives the number of keys read and the first failure."""
    client, read = loop.client(), 0
    in_listing = listed(client)
    for of_writer in states.values():
        for key, allowed in of_writer.items():
            status, _, data = client.request("GET", f"/{BUCKET}/{key}")
            found = Writer.identify(status, data)
            read += 1
            if found not in allowed:
                return read, f"{key} shows {found}, allowed {allowed}"
            if (key in in_listing) != (found != ABSENT):
                return read, f"{key} shows {found}, and the listing says {key in in_listing}"
            of_writer[key] = [found]
    client.close()
    return read, None


def abort_uploads(loop: Loop) -> None:
    """Kills cut uploads off, and their parts would fill the disk in a long run."""
    client = loop.client()
    status, _, data = client.request("GET", f"/{BUCKET}", query="uploads=")
    assert status == 200, (status, data[:300])
    for key, upload in re.findall(r"<Upload>.*?<Key>(.*?)</Key>.*?<UploadId>(.*?)</UploadId>", data.decode(), re.DOTALL):
        query = f"uploadId={urllib.parse.quote(upload, safe='')}"
        status, _, data = client.request("DELETE", f"/{BUCKET}/{html.unescape(key)}", query=query)
        assert status == 204, (status, data[:300])
    client.close()


def verify(loop: Loop) -> str | None:
    """`zerocloud verify` on what the kill left behind; gives its complaint."""
    done = subprocess.run([str(binary()), "verify", "--data", str(loop.server.data / "data")], capture_output=True, text=True)
    return None if done.returncode == 0 else f"verify ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=20.0, help="stop counting after this long; fewer kills is a failure")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--backend", choices=["io_uring", "epoll"], default="io_uring")
    parser.add_argument("--plant", help="a fault that must be found")
    options = parser.parse_args()
    arguments = ["--shards", "2"] + (["--backend", "epoll"] if options.backend == "epoll" else [])
    loop = Loop(options.seed, arguments, options.plant)
    states: dict[str, dict[str, list[str]]] = {}
    kills = acknowledged = read = restarts = verified = open_writes = 0
    journals = [kill_tables.Journal(number) for number in range(kill_tables.WRITERS)]
    total = kill_tables.Sum()
    begun = time.monotonic()
    failure = None
    try:
        loop.server.start()
        assert loop.client().request("PUT", f"/{BUCKET}")[0] == 200
        kill_tables.make_table(loop.table_client())
        if options.plant and not loop.server.has_plant():
            raise SystemExit(f"kill loop: {binary()} does not plant {options.plant}")
        while kills < options.kills and failure is None and time.monotonic() - begun < options.minutes * 60:
            loop.killed.clear()
            writers = [Writer(number, loop) for number in range(WRITERS)]
            for writer in writers:
                name = str(writer.number)
                kept = States()
                for key, allowed in states.get(name, writer.states).items():
                    kept[key] = allowed
                writer.states = states[name] = kept
                writer.sequence = int(time.time() * 1000)
            writers += [kill_tables.TableWriter(number, journal, total, loop) for number, journal in enumerate(journals)]
            for writer in writers:
                writer.start()
            time.sleep(loop.random.uniform(0.05, 0.4))
            deadline = time.monotonic() + LOAD_SECONDS_MAX
            while True:
                in_flight = sum(writer.in_flight for writer in writers)
                done = sum(writer.acknowledged for writer in writers)
                failure = next((writer.failure for writer in writers if writer.failure), None)
                if failure or (in_flight >= IN_FLIGHT_MIN and done >= ACKNOWLEDGED_MIN):
                    break
                if time.monotonic() > deadline:
                    failure = f"only {done} acknowledged and {in_flight} in flight after {LOAD_SECONDS_MAX} s"
                    break
                time.sleep(POLL_SECONDS)
            loop.killed.set()
            loop.server.kill()
            for writer in writers:
                writer.join(REPLY_SECONDS_MAX)
                failure = failure or writer.failure
            if failure:
                break
            acknowledged += done
            interrupted = sum(writer.interrupted for writer in writers)
            if interrupted >= IN_FLIGHT_MIN:
                kills += 1
                open_writes += interrupted
            if restarts % VERIFY_EVERY == 0:
                failure = verify(loop)
                verified += 1
                if failure:
                    break
            loop.server.start()
            restarts += 1
            count, failure = check_all(loop, states)
            read += count
            if failure is None:
                count, failure = kill_tables.check_all(loop.table_client(), journals, total)
                read += count
            if failure is None:
                abort_uploads(loop)
        if failure is None and options.plant is None and kills < options.kills:
            failure = f"only {kills} of {options.kills} kills in {options.minutes} minutes"
    except Exception as error:  # A start that fails, or any end of a connection: the data is the evidence, and is kept.
        failure = f"{error!r}; the appliance {loop.server.state()}"
    finally:
        loop.killed.set()
        loop.server.kill()
        if failure is None:
            failure = verify(loop)
        if failure is None or options.plant:
            loop.server.__exit__()
    seconds = time.monotonic() - begun
    print(
        f"kill loop ({options.backend}): {kills} kills, {acknowledged} writes acknowledged, {open_writes} cut off, "
        f"{restarts} recoveries, {verified} offline checks, {read} keys and items read back, {seconds:.0f} s, seed {options.seed}"
    )
    if options.plant:
        print(f"kill loop: {options.plant} was {f'caught: {failure[:300]}' if failure else 'NOT CAUGHT: this lab proves nothing about it'}")
        return 0 if failure else 1
    if failure:
        print(f"FAILED: {failure}\ndata kept in {loop.server.data}; replay with --seed {options.seed}")
        print("".join(loop.server.log[-20:]))
        return 1
    print("kill loop: no acknowledged write lost, none half there, no read taken back")
    return 0


if __name__ == "__main__":
    sys.exit(main())
