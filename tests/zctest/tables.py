"""Clients of DynamoDB for tests: boto3 with nothing set but endpoint, region and keys.

ZEROCLOUD_TABLES_URL, with ZEROCLOUD_TABLES_KEY, _SECRET and _REGION, points the same cases at another server, AWS itself included.
"""

import os
import random
import threading

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


class Place:
    """Where tables are, and by which right."""

    def __init__(self, server=None):
        self.url = os.environ.get("ZEROCLOUD_TABLES_URL") or server.url
        self.region = os.environ.get("ZEROCLOUD_TABLES_REGION", "us-east-1")
        if "ZEROCLOUD_TABLES_URL" in os.environ:
            self.key, self.secret = os.environ["ZEROCLOUD_TABLES_KEY"], os.environ["ZEROCLOUD_TABLES_SECRET"]
        else:
            self.key, self.secret = server.credentials()

    def arguments(self, **more) -> dict:
        named = {"endpoint_url": self.url, "region_name": self.region}
        return named | {"aws_access_key_id": self.key, "aws_secret_access_key": self.secret} | more

    def client(self, name: str = "dynamodb", **more):
        return boto3.client(name, **self.arguments(**more))

    def resource(self, **more):
        return boto3.resource("dynamodb", **self.arguments(**more))


def elsewhere() -> bool:
    """Whether the cases are pointed at another server than the appliance."""
    return "ZEROCLOUD_TABLES_URL" in os.environ


def code(error: ClientError) -> str:
    return error.response["Error"]["Code"]


def message(error: ClientError) -> str:
    return error.response["Error"]["Message"]


def new_name(stem: str) -> str:
    """A name that no earlier run has left behind elsewhere."""
    return f"{stem}-{random.randrange(1 << 32):08x}"


def make_table(client, name: str, sort: str | None = None, **more) -> str:
    """A table with key `pk` (S) and, if given, a sort key `sk` of a type, once it is active."""
    keys, kinds = [{"AttributeName": "pk", "KeyType": "HASH"}], {"pk": "S"}
    if sort is not None:
        keys.append({"AttributeName": "sk", "KeyType": "RANGE"})
        kinds["sk"] = sort
    kinds |= more.pop("attributes", {})
    client.create_table(
        TableName=name,
        KeySchema=keys,
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind} for key, kind in kinds.items()],
        BillingMode="PAY_PER_REQUEST",
        **more,
    )
    # The waiter's own pause of 20 s is for AWS; a table that is active at once costs nothing either way.
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return name


def count_together(place: Place, table: str, client_count: int, adds_per_client: int) -> int:
    """So many clients of their own, each adding 1 so often to the same item; gives what the item says afterwards. A request
    is never sent twice, and one that fails ends the count: every acknowledged 1 must be in the sum."""
    failures = []

    def add() -> None:
        client = place.client(config=Config(retries={"total_max_attempts": 1}, read_timeout=60))
        try:
            for _ in range(adds_per_client):
                client.update_item(
                    TableName=table,
                    Key={"pk": {"S": "counter"}},
                    UpdateExpression="ADD hits :one",
                    ExpressionAttributeValues={":one": {"N": "1"}},
                )
        except Exception as error:  # noqa: BLE001, whatever it is, the main thread tells
            failures.append(error)

    threads = [threading.Thread(target=add) for _ in range(client_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    client = place.client()
    item = client.get_item(TableName=table, Key={"pk": {"S": "counter"}}, ConsistentRead=True)["Item"]
    return int(item["hits"]["N"])
