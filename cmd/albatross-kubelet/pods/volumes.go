package pods

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"albatross/messages"
)

// Driver is the name of the CSI driver whose volumes are block devices of the daemon; their handles
// are names of block devices, below the path of the node. No such driver runs: the provider is it, and
// package volumes makes volumes on demand.
const Driver = "albatross"

// A Scratch is a block device that is made for a pod, and removed with it.
type Scratch struct {
	Name messages.Name
	Size int // MB
}

// ScratchOf returns the block devices that are made for a pod, whatever else it asks for.
func ScratchOf(pod *corev1.Pod, unikernel messages.Name) (list []Scratch) {
	for i := range pod.Spec.Volumes {
		if v := &pod.Spec.Volumes[i]; v.EmptyDir != nil {
			if s, err := scratchOf(v, unikernel); err == nil {
				list = append(list, s)
			}
		}
	}
	return list
}

// ClaimsOf returns the claims of a pod, by their names.
func ClaimsOf(pod *corev1.Pod) (names []string) {
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			names = append(names, v.PersistentVolumeClaim.ClaimName)
		}
	}
	return names
}

// BlockOf returns the block device that a persistent volume is.
func BlockOf(node messages.Path, volume *corev1.PersistentVolume) (messages.Name, error) {
	csi := volume.Spec.CSI
	if csi == nil || csi.Driver != Driver {
		return messages.Name{}, fmt.Errorf("the volume %s is no block device of the daemon: its driver must be %s", volume.Name, Driver)
	}
	handle, err := messages.ParseName(csi.VolumeHandle)
	if err == nil && handle.IsPath() {
		err = errors.New("it is a path")
	}
	if err != nil {
		return messages.Name{}, fmt.Errorf("the handle %q of the volume %s is no name of a block device: %w", csi.VolumeHandle, volume.Name, err)
	}
	return node.InFull(handle), nil
}

// blocks returns the block devices of a unikernel, and which of them are made for it.
func blocks(pod *corev1.Pod, unikernel messages.Name, claims map[string]messages.Name) (list []messages.BlockDevice, made []Scratch, err error) {
	container := &pod.Spec.Containers[0]
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if isToken(v) {
			continue
		}
		device, err := deviceOf(v, container)
		if err != nil {
			return nil, nil, fmt.Errorf("the volume %s is not possible: %w", v.Name, err)
		}
		var host messages.Name
		if v.EmptyDir != nil {
			scratch, err := scratchOf(v, unikernel)
			if err != nil {
				return nil, nil, fmt.Errorf("the volume %s is not possible: %w", v.Name, err)
			}
			made, host = append(made, scratch), scratch.Name
		} else {
			host = claims[v.PersistentVolumeClaim.ClaimName]
		}
		block, err := attach(device, host, unikernel)
		if err != nil {
			return nil, nil, fmt.Errorf("the volume %s is not possible: %w", v.Name, err)
		}
		list = append(list, block)
	}
	return list, made, nil
}

// attach returns the block device of an image that is one of the host, which must be at the path of
// the unikernel or below it.
func attach(device string, host, unikernel messages.Name) (b messages.BlockDevice, err error) {
	path := messages.Name{Path: unikernel.Path}
	if host == (messages.Name{}) || !path.Covers(host) {
		return b, errors.New("its block device is not of this namespace")
	}
	relative := strings.TrimPrefix(path.Relative(host).String(), ":")
	return messages.BlockDevice{Name: device, Device: messages.Some(relative)}, nil
}

// tokenVolume begins the name of the volume with the token of the service account, which the API server
// gives to each pod that does not ask for none.
const tokenVolume = "kube-api-access-"

func isToken(v *corev1.Volume) bool {
	return v.Projected != nil && strings.HasPrefix(v.Name, tokenVolume)
}

// deviceOf returns the device of the image that a volume is.
func deviceOf(v *corev1.Volume, container *corev1.Container) (string, error) {
	switch {
	case v.PersistentVolumeClaim != nil:
		i := slices.IndexFunc(container.VolumeDevices, func(d corev1.VolumeDevice) bool { return d.Name == v.Name })
		if i < 0 {
			return "", errors.New("a claim must be in volumeDevices, with the name of the image's block device as devicePath, and its volumeMode be Block")
		}
		return path.Base(container.VolumeDevices[i].DevicePath), nil
	case v.EmptyDir != nil:
		i := slices.IndexFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == v.Name })
		if i < 0 {
			return "", errors.New("it must be in volumeMounts, with the name of the image's block device as mountPath")
		}
		return path.Base(container.VolumeMounts[i].MountPath), nil
	}
	return "", errors.New("a unikernel has no files: only claims of block devices and emptyDir are possible")
}

// scratchOf returns the block device for an emptyDir.
func scratchOf(v *corev1.Volume, unikernel messages.Name) (s Scratch, err error) {
	switch limit := v.EmptyDir.SizeLimit; {
	case v.EmptyDir.Medium != corev1.StorageMediumDefault:
		return s, errors.New("an emptyDir in memory is not possible: a unikernel has memory of its own")
	case limit == nil || limit.Value() <= 0:
		return s, errors.New("an emptyDir needs a sizeLimit: it becomes a block device of that size")
	default:
		s.Size = int((limit.Value() + 1<<20 - 1) >> 20)
	}
	label, err := messages.ParseLabel(v.Name)
	if err != nil {
		return s, err
	}
	s.Name = messages.Name{Path: unikernel.Path.Append(unikernel.Label), Label: label}
	return s, nil
}
