#!/usr/bin/env bash
# The appliance's reactor and HTTP around a fixed answer of 4 KiB: what a service could do at most. Nothing is stored.
source "$(dirname "$0")/common.sh"
ROOT=$(cd "$HERE/../.." && pwd)

binary() { echo "${CARGO_TARGET_DIR:-$ROOT/target}/release/zerobench"; }
install() { (cd "$ROOT" && cargo build -q --release --locked -p zerobench) >&2; }
modes() { echo default; }

start() {
    local dir=$2 port=$3
    daemon "$dir" echo "$(binary)" serve-echo --core "$CORE" --port "$port" --body-bytes 4096
    wait_for "$dir" echo "$DAEMON" "$port" answers "http://127.0.0.1:$port/"
    say url "http://127.0.0.1:$port"
    say pid "$DAEMON"
    say mode default
    say version "$("$(binary)" --version | cut -d' ' -f2)"
}

evidence() { say evidence "none: it stores nothing"; }

main "$@"
