#!/usr/bin/env bash
# ministack, many services of AWS in one Python process. By default in memory; `files` keeps objects in files, without a sync,
# and saves the rest when it ends.
source "$(dirname "$0")/common.sh"
VERSION=1.5.33

install() {
    built ministack-$VERSION python3 sh -c "python3 -m venv venv && venv/bin/pip install -q --disable-pip-version-check ministack==$VERSION"
}
modes() { echo default files; }

start() {
    local mode=$1 dir=$2 port=$3 settings=()
    mkdir -p "$dir/data" "$dir/home" "$dir/state"
    [ "$mode" = files ] && settings=(S3_PERSIST=1 PERSIST_STATE=1)
    daemon "$dir" ministack env HOME="$dir/home" BIND_HOST=127.0.0.1 GATEWAY_PORT="$port" S3_DATA_DIR="$dir/data" STATE_DIR="$dir/state" \
        "${settings[@]}" "$PEERS/ministack-$VERSION/venv/bin/ministack"
    wait_for "$dir" ministack "$DAEMON" "$port" answers "http://127.0.0.1:$port/"
    say url "http://127.0.0.1:$port"
    say pid "$DAEMON"
    say access_key test
    say secret_key test
    say mode "$mode"
    say durable no
    say version $VERSION
}

evidence() {
    local pid
    pid=$(pid_of "$1" ministack)
    if [ "$(setting_of "$pid" S3_PERSIST)" = 1 ]; then
        say evidence "S3_PERSIST=1 PERSIST_STATE=$(setting_of "$pid" PERSIST_STATE)"
    else
        say evidence "none: it keeps everything in memory"
    fi
}

main "$@"
