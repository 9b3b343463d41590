# shellcheck shell=bash
# One node: an overlay over the image, booted by systemd-nspawn in its own network namespace. What a virtual machine does
# otherwise is in vm.sh.

node_dir() { echo "$LAB/nodes/$1"; }

# The node's own files; the only things in which two nodes differ before they boot.
node_identity() {
    local node=$1 root=$2 address=$3 unit
    echo "$node" >"$root/etc/hostname"
    tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
    {
        echo '127.0.0.1 localhost'
        echo "$CONTROLLER controller"
        awk '{print $2, $1}' "$LAB/nodes.txt"
    } >"$root/etc/hosts"
    echo "$address/24" >"$root/usr/local/share/lab/address"
    install -d -m 700 "$root/root/.ssh"
    install -m 600 "$KEY.pub" "$root/root/.ssh/authorized_keys"
    [[ $(node_field "$node" 3) == pg ]] || return 0
    member_config "$node" >"$root/etc/patroni/config.yml"
    chroot "$root" chown postgres:postgres /etc/patroni/config.yml
    chmod 640 "$root/etc/patroni/config.yml"
    for unit in patroni pgbouncer; do
        ln -sf "/lib/systemd/system/$unit.service" "$root/etc/systemd/system/multi-user.target.wants/$unit.service"
    done
    [[ " $(etcd_nodes) " == *" $node "* ]] || return 0
    member_etcd "$node" >"$root/etc/default/etcd"
    ln -sf /lib/systemd/system/etcd.service "$root/etc/systemd/system/multi-user.target.wants/etcd.service"
}

# Moves the calling process into control groups of the node's own: without them the nodes' systemds, which all
# think that they are alone, would share one tree and kill each other's services.
node_cgroup() {
    local tree
    for tree in $(node_cgroup_trees); do
        mkdir -p "$tree/$PREFIX$1"
        echo "$BASHPID" >"$tree/$PREFIX$1/cgroup.procs"
    done
}
node_cgroup_trees() {
    local tree
    for tree in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
        [[ -e $tree/cgroup.procs ]] && echo "$tree"
    done
    return 0
}

node_prepare() {
    local node=$1 dir
    dir=$(node_dir "$node")
    mkdir -p "$dir"/{root,upper,work}
    node_mount "$node"
    node_identity "$node" "$dir/root" "$(address_of "$node")"
    if is_vm "$node"; then vm_prepare "$node"; fi
}

node_mount() {
    local node=$1 dir
    dir=$(node_dir "$node")
    # volatile: a lab's data need not survive the machine, so nothing waits for its disk.
    mount -t overlay "$PREFIX$node" "$dir/root" \
        -o "lowerdir=$IMAGE,upperdir=$dir/upper,workdir=$dir/work,volatile"
}

node_boot() {
    local node=$1 dir
    dir=$(node_dir "$node")
    (
        exec 9>&-
        node_cgroup "$node"
        export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_API_VFS_WRITABLE=network \
            SYSTEMD_LOG_LEVEL=warning
        # Started inside the node's network namespace, or the node's /sys would show this machine's interfaces.
        exec setsid nsenter --net="/run/netns/$(netns "$node")" "$LAB_HOME/lib/keep" "$dir/pid" systemd-nspawn --quiet --register=no --keep-unit --boot --console=pipe \
            --directory="$dir/root" --machine="$PREFIX$node" --hostname="$node" --network-namespace-path="/run/netns/$(netns "$node")" \
            --capability=CAP_NET_ADMIN,CAP_NET_RAW,CAP_SYS_RESOURCE,CAP_SYS_PTRACE \
            --resolv-conf=off --timezone=off --link-journal=no
    ) </dev/null >>"$dir/console.log" 2>&1 &
    record $! "$dir/keep"
}

node_alive() { alive "$(node_dir "$1")/pid"; }
node_has_disk() {
    if is_vm "$1"; then [[ -e /run/netns/$(netns net) ]]; else grep -q " $(node_dir "$1")/root overlay " /proc/mounts; fi
}

