#!/bin/sh
# Builds a small Debian 12 for the tests of this directory: kernel, initrd and the
# file system of the root; the beginning of another initrd, for a machine that runs
# nothing but tests; and kernel and beginning of an initrd for such a machine of arm64. It takes a minute, once: the result is kept in
# $XDG_CACHE_HOME/albatross-vm, and the path of that is printed.
set -eu
cache=${XDG_CACHE_HOME:-$HOME/.cache}/albatross-vm
mkdir -p "$cache"
exec 9>"$cache.lock"
flock 9 # another one may build the same
stamp=$(sha256sum "$0" | cut -c1-16)
if [ "$(cat "$cache/stamp" 2>/dev/null)" = "$stamp" ]; then
	echo "$cache"
	exit
fi
exec 3>&1 >&2

needs="qemu-system-x86 qemu-system-arm mmdebstrap busybox-static cpio e2fsprogs"
missing=
for package in $needs; do
	dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
if [ -n "$missing" ]; then
	apt-get update
	# shellcheck disable=SC2086 # these are several
	apt-get install -y --no-install-recommends $missing
fi

# There may be file systems in what is left of a build that was killed.
rm -rf --one-file-system "$cache"
mkdir -p "$cache"
work=$(mktemp -d "$cache/build.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
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

# An initrd begins with busybox and kernel modules, which are loaded in this order.
cp "$root"/boot/vmlinuz-* "$cache/vmlinuz"
kernel=$(basename "$root"/lib/modules/*)
begin() { # DIRECTORY MODULE...
	initrd=$1
	shift
	mkdir -p "$initrd/bin" "$initrd/dev" "$initrd/proc" "$initrd/sys"
	cp /bin/busybox "$initrd/bin/busybox"
	modules=
	for file in $(chroot "$root" modprobe -S "$kernel" --show-depends -a "$@" | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'); do
		cp "$root$file" "$initrd/"
		modules="$modules $(basename "$file")"
	done
}
pack() { # DIRECTORY
	chmod +x "$1/init"
	(cd "$1" && find . | cpio -o -H newc --quiet)
}

# This one mounts both disks, and nothing else.
begin "$work/initrd" virtio_pci virtio_blk
mkdir "$initrd/new"
cat >"$initrd/init" <<INIT
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs devtmpfs /dev
for module in $modules; do /bin/busybox insmod /\$module; done
/bin/busybox mount -t ext4 /dev/vda /new
/bin/busybox mount -t ext4 -o ro /dev/vdb /new/payload
/bin/busybox mount --move /dev /new/dev
exec /bin/busybox switch_root /new /sbin/init
INIT
pack "$initrd" >"$cache/initrd"

# This one has KVM, and runs /run, which is in a second archive behind it. Its memory may
# be promised more often than there is: most guests touch little of theirs.
begin "$work/kvm" kvm_amd tun bridge
mkdir "$initrd/tmp"
cat >"$initrd/init" <<INIT
#!/bin/busybox sh
set -e # its end is the machine's
export PATH=/bin HOME=/
/bin/busybox --install -s /bin
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
chmod 1777 /tmp
ip link set lo up
echo 1 >/proc/sys/vm/overcommit_memory
for module in $modules; do insmod /\$module; done
sh /run >/dev/ttyS1 2>&1
poweroff -f
INIT
pack "$initrd" >"$cache/kvm"

# This one is for arm64. Its packages are only unpacked, since their programs do not run here,
# and what its kernel calls a module is found by its name. It leaves the first file system, which
# nobody can unmount, and a tender has to.
arm=$work/arm
mmdebstrap --variant=extract --architectures=arm64 --include=linux-image-cloud-arm64,busybox-static bookworm "$arm"
cp "$arm"/boot/vmlinuz-* "$cache/vmlinuz-arm64"
initrd=$work/arm64
mkdir -p "$initrd/bin" "$initrd/dev" "$initrd/proc" "$initrd/sys" "$initrd/tmp" "$initrd/new"
cp "$arm/bin/busybox" "$initrd/bin/busybox"
for module in llc stp bridge tun; do
	cp "$(find "$arm/lib/modules" -name "$module.ko")" "$initrd/"
done
cat >"$initrd/init" <<'INIT'
#!/bin/busybox sh
set -e # its end is the machine's
export PATH=/bin HOME=/
if [ -d /new ]; then
	/bin/busybox --install -s /bin
	mount -t tmpfs -o mode=755,size=80% tmpfs /new
	cp -a bin init /new/ # which switch_root looks for, and itself is
	for name in *; do case $name in new | bin | init) ;; *) mv "$name" /new/ ;; esac done
	exec switch_root /new /init
fi
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
chmod 1777 /tmp
ip link set lo up
echo 1 >/proc/sys/vm/overcommit_memory
for module in llc stp bridge tun; do insmod /$module.ko; done
echo the script:
sh /run 2>&1
poweroff -f
INIT
pack "$initrd" >"$cache/arm64"

rm -rf "$root/boot" "$root/usr/share/doc" "$root/usr/share/locale" "$root/var/cache/apt" "$root/var/lib/apt/lists"
mkfs.ext4 -q -d "$root" "$cache/root.ext4" 1G
echo "$stamp" >"$cache/stamp"
echo "$cache" >&3
