"""Command-line clients as their users run them: AWS CLI, rclone, restic. Files are compared byte for byte."""

import subprocess

from zctest.content import content
from zctest.files import FILE_NAMES, run, same, tool


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
        fetched = subprocess.run(["curl", "-sf", url], env=environment, capture_output=True)
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
    # rclone has an option of its own, and its AWS library stumbles over this one.
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
