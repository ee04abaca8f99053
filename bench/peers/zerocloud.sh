#!/usr/bin/env bash
# The appliance of this checkout, as it is by default: every acknowledged write is on disk.
source "$(dirname "$0")/common.sh"
ROOT=$(cd "$HERE/../.." && pwd)

binary() { echo "${CARGO_TARGET_DIR:-$ROOT/target}/release/zerocloud"; }
install() { (cd "$ROOT" && cargo build -q --release --locked -p zerocloud) >&2; }
modes() { echo default; }

start() {
    local dir=$2 port=$3 credentials
    daemon "$dir" zerocloud "$(binary)" serve --data "$dir/data" --listen "127.0.0.1:$port" --log warn
    wait_for "$dir" zerocloud "$DAEMON" "$port" curl -sf -o /dev/null --max-time 2 "http://127.0.0.1:$port/-/ready"
    credentials=$dir/data/credentials
    say url "http://127.0.0.1:$port"
    say pid "$DAEMON"
    say access_key "$(sed -n 's/^aws_access_key_id = //p' "$credentials")"
    say secret_key "$(sed -n 's/^aws_secret_access_key = //p' "$credentials")"
    say mode default
    say durable yes
    say version "$("$(binary)" --version | cut -d' ' -f2)"
}

evidence() { say evidence "no setting turns it off"; }

main "$@"
