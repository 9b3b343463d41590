# shellcheck shell=bash
# Whose file is whose.

# both: pg-test and pg-test-2 (the same members, other ports) on the dedicated load balancer.
both() {
    inventory "$(cluster pg-test '' lb "$1")" "$(cluster pg-test-2 b lb "$2")"
}
second() {
    service primary 6433 /primary pgbouncer
    service replica 6434 /replica pgbouncer
}
first() {
    service primary 5433 /primary pgbouncer
    service replica 5434 /replica pgbouncer
}
here() { [[ -e $(root_of lb1)/etc/haproxy/conf.d/$1 ]]; }

case_files_of_others_stay() {
    local conf_d before
    fresh lb1
    both "$(first)" "$(second)" | put lb1 inv.yml
    both "$(first | head -1)" "$(second)" | put lb1 less.yml
    must 0 on lb1 pgsvc apply -i /root/inv.yml
    says '4 ports verified'
    conf_d=$(root_of lb1)/etc/haproxy/conf.d
    printf '%s\n' '# By hand.' 'listen pg-test-ro' '    bind *:5450' "    server one $(address_of node2):5432 check" >"$conf_d/pg-test-ro.cfg"
    echo 'a note' >"$conf_d/README"
    on lb1 systemctl reload haproxy </dev/null
    true_within 5 listens lb1 5450
    before=$(sha256sum "$conf_d"/{README,pg-test-ro.cfg,pg-test-2-primary.cfg,pg-test-2-replica.cfg})
    must 0 on lb1 pgsvc apply -i /root/less.yml
    says '3 ports verified'
    ! here pg-test-replica.cfg || fail "the removed service's file is still there"
    true_within 5 eval '! listens lb1 5434'
    listens lb1 5450 || fail "the hand-written listener is gone"
    must 0 on lb1 pgsvc apply -i /root/inv.yml
    must 0 on lb1 pgsvc apply --absent -i /root/inv.yml -c pg-test
    if here pg-test-primary.cfg || here pg-test-replica.cfg; then fail "files of the absent cluster are still there"; fi
    same "$(sha256sum "$conf_d"/{README,pg-test-ro.cfg,pg-test-2-primary.cfg,pg-test-2-replica.cfg})" "$before" "files of others"
    true_within 5 eval '! listens lb1 5433'
    same "$(reaches lb1 6433)" "$(lab leader):6" "the other cluster"
    must 0 on lb1 pgsvc verify
    says '2 ports verified'
    says_not 'pg-test +primary'
    must 0 on lb1 pgsvc apply --absent -i /root/inv.yml -c pg-test
    says 'nothing to do'
}

case_files_rollback() {
    local before
    fresh lb1
    inventory "$(cluster pg-test '' lb "$(first)")" | put lb1 one.yml
    inventory "$(cluster pg-test '' lb "$(service primary 5433 /primary postgres; service other 5441 /primary postgres)")" | put lb1 two.yml
    must 0 on lb1 pgsvc apply -i /root/one.yml
    before=$(tree lb1)
    must 0 on lb1 pgsvc apply -i /root/two.yml
    differ "$(tree lb1)" "$before" "the files"
    must 0 on lb1 pgsvc rollback
    same "$(tree lb1)" "$before" "the files after the rollback"
    same "$(running_hash lb1)" "$(file_hash lb1)" "what runs after the rollback"
    true_within 5 eval '! listens lb1 5441'
    must 0 on lb1 pgsvc verify
    says '2 ports verified'
    # And there again.
    must 0 on lb1 pgsvc rollback
    true_within 5 listens lb1 5441
    must 0 on lb1 pgsvc plan -i /root/two.yml
}

# A VIP that cannot be on this node is known before HAProxy is told of its cluster. Other clusters go on without it.
case_files_of_a_vip_that_cannot_be_are_not_half_there() {
    local how at=$'vip_mode: l2\n        vip_address: 10.10.10.99\n        vip_cidrmask: 24'
    local no_such='s/lb1: {/lb1: {vip_interface: nowhere0, /' says="vip_interface: 'nowhere0' is no interface of 'lb1'"
    fresh lb1
    inventory "$(cluster pg-test '' lb "$(first)" "$at")" | sed "$no_such" | put lb1 vip.yml
    for how in plan apply; do
        must 1 on lb1 pgsvc $how -i /root/vip.yml
        says "$says"
    done
    says 'nothing was changed'
    if here pg-test-primary.cfg; then fail "HAProxy has a cluster whose VIP was refused"; fi
    inventory "$(cluster pg-test '' lb "$(first)" "$at")" "$(cluster pg-test-2 b lb "$(second)")" | sed "$no_such" | put lb1 two.yml
    for how in plan apply; do
        must 1 on lb1 pgsvc $how -i /root/two.yml
        says "$says"
        says_not 'pg-test-primary.cfg'
    done
    says '2 ports verified'
    if here pg-test-primary.cfg || ! here pg-test-2-primary.cfg; then fail "the wrong cluster was left out"; fi
    listens lb1 6433 || fail "the other cluster is not served"
    must 0 on lb1 ls /var/lib/pgsvc/clusters
    says 'pg-test-2.json'
    says_not 'pg-test.json'
}

