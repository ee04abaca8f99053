"""The life of the packages on a Debian system with systemd. Runs inside the container of container.py, as its own unit.

Writes a line for each fact to RESULT, and LAST only when all were shown.
"""

import configparser
import fcntl
import glob
import json
import os
import re
import socket
import struct
import subprocess
import sys
import time
import traceback
import urllib.request
from pathlib import Path

import held
import sandbox
from load import ALIVE, Connection, Knocking, Load, signed

PLACE = Path("/packaging")
RESULT = PLACE / "result"
LAST = "all shown"
CONFIGURATION = Path("/etc/zerocloud/zerocloud.toml")
DATA = Path("/var/lib/zerocloud")
SERVICE, SOCKET = "zerocloud.service", "zerocloud.socket"
URL = "http://127.0.0.1:8080"
RESTART_COUNT = 20
# Of each client: a million requests over all restarts.
REPLIES_BETWEEN = 8_400
# More than any limit of starts that systemd knows by itself, of services and of sockets.
WRONG_STARTS, HELD_STARTS = 12, 35
# Failures of clients by which it shows that nobody answers them.
FAILURE_COUNT = 200
# Generous: a stalled machine is no finding.
SECONDS_MAX = 300
FIRST = b"the first object\n"
EDITED = "# edited by the owner\n"
# Of a network that no machine is in, and a port that only root may bind.
FOREIGN = ("192.0.2.1", 443)
# Listening sockets in /proc/net/tcp and tcp6, and the loopback addresses there.
LISTENING, LOOPBACK = "0A", ("0100007F", "0" * 24 + "01000000")


