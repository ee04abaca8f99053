"""The configuration that the packages bring: what it says as it is, every setting that it shows, and that it shows them all.

A group of commented settings without an empty line between them is taken into use at once, since its lines need each other.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from zctest.server import ROOT, binary, plain_environment  # noqa: E402

SHIPPED = ROOT / "packaging" / "zerocloud.toml"
SOURCES = ("layer.rs", "cache.rs")
# A setting, or a table's head. Prose has a space behind its sign.
SETTING = re.compile(r"^#(?=[a-z_0-9]+ = |\[\[)")
# How the sources ask for a key.
ASKED = re.compile(r'\.(?:text|list|flag|flag_or_word|number|size|required_text|table|tables)\(\s*"([a-z_0-9]+)"')
# For the labs, and refused without a flag of theirs.
NOT_SHOWN = {"debug", "day_seconds"}


def check(text: str, place: Path) -> str | None:
    """What the binary says against a configuration; nothing where it takes it."""
    path = place / "zerocloud.toml"
    path.write_text(text.replace("/var/lib/zerocloud", str(place)))
    path.chmod(0o600)
    environment = {name: value for name, value in plain_environment().items() if not name.startswith("ZEROCLOUD_")}
    command = [str(binary()), "serve", "--config", str(path), "--check"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode == 0:
        return None
    assert done.returncode == 78, f"exit code {done.returncode}: {done.stderr}"
    return done.stderr.strip()


def groups(lines: list[str]) -> list[range]:
    """Lines that stand together and are settings in comments."""
    found: list[range] = []
    for number, line in enumerate(lines):
        if not SETTING.match(line):
            continue
        if found and found[-1].stop == number:
            found[-1] = range(found[-1].start, number + 1)
        else:
            found.append(range(number, number + 1))
    return found


def without_comment(lines: list[str], taken: range) -> str:
    used = [SETTING.sub("", line) if number in taken else line for number, line in enumerate(lines)]
    return "\n".join(used) + "\n"


def shown(lines: list[str]) -> set[str]:
    """Keys and tables, in use or in comments."""
    plain = [SETTING.sub("", line) for line in lines]
    plain = [line for line in plain if not line.startswith("#")]
    keys = {line.split(" = ")[0] for line in plain if " = " in line}
    return keys | {part for line in plain if line.startswith("[") for part in line.strip("[]").split(".")}


def asked() -> set[str]:
    directory = ROOT / "appliance" / "node" / "src" / "config"
    return {key for name in SOURCES for key in ASKED.findall((directory / name).read_text())}


def main() -> int:
    lines = SHIPPED.read_text().splitlines()
    problems = []
    with tempfile.TemporaryDirectory(prefix="zerocloud-configuration-") as directory:
        place = Path(directory)
        (place / "tls").mkdir()
        pair = ["-keyout", str(place / "tls/key.pem"), "-out", str(place / "tls/cert.pem")]
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost"]
        subprocess.run(["openssl", "req", "-x509", "-nodes", "-days", "1", *new, *pair], check=True, capture_output=True)
        (place / "tls/key.pem").chmod(0o600)
        assert check("dat = 1\n", place) is not None, "an unknown key is taken, so nothing here would be found"
        found = groups(lines)
        tried = [("as it is", range(0))] + [(f"line {one.start + 1}", one) for one in found] + [("all", range(len(lines)))]
        for what, taken in tried:
            said = check(without_comment(lines, taken), place)
            if said is not None:
                problems.append(f"{what}: {said}")
    known = asked() - NOT_SHOWN
    assert len(known) > 40, f"only {len(known)} keys are found in the sources"
    problems += [f"{key} is a setting, but is not shown" for key in sorted(known - shown(lines))]
    problems += [f"{key} is shown, but is no setting" for key in sorted(shown(lines) - known)]
    for problem in problems:
        print(f"{SHIPPED.relative_to(ROOT)}: {problem}")
    print(f"configuration: {len(found)} groups of settings tried, {len(known)} keys known, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
