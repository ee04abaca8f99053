"""What clients of the build cache were told, with the times between which it happened, and what follows from that.

Each call is noted when it begins and when its answer is here; one that was cut off has no answer, and its outcome is open. All
rules hold whatever happened to open calls, under eviction, and over restarts:
- a hit on a digest has the bytes that the digest is of;
- a hit on a key has bytes that were put under it, whole, and none older than the last put that was acknowledged before;
- after a hit on an action each of its outputs is there, with its bytes, for one lease period;
- what was acknowledged stays for one lease period, and so does a blob that was asked for; after a restart what was promised
  stays for one lease period from then;
- the appliance never says that it holds more than its limit and one hundredth.

`python3 tests/crash/cache_journal.py` breaks each rule once and sees that it is noticed.
"""

import hashlib
import threading
from dataclasses import dataclass, field

# So much earlier than the client's clock says is no finding: the appliance counts from its own clock.
CLOCK_SECONDS = 0.2
# What is held may be this much above the limit.
OVER_LIMIT = 1.01


class Broken(Exception):
    """A rule does not hold. `names` are the blob, key or action that it is about, if it is about some."""

    def __init__(self, what: str, *names: str):
        super().__init__(what)
        self.names = names


@dataclass
class Promise:
    """How long something stays at the least, by the answers that are here. 0 is no promise."""

    until: float = 0.0


@dataclass
class Key:
    """A key that one client puts. Versions rise."""

    begun: int = 0
    acknowledged: int = 0
    promise: Promise = field(default_factory=Promise)


