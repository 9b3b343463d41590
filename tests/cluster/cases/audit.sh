# shellcheck shell=bash
# verify on a load balancer that pgsvc never configured.

# Upstream's layout: all files in /etc/haproxy, roles as the inventory had them when they were written.
upstream_service() { # NAME PORT TARGET PATH SERVERS…
    cat <<END
#---------------------------------------------------------------
# service: pg-test-$1 @ *:$2
listen pg-test-$1
    bind *:$2
    mode tcp
    maxconn 5000
    balance roundrobin
    option httpchk
    option http-keep-alive
    http-check send meth OPTIONS uri $4
    http-check expect status 200
    default-server inter 3s fastinter 1s downinter 5s rise 3 fall 3 on-marked-down shutdown-sessions slowstart 30s maxconn 3000 maxqueue 128 weight 100
    # servers
END
    local port=$3 server name
    shift 4
    for server; do
        name=${server%%:*}
        echo "    server pg-test-${name#node} $(address_of "$name"):$port check port 8008 weight 100${server#"$name"}" | tr : ' ' |
            sed -E 's/^( *server [^ ]+ [0-9.]+) /\1:/'
    done
}

upstream_layout() {
    local dir
    dir=$(root_of lb1)/etc/haproxy
    rm -rf "$dir"
    mkdir -p "$dir" "$(root_of lb1)/etc/systemd/system/haproxy.service.d"
    cat >"$dir/haproxy.cfg" <<'END'
global
    daemon
    user        haproxy
    group       haproxy
    node        haproxy
    maxconn     400
    spread-checks 3
    stats socket /run/haproxy/admin.sock mode 600 level admin
    stats timeout 30s
defaults
    log     global
    mode    tcp
    retries 3
    timeout queue   3s
    timeout connect 3s
    timeout client  24h
    timeout server  24h
    timeout check   3s
listen haproxy-admin
    bind *:9101
    mode http
    stats enable
    stats uri /
END
    upstream_service primary 5433 6432 /primary node1 node2 node3 >"$dir/pg-test-primary.cfg"
    upstream_service replica 5434 6432 /read-only node1:backup node2 node3:backup >"$dir/pg-test-replica.cfg"
    upstream_service default 5436 5432 /primary node1 node2 node3 >"$dir/pg-test-default.cfg"
    upstream_service offline 5438 5432 /replica node2:backup node3 >"$dir/pg-test-offline.cfg"
    cat >"$(root_of lb1)/etc/systemd/system/haproxy.service.d/upstream.conf" <<'END'
[Service]
ExecStartPre=
ExecStartPre=/usr/sbin/haproxy -f /etc/haproxy -c -q
ExecStart=
ExecStart=/usr/sbin/haproxy -Ws -f /etc/haproxy -p /run/haproxy.pid
END
    on lb1 'systemctl daemon-reload && systemctl restart haproxy' </dev/null
}

case_audit_of_upstreams_layout() {
    local before
    leads node1
    fresh lb1
    later fresh lb1
    upstream_layout
    inventory "$(cluster pg-test '' lb)" | put lb1 inv.yml
    before="$(tree lb1) $(times lb1) $(worker lb1)"
    eventually 15 '4 ports verified' on lb1 pgsvc verify -i /root/inv.yml
    must 0 on lb1 pgsvc verify -i /root/inv.yml
    says 'replica .*:5434 +ok +pg-test-2 +pg-test-2 \(replica\)'
    leads node2
    # 5433 follows there as well; 5434 does not.
    eventually 20 '5433 +ok +pg-test-2 +pg-test-2 \(primary\)' on lb1 pgsvc verify -i /root/inv.yml
    must 3 on lb1 pgsvc verify -i /root/inv.yml
    says '5434 +WRONG +pg-test-1 +pg-test-2 \(primary\)'
    says_of pg-test-replica 'wrong: leads to pg-test-2 \(the primary\), a backup, while pg-test-1 can serve'
    says '5436 +ok '
    same "$(reaches lb1 5434 6)" node2:6 "what the audit says of 5434"
    must 0 on lb1 pgsvc explain -i /root/inv.yml
    same "$(tree lb1) $(times lb1) $(worker lb1)" "$before" "the audited node"
    [[ ! -e $(root_of lb1)/var/lib/pgsvc ]] || fail "an audit left something behind"
}

case_audit_refuses_to_replace_by_accident() {
    local before
    fresh lb1
    later fresh lb1
    upstream_layout
    inventory "$(cluster pg-test '' lb)" | put lb1 inv.yml
    before=$(tree lb1)
    must 1 on lb1 pgsvc apply -i /root/inv.yml
    says '/etc/haproxy/haproxy.cfg: was not written by pgsvc.*--adopt'
    same "$(tree lb1)" "$before" "foreign files"
}
