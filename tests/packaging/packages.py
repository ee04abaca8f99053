"""What packaging/build has made: the same in the deb and the rpm, complete, clean, and the same again wherever it is packed."""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
# Where each has what the other has elsewhere; what only one of them has.
PLACES = (("lib/systemd/", "usr/lib/systemd/"), ("usr/share/zsh/vendor-completions/", "usr/share/zsh/site-functions/"))
ONLY_ONE = re.compile(r"usr/share/(doc|lintian|licenses)/(?!zerocloud/sbom)")
CONFIGURATION = "etc/zerocloud/zerocloud.toml"
EXPECTED = (
    "usr/bin/zerocloud",
    "usr/lib/systemd/system/zerocloud.service",
    "usr/lib/systemd/system/zerocloud.socket",
    "usr/lib/sysusers.d/zerocloud.conf",
    "usr/lib/tmpfiles.d/zerocloud.conf",
    "usr/lib/sysctl.d/60-zerocloud.conf",
    "usr/share/man/man1/zerocloud.1.gz",
    "usr/share/bash-completion/completions/zerocloud",
    "usr/share/zsh/site-functions/_zerocloud",
    "usr/share/fish/vendor_completions.d/zerocloud.fish",
    "usr/share/doc/zerocloud/sbom.cdx.json",
    CONFIGURATION,
)
IN_DEB = ("copyright", "changelog.gz", "changelog.Debian.gz", "third-party-notices.txt.gz")
IN_RPM = ("doc/zerocloud/CHANGELOG.md", "doc/zerocloud/third-party-notices.txt", "licenses/zerocloud/LICENSE")


def run(*command: str | Path, code: int = 0, **more) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    assert done.returncode == code, f"{[str(part) for part in command]} ended with {done.returncode}: {done.stdout}"
    return done.stdout


class Packages:
    """The four files, the deb and the rpm unpacked."""

    def __init__(self, directory: Path, unstripped: Path, scratch: Path):
        self.directory, self.unstripped, self.scratch = directory, unstripped, scratch
        self.deb, self.symbols_deb = self.one("zerocloud_*.deb"), self.one("zerocloud-dbgsym_*.deb")
        self.rpm, self.symbols_rpm = self.one("zerocloud-[0-9]*.rpm"), self.one("zerocloud-debuginfo-*.rpm")
        self.roots = {path: scratch / path.name for path in (self.deb, self.symbols_deb, self.rpm, self.symbols_rpm)}
        for path, root in self.roots.items():
            root.mkdir()
            if path.suffix == ".deb":
                run("dpkg-deb", "-x", path, root)
            else:
                archive = subprocess.run(["rpm2cpio", path], check=True, stdout=subprocess.PIPE).stdout
                subprocess.run(["cpio", "-idm", "--quiet"], cwd=root, input=archive, check=True)

    def one(self, pattern: str) -> Path:
        [path] = self.directory.glob(pattern)
        return path

    def files(self, package: Path) -> dict[str, str]:
        """Names, as the rpm has them, and digests."""
        root, found = self.roots[package], {}
        for path in root.rglob("*"):
            name = str(path.relative_to(root))
            for deb, rpm in PLACES:
                name = rpm + name[len(deb) :] if name.startswith(deb) else name
            if path.is_file():
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def binary(self) -> Path:
        return self.roots[self.deb] / "usr/bin/zerocloud"


def both_hold_the_same(packages: Packages) -> str:
    deb, rpm = packages.files(packages.deb), packages.files(packages.rpm)
    common = {name: digest for name, digest in deb.items() if not ONLY_ONE.match(name)}
    assert common == {name: digest for name, digest in rpm.items() if not ONLY_ONE.match(name)}, set(common) ^ set(rpm)
    missing = [name for name in EXPECTED if name not in common]
    missing += [name for name in IN_DEB if f"usr/share/doc/zerocloud/{name}" not in deb]
    missing += [name for name in IN_RPM if f"usr/share/{name}" not in rpm]
    assert not missing, missing
    return f"{len(common)} files"


