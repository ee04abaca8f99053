"""Runs the public suite ceph/s3-tests against a fresh appliance and compares each outcome with the committed list.

The suite is not part of this repository: S3_TESTS_DIR names a checkout of revision 8f0ae7b4. Its own packages go to a
virtual environment of their own. tests/s3tests/results.txt holds one line per test of the two files that test S3 itself:
outcome, group, name. Group `aws` is what AWS itself is expected to pass, `rgw` what only the suite's own server does,
`other` what needs a second cluster or RGW's own bucket logging. A test that the committed list calls passed and that does
not pass now is a regression, and the run fails.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from zctest.server import Server  # noqa: E402

REVISION = "8f0ae7b4"
FILES = ["s3tests/functional/test_s3.py", "s3tests/functional/test_headers.py"]
RESULTS = HERE / "results.txt"
# Tests with these markers need a second cluster, or a logging format of RGW's own.
OTHER = {"bucket_logging", "bucket_logging_cleanup", "cloud_transition", "cloud_restore", "target_by_bucket"}
TEST_SECONDS_MAX = 90
DEBUG_DAY_SECONDS = 10
# These two see every bucket of their account, so nothing may run beside them.
ALONE = ("test_list_buckets_paginated", "test_list_buckets_anonymous")

ACCOUNTS = [
    # name, number, canonical id, display name, tenant
    ("main", "111111111111", "1" * 64, "main tester", None),
    ("alt", "222222222222", "2" * 64, "alt tester", None),
    ("tenant", "333333333333", "3" * 64, "tenant tester", "testx"),
    ("iam", "444444444444", "4" * 64, "iam tester", None),
    ("root", "555555555555", "5" * 64, "root tester", None),
    ("altroot", "666666666666", "6" * 64, "alt root tester", None),
]


def access_key(name: str) -> str:
    return f"AKIDS3TESTS{name.upper()}"


def secret_key(name: str) -> str:
    return f"not-a-secret-{name}-0123456789abcdef"


def appliance_config(day_seconds: int) -> str:
    """The switches that the suite needs; spec by spec they are the opposite of what AWS does for new buckets today."""
    text = ""
    for name, number, canonical, display, tenant in ACCOUNTS:
        text += (
            f'[[account]]\nid = "{number}"\nname = "{name}"\naccess_key = "{access_key(name)}"\n'
            f'secret_key = "{secret_key(name)}"\ncanonical_id = "{canonical}"\ndisplay_name = "{display}"\n'
            f'email = "{name}@example.test"\n'
        )
        if tenant:
            text += f'tenant = "{tenant}"\n'
    text += (
        '[s3]\ndefault_ownership = "ObjectWriter"\ndefault_public_access_block = false\nsigv2 = true\n'
        'sse_c_needs_tls = false\nstorage_classes = ["STANDARD", "LUKEWARM", "FROZEN"]\n'
        'kms_keys = ["testkey-1", "testkey-2"]\n'
        f"[debug]\nday_seconds = {day_seconds}\n"
    )
    return text


def suite_config(host: str, port: int) -> str:
    text = f"[DEFAULT]\nhost = {host}\nport = {port}\nis_secure = False\nssl_verify = False\n"
    text += "[fixtures]\nbucket prefix = zc-{random}-\niam name prefix = zc-\niam path prefix = /zc/\n"
    sections = {"main": "s3 main", "alt": "s3 alt", "tenant": "s3 tenant", "iam": "iam", "root": "iam root", "altroot": "iam alt root"}
    for name, _, canonical, display, tenant in ACCOUNTS:
        text += (
            f"[{sections[name]}]\ndisplay_name = {display}\nuser_id = {canonical}\nemail = {name}@example.test\n"
            f"access_key = {access_key(name)}\nsecret_key = {secret_key(name)}\n"
        )
        if name == "main":
            text += (
                # More storage classes would only multiply the tests that AWS is not expected to pass.
                "api_name = us-east-1\nkms_keyid = testkey-1\nkms_keyid2 = testkey-2\n"
                f"lc_debug_interval = {DEBUG_DAY_SECONDS}\n"
            )
        if tenant:
            text += f"tenant = {tenant}\n"
    return text


def suite_python() -> Path:
    """The interpreter of the suite's own virtual environment, made when its requirements changed."""
    home = ROOT / ".test-tools" / "s3tests"
    python, wanted, have = home / "venv/bin/python", HERE / "requirements.txt", home / "requirements.txt"
    if not have.exists() or have.read_text() != wanted.read_text():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home / "venv")], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(wanted)], check=True)
        have.write_text(wanted.read_text())
    return python


