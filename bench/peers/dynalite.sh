#!/usr/bin/env bash
# dynalite, DynamoDB over LevelDB, in Node. By default in memory; `files` keeps files, but no write is synced.
source "$(dirname "$0")/common.sh"
VERSION=4.0.0

install() { built dynalite-$VERSION npm npm install --prefix . --no-audit --no-fund dynalite@$VERSION; }
modes() { echo default files; }

start() {
    local mode=$1 dir=$2 port=$3 options=()
    [ "$mode" = files ] && options=(--path "$dir/data")
    daemon "$dir" dynalite "$PEERS/dynalite-$VERSION/node_modules/.bin/dynalite" --host 127.0.0.1 --port "$port" "${options[@]}"
    wait_for "$dir" dynalite "$DAEMON" "$port" answers "http://127.0.0.1:$port/"
    say url "http://127.0.0.1:$port"
    say pid "$DAEMON"
    say access_key bench
    say secret_key bench
    say mode "$mode"
    say durable no
    say version $VERSION
}

main "$@"