def the_configuration_is_one_that_its_owner_may_edit(packages: Packages) -> str:
    assert run("dpkg-deb", "-I", packages.deb, "conffiles").split() == [f"/{CONFIGURATION}"]
    assert run("rpm", "-qcp", packages.rpm).split() == [f"/{CONFIGURATION}"]
    modes = run("rpm", "-qp", "--qf", "[%{FILENAMES} %{FILEMODES:perms} %{FILEUSERNAME} %{FILEGROUPNAME}\n]", packages.rpm)
    assert f"/{CONFIGURATION} -rw-r----- root zerocloud\n" in modes, modes
    mode = (packages.roots[packages.deb] / CONFIGURATION).stat().st_mode & 0o777
    assert mode == 0o640, oct(mode)
    return ""


def the_rpm_makes_the_same_user_before_its_files(packages: Packages) -> str:
    """Its script cannot read the file that it is about to lay out, so it says the same."""
    text = (packages.roots[packages.rpm] / "usr/lib/sysusers.d/zerocloud.conf").read_text()
    [user] = [line for line in text.splitlines() if not line.startswith("#")]
    assert user in run("rpm", "-qp", "--qf", "%{PREIN}", packages.rpm).splitlines(), user
    return ""


def the_symbols_fit_the_binary(packages: Packages) -> str:
    binary = packages.binary()
    sections = run("readelf", "--wide", "--section-headers", binary)
    assert ".debug_info" not in sections and ".symtab" not in sections, "the binary is not stripped"
    identity = re.search(r"Build ID: (\w+)", run("readelf", "--notes", binary))[1]
    for package in (packages.symbols_deb, packages.symbols_rpm):
        [name] = [name for name in packages.files(package) if name.endswith(".debug")]
        assert name == f"usr/lib/debug/.build-id/{identity[:2]}/{identity[2:]}.debug", name
        sections = run("readelf", "--wide", "--section-headers", packages.roots[package] / name)
        assert ".debug_line" in sections and identity in run("readelf", "--notes", packages.roots[package] / name)
    return identity


def a_newer_c_library_is_refused_by_the_names_of_its_symbols(packages: Packages) -> str:
    command = [ROOT / "packaging/build", "--binary", packages.binary(), "--glibc-max", "2.17", "--out", packages.scratch / "refused"]
    said = run(*command, code=1)
    newer = re.findall(r"^  (\w+) GLIBC_(2\.\d+)$", said, re.M)
    assert newer and all(int(version.split(".")[1]) > 17 for _, version in newer), said
    assert not list((packages.scratch / "refused").glob("*")), "something was packed all the same"
    return f"beyond 2.17: {len(newer)} symbols, the newest GLIBC_{max((v for _, v in newer), key=lambda v: int(v[2:]))}"


def no_path_of_the_machine_is_in_the_binary(packages: Packages) -> str:
    content = packages.binary().read_bytes()
    cargo = os.environ.get("CARGO_HOME", str(Path.home() / ".cargo"))
    for path in (str(ROOT), str(TARGET.resolve()), cargo):
        assert f"{path}/".encode() not in content, f"{path} is in the binary"
    return ""


def the_bill_of_materials_is_valid_and_names_what_is_linked(packages: Packages) -> str:
    text = (packages.roots[packages.deb] / "usr/share/doc/zerocloud/sbom.cdx.json").read_text()
    bill = json.loads(text)
    validator = JsonStrictValidator(SchemaVersion.from_version(bill["specVersion"]))
    assert validator.validate_str(text) is None, validator.validate_str(text)
    assert validator.validate_str(text.replace('"type": "library"', '"type": "book"')) is not None, "the validator takes anything"
    foreign = {(one["name"], one["version"]) for one in bill["components"] if "hashes" in one}
    # The notices come from another reading of the same lock file, see appliance/node/tests/licenses.rs.
    listed = run(packages.binary(), "licenses").split("\n\n")[1]
    noticed = {tuple(line.split()[:2]) for line in listed.splitlines()}
    assert foreign == noticed, f"in one of bill and notices only: {foreign ^ noticed}"
    known = {one["bom-ref"] for one in [bill["metadata"]["component"], *bill["components"]]}
    uses = {one["ref"]: one["dependsOn"] for one in bill["dependencies"]}
    assert set(uses) == known, set(uses) ^ known
    assert known.issuperset(used for one in uses.values() for used in one), "something is used that is not listed"
    unlicensed = [one["name"] for one in bill["components"] if not one.get("licenses")]
    assert not unlicensed, unlicensed
    return f"{len(foreign)} libraries of others"


