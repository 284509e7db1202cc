package wire_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/messages"
	"albatross/sockets/wire"
	"albatross/test/vectors"
)

// TestRoundTrip: what is encoded is decoded to the same value, in every form.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := message().Draw(t, "message")
		b, err := wire.Append(nil, m)
		require.NoError(t, err)
		again, err := wire.Decode(b)
		require.NoError(t, err)
		require.Equal(t, m, again)
	})
}

func TestStateRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := state().Draw(t, "state")
		b, err := wire.AppendState(nil, s)
		require.NoError(t, err)
		again, err := wire.DecodeState(b)
		require.NoError(t, err)
		require.Equal(t, s, again)
	})
}

func TestExtensionRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := command(messages.CurrentVersion).Draw(t, "command")
		b, err := wire.AppendExtension(nil, c)
		require.NoError(t, err)
		x, err := wire.DecodeExtension(b)
		require.NoError(t, err)
		require.Equal(t, wire.Extension{Version: messages.CurrentVersion, Command: c}, x)
	})
}

// TestAppendKeeps: the encoding is appended, however much room there is.
func TestAppendKeeps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := message().Draw(t, "message")
		alone, err := wire.Append(nil, m)
		require.NoError(t, err)
		room := rapid.IntRange(0, 100).Draw(t, "room")
		b, err := wire.Append(append(make([]byte, 0, room), "before"...), m)
		require.NoError(t, err)
		require.Equal(t, append([]byte("before"), alone...), b)
	})
}

// TestTruncated: no beginning of a message is a message.
func TestTruncated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, err := wire.Append(nil, message().Draw(t, "message"))
		require.NoError(t, err)
		for n := range b {
			_, err := wire.Decode(b[:n])
			require.Error(t, err, "the first %d bytes", n)
		}
	})
}

// TestFlipped: a message with a changed byte is refused, or it means something that has exactly one
// encoding.
func TestFlipped(t *testing.T) {
	for _, file := range vectors.Wire {
		for i, v := range vectors.Load(t, file) {
			if len(v.Hex) > 2000 || i%7 != 0 {
				continue
			}
			b := v.Bytes(t)
			for at := range b {
				for _, bits := range []byte{1, 0x80, 0xff} {
					b[at] ^= bits
					requireCanonical(t, b)
					b[at] ^= bits
				}
			}
		}
	}
}

// requireCanonical checks that b is refused, or has a canonical encoding.
func requireCanonical(t testing.TB, b []byte) {
	m, err := wire.Decode(b)
	if err != nil {
		require.Zero(t, m, "a message beside an error")
		return
	}
	once, err := wire.Append(nil, m)
	require.NoError(t, err, "%x", b)
	if m.Header.Version != messages.Version5 {
		return // a name in old form may be encoded as another one, or as none
	}
	again, err := wire.Decode(once)
	require.NoError(t, err, "%x", b)
	twice, err := wire.Append(nil, again)
	require.NoError(t, err, "%x", b)
	require.Equal(t, once, twice, "%x", b)
}

// The generators make values as the decoder makes them: sets are sorted, empty lists are nil, and
// what a form omits has its default.

func message() *rapid.Generator[messages.Wire] {
	return rapid.Custom(func(t *rapid.T) messages.Wire {
		version := rapid.SampledFrom([]messages.Version{3, 4, 5, 5}).Draw(t, "version")
		return messages.Wire{
			Header: messages.Header{
				Version:  version,
				Sequence: rapid.Int64().Draw(t, "sequence"),
				Name:     name(version).Draw(t, "name"),
			},
			Payload: payload(version).Draw(t, "payload"),
		}
	})
}

func payload(v messages.Version) *rapid.Generator[messages.Payload] {
	return rapid.OneOf(
		rapid.Map(command(v), func(c messages.Command) messages.Payload { return c }),
		rapid.Map(success(v), func(s messages.Success) messages.Payload { return s }),
		rapid.Map(text(), func(s string) messages.Payload { return messages.Failure{Text: messages.Public(s)} }),
		rapid.Map(data(), func(d messages.Data) messages.Payload { return d }),
	)
}

