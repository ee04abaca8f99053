"""kill -9 under clients that send, receive and delete on a standard and a FIFO queue and publish to topics that feed more
queues, with a journal of what they were told outside the appliance (see queue_journal.py). In the end all is drained.

A kill counts only when it left requests without their reply and enough was acknowledged since the last one. FIFO sends that
were cut off are sent again with their id, so each exists once; others may or may not be there. A failure prints the seed.

`--plant NAME` runs a binary that was built with the feature `planted` and has that fault: then a finding is what is wanted,
and none is a failure.
"""

import argparse
import collections
import json
import random
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from queue_journal import Broken, Queue, clock, self_test  # noqa: E402
from zctest.queueraw import Queues, Topics, field  # noqa: E402
from zctest.server import Server, binary  # noqa: E402

SENDERS = 4
GROUPS_PER_SENDER = 3
RECEIVERS = 3
PUBLISHERS = 2
IN_FLIGHT_MIN = 4
ACKNOWLEDGED_MIN = 60
# Visibilities, so that some end within the run and some over a restart.
VISIBILITIES = [1, 2, 5]
# What is sent is held at about this many messages in each queue, so that the drain ends.
BACKLOG_MAX = 1_500
REPLY_SECONDS_MAX = 120
LOAD_SECONDS_MAX = 120
# Without a message. All that comes is deleted and may not come again, so that a drain ends, on a slow disk too.
DRAIN_SECONDS_MAX = 240
POLL_SECONDS = 0.002


class Run:
    """The appliance, and what is known of its queues over all kills."""

    def __init__(self, seed: int, server: Server):
        self.seed, self.server = seed, server
        self.killed = threading.Event()
        self.counts: collections.Counter = collections.Counter()
        self.lock = threading.Lock()
        self.next_body = 0
        self.plain, self.fifo = Queue("plain"), Queue("line.fifo", is_fifo=True)
        self.fan = [Queue("fan-a"), Queue("fan-b")]
        self.fan_fifo = Queue("fan-line.fifo", is_fifo=True)
        self.queues = [self.plain, self.fifo, *self.fan, self.fan_fifo]
        self.urls: dict[str, str] = {}
        self.topics: dict[str, str] = {}

    def count(self, what: str, by: int = 1) -> None:
        with self.lock:
            self.counts[what] += by

    def body(self) -> str:
        with self.lock:
            self.next_body += 1
            return f"m{self.next_body}"

    def url(self, queue: Queue) -> str:
        # The port differs from start to start, and a bare path is taken too.
        return f"{self.server.url.rstrip('/')}/{self.urls[queue.name]}"


class Client(threading.Thread):
    """One client: a loop of steps until the kill, which finds it between a request and its reply or not."""

    def __init__(self, run: Run, kind: str, number: int, round_: int):
        super().__init__(daemon=True)
        self.run_, self.label = run, f"{kind} {number}"
        self.random = random.Random(run.seed * 1_000_003 + hash_of(self.label) + round_ * 7_919)
        self.in_flight = self.interrupted = False
        self.acknowledged = 0
        self.failure: str | None = None

    def run(self) -> None:
        self.connect()
        while not self.run_.killed.is_set() and self.failure is None:
            try:
                self.step()
            except Broken as broken:
                self.failure = str(broken)
            except Exception as error:  # OSError and many kinds of http.client for a connection that died
                # Before the kill every request gets its reply: a connection that closes without one is a fault.
                if not self.run_.killed.is_set():
                    self.failure = f"{self.label}: {error!r}"
                self.interrupted = self.in_flight
            self.in_flight = False
        self.client.close()

    def connect(self) -> None:
        self.client = Queues.of(self.run_.server, REPLY_SECONDS_MAX)

    def call(self, operation: str, request: dict) -> tuple[int, dict]:
        self.in_flight = True
        status, answer = self.client.call(operation, request)
        self.in_flight = False
        if status >= 500:
            self.run_.count(f"{operation} {status}")
        return status, answer

    def wrong(self, operation: str, status: int, answer: dict) -> None:
        if status < 500:
            raise Broken(f"{self.label}: {operation} is answered {status}: {answer}")


