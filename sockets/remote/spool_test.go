package remote_test

import (
	"crypto/tls"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/remote"
	"albatross/sockets/wire"
)

// spooling returns a world with such a spool, and the directory of the spool.
func spooling(t *testing.T, limits remote.SpoolLimits) (w *world, dir string) {
	dir = t.TempDir()
	return newWorld(t, answering(messages.SuccessText{Text: "created unikernel"}), func(_ *world, c *remote.Config) {
		var err error
		c.Spool, err = remote.OpenSpool(dir, limits)
		require.NoError(t, err)
	}), dir
}

// TestImagesOnTheirWay arrive as they were sent, whatever the chunks, in the form of the command in
// the certificate.
func TestImagesOnTheirWay(t *testing.T) {
	w, dir := spooling(t, remote.DefaultSpool)
	image := make([]byte, 5_000_001)
	for i := range image {
		image[i] = byte(i * i >> 5)
	}
	for form := 1; form <= 5; form++ {
		for _, sizes := range [][]int{{len(image)}, {1, 70_000, len(image)}, {16_380, 16_384, 16_385, len(image)}, {}} {
			c := w.connect(w.root.leaf(t, "x", create(form, false)).presented())
			sent := 0
			for _, size := range sizes {
				end := min(sent+size, len(image))
				_, err := c.Write(frame(image[sent:end]))
				require.NoError(t, err)
				sent = end
			}
			require.NoError(t, wire.WriteEnd(c))
			m, err := read(c)
			require.NoError(t, err)
			require.Equal(t, messages.SuccessText{Text: "created unikernel"}, m.Payload)
			require.NoError(t, c.Close())
			got := (<-w.asked).Payload.(messages.UnikernelCreate)
			require.Equal(t, form, got.Form)
			require.Equal(t, image[:sent], got.Config.Image)
		}
	}
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, files)
}

// TestLimitsOfTheSpool: an image beyond them is refused, and then takes no place.
func TestLimitsOfTheSpool(t *testing.T) {
	w, _ := spooling(t, remote.SpoolLimits{Files: 2, Bytes: 4 << 20, Image: 3 << 20})
	send := func(megabytes int) string {
		c := w.connect(w.root.leaf(t, "x", create(5, false)).presented())
		defer c.Close()
		require.NoError(t, wire.WriteChunk(c, make([]byte, megabytes<<20)))
		require.NoError(t, wire.WriteEnd(c))
		m, err := read(c)
		require.NoError(t, err)
		if f, ok := m.Payload.(messages.Failure); ok {
			return string(f.Text)
		}
		return "created"
	}
	for range 3 {
		require.Equal(t, "created", send(3))
		require.Equal(t, "the image is larger than 3145728 bytes", send(4))
	}

	waiting := w.connect(w.root.leaf(t, "x", create(5, false)).presented())
	require.NoError(t, wire.WriteChunk(waiting, make([]byte, 3<<20)))
	eventually(t, "there is no room", func() bool { return send(2) == "there is no room for the image: try again later" })
	require.Equal(t, "created", send(1))
	var others []*tls.Conn
	eventually(t, "there is no place", func() bool {
		others = append(others, w.connect(w.root.leaf(t, "x", create(5, false)).presented()))
		return send(1) == "too many images are being received: try again later"
	})
	for _, c := range others {
		require.NoError(t, c.Close())
	}
	require.NoError(t, waiting.Close())
	eventually(t, "there is room again", func() bool { return send(3) == "created" })
}

func TestSpoolsThatCannotBeUsed(t *testing.T) {
	_, err := remote.OpenSpool(t.TempDir()+"/none", remote.DefaultSpool)
	require.ErrorContains(t, err, "cannot make a temporary file in")
	_, err = remote.OpenSpool("/proc", remote.DefaultSpool)
	require.ErrorContains(t, err, "cannot make a temporary file in /proc")
}

// TestImagesThatAreCutOff do not reach the daemon.
func TestImagesThatAreCutOff(t *testing.T) {
	w, _ := spooling(t, remote.DefaultSpool)
	for _, chunk := range [][]byte{{0, 0}, {0, 0, 0, 9, 1}, frame([]byte("image"))} {
		c := w.connect(w.root.leaf(t, "x", create(5, false)).presented())
		_, err := c.Write(chunk)
		require.NoError(t, err)
		require.NoError(t, c.CloseWrite())
		m, err := read(c)
		require.NoError(t, err)
		require.Contains(t, m.Payload.(messages.Failure).Text, "cannot receive the image")
		_, err = c.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
	}
	require.Empty(t, w.asked)
}
