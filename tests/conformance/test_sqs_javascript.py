"""sqs-consumer over the AWS SDK for JavaScript, version 3, unmodified."""

from zctest.files import run, tool
from zctest.server import ROOT

PROGRAMS = ROOT / "tests" / "clients" / "js"


def test_sqs_consumer_consumes_as_it_does_on_aws(server):
    assert "messages are consumed as they should be" in run([tool("node"), str(PROGRAMS / "consumer.mjs")], server.environment())
