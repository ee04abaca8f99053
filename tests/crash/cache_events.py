"""Who asked the build cache what about which blob, key or action, when, and what the answer was: the last few of each name, so
that a failure of the loop tells what led to it.

Invariant: a question stands here before it is sent, so that what was under way when something broke is seen too.
"""

import collections
import threading
import time
from dataclasses import dataclass

# Of each name.
EVENT_COUNT_MAX = 24


@dataclass
class Event:
    """One question about one name. Times are those of the monotonic clock."""

    who: str
    what: str
    began: float
    ended: float | None = None
    told: str = "no answer"

    def ends(self, told: str) -> None:
        self.ended, self.told = time.monotonic(), told

    def shown(self, now: float) -> str:
        ended = " " * 9 if self.ended is None else f"{self.ended - now:+9.4f}"
        return f"  {self.began - now:+9.4f} .. {ended} s  {self.who}: {self.what}: {self.told}"


class Events:
    """The last events of each name."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.names: dict[str, collections.deque[Event]] = {}

    def begins(self, who: str, what: str, name: str) -> Event:
        event = Event(who, what, time.monotonic())
        with self.lock:
            self.names.setdefault(name, collections.deque(maxlen=EVENT_COUNT_MAX)).append(event)
        return event

    def of(self, name: str) -> list[Event]:
        """In the order in which they began."""
        with self.lock:
            return list(self.names.get(name, ()))
