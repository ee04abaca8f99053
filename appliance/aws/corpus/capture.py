"""Records what botocore really sends, byte for byte, into corpus/captured/.

Run it to refresh the captures: python3 -m venv v && v/bin/pip install boto3 && v/bin/python corpus/capture.py
It talks to itself on loopback only. The key is the example key of Amazon's documentation.
"""
import io
import os
import socket
import ssl
import subprocess
import tempfile
import threading
import urllib.parse

import boto3
import botocore
from botocore.client import Config

KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SESSION_KEY = "ASIAIOSFODNN7EXAMPLE"
TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwth"
    "Ax7mSEI/qkPpKPi/kMcGd=="
)
OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "captured")
taken = []


def read_request(reader, connection):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = reader.readline()
        if not line:
            return None
        head += line
    names = {}
    for line in head.split(b"\r\n")[1:]:
        if b":" in line:
            name, value = line.split(b":", 1)
            names[name.strip().lower()] = value.strip()
    if names.get(b"expect"):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = b""
    if names.get(b"transfer-encoding") == b"chunked":
        # The captured body is what HTTP's own framing carries; the head is kept as sent.
        while True:
            size = int(reader.readline(), 16)
            body += reader.read(size)
            reader.readline()
            if size == 0:
                break
    else:
        body = reader.read(int(names.get(b"content-length", b"0")))
    return head + body


def serve(listener, context):
    while True:
        connection, _ = listener.accept()
        try:
            if context:
                connection = context.wrap_socket(connection, server_side=True)
            reader = connection.makefile("rb")
            while (request := read_request(reader, connection)) is not None:
                taken.append(request)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: \"x\"\r\n\r\n")
        except (ssl.SSLError, ConnectionError):
            pass


def start(context):
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(listener, context), daemon=True).start()
    return listener.getsockname()[1]


def keep(name):
    with open(os.path.join(OUT, name + ".http"), "wb") as file:
        file.write(taken[-1])


def client(port, tls, signature="s3v4", key=KEY, token=None, addressing="path"):
    return boto3.client(
        "s3",
        endpoint_url=f"http{'s' if tls else ''}://localhost:{port}",
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=SECRET,
        aws_session_token=token,
        verify=False,
        config=Config(
            signature_version=signature, s3={"addressing_style": addressing}, retries={"max_attempts": 0}
        ),
    )


def call(name, method, **arguments):
    before = len(taken)
    try:
        method(**arguments)
    except Exception:  # an empty reply is no valid answer to most operations; the request is what counts
        pass
    assert len(taken) > before, name
    keep(name)


def presigned(name, url):
    """Records the request that a plain HTTP client makes of a URL."""
    parts = urllib.parse.urlsplit(url)
    taken.append(f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
    keep(name)


def form(name, fields):
    taken.append("".join(f"{key}: {value}\n" for key, value in fields.items()).encode())
    with open(os.path.join(OUT, name + ".form"), "wb") as file:
        file.write(taken[-1])


def main():
    os.makedirs(OUT, exist_ok=True)
    directory = tempfile.mkdtemp()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{directory}/k", "-out",
         f"{directory}/c", "-days", "2", "-subj", "/CN=localhost"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{directory}/c", f"{directory}/k")
    plain, tls = start(None), start(context)
    odd = "a b+c/../x//y/\u00e9\u20ac\U0001f600/%2F!$&'()*,;=:@~[]\u0001/"

    c = client(plain, False)
    call("put_signed_payload", c.put_object, Bucket="b", Key=odd, Body=b"hello", Metadata={"A": "one  two"})
    call("get_odd_key", c.get_object, Bucket="b", Key=odd, Range="bytes=0-9", VersionId="a+b/c=")
    call("list_v2", c.list_objects_v2, Bucket="b", Prefix="a+b c/&=%", Delimiter="/", StartAfter="~\u00e9")
    call("delete_objects", c.delete_objects, Bucket="b", Delete={"Objects": [{"Key": "<&>"}, {"Key": "k"}]})
    call("create_bucket", c.create_bucket, Bucket="bucket", ACL="public-read")
    call("get_acl", c.get_object_acl, Bucket="b", Key="k")
    presigned("presigned_get", c.generate_presigned_url(
        "get_object", Params={"Bucket": "b", "Key": odd, "ResponseContentType": "text/a b+c"}, ExpiresIn=600))
    post = c.generate_presigned_post("b", "k-${filename}", Fields={"acl": "private"}, ExpiresIn=600)
    form("post_v4", post["fields"])

    c = client(tls, True)
    call("put_trailer", c.put_object, Bucket="b", Key="k", Body=b"hello, trailer")
    call("put_trailer_stream", c.put_object, Bucket="b", Key="k", Body=io.BytesIO(b"stream " * 40))
    call("upload_part", c.upload_part, Bucket="b", Key="k", PartNumber=1, UploadId="u+/=", Body=b"part")

    c = client(plain, False, key=SESSION_KEY, token=TOKEN)
    call("session_head", c.head_object, Bucket="b", Key="k")
    presigned("session_presigned", c.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"}))

    c = client(plain, False, signature="s3")
    call("v2_put", c.put_object, Bucket="b", Key=odd, Body=b"hello", Metadata={"a": "1"}, ContentType="text/plain")
    call("v2_list", c.list_objects, Bucket="b", Prefix="a+b", Delimiter="/")
    call("v2_uploads", c.create_multipart_upload, Bucket="b", Key="k")
    call("v2_get_version", c.get_object, Bucket="b", Key="k", VersionId="a+b/c=")
    presigned("v2_presigned", c.generate_presigned_url(
        "get_object", Params={"Bucket": "b", "Key": odd, "ResponseContentType": "text/a b+c"}, ExpiresIn=600))
    post = c.generate_presigned_post("b", "k", ExpiresIn=600)
    form("post_v2", post["fields"])

    c = client(plain, False, signature="s3", key=SESSION_KEY, token=TOKEN)
    call("v2_session_head", c.head_object, Bucket="b", Key="k")
    presigned("v2_session_presigned", c.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"}))
    print(botocore.__version__, len(os.listdir(OUT)), "files")


main()
