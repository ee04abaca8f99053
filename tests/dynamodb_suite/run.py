"""Runs the public suite nubo-db/dynamodb-conformance against a fresh appliance.

The suite is not part of this repository: DYNAMODB_SUITE_DIR names a checkout of revision 0ba4393, which is copied, so that
nothing is written there, and gets its packages by its own lock file, or within the
ranges of its package.json where the registry has those no more. Every test passes unless expected_failures.txt names
it with a reason; a test in that list that passes is an error too, so that the list stays true. Of 601 tests 595 pass at least.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from zctest.files import tool  # noqa: E402
from zctest.server import Server  # noqa: E402

TEST_COUNT = 601
PASSED_MIN = 595
SUITE_SECONDS_MAX = 20 * 60
EXPECTED = HERE / "expected_failures.txt"
HOME = ROOT / ".test-tools" / "dynamodb-suite"
# The suite asks for a table of account 000000000000, which must not be the appliance's own, as one of a stranger.
CONFIG = 'account_id = "123456789012"\n'


def copied(place: Path) -> Path:
    """The suite in a place of our own, with the packages of its lock file."""
    suite = HOME / "suite"
    lock = (place / "package-lock.json").read_bytes()
    mark, digest = suite / "node_modules" / ".of-lock", hashlib.sha256(lock).hexdigest()
    keep = mark.exists() and mark.read_text() == digest
    HOME.mkdir(parents=True, exist_ok=True)
    for entry in suite.iterdir() if suite.exists() else []:
        if entry.name != "node_modules":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    shutil.copytree(place, suite, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules", ".git", "results"))
    if not keep:
        quiet = ["--no-audit", "--no-fund", "--silent"]
        # What packages run when they are installed looks for `node` by name.
        environment = os.environ | {"PATH": f"{Path(tool('node')).parent}:{os.environ['PATH']}"}
        if subprocess.run([tool("npm"), "ci", *quiet], cwd=suite, env=environment).returncode != 0:
            # Registries forget versions; those that the suite's own package.json allows will do.
            print("dynamodb-suite: its lock file's packages cannot be had; taking what its package.json allows")
            subprocess.run([tool("npm"), "install", "--no-package-lock", *quiet], cwd=suite, env=environment, check=True)
        mark.write_text(digest)
    return suite


def run(suite: Path, server: Server, filters: list[str], log: Path) -> dict[str, tuple[str, str]]:
    """Test -> its outcome and the first words of what went wrong."""
    written = HOME / "outcomes.json"
    written.unlink(missing_ok=True)
    environment = server.environment() | {"DYNAMODB_ENDPOINT": server.url, "CI": "1"}
    command = [tool("node"), "node_modules/vitest/vitest.mjs", "run", "--reporter=json", f"--outputFile={written}", *filters]
    with log.open("w") as sink:
        subprocess.run(command, cwd=suite, env=environment, stdout=sink, stderr=subprocess.STDOUT, timeout=SUITE_SECONDS_MAX)
    if not written.exists():
        raise SystemExit(f"dynamodb-suite: vitest wrote nothing; see {log}")
    outcomes = {}
    for file in json.loads(written.read_text())["testResults"]:
        name = str(Path(file["name"]).relative_to(suite.resolve() / "tests"))
        for test in file["assertionResults"]:
            words = " ".join(test.get("failureMessages") or [])
            outcomes[f"{name} > {test['fullName']}"] = (test["status"], words.split("\n")[0][:300])
    return outcomes


def expected() -> dict[str, str]:
    """Test -> why it is expected to fail."""
    found = {}
    for line in EXPECTED.read_text().splitlines():
        if line and not line.startswith("#"):
            test, separator, reason = line.partition("  # ")
            if not separator or not reason.strip():
                raise SystemExit(f"dynamodb-suite: {EXPECTED.name}: no reason in: {line}")
            found[test.strip()] = reason
    return found


def report(outcomes: dict[str, tuple[str, str]], is_whole: bool, seconds: float, log: Path) -> int:
    reasons = expected()
    failed = {test: words for test, (outcome, words) in outcomes.items() if outcome != "passed"}
    wrong = sorted(set(failed) - set(reasons))
    for test in wrong:
        print(f"dynamodb-suite: FAILED: {test}: {failed[test]}")
    stale = sorted(test for test in reasons if outcomes.get(test, ("",))[0] == "passed" or is_whole and test not in outcomes)
    for test in stale:
        print(f"dynamodb-suite: expected to fail, and does not: {test}")
    passed = len(outcomes) - len(failed)
    print(f"dynamodb-suite: {passed} of {len(outcomes)} passed, {len(failed) - len(wrong)} failed as expected, {seconds:.0f} s, log {log}")
    if is_whole and (len(outcomes) < TEST_COUNT or passed < PASSED_MIN):
        print(f"dynamodb-suite: {TEST_COUNT} tests were to run and {PASSED_MIN} to pass")
        return 1
    return 1 if wrong or stale else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("filters", nargs="*", help="only files whose path holds one of these")
    parser.add_argument("--demanded", action="store_true", help="fail where the suite is not at hand")
    options = parser.parse_args()
    place = os.environ.get("DYNAMODB_SUITE_DIR")
    if not place:
        print("dynamodb-suite: not run: DYNAMODB_SUITE_DIR is not set")
        return 1 if options.demanded else 0
    suite = copied(Path(place).resolve())
    log = HOME / "vitest.log"
    begun = time.monotonic()
    with Server(config=CONFIG) as server:
        outcomes = run(suite, server, options.filters, log)
        if server.process.poll() is not None:
            raise SystemExit(f"dynamodb-suite: the appliance {server.state()}:\n" + "".join(server.log[-30:]))
    return report(outcomes, not options.filters, time.monotonic() - begun, log)


if __name__ == "__main__":
    sys.exit(main())
