#!/bin/bash
# Last step of the image build: $1 is the new root. Makes the packages' defaults into a node that boots fast and quiet.
set -euo pipefail
root=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Before anything of the lab is added: the load balancer as the distribution ships it.
mkdir -p "$root/usr/local/share/lab/pristine/etc/default"
cp -a "$root/etc/haproxy" "$root/usr/local/share/lab/pristine/etc/"
cp -a "$root/etc/default/haproxy" "$root/usr/local/share/lab/pristine/etc/default/"
for path in keepalived default/keepalived; do
    if [[ -e $root/etc/$path ]]; then cp -a "$root/etc/$path" "$root/usr/local/share/lab/pristine/etc/$path"; fi
done

tar -C "$here/root" -c --owner=0 --group=0 . | tar -x -C "$root"
chroot "$root" chown postgres:postgres /etc/pgbouncer/pgbouncer.ini /etc/pgbouncer/userlist.txt
chmod 640 "$root/etc/pgbouncer/userlist.txt"

# The distribution's own cluster gives way to Patroni's.
chroot "$root" pg_dropcluster 15 main 2>/dev/null || true
chroot "$root" systemctl disable -q postgresql patroni etcd pgbouncer 2>/dev/null || true
chroot "$root" systemctl mask -q systemd-networkd.service systemd-networkd.socket systemd-resolved.service \
    systemd-timesyncd.service systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket \
    systemd-udev-trigger.service systemd-firstboot.service \
    console-getty.service getty@.service getty.target \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    systemd-pstore.service 2>/dev/null

# An image has no sources, no credentials and no identity.
rm -rf "$root"/etc/apt/sources.list.d/* "$root"/etc/apt/auth.conf "$root"/etc/apt/auth.conf.d/* "$root"/etc/apt/preferences.d/* \
    "$root"/etc/apt/apt.conf.d/*lab-host* "$root"/etc/apt/apt.conf.d/99mmdebstrap
echo '# A node of the lab has no network.' >"$root/etc/apt/sources.list"
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/usr/share/doc/* "$root"/usr/share/man/*
mkdir -p "$root/var/lib/apt/lists/partial"
: >"$root/etc/machine-id"
rm -f "$root/etc/resolv.conf" "$root/var/lib/dbus/machine-id"
: >"$root/etc/resolv.conf"
