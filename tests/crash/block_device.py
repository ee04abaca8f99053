"""A block device that records what is written to it: one file served over FUSE, to put a loop device on.

It lies below the file system, so direct I/O, io_uring and mapped pages are all seen. The image below is only read; what is
written goes to memory and, in order, to a log: writes with their data, flushes and discards. One thread serves one request
at a time, and an entry is counted before its reply leaves, so whoever saw an effect also sees a count that covers it.

Log entry, little-endian: kind u32 (1 write, 2 flush, 3 discard), length u32 in 512-byte sectors, first sector u64, then
the data of a write.
"""

import ctypes
import mmap
import os
import signal
import struct
import sys
from pathlib import Path

WRITE, FLUSH, DISCARD = 1, 2, 3
ENTRY = struct.Struct("<IIQ")
SECTOR = 512
PAGE = 4096
COUNT_BYTES = 8

# The kernel's FUSE protocol, include/uapi/linux/fuse.h.
IN_HEADER, OUT_HEADER = struct.Struct("<IIQQIIIHH"), struct.Struct("<IiQ")
INIT_IN, INIT_OUT = struct.Struct("<IIII"), struct.Struct("<IIIIHHIIHHI28x")
ATTR, READ_IN, WRITE_OUT = struct.Struct("<6Q10I"), struct.Struct("<QQII"), struct.Struct("<II")
FALLOCATE_IN, STATFS_OUT = struct.Struct("<QQQI"), struct.Struct("<5Q4I24x")
LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, OP_WRITE, STATFS, RELEASE, FSYNC = 1, 2, 3, 4, 14, 15, 16, 17, 18, 20
OP_FLUSH, INIT, INTERRUPT, DESTROY, BATCH_FORGET, FALLOCATE = 25, 26, 36, 38, 42, 43
BIG_WRITES, MAX_PAGES = 1 << 5, 1 << 22
WRITE_BYTES_MAX = 1 << 20
REQUEST_BYTES_MAX = WRITE_BYTES_MAX + PAGE
ENOSYS, EINVAL, ENODEV, ECONNABORTED, ENOENT, EAGAIN = 38, 22, 19, 103, 2, 11
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE = 1, 2, 16
FOREVER = 1 << 30
MS_NOSUID, MS_NODEV = 2, 4
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1

LIBC = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
    if LIBC.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount of {kind} on {target}: {os.strerror(number)}")


def unmount(target: str, flags: int = 0) -> None:
    if LIBC.umount2(target.encode(), flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"unmount of {target}: {os.strerror(number)}")


class Content:
    """An image with changes over it, page by page. The image itself stays as it is."""

    def __init__(self, image: Path):
        self.descriptor = os.open(image, os.O_RDONLY)
        self.size = os.fstat(self.descriptor).st_size
        self.pages: dict[int, bytes] = {}

    def page(self, index: int) -> bytes:
        held = self.pages.get(index)
        return held if held is not None else os.pread(self.descriptor, PAGE, index * PAGE).ljust(PAGE, b"\0")

    def read(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size - offset))
        first, last = offset // PAGE, (offset + length + PAGE - 1) // PAGE
        if not any(index in self.pages for index in range(first, last)):
            return os.pread(self.descriptor, length, offset)
        data = b"".join([self.page(index) for index in range(first, last)])
        start = offset - first * PAGE
        return data[start : start + length]

    def write(self, offset: int, data: bytes) -> None:
        at = 0
        while at < len(data):
            index, start = divmod(offset + at, PAGE)
            piece = data[at : at + PAGE - start]
            if len(piece) < PAGE:
                page = self.page(index)
                piece_end = start + len(piece)
                self.pages[index] = page[:start] + piece + page[piece_end:]
            else:
                self.pages[index] = piece
            at += len(piece)

    def apply(self, log: Path) -> None:
        """Applies the entries of a log, for an image that is this one with changes."""
        for kind, offset, data, length in entries(log):
            if kind != FLUSH:
                self.write(offset, data if kind == WRITE else bytes(length))


def entries(log: Path):
    """The entries of a log: kind, offset, data of a write, length; offsets and lengths in bytes."""
    with log.open("rb") as source:
        while head := source.read(ENTRY.size):
            kind, sectors, first = ENTRY.unpack(head)
            length = sectors * SECTOR
            yield kind, first * SECTOR, source.read(length) if kind == WRITE else b"", length


