"""Real clients of the build cache that keep opaque values: each with a small project of its own kind, how it is run, and what
it counted. A client keeps everything that is its own below `home`: another home is another machine.
"""

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from zctest.cache import NOISE_BYTES, WRITE_TOKEN, Worker, noise
from zctest.files import tool
from zctest.server import ROOT, plain_environment

CLIENTS = ROOT / "tests" / "clients"
# Generous: a client that is started with a virtual machine of its own takes long where many others compute.
SECONDS_MAX = 600
COMPILER = 'exec gcc "$@"'


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """The tester's environment without the settings of the clients, and with a home of its own."""
    settings = ("CCACHE_", "SCCACHE_", "TURBO_", "NX_", "GRADLE_", "npm_config_", "NPM_CONFIG_")
    home.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in plain_environment().items() if not name.startswith(settings)}
    beside = str(Path(tool("python")).parent)
    return kept | {"HOME": str(home), "CI": "1", "PATH": f"{beside}:{kept['PATH']}"} | more


def end(command: list[str], environment: dict[str, str], directory: Path) -> tuple[int, str]:
    """The exit code of a program, and what it said."""
    done = subprocess.run(
        command, env=environment, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS_MAX
    )
    return done.returncode, done.stdout + done.stderr


def compiler(directory: Path) -> Worker:
    """A C compiler whose calls are counted, which the caches take for what it is."""
    return Worker(directory, COMPILER, name="gcc")


def compilations(worker: Worker) -> list[str]:
    """The units that a compiler made object files of: its other calls preprocess or ask what it is."""
    calls = [call.split() for call in worker.calls()]
    return [next(word for word in call if word.endswith(".c")) for call in calls if "-c" in call and "-E" not in call]


class Units:
    """A C project: each unit holds noise of its own, so that its object file does too."""

    def __init__(self, root: Path, count: int, seed: int):
        root.mkdir(parents=True)
        self.root, self.names, self.seed = root, [f"unit_{number}.c" for number in range(count)], seed
        (root / "common.h").write_text("int common(int);\n")
        for number, name in enumerate(self.names):
            numbers = ",".join(str(byte) for byte in self.noise(number))
            text = f'#include "common.h"\nconst unsigned char data_{number}[] = {{{numbers}}};\nint f_{number}(void) {{ return common({number}); }}\n'
            (root / name).write_text(text)

    def noise(self, number: int) -> bytes:
        """What is in the object file of a unit."""
        return noise(self.seed * 100 + number, NOISE_BYTES)

    def are_right(self) -> bool:
        """Whether each object file is what the compiler makes of the unit without any cache."""
        for name in self.names:
            plain = self.root / "plain.o"
            subprocess.run(["gcc", "-c", name, "-o", plain.name], cwd=self.root, check=True)
            if plain.read_bytes() != (self.root / name).with_suffix(".o").read_bytes():
                return False
        return True


class Ccache:
    """ccache with a remote storage over HTTP. `basic`: the token stands in the URL as a password."""

    def __init__(self, home: Path, url: str, token: str = WRITE_TOKEN, layout: str = "subdirs", basic: bool = False):
        home.mkdir(parents=True)
        self.log_path = home / "ccache.log"
        storage = url.replace("://", f"://anybody:{token}@", 1) if basic else f"{url}|bearer-token={token}"
        storage += f"|layout={layout}"
        # What the client waits for a machine without an answer shall not decide a test on a busy one.
        storage += "|connect-timeout=60000|operation-timeout=60000"
        self.environment = clean_environment(
            home,
            CCACHE_DIR=str(home / "cache"),
            CCACHE_CONFIGPATH=os.devnull,
            CCACHE_LOGFILE=str(self.log_path),
            CCACHE_REMOTE_STORAGE=storage,
        )

    def build(self, units: Units, worker: Worker) -> None:
        """Compiles all units, which always works."""
        for name in units.names:
            command = ["ccache", str(worker.path), "-c", name, "-o", str(Path(name).with_suffix(".o"))]
            code, said = end(command, self.environment, units.root)
            assert code == 0, said

    def counts(self) -> dict[str, int]:
        """Its own counters."""
        code, said = end(["ccache", "--print-stats"], self.environment, Path("/"))
        assert code == 0, said
        return {name: int(value) for name, value in (line.split("\t") for line in said.splitlines())}

    def logged(self, text: str) -> int:
        """How many lines of its log hold this text."""
        return sum(text in line for line in self.log_path.read_text().splitlines())


