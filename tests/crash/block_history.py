"""What was done to one key while a disk was recorded, and what may be seen of it after a cut.

The moment of an acknowledgement is the number of log entries that the recorder had counted when it came.
"""

from dataclasses import dataclass, field

ABSENT = "absent"


@dataclass
class Event:
    """One request on a key: what the key shows once it is done. `ended` is None when no reply came."""

    state: str
    begun: int
    ended: int | None = None


@dataclass
class History:
    """All requests on one key, in order; there is one at a time."""

    events: list[Event] = field(default_factory=lambda: [Event(ABSENT, 0, 0)])

    def allowed(self, cut: int) -> set[str]:
        """What may be seen when the disk stopped after `cut` entries."""
        certain = max(index for index, event in enumerate(self.events) if event.ended is not None and event.ended <= cut)
        return {event.state for event in self.events[certain:] if event.begun <= cut}
