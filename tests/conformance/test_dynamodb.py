"""boto3's client and resource against tables: what programs do with them, and the exceptions that they catch."""

import time
from decimal import Decimal

import pytest
from boto3.dynamodb.conditions import Attr, Key
from boto3.dynamodb.types import Binary
from botocore.exceptions import ClientError

from zctest.tables import Place, code, count_together, elsewhere, make_table, message, new_name

ACCOUNT_DIGITS = 12


@pytest.fixture(scope="module")
def place(request):
    return Place() if elsewhere() else Place(request.getfixturevalue("server"))


@pytest.fixture(scope="module")
def client(place):
    return place.client()


@pytest.fixture(scope="module")
def resource(place):
    return place.resource()


@pytest.fixture(scope="module")
def made(client):
    """Makes tables that are gone after the file's last test."""
    names = []

    def make(stem: str, **more) -> str:
        names.append(make_table(client, new_name(stem), **more))
        return names[-1]

    yield make
    for name in names:
        client.delete_table(TableName=name)
    for name in names:
        client.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


@pytest.fixture(scope="module")
def plain(made):
    return made("plain")


@pytest.fixture(scope="module")
def ordered(resource, made):
    """One partition of 50 items whose sort keys are numbers, and two items beside it."""
    table = resource.Table(made("ordered", sort="N"))
    with table.batch_writer() as batch:
        for number in range(50):
            batch.put_item(Item={"pk": "many", "sk": number - 25, "parity": "even" if number % 2 == 0 else "odd"})
        batch.put_item(Item={"pk": "one", "sk": Decimal("0.5")})
        batch.put_item(Item={"pk": "two", "sk": Decimal("1e20")})
    return table


# ---- tables ----