// name draws a name that this version can express: in old ones, a single label.
func name(v messages.Version) *rapid.Generator[messages.Name] {
	label := rapid.Map(rapid.StringMatching(`[a-z0-9.][a-z0-9.-]{0,8}`), func(s string) messages.Label { return messages.Label(s) })
	return rapid.Custom(func(t *rapid.T) (n messages.Name) {
		if v != messages.Version5 {
			n.Label = label.Draw(t, "label")
			return n
		}
		for _, l := range rapid.SliceOfN(label, 0, 3).Draw(t, "path") {
			n.Path = n.Path.Append(l)
		}
		if rapid.Bool().Draw(t, "has label") {
			n.Label = label.Draw(t, "label")
		}
		return n
	})
}

// recent reports whether a version has the forms since 2.6. Else it has those until 2.5.
func recent(v messages.Version) bool { return v == messages.Version5 }

func command(v messages.Version) *rapid.Generator[messages.Command] {
	return rapid.Custom(func(t *rapid.T) messages.Command {
		i := func(what string) int { return number().Draw(t, what) }
		all := []func() messages.Command{
			func() messages.Command { return messages.ConsoleAdd{} },
			func() messages.Command { return subscription().Draw(t, "subscription") },
			func() messages.Command {
				return messages.StatsAdd{VMMDev: text().Draw(t, "vmmdev"), PID: i("pid"), Taps: listOf(tap()).Draw(t, "taps")}
			},
			func() messages.Command { return messages.StatsRemove{} },
			func() messages.Command { return messages.StatsSubscribe{} },
			func() messages.Command { return messages.StatsInitial{} },
			func() messages.Command { return messages.UnikernelInfo{Form: formUpTo(t, v, 4, 6)} },
			func() messages.Command { return create(v).Draw(t, "create") },
			func() messages.Command { return messages.UnikernelDestroy{} },
			func() messages.Command { return restart(v).Draw(t, "restart") },
			func() messages.Command {
				return messages.UnikernelGet{Form: rapid.IntRange(1, 2).Draw(t, "form")}
			},
			func() messages.Command { return messages.UnikernelGet{Form: 3, Level: i("level")} },
			func() messages.Command { return messages.PolicyInfo{} },
			func() messages.Command { return messages.PolicyAdd{Policy: policy().Draw(t, "policy")} },
			func() messages.Command { return messages.PolicyRemove{} },
			func() messages.Command { return messages.BlockList{} },
			func() messages.Command { return messages.BlockAdd{Size: i("size")} },
			func() messages.Command { return messages.BlockRemove{} },
			func() messages.Command {
				return messages.BlockOldAdd{Size: i("size"), Compressed: flag().Draw(t, "compressed"), Data: maybe(blob()).Draw(t, "data")}
			},
			func() messages.Command {
				return messages.BlockOldSet{Compressed: flag().Draw(t, "compressed"), Data: blob().Draw(t, "data")}
			},
			func() messages.Command { return messages.BlockOldDump{Level: i("level")} },
			func() messages.Command { return messages.BlockDump{Level: i("level")} },
			func() messages.Command { return messages.BlockSet{Compressed: flag().Draw(t, "compressed")} },
		}
		if recent(v) {
			all = append(all,
				func() messages.Command { return messages.ConsoleAdd{Max: messages.Some(i("max"))} },
				func() messages.Command { return messages.ConsoleListInactive{} })
		}
		return rapid.SampledFrom(all).Draw(t, "command")()
	})
}

// formUpTo draws a form that this version has.
func formUpTo(t *rapid.T, v messages.Version, old, all int) int {
	if !recent(v) {
		all = old
	}
	return rapid.IntRange(1, all).Draw(t, "form")
}

