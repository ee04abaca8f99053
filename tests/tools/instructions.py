"""Counts the instructions of hot functions under callgrind and compares them with bench/instructions/counts.txt.

    python3 tests/tools/instructions.py            ends with 1 when a function takes more than 2 % above its count
    python3 tests/tools/instructions.py --update   writes the counts of now into counts.txt

Unlike times, counts are the same on a busy machine. They are those of valgrind's processor, which has neither AVX-512 nor
SHA-NI; of the profile `counts`, in which a function depends on its own crate more than on others; and of one compiler, C
library and valgrind. Where any of these differs from what counts.txt was written with, nothing is compared, the tool says
so and ends well.
"""

import fnmatch
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COUNTS = ROOT / "bench" / "instructions" / "counts.txt"
PROGRAM = "zerocloud-instructions"
PROFILE = "counts"
BUILD = ["cargo", "build", "--profile", PROFILE, "--locked", "-q", "-p", PROGRAM]
UPDATE = "python3 tests/tools/instructions.py --update"
# Above it a function fails. Counts of one build repeat within 0.1 %.
RISE_MAX = 0.02
# A fall or rise below this is not worth a word.
NOTABLE = 0.001
# SHA-256 runs in software here and with SHA-NI elsewhere; its rounds would hide what the code around them does.
LEFT_OUT = ("sha2::sha256::*",)


@dataclass
class Counts:
    """What counts.txt holds: what the counts depend on, and instructions per operation by function."""

    environment: dict[str, str]
    functions: dict[str, float]

    def write(self) -> str:
        lines = ["# Instructions per operation, written by tests/tools/instructions.py --update. Compared only where all of these fit:"]
        lines += [f"{key}: {value}" for key, value in self.environment.items()]
        lines += [""] + [f"{name} {count:.1f}" for name, count in self.functions.items()]
        return "\n".join(lines) + "\n"

    @staticmethod
    def read(text: str) -> "Counts":
        counts = Counts({}, {})
        for line in text.splitlines():
            if ": " in line and not line.startswith("#"):
                key, value = line.split(": ", 1)
                counts.environment[key] = value
            elif line and not line.startswith("#"):
                name, count = line.split()
                counts.functions[name] = float(count)
        return counts


def own_costs(text: str) -> dict[str, int]:
    """Instructions of each function without those of what it calls, from a callgrind.out file ("Callgrind Format
    Specification" in valgrind's manual: names are given once and numbered, the line after `calls=` is the callee's)."""
    names: dict[str, str] = {}
    costs: dict[str, int] = {}
    function, is_callee = "", False
    for line in text.splitlines():
        if named := re.match(r"(c?)fn=\((\d+)\)(?: (.*))?$", line):
            callee, number, name = named.groups()
            if name is not None:
                names[number] = name
            if not callee:
                function = names[number]
        elif line.startswith("calls="):
            is_callee = True
        elif re.match(r"[-+*\d]", line):
            fields = line.split()
            if not is_callee and len(fields) > 1:
                costs[function] = costs.get(function, 0) + int(fields[1])
            is_callee = False
    totals = re.search(r"^totals: (\d+)", text, re.MULTILINE)
    if totals is None or int(totals[1]) != sum(costs.values()):
        raise ValueError(f"costs sum up to {sum(costs.values())}, callgrind says {totals and totals[1]}")
    return costs


def counted(costs: dict[str, int]) -> int:
    """What counts of these costs."""
    return sum(cost for name, cost in costs.items() if not any(fnmatch.fnmatchcase(name, out) for out in LEFT_OUT))


