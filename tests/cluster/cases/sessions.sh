# shellcheck shell=bash
# Sessions follow roles: in old workers, on the backup tier, and nowhere else.

# watch_on NODE, watch_off NODE
watch_on() { on "$1" systemctl start pgsvc-watch </dev/null; }
watch_off() { on "$1" systemctl stop pgsvc-watch </dev/null; }

# hold_open NODE PORT NAME [STATEMENT]: opens a session that stays and says nothing for longer than any case looks at it, or runs
# one statement. A psql that asks finds out that its server is gone, and ends its session itself.
hold_open() {
    local log=$REPO/target/cluster-tests/held-$3.log
    # What an earlier session of that name was told is no answer to this one.
    rm -f "$log"
    (
        echo 'select inet_server_addr();'
        if [[ -n ${4:-} ]]; then echo "$4"; else sleep 150; fi
    ) | PGHOST=$(address_of "$1") PGCONNECT_TIMEOUT=5 lab psql -XAtqw -p "$2" >"$log" 2>&1 &
    later "kill $!"
    true_within 10 grep -qsE '^[0-9.]+$' "$log"
}
# held NODE PATTERN: how many sessions HAProxy's workers, old ones too, hold at backend/server.
held() {
    on "$1" "python3 - '$2'" <<'END'
import re, socket, sys
def ask(path, line):
    s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(path); s.sendall(line.encode() + b"\n"); s.shutdown(socket.SHUT_WR)
    text = b""
    while piece := s.recv(65536): text += piece
    return text.decode()
master = "/run/haproxy-master.sock"
pids = re.findall(r"^(\d+)\s+worker", ask(master, "show proc"), re.M)
text = "".join(ask(master, f"@!{pid} show sess") for pid in pids)
places = [f"{be}/{srv}" for be, srv in re.findall(r" be=(\S+) srv=(\S+)", text)]
print(sum(1 for place in places if re.fullmatch(sys.argv[1], place)))
END
}
# holds NODE PATTERN COUNT
holds() { [[ $(held "$1" "$2") == "$3" ]]; }
old_worker() { on "$1" systemctl reload haproxy </dev/null; true_within 10 old_workers "$1"; }
old_workers() { on "$1" "echo show proc | socat -t2 - UNIX-CONNECT:/run/haproxy-master.sock | grep -A1 '^# old' | grep -q worker" </dev/null; }

# up_in NODE BACKEND/SERVER: HAProxy has it up.
up_in() { on "$1" "echo show stat | socat -t2 - UNIX-CONNECT:/run/haproxy/admin.sock | grep -q '^${2/\//,}.*,UP,'" </dev/null; }
down_in() { on "$1" "echo show stat | socat -t2 - UNIX-CONNECT:/run/haproxy/admin.sock | grep -q '^${2/\//,}.*,DOWN,'" </dev/null; }

# A service whose checks find nothing out while a case runs.
SLOW='haproxy: {default_server_options: "inter 120s fastinter 120s downinter 120s rise 3 fall 3"}'

case_haproxy_learns_of_a_new_leader_at_once() {
    leads node1
    fresh node3
    # None of their own checks finds it out here: the first check of another service that turns is the hint.
    inventory "$(cluster pg-test '' own "$(service primary 5433 /primary pgbouncer "$SLOW")
$(service default 5436 /primary postgres)
$(service replica 5434 /read-only pgbouncer "selector_backup: '[? pg_role == \`primary\`]', $SLOW")")" | put node3 inv.yml
    must 0 on node3 pgsvc apply -i /root/inv.yml
    true_within 5 up_in node3 pg-test-primary/pg-test-1
    true_within 5 up_in node3 pg-test-replica/pg-test-2
    later "leads node1"
    leads node2
    local began=$EPOCHREALTIME
    true_within 10 down_in node3 pg-test-primary/pg-test-1
    true_within 5 up_in node3 pg-test-primary/pg-test-2
    echo "the new primary serves $(seconds_since "$began") s after the switchover"
    true_within 5 down_in node3 pg-test-replica/pg-test-2
    true_within 10 up_in node3 pg-test-replica/pg-test-1
    must 0 on node3 journalctl -u pgsvc-watch --no-pager
    says 'pg-test-2: its role changed.*up in .*pg-test-primary'
    must 0 on node3 pgsvc verify
    watch_off node3
    later "watch_on node3"
    leads node1
    sleep 5
    up_in node3 pg-test-primary/pg-test-2 || fail "it changes by itself: the control shows nothing"
}

