#!/usr/bin/env bash
# NATS with JetStream on disk. By default it syncs its files every two minutes; `durable` syncs each message before it is
# acknowledged.
source "$(dirname "$0")/common.sh"
VERSION=v2.15.2

install() { built nats-$VERSION go go install github.com/nats-io/nats-server/v2@$VERSION; }
modes() { echo default durable; }

start() {
    local mode=$1 dir=$2 port=$3 monitor sync=
    monitor=$(free_port)
    [ "$mode" = durable ] && sync="sync_interval: always"
    mkdir -p "$dir/data"
    echo "$monitor" >"$dir/monitor"
    cat >"$dir/nats.conf" <<CONF
listen: "127.0.0.1:$port"
http: "127.0.0.1:$monitor"
max_payload: 8MB
jetstream {
    store_dir: "$dir/data"
    $sync
}
CONF
    daemon "$dir" nats "$PEERS/nats-$VERSION/bin/nats-server" -c "$dir/nats.conf"
    wait_for "$dir" nats "$DAEMON" "$port" curl -sf --max-time 2 "http://127.0.0.1:$monitor/healthz"
    say url "nats://127.0.0.1:$port"
    say pid "$DAEMON"
    say mode "$mode"
    say durable "$([ "$mode" = durable ] && echo yes || echo no)"
    say version "${VERSION#v}"
}

evidence() {
    say evidence "$(curl -sf "http://127.0.0.1:$(cat "$1/monitor")/jsz" | python3 -c '
import json, sys
config = json.load(sys.stdin)["config"]
seconds = config.get("sync_interval", 0) / 1e9
print("jsz: sync_always=%s sync_interval=%gs" % (str(config.get("sync_always", False)).lower(), seconds))')"
}

main "$@"
