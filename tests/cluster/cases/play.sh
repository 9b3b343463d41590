# shellcheck shell=bash
# The plays: the role, verification, removal, from a controller over ssh.

play() { (cd "$REPO" && lab run ansible-playbook -i "$LAB_ROOT/play.yml" "$@"); }
# all_hosts WORDS…: the recap has these words for each of the three members.
all_hosts() {
    local node word
    for node in "${MEMBERS[@]}"; do
        for word; do grep -qE "^$node +: .*\b$word\b" <<<"${out:-}" || fail "$node has not $word"; done
    done
}
play_inventory() {
    [[ -x $REPO/library/pgsvc ]] || fail "library/pgsvc is missing: make build"
    lab inventory --write "$LAB_ROOT/play.yml"
}

case_play_converges() {
    local before
    leads node1
    fresh "${MEMBERS[@]}"
    play_inventory
    must 0 play playbooks/pgsql.yml --check --diff
    says '^\+listen pg-test-primary'
    [[ ! -e $(root_of node1)/etc/haproxy/conf.d && ! -e $(root_of node1)/var/lib/pgsvc ]] || fail "check mode wrote something"
    must 0 play playbooks/pgsql.yml
    all_hosts changed=1 failed=0
    before="$(times node2) $(worker node2)"
    must 0 play playbooks/pgsql.yml
    all_hosts changed=0 failed=0
    same "$(times node2) $(worker node2)" "$before" "files and worker after the second play"
    must 0 play playbooks/verify.yml
    says '5433 +pg-test-primary +ok +pg-test-1 \(primary\)'
    same "$(reaches node3 5433)" node1:6 "through 5433 of node3"
}

case_play_fails_by_name() {
    leads node1
    serving node1
    play_inventory
    on node1 systemctl stop pgbouncer
    later on node1 systemctl start pgbouncer
    must 2 play playbooks/verify.yml -l node1
    says "service 'primary' of pg-test on 127.0.0.1:5433: expected nobody, found nobody"
    says 'pg-test-1: the pooler on port 6432 is dead, PostgreSQL answers'
}

# The password is in the kept request (0600) and nowhere else: not in what a play prints, not on the node's disk.
case_play_keeps_secrets() {
    local found
    leads node1
    fresh node1
    play_inventory
    must 0 play playbooks/pgsql.yml -l node1 -vvvvv --diff
    # -vvvvv shows the inventory file's name and the variables' names; the value must not be there.
    says_not 'lab-monitor'
    # Patroni's and pgbouncer's own files hold the monitoring login too.
    found=$(on node1 "grep -rlsF lab-monitor /etc/haproxy /etc/systemd /usr/local/lib /var/lib/pgsvc /var/lib/haproxy /tmp /var/tmp /root/.ansible /run/haproxy /run/systemd/system || true" </dev/null)
    same "$found" /var/lib/pgsvc/clusters/@node.json "files with the password"
    same "$(on node1 stat -c '%a:%U' /var/lib/pgsvc/clusters/@node.json </dev/null)" 600:root "the kept request"
}

case_play_removes() {
    serving node1
    play_inventory
    must 2 play playbooks/remove.yml
    says 'Nothing says which cluster to remove'
    must 0 play playbooks/remove.yml -l node1
    [[ ! -e $(root_of node1)/etc/haproxy/conf.d/pg-test-primary.cfg ]] || fail "a file is left"
    ! listens node1 5433 || fail "5433 still listens"
    must 0 play playbooks/remove.yml -l node1
    says '^node1 +: .*changed=0'
}

# elects_late NODE…: the operator's own keepalived.conf there lets no instance start for eight seconds.
elects_late() {
    local node
    fresh "$@"
    for node; do
        mkdir -p "$(root_of "$node")/etc/keepalived"
        printf 'global_defs {\n    vrrp_startup_delay 8\n}\n' >"$(root_of "$node")/etc/keepalived/keepalived.conf"
    done
}

# An election takes its time: the play looks until somebody holds the address, and refuses it where nobody does within the
# looks it was given.
case_play_waits_for_the_address() {
    local address='vip_mode: l2, vip_address: 10.10.10.99, vip_cidrmask: 24'
    leads node1
    later 'fresh "${MEMBERS[@]}"'
    elects_late "${MEMBERS[@]}"
    play_inventory
    must 2 play playbooks/vip.yml -e "{$address, vip_looks: 0}"
    says '10.10.10.99 of pg-test is held by nobody'
    elects_late node1
    must 0 play playbooks/vip.yml -e "{$address}"
    says 'Ask every node again what it holds'
    says '10.10.10.99 of pg-test is held by node1'
}
