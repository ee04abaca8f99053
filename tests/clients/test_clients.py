"""Clients of the long tier, each in its users' way and unmodified: small, multipart and odd-named objects, byte for byte."""

import os
from pathlib import Path

import pytest

from zctest.content import MULTIPART_BYTES, ODD_NAMES, SIZES, content
from zctest.files import FILE_NAMES, run, same, tool

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PART_MIB = 6


def test_s5cmd_copies_trees_both_ways(server, tree, tmp_path):
    s5cmd = [tool("s5cmd"), "--endpoint-url", server.url]
    environment = server.environment()
    run([*s5cmd, "mb", "s3://s5cmd-bucket"], environment)
    run([*s5cmd, "cp", "--part-size", str(PART_MIB), f"{tree}/", "s3://s5cmd-bucket/tree/"], environment)
    listing = run([*s5cmd, "ls", "s3://s5cmd-bucket/tree/*"], environment)
    assert len(listing.splitlines()) == len(FILE_NAMES) + 1
    run([*s5cmd, "cp", "--part-size", str(PART_MIB), "s3://s5cmd-bucket/tree/*", f"{tmp_path}/back/"], environment)
    assert same(tree, tmp_path / "back")
    run([*s5cmd, "cp", "s3://s5cmd-bucket/tree/*", "s3://s5cmd-bucket/again/"], environment)
    run([*s5cmd, "rm", "s3://s5cmd-bucket/*"], environment)
    run([*s5cmd, "rb", "s3://s5cmd-bucket"], environment)


def test_s3cmd_syncs_both_ways_and_sets_access_lists(server, tree, tmp_path):
    key, secret = server.credentials()
    place = server.url.removeprefix("http://")
    s3cmd = [tool("s3cmd"), "--no-ssl", "--host", place, "--host-bucket", place, "--access_key", key]
    s3cmd += ["--secret_key", secret, "--region", "us-east-1", "--config", os.devnull, "--no-progress"]
    s3cmd += ["--multipart-chunk-size-mb", str(PART_MIB)]
    environment = server.environment()
    run([*s3cmd, "mb", "s3://s3cmd-bucket"], environment)
    run([*s3cmd, "sync", f"{tree}/", "s3://s3cmd-bucket/tree/"], environment)
    (tmp_path / "back").mkdir()
    run([*s3cmd, "sync", "s3://s3cmd-bucket/tree/", f"{tmp_path}/back/"], environment)
    assert same(tree, tmp_path / "back")
    assert run([*s3cmd, "sync", "--dry-run", f"{tree}/", "s3://s3cmd-bucket/tree/"], environment).strip() == ""
    run([*s3cmd, "cp", "s3://s3cmd-bucket/tree/small", "s3://s3cmd-bucket/copied"], environment)
    assert "1000" in run([*s3cmd, "info", "s3://s3cmd-bucket/copied"], environment)
    run([*s3cmd, "rb", "--force", "--recursive", "s3://s3cmd-bucket"], environment)


def test_rust_clients_round_trip(server):
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "client-tests"
    manifest = HERE / "rust" / "Cargo.toml"
    run(["cargo", "build", "--locked", "-q", "--manifest-path", str(manifest), "--target-dir", str(target)], dict(os.environ))
    said = run([str(target / "debug" / "zerocloud-client-tests")], server.environment() | {"AWS_ALLOW_HTTP": "true", "AWS_ENDPOINT": server.url})
    assert said.count("came back whole") == 2


@pytest.fixture()
def arrow(server):
    from pyarrow import fs

    key, secret = server.credentials()
    return fs.S3FileSystem(
        access_key=key,
        secret_key=secret,
        region="us-east-1",
        scheme="http",
        endpoint_override=server.url.removeprefix("http://"),
        allow_bucket_creation=True,
        allow_bucket_deletion=True,
    )


def test_pyarrow_writes_and_reads_files_of_every_size_and_name(arrow):
    from pyarrow import fs

    arrow.create_dir("pyarrow-bucket")
    wanted = {f"size-{size}": content(size) for size in SIZES} | {"multipart": content(MULTIPART_BYTES)}
    # Arrow's paths have no empty or dotted segments; the other names pass as they are.
    names = [name for name in ODD_NAMES if not name.endswith("/") and not {"", ".", ".."} & set(name.split("/"))]
    wanted |= {f"odd{number}/{name}"[:1024]: content(100, number) for number, name in enumerate(names)}
    for name, data in wanted.items():
        with arrow.open_output_stream(f"pyarrow-bucket/{name}") as sink:
            sink.write(data)
        with arrow.open_input_stream(f"pyarrow-bucket/{name}") as source:
            assert source.read() == data, name
    with arrow.open_input_file("pyarrow-bucket/multipart") as source:
        source.seek(10_485_750)
        assert source.read(20) == content(MULTIPART_BYTES)[10_485_750:10_485_770]
    found = arrow.get_file_info(fs.FileSelector("pyarrow-bucket", recursive=True))
    assert {info.path.removeprefix("pyarrow-bucket/") for info in found if info.is_file} == set(wanted)
    arrow.delete_dir("pyarrow-bucket")


def test_pyarrow_writes_parquet_that_duckdb_reads(server, arrow):
    import duckdb
    import duckdb_extension_httpfs
    import pyarrow as pa
    from pyarrow import parquet

    arrow.create_dir("parquet-bucket")
    # About 18 MiB that do not compress, so that the file goes up in parts and is read by ranges.
    rows = 300_000
    noise = content(rows * 60)
    table = pa.table({"id": range(rows), "noise": [noise[n * 60 : n * 60 + 60] for n in range(rows)]})
    parquet.write_table(table, "parquet-bucket/a table/part+1.parquet", filesystem=arrow, compression="none", row_group_size=20_000)
    assert arrow.get_file_info("parquet-bucket/a table/part+1.parquet").size > MULTIPART_BYTES
    extension = next(Path(duckdb_extension_httpfs.__file__).parent.rglob("httpfs.duckdb_extension"))
    key, secret = server.credentials()
    with duckdb.connect() as database:
        database.execute(f"LOAD '{extension}'")
        database.execute(
            f"CREATE SECRET (TYPE s3, PROVIDER config, KEY_ID '{key}', SECRET '{secret}', REGION 'us-east-1',"
            f" ENDPOINT '{server.url.removeprefix('http://')}', URL_STYLE 'path', USE_SSL false)"
        )
        source = "'s3://parquet-bucket/*/*.parquet'"
        assert database.execute(f"SELECT count(*), sum(id) FROM {source}").fetchone() == (rows, rows * (rows - 1) // 2)
        one = database.execute(f"SELECT noise FROM {source} WHERE id = 123456").fetchone()[0]
        assert one == noise[123_456 * 60 : 123_457 * 60]
        # And back: DuckDB writes, in parts, what Arrow then reads.
        database.execute(f"COPY (SELECT * FROM {source} ORDER BY id) TO 's3://parquet-bucket/by duckdb.parquet' (FORMAT parquet, COMPRESSION uncompressed)")
    assert parquet.read_table("parquet-bucket/by duckdb.parquet", filesystem=arrow).equals(table, check_metadata=False)
    arrow.delete_dir("parquet-bucket")
