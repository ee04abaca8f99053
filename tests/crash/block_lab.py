"""Power cuts under the real binary: records every write and flush below the file system, then builds images of what a disk may
hold after a cut at any moment, starts the appliance on each and compares it with what clients were told.

An image holds every write before the last flush of a random prefix of the log, and of the writes after that flush a random
half, the last kept one torn at 512 bytes. An acknowledgement, or a value that a read returned, counts for every image that is
cut after it. Every tenth image is cut a second time while it recovers. Before all that, the log replayed must equal the disk.

Always a short run with a planted fault: the disk answers three of four flushes and does not honour them. The lab must then
find lost data, or it proves nothing. `--plant NAME` runs a binary that was built with the feature `planted` and has that
fault: then a finding is what is wanted, and none is a failure.
"""

import argparse
import errno
import hashlib
import mmap
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import block_device as device  # noqa: E402
from zctest.s3raw import Client  # noqa: E402
from zctest.server import Server, binary  # noqa: E402

BUCKET = "lab"
# Sparse. Room for the prewritten logs, preallocated segments and what a run writes, so that no image is ever full.
DISK_BYTES = 4 << 30
WRITERS = 8
KEYS_PER_WRITER = 10
# Inline, batch and extents bodies, around their borders.
SIZES = [0, 1, 100, 512, 513, 4_000, 32_768, 32_769, 70_000, 300_000]
IMAGES_PER_RECORDING = 100
SECOND_CUT_EVERY = 10
VERIFY_EVERY = 10
ACKNOWLEDGED_PER_RECORDING = 1_500
PLANTED_IMAGES = 12
UNMOUNT_SECONDS_MAX = 60
ABSENT = "absent"
MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"],
    "xfs": ["mkfs.xfs", "-q", "-f", "-K"],
}


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


class Disk:
    """A recorded disk with a mounted file system."""

    def __init__(self, place: Path, image: Path, options: str, changes: Path | None = None):
        self.place, self.options = place, options
        place.mkdir()
        self.file, self.log, self.counter, self.root = (place / name for name in ("disk", "log", "count", "root"))
        self.file.touch()
        self.counter.write_bytes(bytes(device.COUNT_BYTES))
        self.root.mkdir()
        if changes is None:
            changes = place / "changes"
            changes.touch()
        command = [sys.executable, str(HERE / "block_device.py"), *map(str, (image, self.file, self.log, self.counter, changes))]
        self.server = subprocess.Popen(command)
        self.loop = ""
        with self.counter.open("rb") as counter:
            self.mapped = mmap.mmap(counter.fileno(), device.COUNT_BYTES, prot=mmap.PROT_READ)

    def count(self) -> int:
        """Entries of the log so far."""
        return struct.unpack("<Q", self.mapped[: device.COUNT_BYTES])[0]

    def mount(self) -> None:
        deadline = time.monotonic() + 30
        while self.file.stat().st_size == 0:
            if self.server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the recording device did not come up")
            time.sleep(0.005)
        self.loop = run("losetup", "-f", "--show", str(self.file)).strip()
        run("mount", "-o", self.options, self.loop, str(self.root))

    def shows(self, pages: list[int]) -> str:
        """A digest of these pages of the device."""
        return digest_of(self.file, pages)

    def unmount(self) -> None:
        # The kernel takes a killed process's ring down after the process is gone; until then its files are busy.
        deadline = time.monotonic() + UNMOUNT_SECONDS_MAX
        while os.path.ismount(self.root):
            try:
                device.unmount(str(self.root))
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def close(self) -> None:
        """Takes everything down, also after a failure half way; the log stays."""
        try:
            self.unmount()
        finally:
            if self.loop:
                # Detached once its last user is gone, so nothing stays behind even where the unmount failed.
                run("losetup", "-d", self.loop)
            device.unmount(str(self.file), device.MNT_DETACH)
        if self.server.wait(60) != 0:
            raise RuntimeError("the recording device failed")


@dataclass
class Event:
    """One request on a key: what the key shows once it is done. `ended` is None when no reply came."""

    state: str
    begun: int
    ended: int | None = None


