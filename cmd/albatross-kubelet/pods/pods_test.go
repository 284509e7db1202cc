package pods_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"albatross/cmd/albatross-kubelet/pods"
	"albatross/messages"
)

// settings are those of the node in these tests.
var settings = pods.Settings{Path: "k8s", Networks: []string{"pods", "lan"}, CPUs: []int{0, 1}}

// newPod returns a pod that is possible, with changes.
func newPod(changes ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", UID: "8a4d0c8e-61f0-4a34-9a5c-2f0a9c5d7e11", Generation: 3, Annotations: map[string]string{}},
		Spec: corev1.PodSpec{
			NodeName: "host", RestartPolicy: corev1.RestartPolicyAlways,
			Containers: []corev1.Container{{Name: "web", Image: "registry/web:1"}},
		},
	}
	for _, change := range changes {
		change(p)
	}
	return p
}

func inContainer(change func(*corev1.Container)) func(*corev1.Pod) {
	return func(p *corev1.Pod) { change(&p.Spec.Containers[0]) }
}

func annotated(key, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Annotations[key] = value }
}

func policy(restart corev1.RestartPolicy) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.RestartPolicy = restart }
}

func resources(kind corev1.ResourceName, request, limit string) func(*corev1.Pod) {
	list := func(s string) corev1.ResourceList {
		if s == "" {
			return nil
		}
		return corev1.ResourceList{kind: resource.MustParse(s)}
	}
	return inContainer(func(c *corev1.Container) {
		c.Resources = corev1.ResourceRequirements{Requests: list(request), Limits: list(limit)}
	})
}

func read(t *testing.T, p *corev1.Pod) pods.Plan {
	t.Helper()
	plan, err := pods.Read(p, pods.Around{}, settings)
	require.NoError(t, err)
	return plan
}

func TestThePlanOfAPod(t *testing.T) {
	plan := read(t, newPod(
		inContainer(func(c *corev1.Container) {
			c.Command, c.Args = []string{"--ipv4=10.0.0.2/24"}, []string{"--hello=$(NAME)", "$$(NAME)", "$(OTHER)"}
			c.Env = []corev1.EnvVar{{Name: "NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}}
			c.Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: 8080}, {ContainerPort: 53, HostPort: 53, Protocol: corev1.ProtocolUDP, HostIP: "192.0.2.1"}, {ContainerPort: 443}}
		}),
	))
	require.Equal(t, "k8s:shop:web-1", plan.Name.String())
	require.Equal(t, "registry/web:1", plan.Image)
	args := plan.For(pods.Defaults{Networks: []string{"service", "management"}, Arguments: []string{"--unused"}})
	require.Equal(t, 32, args.Memory)
	require.Equal(t, []int{0, 1}, args.CPUIDs)
	require.Equal(t, messages.FailBehaviour{Restart: true}, args.Fail)
	require.Equal(t, []string{"--ipv4=10.0.0.2/24", "--hello=web-1", "$(NAME)", "$(OTHER)"}, args.Argv.Value)
	require.False(t, args.AddName)
	require.Equal(t, []messages.Network{
		{Name: "service", Bridge: messages.Some("pods")}, {Name: "management", Bridge: messages.Some("pods")},
	}, args.Networks)
	require.Equal(t, "8080:80", args.Publish[0].String())
	require.Equal(t, "192.0.2.1:53:53/udp", args.Publish[1].String())
	require.Len(t, args.Publish, 2)
}

func TestMemoryIsTheLimitOrTheRequest(t *testing.T) {
	for _, c := range []struct {
		request, limit string
		megabytes      int
	}{{"", "", 32}, {"64Mi", "", 64}, {"64Mi", "128Mi", 128}, {"", "1Gi", 1024}, {"100M", "", 95}} {
		require.Equal(t, c.megabytes, read(t, newPod(resources(corev1.ResourceMemory, c.request, c.limit))).For(pods.Defaults{}).Memory, "%+v", c)
	}
}

func TestWhatAnImageSaysIsTheDefault(t *testing.T) {
	image := pods.Defaults{Memory: 48, Arguments: []string{"--http=8080"}}
	args := read(t, newPod()).For(image)
	require.Equal(t, 48, args.Memory)
	require.Equal(t, []string{"--http=8080"}, args.Argv.Value)
	args = read(t, newPod(resources(corev1.ResourceMemory, "64Mi", ""), inContainer(func(c *corev1.Container) { c.Args = []string{"-v"} }))).For(image)
	require.Equal(t, 64, args.Memory)
	require.Equal(t, []string{"-v"}, args.Argv.Value)
}

