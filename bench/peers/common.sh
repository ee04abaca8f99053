# Sourced by every script of this directory: one script per server that is measured beside the appliance.
#
#   NAME.sh install               installs or builds it by its ordinary package client, once; later calls return at once
#   NAME.sh start MODE DIR PORT   starts it on 127.0.0.1:PORT with its data in DIR, and says key=value lines (below)
#   NAME.sh evidence DIR          reads the durable setting back from the running server: one line evidence=...
#   NAME.sh stop DIR              ends the processes that start began, and nothing else
#   NAME.sh modes                 the modes that start takes, the default first
#
# Lines of start: url=, pid= (once per process), mode=, version=, durable=yes|no (what its documents or sources say, left out
# by who stores nothing; the flushes of the disk are counted besides), and where they apply access_key=, secret_key=, region=.
# A server that cannot be had says not_run=REASON and nothing else, and every command that says so ends well: a comparison goes
# on without it.
#
# A script defines install, modes, start, evidence; this file holds what they share.
set -euo pipefail

# Where programs are installed: never in the tree.
PEERS=${BENCH_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/zerobench}
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Servers run on this core, the load on another one.
CORE=${BENCH_SERVER_CORE:-0}
# How long a server may take until it answers.
START_SECONDS_MAX=${BENCH_START_SECONDS:-60}

say() { printf '%s=%s\n' "$1" "$2"; }
note() { printf '%s\n' "$*" >&2; }

# The reason why there is nothing about this server, in one line; ends the script well. It goes to the script's own output, also
# from an installation within start.
not_run() {
    say not_run "$(tr -s '\t\n ' ' ' <<<"$*" | sed 's/ $//')" >&"${OUTPUT:-1}"
    exit 0
}

# Debian packages, only those that are missing, without starting the services that some of them bring.
debian() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    note "installing ${missing[*]}"
    local sudo=()
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    local policy=/usr/sbin/policy-rc.d made=
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee $policy >/dev/null
        "${sudo[@]}" chmod 755 $policy
        made=yes
    fi
    local options=(-q -o DPkg::Lock::Timeout=600 -o Acquire::Retries=5) code=0
    {
        "${sudo[@]}" apt-get "${options[@]}" update &&
            "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" install -y --no-install-recommends "${missing[@]}"
    } >"$PEERS/apt.log" 2>&1 || code=$?
    [ -z "$made" ] || "${sudo[@]}" rm -f $policy
    [ $code -eq 0 ] || not_run "its packages cannot be installed: $(grep -m1 '^E:' "$PEERS/apt.log" || tail -1 "$PEERS/apt.log")"
}

# built NAME-VERSION TOOL COMMAND...: runs a command in $PEERS/NAME-VERSION that builds or fetches, unless it did so before.
built() {
    local name=$1 tool=$2
    shift 2
    [ -e "$PEERS/$name/complete" ] && return
    command -v "$tool" >/dev/null || not_run "it is built with $tool, which is not here"
    mkdir -p "$PEERS/$name"
    note "building $name"
    # Built there, whatever workspace this shell stands in.
    (cd "$PEERS/$name" && env -u CARGO_TARGET_DIR GOTOOLCHAIN=local GOBIN="$PEERS/$name/bin" "$@") >"$PEERS/$name/build.log" 2>&1 ||
        not_run "it cannot be built: $(grep -v '^ *$' "$PEERS/$name/build.log" | tail -1)"
    touch "$PEERS/$name/complete"
}

# A port that nobody listens on, for servers that need more than one.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# What this call started, as lines of DIR/pids.
OURS=()

# When a process began, in clock ticks after boot: with it a pid names one process for ever. Nothing if there is none.
began() {
    [ -r "/proc/$1/stat" ] || return 0
    # The name in parentheses may hold anything, so fields are counted behind it: the 20th there.
    sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
}

# daemon DIR NAME COMMAND...: starts a process of its own group on the servers' core; its pid is in DAEMON afterwards.
daemon() {
    local dir=$1 name=$2
    shift 2
    taskset -c "$CORE" setsid "$@" >>"$dir/$name.log" 2>&1 </dev/null &
    DAEMON=$!
    # Until it has its group, ending the group would miss it.
    while [ -e "/proc/$DAEMON" ] && ! group_lives "$DAEMON"; do
        sleep 0.01
    done
    OURS+=("$DAEMON $(began "$DAEMON") $name")
    printf '%s\n' "${OURS[-1]}" >>"$dir/pids"
}