def hash_of(text: str) -> int:
    return sum(ord(letter) * 31**place for place, letter in enumerate(text)) % 1_000_003


class Sender(Client):
    """Sends to the standard queue and, in groups of its own, to the FIFO queue. `left` holds what a kill left open."""

    def __init__(self, run: Run, number: int, round_: int, left: dict):
        super().__init__(run, "sender", number, round_)
        self.number, self.left = number, left

    def step(self) -> None:
        run = self.run_
        queue = self.random.choice([run.plain, run.fifo])
        if len(queue.acknowledged) - len(queue.leaving) > BACKLOG_MAX:
            time.sleep(0.01)
            return
        if queue is run.fifo:
            self.fifo()
        elif self.random.random() < 0.4:
            self.batch()
        else:
            body = run.body()
            run.plain.send_begins(body)
            status, answer = self.call("SendMessage", {"QueueUrl": run.url(run.plain), "MessageBody": self.padded(body)})
            if status != 200:
                return self.wrong("SendMessage", status, answer)
            run.plain.sent(body, answer["MessageId"])
            self.acknowledged += 1
            run.count("sent")

    def padded(self, body: str) -> str:
        """Some are inline, some have bodies of their own."""
        return body + " " * self.random.choice([0, 0, 0, 0, 100, 5_000, 40_000])

    def batch(self) -> None:
        run = self.run_
        bodies = [run.body() for _ in range(self.random.randint(1, 10))]
        for body in bodies:
            run.plain.send_begins(body)
        entries = [{"Id": body, "MessageBody": self.padded(body)} for body in bodies]
        status, answer = self.call("SendMessageBatch", {"QueueUrl": run.url(run.plain), "Entries": entries})
        if status != 200 or answer.get("Failed"):
            return self.wrong("SendMessageBatch", status, answer)
        for entry in answer["Successful"]:
            run.plain.sent(entry["Id"], entry["MessageId"])
        self.acknowledged += len(bodies)
        run.count("sent in a batch", len(bodies))

    def fifo(self) -> None:
        run = self.run_
        group = f"g{self.number}-{self.random.randrange(GROUPS_PER_SENDER)}"
        repeated = group not in self.left and self.random.random() < 0.05 and run.fifo.order.get(group)
        if group in self.left:
            bodies, floor = self.left[group]
            run.count("sent again after a kill", len(bodies))
        elif repeated:
            bodies, floor = [self.random.choice(run.fifo.order[group][-20:])], ""
        else:
            bodies = [run.body() for _ in range(self.random.choice([1, 1, 3]))]
            floor = [run.fifo.send_begins(body, group) for body in bodies][0]
            self.left[group] = (bodies, floor)
        entries = [{"Id": body, "MessageBody": body, "MessageGroupId": group, "MessageDeduplicationId": body} for body in bodies]
        status, answer = self.call("SendMessageBatch", {"QueueUrl": run.url(run.fifo), "Entries": entries})
        if status != 200 or answer.get("Failed"):
            return self.wrong("SendMessageBatch", status, answer)
        for entry in sorted(answer["Successful"], key=lambda entry: bodies.index(entry["Id"])):
            run.fifo.sent(entry["Id"], entry["MessageId"], entry["SequenceNumber"], floor)
            # Entries of one batch rise, too.
            floor = floor and entry["SequenceNumber"]
        if not repeated:
            del self.left[group]
        self.acknowledged += len(bodies)
        run.count("repeated" if repeated else "sent to FIFO", len(bodies))


