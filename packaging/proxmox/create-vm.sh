#!/usr/bin/env bash
# Makes a virtual machine on a Proxmox VE host from a Debian cloud image; its first start installs the package.
#
#   create-vm.sh --id ID --deb FILE --image FILE --ssh-keys FILE [options]
#
#   --id ID              number of the machine; `pvesh get /cluster/nextid` names a free one
#   --deb FILE           the package, zerocloud_VERSION_amd64.deb; it reaches the machine on a CD of its own
#   --image FILE         a Debian 12 or 13 cloud image (genericcloud, qcow2), checked against Debian's SHA512SUMS
#   --ssh-keys FILE      public keys that may enter as the user debian
#   --name NAME          default: zerocloud
#   --storage STORAGE    where its disks are made; default: local-lvm
#   --files STORAGE      one with the contents "ISO image" and "Snippets"; default: local
#   --root-gib N         default: 16
#   --data-gib N         the disk of the data directory; default: 100
#   --cores N            default: 4
#   --memory-mib N       default: 4096
#   --bridge NAME        default: vmbr0
#   --dry-run            print what would be done; only ask, change nothing
#
# Each command that changes something is printed before it runs. What is there already is left alone, so a second run with the same
# options changes nothing, and a run that was interrupted goes on where it ended.
set -euo pipefail

DATA=/var/lib/zerocloud
DATA_DISK=/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_drive-scsi1
BLANK_BYTES=1048576
# Where ext4, in blocks of 4 KiB, keeps the first copy of its head.
COPY_PLACE=134217728

id='' deb='' image='' ssh_keys='' name=zerocloud storage=local-lvm files=local root_gib=16 data_gib=100 cores=4 memory_mib=4096
bridge=vmbr0 dry_run=''

fail() {
    echo "create-vm: $*" >&2
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
            --id | --deb | --image | --ssh-keys | --name | --storage | --files | --root-gib | --data-gib | --cores | --memory-mib | --bridge)
                [ $# -ge 2 ] || fail "$1 needs a value"
                ;;
            *) echo "create-vm: unknown option $1" >&2; usage >&2; exit 64 ;;
        esac
        case "$1" in
            --id) id=$2 ;;
            --deb) deb=$2 ;;
            --image) image=$2 ;;
            --ssh-keys) ssh_keys=$2 ;;
            --name) name=$2 ;;
            --storage) storage=$2 ;;
            --files) files=$2 ;;
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
    local file
    for file in "$deb" "$image" "$ssh_keys"; do
        [ -f "$file" ] || fail "--deb, --image and --ssh-keys name files; no such file: ${file:-none was named}"
    done
    # qm takes the image by its path only when that is absolute.
    image=$(realpath "$image")
    local program
    for program in qm pvesm genisoimage; do
        command -v "$program" >/dev/null || fail "$program is missing: this script runs on a Proxmox VE host, as root"
    done
}

# What the first start does. cloud-init begins anew with each instance, and a machine becomes another one by a new root disk, key or address:
# whatever stands here meets disks that hold data. So cloud-init's own fs_setup is no choice: without a partition it formats what is there.
first_start() {
    cat <<END
#cloud-config
package_update: true
packages: [qemu-guest-agent]
bootcmd:
  # At every start, before anything is mounted. Only a blank disk is formatted: no signature anywhere on it (code 2), and nothing but zeros at
  # its beginning and where ext4 keeps the first copy of its head, which is neither so of a file system that lost its head nor of a disk that
  # cannot be read.
  - |
    [ -e $DATA_DISK ] || udevadm settle
    blkid -p $DATA_DISK
    if [ \$? -eq 2 ] && cmp -s -n $BLANK_BYTES $DATA_DISK /dev/zero &&
      cmp -s -i $COPY_PLACE:0 -n $BLANK_BYTES $DATA_DISK /dev/zero; then mkfs.ext4 -q -L zerocloud $DATA_DISK; fi
write_files:
  # Without its disk the machine starts, so that somebody can look, but not the appliance: it would begin anew on the root disk.
  - path: /etc/systemd/system/zerocloud.service.d/data-disk.conf
    content: &unit |
      [Unit]
      RequiresMountsFor=$DATA
      AssertPathIsMountPoint=$DATA
  - path: /etc/systemd/system/zerocloud.socket.d/data-disk.conf
    content: *unit
mounts:
  - [LABEL=zerocloud, $DATA, ext4, "defaults,noatime,nofail", "0", "2"]
runcmd:
  - [systemctl, start, qemu-guest-agent]
  - set -eu
  - mountpoint -q $DATA || { echo "the data disk is not mounted at $DATA, so nothing is installed; see blkid -p $DATA_DISK" >&2; exit 1; }
  - [mkdir, -p, /run/zerocloud-cd]
  - [mount, -o, ro, LABEL=ZEROCLOUD, /run/zerocloud-cd]
  - [env, DEBIAN_FRONTEND=noninteractive, apt-get, -q, install, -y, /run/zerocloud-cd/zerocloud.deb]
  - [umount, /run/zerocloud-cd]
END
}

