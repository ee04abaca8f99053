"""What a disk may hold after a cut, built from a recording, and what the appliance makes of it.

An image holds every write before the last flush of a random prefix of the log, and of the writes after that flush a random
half, the last kept one torn at 512 bytes. Every tenth image is cut a second time while it recovers.
"""

import multiprocessing
import random
import shutil
import subprocess
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import block_device as device
import block_tables
from block_disk import Disk, LabFault, NotMountable, copy_sparse
from block_history import ABSENT
from block_recording import BUCKET, START_SECONDS_MAX, Recording, apply, body, client_of, state_of
from zctest.server import Server, binary

# Processes that check images of one recording. Not the number of cores: a seed makes the same images everywhere, and an
# image waits as long as it computes.
CHECKERS = 3
SECOND_CUT_EVERY = 10
VERIFY_EVERY = 10
LAB_FAULTS_MAX = 3


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


@dataclass
class Tally:
    """What checking images came to."""

    checked: int = 0
    second: int = 0
    verified: int = 0
    keys: int = 0
    unmountable: int = 0
    # A finding about the appliance.
    failure: str | None = None
    # The lab gave up.
    fault: str | None = None

    def add(self, other: "Tally") -> None:
        for name in ("checked", "second", "verified", "keys", "unmountable"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.failure, self.fault = self.failure or other.failure, self.fault or other.fault


class Images:
    """Builds and checks a share of the images of one recording."""

    def __init__(self, recording: Recording, planted: bool, share: int):
        self.recording, self.planted = recording, planted
        self.chance = random.Random(f"images/{recording.seed}/{share}")
        self.place = recording.place / f"{'planted' if planted else 'images'}-{share}"
        self.place.mkdir()
        # Holds the entries before `applied`; images are made in the order of their cuts.
        self.base = self.place / "base"
        copy_sparse(recording.image, self.base)
        self.applied = 0
        self.tally = Tally()

    def check_all(self, numbered_cuts: list[tuple[int, int]], deadline: float, stop) -> Tally:
        """Checks images until one fails, the time is over, or `stop` is set by another checker."""
        for number, cut in numbered_cuts:
            if time.monotonic() > deadline or stop.is_set():
                break
            try:
                failure = self.check(number, cut)
            except NotMountable:
                self.tally.unmountable += 1
                continue
            if failure:
                self.tally.failure = f"image {number}, cut after {cut} of {len(self.recording.entries)} entries: {failure}"
                stop.set()
                break
        shutil.rmtree(self.place, ignore_errors=True)
        return self.tally

    def check(self, number: int, cut: int) -> str | None:
        entries = self.recording.entries
        safe = last_flush(entries, cut, self.chance if self.planted else None)
        # A lying flush may reach back before what the base holds already; then the base is the older of the two.
        if safe > self.applied:
            apply(self.base, entries[self.applied : safe])
            self.applied = safe
        changes = surviving(entries[self.applied : cut], self.chance)
        place = self.place / f"image-{number}"
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
                self.tally.second += 1
            self.tally.checked += 1
            return failure
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def boot(self, place: Path, changes: list, cut: int, number: int, keep_log: bool) -> str | None:
        """Boots the image; where the lab fails meanwhile, it does so again from the start."""
        written = place.with_suffix(".changes")
        write_log(written, changes)
        for attempt in range(LAB_FAULTS_MAX):
            try:
                return self.boot_once(place, written, cut, number, keep_log)
            except LabFault:
                if attempt == LAB_FAULTS_MAX - 1:
                    raise
                shutil.rmtree(place, ignore_errors=True)
        raise AssertionError("the loop returns or raises")

    def boot_once(self, place: Path, written: Path, cut: int, number: int, keep_log: bool) -> str | None:
        """Mounts the image, starts the appliance on it and compares. A second cut takes this boot's log as far as recovery."""
        disk = Disk(place, self.base, self.recording.file_system, self.recording.options, written)
        server = Server(data=disk.root, arguments=["--shards", "2"], plant=self.recording.plant)
        try:
            disk.mount()
            failure = self.recovers(disk, server, cut, number, keep_log)
            if failure and not disk.records():
                raise LabFault("the recorder ended under an image")
            return failure
        finally:
            server.kill()
            disk.close()

    def recovers(self, disk: Disk, server: Server, cut: int, number: int, keep_log: bool) -> str | None:
        try:
            server.start(START_SECONDS_MAX)
        except RuntimeError as error:
            return f"does not start: {error}"
        if keep_log:
            return None
        try:
            failure = self.compare(server, cut)
        except Exception as error:  # OSError and many kinds of http.client for a connection that died
            failure = f"no reply: {error!r}; the appliance {server.state()}: {''.join(server.log[-20:])}"
        server.kill()
        if failure is None and number % VERIFY_EVERY == 0:
            failure = self.verify(disk)
        return failure

    def verify(self, disk: Disk) -> str | None:
        self.tally.verified += 1
        done = subprocess.run([str(binary()), "verify", "--data", str(disk.root / "data")], capture_output=True, text=True)
        return None if done.returncode == 0 else f"verify: {done.stdout[-1500:]}{done.stderr[-1500:]}"

    def compare(self, server: Server, cut: int) -> str | None:
        client = client_of(server)
        if cut >= self.recording.bucket_at:
            for key, history in self.recording.histories.items():
                status, _, data = client.request("GET", f"/{BUCKET}/{key}")
                shown = ABSENT if status == 404 and b"NoSuchKey" in data else state_of(data) if status == 200 else f"status {status}: {data[:200]!r}"
                allowed = history.allowed(cut)
                self.tally.keys += 1
                if shown not in allowed:
                    return f"{key} shows {shown}, allowed {sorted(allowed)}"
        count, finding = block_tables.compare(server, self.recording, cut)
        self.tally.keys += count
        if finding:
            return finding
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


def cuts(recording: Recording, count: int) -> list[tuple[int, int]]:
    """Numbered and in order. Most cuts lie in the load, some in the first start."""
    chance = random.Random(f"cuts/{recording.seed}")
    total, load = len(recording.entries), recording.bucket_at
    starts = count // 10
    chosen = [chance.randrange(1, load) for _ in range(starts)]
    return list(enumerate(sorted(chosen + [chance.randrange(load, total + 1) for _ in range(count - starts)])))


def check_share(pipe, images: tuple, shared: list[tuple[int, int]], deadline: float, stop) -> None:
    """Runs in a process of its own."""
    try:
        tally = Images(*images).check_all(shared, deadline, stop)
    except LabFault as fault:
        tally = Tally(fault=str(fault))
    except BaseException:
        tally = Tally(fault=traceback.format_exc())
    if tally.fault:
        stop.set()
    pipe.send(tally)


def check_images(recording: Recording, planted: bool, count: int, deadline: float) -> Tally:
    """Checks images in several processes at once; each has every so many of the cuts and a base of its own."""
    # Forked, so that the log is not copied; no thread runs here any more.
    fork = multiprocessing.get_context("fork")
    stop, numbered, checkers = fork.Event(), cuts(recording, count), []
    for share in range(CHECKERS):
        ours, theirs = fork.Pipe(duplex=False)
        images = (recording, planted, share)
        process = fork.Process(target=check_share, args=(theirs, images, numbered[share::CHECKERS], deadline, stop))
        process.start()
        theirs.close()
        checkers.append((process, ours))
    total = Tally()
    for process, pipe in checkers:
        try:
            total.add(pipe.recv())
        except EOFError:
            total.add(Tally(fault="a checker ended without a word"))
        process.join()
    return total
