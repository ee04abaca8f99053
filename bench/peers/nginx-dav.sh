#!/usr/bin/env bash
# nginx of the distribution with one worker, as a cache of files: WebDAV's PUT and static GET, as it is set there (sendfile,
# tcp_nopush), no log of accesses. `open-files` keeps files open between requests. It writes a file and renames it, and has no
# setting that syncs either.
source "$(dirname "$0")/common.sh"

install() { debian nginx-light; }
modes() { echo default open-files; }

start() {
    local mode=$1 dir=$2 port=$3 cached=
    [ "$mode" = default ] || cached='open_file_cache max=100000 inactive=60s; open_file_cache_valid 60s; open_file_cache_min_uses 1;'
    # On the same disk as the files: a rename is all that is left to do.
    mkdir -p "$dir/temporary" "$dir/data"
    # keepalive_requests: it closes a connection after 1,000 requests unless told otherwise.
    cat >"$dir/nginx.conf" <<CONF
daemon off;
user $(id -un);
worker_processes 1;
pid $dir/nginx.pid;
error_log $dir/error.log;
events { worker_connections 8192; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    default_type application/octet-stream;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    client_max_body_size 0;
    client_body_temp_path $dir/temporary/body;
    proxy_temp_path $dir/temporary/proxy;
    fastcgi_temp_path $dir/temporary/fastcgi;
    uwsgi_temp_path $dir/temporary/uwsgi;
    scgi_temp_path $dir/temporary/scgi;
    $cached
    server {
        listen 127.0.0.1:$port;
        root $dir/data;
        location / {
            dav_methods PUT DELETE;
            create_full_put_path on;
        }
    }
}
CONF
    daemon "$dir" nginx nginx -c "$dir/nginx.conf" -e "$dir/error.log"
    wait_for "$dir" nginx "$DAEMON" "$port" answers "http://127.0.0.1:$port/"
    say url "http://127.0.0.1:$port"
    say pid "$DAEMON"
    say api files
    say mode "$mode"
    say durable no
    say version "$(nginx -v 2>&1 | sed 's|.*/||')"
}

evidence() { say evidence "none: it has no durable mode for files that are put"; }

main "$@"
