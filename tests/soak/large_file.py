"""One file of 10 GiB up and down by the AWS CLI, with nothing set but endpoint, region and keys; digests are compared.

The file is noise from a seed, made and read in pieces. Ends with 1 when what came back is not what went up.
"""

import argparse
import hashlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from zctest.files import tool  # noqa: E402
from zctest.server import Server  # noqa: E402

MIB = 1 << 20
BUCKET = "large-file"
SEED = 11


def make(path: Path, mebibytes: int) -> str:
    """Writes the file; gives its digest. No two MiB of it are the same."""
    chance, digest = random.Random(SEED), hashlib.sha256()
    noise = chance.randbytes(MIB - 8)
    with path.open("wb") as file:
        for index in range(mebibytes):
            block = index.to_bytes(8, "big") + noise
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cli(server: Server, *arguments: str) -> float:
    """Runs the CLI; gives the seconds."""
    begun = time.monotonic()
    done = subprocess.run([tool("aws"), *arguments], env=server.environment(), capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"large-file: aws {arguments[:2]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return time.monotonic() - begun


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gibibytes", type=float, default=10, help="size of the file")
    options = parser.parse_args()
    mebibytes = int(options.gibibytes * 1024)
    with Server() as server, tempfile.TemporaryDirectory(prefix="large-file-", dir=server.data) as directory:
        free, needed = shutil.disk_usage(server.data).free, (mebibytes * 2 + 2048) * MIB
        if free < needed:
            raise SystemExit(f"large-file: {free >> 30} GiB are free, {needed >> 30} are needed")
        local, url = Path(directory) / "file", f"s3://{BUCKET}/{options.gibibytes:g} GiB"
        wanted = make(local, mebibytes)
        cli(server, "s3", "mb", f"s3://{BUCKET}")
        up = cli(server, "s3", "cp", "--only-show-errors", str(local), url)
        # Before it comes back: the disk holds the file twice at most.
        local.unlink()
        down = cli(server, "s3", "cp", "--only-show-errors", url, str(local))
        found = digest_of(local)
        local.unlink()
        cli(server, "s3", "rb", "--force", f"s3://{BUCKET}")
        print(f"large-file: {mebibytes / 1024:g} GiB up in {up:.0f} s, down in {down:.0f} s; sha256 {wanted} went up")
        print(f"large-file: sha256 {found} came down{'' if found == wanted else ': DIFFERENT'}")
        return 0 if found == wanted and server.process.poll() is None else 1


if __name__ == "__main__":
    sys.exit(main())
