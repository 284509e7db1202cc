package pods

import (
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// checkProbes refuses probes that the provider cannot make.
func checkProbes(c *corev1.Container) error {
	for _, p := range []struct {
		name  string
		probe *corev1.Probe
	}{{"livenessProbe", c.LivenessProbe}, {"readinessProbe", c.ReadinessProbe}, {"startupProbe", c.StartupProbe}} {
		if p.probe == nil {
			continue
		}
		if err := checkProbe(c, p.probe); err != nil {
			return fmt.Errorf("the %s is not possible: %w", p.name, err)
		}
	}
	return nil
}

func checkProbe(c *corev1.Container, p *corev1.Probe) error {
	switch {
	case p.HTTPGet != nil:
		_, err := PortOf(c, p.HTTPGet.Port)
		return err
	case p.TCPSocket != nil:
		_, err := PortOf(c, p.TCPSocket.Port)
		return err
	case p.Exec != nil:
		return fmt.Errorf("%w: probe it by httpGet or tcpSocket", errProcess)
	}
	return errors.New("a unikernel is probed by httpGet or tcpSocket")
}

// PortOf returns a port of the unikernel that is given as a number or by its name.
func PortOf(c *corev1.Container, port intstr.IntOrString) (uint16, error) {
	number := int(port.IntVal)
	if port.Type == intstr.String {
		i := slices.IndexFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == port.StrVal })
		if i < 0 {
			return 0, fmt.Errorf("no port is named %q", port.StrVal)
		}
		number = int(c.Ports[i].ContainerPort)
	}
	if number < 1 || number > 1<<16-1 {
		return 0, fmt.Errorf("%d is no port (1 to 65535)", number)
	}
	return uint16(number), nil
}
