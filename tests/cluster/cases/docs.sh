# shellcheck shell=bash
# The commands of the handbook, run as they stand there (tests/docs/blocks.py says how a page is read).

docs_where=''
docs_page() {
    local page=$1 kind where body ran=0
    docs_where=$LAB_ROOT/docs
    rm -rf "$docs_where"
    mkdir -p "$docs_where"
    # Where the page shows none: the inventory that it starts with.
    if [[ -n ${2:-} ]]; then cp "$2" "$docs_where/hosts.yml"; fi
    ln -s "$REPO"/{playbooks,roles,library,plugins,ansible.cfg} "$docs_where"
    exec 8< <(python3 "$REPO/tests/docs/blocks.py" "$page")
    while IFS= read -r -d '' -u 8 body; do
        read -r kind where <<<"${body%%$'\n'*}"
        body=${body#*$'\n'}
        case $kind in
        sh) docs_run "$where" "$body"; ((++ran)) ;;
        yaml) printf '%s' "$body" >"$docs_where/$where" ;;
        text) docs_said "$body" ;;
        test) eval "$body" </dev/null ;;
        esac
    done
    exec 8<&-
    ((ran > 0)) || fail "$page has no command"
    # The last one's exit code, if nothing was said of it.
    docs_good
}

# docs_run WHERE COMMANDS: a command before it that failed must have been meant to.
docs_code=0
docs_run() {
    local began=$EPOCHREALTIME
    docs_good
    docs_code=0
    printf '$ [%s] %s' "${1:-controller}" "$2"
    if [[ -n $1 ]]; then
        out=$(on "$1" bash -eo pipefail 2>&1 <<<"$2") || docs_code=$?
    else
        out=$(cd "$docs_where" && docs_controller bash -eo pipefail -c "$2" 2>&1 </dev/null) || docs_code=$?
    fi
    printf '%s\n[exit %s, %s s]\n' "$out" "$docs_code" "$(seconds_since "$began")"
}
docs_good() { ((docs_code == 0)) || fail "exit $docs_code, and the page says nothing of it"; }
docs_controller() {
    ANSIBLE_REMOTE_USER=root ANSIBLE_PRIVATE_KEY_FILE=$LAB_ROOT/id ANSIBLE_PYTHON_INTERPRETER=/usr/bin/python3 ANSIBLE_NOCOLOR=1 \
        ANSIBLE_SSH_ARGS="-o ControlMaster=auto -o ControlPersist=300s -o ControlPath=$LAB_ROOT/c/%h -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR" \
        PATH="$(dirname "$BINARY"):$PATH" lab run "$@"
}
docs_said() {
    local line
    while IFS= read -r line; do
        if [[ $line =~ ^\[exit\ ([0-9]+)\]$ ]]; then
            same "$docs_code" "${BASH_REMATCH[1]}" "the exit code"
            docs_code=0
        elif [[ -n $line ]]; then
            grep -qF -- "$line" <<<"$(tr -s ' ' <<<"$out")" || grep -qF -- "$line" <<<"$out" || fail "it does not say '$line'"
        fi
    done <<<"$1"
}

case_docs_handbook() {
    leads node1
    fresh "${NODES[@]}"
    docs_page "$REPO/docs/handbook.md"
}

case_docs_security() {
    leads node1
    fresh "${NODES[@]}"
    later 'on node1 "userdel -r dba; rm -f /etc/sudoers.d/pgsvc"'
    standard >"$LAB_ROOT/docs-security.yml"
    docs_page "$REPO/docs/security.md" "$LAB_ROOT/docs-security.yml"
}

# forgotten NODE: Patroni lists it no more.
forgotten() { true_within 60 eval "! patronictl_on node1 list | grep -q ' $(address_of "$1") '"; }
# streams NODE: Patroni says so.
follows() { patronictl_on node1 list | grep " $(address_of "$1") " | grep -qE 'streaming|running'; }

case_docs_migration() {
    leads node1
    fresh lb1
    later fresh lb1
    upstream_layout
    # As Pigsty has it: a unit of its own, and no drop-in.
    on lb1 'cd /etc/systemd/system && cp /lib/systemd/system/haproxy.service . && rm haproxy.service.d/upstream.conf &&
        sed -i -e "s#^ExecStartPre=.*#ExecStartPre=/usr/sbin/haproxy -f /etc/haproxy -c -q#" \
            -e "s#^ExecStart=.*#ExecStart=/usr/sbin/haproxy -Ws -f /etc/haproxy -p /run/haproxy.pid#" haproxy.service &&
        systemctl daemon-reload && systemctl restart haproxy' </dev/null
    inventory "$(cluster pg-test '' lb)" | put lb1 inv.yml
    eventually 15 '4 ports verified' on lb1 pgsvc verify -i /root/inv.yml
    docs_page "$REPO/docs/migration.md"
}
