# shellcheck shell=bash
# What verify says of real faults. The load balancer looked at is that of node3, which never leads.

# at_node3: sets $leader and $replica, with node3 serving.
at_node3() {
    leader=$(lab leader)
    case $leader in node1) replica=node2 ;; *) replica=node1 ;; esac
    instance="pg-test-${leader#node}"
    other="pg-test-${replica#node}"
    serving node3
}
streams() { out=$(on node3 pgsvc verify -v 2>&1) && grep -q '4 ports verified' <<<"$out" && ! grep -q 'note:' <<<"$out"; }
paused() {
    patronictl_on "$1" pause --wait
    later "patronictl_on $1 resume --wait"
}

case_diagnosis_pooler_dead() {
    local leader replica instance other
    at_node3
    later true_within 20 streams
    later "on $leader systemctl start pgbouncer"
    on "$leader" systemctl stop pgbouncer </dev/null
    eventually 20 '5433 +WRONG' on node3 pgsvc verify
    says_of pg-test-primary "wrong: $instance: the pooler on port 6432 is dead, PostgreSQL answers"
    says '5436 +ok '
}

case_diagnosis_postgres_hangs() {
    local leader replica instance other pid
    at_node3
    later true_within 30 streams
    paused "$leader"
    pid=$(on "$leader" "head -1 /var/lib/postgresql/15/pg-test/postmaster.pid" </dev/null)
    later "on $leader kill -CONT $pid"
    on "$leader" kill -STOP "$pid" </dev/null
    eventually 20 "$instance: Patroni says primary, but PostgreSQL is dead" on node3 pgsvc verify
    says '5436 +WRONG'
    says 'note: Patroni is paused'
    says '5438 +ok '
}

case_diagnosis_api_dead() {
    local leader replica instance other
    at_node3
    later true_within 30 streams
    later "on $leader nft delete table inet lab"
    on "$leader" "nft add table inet lab && nft add chain inet lab in '{ type filter hook input priority 0; }' &&
        nft add rule inet lab in iif != lo tcp dport 8008 reject" </dev/null
    eventually 20 '5433 +WRONG' on node3 pgsvc verify
    says_of pg-test-primary "wrong: $instance: Patroni's API is dead, PostgreSQL answers"
    says_of pg-test-default "wrong: $instance: Patroni's API is dead, PostgreSQL answers"
    says '5434 +ok '
}

case_diagnosis_no_leader() {
    local leader replica instance other
    at_node3
    # Another one leads afterwards.
    later true_within 40 streams
    paused "$leader"
    # Paused, Patroni neither starts it again nor lets another one take its place.
    on "$leader" "sudo -u postgres /usr/lib/postgresql/15/bin/pg_ctl -D /var/lib/postgresql/15/pg-test -m fast -s stop" </dev/null
    eventually 20 'wrong: no leader' on node3 pgsvc verify
    says_of pg-test-primary 'wrong: no leader'
    says_of pg-test-default 'wrong: no leader'
    says "wrong: $instance: Patroni says it is stopped"
    says '5433 +WRONG +nobody'
    says '5434 +ok '
}

case_diagnosis_server_full() {
    local leader replica instance other
    at_node3
    later true_within 30 streams
    later "on $leader pkill -f lab-fill"
    on "$leader" "cat >/tmp/lab-fill && (setsid sudo -u postgres python3 /tmp/lab-fill >/tmp/lab-fill.log 2>&1 </dev/null &)" <<'END'
import psycopg2, time
held = []
# A superuser may take every session there is. Each that becomes free is taken again.
while True:
    try:
        held.append(psycopg2.connect(host="/var/run/postgresql", dbname="postgres"))
    except psycopg2.OperationalError:
        time.sleep(0.01)
END
    eventually 20 'wrong: .*53300' on node3 pgsvc verify
    says_of pg-test-default 'wrong: a member is reached but full .*53300'
    says '5438 +ok '
}

case_diagnosis_replica_stale() {
    local leader replica instance other pid
    at_node3
    later true_within 40 streams
    # A primary without room, as the case before leaves it, is one that no receiver reaches.
    true_within 40 all_stream
    pid=$(on "$replica" "pgrep -f 'postgres: pg-test: walreceiver'" </dev/null)
    later "on $replica kill -CONT $pid"
    on "$replica" kill -STOP "$pid" </dev/null
    must 0 on "$leader" "sudo -u postgres psql -XAtqc \"select pg_logical_emit_message(false, 'lab', repeat('x', 1 << 20)) is not null from generate_series(1, 80)\" | sort -u"
    eventually 20 "$other: stale replica \([0-9]+ MB behind\)" on node3 pgsvc verify -v
    says '5434 +ok '
}

case_diagnosis_backup_tier_serves() {
    local leader replica instance other
    at_node3
    later true_within 40 streams
    later "on $replica systemctl start patroni"
    on "$replica" systemctl stop patroni </dev/null
    eventually 25 '4 ports verified' on node3 pgsvc verify -v
    must 0 on node3 pgsvc verify -v
    says "5434 +ok +$instance, pg-test-3 +$instance \(primary\), pg-test-3 \(replica\)"
    says_of pg-test-replica 'note: the active tier is empty, the backup tier serves'
    same "$(reaches node3 5434 10)" "$leader:5 node3:5" "both backups share"
    must 0 on node3 pgsvc verify --format json
    says '"tier": "backup"'
}
