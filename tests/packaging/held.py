"""One thread of another process, held as a loop that hangs would be, while all its other threads run on. Needs root."""

import ctypes
import os
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
libc.ptrace.restype = ctypes.c_long
# Of linux/ptrace.h and linux/wait.h.
SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
WALL = 0x40000000


def threads(process: int) -> dict[str, int]:
    """Their ids by their names."""
    return {(task / "comm").read_text().strip(): int(task.name) for task in Path(f"/proc/{process}/task").iterdir()}


class Held:
    """Invariant: only the thread that made it may use it, since the kernel knows no other tracer."""

    def __init__(self, thread: int):
        self.thread = thread
        self._ask(SEIZE)
        self._ask(INTERRUPT)
        os.waitpid(thread, WALL)

    def _ask(self, request: int) -> None:
        if libc.ptrace(request, self.thread, None, None) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"ptrace {request:#x} of thread {self.thread}: {os.strerror(code)}")

    def let_go(self) -> None:
        self._ask(DETACH)

    def has_ended(self) -> bool:
        """Asked until it says yes: a thread that was killed stays, and its process with it, until its tracer has heard of it."""
        return os.waitpid(self.thread, WALL | os.WNOHANG)[0] == self.thread
