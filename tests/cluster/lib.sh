# shellcheck shell=bash
# What the cases stand on: the lab, inventories, sessions through a port, and words for "must".

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BINARY=$(readlink -m "${PGSVC_BINARY:-$REPO/target/x86_64-unknown-linux-gnu/release/pgsvc}")
LAB_NAME=${PGSVC_LAB_NAME:-test}
LAB_ROOT=$(readlink -m "${PGSVC_LAB_DIR:-$REPO/target/lab}")/labs/$LAB_NAME
MEMBERS=(node1 node2 node3)
NODES=(node1 node2 node3 lb1)

lab() { "$REPO/lab/lab" --name "$LAB_NAME" "$@"; }
on() { lab ssh "$@" 2> >(grep -v '^Warning: Permanently' >&2); }
root_of() { echo "$LAB_ROOT/nodes/$1/root"; }
address_of() { awk -v node="$1" '$1 == node {print $2}' "$LAB_ROOT/nodes.txt"; }
patronictl_on() { on "$1" "patronictl -c /etc/patroni/config.yml ${*:2}" </dev/null; }

# Not in /usr/local: a reset takes everything away that pgsvc may have left there.
bring_binary() {
    local node
    for node in "${NODES[@]}"; do install -m 755 "$BINARY" "$(root_of "$node")/usr/bin/pgsvc"; done
}

# --- must ---------------------------------------------------------------------------------------------------------

fail() {
    printf 'failed: %s\n' "$*" >&2
    exit 1
}

# must CODE COMMAND…: runs it, keeps what it says in $out, and wants that exit code.
out=
must() {
    local want=$1 code=0
    shift
    out=$("$@" 2>&1 </dev/null) || code=$?
    printf '$ %s\n%s\n[exit %s]\n' "$*" "$out" "$code"
    ((code == want)) || fail "exit $code instead of $want: $*"
}
says() { grep -qE -- "$1" <<<"$out" || fail "it does not say '$1'"; }
# says_of PORT TEXT: of the port of that name.
says_of() { grep -E -A1 -- "$2" <<<"$out" | grep -qE "^    \(.*\b$1\b.*\)$" || fail "it does not say '$2' of $1"; }
says_not() { ! grep -qE -- "$1" <<<"$out" || fail "it says '$1'"; }
# report EXPRESSION: what is said is a JSON report of which the Python expression is true.
report() { python3 -c 'import json, sys; report = json.loads(sys.argv[1]); assert eval("(" + sys.argv[2] + ")")' "$out" "$1" || fail "not $1"; }
same() { [[ $1 == "$2" ]] || fail "$3: '$1' is not '$2'"; }
differ() { [[ $1 != "$2" ]] || fail "$3: still '$1'"; }

# eventually SECONDS TEXT COMMAND…: until it says so, whatever its exit code; $out has the last answer.
eventually() {
    local until=$((SECONDS + $1)) text=$2
    shift 2
    while :; do
        out=$("$@" 2>&1 </dev/null) || true
        if grep -qE -- "$text" <<<"$out"; then
            printf '$ %s\n%s\n' "$*" "$out"
            return
        fi
        ((SECONDS < until)) || { printf '%s\n' "$out"; fail "it never says '$text': $*"; }
        sleep 0.2
    done
}
# true_within SECONDS COMMAND…
true_within() {
    local until=$((SECONDS + $1))
    shift
    until "$@" </dev/null; do
        ((SECONDS < until)) || fail "never true: $*"
        sleep 0.1
    done
}
seconds_since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN {printf "%.1f", b - a}'; }

# later COMMAND…: what a case breaks, it mends, even when it fails: last broken, first mended.
undo=()
later() { undo=("$*" "${undo[@]}"); }
undo_all() {
    local one
    for one in "${undo[@]}"; do eval "$one" >/dev/null 2>&1 </dev/null || true; done
    undo=()
}

# --- inventories --------------------------------------------------------------------------------------------------

# cluster NAME SUFFIX WHERE [SERVICES [VARIABLES]]: a cluster of an inventory, made of the lab's members under names of
# their own (SUFFIX); WHERE is 'own' (each member is a load balancer) or 'lb' (the dedicated node is).
cluster() {
    local seq=0 node roles=(primary replica offline)
    printf '    %s:\n      vars:\n        pg_cluster: %s\n' "$1" "$1"
    if [[ $3 == lb ]]; then echo '        pg_service_provider: lb'; fi
    if [[ -n ${5:-} ]]; then printf '        %s\n' "$5"; fi
    if [[ -n ${4:-} ]]; then printf '        pg_services:\n          %s\n' "${4//$'\n'/$'\n          '}"; fi
    echo '      hosts:'
    for node in "${MEMBERS[@]}"; do
        echo "        $node$2: {ansible_host: $(address_of "$node"), pg_seq: $((++seq)), pg_role: ${ROLES[seq - 1]:-${roles[seq - 1]}}}"
    done
}
# The inventory's idea of the members' roles, where a case wants another one.
ROLES=()

