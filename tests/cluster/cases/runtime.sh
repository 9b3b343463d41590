# shellcheck shell=bash
# The least disruption: what a running HAProxy can take on is no reload. On the dedicated load balancer.

# runtime_set NAME MEMBERS: the standard services of the first members.
runtime_set() {
    local nodes=("${MEMBERS[@]:0:$2}")
    # shellcheck disable=SC2034
    local MEMBERS=("${nodes[@]}") ROLES=(primary replica replica)
    inventory "$(cluster pg-test '' lb)" | put lb1 "$1.yml"
}
# weighing NODE WEIGHT NAME: the inventory gives a member another weight.
weighing() { sed -E "s/($1: \{)/\1pg_weight: $2, /" "$(root_of lb1)/root/$3.yml" | put lb1 "$3-$1-$2.yml"; }
runtime_begin() {
    fresh lb1
    runtime_set two 2
    runtime_set three 3
    must 0 on lb1 pgsvc apply -i "/root/$1.yml"
    says 'ports verified'
}
admin() { on lb1 "echo '$1' | socat -t2 - UNIX-CONNECT:/run/haproxy/admin.sock" </dev/null; }
# of_server BACKEND SERVER COLUMN: of 'show servers state'.
of_server() { admin 'show servers state' | awk -v b="$1" -v s="$2" -v c="$3" '$2 == b && $4 == s {print $c}'; }
# hold PORT: a session through the port that asks something every tenth of a second until it is told to stop; it says
# what it saw at the end.
hold() {
    held=$(mktemp -d)
    later "touch $held/stop; rm -rf $held"
    (while [[ ! -e $held/stop ]]; do echo 'select 1;'; sleep 0.1; done) |
        PGHOST=$(address_of lb1) PGCONNECT_TIMEOUT=5 lab psql -XAtqw -v ON_ERROR_STOP=1 -p "$1" >"$held/seen" 2>"$held/errors" &
    held_pid=$!
    true_within 5 test -s "$held/seen"
}
# released: that session never ended by itself.
released() {
    kill -0 "$held_pid" || fail "the session was cut: $(cat "$held/errors")"
    touch "$held/stop"
    wait "$held_pid" || fail "the session was cut: $(cat "$held/errors")"
}
# settled INVENTORY: nothing is to do, neither in the files nor in what runs.
settled() {
    must 0 on lb1 pgsvc plan -i "/root/$1.yml"
    says 'nothing to do'
    same "$(running_hash lb1)" "$(file_hash lb1)" "what runs"
}

case_runtime_one_weight() {
    local pid
    runtime_begin three
    pid=$(worker lb1)
    hold 5433
    weighing node2 40 three
    must 2 on lb1 pgsvc plan -i /root/three-node2-40.yml
    says 'weight of pg-test-2 in pg-test-replica: 100 → 40'
    says 'no worker changes, and no session is cut'
    same "$(of_server pg-test-replica pg-test-2 8)" 100 "the weight after a plan"
    must 0 on lb1 pgsvc apply -i /root/three-node2-40.yml --format json
    report 'report["action"] == "runtime" and report["changed"] and {c["to"] for c in report["commands"]} == {40}'
    same "$(worker lb1)" "$pid" "the worker"
    same "$(of_server pg-test-replica pg-test-2 8)" 40 "the weight that runs"
    grep -q 'server pg-test-2 .* weight 40' "$(root_of lb1)/etc/haproxy/conf.d/pg-test-replica.cfg" || fail "the file does not have it"
    settled three-node2-40
    released
    # What runs is what a reload would make.
    on lb1 systemctl reload haproxy </dev/null
    sleep 1
    same "$(of_server pg-test-replica pg-test-2 8)" 40 "the weight after a reload"
    settled three-node2-40
}