def test_a_table_is_made_described_listed_and_gone(client):
    name = make_table(client, new_name("life"), sort="S")
    table = client.describe_table(TableName=name)["Table"]
    assert table["TableStatus"] == "ACTIVE" and table["ItemCount"] == 0 and table["TableSizeBytes"] == 0
    assert table["KeySchema"] == [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    service, region, account, resource = table["TableArn"].split(":")[2:]
    assert (service, region, resource) == ("dynamodb", client.meta.region_name, f"table/{name}")
    assert len(account) == ACCOUNT_DIGITS and account.isdigit()
    pages = client.get_paginator("list_tables").paginate(PaginationConfig={"PageSize": 1})
    names = [found for page in pages for found in page["TableNames"]]
    assert name in names and names == sorted(names)
    with pytest.raises(client.exceptions.ResourceInUseException):
        make_table(client, name)
    client.delete_table(TableName=name)
    client.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    for call in (client.describe_table, client.delete_table):
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            call(TableName=name)


def test_a_table_that_comes_again_has_none_of_its_former_items(client):
    name = make_table(client, new_name("again"))
    client.put_item(TableName=name, Item={"pk": {"S": "a"}})
    client.delete_table(TableName=name)
    client.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    make_table(client, name)
    assert client.scan(TableName=name)["Count"] == 0
    client.delete_table(TableName=name)


def test_tags_are_kept_by_arn(client, plain):
    arn = client.describe_table(TableName=plain)["Table"]["TableArn"]
    client.tag_resource(ResourceArn=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "ü"}])
    client.untag_resource(ResourceArn=arn, TagKeys=["a"])
    assert client.list_tags_of_resource(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": "ü"}]


# ---- items ----

ITEM = {
    "pk": "types",
    "text": "ünïcode 鍵 😀",
    "empty": "",
    "small": Decimal("-1.5e-100"),
    "large": Decimal("12345678901234567890123456789012345678"),
    "zero": Decimal(0),
    "bytes": Binary(bytes(range(256))),
    "yes": True,
    "nothing": None,
    "list": [1, "two", [None, False], {"three": Decimal("3.25")}],
    "map": {" ": "a blank for a name", "deep": {"er": {"still": []}}},
    "words": {"b", "a", "ä"},
    "numbers": {Decimal(1), Decimal("2.5"), Decimal("-3")},
    "blobs": {Binary(b"\x00"), Binary(b"\xff\x00")},
}


def test_every_type_round_trips(resource, plain):
    table = resource.Table(plain)
    table.put_item(Item=ITEM)
    assert table.get_item(Key={"pk": "types"}, ConsistentRead=True)["Item"] == ITEM
    assert table.delete_item(Key={"pk": "types"}, ReturnValues="ALL_OLD")["Attributes"] == ITEM
    assert "Item" not in table.get_item(Key={"pk": "types"})


def test_numbers_are_values_and_not_their_spelling(client, plain):
    client.put_item(TableName=plain, Item={"pk": {"S": "n"}, "a": {"N": "1e2"}, "b": {"N": "+00.50"}, "c": {"NS": ["3", "1.0"]}})
    item = client.get_item(TableName=plain, Key={"pk": {"S": "n"}})["Item"]
    assert (item["a"], item["b"], sorted(item["c"]["NS"])) == ({"N": "100"}, {"N": "0.5"}, ["1", "3"])
    with pytest.raises(ClientError) as error:
        client.put_item(TableName=plain, Item={"pk": {"S": "n"}, "a": {"N": "1" * 39}})
    assert code(error.value) == "ValidationException"


def test_a_condition_decides_and_shows_what_stood_against_it(client, plain):
    put = {"TableName": plain, "Item": {"pk": {"S": "c"}, "v": {"N": "1"}}, "ConditionExpression": "attribute_not_exists(pk)"}
    client.put_item(**put)
    with pytest.raises(client.exceptions.ConditionalCheckFailedException) as error:
        client.put_item(**put, ReturnValuesOnConditionCheckFailure="ALL_OLD")
    assert message(error.value) == "The conditional request failed"
    assert error.value.response["Item"] == put["Item"]
    client.delete_item(
        TableName=plain,
        Key={"pk": {"S": "c"}},
        ConditionExpression="v BETWEEN :low AND :high AND NOT contains(#name, :x)",
        ExpressionAttributeNames={"#name": "absent"},
        ExpressionAttributeValues={":low": {"N": "1"}, ":high": {"N": "1.0"}, ":x": {"S": "x"}},
    )
    assert "Item" not in client.get_item(TableName=plain, Key={"pk": {"S": "c"}}, ConsistentRead=True)


def test_an_update_changes_what_its_paths_name(resource, plain):
    table = resource.Table(plain)
    table.put_item(Item={"pk": "u", "a": {"list": [1, 2, 3], "gone": 1}, "n": 5, "set": {"x", "y"}})
    reply = table.update_item(
        Key={"pk": "u"},
        UpdateExpression="SET a.#list[1] = n + :one, fresh = if_not_exists(fresh, :start), a.more = list_append(:l, a.#list) REMOVE a.gone ADD n :one DELETE #set :x",
        ExpressionAttributeNames={"#list": "list", "#set": "set"},
        ExpressionAttributeValues={":one": 1, ":start": "s", ":x": {"x"}, ":l": [0]},
        ReturnValues="ALL_NEW",
    )
    expected = {"pk": "u", "a": {"list": [1, 6, 3], "more": [0, 1, 2, 3]}, "n": 6, "set": {"y"}, "fresh": "s"}
    assert reply["Attributes"] == expected
    reply = table.update_item(Key={"pk": "u"}, UpdateExpression="SET n = :n", ExpressionAttributeValues={":n": 7}, ReturnValues="UPDATED_OLD")
    assert reply["Attributes"] == {"n": 6}


def test_eight_clients_that_add_lose_nothing(place, client, plain):
    assert count_together(place, plain, 8, 50) == 400


def test_exceptions_are_those_that_programs_catch(place, client, plain):
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_item(TableName="no-such-table", Key={"pk": {"S": "a"}})
    for key in ({"other": {"S": "a"}}, {"pk": {"N": "1"}}):
        with pytest.raises(ClientError) as error:
            client.get_item(TableName=plain, Key=key)
        assert message(error.value) == "The provided key element does not match the schema"
    for secret, key, expected in [("wrong" * 8, place.key, "InvalidSignatureException"), (place.secret, "AKIANOBODY", "UnrecognizedClientException")]:
        stranger = place.client(aws_access_key_id=key, aws_secret_access_key=secret)
        with pytest.raises(ClientError) as error:
            stranger.list_tables()
        assert code(error.value) == expected


# ---- queries and scans ----


def test_a_query_gives_a_partition_in_the_order_of_its_numbers(ordered):
    reply = ordered.query(KeyConditionExpression=Key("pk").eq("many"))
    assert [int(item["sk"]) for item in reply["Items"]] == list(range(-25, 25))
    reply = ordered.query(KeyConditionExpression=Key("pk").eq("many") & Key("sk").between(-3, 3), ScanIndexForward=False)
    assert [int(item["sk"]) for item in reply["Items"]] == list(range(3, -4, -1))
    reply = ordered.query(KeyConditionExpression=Key("pk").eq("many") & Key("sk").gt(20), FilterExpression=Attr("parity").eq("even"))
    assert reply["Count"] < reply["ScannedCount"] == 4
    assert ordered.query(KeyConditionExpression=Key("pk").eq("none"))["Items"] == []


def test_pages_of_a_query_join_without_gap_or_overlap(client, ordered):
    for forward in (True, False):
        pages = client.get_paginator("query").paginate(
            TableName=ordered.name,
            KeyConditionExpression="pk = :p",
            ExpressionAttributeValues={":p": {"S": "many"}},
            ProjectionExpression="sk",
            ScanIndexForward=forward,
            PaginationConfig={"PageSize": 7},
        )
        found = [int(item["sk"]["N"]) for page in pages for item in page["Items"]]
        assert found == sorted(range(-25, 25), reverse=not forward)


def test_scans_give_every_item_once_in_segments_and_pages(client, ordered):
    for segments in (1, 3):
        found = []
        for segment in range(segments):
            pages = client.get_paginator("scan").paginate(TableName=ordered.name, Segment=segment, TotalSegments=segments, PaginationConfig={"PageSize": 4})
            found += [(item["pk"]["S"], item["sk"]["N"]) for page in pages for item in page["Items"]]
        assert len(found) == len(set(found)) == 52
    assert client.scan(TableName=ordered.name, Select="COUNT")["Count"] == 52


def test_batches_write_and_read_many_items(resource, client, made):
    table = resource.Table(made("batches"))
    with table.batch_writer() as batch:
        for number in range(120):
            batch.put_item(Item={"pk": f"{number:03}", "text": "x" * number})
        for number in range(20):
            batch.delete_item(Key={"pk": f"{number:03}"})
    keys = [{"pk": f"{number:03}"} for number in range(100)]
    reply = resource.batch_get_item(RequestItems={table.name: {"Keys": keys, "ProjectionExpression": "pk"}})
    assert reply["UnprocessedKeys"] == {}
    assert {item["pk"] for item in reply["Responses"][table.name]} == {f"{number:03}" for number in range(20, 100)}


# ---- indexes ----


def test_indexes_follow_their_items(client, made):
    projection = {"ProjectionType": "ALL"}
    name = made(
        "indexed",
        sort="S",
        attributes={"rank": "N"},
        LocalSecondaryIndexes=[{"IndexName": "by-rank", "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "rank", "KeyType": "RANGE"}], "Projection": projection}],
        GlobalSecondaryIndexes=[{"IndexName": "all-by-rank", "KeySchema": [{"AttributeName": "rank", "KeyType": "HASH"}], "Projection": {"ProjectionType": "KEYS_ONLY"}}],
    )

    def put(sk: str, rank: int | None) -> None:
        item = {"pk": {"S": "p"}, "sk": {"S": sk}, "text": {"S": "t"}}
        client.put_item(TableName=name, Item=item | ({"rank": {"N": str(rank)}} if rank is not None else {}))

    def local() -> list[str]:
        reply = client.query(TableName=name, IndexName="by-rank", KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": {"S": "p"}})
        return [item["sk"]["S"] for item in reply["Items"]]

    def everywhere(rank: int) -> set[str]:
        reply = client.query(TableName=name, IndexName="all-by-rank", KeyConditionExpression="#r = :r", ExpressionAttributeNames={"#r": "rank"}, ExpressionAttributeValues={":r": {"N": str(rank)}})
        assert all("text" not in item for item in reply["Items"])
        return {item["sk"]["S"] for item in reply["Items"]}

    for sk, rank in [("a", 3), ("b", 1), ("c", 2), ("d", None)]:
        put(sk, rank)
    assert local() == ["b", "c", "a"]
    put("a", 1)
    put("b", None)
    assert local() == ["a", "c"]
    assert (everywhere(1), everywhere(3)) == ({"a"}, set())
    client.delete_item(TableName=name, Key={"pk": {"S": "p"}, "sk": {"S": "c"}})
    assert local() == ["a"] and everywhere(2) == set()


def test_an_index_that_comes_later_has_what_was_there_before(client, made):
    name = made("later")
    for number in range(30):
        client.put_item(TableName=name, Item={"pk": {"S": str(number)}, "group": {"S": str(number % 3)}})
    create = {"IndexName": "by-group", "KeySchema": [{"AttributeName": "group", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}
    client.update_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "group", "AttributeType": "S"}],
        GlobalSecondaryIndexUpdates=[{"Create": create}],
    )
    deadline = time.monotonic() + 120
    while client.describe_table(TableName=name)["Table"]["GlobalSecondaryIndexes"][0]["IndexStatus"] != "ACTIVE":
        assert time.monotonic() < deadline, "the index does not become active"
        time.sleep(0.2)
    reply = client.query(TableName=name, IndexName="by-group", KeyConditionExpression="#g = :g", ExpressionAttributeNames={"#g": "group"}, ExpressionAttributeValues={":g": {"S": "1"}})
    assert {item["pk"]["S"] for item in reply["Items"]} == {str(number) for number in range(30) if number % 3 == 1}


# ---- transactions ----


def test_a_transaction_is_whole_or_not_at_all(client, made):
    name = made("transactions")
    put = lambda key, **more: {"Put": {"TableName": name, "Item": {"pk": {"S": key}, "v": {"N": "1"}}} | more}  # noqa: E731
    client.transact_write_items(TransactItems=[put(str(number)) for number in range(10)])
    new = {"ConditionExpression": "attribute_not_exists(pk)", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    with pytest.raises(client.exceptions.TransactionCanceledException) as error:
        client.transact_write_items(TransactItems=[put("fresh"), put("5", **new), put("other")])
    reasons = error.value.response["CancellationReasons"]
    assert [reason["Code"] for reason in reasons] == ["None", "ConditionalCheckFailed", "None"]
    assert reasons[1]["Item"]["pk"] == {"S": "5"}
    keys = [{"Get": {"TableName": name, "Key": {"pk": {"S": key}}}} for key in ("fresh", "5", "other")]
    replies = client.transact_get_items(TransactItems=keys)["Responses"]
    assert [reply.get("Item", {}).get("pk") for reply in replies] == [None, {"S": "5"}, None]


def test_a_transaction_that_is_sent_twice_happens_once(client, made):
    name = made("tokens")

    def add(amount: int) -> None:
        update = {"TableName": name, "Key": {"pk": {"S": "a"}}, "UpdateExpression": "ADD n :n", "ExpressionAttributeValues": {":n": {"N": str(amount)}}}
        client.transact_write_items(TransactItems=[{"Update": update}], ClientRequestToken="one-and-the-same")

    add(1)
    add(1)
    assert client.get_item(TableName=name, Key={"pk": {"S": "a"}}, ConsistentRead=True)["Item"]["n"] == {"N": "1"}
    with pytest.raises(client.exceptions.IdempotentParameterMismatchException):
        add(2)


# ---- streams, time to live, PartiQL ----


def test_a_stream_tells_what_happened_to_each_item_in_order(place, client, made):
    name = made("streamed", StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"})
    for number in range(20):
        key = {"pk": {"S": str(number)}}
        client.put_item(TableName=name, Item=key | {"v": {"N": "1"}})
        client.update_item(TableName=name, Key=key, UpdateExpression="SET v = :v", ExpressionAttributeValues={":v": {"N": "2"}})
        client.delete_item(TableName=name, Key=key)
    streams = place.client("dynamodbstreams")
    arn = client.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    assert [stream["StreamArn"] for stream in streams.list_streams(TableName=name)["Streams"]] == [arn]
    events: dict[str, list] = {}
    for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
        while records := (reply := streams.get_records(ShardIterator=iterator, Limit=7))["Records"]:
            for record in records:
                change = record["dynamodb"]
                images = tuple(change.get(image, {}).get("v", {}).get("N") for image in ("OldImage", "NewImage"))
                events.setdefault(change["Keys"]["pk"]["S"], []).append((record["eventName"], images))
            iterator = reply["NextShardIterator"]
    expected = [("INSERT", (None, "1")), ("MODIFY", ("1", "2")), ("REMOVE", ("2", None))]
    assert events == {str(number): expected for number in range(20)}


def test_time_to_live_is_set_and_described(client, made):
    name = made("mortal")
    specification = {"Enabled": True, "AttributeName": "until"}
    assert client.update_time_to_live(TableName=name, TimeToLiveSpecification=specification)["TimeToLiveSpecification"] == specification
    described = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert described["AttributeName"] == "until" and described["TimeToLiveStatus"] in ("ENABLING", "ENABLED")


def test_an_item_whose_time_is_over_goes(client, made):
    if elsewhere():
        pytest.skip("AWS takes days")
    name = made("expiring")
    client.update_time_to_live(TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"})
    now = int(time.time())
    client.put_item(TableName=name, Item={"pk": {"S": "over"}, "until": {"N": str(now - 10)}})
    client.put_item(TableName=name, Item={"pk": {"S": "later"}, "until": {"N": str(now + 3600)}})
    deadline = time.monotonic() + 120
    while "Item" in client.get_item(TableName=name, Key={"pk": {"S": "over"}}, ConsistentRead=True):
        assert time.monotonic() < deadline, "the item does not go"
        time.sleep(0.2)
    assert "Item" in client.get_item(TableName=name, Key={"pk": {"S": "later"}}, ConsistentRead=True)


def test_partiql_statements_write_and_read(client, made):
    name = made("statements")
    client.execute_statement(Statement=f"INSERT INTO \"{name}\" VALUE {{'pk': ?, 'n': 1}}", Parameters=[{"S": "a"}])
    client.execute_statement(Statement=f"UPDATE \"{name}\" SET n = n + ? WHERE pk = 'a'", Parameters=[{"N": "2"}])
    items = client.execute_statement(Statement=f"SELECT n FROM \"{name}\" WHERE pk = ?", Parameters=[{"S": "a"}])["Items"]
    assert items == [{"n": {"N": "3"}}]
    with pytest.raises(client.exceptions.DuplicateItemException):
        client.execute_statement(Statement=f"INSERT INTO \"{name}\" VALUE {{'pk': 'a'}}")
    client.execute_statement(Statement=f"DELETE FROM \"{name}\" WHERE pk = 'a'")
    assert client.scan(TableName=name)["Count"] == 0
