package main

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/client"
	ours "albatross/sockets/registry"
	"albatross/test/guests"
)

// inRegistry pushes our guest hello for both targets and processors to a registry in memory.
func inRegistry(t *testing.T) (r ours.Reference) {
	t.Setenv("HOME", t.TempDir()) // nobody is logged in
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	var files []string
	for _, a := range guests.Architectures {
		for _, target := range guests.Targets() {
			path := filepath.Join(t.TempDir(), "hello."+target)
			require.NoError(t, os.WriteFile(path, guests.ImageFor(a.Name, "hello", target), 0o600))
			files = append(files, path)
		}
	}
	r, err := ours.ParseReference("oci://" + strings.TrimPrefix(s.URL, "http://") + "/hello")
	require.NoError(t, err)
	images, err := pushable(files, 0, nil)
	require.NoError(t, err)
	c := registryClient(silent(), registryOptions{})
	defer c.Close()
	require.NoError(t, push(t.Context(), silent(), c, r, images, nil))
	return r
}

// TestTheNextTargetIsTried if the daemon has no tender for one, and only then.
func TestTheNextTargetIsTried(t *testing.T) {
	r := inRegistry(t)
	cannot := func(target string) error {
		return &client.Refusal{Text: "cannot run a " + target + " image: no tender"}
	}
	other := errors.New("of no use")
	for name, c := range map[string]struct {
		answers map[string]error
		chosen  messages.Option[string]
		tried   []string
		want    error
	}{
		"the first one":    {nil, messages.Option[string]{}, []string{"spt"}, nil},
		"the second one":   {map[string]error{"spt": cannot("spt")}, messages.Option[string]{}, []string{"spt", "hvt"}, nil},
		"none":             {map[string]error{"spt": cannot("spt"), "hvt": cannot("hvt")}, messages.Option[string]{}, []string{"spt", "hvt"}, cannot("spt")},
		"another failure":  {map[string]error{"spt": other}, messages.Option[string]{}, []string{"spt"}, other},
		"the chosen one":   {nil, messages.Some("hvt"), []string{"hvt"}, nil},
		"only the chosen":  {map[string]error{"hvt": cannot("hvt")}, messages.Some("hvt"), []string{"hvt"}, cannot("hvt")},
		"another's tender": {map[string]error{"spt": cannot("hvt")}, messages.Option[string]{}, []string{"spt"}, cannot("hvt")},
	} {
		t.Run(name, func(t *testing.T) {
			var tried []string
			err := withImage(t.Context(), silent(), registryOptions{}, r, c.chosen, func(f fetched) error {
				tried = append(tried, f.target.Name)
				require.True(t, bytes.Equal(guests.Image("hello", f.target.Name), f.data))
				require.Equal(t, f.target.Name, f.image.Target.String())
				require.NoError(t, f.origin().Value.Usable())
				return c.answers[f.target.Name]
			})
			require.Equal(t, c.want, err)
			require.Equal(t, c.tried, tried)
		})
	}
}

// TestTheOtherProcessorIsTried if the host is of that one: the client cannot know.
func TestTheOtherProcessorIsTried(t *testing.T) {
	r := inRegistry(t)
	var tried []string
	err := withImage(t.Context(), silent(), registryOptions{}, r, messages.Option[string]{}, func(f fetched) error {
		tried = append(tried, f.target.Architecture)
		require.EqualValues(t, f.target.Architecture, f.image.Architecture)
		require.True(t, bytes.Equal(guests.ImageFor(f.target.Architecture, "hello", "spt"), f.data))
		if f.target.Architecture == runtime.GOARCH {
			return &client.Refusal{Text: "cannot run image: it is for " + runtime.GOARCH + ", and this host is another"}
		}
		return nil
	})
	require.NoError(t, err)
	require.Len(t, tried, 2)
	require.Equal(t, runtime.GOARCH, tried[0])
	require.NotEqual(t, tried[0], tried[1])
}
