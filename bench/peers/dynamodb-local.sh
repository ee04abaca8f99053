#!/usr/bin/env bash
# DynamoDB Local, Amazon's own, on the JVM. Its licence allows its use only to holders of an AWS account in good standing, so
# whoever runs it has to say so first. By default in memory; `files` keeps a file of SQLite.
source "$(dirname "$0")/common.sh"
VERSION=2.6.1

install() {
    [ "${ACCEPT_DYNAMODB_LOCAL_LICENSE:-}" = yes ] ||
        not_run "its licence asks for an AWS account in good standing; ACCEPT_DYNAMODB_LOCAL_LICENSE=yes says that there is one"
    built dynamodb-local-$VERSION mvn mvn -q -B -f "$HERE/maven/dynamodb-local/pom.xml" dependency:copy-dependencies \
        -DoutputDirectory="$PEERS/dynamodb-local-$VERSION/lib"
}
modes() { echo default files; }

start() {
    local mode=$1 dir=$2 port=$3 options=(-inMemory)
    mkdir -p "$dir/data"
    [ "$mode" = files ] && options=(-dbPath "$dir/data" -sharedDb)
    daemon "$dir" dynamodb-local java "-Djava.library.path=$PEERS/dynamodb-local-$VERSION/lib" -cp "$PEERS/dynamodb-local-$VERSION/lib/*" \
        com.amazonaws.services.dynamodbv2.local.main.ServerRunner -port "$port" -disableTelemetry "${options[@]}"
    wait_for "$dir" dynamodb-local "$DAEMON" "$port" answers "http://127.0.0.1:$port/"
    say url "http://127.0.0.1:$port"
    say pid "$DAEMON"
    say access_key bench
    say secret_key bench
    say mode "$mode"
    say durable no
    say version $VERSION
}

main "$@"
