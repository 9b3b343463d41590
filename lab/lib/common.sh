# shellcheck shell=bash
# Names, paths and small tools that every part of the lab shares.

LAB_HOME=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
REPO=$(cd "$LAB_HOME/.." && pwd)
BASE=$(mkdir -p "${PGSVC_LAB_DIR:-$REPO/target/lab}" && cd "${PGSVC_LAB_DIR:-$REPO/target/lab}" && pwd)
VENV=${PGSVC_VENV:-$REPO/target/venv}

FIRST=pg-test
SECOND=pg-test2
CLUSTER=$FIRST # of which one a verb speaks; --cluster names the other
NET=10.10.10
CONTROLLER=$NET.1
CLIENT_NET=10.10.20
VM_PATIENCE=300 # seconds: five machines boot on two cores
MONITOR_USER=dbuser_monitor
MONITOR_PASSWORD=lab-monitor # made up, and valid in the lab only

export LC_ALL=C.UTF-8

say() { printf '%s\n' "$*"; }
note() { printf 'lab: %s\n' "$*" >&2; }
die() {
    printf 'lab: %s\n' "$*" >&2
    exit 1
}

need_root() { ((EUID == 0)) || die "must run as root: it makes network namespaces, mounts, containers and machines"; }
need_tool() { command -v "$1" >/dev/null || die "$1 is missing: run 'lab install' first"; }

# choose NAME: sets the paths and prefixes of the lab with that name.
choose() {
    [[ $1 =~ ^[a-z0-9][a-z0-9-]{0,19}$ ]] || die "bad lab name '$1': lower-case letters, digits and '-', at most 20"
    NAME=$1
    LAB=$BASE/labs/$NAME
    KEY=$LAB/id
    SOCKETS=$LAB/c
    # A socket's path is at most 108 bytes, and ssh adds 17 of its own.
    if ((${#SOCKETS} > 70)); then SOCKETS=/run/pgsvc-lab/$NAME.c; fi
    PREFIX=pgsvc-$NAME-
}

# now: seconds since boot with two decimals, as hundredths, for deadlines.
now() {
    local up
    read -r up _ </proc/uptime
    echo "${up/./}"
}

# until_true SECONDS WHAT COMMAND…: repeats the command until it succeeds, or dies naming WHAT.
until_true() {
    local deadline what=$2
    deadline=$(($(now) + $1 * 100))
    shift 2
    until "$@"; do
        (($(now) < deadline)) || die "gave up waiting until $what"
        sleep 0.2
    done
}

# lock: one changing verb at a time for each lab; children must not inherit descriptor 9.
lock() {
    mkdir -p "$LAB"
    exec 9>"$LAB/lock"
    flock -w 120 9 || die "another lab command holds $LAB/lock"
}

# lives LAB: a node of that lab still runs. One that died with its machine or its caller left only files behind.
lives() {
    local pid
    for pid in "$1"/nodes/*/pid; do
        ! alive "$pid" || return 0
    done
    return 1
}

# claim: namespaces are named machine-wide, so a name belongs to one lab directory at a time.
claim() {
    local owner
    mkdir -p /run/pgsvc-lab
    owner=$(cat "/run/pgsvc-lab/$NAME.owner" 2>/dev/null || true)
    if [[ -n $owner && $owner != "$LAB" && -e $owner/nodes.txt ]]; then
        ! lives "$owner" || die "a lab '$NAME' runs already, in $owner: take another --name, or PGSVC_LAB_DIR=${owner%/labs/*}"
        note "a lab '$NAME' in $owner is dead: its namespaces go"
        net_down
    fi
    echo "$LAB" >"/run/pgsvc-lab/$NAME.owner"
}

is_up() { [[ -e $LAB/up ]]; }
need_up() { is_up || die "lab '$NAME' is not up: run 'lab up' first"; }

# The nodes of the lab, as `up` wrote them: NAME ADDRESS KIND SEQ ROLE [uml|qemu|-] [CLUSTER, where it is not the first]
nodes() { awk "${1:-1}"' {print $1}' "$LAB/nodes.txt"; }
pg_nodes() { nodes "\$3 == \"pg\" && (\$7 == \"\" ? \"$FIRST\" : \$7) == \"$CLUSTER\""; }
clusters() { awk -v first="$FIRST" '$3 == "pg" {print $7 == "" ? first : $7}' "$LAB/nodes.txt" | sort -u; }
# of_every_cluster COMMAND…: with CLUSTER set to each of them.
of_every_cluster() {
    local CLUSTER
    for CLUSTER in $(clusters); do "$@"; done
}
node_field() { awk -v node="$1" -v field="$2" '$1 == node {print $field}' "$LAB/nodes.txt" 2>/dev/null || true; }
address_of() { node_field "$1" 2; }
node_at() { awk -v address="$1" '$2 == address {print $1}' "$LAB/nodes.txt"; }
is_vm() { [[ $(node_field "$1" 6) == [a-z]* ]]; }
vm_nodes() { nodes '$6 ~ /^[a-z]/'; }
has_vm() { [[ -n $(vm_nodes) ]]; }
has_client() { [[ -e $LAB/client ]]; }
need_node() { [[ -n $(address_of "$1") ]] || die "no node '$1'; there are: $(nodes | xargs)"; }

# start_of PID: when the process began; a PID alone may have been given to another process since.
# A dead one that nobody has reaped counts as gone.
start_of() { sed -n 's/.*) //; /^Z/!p' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
alive() { # alive FILE: the process that the pid file names still runs
    local pid start
    [[ -s $1 ]] && read -r pid start <"$1" && [[ -n $start && $(start_of "$pid") == "$start" ]]
}
record() { echo "$1 $(start_of "$1")" >"$2"; }
