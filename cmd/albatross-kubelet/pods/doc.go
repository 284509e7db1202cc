// Package pods translates between pods and unikernels: what a pod asks for, and how the unikernel
// of a pod is shown in its status. It decides and touches nothing: all functions are pure.
//
//	owner.go      which unikernel belongs to which pod
//	plan.go       the unikernel that a pod asks for
//	refuse.go     what a pod must not ask for
//	arguments.go  its arguments, and what of the environment becomes one
//	networks.go   its network devices and published ports
//	volumes.go    its block devices
//	probes.go     how it is probed
//	next.go       what is to be done about a pod
//	run.go        which run of a pod a status is about
//	status.go     the status that shows a unikernel
//	conditions.go the conditions in it
//	events.go     events of the daemon as events of pods
package pods
