#!/usr/bin/env bash
# Ceph's object gateway over one monitor, one manager and one BlueStore OSD on a file: Debian's packages, a series of 2021.
source "$(dirname "$0")/common.sh"
# What the OSD's file may hold; it is sparse.
BLOCK_BYTES=$((20 << 30))

install() { debian radosgw ceph-mon ceph-mgr ceph-osd ceph-common; }
modes() { echo default; }

# ceph DIR ARGUMENTS...: its own tools against this cluster.
ceph_of() {
    local dir=$1
    shift
    ceph -c "$dir/ceph.conf" --connect-timeout 20 "$@"
}

configure() {
    local dir=$1 port=$2 id=$3
    cat >"$dir/ceph.conf" <<CONF
[global]
fsid = $id
mon_host = [v2:127.0.0.1:$(free_port)/0,v1:127.0.0.1:$(free_port)/0]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_mon_client_mode = crc
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_data = $dir/mon
mgr_data = $dir/mgr
osd_data = $dir/osd
osd_objectstore = bluestore
bluestore_block_size = $BLOCK_BYTES
run_dir = $dir/run
admin_socket = $dir/run/\$name.asok
pid_file = $dir/run/\$name.pid
log_file = $dir/\$name.log
mon_cluster_log_file = $dir/cluster.log
crash_dir = $dir/crash
rgw_frontends = beast endpoint=127.0.0.1:$port
rgw_enable_usage_log = false
CONF
}

start() {
    local dir=$2 port=$3 id mon=() one
    id=$(cat /proc/sys/kernel/random/uuid)
    mkdir -p "$dir/mon" "$dir/mgr" "$dir/osd" "$dir/run" "$dir/crash"
    configure "$dir" "$port" "$id"
    mon=(-c "$dir/ceph.conf" -i a)
    monmaptool --create --addv a "$(sed -n 's/^mon_host = //p' "$dir/ceph.conf")" --fsid "$id" --clobber "$dir/monmap" >>"$dir/admin.log" 2>&1
    ceph-mon "${mon[@]}" --mkfs --monmap "$dir/monmap" >>"$dir/admin.log" 2>&1
    daemon "$dir" mon ceph-mon "${mon[@]}" -f
    local monitor=$DAEMON
    ceph_of "$dir" config set mon auth_allow_insecure_global_id_reclaim false >>"$dir/admin.log" 2>&1
    daemon "$dir" mgr ceph-mgr -c "$dir/ceph.conf" -i x -f
    local manager=$DAEMON
    one=$(cat /proc/sys/kernel/random/uuid)
    ceph_of "$dir" osd new "$one" >>"$dir/admin.log" 2>&1
    ceph-osd -c "$dir/ceph.conf" -i 0 --mkfs --osd-uuid "$one" >>"$dir/admin.log" 2>&1
    daemon "$dir" osd ceph-osd -c "$dir/ceph.conf" -i 0 -f
    local store=$DAEMON
    daemon "$dir" rgw radosgw -c "$dir/ceph.conf" -n client.rgw.a -f
    wait_for "$dir" rgw "$DAEMON" "$port" answers "http://127.0.0.1:$port/"
    radosgw-admin -c "$dir/ceph.conf" -n client.rgw.a user create --uid bench --display-name bench \
        --access-key benchbench --secret-key benchbenchbench >/dev/null 2>>"$dir/admin.log"
    say url "http://127.0.0.1:$port"
    local pid
    for pid in "$monitor" "$manager" "$store" "$DAEMON"; do
        say pid "$pid"
    done
    say access_key benchbench
    say secret_key benchbenchbench
    say mode default
    say durable yes
    say version "$(radosgw --version | cut -d' ' -f3)"
}

evidence() {
    local kind size
    kind=$(ceph --admin-daemon "$1/run/osd.0.asok" config get osd_objectstore | tr -d ' {}"\n')
    size=$(ceph_of "$1" osd pool get default.rgw.buckets.data size 2>/dev/null || ceph_of "$1" osd pool get .rgw.root size)
    say evidence "$kind, pool $size"
}

main "$@"
