"""Clients of queues and topics in the long tier, each in its users' way and unmodified."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zctest.files import run, tool
from zctest.server import ROOT

HERE = Path(__file__).resolve().parent
SECONDS_MAX = 120


def test_the_javascript_sdk_sqs_producer_and_sns_validator_do_what_they_do_on_aws(server):
    assert "queues and topics are as they should be" in run([tool("node"), str(HERE / "js" / "queues.mjs")], server.environment())


def test_the_rust_sdk_does_what_it_does_on_aws(server):
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "client-tests"
    build = ["cargo", "build", "--locked", "-q", "--manifest-path", str(HERE / "rust" / "Cargo.toml"), "--target-dir", str(target)]
    run(build, dict(os.environ))
    said = run([str(target / "debug" / "zerocloud-client-queues")], server.environment())
    assert "queues and topics are as they should be" in said


def test_the_aws_cli_works_queues_and_topics(server, tmp_path):
    environment = server.environment() | {"AWS_DEFAULT_OUTPUT": "json", "AWS_PAGER": ""}

    def aws(*words: str):
        # For queues it takes Amazon's own host over what the environment says.
        said = run([tool("aws"), "--endpoint-url", server.url, *words], environment)
        return json.loads(said) if said.strip() else None

    def sqs(operation: str, *words: str):
        return aws("sqs", operation, "--queue-url", url, *words)

    url = aws("sqs", "create-queue", "--queue-name", "cli", "--attributes", "VisibilityTimeout=300", "--tags", "a=b")["QueueUrl"]
    assert aws("sqs", "get-queue-url", "--queue-name", "cli")["QueueUrl"] == url
    assert sqs("list-queue-tags")["Tags"] == {"a": "b"}
    skeleton = tmp_path / "send.json"
    skeleton.write_text(json.dumps({"QueueUrl": url, "MessageBody": "Grüße", "MessageAttributes": {"n": {"DataType": "Number", "StringValue": "7"}}}))
    sent = aws("sqs", "send-message", "--cli-input-json", skeleton.as_uri())
    [message] = sqs("receive-message", "--message-attribute-names", "All", "--attribute-names", "All", "--wait-time-seconds", "5")["Messages"]
    assert (message["MessageId"], message["Body"]) == (sent["MessageId"], "Grüße")
    assert message["MessageAttributes"]["n"]["StringValue"] == "7" and message["Attributes"]["ApproximateReceiveCount"] == "1"
    sqs("change-message-visibility", "--receipt-handle", message["ReceiptHandle"], "--visibility-timeout", "60")
    sqs("delete-message", "--receipt-handle", message["ReceiptHandle"])
    assert sqs("receive-message") is None
    entries = [{"Id": str(number), "MessageBody": f"body {number}"} for number in range(3)]
    assert len(sqs("send-message-batch", "--entries", json.dumps(entries))["Successful"]) == 3
    arn = sqs("get-queue-attributes", "--attribute-names", "QueueArn")["Attributes"]["QueueArn"]
    sqs("purge-queue")
    for number in range(5):
        aws("sqs", "create-queue", "--queue-name", f"cli-page-{number}")
    listed = aws("sqs", "list-queues", "--queue-name-prefix", "cli-page-", "--page-size", "2")
    assert len(listed["QueueUrls"]) == 5
    topic = aws("sns", "create-topic", "--name", "cli")["TopicArn"]
    statement = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs("set-queue-attributes", "--attributes", json.dumps({"Policy": policy}))
    aws("sns", "subscribe", "--topic-arn", topic, "--protocol", "sqs", "--notification-endpoint", arn, "--attributes", "RawMessageDelivery=true")
    aws("sns", "publish", "--topic-arn", topic, "--message", "through the topic")
    assert sqs("receive-message", "--wait-time-seconds", "20")["Messages"][0]["Body"] == "through the topic"
    done = subprocess.run([tool("aws"), "--endpoint-url", server.url, "sqs", "get-queue-url", "--queue-name", "absent"], env=environment, capture_output=True, text=True)
    assert done.returncode != 0 and "(AWS.SimpleQueueService.NonExistentQueue)" in done.stderr
    sqs("delete-queue")


@pytest.fixture()
def worker(server, tmp_path):
    """A Celery worker of its own process, which ends with the test."""
    environment = server.environment() | {"ZEROCLOUD_RESULTS": str(tmp_path), "PYTHONPATH": str(HERE)}
    log = (tmp_path / "worker.log").open("w")
    command = [sys.executable, "-m", "celery", "-A", "celery_tasks", "worker", "--pool=solo", "--loglevel=INFO", "-n", "tests@localhost"]
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT)
    yield environment, tmp_path
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def test_celery_runs_its_tasks_once_each_and_failed_ones_again(worker):
    environment, results = worker
    run([sys.executable, "-c", "import celery_tasks; celery_tasks.order()"], environment, cwd=results)
    wanted = {f"add-{number}": str(number + 1) for number in range(20)} | {"flaky": "2", "later": "late"}
    deadline = time.monotonic() + SECONDS_MAX
    while (found := {path.stem: path.read_text() for path in results.glob("*.result")}) != wanted:
        assert time.monotonic() < deadline, (found, (results / "worker.log").read_text()[-3_000:])
        time.sleep(0.1)
    runs = [line for line in (results / "worker.log").read_text().splitlines() if " succeeded in " in line and "celery_tasks.add" in line]
    assert len(runs) == 20, runs
