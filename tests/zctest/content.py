"""What clients store in these tests: sizes around every limit of the store, and names that tools and file systems dislike."""

import hashlib
import random

# Around the inline, batch, chunk and multipart borders.
SIZES = [0, 1, 512, 513, 4096, 32 * 1024, 32 * 1024 + 1, 65_536, 65_537, 1 << 20, (1 << 20) + 1]
MULTIPART_BYTES = 18 * (1 << 20)

ODD_NAMES = [
    "plain",
    "with space",
    "plus+sign",
    "percent%2Fsign",
    "a/b/c",
    "double//slash",
    "trailing/",
    "dots/../up",
    "./dot",
    "ünïcode/ключ/鍵",
    "emoji-😀",
    "quote'\"quote",
    "tilde~star*paren()",
    "ampersand&equals=semicolon;",
    "question?mark#hash",
    "back\\slash",
    "k" * 1024,
]


def content(length: int, seed: int = 0) -> bytes:
    return random.Random(length * 1_000_003 + seed).randbytes(length)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