case_runtime_replica_added_and_removed() {
    local pid
    runtime_begin two
    pid=$(worker lb1)
    hold 5433
    must 2 on lb1 pgsvc plan -i /root/three.yml
    says 'add pg-test-3 \(.*, weight 100\) to pg-test-replica, down until its checks pass'
    must 0 on lb1 pgsvc apply -i /root/three.yml
    says 'HAProxy changed while it runs, 4 ports verified'
    grep -q pg-test-3 "$(root_of lb1)/etc/haproxy/conf.d/pg-test-replica.cfg" || fail "the file does not have it"
    differ "$(of_server pg-test-replica-backup pg-test-3 4)" '' "the backup tier"
    same "$(worker lb1)" "$pid" "the worker"
    true_within 15 reaches_all node2 node3
    # Never the primary's port: it is there, and down.
    same "$(of_server pg-test-primary pg-test-3 6)" 0 "the replica on the primary's port"
    same "$(reaches lb1 5433 20)" node1:20 "5433"
    settled three
    must 0 on lb1 pgsvc apply -i /root/two.yml --force
    same "$(worker lb1)" "$pid" "the worker"
    same "$(of_server pg-test-replica pg-test-3 6)" '' "a member that left"
    settled two
    released
}
reaches_all() {
    local found node
    found=$(reaches lb1 5434 9)
    for node; do [[ $found == *"$node:"* ]] || return 1; done
}

