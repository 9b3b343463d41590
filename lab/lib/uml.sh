# shellcheck shell=bash
# Machines by user-mode-linux, which needs no hardware: a kernel that runs as a process. Nothing else of the lab may know it.

uml_kernel=linux.uml
uml_modules=/usr/lib/uml/modules

uml_need() { need_tool "$uml_kernel"; }

uml_recipe() { ls "$uml_modules"; }

# Short: a socket's path is at most 108 bytes.
uml_sockets() { echo "/run/pgsvc-lab/$NAME.vm"; }

# uml_fill ROOT
uml_fill() {
    vm_image_modules "$1" "$uml_modules/$(ls "$uml_modules")"
    # The kernel has no nftables for IPv4; what it has is the older interface.
    chroot "$1" update-alternatives --quiet --set iptables /usr/sbin/iptables-legacy
}

uml_boot() {
    local node=$1 dir
    dir=$(node_dir "$node")
    mkdir -p "$(uml_sockets)"
    (
        exec 9>&-
        node_cgroup "$node"
        # gro=1: without it the machine cuts off what is longer than a frame, and a base backup takes minutes.
        # barrier=0: what the machine has written is in this machine's memory, and a power cut of the node leaves it there.
        exec setsid nsenter --net="/run/netns/$(netns net)" "$uml_kernel" "mem=$(vm_memory "$node")M" \
            "ubda=$dir/disk.cow,$(cat "$LAB/base")" "ubdbr=$dir/identity.tar" \
            root=/dev/ubda rootfstype=ext4 rootflags=barrier=0 rw init=/usr/local/sbin/lab-init lab_identity=/dev/ubdb \
            "vec0:transport=tap,ifname=$node,depth=128,gro=1,mac=$(vm_mac "$node")" \
            "uml_dir=$(uml_sockets)" "umid=$node" con=null con0=null,fd:2 ssl=null
    ) </dev/null >>"$dir/console.log" 2>&1 &
    record $! "$dir/pid"
}