def run(*command: str, code: int | None = 0) -> str:
    """Output of both kinds. `code` is what it must end with; None: anything."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment())
    assert code is None or done.returncode == code, f"{command} ended with {done.returncode}: {done.stdout}"
    return done.stdout


def environment() -> dict[str, str]:
    return os.environ | {"DEBIAN_FRONTEND": "noninteractive", "SYSTEMD_PAGER": "", "HOME": "/root"}


def properties(*names: str, unit: str = SERVICE) -> list[str]:
    listed = run("systemctl", "show", unit, "--property", ",".join(names))
    found = dict(line.split("=", 1) for line in listed.splitlines())
    return [found[name] for name in names]


def main_pid() -> int:
    return int(properties("MainPID")[0])


def until(what: str, fact) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not fact():
        assert time.monotonic() < deadline, f"not within {SECONDS_MAX} s: {what}"
        time.sleep(0.1)


def until_again(former: int) -> None:
    """Another process serves."""
    until("another process is ready", lambda: main_pid() not in (0, former) and properties("ActiveState") == ["active"])


def starts() -> int:
    """How often the service was started, by whomever."""
    run("journalctl", "--sync")
    return run("journalctl", "-o", "cat", "-u", SERVICE).count(f"Starting {SERVICE}")


def until_more(what: str, counts: list[int], more: int) -> None:
    """The counts of clients grow."""
    before = sum(counts)
    until(what, lambda: sum(counts) >= before + more)


def ready() -> dict:
    with urllib.request.urlopen(f"{URL}/-/ready", timeout=SECONDS_MAX) as reply:
        return json.load(reply)


def was_cut_off() -> bool:
    """What it says of the run before."""
    with urllib.request.urlopen(f"{URL}/-/metrics", timeout=SECONDS_MAX) as reply:
        return re.search(r"(?m)^zerocloud_started_after_cut ([01])$", reply.read().decode())[1] == "1"


def credentials() -> tuple[str, str]:
    profile = configparser.ConfigParser()
    profile.read(DATA / "credentials")
    return profile["default"]["aws_access_key_id"], profile["default"]["aws_secret_access_key"]


def first_object_is_there(address: tuple[str, int] = ("127.0.0.1", 8080)) -> None:
    status, found = Connection(address).exchange(signed(*credentials(), "GET", "/first/file", b""))
    assert (status, found) == (200, FIRST), (status, found)


def addresses() -> list[tuple[str, int]]:
    """Where this machine listens; the container has a network of its own."""
    found = []
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING:
                address, port = fields[1].split(":")
                found.append((address, int(port, 16)))
    return found


def package(kind: str, directory: str) -> str:
    pattern = {"deb": "zerocloud_*.deb", "rpm": "zerocloud-[0-9]*.rpm"}[kind]
    [path] = glob.glob(str(PLACE / directory / pattern))
    return path


# What a newcomer types, each of it also in the README.


def a_newcomer_stores_an_object_in_five_commands() -> str:
    commands = (PLACE / "newcomer").read_text().splitlines()
    assert 1 <= len(commands) <= 5, commands
    Path("/root/work").mkdir()
    Path("/root/work/file").write_bytes(FIRST)
    os.symlink(package("deb", "packages"), f"/root/work/{os.path.basename(package('deb', 'packages'))}")
    # Neither is on the smallest system; the commands are typed as they are.
    Path("/usr/local/bin/sudo").write_text('#!/bin/sh\nexec "$@"\n')
    Path("/usr/local/bin/aws").write_text('#!/bin/sh\nPYTHONPATH=/packaging/python exec python3 -m awscli "$@"\n')
    for name in ("sudo", "aws"):
        Path(f"/usr/local/bin/{name}").chmod(0o755)
    script = "set -eux\ncd /root/work\n" + "\n".join(commands)
    run("bash", "-c", script.replace("apt install", "apt-get install -y"))
    first_object_is_there()
    return f"{len(commands)} commands"


def the_service_is_enabled_and_serves() -> str:
    for unit in (SERVICE, SOCKET):
        assert run("systemctl", "is-active", unit) == "active\n", unit
        assert run("systemctl", "is-enabled", unit) == "enabled\n", unit
    assert ready()["ready"] is True
    run("zerocloud", "health", "--data", str(DATA))
    return ready()["version"]


def io_uring_is_in_use() -> str:
    found = ready()
    assert found["backend"] == "io_uring", found
    return f"{found['cores']} cores, {'; '.join(found['warnings']) or 'no warnings'}"


def it_listens_on_loopback_only() -> str:
    found = addresses()
    assert ("0100007F", 8080) in found, found
    assert all(address in LOOPBACK for address, _ in found), found
    return str(len(found))


def the_units_are_understood() -> str:
    """What is misspelt is only printed: the exit code says nothing of it."""
    assert run("systemd-analyze", "verify", "--man=no", SERVICE, SOCKET) == ""
    return ""


def files_belong_to_whom_they_should() -> str:
    for path, expected in (
        (DATA, "zerocloud zerocloud 700"),
        (DATA / "credentials", "zerocloud zerocloud 600"),
        (CONFIGURATION, "root zerocloud 640"),
        (CONFIGURATION.parent, "root zerocloud 750"),
    ):
        assert run("stat", "-c", "%U %G %a", str(path)).strip() == expected, path
    return ""


def the_running_unit_is_exposed_little() -> str:
    said = run("systemd-analyze", "security", "--no-pager", "--threshold=20", SERVICE)
    return re.search(r"Overall exposure level[^\n]*?: ([0-9.]+)", said)[1]


def the_running_process_has_no_rights() -> str:
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{main_pid()}/status").read_text().splitlines() if ":\t" in line
    )
    assert status["Uid"].split()[0] != "0", status["Uid"]
    rights = [status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")]
    assert all(int(one, 16) == 0 for one in rights), rights
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2"), status
    mounts = Path(f"/proc/{main_pid()}/mounts").read_text().splitlines()
    writable = [line.split()[1] for line in mounts if re.search(r" (ext4|xfs|btrfs|overlay) rw", line)]
    # The container's own channels belong to root.
    writable = [path for path in writable if not path.startswith("/run/host/")]
    assert all(path in (str(DATA), "/tmp", "/var/tmp") for path in writable), writable
    return "; ".join(writable)


def the_sandbox_refuses_what_it_should() -> str:
    """The unit's own directives around a program that tries; then without each of them, where what it refused is no longer."""
    sandbox.furnish()
    unit = run("systemctl", "cat", SERVICE)
    unit = re.sub(r"(?m)^(Requires|After|Also|ExecReload|ExecStopPost|Watchdog\w+|Restart\w*)=.*$", "", unit)
    unit = re.sub(r"(?m)^Type=.*$", "Type=oneshot", unit)
    unit = re.sub(r"(?m)^ExecStart=.*$", f"ExecStart=/usr/bin/python3 {PLACE}/sandbox.py", unit)
    whole = attempted(unit)
    wrong = [f"{one.what}: {whole[one.what]}" for one in sandbox.ATTEMPTS if whole[one.what] != one.refusal]
    directives = {one.directive for one in sandbox.ATTEMPTS}
    for directive in sorted(directives):
        found = attempted(re.sub(rf"(?m)^{directive}=.*$", "", unit))
        tried = [one for one in sandbox.ATTEMPTS if one.directive == directive]
        wrong += [f"{one.what}, without {directive}: {found[one.what]}" for one in tried if found[one.what] == one.refusal]
    assert not wrong, wrong
    return f"{len(sandbox.ATTEMPTS)} attempts, refused by {len(directives)} directives and not without them; what is needed works"


