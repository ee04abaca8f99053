#!/usr/bin/env bash
# s3s-fs, S3 over a directory by the library s3s. It never syncs a file: there is no durable mode.
source "$(dirname "$0")/common.sh"
VERSION=0.14.1

install() { built s3s-fs-$VERSION cargo cargo install s3s-fs --version $VERSION --locked --features binary --root .; }
modes() { echo default; }

start() {
    local dir=$2 port=$3
    mkdir -p "$dir/data"
    # It logs every request unless told otherwise.
    RUST_LOG=error daemon "$dir" s3s-fs "$PEERS/s3s-fs-$VERSION/bin/s3s-fs" --host 127.0.0.1 --port "$port" \
        --access-key benchbench --secret-key benchbenchbench "$dir/data"
    wait_for "$dir" s3s-fs "$DAEMON" "$port" answers "http://127.0.0.1:$port/"
    say url "http://127.0.0.1:$port"
    say pid "$DAEMON"
    say access_key benchbench
    say secret_key benchbenchbench
    say mode default
    say durable no
    say version $VERSION
}

main "$@"