def pytest(suite: Path, arguments: list[str], scratch: Path, log: Path, config: Path) -> dict:
    """One run of pytest; gives what the plugin wrote."""
    written = scratch / "outcomes.json"
    written.unlink(missing_ok=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "S3"))}
    environment |= {
        "ZEROCLOUD_OUTCOMES": str(written),
        "PYTHONPATH": f"{HERE}{os.pathsep}{suite}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
        # No configuration of the tester's own.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "S3TEST_CONF": str(config),
    }
    command = [str(suite_python()), "-m", "pytest", "-q", "-p", "outcomes", "-p", "no:cacheprovider", "--tb=short"]
    command += [f"--timeout={TEST_SECONDS_MAX}", *arguments]
    with log.open("a") as sink:
        done = subprocess.run(command, cwd=suite, env=environment, stdout=sink, stderr=subprocess.STDOUT)
    # 1 means that tests failed; anything above it, that pytest itself did.
    if done.returncode > 1 or not written.exists():
        raise SystemExit(f"s3tests: pytest ended with {done.returncode}; see {log}")
    return json.loads(written.read_text())


def run_group(suite: Path, tests: list[str], workers: int, scratch: Path, log: Path) -> dict[str, str]:
    """Runs tests against an appliance of their own, so that buckets that they cannot empty disturb nobody else."""
    if not tests:
        return {}
    # The port comes from our own child's output, so the suite's teardown can only meet our own server.
    with Server(arguments=["--debug"], config=appliance_config(DEBUG_DAY_SECONDS)) as server:
        config = scratch / "s3tests.conf"
        config.write_text(suite_config(server.host, server.port))
        parallel = ["-n", str(workers), "--dist", "load"] if workers > 1 else ["-p", "no:xdist"]
        outcomes = pytest(suite, parallel + tests, scratch, log, config)["outcomes"]
        if server.process.poll() is not None:
            raise SystemExit(f"s3tests: the appliance ended with {server.process.returncode}:\n" + "".join(server.log[-30:]))
    # A test that never reported (its worker died) has not passed.
    return {test: outcomes.get(test, "error") for test in tests}


def group(markers: list[str]) -> str:
    if OTHER & set(markers):
        return "other"
    return "rgw" if "fails_on_aws" in markers else "aws"


def short(test: str) -> str:
    return test.removeprefix("s3tests/functional/")


def parse(text: str) -> dict[str, str]:
    """Test -> outcome of a result list."""
    lines = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return {name: outcome for outcome, _, name in lines}


def committed() -> dict[str, str]:
    shown = subprocess.run(
        ["git", "show", f"HEAD:{RESULTS.relative_to(ROOT)}"], cwd=ROOT, capture_output=True, text=True
    )
    if shown.returncode == 0:
        return parse(shown.stdout)
    return parse(RESULTS.read_text()) if RESULTS.exists() else {}


