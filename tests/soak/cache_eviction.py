"""A build cache full with a million blobs, that evicts as fast as it is written to: how reads fare, and whether it keeps its limit.

The appliance is filled to below where eviction begins. Then it gets writes at a fixed rate and reads beside them, first for as
long as that does not fill it, then, made full, for ten minutes in which each write has something evicted, and at the end,
after a collection, once more without eviction, so that a machine that becomes slower is not taken for a cache that does. Reads
ask for more blobs than the appliance keeps in memory, which are read all the time, so that their leases keep them: a miss among
them ends the run. Demanded: every write is taken, nine of ten of them have something evicted, the 99th percentile of the reads
under eviction is at most twice that without, no read waits for seconds, what is stored never exceeds the limit by more than one
hundredth, by the appliance's figures and by the blocks that its directory takes, and the cache is still full at the end.

Of the directory the bodies and the index count, less what they take in an empty appliance. The log, whose segments are kept to
be written again, and the room that is reserved for bad days are as large as they are whatever is stored; they are shown besides.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from zctest.server import ROOT, Server, binary  # noqa: E402

TOKEN = "cache-eviction-write-token"
# Of a body; by equal chances, and then as many smaller ones as make a million of them 8 GB.
BODY_BYTES_MIN, BODY_BYTES_MAX, BODY_BYTES_MIDDLE = 1_024, 16_384, 8_192
# Of a hundred blobs so many are of all sizes, the others of the smaller ones.
LARGE_PERCENT = 60
# Short, so that what was put three minutes ago may go. Each blob that is read is read about twenty times as often.
LEASE_SECONDS = 180
READ_BLOBS = 12_000
# Where eviction begins and ends, in hundredths of the limit.
BEGINS_PERCENT, ENDS_PERCENT = 95, 90
OVER_LIMIT = 1.01
READ_P99_RATIO_MAX = 2.0
READ_MAX_US = 2_000_000
# Of the writes so many have something evicted, and so much of the limit is stored at the end.
EVICTED_SHARE = 0.9
FULL_SHARE = 0.85
FILL_CHUNKS = 40
# Below each shard's directory.
COUNTED_DIRECTORIES = ("extents", "packed", "index")
BESIDE = "beside"
# stat(2): st_blocks are of this size on every file system.
BLOCK_BYTES = 512
# zerobench: the measured time does not count, and what comes before it does not fail.
VOID = 1
SAMPLE_SECONDS = 1.0
# Of the samples.
SHOWN_EACH = 30
LOAD_SECONDS_MARGIN = 120


@dataclass
class Watch:
    """What is stored, asked for all the time."""

    server: Server
    limit_bytes: int
    empty_directory_bytes: int = 0
    most_stored: int = 0
    most_kept: int = 0
    most_directory: int = 0
    at_most_directory: str = ""
    most_beside: int = 0
    samples: int = 0
    failure: str | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    def ask(self, method: str, path: str, body: str | None = None, token: str = TOKEN) -> dict:
        connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=120)
        try:
            connection.request(method, path, body, headers={"Authorization": f"Bearer {token}"})
            reply = connection.getresponse()
            data = reply.read()
        finally:
            connection.close()
        if reply.status not in (200, 202):
            raise SystemExit(f"cache-eviction: {method} {path} is answered {reply.status}: {data[:300]!r}")
        return json.loads(data)

    def stats(self) -> dict:
        return self.ask("GET", "/api/v1/stats")

    def directory_bytes(self) -> dict[str, int]:
        """Blocks of all files that grow with what is stored, by their directories, and of the others as `beside`."""
        taken = dict.fromkeys((*COUNTED_DIRECTORIES, BESIDE), 0)
        for place, _, names in os.walk(self.server.data / "data"):
            kind = os.path.basename(place)
            for name in names:
                try:
                    blocks = os.stat(os.path.join(place, name)).st_blocks
                except FileNotFoundError:
                    continue
                taken[kind if kind in COUNTED_DIRECTORIES else BESIDE] += blocks * BLOCK_BYTES
        return taken

    def sample(self) -> None:
        stats = self.stats()
        self.most_stored = max(self.most_stored, stats["stored_bytes"] + stats["kept_bytes"])
        self.most_kept = max(self.most_kept, stats["kept_bytes"])
        taken = self.directory_bytes()
        beside = taken.pop(BESIDE)
        counted = sum(taken.values()) - self.empty_directory_bytes
        if counted > self.most_directory:
            self.most_directory, self.at_most_directory = counted, f"{taken}, {stats['stored_bytes']:,} stored, {stats['kept_bytes']:,} kept"
        self.most_beside = max(self.most_beside, beside)
        self.samples += 1
        if self.samples % SHOWN_EACH == 0:
            kept = stats["kept_bytes"]
            print(f"cache-eviction: {stats['objects']:,} blobs, {stats['stored_bytes']:,} bytes and {kept:,} gone and not given back; {counted:,} in its directory: {taken}", flush=True)

    def run(self) -> None:
        try:
            while not self.ended.wait(SAMPLE_SECONDS):
                self.sample()
        except (Exception, SystemExit) as error:
            self.failure = f"what is stored cannot be asked for any more: {error!r}"


def zerobench(server: Server, *arguments: str) -> list[str]:
    binary = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "zerobench"
    return [str(binary), "run", "--url", server.url, "--token", TOKEN, *arguments]


def sizes(largest: int) -> list[str]:
    return ["--value-bytes", str(BODY_BYTES_MIN), "--value-bytes-max", str(largest)]


def ran(command: list[str]) -> None:
    """Runs a load for what it puts before the clock; whether the machine then keeps a pace is no matter."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, VOID):
        raise SystemExit(f"cache-eviction: a load ended with {done.returncode}: {done.stdout}{done.stderr}")