func TestTheRestartPolicyIsTheFailBehaviour(t *testing.T) {
	require.Equal(t, messages.FailBehaviour{}, read(t, newPod(policy(corev1.RestartPolicyNever))).Arguments.Fail)
	onFailure := read(t, newPod(policy(corev1.RestartPolicyOnFailure))).Arguments.Fail
	require.True(t, onFailure.Restart)
	require.Len(t, onFailure.Codes, 255)
	require.NotContains(t, onFailure.Codes, 0)
}

func TestNetworksByAnnotation(t *testing.T) {
	args := read(t, newPod(annotated(pods.NetworksAnnotation, "service:pods,address=auto management:lan  third:pods,address=10.0.0.9"))).For(pods.Defaults{Networks: []string{"ignored"}})
	require.Equal(t, []messages.Network{
		{Name: "service", Bridge: messages.Some("pods"), Static: true},
		{Name: "management", Bridge: messages.Some("lan")},
		{Name: "third", Bridge: messages.Some("pods"), Static: true, IP: args.Networks[2].IP},
	}, args.Networks)
	require.Equal(t, "10.0.0.9", args.Networks[2].IP.Value.String())
}

func TestTheEnvironmentBecomesOptionsIfTheAnnotationSaysSo(t *testing.T) {
	p := newPod(annotated(pods.EnvAnnotation, pods.EnvAsOptions), inContainer(func(c *corev1.Container) {
		c.Args = []string{"--dns=$(RESOLVER)"}
		c.EnvFrom = []corev1.EnvFromSource{{Prefix: "X_", ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "site"}}}}
		c.Env = []corev1.EnvVar{
			{Name: "RESOLVER", Value: "192.0.2.53"},
			{Name: "HTTP_PORT", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "other"}, Key: "port"}}},
			{Name: "URL", Value: "http://$(RESOLVER):$(HTTP_PORT)/"},
		}
	}))
	require.Equal(t, []string{"other", "site"}, pods.ConfigMapsOf(p))
	plan, err := pods.Read(p, pods.Around{ConfigMaps: map[string]map[string]string{"site": {"B": "2", "A": "1"}, "other": {"port": "80"}}}, settings)
	require.NoError(t, err)
	require.Equal(t, []string{"--dns=192.0.2.53", "--x-a=1", "--x-b=2", "--http-port=80", "--url=http://192.0.2.53:80/"}, plan.Arguments.Argv.Value)
	_, err = pods.Read(p, pods.Around{}, settings)
	require.EqualError(t, err, "there is no ConfigMap site")
}

func volume(name string, source corev1.VolumeSource) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: source})
	}
}

func claim(name string) corev1.VolumeSource {
	return corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}}
}

func sized(size string) corev1.VolumeSource {
	limit := resource.MustParse(size)
	return corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &limit}}
}

func TestVolumesAreBlockDevices(t *testing.T) {
	p := newPod(
		volume("data", claim("orders")), volume("tmp", sized("10Mi")),
		volume("kube-api-access-x7x7x", corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{}}),
		inContainer(func(c *corev1.Container) {
			c.VolumeDevices = []corev1.VolumeDevice{{Name: "data", DevicePath: "/dev/storage"}}
			c.VolumeMounts = []corev1.VolumeMount{{Name: "tmp", MountPath: "/scratch"}, {Name: "kube-api-access-x7x7x", MountPath: "/var/run/secrets"}}
		}),
	)
	require.Equal(t, []string{"orders"}, pods.ClaimsOf(p))
	device, err := pods.BlockOf(settings.Path, &corev1.PersistentVolume{Spec: corev1.PersistentVolumeSpec{
		PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: pods.Driver, VolumeHandle: "shop:orders"}},
	}})
	require.NoError(t, err)
	plan, err := pods.Read(p, pods.Around{Claims: map[string]messages.Name{"orders": device}}, settings)
	require.NoError(t, err)
	require.Equal(t, []messages.BlockDevice{
		{Name: "storage", Device: messages.Some("orders")}, {Name: "scratch", Device: messages.Some("web-1:tmp")},
	}, plan.Arguments.Blocks)
	require.Equal(t, "k8s:shop:orders", plan.Arguments.Blocks[0].Of(plan.Name).String())
	require.Len(t, plan.Scratch, 1)
	require.Equal(t, plan.Scratch[0].Name, plan.Arguments.Blocks[1].Of(plan.Name), "the scratch device that is made is the one that is attached")
	require.Equal(t, 10, plan.Scratch[0].Size)
}

