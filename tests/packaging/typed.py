"""What the READMEs tell somebody to type, carried out against programs of make-believe, and what they must not forget to say.

Shown: a newcomer's commands reach the appliance with an `aws` that knows no AWS_ENDPOINT_URL, too; whoever is told to stop the node is
told to stop its socket with it; commands for an installed appliance name its directory; tokens are in no list of processes.
"""

import os
import re
import subprocess
import tempfile
from pathlib import Path

import words
from node import Node

STOP = re.compile(r"systemctl stop((?: zerocloud[\w.]*)+)")
ENDPOINT = "http://127.0.0.1:8080"
# Each command of its own line in RECORD, with what is in the files that it names.
RECORDER = """#!/bin/bash
printf '%s' "${0##*/}" >>"$RECORD"
printf '\\037%s' "$@" >>"$RECORD"
for argument; do
    file=${argument#--from-file=*=}
    [ "$file" = "$argument" ] || printf '\\037%s' "held:$(cat "$file"; echo .)" >>"$RECORD"
done
echo >>"$RECORD"
"""
PROGRAMS = {
    "sudo": '#!/bin/sh\nexec "$@"\n',
    "zerocloud": f"#!/bin/sh\necho export AWS_ENDPOINT_URL={ENDPOINT}\n",
    "apt": RECORDER,
    "aws": RECORDER,
    "kubectl": RECORDER,
}


def _typed(text: str) -> tuple[int, list[list[str]]]:
    """The code of a shell that is given these lines, and the commands that reached a program."""
    with tempfile.TemporaryDirectory(prefix="zerocloud-typed-") as directory:
        for name, program in PROGRAMS.items():
            (Path(directory) / name).write_text(program)
            (Path(directory) / name).chmod(0o755)
        record = Path(directory) / "record"
        record.touch()
        environment = os.environ | {"PATH": f"{directory}:{os.environ['PATH']}", "RECORD": str(record)}
        environment.pop("AWS_ENDPOINT_URL", None)
        code = subprocess.run(["bash", "-euc", text], cwd=directory, env=environment, capture_output=True).returncode
        return code, [line.split("\x1f") for line in record.read_text().split("\n")[:-1]]


def _install(readme: str) -> list[str]:
    """What stands under `## Install`."""
    [section] = re.findall(r"(?ms)^## Install\n(.*?)(?=^## )", readme)
    block = re.search(r"(?m)(?:^    .*\n)+", section)[0]
    commands = block.strip().splitlines()
    problems = [] if len(commands) <= 5 else [f"a newcomer needs {len(commands)} commands"]
    code, asked = _typed(re.sub(r"(?m)^    ", "", block))
    calls = [one[1:] for one in asked if one[0] == "aws"]
    if code != 0 or not calls:
        problems.append(f"a newcomer's commands end with {code} after {asked}")
    problems += [f"an older aws would ask Amazon: {' '.join(one)}" for one in calls if one[:2] != ["--endpoint-url", ENDPOINT]]
    for command in re.findall(r"`((?:sudo (?:-u \w+ )?)?zerocloud [a-z][^`]*)`", section):
        if "/var/lib/zerocloud" not in command and "/etc/zerocloud" not in command:
            problems.append(f"`{command}` looks for its directory where it is typed")
    return problems


def _stops(name: str, text: str) -> list[str]:
    """Paragraphs that have a node stopped, or a unit."""
    problems = []
    for paragraph in re.split(r"\n[ #]*\n", text):
        plain = " ".join(paragraph.replace("#", " ").split())
        stopped = [set(units.split()) for units in STOP.findall(plain)]
        if re.search(r"\bstop the node\b", plain) and not stopped:
            problems.append(f"{name}: a node is stopped, and its socket is not named: ...{plain[-120:]}")
        problems += [f"{name}: {sorted(one)} is stopped, and the socket starts it again" for one in stopped if "zerocloud.socket" not in one]
    return problems


def _tokens(text: str) -> list[str]:
    """The tokens of the caches in pods."""
    [block] = [one for one in words.fences(text) if "create secret generic" in one]
    code, asked = _typed(block)
    held = [word.removeprefix("held:") for one in asked for word in one if word.startswith("held:")]
    # A newline would be part of the token; the last sign is the recorder's.
    problems = [] if code == 0 and len(held) == 2 == len(set(held)) else [f"the Secret of the tokens ends with {code} after {asked}"]
    if not all(re.fullmatch(r"[0-9a-f]{48}\.", one) for one in held):
        problems.append(f"a token is not 48 hexadecimal digits: {held}")
    arguments = [word for one in asked for word in one if not word.startswith("held:")]
    problems += [f"a list of processes shows a token: {word}" for word in arguments if re.search(r"[0-9a-f]{48}", word)]
    return [f"kubernetes/README.md: {one}" for one in problems]


def check(tree: Path, node: Node) -> list[str]:
    """What is wrong with what is typed."""
    readme = (tree.parent / "README.md").read_text()
    problems = [f"README.md: {one}" for one in _install(readme) + words.commands("README.md", readme, node)]
    for name, text in [("README.md", readme), *words.texts(tree)]:
        problems += _stops(name, text)
    return problems + _tokens((tree / "kubernetes" / "README.md").read_text())
