# shellcheck shell=bash
# An apply is all or nothing, under the real unit. On the dedicated load balancer.

# Two sets that differ in every way: a service more, one less, one changed.
set_a() {
    service primary 5433 /primary pgbouncer
    service replica 5434 /replica pgbouncer
    service extra 5440 /primary postgres
}
set_b() {
    service primary 5433 /primary pgbouncer 'haproxy: {maxconn: 1234}'
    service offline 5438 /replica postgres
    service other 5441 /primary postgres
}
# balancer: lb1 serves set A; its inventories are a.yml and b.yml.
balancer() {
    fresh lb1
    inventory "$(cluster pg-test '' lb "$(set_a)")" | put lb1 a.yml
    inventory "$(cluster pg-test '' lb "$(set_b)")" | put lb1 b.yml
    must 0 on lb1 pgsvc apply -i /root/a.yml
    says '3 ports verified'
}

# unharmed BEFORE: files, worker and ports are those of set A.
unharmed() {
    same "$(tree lb1)" "$1" "the files"
    same "$(running_hash lb1)" "$(file_hash lb1)" "what runs"
    must 0 on lb1 pgsvc verify -i /root/a.yml
}

case_transaction_refused_by_haproxy() {
    local before stamp
    balancer
    before=$(tree lb1) stamp="$(times lb1) $(worker lb1)"
    mkdir -p "$(root_of lb1)/root/templates"
    { cat "$REPO/src/render/templates/service.cfg.hbs" && echo '    colour blue'; } | put lb1 templates/service.cfg.hbs
    must 1 on lb1 pgsvc apply -i /root/b.yml --templates /root/templates
    says "/etc/haproxy/conf.d/pg-test-[a-z]+.cfg:[0-9]+: unknown keyword 'colour'"
    says 'nothing was changed'
    unharmed "$before"
    same "$(times lb1) $(worker lb1)" "$stamp" "files and worker"
}

case_transaction_port_taken() {
    local before stamp
    balancer
    before=$(tree lb1) stamp="$(times lb1) $(worker lb1)"
    later 'on lb1 systemctl stop squatter'
    on lb1 systemd-run -q --unit squatter socat TCP-LISTEN:5441,fork,reuseaddr /dev/null </dev/null
    true_within 5 listens lb1 5441
    must 1 on lb1 pgsvc apply -i /root/b.yml
    says 'port 5441 on 0.0.0.0: is taken by socat \(process [0-9]+\)'
    says 'nothing was changed'
    unharmed "$before"
    same "$(times lb1) $(worker lb1)" "$stamp" "files and worker"
}

case_transaction_address_missing() {
    local before
    balancer
    before=$(tree lb1)
    inventory "$(cluster pg-test '' lb "$(service primary 5433 /primary pgbouncer 'src_ip: 10.10.10.99')")" | put lb1 vip.yml
    must 1 on lb1 pgsvc apply -i /root/vip.yml
    says 'the address 10.10.10.99 is not on this node'
    unharmed "$before"
}

# A mistake that no check sees: 'haproxy -c' does not look whether a socket's directory is there.
case_transaction_reload_fails() {
    local before old
    balancer
    # What must come back is more than bytes.
    on lb1 'cd /etc/haproxy/conf.d && python3 -c "import os; os.setxattr(\"pg-test-replica.cfg\", \"user.note\", b\"kept\")" &&
        chmod 600 pg-test-extra.cfg && chown haproxy:haproxy pg-test-extra.cfg' </dev/null
    before=$(tree lb1) old=$(running_hash lb1)
    grep -q "user.note" <<<"$before" || fail "this machine's disk keeps no extended attributes"
    mkdir -p "$(root_of lb1)/root/templates"
    { cat "$REPO/src/render/templates/haproxy.cfg.hbs" && printf '\nlisten nowhere\n    bind unix@/run/nowhere/x.sock\n'; } | put lb1 templates/haproxy.cfg.hbs
    rm -f "$(root_of lb1)/root/templates/service.cfg.hbs"
    must 1 on lb1 pgsvc apply -i /root/b.yml --templates /root/templates
    says 'the old configuration is back and serves'
    says '/run/nowhere/x.sock'
    same "$(running_hash lb1)" "$old" "what runs"
    unharmed "$before"
    true_within 5 listens lb1 5440
    ! listens lb1 5441 || fail "a port of the refused set is open"
    # Nothing is left to be recovered, and the way ahead is free.
    must 0 on lb1 pgsvc recover
    must 0 on lb1 pgsvc apply -i /root/b.yml
}

