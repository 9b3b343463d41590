# shellcheck shell=bash
# From nothing to a cluster that streams, and back.

# up_plan NODES BALANCERS VM SECOND KIND: the nodes of the lab, one a line; VM is all, lb or nothing, KIND uml or qemu.
up_plan() {
    local n role pg='' lb='' other
    case $3 in all) pg=" $5" lb=" $5" ;; lb) lb=" $5" ;; esac
    for ((n = 1; n <= $1; n++)); do
        case $n in 1) role=primary ;; 3) role=offline ;; *) role=replica ;; esac
        echo "node$n $NET.$((10 + n)) pg $n $role$pg"
    done
    other=${pg:- -}
    for ((n = 1; n <= $4; n++)); do
        case $n in 1) role=primary ;; *) role=replica ;; esac
        echo "node$(($1 + n)) $NET.$((10 + $1 + n)) pg $n $role$other $SECOND"
    done
    for ((n = 1; n <= $2; n++)); do echo "lb$n $NET.$((20 + n)) lb - -$lb"; done
}

# need_room NODES: a node's systemd, logind and dbus watch files, and the kernel counts all of a user's watchers together.
need_room() {
    local limit
    limit=$(</proc/sys/fs/inotify/max_user_instances)
    (($1 <= 9 || limit >= $1 * 7)) ||
        die "$1 nodes need more than the $limit inotify instances that this machine grants a user: run 'sysctl fs.inotify.max_user_instances=$(($1 * 7))'"
}

verb_up() {
    local count=3 balancers=0 vm='' kind='' client=0 second=0 node plan
    while (($#)); do
        case $1 in
        --nodes) count=${2:-} && shift 2 ;;
        --lb) balancers=${2:-} && shift 2 ;;
        --second) second=${2:-} && shift 2 ;;
        --vm | --qemu)
            [[ ${2:-} =~ ^(all|lb)$ ]] || die "$1 takes 'all' or 'lb', not '${2:-}'"
            [[ -z $kind ]] || die "one of --vm and --qemu: the machines of a lab are of one kind"
            case $1 in --vm) kind=uml ;; *) kind=qemu ;; esac
            vm=$2 client=1
            shift 2
            ;;
        --client) client=1 && shift ;;
        *) die "up does not know '$1'" ;;
        esac
    done
    [[ $count =~ ^[0-9]$ && $balancers =~ ^[0-9]{1,3}$ && $((10#$balancers)) -le 200 ]] || die "--nodes takes 0 to 9, --lb 0 to 200"
    balancers=$((10#$balancers))
    ((count + balancers > 0)) || die "a lab without any node is none"
    [[ $second =~ ^[0-9]$ && $((count + second)) -le 9 ]] || die "--second takes 0 to $((9 - count)): nine members in all"
    ((count > 0 || second == 0)) || die "--second needs a first cluster: --nodes 1 or more"
    plan=$(up_plan "$count" "$balancers" "$vm" "$second" "$kind")
    need_room "$((count + second + balancers))"
    need_tool systemd-nspawn
    [[ -z $kind ]] || "${kind}_need"
    lock
    claim
    if is_up; then
        # After a restart of this machine the mounts are gone, and the nodes' data cannot be trusted.
        for node in $(nodes); do
            node_has_disk "$node" || { note "$node has lost its disk: starting the lab anew"; tear_down; break; }
        done
    fi
    if is_up; then up_again "$plan" "$client"; else up_anew "$plan" "$client"; fi
    lab_table
}

# up_again PLAN CLIENT: the lab is up; what is off in it boots.
up_again() {
    local client=0
    if has_client; then client=1; fi
    [[ $1 == "$(cat "$LAB/nodes.txt")" && $2 == "$client" ]] ||
        die "lab '$NAME' is up with other nodes ($(nodes | xargs)$(if has_vm; then echo ", machines ($(vm_kind)): $(vm_nodes | xargs)"; fi)) or another network: run 'lab down' first"
    nodes_revive
    of_every_cluster cluster_await
    say "lab '$NAME' is up"
}

# up_anew PLAN CLIENT
up_anew() {
    local began node
    image_build
    tear_down
    mkdir -p "$LAB/nodes" "$SOCKETS"
    chmod 700 "$LAB" "$SOCKETS"
    [[ -e $KEY ]] || ssh-keygen -q -t ed25519 -N '' -C pgsvc-lab -f "$KEY"
    (umask 077 && printf '*:*:*:%s\n' postgres:lab-postgres replicator:lab-replicator test:lab-test \
        "$MONITOR_USER:$MONITOR_PASSWORD" >"$LAB/pgpass")
    echo "$1" >"$LAB/nodes.txt"
    if (($2)); then touch "$LAB/client"; else rm -f "$LAB/client"; fi
    if has_vm; then vm_image_build; fi
    began=$(now)
    net_up
    for node in $(nodes); do node_prepare "$node"; done
    nodes_revive
    of_every_cluster cluster_await
    touch "$LAB/up"
    say "lab '$NAME' is up ($((($(now) - began) / 100)) s)"
}

# tear_down: from any state, whole or half.
tear_down() {
    rm -f "$LAB/up"
    nodes_kill
    net_down
    nodes_unmount
    rm -rf "$SOCKETS" "$(uml_sockets)"
}
