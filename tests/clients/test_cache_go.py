"""Go 1.27.3, unmodified, with `zerocloud gocacheprog`."""

import http.server
import threading

import pytest

from zctest.cache import READ_TOKEN, WRITE_TOKEN, WRONG_TOKEN, CacheServer, Dead, flip_on_disk
from zctest.cache_execution import NAMES, Actions, Go, compiled, tool_worker
from zctest.cache_tasks import Farm
from zctest.tls import Certificates

OURS = [f"example.com/noise/{name}" for name in NAMES] + ["main"]


@pytest.fixture(scope="module")
def cache(settings):
    with CacheServer(**settings) as running:
        yield running


def farm_of(server: CacheServer, root, name: str) -> Farm:
    """A seed for each test, so that no two store the same noise."""
    farm = Farm(root, server, seed=70_000 + sum(map(ord, name)), project=Go.project, client=Go)
    farm.worker = tool_worker(root / "tools")
    return farm


@pytest.fixture()
def farm(cache, tmp_path, request) -> Farm:
    return farm_of(cache, tmp_path, request.node.name)


def build(farm: Farm, url: str | None = None, machine: Go | None = None, **settings) -> tuple[list[str], dict[str, int], str]:
    """A build on a clean machine: what was compiled, the adapter's counters, and what was said. The program is always right."""
    actions: Actions = farm.tasks()
    client = machine or farm.machine(url or farm.server.url, **settings)
    said = client.build(actions, farm.worker)
    return compiled(farm.ran()), client.counts(said), said


def is_whole(ran: list[str]) -> bool:
    """Whether everything was compiled, the standard library too."""
    return set(OURS) < set(ran) and "runtime" in ran


def test_a_clean_machine_compiles_nothing(farm):
    ran, counts, said = build(farm)
    assert is_whole(ran) and counts["remote"] == 0 and counts["uploads"] >= len(ran) and counts["left_out"] == 0, said
    ran, warm, said = build(farm)
    # One thing has the place of the project in its key: go's index of the module.
    assert ran == [] and warm["remote"] > len(OURS) and warm["uploads"] <= 1 and warm["left_out"] == 0, said


def test_the_directory_of_the_machine_comes_first(farm):
    build(farm)
    with Dead() as dead:
        # The same machine: none was made since.
        ran, counts, said = build(farm, machine=farm.machine(dead.url))
    assert ran == [] and counts["local"] > len(OURS) and counts["remote"] == 0, said


def test_a_wrong_token_is_one_line(farm):
    ran, counts, said = build(farm, token=WRONG_TOKEN)
    assert is_whole(ran) and counts["left_out"] >= len(ran), said
    assert said.count("the appliance refuses the token (401 Unauthorized)") == 1, said
    # Nothing of it was stored.
    ran, counts, said = build(farm)
    assert set(OURS) <= set(ran), said


def test_a_read_only_token_reads_and_stores_nothing(farm):
    ran, counts, said = build(farm, token=READ_TOKEN)
    assert set(OURS) <= set(ran) and counts["uploads"] == 0 and counts["left_out"] >= len(OURS), said
    ran, _, said = build(farm)
    assert set(OURS) <= set(ran), said
    ran, counts, said = build(farm, token=READ_TOKEN)
    assert ran == [] and counts["uploads"] == 0 and counts["left_out"] <= 1, said


def test_a_flipped_byte_never_reaches_the_client(farm):
    build(farm)
    assert flip_on_disk(farm.server, farm.tasks().noise(1)) >= 1
    ran, counts, said = build(farm)
    assert ran == [OURS[1]] and counts["uploads"] >= 1, said
    ran, _, said = build(farm)
    assert ran == [], said