class Receiver(Client):
    """Receives from every queue, deletes most of it, hides some longer or shows it, and leaves the rest to come back."""

    def __init__(self, run: Run, number: int, round_: int, is_draining: bool = False):
        super().__init__(run, "receiver", number, round_)
        self.is_draining = is_draining

    def step(self) -> None:
        self.receive(self.random.choice(self.run_.queues))

    def receive(self, queue: Queue) -> int:
        run = self.run_
        visibility = 30 if self.is_draining else self.random.choice(VISIBILITIES)
        request = {
            "QueueUrl": run.url(queue),
            "MaxNumberOfMessages": 10 if self.is_draining else self.random.choice([1, 3, 10]),
            "VisibilityTimeout": visibility,
            "WaitTimeSeconds": 0 if self.is_draining or self.random.random() < 0.7 else 1,
            "MessageSystemAttributeNames": ["All"],
        }
        began = clock()
        status, answer = self.call("ReceiveMessage", request)
        ended = clock()
        if status != 200:
            self.wrong("ReceiveMessage", status, answer)
            return 0
        messages = answer.get("Messages", [])
        got = [(one["MessageId"], body_of(one), one["Attributes"].get("MessageGroupId"), int(one["Attributes"]["ApproximateReceiveCount"])) for one in messages]
        queue.received(began, ended, visibility, got)
        self.acknowledged += len(got)
        run.count(f"received from {queue.name}", len(got))
        kept = [(one["ReceiptHandle"], *told) for one, told in zip(messages, got, strict=True)]
        if self.is_draining or self.random.random() < 0.75:
            self.delete(queue, kept)
        elif kept and self.random.random() < 0.3:
            self.change(queue, kept[-1], began + visibility)
        return len(got)

    def delete(self, queue: Queue, kept: list) -> None:
        if not kept:
            return
        if len(kept) > 1 or self.random.random() < 0.5:
            for _, message_id, *_ in kept:
                queue.delete_begins(clock(), message_id)
            entries = [{"Id": str(number), "ReceiptHandle": handle} for number, (handle, *_) in enumerate(kept)]
            status, answer = self.call("DeleteMessageBatch", {"QueueUrl": self.run_.url(queue), "Entries": entries})
            good = [kept[int(entry["Id"])] for entry in answer.get("Successful", [])] if status == 200 else []
            refused = answer.get("Failed") or []
        else:
            queue.delete_begins(clock(), kept[0][1])
            status, answer = self.call("DeleteMessage", {"QueueUrl": self.run_.url(queue), "ReceiptHandle": kept[0][0]})
            good, refused = (kept, []) if status == 200 else ([], [answer])
        # FIFO refuses a handle whose time is over; nothing else of a genuine one.
        if status < 500 and refused and not queue.is_fifo:
            raise Broken(f"{self.label}: a delete is refused: {refused}")
        ended = clock()
        for _, message_id, _, _, receives in good:
            queue.deleted(ended, message_id, receives)
        self.acknowledged += len(good)
        self.run_.count(f"deleted from {queue.name}", len(good))

    def change(self, queue: Queue, one: tuple, hidden_until: float) -> None:
        handle, message_id, _, _, receives = one
        seconds = self.random.choice([0, 1, 4])
        began = clock()
        queue.visibility_begins(began, message_id, seconds)
        request = {"QueueUrl": self.run_.url(queue), "ReceiptHandle": handle, "VisibilityTimeout": seconds}
        status, _ = self.call("ChangeMessageVisibility", request)
        if status == 200:
            queue.visibility_changed(began, clock(), message_id, receives, seconds, hidden_until)
            self.run_.count("visibility changed")


def body_of(message: dict) -> str:
    """What was sent or published: the text itself, or the envelope's."""
    body = message["Body"]
    return (json.loads(body)["Message"] if body.startswith("{") else body).rstrip()


class Publisher(Client):
    """Publishes to the standard topic and, in a group of its own, to the FIFO topic."""

    def __init__(self, run: Run, number: int, round_: int, left: dict):
        super().__init__(run, "publisher", number, round_)
        self.number, self.left = number, left

    def connect(self) -> None:
        self.client = Topics.of(self.run_.server, REPLY_SECONDS_MAX)

    def step(self) -> None:
        run = self.run_
        if len(run.fan[0].acknowledged) - min(len(queue.leaving) for queue in run.fan) > BACKLOG_MAX:
            time.sleep(0.01)
            return
        if self.random.random() < 0.5:
            body, queues, topic, more = run.body(), run.fan, "fan", {}
            for queue in queues:
                queue.send_begins(body)
        else:
            group = f"p{self.number}"
            body = self.left.get(group) or run.body()
            queues, topic = [run.fan_fifo], "fan.fifo"
            run.fan_fifo.send_begins(body, group)
            self.left[group] = body
            more = {"MessageGroupId": group, "MessageDeduplicationId": body}
        self.in_flight = True
        status, document = self.client.call("Publish", TopicArn=run.topics[topic], Message=body, **more)
        self.in_flight = False
        if status != 200:
            return self.wrong("Publish", status, {"document": document[:300]})
        if more:
            del self.left[group]
        for queue in queues:
            queue.sent(body, "")
        self.acknowledged += 1
        run.count(f"published to {topic}")


