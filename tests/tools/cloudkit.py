"""CloudKit in the test command. Each part is a word of the command line:

    check      crates of a client for the appliance alone, the entry with all its features, documentation without a warning, the surface
    appliance  everything that runs against a started appliance: transport, suites, random sequences, quick starts, examples
    surface --write    writes client/surface anew

`appliance` takes the binary that ZEROCLOUD_BINARY names. A run of cargo that ran no test is a failure.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from zctest.s3raw import Client  # noqa: E402
from zctest.server import Server, binary, plain_environment  # noqa: E402

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
CRATES_MAX = 120
# Each behind those that it names: how rustdoc shows what is re-exported depends on whether the pages of its crate are there.
DOCUMENTED = ("cloudkit-core", "cloudkit_api", "cloudkit_spi", "cloudkit-testing", "cloudkit-object-store", "cloudkit-zero", "cloudkit")
FEATURES = "cloudkit/testing,cloudkit/object-store"
RUNNING = re.compile(r"^running (\d+) tests?$")
# What the quick starts leave behind, which shows that they ran and did not only compile.
QUICK_START_BUCKETS = ("quick-start", "quick-start-pair")


def environment(**more: str) -> dict[str, str]:
    """The tester's, without settings of clients and of CloudKit's own."""
    own = ("ZERO_", "CLOUD_")
    return {name: value for name, value in plain_environment().items() if not name.startswith(own)} | more


def cargo(*arguments: str, **more: str) -> None:
    subprocess.run(["cargo", *arguments], cwd=ROOT, env=environment(**more), check=True)


def tests(title: str, *arguments: str, **more: str) -> None:
    """Runs tests, shows what they print, and fails if there was none."""
    print(f"-- {title}", flush=True)
    command = ["cargo", "test", "--locked", "-q", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(**more), stdout=subprocess.PIPE, text=True)
    count = 0
    for text in process.stdout:
        print(text, end="", flush=True)
        if found := RUNNING.match(text.strip()):
            count += int(found[1])
    if process.wait() != 0:
        raise SystemExit(f"{title}: failed")
    if count == 0:
        raise SystemExit(f"{title}: no test ran")
    print(f"-- {title}: {count} tests", flush=True)


def crates() -> None:
    command = ["cargo", "tree", "--locked", "-p", "cloudkit", "--no-default-features", "--features", "zero"]
    command += ["-e", "normal", "--prefix", "none"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = {tuple(text.split()[:2]) for text in listed.splitlines() if text.strip()}
    print(f"crates of a client for the appliance alone: {len(found)}, fewer than {CRATES_MAX} are allowed")
    if not 1 < len(found) < CRATES_MAX:
        raise SystemExit("too many crates, or none at all")


def surface(*arguments: str) -> None:
    shutil.rmtree(TARGET / "doc", ignore_errors=True)
    for name in DOCUMENTED:
        more = ("--features", "testing,object-store") if name == "cloudkit" else ()
        cargo("doc", "--locked", "-q", "--no-deps", "--lib", "-p", name, *more, RUSTDOCFLAGS="-Dwarnings")
    tool = [sys.executable, str(ROOT / "tests/tools/surface.py"), str(TARGET / "doc"), *arguments]
    if subprocess.run(tool, cwd=ROOT).returncode != 0:
        raise SystemExit("the public surface is not the committed one")


def features() -> None:
    tests("the entry with the features that are off by default", "-p", "cloudkit", "--features", FEATURES, "--tests")


def of(server: Server) -> dict[str, str]:
    """What points a client to the appliance."""
    return {"ZERO_URL": server.url, "ZERO_CREDENTIALS_FILE": str(server.data / "data" / "credentials")}


def quick_starts() -> None:
    with Server() as server:
        tests("quick starts", "-p", "cloudkit", "--features", FEATURES, "--doc", **of(server))
        client = Client(server.host, server.port, *server.credentials())
        for bucket in QUICK_START_BUCKETS:
            status, _, _ = client.request("HEAD", f"/{bucket}")
            if status != 200:
                raise SystemExit(f"quick starts: {bucket} is not there ({status}), so one of them did not run")
        client.close()


def examples() -> None:
    names = sorted(path.stem for path in (ROOT / "client/cloudkit/examples").glob("*.rs"))
    if not names:
        raise SystemExit("examples: there is none")
    cargo("build", "--locked", "-q", "-p", "cloudkit", "--features", FEATURES, "--examples")
    with Server() as server:
        access, secret = server.credentials()
        keys = {"CLOUD_ACCESS_KEY": access, "CLOUD_SECRET_KEY": secret}
        for name in names:
            print(f"-- example {name}", flush=True)
            program = TARGET / "debug" / "examples" / name
            subprocess.run([str(program)], cwd=ROOT, env=environment(**of(server), **keys), check=True)


def appliance() -> None:
    os.environ["ZEROCLOUD_BINARY"] = str(binary().resolve())
    ignored = ("--", "--ignored")
    tests("transport and services of the zero provider", "-p", "cloudkit-zero", "--lib", *ignored)
    tests("the suite of the traits", "-p", "cloudkit-conformance", "--test", "zero", *ignored)
    tests("random operations, in memory and on the appliance", "-p", "cloudkit-conformance", "--test", "random_zero", *ignored)
    tests("the suite of object_store", "-p", "cloudkit-object-store", "--test", "zero", *ignored)
    quick_starts()
    examples()


def main() -> None:
    parts = {"check": lambda: (crates(), features(), surface()), "appliance": appliance, "surface": lambda: surface(*sys.argv[2:])}
    if len(sys.argv) < 2 or sys.argv[1] not in parts:
        raise SystemExit(__doc__)
    parts[sys.argv[1]]()


if __name__ == "__main__":
    main()
