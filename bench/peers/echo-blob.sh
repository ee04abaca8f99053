#!/usr/bin/env bash
# The appliance's reactor and HTTP around bodies that nobody stores: what a cache could do at most. 4 KiB by default; `1m`
# answers with 1 MiB, `digest` digests each body that it sends or receives with SHA-256 besides, as a cache does that verifies.
source "$(dirname "$0")/common.sh"
ROOT=$(cd "$HERE/../.." && pwd)

binary() { echo "${CARGO_TARGET_DIR:-$ROOT/target}/release/zerobench"; }
install() { (cd "$ROOT" && cargo build -q --release --locked -p zerobench) >&2; }
modes() { echo default digest 1m 1m-digest; }

start() {
    local mode=$1 dir=$2 port=$3 options=()
    case "$mode" in
        1m*) options+=(--blob-bytes 1048576) ;;
        *) options+=(--blob-bytes 4096) ;;
    esac
    case "$mode" in
        *digest) options+=(--digest) ;;
    esac
    daemon "$dir" echo "$(binary)" serve-echo --core "$CORE" --port "$port" "${options[@]}"
    wait_for "$dir" echo "$DAEMON" "$port" answers "http://127.0.0.1:$port/"
    say url "http://127.0.0.1:$port"
    say pid "$DAEMON"
    say api echo
    say mode "$mode"
    say version "$("$(binary)" --version | cut -d' ' -f2)"
}

evidence() { say evidence "none: it stores nothing"; }

main "$@"
