"""The bill of materials of the appliance's binary in CycloneDX, from the lock file: what is linked, its licence and its checksum.

The same commit gives the same bytes: no time, no serial number, everything sorted. Writes to stdout; needs no network.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "zerocloud"
TARGET = "x86_64-unknown-linux-gnu"
# A depth, a name and a version, as `cargo tree` prints them.
LINE = re.compile(r"^(\d+)(\S+) v(\S+)")

Crate = tuple[str, str]


def cargo(*arguments: str) -> str:
    command = ["cargo", *arguments, "--locked", "--offline"]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def linked() -> dict[Crate, set[Crate]]:
    """Each crate of the binary and those that it uses: normal dependencies, under the features of a build of this package alone."""
    text = cargo("tree", "--package", PACKAGE, "--edges", "normal", "--target", TARGET, "--prefix", "depth", "--format", "{p}")
    uses: dict[Crate, set[Crate]] = {}
    path: list[Crate] = []
    for line in text.splitlines():
        found = LINE.match(line)
        if found is None:
            raise ValueError(f"cargo tree printed {line!r}")
        depth, crate = int(found[1]), (found[2], found[3])
        del path[depth:]
        uses.setdefault(crate, set())
        if path:
            uses[path[-1]].add(crate)
        path.append(crate)
    return uses


def reference(crate: Crate) -> str:
    return f"pkg:cargo/{crate[0]}@{crate[1].replace('+', '%2B')}"


def component(crate: Crate, package: dict, checksum: str | None) -> dict:
    described = {
        "type": "application" if crate[0] == PACKAGE else "library",
        "bom-ref": reference(crate),
        "name": crate[0],
        "version": crate[1],
        "purl": reference(crate),
    }
    if package["license"] is not None:
        # `/` is the old way to write OR.
        described["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", package["license"])}]
    if checksum is not None:
        described["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return described


def bill() -> dict:
    uses = linked()
    metadata = json.loads(cargo("metadata", "--format-version", "1", "--filter-platform", TARGET))
    packages = {(package["name"], package["version"]): package for package in metadata["packages"]}
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    sums = {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}
    [own] = [crate for crate in uses if crate[0] == PACKAGE]
    described = {crate: component(crate, packages[crate], sums[crate]) for crate in sorted(uses)}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": described[own]},
        "components": [one for crate, one in described.items() if crate != own],
        "dependencies": [
            {"ref": reference(crate), "dependsOn": sorted(map(reference, uses[crate]))} for crate in sorted(uses)
        ],
    }


def main() -> int:
    json.dump(bill(), sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