# inventory CLUSTERS…: the texts of 'cluster', with the load balancer and the login for verification.
inventory() {
    cat <<END
all:
  vars: {pgsvc_verify_user: dbuser_monitor, pgsvc_verify_password: lab-monitor, pgsvc_verify_database: test}
  children:
$(printf '%s\n' "$@")
    lb:
      hosts:
        lb1: {ansible_host: $(address_of lb1)}
END
}
standard() { inventory "$(cluster pg-test '' own)"; }
# put NODE NAME: stdin becomes a file in the node's /root.
put() { cat >"$(root_of "$1")/root/$2"; }

# A service of the v1.5 dialect, where a cluster's list is the whole set: service NAME PORT PATH TARGET [MORE].
service() { echo "- {name: $1, src_port: $2, check_url: $3, dst_port: $4, selector: '[]'${5:+, $5}}"; }

# --- nodes --------------------------------------------------------------------------------------------------------

# fresh NODE…: HAProxy as the distribution ships it, nothing of pgsvc.
fresh() {
    local node jobs=()
    for node; do on "$node" lab-reset </dev/null & jobs+=($!); done
    for node in "${jobs[@]}"; do wait "$node"; done
}
# serving NODE…: the four standard services of pg-test on these members, as 'pgsvc apply' leaves them.
serving() {
    local node jobs=()
    for node; do
        standard | put "$node" inv.yml
        on "$node" pgsvc apply -i /root/inv.yml </dev/null &
        jobs+=($!)
    done
    for node in "${jobs[@]}"; do wait "$node"; done
}
# Both replicas, as the primary sees them.
all_stream() {
    [[ $(lab psql -U postgres -XAtqc "select count(*) from pg_stat_replication where state = 'streaming'" </dev/null 2>/dev/null) == 2 ]]
}
# leads NODE: makes it the primary.
leads() { lab switchover "$1"; }

worker() { on "$1" "echo show info | socat -t2 - UNIX-CONNECT:/run/haproxy/admin.sock | awk '/^Pid:/ {print \$2}'" </dev/null; }
# What the worker runs, and what the files say.
running_hash() { on "$1" "echo show info | socat -t2 - UNIX-CONNECT:/run/haproxy/admin.sock | sed -n 's/^description: //p'" </dev/null; }
file_hash() { sed -n 's/^ *description //p' "$(root_of "$1")/etc/haproxy/conf.d/00-pgsvc.cfg"; }
# listens NODE PORT
listens() { on "$1" "ss -Hltn 'sport = :$2' | grep -q ." </dev/null; }

# tree NODE: every file of the load balancer with all that a rollback must bring back, but for times.
tree() {
    on "$1" python3 - <<'END'
import hashlib, os
tops = ["/etc/haproxy", "/etc/systemd/system/haproxy.service.d"]
for top in tops:
    for where, dirs, files in sorted(os.walk(top)):
        for path in [where] + sorted(os.path.join(where, f) for f in files):
            s = os.lstat(path)
            content = hashlib.sha256(open(path, "rb").read()).hexdigest() if os.path.isfile(path) else "-"
            attributes = {n: os.getxattr(path, n) for n in sorted(os.listxattr(path))}
            print(path, oct(s.st_mode), s.st_uid, s.st_gid, content, attributes)
END
}
# times NODE: when every file was written, and which file it is.
times() { on "$1" "find /etc/haproxy /etc/systemd/system/haproxy.service.d -printf '%p %i %T@ %C@\n' | sort" </dev/null; }

# --- sessions -----------------------------------------------------------------------------------------------------

# sql NODE PORT STATEMENT, from the controller.
sql() { PGHOST=$(address_of "$1") PGCONNECT_TIMEOUT=5 lab psql -XAtqw -v ON_ERROR_STOP=1 -p "$2" -c "$3" </dev/null; }

# reaches NODE PORT [N]: the members that N connections (default 6) through a port reach, each once, sorted, with how
# often: "node2:6". Who it is, is known by the postmaster's start time, which a pooler does not hide.
reaches() {
    local n=${3:-6} node i starts=''
    for node in "${MEMBERS[@]}"; do
        starts+="$node $(sql "$node" 5432 "select extract(epoch from pg_postmaster_start_time())" 2>/dev/null || echo -)"$'\n'
    done
    for ((i = 1; i <= n; i++)); do
        echo 'select extract(epoch from pg_postmaster_start_time());'
        ((i == n)) || echo '\c'
    done | PGHOST=$(address_of "$1") PGCONNECT_TIMEOUT=5 lab psql -XAtqw -v ON_ERROR_STOP=1 -p "$2" |
        awk -v starts="$starts" 'BEGIN { n = split(starts, l, "\n"); for (i = 1; i <= n; i++) { split(l[i], f, " "); who[f[2]] = f[1] } }
            { count[$1 in who ? who[$1] : "stranger"]++ } END { for (w in count) print w ":" count[w] }' | sort | xargs
}
