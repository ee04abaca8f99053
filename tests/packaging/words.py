"""What the files of packaging/ say about the binary: commands, flags, ports, paths, keys and variables, each asked of the binary.

Commands are looked for where one stands that somebody could run: lines of scripts and units, lists of arguments in manifests, and code
in Markdown and comments (`zerocloud ...`). Prose is not.
"""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml
from node import Node

# Words in front of "zerocloud" that make it the name of a package, a user, a unit or a guest.
NAMES_FOLLOW = re.compile(
    r"(?:install|remove|purge|reinstall|status|start|stop|restart|try-restart|reload|enable|disable|edit|cat|preset|-u|-f|-t|-n|-N|-g|"
    r"-o|-qi|-V|--tags|--name|--hostname|--user|--group|user|group|tag|query|userdel|groupdel|getent|passwd|-i|-p|name|Package:|Name:|"
    r"up|logs|package|Source:|u|Unit|service|[\w./]+ zerocloud|#)$"
)
COMMAND = re.compile(r"(?<![\w./:$@{}=*-])(?:/usr/bin/|target/release/)?zerocloud((?:[ \t]+[^\s|;&<>()`\"'#]+)+)")
CODE = re.compile(r"`([^`\n]+)`")
ADDRESS = re.compile(r"(?:127\.0\.0\.1|localhost|0\.0\.0\.0|\[::1?\]):(\d+)(?![\d:])")
ADMIN_PATH = re.compile(r"(?<![\w/])/-/[\w/-]*\w")
VARIABLE = re.compile(r"\b(?:ZEROCLOUD_[A-Z][A-Z_]*[A-Z]|ZIM_[A-Z][A-Z_]*[A-Z]|MAX_CACHE_SIZE|CACHE_RETENTION_DAYS|AUTH_REQUIRED)\b")
KEY = re.compile(r"\b(cache|limits|log|s3)\.([a-z]+_[a-z_]+)\b")
TOML_LINE = re.compile(r"^#? ?(?:(\[+)([a-z0-9_.]+)\]+|([a-z0-9_]+) = .*)$")


