#!/bin/bash
# The S3 loads against a fresh node, for half a second each, closed and open: every answer must be good. How fast they
# come is not looked at. Usage: s3.sh ZEROCLOUD ZEROBENCH, the paths of the two programs.
set -euo pipefail
zerocloud=$1
zerobench=$2

directory=$(mktemp -d)
"$zerocloud" serve --data "$directory/data" --listen 127.0.0.1:0 >"$directory/output" 2>&1 &
node=$!
finish() {
    kill "$node" 2>/dev/null || true
    wait "$node" 2>/dev/null || true
    rm -rf "$directory"
}
trap finish EXIT

url=
for _ in $(seq 300); do
    url=$(sed -n 's/^zerocloud ready on \(http:[^ ]*\).*/\1/p' "$directory/output")
    [ -n "$url" ] && break
    sleep 0.1
done
if [ -z "$url" ]; then
    echo "the node did not start:" >&2
    cat "$directory/output" >&2
    exit 1
fi
ZEROBENCH_ACCESS_KEY=$(sed -n 's/^aws_access_key_id = //p' "$directory/data/credentials")
ZEROBENCH_SECRET_KEY=$(sed -n 's/^aws_secret_access_key = //p' "$directory/data/credentials")
export ZEROBENCH_ACCESS_KEY ZEROBENCH_SECRET_KEY

run() {
    local output status=0
    output=$("$zerobench" run --url "$url" --pid "$node" --warm-up 0.1 --seconds 0.5 --connections 16 "$@") ||
        status=$?
    # A busy machine may not keep a schedule; that is no failure of a request.
    if [ "$status" -ne 0 ] && ! { [ "$status" -eq 1 ] && grep -q '^VOID: overloaded' <<<"$output"; }; then
        echo "zerobench run $* ended with $status:" >&2
        echo "$output" >&2
        exit 1
    fi
    echo "$(head -n 1 <<<"$output"): $(grep ' counted$' <<<"$output")"
}

for scenario in put get list mixed; do
    run "$scenario" --closed --keys 2500
    run "$scenario" --rate 200 --keys 2500
done
run put --closed --value-bytes 0
run put --closed --value-bytes 200000 --distribution uniform --keys 50
run get --closed --distribution zipf --keys 2500
run get --closed --distribution unique --value-bytes 70000 --keys 50
run mixed --closed --distribution unique --reads 50 --keys 500 --unsigned
run mixed --closed --keys 500 --streams 8