def test_a_blob_that_is_gone_makes_its_action_a_miss(farm):
    build(farm)
    # The machine of this build, and what it compiled of the package with the noise.
    machine = farm.machine(farm.server.url)
    needle = farm.tasks().noise(2)
    held = [path for path in (machine.home / "outputs" / "o").rglob("*") if path.is_file() and needle in path.read_bytes()]
    assert held and flip_on_disk(farm.server, needle) >= 1
    for path in held:
        # Whoever reads it first has it put aside.
        assert farm.server.ask("GET", f"/api/v1/objects/{path.name}")[0] == 404
    ran, _, said = build(farm)
    assert ran == [OURS[2]], said
    assert build(farm)[0] == []


def test_a_server_that_dies_in_mid_build_breaks_nothing(settings, tmp_path):
    with CacheServer(**settings) as mortal:
        farm = farm_of(mortal, tmp_path, "mortal")
        # Calls before it ask the tools for their versions, and compile what everything needs.
        farm.worker.kill_at(12, mortal)
        ran, counts, said = build(farm)
        assert is_whole(ran) and counts["left_out"] > 0, said
        mortal.kill()
        mortal.start()
        build(farm)
        ran, counts, said = build(farm)
        assert ran == [] and counts["remote"] > len(OURS), said


def test_a_dead_server_is_asked_three_times_at_most(farm):
    with Dead() as dead:
        ran, counts, said = build(farm, url=dead.url)
    assert is_whole(ran) and (counts["remote"], counts["uploads"]) == (0, 0), said


class Silent:
    """Takes requests and never answers, so that only its clients' limits end them."""

    def __init__(self):
        self.asked: list[str] = []
        self.over = threading.Event()
        silent = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def wait(self) -> None:
                silent.asked.append(self.path)
                silent.over.wait()

            do_GET = do_PUT = wait

            def log_message(self, *_: object) -> None:
                pass

        self.listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.listener.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.listener.server_port}"
        threading.Thread(target=self.listener.serve_forever, daemon=True).start()

    def __enter__(self) -> "Silent":
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.listener.shutdown()
        self.listener.server_close()


def test_a_silent_server_costs_a_build_one_wait(farm):
    with Silent() as silent:
        ran, counts, said = build(farm, url=silent.url)
        # What go asks for at once waits at once; then nobody is asked for half a minute, and a build that takes longer
        # probes beside itself, once each time.
        waits = [path for path in silent.asked if "/actions/" in path]
    assert is_whole(ran) and counts["remote"] == 0 and counts["uploads"] == 0, said
    assert 1 <= len(waits) < counts["misses"] / 3, said


def test_a_probe_like_any_other_server_may_answer_nonsense(farm):
    class Nonsense(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"outputs":[{"path":"output","hash":"' + b"0" * 64 + b'","size":3}],"metadata":{"go.output_id":"00","go.time":"2026-01-01T00:00:00Z"}}'
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nonsense)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    try:
        ran, counts, said = build(farm, url=f"http://127.0.0.1:{listener.server_port}")
    finally:
        listener.shutdown()
        listener.server_close()
    assert is_whole(ran) and counts["remote"] == 0, said


def test_over_tls_with_an_authority_that_the_machine_trusts(tmp_path):
    certificates = Certificates(tmp_path / "certificates")
    with CacheServer(arguments=certificates.arguments(), host="localhost") as server:
        farm = farm_of(server, tmp_path, "tls")
        trusting = {"SSL_CERT_FILE": str(certificates.authority)}
        ran, counts, said = build(farm, environment=trusting)
        assert is_whole(ran) and counts["uploads"] >= len(ran), said
        ran, counts, said = build(farm, environment=trusting)
        assert ran == [] and counts["remote"] > len(OURS), said
        # Another machine does not trust it, and builds by itself.
        ran, counts, said = build(farm, environment={"SSL_CERT_FILE": "/dev/null"})
        assert is_whole(ran) and counts["remote"] == 0, said


def test_a_token_never_travels_unencrypted(farm):
    ran, counts, said = build(farm, url="http://cache.invalid:8080", token=WRITE_TOKEN)
    assert is_whole(ran) and "the token would travel unencrypted" in said, said
