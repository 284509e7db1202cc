package wirejson

import "albatross/messages"

func config(c messages.Config) any {
	o := arguments(c.Arguments).(object)
	o["typ"] = c.Type.String()
	o["compressed"] = c.Compressed
	o["image_hex"] = octets(c.Image)
	return o
}

func arguments(a messages.Arguments) any {
	return object{
		"startup":    option(a.Startup, same[int]),
		"add_name":   a.AddName,
		"fail":       fail(a.Fail),
		"cpuids":     ints(a.CPUIDs),
		"memory":     a.Memory,
		"blocks":     each(a.Blocks, block),
		"bridges":    each(a.Networks, network),
		"argv":       option(a.Argv, texts),
		"cpus":       a.CPUs,
		"linux_boot": option(a.LinuxBoot, text),
	}
}

func fail(f messages.FailBehaviour) any {
	switch {
	case !f.Restart:
		return "quit"
	case len(f.Codes) == 0:
		return "restart"
	}
	return ints(f.Codes)
}

func block(b messages.BlockDevice) any {
	return object{
		"name":        text(b.Name),
		"device":      option(b.Device, text),
		"sector_size": option(b.SectorSize, same[int]),
	}
}

func network(n messages.Network) any {
	return object{"name": text(n.Name), "bridge": option(n.Bridge, text), "mac": option(n.MAC, mac)}
}

func mac(m messages.MAC) any { return m.String() }

func info(u messages.Info) any {
	return object{
		"typ":        u.Type.String(),
		"startup":    option(u.Startup, same[int]),
		"fail":       fail(u.Fail),
		"cpuids":     ints(u.CPUIDs),
		"memory":     u.Memory,
		"digest_hex": octets(u.Digest),
		"blocks":     each(u.Blocks, blockInfo),
		"bridges":    each(u.Networks, networkInfo),
		"argv":       option(u.Argv, texts),
		"started":    moment(u.Started),
		"cpus":       u.CPUs,
		"linux_boot": option(u.LinuxBoot, text),
	}
}

func blockInfo(b messages.BlockInfo) any {
	return object{
		"name":        text(b.Name),
		"device":      text(b.HostDevice()),
		"sector_size": b.SectorBytes(),
		"size":        b.Size,
	}
}

func networkInfo(n messages.NetworkInfo) any {
	return object{"name": text(n.Name), "bridge": text(n.HostBridge()), "mac": mac(n.Address())}
}
