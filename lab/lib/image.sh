# shellcheck shell=bash
# The image that every node starts from: built once, never written to afterwards.

image_release=bookworm

image_hash() {
    { declare -f image_build; cd "$LAB_HOME/image" && find . -type f -printf '%p %m\n' -exec cat {} +; } |
        sha256sum | cut -c1-12
}

# Sets IMAGE to the image's directory (it may not exist yet).
image_path() { IMAGE=$BASE/rootfs/$image_release-$(image_hash); }

# The machine's own package sources, one argument for each file.
image_sources() {
    local file
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources}; do
        if grep -qsE "^[[:space:]]*(deb|Suites:)[[:space:]](.*[[:space:]])?$image_release([[:space:]-]|\$)" "$file"; then say "$file"; fi
    done
}

# Images of older recipes go, unless a running lab stands on them.
image_prune() {
    local old
    for old in "$BASE/rootfs/$image_release"-*; do
        [[ $old == "$IMAGE" || ! -d $old ]] && continue
        grep -q "lowerdir=$old," /proc/mounts || rm -rf --one-file-system "$old"
    done
}

image_build() {
    need_root
    need_tool mmdebstrap
    image_path
    if [[ -e $IMAGE/usr/bin/systemctl ]]; then
        say "image: $IMAGE (there already)"
        return
    fi
    local began sources packages building=$IMAGE.building
    began=$(now)
    mapfile -t sources < <(image_sources)
    ((${#sources[@]})) || die "this machine's /etc/apt names no package source for $image_release"
    packages=$(sed 's/#.*//' "$LAB_HOME/image/packages.txt" | xargs | tr ' ' ',')
    mkdir -p "$BASE/rootfs"
    rm -rf --one-file-system "$building"
    note "building the image (about a minute): $IMAGE"
    # The machine's apt configuration (proxy, certificates, credentials) serves the build and is removed at its end.
    # shellcheck disable=SC2016 # mmdebstrap's shell expands $1
    mmdebstrap --mode=root --variant=minbase --format=directory --include="$packages" --quiet \
        --aptopt='APT::Install-Recommends "false"' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --setup-hook='for f in /etc/apt/apt.conf.d/*; do cp "$f" "$1/etc/apt/apt.conf.d/00lab-host-${f##*/}"; done' \
        --setup-hook='for f in /etc/apt/apt.conf.d/*docker*; do rm -f "$1/etc/apt/apt.conf.d/00lab-host-${f##*/}"; done' \
        --setup-hook='cp -a /etc/apt/auth.conf* "$1/etc/apt/" 2>/dev/null || :' \
        --customize-hook="$LAB_HOME/image/customize.sh" \
        "$image_release" "$building" "${sources[@]}" >"$BASE/rootfs/build.log" 2>&1 ||
        { tail -20 "$BASE/rootfs/build.log" >&2; die "the build failed; see $BASE/rootfs/build.log"; }
    mv "$building" "$IMAGE"
    image_prune
    say "image: $IMAGE ($(du -sm "$IMAGE" | cut -f1) MB, $((($(now) - began) / 100)) s)"
}
