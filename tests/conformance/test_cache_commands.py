"""The commands of the build cache as operators and their scripts run them: what is on stdout, what is an exit code, and what
the tokens that they make open."""

import hashlib
import json
import re
import subprocess
import time

import pytest

from zctest.cache import CacheServer
from zctest.server import binary, plain_environment

USAGE, HELD, CONFIGURATION = 64, 75, 78


@pytest.fixture(scope="module")
def server(settings):
    with CacheServer(**settings) as running:
        yield running


class Commands:
    """`zerocloud` beside a running appliance."""

    def __init__(self, server: CacheServer, settings: dict):
        self.server = server
        self.trust = ["--ca", settings["environment"]["AWS_CA_BUNDLE"]] if settings["environment"] else []

    def run(self, *words: str, data: bool = True, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess:
        place = ["--data", str(self.server.data / "data")] if data else []
        command = [str(binary()), *words, *place, *self.trust]
        clean = {k: v for k, v in plain_environment().items() if not k.startswith("ZEROCLOUD_")}
        return subprocess.run(command, capture_output=True, text=True, timeout=300, env=clean | (environment or {}))

    def out(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *words: str) -> dict:
        return json.loads(self.out(*words, "--json"))


@pytest.fixture()
def commands(server, settings) -> Commands:
    return Commands(server, settings)


def path_of(data: bytes) -> str:
    return "/api/v1/objects/" + hashlib.sha256(data).hexdigest()


def status(server: CacheServer, method: str, token: str, data: bytes) -> int:
    return server.ask(method, path_of(data), token=token, body=data if method == "PUT" else b"")[0]


def test_a_script_takes_the_token_from_stdout_and_uses_it_until_it_is_revoked(server, commands):
    made = commands.run("token", "create", "--scope", "cache:write", "--name", "script")
    token = made.stdout.strip()
    assert made.stdout == token + "\n" and token.startswith("zct_") and len(token) == 56
    assert "script" in made.stderr and "cache:write" in made.stderr and token not in made.stderr
    assert status(server, "PUT", token, b"from a script") == 201
    assert status(server, "GET", token, b"from a script") == 200
    assert commands.out("token", "revoke", "script") == f"revoked {token[4:12]}\n"
    assert status(server, "GET", token, b"from a script") == 401
    assert not any(token[13:] in line for line in server.log)


def test_each_scope_opens_what_it_names_and_no_more(server, commands):
    tokens = {
        scope: commands.out("token", "create", "--scope", f"cache:{scope}", "--name", f"of-{scope}").strip()
        for scope in ("read", "write", "admin")
    }
    assert status(server, "PUT", tokens["write"], b"scoped") == 201
    assert [status(server, "GET", token, b"scoped") for token in tokens.values()] == [200, 200, 200]
    assert [status(server, "PUT", token, b"again") for token in tokens.values()] == [403, 201, 200]


def test_a_list_shows_rights_and_never_a_secret(server, commands):
    words = ["token", "create", "--scope", "cache:read", "--name", "listed", "--namespace", "web", "--namespace", "app"]
    made = commands.json(*words, "--expires", "2040-01-31")
    listed = commands.json("token", "list")["tokens"]
    one = next(token for token in listed if token["id"] == made["id"])
    assert one["namespaces"] == ["web", "app"] and one["scopes"] == ["cache:read"]
    assert one["expires"] == "2040-01-31T00:00:00.000Z" and one["last_used"] is None
    assert "token" not in one and made["token"][13:] not in json.dumps(listed)
    table = commands.out("token", "list")
    row = next(line.split() for line in table.splitlines() if "listed" in line)
    assert row[:4] == [made["id"], "listed", "cache:read", "web,app"] and row[5:] == ["2040-01-31", "never"]
    assert server.ask("GET", path_of(b"x") + "?ns=app", token=made["token"])[0] == 404
    assert server.ask("GET", path_of(b"x") + "?ns=other", token=made["token"])[0] == 403


def test_a_rotation_keeps_the_former_secret_for_as_long_as_it_says(server, commands):
    first = commands.out("token", "create", "--scope", "cache:write", "--name", "rotated").strip()
    assert status(server, "PUT", first, b"rotating") == 201
    second = commands.json("token", "rotate", "rotated", "--overlap", "1h")
    assert second["former_secret_until"] and second["id"] == first[4:12]
    assert [status(server, "GET", token, b"rotating") for token in (first, second["token"])] == [200, 200]
    third = commands.out("token", "rotate", first[4:12], "--overlap", "0").strip()
    assert [status(server, "GET", token, b"rotating") for token in (first, second["token"], third)] == [401, 401, 200]


def test_what_is_wrong_is_said_by_an_exit_code_and_one_line(server, commands, tmp_path):
    for words in (
        ["token", "create", "--scope", "cache:read", "--name", ""],
        ["token", "create", "--scope", "cache:read", "--name", "past", "--expires", "2020-01-01"],
        ["token", "revoke", "nobody"],
        ["token", "rotate", "nobody"],
    ):
        done = commands.run(*words)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (USAGE, "", 1), (words, done.stderr)
    for name in ("twin", "twin"):
        commands.out("token", "create", "--scope", "cache:read", "--name", name)
    done = commands.run("token", "revoke", "twin")
    assert done.returncode == USAGE and "several tokens" in done.stderr
    done = commands.run("token", "list", "--data", str(tmp_path), data=False)
    assert done.returncode == HELD and "no node is running here" in done.stderr
    forged = {"ZEROCLOUD_ROOT_ACCESS_KEY": server.credentials()[0], "ZEROCLOUD_ROOT_SECRET_KEY": "somebody-elses-secret"}
    done = commands.run("token", "list", environment=forged)
    assert done.returncode == CONFIGURATION and "somebody" not in done.stderr


def test_the_environment_of_zerocloud_env_is_enough(server, commands, tmp_path):
    done = commands.run("token", "list", "--json", "--endpoint", server.url, "--data", str(tmp_path), data=False, environment=server.environment())
    assert done.returncode == 0, done.stderr
    assert "tokens" in json.loads(done.stdout)


def admin(server: CacheServer, commands: Commands, name: str) -> str:
    return commands.out("token", "create", "--scope", "cache:admin", "--name", name).strip()


def test_stats_are_said_in_the_words_that_scripts_know(server, settings):
    with CacheServer(**(settings | {"config": "[cache]\nmax_bytes = \"500MB\"\n"})) as fresh:
        commands = Commands(fresh, settings)
        assert commands.out("cache", "stats", "--metric", "hit-rate") == "no cache lookups (last 7 days)\n"
        assert commands.out("cache", "stats", "--metric", "storage") == "0B / 500MB used\n"
        token = admin(fresh, commands, "all")
        mount = "/api/v1/cache/default/ccache/aa/bbccdd"
        assert fresh.ask("GET", mount, token=token)[0] == 404
        assert fresh.ask("PUT", mount, token=token, body=b"result" * 100)[0] in (200, 201)
        for _ in range(6):
            assert fresh.ask("GET", mount, token=token)[0] == 200
        assert commands.out("cache", "stats", "--metric", "hit-rate", "--window", "1h") == "86% cache hits (last hour)\n"
        assert commands.out("cache", "stats").splitlines()[0] == "86% cache hits (last 7 days)"
        shown = commands.json("cache", "stats", "--window", "24h")
        assert (shown["hits"], shown["misses"], shown["max_bytes"]) == (6, 1, 500_000_000)
        assert 600 <= shown["stored_bytes"] < 100_000
        kilobytes = commands.out("cache", "stats", "--metric", "storage")
        assert kilobytes.endswith("KB / 500MB used\n") and kilobytes[0].isdigit()
        assert commands.out("cache", "stats", "--metric", "top") == "1. ccache/aa/bbccdd (6 downloads)\n"
        other = commands.json("cache", "stats", "--namespace", "other")
        assert (other["hits"], other["misses"], other["top_packages"]) == (0, 0, [])
        metrics = fresh.ask("GET", "/-/metrics", token=None)[2].decode()
        assert 'zim_cache_hits_total{status="hit"} 6\n' in metrics and 'zim_cache_hits_total{status="miss"} 1\n' in metrics
        assert f"zim_cache_size_bytes {shown['stored_bytes']}\n" in metrics
        first_byte = re.search(r"^zerocloud_cache_first_byte_seconds_count (\d+)$", metrics, re.MULTILINE)
        assert int(first_byte[1]) >= 7
        assert 'zerocloud_cache_requests_total{dialect="ccache",op="get",code="2xx"} 6\n' in metrics


def test_an_object_is_blocked_listed_and_let_in_again(server, commands):
    token = admin(server, commands, "blocks")
    blob = b"poisoned" * 1_000
    hash = hashlib.sha256(blob).hexdigest()
    assert status(server, "PUT", token, blob) == 201
    assert commands.out("cache", "block", hash, "--reason", "bad build") == f"{hash} is blocked\n"
    assert [status(server, method, token, blob) for method in ("GET", "PUT")] == [404, 409]
    (line,) = commands.out("cache", "blocked").splitlines()
    assert line.startswith(hash) and line.endswith("bad build")
    assert commands.json("cache", "blocked")["blocked"][0]["hash"] == hash
    assert commands.out("cache", "unblock", hash) == f"{hash} is blocked no longer\n"
    assert commands.out("cache", "blocked") == ""
    assert status(server, "PUT", token, blob) == 201
    for words in (["cache", "unblock", hash], ["cache", "block", "nothing"]):
        done = commands.run(*words)
        assert (done.stdout, len(done.stderr.splitlines())) == ("", 1) and done.returncode != 0, (words, done.stderr)


def test_a_collection_says_what_it_would_free_and_then_frees_it(settings):
    # Leases of a second: what was just stored may go soon.
    with CacheServer(**(settings | {"config": "[cache]\nlease_seconds = 1\n"})) as fresh:
        commands = Commands(fresh, settings)
        token = admin(fresh, commands, "all")
        blobs = [bytes([number]) * 5_000 for number in range(8)]
        for blob in blobs:
            assert fresh.ask("PUT", path_of(blob), token=token, body=blob)[0] == 201
        stored = commands.json("cache", "stats")["stored_bytes"]
        assert stored >= 40_000
        job = commands.out("cache", "gc", "--dry-run", "--target-bytes", "2MB", "--no-wait").strip()
        assert job.isdigit()
        deadline = time.monotonic() + 240
        while not json.loads(fresh.ask("GET", f"/api/v1/gc/{job}", token=token)[2])["done"]:
            second = commands.run("cache", "gc")
            if second.returncode == HELD:
                assert f"The collection {job} is under way." in second.stderr
            else:
                assert second.returncode == 0, second.stderr
            assert time.monotonic() < deadline, job
        # How long a lease lasts is the appliance's to say, so this asks until nothing is promised any more.
        deadline = time.monotonic() + 240
        while True:
            freed = commands.json("cache", "gc", "--older-than-days", "1")
            assert freed["done"] and freed["freed_objects"] == 0, "nothing is a day old"
            done = fresh.ask("POST", "/api/v1/gc?wait=1", token=token, body=json.dumps({"target_bytes": 0, "dry_run": True}).encode())
            if done[0] == 200 and json.loads(done[2])["freed_objects"] == len(blobs):
                break
            assert time.monotonic() < deadline, done
            time.sleep(0.2)
        assert commands.json("cache", "stats")["stored_bytes"] == stored, "a dry run frees nothing"
        said = commands.run("cache", "gc", "--target-bytes", "0")
        assert said.returncode == USAGE, "less than a megabyte is a slip of the hand"
        done = fresh.ask("POST", "/api/v1/gc?wait=1", token=token, body=json.dumps({"target_bytes": 0}).encode())
        assert done[0] == 200 and json.loads(done[2])["freed_objects"] == len(blobs)
        assert commands.out("cache", "stats", "--metric", "storage").startswith("0B / ")
        assert all(fresh.ask("GET", path_of(blob), token=token)[0] == 404 for blob in blobs)
        assert commands.out("cache", "gc", "--older-than-days", "1").startswith("freed 0 objects, 0B; ")
