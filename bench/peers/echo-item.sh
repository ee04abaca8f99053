#!/usr/bin/env bash
# The appliance's reactor and HTTP around the answer of a GetItem that found an item: what that operation could do at most.
# Nothing is stored. `default` has an item of 100 bytes, `1k` one of a KiB.
source "$(dirname "$0")/common.sh"
ROOT=$(cd "$HERE/../.." && pwd)

binary() { echo "${CARGO_TARGET_DIR:-$ROOT/target}/release/zerobench"; }
install() { (cd "$ROOT" && cargo build -q --release --locked -p zerobench) >&2; }
modes() { echo default 1k; }

start() {
    local mode=$1 dir=$2 port=$3 item_bytes=100
    [ "$mode" != 1k ] || item_bytes=1024
    daemon "$dir" echo "$(binary)" serve-echo --core "$CORE" --port "$port" --item-bytes $item_bytes
    wait_for "$dir" echo "$DAEMON" "$port" answers "http://127.0.0.1:$port/"
    say url "http://127.0.0.1:$port"
    say pid "$DAEMON"
    say access_key bench
    say secret_key bench
    say mode "$mode"
    say version "$("$(binary)" --version | cut -d' ' -f2)"
}

evidence() { say evidence "none: it stores nothing"; }

main "$@"
