"""Checks licences, bans and sources of everything that is linked into a binary, by the rules of deny.toml.

Reads `cargo metadata`; needs no network. Prints what it checked and ends with 1 when something is not allowed.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def allowed(expression: str, allow: set[str]) -> bool:
    """Whether an SPDX expression can be met by allowed licences only. `/` is the old way to write OR."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))
    place = 0

    def peek() -> str | None:
        return tokens[place] if place < len(tokens) else None

    def either() -> bool:
        nonlocal place
        value = both()
        while peek() == "OR":
            place += 1
            value = both() or value
        return value

    def both() -> bool:
        nonlocal place
        value = one()
        while peek() == "AND":
            place += 1
            value = one() and value
        return value

    def one() -> bool:
        nonlocal place
        token = peek()
        place += 1
        if token == "(":
            value = either()
            if peek() != ")":
                raise ValueError(expression)
            place += 1
            return value
        if token is None or token in {")", "AND", "OR"}:
            raise ValueError(expression)
        name = token
        if peek() == "WITH":
            name = f"{token} WITH {tokens[place + 1]}"
            place += 2
        return name in allow

    value = either()
    if place != len(tokens):
        raise ValueError(expression)
    return value


def self_test() -> None:
    """The evaluator itself, so that a check that cannot fail is noticed."""
    allow = {"MIT", "ISC", "Apache-2.0 WITH LLVM-exception"}
    assert allowed("MIT OR GPL-3.0", allow) and not allowed("MIT AND GPL-3.0", allow)
    assert allowed("(GPL-3.0 OR MIT) AND ISC", allow) and not allowed("GPL-3.0/LGPL-2.1", allow)
    assert allowed("Apache-2.0 WITH LLVM-exception", allow) and not allowed("Apache-2.0", allow)


def linked(metadata: dict) -> set[str]:
    """Package ids that end up in a binary of ours, the load generator included: normal and build dependencies of the workspace's members."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    seen: set[str] = set()
    queue = list(metadata["workspace_members"])
    while queue:
        package = queue.pop()
        if package in seen:
            continue
        seen.add(package)
        for dependency in nodes[package]["deps"]:
            if any(kind["kind"] in (None, "build") for kind in dependency["dep_kinds"]):
                queue.append(dependency["pkg"])
    return seen


def main() -> int:
    self_test()
    rules = tomllib.loads((ROOT / "deny.toml").read_text())
    allow = set(rules["licenses"]["allow"])
    banned = {entry["crate"] for entry in rules["bans"]["deny"]}
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--all-features"]
    command += ["--filter-platform", rules["graph"]["targets"][0]]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    members = set(metadata["workspace_members"])
    in_binary = linked(metadata)
    problems = []
    for package in metadata["packages"]:
        name = f"{package['name']} {package['version']}"
        if package["id"] not in in_binary:
            continue
        licence = package["license"] or ""
        if not licence or not allowed(licence, allow):
            problems.append(f"licence of {name} is not allowed: {licence or 'none given'}")
        if package["name"] in banned:
            problems.append(f"{name} is banned")
        if package["id"] not in members and not str(package["source"]).startswith("registry+"):
            problems.append(f"{name} comes from {package['source']}")
    registries = {package["source"] for package in metadata["packages"] if package["source"]}
    if len(registries) > 1:
        problems.append(f"packages come from more than one place: {sorted(registries)}")
    for problem in problems:
        print(problem)
    print(f"dependencies: {len(in_binary)} packages in our binaries, {len(problems)} problems")
    advisories = Path.home() / ".cargo" / "advisory-db"
    if not advisories.is_dir():
        print("advisories: not checked, no advisory database is at hand")
    elif subprocess.run(["cargo", "audit", "--no-fetch"], cwd=ROOT).returncode != 0:
        return 1
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