def compare(old: Counts, new: Counts) -> tuple[list[str], list[str]]:
    """The lines to print, and the functions that fail."""
    lines, failed = [], []
    for key in sorted(old.environment.keys() | new.environment.keys()):
        was, is_now = old.environment.get(key), new.environment.get(key)
        if was != is_now:
            lines.append(f"not compared: {key} is {is_now or 'unknown'}, the counts were taken with {was or 'none'}")
    if lines:
        return lines + [f"{name:<16} {'-':>10} {count:>10.1f}" for name, count in new.functions.items()], []
    for name in sorted(old.functions.keys() | new.functions.keys()):
        was, count = old.functions.get(name), new.functions.get(name)
        if was is None or count is None:
            lines.append(f"{name:<16} {'is not counted any more' if count is None else 'has no count in counts.txt'}")
            failed.append(name)
            continue
        change = count / was - 1
        words = ((RISE_MAX, f"MORE THAN {RISE_MAX:.0%} MORE"), (NOTABLE, "more"), (-NOTABLE, "same"))
        word = next((word for least, word in words if change > least), "improved")
        lines.append(f"{name:<16} {was:>10.1f} {count:>10.1f} {change:>+8.2%}  {word}")
        if change > RISE_MAX:
            failed.append(name)
    return lines, failed


def output(command: list[str]) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def environment(program: Path) -> dict[str, str]:
    """All that a count depends on beside the code and Cargo.lock."""
    profiles = tomllib.loads((ROOT / "Cargo.toml").read_text())["profile"]
    profile = profiles["release"] | profiles[PROFILE]
    return {
        "compiler": output(["rustc", "--version"]),
        "profile": ", ".join(f"{key}={value}" for key, value in sorted(profile.items())),
        "valgrind": output(["valgrind", "--version"]),
        "C library": output(["getconf", "GNU_LIBC_VERSION"]),
        "processor under valgrind": output(["valgrind", "--tool=none", "-q", str(program), "--features"]),
    }


def count(program: Path, name: str) -> float:
    """Instructions per operation of one function, as counts.txt keeps it."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "out"
        callgrind = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}"]
        callgrind += [f"--toggle-collect=zerocloud_instructions::measured::{name}*", str(program), name]
        operations = int(output(callgrind))
        costs = own_costs(out.read_text())
    if not costs:
        raise ValueError(f"callgrind collected nothing in measured::{name}")
    return round(counted(costs) / operations, 1)


def self_test() -> None:
    """The reading and the judgement, so that a check that cannot fail is noticed."""
    text = "fn=(1) ours\n0 5\ncfn=(2) sha2::sha256::compress\ncalls=1 152\n0 90\n+3 2\n\nfn=(2)\n7 90\n* 4\n\ntotals: 101\n"
    assert own_costs(text) == {"ours": 7, "sha2::sha256::compress": 94} and counted(own_costs(text)) == 7
    try:
        own_costs(text.replace("101", "100"))
        raise AssertionError("a total that does not fit was accepted")
    except ValueError:
        pass
    old = Counts({"compiler": "one"}, {"slower": 1000.0, "steady": 1000.0, "faster": 1000.0})
    assert Counts.read(old.write()) == old
    new = Counts({"compiler": "one"}, {"slower": 1021.0, "steady": 1019.0, "faster": 900.0})
    assert compare(old, new)[1] == ["slower"]
    assert compare(old, Counts({"compiler": "one"}, {"slower": 1000.0, "steady": 1000.0}))[1] == ["faster"]
    assert compare(old, Counts({"compiler": "other"}, new.functions))[1] == []


def main() -> int:
    self_test()
    subprocess.run(BUILD, cwd=ROOT, check=True)
    metadata = json.loads(output(["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"]))
    program = Path(metadata["target_directory"]) / PROFILE / PROGRAM
    new = Counts(environment(program), {name: count(program, name) for name in output([str(program), "--list"]).split()})
    if sys.argv[1:] == ["--update"]:
        COUNTS.write_text(new.write())
        print(f"instructions: {len(new.functions)} functions, written to {COUNTS.relative_to(ROOT)}")
        return 0
    lines, failed = compare(Counts.read(COUNTS.read_text()), new)
    print(f"{'per operation':<16} {'old':>10} {'new':>10} {'change':>8}")
    for line in lines:
        print(line)
    for name in failed:
        print(f"measured::{name}: see bench/instructions/src/measured.rs; if this change is meant: {UPDATE}")
    print(f"instructions: {len(new.functions)} functions, {len(failed)} problems")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
