"""Rules of the house that no compiler checks: where `unsafe` may be, file sizes, and what no file may contain."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNSAFE_CRATES = ("appliance/ring/", "appliance/hash/", "appliance/store/")
FORBIDS = re.compile(r"#!\[forbid\(unsafe_code\)\]")
ALLOWS = re.compile(r"#!\[allow\(\s*unsafe_code\s*,\s*reason\s*=")
USES = re.compile(r"\bunsafe\b\s*(\{|fn|impl|extern)")
LINES_MAX = 600


def main() -> int:
    files = subprocess.run(["git", "ls-files", "*.rs"], cwd=ROOT, check=True, capture_output=True, text=True)
    problems, with_unsafe = [], []
    for name in files.stdout.split():
        text = (ROOT / name).read_text()
        code = "\n".join(line.split("//")[0] for line in text.splitlines())
        if USES.search(code):
            with_unsafe.append(name)
            in_crate = name.startswith(UNSAFE_CRATES)
            is_tool = "/tests/" in name or "/benches/" in name
            if not in_crate:
                problems.append(f"{name}: unsafe outside ring, hash and store")
            elif not is_tool and not ALLOWS.search(text):
                problems.append(f"{name}: unsafe without the file's allow and its reason")
        root = name.endswith(("src/lib.rs", "src/main.rs")) and not name.startswith(UNSAFE_CRATES)
        if root and not FORBIDS.search(text):
            problems.append(f"{name}: forbid(unsafe_code) is missing")
        if not text.startswith(("//!", "#!")):
            problems.append(f"{name}: does not open with //!")
        if text.count("\n") > LINES_MAX:
            problems.append(f"{name}: {text.count(chr(10))} lines, more than {LINES_MAX}")
    for name in with_unsafe:
        print(f"unsafe: {name}")
    for problem in problems:
        print(problem)
    print(f"house: {len(files.stdout.split())} files, {len(with_unsafe)} with unsafe, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
