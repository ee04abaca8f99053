"""Images, services, pods, units and scripts: their schemas, their linters, and what must be in each of them.

What is demanded here is what an operator would miss on a bad day: a user of its own, a read-only root, time to drain, one holder of a
volume, probes that look at the right thing, versions that somebody chose.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from node import Node
from words import containers

from zctest.server import binary

HERE = Path(__file__).resolve().parent
USER = 10001
EXPOSURE_MAX = 20
# The module that loads a filter comes with Debian's own interpreter.
SYSTEM_PYTHON = "/usr/bin/python3"
RING_CALLS = {"io_uring_setup", "io_uring_enter", "io_uring_register"}


def _run(*command: str | Path) -> tuple[int, str]:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    return done.returncode, (done.stdout + done.stderr).strip()


def _tool(name: str) -> Path:
    """A program that came with the requirements."""
    return Path(sys.executable).parent / name


def scripts(tree: Path) -> list[str]:
    """Every shell script, by its first line."""
    shells = re.compile(r"#! ?/(?:usr/)?bin/(?:env )?(?:ba|da)?sh\b")
    found = [path for path in sorted(tree.rglob("*")) if path.is_file() and shells.match(path.read_text())]
    if not found:
        return ["no script is found"]
    code, said = _run("shellcheck", *found)
    return [] if code == 0 else [f"shellcheck:\n{said}"]


def c_library(tree: Path) -> list[str]:
    """What the build of the packages says of binaries that need more than an older C library has."""
    function = re.search(r"(?ms)^check_glibc\(\) \{\n.*?^\}$", (tree / "build").read_text())[0]
    problems = []
    symbol, demand = "0000000000000000      DF *UND*  0000000000000000 ({}) stat\n", "    0x0fd0e42b 0x00 05 {}\n"
    needs = {"GLIBC_2.34": 0, "GLIBC_2.35": 1, "GLIBC_ABI_DT_RELR": 1, "GLIBC_ABI_GNU2_TLS": 1, "GLIBC_ABI_DT_X86_64_PLT": 1}
    for need, wanted in needs.items():
        with tempfile.TemporaryDirectory(prefix="zerocloud-objdump-") as scratch:
            Path(scratch, "objdump").write_text(f"#!/bin/sh\ncat {scratch}/said$1\n")
            Path(scratch, "objdump").chmod(0o755)
            Path(scratch, "said-T").write_text(symbol.format("GLIBC_2.2.5" if "ABI" in need else need))
            Path(scratch, "said-p").write_text(demand.format(need))
            text = f"PATH={scratch}:$PATH binary=x glibc_max=2.34\n{function}\ncheck_glibc"
            code, said = _run("bash", "-euo", "pipefail", "-c", text)
        if code != wanted or (wanted and need not in said):
            problems.append(f"build: a binary that needs {need} ends with {code}: {said}")
    return problems


def units(tree: Path) -> list[str]:
    """The unit and its socket: what systemd says against them, and how exposed the service is."""
    place = tree / "systemd"
    names = ["zerocloud.service", "zerocloud.socket"]
    if missing := [name for name in names if not (place / name).is_file()]:
        return [f"systemd/{name}: missing" for name in missing]
    problems = []
    with tempfile.TemporaryDirectory(prefix="zerocloud-units-") as scratch:
        copies = []
        for name in names:
            copy = Path(scratch) / name
            # The program must be there for `verify`, and the package is not installed.
            copy.write_text((place / name).read_text().replace("/usr/bin/zerocloud", str(binary())))
            copies.append(copy)
        code, said = _run("systemd-analyze", "verify", "--man=no", *copies)
        said = "\n".join(line for line in said.splitlines() if scratch in line or "zerocloud" in line)
        if code != 0 or said:
            problems.append(f"systemd-analyze verify: code {code}: {said}")
        code, said = _run("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", copies[0])
        if code != 0:
            problems.append(f"more exposed than {EXPOSURE_MAX / 10}: {said.splitlines()[-1] if said else code}")
    asked = re.findall(r"(?m)^Backlog=(\d+)$", (place / "zerocloud.socket").read_text())
    allowed = re.findall(r"(?m)^net\.core\.somaxconn = (\d+)$", (tree / "sysctl.d/60-zerocloud.conf").read_text())
    if asked != allowed:
        problems.append(f"the socket's Backlog= is {asked}, but net.core.somaxconn {allowed}")
    return problems


def dockerfile(tree: Path) -> list[str]:
    """The image."""
    text = (tree / "docker" / "Dockerfile").read_text()
    stage = text[text.rindex("\nFROM ") :]
    problems = [] if text.count("\nFROM ") == 2 else ["is not built in one stage and shipped in another"]
    for image in re.findall(r"(?m)^FROM (\S+)", text):
        if ":" not in image or image.endswith(":latest"):
            problems.append(f"{image} has no version")
    wanted = {
        "a user by number": rf"(?m)^USER {USER}:{USER}$",
        "a health check": r'(?m)^HEALTHCHECK .*CMD \["/usr/bin/zerocloud", "health"\]$',
        "STOPSIGNAL SIGTERM": r"(?m)^STOPSIGNAL SIGTERM$",
        "an entry point without a shell": r'(?m)^ENTRYPOINT \["/usr/bin/zerocloud"\]$',
        "an address to listen on": r'(?m)^CMD \["serve", "--listen", "0\.0\.0\.0:\d+"\]$',
        "a place for data of its user's": rf"(?m)^COPY .*--chown={USER}:{USER} /data /var/lib/zerocloud$",
    }
    problems += [f"the image has not {what}" for what, pattern in wanted.items() if not re.search(pattern, stage)]
    if "RUN " in stage:
        problems.append("something runs in the image that is shipped")
    return [f"docker/Dockerfile: {one}" for one in problems]


def compose(tree: Path, node: Node) -> list[str]:
    """The compose file."""
    path = tree / "docker" / "compose.yaml"
    code, said = _run(_tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", path)
    problems = [] if code == 0 else [f"schema: {said}"]
    document = yaml.safe_load(path.read_text())
    if "version" in document:
        problems.append("`version` is obsolete")
    for name, service in document["services"].items():
        limits, options = service.get("ulimits", {}), service.get("security_opt", [])
        seconds = int(str(service.get("stop_grace_period", "10s")).rstrip("s"))
        facts = {
            "is not read-only": service.get("read_only") is True,
            "keeps capabilities": service.get("cap_drop") == ["ALL"],
            "may gain rights": "no-new-privileges=true" in options,
            "names no seccomp profile that is there": any(
                one.startswith("seccomp=") and (path.parent / one.removeprefix("seccomp=")).is_file() for one in options
            ),
            "locks too little memory": limits.get("memlock") == -1,
            "has too few descriptors": limits.get("nofile") == 1048576,
            "is killed in mid-drain": seconds >= 60,
            "is not the image's user": service.get("user") == f"{USER}:{USER}",
            "has no chosen version": re.fullmatch(r"zerocloud:\d+\.\d+\.\d+", service.get("image", "")) is not None,
            "publishes more than this machine's loopback": all(str(port).startswith("127.0.0.1:") for port in service.get("ports", [])),
            "publishes a port where nobody listens": all(
                int(str(port).split(":")[-1]) == node.default_port() for port in service.get("ports", [])
            ),
            "keeps its data in the container": any(str(one).endswith(":/var/lib/zerocloud") for one in service.get("volumes", [])),
        }
        problems += [f"service {name} {what}" for what, holds in facts.items() if not holds]
    return [f"docker/compose.yaml: {one}" for one in problems]


def seccomp(tree: Path, node: Node) -> list[str]:
    """The profile, in force around the binary: with it the backend is that of a process without any, without three of its calls epoll."""
    path = tree / "docker" / "seccomp.json"
    try:
        profile = json.loads(path.read_text())
    except ValueError as error:
        return [f"docker/seccomp.json: {error}"]
    problems = []
    names = [name for rule in profile["syscalls"] for name in rule["names"] if "args" not in rule]
    problems += [f"{name} is there twice" for name in sorted({name for name in names if names.count(name) > 1})]
    # containerd reads the plain form and knows nothing of the conditions of Docker's: it would apply such a rule to everybody.
    if {"archMap", "includes", "excludes", "minKernel"} & {key for part in (profile, *profile["syscalls"]) for key in part}:
        problems.append("has conditions that only some engines read")
    if profile["defaultAction"] != "SCMP_ACT_ERRNO":
        problems.append("allows what it does not name")
    if missing := RING_CALLS - set(names):
        problems.append(f"does not allow {sorted(missing)}")
    for left_out, wanted in ((set(), node.backend), (RING_CALLS, "epoll")):
        command = [SYSTEM_PYTHON, HERE / "filtered.py", path, ",".join(sorted(left_out)), node.kept, binary()]
        code, said = _run(*command)
        backend = said.splitlines()[-1] if code == 0 and said else f"code {code}: {said[-800:]}"
        if backend != wanted:
            problems.append(f"under it{', without the ring,' if left_out else ''} the backend is {backend}, not {wanted}")
    return [f"docker/seccomp.json: {one}" for one in problems]


def _pod_problems(kind: str, pod: dict, claims: list[dict]) -> list[str]:
    security = pod.get("securityContext", {})
    facts = {
        "may run as root": security.get("runAsNonRoot") is True and security.get("runAsUser") == USER == security.get("fsGroup"),
        "walks its volume at each start": security.get("fsGroupChangePolicy") == "OnRootMismatch",
        "has no profile of its own": security.get("seccompProfile") == {"type": "Localhost", "localhostProfile": "profiles/zerocloud.json"},
        "is killed in mid-drain": pod.get("terminationGracePeriodSeconds", 30) >= 90,
        "gets variables that look like settings": pod.get("enableServiceLinks") is False,
        "holds a token of the cluster": pod.get("automountServiceAccountToken") is False,
        "is no StatefulSet": kind == "StatefulSet",
        "shares its volume": bool(claims) and all(claim["spec"]["accessModes"] == ["ReadWriteOncePod"] for claim in claims),
    }
    return [what for what, holds in facts.items() if not holds]


def _container_problems(container: dict) -> list[str]:
    security, resources = container.get("securityContext", {}), container.get("resources", {})
    ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
    facts = {
        "may gain rights": security.get("allowPrivilegeEscalation") is False,
        "can write to its root": security.get("readOnlyRootFilesystem") is True,
        "keeps capabilities": security.get("capabilities") == {"drop": ["ALL"]},
        "has no chosen version": re.search(r":\d+\.\d+\.\d+$", container.get("image", "")) is not None,
        "asks for less than it may have": bool(resources.get("requests")) and resources["requests"] == resources.get("limits"),
        "has parts of cores": re.fullmatch(r"\d+", str(resources.get("limits", {}).get("cpu"))) is not None,
    }
    wrong = [what for what, holds in facts.items() if not holds]
    for name, path in (("startupProbe", "/-/live"), ("readinessProbe", "/-/ready"), ("livenessProbe", "/-/live")):
        asked = container.get(name, {}).get("httpGet", {})
        if asked.get("path") != path:
            wrong.append(f"its {name} asks {asked.get('path')}, not {path}")
        if asked.get("port") not in ports:
            wrong.append(f"its {name} asks a port without a name")
        if (asked.get("scheme") == "HTTPS") != ("--tls-cert" in container.get("args", [])):
            wrong.append(f"its {name} speaks another protocol than the appliance")
    startup = container.get("startupProbe", {})
    if startup.get("periodSeconds", 10) * startup.get("failureThreshold", 3) < 300:
        wrong.append("is killed before it listens")
    return wrong


def kubernetes(tree: Path, node: Node) -> list[str]:
    """The manifests."""
    problems = []
    for path in sorted((tree / "kubernetes").glob("*.yaml")):
        code, said = _run(_tool("kubernetes-validate"), "--strict", path)
        wrong = [] if code == 0 else [f"schema: {said[-800:]}"]
        documents = [one for one in yaml.safe_load_all(path.read_text()) if one]
        ports = {port.get("name"): port["containerPort"] for one in containers(path.read_text()) for port in one.get("ports", [])}
        wrong += [f"container port {port} is not where it listens" for port in ports.values() if port != node.default_port()]
        named = {(one["kind"], one["metadata"]["name"]) for one in documents}
        for document in documents:
            spec, name = document.get("spec", {}), document["metadata"]["name"]
            if document["kind"] == "Service":
                wrong += [f"Service {name} leads to no port" for port in spec["ports"] if port.get("targetPort") not in ports]
            if "template" not in spec:
                continue
            pod = spec["template"]["spec"]
            wrong += [f"{name} {what}" for what in _pod_problems(document["kind"], pod, spec.get("volumeClaimTemplates", []))]
            wrong += [f"{name} {what}" for container in pod["containers"] for what in _container_problems(container)]
            if ("Service", spec.get("serviceName")) not in named:
                wrong.append(f"{name} has no Service for its pods")
            if spec["selector"]["matchLabels"] != spec["template"]["metadata"]["labels"]:
                wrong.append(f"{name} does not select its own pods")
            for container in pod["containers"]:
                mounts = {volume["name"] for volume in pod.get("volumes", [])}
                mounts |= {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
                wrong += [f"{name} mounts {m['name']}, which is not there" for m in container["volumeMounts"] if m["name"] not in mounts]
        problems += [f"kubernetes/{path.name}: {one}" for one in wrong]
    return problems


def programs() -> list[str]:
    """What must be installed for all this."""
    return [f"{name} is missing" for name in ("shellcheck", "systemd-analyze", SYSTEM_PYTHON) if shutil.which(name) is None]
