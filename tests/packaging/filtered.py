"""Starts the appliance under a seccomp profile and prints the backend that it found: filtered.py PROFILE LEFT_OUT DIRECTORY BINARY

LEFT_OUT are calls that the profile is to lack, with commas between them. Run by Debian's own interpreter, whose libseccomp this needs.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import seccomp

COMPARISONS = {"SCMP_CMP_EQ": seccomp.EQ, "SCMP_CMP_MASKED_EQ": seccomp.MASKED_EQ}


def build(profile: dict, left_out: set[str]) -> "seccomp.SyscallFilter":
    """The profile as the kernel takes it. Calls that this libseccomp does not know yet are left out, as engines do."""
    made = seccomp.SyscallFilter(defaction=seccomp.ERRNO(profile["defaultErrnoRet"]))
    for rule in profile["syscalls"]:
        action = seccomp.ALLOW if rule["action"] == "SCMP_ACT_ALLOW" else seccomp.ERRNO(rule["errnoRet"])
        compared = [seccomp.Arg(one["index"], COMPARISONS[one["op"]], one["value"], one["valueTwo"]) for one in rule.get("args", [])]
        for name in rule["names"]:
            number = seccomp.resolve_syscall(seccomp.Arch(), name)
            if number >= 0 and name not in left_out:
                made.add_rule(action, number, *compared)
    made.set_attr(seccomp.Attr.CTL_NNP, 1)
    return made


def main() -> int:
    profile, left_out, directory, binary = sys.argv[1:]
    made = build(json.loads(Path(profile).read_text()), set(left_out.split(",")))
    data = tempfile.mkdtemp(prefix="filtered-", dir=directory)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ZEROCLOUD_")}
    process = subprocess.Popen(
        [binary, "serve", "--data", f"{data}/data", "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=made.load,
    )
    line = process.stdout.readline()
    process.terminate()
    _, log = process.communicate()
    shutil.rmtree(data)
    backend = re.search(r'"message":"ready".*"backend":"(\w+)"', log)
    if "zerocloud ready on" not in line or backend is None or process.returncode != 0:
        print(f"did not start and stop (code {process.returncode}): {log}")
        return 1
    print(backend[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