def attempted(unit: str) -> dict[str, int]:
    """The error of each attempt, in a unit like this."""
    found = PLACE / "attempted"
    unit = re.sub(r"(?m)^\[Service\]$", f"[Service]\nStandardOutput=truncate:{found}", unit, count=1)
    Path("/run/systemd/system/probe.service").write_text(unit)
    run("systemctl", "daemon-reload")
    run("systemctl", "start", "probe.service")
    return json.loads(found.read_text())


def a_stopped_process_is_restarted_by_the_watchdog() -> str:
    former, restarts = main_pid(), int(properties("NRestarts")[0])
    begun = time.monotonic()
    os.kill(former, 19)
    until_again(former)
    assert int(properties("NRestarts")[0]) > restarts
    assert "Watchdog timeout" in run("journalctl", "-o", "cat", "-u", SERVICE)
    assert was_cut_off()
    first_object_is_there()
    return f"after {time.monotonic() - begun:.0f} s"


def a_core_that_hangs_is_found_by_the_watchdog() -> str:
    """One of several, while every other thread runs on. A thread that turns no loop of requests may hang."""
    former, restarts = main_pid(), int(properties("NRestarts")[0])
    found, before, patience = held.threads(former), was_fed(), watchdog_microseconds(former)
    bystander = held.Held(found["surroundings"])
    until("fed for longer than the watchdog waits", lambda: was_fed() > before + patience)
    bystander.let_go()
    assert (main_pid(), int(properties("NRestarts")[0])) == (former, restarts)
    last = max(name for name in found if re.fullmatch(r"core-\d", name))
    core = held.Held(found[last])
    until(f"killed for {last}", core.has_ended)
    until_again(former)
    assert int(properties("NRestarts")[0]) > restarts
    assert was_cut_off()
    first_object_is_there()
    return last


def was_fed() -> int:
    """When the service last told the watchdog that it is well, in microseconds."""
    return int(properties("WatchdogTimestampMonotonic")[0])


def watchdog_microseconds(process: int) -> int:
    return int(re.search(rb"(?:^|\0)WATCHDOG_USEC=(\d+)", Path(f"/proc/{process}/environ").read_bytes())[1])


def a_killed_process_is_restarted() -> str:
    former = main_pid()
    os.kill(former, 9)
    until_again(former)
    first_object_is_there()
    return ""


def a_stop_holds_under_traffic_where_it_is_of_both_units() -> str:
    with Knocking() as clients:
        until_more("answered", clients.answers, 1)
        former = main_pid()
        run("systemctl", "stop", SERVICE)
        until_again(former)
        run("systemctl", "stop", SOCKET, SERVICE)
        assert main_pid() == 0 and addresses() == [], addresses()
        before = starts()
        until_more("refused", clients.failures, FAILURE_COUNT)
        assert (main_pid(), starts()) == (0, before)
        run("systemctl", "start", SERVICE)
        until_more("answered again", clients.answers, 1)
    first_object_is_there()
    return ""


