# shellcheck shell=bash
# Patroni's API over TLS: HAProxy's checks and the verification trust a CA, and say so where they cannot.

# api_with_tls [LINES]: the members' APIs with certificates of a CA of the case's own, and more lines for `restapi`; undone
# by the case's end.
api_with_tls() {
    local dir=$LAB_ROOT/tls node n=0 root
    mkdir -p "$dir"
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$dir/ca.key" -out "$dir/ca.crt" -days 2 -subj /CN=pgsvc-test 2>/dev/null
    for node in "${MEMBERS[@]}"; do
        root=$(root_of "$node")
        printf 'subjectAltName=IP:%s,DNS:%s\n' "$(address_of "$node")" "$node" >"$dir/ext"
        openssl req -newkey rsa:2048 -nodes -keyout "$dir/$node.key" -out "$dir/$node.csr" -subj "/CN=$node" 2>/dev/null
        openssl x509 -req -in "$dir/$node.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -set_serial $((++n)) \
            -out "$dir/$node.crt" -days 2 -extfile "$dir/ext" 2>/dev/null
        install -m 644 "$dir/$node.crt" "$dir/$node.key" "$root/etc/patroni/"
        install -m 644 "$dir/ca.crt" "$root/etc/ssl/pgsvc-test.crt"
        later "sed -i '/^  \\(certfile\\|keyfile\\|cafile\\|verify_client\\):/d' $root/etc/patroni/config.yml"
        sed -i "/^restapi:/a\\  certfile: /etc/patroni/$node.crt\\n  keyfile: /etc/patroni/$node.key${1:+\\n  $1}" "$root/etc/patroni/config.yml"
    done
    restart_patroni
    # First broken, last mended: the restart comes after the files are as before.
    undo+=("restart_patroni")
}
restart_patroni() {
    local node
    for node in "${MEMBERS[@]}"; do on "$node" systemctl restart patroni </dev/null; done
    true_within 60 patroni_runs
}
# All members of it, one as the leader: where a replica is not back yet, others serve in its place, and rightly so.
patroni_runs() {
    local members
    members=$(patronictl_on node1 list -f json 2>/dev/null) || return 1
    python3 -c 'import json, sys
members = json.loads(sys.argv[1])
up = [m for m in members if m["State"] in ("running", "streaming")]
sys.exit(len(up) != int(sys.argv[2]) or sum(m["Role"] == "Leader" for m in up) != 1)' "$members" "${#MEMBERS[@]}"
}

case_tls_checks() {
    leads node1
    fresh node1
    api_with_tls
    inventory "$(cluster pg-test '' own '' 'patroni_ssl_enabled: true
        patroni_ca_file: /etc/ssl/pgsvc-test.crt')" | put node1 tls.yml
    eventually 20 'check-ssl verify required ca-file /etc/ssl/pgsvc-test.crt' on node1 pgsvc render -i /root/tls.yml
    must 0 on node1 pgsvc apply -i /root/tls.yml
    says '^pg-test +primary .* ok +pg-test-[12] +pg-test-[12] \(primary\)'
    says '^pg-test +replica .* ok +pg-test-[12] +pg-test-[12] \(replica\)'
    # Another CA: HAProxy has every member down, and verify names the certificate, not the member.
    openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -days 2 -subj /CN=stranger 2>/dev/null \
        -out "$(root_of node1)/etc/ssl/pgsvc-test.crt"
    eventually 10 "Patroni's API is not trusted: look at its certificate and patroni_ca_file" on node1 pgsvc verify
    standard | put node1 plain.yml
    must 3 on node1 pgsvc verify -i /root/plain.yml
    says "Patroni's API wants TLS: set patroni_ssl_enabled: true"
}

# Patroni asks for a certificate itself: without one every member is down and verify says what to set, with it HAProxy's
# checks, the seed before a start, and the verification all get in.
case_tls_client_certificates() {
    local dir=$LAB_ROOT/tls own
    leads node1
    fresh node1
    api_with_tls 'cafile: /etc/ssl/pgsvc-test.crt\n  verify_client: required'
    own=$(root_of node1)/etc/ssl/pgsvc-own.pem
    later "rm -f $own"
    (umask 077; cat "$dir/node1.crt" "$dir/node1.key" >"$own")
    local variables='patroni_ssl_enabled: true
        patroni_ca_file: /etc/ssl/pgsvc-test.crt'
    inventory "$(cluster pg-test '' own '' "$variables")" | put node1 strange.yml
    must 3 on node1 pgsvc apply -i /root/strange.yml --timeout 3
    says "Patroni's API wants a client's certificate: set patroni_cert_file"
    inventory "$(cluster pg-test '' own '' "$variables
        patroni_cert_file: /etc/ssl/pgsvc-own.pem")" | put node1 own.yml
    must 0 on node1 pgsvc apply -i /root/own.yml
    says '^pg-test +primary .* ok +pg-test-[123] +pg-test-[123] \(primary\)'
    must 0 on node1 grep -c 'crt /etc/ssl/pgsvc-own.pem' /etc/haproxy/conf.d/pg-test-primary.cfg
    must 0 on node1 systemctl restart haproxy
    must 0 on node1 pgsvc verify
}
