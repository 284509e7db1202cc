package cgroup

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	pureV1 = `22 27 0:21 / /proc rw,relatime - proc proc rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid,nodev,noexec,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,nosuid shared:10 - cgroup cgroup rw,cpuset,clone_children
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/usr/lib/systemd/systemd-cgroups-agent,name=systemd
`
	unified = `35 24 0:30 / /sys/fs/cgroup/unified rw,relatime shared:5 - cgroup2 cgroup2 rw,nsdelegate
`
	pureV2 = `24 1 0:22 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
30 24 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 master:2 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
`
	// A container without a cgroup namespace sees its own part.
	partV1 = `700 699 0:32 /docker/0123 /sys/fs/cgroup/memory ro,nosuid,nodev,noexec,relatime master:17 - cgroup cgroup rw,memory
701 699 0:31 /../.. /sys/fs/cgroup/cpuset ro,nosuid,nodev,noexec,relatime master:18 - cgroup cgroup rw,cpuset
`
	partV2 = `700 699 0:26 /system.slice/docker-0123.scope /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw
`
)

func TestMounts(t *testing.T) {
	cpuDir := mount{dir: "/sys/fs/cgroup/cpu,cpuacct", controllers: []string{"rw", "cpu", "cpuacct"}}
	cpusetDir := mount{dir: "/sys/fs/cgroup/cpuset", controllers: []string{"rw", "cpuset", "clone_children"}}
	memoryDir := mount{dir: "/sys/fs/cgroup/memory", controllers: []string{"rw", "memory"}}
	systemd := mount{dir: "/sys/fs/cgroup/systemd", controllers: []string{
		"rw", "xattr", "release_agent=/usr/lib/systemd/systemd-cgroups-agent", "name=systemd"}}
	for name, test := range map[string]struct {
		info string
		want []mount
	}{
		"version 1":     {pureV1, []mount{cpuDir, cpusetDir, memoryDir, systemd}},
		"hybrid":        {pureV1 + unified, []mount{cpuDir, cpusetDir, memoryDir, systemd, {dir: "/sys/fs/cgroup/unified", v2: true}}},
		"version 2":     {pureV2, []mount{{dir: "/sys/fs/cgroup", v2: true}}},
		"part of 1":     {partV1, nil},
		"part of 2":     {partV2, nil},
		"nothing":       {"", nil},
		"no source":     {"1 2 0:3 / /a rw - cgroup  rw,memory\n", []mount{{dir: "/a", controllers: []string{"rw", "memory"}}}},
		"many optional": {"1 2 0:3 / /a rw shared:1 master:2 unbindable - cgroup2 x rw\n", []mount{{dir: "/a", v2: true}}},
		"no newline":    {"1 2 0:3 / /a rw - cgroup x rw,cpuset", []mount{{dir: "/a", controllers: []string{"rw", "cpuset"}}}},
		"escaped":       {`1 2 0:3 / /a\040-\040b\134c\011\012 rw - cgroup2 x rw` + "\n", []mount{{dir: "/a - b\\c\t\n", v2: true}}},
		"too short":     {"1 2 0:3 / /a - cgroup2 x rw\n1 2 0:3 / /a rw - cgroup2 x\n1 2 0:3 / /a rw cgroup2 x rw\n\n-\n", nil},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, parseMounts(test.info)) })
	}
}

func TestEachControllerIsTakenOnce(t *testing.T) {
	v1 := func(dir string, controllers ...string) mount { return mount{dir: dir, controllers: controllers} }
	v2 := func(dir string, controllers ...string) mount {
		return mount{dir: dir, v2: true, controllers: controllers}
	}
	in := func(root string, isV2 bool, controllers ...string) branch {
		return branch{root: root, parent: root + "/albatross", v2: isV2, controllers: controllers}
	}
	for name, test := range map[string]struct {
		mounts []mount
		want   []branch
	}{
		"version 1": {
			[]mount{v1("/cpu", "rw", "cpu"), v1("/cpuset", "rw", "cpuset"), v1("/memory", "rw", "memory")},
			[]branch{in("/cpuset", false, cpuset), in("/memory", false, memory)},
		},
		"version 1, mounted together": {
			[]mount{v1("/all", "rw", "cpu", "cpuset", "memory")},
			[]branch{in("/all", false, memory, cpuset)},
		},
		"version 2": {
			[]mount{v2("/unified", "cpuset", "cpu", "io", "memory")},
			[]branch{in("/unified", true, memory, cpuset)},
		},
		"version 2 without controllers": {
			[]mount{v2("/unified", "hugetlb"), v1("/memory", "rw", "memory")},
			[]branch{in("/memory", false, memory)},
		},
		"some here, some there": {
			[]mount{v1("/cpuset", "rw", "cpuset"), v2("/unified", "cpu", "memory")},
			[]branch{in("/cpuset", false, cpuset), in("/unified", true, memory)},
		},
		"no cpuset": {
			[]mount{v2("/unified", "cpu", "memory")},
			[]branch{in("/unified", true, memory, cpu)},
		},
		"no memory": {
			[]mount{v1("/cpu", "rw", "cpu"), v1("/cpuset", "rw", "cpuset")},
			[]branch{in("/cpuset", false, cpuset)},
		},
		"mounted twice": {
			[]mount{v2("/one", "cpuset", "memory"), v2("/two", "cpuset", "memory")},
			[]branch{in("/one", true, memory, cpuset)},
		},
		"nothing of use": {[]mount{v1("/cpuacct", "rw", "cpuacct"), v2("/unified")}, nil},
		"nothing":        {nil, nil},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, choose(test.mounts, "albatross")) })
	}
}
