"""packaging/ and the README against the binary, the schemas and the linters, and the checks against mistakes that are planted: check.py [NAME...]

Needs no root and no network. Without names it checks everything and then plants one mistake after the other into a copy, each of which
must be found; with names it runs these checks alone (of CHECKS below) and plants nothing. PROMTOOL names the program of that name.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import manifests  # noqa: E402
import monitoring  # noqa: E402
import planted  # noqa: E402
import proxmox  # noqa: E402
import typed  # noqa: E402
import words  # noqa: E402
from node import Node  # noqa: E402

from zctest.server import ROOT  # noqa: E402

TREE = ROOT / "packaging"
PROMTOOL = Path(os.environ.get("PROMTOOL", ROOT / ".test-tools" / "promtool"))

CHECKS: dict[str, Callable[[Path, Node], list[str]]] = {
    "scripts": lambda tree, node: manifests.scripts(tree) + manifests.c_library(tree),
    "units": lambda tree, node: manifests.units(tree),
    "image": lambda tree, node: manifests.dockerfile(tree),
    "compose": manifests.compose,
    "seccomp": manifests.seccomp,
    "kubernetes": manifests.kubernetes,
    "proxmox": lambda tree, node: proxmox.check(tree),
    "rules": lambda tree, node: monitoring.rules(tree, node, PROMTOOL),
    "dashboard": lambda tree, node: monitoring.dashboard(tree, node, PROMTOOL),
    "typed": typed.check,
    "words": lambda tree, node: words.check(tree, node) + monitoring.prose(tree, node),
}


class Copy:
    """packaging/ with mistakes in it, and the README beside it."""

    def __init__(self, check: str):
        self.check, self.mistakes, self.files = check, [], {}

    def take(self, mistake: planted.Mistake) -> bool:
        """Whether it can stand beside those that are here."""
        if self.mistakes and (mistake.check != self.check or mistake.alone or self.mistakes[0].alone):
            return False
        path = TREE / mistake.file
        text = self.files.get(mistake.file, path.read_text() if path.is_file() else "")
        if mistake.there not in text:
            return False
        self.files[mistake.file] = text.replace(mistake.there, mistake.instead, 1)
        self.mistakes.append(mistake)
        return True

    def missed(self, node: Node, healthy: set[str]) -> list[str]:
        """Mistakes that the check does not find. What is wrong without them does not count as finding them."""
        with tempfile.TemporaryDirectory(prefix="zerocloud-planted-") as scratch:
            copy = Path(scratch) / "packaging"
            shutil.copytree(TREE, copy)
            shutil.copy(ROOT / "README.md", copy.parent)
            for name, text in self.files.items():
                (copy / name).write_text(text)
            found = set(CHECKS[self.check](copy, node)) - healthy
        missed = [one for one in self.mistakes if not any(one.heard in text for text in found)]
        return [f"{one.check} does not see {one.instead!r} in {one.file}; it says {sorted(found)}" for one in missed]


def plant(node: Node, healthy: dict[str, set[str]]) -> list[str]:
    """Mistakes that were not found, or could not be planted."""
    copies: list[Copy] = []
    missed = []
    for mistake in planted.MISTAKES:
        if any(copy.take(mistake) for copy in copies):
            continue
        copy = Copy(mistake.check)
        if copy.take(mistake):
            copies.append(copy)
        else:
            missed.append(f"{mistake.file} does not hold {mistake.there!r}, so nothing can be planted there")
    for copy in copies:
        missed += copy.missed(node, healthy[copy.check])
    return missed


def main(names: list[str]) -> int:
    if unknown := set(names) - set(CHECKS):
        print(f"no such check: {', '.join(sorted(unknown))}; there are {', '.join(CHECKS)}")
        return 64
    problems = manifests.programs()
    if not PROMTOOL.is_file():
        problems.append(f"{PROMTOOL} is missing")
    if problems:
        print("\n".join(problems))
        return 1
    healthy: dict[str, set[str]] = {}
    with tempfile.TemporaryDirectory(prefix="zerocloud-packaging-") as kept, Node(Path(kept)) as node:
        for name in names or CHECKS:
            begun = time.monotonic()
            found = CHECKS[name](TREE, node)
            healthy[name] = set(found)
            problems += found
            print(f"packaging: {name}: {len(found)} problems ({time.monotonic() - begun:.1f} s)", *found, sep="\n    ", flush=True)
        if not names:
            begun = time.monotonic()
            missed = plant(node, healthy)
            problems += missed
            count = len(planted.MISTAKES)
            found_count = f"{count - len(missed)} of {count} planted mistakes found"
            print(f"packaging: {found_count} ({time.monotonic() - begun:.1f} s)", *missed, sep="\n    ")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
