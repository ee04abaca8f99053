#!/usr/bin/env bash
# Redis of the distribution. By default it saves a snapshot now and then; `durable` writes every command to a log and syncs it
# before the answer.
source "$(dirname "$0")/common.sh"

install() { debian redis-server redis-tools; }
modes() { echo default durable; }

start() {
    local mode=$1 dir=$2 port=$3 options=()
    [ "$mode" = durable ] && options=(--appendonly yes --appendfsync always --save '')
    mkdir -p "$dir/data"
    echo "$port" >"$dir/port"
    daemon "$dir" redis redis-server --bind 127.0.0.1 --port "$port" --dir "$dir/data" --daemonize no "${options[@]}"
    wait_for "$dir" redis "$DAEMON" "$port" redis-cli -p "$port" ping
    say url "redis://127.0.0.1:$port"
    say pid "$DAEMON"
    say mode "$mode"
    say durable "$([ "$mode" = durable ] && echo yes || echo no)"
    say version "$(redis-server --version | sed -n 's/.* v=\([^ ]*\).*/\1/p')"
}

evidence() {
    local port
    port=$(cat "$1/port")
    say evidence "$(redis-cli -p "$port" config get 'append*' | paste -d= - - | grep -E '^append(only|fsync)=' | tr '\n' ' ')$(
        redis-cli -p "$port" info persistence | tr -d '\r' | grep '^aof_enabled:'
    )"
}

main "$@"
