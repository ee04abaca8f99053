"""The Proxmox scripts against a host of make-believe: programs that record what they are asked and keep just enough state.

Shown: a dry run asks and changes nothing; the arguments of a run are exactly those below; a second run changes nothing; a run that
breaks off at any of its commands is finished by the next one; a guest of somebody else is not touched; a container's boot is awaited
also while nobody answers there. What a machine does at its first start is in first_start.py.
"""

import os
import subprocess
import tempfile
from pathlib import Path

import first_start

TEMPLATE = "debian-12-standard_12.12-1_amd64.tar.zst"
DATA = "/var/lib/zerocloud"

BOOTED = (
    "for try in $(seq 300); do case $(systemctl is-system-running --wait) in running | degraded) exit 0 ;; esac; sleep 1; done; exit 1"
)
# What systemd says in turn, and whether the container is then taken for booted. Just after a start nobody answers.
BOOTS = {"offline; unknown; starting; degraded": True, "running": True, "offline; maintenance": False}
# The last answer stays.
SAYS = '#!/bin/sh\nread -r state <"$ANSWERS"\n[ "$(wc -l <"$ANSWERS")" = 1 ] || sed -i 1d "$ANSWERS"\necho "$state"\n[ "$state" = running ]\n'

# Every program is this one, by another name. State: files below STATE; a call that changes something is a line of `changes`.
FAKE = r'''#!/bin/sh
name=${0##*/} guest=${0##*/}-$2
change() {
    [ "$(wc -l <"$STATE/changes")" -ne "$BREAK_AT" ] || exit 9
    { printf '%s' "$name"; printf '\037%s' "$@"; echo; } >>"$STATE/changes"
}
tags() {
    while [ "$1" != --tags ]; do shift; done
    echo "tags: $2"
}
case "$name $1" in
    dpkg-deb*) echo "$VERSION" ;;
    "pvesm path") echo "$STATE/files/$(echo "${2#*:}" | tr / -)" ;;
    "pveam available")
        echo 'system          debian-11-standard_11.7-1_amd64.tar.zst'
        echo 'system          debian-12-standard_12.2-1_amd64.tar.zst'
        echo 'system          @TEMPLATE@'
        echo 'system          ubuntu-24.04-standard_24.04-2_amd64.tar.zst'
        ;;
    "pveam list")
        echo 'NAME                                                         SIZE'
        [ ! -e "$STATE/template" ] || echo "$2:vztmpl/@TEMPLATE@   120.00MB"
        ;;
    *" config") [ -e "$STATE/$guest" ] && cat "$STATE/$guest" ;;
    *" status")
        [ -e "$STATE/$guest" ] || exit 2
        if [ -e "$STATE/$guest-runs" ]; then echo 'status: running'; else echo 'status: stopped'; fi
        ;;
    "pct exec")
        if [ "$4" = dpkg-query ]; then
            [ -e "$STATE/installed" ] || exit 1
            printf %s "$7" | sed "s/\${db:Status-Status}/$(cat "$STATE/status")/; s/\${Version}/$(cat "$STATE/installed")/"
            exit
        fi
        change "$@"
        case "$*" in *install*) echo "$VERSION" >"$STATE/installed"; echo installed >"$STATE/status" ;; esac
        ;;
    "pct push" | genisoimage*) change "$@" ;;
    "pveam download") change "$@"; : >"$STATE/template" ;;
    *" create")
        change "$@"
        { echo 'arch: amd64'; tags "$@"; echo 'scsi0: local-lvm:vm-7-disk-0,discard=on,size=3G'; } >"$STATE/$guest"
        ;;
    "qm disk") change "$@"; sed -i "s/size=3G/size=$5/" "$STATE/qm-$3" ;;
    *" start") change "$@"; : >"$STATE/$guest-runs" ;;
    *) echo "not known to the test: $name $*" >&2; exit 99 ;;
esac
'''


