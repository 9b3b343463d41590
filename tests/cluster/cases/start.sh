# shellcheck shell=bash
# What servers begin with after a start or a reload, whoever asked for it, and what the guard refuses.

# states NODE BACKEND: "pg-test-1:2/0 …", operational and administrative state of every server.
states() { on "$1" "echo 'show servers state $2' | socat -t2 - UNIX-CONNECT:/run/haproxy/admin.sock | awk '/pg-test/ {print \$4 \":\" \$6 \"/\" \$7}' | xargs" </dev/null; }
# at_once NODE COMMAND: the states of the primary's backend, asked in the same breath as the command.
at_once() { on "$1" "$2 && echo 'show servers state pg-test-primary' | socat -t2 - UNIX-CONNECT:/run/haproxy/admin.sock | awk '/pg-test/ {print \$4 \":\" \$6}' | xargs" </dev/null; }
socket() { on "$1" "echo '$2' | socat -t2 - UNIX-CONNECT:/run/haproxy/admin.sock" </dev/null; }
# first_checks NODE: what HAProxy said since its last start of servers that a check found down: they had been up.
first_checks() { on "$1" "journalctl -u haproxy _SYSTEMD_INVOCATION_ID=\$(systemctl show -p InvocationID --value haproxy) -o cat --no-pager | grep 'is DOWN' || :" </dev/null; }
only_primary() {
    local leader n line=''
    leader=$(lab leader)
    for n in 1 2 3; do line+="pg-test-$n:$([[ node$n == "$leader" ]] && echo 2 || echo 0) "; done
    echo "${line% }"
}

case_start_begins_with_the_roles() {
    serving node2
    same "$(at_once node2 'systemctl restart haproxy')" "$(only_primary)" "the primary's servers after a start"
    same "$(at_once node2 'systemctl reload haproxy')" "$(only_primary)" "the primary's servers after a reload"
    must 0 first_checks node2
    says_not 'pg-test-primary/pg-test-.* reason: Layer7'
    # The control: without the seed HAProxy takes every server for up until its first check.
    later "on node2 'rm -r /run/systemd/system/haproxy.service.d; systemctl daemon-reload; systemctl restart haproxy'"
    on node2 'd=/run/systemd/system/haproxy.service.d; mkdir -p $d; printf "[Service]\nExecStartPre=\n" >$d/z.conf; systemctl daemon-reload; systemctl restart haproxy; sleep 1' </dev/null
    must 0 first_checks node2
    says 'pg-test-primary/pg-test-.* reason: Layer7'
}

# The states of a moment ago are wrong after a failover: the members' own word counts.
case_start_reload_right_after_a_switchover() {
    serving node3
    leads node2
    later leads node1
    same "$(at_once node3 'systemctl reload haproxy')" "$(only_primary)" "right after a switchover"
    must 0 on node3 'ls -A /run/pgsvc'
    same "$(sed -n '/^[a-z]/p' <<<"$out" | grep -c servers)" 0 "the file of states after the reload"
}

case_start_never_believes_an_old_file() {
    serving node2
    on node2 'P=/usr/local/lib/pgsvc/pgsvc; $P seed; sed -i "s/ 2 0 100 100 / 9 9 9 9 /; s/ 0 0 100 100 / 2 0 100 100 /" /run/pgsvc/servers' </dev/null
    same "$(at_once node2 'systemctl restart haproxy')" "$(only_primary)" "with an old file"
}

case_start_keeps_an_operators_hand() {
    serving node1
    later "on node1 systemctl restart haproxy"
    socket node1 'set server pg-test-replica/pg-test-2 state drain'
    socket node1 'set server pg-test-offline/pg-test-3 state maint'
    socket node1 'set server pg-test-default/pg-test-2 weight 40'
    must 0 on node1 systemctl reload haproxy
    must 0 states node1 pg-test-replica
    says 'pg-test-2:[0-9]/8'
    must 0 states node1 pg-test-offline
    says 'pg-test-3:0/1'
    must 0 socket node1 'get weight pg-test-default/pg-test-2'
    says '^40 \(initial 100\)'
}

case_start_with_everybody_silent() {
    local began
    serving node1
    later "on node1 nft delete table inet silent"
    on node1 "nft 'add table inet silent; add chain inet silent out { type filter hook output priority 0; }; add rule inet silent out ip daddr 10.10.10.0/24 tcp dport { 5432, 6432, 8008 } drop'" </dev/null
    began=$EPOCHREALTIME
    must 0 on node1 systemctl restart haproxy
    awk -v s="$(seconds_since "$began")" 'BEGIN {exit !(s < 5)}' || fail "a start without members takes $(seconds_since "$began") s"
    must 0 states node1 pg-test-primary
    says 'pg-test-1:0/0 pg-test-2:0/0 pg-test-3:0/0'
    on node1 nft delete table inet silent </dev/null
    must 0 on node1 pgsvc verify --timeout 20
}

# Two members that claim to be the primary: nobody gets a connection, and surely not the wrong one.
case_start_guard_refuses_two_primaries() {
    serving node2
    # It would see to the second one by itself.
    watch_off node2
    later "watch_on node2"
    must 0 sql node2 5433 'select 1'
    later "socket node2 'enable health pg-test-primary/pg-test-2'"
    socket node2 'disable health pg-test-primary/pg-test-2; set server pg-test-primary/pg-test-2 health up'
    must 2 sql node2 5433 'select 1'
    says 'closed the connection|reset by peer'
    must 3 on node2 pgsvc verify --timeout 1
    says 'refused while more than one member is up for the primary: pg-test-1, pg-test-2'
    socket node2 'set server pg-test-primary/pg-test-2 health down; enable health pg-test-primary/pg-test-2'
    must 0 sql node2 5433 'select 1'
}
