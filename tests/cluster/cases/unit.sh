# shellcheck shell=bash
# The unit as others use it: by hand, at boot, and without us.

booted() { on lb1 '[[ ! -e /run/before-boot ]] && systemctl is-active -q haproxy' 2>/dev/null; }

case_unit_reload_and_restart_by_hand() {
    local pid
    serving node1
    pid=$(worker node1)
    must 0 on node1 systemctl reload haproxy
    eventually 5 '[0-9]' worker node1
    true_within 5 eval "[[ \$(worker node1) != $pid ]]"
    same "$(running_hash node1)" "$(file_hash node1)" "what runs after a reload"
    must 0 on node1 pgsvc verify --timeout 10
    must 0 on node1 systemctl restart haproxy
    same "$(running_hash node1)" "$(file_hash node1)" "what runs after a restart"
    must 0 on node1 pgsvc verify --timeout 10
    # Whatever happens to pgsvc, HAProxy starts.
    later "on node1 mv /usr/local/lib/pgsvc/away /usr/local/lib/pgsvc/pgsvc"
    must 0 on node1 mv /usr/local/lib/pgsvc/pgsvc /usr/local/lib/pgsvc/away
    must 0 on node1 'systemctl reset-failed haproxy && systemctl restart haproxy && systemctl reload haproxy'
    must 0 on node1 pgsvc verify --timeout 10
}

# While the master executes itself anew, it has no command line for a moment: no reason to restart it.
case_unit_plan_while_others_reload() {
    fresh lb1
    both "$(first)" "$(second)" | put lb1 inv.yml
    must 0 on lb1 pgsvc apply -i /root/inv.yml
    put lb1 reloads.sh <<'END'
master=$(systemctl show -p MainPID --value haproxy)
(while kill -USR2 "$master"; do sleep 0.04; done) &
trap "kill $!" EXIT
for ((i = 0; i < 40; i++)); do pgsvc plan -i /root/inv.yml; done
END
    must 0 on lb1 "bash /root/reloads.sh 2>&1 | grep -E 'restart|error' || :"
    says_not 'restart|error'
}

case_unit_serves_after_boot() {
    fresh lb1
    both "$(first)" "$(second)" | put lb1 inv.yml
    must 0 on lb1 pgsvc apply -i /root/inv.yml
    on lb1 'touch /run/before-boot; systemctl --no-block reboot' </dev/null
    true_within 40 booted
    same "$(running_hash lb1)" "$(file_hash lb1)" "what runs after a boot"
    must 0 on lb1 pgsvc verify --timeout 10
    says '4 ports verified'
    same "$(reaches lb1 5433)" "$(lab leader):6" "5433 after a boot"
}

# Power fails in the middle of an apply: the boot recovers before HAProxy starts.
case_unit_recovers_at_boot() {
    local files round
    fresh lb1
    both "$(first)" "$(second)" | put lb1 a.yml
    both "$(service primary 5433 /primary postgres)" "$(service other 6441 /primary postgres)" | put lb1 b.yml
    must 0 on lb1 pgsvc apply -i /root/b.yml
    files=$(tree lb1)
    must 0 on lb1 pgsvc apply -i /root/a.yml
    for round in 60 180; do
        files+=$'\n'$(tree lb1)
        on lb1 "touch /run/before-boot; (pgsvc apply -i /root/b.yml >/dev/null 2>&1 &) ; sleep 0.$(printf %03d "$round")" </dev/null
        lab kill lb1
        lab start
        true_within 40 booted
        while read -r line; do
            grep -qF -- "$line" <<<"$files" || fail "after a power cut: $line"
        done < <(tree lb1 | grep -v ' 0o4')
        same "$(running_hash lb1)" "$(file_hash lb1)" "what runs after a power cut"
        must 0 on lb1 pgsvc apply -i /root/a.yml
        says '4 ports verified'
    done
}
