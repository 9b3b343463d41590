# shellcheck shell=bash
# What the machine that carries the lab needs.

host_tools=(mmdebstrap:mmdebstrap systemd-nspawn:systemd-container ip:iproute2 ssh:openssh-client psql:postgresql-client
    curl:curl pgrep:procps nsenter:util-linux linux.uml:user-mode-linux mkfs.ext4:e2fsprogs)

# What machines by QEMU need beyond that.
host_tools_qemu=(qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils busybox:busybox-static cpio:cpio)

# host_install [--qemu]
host_install() {
    need_root
    local entry missing=() wanted=("${host_tools[@]}")
    case ${1:-} in
    '') ;;
    --qemu) qemu_need_accel && wanted+=("${host_tools_qemu[@]}") ;;
    *) die "install does not know '$1'" ;;
    esac
    for entry in "${wanted[@]}"; do
        command -v "${entry%%:*}" >/dev/null || missing+=("${entry##*:}")
    done
    /usr/bin/python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
    if ((${#missing[@]})); then
        note "installing ${missing[*]}"
        apt-get -qq update
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
    fi
    if ! cmp -s "$LAB_HOME/requirements.txt" "$VENV/.requirements"; then
        note "making the Python environment $VENV"
        [[ -x $VENV/bin/python ]] || /usr/bin/python3 -m venv "$VENV"
        "$VENV/bin/pip" --quiet --disable-pip-version-check install -r "$LAB_HOME/requirements.txt"
        cp "$LAB_HOME/requirements.txt" "$VENV/.requirements"
    fi
    say "installed: $("$VENV/bin/ansible" --version | sed -n 1p), $(systemd-nspawn --version | sed -n 1p)"
}