func subscription() *rapid.Generator[messages.ConsoleSubscribe] {
	return rapid.Custom(func(t *rapid.T) messages.ConsoleSubscribe {
		c := messages.ConsoleSubscribe{Old: flag().Draw(t, "old")}
		if flag().Draw(t, "counts") {
			c.Count = messages.Some(number().Draw(t, "count"))
		} else {
			c.Since = messages.Some(moment(c.Old).Draw(t, "since"))
		}
		return c
	})
}

func create(v messages.Version) *rapid.Generator[messages.UnikernelCreate] {
	return rapid.Custom(func(t *rapid.T) messages.UnikernelCreate {
		form := formUpTo(t, v, 3, 5)
		return messages.UnikernelCreate{
			Form: form, Force: flag().Draw(t, "force"),
			Config: config(form, recent(v) && form >= 3).Draw(t, "config"),
		}
	})
}

func config(form int, bhyve bool) *rapid.Generator[messages.Config] {
	return rapid.Custom(func(t *rapid.T) messages.Config {
		return messages.Config{
			Type:       kind(bhyve).Draw(t, "type"),
			Compressed: flag().Draw(t, "compressed"),
			Image:      blob().Draw(t, "image"),
			Arguments:  arguments(form).Draw(t, "arguments"),
		}
	})
}

func kind(bhyve bool) *rapid.Generator[messages.Type] {
	if !bhyve {
		return rapid.Just(messages.Solo5)
	}
	return rapid.SampledFrom([]messages.Type{messages.Solo5, messages.BHyve})
}

// arguments draws arguments that a configuration of this form can express.
func arguments(form int) *rapid.Generator[messages.Arguments] {
	return rapid.Custom(func(t *rapid.T) messages.Arguments {
		a := messages.Arguments{
			Fail:     failBehaviour().Draw(t, "fail"),
			AddName:  true,
			CPUIDs:   []int{number().Draw(t, "cpuid")},
			Memory:   number().Draw(t, "memory"),
			Blocks:   sortedList(blockDevice(form)).Draw(t, "blocks"),
			Networks: sortedList(network(form)).Draw(t, "networks"),
			Argv:     maybe(listOf(text())).Draw(t, "argv"),
			CPUs:     1,
		}
		if form >= 4 {
			a.Startup = maybe(number()).Draw(t, "startup")
			a.AddName = flag().Draw(t, "add name")
		}
		if form >= 5 {
			a.CPUIDs = set().Draw(t, "cpuids")
			a.CPUs = number().Draw(t, "cpus")
			a.LinuxBoot = maybe(text()).Draw(t, "linux boot")
		}
		return a
	})
}

// sortedList draws a list of at most one device. Longer ones are encoded in the order of their
// encodings: see TestSetOrder.
func sortedList[T any](element *rapid.Generator[T]) *rapid.Generator[[]T] {
	return rapid.Map(rapid.SliceOfN(element, 0, 1), nilIfEmpty[T])
}

func blockDevice(form int) *rapid.Generator[messages.BlockDevice] {
	return rapid.Custom(func(t *rapid.T) messages.BlockDevice {
		b := messages.BlockDevice{Name: text().Draw(t, "name")}
		if form >= 3 {
			b.Device = maybe(text()).Draw(t, "device")
			b.SectorSize = maybe(number()).Draw(t, "sector size")
		}
		return b
	})
}

func network(form int) *rapid.Generator[messages.Network] {
	return rapid.Custom(func(t *rapid.T) messages.Network {
		n := messages.Network{Name: text().Draw(t, "name")}
		if form >= 2 {
			n.Bridge = maybe(text()).Draw(t, "bridge")
		}
		if form >= 3 {
			n.MAC = maybe(mac()).Draw(t, "mac")
		}
		return n
	})
}

