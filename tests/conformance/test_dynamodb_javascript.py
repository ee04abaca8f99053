"""The document client of the AWS SDK for JavaScript, version 3, unmodified."""

from zctest.files import run, tool
from zctest.server import ROOT

PROGRAMS = ROOT / "tests" / "clients" / "js"


def test_the_document_client_does_what_it_does_on_aws(server):
    assert "tables are as they should be" in run([tool("node"), str(PROGRAMS / "tables.mjs")], server.environment())