def a_wrong_configuration_neither_spins_under_traffic_nor_outlives_its_mending() -> str:
    text = CONFIGURATION.read_text()
    with Knocking() as clients:
        until_more("answered", clients.answers, 1)
        before = starts()
        # In place, so that owner and mode stay.
        CONFIGURATION.write_text("dat = 1\n" + text)
        for _ in range(WRONG_STARTS):
            said = run("systemctl", "restart", SERVICE, code=1)
            assert "journalctl" in said, said
            assert properties("ExecMainStatus", "ActiveState") == ["78", "failed"], properties("ExecMainStatus", "ActiveState")
            until("the socket is closed", lambda: properties("ActiveState", unit=SOCKET) == ["inactive"])
        until_more("refused", clients.failures, FAILURE_COUNT)
        assert starts() == before + WRONG_STARTS, "somebody else than the operator started it"
        CONFIGURATION.write_text(text)
        run("systemctl", "restart", SERVICE)
        until_more("answered again", clients.answers, 1)
        assert starts() == before + WRONG_STARTS + 1
    first_object_is_there()
    assert not was_cut_off(), "the run before was stopped, and the starts in between never ran"
    return f"{WRONG_STARTS} starts of the operator's, none of the clients'"


def a_data_directory_that_is_held_is_waited_for_under_traffic() -> str:
    run("systemctl", "stop", SOCKET, SERVICE)
    address = ("127.0.0.1", 9000)
    command = ["/usr/bin/zerocloud", "serve", "--data", str(DATA), "--listen", f"{address[0]}:{address[1]}"]
    holder = subprocess.Popen(command, user="zerocloud", group="zerocloud", extra_groups=[])
    try:
        until("held", lambda: lives(address))
        with Knocking() as clients:
            run("systemctl", "start", SERVICE, code=1)
            # Of a try that goes on it is 0.
            until("refused by the holder", lambda: properties("ExecMainStatus") == ["75"])
            until("tried again and again", lambda: int(properties("NRestarts")[0]) >= HELD_STARTS)
            assert sum(clients.answers) == 0
            holder.terminate()
            assert holder.wait() == 0
            until_again(0)
            until_more("answered", clients.answers, 1)
    finally:
        holder.kill()
    first_object_is_there()
    return f"{HELD_STARTS} starts and more"


def lives(address: tuple[str, int]) -> bool:
    try:
        status, _ = Connection(address).exchange(ALIVE)
    except OSError:
        return False
    return status == 200


def another_address_is_served_though_its_network_comes_later() -> str:
    """As README.md and the socket say: a drop-in, and a restart of the socket."""
    place = Path(f"/etc/systemd/system/{SOCKET}.d")
    place.mkdir()
    (place / "override.conf").write_text(f"[Socket]\nListenStream=\nListenStream={FOREIGN[0]}:{FOREIGN[1]}\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", SOCKET)
    until("the service follows its socket", lambda: properties("ActiveState") == ["active"])
    assert addresses() == [("010200C0", FOREIGN[1])], addresses()
    add_address(FOREIGN[0])
    first_object_is_there(FOREIGN)
    (place / "override.conf").unlink()
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", SOCKET)
    first_object_is_there()
    return f"{FOREIGN[0]}:{FOREIGN[1]}"


def add_address(address: str) -> None:
    """To the loopback interface, under a name of its own; SIOCSIFADDR of linux/sockios.h."""
    request = struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, socket.inet_aton(address))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8916, request)


def a_reload_takes_effect_in_the_same_process() -> str:
    former, text = main_pid(), CONFIGURATION.read_text()
    assert not requests_are_logged()
    CONFIGURATION.write_text(text.replace("#access = false", "access = true"))
    run("systemctl", "reload", SERVICE)
    until("requests are logged", requests_are_logged)
    CONFIGURATION.write_text(text)
    run("systemctl", "reload", SERVICE)
    until("requests are no longer logged", lambda: not requests_are_logged())
    assert main_pid() == former and properties("ActiveState") == ["active"]
    first_object_is_there()
    return ""


def requests_are_logged() -> bool:
    """Asks for something that nobody else asks for, and looks whether the journal names it."""
    name = f"/first/{os.urandom(8).hex()}"
    status, _ = Connection().exchange(signed(*credentials(), "GET", name, b""))
    assert status == 404, status
    # What has reached the journal can be read then.
    run("journalctl", "--sync")
    return name in run("journalctl", "-o", "cat", "-u", SERVICE)