func restart(v messages.Version) *rapid.Generator[messages.UnikernelRestart] {
	return rapid.Custom(func(t *rapid.T) messages.UnikernelRestart {
		last := messages.RestartArgs2
		if !recent(v) {
			last = messages.RestartArgs0
		}
		r := messages.UnikernelRestart{Form: messages.RestartForm(rapid.IntRange(0, int(last)).Draw(t, "form"))}
		if r.Form >= messages.RestartArgs0 {
			r.Args = messages.Some(arguments(3+int(r.Form-messages.RestartArgs0)).Draw(t, "arguments"))
		}
		return r
	})
}

func success(v messages.Version) *rapid.Generator[messages.Success] {
	return rapid.Custom(func(t *rapid.T) messages.Success {
		all := []func() messages.Success{
			func() messages.Success { return messages.SuccessEmpty{} },
			func() messages.Success { return messages.SuccessText{Text: messages.Public(text().Draw(t, "text"))} },
			func() messages.Success {
				return messages.SuccessPolicies{List: listOf(namedPolicy(v)).Draw(t, "policies")}
			},
			func() messages.Success {
				return messages.SuccessConfigs{List: listOf(namedConfig(v, 2, false)).Draw(t, "configs")}
			},
			func() messages.Success {
				return messages.SuccessBlocks{List: listOf(namedBlock(v)).Draw(t, "blocks")}
			},
			func() messages.Success { return infos(v).Draw(t, "infos") },
			func() messages.Success {
				return messages.SuccessImage{Compressed: flag().Draw(t, "compressed"), Image: blob().Draw(t, "image")}
			},
			func() messages.Success {
				return messages.SuccessOldBlock{Compressed: flag().Draw(t, "compressed"), Data: blob().Draw(t, "data")}
			},
			func() messages.Success { return messages.SuccessDump{Compressed: flag().Draw(t, "compressed")} },
		}
		if recent(v) {
			all = append(all, func() messages.Success {
				return messages.SuccessConsoles{List: listOf(name(v)).Draw(t, "consoles")}
			})
		}
		return rapid.SampledFrom(all).Draw(t, "success")()
	})
}

func namedPolicy(v messages.Version) *rapid.Generator[messages.NamedPolicy] {
	return rapid.Custom(func(t *rapid.T) messages.NamedPolicy {
		return messages.NamedPolicy{Name: name(v).Draw(t, "name"), Policy: policy().Draw(t, "policy")}
	})
}

func namedConfig(v messages.Version, form int, bhyve bool) *rapid.Generator[messages.NamedConfig] {
	return rapid.Custom(func(t *rapid.T) messages.NamedConfig {
		return messages.NamedConfig{Name: name(v).Draw(t, "name"), Config: config(form, bhyve).Draw(t, "config")}
	})
}

func namedBlock(v messages.Version) *rapid.Generator[messages.NamedBlock] {
	return rapid.Custom(func(t *rapid.T) messages.NamedBlock {
		return messages.NamedBlock{
			Name: name(v).Draw(t, "name"), Size: number().Draw(t, "size"), Active: flag().Draw(t, "active"),
		}
	})
}

func infos(v messages.Version) *rapid.Generator[messages.SuccessInfos] {
	return rapid.Custom(func(t *rapid.T) messages.SuccessInfos {
		form := 1 + formUpTo(t, v, 3, 5)
		element := rapid.Custom(func(t *rapid.T) messages.NamedInfo {
			return messages.NamedInfo{Name: name(v).Draw(t, "name"), Info: info(form, recent(v) && form >= 4).Draw(t, "info")}
		})
		return messages.SuccessInfos{Form: form, List: listOf(element).Draw(t, "list")}
	})
}