# Writes standard input to a file that holds something else or is not there.
write() {
    local path=$1 text
    text=$(cat)
    if [ -f "$path" ] && [ "$(cat "$path")" = "$text" ]; then
        return
    fi
    # shellcheck disable=SC2016 # The inner shell's arguments.
    run sh -c 'printf "%s\n" "$1" >"$2"' sh "$text" "$path"
}

create() {
    if qm config "$id" >/dev/null 2>&1; then
        # The tag is ours: another's machine is not touched.
        grep -qE '^tags:.*\bzerocloud\b' <<<"$(qm config "$id")" || fail "machine $id is there and is not of this script (it has no tag zerocloud)"
        echo "machine $id is there"
        return
    fi
    local cd snippet
    cd=$(pvesm path "$files:iso/zerocloud-$id.iso")
    snippet=$(pvesm path "$files:snippets/zerocloud-$id.yaml")
    run genisoimage -quiet -V ZEROCLOUD -r -graft-points -o "$cd" "zerocloud.deb=$deb"
    first_start | write "$snippet"
    # host: the SIMD of the machine. iothread, discard and ssd: punched holes reach the pool. No cache=unsafe, ever: it drops flushes, and
    # with them what was acknowledged.
    run qm create "$id" --name "$name" --tags zerocloud --ostype l26 --cpu host --cores "$cores" --memory "$memory_mib" --balloon 0 \
        --scsihw virtio-scsi-single --agent enabled=1 --serial0 socket --net0 "virtio,bridge=$bridge" \
        --scsi0 "$storage:0,import-from=$image,iothread=1,discard=on,ssd=1" \
        --scsi1 "$storage:$data_gib,iothread=1,discard=on,ssd=1,backup=1" \
        --ide0 "$files:iso/zerocloud-$id.iso,media=cdrom" --ide2 "$storage:cloudinit" --boot order=scsi0 \
        --ciuser debian --sshkeys "$ssh_keys" --ipconfig0 ip=dhcp --cicustom "vendor=$files:snippets/zerocloud-$id.yaml" --onboot 1
}

# The image brings a disk of a few GiB. One that somebody made larger since stays as it is.
grow() {
    local size
    size=$(sed -nE 's/^scsi0:.*size=([0-9]+[KMGT]?).*/\1/p' <<<"$(qm config "$id" 2>/dev/null)")
    [ "$(numfmt --from=iec "${size:-0}")" -ge $((root_gib << 30)) ] || run qm disk resize "$id" scsi0 "${root_gib}G"
}

start() {
    if grep -q running <<<"$(qm status "$id" 2>/dev/null)"; then
        echo "machine $id runs"
    else
        run qm start "$id"
    fi
}

options "$@"
create
grow
start
cat <<END

The first start takes some minutes. The appliance listens on the machine's own loopback. To go on (the console shows the address):
    ssh debian@ADDRESS cloud-init status --wait
    ssh debian@ADDRESS sudo zerocloud env --data $DATA
    ssh debian@ADDRESS sudo zerocloud doctor --data $DATA
END
