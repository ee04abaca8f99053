"""boto3 with nothing set but endpoint, region and keys."""

import io
import re
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from zctest.content import MULTIPART_BYTES, ODD_NAMES, SIZES, content


def client(server, key=None, secret=None, config=None):
    """A client with the appliance's own credentials but for what is given."""
    own_key, own_secret = server.credentials()
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id=key or own_key,
        aws_secret_access_key=secret or own_secret,
        config=config,
    )


@pytest.fixture(scope="module")
def s3(server):
    return client(server)


@pytest.fixture(scope="module")
def bucket(s3):
    s3.create_bucket(Bucket="boto3-bucket")
    return "boto3-bucket"


def code(error) -> str:
    return error.value.response["Error"]["Code"]


@pytest.mark.parametrize("size", SIZES)
def test_a_body_of_each_size_round_trips(s3, bucket, size):
    data = content(size)
    put = s3.put_object(Bucket=bucket, Key=f"size-{size}", Body=data, Metadata={"size": str(size)})
    got = s3.get_object(Bucket=bucket, Key=f"size-{size}")
    assert got["Body"].read() == data
    assert got["ETag"] == put["ETag"]
    assert got["Metadata"] == {"size": str(size)}
    head = s3.head_object(Bucket=bucket, Key=f"size-{size}")
    assert head["ContentLength"] == size


def test_odd_names_round_trip_and_are_listed(s3, bucket):
    for number, name in enumerate(ODD_NAMES):
        s3.put_object(Bucket=bucket, Key="odd/" + name if len(name) < 1024 else name, Body=content(100, number))
    listed = set()
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 5}):
        listed |= {entry["Key"] for entry in page.get("Contents", [])}
    for number, name in enumerate(ODD_NAMES):
        key = "odd/" + name if len(name) < 1024 else name
        assert key in listed
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == content(100, number)
        s3.delete_object(Bucket=bucket, Key=key)
        with pytest.raises(ClientError) as error:
            s3.get_object(Bucket=bucket, Key=key)
        assert code(error) == "NoSuchKey"


def test_a_multipart_upload_round_trips(s3, bucket):
    data = content(MULTIPART_BYTES)
    s3.upload_fileobj(io.BytesIO(data), bucket, "multipart")
    head = s3.head_object(Bucket=bucket, Key="multipart")
    assert head["ETag"].endswith('-3"')
    sink = io.BytesIO()
    s3.download_fileobj(bucket, "multipart", sink)
    assert sink.getvalue() == data
    part = s3.get_object(Bucket=bucket, Key="multipart", Range="bytes=8388600-8388620")
    assert part["Body"].read() == data[8388600:8388621]
    assert part["ResponseMetadata"]["HTTPStatusCode"] == 206


def test_conditions_are_enforced_on_put_get_and_delete(s3, bucket):
    first = s3.put_object(Bucket=bucket, Key="condition", Body=b"one", IfNoneMatch="*")
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="condition", Body=b"two", IfNoneMatch="*")
    assert code(error) == "PreconditionFailed"
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="condition", IfNoneMatch=first["ETag"])
    assert code(error) == "304"
    with pytest.raises(ClientError) as error:
        s3.delete_object(Bucket=bucket, Key="condition", IfMatch='"0123456789abcdef0123456789abcdef"')
    assert code(error) == "PreconditionFailed"
    s3.put_object(Bucket=bucket, Key="condition", Body=b"two", IfMatch=first["ETag"])
    assert s3.get_object(Bucket=bucket, Key="condition")["Body"].read() == b"two"


def test_copy_keeps_or_replaces_metadata(s3, bucket):
    s3.put_object(Bucket=bucket, Key="copy-source", Body=b"text", Metadata={"a": "1"}, ContentType="text/plain")
    s3.copy_object(Bucket=bucket, Key="copy-kept", CopySource={"Bucket": bucket, "Key": "copy-source"})
    kept = s3.head_object(Bucket=bucket, Key="copy-kept")
    assert (kept["Metadata"], kept["ContentType"]) == ({"a": "1"}, "text/plain")
    s3.copy_object(
        Bucket=bucket,
        Key="copy-replaced",
        CopySource={"Bucket": bucket, "Key": "copy-source"},
        MetadataDirective="REPLACE",
        Metadata={"b": "2"},
    )
    assert s3.head_object(Bucket=bucket, Key="copy-replaced")["Metadata"] == {"b": "2"}


def test_versions_are_kept_listed_and_deleted(s3):
    s3.create_bucket(Bucket="boto3-versions")
    s3.put_bucket_versioning(Bucket="boto3-versions", VersioningConfiguration={"Status": "Enabled"})
    versions = [s3.put_object(Bucket="boto3-versions", Key="k", Body=b"%d" % n)["VersionId"] for n in range(3)]
    marker = s3.delete_object(Bucket="boto3-versions", Key="k")
    assert marker["DeleteMarker"] is True
    listed = s3.list_object_versions(Bucket="boto3-versions")
    assert [entry["VersionId"] for entry in listed["Versions"]] == versions[::-1]
    assert listed["DeleteMarkers"][0]["VersionId"] == marker["VersionId"]
    assert s3.get_object(Bucket="boto3-versions", Key="k", VersionId=versions[0])["Body"].read() == b"0"
    s3.delete_object(Bucket="boto3-versions", Key="k", VersionId=marker["VersionId"])
    assert s3.get_object(Bucket="boto3-versions", Key="k")["Body"].read() == b"2"
    with pytest.raises(ClientError) as error:
        s3.delete_bucket(Bucket="boto3-versions")
    assert code(error) == "BucketNotEmpty"
    for version in versions:
        s3.delete_object(Bucket="boto3-versions", Key="k", VersionId=version)
    s3.delete_bucket(Bucket="boto3-versions")


