#!/usr/bin/env bash
# RabbitMQ of the distribution, as a node of its own beside the system's service. By default messages go to a classic queue
# that does not outlive the server; `durable` means a quorum queue and persistent messages. Both are confirmed: it is the URL
# that tells the load which.
source "$(dirname "$0")/common.sh"
# The wrapper in the path would change to another user.
BIN=/usr/lib/rabbitmq/bin

install() { debian rabbitmq-server; }
modes() { echo default durable; }

# node DIR COMMAND...: runs a command in the node's surroundings.
node() {
    local dir=$1
    shift
    env -i PATH="$PATH" LANG=C.UTF-8 HOME="$dir/home" \
        RABBITMQ_NODENAME="zerobench-$(cat "$dir/port")@localhost" RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 \
        RABBITMQ_NODE_PORT="$(cat "$dir/port")" RABBITMQ_DIST_PORT="$(cat "$dir/distribution")" \
        ERL_EPMD_PORT="$(cat "$dir/epmd")" ERL_EPMD_ADDRESS=127.0.0.1 \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}" \
        RABBITMQ_MNESIA_BASE="$dir/data" RABBITMQ_LOG_BASE="$dir/log" RABBITMQ_PID_FILE="$dir/rabbitmq.pid" \
        RABBITMQ_CONF_ENV_FILE="$dir/none" RABBITMQ_CONFIG_FILE="$dir/rabbitmq" \
        RABBITMQ_ADVANCED_CONFIG_FILE="$dir/advanced.config" RABBITMQ_ENABLED_PLUGINS_FILE="$dir/plugins" "$@"
}

start() {
    local mode=$1 dir=$2 port=$3 epmd path=
    [ "$mode" = default ] && path=/transient
    mkdir -p "$dir/data" "$dir/log" "$dir/home"
    echo "$port" >"$dir/port"
    epmd=$(free_port)
    echo "$epmd" >"$dir/epmd"
    free_port >"$dir/distribution"
    echo "log.console = false" >"$dir/rabbitmq.conf"
    echo "[]." >"$dir/advanced.config"
    echo "[]." >"$dir/plugins"
    # Left to itself Erlang would start its port mapper as a daemon, and nobody would end it.
    daemon "$dir" epmd epmd -address 127.0.0.1 -port "$epmd"
    wait_for "$dir" epmd "$DAEMON" "$epmd"
    daemon "$dir" rabbitmq bash -c 'eval "$1"; dir=$2; shift 2; node "$dir" "$@"' - "$(declare -f node)" "$dir" $BIN/rabbitmq-server
    wait_for "$dir" rabbitmq "$DAEMON" "$port" node "$dir" $BIN/rabbitmqctl --quiet await_startup
    # The queue that the load would make too: so that its kind can be read back before.
    node "$dir" $BIN/rabbitmqctl --quiet eval "$(declaration "$mode")" >/dev/null
    say url "amqp://127.0.0.1:$port$path"
    say pid "$DAEMON"
    say mode "$mode"
    say durable "$([ "$mode" = durable ] && echo yes || echo no)"
    say version "$(dpkg-query -W -f='${Version}' rabbitmq-server)"
}

declaration() {
    local name=zerobench-transient kind=classic durable=false
    [ "$1" = durable ] && name=zerobench kind=quorum durable=true
    echo "{Done, _} = rabbit_amqqueue:declare(rabbit_misc:r(<<\"/\">>, queue, <<\"$name\">>), $durable, false," \
        "[{<<\"x-queue-type\">>, longstr, <<\"$kind\">>}], none, <<\"zerobench\">>)," \
        "true = lists:member(Done, [new, existing])."
}

evidence() {
    local dir=$1 wal queues
    wal=$(node "$dir" $BIN/rabbitmqctl --quiet eval 'io:format("~p", [application:get_env(ra, wal_sync_method, datasync)]).' | head -1)
    queues=$(node "$dir" $BIN/rabbitmqctl --quiet --no-table-headers list_queues name type durable | tr '\t\n' ' ;')
    say evidence "wal_sync_method=${wal%ok} queues (name, type, durable): ${queues%;}"
}

main "$@"
