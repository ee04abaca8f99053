#!/usr/bin/env bash
# The appliance of this checkout, as it is by default: every acknowledged write is on disk. `cache` is the same with a token for
# its cache; `waiting` is the same, and a million messages are to wait in its queue.
source "$(dirname "$0")/common.sh"
ROOT=$(cd "$HERE/../.." && pwd)

binary() { echo "${CARGO_TARGET_DIR:-$ROOT/target}/release/zerocloud"; }
install() { (cd "$ROOT" && cargo build -q --release --locked -p zerocloud) >&2; }
modes() { echo default cache waiting; }

TOKEN=zerobench-token-0123456789abcdef

start() {
    local mode=$1 dir=$2 port=$3 credentials settings=()
    [ "$mode" != cache ] || settings=(env ZIM_CACHE_WRITE_TOKEN=$TOKEN)
    daemon "$dir" zerocloud "${settings[@]}" "$(binary)" serve --data "$dir/data" --listen "127.0.0.1:$port" --log warn
    wait_for "$dir" zerocloud "$DAEMON" "$port" curl -sf -o /dev/null --max-time 2 "http://127.0.0.1:$port/-/ready"
    credentials=$dir/data/credentials
    say url "http://127.0.0.1:$port"
    say pid "$DAEMON"
    say access_key "$(sed -n 's/^aws_access_key_id = //p' "$credentials")"
    say secret_key "$(sed -n 's/^aws_secret_access_key = //p' "$credentials")"
    [ "$mode" != cache ] || say token $TOKEN
    [ "$mode" != waiting ] || say backlog 1000000
    say mode "$mode"
    say durable yes
    say version "$("$(binary)" --version | cut -d' ' -f2)"
}

evidence() { say evidence "no setting turns it off"; }

main "$@"
