"""Alert rules and dashboard against the metrics of a running appliance.

Shown: every metric exists, with each label that is matched, grouped by or written into a text; promtool takes every expression; each
rule fires and keeps quiet as alerts*.test.yml say; the dashboard needs nothing from outside.
"""

import json
import re
import subprocess
import tempfile
from pathlib import Path

import yaml
from node import Node

HERE = Path(__file__).resolve().parent
# What Prometheus adds to each metric, and what it makes itself.
ADDED = {"job", "instance"}
OWN = {"up": {}}
KEYWORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}
LISTS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
# The digits of 1e6 and the unit of `offset 10m` begin no name.
SELECTOR = re.compile(r"(?<![\w.])([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})?(\s*\()?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')
SEVERITIES = {"critical", "warning", "info"}


def _selectors(expression: str) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Metrics of an expression, each with its matchers."""
    bare = LISTS.sub(" ", re.sub(r"\[[^\]]*\]", " ", expression))
    found = []
    for name, braces, call in SELECTOR.findall(bare):
        if not call and name not in KEYWORDS:
            found.append((name, MATCHER.findall(braces)))
    return found


def _of_expression(expression: str, node: Node) -> tuple[list[str], set[str]]:
    """What is wrong with it, and the labels that its metrics have."""
    problems, labels = [], set(ADDED)
    for name, matchers in _selectors(expression):
        known = OWN.get(name, node.metrics.get(name))
        if known is None:
            problems.append(f"no metric {name}")
            continue
        labels |= set(known)
        for label, operator, value in matchers:
            if label not in known and label not in ADDED:
                problems.append(f"{name} has no label {label}")
            elif label in known and "$" not in value:
                wanted = [value] if operator in ("=", "!=") else value.split("|")
                problems += [f"{name} has never {label}={one!r}" for one in wanted if one not in known[label]]
    for inside in LISTS.findall(expression):
        for label in filter(None, map(str.strip, inside.split(","))):
            if label not in labels:
                problems.append(f"no metric of it has the label {label}")
    return problems, labels


def _promtool(promtool: Path, *arguments: str) -> list[str]:
    run = subprocess.run([str(promtool), *arguments], capture_output=True, text=True)
    return [] if run.returncode == 0 else [f"promtool {' '.join(arguments[:2])}: {(run.stdout + run.stderr).strip()[-1500:]}"]


def rules(tree: Path, node: Node, promtool: Path) -> list[str]:
    """What is wrong with the alert rules."""
    path = tree / "monitoring" / "zerocloud.rules.yml"
    problems, alerts = [], set()
    read = [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
    for rule in read:
        name = rule.get("alert", "a rule that is no alert")
        if name in alerts:
            problems.append(f"{name}: there twice")
        alerts.add(name)
        wrong, labels = _of_expression(rule["expr"], node)
        texts = rule.get("annotations", {})
        if rule.get("labels", {}).get("severity") not in SEVERITIES:
            wrong.append(f"its severity is none of {sorted(SEVERITIES)}")
        wrong += [f"no {text}" for text in ("summary", "description") if not texts.get(text)]
        for label in re.findall(r"\$labels\.(\w+)", " ".join(texts.values())):
            if label not in labels:
                wrong.append(f"its text names the label {label}, which no metric of it has")
        problems += [f"{name}: {text}" for text in wrong]
    problems += _promtool(promtool, "check", "config", str(tree / "monitoring" / "prometheus.yml"))
    problems += _tried(read, promtool)
    return [f"monitoring/{path.name}: {problem}" for problem in problems]


def _tried(read: list[dict], promtool: Path) -> list[str]:
    """The rules over made-up series, without their texts: those would have to stand here once more."""
    cases = {path.name: path.read_text() for path in sorted(HERE.glob("alerts*.test.yml"))}
    bare = [{key: value for key, value in rule.items() if key != "annotations"} for rule in read]
    with tempfile.TemporaryDirectory(prefix="zerocloud-rules-") as scratch:
        place = Path(scratch)
        (place / "zerocloud.rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": bare}]}))
        for name, text in cases.items():
            (place / name).write_text(text)
        problems = _promtool(promtool, "test", "rules", *(str(place / name) for name in cases))
    moments: dict[str, set[bool]] = {}
    for test in (test for text in cases.values() for test in yaml.safe_load(text)["tests"]):
        for case in test["alert_rule_test"]:
            moments.setdefault(case["alertname"], set()).add(bool(case["exp_alerts"]))
    missing = [rule["alert"] for rule in read if moments.get(rule["alert"]) != {True, False}]
    return problems + [f"{name}: alerts*.test.yml do not show that it fires and that it keeps quiet" for name in missing]


def dashboard(tree: Path, node: Node, promtool: Path) -> list[str]:
    """What is wrong with the dashboard."""
    path = tree / "monitoring" / "grafana-dashboard.json"
    text = path.read_text()
    try:
        board = json.loads(text)
    except ValueError as error:
        return [f"monitoring/{path.name}: {error}"]
    problems, expressions = [], []
    panels = [panel for top in board["panels"] for panel in (top, *top.get("panels", []))]
    numbers = [panel["id"] for panel in panels]
    problems += [f"panel id {number} is there twice" for number in sorted({n for n in numbers if numbers.count(n) > 1})]
    if re.search(r"https?://", text):
        problems.append("names an address outside")
    variables = {variable["name"] for variable in board["templating"]["list"]}
    for name in set(re.findall(r"\$\{?(\w+)", text)) - variables - {"__rate_interval", "__all"}:
        problems.append(f"no variable {name}")
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
            wrong, labels = _of_expression(metric, node)
            problems += [f"variable {variable['name']}: {one}" for one in wrong]
            if label not in labels:
                problems.append(f"variable {variable['name']}: {metric} has no label {label}")
    for panel in panels:
        if panel["type"] == "row":
            continue
        title = panel.get("title") or f"panel {panel['id']}"
        wrong = [f"no {key}" for key in ("title", "description") if not panel.get(key)]
        if not panel["fieldConfig"]["defaults"].get("unit"):
            wrong.append("no unit")
        if any(part.get("datasource", {}).get("uid") != "${datasource}" for part in (panel, *panel["targets"])):
            wrong.append("asks another data source than the chosen one")
        for target in panel["targets"]:
            expressions.append(target["expr"])
            found, labels = _of_expression(target["expr"], node)
            wrong += found
            for label in re.findall(r"\{\{\s*(\w+)\s*\}\}", target["legendFormat"]):
                if label not in labels:
                    wrong.append(f"its legend names the label {label}, which no metric of it has")
        problems += [f"{title!r}: {one}" for one in wrong]
    with tempfile.TemporaryDirectory(prefix="zerocloud-rules-") as scratch:
        # As rules of a group, with what Grafana fills in.
        filled = [re.sub(r"\$\{?(?!__)\w+\}?", ".*", one.replace("$__rate_interval", "1m")) for one in expressions]
        records = [{"record": f"panel:{number}", "expr": one} for number, one in enumerate(filled)]
        group = Path(scratch) / "dashboard.yml"
        group.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": records}]}))
        problems += _promtool(promtool, "check", "rules", str(group))
    return [f"monitoring/{path.name}: {problem}" for problem in problems]


def prose(tree: Path, node: Node) -> list[str]:
    """Metrics that prose names and nobody has."""
    problems = []
    for path in sorted((tree / "monitoring").glob("*.md")):
        for name in re.findall(r"`((?:zerocloud|zim|aws_sns)_[a-z_]+)(?:\{[^`]*\})?`", path.read_text()):
            if name not in node.metrics:
                problems.append(f"monitoring/{path.name}: no metric {name}")
    return problems
