"""Resident memory of the appliance: idle, with one 10 GiB object going up and down, and with 10,000 idle connections.

Counts RssAnon + RssShmem of the process, as the limits do; pages of the mapped index are not counted. The object's content is
computed from its offset, so nobody has to keep it. Prints each figure beside its limit and ends with 1 when one is over.
"""

import argparse
import queue
import random
import resource
import shutil
import socket
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from zctest.server import Server  # noqa: E402
from zctest.wire import Reply, Signer, Wire, head, stamp  # noqa: E402

MIB = 1 << 20
IDLE_MIB_MAX = 64
OBJECT_MIB_MAX = 256
CONNECTIONS_MIB_MAX = 300
BUCKET = "memory"
PART_BYTES = 64 * MIB
# Not a multiple of a part: ranges and parts shall not share their borders.
RANGE_BYTES = 50 * MIB
WORKERS = 4
CONNECTIONS = 10_000
CONNECTIONS_PER_ADDRESS = 5_000
# Sockets of ours beyond the idle connections.
DESCRIPTORS_SPARE = 500
SAMPLE_SECONDS = 0.02

BLOCK = random.Random(7).randbytes(MIB)


def block(index: int) -> bytes:
    """The object's MiB number `index`: a number nobody else has, then noise."""
    return index.to_bytes(8, "big") + BLOCK[8:]


class Peak(threading.Thread):
    """Samples the appliance's memory while a `with` block runs."""

    def __init__(self, server: Server):
        super().__init__(daemon=True)
        self.server, self.kib, self.ended = server, 0, threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            self.kib = max(self.kib, self.server.memory_kib())
            time.sleep(SAMPLE_SECONDS)

    def __enter__(self) -> "Peak":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.join()


class Check:
    """Compares figures with limits and remembers whether one was over."""

    def __init__(self):
        self.over = False

    def figure(self, what: str, kib: int, mib_max: int) -> None:
        good = kib < mib_max * 1024
        self.over |= not good
        print(f"memory: {what}: {kib / 1024:.1f} MiB, limit {mib_max} MiB{'' if good else ': OVER'}", flush=True)


def signer(server: Server) -> Signer:
    key, secret = server.credentials()
    return Signer(host=f"{server.host}:{server.port}", key=key, secret=secret, date=stamp())


def call(server: Server, method: str, path: str, query: str = "", body: bytes = b"", extra=None) -> Reply:
    with Wire(server.host, server.port) as wire:
        headers = signer(server).headers(method, path, query, "UNSIGNED-PAYLOAD", extra) | {"content-length": str(len(body))}
        return wire.send(head(method, f"{path}?{query}" if query else path, headers) + body).reply(method)