def value_of(key: str, version: int, length: int) -> bytes:
    """The value of a version: any torn or mixed one fails to equal it."""
    head = f"{key}|{version}|{length}|".encode()
    block = hashlib.sha256(head).digest()
    return (head + block * (length // len(block) + 1))[: max(length, len(head))]


class Journal:
    """What is known of one cache."""

    def __init__(self, lease_seconds: float, limit_bytes: int):
        self.lease, self.limit = lease_seconds, limit_bytes
        self.lock = threading.Lock()
        self.blobs: dict[str, Promise] = {}
        # Blobs of which a put was acknowledged at any time, and how long they are.
        self.known: dict[str, int] = {}
        self.keys: dict[str, Key] = {}
        self.actions: dict[str, tuple[tuple[str, ...], Promise]] = {}
        self.evicted: set[str] = set()

    def _renew(self, promise: Promise, began: float) -> None:
        promise.until = max(promise.until, began + self.lease)

    def promised(self, promise: Promise | None) -> float:
        """Until when, by what was answered before a call that begins now."""
        with self.lock:
            return promise.until if promise is not None else 0.0

    # Blobs.

    def blob_put(self, began: float, digest: str, length: int) -> None:
        """An acknowledged put."""
        with self.lock:
            self.known[digest] = length
            self._renew(self.blobs.setdefault(digest, Promise()), began)
            self.evicted.discard(digest)

    def blob_begins(self, digest: str) -> float:
        """Gives what `blob_got` needs."""
        return self.promised(self.blobs.get(digest))

    def blob_got(self, floor: float, began: float, ended: float, digest: str, data: bytes | None) -> None:
        """An answered get: bytes, or None for a miss. `floor` is what `blob_begins` gave."""
        if data is None:
            with self.lock:
                if ended < floor - CLOCK_SECONDS:
                    raise Broken(f"blob {digest} is gone {floor - ended:.3f} s before its promise ends", digest)
                if digest in self.known:
                    self.evicted.add(digest)
            return
        if hashlib.sha256(data).hexdigest() != digest:
            raise Broken(f"blob {digest} has other bytes: {len(data)} of them, {data[:40]!r}", digest)
        with self.lock:
            self._renew(self.blobs.setdefault(digest, Promise()), began)

    def blob_seen(self, began: float, digest: str) -> None:
        """An answer said that it is there, which promises it."""
        with self.lock:
            self._renew(self.blobs.setdefault(digest, Promise()), began)

    # Keys of opaque values.

    def key_begins(self, name: str) -> int:
        """A put of the next version begins; gives its number."""
        with self.lock:
            key = self.keys.setdefault(name, Key())
            key.begun += 1
            return key.begun

    def key_put(self, began: float, name: str, version: int) -> None:
        """An acknowledged put."""
        with self.lock:
            key = self.keys[name]
            key.acknowledged = version
            key.promise = Promise(began + self.lease)

    def look_begins(self, name: str) -> tuple[int, float]:
        """Gives what `key_got` needs."""
        with self.lock:
            key = self.keys.get(name, Key())
            return key.acknowledged, key.promise.until

    def key_got(self, floor: tuple[int, float], ended: float, name: str, data: bytes | None) -> None:
        """An answered look-up. A newer put that is open may have made room for itself, so only a quiet key is promised."""
        version_min, until = floor
        with self.lock:
            key = self.keys.get(name, Key())
            if data is None:
                if key.begun == version_min and ended < until - CLOCK_SECONDS:
                    raise Broken(f"key {name} is gone {until - ended:.3f} s before its promise ends", name)
                return
            fields = data.split(b"|", 3)
            if len(fields) != 4 or fields[0] != name.encode():
                raise Broken(f"key {name} has the value of another: {data[:60]!r}", name)
            version, length = int(fields[1]), int(fields[2])
            if data != value_of(name, version, length):
                raise Broken(f"key {name} has bytes that nobody put: {len(data)} of them, {data[:60]!r}", name)
            if version < version_min:
                raise Broken(f"key {name} has version {version}, and {version_min} was acknowledged before", name)
            if version > key.begun:
                raise Broken(f"key {name} has version {version}, and only {key.begun} were put", name)

    # Actions: keys whose value names blobs.

    def action_put(self, began: float, name: str, outputs: tuple[str, ...]) -> None:
        """An acknowledged put. The appliance has looked for the outputs, which promises them."""
        with self.lock:
            self.actions[name] = (outputs, Promise(began + self.lease))
            for digest in outputs:
                self._renew(self.blobs.setdefault(digest, Promise()), began)

    def action_refused(self, floors: dict[str, float], ended: float, name: str) -> None:
        """A put that was refused since outputs are missing."""
        if floors and all(ended < floor - CLOCK_SECONDS for floor in floors.values()):
            raise Broken(f"action {name} is refused, and all of its outputs are promised", name, *floors)

    def action_begins(self, name: str) -> float:
        """Gives what `action_got` needs."""
        entry = self.actions.get(name)
        return self.promised(entry[1] if entry else None)

    def action_got(self, floor: float, began: float, ended: float, name: str, outputs: tuple[str, ...] | None) -> None:
        """An answered look-up; a hit promises what it names."""
        with self.lock:
            put = self.actions.get(name)
            if outputs is None:
                if ended < floor - CLOCK_SECONDS:
                    raise Broken(f"action {name} is gone {floor - ended:.3f} s before its promise ends", name)
                return
            if put is not None and put[0] != outputs:
                raise Broken(f"action {name} names {outputs}, and {put[0]} were put", name)
            for digest in outputs:
                self._renew(self.blobs.setdefault(digest, Promise()), began)

    # The whole.

    def stored(self, stored_bytes: int) -> None:
        """What the appliance says that it holds."""
        if stored_bytes > self.limit * OVER_LIMIT:
            raise Broken(f"{stored_bytes} bytes are stored, {stored_bytes / self.limit - 1:.1%} above the limit")

    def restarted(self, killed: float, started: float) -> None:
        """What was promised when the appliance was killed stays for one lease period from its start; of the rest nothing is
        known."""
        with self.lock:
            promises = [*self.blobs.values(), *(key.promise for key in self.keys.values())]
            promises += [promise for _, promise in self.actions.values()]
            for promise in promises:
                promise.until = started + self.lease if promise.until - CLOCK_SECONDS > killed else 0.0

    def promised_now(self, now: float) -> tuple[list[str], list[str], list[str]]:
        """Digests, keys and actions that must be there."""
        with self.lock:
            return (
                [digest for digest, promise in self.blobs.items() if promise.until > now],
                [name for name, key in self.keys.items() if key.promise.until > now and key.begun == key.acknowledged],
                [name for name, (_, promise) in self.actions.items() if promise.until > now],
            )


def self_test() -> int:
    """Breaks each rule once. Gives the number of rules."""
    data = b"some bytes"
    digest = hashlib.sha256(data).hexdigest()

    def journal() -> Journal:
        made = Journal(10.0, 1_000)
        made.blob_put(0.0, digest, len(data))
        version = made.key_begins("k")
        made.key_put(0.0, "k", version)
        made.action_put(0.0, "a", (digest,))
        return made

    def wrong_bytes():
        journal().blob_got(0, 1, 2, digest, b"other bytes")

    def gone_after_put():
        made = journal()
        made.blob_got(made.blob_begins(digest), 1, 2, digest, None)

    def gone_after_get():
        made = journal()
        made.blob_got(made.blob_begins(digest), 8, 9, digest, data)
        made.blob_got(made.blob_begins(digest), 15, 16, digest, None)

    def gone_after_restart():
        made = journal()
        made.restarted(5, 20)
        made.blob_got(made.blob_begins(digest), 25, 26, digest, None)

    def key_gone():
        made = journal()
        made.key_got(made.look_begins("k"), 2, "k", None)

    def key_gone_after_restart():
        made = journal()
        made.restarted(5, 20)
        made.key_got(made.look_begins("k"), 21, "k", None)

    def key_torn():
        journal().key_got((1, 0), 2, "k", value_of("k", 1, 100)[:-1] + b"x")

    def key_of_another():
        journal().key_got((1, 0), 2, "k", value_of("j", 1, 100))

    def key_goes_back():
        made = journal()
        made.key_put(0.0, "k", made.key_begins("k"))
        made.key_got(made.look_begins("k"), 2, "k", value_of("k", 1, 100))

    def key_never_put():
        journal().key_got((1, 0), 2, "k", value_of("k", 2, 100))

    def action_gone():
        made = journal()
        made.action_got(made.action_begins("a"), 1, 2, "a", None)

    def action_of_others():
        journal().action_got(0, 1, 2, "a", ("0" * 64,))

    def output_gone_after_hit():
        made = journal()
        made.action_got(0, 15, 16, "a", (digest,))
        made.blob_got(made.blob_begins(digest), 20, 21, digest, None)

    def refused_with_outputs():
        made = journal()
        made.action_refused({digest: made.blob_begins(digest)}, 2, "b")

    def above_the_limit():
        journal().stored(1_011)

    cases = [wrong_bytes, gone_after_put, gone_after_get, gone_after_restart, key_gone, key_gone_after_restart, key_torn, key_of_another, key_goes_back, key_never_put, action_gone, action_of_others, output_gone_after_hit, refused_with_outputs, above_the_limit]
    for case in cases:
        try:
            case()
        except Broken:
            continue
        raise SystemExit(f"cache journal: {case.__name__} is not noticed")
    good = journal()
    good.blob_got(good.blob_begins(digest), 1, 2, digest, data)
    good.key_got(good.look_begins("k"), 2, "k", value_of("k", 1, 100))
    good.action_got(good.action_begins("a"), 1, 2, "a", (digest,))
    good.stored(1_010)
    good.restarted(50, 60)
    good.blob_got(good.blob_begins(digest), 61, 62, digest, None)
    good.key_got(good.look_begins("k"), 62, "k", None)
    assert good.evicted == {digest}
    return len(cases)


if __name__ == "__main__":
    print(f"cache journal: {self_test()} broken rules are noticed")