class Host:
    """A host with nothing on it."""

    def __init__(self, tree: Path, directory: Path):
        self.tree, self.directory = tree, directory
        self.state = directory / "state"
        self.configurations = directory / "pve"
        for made in (directory / "bin", self.state / "files", self.configurations / "lxc"):
            made.mkdir(parents=True)
        (self.state / "changes").touch()
        for name in ("pct", "qm", "pveam", "pvesm", "pvesh", "dpkg-deb", "genisoimage"):
            program = directory / "bin" / name
            program.write_text(FAKE.replace("@TEMPLATE@", TEMPLATE))
            program.chmod(0o755)
        for name in ("zerocloud.deb", "debian.qcow2", "keys.pub"):
            (directory / name).write_text(name)

    def run(self, script: str, *options: str, break_at: int = -1, version: str = "0.1.0-1") -> subprocess.CompletedProcess:
        """The script with the options that it must have."""
        given = ["--id", "7", "--deb", str(self.directory / "zerocloud.deb")]
        if script == "create-vm.sh":
            given += ["--image", str(self.directory / "debian.qcow2"), "--ssh-keys", str(self.directory / "keys.pub")]
        environment = os.environ | {
            "PATH": f"{self.directory / 'bin'}:{os.environ['PATH']}",
            "STATE": str(self.state),
            "BREAK_AT": str(break_at),
            "VERSION": version,
            "PVE_CONFIGURATIONS": str(self.configurations),
        }
        command = ["bash", str(self.tree / "proxmox" / script), *given, *options]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    def changes(self) -> list[list[str]]:
        # Not splitlines: it would end a line at the separator, too.
        return [line.split("\x1f") for line in (self.state / "changes").read_text().split("\n")[:-1]]

    def picture(self) -> dict[str, str]:
        """Every file of the host and what it holds, but for the record of changes."""
        files = [p for p in (*self.state.rglob("*"), *self.configurations.rglob("*")) if p.is_file() and p.name != "changes"]
        return {str(path.relative_to(self.directory)): path.read_text() for path in files}


def expected(host: Host, script: str) -> list[list[str]]:
    """What a first run does."""
    deb = str(host.directory / "zerocloud.deb")
    if script == "create-ct.sh":
        inside = ["pct", "exec", "7", "--"]
        create = ["pct", "create", "7", f"local:vztmpl/{TEMPLATE}", "--hostname", "zerocloud", "--tags", "zerocloud", "--unprivileged", "1"]
        create += ["--features", "nesting=1", "--cores", "4", "--memory", "4096", "--swap", "0", "--rootfs", "local-lvm:8"]
        create += ["--mp0", f"local-lvm:100,mp={DATA},backup=1", "--net0", "name=eth0,bridge=vmbr0,ip=dhcp", "--onboot", "1"]
        return [
            ["pveam", "download", "local", TEMPLATE],
            create,
            ["pct", "start", "7"],
            [*inside, "sh", "-c", BOOTED],
            ["pct", "push", "7", deb, "/root/zerocloud.deb"],
            [*inside, "apt-get", "-q", "update"],
            [*inside, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "install", "-y", "/root/zerocloud.deb"],
            [*inside, "rm", "/root/zerocloud.deb"],
        ]
    cd = str(host.state / "files" / "iso-zerocloud-7.iso")
    create = ["qm", "create", "7", "--name", "zerocloud", "--tags", "zerocloud", "--ostype", "l26", "--cpu", "host", "--cores", "4"]
    create += ["--memory", "4096", "--balloon", "0", "--scsihw", "virtio-scsi-single", "--agent", "enabled=1", "--serial0", "socket"]
    create += ["--net0", "virtio,bridge=vmbr0"]
    create += ["--scsi0", f"local-lvm:0,import-from={host.directory / 'debian.qcow2'},iothread=1,discard=on,ssd=1"]
    create += ["--scsi1", "local-lvm:100,iothread=1,discard=on,ssd=1,backup=1", "--ide0", "local:iso/zerocloud-7.iso,media=cdrom"]
    create += ["--ide2", "local-lvm:cloudinit", "--boot", "order=scsi0", "--ciuser", "debian", "--sshkeys", str(host.directory / "keys.pub")]
    create += ["--ipconfig0", "ip=dhcp", "--cicustom", "vendor=local:snippets/zerocloud-7.yaml", "--onboot", "1"]
    return [
        ["genisoimage", "-quiet", "-V", "ZEROCLOUD", "-r", "-graft-points", "-o", cd, f"zerocloud.deb={deb}"],
        create,
        ["qm", "disk", "resize", "7", "scsi0", "16G"],
        ["qm", "start", "7"],
    ]


def boot_problems(asked: str) -> list[str]:
    """What is wrong with how a container's boot is awaited, run here with a systemd of make-believe and without a pause."""
    problems = []
    for answers, has_booted in BOOTS.items():
        with tempfile.TemporaryDirectory(prefix="zerocloud-boot-") as scratch:
            for name, text in (("systemctl", SAYS), ("sleep", "#!/bin/sh\n")):
                (Path(scratch) / name).write_text(text)
                (Path(scratch) / name).chmod(0o755)
            (Path(scratch) / "answers").write_text(answers.replace("; ", "\n") + "\n")
            environment = os.environ | {"PATH": f"{scratch}:{os.environ['PATH']}", "ANSWERS": f"{scratch}/answers"}
            code = subprocess.run(["sh", "-c", asked], capture_output=True, env=environment).returncode
            if (code == 0) != has_booted:
                problems.append(f"a container that says {answers!r} ends the waiting with {code}")
    return problems