# Nor does it see the limits that a worker gets.
case_transaction_limits_too_low() {
    local before old
    balancer
    before=$(tree lb1) old=$(running_hash lb1)
    sed 's/^  vars: {/&haproxy_maxconn: 10000000, /' "$(root_of lb1)/root/b.yml" | put lb1 huge.yml
    must 1 on lb1 pgsvc apply -i /root/huge.yml
    says 'limit'
    says 'the old configuration is back and serves'
    same "$(running_hash lb1)" "$old" "what runs"
    unharmed "$before"
    must 0 on lb1 systemctl restart haproxy
    must 0 on lb1 pgsvc verify -i /root/a.yml --timeout 10
    must 0 on lb1 pgsvc apply -i /root/b.yml
}

# A port made worse: the new set leads 5433 to nobody although a primary is there.
case_transaction_worse_port_rolled_back() {
    local before
    balancer
    before=$(tree lb1)
    mkdir -p "$(root_of lb1)/root/templates"
    rm -f "$(root_of lb1)/root/templates/"*
    # An operator's template that sends every service to a backend of dead servers.
    sed 's/^{{lines servers .*/    server pg-test-1 127.0.0.1:9/' "$REPO/src/render/templates/backend.hbs" | put lb1 templates/backend.hbs
    must 1 on lb1 pgsvc apply -i /root/b.yml --templates /root/templates --timeout 8
    says 'this run made .*pg-test-primary.* worse; the old configuration is back and serves'
    unharmed "$before"
}

case_transaction_killed_anywhere() {
    balancer
    put lb1 kill.sh <<'END'
set -euo pipefail
files() { (find /etc/haproxy /etc/systemd/system/haproxy.service.d -type f -printf '%p %m %u %g\n' | sort
    find /etc/haproxy /etc/systemd/system/haproxy.service.d -type f -exec sha256sum {} + | sort) | sha256sum; }
running() { echo show info | socat -t2 - UNIX-CONNECT:/run/haproxy/admin.sock | sed -n 's/^description: //p'; }
now() { sed 's/\.//; s/ .*//' /proc/uptime; }
declare -A is one=([a]=extra [b]=other)
began=$(now)
pgsvc apply -i /root/b.yml >/dev/null 2>&1
is[$(files)]=b
pgsvc apply -i /root/a.yml >/dev/null 2>&1
span=$((($(now) - began) * 5))
is[$(files)]=a
has=a
declare -A count=([old]=0 [new]=0)
for ((i = 1; i <= $1; i++)); do
    want=$([[ $has == a ]] && echo b || echo a)
    wait=$((RANDOM % (span + 1)))
    pgsvc apply -i /root/$want.yml >/dev/null 2>&1 &
    pid=$!
    sleep "$(printf '0.%03d' "$wait")"
    kill -9 "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    systemctl reset-failed haproxy
    if ((i % 3 == 0)); then how=apply; pgsvc apply -i /root/$want.yml >/tmp/said 2>&1 || { cat /tmp/said; echo "run $i: apply after a kill at $wait ms fails"; exit 1; }
    elif ((i % 3 == 1)); then how=restart; systemctl restart haproxy
    else how=reload; systemctl reload haproxy; sleep 0.3; fi
    got=${is[$(files)]:-mix}
    if [[ $got == mix ]]; then find /etc/haproxy -type f; echo "run $i: neither set after a kill at $wait ms and $how"; exit 1; fi
    if [[ $how == apply && $got != "$want" ]]; then echo "run $i: the next apply left $got"; exit 1; fi
    # A start before HAProxy's checks: verify waits for the ports.
    pgsvc verify -i /root/$got.yml --timeout 10 >/tmp/said 2>&1 || { cat /tmp/said; echo "run $i: the ports of $got do not serve after a kill at $wait ms and $how"; exit 1; }
    # What the node keeps of the request went where the files went.
    pgsvc verify --timeout 10 >/tmp/said 2>&1 || { cat /tmp/said; echo "run $i: the kept request is not that of $got after a kill at $wait ms and $how"; exit 1; }
    grep -qw "${one[$got]}" /tmp/said || { cat /tmp/said; echo "run $i: the kept request is not that of $got"; exit 1; }
    hash=$(sed -n 's/^ *description //p' /etc/haproxy/conf.d/00-pgsvc.cfg)
    [[ $(running) == "$hash" ]] || { echo "run $i: files are $hash, $(running) runs after a kill at $wait ms and $how"; exit 1; }
    if [[ $got == "$has" ]]; then outcome=old; else outcome=new; fi
    count[$outcome]=$((count[$outcome] + 1))
    echo "run $i: killed after $wait ms, $how: $outcome"
    has=$got
done
echo "span $span ms, old ${count[old]}, new ${count[new]}"
END
    must 0 on lb1 bash /root/kill.sh 15
    says 'old [0-9]+, new [0-9]+'
}

