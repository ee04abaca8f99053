"""What the unit's sandbox refuses: attempts that the service's user could make without it, and the directive that refuses each.

Run inside the unit it makes every attempt, prints their errors as JSON, and does what the service needs. Invariant of ATTEMPTS: with
its directive alone taken away, an attempt ends otherwise; so none is refused by the file system's modes or by another directive.
"""

import ctypes
import errno
import json
import mmap
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

DATA = Path("/var/lib/zerocloud")
# What everybody may write to, were it not for the sandbox.
OPEN_PLACES = ("/etc/probe", "/usr/probe", "/var/lib/probe", "/opt/probe", "/home/probe", "/sys/fs/cgroup/probe")
# What everybody may read.
OPEN_FILES = ("/home/probe/file", "/tmp/probe", "/dev/probe", "/usr/lib/modules/probe")
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
PAGE = ctypes.c_size_t(4096)
# Numbers of x86-64.
CALLS = {"ptrace": 101, "personality": 135, "chroot": 161, "umount2": 166, "set_mempolicy": 238, "unshare": 272}
IO_URING_SETUP = 425
CLONE_NEWUSER = 0x10000000
PACKET_FAMILY, RAW_KIND, ROUND_ROBIN = 17, 3, 2


@dataclass(frozen=True)
class Attempt:
    directive: str
    what: str
    # The error by which the sandbox refuses it.
    refusal: int
    run: Callable[[], int]


def _error(result: int | None) -> int:
    """Of a call of C that has just ended so."""
    return ctypes.get_errno() if result in (-1, None, ctypes.c_void_p(-1).value) else 0


def _call(name: str, *arguments: object) -> Callable[[], int]:
    return lambda: _error(libc.syscall(CALLS[name], *arguments))


def _opening(path: str, flags: int = os.O_RDONLY) -> Callable[[], int]:
    def run() -> int:
        try:
            os.close(os.open(path, flags, 0o600))
        except OSError as error:
            return error.errno
        return 0

    return run


def _made_below(place: str) -> Callable[[], int]:
    return _opening(f"{place}/{os.getpid()}", os.O_WRONLY | os.O_CREAT)


def _control_group() -> int:
    try:
        os.mkdir("/sys/fs/cgroup/probe/below")
    except OSError as error:
        return error.errno
    os.rmdir("/sys/fs/cgroup/probe/below")
    return 0


def _mapped(protection: int) -> int | None:
    return libc.mmap(None, PAGE, protection, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)


def _made_executable() -> int:
    place = _mapped(mmap.PROT_READ | mmap.PROT_WRITE)
    assert _error(place) == 0, "no memory at all"
    return _error(libc.mprotect(ctypes.c_void_p(place), PAGE, mmap.PROT_READ | mmap.PROT_EXEC))


def _set_user_id() -> int:
    path = DATA / "probe"
    path.write_text("")
    try:
        path.chmod(stat.S_ISUID | 0o700)
    except OSError as error:
        return error.errno
    finally:
        path.unlink()
    return 0


def _packet_socket() -> int:
    """Without the directive the kernel asks for a right, which is another error."""
    return _error(libc.socket(PACKET_FAMILY, RAW_KIND, 0))


def _real_time() -> int:
    """Without the directive the kernel refuses the priority, which is another error."""
    return _error(libc.sched_setscheduler(0, ROUND_ROBIN, ctypes.byref(ctypes.c_int(0))))


# Of the filtered calls, some that the kernel answers to everybody: with success, or with what is wrong about their arguments.
ATTEMPTS = (
    Attempt("ProtectSystem", "a file below /etc", errno.EROFS, _made_below("/etc/probe")),
    Attempt("ProtectSystem", "a file below /usr", errno.EROFS, _made_below("/usr/probe")),
    Attempt("ProtectSystem", "a file below /var/lib", errno.EROFS, _made_below("/var/lib/probe")),
    Attempt("ProtectSystem", "a file below /opt", errno.EROFS, _made_below("/opt/probe")),
    Attempt("ProtectHome", "what lies in a home", errno.EACCES, _opening("/home/probe/file")),
    Attempt("PrivateTmp", "what lies in /tmp", errno.ENOENT, _opening("/tmp/probe")),
    Attempt("PrivateDevices", "what lies in /dev", errno.ENOENT, _opening("/dev/probe")),
    Attempt("ProtectKernelTunables", "the kernel's symbols", errno.EACCES, _opening("/proc/kallsyms")),
    Attempt("ProtectKernelModules", "the kernel's modules", errno.EACCES, _opening("/usr/lib/modules/probe")),
    Attempt("ProtectControlGroups", "a control group", errno.EROFS, _control_group),
    Attempt("ProtectProc", "another's command line", errno.ENOENT, _opening("/proc/1/cmdline")),
    Attempt("MemoryDenyWriteExecute", "written memory made executable", errno.EPERM, _made_executable),
    Attempt("MemoryDenyWriteExecute", "writable and executable memory", errno.EPERM, lambda: _error(_mapped(7))),
    Attempt("RestrictSUIDSGID", "a file that runs with another's rights", errno.EPERM, _set_user_id),
    Attempt("RestrictAddressFamilies", "a packet socket", errno.EAFNOSUPPORT, _packet_socket),
    Attempt("SystemCallFilter", "ptrace", errno.EPERM, _call("ptrace", 2, 0, None, None)),
    Attempt("SystemCallFilter", "umount2", errno.EPERM, _call("umount2", None, -1)),
    Attempt("SystemCallFilter", "chroot", errno.EPERM, _call("chroot", b"/absent")),
    Attempt("SystemCallFilter", "set_mempolicy", errno.EPERM, _call("set_mempolicy", 0, None, 0)),
    # These change the process, so they come last.
    Attempt("RestrictRealtime", "a real-time thread", errno.EPERM, _real_time),
    Attempt("LockPersonality", "another personality", errno.EPERM, _call("personality", 8)),
    Attempt("RestrictNamespaces", "a user namespace", errno.EPERM, _call("unshare", CLONE_NEWUSER)),
)


def furnish() -> None:
    """By root, outside: what the attempts are after."""
    for path in OPEN_PLACES:
        os.mkdir(path)
        os.chmod(path, 0o777)
    for path in map(Path, OPEN_FILES):
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
        path.chmod(0o644)


def what_is_needed_works() -> None:
    ring = libc.syscall(IO_URING_SETUP, 8, ctypes.create_string_buffer(120))
    assert ring >= 0, f"io_uring: {os.strerror(ctypes.get_errno())}"
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    # The lowest, which everybody may have.
    os.setpriority(os.PRIO_PROCESS, 0, 19)
    (DATA / "probe").write_text("")
    (DATA / "probe").unlink()


def main() -> int:
    what_is_needed_works()
    print(json.dumps({attempt.what: attempt.run() for attempt in ATTEMPTS}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