@dataclass
class History:
    """All requests on one key, in order; there is one at a time."""

    events: list[Event] = field(default_factory=lambda: [Event(ABSENT, 0, 0)])

    def allowed(self, cut: int) -> set[str]:
        """What may be seen when the disk stopped after `cut` entries."""
        certain = max(index for index, event in enumerate(self.events) if event.ended is not None and event.ended <= cut)
        return {event.state for event in self.events[certain:] if event.begun <= cut}


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
        self.place, self.seed, self.plant = place, seed, plant
        self.image = place / "image"
        with self.image.open("wb") as image:
            image.truncate(DISK_BYTES)
        run(*MAKE[file_system], str(self.image))
        self.disk = Disk(place / "recorded", self.image, options)
        self.histories: dict[str, History] = {}
        self.bucket_at = 0

    def client(self) -> Client:
        return Client(self.server.host, self.server.port, *self.server.credentials())

    def make(self) -> None:
        """Runs the load, checks the recorder against the disk, and leaves log and image behind."""
        self.disk.mount()
        self.server = Server(data=self.disk.root, arguments=["--shards", "2"], plant=self.plant).start()
        try:
            assert self.client().request("PUT", f"/{BUCKET}")[0] == 200
            if self.plant and not self.server.has_plant():
                raise RuntimeError(f"{binary()} does not plant {self.plant}")
            self.bucket_at = self.disk.count()
            writers = [Writer(number, self) for number in range(WRITERS)]
            for writer in writers:
                writer.start()
            for writer in writers:
                writer.join()
                if writer.failure:
                    raise RuntimeError(f"under load: {writer.failure}")
                self.histories |= writer.histories
        finally:
            self.server.kill()
        self.disk.unmount()
        self.entries = list(device.entries(self.disk.log))
        touched = sorted({page for entry in self.entries if entry[0] != device.FLUSH for page in pages_of(entry)})
        shown = self.disk.shows(touched)
        self.disk.close()
        replayed = self.place / "replayed"
        copy_sparse(self.image, replayed)
        apply(replayed, self.entries)
        if digest_of(replayed, touched) != shown:
            raise RuntimeError("the log replayed is not what the disk holds: the recorder is wrong")
        replayed.unlink()

    def acknowledged(self) -> int:
        return sum(event.ended is not None for history in self.histories.values() for event in history.events[1:])


def copy_sparse(source: Path, target: Path) -> None:
    run("cp", "--sparse=always", str(source), str(target))


