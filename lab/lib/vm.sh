# shellcheck shell=bash
# A node as a virtual machine with a kernel of its own: user-mode-linux, which needs no hardware. It has what the image
# has, on a disk that only grows by what differs from the base; its second disk brings its identity.
# Only vm_boot knows that it is user-mode-linux: base and identity are plain images, which another machine could take.

vm_kernel=linux.uml
vm_modules=/usr/lib/uml/modules

# Memory in MB, of which a machine takes what it touches.
vm_memory() { if [[ $(node_field "$1" 3) == pg ]]; then echo 512; else echo 256; fi; }

# Short: a socket's path is at most 108 bytes.
vm_sockets() { echo "/run/pgsvc-lab/$NAME.vm"; }

# Sets VM_BASE to the file of the base disk (it may not exist yet).
vm_image_path() {
    local hash
    image_path
    hash=$({ declare -f vm_image_build vm_image_fill; ls "$vm_modules"; cd "$LAB_HOME/vm" && find . -type f -printf '%p %m\n' -exec cat {} +; } |
        sha256sum | cut -c1-12)
    VM_BASE=$BASE/vm/${IMAGE##*/}-$hash.img
}

# Base disks of older recipes go, unless a lab stands on them.
vm_image_prune() {
    local old
    for old in "$BASE"/vm/*.img; do
        [[ $old == "$VM_BASE" ]] || grep -qsxF "$old" "$BASE"/labs/*/base || rm -f "$old"
    done
}

# vm_image_fill ROOT: what a machine has and a container has not.
vm_image_fill() {
    local root=$1 version
    version=$(ls "$vm_modules")
    mkdir -p "$root/lib/modules"
    cp -a "$vm_modules/$version" "$root/lib/modules/"
    chroot "$root" depmod "$version"
    install -m 755 "$LAB_HOME"/vm/lab-{init,net} "$root/usr/local/sbin/"
    install -D -m 755 "$LAB_HOME/vm/lab-shutdown" "$root/usr/lib/systemd/system-shutdown/lab-shutdown"
    install -d "$root/etc/systemd/system.conf.d"
    printf '[Manager]\nRebootWatchdogSec=off\n' >"$root/etc/systemd/system.conf.d/lab.conf"
    echo '/dev/root / ext4 defaults 0 0' >"$root/etc/fstab"
    # The kernel has no nftables for IPv4; what it has is the older interface.
    chroot "$root" update-alternatives --quiet --set iptables /usr/sbin/iptables-legacy
    # Nothing here needs them, and every process that a boot starts costs time.
    chroot "$root" systemctl mask -q systemd-binfmt.service proc-sys-fs-binfmt_misc.automount modprobe@.service \
        kmod-static-nodes.service sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
        dev-hugepages.mount 2>/dev/null
}

vm_image_build() {
    need_tool "$vm_kernel"
    need_tool mkfs.ext4
    vm_image_path
    echo "$VM_BASE" >"$LAB/base"
    if [[ -e $VM_BASE ]]; then return; fi
    local began dir=$LAB/nodes/.image
    began=$(now)
    note "building the machines' disk: $VM_BASE"
    mkdir -p "$BASE/vm" "$dir"/{root,upper,work}
    mount -t overlay "${PREFIX}image" "$dir/root" -o "lowerdir=$IMAGE,upperdir=$dir/upper,workdir=$dir/work,volatile"
    vm_image_fill "$dir/root"
    rm -f "$VM_BASE.building"
    truncate -s 4G "$VM_BASE.building"
    mkfs.ext4 -q -L lab -m 0 -E lazy_itable_init=1,lazy_journal_init=1 -d "$dir/root" "$VM_BASE.building"
    umount "$dir/root"
    rm -rf --one-file-system "$dir"
    mv "$VM_BASE.building" "$VM_BASE"
    vm_image_prune
    say "machines' disk: $VM_BASE ($(du -sm "$VM_BASE" | cut -f1) MB, $((($(now) - began) / 100)) s)"
}

# vm_prepare NODE: the node's identity is the same as a container's; the overlay has caught it, and goes.
vm_prepare() {
    local node=$1 dir
    dir=$(node_dir "$node")
    net_routes >"$dir/root/usr/local/share/lab/routes"
    umount "$dir/root"
    tar -C "$dir/upper" --numeric-owner -cf "$dir/identity.tar" .
    rm -rf --one-file-system "$dir"/{root,upper,work}
}

# vm_mac NODE: the same at every boot, or the neighbours would not find the node for a while.
vm_mac() {
    local a b c d
    IFS=. read -r a b c d < <(address_of "$1")
    printf '52:54:%02x:%02x:%02x:%02x' "$a" "$b" "$c" "$d"
}

vm_boot() {
    local node=$1 dir
    dir=$(node_dir "$node")
    mkdir -p "$(vm_sockets)"
    (
        exec 9>&-
        node_cgroup "$node"
        # gro=1: without it the machine cuts off what is longer than a frame, and a base backup takes minutes.
        # barrier=0: what the machine has written is in this machine's memory, and a power cut of the node leaves it there.
        exec setsid nsenter --net="/run/netns/$(netns net)" "$vm_kernel" "mem=$(vm_memory "$node")M" \
            "ubda=$dir/disk.cow,$(cat "$LAB/base")" "ubdbr=$dir/identity.tar" \
            root=/dev/ubda rootfstype=ext4 rootflags=barrier=0 rw init=/usr/local/sbin/lab-init lab_identity=/dev/ubdb \
            "vec0:transport=tap,ifname=$node,depth=128,gro=1,mac=$(vm_mac "$node")" \
            "uml_dir=$(vm_sockets)" "umid=$node" con=null con0=null,fd:2 ssl=null
    ) </dev/null >>"$dir/console.log" 2>&1 &
    record $! "$dir/pid"
}

# vm_await NODE: until it answers, or dies with what its console said last.
vm_await() {
    local node=$1 why deadline=$(($(now) + VM_PATIENCE * 100))
    ! node_answers "$node" || return 0
    note "waiting until $node answers on ssh"
    until node_answers "$node"; do
        why=
        node_alive "$node" || why="the machine $node ended while it booted"
        (($(now) < deadline)) || why="gave up: $node does not answer on ssh after $VM_PATIENCE s"
        if [[ -n $why ]]; then
            note "the console of $node ($(node_dir "$node")/console.log) ends with:"
            tail -n 20 "$(node_dir "$node")/console.log" >&2
            die "$why"
        fi
        sleep 0.3
    done
}

# vm_kill NODE: the machine is one process, with helpers that outlive it when it has no time to end them.
vm_kill() {
    local tree pid dir pids
    dir=$(node_dir "$1")
    if alive "$dir/pid"; then kill -KILL "$(cut -d' ' -f1 "$dir/pid")" 2>/dev/null || true; fi
    for tree in $(node_cgroup_trees); do
        until pids=$(cat "$tree/$PREFIX$1/cgroup.procs" 2>/dev/null || true); [[ -z $pids ]]; do
            for pid in $pids; do kill -KILL "$pid" 2>/dev/null || true; done
            sleep 0.05
        done
    done
}
