#!/bin/sh
# Builds a small Debian 12 for the tests of this directory, in which packages are installed. It takes
# half a minute, once: the result is kept in $XDG_CACHE_HOME/albatross-packages, and its path is
# printed. Tests write to copies of it only.
set -eu
cache=${XDG_CACHE_HOME:-$HOME/.cache}/albatross-packages
mkdir -p "$cache"
exec 9>"$cache.lock"
flock 9 # another one may build the same
stamp=$(sha256sum "$0" | cut -c1-16)
if [ "$(cat "$cache/stamp" 2>/dev/null)" = "$stamp" ]; then
	echo "$cache/root"
	exit
fi
exec 3>&1 >&2

if ! dpkg -s mmdebstrap >/dev/null 2>&1; then
	apt-get update
	apt-get install -y --no-install-recommends mmdebstrap
fi
rm -rf --one-file-system "$cache" # what a build has left that was killed
mkdir -p "$cache"
# The scripts of a package use the tools of systemd, which does not run there. The package for rpm
# is tried as well.
mmdebstrap --variant=minbase --include=systemd,rpm bookworm "$cache/root"
echo "$stamp" >"$cache/stamp"
echo "$cache/root" >&3