# said_at NODE WORDS: when the watch said so last, in seconds since the epoch.
said_at() { on "$1" "journalctl -u pgsvc-watch -o short-unix --no-pager | grep -F '$2' | tail -1 | cut -d' ' -f1" </dev/null; }

case_a_demoted_leader_is_down_before_it_is_back() {
    leads node1
    fresh node3
    # No check finds anything out here: what wakes the watch is the old leader's PostgreSQL, which goes away.
    inventory "$(cluster pg-test '' own "$(service primary 5433 /primary pgbouncer "$SLOW")
$(service default 5436 /primary postgres "$SLOW")")" | put node3 inv.yml
    must 0 on node3 pgsvc apply -i /root/inv.yml
    true_within 5 up_in node3 pg-test-primary/pg-test-1
    # The next look of the watch, which connects.
    sleep 2
    later "leads node1"
    leads node2
    true_within 10 up_in node3 pg-test-primary/pg-test-2
    down_in node3 pg-test-primary/pg-test-1 || fail "the old leader is still up"
    local down back
    down=$(said_at node3 'pg-test-1: its role changed; down in')
    back=$(sql node1 5432 'select extract(epoch from pg_postmaster_start_time())')
    echo "down at $down, the server that is a replica now started at $back"
    awk -v down="$down" -v back="$back" 'BEGIN {exit !(down > 0 && down < back)}' || fail "it was back before it was down"
    must 0 on node3 journalctl -u pgsvc-watch --no-pager
    says_not 'error|panick'
}

case_sessions_in_old_workers_follow_a_switchover() {
    leads node1
    fresh node3
    serving node3
    must 0 on node3 systemctl is-active pgsvc-watch
    hold_open node3 5433 pooler
    hold_open node3 5436 direct
    old_worker node3
    sleep 3
    must 0 on node3 pgsvc verify
    says '^OLD WORKER +AGE +SERVICE +SERVER +SESSIONS +OLDEST$'
    says '^[0-9]+ +[0-9a-z]+ +pg-test-default +pg-test-1 +1 '
    says '^[0-9]+ +[0-9a-z]+ +pg-test-primary +pg-test-1 +1 '
    hold_open node3 5436 fresh
    later "leads node1"
    leads node2
    local began=$EPOCHREALTIME
    true_within 15 holds node3 'pg-test-(primary|default)/pg-test-1' 0
    echo "all cut $(seconds_since "$began") s after the switchover"
    must 0 on node3 journalctl -u pgsvc-watch --no-pager
    says 'pg-test-default: 1 session in old worker [0-9]+ on pg-test-1, which is replica now: cut'
}

case_sessions_in_old_workers_stay_without_the_watch() {
    leads node1
    fresh node3
    serving node3
    watch_off node3
    later "watch_on node3"
    hold_open node3 5436 direct
    old_worker node3
    later "leads node1"
    leads node2
    sleep 12
    holds node3 'pg-test-default/pg-test-1' 1 || fail "the session went by itself: the control shows nothing"
    must 3 on node3 pgsvc verify
    says 'wrong: 1 session in old worker [0-9]+ on pg-test-1, which is replica now; cut them: pgsvc verify --fix'
    must 0 on node3 pgsvc verify --fix
    says 'pg-test-default: 1 session in old worker [0-9]+ on pg-test-1, which is replica now: cut'
    holds node3 'pg-test-default/pg-test-1' 0 || fail "the session is still there"
}

