"""The first start of a Proxmox machine: what cloud-init is told, carried out on images of disks and against programs of make-believe.

Shown: only a blank disk is formatted; nothing is installed unless the data disk is mounted; the machine starts without that disk, and
neither the service nor its socket does.
"""

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import yaml

DISK = "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_drive-scsi1"
DATA = "/var/lib/zerocloud"
# A directory that is a mount point on every machine, and one that is none.
MOUNTED, NOT_MOUNTED = "/proc", "/proc/self"
# Sparse, and large enough for a copy of ext4's head.
IMAGE_BYTES = 160 << 20
MIB = 1 << 20
DROP_INS = [f"/etc/systemd/system/zerocloud.{kind}.d/data-disk.conf" for kind in ("service", "socket")]
# Programs that change a machine, and record that they were asked to.
RECORDER = '#!/bin/sh\necho "${0##*/} $*" >>"$RECORD"\n'
RECORDED = ("systemctl", "mkdir", "mount", "apt-get", "umount")
INSTALLED = [
    "systemctl start qemu-guest-agent",
    "mkdir -p /run/zerocloud-cd",
    "mount -o ro LABEL=ZEROCLOUD /run/zerocloud-cd",
    "apt-get -q install -y /run/zerocloud-cd/zerocloud.deb",
    "umount /run/zerocloud-cd",
]


def script(commands: list) -> str:
    """The shell script that cloud-init makes of a list: strings stand as they are, lists are quoted."""
    lines = [one if isinstance(one, str) else " ".join(f"'{word}'" for word in one) for one in commands]
    return "\n".join(["#!/bin/sh", *lines, ""])


def _run(text: str, *before: Path, **variables: str) -> subprocess.CompletedProcess:
    path = ":".join([*map(str, before), os.environ["PATH"], "/usr/sbin", "/sbin"])
    return subprocess.run(["sh", "-c", text], capture_output=True, text=True, env=os.environ | {"PATH": path} | variables)


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _ext4(path: Path, label: str = "zerocloud") -> None:
    done = _run(f"mkfs.ext4 -q -b 4096 -L {label} {shlex.quote(str(path))}")
    assert done.returncode == 0, done.stderr


