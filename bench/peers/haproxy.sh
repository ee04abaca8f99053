#!/usr/bin/env bash
# HAProxy of the distribution with one thread: the same 4 KiB to whoever asks. Nothing is stored.
source "$(dirname "$0")/common.sh"

install() { debian haproxy; }
modes() { echo default; }

start() {
    local dir=$2 port=$3
    printf 'z%.0s' $(seq 4096) >"$dir/body"
    cat >"$dir/haproxy.cfg" <<CONF
global
    nbthread 1
    maxconn 8192
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend bench
    bind 127.0.0.1:$port
    http-request return status 200 content-type text/plain file $dir/body
CONF
    # -db: it stays in the foreground.
    daemon "$dir" haproxy haproxy -db -f "$dir/haproxy.cfg"
    wait_for "$dir" haproxy "$DAEMON" "$port" answers "http://127.0.0.1:$port/"
    say url "http://127.0.0.1:$port"
    say pid "$DAEMON"
    say mode default
    say version "$(haproxy -v | sed -n '1s/^HAProxy version \([^ -]*\).*/\1/p')"
}

evidence() { say evidence "none: it stores nothing"; }

main "$@"
