#!/bin/bash
# The S3 and DynamoDB loads against fresh nodes, plain and under TLS, some hundred answers or half a second each, closed and
# open: every answer must be good. How fast they come is not looked at, and a machine that stalls has more time. Usage: s3.sh ZEROCLOUD ZEROBENCH, the paths of the two programs.
set -euo pipefail
zerocloud=$1
zerobench=$2
tests=$(realpath "$(dirname "$0")/../../tests")

directory=$(mktemp -d)
node=
stop() {
    [ -z "$node" ] && return
    kill "$node" 2>/dev/null || true
    wait "$node" 2>/dev/null || true
    node=
}
finish() {
    stop
    rm -rf "$directory"
}
trap finish EXIT

# A fresh node with further flags; url says where it is.
start() {
    stop
    rm -rf "$directory/data"
    "$zerocloud" serve --data "$directory/data" --listen 127.0.0.1:0 "$@" >"$directory/output" 2>&1 &
    node=$!
    url=
    for _ in $(seq 3000); do
        url=$(sed -n 's/^zerocloud ready on \(https\{0,1\}:[^ ]*\).*/\1/p' "$directory/output")
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
}

# Nothing takes so many seconds, on a machine that stands still for a while neither.
patience=120

# A closed loop ends with its answers, an open one by the clock: one whose time the machine stood still is given twice as much.
run() {
    local output status length=${seconds:-0.5} flags=(--silence "$patience" --warm-up 0.1 --connections 16) answers=()
    [[ " $* " != *" --closed "* ]] || { length=$patience answers=(--answers 300); }
    while :; do
        status=0
        output=$("$zerobench" run --url "$url" --pid "$node" "${flags[@]}" --seconds "$length" "${answers[@]}" "$@") || status=$?
        grep -q '^VOID: nothing was answered in the measured time' <<<"$output" || break
        length=$(awk "BEGIN { print 2 * $length }")
        [ "${length%.*}" -lt "$patience" ] || break
    done
    # A busy machine may not keep a schedule; that is no failure of a request.
    if [ "$status" -ne 0 ] && ! { [ "$status" -eq 1 ] && grep -q '^VOID: overloaded' <<<"$output"; }; then
        echo "zerobench run $* ended with $status:" >&2
        echo "$output" >&2
        exit 1
    fi
    echo "$(head -n 1 <<<"$output"): $(grep ' counted$' <<<"$output")"
}

# Signed, as curl does it: the digest of an empty body has to be given.
ask() {
    curl -sS --fail-with-body --aws-sigv4 aws:amz:us-east-1:s3 --user "$ZEROBENCH_ACCESS_KEY:$ZEROBENCH_SECRET_KEY" \
        -H "x-amz-content-sha256: $(sha256sum </dev/null | cut -d ' ' -f 1)" "$@"
}

# Uploads in parts, of which afterwards none is open, and objects of no other size than whole ones are there. At a rate
# that a slow disk keeps too: without a complete upload there would be nothing to look at.
multipart() {
    local bytes parts bucket listing sizes
    for bytes in 1000 10485760; do
        parts=$((bytes > 1000 ? 2 : 1))
        bucket=uploads-$bytes
        local flags=(multipart --bucket "$bucket" --parts "$parts" --part-bytes $((bytes / parts)))
        local length
        # Once is enough, but where the machine stood still no upload may have come to its end.
        for length in 2 4 8 16; do
            seconds=$length run "${flags[@]}" --uploads $((25 * length)) --rate 10
            seconds=$length run "${flags[@]}" --uploads $((25 * length)) --rate 10 --streams 2 --unsigned
            # Asked first and looked at then, so that an answer that did not come is no good one.
            listing=$(ask "$url/$bucket?uploads=")
            if ! grep -q '<ListMultipartUploadsResult' <<<"$listing" || grep '<Upload>' <<<"$listing"; then
                echo "uploads of zerobench's were left open" >&2
                exit 1
            fi
            listing=$(ask "$url/$bucket?list-type=2")
            sizes=$(grep -o '<Size>[0-9]*</Size>' <<<"$listing" | sort -u) || true
            [ -z "$sizes" ] || break
        done
        if [ "$sizes" != "<Size>$bytes</Size>" ]; then
            echo "instead of objects of $bytes bytes there are: $sizes" >&2
            exit 1
        fi
    done
}

start
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
for scenario in ddb-put ddb-get ddb-query; do
    run "$scenario" --closed --keys 500 --value-bytes 100
    run "$scenario" --rate 200 --keys 500 --value-bytes 100
    run "$scenario" --closed --keys 500 --value-bytes 100 --streams 4
done
run ddb-put --closed --distribution uniform --keys 50 --value-bytes 70000
multipart
for seconds in 1 4 16 64; do
    output=$("$zerobench" run --url "$url" --warm-up 0 --seconds "$seconds" --silence "$patience" --connections 4 --closed \
        multipart --part-bytes 9 --parts 1 --uploads 4) && status=0 || status=$?
    # Sooner or later: a machine that stands still may keep the load from using them up.
    ! grep -q '^VOID: the requests made ahead were used up' <<<"$output" || break
done
unset seconds
if [ "$status" -ne 1 ] || ! grep -q '^VOID: the requests made ahead were used up' <<<"$output"; then
    echo "a run that was out of uploads ended with $status:" >&2
    echo "$output" >&2
    exit 1
fi

PYTHONPATH=$tests python3 -c '
import pathlib, sys
from zctest.tls import Certificates
Certificates(pathlib.Path(sys.argv[1]))' "$directory/tls"
start --tls-cert "$directory/tls/certificate.pem" --tls-key "$directory/tls/key.pem"
case "$url" in https:*) ;; *)
    echo "the node says $url although it was given a certificate" >&2
    exit 1
    ;;
esac
for protocol in "" "--streams 8"; do
    # Two words, or none.
    # shellcheck disable=SC2086
    run mixed --closed --keys 500 --ca "$directory/tls/authority.pem" $protocol
    # shellcheck disable=SC2086
    run ddb-put --closed --value-bytes 100 --ca "$directory/tls/authority.pem" $protocol
    # shellcheck disable=SC2086
    run put --rate 200 --value-bytes 200000 --ca "$directory/tls/authority.pem" $protocol
done
