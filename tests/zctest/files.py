"""Trees of local files, client programs that carry them, and comparing what came back."""

import filecmp
import shutil
import subprocess
import sys
from pathlib import Path

from zctest.content import MULTIPART_BYTES, content

FILE_NAMES = ["small", "empty", "with space", "plus+sign", "percent%41", "ünïcode-鍵", "deep/er/file", "quote'quote", "emoji-😀"]


def make_tree(root: Path) -> Path:
    """Small, empty and odd-named files, and one that needs a multipart upload."""
    for number, name in enumerate(FILE_NAMES):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if name == "empty" else content(1000 + number))
    (root / "large").write_bytes(content(MULTIPART_BYTES))
    return root


def same(left: Path, right: Path) -> bool:
    """Whether two trees hold the same files, byte for byte."""
    names = sorted(str(path.relative_to(left)) for path in left.rglob("*") if path.is_file())
    others = sorted(str(path.relative_to(right)) for path in right.rglob("*") if path.is_file())
    match, mismatch, errors = filecmp.cmpfiles(left, right, names, shallow=False)
    return names == others and not mismatch and not errors and len(match) == len(names)


def run(command: list[str], environment: dict[str, str], **options) -> str:
    """What a program that must succeed prints."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def tool(name: str) -> str:
    """A program: the one beside this interpreter, else the machine's."""
    beside = Path(sys.executable).parent / name
    path = str(beside) if beside.exists() else shutil.which(name)
    assert path, f"{name} is missing; tests/run installs it"
    return path
