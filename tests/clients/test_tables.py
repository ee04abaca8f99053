"""Clients of tables in the long tier, each in its users' way and unmodified."""

import json
import os
from pathlib import Path

import pytest

from zctest.files import run, tool
from zctest.server import ROOT
from zctest.tables import Place, count_together, make_table

HERE = Path(__file__).resolve().parent


def test_dynamodb_toolbox_keeps_orders(server):
    assert "orders are as they should be" in run([tool("node"), str(HERE / "js" / "toolbox.mjs")], server.environment())


def test_the_rust_sdk_does_what_it_does_on_aws(server):
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "client-tests"
    build = ["cargo", "build", "--locked", "-q", "--manifest-path", str(HERE / "rust" / "Cargo.toml"), "--target-dir", str(target)]
    run(build, dict(os.environ))
    said = run([str(target / "debug" / "zerocloud-client-tables")], server.environment())
    assert "tables are as they should be" in said


def test_the_aws_cli_keeps_tables(server, tmp_path):
    environment = server.environment() | {"AWS_DEFAULT_OUTPUT": "json", "AWS_PAGER": ""}

    def aws(*words: str):
        said = run([tool("aws"), "dynamodb", *words], environment)
        return json.loads(said) if said.strip() else None

    aws(
        "create-table", "--table-name", "cli", "--billing-mode", "PAY_PER_REQUEST",
        "--attribute-definitions", "AttributeName=pk,AttributeType=S", "AttributeName=sk,AttributeType=N",
        "--key-schema", "AttributeName=pk,KeyType=HASH", "AttributeName=sk,KeyType=RANGE",
    )
    aws("wait", "table-exists", "--table-name", "cli")
    for number in range(12):
        item = {"pk": {"S": "p"}, "sk": {"N": str(number)}, "bytes": {"B": "text"}}
        aws("put-item", "--table-name", "cli", "--item", json.dumps(item))
    values = {":p": {"S": "p"}, ":s": {"N": "3"}}
    found = aws(
        "query", "--table-name", "cli", "--key-condition-expression", "pk = :p AND sk > :s", "--page-size", "2",
        "--expression-attribute-values", json.dumps(values), "--no-scan-index-forward",
    )
    assert [item["sk"]["N"] for item in found["Items"]] == [str(number) for number in range(11, 3, -1)]
    # Version 1 takes blobs as they are and shows them in base64.
    assert found["Items"][0]["bytes"]["B"] == "dGV4dA=="
    assert len(aws("scan", "--table-name", "cli", "--max-items", "5", "--page-size", "2")["Items"]) == 5
    skeleton = tmp_path / "update.json"
    update = {
        "TableName": "cli",
        "Key": {"pk": {"S": "p"}, "sk": {"N": "3"}},
        "UpdateExpression": "SET seen = :t",
        "ExpressionAttributeValues": {":t": {"BOOL": True}},
        "ReturnValues": "ALL_NEW",
    }
    skeleton.write_text(json.dumps(update))
    assert aws("update-item", "--cli-input-json", f"file://{skeleton}")["Attributes"]["seen"] == {"BOOL": True}
    assert "cli" in aws("list-tables")["TableNames"]
    assert aws("describe-table", "--table-name", "cli")["Table"]["TableStatus"] == "ACTIVE"
    aws("delete-table", "--table-name", "cli")
    aws("wait", "table-not-exists", "--table-name", "cli")


