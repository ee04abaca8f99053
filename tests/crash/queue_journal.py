"""What clients of queues were told, with the times between which it happened, and what follows from that.

Each call is noted when it begins and when its answer is here; one that was cut off has no answer, and its outcome is open. All
rules hold whatever happened to open calls, and over restarts:
- what was deleted (the answer came while the message was hidden) is in no answer of a receive that began later;
- a message is in no second answer before its visibility ended, and its receive count rises;
- of a FIFO group nothing is received while another receive's message is hidden, and nothing before what was sent earlier;
- FIFO sequence numbers rise, and a send that is repeated with its id has one message;
- in the end every acknowledged send was received or deleted, and every acknowledged publish was seen in each queue.

`python3 tests/crash/queue_journal.py` breaks each rule once and sees that it is noticed.
"""

import threading
import time
from dataclasses import dataclass, field


# So much earlier than the client's clock says is no finding: the appliance counts in whole milliseconds. It takes a request up
# after that was sent, which is where the client counts from, so nothing else makes it early.
CLOCK_SECONDS = 0.002
# Bodies of a group that are kept in order although they are leaving.
ORDER_MIN = 40


def clock() -> float:
    """Seconds by the clock that the appliance has, too: another one may run faster or slower while this one is being adjusted."""
    return time.time()


class Broken(Exception):
    """A rule does not hold."""


@dataclass
class Message:
    """What is known of one message, by the id that the queue gave it."""

    body: str
    group: str | None
    # Until then no other receive may give it, at the least.
    hidden_until: float = 0.0
    # The latest receive: its count, and when its answer was here.
    receives: int = 0
    told: float = 0.0
    # When a delete of it began, and when one was acknowledged.
    delete_began: float | None = None
    deleted: float | None = None


