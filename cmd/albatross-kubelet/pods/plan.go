package pods

import (
	"cmp"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"albatross/messages"
)

// Settings are the same for all pods of a node.
type Settings struct {
	Path     messages.Path // the node's: namespaces are below it
	Networks []string      // that pods may use; the first is that of a pod that names none
	CPUs     []int         // that unikernels may run on
}

// Around is what a pod refers to, and what is somewhere else in the cluster.
type Around struct {
	ConfigMaps map[string]map[string]string // by name
	Claims     map[string]messages.Name     // the block devices of claims, by the names of the claims
}

// A Plan is the unikernel that a pod asks for.
type Plan struct {
	Name      messages.Name
	Image     string // the reference
	Arguments messages.Arguments
	Scratch   []Scratch
	// network is that of all network devices of the image; empty: Arguments has them.
	network string
}

// Defaults are what an image says about itself.
type Defaults struct {
	Networks  []string // the network devices that it declares
	Memory    int      // MB that it is to have where the pod states none; 0: it does not say
	Arguments []string // that it is to have where the pod gives none
}

// defaultMemory is the memory in MB where neither the pod nor the image states any.
const defaultMemory = 32

// A MissingError says what a pod refers to, and what may come still.
type MissingError struct{ text string }

func (m *MissingError) Error() string { return m.text }

// Missing returns a MissingError.
func Missing(text string) *MissingError { return &MissingError{text} }

// Read returns what a pod asks for. The error says, for the user, what is not possible with a
// unikernel: except for a MissingError, the same pod will never be.
func Read(pod *corev1.Pod, around Around, settings Settings) (plan Plan, err error) {
	if err := refuse(pod); err != nil {
		return plan, err
	}
	container := &pod.Spec.Containers[0]
	plan.Image = container.Image
	args := &plan.Arguments
	args.CPUs, args.CPUIDs = 1, settings.CPUs
	args.Fail = failBehaviour(pod.Spec.RestartPolicy)
	if plan.Name, err = NameOf(settings.Path, Key(pod)); err != nil {
		return plan, err
	}
	if args.Memory, err = memory(container.Resources); err != nil {
		return plan, err
	}
	argv, err := arguments(pod, around.ConfigMaps)
	if err != nil {
		return plan, err
	}
	args.Argv = messages.Some(argv)
	if args.Networks, plan.network, err = networks(pod, settings.Networks); err != nil {
		return plan, err
	}
	if args.Publish, err = publications(container.Ports); err != nil {
		return plan, err
	}
	args.Blocks, plan.Scratch, err = blocks(pod, plan.Name, around.Claims)
	return plan, err
}

// For returns the arguments for an image.
func (p Plan) For(image Defaults) messages.Arguments {
	args := p.Arguments
	if args.Memory == 0 {
		args.Memory = cmp.Or(image.Memory, defaultMemory)
	}
	if len(args.Argv.Value) == 0 {
		args.Argv = messages.Some(image.Arguments)
	}
	if p.network == "" {
		return args
	}
	for _, device := range image.Networks {
		args.Networks = append(args.Networks, messages.Network{Name: device, Bridge: messages.Some(p.network)})
	}
	return args
}

// memory returns the memory in MB: the limit, or else the request; 0: neither is given. A unikernel
// gets all of its memory when it starts.
func memory(resources corev1.ResourceRequirements) (int, error) {
	asked, given := resources.Limits[corev1.ResourceMemory]
	if !given {
		if asked, given = resources.Requests[corev1.ResourceMemory]; !given {
			return 0, nil
		}
	}
	megabytes := asked.Value() >> 20
	if megabytes < 1 {
		return 0, fmt.Errorf("memory of %s is too little: a unikernel has at least 1Mi", asked.String())
	}
	return int(min(megabytes, messages.MaxInt)), nil
}

var oneCPU = resource.MustParse("1")

// checkCPU refuses what a unikernel cannot use.
func checkCPU(resources corev1.ResourceRequirements) error {
	if request := resources.Requests[corev1.ResourceCPU]; request.Cmp(oneCPU) > 0 {
		return fmt.Errorf("a request of %s CPUs is not possible: a unikernel has one", request.String())
	}
	return nil
}

// lastCode is the last exit code of a process.
const lastCode = 255

// failBehaviour returns when the daemon starts a unikernel again by itself. Where it does not,
// although the policy asks for that, the provider does.
func failBehaviour(policy corev1.RestartPolicy) messages.FailBehaviour {
	switch policy {
	case corev1.RestartPolicyNever:
		return messages.FailBehaviour{}
	case corev1.RestartPolicyOnFailure:
		codes := make([]int, 0, lastCode)
		for code := 1; code <= lastCode; code++ {
			codes = append(codes, code)
		}
		return messages.FailBehaviour{Restart: true, Codes: codes}
	default: // Always, also of API servers that state none
		return messages.FailBehaviour{Restart: true}
	}
}

// errProcess is why nothing can be done inside of a unikernel.
var errProcess = errors.New("a unikernel has no processes")
