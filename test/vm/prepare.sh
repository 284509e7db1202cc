#!/bin/sh
# Builds a small Debian 12 for the tests of this directory: kernel, initrd and the
# file system of the root. It takes a minute, once: the result is kept in
# $XDG_CACHE_HOME/albatross-vm, and the path of that is printed.
set -eu
cache=${XDG_CACHE_HOME:-$HOME/.cache}/albatross-vm
stamp=$(sha256sum "$0" | cut -c1-16)
if [ "$(cat "$cache/stamp" 2>/dev/null)" = "$stamp" ]; then
	echo "$cache"
	exit
fi
exec 3>&1 >&2

needs="qemu-system-x86 mmdebstrap busybox-static cpio e2fsprogs"
missing=
for package in $needs; do
	dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
if [ -n "$missing" ]; then
	apt-get update
	# shellcheck disable=SC2086 # these are several
	apt-get install -y --no-install-recommends $missing
fi

rm -rf "$cache"
mkdir -p "$cache"
work=$(mktemp -d "$cache/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root
mmdebstrap --variant=minbase --include=systemd-sysv,linux-image-cloud-amd64,iproute2,kmod,procps bookworm "$root"

# The few units that a boot needs, and ours. There is no udev, so that nothing may wait
# for devices.
echo albatross >"$root/etc/hostname"
: >"$root/etc/fstab"
: >"$root/etc/machine-id"
printf '%s\n' virtio_console tun bridge >"$root/etc/modules-load.d/vm.conf"
for unit in getty.target serial-getty@ttyS0.service apt-daily.timer apt-daily-upgrade.timer \
	dpkg-db-backup.timer fstrim.timer e2scrub_all.timer e2scrub_reap.service \
	systemd-update-utmp.service systemd-random-seed.service systemd-ask-password-wall.path; do
	ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
mkdir "$root/payload"
cat >"$root/etc/systemd/system/agent.service" <<'UNIT'
[Unit]
Description=What the tests talk to
[Service]
ExecStart=/payload/agent
KillMode=process
Restart=always
UNIT
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -s ../agent.service "$root/etc/systemd/system/multi-user.target.wants/agent.service"
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\nRateLimitBurst=0\n' >"$root/etc/systemd/journald.conf.d/vm.conf"

# The initrd mounts both disks, and nothing else.
cp "$root"/boot/vmlinuz-* "$cache/vmlinuz"
initrd=$work/initrd
mkdir -p "$initrd/bin" "$initrd/dev" "$initrd/proc" "$initrd/sys" "$initrd/new"
cp /bin/busybox "$initrd/bin/busybox"
kernel=$(basename "$root"/lib/modules/*)
modules=
for file in $(chroot "$root" modprobe -S "$kernel" --show-depends -a virtio_pci virtio_blk | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'); do
	cp "$root$file" "$initrd/"
	modules="$modules $(basename "$file")"
done
cat >"$initrd/init" <<INIT
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs devtmpfs /dev
for module in $modules; do /bin/busybox insmod /\$module; done
/bin/busybox mount -t ext4 /dev/vda /new
/bin/busybox mount -t ext4 -o ro /dev/vdb /new/payload
/bin/busybox mount --move /dev /new/dev
exec /bin/busybox switch_root /new /sbin/init
INIT
chmod +x "$initrd/init"
(cd "$initrd" && find . | cpio -o -H newc --quiet) >"$cache/initrd"

rm -rf "$root/boot" "$root/usr/share/doc" "$root/usr/share/locale" "$root/var/cache/apt" "$root/var/lib/apt/lists"
mkfs.ext4 -q -d "$root" "$cache/root.ext4" 1G
echo "$stamp" >"$cache/stamp"
echo "$cache" >&3