# Once the guest runs, asking whether it has booted may be repeated: it changes nothing.
ASKED_AGAIN = [["pct", "exec", "7", "--", "sh", "-c", BOOTED]]


def check(tree: Path) -> list[str]:
    """What is wrong with the two scripts."""
    problems: list[str] = []

    def demand(fact: bool, script: str, text: str, run: subprocess.CompletedProcess | None = None) -> None:
        if not fact:
            said = f" (code {run.returncode}: {(run.stderr or run.stdout).strip()[-300:]})" if run else ""
            problems.append(f"proxmox/{script}: {text}{said}")

    for script in ("create-ct.sh", "create-vm.sh"):
        with tempfile.TemporaryDirectory(prefix="zerocloud-proxmox-") as scratch:
            host = Host(tree, Path(scratch))
            empty = host.picture()
            run = host.run(script, "--dry-run")
            demand(run.returncode == 0, script, "a dry run fails", run)
            demand(host.changes() == [] and host.picture() == empty, script, "a dry run changes something")
            wanted = expected(host, script)
            shown = [line.removeprefix("+ timeout 300 ").removeprefix("+ ").split()[:2] for line in run.stdout.splitlines() if line[:1] == "+"]
            missing = [change for change in wanted if change[:2] not in shown]
            demand(missing == [], script, f"a dry run does not print {missing}")
            run = host.run(script)
            demand(run.returncode == 0, script, "a run fails", run)
            done = host.changes()
            for number, (is_, should) in enumerate(zip(done + [[]] * len(wanted), wanted)):
                demand(is_ == should, script, f"command {number + 1} is {is_}, not {should}")
            demand(len(done) <= len(wanted), script, f"more commands than meant: {done[len(wanted):]}")
            demand(run.stdout.count("\n    ") == 3, script, "does not end with three lines to paste")
            complete = host.picture()
            if script == "create-ct.sh":
                demand("lxc.prlimit.memlock: unlimited\n" in complete.get("pve/lxc/7.conf", ""), script, "sets no memory lock")
                asked = [change[-1] for change in done if change[:2] == ["pct", "exec"] and "is-system-running" in change[-1]]
                problems += [f"proxmox/{script}: {one}" for one in boot_problems(asked[0] if asked else "")]
            else:
                snippet = host.state / "files/snippets-zerocloud-7.yaml"
                demand(snippet.exists(), script, "writes no first start")
                problems += [f"proxmox/{script}: {one}" for one in first_start.check(snippet.read_text() if snippet.exists() else "{}")]
            run = host.run(script)
            again = [change for change in host.changes()[len(done):] if change not in ASKED_AGAIN]
            demand(run.returncode == 0 and again == [] and host.picture() == complete, script, f"a second run does {again}", run)
            if script == "create-ct.sh":
                run = host.run(script, version="0.2.0-1")
                demand((host.state / "installed").read_text() == "0.2.0-1\n", script, "does not install a newer package", run)
                (host.state / "status").write_text("config-files\n")
                run = host.run(script, version="0.2.0-1")
                is_there = (host.state / "status").read_text() == "installed\n"
                demand(is_there, script, "takes a package that was removed for one that is installed", run)
            guest = host.state / ("pct-7" if script == "create-ct.sh" else "qm-7")
            guest.write_text("arch: amd64\ntags: mail\n")
            before = len(host.changes())
            run = host.run(script)
            demand(run.returncode == 1 and len(host.changes()) == before, script, "touches a guest of somebody else", run)
            demand(host.run(script, "--no-such-option").returncode == 64, script, "takes an unknown option")
        for break_at in range(len(wanted)):
            with tempfile.TemporaryDirectory(prefix="zerocloud-proxmox-") as scratch:
                host = Host(tree, Path(scratch))
                run = host.run(script, break_at=break_at)
                demand(run.returncode != 0, script, f"goes on when command {break_at + 1} fails", run)
                run = host.run(script)
                is_whole = run.returncode == 0 and host.picture().keys() == complete.keys()
                demand(is_whole, script, f"does not finish a run that broke off at command {break_at + 1}", run)
    return problems
