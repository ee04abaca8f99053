#!/usr/bin/env bash
# dynoxide, DynamoDB over SQLite. By default in memory; `durable` keeps a file with a write-ahead log, which SQLite syncs with
# every transaction unless told otherwise.
source "$(dirname "$0")/common.sh"
VERSION=3.2.0

# The crate named dynoxide is something else.
install() {
    built dynoxide-$VERSION cargo cargo install dynoxide-rs --version $VERSION --locked --no-default-features \
        --features native-sqlite,http-server,cli --root .
}
modes() { echo default durable; }

start() {
    local mode=$1 dir=$2 port=$3 options=()
    mkdir -p "$dir/data"
    [ "$mode" = durable ] && options=(--db-path "$dir/data/dynoxide.db")
    daemon "$dir" dynoxide "$PEERS/dynoxide-$VERSION/bin/dynoxide" serve --host 127.0.0.1 --port "$port" "${options[@]}"
    wait_for "$dir" dynoxide "$DAEMON" "$port" answers "http://127.0.0.1:$port/"
    say url "http://127.0.0.1:$port"
    say pid "$DAEMON"
    say access_key bench
    say secret_key bench
    say mode "$mode"
    say durable "$([ "$mode" = durable ] && echo yes || echo no)"
    say version $VERSION
}

evidence() {
    local file=$1/data/dynoxide.db
    if [ -e "$file" ]; then
        say evidence "the file says journal_mode=$(python3 -c '
import sqlite3, sys
print(sqlite3.connect("file:%s?mode=ro" % sys.argv[1], uri=True).execute("PRAGMA journal_mode").fetchone()[0])' "$file"); synchronous is of its connection"
    else
        say evidence "none: it keeps everything in memory"
    fi
}

main "$@"