# The unit's own recovery, and others' reloads, within our applies.
case_transaction_recover_meanwhile() {
    balancer
    put lb1 meanwhile.sh <<'END'
set -euo pipefail
(while :; do pgsvc recover || echo "recover: $?"; done) >/tmp/recover.log 2>&1 &
loop=$!
trap 'kill $loop' EXIT
for set in b a b a b; do pgsvc apply -i /root/$set.yml; done
END
    must 0 on lb1 bash /root/meanwhile.sh
    must 0 on lb1 cat /tmp/recover.log
    says_not 'undone'
    must 0 on lb1 pgsvc verify -i /root/b.yml
    must 0 on lb1 pgsvc plan -i /root/b.yml
}

# The same where an address comes, moves, and goes: what the next run leaves is what was asked for, in files and in keepalived.
case_transaction_killed_anywhere_with_an_address() {
    local at=$'vip_mode: l2\n        vip_cidrmask: 24\n        vip_address: 10.10.10.9'
    fresh lb1
    inventory "$(cluster pg-test '' lb "$(set_a)" "${at}8")" | put lb1 98.yml
    inventory "$(cluster pg-test '' lb "$(set_b)" "${at}9")" | put lb1 99.yml
    inventory "$(cluster pg-test '' lb "$(set_a)")" | put lb1 none.yml
    later "on lb1 pgsvc apply --absent -c pg-test"
    put lb1 kill.sh <<'END'
set -euo pipefail
clock=(sed 's/\.//; s/ .*//' /proc/uptime)
carried() { { ip -o address show dev eth0 | grep -oE '10\.10\.10\.9[89]/' || :; } | grep -oE '9[89]/' | tr -d '/' | xargs; }
pgsvc apply -i /root/98.yml >/dev/null
began=$("${clock[@]}")
pgsvc apply -i /root/99.yml >/dev/null
span=$((($("${clock[@]}") - began) * 8))
for ((i = 0; i < $1; i++)); do
    sets=(none 98 99)
    want=${sets[i % 3]}
    wait=$((RANDOM % (span + 1)))
    pgsvc apply -i /root/$want.yml >/dev/null 2>&1 &
    pid=$!
    sleep "$(printf '%d.%03d' $((wait / 1000)) $((wait % 1000)))"
    kill -9 "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    systemctl reset-failed haproxy keepalived 2>/dev/null || true
    pgsvc apply -i /root/$want.yml >/tmp/said 2>&1 || { cat /tmp/said; echo "run $i: apply of $want after a kill at $wait ms fails"; exit 1; }
    pgsvc plan -i /root/$want.yml >/tmp/after 2>&1 || { cat /tmp/said /tmp/after; echo "run $i: not as $want after a kill at $wait ms"; exit 1; }
    for ((t = 0; t < 100; t++)); do [[ $(carried) == "${want/none/}" ]] && break; sleep 0.1; done
    [[ $(carried) == "${want/none/}" ]] || { cat /tmp/said; echo "run $i: holds '$(carried)' instead of $want after a kill at $wait ms"; exit 1; }
    [[ $want != none ]] || ! systemctl is-active -q keepalived || { cat /tmp/said; echo "run $i: keepalived runs on without a cluster"; exit 1; }
    echo "run $i: $want, killed after $wait ms: $(tail -1 /tmp/said)"
done
END
    must 0 on lb1 bash /root/kill.sh 9
}
