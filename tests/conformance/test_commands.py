"""Command-line clients as their users run them: AWS CLI, rclone, restic. Files are compared byte for byte."""

import filecmp
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from zctest.content import MULTIPART_BYTES, content

FILE_NAMES = ["small", "empty", "with space", "plus+sign", "percent%41", "ünïcode-鍵", "deep/er/file", "quote'quote"]


@pytest.fixture()
def tree(tmp_path) -> Path:
    """Local files: small, empty, odd-named, and one that needs a multipart upload."""
    root = tmp_path / "tree"
    for number, name in enumerate(FILE_NAMES):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if name == "empty" else content(1000 + number))
    (root / "large").write_bytes(content(MULTIPART_BYTES))
    return root


def same(left: Path, right: Path) -> bool:
    names = sorted(str(path.relative_to(left)) for path in left.rglob("*") if path.is_file())
    others = sorted(str(path.relative_to(right)) for path in right.rglob("*") if path.is_file())
    match, mismatch, errors = filecmp.cmpfiles(left, right, names, shallow=False)
    return names == others and not mismatch and not errors and len(match) == len(names)


def run(command: list[str], environment: dict[str, str], **options) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def tool(name: str) -> str:
    beside = Path(sys.executable).parent / name
    path = str(beside) if beside.exists() else shutil.which(name)
    assert path, f"{name} is missing; tests/run installs it"
    return path


def test_aws_cli_makes_syncs_presigns_and_removes(server, tree, tmp_path):
    aws, environment = tool("aws"), server.environment()
    run([aws, "s3", "mb", "s3://cli-bucket"], environment)
    run([aws, "s3", "cp", str(tree / "small"), "s3://cli-bucket/one"], environment)
    run([aws, "s3", "sync", str(tree), "s3://cli-bucket/tree"], environment)
    run([aws, "s3", "sync", "s3://cli-bucket/tree", str(tmp_path / "back")], environment)
    assert same(tree, tmp_path / "back")
    listing = run([aws, "s3", "ls", "--recursive", "s3://cli-bucket"], environment)
    assert len(listing.splitlines()) == len(FILE_NAMES) + 2
    # The CLI presigns with the old version 2 unless told otherwise.
    config = tmp_path / "config"
    config.write_text("[default]\ns3 =\n  signature_version = s3v4\n")
    for settings, name in [(environment, "Signature="), (environment | {"AWS_CONFIG_FILE": str(config)}, "X-Amz-Signature=")]:
        url = run([aws, "s3", "presign", "s3://cli-bucket/one"], settings).strip()
        assert name in url
        fetched = subprocess.run(["curl", "-sf", url], capture_output=True)
        assert fetched.stdout == (tree / "small").read_bytes()
    run([aws, "s3", "rb", "--force", "s3://cli-bucket"], environment)
    assert "cli-bucket" not in run([aws, "s3", "ls"], environment)


def test_rclone_syncs_checks_copies_and_purges(server, tree, tmp_path):
    environment = server.environment()
    key, secret = server.credentials()
    environment |= {
        "RCLONE_CONFIG": str(tmp_path / "none.conf"),
        "RCLONE_CONFIG_Z_TYPE": "s3",
        "RCLONE_CONFIG_Z_PROVIDER": "Other",
        "RCLONE_CONFIG_Z_ENDPOINT": server.url,
        "RCLONE_CONFIG_Z_ACCESS_KEY_ID": key,
        "RCLONE_CONFIG_Z_SECRET_ACCESS_KEY": secret,
        "RCLONE_CONFIG_Z_REGION": "us-east-1",
        "RCLONE_S3_CHUNK_SIZE": "5M",
        "RCLONE_S3_UPLOAD_CUTOFF": "8M",
    }
    environment.pop("AWS_CA_BUNDLE", None)
    rclone = tool("rclone")
    run([rclone, "mkdir", "z:rclone-bucket"], environment)
    run([rclone, "sync", str(tree), "z:rclone-bucket/tree"], environment)
    run([rclone, "check", "--download", str(tree), "z:rclone-bucket/tree"], environment)
    run([rclone, "copy", "z:rclone-bucket/tree", "z:rclone-bucket/again"], environment)
    run([rclone, "sync", "z:rclone-bucket/again", str(tmp_path / "back")], environment)
    assert same(tree, tmp_path / "back")
    run([rclone, "purge", "z:rclone-bucket"], environment)


def test_restic_backs_up_checks_and_restores(server, tree, tmp_path):
    environment = server.environment() | {
        "RESTIC_REPOSITORY": f"s3:{server.url}/restic-bucket/repository",
        "RESTIC_PASSWORD": "correct horse battery staple",
        "RESTIC_CACHE_DIR": str(tmp_path / "cache"),
    }
    restic = tool("restic")
    run([restic, "init"], environment)
    run([restic, "backup", "."], environment, cwd=tree)
    (tree / "small").write_bytes(content(5000))
    run([restic, "backup", "."], environment, cwd=tree)
    run([restic, "check", "--read-data"], environment)
    run([restic, "restore", "latest", "--target", str(tmp_path / "back")], environment)
    assert same(tree, tmp_path / "back")
