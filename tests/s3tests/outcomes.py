"""A pytest plugin: writes the markers of the collected tests, or the outcome of each test that ran, as JSON.

The file is named by ZEROCLOUD_OUTCOMES. Only the process that sees all reports writes, not the workers below it.
"""

import json
import os
from pathlib import Path

SEVERITY = {"passed": 0, "skipped": 1, "failed": 2, "error": 3}


class Outcomes:
    """Keeps the worst of setup, call and teardown for each test."""

    def __init__(self, path: Path):
        self.path = path
        self.markers: dict[str, list[str]] = {}
        self.outcomes: dict[str, str] = {}

    def pytest_collection_modifyitems(self, items) -> None:
        for item in items:
            self.markers[item.nodeid] = sorted({mark.name for mark in item.iter_markers()})

    def pytest_runtest_logreport(self, report) -> None:
        outcome = report.outcome
        if outcome == "failed" and report.when != "call":
            outcome = "error"
        before = self.outcomes.get(report.nodeid, "passed")
        self.outcomes[report.nodeid] = max(before, outcome, key=SEVERITY.__getitem__)

    def pytest_sessionfinish(self) -> None:
        self.path.write_text(json.dumps({"markers": self.markers, "outcomes": self.outcomes}))


def pytest_configure(config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Outcomes(Path(os.environ["ZEROCLOUD_OUTCOMES"])))
