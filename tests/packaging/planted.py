"""Mistakes that check.py must find: they are written into copies of packaging/, as many into one as do not hide each other."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mistake:
    """`there` becomes `instead` in `file`; then `check` must say something with `heard` in it. `alone`: it hides others, or they it."""

    check: str
    file: str
    there: str
    instead: str
    heard: str
    alone: bool = False


RULES, BOARD = "monitoring/zerocloud.rules.yml", "monitoring/grafana-dashboard.json"
COMPOSE, PODS, IMAGE = "docker/compose.yaml", "kubernetes/zerocloud.yaml", "docker/Dockerfile"
CT, VM = "proxmox/create-ct.sh", "proxmox/create-vm.sh"
README = "../README.md"
LIVENESS = "livenessProbe:\n            httpGet:\n              path: /-/live"

MISTAKES = [
    # Metrics.
    Mistake("rules", RULES, "zerocloud_shard_writable ==", "zerocloud_shard_writeable ==", "no metric zerocloud_shard_writeable"),
    Mistake("rules", RULES, 'reason="size"', 'cause="size"', "has no label cause"),
    Mistake("rules", RULES, 'reason="size"', 'reason="space"', "has never reason='space'"),
    Mistake("rules", RULES, "on (job, instance, shard)", "on (job, instance, disk)", "has the label disk"),
    Mistake("rules", RULES, "{{ $labels.shard }}", "{{ $labels.disk }}", "names the label disk"),
    Mistake("rules", RULES, "expr: zerocloud_ready == 0", "expr: zerocloud_ready == 0)", "promtool check config", True),
    Mistake("rules", RULES, "expr: zerocloud_ready == 0", "expr: zerocloud_ready == 1", "promtool test rules", True),
    Mistake("rules", RULES, "severity: critical\n        ann", "severity: urgent\n        ann", "its severity is none"),
    Mistake("rules", RULES, "alert: ZeroCloudDown", "alert: ZeroCloudGone", "do not show that it fires"),
    Mistake("dashboard", BOARD, "zerocloud_request_duration_seconds_bucket", "zerocloud_request_seconds_bucket", "no metric"),
    Mistake("dashboard", BOARD, "{{dialect}}", "{{language}}", "names the label language"),
    Mistake("dashboard", BOARD, '"id": 3,', '"id": 2,', "panel id 2"),
    Mistake("dashboard", BOARD, '"links": []', '"links": ["https://example.com"]', "an address outside"),
    Mistake("dashboard", BOARD, "label_values(zerocloud_build_info, job)", "label_values(zerocloud_info, job)", "no metric zerocloud_info"),
    Mistake("dashboard", BOARD, "rate(", "rate((", "promtool check rules", True),
    Mistake("dashboard", BOARD, '"schemaVersion"', "schemaVersion", "grafana-dashboard.json: Expecting", True),
    # Commands, flags, ports, paths, keys and variables.
    Mistake("words", IMAGE, '"--listen", "0', '"--listen-on", "0', "no flag --listen-on"),
    Mistake("words", IMAGE, '"/usr/bin/zerocloud", "health"', '"/usr/bin/zerocloud", "healthy"', "no command healthy"),
    Mistake("words", IMAGE, "EXPOSE 8080", "EXPOSE 8090", "port 8090"),
    Mistake("words", IMAGE, "ENV ZEROCLOUD_DATA", "ENV ZEROCLOUD_DIRECTORY", "ZEROCLOUD_DIRECTORY means nothing"),
    Mistake("words", COMPOSE, "--allow-plaintext]", "--allow-plain]", "no flag --allow-plain"),
    Mistake("words", COMPOSE, "MAX_CACHE_SIZE: ", "MAX_WORKERS: ", "MAX_WORKERS means nothing"),
    Mistake("words", COMPOSE, "[cache, serve, --listen, ", "[cache, start, --listen, ", "no command start", True),
    Mistake("words", PODS, "drain_timeout = 30", "drain_timout = 30", "drain_timout"),
    Mistake("words", PODS, 'level = "info"', 'level = "chatty"', "chatty", True),
    Mistake("words", PODS, "path: /-/ready", "path: /-/health", "nothing is served at /-/health"),
    Mistake("words", PODS, "ZEROCLOUD_DATA", "ZEROCLOUD_DATUM", "ZEROCLOUD_DATUM means nothing"),
    Mistake("words", "kubernetes/cache.yaml", "- --tls-cert", "- --tls-certificate", "no flag --tls-certificate"),
    Mistake("words", "kubernetes/cache.yaml", "value: 80GiB", "value: 80Gi", "size `80Gi`", True),
    Mistake("words", COMPOSE, "--listen, \"0.0.0.0:8080\"", "--listen, \"0.0.0.0\"", "0.0.0.0", True),
    Mistake("words", "monitoring/prometheus.yml", "127.0.0.1:8080", "127.0.0.1:9000", "port 9000"),
    Mistake("words", "monitoring/prometheus.yml", "metrics_path: /-/metrics", "metrics_path: /-/metric", "nothing is served at /-/metric"),
    Mistake("words", "monitoring/README.md", "(`zerocloud_started_after_cut`", "(`zerocloud_started_after_cuts`", "no metric zerocloud_started_after_cuts"),
    Mistake("words", RULES, "cache.max_bytes", "cache.max_size", "no key cache.max_size"),
    Mistake("words", CT, "zerocloud env --data", "zerocloud env --dir", "no flag --dir"),
    Mistake("words", VM, "zerocloud doctor --data", "zerocloud examine --data", "no command examine"),
    Mistake("words", "zerocloud.toml", "#max_bytes", "#max_size", "no key cache.max_size"),
    Mistake("words", "zerocloud.toml", "data = ", "date = ", "unknown key `date`", True),
    Mistake("words", "systemd/zerocloud.service", "zerocloud serve --config", "zerocloud serve --configuration", "no flag --configuration"),
    Mistake("words", "systemd/zerocloud.socket", "127.0.0.1:8080", "127.0.0.1:8088", "port 8088"),
    Mistake("words", "docker/README.md", "`/-/metrics`", "`/-/figures`", "nothing is served at /-/figures"),
    Mistake("words", "kubernetes/README.md", "zerocloud env", "zerocloud environment", "no command environment"),
    # Schemas, linters and what must be there.
    Mistake("compose", COMPOSE, "read_only: true", "readonly: true", "schema"),
    Mistake("compose", COMPOSE, "stop_grace_period: 60s", "stop_grace_period: 20s", "mid-drain"),
    Mistake("compose", COMPOSE, "seccomp=./seccomp.json", "seccomp=./profile.json", "no seccomp profile"),
    Mistake("compose", COMPOSE, "image: zerocloud:0.1.0", "image: zerocloud:latest", "no chosen version"),
    Mistake("compose", COMPOSE, '"127.0.0.1:8080:8080"', '"127.0.0.1:8080:80"', "where nobody listens"),
    Mistake("image", IMAGE, "USER 10001:10001", "USER zerocloud", "a user by number"),
    Mistake("image", IMAGE, "FROM debian:bookworm-slim", "FROM debian:latest", "no version"),
    Mistake("kubernetes", PODS, "readinessProbe:", "readynessProbe:", "schema"),
    Mistake("kubernetes", PODS, "accessModes: [ReadWriteOncePod]", "accessModes: [ReadWriteMany]", "shares its volume"),
    Mistake("kubernetes", PODS, "path: /-/live", "path: /-/ready", "startupProbe asks /-/ready"),
    Mistake("kubernetes", PODS, LIVENESS, LIVENESS.replace("live", "ready").replace("readyness", "liveness"), "livenessProbe asks /-/ready", True),
    Mistake("kubernetes", PODS, "failureThreshold: 60", "failureThreshold: 6", "killed before it listens"),
    Mistake("kubernetes", PODS, 'cpu: "4"', 'cpu: "2"', "less than it may have"),
    Mistake("kubernetes", PODS, "containerPort: 8080", "containerPort: 8081", "8081"),
    Mistake("kubernetes", PODS, "enableServiceLinks: false", "enableServiceLinks: true", "look like settings"),
    Mistake("seccomp", "docker/seccomp.json", '"io_uring_enter", ', "", "does not allow", True),
    Mistake("seccomp", "docker/seccomp.json", '"mmap", ', "", "the backend is", True),
    Mistake("seccomp", "docker/seccomp.json", '"architectures"', '"archMap"', "only some engines", True),
    Mistake("scripts", CT, 'sort -V | tail -n 1)\n    [ -n "$newest" ]', "sort -V | tail -n 1)\n    [ -n $newest ]", "SC2070"),
    Mistake("scripts", "build", "GLIBC_ABI_[A-Z0-9_]*", "GLIBC_ABI_[A-Z_]*", "needs GLIBC_ABI_GNU2_TLS ends with 0"),
    Mistake("units", "systemd/zerocloud.service", "Type=notify", "Type=notifying", "verify"),
    Mistake("units", "systemd/zerocloud.socket", "Backlog=16384", "Backlog=4096", "somaxconn"),
    Mistake("units", "systemd/zerocloud.service", "\nCapabilityBoundingSet=\n", "\nCapabilityBoundingSet=~\n", "more exposed", True),
    Mistake("proxmox", CT, "--features nesting=1", "--features nesting=0", "create-ct.sh: command 2 is"),
    Mistake("proxmox", CT, "    printf '+'\n", "    printf '*'\n", "a dry run does not print"),
    Mistake("proxmox", CT, "if grep -qxF", "if ! grep -qxF", "memory lock"),
    Mistake("proxmox", VM, "discard=on,ssd=1,backup=1", "cache=unsafe,backup=1", "create-vm.sh: command 2 is"),
    Mistake("proxmox", VM, '[ -n "$dry_run" ] || "$@"', '"$@"', "create-vm.sh: a dry run changes something", True),
    Mistake("proxmox", CT, "${db:Status-Status} ${Version}", "installed ${Version}", "removed for one that is installed"),
    Mistake("proxmox", CT, "for try in $(seq 300)", "for try in 1", "'offline; unknown; starting; degraded' ends the waiting with 1", True),
    Mistake("proxmox", CT, "degraded) exit 0", "degraded | maintenance) exit 0", "'offline; maintenance' ends the waiting with 0", True),
    Mistake("proxmox", VM, "\\$? -eq 2 ] &&", "\\$? -le 2 ] &&", "a RAID, which says so at its end is overwritten", True),
    Mistake("proxmox", VM, "blkid -p $DATA_DISK\n", "true\n", "a blank disk is not formatted", True),
    Mistake("proxmox", VM, " && cmp -s -n $BLANK_BYTES $DATA_DISK /dev/zero", "", "that nobody knows is overwritten", True),
    Mistake("proxmox", VM, "cmp -s -i $COPY_PLACE:0 -n $BLANK_BYTES", "true", "whose beginning is gone is overwritten", True),
    Mistake("proxmox", VM, "BLANK_BYTES=1048576", "BLANK_BYTES=65536", "that nobody knows is overwritten", True),
    Mistake("proxmox", VM, "bootcmd:\n", "fs_setup: [{device: /dev/sdb, partition: none, filesystem: ext4}]\nbootcmd:\n", "cloud-init's fs_setup"),
    Mistake("proxmox", VM, "- mountpoint -q $DATA ||", "- true ||", "with the data disk not mounted the first start ends with 0"),
    Mistake("proxmox", VM, "- set -eu", "- set -u", "with a package that cannot be installed the first start ends with 0"),
    Mistake("proxmox", VM, "noatime,nofail", "noatime", "keeps the machine from starting"),
    Mistake("proxmox", VM, "zerocloud.socket.d", "zerocloud.sockets.d", "zerocloud.socket.d/data-disk.conf does not wait"),
    Mistake("proxmox", VM, "AssertPathIsMountPoint", "AssertPathIsDirectory", "begin anew on the root disk"),
    # What somebody types.
    Mistake("typed", README, 'aws --endpoint-url "$AWS_ENDPOINT_URL" s3 mb', "aws s3 mb", "would ask Amazon: s3 mb"),
    Mistake("typed", README, "    sudo apt install", "    true\n    true\n    sudo apt install", "needs 6 commands"),
    Mistake("typed", README, "zerocloud health --data /var/lib/zerocloud", "zerocloud health", "looks for its directory"),
    Mistake("typed", README, "- Stop: `sudo systemctl stop zerocloud.socket zerocloud.service`", "- Stop: `sudo systemctl stop zerocloud`", "the socket starts it again"),
    Mistake("typed", README, "zerocloud init --config", "zerocloud initialize --config", "no command initialize"),
    Mistake("typed", RULES, "(`systemctl stop zerocloud.socket zerocloud.service`: ", "(", "zerocloud.rules.yml: a node is stopped"),
    Mistake("typed", "kubernetes/README.md", "read=<(token)", "read=<(openssl rand -hex 24)", "is not 48 hexadecimal digits"),
    Mistake("typed", "kubernetes/README.md", "--from-file=write=<(token)", '--from-literal=write="$(token)"', "shows a token"),
]
