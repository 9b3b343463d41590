# shellcheck shell=bash
# What a release is made of: installed on a real node, unpacked, and made twice.

case_dist_packages() {
    local dist=$LAB_ROOT/dist deb
    rm -rf "$dist"
    must 0 env DIST="$dist/one" "$REPO/packaging/packages"
    must 0 env DIST="$dist/two" "$REPO/packaging/packages"
    must 0 diff "$dist/one/SHA256SUMS" "$dist/two/SHA256SUMS"
    (cd "$dist/one" && sha256sum --quiet -c SHA256SUMS) || fail "a checksum is wrong"
    # The .deb on a Debian 12.
    deb=$(basename "$dist"/one/*.deb)
    later bring_binary
    install -m 644 "$dist/one/$deb" "$(root_of lb1)/root/$deb"
    must 0 on lb1 "rm -f /usr/bin/pgsvc; dpkg -i /root/$deb && pgsvc --version && dpkg -V pgsvc"
    same "$(on lb1 stat -c %a:%U:%G /usr/bin/pgsvc </dev/null)" 755:root:root "the binary"
    fresh lb1
    standard | put lb1 inv.yml
    must 0 on lb1 "pgsvc lint -i /root/inv.yml --host node1 >/dev/null; dpkg -r pgsvc"
    [[ ! -e $(root_of lb1)/usr/bin/pgsvc && ! -e $(root_of lb1)/usr/share/doc/pgsvc ]] || fail "the package leaves files behind"
    # The .rpm has the same files; no system of its family is here to install it on.
    mkdir "$dist/rpm"
    (cd "$dist/rpm" && rpm2cpio "$dist"/one/*.rpm | cpio -id --quiet)
    must 0 diff <(cd "$dist/rpm" && find . -type f | sort) <(dpkg-deb -c "$dist/one/$deb" | awk '!/^d/ {print $6}' | sort)
    same "$("$dist/rpm/usr/bin/pgsvc" --version)" "$("$REPO/library/pgsvc" --version)" "the program in the .rpm"
    same "$(rpm -qp --qf '%{VERSION} %{BUILDHOST}' "$dist"/one/*.rpm)" "$(sed -n 's/^version = "\(.*\)"/\1/p' "$REPO/Cargo.toml" | head -1) reproducible" "the .rpm"
}
