#!/usr/bin/env bash
# versitygw, S3 over a directory. It never syncs a file: there is no durable mode.
source "$(dirname "$0")/common.sh"
VERSION=1.8.0

install() { built versitygw-$VERSION go go install github.com/versity/versitygw/cmd/versitygw@v$VERSION; }
modes() { echo default; }

start() {
    local dir=$2 port=$3
    mkdir -p "$dir/data"
    ROOT_ACCESS_KEY=benchbench ROOT_SECRET_KEY=benchbenchbench daemon "$dir" versitygw \
        "$PEERS/versitygw-$VERSION/bin/versitygw" --port "127.0.0.1:$port" --quiet posix "$dir/data"
    wait_for "$dir" versitygw "$DAEMON" "$port" answers "http://127.0.0.1:$port/"
    say url "http://127.0.0.1:$port"
    say pid "$DAEMON"
    say access_key benchbench
    say secret_key benchbenchbench
    say mode default
    say durable no
    say version $VERSION
}

main "$@"