def _write(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as image:
        image.seek(offset)
        image.write(content)


def _damaged(path: Path) -> None:
    """The superblock is gone, which no signature shows any more; the files could be had again by one of its copies."""
    _ext4(path)
    _write(path, 1024, bytes(1024))


def _headless(path: Path) -> None:
    """As a disk of which a piece was lost, or is not there yet."""
    _ext4(path)
    _write(path, 0, bytes(MIB))


def _partitions(path: Path) -> None:
    """One of Linux, from sector 2,048."""
    entry = bytes([0, 0, 2, 0, 0x83, 0, 0, 0]) + (2048).to_bytes(4, "little") + (8192).to_bytes(4, "little")
    _write(path, 446, entry)
    _write(path, 510, b"\x55\xaa")


def _swap(path: Path) -> None:
    assert _run(f"mkswap {shlex.quote(str(path))}").returncode == 0


# What a disk may hold that is not to be lost.
HELD: dict[str, Callable[[Path], None]] = {
    "our file system": _ext4,
    "another's file system": lambda path: _ext4(path, "photos"),
    "a file system with a damaged head": _damaged,
    "a file system whose beginning is gone": _headless,
    "partitions": _partitions,
    "swap": _swap,
    "a part of a RAID, which says so at its end": lambda path: _write(path, IMAGE_BYTES - 1024, b"Intel Raid ISM Cfg Sig. 1.0.00"),
    "something at its beginning that nobody knows": lambda path: _write(path, 70_000, b"?"),
}


def _label(path: Path) -> str:
    return _run(f"blkid -p -s TYPE -s LABEL -o value {shlex.quote(str(path))}").stdout.strip().replace("\n", " ")


def _disks(document: dict) -> list[str]:
    """What is formatted, tried on images."""
    problems = []
    text = script(document.get("bootcmd", []))
    if DISK not in text:
        return [f"nothing is done with {DISK} at a start"]
    with tempfile.TemporaryDirectory(prefix="zerocloud-disks-") as directory:
        path = Path(directory) / "disk"
        # It waits for devices, of which there are none here.
        _program(Path(directory) / "udevadm", "#!/bin/sh\n")

        def start() -> str:
            done = _run(text.replace(DISK, str(path)), Path(directory))
            return f"{done.stdout}{done.stderr}".strip()

        start()
        if path.exists():
            problems.append("a start without the disk makes one")
            path.unlink()

        def blank() -> None:
            path.unlink(missing_ok=True)
            path.touch()
            os.truncate(path, IMAGE_BYTES)

        blank()
        said = start()
        if _label(path) != "zerocloud ext4":
            problems.append(f"a blank disk is not formatted: {_label(path)!r}, {said}")
        for what, hold in HELD.items():
            blank()
            hold(path)
            # Whoever writes changes this, whatever is written.
            os.utime(path, (0, 0))
            said = start()
            if path.stat().st_mtime != 0:
                problems.append(f"a disk that holds {what} is overwritten: {said}")
    return problems


def _installation(document: dict) -> list[str]:
    """What is installed: with the data disk, without it, and where the package cannot be."""
    problems = []
    text = script(document.get("runcmd", []))
    cases = {
        "with the data disk mounted": (MOUNTED, "", INSTALLED, True),
        "with the data disk not mounted": (NOT_MOUNTED, "", INSTALLED[:1], False),
        "with a package that cannot be installed": (MOUNTED, "apt-get", INSTALLED[:4], False),
    }
    for what, (place, failing, wanted, is_well) in cases.items():
        with tempfile.TemporaryDirectory(prefix="zerocloud-first-start-") as directory:
            record = Path(directory) / "record"
            record.touch()
            for name in RECORDED:
                _program(Path(directory) / name, RECORDER + ("exit 1\n" if name == failing else ""))
            done = _run(text.replace(DATA, place), Path(directory), RECORD=str(record))
            asked = record.read_text().splitlines()
        if (done.returncode == 0) != is_well or asked != wanted:
            problems.append(f"{what} the first start ends with {done.returncode} after {asked}: {done.stderr.strip()}")
    return problems


def _mounts(document: dict) -> list[str]:
    """Where the data disk is mounted, and what waits for it."""
    problems = []
    [mount] = document.get("mounts", [[]])
    if mount[:3] != ["LABEL=zerocloud", DATA, "ext4"] or "nofail" not in mount[3].split(","):
        problems.append(f"a missing data disk keeps the machine from starting, or is mounted elsewhere: {mount}")
    files = {one["path"]: one["content"] for one in document.get("write_files", [])}
    for name in DROP_INS:
        content = files.get(name, "")
        if f"[Unit]\nRequiresMountsFor={DATA}\n" not in content:
            problems.append(f"{name} does not wait for the data disk")
        # What systemd itself says of the condition, at a mount point and elsewhere.
        found = re.search(r"(?m)^Assert(.*)$", content)
        conditions = [f"systemd-analyze condition 'Assert{found[1].replace(DATA, place)}'" for place in (MOUNTED, NOT_MOUNTED)] if found else []
        if [_run(condition).returncode == 0 for condition in conditions] != [True, False]:
            problems.append(f"{name} lets the appliance begin anew on the root disk")
    return problems


def check(text: str) -> list[str]:
    """What is wrong with a first start."""
    document = yaml.safe_load(text)
    problems = [f"cloud-init's {key} would format a disk that holds data" for key in ("fs_setup", "disk_setup") if key in document]
    if not text.startswith("#cloud-config\n"):
        problems.append("its first line does not say what it is")
    return problems + _disks(document) + _installation(document) + _mounts(document)
