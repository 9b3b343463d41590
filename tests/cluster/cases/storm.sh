# shellcheck shell=bash
# Many runs at once on one load balancer.

# Six clusters, made of the same members, each with one port.
six() {
    local n all=()
    for n in 1 2 3 4 5 6; do
        all+=("$(cluster "pg-$n" "-$n" lb "$(service primary "700$n" /primary postgres)")")
    done
    inventory "${all[@]}"
}
reloads() { on "$1" "echo 'show proc' | socat -t2 - UNIX-CONNECT:/run/haproxy-master.sock | awk '\$2 == \"master\" {print \$3}'" </dev/null; }

case_storm_of_runs_is_few_reloads() {
    local before after n
    fresh lb1
    six | put lb1 six.yml
    must 0 on lb1 pgsvc apply -i /root/six.yml -c pg-1
    before=$(reloads lb1)
    put lb1 storm.sh <<'END'
for n in 2 3 4 5 6; do pgsvc apply -i /root/six.yml -c "pg-$n" >"/root/storm-$n.log" 2>&1 & jobs+=($!); done
for job in "${jobs[@]}"; do wait "$job" || exit 1; done
END
    must 0 on lb1 bash /root/storm.sh
    after=$(reloads lb1)
    ((after - before <= 3)) || fail "five runs at once made $((after - before)) reloads"
    must 0 on lb1 'cat /root/storm-*.log'
    same "$(grep -c '^pg-[2-6] .* ok ' <<<"$out")" 5 "every run proves its own port"
    must 0 on lb1 pgsvc verify
    says '6 ports verified'
    must 0 on lb1 pgsvc plan -i /root/six.yml
    says 'nothing to do'
}

# Runs that meet a failover: the primary dies while they are at work. Each ends, and right: with its ports proven, or
# with a word about the port that nobody could serve; what is installed is what was asked for last.
case_storm_of_runs_in_a_failover() {
    local leader n code good=0
    fresh lb1
    six | put lb1 six.yml
    must 0 on lb1 pgsvc apply -i /root/six.yml
    leader=$(lab leader)
    for n in 1 2 3 4 5 6; do
        sed "s/\\($leader-$n: {\\)/\\1pg_weight: 4$n, /" "$(root_of lb1)/root/six.yml" | put lb1 "six-$n.yml"
        grep -q "pg_weight: 4$n" "$(root_of lb1)/root/six-$n.yml" || fail "no weight of pg-$n was changed"
    done
    later "on $leader systemctl start patroni"
    put lb1 failover.sh <<'END'
for n in 1 2 3 4 5 6; do
    (sleep "0.$n"; code=0; pgsvc apply -i "/root/six-$n.yml" -c "pg-$n" --timeout 40 >"/root/failover-$n.log" 2>&1 || code=$?; echo "$code" >"/root/failover-$n.code") &
done
wait
END
    # The unit's processes, PostgreSQL's among them; and it does not come back by itself.
    on "$leader" 'systemctl kill -s KILL patroni; systemctl stop patroni' </dev/null
    must 0 on lb1 bash /root/failover.sh
    for n in 1 2 3 4 5 6; do
        code=$(<"$(root_of lb1)/root/failover-$n.code")
        must 0 on lb1 cat "/root/failover-$n.log"
        case $code in
            0) says "pg-$n .* ok "; good=$((good + 1)) ;;
            3) says "pg-$n" ;;
            *) fail "the run for pg-$n ended with $code" ;;
        esac
        must 0 on lb1 pgsvc plan -i "/root/six-$n.yml" -c "pg-$n"
        says 'nothing to do'
    done
    ((good >= 1)) || fail "no run of six outlived the failover"
    differ "$(lab leader)" "$leader" "the leader"
    same "$(running_hash lb1)" "$(file_hash lb1)" "what runs"
    eventually 40 '6 ports verified' on lb1 pgsvc verify
    same "$(reaches lb1 7001)" "$(lab leader):6" "the port after the failover"
    # Who was killed has to stream again before anybody can make it the primary.
    on "$leader" systemctl start patroni </dev/null
    true_within 90 all_stream
}

# Runs with an address each are one reload as well. One whose address cannot be waits for nobody's, and nobody's for it: it is
# refused, and nothing of it is installed by another run either.
case_storm_of_runs_with_addresses() {
    local before n all=()
    fresh lb1
    for n in 1 2 3 4 5; do
        all+=("$(cluster "pg-$n" "-$n" lb "$(service primary "700$n" /primary postgres)" \
            $'vip_mode: l2\n        vip_cidrmask: 24\n        vip_address: 10.10.10.9'"$n"$'\n        vip_vrid: 9'"$n")")
    done
    inventory "${all[@]}" | put lb1 five.yml
    # Somebody else's already.
    later "on lb1 ip address del 10.10.10.95/24 dev eth0; on lb1 pgsvc apply --absent -c pg-1 -c pg-2 -c pg-3 -c pg-4"
    on lb1 ip address add 10.10.10.95/24 dev eth0 </dev/null
    must 0 on lb1 pgsvc apply -i /root/five.yml -c pg-1
    before=$(reloads lb1)
    put lb1 storm.sh <<'END'
for n in 2 3 4 5; do (code=0; pgsvc apply -i /root/five.yml -c "pg-$n" >"/root/storm-$n.log" 2>&1 || code=$?; echo "$code" >"/root/storm-$n.code") & done
wait
END
    must 0 on lb1 bash /root/storm.sh
    must 0 on lb1 'cat /root/storm-*.log'
    same "$(on lb1 'cat /root/storm-*.code | xargs' </dev/null)" '0 0 0 1' "how the runs end"
    says 'vip_address 10.10.10.95 is on this node already'
    must 0 on lb1 'ls /etc/haproxy/conf.d /etc/keepalived/pgsvc.d /var/lib/pgsvc/clusters'
    for n in 2 3 4; do same "$(grep -cE "^pg-$n(-primary.cfg|.conf|.json)\$" <<<"$out")" 3 "files of pg-$n"; done
    says_not '^pg-5'
    (($(reloads lb1) - before <= 3)) || fail "four runs at once made $(($(reloads lb1) - before)) reloads"
    for n in 1 2 3 4; do true_within 15 on lb1 "ip -o address show to 10.10.10.9$n | grep -q ."; done
    must 0 on lb1 pgsvc plan -i /root/five.yml -c pg-1 -c pg-2 -c pg-3 -c pg-4
    says 'nothing to do'
}