# Keepalived fails only when it takes on a set that it found good: nothing of either daemon's is left of it, nor of the
# request. The way back from a cluster with an address is one for both daemons, too.
case_files_of_a_vip_that_fails_go_back_with_haproxys() {
    local before old at=$'vip_mode: l2\n        vip_address: 10.10.10.99\n        vip_cidrmask: 24'
    local unit=/run/systemd/system/keepalived.service.d
    both_trees() { tree lb1; on lb1 'cd /etc && find keepalived systemd/system/keepalived.service.d -type f -exec sha256sum {} + | sort' </dev/null || true; }
    fresh lb1
    inventory "$(cluster pg-test '' lb "$(service primary 5433 /primary postgres)")" | put lb1 one.yml
    inventory "$(cluster pg-test '' lb "$(service primary 5433 /primary postgres; service other 5441 /primary postgres)" "$at")" | put lb1 vip.yml
    must 0 on lb1 pgsvc apply -i /root/one.yml
    before=$(both_trees) old=$(running_hash lb1)
    later "on lb1 'rm -rf $unit; systemctl daemon-reload; systemctl reset-failed keepalived'"
    on lb1 "mkdir -p $unit && printf '[Service]\nExecStartPre=/bin/false\nRestart=no\n' >$unit/zz.conf && systemctl daemon-reload" </dev/null
    must 1 on lb1 pgsvc apply -i /root/vip.yml
    says 'keepalived does not take it on; the old configuration is back and serves'
    same "$(both_trees)" "$before" "the files of both daemons"
    same "$(running_hash lb1)" "$old" "what runs"
    ! listens lb1 5441 || fail "a port of the set that went back is open"
    must 0 on lb1 pgsvc plan
    says 'nothing to do'
    must 0 on lb1 pgsvc verify
    says '1 port verified'
    # Killed while keepalived starts: the set is not proven, and the next run undoes it before it begins anew.
    on lb1 "printf '[Service]\nExecStartPre=/bin/sleep 600\n' >$unit/zz.conf; systemctl daemon-reload; systemctl reset-failed keepalived || :" </dev/null
    on lb1 'pgsvc apply -i /root/vip.yml >/root/killed.log 2>&1 & echo $! >/root/pid; wait' </dev/null &
    true_within 10 on lb1 'pgrep -cfx "/bin/sleep 600"'
    on lb1 'kill -9 $(cat /root/pid)' </dev/null
    wait $! || :
    on lb1 "systemctl stop keepalived; rm -rf $unit; systemctl daemon-reload; systemctl reset-failed keepalived || :" </dev/null
    listens lb1 5441 || fail "the new port is not served"
    must 2 on lb1 pgsvc plan -i /root/vip.yml
    says 'start keepalived'
    must 0 on lb1 pgsvc apply -i /root/vip.yml
    says 'an unfinished run was undone first'
    says 'HAProxy reloaded; .*keepalived started'
    true_within 15 on lb1 'ip -o address show to 10.10.10.99 | grep -q .'
    must 0 on lb1 pgsvc plan -i /root/vip.yml
    says 'nothing to do'
    # A port that is wrong for reasons of its own takes no change of keepalived's back.
    on lb1 "echo 'disable frontend pg-test-primary' | socat - UNIX-CONNECT:/run/haproxy/admin.sock" </dev/null
    sed 's/^\( *\)vip_mode: l2/&\n\1vip_vrid: 77/' "$(root_of lb1)/root/vip.yml" | put lb1 vrid.yml
    must 3 on lb1 pgsvc apply -i /root/vrid.yml --timeout 2
    says '1 of 2 ports wrong'
    says 'keepalived reloaded'
    must 0 on lb1 grep -c 'virtual_router_id.77' /etc/keepalived/pgsvc.d/pg-test.conf
    on lb1 "echo 'enable frontend pg-test-primary' | socat - UNIX-CONNECT:/run/haproxy/admin.sock" </dev/null
    # A keepalived that is broken for its own reasons keeps nobody from a change of HAProxy's.
    on lb1 "mkdir -p $unit && printf '[Service]\nExecStartPre=/bin/false\nRestart=no\n' >$unit/zz.conf && systemctl daemon-reload && systemctl stop keepalived" </dev/null
    inventory "$(cluster pg-test-2 b lb "$(second)")" | put lb1 other.yml
    must 1 on lb1 pgsvc apply -i /root/other.yml
    says 'HAProxy reloaded, 2 ports verified; keepalived could not be brought to what is installed'
    listens lb1 6433 || fail "the other cluster is not served"
    on lb1 "rm -rf $unit; systemctl daemon-reload; systemctl reset-failed keepalived || :" </dev/null
    must 0 on lb1 pgsvc apply -i /root/other.yml
    says 'keepalived started'
    must 0 on lb1 pgsvc apply --absent -c pg-test
    says 'keepalived stopped'
    must 3 on lb1 systemctl is-active keepalived
}