def texts(tree: Path) -> Iterator[tuple[str, str]]:
    """Every file below packaging/, by its name there."""
    for path in sorted(tree.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield str(path.relative_to(tree)), path.read_text()


def fences(text: str, language: str = r"\w*") -> list[str]:
    return [body for _, body in re.findall(rf"(?ms)^ *```({language})\n(.*?)^ *```$", text)]


def _code_lines(name: str, text: str) -> Iterator[str]:
    """What somebody could run."""
    if name.endswith(".md"):
        yield from (line for body in fences(text) for line in body.splitlines())
        text = re.sub(r"(?ms)^ *```.*?^ *```$", "", text)
        yield from CODE.findall(text)
    elif name.endswith((".json", ".toml", ".spec", "control", "copyright", "changelog")):
        yield from CODE.findall(text)
    else:
        for line in text.splitlines():
            # What a unit runs; `User=zerocloud` is no command.
            line = re.sub(r"^Exec\w+=[-+!@:]*", " ", line)
            is_comment = line.lstrip().startswith("#") or line.lstrip().startswith("summary:")
            yield from CODE.findall(line) if is_comment or name.endswith((".yml", ".yaml")) else [line]


def _lists(name: str, text: str) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Arguments that stand in lists, of images, services and pods, each with the variables beside it."""
    if name.endswith("Dockerfile"):
        variables = dict(re.findall(r"(?m)^ENV (\w+)=(\S+)$", text))
        for line in text.splitlines():
            if (found := re.match(r"(?:.* )?(?:CMD|ENTRYPOINT) (\[.*\])$", line)) is not None:
                arguments = json.loads(found[1])
                yield (arguments[1:] if arguments[0].endswith("/zerocloud") else arguments), variables
    elif name.endswith("compose.yaml"):
        for service in yaml.safe_load(text)["services"].values():
            given = {key: re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", str(value)) for key, value in service.get("environment", {}).items()}
            yield list(map(str, service.get("command", []))), given
    elif name.startswith("kubernetes/") and name.endswith(".yaml"):
        for container in containers(text):
            given = {one["name"]: str(one["value"]) for one in container.get("env", []) if "value" in one}
            yield list(map(str, container.get("args", []))), given


def containers(text: str) -> list[dict]:
    """The containers of all pods of a manifest."""
    found = []
    for document in yaml.safe_load_all(text):
        pod = (document or {}).get("spec", {}).get("template", {}).get("spec", {})
        found += pod.get("containers", []) + pod.get("initContainers", [])
    return found


def _argument_problems(arguments: list[str], node: Node) -> list[str]:
    command: list[str] = []
    problems = []
    for argument in arguments:
        if argument == "--":
            break
        if argument.startswith("-"):
            flag = argument.split("=")[0]
            if flag not in node.flags(*command):
                problems.append(f"`zerocloud {' '.join(command)}` has no flag {flag}")
        elif argument in node.commands(*command):
            command.append(argument)
        elif not command or node.commands(*command):
            problems.append(f"`zerocloud {' '.join(command)}` has no command {argument}")
            break
    return problems


def commands(name: str, text: str, node: Node) -> list[str]:
    problems = []
    for line in _code_lines(name, text):
        for found in COMMAND.finditer(line):
            before, arguments = line[: found.start()].rstrip(), found[1].split()
            if arguments[0] == "zerocloud":
                # The first was the name of a service or a pod.
                before, arguments = "", arguments[1:] or [""]
            last = " ".join(before.split()[-2:])
            # A command begins with a word or a flag; "$wanted" and "2>/dev/null" are something else's.
            if NAMES_FOLLOW.search(last) or not re.fullmatch(r"-{0,2}[a-z][\w=-]*", arguments[0]):
                continue
            problems += _argument_problems([one for one in arguments if one != "\\"], node)
        if re.fullmatch(r"--[a-z][a-z-]*(?:[ =].*)?", line) and (flag := re.split("[ =]", line)[0]) not in node.all_flags():
            problems.append(f"no command has the flag {flag}")
    for arguments, variables in _lists(name, text):
        wrong = _argument_problems(arguments, node)
        if "serve" in arguments and not wrong:
            run = node.run(*arguments, "--check", environment=variables)
            # Files of the configuration and certificates are not here; ConfigMaps are judged by themselves.
            if run.returncode != 0 and "cannot be read" not in run.stderr:
                wrong.append(f"the binary says: {run.stderr.strip()}")
        problems += wrong
    return problems


def _keys(name: str, text: str, node: Node) -> list[str]:
    """Configurations, whole and in parts, and keys that prose names."""
    problems, documents = [], []
    if name.endswith(".toml"):
        documents.append(text)
    elif name.endswith(".md"):
        documents += fences(text, "toml")
    elif name.startswith("kubernetes/") and name.endswith(".yaml"):
        for document in yaml.safe_load_all(text):
            if document and document["kind"] == "ConfigMap":
                documents += [held for key, held in document["data"].items() if key.endswith(".toml")]
    for document in documents:
        try:
            tomllib.loads(document)
        except tomllib.TOMLDecodeError as error:
            problems.append(f"no TOML: {error}")
            continue
        if said := node.judge(document):
            problems.append(f"the binary says: {said}")
        problems += _commented_keys(document, node)
    for table, key in KEY.findall(text):
        if not node.knows_key(table, key):
            problems.append(f"no key {table}.{key}")
    return problems


def _commented_keys(document: str, node: Node) -> list[str]:
    """The settings that a file shows without taking them into use."""
    table, problems = "", []
    for line in document.splitlines():
        if (found := TOML_LINE.match(line)) is None:
            continue
        brackets, head, key = found.groups()
        if head:
            table = f"[{head}]" if len(brackets) == 2 else head
        elif line.startswith("#") and not node.knows_key(table, key):
            problems.append(f"no key {table + '.' if table else ''}{key}")
    return problems


def published(tree: Path) -> set[int]:
    """Ports of the host that the compose file gives to a service."""
    services = yaml.safe_load((tree / "docker" / "compose.yaml").read_text())["services"]
    return {int(str(port).split(":")[-2]) for service in services.values() for port in service.get("ports", [])}


def _ports(name: str, text: str, node: Node, others: set[int]) -> list[str]:
    port = node.default_port()
    if name.endswith((".toml", ".socket")):
        # What an operator could set instead.
        text = "\n".join(line for line in text.splitlines() if not re.match(r"#(?:[a-z\[]|\s+ListenStream=)", line))
    problems = [f"port {found} is not where it listens ({port})" for found in ADDRESS.findall(text) if int(found) not in {port} | others]
    for found in re.findall(r"(?m)^(?:ListenStream=(?:.*:)?|EXPOSE )(\d+)$", text):
        if int(found) != port:
            problems.append(f"port {found} is not where it listens ({port})")
    return problems


def check(tree: Path, node: Node) -> list[str]:
    """What files say that is not so."""
    problems, others = [], published(tree)
    for name, text in texts(tree):
        wrong = commands(name, text, node) + _keys(name, text, node) + _ports(name, text, node, others)
        wrong += [f"nothing is served at {path}" for path in set(ADMIN_PATH.findall(text)) if not node.serves(path)]
        wrong += [f"the variable {one} means nothing" for one in sorted(set(VARIABLE.findall(text))) if not node.honours(one)]
        if name.endswith("compose.yaml"):
            for service in yaml.safe_load(text)["services"].values():
                wrong += [f"the variable {one} means nothing" for one in service.get("environment", {}) if not node.honours(one)]
        elif name.startswith("kubernetes/") and name.endswith(".yaml"):
            for container in containers(text):
                names = [one["name"] for one in container.get("env", [])]
                wrong += [f"the variable {one} means nothing" for one in names if not node.honours(one)]
        problems += [f"{name}: {one}" for one in dict.fromkeys(wrong)]
    return problems
