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
