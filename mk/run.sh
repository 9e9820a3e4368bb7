#!/bin/bash
# run.sh: Redis, nginx with the module in front of a sample API, integrationd
# and the dashboard, all under run/, until Ctrl-C.  PORT= and STORE= change the
# port and the store.  Data stays; `rm -rf run` begins anew.

set -u
cd "$(dirname "$0")/.." || exit 1

top=$(pwd) run=$(pwd)/run port=${PORT:-8088} store=${STORE:-sqlite:$(pwd)/run/dash.db}
build=$top/${BUILD:-build}
pids=() names=()

fail() {
    echo "run: $*" >&2
    exit 1
}

case $port in
'' | *[!0-9]*) fail "PORT=$port is no number" ;;
esac
partner=$((port + 1))           # the demo receiver: webhooks and HL7

# --- directories ---

umask 022
mkdir -p "$run"/{log,redis,tmp,spool,demo} || fail "cannot write to $run"
exec 8>"$run/lock"
flock -n 8 || fail "another 'make run' of this tree is up (it holds run/lock)"

for p in "$port" "$partner"; do
    if (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null; then
        fail "port $p is in use: stop what listens there, or PORT=8188 make run"
    fi
done

# a socket's path has 108 bytes; a deep directory gets its sockets in /tmp
sock=$run/sock
if [ ${#sock} -gt 80 ]; then
    sock=$(mktemp -d /tmp/idash-run.XXXXXX) || exit 1
fi
mkdir -p "$sock"
rm -f "$sock"/*.s

ring=$run/ring
[ -w /dev/shm ] && ring=/dev/shm/idash-run-$(id -u)-$(echo "$run" | cksum | cut -d' ' -f1)
mkdir -p "$ring"

# nginx' workers of a root's run are www-data, where they can read the tree
user=
if [ "$(id -u)" = 0 ]; then
    user='user www-data;'
    if runuser -u www-data -- test -x "$run" 2>/dev/null; then
        chown www-data "$run/spool" "$run/tmp" "$ring"
    else
        user='user root;'
        echo "run: www-data cannot read $top: nginx' workers run as root"
    fi
fi
chmod 755 "$sock"

# --- configuration, written anew at each start ---

fill() { # template, result
    sed -e "s|@USER@|$user|g" -e "s|@MODULE@|$build/ngx_http_capture_module.so|g" \
        -e "s|@RUN@|$run|g" -e "s|@SOCK@|$sock|g" -e "s|@RING@|$ring|g" \
        -e "s|@PORT@|$port|g" -e "s|@API@|$sock/api.s|g" \
        -e "s|@ROOT@|$top/build|g" "$1" >"$2"
}
fill conf/run/nginx.conf.in "$run/nginx.conf"
fill conf/run/lims.conf.in "$run/lims.conf"
fill conf/dashboard.conf "$run/dashboard.conf"
fill conf/fusion.conf "$run/fusion.conf"
{
    cat conf/redis.conf
    echo "port 0"
    echo "unixsocket $sock/redis.s"
    echo "unixsocketperm 777"
    echo "dir $run/redis"
    echo "logfile $run/log/redis.log"
    echo "daemonize no"
} >"$run/redis.conf"
cat >"$run/integrationd.conf" <<EOF_CONF
# written by mk/run.sh at each start
store       = "$store"
redis       = "$sock/redis.s"
listen      = "$sock/api.s"
listen_mode = "0666"
log_file    = "$run/log/integrationd.log"
log_level   = "notice"
fusion_developer = "carepoint"
# private addresses: the demo receiver's alone
outbound_allow = "127.0.0.1/32"
outbound_ports = "$partner"
replay_base_url = "http://127.0.0.1:$port"
capture_status = "http://127.0.0.1:$port/capture_status"
EOF_CONF
case $store in
mongodb*)
    [ -e "$run/secret" ] || (umask 077 && head -c 32 /dev/urandom >"$run/secret")
    chmod 400 "$run/secret"
    echo "secret_file = \"$run/secret\"" >>"$run/integrationd.conf"
    ;;
esac

# --- start, watch, stop ---

# last started, first stopped; nginx drains into Redis, so it goes first
stop() {
    trap '' INT TERM
    local i
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        kill -"${1:-TERM}" "${pids[i]}" 2>/dev/null
        wait "${pids[i]}" 2>/dev/null
    done
    case $sock in /tmp/*) rm -rf "$sock" ;; esac
}
trap 'echo; echo "run: stopping"; stop; echo "run: stopped; the data stays in run/"; exit 0' INT TERM HUP

start() { # name, command ..
    local name=$1
    shift
    # its own session: Ctrl-C reaches this script alone, which stops in order
    setsid "$@" </dev/null >>"$run/log/$name.out" 2>&1 8>&- &
    pids+=($!)
    names+=("$name")
}

up() { # name, command that succeeds when it is up
    local name=$1 i
    shift
    for ((i = 0; i < 300; i++)); do
        "$@" >/dev/null 2>&1 && return 0
        kill -0 "${pids[-1]}" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 5 "$run/log/$name.log" "$run/log/$name.out" >&2 2>/dev/null
    stop
    fail "$name did not start; its log is run/log/$name.log"
}

api() { # path, curl's options ..
    local path=$1
    shift
    curl -sS -m 10 --unix-socket "$sock/api.s" "$@" "http://localhost$path"
}

start redis redis-server "$run/redis.conf"
up redis redis-cli -s "$sock/redis.s" ping

start receiver mk/demo-receiver.pl "$partner" "$run/demo"

start integrationd "$build/integrationd" run -c "$run/integrationd.conf"
up integrationd api /healthz -f

# the demo partner's org, labs and key, once
if ! "$build/integrationd" export -c "$run/integrationd.conf" 2>/dev/null | grep -q '"carepoint"'; then
    out=$("$build/integrationd" import -c "$run/integrationd.conf" conf/run/catalog.json 2>&1) ||
        { stop; fail "the sample catalogue: $out"; }
fi

# the key of run/admin.key must be one that this store knows
key=$(cat "$run/admin.key" 2>/dev/null)
if [ -z "$key" ] || ! api /api/v1/logs?limit=1 -f -H "Authorization: Bearer $key" >/dev/null 2>&1; then
    out=$("$build/integrationd" key create -c "$run/integrationd.conf" --role admin --org 0) ||
        { stop; fail "no admin key: $out"; }
    key=$(grep -oE 'idash_[A-Za-z0-9_]+' <<<"$out" | head -n 1)
    (umask 077 && echo "$key" >"$run/admin.key")
fi

start nginx nginx -p "$run/" -c "$run/nginx.conf" -e "$run/log/nginx.log" -g 'daemon off;'
up nginx curl -sf -m 2 "http://127.0.0.1:$port/capture_status"

# --- what a person needs now ---

page="(built when sidecar/dashboard and Node are there)"
[ -f "$top/build/dashboard/index.html" ] && page="http://127.0.0.1:$port/dashboard/"
cat <<EOF_TEXT

  Dashboard   $page
  REST        http://127.0.0.1:$port/api/v1/logs
  Sample API  http://127.0.0.1:$port/lims/v1/
  Partners    127.0.0.1:$partner takes webhooks and HL7 for \`make demo\`
  Counters    http://127.0.0.1:$port/capture_status
  Store       $store
  Admin key   $key   (run/admin.key)
  Logs        run/log/

  Try:

    curl -i 'http://127.0.0.1:$port/lims/v1/patients?lab=12&token=secret' \\
        -H 'Content-Type: application/json' -H 'X-Api-Key: demo-partner-key' \\
        -d '{"name":"Asha Rao","date_of_birth":"1990-04-12"}'
    curl -s 'http://127.0.0.1:$port/api/v1/logs?limit=1' -H 'Authorization: Bearer $key'
    build/integrationd logs -c run/integrationd.conf
    make demo

  Ctrl-C stops everything.

EOF_TEXT

# an end of any part is the end of all: half a system would mislead
while wait -n; [ $? -gt 128 ]; do :; done
for i in "${!pids[@]}"; do
    kill -0 "${pids[i]}" 2>/dev/null && continue
    echo "run: ${names[i]} ended; see run/log/${names[i]}.log" >&2
done
stop
exit 1
