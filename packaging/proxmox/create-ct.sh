#!/usr/bin/env bash
# Makes an unprivileged container on a Proxmox VE host and installs the package in it.
#
#   create-ct.sh --id ID --deb FILE [options]
#
#   --id ID              number of the container; `pvesh get /cluster/nextid` names a free one
#   --deb FILE           the package, zerocloud_VERSION_amd64.deb
#   --hostname NAME      default: zerocloud
#   --templates STORAGE  where templates lie; default: local
#   --storage STORAGE    where its disks are made; default: local-lvm
#   --root-gib N         default: 8
#   --data-gib N         the volume of the data directory; default: 100
#   --cores N            default: 4
#   --memory-mib N       default: 4096
#   --bridge NAME        default: vmbr0
#   --dry-run            print what would be done; only ask, change nothing
#
# Each command that changes something is printed before it runs. What is there already is left alone, so a second run with the same
# options changes nothing, and a run that was interrupted goes on where it ended.
set -euo pipefail

RELEASE=debian-12-standard
DATA=/var/lib/zerocloud
CONFIGURATIONS=${PVE_CONFIGURATIONS:-/etc/pve}
# Asked again and again, since just after a start nobody answers. "degraded" is good enough: some unit of the template fails in most containers.
# shellcheck disable=SC2016 # The container's shell has these.
BOOTED='for try in $(seq 300); do case $(systemctl is-system-running --wait) in running | degraded) exit 0 ;; esac; sleep 1; done; exit 1'

id='' deb='' hostname=zerocloud templates=local storage=local-lvm root_gib=8 data_gib=100 cores=4 memory_mib=4096 bridge=vmbr0 dry_run=''

fail() {
    echo "create-ct: $*" >&2
    exit 1
}

usage() {
    sed -n '2,/^set /p' "$0" | sed -n 's/^# \{0,1\}//p'
}

# A command that changes something.
run() {
    printf '+'
    printf ' %q' "$@"
    printf '\n'
    [ -n "$dry_run" ] || "$@"
}

options() {
    while [ $# -gt 0 ]; do
        case "$1" in
            --dry-run) dry_run=yes; shift; continue ;;
            --help | -h) usage; exit 0 ;;
            --id | --deb | --hostname | --templates | --storage | --root-gib | --data-gib | --cores | --memory-mib | --bridge)
                [ $# -ge 2 ] || fail "$1 needs a value"
                ;;
            *) echo "create-ct: unknown option $1" >&2; usage >&2; exit 64 ;;
        esac
        case "$1" in
            --id) id=$2 ;;
            --deb) deb=$2 ;;
            --hostname) hostname=$2 ;;
            --templates) templates=$2 ;;
            --storage) storage=$2 ;;
            --root-gib) root_gib=$2 ;;
            --data-gib) data_gib=$2 ;;
            --cores) cores=$2 ;;
            --memory-mib) memory_mib=$2 ;;
            --bridge) bridge=$2 ;;
        esac
        shift 2
    done
    local value
    for value in "$id" "$root_gib" "$data_gib" "$cores" "$memory_mib"; do
        [[ $value =~ ^[1-9][0-9]*$ ]] || fail "--id, --root-gib, --data-gib, --cores and --memory-mib are whole numbers; --id has no default"
    done
    [ -f "$deb" ] || fail "--deb: no such file: ${deb:-none was named}"
    local program
    for program in pct pveam dpkg-deb; do
        command -v "$program" >/dev/null || fail "$program is missing: this script runs on a Proxmox VE host, as root"
    done
}

# The name of the template changes with each point release, so it is asked for and not written down.
template() {
    local newest
    newest=$(pveam available --section system | awk -v release="$RELEASE" 'index($2, release "_") == 1 { print $2 }' | sort -V | tail -n 1)
    [ -n "$newest" ] || fail "no template $RELEASE is known; run: pveam update"
    echo "$newest"
}

create() {
    if pct config "$id" >/dev/null 2>&1; then
        # The tag is ours: another's container is not touched.
        grep -qE '^tags:.*\bzerocloud\b' <<<"$(pct config "$id")" || fail "container $id is there and is not of this script (it has no tag zerocloud)"
        echo "container $id is there"
        return
    fi
    local name
    name=$(template)
    if ! grep -qF "vztmpl/$name" <<<"$(pveam list "$templates")"; then
        run pveam download "$templates" "$name"
    fi
    # Nesting: without it systemd cannot build the sandbox of the unit.
    run pct create "$id" "$templates:vztmpl/$name" --hostname "$hostname" --tags zerocloud --unprivileged 1 --features nesting=1 \
        --cores "$cores" --memory "$memory_mib" --swap 0 --rootfs "$storage:$root_gib" \
        --mp0 "$storage:$data_gib,mp=$DATA,backup=1" --net0 "name=eth0,bridge=$bridge,ip=dhcp" --onboot 1
}

# Buffers that are registered with the kernel count as locked memory, of which a container may have 8 MiB.
memory_lock() {
    local file=$CONFIGURATIONS/lxc/$id.conf line='lxc.prlimit.memlock: unlimited'
    if grep -qxF "$line" "$file" 2>/dev/null; then
        return
    fi
    # Below the heads of snapshots the line would be a snapshot's.
    if grep -q '^\[' "$file" 2>/dev/null; then
        fail "$file has snapshots: write '$line' above the first of them by hand"
    fi
    # shellcheck disable=SC2016 # The inner shell's arguments.
    run sh -c 'printf "%s\n" "$1" >>"$2"' sh "$line" "$file"
}

start() {
    if grep -q running <<<"$(pct status "$id" 2>/dev/null)"; then
        echo "container $id runs"
    else
        run pct start "$id"
    fi
    run timeout 300 pct exec "$id" -- sh -c "$BOOTED"
}

package() {
    local wanted installed
    wanted=$(dpkg-deb -f "$deb" Version)
    # The status, too: of a package that was removed and not purged dpkg still knows the version.
    # shellcheck disable=SC2016 # Fields of dpkg.
    installed=$(pct exec "$id" -- dpkg-query -W -f '${db:Status-Status} ${Version}' zerocloud 2>/dev/null) || installed=''
    if [ "$installed" = "installed $wanted" ]; then
        echo "zerocloud $wanted is installed"
        return
    fi
    run pct push "$id" "$deb" /root/zerocloud.deb
    run pct exec "$id" -- apt-get -q update
    run pct exec "$id" -- env DEBIAN_FRONTEND=noninteractive apt-get -q install -y /root/zerocloud.deb
    run pct exec "$id" -- rm /root/zerocloud.deb
}

options "$@"
create
memory_lock
start
package
cat <<END

The appliance listens on the container's own loopback. To go on:
    pct enter $id
    eval "\$(zerocloud env --data $DATA)"
    zerocloud doctor --data $DATA
END
