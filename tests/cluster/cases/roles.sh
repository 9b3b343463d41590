# shellcheck shell=bash
# Roles follow Patroni: nothing is run again after a switchover.

case_roles_follow_a_switchover() {
    local node before
    leads node1
    serving "${MEMBERS[@]}"
    before=$(for node in "${MEMBERS[@]}"; do times "$node"; worker "$node"; done)
    leads node2
    for node in "${MEMBERS[@]}"; do
        standard >"$REPO/target/cluster-tests/inv.yml"
        # HAProxy needs its three checks.
        eventually 20 '4 ports verified' lab run "$BINARY" verify -i "$REPO/target/cluster-tests/inv.yml" --host "$node"
        must 0 lab run "$BINARY" verify -i "$REPO/target/cluster-tests/inv.yml" --host "$node"
        says '5433 +ok +pg-test-2 +pg-test-2 \(primary\)'
        says '5434 +ok +pg-test-1 +pg-test-1 \(replica\)'
        says '5436 +ok +pg-test-2 +pg-test-2 \(primary\)'
        says '5438 +ok +pg-test-3 +pg-test-3 \(replica\)'
        same "$(reaches "$node" 5433 10)" node2:10 "5433 on $node"
        same "$(reaches "$node" 5434 30)" node1:30 "5434 on $node"
        same "$(reaches "$node" 5436 10)" node2:10 "5436 on $node"
        same "$(reaches "$node" 5438 10)" node3:10 "5438 on $node"
        must 0 on "$node" pgsvc verify
    done
    same "$(for node in "${MEMBERS[@]}"; do times "$node"; worker "$node"; done)" "$before" "files and workers"
}

case_roles_replica_takes_writes_no_more() {
    leads node2
    serving node3
    must 0 sql node3 5433 'create temp table t (i int); insert into t values (1)'
    must 1 sql node3 5434 'create temp table t (i int)'
    says 'read-only transaction'
}