def test_delimiter_listing_groups_prefixes(s3):
    s3.create_bucket(Bucket="boto3-listing")
    for key in ["a/1", "a/2", "b", "c/1", "d"]:
        s3.put_object(Bucket="boto3-listing", Key=key, Body=b"")
    page = s3.list_objects_v2(Bucket="boto3-listing", Delimiter="/")
    assert [entry["Key"] for entry in page["Contents"]] == ["b", "d"]
    assert [entry["Prefix"] for entry in page["CommonPrefixes"]] == ["a/", "c/"]
    result = s3.delete_objects(
        Bucket="boto3-listing", Delete={"Objects": [{"Key": key} for key in ["a/1", "a/2", "b", "c/1", "d"]]}
    )
    assert len(result["Deleted"]) == 5
    s3.delete_bucket(Bucket="boto3-listing")


def fetch(url: str, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None):
    """Status, body and, for an error, its code."""
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    # urllib would add a Content-Type of its own, which version 2 signs.
    request.add_unredirected_header("Content-Type", "")
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, reply.read(), None
    except urllib.error.HTTPError as error:
        body = error.read()
        found = re.search(rb"<Code>(\w+)</Code>", body)
        return error.code, body, found[1].decode() if found else None


def test_presigned_urls_of_version_4_work_until_they_are_tampered_with(server, bucket):
    s3 = client(server, config=Config(signature_version="s3v4"))
    s3.put_object(Bucket=bucket, Key="presigned", Body=b"shared")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "presigned"}, ExpiresIn=600)
    assert fetch(url)[:2] == (200, b"shared")
    assert fetch(url.replace("X-Amz-Expires=600", "X-Amz-Expires=601"))[::2] == (403, "SignatureDoesNotMatch")


def test_a_default_client_presigns_a_put_and_a_get(s3, bucket):
    """In us-east-1 boto3 still presigns with version 2 unless told otherwise."""
    parameters = {"Bucket": bucket, "Key": "shared/by default+name"}
    put = s3.generate_presigned_url("put_object", Params=parameters, ExpiresIn=600)
    assert "AWSAccessKeyId=" in put and "X-Amz-Signature" not in put
    assert fetch(put, "PUT", b"shared")[0] == 200
    get = s3.generate_presigned_url("get_object", Params=parameters, ExpiresIn=600)
    assert fetch(get)[:2] == (200, b"shared")
    named = parameters | {"ResponseContentType": "text/x-shared"}
    with urllib.request.urlopen(s3.generate_presigned_url("get_object", Params=named, ExpiresIn=600)) as reply:
        assert (reply.headers["Content-Type"], reply.read()) == ("text/x-shared", b"shared")
    # A URL is for its method, its key and its parameters.
    assert fetch(get, "PUT", b"changed")[::2] == (403, "SignatureDoesNotMatch")
    assert fetch(get.replace("/shared/", "/changed/"))[::2] == (403, "SignatureDoesNotMatch")
    assert fetch(get + "&versionId=null")[::2] == (403, "SignatureDoesNotMatch")
    end = re.search(r"Expires=(\d+)", get)[1]
    assert fetch(get.replace(end, str(int(end) + 1)))[::2] == (403, "SignatureDoesNotMatch")
    signature = re.search(r"Signature=([^&]+)", get)[1]
    assert fetch(get.replace(signature, "AAAAAAAAAAAAAAAAAAAAAAAAAAA%3D"))[::2] == (403, "SignatureDoesNotMatch")
    assert fetch(get.replace("AWSAccessKeyId=", "AWSAccessKeyId=X"))[::2] == (403, "InvalidAccessKeyId")
    status, body, code = fetch(get.replace(end, "1000000000"))
    assert (status, code) == (403, "AccessDenied")
    assert b"<Message>Request has expired</Message><Expires>2001-09-09T01:46:40Z</Expires><ServerTime>" in body
    assert fetch(s3.generate_presigned_url("get_object", Params=parameters, ExpiresIn=-1))[::2] == (403, "AccessDenied")
    assert fetch(get)[:2] == (200, b"shared")


def test_version_2_is_refused_in_headers_and_forms(server, bucket):
    old = client(server, config=Config(signature_version="s3"))
    with pytest.raises(ClientError) as error:
        old.list_objects(Bucket=bucket)
    assert code(error) == "InvalidRequest"


def test_errors_have_the_codes_of_aws(s3, bucket, server):
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket="no-such-bucket-here", Key="k")
    assert code(error) == "NoSuchBucket"
    wrong = client(server, key="AKIDWRONG", secret="x")
    with pytest.raises(ClientError) as error:
        wrong.list_buckets()
    assert code(error) == "InvalidAccessKeyId"
    wrong = client(server, secret="x")
    with pytest.raises(ClientError) as error:
        wrong.list_buckets()
    assert code(error) == "SignatureDoesNotMatch"