def every_command_has_its_manual_and_completions_load(packages: Packages) -> str:
    share = packages.roots[packages.deb] / "usr/share"
    commands = re.search(r"(?s)Commands:\n(.*?)\n\n", run(packages.binary(), "--help"))[1]
    names = [line.split()[0] for line in commands.splitlines() if re.match(r"  \w", line)]
    names.remove("help")
    missing = [name for name in names if not (share / f"man/man1/zerocloud-{name}.1.gz").is_file()]
    assert not missing, missing
    script = share / "bash-completion/completions/zerocloud"
    loaded = run("bash", "-c", 'source "$0" && complete -p zerocloud', script)
    assert "zerocloud" in loaded
    for name in ("zsh/vendor-completions/_zerocloud", "fish/vendor_completions.d/zerocloud.fish"):
        assert "zerocloud" in (share / name).read_text(), name
    return f"{len(names)} commands"


def lintian_has_nothing_to_say(packages: Packages) -> str:
    said = run("lintian", "--allow-root", "--fail-on", "error,warning", packages.deb, packages.symbols_deb)
    assert said == "", said
    return ""


def the_rpms_are_whole(packages: Packages) -> str:
    for package in (packages.rpm, packages.symbols_rpm):
        assert "digests OK" in run("rpm", "-K", "--nosignature", package)
    return ""


def the_unit_is_exposed_little(packages: Packages) -> str:
    unit = packages.roots[packages.deb] / "lib/systemd/system/zerocloud.service"
    said = run("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", unit)
    return re.search(r"Overall exposure level[^\n]*?: ([0-9.]+)", said)[1]


def packed_elsewhere_it_is_the_same(packages: Packages) -> str:
    """From the same binary and commit, in a directory of another name and length."""
    elsewhere, again = packages.scratch / "a-directory-of-another-name", packages.scratch / "again"
    run("git", "clone", "--quiet", "--no-hardlinks", ROOT, elsewhere)
    run("cp", packages.unstripped, packages.scratch / "another-name")
    run(elsewhere / "packaging/build", "--binary", packages.scratch / "another-name", "--out", again)
    sums = [(place / "SHA256SUMS").read_text() for place in (packages.directory, again)]
    assert sums[0] == sums[1], "\n".join(sums)
    return f"{len(sums[0].splitlines())} files"


FACTS = (
    both_hold_the_same,
    the_configuration_is_one_that_its_owner_may_edit,
    the_rpm_makes_the_same_user_before_its_files,
    the_symbols_fit_the_binary,
    a_newer_c_library_is_refused_by_the_names_of_its_symbols,
    no_path_of_the_machine_is_in_the_binary,
    the_bill_of_materials_is_valid_and_names_what_is_linked,
    every_command_has_its_manual_and_completions_load,
    lintian_has_nothing_to_say,
    the_rpms_are_whole,
    the_unit_is_exposed_little,
    packed_elsewhere_it_is_the_same,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, default=TARGET / "packages", help="what packaging/build has made")
    parser.add_argument("--binary", type=Path, default=TARGET / "packaged/release/zerocloud", help="what it was made from")
    arguments = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="zerocloud-packages-") as directory:
        packages = Packages(arguments.packages.resolve(), arguments.binary.resolve(), Path(directory))
        for fact in FACTS:
            try:
                said = fact(packages)
            except AssertionError as error:
                failed += 1
                print(f"FAILED {fact.__name__}: {error}", flush=True)
            else:
                print(f"{fact.__name__}{': ' if said else ''}{said}", flush=True)
    print(f"packages: {len(FACTS) - failed} of {len(FACTS)} facts shown")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