def upload_part(server: Server, path: str, upload: str, number: int, length: int) -> str:
    """Streams one part; gives its ETag."""
    query = f"partNumber={number}&uploadId={upload}"
    with Wire(server.host, server.port, timeout=120) as wire:
        headers = signer(server).headers("PUT", path, query, "UNSIGNED-PAYLOAD") | {"content-length": str(length)}
        wire.send(head("PUT", f"{path}?{query}", headers))
        first = (number - 1) * (PART_BYTES // MIB)
        for index in range(length // MIB):
            wire.socket.sendall(block(first + index))
        reply = wire.reply()
        assert reply.status == 200, reply
        return reply.headers["etag"]


def read_range(server: Server, path: str, start: int, length: int) -> None:
    """Reads one range and compares it piece by piece."""
    with Wire(server.host, server.port, timeout=120) as wire:
        headers = signer(server).headers("GET", path, "", "UNSIGNED-PAYLOAD", {"range": f"bytes={start}-{start + length - 1}"})
        wire.send(head("GET", path, headers))
        while b"\r\n\r\n" not in wire.buffer:
            assert wire.more(), "closed in the head"
        top, rest = wire.buffer.split(b"\r\n\r\n", 1)
        assert b" 206 " in top.split(b"\r\n")[0], top
        pending = bytearray(rest)
        for index in range(start // MIB, (start + length) // MIB):
            while len(pending) < MIB:
                piece = wire.socket.recv(MIB)
                assert piece, "closed in the body"
                pending += piece
            assert pending[:MIB] == block(index), f"MiB {index} differs"
            del pending[:MIB]
        assert not pending


def in_parallel(jobs: list) -> list:
    """Runs the jobs on a few threads; gives their results in order, or raises the first failure."""
    todo: queue.SimpleQueue = queue.SimpleQueue()
    results: list = [None] * len(jobs)
    failures: list[BaseException] = []
    for item in enumerate(jobs):
        todo.put(item)

    def work() -> None:
        while not failures:
            try:
                index, job = todo.get_nowait()
            except queue.Empty:
                return
            try:
                results[index] = job()
            except BaseException as failure:  # Raised again in the caller's thread.
                failures.append(failure)

    threads = [threading.Thread(target=work) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return results


def large_object(server: Server, check: Check, gibibytes: int) -> None:
    path, size = f"/{BUCKET}/large", gibibytes * 1024 * MIB
    upload = call(server, "POST", path, "uploads=").element("UploadId")
    assert upload
    begun = time.monotonic()
    with Peak(server) as peak:
        parts = [(n + 1, min(PART_BYTES, size - start)) for n, start in enumerate(range(0, size, PART_BYTES))]
        tags = in_parallel([lambda n=n, length=length: upload_part(server, path, upload, n, length) for n, length in parts])
        listed = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{tag}</ETag></Part>" for (n, _), tag in zip(parts, tags))
        document = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        reply = call(server, "POST", path, f"uploadId={upload}", document)
        assert reply.status == 200 and not reply.code, reply
    check.figure(f"{gibibytes} GiB up in {len(parts)} parts ({size / MIB / (time.monotonic() - begun):.0f} MiB/s)", peak.kib, OBJECT_MIB_MAX)
    begun = time.monotonic()
    with Peak(server) as peak:
        ranges = [(start, min(RANGE_BYTES, size - start)) for start in range(0, size, RANGE_BYTES)]
        in_parallel([lambda start=start, length=length: read_range(server, path, start, length) for start, length in ranges])
    check.figure(f"{gibibytes} GiB down in {len(ranges)} ranges ({size / MIB / (time.monotonic() - begun):.0f} MiB/s)", peak.kib, OBJECT_MIB_MAX)
    assert call(server, "DELETE", path).status == 204


def idle_connections(server: Server, check: Check) -> None:
    """Each connection makes one signed request, so that each is as large as a used one, and then stays silent."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + DESCRIPTORS_SPARE
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise SystemExit(f"memory: {CONNECTIONS} connections need {wanted} descriptors, and the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    path = f"/{BUCKET}/small"
    assert call(server, "PUT", path, body=b"small").status == 200
    request = head("GET", path, signer(server).headers("GET", path, "", "UNSIGNED-PAYLOAD"))
    connections: list[socket.socket] = []
    try:
        with Peak(server) as peak:
            for number in range(CONNECTIONS):
                # Several source addresses, since one has about 28,000 ports, some of them still closing.
                source = (f"127.0.0.{2 + number // CONNECTIONS_PER_ADDRESS}", 0)
                connection = socket.create_connection((server.host, server.port), timeout=60, source_address=source)
                connection.sendall(request)
                connections.append(connection)
                reply = connection.recv(4096)
                assert reply.startswith(b"HTTP/1.1 200 ") and reply.endswith(b"small"), reply
            at_rest = server.memory_kib()
        check.figure(f"{CONNECTIONS} connections being made, peak", peak.kib, CONNECTIONS_MIB_MAX)
        check.figure(f"{CONNECTIONS} connections, idle", at_rest, CONNECTIONS_MIB_MAX)
        # The oldest and the newest still answer, and so does a new one.
        for connection in connections[:50] + connections[-50:]:
            connection.sendall(request)
            reply = connection.recv(4096)
            assert reply.startswith(b"HTTP/1.1 200 "), reply
        assert call(server, "GET", path).body == b"small"
    finally:
        for connection in connections:
            connection.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gibibytes", type=int, default=10, help="size of the large object")
    parser.add_argument("--backend", choices=["auto", "epoll"], default="auto")
    options = parser.parse_args()
    check = Check()
    with Server(arguments=["--shards", "2", "--backend", options.backend]) as server:
        free = shutil.disk_usage(server.data).free
        needed = (options.gibibytes + 2) << 30
        if free < needed:
            raise SystemExit(f"memory: {server.data} has {free >> 30} GiB free, {needed >> 30} are needed")
        files = sum(entry.stat().st_blocks * 512 for entry in server.data.rglob("*") if entry.is_file())
        print(f"memory: fresh data directory: {files / MIB:.1f} MiB on disk, limit 256 MiB{'' if files < 256 * MIB else ': OVER'}")
        check.over |= files >= 256 * MIB
        check.figure("idle, two shards", server.memory_kib(), IDLE_MIB_MAX)
        assert call(server, "PUT", f"/{BUCKET}").status == 200
        idle_connections(server, check)
        large_object(server, check, options.gibibytes)
        assert server.process.poll() is None, "the appliance stopped"
        print(f"memory: at the end: {server.memory_kib() / 1024:.1f} MiB")
    return 1 if check.over else 0


if __name__ == "__main__":
    sys.exit(main())