def pages_of(entry: tuple) -> range:
    _, offset, _, length = entry
    return range(offset // device.PAGE, (offset + length + device.PAGE - 1) // device.PAGE)


def digest_of(path: Path, pages: list[int]) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as source:
        for page in pages:
            digest.update(os.pread(source.fileno(), device.PAGE, page * device.PAGE))
    return digest.hexdigest()


def apply(image: Path, entries: list) -> None:
    with image.open("r+b") as target:
        for kind, offset, data, length in entries:
            if kind != device.FLUSH:
                os.pwrite(target.fileno(), data if kind == device.WRITE else bytes(length), offset)


def write_log(path: Path, entries: list) -> None:
    with path.open("wb") as log:
        for kind, offset, data, length in entries:
            log.write(device.ENTRY.pack(kind, length // device.SECTOR, offset // device.SECTOR) + data)


def surviving(entries: list, chance: random.Random) -> list:
    """What is left of the writes after the last flush: a random half, the last one torn."""
    # Sometimes nearly everything or nearly nothing is left, where order alone decides.
    share = chance.choice([0.1, 0.5, 0.5, 0.5, 0.9])
    kept = [entry for entry in entries if chance.random() < share]
    if kept and kept[-1][0] == device.WRITE:
        kind, offset, data, length = kept.pop()
        torn = chance.randrange(0, length // device.SECTOR + 1) * device.SECTOR
        kept.append((kind, offset, data[:torn], torn))
    return kept


def last_flush(entries: list, cut: int, lies: random.Random | None) -> int:
    """The entries that are safe at the cut: all before the last flush. A lying disk honours one flush in four."""
    for index in range(cut - 1, -1, -1):
        if entries[index][0] == device.FLUSH and (lies is None or lies.random() < 0.25):
            return index
    return 0


class Images:
    """Builds and checks the images of one recording."""

    def __init__(self, recording: Recording, options: str, seed: int, planted: bool):
        self.recording, self.options, self.planted = recording, options, planted
        self.chance = random.Random(f"images/{seed}")
        # Holds the entries before `applied`; images are made in the order of their cuts.
        self.base = recording.place / "base"
        copy_sparse(recording.image, self.base)
        self.applied = 0
        self.checked = self.second = self.verified = self.keys = 0

    def cuts(self, count: int) -> list[int]:
        """Most cuts lie in the load, some in the first start."""
        total, load = len(self.recording.entries), self.recording.bucket_at
        starts = count // 10
        cuts = [self.chance.randrange(1, load) for _ in range(starts)]
        return sorted(cuts + [self.chance.randrange(load, total + 1) for _ in range(count - starts)])

    def check_all(self, count: int) -> str | None:
        for number, cut in enumerate(self.cuts(count)):
            failure = self.check(number, cut)
            if failure:
                return f"image {number}, cut after {cut} of {len(self.recording.entries)} entries: {failure}"
        return None

    def check(self, number: int, cut: int) -> str | None:
        entries = self.recording.entries
        safe = last_flush(entries, cut, self.chance if self.planted else None)
        # A lying flush may reach back before what the base holds already; then the base is the older of the two.
        if safe > self.applied:
            apply(self.base, entries[self.applied : safe])
            self.applied = safe
        changes = surviving(entries[self.applied : cut], self.chance)
        place = self.recording.place / f"image-{number}"
        place.mkdir()
        try:
            second = number % SECOND_CUT_EVERY == SECOND_CUT_EVERY - 1
            failure = self.boot(place / "first", changes, cut, number, keep_log=second)
            if failure is None and second:
                again = list(device.entries(place / "first" / "log"))
                cut_again = self.chance.randrange(len(again) + 1)
                safe_again = last_flush(again, cut_again, None)
                changes = changes + again[:safe_again] + surviving(again[safe_again:cut_again], self.chance)
                failure = self.boot(place / "second", changes, cut, number, keep_log=False)
                self.second += 1
            self.checked += 1
            return failure
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def boot(self, place: Path, changes: list, cut: int, number: int, keep_log: bool) -> str | None:
        """Mounts the image, starts the appliance on it and compares. A second cut takes this boot's log as far as recovery."""
        written = place.with_suffix(".changes")
        write_log(written, changes)
        disk = Disk(place, self.base, self.options, written)
        server = None
        try:
            try:
                disk.mount()
            except RuntimeError as error:
                return f"not mountable: {error}"
            server = Server(data=disk.root, arguments=["--shards", "2"], plant=self.recording.plant)
            try:
                server.start()
            except RuntimeError as error:
                return f"does not start: {error}"
            if keep_log:
                return None
            failure = self.compare(server, cut)
            server.kill()
            if failure is None and number % VERIFY_EVERY == 0:
                failure = self.verify(disk)
            return failure
        finally:
            if server is not None:
                server.kill()
            disk.close()

    def verify(self, disk: Disk) -> str | None:
        self.verified += 1
        done = subprocess.run([str(binary()), "verify", "--data", str(disk.root / "data")], capture_output=True, text=True)
        return None if done.returncode == 0 else f"verify: {done.stdout[-1500:]}{done.stderr[-1500:]}"

    def compare(self, server: Server, cut: int) -> str | None:
        client = Client(server.host, server.port, *server.credentials())
        if cut >= self.recording.bucket_at:
            for key, history in self.recording.histories.items():
                status, _, data = client.request("GET", f"/{BUCKET}/{key}")
                shown = ABSENT if status == 404 and b"NoSuchKey" in data else state_of(data) if status == 200 else f"status {status}: {data[:200]!r}"
                allowed = history.allowed(cut)
                self.keys += 1
                if shown not in allowed:
                    return f"{key} shows {shown}, allowed {sorted(allowed)}"
        # It also takes new writes.
        status, _, data = client.request("PUT", f"/{BUCKET}")
        if status != 200 and b"BucketAlreadyOwnedByYou" not in data:
            return f"creating the bucket after recovery: {status} {data[:200]!r}"
        fresh = body(f"fresh {cut}", 40_000)
        status, _, data = client.request("PUT", f"/{BUCKET}/fresh", fresh)
        if status != 200 or client.request("GET", f"/{BUCKET}/fresh")[2] != fresh:
            return f"a write after recovery: {status} {data[:200]!r}"
        client.close()
        return None


def why_not() -> str | None:
    """What this machine lacks for the lab."""
    if os.geteuid() != 0:
        return "mounting needs root"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse is not there or not accessible"
    found = subprocess.run(["losetup", "-f"], capture_output=True, text=True)
    if found.returncode != 0 or not Path(found.stdout.strip()).exists():
        return "there is no free loop device"
    for tool in ("mkfs.ext4", "mkfs.xfs", "unshare"):
        if shutil.which(tool) is None:
            return f"{tool} is missing"
    tried = subprocess.run(["unshare", "-m", "--propagation", "private", "true"], capture_output=True, text=True)
    return None if tried.returncode == 0 else f"no mount namespaces: {tried.stderr.strip()}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=28.0, help="stop after this long; fewer images is a failure")
    parser.add_argument("--file-systems", default="ext4,xfs")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--plant", help="a fault that must be found")
    parser.add_argument("--demanded", action="store_true", help="fail where the lab cannot run")
    parser.add_argument("--in-namespace", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.in_namespace:
        reason = why_not()
        if reason:
            print(f"block lab: not run: {reason}")
            return 1 if options.demanded else 0
        # A mount namespace of our own: another one could pin the mount, and unmounting would never free the device.
        command = ["unshare", "-m", "--propagation", "private", sys.executable, str(Path(__file__)), *sys.argv[1:]]
        return subprocess.run([*command, f"--seed={options.seed}", "--in-namespace"]).returncode
    return lab(options)


def lab(options: argparse.Namespace) -> int:
    begun = time.monotonic()
    chance = random.Random(options.seed)
    parent = Path(os.environ.get("ZEROCLOUD_TEST_DIR", tempfile.gettempdir()))
    totals = dict.fromkeys(("images", "second", "verified", "keys", "acknowledged", "entries"), 0)
    failure, caught, number = None, None, 0
    kinds = [(name, discard) for discard in ("nodiscard", "discard") for name in options.file_systems.split(",")]
    while failure is None and totals["images"] < options.images and time.monotonic() - begun < options.minutes * 60:
        file_system, discard = kinds[number % len(kinds)]
        place = Path(tempfile.mkdtemp(prefix="zerocloud-lab-", dir=parent))
        seed = chance.randrange(1 << 32)
        try:
            recording = Recording(place, seed, file_system, f"{discard}", options.plant)
            recording.make()
            if caught is None and options.plant is None:
                planted = Images(recording, discard, seed, planted=True)
                caught = planted.check_all(PLANTED_IMAGES)
                if caught is None:
                    failure = "a disk that lies about three of four flushes was not caught: the lab proves nothing"
                    break
            images = Images(recording, discard, seed, planted=False)
            failure = images.check_all(min(IMAGES_PER_RECORDING, options.images - totals["images"]))
            for name, value in (("images", images.checked), ("second", images.second), ("verified", images.verified), ("keys", images.keys)):
                totals[name] += value
            totals["acknowledged"] += recording.acknowledged()
            totals["entries"] += len(recording.entries)
            if failure:
                failure = f"{file_system}, {discard}: {failure}"
        finally:
            shutil.rmtree(place, ignore_errors=True)
        number += 1
    if failure is None and options.plant is None and totals["images"] < options.images:
        failure = f"only {totals['images']} of {options.images} images in {options.minutes} minutes"
    print(
        f"block lab: {totals['images']} images of {number} recordings ({options.file_systems}), {totals['second']} cut twice, "
        f"{totals['verified']} verified offline, {totals['acknowledged']} acknowledgements, {totals['entries']} log entries, "
        f"{totals['keys']} keys compared, {time.monotonic() - begun:.0f} s, seed {options.seed}"
    )
    if options.plant:
        print(f"block lab: {options.plant} was {f'caught: {failure[:300]}' if failure else 'NOT CAUGHT: this lab proves nothing about it'}")
        return 0 if failure else 1
    if failure:
        print(f"FAILED: {failure}\nreplay with --seed {options.seed}")
        return 1
    print(f"block lab: the planted fault was caught: {caught[:200]}")
    print("block lab: no acknowledged write lost, none half there, no read taken back")
    return 0


if __name__ == "__main__":
    sys.exit(main())