def cores_are_those_that_a_drop_in_names() -> str:
    place = Path(f"/run/systemd/system/{SERVICE}.d")
    place.mkdir()
    first = min(os.sched_getaffinity(1))
    (place / "cores.conf").write_text(f"[Service]\nCPUAffinity={first}\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", SERVICE)
    tasks = [task.name for task in Path(f"/proc/{main_pid()}/task").iterdir()]
    assert ready()["cores"] == 1 and all(os.sched_getaffinity(int(task)) == {first} for task in tasks)
    first_object_is_there()
    (place / "cores.conf").unlink()
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", SERVICE)
    return f"{len(tasks)} threads on core {first}"


def init_makes_a_certificate_that_the_configuration_names() -> str:
    """In its comments, as it is shipped."""
    before = credentials()
    said = run("zerocloud", "init", "--config", str(CONFIGURATION))
    assert before == credentials(), "other keys than the running appliance has"
    for name in ("cert.pem", "key.pem"):
        assert run("stat", "-c", "%U %G", str(DATA / "tls" / name)).strip() == "zerocloud zerocloud", name
    text = CONFIGURATION.read_text()
    CONFIGURATION.write_text(text.replace("#tls_", "tls_"))
    run("systemctl", "restart", SERVICE)
    trusted = ["--cacert", str(DATA / "tls/ca.pem"), "https://127.0.0.1:8080/-/live"]
    run("curl", "-sS", "--fail", *trusted)
    run("zerocloud", "health", "--data", str(DATA))
    CONFIGURATION.write_text(text)
    run("systemctl", "restart", SERVICE)
    first_object_is_there()
    return f"{len(said.splitlines())} lines of what to do next"


def what_root_calls_leaves_nothing_of_roots() -> str:
    """A check and a start by hand, over what the service has stored."""
    run("systemctl", "stop", SOCKET, SERVICE)
    said = run("zerocloud", "serve", "--config", str(CONFIGURATION), code=78)
    assert "belongs to user" in said, said
    checked = run("zerocloud", "verify", "--data", str(DATA))
    # A copy where only root comes, as README has it made.
    run("cp", "-a", str(DATA), "/root/copy")
    run("zerocloud", "verify", "--data", "/root/copy")
    run("rm", "-r", "/root/copy")
    assert run("find", str(DATA), "!", "-user", "zerocloud") == ""
    assert run("find", str(DATA), "-type", "f", "-perm", "/077", "!", "-name", "*.pem") == "", "others may read them"
    run("systemctl", "start", SERVICE)
    first_object_is_there()
    return checked.strip().splitlines()[0]


def restarts_under_load_refuse_nothing() -> str:
    load = Load(*credentials()).start()
    try:
        for _ in range(RESTART_COUNT):
            load.await_replies(REPLIES_BETWEEN)
            former = main_pid()
            run("systemctl", "restart", SERVICE)
            assert main_pid() not in (0, former)
        load.await_replies(50)
    finally:
        load.stopping.set()
    return f"{RESTART_COUNT} restarts, {load.stop()}"


def upgrade(left: Path, *command: str) -> str:
    """Under load, with an edited configuration, which stays; that of the package is another than before, and is left beside it."""
    shipped = CONFIGURATION.read_text().removeprefix(EDITED)
    CONFIGURATION.write_text(EDITED + CONFIGURATION.read_text())
    edited, former = CONFIGURATION.read_text(), main_pid()
    load = Load(*credentials()).start()
    try:
        load.await_replies(50)
        run(*command)
        until_again(former)
        load.await_replies(50)
    finally:
        load.stopping.set()
    assert CONFIGURATION.read_text() == edited, "the edited configuration was replaced"
    assert left.read_text() not in (shipped, edited) and left.read_text().startswith(shipped), f"{left} is not that of the newer package"
    files_belong_to_whom_they_should()
    first_object_is_there()
    return load.stop()


def an_upgrade_keeps_the_edited_configuration_and_the_socket() -> str:
    before = run("dpkg-query", "-W", "-f", "${Version}", "zerocloud")
    said = upgrade(Path(f"{CONFIGURATION}.dpkg-dist"), "dpkg", "--force-confold", "-i", package("deb", "newer"))
    after = run("dpkg-query", "-W", "-f", "${Version}", "zerocloud")
    assert before != after
    return f"{before} to {after}, {said}"


