package registry

import (
	"context"
	"io"
	"log"
	"math/rand/v2"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"albatross/test/registries"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// nobody has no credentials, whatever the user of the tests has.
type nobody struct{}

func (nobody) Resolve(authn.Resource) (authn.Authenticator, error) { return authn.Anonymous, nil }

// newClient returns a client that waits for nothing, and has no credentials unless some are given.
func newClient(t *testing.T, options Options) *Client {
	if options.Keychain == nil {
		options.Keychain = nobody{}
	}
	c := New(options)
	c.pause = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	t.Cleanup(c.Close)
	return c
}

// inMemory starts the library's registry, and returns its host.
func inMemory(t *testing.T) string {
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func reference(t *testing.T, text string) Reference {
	r, err := ParseReference(text)
	require.NoError(t, err)
	return r
}

// randomBytes returns bytes that cannot be made smaller.
func randomBytes(n int) []byte {
	source := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(source.Uint32())
	}
	return b
}

// web are images for two targets.
var web = []Image{
	{Target: "hvt", Architecture: runtime.GOARCH, File: "web.hvt", Contents: randomBytes(100_000), Devices: []Device{{"service", "net"}}, Memory: 64, Arguments: []string{"--port=80"}},
	{Target: "spt", Architecture: runtime.GOARCH, File: "web.spt", Contents: randomBytes(90_000), Devices: []Device{{"service", "net"}}, Memory: 64, Arguments: []string{"--port=80"}},
}

// inMemoryOrReal runs a test with the library's registry, and with a real one.
func inMemoryOrReal(t *testing.T, test func(t *testing.T, host string)) {
	t.Run("in memory", func(t *testing.T) { test(t, inMemory(t)) })
	t.Run("docker-registry", func(t *testing.T) { test(t, dockerRegistry(t, registries.Options{})) })
}

func TestPushAndGet(t *testing.T) {
	inMemoryOrReal(t, func(t *testing.T, host string) {
		c := newClient(t, Options{})
		r := reference(t, "oci://"+host+"/team/web:1")
		pushed, err := c.Push(t.Context(), r, web, map[string]string{"org.opencontainers.image.authors": "team"})
		require.NoError(t, err)
		require.Equal(t, "1", pushed.Tag)

		a, err := c.Resolve(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, pushed, a.Reference)
		require.Equal(t, Albatross, a.Format)
		require.Equal(t, "team", a.Annotations["org.opencontainers.image.authors"])
		require.Len(t, a.Targets, 2)
		for i, name := range []string{"hvt", "spt"} {
			target, err := a.Choose(name)
			require.NoError(t, err)
			require.Equal(t, web[i].Devices, target.Devices)
			require.Equal(t, web[i].Arguments, target.Arguments)
			require.Equal(t, 64, target.Memory)
			image, err := c.Fetch(t.Context(), a, target)
			require.NoError(t, err)
			require.Equal(t, web[i].Contents, image)
		}

		again, err := c.Push(t.Context(), r, web, map[string]string{"org.opencontainers.image.authors": "team"})
		require.NoError(t, err)
		require.Equal(t, pushed, again, "the same images have the same digest")

		tags, err := c.List(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, []string{"1"}, tags)
		place, err := ParsePlace("oci://" + host)
		require.NoError(t, err)
		repositories, err := c.List(t.Context(), place)
		require.NoError(t, err)
		require.Equal(t, []string{"team/web"}, repositories)

		byDigest := pushed
		byDigest.Tag = ""
		require.NoError(t, c.Remove(t.Context(), byDigest))
		_, err = c.Resolve(t.Context(), byDigest)
		requireKind(t, err, NotFound)
	})
}

func requireKind(t *testing.T, err error, kind Kind) {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, kind, e.Kind, "%v", err)
}
