# shellcheck shell=bash
# The cluster on the nodes, seen from the controller.

# cluster_view: what Patroni says, one member a line: NODE ROLE STATE TIMELINE LAG; from the first node that answers.
cluster_view() {
    local node answer
    for node in $(pg_nodes); do
        answer=$(on_controller curl -sf -m 2 "http://$(address_of "$node"):8008/cluster") || continue
        python3 -c '
import json, sys
for m in json.loads(sys.argv[1])["members"]:
    print(m["host"], m["role"], m["state"], m.get("timeline", "-"), m.get("lag", "-"))' "$answer" |
            while read -r host rest; do echo "$(node_at "$host") $rest"; done
        return
    done
    return 1
}

cluster_leader() { cluster_view 2>/dev/null | awk '$2 == "leader" {print $1}'; }

# sql NODE[:PORT] USER STATEMENT: unaligned, without headers, in database test.
sql() {
    local node=${1%%:*} port=5432
    if [[ $1 == *:* ]]; then port=${1##*:}; fi
    PGPASSFILE=$LAB/pgpass PGCONNECT_TIMEOUT=3 on_controller psql -X -A -t -q -w -h "$(address_of "$node")" -p "$port" -U "$2" \
        -d test -c "$3" 2>/dev/null
}

# cluster_streams [LEADER]: every member runs, all others stream from the leader (which is LEADER), and each answers as
# itself through its pooler.
cluster_streams() {
    local want view leader node recovery
    want=$(pg_nodes | wc -l)
    view=$(cluster_view) || return 1
    (($(awk '$3 == "running" || $3 == "streaming"' <<<"$view" | wc -l) == want)) || return 1
    leader=$(awk '$2 == "leader" {print $1}' <<<"$view")
    [[ -n $leader && (-z ${1:-} || $leader == "$1") ]] || return 1
    (($(sql "$leader" dbuser_monitor "select count(*) from pg_stat_replication where state = 'streaming'") == want - 1)) ||
        return 1
    for node in $(pg_nodes); do
        recovery=$(sql "$node:6432" dbuser_monitor 'select pg_is_in_recovery()') || return 1
        if [[ $node == "$leader" ]]; then [[ $recovery == f ]] || return 1; else [[ $recovery == t ]] || return 1; fi
    done
}

cluster_await() {
    if has_vm; then note "waiting until $CLUSTER streams"; fi
    until_true "$(if has_vm; then echo "$VM_PATIENCE"; else echo 180; fi)" "$CLUSTER streams" cluster_streams
}

lab_table() {
    local node
    printf '%-7s %-13s %-5s %-8s %-8s %-9s %s\n' NODE ADDRESS SEQ PG_ROLE NOW STATE LAG
    of_every_cluster cluster_table
    for node in $(nodes '$3 == "lb"'); do
        printf '%-7s %-13s %-5s %-8s %-8s %-9s %s\n' "$node" "$(address_of "$node")" - lb - - -
    done
}
cluster_table() {
    local node role state timeline lag
    while read -r node role state timeline lag; do
        printf '%-7s %-13s %-5s %-8s %-8s %-9s %s\n' "$node" "$(address_of "$node")" "$(node_field "$node" 4)" \
            "$(node_field "$node" 5)" "$role" "$state" "$lag"
    done < <(cluster_view)
}

# cluster_switchover [TARGET]: to TARGET, or to the first other node that may lead.
cluster_switchover() {
    local target=${1:-} leader node CLUSTER=$CLUSTER
    if [[ -n $target ]]; then
        need_node "$target"
        CLUSTER=$(cluster_of "$target")
    fi
    leader=$(cluster_leader)
    [[ -n $leader ]] || die "$CLUSTER has no leader now"
    if [[ -z $target ]]; then
        target=$(for node in $(pg_nodes); do [[ $node == "$leader" || $(node_field "$node" 5) == offline ]] || echo "$node"; done | head -1)
        [[ -n $target ]] || die "no other node may lead"
    fi
    if [[ $leader == "$target" ]]; then
        say "$target leads already"
        return
    fi
    node_ssh "$leader" patronictl -c /etc/patroni/config.yml switchover --force --master "$(member_name "$leader")" \
        --candidate "$(member_name "$target")" "$CLUSTER" </dev/null >"$LAB/switchover.log" 2>&1 ||
        { cat "$LAB/switchover.log" >&2; die "patronictl refused the switchover to $target"; }
    # A postmaster of user-mode-linux takes a second for each new session.
    until_true "$(has_vm && echo 240 || echo 120)" "$target leads and all replicas stream" cluster_streams "$target"
    say "$target leads (before: $leader)"
}
