#!/usr/bin/env bash
# ElasticMQ, SQS on the JVM. By default in memory; `files` keeps messages in H2, told not to delay its writes, which still
# promises no sync.
source "$(dirname "$0")/common.sh"
VERSION=1.7.1

install() {
    built elasticmq-$VERSION mvn mvn -q -B -f "$HERE/maven/elasticmq/pom.xml" dependency:copy-dependencies \
        -DoutputDirectory="$PEERS/elasticmq-$VERSION/lib"
}
modes() { echo default files; }

start() {
    local mode=$1 dir=$2 port=$3
    mkdir -p "$dir/data"
    {
        echo 'include classpath("application.conf")'
        echo "node-address { protocol = http, host = 127.0.0.1, port = $port, context-path = \"\" }"
        echo "rest-sqs { enabled = true, bind-hostname = \"127.0.0.1\", bind-port = $port, sqs-limits = strict }"
        echo "rest-stats.enabled = false"
        if [ "$mode" = files ]; then
            echo "queues-storage { enabled = true, path = \"$dir/data/queues.conf\" }"
            echo "messages-storage { enabled = true, uri = \"jdbc:h2:$dir/data/messages;WRITE_DELAY=0\" }"
        fi
    } >"$dir/elasticmq.conf"
    daemon "$dir" elasticmq java -Dconfig.file="$dir/elasticmq.conf" -cp "$PEERS/elasticmq-$VERSION/lib/*" org.elasticmq.server.Main
    wait_for "$dir" elasticmq "$DAEMON" "$port" answers "http://127.0.0.1:$port/?Action=ListQueues"
    say url "http://127.0.0.1:$port"
    say pid "$DAEMON"
    say access_key bench
    say secret_key bench
    say region elasticmq
    say mode "$mode"
    say durable no
    say version $VERSION
}

evidence() {
    local uri
    uri=$(sed -n 's/^messages-storage.*uri = "\(.*\)" }$/\1/p' "$1/elasticmq.conf")
    if [ -n "$uri" ]; then
        say evidence "messages-storage ${uri%%:*}:h2${uri#*"$1/data/messages"}, file of $(stat -c %s "$1"/data/messages*.db) bytes"
    else
        say evidence "none: it keeps everything in memory"
    fi
}

main "$@"
