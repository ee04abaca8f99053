"""CloudKit for long: random operations over all providers, an appliance that is killed under its calls, streams of 5 GiB.

Prints each seed, which `CLOUDKIT_SEED` repeats, and each figure beside its limit; ends with 1 when something fails.
"""

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT / "tests/tools"))

from cloudkit import TARGET, cargo, environment, of, tests  # noqa: E402
from zctest.server import Server, binary  # noqa: E402

OPERATIONS = 10_000
CALLS = 10_000
STREAM_MIB = 5 * 1024
PEAK_KIB_MAX = 128 * 1024
PEAK = re.compile(r"^(up|down): .*peak (\d+) kB$", re.MULTILINE)


def random_operations() -> None:
    seed = os.environ.get("CLOUDKIT_SEED") or str(secrets.randbits(32))
    print(f"seed {seed}, {OPERATIONS} operations", flush=True)
    more = {"CLOUDKIT_SEED": seed, "CLOUDKIT_OPERATIONS": str(OPERATIONS)}
    test = ("-p", "cloudkit-conformance", "--test", "random_zero", "--", "--ignored", "--nocapture")
    tests("random operations, in memory and on the appliance", *test, **more)


def restarts() -> None:
    test = ("-p", "cloudkit-zero", "--lib", "trial::restarts", "--", "--ignored", "--nocapture")
    tests(f"{CALLS} calls of an appliance that is killed", *test, CLOUDKIT_RESTART_CALLS=str(CALLS))


def streams() -> None:
    cargo("build", "--release", "--locked", "-q", "-p", "cloudkit-zero", "--example", "stream")
    program = TARGET / "release" / "examples" / "stream"
    for ranges in (1, 4):
        with Server() as server:
            command = [str(program), str(STREAM_MIB), str(ranges)]
            run = subprocess.run(command, env=environment(**of(server)), stdout=subprocess.PIPE, text=True)
        print(run.stdout, end="", flush=True)
        peaks = {way: int(kib) for way, kib in PEAK.findall(run.stdout)}
        if run.returncode != 0 or set(peaks) != {"up", "down"}:
            raise SystemExit(f"a stream with {ranges} ranges failed: {run.returncode}, {peaks}")
        if max(peaks.values()) >= PEAK_KIB_MAX:
            raise SystemExit(f"{max(peaks.values())} KiB at their peak, {PEAK_KIB_MAX} are the limit")
        print(f"{STREAM_MIB} MiB, {ranges} at once: at most {max(peaks.values())} KiB, fewer than {PEAK_KIB_MAX} are allowed")


def main() -> None:
    os.environ["ZEROCLOUD_BINARY"] = str(binary().resolve())
    random_operations()
    restarts()
    streams()


if __name__ == "__main__":
    main()