@pytest.fixture()
def pynamo(server):
    """A model of PynamoDB that is bound to the appliance."""
    from pynamodb.attributes import ListAttribute, MapAttribute, NumberAttribute, UnicodeAttribute, UnicodeSetAttribute, UTCDateTimeAttribute
    from pynamodb.indexes import AllProjection, GlobalSecondaryIndex
    from pynamodb.models import Model

    key, secret = server.credentials()

    class ByState(GlobalSecondaryIndex):
        class Meta:
            index_name = "by-state"
            projection = AllProjection()

        state = UnicodeAttribute(hash_key=True)
        number = NumberAttribute(range_key=True)

    class Order(Model):
        class Meta:
            table_name = "pynamo"
            host = server.url
            region = "us-east-1"
            billing_mode = "PAY_PER_REQUEST"
            aws_access_key_id = key
            aws_secret_access_key = secret

        customer = UnicodeAttribute(hash_key=True)
        number = NumberAttribute(range_key=True)
        state = UnicodeAttribute(default="new")
        total = NumberAttribute(default=0)
        tags = UnicodeSetAttribute(null=True)
        lines = ListAttribute(default=list)
        more = MapAttribute(null=True)
        made = UTCDateTimeAttribute(null=True)
        by_state = ByState()

    Order.create_table(wait=True)
    yield Order
    Order.delete_table()


def test_pynamodb_keeps_orders(pynamo):
    from datetime import datetime, timezone

    from pynamodb.connection import Connection
    from pynamodb.exceptions import DoesNotExist, PutError, TransactWriteError, UpdateError
    from pynamodb.transactions import TransactGet, TransactWrite

    made = datetime(2026, 11, 21, 12, 30, 0, 123456, tzinfo=timezone.utc)
    first = pynamo("a", 1, total=10, tags={"new"}, lines=[{"what": "pen"}], more={"deep": {"er": 1}}, made=made)
    first.save(pynamo.customer.does_not_exist())
    with pytest.raises(PutError) as error:
        pynamo("a", 1).save(pynamo.customer.does_not_exist())
    assert error.value.cause_response_code == "ConditionalCheckFailedException"
    first.update([pynamo.total.add(5), pynamo.tags.add({"paid"}), pynamo.state.set("paid")], condition=pynamo.total >= 10)
    with pytest.raises(UpdateError):
        first.update([pynamo.total.set(0)], condition=pynamo.state == "new")
    got = pynamo.get("a", 1, consistent_read=True)
    assert (got.total, got.tags, got.state, got.made, got.more.as_dict()) == (15, {"new", "paid"}, "paid", made, {"deep": {"er": 1}})
    with pynamo.batch_write() as batch:
        for number in range(40):
            batch.save(pynamo("b", number, total=number))
    found = pynamo.query("b", pynamo.number > 30, filter_condition=pynamo.total < 38, scan_index_forward=False, page_size=3)
    assert [order.number for order in found] == list(range(37, 30, -1))
    assert [order.customer for order in pynamo.by_state.query("paid")] == ["a"]
    assert len(list(pynamo.scan(segment=0, total_segments=1, page_size=7))) == 41
    assert {order.number for order in pynamo.batch_get([("b", number) for number in range(35, 45)])} == set(range(35, 40))
    connection = Connection(host=pynamo.Meta.host, region="us-east-1")
    connection.session.set_credentials(pynamo.Meta.aws_access_key_id, pynamo.Meta.aws_secret_access_key)
    with TransactWrite(connection=connection) as transaction:
        transaction.save(pynamo("c", 1))
        transaction.update(first, actions=[pynamo.total.add(1)])
    with pytest.raises(TransactWriteError) as error:
        with TransactWrite(connection=connection) as transaction:
            transaction.save(pynamo("c", 2))
            transaction.delete(pynamo("c", 1), condition=pynamo.state == "paid")
    # In the order in which it sends them: deletes go before puts.
    assert [reason.code if reason else None for reason in error.value.cancellation_reasons] == ["ConditionalCheckFailed", None]
    with TransactGet(connection=connection) as transaction:
        futures = [transaction.get(pynamo, "a", 1), transaction.get(pynamo, "c", 1)]
    assert [future.get().number for future in futures] == [1, 1] and futures[0].get().total == 16
    with pytest.raises(DoesNotExist):
        pynamo.get("c", 2)


def test_eight_clients_that_add_ten_thousand_each_lose_nothing(server):
    place = Place(server)
    table = make_table(place.client(), "counters")
    assert count_together(place, table, 8, 10_000) == 80_000
