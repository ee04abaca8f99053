"""The rate of durable puts into a large table beside that into an empty one, in turns, each over at least ten folds.

Two appliances run side by side; one is filled first. Then each gets the same load in turn, under keys that are new, until both
have folded often enough. A turn is several loads in a row, so that most of its folds run beside its puts, and ends when its
last fold has ended, so that none runs in the other's turn. The CPU time is the server's, folds included. Nothing is judged but
that every put was answered 200: rates of one machine are not another's.
"""

import argparse
import os
import re
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from zctest.server import ROOT, Server  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
# A load ends before the generator has used up what it signed ahead.
LOAD_SECONDS = 8
LOADS_IN_A_TURN = 5
RATE = re.compile(r"^([\d.]+) requests/s, ", re.MULTILINE)
# An appliance that folded nothing for so long folds nothing more of what a turn left behind, unless it is old.
REST_SECONDS = 5


@dataclass
class Counts:
    """What an appliance has done since it started."""

    puts: int
    failed: int
    folds: int
    cpu_seconds: float

    def since(self, before: "Counts") -> "Counts":
        return Counts(
            self.puts - before.puts, self.failed - before.failed, self.folds - before.folds, self.cpu_seconds - before.cpu_seconds
        )


@dataclass
class Lane:
    """One of the two tables."""

    name: str
    server: Server
    rates: list[float] = field(default_factory=list)
    folds: int = 0
    puts: int = 0
    cpu_seconds: float = 0


def counts(server: Server) -> Counts:
    with urllib.request.urlopen(f"{server.url}/-/metrics", timeout=30) as answer:
        text = answer.read().decode()
    puts = failed = folds = 0
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith("zerocloud_requests_total{") and 'operation="PutItem"' in name:
            good = 'status="2' in name
            puts, failed = puts + (int(value) if good else 0), failed + (0 if good else int(value))
        elif name.startswith("zerocloud_shard_folds_total"):
            folds += int(value)
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return Counts(puts, failed, folds, (int(fields[11]) + int(fields[12])) / TICKS)


def load(server: Server, zerobench: Path, seed: int, item_bytes: int) -> tuple[Counts, float]:
    """One load: what it did, and the rate that the generator saw."""
    before = counts(server)
    key, secret = server.credentials()
    command = [str(zerobench), "run", "--url", server.url, "--pid", str(server.pid), "--access-key", key, "--secret-key", secret]
    command += ["--closed", "--connections", "64", "--warm-up", "0.5", "--seconds", str(LOAD_SECONDS), "--seed", str(seed)]
    command += ["ddb-put", "--value-bytes", str(item_bytes), "--distribution", "unique"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"table-growth: the load ended with {done.returncode}: {done.stdout}{done.stderr}")
    rate = RATE.search(done.stdout)
    if rate is None:
        raise SystemExit(f"table-growth: no rate in what the load printed:\n{done.stdout}")
    did = counts(server).since(before)
    if did.failed:
        raise SystemExit(f"table-growth: {did.failed} puts were refused")
    return did, float(rate.group(1))


def rest(server: Server) -> None:
    """Until the folds have ended."""
    folds = counts(server).folds
    while True:
        time.sleep(REST_SECONDS)
        now = counts(server).folds
        if now == folds:
            return
        folds = now


def turn(lane: Lane, zerobench: Path, seed: int, item_bytes: int) -> int:
    """One turn of the load; gives the seed of the next one."""
    before = counts(lane.server)
    for _ in range(LOADS_IN_A_TURN):
        lane.rates.append(load(lane.server, zerobench, seed, item_bytes)[1])
        seed += 1
    rest(lane.server)
    did = counts(lane.server).since(before)
    lane.folds, lane.puts, lane.cpu_seconds = lane.folds + did.folds, lane.puts + did.puts, lane.cpu_seconds + did.cpu_seconds
    print(f"table-growth: {lane.name}: {', '.join(f'{rate:,.0f}' for rate in lane.rates[-LOADS_IN_A_TURN:])} puts/s, {lane.folds} folds", flush=True)
    return seed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000_000, help="items of the large table")
    parser.add_argument("--item-bytes", type=int, default=100)
    parser.add_argument("--folds", type=int, default=10, help="of each, at least")
    options = parser.parse_args()
    zerobench = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "zerobench"
    with Server() as small, Server() as large:
        seed, held, began = 1, 0, time.monotonic()
        while held < options.items:
            did, rate = load(large, zerobench, seed, options.item_bytes)
            held, seed = held + did.puts, seed + 1
            print(f"table-growth: {held:,} items after {time.monotonic() - began:.0f} s, {rate:,.0f} puts/s", flush=True)
        rest(large)
        lanes = [Lane("empty", small), Lane("large", large)]
        while min(lane.folds for lane in lanes) < options.folds:
            for lane in lanes:
                seed = turn(lane, zerobench, seed, options.item_bytes)
        mean = {lane.name: sum(lane.rates) / len(lane.rates) for lane in lanes}
        for lane in lanes:
            cpu_us = lane.cpu_seconds / lane.puts * 1e6
            print(f"table-growth: {lane.name}: {mean[lane.name]:,.0f} puts/s over {len(lane.rates)} loads and {lane.folds} folds, {cpu_us:.1f} us of CPU a put")
        print(f"table-growth: large to empty {mean['large'] / mean['empty']:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
