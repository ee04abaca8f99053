#!/usr/bin/env bash
# The echo as a server of `zerobench compare`, for peers.rs: one that answers, one that is away, one that fails to start.
source "$PEERS_COMMON"
install() { :; }
modes() { echo good away broken; }
start() {
    [ "$1" != away ] || not_run "it is away"
    daemon "$2" echo "$ECHO" serve-echo
    echo "$DAEMON" >>"$STARTED"
    [ "$1" != broken ] || return 1
    local url=
    while [ -z "$url" ]; do
        [ -e "/proc/$DAEMON" ] || return 1
        url=$(sed -n 's/^zerobench echo ready on //p' "$2/echo.log")
        sleep 0.05
    done
    wait_for "$2" echo "$DAEMON" "${url##*:}"
    say url "$url"
    say pid "$DAEMON"
    say mode "$1"
    say version 7
}
main "$@"
