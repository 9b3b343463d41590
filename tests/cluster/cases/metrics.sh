# shellcheck shell=bash
# Metrics: a timer of systemd's writes them, they say what the ports do, and they go when they are not wanted.

PROM=/var/lib/prometheus/node-exporter/pgsvc.prom
# metric NODE PATTERN VALUE: whether a series of that name and labels has that value now.
metric() { on "$1" "grep -qE '^$2 $3\$' $PROM" </dev/null; }
# newer NODE SECONDS: the file was written since then.
newer() { (($(on "$1" "sed -n 's/^pgsvc_verify_timestamp_seconds //p' $PROM" </dev/null) > $2)); }
# tells NODE NAME VALUE: a run now, not the timer's next one, says so. Not more often than systemd starts a unit.
tells() { on "$1" systemctl start pgsvc-metrics.service </dev/null; metric "$@" || { sleep 2; return 1; }; }
measured() { inventory "$(cluster pg-test '' own '' "pgsvc_metrics_file: $PROM")" | put "$1" inv.yml; }
primary_port='pgsvc_port_ok\{cluster="pg-test",service="primary",address="127\.0\.0\.1",port="5433"\}'

case_metrics_follow_the_ports() {
    leads node1
    fresh node3
    on node3 mkdir -p "${PROM%/*}" </dev/null
    measured node3
    must 0 on node3 pgsvc apply -i /root/inv.yml
    must 0 on node3 systemctl is-enabled pgsvc-metrics.timer
    true_within 10 on node3 test -e $PROM
    same "$(on node3 stat -c %a:%U:%F $PROM </dev/null)" '644:root:regular file' "the file"
    must 0 on node3 cat $PROM
    for one in "$primary_port 1" 'pgsvc_drift 0' 'pgsvc_verify_errors 0' 'pgsvc_old_workers 0'; do says "^$one\$"; done
    says '^pgsvc_port_status\{.*service="replica".*,status="ok"\} 1$'
    # A second run of the timer, by itself, and no word of it in the journal.
    true_within 45 newer node3 "$(date +%s)"
    must 0 on node3 journalctl -u pgsvc-metrics.service -o cat --no-pager
    says_not 'Start|Finish|Deactivated|error'
    # The pooler of the primary dies: 5433 is wrong, and the ports that go past it are not.
    later on node1 systemctl start pgbouncer
    on node1 systemctl stop pgbouncer </dev/null
    true_within 45 tells node3 "$primary_port" 0
    must 0 on node3 cat $PROM
    says 'pgsvc_port_ok\{.*service="default".*\} 1$'
    on node1 systemctl start pgbouncer </dev/null
    # Somebody's hand in a file is drift.
    on node3 'echo "# mine" >>/etc/haproxy/conf.d/pg-test-primary.cfg' </dev/null
    true_within 45 tells node3 pgsvc_drift 1
    true_within 45 tells node3 "$primary_port" 1
    on node3 systemctl is-failed pgsvc-metrics.service </dev/null && fail "the service failed"
    must 0 on node3 pgsvc apply -i /root/inv.yml
    # Without the option: no unit, and no file that would say for ever what was true once.
    standard | put node3 inv.yml
    must 0 on node3 pgsvc apply -i /root/inv.yml
    must 2 on node3 ls $PROM /etc/systemd/system/pgsvc-metrics.service
    must 4 on node3 systemctl status pgsvc-metrics.timer
    measured node3
    must 0 on node3 pgsvc apply -i /root/inv.yml
    true_within 10 on node3 test -e $PROM
    must 0 on node3 pgsvc apply --absent -c pg-test
    must 2 on node3 ls $PROM /etc/systemd/system/pgsvc-metrics.timer /etc/systemd/system/timers.target.wants/pgsvc-metrics.timer
}

case_metrics_and_a_failover_are_no_alarm() {
    leads node1
    fresh node3
    on node3 mkdir -p "${PROM%/*}" </dev/null
    measured node3
    must 0 on node3 pgsvc apply -i /root/inv.yml
    later "leads node1"
    leads node2
    # As soon as the cluster streams again the ports lead where they must, and the replicas that HAProxy shows DOWN in
    # the primary's backend are nothing.
    must 0 on node3 pgsvc verify --metrics $PROM --timeout 20
    must 0 on node3 grep pgsvc_port_ok $PROM
    says_not ' 0$'
    eventually 10 'pg-test-primary,pg-test-1,.*DOWN' on node3 "echo show stat | socat -t2 - UNIX-CONNECT:/run/haproxy/admin.sock"
}

# keepalived is asked from within the service's sandbox: a VIP as planned is no error there, and no drift.
case_metrics_know_the_vip() {
    local at=$'vip_mode: l2\n        vip_address: 10.10.10.99\n        vip_cidrmask: 24\n        pgsvc_metrics_file: '$PROM
    leads node1
    fresh node1
    on node1 mkdir -p "${PROM%/*}" </dev/null
    inventory "$(cluster pg-test '' own '' "$at")" | put node1 inv.yml
    later "on node1 pgsvc apply --absent -c pg-test"
    must 0 on node1 pgsvc apply -i /root/inv.yml
    on node1 rm -f $PROM </dev/null
    on node1 systemctl start pgsvc-metrics.service </dev/null
    must 0 on node1 cat $PROM
    says '^pgsvc_verify_errors 0$'
    says '^pgsvc_drift 0$'
    on node1 systemctl stop keepalived </dev/null
    true_within 45 tells node1 pgsvc_verify_errors '[1-9][0-9]*'
}