func TestABlockDeviceOfAnotherNamespaceIsRefused(t *testing.T) {
	p := newPod(volume("data", claim("orders")), inContainer(func(c *corev1.Container) {
		c.VolumeDevices = []corev1.VolumeDevice{{Name: "data", DevicePath: "storage"}}
	}))
	for _, name := range []string{"k8s:bank:orders", "shop:orders", "k8s:orders"} {
		device, err := messages.ParseName(name)
		require.NoError(t, err)
		_, err = pods.Read(p, pods.Around{Claims: map[string]messages.Name{"orders": device}}, settings)
		require.EqualError(t, err, "the volume data is not possible: its block device is not of this namespace", name)
	}
}

func TestWhatIsRefused(t *testing.T) {
	yes, always := true, corev1.ContainerRestartPolicyAlways
	exec := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}}
	spec := func(change func(*corev1.PodSpec)) func(*corev1.Pod) {
		return func(p *corev1.Pod) { change(&p.Spec) }
	}
	for says, change := range map[string]func(*corev1.Pod){
		"2 containers are not possible: a unikernel is one":                                                                                                            spec(func(s *corev1.PodSpec) { s.Containers = append(s.Containers, s.Containers[0]) }),
		"init containers are not possible: a unikernel is one container":                                                                                               spec(func(s *corev1.PodSpec) { s.InitContainers = s.Containers }),
		"ephemeral containers are not possible: a unikernel is one container":                                                                                          spec(func(s *corev1.PodSpec) { s.EphemeralContainers = make([]corev1.EphemeralContainer, 1) }),
		"hostNetwork is not possible: a unikernel is on networks of its own; publish ports by hostPort":                                                                spec(func(s *corev1.PodSpec) { s.HostNetwork = true }),
		"hostPID, hostIPC and shareProcessNamespace are not possible: a unikernel has no processes":                                                                    spec(func(s *corev1.PodSpec) { s.HostPID = true }),
		"hostAliases are not possible: a unikernel has no files":                                                                                                       spec(func(s *corev1.PodSpec) { s.HostAliases = make([]corev1.HostAlias, 1) }),
		"dnsConfig is not possible: give a unikernel its resolvers as arguments":                                                                                       spec(func(s *corev1.PodSpec) { s.DNSConfig = &corev1.PodDNSConfig{} }),
		"lifecycle hooks are not possible: a unikernel has no processes to run in it":                                                                                  inContainer(func(c *corev1.Container) { c.Lifecycle = &corev1.Lifecycle{} }),
		"stdin and tty are not possible: a unikernel reads nothing from its console":                                                                                   inContainer(func(c *corev1.Container) { c.TTY = true }),
		"workingDir is not possible: a unikernel has no files":                                                                                                         inContainer(func(c *corev1.Container) { c.WorkingDir = "/" }),
		"a restartPolicy of the container is not possible: set that of the pod":                                                                                        inContainer(func(c *corev1.Container) { c.RestartPolicy = &always }),
		"resource claims are not possible: a unikernel has memory, one CPU, networks and block devices":                                                                inContainer(func(c *corev1.Container) { c.Resources.Claims = make([]corev1.ResourceClaim, 1) }),
		"privileges of the host are not possible in a unikernel: leave privileged and added capabilities out":                                                          inContainer(func(c *corev1.Container) { c.SecurityContext = &corev1.SecurityContext{Privileged: &yes} }),
		"a request of 1500m CPUs is not possible: a unikernel has one":                                                                                                 resources(corev1.ResourceCPU, "1500m", ""),
		"memory of 100Ki is too little: a unikernel has at least 1Mi":                                                                                                  resources(corev1.ResourceMemory, "100Ki", ""),
		"the livenessProbe is not possible: a unikernel has no processes: probe it by httpGet or tcpSocket":                                                            inContainer(func(c *corev1.Container) { c.LivenessProbe = exec }),
		"the readinessProbe is not possible: a unikernel is probed by httpGet or tcpSocket":                                                                            inContainer(func(c *corev1.Container) { c.ReadinessProbe = &corev1.Probe{} }),
		"the variable A would have no effect: a unikernel has no environment; use it in args as $(A), or make options of all by the annotation albatross/env: options": inContainer(func(c *corev1.Container) { c.Env = []corev1.EnvVar{{Name: "A"}} }),
		"the annotation albatross/env is \"files\": only \"options\" is known":                                                                                         annotated(pods.EnvAnnotation, "files"),
		"an environment from a Secret is not possible: everybody on the host can read arguments":                                                                       inContainer(func(c *corev1.Container) { c.EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{}}} }),
		"the annotation albatross/networks is not possible: the node does not offer the network br0, but pods, lan":                                                    annotated(pods.NetworksAnnotation, "service:br0"),
		"the annotation albatross/networks is not possible: \"service\" is not DEVICE:NETWORK":                                                                         annotated(pods.NetworksAnnotation, "service"),
		"the annotation albatross/networks is not possible: it names the device a twice":                                                                               annotated(pods.NetworksAnnotation, "a:lan a:pods"),
		"the annotation albatross/networks is not possible: \"x\" is no address":                                                                                       annotated(pods.NetworksAnnotation, "a:lan,address=x"),
		"the hostPort 80 is not possible: the protocol must be TCP or UDP": inContainer(func(c *corev1.Container) {
			c.Ports = []corev1.ContainerPort{{HostPort: 80, ContainerPort: 80, Protocol: corev1.ProtocolSCTP}}
		}),
		"the volume v is not possible: a unikernel has no files: only claims of block devices and emptyDir are possible":                                       volume("v", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{}}),
		"the volume v is not possible: it must be in volumeMounts, with the name of the image's block device as mountPath":                                     volume("v", sized("1Mi")),
		"the volume v is not possible: a claim must be in volumeDevices, with the name of the image's block device as devicePath, and its volumeMode be Block": volume("v", claim("c")),
		"the name of the pod cannot be that of a unikernel: invalid label (only [a-zA-Z0-9-.] allowed, 1 to 63 chars)":                                         func(p *corev1.Pod) { p.Name = "a23456789012345678901234567890123456789012345678901234567890.1234" },
	} {
		_, err := pods.Read(newPod(change), pods.Around{}, settings)
		require.EqualError(t, err, says)
	}
}