def checkout(demanded: bool) -> Path | None:
    """The suite's checkout, after a look at its revision."""
    place = os.environ.get("S3_TESTS_DIR")
    if not place:
        print("s3tests: not run: S3_TESTS_DIR is not set")
        if demanded:
            raise SystemExit(1)
        return None
    head = subprocess.run(["git", "-C", place, "rev-parse", "HEAD"], capture_output=True, text=True)
    if not head.stdout.startswith(REVISION):
        raise SystemExit(f"s3tests: {place} is not a checkout of revision {REVISION}: {head.stdout or head.stderr}")
    return Path(place).resolve()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demanded", action="store_true", help="fail where the suite is not at hand")
    parser.add_argument("--groups", default="aws,rgw,other", help="which groups to run; the others keep their lines")
    parser.add_argument("--known", action="store_true", help="only what the committed list calls passed; the list stays as it is")
    parser.add_argument("--only", help="run the tests whose name holds this text, print their outcomes, keep the list")
    options = parser.parse_args()
    suite = checkout(options.demanded)
    if suite is None:
        return 0
    begun = time.monotonic()
    logs = ROOT / ".test-tools" / "s3tests"
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / "pytest.log"
    log.write_text("")
    with tempfile.TemporaryDirectory(prefix="zerocloud-s3tests-") as directory:
        scratch = Path(directory)
        # Collecting contacts nobody, but reads the configuration: the tests' names depend on it.
        config = scratch / "collect.conf"
        config.write_text(suite_config("127.0.0.1", 1))
        markers = pytest(suite, ["--collect-only", "-p", "no:xdist", *FILES], scratch, log, config)["markers"]
        if not markers:
            raise SystemExit(f"s3tests: nothing was collected; see {log}")
        wanted = [test for test in markers if group(markers[test]) in options.groups.split(",")]
        if options.only:
            wanted = [test for test in wanted if options.only in test]
        if options.known:
            passed = {name for name, outcome in committed().items() if outcome == "passed"}
            wanted = [test for test in wanted if short(test) in passed]
        locked = [test for test in wanted if "object_lock" in markers[test]]
        alone = [test for test in wanted if test.endswith(ALONE) and test not in locked]
        rest = [test for test in wanted if test not in locked and test not in alone]
        outcomes = run_group(suite, rest, min(len(os.sched_getaffinity(0)), 4), scratch, log)
        outcomes |= run_group(suite, locked, 1, scratch, log)
        outcomes |= run_group(suite, alone, 1, scratch, log)
    now = {short(test): outcome for test, outcome in outcomes.items()}
    groups = {short(test): group(markers[test]) for test in markers}
    if options.only:
        for name, outcome in sorted(now.items()):
            print(f"{outcome:8} {groups[name]:5} {name}")
        return 0
    return report(now, groups, time.monotonic() - begun, log, write=not options.known)


def report(now: dict[str, str], groups: dict[str, str], seconds: float, log: Path, write: bool) -> int:
    """Writes the list unless told not to, prints the counts and names every regression."""
    before = committed()
    regressions = sorted(test for test, outcome in before.items() if outcome == "passed" and now.get(test, "passed") != "passed")
    gone = sorted(test for test in before if test not in groups)
    gained = sorted(test for test, outcome in now.items() if outcome == "passed" and before.get(test) not in (None, "passed"))
    merged = {test: outcome for test, outcome in before.items() if test in groups} | now
    head = f"# ceph/s3-tests {REVISION}: outcome, group, test. Written by tests/s3tests/run.py.\n"
    # Notes are written by hand and stay.
    notes = RESULTS.read_text().splitlines(keepends=True)[1:] if RESULTS.exists() else []
    head += "".join(line for line in notes if line.startswith("#"))
    # The group first in the order, so that the list reads as a to-do list.
    lines = [f"{merged[test]:8} {groups[test]:5} {test}\n" for test in sorted(merged, key=lambda test: (groups[test], test))]
    if write:
        RESULTS.write_text(head + "".join(lines))
    for test in gained:
        print(f"s3tests: passes now: {test}")
    for test in regressions:
        print(f"s3tests: REGRESSION: {test}: {now[test]}")
    for name, text in (("rgw", "of RGW's own"), ("other", "that need more than S3"), ("aws", "that AWS is expected to pass")):
        counts = Counter(outcome for test, outcome in now.items() if groups[test] == name)
        if counts:
            listed = ", ".join(f"{counts[outcome]} {outcome}" for outcome in ("passed", "failed", "error", "skipped"))
            print(f"s3tests: of {sum(counts.values())} tests {text}: {listed}")
    counts = Counter(now.values())
    print(f"s3tests: {counts['passed']} passed, {len(now) - counts['passed']} failed, {seconds:.0f} s, log {log}")
    return 1 if regressions or gone else 0


if __name__ == "__main__":
    sys.exit(main())
