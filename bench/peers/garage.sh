#!/usr/bin/env bash
# Garage, a single node. `durable` syncs data and metadata; its LMDB never syncs its meta page, so that the last transaction
# before a loss of power may be lost all the same.
source "$(dirname "$0")/common.sh"
VERSION=2.5.0

install() {
    command -v pkg-config >/dev/null || debian pkg-config
    built garage-$VERSION cargo cargo install garage --version $VERSION --locked --root .
}
modes() { echo default durable; }

start() {
    local mode=$1 dir=$2 port=$3 sync=false
    local access_key=GK626e6368626e6368626e6368 secret_key
    secret_key=$(printf 'be%.0s' $(seq 32))
    [ "$mode" = durable ] && sync=true
    mkdir -p "$dir/data" "$dir/meta"
    cat >"$dir/garage.toml" <<TOML
metadata_dir = "$dir/meta"
data_dir = "$dir/data"
db_engine = "lmdb"
metadata_fsync = $sync
data_fsync = $sync
replication_factor = 1
rpc_bind_addr = "127.0.0.1:$(free_port)"
rpc_secret = "$secret_key"
[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:$port"
root_domain = ".s3.garage.localhost"
TOML
    GARAGE_CONFIG_FILE="$dir/garage.toml" GARAGE_DEFAULT_ACCESS_KEY=$access_key GARAGE_DEFAULT_SECRET_KEY=$secret_key \
        GARAGE_DEFAULT_BUCKET=bench RUST_LOG=error \
        daemon "$dir" garage "$PEERS/garage-$VERSION/bin/garage" server --single-node --default-bucket
    wait_for "$dir" garage "$DAEMON" "$port" answers "http://127.0.0.1:$port/"
    say url "http://127.0.0.1:$port"
    say pid "$DAEMON"
    say access_key $access_key
    say secret_key "$secret_key"
    say region garage
    say mode "$mode"
    say durable "$([ "$mode" = durable ] && echo yes || echo no)"
    say version $VERSION
}

evidence() {
    local file
    file=$(setting_of "$(pid_of "$1" garage)" GARAGE_CONFIG_FILE)
    say evidence "$(grep -E '^(metadata|data)_fsync|^db_engine' "$file" | tr '\n' ' ' | sed 's/ = /=/g; s/ $//')"
}

main "$@"
