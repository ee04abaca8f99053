"""A Debian system, booted in a container with systemd, that lives through what packages go through; inside.py has the facts.

Needs root. The system is made once by the machine's own apt sources and kept as an archive; each run unpacks it anew. Nothing is
judged by the container's exit code: the result file that was written inside must have its last line.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
HERE = Path(__file__).resolve().parent
SYSTEM = ("systemd", "systemd-sysv", "dbus", "procps", "libgcc-s1", "python3", "curl", "rpm")
# Beyond it the machine is no longer slow, but stands.
MINUTES_MAX = 25
UNIT = """[Unit]
Description=The life of the packages
After=multi-user.target

[Service]
Type=oneshot
ExecStart=/usr/bin/python3 /packaging/inside.py
ExecStopPost=/usr/bin/systemctl poweroff --no-block
"""
# Without it a host under the older control groups hangs.
ENVIRONMENT = os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}


def release() -> str:
    return re.search(r"^VERSION_CODENAME=(\S+)", Path("/etc/os-release").read_text(), re.M)[1]


def sources(codename: str) -> list[str]:
    """The machine's own apt sources of its own release; those of others are for other programs."""
    places = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    suite = re.compile(rf"(?m)^(deb .*|Suites: .*)\b{codename}(?![-\w])")
    found = [str(path) for path in places if path.suffix in (".list", ".sources") and path.is_file() and suite.search(path.read_text())]
    assert found, f"no apt source of {codename} in /etc/apt"
    return found


def archive() -> Path:
    """The system as a file, made where it is not there or was made of something else."""
    codename = release()
    wanted = f"{codename} {' '.join(SYSTEM)}"
    kept, made = TARGET / "packaging-system.tar", TARGET / "packaging-system.made"
    if kept.exists() and made.exists() and made.read_text() == wanted:
        return kept
    made.unlink(missing_ok=True)
    TARGET.mkdir(parents=True, exist_ok=True)
    # How this machine reaches its mirrors; not what it does after that for itself.
    said = {path: path.read_text() for path in sorted(Path("/etc/apt/apt.conf.d").iterdir())}
    options = [f"--aptopt={path}" for path, text in said.items() if "Acquire::" in text and "Invoke" not in text]
    options += ['--aptopt=Acquire::Retries "5"', "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*"]
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(SYSTEM)}", *options]
    subprocess.run([*command, codename, str(kept), *sources(codename)], check=True)
    made.write_text(wanted)
    return kept


def newcomer() -> str:
    """What the README tells a newcomer to type: the first block under its heading."""
    text = (ROOT / "README.md").read_text()
    found = re.search(r"(?ms)^## Install\n.*?\n\n((?:    [^\n]*\n)+)", text)
    assert found, "README.md has no block of commands under `## Install`"
    return re.sub(r"(?m)^    ", "", found[1])


def furnish(root: Path, packages: Path, newer: Path) -> None:
    """Puts packages and programs where inside.py looks for them, and has it start."""
    place = root / "packaging"
    place.mkdir()
    for name in ("inside.py", "load.py", "sandbox.py", "held.py"):
        shutil.copy(HERE / name, place / name)
    for name, directory in (("packages", packages), ("newer", newer)):
        (place / name).mkdir()
        for path in (*directory.glob("*.deb"), *directory.glob("*.rpm")):
            shutil.copy(path, place / name)
    (place / "newcomer").write_text(newcomer())
    unit = root / "etc/systemd/system/packaging.service"
    unit.write_text(UNIT)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / "packaging.service").symlink_to("/etc/systemd/system/packaging.service")
    (place / "python").mkdir()
    # Without one this would be the first boot of the system, which enables whatever is installed.
    (root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")


def boot(root: Path, python: Path) -> str:
    """Runs the container to its end; what it printed, for when it did not come to a result."""
    container = ["systemd-nspawn", "-D", str(root), "--register=no", "--keep-unit", "--private-network", "--boot"]
    container += [f"--bind-ro={python}:/packaging/python", "--machine=packaging"]
    # It wants a terminal.
    command = ["script", "-qec", " ".join(["timeout", "-k", "30", f"{MINUTES_MAX}m", *container]), "/dev/null"]
    done = subprocess.run(command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True)
    return done.stdout.decode(errors="replace")


def live(root: Path, packages: Path, newer: Path, python: Path) -> int:
    """Furnishes a system, boots it, and reads what it found."""
    sys.path.insert(0, str(HERE))
    from inside import FACTS, LAST

    furnish(root, packages, newer)
    printed = boot(root, python)
    result = root / "packaging/result"
    said = result.read_text() if result.exists() else ""
    print(said, end="")
    lines = said.splitlines()
    if lines[-1:] != [LAST] or len(lines) != len(FACTS) + 1:
        print(printed[-20_000:])
        print("the container did not come to its end")
        return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, default=TARGET / "packages", help="the deb and the rpm")
    parser.add_argument("--newer", type=Path, default=TARGET / "packages-newer", help="the same of a later revision, with one comment more in the configuration")
    arguments = parser.parse_args()
    import awscli

    python = Path(awscli.__file__).parents[1]
    kept = archive()
    with tempfile.TemporaryDirectory(prefix="zerocloud-packages-", dir=TARGET) as directory:
        root = Path(directory) / "root"
        root.mkdir()
        subprocess.run(["tar", "-C", str(root), "-xf", str(kept)], check=True)
        return live(root, arguments.packages, arguments.newer, python)


if __name__ == "__main__":
    sys.exit(main())
