# shellcheck shell=bash
# Machines by QEMU with KVM: Debian's own kernel on virtual hardware, at native speed. Nothing else of the lab may know it.
# Where KVM does not work it is refused: emulation is many times slower, and no time that a test waits holds in it. Whoever
# wants to see a machine boot nevertheless says so: PGSVC_QEMU_ACCEL=tcg.

qemu_program=qemu-system-x86_64
qemu_kernel=linux-image-cloud-amd64
qemu_accel=${PGSVC_QEMU_ACCEL:-kvm}

# Why there is no KVM for a machine here, or nothing. A /dev/kvm says little: there are some without a processor that
# virtualises, which make a machine and then interpret Debian's kernel, one instruction after the other.
qemu_why_not() {
    if ! grep -qE '^flags.*\b(vmx|svm)\b' "${1:-/proc/cpuinfo}"; then
        echo "this machine's processor has no virtualisation (neither vmx nor svm in /proc/cpuinfo)"
        return
    fi
    /usr/bin/python3 - "${2:-/dev/kvm}" <<'EOP'
import fcntl, sys
KVM_CREATE_VM = 0xAE01
try:
    with open(sys.argv[1], "rb+", buffering=0) as kvm:
        fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
except OSError as error:
    print(f"{sys.argv[1]} makes no machine ({error.strerror})")
EOP
}

# Asked before anything is installed or built.
qemu_need_accel() {
    local why
    case $qemu_accel in
    kvm) why=$(qemu_why_not) ;;
    tcg) why='' ;;
    *) die "PGSVC_QEMU_ACCEL is '$qemu_accel'; there are: kvm, tcg (emulation)" ;;
    esac
    [[ -z $why ]] || die "no QEMU: $why. What works without: user-mode-linux ('lab up --vm all', PGSVC_MACHINES=vm), containers ('lab up', PGSVC_MACHINES=container)"
}

qemu_need() {
    local tool
    qemu_need_accel
    for tool in "$qemu_program" qemu-img busybox cpio; do
        command -v "$tool" >/dev/null || die "$tool is missing: run 'lab install --qemu' first"
    done
}

qemu_recipe() {
    declare -f qemu_initrd
    echo "$qemu_kernel"
}

# qemu_fill ROOT: Debian's kernel, which is unpacked and not installed, beside the base disk; its modules in ROOT.
qemu_fill() {
    local root=$1 dir package modules
    dir=$(dirname "$root")/kernel
    package=$(apt-cache depends "$qemu_kernel" | sed -n 's/^ *Depends: \(linux-image-[0-9]\)/\1/p' | head -1)
    [[ -n $package ]] || die "this machine's package sources name no $qemu_kernel: run 'apt-get update' first"
    mkdir -p "$dir"
    (cd "$dir" && apt-get -qq -o APT::Sandbox::User=root download "$package") || die "cannot download $package"
    dpkg-deb -x "$dir"/*.deb "$dir"
    modules=$(find "$dir" -path '*lib/modules/*' -prune -type d)
    vm_image_modules "$root" "$modules"
    qemu_initrd "$root" "${modules##*/}" "$dir/initrd" >"$VM_BASE.initrd"
    cp "$dir"/boot/vmlinuz-* "$VM_BASE.kernel"
}

# qemu_initrd ROOT VERSION DIRECTORY: made in DIRECTORY, printed. Disk and card are modules in Debian's kernel, and a node
# has no udev that would load them: a first program does, and goes on with the machine's own.
qemu_initrd() {
    local root=$1 dir=$3 module
    mkdir -p "$dir"/{bin,dev,proc,root}
    install -m 755 "$(command -v busybox)" "$dir/bin/busybox"
    install -m 755 "$LAB_HOME/vm/qemu-init" "$dir/init"
    for module in virtio_pci virtio_blk virtio_net; do
        chroot "$root" modprobe -S "$2" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ {print $2}' >"$dir/modules"
    while read -r module; do install -D -m 644 "$root$module" "$dir$module"; done <"$dir/modules"
    (cd "$dir" && find . -print0 | sort -z | cpio --quiet -0 -o -H newc | gzip -1)
}

# qemu_word TEXT: as a part of an option's value, which a comma would end.
qemu_word() { printf '%s' "${1//,/,,}"; }

qemu_boot() {
    local node=$1 dir own base drive cpu
    dir=$(node_dir "$node")
    own=$(qemu_word "$dir")
    base=$(cat "$LAB/base")
    [[ -e $dir/disk.cow ]] || qemu-img create -q -f qcow2 -F raw -b "$base" "$dir/disk.cow"
    # cache=unsafe: what the machine has flushed is in this machine's memory, and a power cut of the node leaves it there.
    drive=if=none,cache=unsafe
    # arch-capabilities: there are hosts that show this register and then do not take it, on which QEMU ends.
    cpu=host,arch-capabilities=off
    if [[ $qemu_accel == tcg ]]; then cpu=max; fi
    (
        exec 9>&-
        node_cgroup "$node"
        exec setsid nsenter --net="/run/netns/$(netns net)" "$qemu_program" -name "$node" \
            -machine "q35,accel=$qemu_accel,usb=off,smbus=off,sata=off" -cpu "$cpu" -smp 1 -m "$(vm_memory "$node")" \
            -nodefaults -no-user-config -display none -monitor none -sandbox on \
            -chardev "file,id=console,append=on,path=$own/console.log" -serial chardev:console \
            -kernel "$base.kernel" -initrd "$base.initrd" \
            -append "lab_identity=/dev/vdb net.ifnames=0 console=ttyS0 loglevel=4" \
            -drive "id=disk,format=qcow2,file=$own/disk.cow,$drive" -device virtio-blk-pci,drive=disk \
            -drive "id=identity,format=raw,readonly=on,file=$own/identity.tar,$drive" -device virtio-blk-pci,drive=identity \
            -netdev "tap,id=net,ifname=$node,script=no,downscript=no" \
            -device "virtio-net-pci,netdev=net,romfile=,mac=$(vm_mac "$node")"
    ) </dev/null >>"$dir/console.log" 2>&1 &
    record $! "$dir/pid"
}
