"""A recorded disk with a file system on it, mounted: the recorder of block_device.py, a loop device, a mount.

Whatever of this fails is a fault of the lab or of the machine (`LabFault`), never a finding about the appliance. A file
system that does not mount (`NotMountable`) is told apart, since a cut may tear a block that it takes for atomic.
"""

import errno
import hashlib
import mmap
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import block_device as device

HERE = Path(__file__).resolve().parent
# Generous: these end by themselves on any machine, and only a stuck lab meets them.
DEVICE_SECONDS_MAX = 120
UNMOUNT_SECONDS_MAX = 180
POLL_SECONDS = 0.003
MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"],
    "xfs": ["mkfs.xfs", "-q", "-f", "-K"],
}

# Images of one recording are mounted side by side, and all have its UUID.
MOUNT_ALSO = {"ext4": "", "xfs": ",nouuid"}


class LabFault(Exception):
    """The lab itself failed: nothing is shown about the appliance."""


class NotMountable(Exception):
    """The kernel does not mount the file system of this image."""


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabFault(f"{' '.join(command)}: {done.stdout}{done.stderr}".strip())
    return done.stdout


def make_file_system(image: Path, kind: str, size: int) -> None:
    with image.open("wb") as file:
        file.truncate(size)
    run(*MAKE[kind], str(image))


def copy_sparse(source: Path, target: Path) -> None:
    run("cp", "--sparse=always", str(source), str(target))


def digest_of(path: Path, pages: list[int]) -> str:
    """A digest of these pages of a file."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as source:
        for page in pages:
            digest.update(os.pread(source.fileno(), device.PAGE, page * device.PAGE))
    return digest.hexdigest()


class Disk:
    """A recorded disk. `attach` and `mount` bring it up, `close` takes it down from wherever it stands."""

    def __init__(self, place: Path, image: Path, kind: str, options: str, changes: Path | None = None):
        self.place, self.kind, self.options = place, kind, options
        place.mkdir()
        self.file, self.log, self.counter, self.root = (place / name for name in ("disk", "log", "count", "root"))
        self.file.touch()
        self.counter.write_bytes(bytes(device.COUNT_BYTES))
        self.root.mkdir()
        if changes is None:
            changes = place / "changes"
            changes.touch()
        # Without site packages the interpreter starts in a third of the time.
        command = [sys.executable, "-S", "-E", str(HERE / "block_device.py")]
        self.server = subprocess.Popen([*command, *map(str, (image, self.file, self.log, self.counter, changes))])
        self.loop = ""
        with self.counter.open("rb") as counter:
            self.mapped = mmap.mmap(counter.fileno(), device.COUNT_BYTES, prot=mmap.PROT_READ)

    def count(self) -> int:
        """Entries of the log so far."""
        return struct.unpack("<Q", self.mapped[: device.COUNT_BYTES])[0]

    def records(self) -> bool:
        """Whether the recorder is still there: without it reads and writes fail, whatever the appliance does."""
        return self.server.poll() is None

    def mount(self) -> None:
        self.attach()
        try:
            run("mount", "-o", self.options + MOUNT_ALSO[self.kind], self.loop, str(self.root))
        except LabFault as fault:
            if not self.records():
                raise LabFault("the recorder ended during a mount") from fault
            raise NotMountable(str(fault)) from fault

    def attach(self) -> None:
        deadline = time.monotonic() + DEVICE_SECONDS_MAX
        while self.file.stat().st_size == 0:
            if not self.records() or time.monotonic() > deadline:
                raise LabFault("the recorder did not come up")
            time.sleep(POLL_SECONDS)
        # Somebody else may take the device that was free; then the next one does.
        for attempt in range(10):
            try:
                self.loop = run("losetup", "-f", "--show", str(self.file)).strip()
                return
            except LabFault:
                if attempt == 9:
                    raise
                time.sleep(0.1)

    def shows(self, pages: list[int]) -> str:
        """A digest of these pages of the device."""
        return digest_of(self.file, pages)

    def unmount(self) -> None:
        # The kernel takes a killed process's ring down after the process is gone; until then its files are busy.
        deadline = time.monotonic() + UNMOUNT_SECONDS_MAX
        while True:
            try:
                device.unmount(str(self.root))
            except OSError as error:
                if error.errno == errno.EINVAL:
                    # Not mounted, or not any more.
                    return
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise LabFault(str(error)) from error
                time.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Takes everything down, also after a failure half way; the log stays."""
        try:
            self.unmount()
        finally:
            try:
                if self.loop:
                    # Detached once its last user is gone, so nothing stays behind even where the unmount failed.
                    run("losetup", "-d", self.loop)
                    self.loop = ""
            finally:
                self.end_recorder()

    def end_recorder(self) -> None:
        try:
            device.unmount(str(self.file), device.MNT_DETACH)
        except OSError as error:
            # Not mounted: the recorder ended before, and says so by its exit code.
            if error.errno not in (errno.EINVAL, errno.ENOENT):
                raise LabFault(str(error)) from error
            self.server.terminate()
        try:
            code = self.server.wait(DEVICE_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait()
            raise LabFault("the recorder did not end") from None
        if code != 0:
            raise LabFault(f"the recorder failed with {code}")


def set_up_fault(place: Path, kind: str) -> str | None:
    """Tries the whole way once: what a file system of this kind lacks here to be recorded."""
    disk = None
    try:
        image = place / f"try-{kind}"
        make_file_system(image, kind, TRIAL_BYTES)
        disk = Disk(place / f"tried-{kind}", image, kind, "nodiscard")
        try:
            disk.mount()
            written = disk.root / "written"
            with written.open("wb") as file:
                file.write(b"x" * device.PAGE)
                os.fsync(file.fileno())
        finally:
            disk.close()
        kinds = {kind for kind, *_ in device.entries(disk.log)}
        return None if {device.WRITE, device.FLUSH} <= kinds else "the recorder saw no write or no flush"
    except (LabFault, NotMountable, OSError) as fault:
        return str(fault)


# The least that mkfs.xfs accepts.
TRIAL_BYTES = 512 << 20
