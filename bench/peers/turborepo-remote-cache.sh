#!/usr/bin/env bash
# turborepo-remote-cache, the server that teams run for Turborepo, in Node: local storage, its static token, no log of requests.
# It streams into a file and has no setting that syncs.
source "$(dirname "$0")/common.sh"
VERSION=2.12.0
TOKEN=zerobench-token

install() { built turborepo-remote-cache-$VERSION npm npm install --prefix . --no-audit --no-fund turborepo-remote-cache@$VERSION; }
modes() { echo default; }

start() {
    local mode=$1 dir=$2 port=$3
    mkdir -p "$dir/data"
    daemon "$dir" turborepo env NODE_ENV=production HOST=127.0.0.1 PORT="$port" AUTH_MODE=static TURBO_TOKEN=$TOKEN LOG_LEVEL=error \
        ENABLE_STATUS_LOG=false STORAGE_PROVIDER=local STORAGE_PATH="$dir/data" STORAGE_PATH_USE_TMP_FOLDER=false \
        "$PEERS/turborepo-remote-cache-$VERSION/node_modules/.bin/turborepo-remote-cache"
    wait_for "$dir" turborepo "$DAEMON" "$port" answers "http://127.0.0.1:$port/v8/artifacts/status"
    say url "http://127.0.0.1:$port"
    say pid "$DAEMON"
    say token $TOKEN
    say api turbo
    say mode "$mode"
    say durable no
    say version $VERSION
}

evidence() { say evidence "none: it has no durable mode; STORAGE_PROVIDER=$(setting_of "$(pid_of "$1" turborepo)" STORAGE_PROVIDER)"; }

main "$@"
