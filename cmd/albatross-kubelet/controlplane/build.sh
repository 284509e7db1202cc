#!/bin/sh
# Builds the programs of a Kubernetes control plane for tests. It takes a quarter of an hour, once: the
# result is kept in $XDG_CACHE_HOME/albatross-kubernetes, and the path of that is printed.
set -eu
cd "$(dirname "$0")"
version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/albatross-kubernetes
mkdir -p "$cache"
exec 9>"$cache.lock"
flock 9 # another one may build the same
if [ -d "$cache/$version" ]; then
	echo "$cache/$version"
	exit
fi
exec 3>&1 >&2

rm -rf "$cache/new"
mkdir "$cache/new"
go build -trimpath -ldflags '-s -w' -o "$cache/new/" \
	k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-controller-manager k8s.io/kubernetes/cmd/kube-scheduler
mv "$cache/new" "$cache/$version"
echo "$cache/$version" >&3
