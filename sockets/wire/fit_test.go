package wire_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/wire"
)

// sampleInfo returns an Info in which every field is set.
func sampleInfo() messages.Info {
	return messages.Info{
		Startup: messages.Some(10),
		Fail:    messages.FailBehaviour{Restart: true, Codes: []int{1, 2}},
		CPUIDs:  []int{3, 5},
		Memory:  32,
		Digest:  []byte("digest"),
		Blocks: []messages.BlockInfo{{
			Name: "storage", Device: messages.Some("data"), SectorSize: messages.Some(4096), Size: 10,
		}},
		Networks: []messages.NetworkInfo{{
			Name: "service", Bridge: messages.Some("br0"), MAC: messages.Some(messages.MAC{2, 0, 0, 0, 0, 1}),
		}},
		Argv:      messages.Some([]string{"-v"}),
		Started:   time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC),
		CPUs:      2,
		LinuxBoot: messages.Some("boot"),
	}
}

// TestFitInfo: an asker of each form gets all that this form can express.
func TestFitInfo(t *testing.T) {
	list := []messages.NamedInfo{{Name: messages.Name{Path: "a", Label: "b"}, Info: sampleInfo()}}
	for form := 2; form <= 6; form++ {
		want := sampleInfo()
		if form < 6 {
			want.CPUIDs, want.CPUs, want.LinuxBoot = []int{3}, 1, messages.Option[string]{}
		}
		if form < 5 {
			want.Startup = messages.Option[int]{}
		}
		if form < 4 {
			want.Blocks[0].Size = 0
		}
		if form < 3 {
			want.Started = time.Unix(0, 0).UTC()
		}
		got := resend(t, wire.FitInfo(form, list)).(messages.SuccessInfos)
		require.Equal(t, form, got.Form)
		require.Equal(t, want, got.List[0].Info)
	}
	require.Equal(t, sampleInfo(), list[0].Info, "the list of the caller has changed")
}

// resend returns an answer as it arrives.
func resend(t *testing.T, s messages.Success) messages.Payload {
	b, err := wire.Append(nil, messages.Wire{
		Header: messages.Header{Version: messages.CurrentVersion}, Payload: s,
	})
	require.NoError(t, err)
	m, err := wire.Decode(b)
	require.NoError(t, err)
	return m.Payload
}

func TestFitInfoOldest(t *testing.T) {
	name := messages.Name{Label: "b"}
	got := resend(t, wire.FitInfo(1, []messages.NamedInfo{{Name: name, Info: sampleInfo()}}))
	require.Equal(t, messages.SuccessConfigs{List: []messages.NamedConfig{{
		Name: name,
		Config: messages.Config{Image: []byte{}, Arguments: messages.Arguments{
			Fail:     messages.FailBehaviour{Restart: true, Codes: []int{1, 2}},
			AddName:  true,
			CPUIDs:   []int{3},
			Memory:   32,
			Blocks:   []messages.BlockDevice{{Name: "storage"}},
			Networks: []messages.Network{{Name: "service", Bridge: messages.Some("br0")}},
			Argv:     messages.Some([]string{"-v"}),
			CPUs:     1,
		}},
	}}}, got)
}

func TestOldest(t *testing.T) {
	plain := messages.Arguments{AddName: true, CPUIDs: []int{0}, Memory: 32, CPUs: 1}
	with := func(change func(a *messages.Arguments)) messages.Arguments {
		a := plain
		change(&a)
		return a
	}
	for _, c := range []struct {
		name    string
		args    messages.Arguments
		create  int
		restart messages.RestartForm
	}{
		{"plain", plain, 3, messages.RestartArgs0},
		{"startup", with(func(a *messages.Arguments) { a.Startup = messages.Some(50) }), 4, messages.RestartArgs1},
		{"no name", with(func(a *messages.Arguments) { a.AddName = false }), 4, messages.RestartArgs1},
		{"two CPUs", with(func(a *messages.Arguments) { a.CPUIDs = []int{0, 1} }), 5, messages.RestartArgs2},
		{"two virtual CPUs", with(func(a *messages.Arguments) { a.CPUs = 2 }), 5, messages.RestartArgs2},
		{"Linux", with(func(a *messages.Arguments) { a.LinuxBoot = messages.Some("") }), 5, messages.RestartArgs2},
		{"all", with(func(a *messages.Arguments) { a.CPUs, a.AddName = 2, false }), 5, messages.RestartArgs2},
	} {
		t.Run(c.name, func(t *testing.T) {
			create := wire.OldestCreate(messages.Config{Image: []byte{1}, Arguments: c.args}, true)
			require.Equal(t, c.create, create.Form)
			require.True(t, create.Force)
			requireArrives(t, create)
			restart := wire.OldestRestart(messages.Some(c.args))
			require.Equal(t, c.restart, restart.Form)
			requireArrives(t, restart)
		})
	}
	require.Equal(t, messages.RestartSame, wire.OldestRestart(messages.Option[messages.Arguments]{}).Form)
	require.Equal(t, []messages.UnikernelInfo{{Form: 6}, {Form: 5}, {Form: 4}}, wire.InfoForms())
}

// requireArrives checks that nothing of the command is lost on the way.
func requireArrives(t *testing.T, c messages.Command) {
	b, err := wire.Append(nil, messages.Wire{
		Header: messages.Header{Version: messages.CurrentVersion}, Payload: c,
	})
	require.NoError(t, err)
	m, err := wire.Decode(b)
	require.NoError(t, err)
	require.Equal(t, c, m.Payload)
}
