"""The appliance under a service manager: sockets that outlive it, what it notifies, restarts that no request notices."""

import signal
import threading
import time
import urllib.request

import pytest
from zctest.keep_alive import Load
from zctest.manager import Manager


# A client that the machine holds up for a while is no idle one.
CONFIG = "drain_timeout = 300\n[limits]\ndrain_idle_seconds = 300\n"


@pytest.fixture()
def arguments(tmp_path, settings) -> list[str]:
    path = tmp_path / "zerocloud.toml"
    path.write_text(CONFIG)
    return [*settings["arguments"], "--config", str(path)]


@pytest.fixture()
def manager(tmp_path, arguments):
    with Manager(tmp_path / "data", arguments) as running:
        yield running


def test_ready_is_said_when_requests_are_answered(manager):
    """Somebody asks from before the start on: the first answer, whatever comes first, is no refusal."""
    answers = []

    def ask():
        with urllib.request.urlopen(f"{manager.url}/-/ready", timeout=300) as answered:
            answers.append(answered.status)

    asking = threading.Thread(target=ask)
    asking.start()
    manager.start()
    with urllib.request.urlopen(f"{manager.url}/-/ready", timeout=300) as answered:
        assert answered.status == 200
    asking.join()
    assert answers == [200]
    assert any(line.startswith("STATUS=serving on http://127.0.0.1:") for line in manager.heard)
    assert manager.end() == 0
    assert manager.count("STOPPING=1") == 1
    # The socket is still the manager's: who comes now waits for the next process.
    waiting = threading.Thread(target=ask)
    waiting.start()
    manager.start()
    waiting.join()
    assert answers == [200, 200]


def test_a_reload_is_announced_and_ended(manager):
    manager.start()
    manager.signal(signal.SIGHUP)
    manager.await_count("READY=1", 2)
    assert manager.count("RELOADING=1") == 1
    assert any(line.startswith("MONOTONIC_USEC=") for line in manager.heard)
    assert manager.heard.index("RELOADING=1") > manager.heard.index("READY=1")


def test_the_watchdog_is_fed_while_all_cores_turn(tmp_path, arguments):
    with Manager(tmp_path / "data", arguments, watchdog_seconds=15) as manager:
        manager.start()
        manager.await_count("WATCHDOG=1", 3)


def test_without_a_watchdog_nothing_feeds_it(manager):
    manager.start()
    manager.restart()
    assert manager.count("WATCHDOG=1") == 0


def test_restarts_cost_no_request(manager):
    """Eight clients that keep their connections and never try again, and five restarts."""
    manager.start()
    with Load(manager.url, *manager.secrets()) as load:
        for _ in range(5):
            before = load.total()
            while load.total() < before + 100 and not load.failures:
                time.sleep(0.01)
            manager.restart()
    assert load.failures == []
    assert min(load.reconnected) >= 1, load.reconnected
    print(f"{load.total()} requests, {sum(load.reconnected)} connections ended by an answer, 5 restarts, 0 failed")


def test_a_socket_of_another_name_is_not_used(tmp_path, settings):
    """What it is for is not known, so nobody listens there, and the log says so."""
    arguments = [*settings["arguments"], "--listen", "127.0.0.1:0"]
    with Manager(tmp_path / "data", arguments, name="metrics") as manager:
        manager.start()
        assert "came from the service manager and is not used" in manager.log.read_text()
        serving = [line for line in manager.heard if line.startswith("STATUS=serving on ")]
        assert serving and f":{manager.port}" not in serving[0]
