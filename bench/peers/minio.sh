#!/usr/bin/env bash
# MinIO, the last commit that the Go module proxy serves. By default it syncs an object's data and description, but neither its
# rename nor its directory; `durable` adds a sync of the whole machine to every commit, which is what the server offers.
source "$(dirname "$0")/common.sh"
VERSION=v0.0.0-20260212201848-7aac2a2c5b7c

install() { built minio-$VERSION go go install github.com/minio/minio@$VERSION; }
modes() { echo default durable; }

start() {
    local mode=$1 dir=$2 port=$3 osync=off
    [ "$mode" = durable ] && osync=on
    mkdir -p "$dir/data" "$dir/home"
    # MINIO_CI_CD: its data may lie on the disk of the system. Nothing is asked of the network.
    HOME="$dir/home" MINIO_ROOT_USER=benchbench MINIO_ROOT_PASSWORD=benchbenchbench MINIO_CI_CD=1 MINIO_BROWSER=off \
        MINIO_UPDATE=off MINIO_FS_OSYNC=$osync \
        daemon "$dir" minio "$PEERS/minio-$VERSION/bin/minio" server "$dir/data" --address "127.0.0.1:$port" --quiet
    wait_for "$dir" minio "$DAEMON" "$port" ready "http://127.0.0.1:$port/minio/health/live"
    say url "http://127.0.0.1:$port"
    say pid "$DAEMON"
    say access_key benchbench
    say secret_key benchbenchbench
    say mode "$mode"
    say durable "$([ "$mode" = durable ] && echo yes || echo no)"
    say version "2026-02-12 (7aac2a2c5b7c)"
}

ready() { curl -sf -o /dev/null --max-time 2 "$1"; }

evidence() {
    local pid
    pid=$(pid_of "$1" minio)
    say evidence "MINIO_FS_OSYNC=$(setting_of "$pid" MINIO_FS_OSYNC)"
}

main "$@"