case_sessions_of_readers_leave_the_primary() {
    leads node1
    fresh node3
    serving node3
    # The replica goes, readers come, and the replica returns.
    later "on node2 systemctl start patroni; true_within 60 sql node2 5432 'select 1'"
    on node2 systemctl stop patroni </dev/null
    eventually 30 'pg-test-replica,BACKEND.*,DOWN,' on node3 "echo show stat | socat -t2 - UNIX-CONNECT:/run/haproxy/admin.sock"
    local n
    for n in 1 2 3; do hold_open node3 5434 "reader$n"; done
    hold_open node3 5434 busy 'select pg_sleep(60);'
    differ "$(held node3 'pg-test-replica-backup/.*')" 0 "readers on the backup tier"
    on node2 systemctl start patroni </dev/null
    true_within 60 sql node2 5432 'select pg_is_in_recovery()'
    # Ten seconds after it is up, what waits for its client goes; the report works on.
    true_within 60 holds node3 'pg-test-replica-backup/.*' 1
    sleep 15
    holds node3 'pg-test-replica-backup/.*' 1 || fail "the report was cut"
    # After a promotion, readers leave the new primary.
    hold_open node3 5434 promoted
    holds node3 'pg-test-replica/pg-test-2' 1 || fail "the reader is not on the replica"
    later "leads node1"
    leads node2
    true_within 60 holds node3 'pg-test-replica/pg-test-2' 0
}

case_sessions_of_a_lagging_replica_stay() {
    local node before
    leads node1
    fresh node3
    inventory "$(cluster pg-test '' own "$(service lagging 5440 '/replica?lag=1MB' postgres)")" | put node3 inv.yml
    must 0 on node3 pgsvc apply -i /root/inv.yml --no-verify
    # A worker that begins has every server up until its first check.
    true_within 10 down_in node3 pg-test-lagging/pg-test-1
    for node in 2 3; do true_within 10 up_in node3 "pg-test-lagging/pg-test-$node"; done
    hold_open node3 5440 one
    hold_open node3 5440 two
    before=$(held node3 'pg-test-lagging/pg-test-[23]')
    same "$before" 2 "sessions on the replicas"
    # Patroni resumes a paused replay by itself; a stopped process it does not see.
    later "on node2 \"pkill -CONT -f 'postgres: .*startup'\"; on node3 \"pkill -CONT -f 'postgres: .*startup'\""
    for node in node2 node3; do on "$node" "pkill -STOP -f 'postgres: .*startup'" </dev/null; done
    PGUSER=postgres PGPASSWORD=lab-postgres sql node1 5432 'create table lag as select generate_series(1, 200000) i'
    later "PGUSER=postgres PGPASSWORD=lab-postgres sql node1 5432 'drop table lag'"
    eventually 60 'pg-test-lagging,pg-test-[23],.*,DOWN' on node3 "echo show stat | socat -t2 - UNIX-CONNECT:/run/haproxy/admin.sock"
    sleep 8
    same "$(held node3 'pg-test-lagging/pg-test-[23]')" "$before" "sessions on the lagging replicas"
}

case_sessions_are_cut_by_an_apply_that_reloads() {
    leads node1
    fresh node3
    serving node3
    watch_off node3
    hold_open node3 5436 direct
    old_worker node3
    later "leads node1"
    leads node2
    sleep 8
    holds node3 'pg-test-default/pg-test-1' 1 || fail "the session went by itself: the control shows nothing"
    inventory "$(cluster pg-test '' own '' 'haproxy_exporter_port: 9102')" | put node3 inv.yml
    must 0 on node3 pgsvc apply -i /root/inv.yml
    says 'HAProxy reloaded, 4 ports verified, pg-test-default: 1 session in old worker [0-9]+ on pg-test-1, which is replica now: cut'
    holds node3 'pg-test-default/pg-test-1' 0 || fail "the session is still there"
}

# watched_by_another NODE PID
watched_by_another() { on "$1" "pid=\$(systemctl show -p MainPID --value pgsvc-watch); ((pid > 0 && pid != $2))" </dev/null; }

case_sessions_watch_takes_over_and_goes() {
    leads node1
    fresh node3
    serving node3
    local before
    before=$(on node3 systemctl show -p MainPID --value pgsvc-watch </dev/null)
    on node3 'cp -p /usr/local/lib/pgsvc/pgsvc /root/new && mv /root/new /usr/local/lib/pgsvc/pgsvc' </dev/null
    true_within 15 watched_by_another node3 "$before"
    must 0 on node3 journalctl -u pgsvc-watch -o cat --no-pager
    says 'another binary lies here now'
    must 0 on node3 pgsvc apply --absent -c pg-test
    must 4 on node3 systemctl status pgsvc-watch
    must 2 on node3 ls /etc/systemd/system/pgsvc-watch.service /etc/systemd/system/multi-user.target.wants/pgsvc-watch.service
}