func TestAnEmptyDirNeedsASize(t *testing.T) {
	mounted := inContainer(func(c *corev1.Container) { c.VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "storage"}} })
	for says, source := range map[string]*corev1.EmptyDirVolumeSource{
		"the volume v is not possible: an emptyDir needs a sizeLimit: it becomes a block device of that size":    {},
		"the volume v is not possible: an emptyDir in memory is not possible: a unikernel has memory of its own": {Medium: corev1.StorageMediumMemory},
	} {
		_, err := pods.Read(newPod(mounted, volume("v", corev1.VolumeSource{EmptyDir: source})), pods.Around{}, settings)
		require.EqualError(t, err, says)
	}
}

func TestOwnersAndNames(t *testing.T) {
	cluster := pods.ClusterOf("0123456789-abc")
	owner := pods.Owner{Cluster: cluster, UID: newPod().UID, Former: 12}
	require.Equal(t, "kubernetes/01234567/8a4d0c8e-61f0-4a34-9a5c-2f0a9c5d7e11/12", owner.String())
	parsed, ours := pods.ParseOwner(cluster, owner.String())
	require.True(t, ours)
	require.Equal(t, owner, parsed)
	for _, other := range []string{"", "web.yaml", "kubernetes/76543210/8a4d0c8e/0", "kubernetes/01234567//0", "kubernetes/01234567/8a4d/x", "kubernetes/01234567/8a4d"} {
		_, ours := pods.ParseOwner(cluster, other)
		require.False(t, ours, other)
	}
	name, err := pods.NameOf("k8s", pods.Key(newPod()))
	require.NoError(t, err)
	pod, possible := pods.PodOf(messages.Name{Path: "k8s"}.Relative(name))
	require.True(t, possible)
	require.Equal(t, pods.Key(newPod()), pod)
	for _, relative := range []messages.Name{{Label: "x"}, {Path: "a:b", Label: "x"}, {Path: "a"}} {
		_, possible := pods.PodOf(relative)
		require.False(t, possible)
	}
}

func TestEventsOfTheDaemonAreToldOfPods(t *testing.T) {
	for _, c := range []struct {
		event                 messages.Event
		kind, reason, message string
	}{
		{messages.Event{Kind: messages.EventExited, Exit: messages.Some(code(0))}, "Normal", "Exited", "the unikernel has ended: exit 0"},
		{messages.Event{Kind: messages.EventExited, Exit: messages.Some(signal(11))}, "Warning", "Exited", "the unikernel has ended: signal 11"},
		{messages.Event{Kind: messages.EventRestarting, Cause: "exit 2 asks for a restart"}, "Warning", "Restarting", "the unikernel is started again: exit 2 asks for a restart"},
		{messages.Event{Kind: messages.EventStopped}, "Warning", "Stopped", "the unikernel stays stopped: somebody has asked for that"},
	} {
		kind, reason, message, tells := pods.Tell(c.event)
		require.True(t, tells)
		require.Equal(t, []string{c.kind, c.reason, c.message}, []string{kind, reason, message})
	}
	_, _, _, tells := pods.Tell(messages.Event{Kind: messages.EventCreated})
	require.False(t, tells)
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
