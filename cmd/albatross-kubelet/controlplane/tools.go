// Package controlplane is a module of its own, in which the programs of a Kubernetes control plane are
// built for tests. They are its tools, in go.mod; its replacements are what those programs have in the
// repository that they come from.
package controlplane
