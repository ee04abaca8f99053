"""How soon messages come: a receive that waits, after the send begins; a delayed message and one whose visibility ends, after it
is due. For an idle machine. Nothing is judged but that each message came.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from zctest.server import ROOT, Server  # noqa: E402


def measure(server: Server, zerobench: Path, *arguments: str) -> None:
    key, secret = server.credentials()
    command = [str(zerobench), "poll", "--url", server.url, "--access-key", key, "--secret-key", secret, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"queue-times: {' '.join(arguments)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    for line in done.stdout.splitlines():
        print(f"queue-times: {' '.join(arguments)}: {line}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--polls", type=int, default=2000)
    parser.add_argument("--due", type=int, default=300, help="messages of each kind that become due")
    options = parser.parse_args()
    zerobench = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "zerobench"
    with Server() as server:
        measure(server, zerobench, "--count", str(options.polls))
        for due in ("delayed", "invisible"):
            measure(server, zerobench, "--queue", f"zerobench-{due}", "--due", due, "--count", str(options.due))
    return 0


if __name__ == "__main__":
    sys.exit(main())
