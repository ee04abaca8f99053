#!/usr/bin/env bash
# nginx of the distribution with one worker: the same 4 KiB to whoever asks. Nothing is stored.
source "$(dirname "$0")/common.sh"

install() { debian nginx-light; }
modes() { echo default; }

start() {
    local dir=$2 port=$3 body
    mkdir -p "$dir/temporary"
    # A word of the configuration is shorter than 4 KiB.
    body=$(printf 'z%.0s' $(seq 1024))
    # keepalive_requests: it closes a connection after 1,000 requests unless told otherwise.
    cat >"$dir/nginx.conf" <<CONF
daemon off;
worker_processes 1;
pid $dir/nginx.pid;
error_log $dir/error.log;
events { worker_connections 8192; }
http {
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    client_body_temp_path $dir/temporary/body;
    proxy_temp_path $dir/temporary/proxy;
    fastcgi_temp_path $dir/temporary/fastcgi;
    uwsgi_temp_path $dir/temporary/uwsgi;
    scgi_temp_path $dir/temporary/scgi;
    server {
        listen 127.0.0.1:$port;
        set \$part "$body";
        location / { return 200 "\$part\$part\$part\$part"; }
    }
}
CONF
    daemon "$dir" nginx nginx -c "$dir/nginx.conf" -e "$dir/error.log"
    wait_for "$dir" nginx "$DAEMON" "$port" answers "http://127.0.0.1:$port/"
    say url "http://127.0.0.1:$port"
    say pid "$DAEMON"
    say mode default
    say version "$(nginx -v 2>&1 | sed 's|.*/||')"
}

evidence() { say evidence "none: it stores nothing"; }

main "$@"
