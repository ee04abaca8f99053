"""Power cuts under the real binary: records every write and flush below the file system, then builds images of what a disk may
hold after a cut at any moment, starts the appliance on each and compares it with what clients were told.

An image holds every write before the last flush of a random prefix of the log, and of the writes after that flush a random
half, the last kept one torn at 512 bytes. An acknowledgement, or a value that a read returned, counts for every image that is
cut after it. Every tenth image is cut a second time while it recovers. Before all that, the log replayed must equal the disk.

Always a short run with a planted fault: the disk answers three of four flushes and does not honour them. The lab must then
find lost data, or it proves nothing. `--plant NAME` runs a binary that was built with the feature `planted` and has that
fault: then a finding is what is wanted, and none is a failure.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from block_disk import LabFault, set_up_fault  # noqa: E402
from block_images import LAB_FAULTS_MAX, Tally, check_images  # noqa: E402
from block_recording import LoadFailed, Recording  # noqa: E402

# What recordings, bases and logs take of the disk at a time, with room to spare.
FREE_BYTES_MIN = 4 << 30
IMAGES_PER_RECORDING = 100
PLANTED_IMAGES = 12
# File systems take some torn blocks for whole (ext4 its superblock); no appliance can help that. More are a broken lab.
UNMOUNTABLE_SHARE_MAX = 0.02


def why_not() -> str | None:
    """What this machine lacks for the lab."""
    if os.geteuid() != 0:
        return "mounting needs root"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse is not there or not accessible"
    found = subprocess.run(["losetup", "-f"], capture_output=True, text=True)
    if found.returncode != 0 or not Path(found.stdout.strip()).exists():
        return "there is no free loop device"
    for tool in ("mkfs.ext4", "mkfs.xfs", "unshare"):
        if shutil.which(tool) is None:
            return f"{tool} is missing"
    if shutil.disk_usage(directory()).free < FREE_BYTES_MIN:
        return f"{directory()} has less than {FREE_BYTES_MIN >> 30} GiB free"
    tried = subprocess.run(["unshare", "-m", "--propagation", "private", "true"], capture_output=True, text=True)
    return None if tried.returncode == 0 else f"no mount namespaces: {tried.stderr.strip()}"


def directory() -> Path:
    return Path(os.environ.get("ZEROCLOUD_TEST_DIR", tempfile.gettempdir()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=28.0, help="stop after this long")
    parser.add_argument("--file-systems", default="ext4,xfs")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--plant", help="a fault that must be found")
    parser.add_argument("--demanded", action="store_true", help="fail where the lab cannot run, or not to its end")
    parser.add_argument("--in-namespace", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.in_namespace:
        reason = why_not()
        if reason:
            print(f"block lab: not run: {reason}")
            return 1 if options.demanded else 0
        # A mount namespace of our own: another one could pin the mount, and unmounting would never free the device.
        command = ["unshare", "-m", "--propagation", "private", sys.executable, str(Path(__file__)), *sys.argv[1:]]
        return subprocess.run([*command, f"--seed={options.seed}", "--in-namespace"]).returncode
    return lab(options)


class Lab:
    """One run: recordings of each kind in turn, and their images, until there are enough."""

    def __init__(self, options: argparse.Namespace, file_systems: list[str]):
        self.options, self.file_systems = options, file_systems
        self.chance = random.Random(options.seed)
        self.begun = time.monotonic()
        self.deadline = self.begun + options.minutes * 60
        self.tally = Tally()
        self.caught: str | None = None
        self.recordings = self.acknowledged = self.entries = self.faults = 0

    def run(self) -> None:
        kinds = [(name, discard) for discard in ("nodiscard", "discard") for name in self.file_systems]
        while self.tally.checked < self.options.images and time.monotonic() < self.deadline:
            file_system, discard = kinds[self.recordings % len(kinds)]
            place = Path(tempfile.mkdtemp(prefix="zerocloud-lab-", dir=directory()))
            try:
                self.record_and_check(place, file_system, discard)
            except LabFault as fault:
                self.faults += 1
                print(f"block lab: the lab failed and begins another recording: {fault}", flush=True)
                if self.faults == LAB_FAULTS_MAX:
                    self.tally.fault = str(fault)
            except LoadFailed as failure:
                self.tally.failure = f"under load: {failure}"
            finally:
                shutil.rmtree(place, ignore_errors=True)
            if self.tally.failure:
                self.tally.failure = f"{file_system}, {discard}: {self.tally.failure}"
            if self.tally.failure or self.tally.fault:
                return

    def record_and_check(self, place: Path, file_system: str, discard: str) -> None:
        recording = Recording(place, self.chance.randrange(1 << 32), file_system, discard, self.options.plant)
        recording.make()
        if self.caught is None and self.options.plant is None:
            planted = check_images(recording, True, PLANTED_IMAGES, self.deadline)
            if planted.fault:
                raise LabFault(planted.fault)
            self.caught = planted.failure
            if self.caught is None and planted.checked == PLANTED_IMAGES:
                self.tally.failure = "a disk that lies about three of four flushes was not caught: the lab proves nothing"
                return
        count = min(IMAGES_PER_RECORDING, self.options.images - self.tally.checked)
        found = check_images(recording, False, count, self.deadline)
        fault, found.fault = found.fault, None
        self.tally.add(found)
        self.recordings += 1
        self.acknowledged += recording.acknowledged()
        self.entries += len(recording.entries)
        if self.tally.unmountable > 1 + UNMOUNTABLE_SHARE_MAX * self.tally.checked:
            self.tally.fault = f"{self.tally.unmountable} images do not mount"
        elif fault and not found.failure:
            raise LabFault(fault)

    def report(self) -> int:
        tally, options = self.tally, self.options
        print(
            f"block lab: {tally.checked} images of {self.recordings} recordings ({','.join(self.file_systems)}), "
            f"{tally.second} cut twice, {tally.verified} verified offline, {tally.unmountable} not mountable, "
            f"{self.acknowledged} acknowledgements, {self.entries} log entries, {tally.keys} keys compared, "
            f"{time.monotonic() - self.begun:.0f} s, seed {options.seed}"
        )
        if options.plant:
            caught = f"caught: {tally.failure[:300]}" if tally.failure else "NOT CAUGHT: this lab proves nothing about it"
            print(f"block lab: {options.plant} was {caught}")
            return 0 if tally.failure else 1
        if tally.failure:
            print(f"FAILED: {tally.failure}\nreplay with --seed {options.seed}")
            return 1
        short = tally.checked < options.images
        if tally.fault or short:
            reason = tally.fault or f"{options.minutes:g} minutes were over"
            print(f"block lab: not run to its end, {tally.checked} of {options.images} images: {reason}")
        if self.caught:
            print(f"block lab: the planted fault was caught: {self.caught[:200]}")
        if tally.checked:
            print("block lab: no acknowledged write lost, none half there, no read taken back")
        return 1 if options.demanded and (tally.fault or short) else 0


def lab(options: argparse.Namespace) -> int:
    file_systems = []
    with tempfile.TemporaryDirectory(prefix="zerocloud-lab-", dir=directory()) as place:
        for name in options.file_systems.split(","):
            fault = set_up_fault(Path(place), name)
            if fault is None:
                file_systems.append(name)
            else:
                print(f"block lab: not run on {name}: {fault}")
                if options.demanded:
                    return 1
    if not file_systems:
        print("block lab: not run: no file system can be recorded here")
        return 0
    run = Lab(options, file_systems)
    run.run()
    return run.report()


if __name__ == "__main__":
    sys.exit(main())
