# shellcheck shell=bash
# A dedicated load balancer with two clusters: one bad cluster does not block the other.

case_balancer_bad_cluster_apart() {
    fresh lb1
    both "$(first)" "- {name: primary, src_port: 6433, selektor: '[]'}" | put lb1 bad.yml
    must 1 on lb1 pgsvc apply -i /root/bad.yml
    says "service 'primary' of pg-test-2"
    says 'pg-test +primary .*:5433 +ok '
    here pg-test-primary.cfg || fail "the good cluster is not installed"
    ! here pg-test-2-primary.cfg || fail "the bad cluster is installed"
    same "$(reaches lb1 5433)" "$(lab leader):6" "the good cluster"
    # A port of the other's is the second one's mistake, and only that one's.
    both "$(first)" "$(service primary 5433 /primary pgbouncer)" | put lb1 clash.yml
    must 1 on lb1 pgsvc apply -i /root/clash.yml
    says '5433'
    both "$(first)" "$(second)" | put lb1 good.yml
    must 0 on lb1 pgsvc apply -i /root/good.yml
    says '4 ports verified'
    # Once installed, a cluster whose definition became bad keeps what it has.
    must 1 on lb1 pgsvc apply -i /root/bad.yml
    here pg-test-2-replica.cfg || fail "a bad definition took the cluster away"
    same "$(reaches lb1 6433)" "$(lab leader):6" "the cluster that became bad"
    # What the node keeps of it is what is installed, not what was refused.
    must 0 on lb1 pgsvc verify
    says '4 ports verified'
}

# HAProxy refuses what only one cluster asks for: the other one is installed all the same.
case_balancer_port_of_one_taken() {
    fresh lb1
    both "$(first)" "$(second)" | put lb1 inv.yml
    later 'on lb1 systemctl stop squatter'
    on lb1 systemd-run -q --unit squatter socat TCP-LISTEN:6433,fork,reuseaddr /dev/null </dev/null
    true_within 5 listens lb1 6433
    must 1 on lb1 pgsvc apply -i /root/inv.yml
    says 'port 6433 on 0.0.0.0: is taken by socat'
    here pg-test-primary.cfg || fail "the cluster whose ports are free is not installed"
    ! here pg-test-2-primary.cfg || fail "the cluster whose port is taken is installed"
    same "$(reaches lb1 5433)" "$(lab leader):6" "the cluster whose ports are free"
}

case_balancer_one_cluster_named() {
    fresh lb1
    both "$(first)" "$(second)" | put lb1 inv.yml
    must 0 on lb1 pgsvc apply -i /root/inv.yml -c pg-test-2
    says '2 ports verified'
    ! here pg-test-primary.cfg || fail "a cluster that was not named is installed"
    must 0 on lb1 pgsvc apply -i /root/inv.yml -c pg-test
    here pg-test-2-primary.cfg || fail "a cluster that was not named is gone"
    must 0 on lb1 pgsvc verify
    says '4 ports verified'
}
