# shellcheck shell=bash
# Runs for a part of the hosts, runs step by step, and inventories that forgot something.

fleet_inventory() {
    play_inventory
    python3 - "$LAB_ROOT/play.yml" "$@" <<'END'
import sys, re
path, *changes = sys.argv[1:]
text = open(path).read()
for change in changes:
    old, new = change.split('=>')
    assert old in text, old
    text = text.replace(old, new)
open(path, 'w').write(text)
END
}

# A run for one load balancer says what the others look like, and leaves them alone.
case_fleet_limited_run_tells_drift() {
    local before
    leads node1
    fresh "${MEMBERS[@]}"
    fleet_inventory
    must 0 play playbooks/pgsql.yml
    says_not 'as planned'
    must 0 play playbooks/pgsql.yml -l node1
    says 'node2: as planned'
    says 'node3: as planned'
    # Somebody's hand on node2, and a node that does not answer.
    on node2 'sed -i s/roundrobin/leastconn/ /etc/haproxy/conf.d/pg-test-default.cfg' </dev/null
    fleet_inventory 'pg_seq: 3=>pg_seq: 3, ansible_port: 9, ansible_ssh_args: "-o ControlPath=none"'
    before=$(times node2)
    must 0 play playbooks/pgsql.yml -l node1
    says 'node2: differs from the inventory. would '
    says 'node3: not known, '
    says '^node1 +: .*changed=0 .*unreachable=0 +failed=0'
    same "$(times node2)" "$before" "files of a node that the run was not for"
    must 0 play playbooks/pgsql.yml -l node1 -e pgsql_drift=false
    says_not 'node2: '
    fleet_inventory
    must 0 play playbooks/pgsql.yml -l node2
    says 'node1: as planned'
    must 0 play playbooks/pgsql.yml -l node1
    says 'node2: as planned'
}

# The canary's failure ends the run before anybody else is touched.
case_fleet_canary_first() {
    leads node1
    fresh "${MEMBERS[@]}"
    fleet_inventory
    on node1 systemctl stop pgbouncer </dev/null
    later 'on node1 systemctl start pgbouncer'
    must 2 play playbooks/fleet.yml -e pgsql_canary=node3 -e pgsvc_verify_timeout=3
    says '^node3 +: .*failed=1'
    [[ ! -e $(root_of node1)/etc/haproxy/conf.d && ! -e $(root_of node2)/etc/haproxy/conf.d ]] || fail "somebody was touched after the canary"
    on node1 systemctl start pgbouncer </dev/null
    fresh node3
    must 0 play playbooks/fleet.yml -l pg-test
    all_hosts changed=1 failed=0
    # Three steps: the canary, and a quarter of three hosts is one.
    same "$(grep -c '^PLAY \[Services of' <<<"$out")" 3 "steps"
    same "$(grep -E '^(changed|ok): \[node[0-9]\]' <<<"$out" | grep -E '^changed' | xargs)" "changed: [node1] changed: [node2] changed: [node3]" "the order"
    must 2 play playbooks/fleet.yml -e pgsql_canary=lb1
    says 'carries no cluster'
    must 0 play playbooks/fleet.yml
    all_hosts changed=0
}

# An inventory that lost a cluster, or a member that lives, takes nothing away.
case_fleet_truncated_inventory() {
    local before
    leads node1
    fresh "${MEMBERS[@]}" lb1
    fleet_inventory "pg_cluster: pg-test=>pg_cluster: pg-test
            pg_service_provider: lb"
    must 0 play playbooks/pgsql.yml
    [[ -e $(root_of lb1)/etc/haproxy/conf.d/pg-test-primary.cfg ]] || fail "the load balancer carries nothing"
    before=$(times lb1)
    cp "$LAB_ROOT/play.yml" "$LAB_ROOT/whole.yml"
    # A member is missing.
    sed -i '/^ *node2:/d' "$LAB_ROOT/play.yml"
    must 2 play playbooks/pgsql.yml
    says 'Patroni still lists it'
    must 2 play playbooks/fleet.yml
    same "$(times lb1)" "$before" "files after a run without node2"
    # The cluster is missing, and so nobody asks for anything.
    sed -i '/^ *node[13]:/d' "$LAB_ROOT/play.yml"
    must 0 play playbooks/pgsql.yml
    says 'lb1 +: .*skipped='
    same "$(times lb1)" "$before" "files after a run without the cluster"
    # And in its place another one.
    sed "s/pg_cluster: pg-test/pg_cluster: pg-other\n            pg_services: [{name: primary, src_port: 7433, selector: '[]', check_url: \/primary}]/" \
        "$LAB_ROOT/whole.yml" >"$LAB_ROOT/play.yml"
    must 0 play playbooks/pgsql.yml
    listens lb1 7433 || fail "the other cluster is not there"
    listens lb1 5433 || fail "the cluster that the inventory forgot is gone"
    same "$(reaches lb1 5433)" node1:6 "the cluster that the inventory forgot"
}