# The danger of an addition is a moment: many of them, under load.
case_runtime_added_replica_never_serves_as_primary() {
    local wrong
    runtime_begin two
    put lb1 flood.py <<'END'
import socket, sys, threading, time
until = time.time() + float(sys.argv[1])
def one():
    n = 0
    while time.time() < until:
        try:
            s = socket.create_connection(("127.0.0.1", 5433), timeout=3)
            s.sendall(b"\x00\x00\x00\x08\x04\xd2\x16\x2f"); s.recv(1); s.close(); n += 1
        except OSError:
            pass
    counts.append(n)
counts = []
threads = [threading.Thread(target=one) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
print("connections", sum(counts))
END
    on lb1 python3 /root/flood.py 20 >"/tmp/$LAB_NAME-flood" </dev/null &
    wrong=0
    for _ in 1 2 3 4; do
        must 0 on lb1 pgsvc apply -i /root/three.yml --no-verify
        says 'changed while it runs'
        wrong=$((wrong + $(admin 'show stat' | awk -F, '$1 == "pg-test-primary" && $2 != "pg-test-1" && $2 ~ /^pg/ {n += $8} END {print n + 0}')))
        must 0 on lb1 pgsvc apply -i /root/two.yml --force --no-verify
    done
    wait
    cat "/tmp/$LAB_NAME-flood"
    rm -f "/tmp/$LAB_NAME-flood"
    same "$wrong" 0 "connections of the primary's port to replicas"
}

case_runtime_hand_survives() {
    runtime_begin three
    admin 'set server pg-test-replica/pg-test-2 weight 40' >/dev/null
    admin 'set server pg-test-replica/pg-test-3 state drain' >/dev/null
    must 0 on lb1 pgsvc plan -i /root/three.yml
    says 'weight of pg-test-2 in pg-test-replica is 40 by hand, the files say 100'
    says 'pg-test-3 in pg-test-replica is in drain by hand'
    says 'nothing to do'
    must 0 on lb1 pgsvc apply -i /root/three.yml --format json
    report 'not report["changed"] and [h["what"] for h in report["by_hand"]] == ["weight", "state"]'
    # A change of another server leaves both alone.
    weighing node1 70 three
    must 0 on lb1 pgsvc apply -i /root/three-node1-70.yml --no-verify
    says 'weight of pg-test-2 in pg-test-replica is 40 by hand'
    same "$(of_server pg-test-replica pg-test-1 8) $(of_server pg-test-replica pg-test-2 8) $(of_server pg-test-replica pg-test-3 7)" '70 40 8' "weights and drain"
    # The files say something new of it: that counts.
    weighing node2 90 three
    must 0 on lb1 pgsvc apply -i /root/three-node2-90.yml --no-verify
    same "$(of_server pg-test-replica pg-test-2 8) $(of_server pg-test-replica pg-test-3 7)" '90 8' "weight and drain"
}

# What somebody took away or brought comes right again, and is no reload either.
case_runtime_what_runs_is_repaired() {
    local pid
    runtime_begin three
    pid=$(worker lb1)
    admin 'set server pg-test-replica/pg-test-3 state maint; del server pg-test-replica/pg-test-3' >/dev/null
    must 2 on lb1 pgsvc plan -i /root/three.yml
    says 'add pg-test-3 .* to pg-test-replica'
    must 0 on lb1 pgsvc apply -i /root/three.yml
    same "$(worker lb1)" "$pid" "the worker"
    true_within 15 reaches_all node2 node3
    settled three
}

# A member with sessions is taken away by a reload, which cuts none of them.
case_runtime_busy_member_leaves_by_reload() {
    local pid
    runtime_begin three
    true_within 15 reaches_all node2 node3
    pid=$(worker lb1)
    admin 'set server pg-test-replica/pg-test-2 weight 0' >/dev/null
    hold 5434
    must 0 on lb1 pgsvc apply -i /root/two.yml --force --no-verify
    says 'HAProxy reloaded'
    differ "$(worker lb1)" "$pid" "the worker"
    released
    settled two
}

# Refused by HAProxy: an admin socket that lets nobody change anything.
case_runtime_refused_rolls_back() {
    local before pid
    runtime_begin two
    mkdir -p "$(root_of lb1)/root/templates"
    rm -f "$(root_of lb1)/root/templates/"*
    sed 's/level admin/level operator/' "$REPO/src/render/templates/haproxy.cfg.hbs" | put lb1 templates/haproxy.cfg.hbs
    must 0 on lb1 pgsvc apply -i /root/two.yml --templates /root/templates
    before=$(tree lb1) pid=$(worker lb1)
    must 1 on lb1 pgsvc apply -i /root/three.yml --templates /root/templates
    says 'HAProxy refuses it: Permission denied'
    says 'the old configuration is back and serves'
    same "$(tree lb1)" "$before" "the files"
    same "$(worker lb1)" "$pid" "the worker"
    same "$(running_hash lb1)" "$(file_hash lb1)" "what runs"
    must 0 on lb1 pgsvc verify -i /root/two.yml --timeout 10
}

# Killed at any moment: the next run leaves files and worker in agreement, and takes its own halfway work for nobody's hand.
case_runtime_killed_anywhere() {
    runtime_begin two
    weighing node2 40 three
    put lb1 kill.sh <<'END'
set -euo pipefail
ticks() { sed 's/\.//; s/ .*//' /proc/uptime; }
began=$(ticks)
pgsvc apply -i /root/three-node2-40.yml --no-verify >/dev/null 2>&1
span=$((($(ticks) - began) * 10))
pgsvc apply -i /root/two.yml --force --no-verify >/dev/null 2>&1
for ((i = 1; i <= $1; i++)); do
    ((i % 2)) && set=three-node2-40 other=two || set=two other=three-node2-40
    wait=$((RANDOM % (span + 1)))
    pgsvc apply -i /root/$set.yml --force --no-verify >/dev/null 2>&1 &
    pid=$!
    sleep "$(printf '0.%03d' "$wait")"
    kill -9 "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    # Forth, or back to where it was.
    ((RANDOM % 2)) && set=$other
    pgsvc apply -i /root/$set.yml --force --no-verify >/tmp/said 2>&1 || { cat /tmp/said; echo "run $i: apply after a kill at $wait ms fails"; exit 1; }
    code=0
    pgsvc plan -i /root/$set.yml --force >/tmp/after 2>&1 || code=$?
    if ((code)) || grep -q 'by hand' /tmp/after; then cat /tmp/said /tmp/after; echo "run $i: not as $set after a kill at $wait ms"; exit 1; fi
    echo "run $i: killed after $wait ms: $(tail -1 /tmp/said)"
    # From where the next one starts.
    ((i % 2)) && start=three-node2-40 || start=two
    pgsvc apply -i /root/$start.yml --force --no-verify >/dev/null 2>&1
done
END
    must 0 on lb1 bash /root/kill.sh 16
    must 0 on lb1 pgsvc verify -i /root/two.yml --timeout 10
}

# A weight that pgsvc itself changed at runtime is nobody's hand at the next reload: what the files say then is what runs.
case_runtime_weight_back_by_a_reload() {
    runtime_begin three
    weighing node2 40 three
    must 0 on lb1 pgsvc apply -i /root/three-node2-40.yml --no-verify
    says 'changed while it runs'
    sed 's/^  vars: {/&haproxy_client_timeout: 2h, /' "$(root_of lb1)/root/three.yml" | put lb1 back.yml
    must 0 on lb1 pgsvc apply -i /root/back.yml --no-verify
    says 'HAProxy reloaded'
    same "$(of_server pg-test-replica pg-test-2 8)" 100 "the weight that runs"
    must 0 on lb1 pgsvc plan -i /root/back.yml
    says_not 'by hand'
}
