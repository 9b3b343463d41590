# shellcheck shell=bash
# A node as a virtual machine with a kernel of its own. It has what the image has, on a disk that only grows by what
# differs from the base; its second disk brings its identity. What kind of machine that is (user-mode-linux in uml.sh, QEMU
# with KVM in qemu.sh) may not show here: a kind KIND has KIND_need, KIND_recipe, KIND_fill and KIND_boot.

# Memory in MB, of which a machine takes what it touches.
vm_memory() { if [[ $(node_field "$1" 3) == pg ]]; then echo 512; else echo 256; fi; }

# The kind of the lab's machines; all are of one.
vm_kind() { node_field "$(vm_nodes | head -1)" 6; }

# Sets VM_BASE to the file of the base disk (it may not exist yet). Files beside it that begin with its name are its own.
vm_image_path() {
    local hash kind
    kind=$(vm_kind)
    image_path
    hash=$({ declare -f vm_image_build vm_image_fill vm_image_modules "${kind}_fill"; "${kind}_recipe"; cd "$LAB_HOME/vm" && find . -type f -printf '%p %m\n' -exec cat {} +; } |
        sha256sum | cut -c1-12)
    VM_BASE=$BASE/vm/$kind-${IMAGE##*/}-$hash.img
}

# Base disks of this kind's older recipes go, unless a lab stands on them.
vm_image_prune() {
    local old kind=$1
    for old in "$BASE/vm/$kind"-*.img; do
        [[ $old == "$VM_BASE" ]] || grep -qsxF "$old" "$BASE"/labs/*/base || rm -f "$old" "$old".*
    done
}

# vm_image_fill ROOT: what a machine has and a container has not.
vm_image_fill() {
    local root=$1
    install -m 755 "$LAB_HOME"/vm/lab-{init,net} "$root/usr/local/sbin/"
    install -D -m 755 "$LAB_HOME/vm/lab-shutdown" "$root/usr/lib/systemd/system-shutdown/lab-shutdown"
    install -d "$root/etc/systemd/system.conf.d"
    printf '[Manager]\nRebootWatchdogSec=off\n' >"$root/etc/systemd/system.conf.d/lab.conf"
    echo '/dev/root / ext4 defaults 0 0' >"$root/etc/fstab"
    # Nothing here needs them, and every process that a boot starts costs time.
    chroot "$root" systemctl mask -q systemd-binfmt.service proc-sys-fs-binfmt_misc.automount modprobe@.service \
        kmod-static-nodes.service sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
        dev-hugepages.mount 2>/dev/null
}

# vm_image_modules ROOT DIRECTORY: the kernel's modules, from the directory that is named by its version.
vm_image_modules() {
    mkdir -p "$1/lib/modules"
    cp -a "$2" "$1/lib/modules/"
    chroot "$1" depmod "${2##*/}"
}

vm_image_build() {
    local kind
    kind=$(vm_kind)
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
    "${kind}_fill" "$dir/root"
    rm -f "$VM_BASE.building"
    truncate -s 4G "$VM_BASE.building"
    mkfs.ext4 -q -L lab -m 0 -E lazy_itable_init=1,lazy_journal_init=1 -d "$dir/root" "$VM_BASE.building"
    umount "$dir/root"
    rm -rf --one-file-system "$dir"
    mv "$VM_BASE.building" "$VM_BASE"
    vm_image_prune "$kind"
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

# vm_boot NODE
vm_boot() { "$(vm_kind)_boot" "$1"; }

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