def nobody_answers() -> None:
    until("the service is gone", lambda: main_pid() == 0)
    assert addresses() == [], addresses()
    assert not Path("/usr/bin/zerocloud").exists()


def data_is_there() -> str:
    """Listed, since the appliance that would read it is gone. That it is whole shows with the next installation."""
    files = [path for path in DATA.rglob("*") if path.is_file()]
    assert (DATA / "FORMAT").is_file() and (DATA / "credentials").is_file() and len(files) > 5, files
    return f"{len(files)} files"


def a_removal_keeps_configuration_and_data() -> str:
    run("dpkg", "-r", "zerocloud")
    nobody_answers()
    assert CONFIGURATION.read_text().startswith(EDITED)
    return data_is_there()


def a_purge_keeps_the_data_and_says_where_it_lies() -> str:
    said = run("dpkg", "-P", "zerocloud")
    assert f"rm -r {DATA}" in said, said
    assert not CONFIGURATION.exists()
    return data_is_there()


def the_rpm_installs_verifies_and_finds_the_data() -> str:
    run("rpm", "-i", "--nodeps", package("rpm", "packages"))
    assert run("rpm", "-V", "--nodeps", "zerocloud") == ""
    the_service_is_enabled_and_serves()
    files_belong_to_whom_they_should()
    first_object_is_there()
    return run("rpm", "-q", "zerocloud").strip()


def an_upgrade_of_the_rpm_keeps_the_edited_configuration_and_the_socket() -> str:
    said = upgrade(Path(f"{CONFIGURATION}.rpmnew"), "rpm", "-U", "--nodeps", package("rpm", "newer"))
    return f"{run('rpm', '-q', 'zerocloud').strip()}, {said}"


def a_removal_of_the_rpm_keeps_the_data_and_says_where_it_lies() -> str:
    said = run("rpm", "-e", "zerocloud")
    assert f"rm -r {DATA}" in said, said
    nobody_answers()
    return data_is_there()


FACTS = (
    a_newcomer_stores_an_object_in_five_commands,
    the_service_is_enabled_and_serves,
    io_uring_is_in_use,
    it_listens_on_loopback_only,
    the_units_are_understood,
    files_belong_to_whom_they_should,
    the_running_unit_is_exposed_little,
    the_running_process_has_no_rights,
    the_sandbox_refuses_what_it_should,
    a_stopped_process_is_restarted_by_the_watchdog,
    a_core_that_hangs_is_found_by_the_watchdog,
    a_killed_process_is_restarted,
    a_stop_holds_under_traffic_where_it_is_of_both_units,
    a_wrong_configuration_neither_spins_under_traffic_nor_outlives_its_mending,
    a_data_directory_that_is_held_is_waited_for_under_traffic,
    another_address_is_served_though_its_network_comes_later,
    a_reload_takes_effect_in_the_same_process,
    cores_are_those_that_a_drop_in_names,
    init_makes_a_certificate_that_the_configuration_names,
    what_root_calls_leaves_nothing_of_roots,
    restarts_under_load_refuse_nothing,
    an_upgrade_keeps_the_edited_configuration_and_the_socket,
    a_removal_keeps_configuration_and_data,
    a_purge_keeps_the_data_and_says_where_it_lies,
    the_rpm_installs_verifies_and_finds_the_data,
    an_upgrade_of_the_rpm_keeps_the_edited_configuration_and_the_socket,
    a_removal_of_the_rpm_keeps_the_data_and_says_where_it_lies,
)


def main() -> int:
    with RESULT.open("w", buffering=1) as result:
        for fact in FACTS:
            begun = time.monotonic()
            try:
                said = fact()
            except Exception:
                result.write(f"FAILED {fact.__name__}\n{traceback.format_exc()}\n")
                result.write(run("journalctl", "--no-pager", "-n", "150", "-o", "short-monotonic", code=None))
                return 1
            result.write(f"{fact.__name__} ({time.monotonic() - begun:.0f} s){': ' if said else ''}{said}\n")
        result.write(f"{LAST}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
