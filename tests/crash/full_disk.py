"""A file system that the appliance fills to the brim with objects and items: writes are refused by name, what was acknowledged
stays readable, and deletes go on and make room again.

Needs root, for a loop device; runs in a mount namespace of its own, so that nothing stays mounted whatever becomes of it.
"""

import hashlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import boto3  # noqa: E402
from botocore.config import Config  # noqa: E402
from botocore.exceptions import ClientError  # noqa: E402
from zctest.server import Server  # noqa: E402

MIB = 1 << 20
DISK_BYTES = 768 * MIB
# Large ones go into extents, small ones into packed segments, tiny ones into the log and the index.
SIZES = (MIB, 20_000, 100)
KEPT_COUNT = 5
# How long freed room may take to be given back.
ROOM_SECONDS_MAX = 120
# Generous: on a stalled machine a request of 50 MiB and an unmount take long, and neither is a finding.
REPLY_SECONDS_MAX = 300
UNMOUNT_SECONDS_MAX = 180
REFUSED = "InsufficientStorage"
# DynamoDB has no name for a full disk.
ITEM_REFUSED = "InternalServerError"
ITEM_TEXT_BYTES = 100_000
ITEM_COUNT_MAX = DISK_BYTES // ITEM_TEXT_BYTES


def content(key: str, size: int) -> bytes:
    return random.Random(key).randbytes(size)


def refusal(call, **arguments) -> str | None:
    """The code of the error that a call ends with; none where it succeeds."""
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return None


def fill(s3, bucket: str, size: int) -> list[str]:
    """Puts objects until one is refused, which must be for want of room."""
    keys = []
    while True:
        key = f"{size}/{len(keys):06}"
        code = refusal(s3.put_object, Bucket=bucket, Key=key, Body=content(key, size))
        if code is not None:
            assert code == REFUSED, f"a put into a full disk is answered {code}"
            return keys
        keys.append(key)
        assert len(keys) * size < DISK_BYTES or size < 1_000, "more was acknowledged than the disk holds"
        # The smallest take long to fill what the others left.
        if size < 1_000 and len(keys) == 2_000:
            return keys


def check(s3, bucket: str, keys: list[str]) -> None:
    for key in keys:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        assert body == content(key, int(key.split("/")[0])), f"{key} changed"


def connect(server: Server, service: str = "s3"):
    key, secret = server.credentials()
    config = Config(retries={"max_attempts": 0}, read_timeout=REPLY_SECONDS_MAX, s3={"addressing_style": "path"})
    return boto3.client(service, endpoint_url=server.url, aws_access_key_id=key, aws_secret_access_key=secret,
                        region_name="us-east-1", config=config)  # fmt: skip


def room_again(s3, bucket: str, size: int) -> float:
    """Seconds until a put of this size succeeds."""
    begun = time.monotonic()
    while True:
        code = refusal(s3.put_object, Bucket=bucket, Key="again", Body=content("again", size))
        taken = time.monotonic() - begun
        if code is None:
            return taken
        assert code == REFUSED, f"a put is answered {code}"
        assert taken < ROOM_SECONDS_MAX, f"no room {taken:.0f} s after the deletes"
        time.sleep(0.5)


def make_tables(tables) -> None:
    for name in ("items", "dropped"):
        tables.create_table(TableName=name, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
                            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}])  # fmt: skip
        for number in range(30):
            tables.put_item(TableName=name, Item=item(number))


