#!/usr/bin/env bash
# SeaweedFS, as far as it can be had: neither Debian nor npm nor Maven has its server, and whether the Go module proxy serves
# its module is tried anew each time.
source "$(dirname "$0")/common.sh"

install() {
    built seaweedfs-latest go go install github.com/seaweedfs/seaweedfs/weed@latest
    not_run "its module can be built here by now, but nothing was written yet that starts it"
}
modes() { echo default; }
start() { install; }

main "$@"