@dataclass
class Queue:
    """The journal of one queue."""

    name: str
    is_fifo: bool = False
    # Bodies by what is known of their send: acknowledged with the message's id (nothing for a publish), or open.
    acknowledged: dict[str, str] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    messages: dict[str, Message] = field(default_factory=dict)
    # FIFO: bodies of each group in the order of their sends, and those of which a delete has begun.
    order: dict[str, list[str]] = field(default_factory=dict)
    leaving: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    # FIFO: the message and the sequence number of each body.
    id_of: dict[str, str] = field(default_factory=dict)
    sequence_of: dict[str, str] = field(default_factory=dict)
    last_sequence: str = ""
    # FIFO: messages of each group that were received and of which no delete has begun.
    held: dict[str | None, set[str]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send_begins(self, body: str, group: str | None = None) -> str:
        """Gives what `sent` needs: the highest sequence number that was acknowledged before the first attempt."""
        with self.lock:
            if body not in self.acknowledged and body not in self.open:
                self.open.add(body)
                if group is not None:
                    self.order.setdefault(group, []).append(body)
            return self.last_sequence

    def sent(self, body: str, message_id: str, sequence: str = "", floor: str = "") -> None:
        """An acknowledged send; of a repeat the second answer must be the first one."""
        with self.lock:
            self.open.discard(body)
            if (before := self.acknowledged.setdefault(body, message_id)) != message_id:
                raise Broken(f"{self.name}: {body} was {before}, and sent again {message_id}")
            if not self.is_fifo or not message_id:
                return
            if (known := self.sequence_of.setdefault(body, sequence)) != sequence:
                raise Broken(f"{self.name}: {body} had {known}, and sent again {sequence}")
            if len(sequence) != 20 or sequence <= floor:
                raise Broken(f"{self.name}: sequence number {sequence} after {floor}")
            self.last_sequence = max(self.last_sequence, sequence)

    def received(self, began: float, ended: float, visibility: float, got: list[tuple[str, str, str | None, int]]) -> None:
        """An answered receive: id, body, group and receive count of each message in order. Answers may be told in another
        order than that in which they came."""
        with self.lock:
            here = [body for _, body, _, _ in got]
            for number, (message_id, body, group, receives) in enumerate(got):
                self._check_known(message_id, body)
                message = self.messages.setdefault(message_id, Message(body, group))
                if message.deleted is not None and message.deleted < began:
                    raise Broken(f"{self.name}: {body} was deleted {began - message.deleted:.3f} s before a receive that gives it")
                if self._is_early(message, began, ended, visibility):
                    raise Broken(f"{self.name}: {body} is back {message.hidden_until - ended:.3f} s before its visibility ends")
                if message.told < began and receives <= message.receives:
                    raise Broken(f"{self.name}: {body} has receive count {receives} after {message.receives}")
                if self.is_fifo:
                    self._check_order(group, body, here[:number])
                    self._check_group(group, body, began, ended, visibility, {one[0] for one in got})
                self.seen.add(body)
            for message_id, _, _, receives in got:
                message = self.messages[message_id]
                if self.is_fifo and message.delete_began is None:
                    self.held.setdefault(message.group, set()).add(message_id)
                if receives > message.receives:
                    message.receives, message.hidden_until, message.told = receives, began + visibility, ended

    @staticmethod
    def _is_early(other: Message, began: float, ended: float, visibility: float) -> bool:
        """Whether a receive came too early in whichever order the two happened."""
        return ended < other.hidden_until - CLOCK_SECONDS and other.told < began + visibility - CLOCK_SECONDS

    def _check_known(self, message_id: str, body: str) -> None:
        if body not in self.acknowledged and body not in self.open:
            raise Broken(f"{self.name}: {body} was never sent")
        if self.acknowledged.get(body) not in (None, "", message_id):
            raise Broken(f"{self.name}: {body} is {message_id}, and was sent as {self.acknowledged[body]}")
        if self.is_fifo and self.id_of.setdefault(body, message_id) != message_id:
            raise Broken(f"{self.name}: {body} is there twice")

    def _check_order(self, group: str | None, body: str, before: list[str]) -> None:
        order = self.order.get(group, [])
        # What is leaving stands against nothing any more; the last ones are kept to be sent again.
        while len(order) > ORDER_MIN and order[0] in self.leaving:
            order.pop(0)
        if body in self.leaving:
            return
        for earlier in order:
            if earlier == body:
                break
            if earlier in self.acknowledged and earlier not in before and earlier not in self.leaving:
                raise Broken(f"{self.name}: {body} is given before {earlier} of the same group")

    def _check_group(self, group: str | None, body: str, began: float, ended: float, visibility: float, together: set[str]) -> None:
        for message_id in self.held.get(group, set()) - together:
            other = self.messages[message_id]
            if self._is_early(other, began, ended, visibility):
                raise Broken(f"{self.name}: {body} is given while {other.body} of its group is hidden")

    def delete_begins(self, now: float, message_id: str) -> None:
        with self.lock:
            message = self.messages[message_id]
            if message.delete_began is None:
                message.delete_began = now
            self.leaving.add(message.body)
            self.held.get(message.group, set()).discard(message_id)

    def deleted(self, ended: float, message_id: str, receives: int) -> None:
        """An acknowledged delete with the handle of a receive. Behind the end of its visibility another one may have come."""
        with self.lock:
            message = self.messages[message_id]
            if message.receives == receives and ended < message.hidden_until and message.deleted is None:
                message.deleted = ended

    def visibility_begins(self, began: float, message_id: str, seconds: float) -> None:
        with self.lock:
            message = self.messages[message_id]
            message.hidden_until = min(message.hidden_until, began + seconds)

    def visibility_changed(self, began: float, ended: float, message_id: str, receives: int, seconds: float, before: float) -> None:
        """An acknowledged change while the message was hidden by the receive that the caller knows until `before`."""
        with self.lock:
            message = self.messages[message_id]
            if message.receives == receives and ended < before:
                message.hidden_until = began + seconds

    def missing(self) -> list[str]:
        """Acknowledged sends that nobody ever received; everything was received in the end."""
        return [body for body in self.acknowledged if body not in self.seen and body not in self.leaving]


def self_test() -> int:
    """Breaks each rule once. Gives the number of rules."""

    def fifo() -> Queue:
        queue = Queue("q.fifo", is_fifo=True)
        for body, sequence in [("a", "1"), ("b", "2")]:
            floor = queue.send_begins(body, "g")
            queue.sent(body, f"id-{body}", sequence.zfill(20), floor)
        return queue

    def plain() -> Queue:
        queue = Queue("q")
        queue.send_begins("a")
        queue.sent("a", "id-a")
        return queue

    a, b = ("id-a", "a", "g", 1), ("id-b", "b", "g", 1)
    again = ("id-a", "a", "g", 2)

    def deleted_returns(queue=None):
        queue = plain()
        queue.received(0, 1, 10, [a])
        queue.delete_begins(2, "id-a")
        queue.deleted(3, "id-a", 1)
        queue.received(20, 21, 10, [again])

    def comes_early():
        queue = plain()
        queue.received(0, 1, 10, [a])
        queue.received(2, 3, 10, [again])

    def count_stands_still():
        queue = plain()
        queue.received(0, 1, 10, [a])
        queue.received(20, 21, 10, [a])

    def changed_and_early():
        queue = plain()
        queue.received(0, 1, 10, [a])
        queue.visibility_begins(2, "id-a", 100)
        queue.visibility_changed(2, 3, "id-a", 1, 100, 10)
        queue.received(20, 21, 10, [again])

    def never_sent():
        plain().received(0, 1, 10, [("id-x", "x", None, 1)])

    def out_of_order():
        fifo().received(0, 1, 10, [b])

    def reversed_in_one_answer():
        fifo().received(0, 1, 10, [b, a])

    def group_freed_early():
        queue = fifo()
        queue.received(0, 1, 10, [a, b])
        queue.delete_begins(1, "id-a")
        queue.deleted(2, "id-a", 1)
        queue.send_begins("c", "g")
        queue.sent("c", "id-c", "3".zfill(20))
        queue.leaving.add("b")  # So that only the lock of the group stands against it.
        queue.received(3, 4, 10, [("id-c", "c", "g", 1)])

    def sequence_falls():
        queue = fifo()
        floor = queue.send_begins("c", "h")
        queue.sent("c", "id-c", "1".zfill(20), floor)

    def repeat_has_another_id():
        fifo().sent("a", "id-other", "1".zfill(20))

    def there_twice():
        queue = fifo()
        queue.acknowledged.pop("a")
        queue.open.add("a")
        queue.received(0, 1, 10, [a])
        queue.received(20, 21, 10, [("id-z", "a", "g", 1)])

    cases = [deleted_returns, comes_early, count_stands_still, changed_and_early, never_sent, out_of_order, reversed_in_one_answer, group_freed_early, sequence_falls, repeat_has_another_id, there_twice]
    for case in cases:
        try:
            case()
        except Broken:
            continue
        raise SystemExit(f"queue journal: {case.__name__} is not noticed")
    lost = plain()
    assert lost.missing() == ["a"], "a lost message is not noticed"
    good = fifo()
    good.received(0, 1, 10, [a])
    good.delete_begins(1, "id-a")
    good.deleted(2, "id-a", 1)
    good.received(2, 3, 10, [b])
    good.received(13, 14, 10, [("id-b", "b", "g", 2)])
    assert good.missing() == []
    return len(cases) + 1


if __name__ == "__main__":
    print(f"queue journal: {self_test()} broken rules are noticed")