func info(form int, bhyve bool) *rapid.Generator[messages.Info] {
	return rapid.Custom(func(t *rapid.T) messages.Info {
		u := messages.Info{
			Type:     kind(bhyve).Draw(t, "type"),
			Fail:     failBehaviour().Draw(t, "fail"),
			CPUIDs:   []int{number().Draw(t, "cpuid")},
			Memory:   number().Draw(t, "memory"),
			Digest:   blob().Draw(t, "digest"),
			Blocks:   sortedList(blockInfo(form)).Draw(t, "blocks"),
			Networks: sortedList(networkInfo(form)).Draw(t, "networks"),
			Argv:     maybe(listOf(text())).Draw(t, "argv"),
			Started:  time.Unix(0, 0).UTC(),
			CPUs:     1,
		}
		if form >= 3 {
			u.Started = moment(false).Draw(t, "started")
		}
		if form >= 5 {
			u.Startup = maybe(number()).Draw(t, "startup")
		}
		if form >= 6 {
			u.CPUIDs = set().Draw(t, "cpuids")
			u.CPUs = number().Draw(t, "cpus")
			u.LinuxBoot = maybe(text()).Draw(t, "linux boot")
		}
		return u
	})
}

func blockInfo(form int) *rapid.Generator[messages.BlockInfo] {
	return rapid.Custom(func(t *rapid.T) messages.BlockInfo {
		if form < 4 {
			b := blockDevice(3).Draw(t, "device")
			return messages.BlockInfo{Name: b.Name, Device: b.Device, SectorSize: b.SectorSize}
		}
		return messages.BlockInfo{
			Name:       text().Draw(t, "name"),
			Device:     messages.Some(text().Draw(t, "device")),
			SectorSize: messages.Some(number().Draw(t, "sector size")),
			Size:       number().Draw(t, "size"),
		}
	})
}

func networkInfo(form int) *rapid.Generator[messages.NetworkInfo] {
	return rapid.Custom(func(t *rapid.T) messages.NetworkInfo {
		if form < 4 {
			n := network(3).Draw(t, "device")
			return messages.NetworkInfo{Name: n.Name, Bridge: n.Bridge, MAC: n.MAC}
		}
		return messages.NetworkInfo{
			Name:   text().Draw(t, "name"),
			Bridge: messages.Some(text().Draw(t, "bridge")),
			MAC:    messages.Some(mac().Draw(t, "mac")),
		}
	})
}

func data() *rapid.Generator[messages.Data] {
	return rapid.Custom(func(t *rapid.T) messages.Data {
		all := []func() messages.Data{
			func() messages.Data {
				old := flag().Draw(t, "old")
				return messages.DataConsole{Old: old, Time: moment(old).Draw(t, "time"), Line: text().Draw(t, "line")}
			},
			func() messages.Data { return stats().Draw(t, "stats") },
			func() messages.Data { return messages.DataBlock{Chunk: maybe(blob()).Draw(t, "chunk")} },
		}
		return rapid.SampledFrom(all).Draw(t, "data")()
	})
}

func stats() *rapid.Generator[messages.DataStats] {
	numbers := rapid.Make[messages.Rusage]()
	counter := rapid.Custom(func(t *rapid.T) messages.Counter {
		return messages.Counter{Name: text().Draw(t, "name"), Value: rapid.Int64().Draw(t, "value")}
	})
	return rapid.Custom(func(t *rapid.T) messages.DataStats {
		p := messages.DataStats{
			Rusage: numbers.Draw(t, "rusage"),
			IfData: listOf(rapid.Make[messages.IfData]()).Draw(t, "interfaces"),
			VMM:    maybe(listOf(counter)).Draw(t, "vmm"),
		}
		p.Rusage.UTime, p.Rusage.STime = timeval().Draw(t, "utime"), timeval().Draw(t, "stime")
		if flag().Draw(t, "has memory") {
			k := rapid.Make[messages.KinfoMem]().Draw(t, "memory")
			k.Cow, k.Start = number().Draw(t, "cow"), timeval().Draw(t, "start")
			p.KinfoMem = messages.Some(k)
		}
		return p
	})
}