class Sccache:
    """sccache over WebDAV. Its server runs while it is entered."""

    def __init__(self, home: Path, url: str, token: str = WRITE_TOKEN, basic: bool = False, prefix: str | None = None):
        home.mkdir(parents=True)
        credentials = {"SCCACHE_WEBDAV_USERNAME": "anybody", "SCCACHE_WEBDAV_PASSWORD": token} if basic else {"SCCACHE_WEBDAV_TOKEN": token}
        self.environment = clean_environment(
            home,
            # A socket in its own directory: a port could be somebody else's.
            SCCACHE_SERVER_UDS=str(home / "s"),
            SCCACHE_CONF=os.devnull,
            SCCACHE_WEBDAV_ENDPOINT=url,
            **credentials,
        )
        if prefix:
            self.environment["SCCACHE_WEBDAV_KEY_PREFIX"] = prefix
        self.home = home

    def start(self) -> tuple[int, str]:
        """Starts its server as its users do: for a server that will not start, and says why."""
        return end([tool("sccache"), "--start-server"], self.environment, self.home)

    def serve(self) -> None:
        """Runs its server and waits for it as long as it takes; the client itself would wait for ten seconds."""
        environment = self.environment | {"SCCACHE_START_SERVER": "1", "SCCACHE_NO_DAEMON": "1"}
        log = self.home / "server.log"
        with log.open("wb") as said:
            self.process = subprocess.Popen([tool("sccache")], env=environment, cwd=self.home, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            with socket.socket(socket.AF_UNIX) as knock:
                if knock.connect_ex(self.environment["SCCACHE_SERVER_UDS"]) == 0:
                    return
            assert self.process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)

    def build(self, units: Units, worker: Worker) -> None:
        """Compiles all units, which always works once the server runs."""
        for name in units.names:
            command = [tool("sccache"), str(worker.path), "-c", name, "-o", str(Path(name).with_suffix(".o"))]
            code, said = end(command, self.environment, units.root)
            assert code == 0, said

    def counts(self) -> dict:
        """Its own counters."""
        code, said = end([tool("sccache"), "--show-stats", "--stats-format", "json"], self.environment, self.home)
        assert code == 0, said
        found = json.loads(said[said.index("{") :])["stats"]
        sums = {name: sum(found[name]["counts"].values()) for name in ("cache_hits", "cache_misses", "cache_errors")}
        return sums | {name: found[name] for name in ("cache_writes", "cache_write_errors", "compilations")}

    def settled(self) -> dict:
        """Its counters once each miss was stored or could not be: it uploads behind the build."""
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            counts = self.counts()
            if counts["cache_misses"] == counts["cache_writes"] + counts["cache_write_errors"]:
                return counts
            assert time.monotonic() < deadline, counts
            time.sleep(0.05)

    def __enter__(self) -> "Sccache":
        self.serve()
        return self

    def __exit__(self, *_: object) -> None:
        end([tool("sccache"), "--stop-server"], self.environment, self.home)
        try:
            self.process.wait(SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Tasks:
    """A project of three packages, each of which needs the one before it: source and noise in, the same in capitals out.

    What they run is `work.sh` of the project, which leads to the worker: so the path of the worker is in no key.
    """

    NAMES = ("a", "b", "c")

    def __init__(self, root: Path, seed: int, noise_bytes: int = NOISE_BYTES):
        self.root, self.seed, self.noise_bytes = root, seed, noise_bytes
        root.mkdir(parents=True)
        (root / "work.sh").write_text('exec "$WORKER" "$@"\n')
        for number, name in enumerate(self.NAMES):
            package = root / "packages" / name
            package.mkdir(parents=True)
            (package / "source.txt").write_text(f"source of {name}, seed {seed}\n")
            (package / "noise.bin").write_bytes(self.noise(number))

    def noise(self, number: int) -> bytes:
        return noise(self.seed * 100 + number, self.noise_bytes)

    def are_right(self) -> bool:
        """Whether each task's outputs are what it makes of its sources."""
        for name in self.NAMES:
            package = self.root / "packages" / name
            made = package / "dist"
            text = (package / "source.txt").read_text().upper()
            if (made / "result.txt").read_text() != text or (made / "noise.bin").read_bytes() != (package / "noise.bin").read_bytes():
                return False
        return True


def task_worker(directory: Path) -> Worker:
    """What a task of `Tasks` runs, in the directory of its package."""
    return Worker(directory, "mkdir -p dist && tr a-z A-Z < source.txt > dist/result.txt && cp noise.bin dist/noise.bin && echo done $1")


class Turbo:
    """Turborepo. The project is made for it by `project`; a home is a machine that has run nothing yet."""

    def __init__(self, home: Path, url: str, token: str = WRITE_TOKEN, team: str = "default", signed: bool = False):
        home.mkdir(parents=True)
        self.environment = clean_environment(
            home,
            TURBO_API=url,
            TURBO_TOKEN=token,
            TURBO_TEAM=team,
            TURBO_TELEMETRY_DISABLED="1",
            TURBO_NO_UPDATE_NOTIFIER="1",
            TURBO_CACHE_DIR=str(home / "turbo"),
            # By default 30 and 60 seconds. A build on a machine that stalls must not go without the cache.
            TURBO_REMOTE_CACHE_TIMEOUT="600",
            TURBO_REMOTE_CACHE_UPLOAD_TIMEOUT="600",
        )
        if signed:
            self.environment["TURBO_REMOTE_CACHE_SIGNATURE_KEY"] = "k" * 32
        self.home = home

    @staticmethod
    def project(root: Path, seed: int, signed: bool = False) -> Tasks:
        tasks = Tasks(root, seed)
        names = [f"packages/{name}" for name in tasks.NAMES]
        write_json(root / "package.json", {"name": "root", "private": True, "packageManager": "npm@10.9.3", "workspaces": names})
        configuration = {"remoteCache": {"signature": signed}, "globalPassThroughEnv": ["WORKER"]}
        write_json(root / "turbo.json", configuration | {"tasks": {"build": {"dependsOn": ["^build"], "outputs": ["dist/**"]}}})
        locked: dict = {"": {"name": "root", "workspaces": names}}
        before = None
        for name in tasks.NAMES:
            needed = {"dependencies": {before: "1.0.0"}} if before else {}
            package = {"name": name, "version": "1.0.0", "scripts": {"build": f"sh ../../work.sh {name}"}} | needed
            write_json(root / "packages" / name / "package.json", package)
            locked[f"node_modules/{name}"] = {"resolved": f"packages/{name}", "link": True}
            locked[f"packages/{name}"] = {"version": "1.0.0"} | needed
            before = name
        write_json(root / "package-lock.json", {"name": "root", "lockfileVersion": 3, "requires": True, "packages": locked})
        return tasks

    def build(self, tasks: Tasks, worker: Worker) -> str:
        """Runs all tasks, which always works, and gives what was said."""
        program = CLIENTS / "turbo" / "node_modules" / ".bin" / "turbo"
        command = [str(program), "run", "build", "--summarize", "--no-color", "--ui=stream"]
        code, said = end(command, self.environment | {"WORKER": str(worker.path)}, tasks.root)
        assert code == 0, said
        return said

    @staticmethod
    def sources(tasks: Tasks) -> dict[str, str]:
        """Where the outputs of each task came from by the client's own summary: REMOTE, LOCAL or MISS."""
        runs = sorted((tasks.root / ".turbo" / "runs").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        summary = json.loads(runs[-1].read_text())
        return {task["package"]: task["cache"].get("source", "MISS") for task in summary["tasks"]}


class Nx:
    """Nx with a self-hosted remote cache."""

    def __init__(self, home: Path, url: str, token: str = WRITE_TOKEN):
        home.mkdir(parents=True)
        self.environment = clean_environment(
            home,
            NX_DAEMON="false",
            NX_NO_CLOUD="true",
            NX_SELF_HOSTED_REMOTE_CACHE_SERVER=url,
            NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN=token,
        )

    @staticmethod
    def project(root: Path, seed: int, **settings) -> Tasks:
        tasks = Tasks(root, seed, **settings)
        write_json(root / "package.json", {"name": "root", "private": True, "version": "1.0.0"})
        write_json(root / "nx.json", {"analytics": False, "neverConnectToCloud": True, "useDaemonProcess": False})
        before = None
        for name in tasks.NAMES:
            target = {
                "command": f"sh ../../work.sh {name}",
                "options": {"cwd": f"packages/{name}"},
                "cache": True,
                "dependsOn": ["^build"],
                "inputs": ["{projectRoot}/source.txt", "{projectRoot}/noise.bin"],
                "outputs": ["{projectRoot}/dist"],
            }
            project = {"name": name, "root": f"packages/{name}", "targets": {"build": target}, "implicitDependencies": [before] if before else []}
            write_json(root / "packages" / name / "project.json", project)
            before = name
        (root / "node_modules").symlink_to(CLIENTS / "nx" / "node_modules")
        return tasks

    def run(self, tasks: Tasks, worker: Worker) -> tuple[int, str]:
        """Runs all tasks: exit code, and what was said."""
        program = CLIENTS / "nx" / "node_modules" / "nx" / "dist" / "bin" / "nx.js"
        command = [tool("node"), str(program), "run-many", "-t", "build", "--output-style=static"]
        return end(command, self.environment | {"WORKER": str(worker.path), "NO_COLOR": "1"}, tasks.root)

    def build(self, tasks: Tasks, worker: Worker) -> str:
        """Runs all tasks, which must work."""
        code, said = self.run(tasks, worker)
        assert code == 0, said
        return said


class Gradle:
    """Gradle 4.4.1 with an HTTP build cache and no local one."""

    def __init__(self, home: Path, url: str, token: str = WRITE_TOKEN):
        home.mkdir(parents=True)
        self.home = home
        self.environment = clean_environment(home, CACHE_URL=url.rstrip("/") + "/", CACHE_TOKEN=token)

    @staticmethod
    def project(root: Path, seed: int, **settings) -> Tasks:
        tasks = Tasks(root, seed, **settings)
        (root / "settings.gradle").write_text(GRADLE_SETTINGS)
        (root / "build.gradle").write_text(GRADLE_BUILD)
        return tasks

    def build(self, tasks: Tasks, worker: Worker) -> str:
        """Runs all tasks, which always works."""
        command = ["gradle", "--no-daemon", "--build-cache", "--console=plain", "-g", str(self.home / "gradle"), "c"]
        code, said = end(command, self.environment | {"WORKER": str(worker.path)}, tasks.root)
        assert code == 0, said
        return said


GRADLE_SETTINGS = """rootProject.name = 'project'
buildCache {
    local { enabled = false }
    remote(HttpBuildCache) {
        url = System.getenv('CACHE_URL')
        push = true
        credentials {
            username = 'anybody'
            password = System.getenv('CACHE_TOKEN')
        }
    }
}
"""

GRADLE_BUILD = """@CacheableTask
class Work extends DefaultTask {
    @Internal File directory
    @InputFiles @PathSensitive(PathSensitivity.NAME_ONLY) List<File> sources
    @OutputDirectory File result
    @TaskAction void work() {
        def process = new ProcessBuilder(System.getenv('WORKER'), name).directory(directory).inheritIO().start()
        if (process.waitFor() != 0) throw new GradleException('the worker failed')
    }
}
def before = null
['a', 'b', 'c'].each { name ->
    def made = task(name, type: Work) {
        directory = file("packages/${name}")
        sources = [file("packages/${name}/source.txt"), file("packages/${name}/noise.bin")]
        result = file("packages/${name}/dist")
    }
    if (before != null) made.dependsOn before
    before = made
}
"""


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")


def another(root: Path, tasks_or_units: Tasks | Units) -> Path:
    """The sources of a project at another place, without what was built from them."""
    built = shutil.ignore_patterns("dist", "*.o", ".turbo", ".nx", ".gradle")
    shutil.copytree(tasks_or_units.root, root, symlinks=True, ignore=built)
    return root
