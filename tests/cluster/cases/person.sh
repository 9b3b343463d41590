# shellcheck shell=bash
# A person on a node.

case_person_applies() {
    local before
    leads node1
    fresh node1
    standard | put node1 inv.yml
    must 2 on node1 pgsvc plan -i /root/inv.yml
    says '^\+listen pg-test-primary$'
    says 'would change 8 files, restart HAProxy'
    [[ ! -e $(root_of node1)/etc/haproxy/conf.d && ! -e $(root_of node1)/var/lib/pgsvc ]] || fail "a plan wrote something"
    must 0 on node1 pgsvc apply -i /root/inv.yml
    says '^pg-test +primary +127.0.0.1:5433 +ok +pg-test-1 +pg-test-1 \(primary\)'
    says '^pg-test +replica +127.0.0.1:5434 +ok +pg-test-2 +pg-test-2 \(replica\)'
    says '^pg-test +default +127.0.0.1:5436 +ok +pg-test-1 +pg-test-1 \(primary\)'
    says '^pg-test +offline +127.0.0.1:5438 +ok +pg-test-3 +pg-test-3 \(replica\)'
    same "$(reaches node1 5433)" node1:6 "through 5433"
    same "$(reaches node1 5434)" node2:6 "through 5434"
    before="$(times node1) $(worker node1)"
    must 0 on node1 pgsvc apply -i /root/inv.yml
    says 'nothing to do, 4 ports verified'
    same "$(times node1) $(worker node1)" "$before" "files and worker after the second run"
    must 0 on node1 pgsvc plan -i /root/inv.yml
    says 'nothing to do'
    must 0 on node1 pgsvc verify
    says '4 ports verified'
}

case_person_errs() {
    local before
    serving node1
    before="$(times node1) $(worker node1)"
    must 64 on node1 pgsvc aply
    must 1 on node1 pgsvc apply -i /root/none.yml
    says '/root/none.yml'
    inventory "$(cluster pg-test '' own "- {name: x, src_port: 5440, selektor: '[]'}")" | put node1 typo.yml
    must 1 on node1 pgsvc apply -i /root/typo.yml
    says "service 'x' of pg-test: .*'selektor'.*selector"
    must 1 on node1 pgsvc apply -i /root/inv.yml --host nobody
    says "host 'nobody'"
    same "$(times node1) $(worker node1)" "$before" "files and worker after refused requests"
}

case_person_json() {
    serving node1
    must 0 on node1 pgsvc verify --format json
    report 'not report["failed"] and {r["service"]: r["status"] for r in report["verify"]} ==
        dict.fromkeys(["primary", "replica", "default", "offline"], "ok")'
}