def make(run: Run) -> None:
    """Queues, topics and what leads from these to those."""
    client, topics = Queues.of(run.server), Topics.of(run.server)
    arns = {}
    for queue in run.queues:
        attributes = {"VisibilityTimeout": "2"} | ({"FifoQueue": "true"} if queue.is_fifo else {})
        url = client.good("CreateQueue", {"QueueName": queue.name, "Attributes": attributes})["QueueUrl"]
        run.urls[queue.name] = url.split("/", 3)[3]
        answer = client.good("GetQueueAttributes", {"QueueUrl": url, "AttributeNames": ["QueueArn"]})
        arns[queue.name] = answer["Attributes"]["QueueArn"]
    for name, fed in [("fan", run.fan), ("fan.fifo", [run.fan_fifo])]:
        more = {"Attributes__entry__1__key": "FifoTopic", "Attributes__entry__1__value": "true"} if name.endswith(".fifo") else {}
        arn = field(topics.good("CreateTopic", Name=name, **more), "TopicArn")
        run.topics[name] = arn
        for number, queue in enumerate(fed):
            policy = {
                "Version": "2012-10-17",
                "Statement": [{
                    "Effect": "Allow",
                    "Principal": {"Service": "sns.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": arns[queue.name],
                    "Condition": {"ArnEquals": {"aws:SourceArn": arn}},
                }],
            }
            client.good("SetQueueAttributes", {"QueueUrl": run.url(queue), "Attributes": {"Policy": json.dumps(policy)}})
            raw = {"Attributes__entry__1__key": "RawMessageDelivery", "Attributes__entry__1__value": "true"} if number == 0 else {}
            topics.good("Subscribe", TopicArn=arn, Protocol="sqs", Endpoint=arns[queue.name], **raw)
    # The first signed message waits for the key, which takes longer than a round.
    for queue in run.fan:
        queue.send_begins("first")
    topics.good("Publish", TopicArn=run.topics["fan"], Message="first")
    for queue in run.fan:
        queue.sent("first", "")


def one_round(run: Run, clients: list[Client]) -> tuple[str | None, int, bool]:
    """Load, and a kill under it. Gives the first failure, what was acknowledged, and whether the kill counts."""
    for client in clients:
        client.start()
    time.sleep(random.Random(run.seed + run.next_body).uniform(0.05, 0.5))
    failure, deadline = None, time.monotonic() + LOAD_SECONDS_MAX
    while True:
        in_flight = sum(client.in_flight for client in clients)
        done = sum(client.acknowledged for client in clients)
        failure = next((client.failure for client in clients if client.failure), None)
        if failure or (in_flight >= IN_FLIGHT_MIN and done >= ACKNOWLEDGED_MIN):
            break
        if time.monotonic() > deadline:
            failure = f"only {done} acknowledged and {in_flight} in flight after {LOAD_SECONDS_MAX} s"
            break
        time.sleep(POLL_SECONDS)
    run.killed.set()
    run.server.kill()
    for client in clients:
        client.join(REPLY_SECONDS_MAX)
        failure = failure or client.failure
    return failure, done, sum(client.interrupted for client in clients) >= IN_FLIGHT_MIN


def drain(run: Run, left: list[dict]) -> str | None:
    """Closes what the last kill left open, then receives and deletes until nothing is left, and asks what is missing."""
    for number, kept in enumerate(left):
        sender = Sender(run, number, -1, kept)
        sender.connect()
        while kept:
            sender.fifo()
    receiver = Receiver(run, 0, -1, is_draining=True)
    receiver.connect()
    deadline = time.monotonic() + DRAIN_SECONDS_MAX
    names = [f"ApproximateNumberOfMessages{suffix}" for suffix in ("", "NotVisible", "Delayed")]
    while True:
        got = sum(receiver.receive(queue) for queue in run.queues)
        if got > 0:
            deadline = time.monotonic() + DRAIN_SECONDS_MAX
        left_over = {}
        for queue in run.queues:
            found = receiver.client.good("GetQueueAttributes", {"QueueUrl": run.url(queue), "AttributeNames": names})
            counts = [int(found["Attributes"][name]) for name in names]
            if any(counts):
                left_over[queue.name] = counts
        missing = {queue.name: queue.missing()[:5] for queue in run.queues if queue.missing()}
        if got == 0 and not left_over and not missing:
            return None
        if time.monotonic() > deadline:
            return f"after {DRAIN_SECONDS_MAX} s without a message the queues hold {left_over}, and never seen were {missing}"
        if got == 0:
            time.sleep(0.05)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=15)
    parser.add_argument("--minutes", type=float, default=10.0, help="fewer kills after this long are a failure")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--backend", choices=["io_uring", "epoll"], default="io_uring")
    parser.add_argument("--plant", help="a fault that must be found")
    options = parser.parse_args()
    print(f"queue journal: {self_test()} broken rules are noticed")
    server = Server(arguments=["--shards", "2"] + (["--backend", "epoll"] if options.backend == "epoll" else []), plant=options.plant)
    run = Run(options.seed, server)
    left: list[dict] = [{} for _ in range(SENDERS)]
    publishing: list[dict] = [{} for _ in range(PUBLISHERS)]
    failure, kills, acknowledged, begun, round_ = None, 0, 0, time.monotonic(), 0
    try:
        server.start()
        make(run)
        if options.plant and not server.has_plant():
            raise SystemExit(f"queue loop: {binary()} does not plant {options.plant}")
        while kills < options.kills and failure is None and time.monotonic() - begun < options.minutes * 60:
            run.killed.clear()
            round_ += 1
            clients = [Sender(run, number, round_, left[number]) for number in range(SENDERS)]
            clients += [Receiver(run, number, round_) for number in range(RECEIVERS)]
            clients += [Publisher(run, number, round_, publishing[number]) for number in range(PUBLISHERS)]
            failure, done, counts = one_round(run, clients)
            acknowledged += done
            kills += counts
            if failure is None:
                server.start()
        if failure is None and kills < options.kills and options.plant is None:
            failure = f"only {kills} of {options.kills} kills in {options.minutes} minutes"
        if failure is None:
            run.killed.clear()
            failure = drain(run, left)
    except Broken as broken:
        failure = str(broken)
    except Exception as error:  # A start that fails, or any end of a connection: the data is the evidence, and is kept.
        failure = f"{error!r}; the appliance {server.state()}"
    finally:
        run.killed.set()
        server.kill()
    for what, count in sorted(run.counts.items()):
        print(f"{count:8} {what}")
    missing = [f"received from {queue.name}" for queue in run.queues if not run.counts[f"received from {queue.name}"]]
    if failure is None and missing and options.plant is None:
        failure = f"never happened: {missing}"
    print(f"queue loop: {kills} kills, {acknowledged} acknowledged, {time.monotonic() - begun:.0f} s, seed {options.seed}")
    if options.plant:
        server.__exit__()
        print(f"queue loop: {options.plant} was {f'caught: {failure[:300]}' if failure else 'NOT CAUGHT'}")
        return 0 if failure else 1
    if failure:
        print(f"FAILED: {failure}\ndata kept in {server.data}; seed {options.seed}")
        print("".join(server.log[-20:]))
        return 1
    server.__exit__()
    print("queue loop: nothing lost, nothing back, nothing early, groups in order")
    return 0


if __name__ == "__main__":
    sys.exit(main())