# Whether a process or one of its descendants is the one that listens on a port of this machine.
listens() {
    python3 - "$1" "$2" <<'PYTHON'
import glob, os, sys

root, port = int(sys.argv[1]), int(sys.argv[2])
parents = {}
for path in glob.glob("/proc/[0-9]*/stat"):
    try:
        fields = open(path).read().rsplit(") ", 1)[1].split()
    except OSError:
        continue
    parents[int(path.split("/")[2])] = int(fields[1])
members, grown = {root}, True
while grown:
    more = {pid for pid, parent in parents.items() if parent in members} - members
    members, grown = members | more, bool(more)
inodes = set()
for table in ("/proc/net/tcp", "/proc/net/tcp6"):
    for line in open(table).read().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
            inodes.add(f"socket:[{fields[9]}]")
for pid in members:
    for link in glob.glob(f"/proc/{pid}/fd/*"):
        try:
            if os.readlink(link) in inodes:
                sys.exit(0)
        except OSError:
            pass
sys.exit(1)
PYTHON
}

# wait_for DIR NAME PID PORT [COMMAND...]: until the process listens there and the command succeeds.
wait_for() {
    local dir=$1 name=$2 pid=$3 port=$4 until=$((SECONDS + START_SECONDS_MAX))
    shift 4
    while true; do
        if [ ! -e "/proc/$pid" ]; then
            note "$name ended at its start: $(tail -3 "$dir/$name.log")"
            return 1
        fi
        # `${@:-true}`: without a command the listener is enough.
        if listens "$pid" "$port" && "${@:-true}" >/dev/null 2>&1; then
            return 0
        fi
        if [ $SECONDS -ge $until ]; then
            note "$name does not answer after $START_SECONDS_MAX s: $(tail -3 "$dir/$name.log")"
            return 1
        fi
        sleep 0.1
    done
}

# An HTTP server that answers anything at all.
answers() { curl -s -o /dev/null --max-time 2 "$1"; }

# The process that start called NAME.
pid_of() { awk -v name="$2" '$3 == name { print $1 }' "$1/pids"; }

# The value that a running process was started with.
setting_of() { tr '\0' '\n' <"/proc/$1/environ" | sed -n "s/^$2=//p"; }

# Whether any process of a group is left; a zombie is not.
group_lives() {
    # Behind the name: state, parent, group. Processes may end while they are read.
    { cat /proc/[0-9]*/stat 2>/dev/null || true; } | sed 's/.*) //' |
        awk -v group="$1" '$3 == group && $1 != "Z" && $1 != "X" { found = 1 } END { exit !found }'
}

# Ends the groups of processes that lines of a file like DIR/pids name, the last one first.
end_all() {
    local pid ticks name now waited
    while read -r pid ticks name; do
        now=$(began "$pid")
        # Another process that got the number is not ours. Where the first of a group is gone, the others may be left.
        if [ -n "$now" ] && [ "$now" != "$ticks" ] || ! group_lives "$pid"; then
            continue
        fi
        kill -TERM -- "-$pid" 2>/dev/null || true
        for waited in $(seq 100); do
            group_lives "$pid" || break
            [ "$waited" -lt 100 ] || kill -KILL -- "-$pid" 2>/dev/null || true
            sleep 0.1
        done
    done < <(tac)
}

stop() {
    [ -e "$1/pids" ] || return 0
    end_all <"$1/pids"
    rm -f "$1/pids"
}

# evidence DIR, for servers that have no setting to read back.
evidence() { say evidence "none: it has no setting for this"; }

# What this call started goes when the start as a whole fails: not what another call may have started there meanwhile.
guarded_start() {
    mkdir -p "$2"
    trap '[ $? -eq 0 ] || [ ${#OURS[@]} -eq 0 ] || printf "%s\n" "${OURS[@]}" | end_all' EXIT
    start "$@"
}

main() {
    local command=${1:-}
    shift || true
    mkdir -p "$PEERS"
    case "$command/$#" in
        install/0) install ;;
        modes/0) modes ;;
        start/3)
            modes | tr ' ' '\n' | grep -qx -- "$1" || { note "no mode $1; there are: $(modes)"; exit 2; }
            OUTPUT=3 install 3>&1 >&2
            guarded_start "$1" "$(realpath -m "$2")" "$3"
            ;;
        evidence/1 | stop/1) "$command" "$(realpath -m "$1")" ;;
        *) note "usage: $0 install | modes | start MODE DIR PORT | evidence DIR | stop DIR"; exit 2 ;;
    esac
}
