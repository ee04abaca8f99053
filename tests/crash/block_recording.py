"""One run of the appliance under load on a recorded disk, with a journal of what its clients were told, and when.

The moment of an acknowledgement is the number of log entries that the recorder had counted when it came.
"""

import hashlib
import os
import random
import threading
from pathlib import Path

import block_device as device
import block_tables
from block_disk import Disk, LabFault, NotMountable, copy_sparse, digest_of, make_file_system
from block_history import ABSENT, Event, History
from zctest.s3raw import Client
from zctest.server import Server, binary

BUCKET = "lab"
# Sparse. Room for the prewritten logs, preallocated segments and what a run writes, so that no image is ever full.
DISK_BYTES = 4 << 30
WRITERS = 8
KEYS_PER_WRITER = 10
# Inline, batch and extents bodies, around their borders.
SIZES = [0, 1, 100, 512, 513, 4_000, 32_768, 32_769, 70_000, 300_000]
ACKNOWLEDGED_PER_RECORDING = 1_500
# A stalled machine is no finding: these are waits for something that comes, not limits of the appliance.
START_SECONDS_MAX = 300
REPLY_SECONDS_MAX = 300


class LoadFailed(Exception):
    """The appliance failed under load, on a disk that did not."""


def body(tag: str, size: int) -> bytes:
    block = hashlib.sha256(tag.encode()).digest()
    return (block * (size // len(block) + 1))[:size]


def state_of(data: bytes) -> str:
    return f"{len(data)}:{hashlib.sha256(data).hexdigest()}"


class Writer(threading.Thread):
    """One client with keys of its own."""

    def __init__(self, number: int, recording: "Recording"):
        super().__init__(daemon=True)
        self.number, self.recording = number, recording
        self.random = random.Random(f"{recording.seed}/{number}")
        self.histories = {f"w{number}/k{n}": History() for n in range(KEYS_PER_WRITER)}
        self.failure: str | None = None

    def run(self) -> None:
        client = self.recording.client()
        try:
            for step in range(ACKNOWLEDGED_PER_RECORDING // WRITERS):
                self.step(client, step, self.random.choice(list(self.histories)))
        except Exception as error:  # Any end of the load but its own is a failed recording.
            self.failure = f"{error!r}"
        client.close()

    def step(self, client: Client, step: int, key: str) -> None:
        kind = self.random.choices(["put", "copy", "multipart", "delete", "get"], [60, 8, 2, 12, 18])[0]
        history, path, count = self.histories[key], f"/{BUCKET}/{key}", self.recording.disk.count
        current = history.events[-1].state
        data = body(f"{key}|{step}", self.random.choice(SIZES))
        if kind == "get":
            status, _, read = client.request("GET", path)
            shown = ABSENT if status == 404 else state_of(read)
            assert shown == current, f"{key} shows {shown}, wanted {current}"
            # Read is as good as acknowledged, from here on.
            history.events.append(Event(shown, history.events[-1].begun, count()))
        elif kind == "delete":
            event = self.begin(history, ABSENT)
            self.finish(event, client.request("DELETE", path), 204)
        elif kind == "copy":
            source, found = self.random.choice([(key, h) for key, h in self.histories.items()])
            if source == key or found.events[-1].state == ABSENT:
                return
            event = self.begin(history, found.events[-1].state)
            self.finish(event, client.request("PUT", path, headers={"x-amz-copy-source": f"/{BUCKET}/{source}"}), 200)
        elif kind == "multipart":
            self.multipart(client, history, path, body(f"{key}|{step}", (5 << 20) + 777))
        else:
            event = self.begin(history, state_of(data))
            self.finish(event, client.request("PUT", path, data), 200)

    def multipart(self, client: Client, history: History, path: str, data: bytes) -> None:
        _, _, reply = client.request("POST", path, query="uploads=")
        upload = reply.split(b"<UploadId>")[1].split(b"</UploadId>")[0].decode()
        parts = ""
        for number, part in enumerate([data[: 5 << 20], data[5 << 20 :]], 1):
            status, headers, _ = client.request("PUT", path, part, query=f"partNumber={number}&uploadId={upload}")
            assert status == 200, status
            parts += f"<Part><PartNumber>{number}</PartNumber><ETag>{headers['etag']}</ETag></Part>"
        event = self.begin(history, state_of(data))
        document = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        self.finish(event, client.request("POST", path, document, query=f"uploadId={upload}"), 200)

    def begin(self, history: History, state: str) -> Event:
        event = Event(state, self.recording.disk.count())
        history.events.append(event)
        return event

    def finish(self, event: Event, reply: tuple[int, dict[str, str], bytes], wanted: int) -> None:
        status, _, data = reply
        assert status == wanted and b"<Error>" not in data, (status, data[:300])
        event.ended = self.recording.disk.count()


class Recording:
    """One run of the appliance on a fresh recorded disk under load."""

    def __init__(self, place: Path, seed: int, file_system: str, options: str, plant: str | None):
        self.place, self.seed, self.plant, self.file_system, self.options = place, seed, plant, file_system, options
        self.image = place / "image"
        make_file_system(self.image, file_system, DISK_BYTES)
        self.disk = Disk(place / "recorded", self.image, file_system, options)
        self.histories: dict[str, History] = {}
        self.bucket_at = 0
        self.table_at = 0
        self.table_writers: list = []

    def client(self) -> Client:
        return client_of(self.server)

    def make(self) -> None:
        """Runs the load, checks the recorder against the disk, and leaves log and image behind."""
        try:
            self.disk.mount()
            self.server = Server(data=self.disk.root, arguments=["--shards", "2"], plant=self.plant)
            try:
                self.load()
            except Exception as error:
                if not self.disk.records():
                    raise LabFault("the recorder ended under load") from error
                raise LoadFailed(f"{error}\n{''.join(self.server.log[-20:])}") from error
            finally:
                self.server.kill()
            self.disk.unmount()
            self.entries = list(device.entries(self.disk.log))
            touched = sorted({page for entry in self.entries if entry[0] != device.FLUSH for page in pages_of(entry)})
            shown = self.disk.shows(touched)
        except NotMountable as fault:
            raise LabFault(f"a fresh file system: {fault}") from fault
        finally:
            self.disk.close()
        replayed = self.place / "replayed"
        copy_sparse(self.image, replayed)
        apply(replayed, self.entries)
        if digest_of(replayed, touched) != shown:
            raise LabFault("the log replayed is not what the disk holds: the recorder is wrong")
        replayed.unlink()

    def load(self) -> None:
        self.server.start(START_SECONDS_MAX)
        status, _, data = self.client().request("PUT", f"/{BUCKET}")
        assert status == 200, (status, data[:300])
        if self.plant and not self.server.has_plant():
            raise SystemExit(f"block lab: {binary()} does not plant {self.plant}")
        self.bucket_at = self.disk.count()
        tables = block_tables.load(self)
        writers = [Writer(number, self) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
            self.histories |= writer.histories
        for writer in tables:
            writer.join()
        writers += tables
        assert not any(writer.failure for writer in writers), next(writer.failure for writer in writers if writer.failure)

    def acknowledged(self) -> int:
        histories = [*self.histories.values()] + [history for writer in self.table_writers for history in writer.histories.values()]
        return sum(event.ended is not None for history in histories for event in history.events[1:])


def client_of(server: Server) -> Client:
    return Client(server.host, server.port, *server.credentials(), timeout=REPLY_SECONDS_MAX)


def pages_of(entry: tuple) -> range:
    _, offset, _, length = entry
    return range(offset // device.PAGE, (offset + length + device.PAGE - 1) // device.PAGE)


def apply(image: Path, entries: list) -> None:
    with image.open("r+b") as target:
        for kind, offset, data, length in entries:
            if kind != device.FLUSH:
                os.pwrite(target.fileno(), data if kind == device.WRITE else bytes(length), offset)