def fill(watch: Watch, up_to_bytes: int, seed: int, blobs_in_chunk: int) -> int:
    """Puts blobs until so much is stored; gives the next seed."""
    while (stats := watch.stats())["stored_bytes"] < up_to_bytes:
        left = (up_to_bytes - stats["stored_bytes"]) // (BODY_BYTES_MAX // 2) + 1
        count = min(blobs_in_chunk, left)
        for largest, part in [(BODY_BYTES_MAX, LARGE_PERCENT), (BODY_BYTES_MIDDLE, 100 - LARGE_PERCENT)]:
            chunk = ["--keys", str(max(count * part // 100, 1)), "--seed", str(seed), "--closed", "--warm-up", "0", "--seconds", "0.1"]
            ran(zerobench(watch.server, *chunk, "cache-get", *sizes(largest)))
            seed += 1
        print(f"cache-eviction: {stats['objects']:,} blobs, {stats['stored_bytes']:,} bytes", flush=True)
    return seed


def collect(watch: Watch, to_bytes: int) -> None:
    """Makes room for a phase without eviction."""
    # What was written last is leased.
    time.sleep(LEASE_SECONDS)
    token = ["token", "create", "--scope", "cache:admin", "--name", "collects", "--data", str(watch.server.data / "data")]
    made = subprocess.run([str(binary()), *token], capture_output=True, text=True, check=True)
    admin = made.stdout.strip()
    begun = watch.ask("POST", "/api/v1/gc", json.dumps({"target_bytes": to_bytes}), admin)
    while not watch.ask("GET", f"/api/v1/gc/{begun['id']}", token=admin)["done"]:
        time.sleep(1)


@dataclass
class Phase:
    """What a phase came to."""

    read_p99_us: float
    read_max_us: float
    write_p99_us: float
    reads: int
    writes: int


def phase(watch: Watch, seconds: int, options: argparse.Namespace) -> Phase:
    """Writes at a fixed rate with reads beside them."""
    with tempfile.TemporaryDirectory() as directory:
        loads = []
        for name, rate, more in [
            ("write", options.writes, ["cache-put"]),
            ("read", options.reads, ["cache-get", "--keys", str(READ_BLOBS)]),
        ]:
            out = Path(directory) / name
            paced = ["--rate", str(rate), "--poisson", "--connections", "16", "--warm-up", "1", "--seconds", str(seconds), "--json", str(out)]
            command = zerobench(watch.server, *paced, *more, *sizes(BODY_BYTES_MAX))
            loads.append((name, out, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)))
        told, said = {}, {}
        for name, out, process in loads:
            said[name], _ = process.communicate(timeout=seconds + LOAD_SECONDS_MARGIN)
        for name, out, process in loads:
            if process.returncode != 0:
                raise SystemExit(f"cache-eviction: the {name}s ended with {process.returncode}:\n" + "\n".join(said.values()))
            told[name] = json.loads(out.read_text())["peers"][0]["rounds"][0]
    read, write = told["read"], told["write"]
    return Phase(read["p99_us"], read["max_us"], write["p99_us"], read["good_count"], write["good_count"])


def calm_p99_us(calm: list[Phase]) -> float:
    return sum(phase.read_p99_us for phase in calm) / len(calm)


def judge(watch: Watch, calm: list[Phase], evicting: Phase, evicted: int, stored_at_end: int) -> list[str]:
    """What is not as it must be."""
    failures = [watch.failure] if watch.failure else []
    ratio = evicting.read_p99_us / calm_p99_us(calm)
    if ratio > READ_P99_RATIO_MAX:
        failures.append(f"the reads' p99 is {ratio:.2f} times that without eviction")
    if evicting.read_max_us > READ_MAX_US:
        failures.append(f"a read waited {evicting.read_max_us / 1e6:.1f} s under eviction")
    for name, most in [("figures", watch.most_stored), ("directory", watch.most_directory)]:
        if most > watch.limit_bytes * OVER_LIMIT:
            failures.append(f"by its {name} it held {most:,} bytes, {most / watch.limit_bytes - 1:.1%} above the limit")
    # Else nothing was shown.
    if evicted < evicting.writes * EVICTED_SHARE:
        failures.append(f"only {evicted:,} blobs were evicted while {evicting.writes:,} were written")
    if stored_at_end < watch.limit_bytes * FULL_SHARE:
        failures.append(f"only {stored_at_end:,} bytes were stored at the end")
    return failures


def self_test() -> None:
    """The judgement, so that one that cannot fail is noticed."""
    watch = Watch(Server.__new__(Server), 1_000, most_stored=1_010, most_directory=1_010)
    calm, evicting = [Phase(90, 0, 0, 0, 0), Phase(110, 0, 0, 0, 0)], Phase(200, 2_000_000, 0, 0, 100)
    assert judge(watch, calm, evicting, 90, 850) == []
    assert judge(watch, calm, Phase(201, 0, 0, 0, 100), 90, 850) and judge(watch, calm, evicting, 89, 850)
    assert judge(watch, calm, Phase(200, 2_000_001, 0, 0, 100), 90, 850) and judge(watch, calm, evicting, 90, 849)
    watch.most_stored = 1_011
    assert judge(watch, calm, evicting, 90, 850)
    watch.most_stored, watch.most_directory = 1_010, 1_011
    assert judge(watch, calm, evicting, 90, 850)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit-bytes", type=int, default=8_000_000_000)
    parser.add_argument("--seconds", type=int, default=600, help="under eviction")
    parser.add_argument("--calm-seconds", type=int, default=180, help="without")
    parser.add_argument("--writes", type=int, default=1_000, help="a second")
    parser.add_argument("--reads", type=int, default=1_500, help="a second")
    options = parser.parse_args()
    self_test()
    limit = options.limit_bytes
    config = f'[cache]\nmax_bytes = "{limit}"\nlease_seconds = {LEASE_SECONDS}\n'
    began = time.monotonic()
    server = Server(config=config)
    server.serve_environment["ZIM_CACHE_WRITE_TOKEN"] = TOKEN
    with server:
        watch = Watch(server, limit)
        taken = watch.directory_bytes()
        watch.empty_directory_bytes = sum(taken.values()) - taken[BESIDE]
        print(f"cache-eviction: an empty appliance takes {watch.empty_directory_bytes:,} bytes", flush=True)
        thread = threading.Thread(target=watch.run, daemon=True)
        thread.start()
        mean_bytes = (BODY_BYTES_MIN + BODY_BYTES_MAX) // 2 + 1_024
        calm_bytes = (options.calm_seconds + 2) * options.writes * mean_bytes + READ_BLOBS * mean_bytes
        begins = limit * BEGINS_PERCENT // 100
        if calm_bytes > begins // 2:
            raise SystemExit("cache-eviction: without eviction the writes do not fit; take fewer seconds")
        chunk = max(limit // mean_bytes // FILL_CHUNKS, 100)
        seed = fill(watch, begins - calm_bytes, 1_000, chunk)
        print(f"cache-eviction: filled after {time.monotonic() - began:.0f} s", flush=True)
        before = watch.stats()
        calm = phase(watch, options.calm_seconds, options)
        after = watch.stats()
        if after["objects"] < before["objects"] + calm.writes:
            raise SystemExit("cache-eviction: something was evicted below the limit")
        print(f"cache-eviction: without eviction: {calm}", flush=True)
        # Above where eviction ends, so that it begins soon.
        fill(watch, limit * (BEGINS_PERCENT + ENDS_PERCENT) // 200, seed, chunk)
        full = watch.stats()
        print(f"cache-eviction: full: {full['objects']:,} blobs, {full['stored_bytes']:,} bytes", flush=True)
        evicting = phase(watch, options.seconds, options)
        end = watch.stats()
        evicted = full["objects"] + evicting.writes - end["objects"]
        collect(watch, begins - calm_bytes)
        calm = [calm, phase(watch, options.calm_seconds, options)]
        print(f"cache-eviction: without eviction, again: {calm[1]}", flush=True)
        watch.ended.set()
        thread.join()
        watch.sample()
    print(f"cache-eviction: with eviction: {evicting}")
    print(f"cache-eviction: {full['objects']:,} blobs, {evicted:,} evicted while {evicting.writes:,} were written; at the end {end['objects']:,}")
    print(f"cache-eviction: of {limit:,} bytes at most {watch.most_stored / limit:.2%} by its figures ({watch.most_kept / limit:.2%} of it gone and not given back), {watch.most_directory / limit:.2%} by its directory; at most {watch.most_beside:,} bytes of log and reserve beside; {watch.samples} samples")
    print(f"cache-eviction: its directory held most with {watch.at_most_directory}")
    print(f"cache-eviction: p99 of reads {evicting.read_p99_us / calm_p99_us(calm):.2f} times that without eviction; {time.monotonic() - began:.0f} s")
    failures = judge(watch, calm, evicting, evicted, end["stored_bytes"])
    for failure in failures:
        print(f"FAILED: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