class Device:
    """Serves one file at the mount point until it is unmounted."""

    def __init__(self, content: Content, log: Path, counter: Path):
        self.content, self.log = content, log.open("wb", buffering=0)
        with counter.open("r+b") as file:
            self.counter = mmap.mmap(file.fileno(), COUNT_BYTES)
        self.count = 0
        self.fuse = -1

    def record(self, kind: int, offset: int, data: bytes, length: int) -> None:
        # Loop devices write whole sectors; anything else would be lost in the log's unit.
        assert offset % SECTOR == 0 and length % SECTOR == 0, (kind, offset, length)
        self.log.write(ENTRY.pack(kind, length // SECTOR, offset // SECTOR) + data)
        self.count += 1
        self.counter[:COUNT_BYTES] = struct.pack("<Q", self.count)

    def attributes(self) -> bytes:
        size = self.content.size
        return ATTR.pack(1, size, size // SECTOR, 0, 0, 0, 0, 0, 0, 0o100600, 1, 0, 0, 0, PAGE, 0)

    def serve(self, mount_point: Path) -> None:
        self.fuse = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self.fuse},rootmode=100600,user_id=0,group_id=0,max_read={WRITE_BYTES_MAX}"
        mount("zerocloud-block-lab", str(mount_point), "fuse", MS_NOSUID | MS_NODEV, options)
        while True:
            try:
                request = os.read(self.fuse, REQUEST_BYTES_MAX)
            except InterruptedError:
                continue
            except OSError as error:
                # Unmounted. A read that had already taken a request off the queue is told so by the second of the two.
                if error.errno in (ENODEV, ECONNABORTED):
                    return
                # The request was given up while it was being handed over: the next one comes.
                if error.errno in (ENOENT, EAGAIN):
                    continue
                raise
            _, code, unique, *_ = IN_HEADER.unpack_from(request)
            if code in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            error, reply = self.answer(code, request[IN_HEADER.size :])
            try:
                os.write(self.fuse, OUT_HEADER.pack(OUT_HEADER.size + len(reply), -error, unique) + reply)
            except OSError as error:
                # The request was given up meanwhile: its task was killed, or the file system is being unmounted. Whether
                # it has been is what the next read says.
                if error.errno not in (ENOENT, ENODEV, ECONNABORTED):
                    raise

    def answer(self, code: int, body: bytes) -> tuple[int, bytes]:
        """Error number and reply of one request."""
        if code == READ:
            _, offset, size, _ = READ_IN.unpack_from(body)
            return 0, self.content.read(offset, size)
        if code == OP_WRITE:
            _, offset, size, _ = READ_IN.unpack_from(body)
            data = body[40 : 40 + size]
            self.content.write(offset, data)
            self.record(WRITE, offset, data, size)
            return 0, WRITE_OUT.pack(size, 0)
        if code == FSYNC:
            self.record(FLUSH, 0, b"", 0)
            return 0, b""
        if code == FALLOCATE:
            _, offset, length, mode = FALLOCATE_IN.unpack_from(body)
            if not mode & (FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE):
                return EINVAL, b""
            self.content.write(offset, bytes(length))
            self.record(DISCARD, offset, b"", length)
            return 0, b""
        if code == INIT:
            _, minor, read_ahead, _ = INIT_IN.unpack_from(body)
            pages = WRITE_BYTES_MAX // PAGE
            return 0, INIT_OUT.pack(7, min(minor, 31), read_ahead, BIG_WRITES | MAX_PAGES, 12, 9, WRITE_BYTES_MAX, 1, pages, 0, 0)
        if code in (GETATTR, SETATTR):
            return 0, struct.pack("<QII", FOREVER, 0, 0) + self.attributes()
        if code == OPEN:
            return 0, struct.pack("<QII", 1, 0, 0)
        if code == STATFS:
            return 0, STATFS_OUT.pack(1, 1, 1, 1, 1, PAGE, 255, PAGE, 0)
        if code in (OP_FLUSH, RELEASE, DESTROY):
            # Closing is no flush of the device.
            return 0, b""
        return ENOSYS, b""


def main() -> None:
    # A lab that was killed leaves no recorder, and with it no mount and no loop device behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    image, mount_point, log, counter, changes = (Path(argument) for argument in sys.argv[1:6])
    content = Content(image)
    content.apply(changes)
    recorder = Device(content, log, counter)
    try:
        recorder.serve(mount_point)
    finally:
        # Before the process ends: the last process of a mount namespace unmounts what is mounted on this very device, and
        # would wait for itself.
        if recorder.fuse >= 0:
            os.close(recorder.fuse)


if __name__ == "__main__":
    main()