# node_net NODE: addresses and routes as at the first boot.
node_net() {
    if is_vm "$1"; then
        node_ssh "$1" lab-net </dev/null
    elif has_client; then
        net_routes | sed 's/^/route replace /' | ip -n "$(netns "$1")" -batch -
    fi
}

# Boots the nodes that do not run (killed, or powered off), mends the links, and waits for every node's ssh. Sixteen boot at
# a time: of a hundred at once the first would take as long as all.
nodes_revive() {
    local node booting=0
    for node in $(nodes); do
        net_link up "$node"
        node_alive "$node" && continue
        if is_vm "$node"; then vm_boot "$node"; else node_boot "$node"; fi
        if ((++booting % 16 == 0)); then node_await "$node"; fi
    done
    for node in $(nodes); do node_await "$node"; done
}
node_await() { if is_vm "$1"; then vm_await "$1"; else until_true 120 "$1 answers on ssh" node_answers "$1"; fi; }

# node_kill NODE: as if its power went. First what would start it again, then the node's PID 1, whose end is the end
# of all in it; the container's own process then ends by itself.
node_kill() {
    local dir pid leader
    dir=$(node_dir "$1")
    ssh_hang_up "$1"
    if is_vm "$1"; then vm_kill "$1"; return; fi
    if alive "$dir/keep"; then kill -KILL "$(cut -d' ' -f1 "$dir/keep")" 2>/dev/null || true; fi
    alive "$dir/pid" || return 0
    pid=$(cut -d' ' -f1 "$dir/pid")
    for leader in $(pgrep -P "$pid"); do kill -KILL "$leader" 2>/dev/null || true; done
}

# node_gone NODE: waits until the container's own process has ended, and helps where it does not.
node_gone() {
    local dir tries=0
    dir=$(node_dir "$1")
    while alive "$dir/pid"; do
        if ((++tries == 30)); then kill -KILL "$(cut -d' ' -f1 "$dir/pid")" 2>/dev/null || true; fi
        ((tries < 60)) || die "the container of $1 does not end"
        sleep 0.1
    done
}

# Ends every container of the lab, and whatever else runs in its namespaces.
nodes_kill() {
    local dir
    for dir in "$LAB"/nodes/*/; do
        if [[ -d $dir ]]; then node_kill "$(basename "$dir")"; fi
    done
    net_kill
    for dir in "$LAB"/nodes/*/; do
        if [[ -d $dir ]]; then node_gone "$(basename "$dir")"; fi
    done
}

nodes_unmount() {
    local where tree group
    # Deepest first; whatever a killed command left mounted below the lab's directory.
    while read -r where; do umount "$where" 2>/dev/null || umount -l "$where"; done \
        < <(awk -v below="$LAB/nodes/" 'index($2, below) == 1 {print $2}' /proc/mounts | sort -r)
    rm -rf --one-file-system "$LAB/nodes"
    for tree in $(node_cgroup_trees); do
        for group in "$tree/$PREFIX"*; do
            [[ -d $group && ${group#"$tree/$PREFIX"} =~ ^(node|lb)[0-9]+$ ]] || continue
            find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
        done
    done
}

# ssh_args: how the controller reaches a node; one connection is kept and shared.
ssh_args() {
    printf '%s\n' -i "$KEY" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
        -o ConnectTimeout=10 -o ServerAliveInterval=5 -o ServerAliveCountMax=3 \
        -o ControlMaster=auto -o ControlPersist=300s -o "ControlPath=$SOCKETS/%h"
}

# node_ssh NODE COMMAND…
node_ssh() {
    local node=$1 args
    shift
    mapfile -t args < <(ssh_args)
    on_controller ssh "${args[@]}" "root@$(address_of "$node")" "$@" 9>&-
}
# The kept connection to a node that goes would only time out.
ssh_hang_up() {
    local socket
    socket=$SOCKETS/$(address_of "$1")
    if [[ -S $socket ]]; then ssh -o ControlPath="$socket" -O exit lab 2>/dev/null || true; fi
}
node_answers() { node_ssh "$1" true </dev/null 2>/dev/null; }