def item(number: int) -> dict:
    return {"pk": {"S": str(number)}, "text": {"S": content(str(number), ITEM_TEXT_BYTES // 2).hex()}}


def items_on_a_full_disk(tables) -> int:
    """Writes are refused, reads and deletes in every form go on. Gives how many items are left, the first ones."""
    count = 30
    while (code := refusal(tables.put_item, TableName="items", Item=item(count))) is None:
        count += 1
        assert count < ITEM_COUNT_MAX, "more was acknowledged than the disk holds"
    assert code == ITEM_REFUSED, f"a put into a full disk is answered {code}"
    key = lambda number: {"pk": {"S": str(number)}}  # noqa: E731
    update = {"UpdateExpression": "SET more = :t", "ExpressionAttributeValues": {":t": item(1)["text"]}}
    assert refusal(tables.update_item, TableName="items", Key=key(0), **update) == ITEM_REFUSED
    assert refusal(tables.delete_item, TableName="items", Key=key(count - 1)) is None
    batch = {"items": [{"DeleteRequest": {"Key": key(count - number)}} for number in (2, 3, 4)]}
    assert tables.batch_write_item(RequestItems=batch)["UnprocessedItems"] == {}
    together = [{"Delete": {"TableName": "items", "Key": key(count - number)}} for number in (5, 6)]
    assert refusal(tables.transact_write_items, TransactItems=together) is None
    assert refusal(tables.delete_table, TableName="dropped") is None
    return count - 6


def check_items(tables, count: int) -> None:
    for number in range(count):
        found = tables.get_item(TableName="items", Key={"pk": {"S": str(number)}}, ConsistentRead=True).get("Item")
        assert found == item(number), f"item {number} changed"
    assert tables.scan(TableName="items", Select="COUNT", Limit=1)["Count"] == 1
    assert "Item" not in tables.get_item(TableName="items", Key={"pk": {"S": str(count)}}, ConsistentRead=True)
    assert refusal(tables.describe_table, TableName="dropped") == "ResourceNotFoundException"


def lab(root: Path) -> None:
    server = Server(data=root).start()
    try:
        s3, tables = connect(server), connect(server, "dynamodb")
        make_tables(tables)
        for bucket in ("plain", "versions"):
            s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
        version = s3.put_object(Bucket="versions", Key="one", Body=b"one")["VersionId"]
        open_upload = s3.create_multipart_upload(Bucket="plain", Key="parts")["UploadId"]
        keys = [key for size in SIZES for key in fill(s3, "plain", size)]
        assert len(keys) > 2 * KEPT_COUNT, f"only {len(keys)} objects fit"
        check(s3, "plain", random.Random(1).sample(keys, 20))

        left = items_on_a_full_disk(tables)
        check_items(tables, left)

        # A marker would take room, and nothing bounds how many are asked for; all else that frees goes on.
        assert refusal(s3.delete_object, Bucket="versions", Key="one") == REFUSED
        assert refusal(s3.delete_object, Bucket="versions", Key="one", VersionId=version) is None
        assert refusal(s3.abort_multipart_upload, Bucket="plain", Key="parts", UploadId=open_upload) is None
        assert refusal(s3.delete_bucket, Bucket="versions") is None
        kept = random.Random(2).sample(keys, KEPT_COUNT)
        gone = [key for key in keys if key not in kept]
        singly, together = gone[::2][:200], set(gone) - set(gone[::2][:200])
        for key in singly:
            assert refusal(s3.delete_object, Bucket="plain", Key=key) is None
        rest = sorted(together)
        for begin in range(0, len(rest), 1000):
            objects = [{"Key": key} for key in rest[begin : begin + 1000]]
            answer = s3.delete_objects(Bucket="plain", Delete={"Objects": objects})
            assert "Errors" not in answer, answer["Errors"][:1]
        seconds = room_again(s3, "plain", 50 * MIB)
        check(s3, "plain", kept)
        tables.put_item(TableName="items", Item=item(left + 1))
        server.kill()
        server.start()
        s3, tables = connect(server), connect(server, "dynamodb")
        check(s3, "plain", kept)
        check_items(tables, left)
        listed = {entry["Key"] for entry in s3.list_objects_v2(Bucket="plain").get("Contents", [])}
        assert listed == {*kept, "again"}, f"{len(listed)} keys are listed"
        digest = hashlib.sha256(b"".join(content(key, int(key.split("/")[0])) for key in kept)).hexdigest()[:12]
        print(f"full disk: {len(keys)} objects until {REFUSED}, {len(gone)} deleted on the full disk, "
              f"50 MiB fit again after {seconds:.1f} s, the {KEPT_COUNT} kept and {left} items are whole ({digest})")  # fmt: skip
    finally:
        server.kill()


def main() -> int:
    if sys.argv[1:] != ["--inside"]:
        command = ["unshare", "-m", "--propagation", "private", sys.executable, __file__, "--inside"]
        return subprocess.run(command).returncode
    with tempfile.TemporaryDirectory(prefix="zerocloud-full-") as directory:
        image, root = Path(directory) / "image", Path(directory) / "root"
        root.mkdir()
        with image.open("wb") as file:
            file.truncate(DISK_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(root)], check=True)
        try:
            lab(root)
        finally:
            # A killed process's ring is taken down after it; until then its files are busy.
            deadline = time.monotonic() + UNMOUNT_SECONDS_MAX
            while (done := subprocess.run(["umount", str(root)], capture_output=True, text=True)).returncode != 0:
                assert time.monotonic() < deadline, done.stderr
                time.sleep(0.1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