func timeval() *rapid.Generator[messages.Timeval] {
	return rapid.Custom(func(t *rapid.T) messages.Timeval {
		return messages.Timeval{Seconds: rapid.Int64().Draw(t, "seconds"), Microseconds: number().Draw(t, "microseconds")}
	})
}

func state() *rapid.Generator[wire.State] {
	return rapid.Custom(func(t *rapid.T) wire.State {
		s := wire.State{Choice: wire.StateUntil25}
		form := 3
		if flag().Draw(t, "current") {
			s.Choice, form = wire.StateSince27, 5
		}
		// At most one, which needs no order and has no duplicates.
		s.Unikernels = sortedList(namedConfig(messages.Version5, form, true)).Draw(t, "unikernels")
		s.Policies = sortedList(namedPolicy(messages.Version5)).Draw(t, "policies")
		return s
	})
}

func policy() *rapid.Generator[messages.Policy] {
	return rapid.Custom(func(t *rapid.T) messages.Policy {
		bridges := listOf(text()).Draw(t, "bridges")
		slices.Sort(bridges)
		return messages.Policy{
			Unikernels: number().Draw(t, "unikernels"),
			CPUIDs:     set().Draw(t, "cpuids"),
			Memory:     number().Draw(t, "memory"),
			Block:      maybe(number()).Draw(t, "block"),
			Bridges:    slices.Compact(bridges),
		}
	})
}

func failBehaviour() *rapid.Generator[messages.FailBehaviour] {
	return rapid.Custom(func(t *rapid.T) messages.FailBehaviour {
		if !flag().Draw(t, "restarts") {
			return messages.FailBehaviour{}
		}
		return messages.FailBehaviour{Restart: true, Codes: set().Draw(t, "codes")}
	})
}

func tap() *rapid.Generator[messages.Tap] { return rapid.Make[messages.Tap]() }

func mac() *rapid.Generator[messages.MAC] { return rapid.Make[messages.MAC]() }

func flag() *rapid.Generator[bool] { return rapid.Bool() }

func number() *rapid.Generator[int] { return rapid.IntRange(messages.MinInt, messages.MaxInt) }

// text draws any string: nothing checks that it is UTF-8. Some are long, so that lengths take more
// than one byte.
func text() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.String(),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 120, 300), func(b []byte) string { return string(b) }),
	)
}

// blob draws an image, which is never nil after decoding.
func blob() *rapid.Generator[[]byte] {
	return rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) []byte { return append([]byte{}, b...) })
}

// set draws a set of numbers.
func set() *rapid.Generator[[]int] {
	return rapid.Map(rapid.SliceOf(number()), func(l []int) []int {
		slices.Sort(l)
		return nilIfEmpty(slices.Compact(l))
	})
}

func listOf[T any](element *rapid.Generator[T]) *rapid.Generator[[]T] {
	return rapid.Map(rapid.SliceOfN(element, 0, 4), nilIfEmpty[T])
}

func nilIfEmpty[T any](l []T) []T {
	if len(l) == 0 {
		return nil
	}
	return l
}

func maybe[T any](value *rapid.Generator[T]) *rapid.Generator[messages.Option[T]] {
	return rapid.Custom(func(t *rapid.T) messages.Option[T] {
		if flag().Draw(t, "is there") {
			return messages.Some(value.Draw(t, "value"))
		}
		return messages.Option[T]{}
	})
}

// moment draws a time that the old form (UTCTime) or the new one can express.
func moment(old bool) *rapid.Generator[time.Time] {
	first, last := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	if old {
		first, last = time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC)
	}
	return rapid.Custom(func(t *rapid.T) time.Time {
		at := time.Unix(rapid.Int64Range(first.Unix(), last.Unix()).Draw(t, "seconds"), 0).UTC()
		if old {
			return at
		}
		return at.Add(time.Duration(rapid.IntRange(0, 999).Draw(t, "ms")) * time.Millisecond)
	})
}
