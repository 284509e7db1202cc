package actors_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zlib"
	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/tender"
	"albatross/test/guests"
)

// TestNamesWithTheirPaths: a unikernel gets its name as from native albatross with --no-drop-path.
func TestNamesWithTheirPaths(t *testing.T) {
	w := newWorld(t)
	w.guests.FullNames = true
	for name, passed := range map[string]string{"a:b:hello": "a:b:hello", ":hello": ":hello"} {
		w.succeeds("created unikernel", name, create(guest("hello", "--quiet")))
		require.Equal(t, []string{"hello from albatross: --name=" + passed + " --quiet"}, w.lines(name, 1))
	}
}

func TestLifeOfAUnikernel(t *testing.T) {
	w := newWorld(t)
	image := guests.Image("hello", "spt")
	w.succeeds("created unikernel", "a:hello", create(guest("hello", "--quiet", "two words")))
	require.Equal(t, []string{"hello from albatross: --name=hello --quiet two words"}, w.lines("a:hello", 1))

	list := w.infos("a:")
	require.Len(t, list, 1)
	require.Equal(t, ":hello", list[0].Name.String(), "relative to the path")
	digest := sha256.Sum256(image)
	require.Equal(t, digest[:], list[0].Info.Digest)
	require.Equal(t, 16, list[0].Info.Memory)
	require.Equal(t, "a:hello", w.infos("a:hello")[0].Name.String())
	require.Empty(t, w.infos("b:"))

	w.fails("Unikernel with same name is already running", "a:hello", create(guest("hello")))
	w.pid("a:hello")
	w.succeeds("destroyed unikernel", "a:hello", messages.UnikernelDestroy{})
	w.fails("destroy: not found", "a:hello", messages.UnikernelDestroy{})
	w.requireNothing()
	require.Equal(t, []string{"hello from albatross: --name=hello --quiet two words"}, w.lines("a:hello", 1), "the post-mortem")
}

func TestTheRootPolicyIsTheMachine(t *testing.T) {
	w := newWorld(t)
	list := w.ask(":", messages.PolicyInfo{}).(messages.SuccessPolicies).List
	require.Equal(t, []messages.NamedPolicy{{Policy: w.config.RootPolicy}}, list)
	config := guest("hello")
	config.Memory = 257
	w.fails("maximum allowed memory (256, used 0) would be exceeded (requesting 257)", ":x", create(config))
	config = guest("hello")
	config.CPUIDs = []int{9}
	w.fails("CPUids 9 are not allowed by policy", ":x", create(config))
	w.requireNothing()
}

func TestWhatCannotBeCreated(t *testing.T) {
	w := newWorld(t)
	with := func(change func(*messages.Config)) messages.Config {
		c := guest("hello")
		change(&c)
		return c
	}
	image := guests.Image("hello", "spt")
	virtio := bytes.Replace(image, []byte("Solo5\x00\x00\x00\x02\x00\x00\x00"), []byte("Solo5\x00\x00\x00\x03\x00\x00\x00"), 1)
	future := bytes.Replace(image, []byte("Solo5\x00\x00\x00\x02\x00\x00\x00\x02"), []byte("Solo5\x00\x00\x00\x02\x00\x00\x00\x09"), 1)
	noNotes := bytes.ReplaceAll(image, []byte("Solo5\x00"), []byte("Solo6\x00"))
	for name, tc := range map[string]struct {
		name   string
		config messages.Config
		says   string // a part of it
	}{
		"a path":              {"a:", guest("hello"), "cannot create a unikernel at the path a:: give it a name"},
		"bhyve":               {":x", with(func(c *messages.Config) { c.Type = messages.BHyve }), "cannot run a bhyve unikernel"},
		"no CPU":              {":x", with(func(c *messages.Config) { c.CPUIDs = nil }), "cannot run without a CPU"},
		"no memory":           {":x", with(func(c *messages.Config) { c.Memory = 0 }), "cannot run with 0 MB of memory"},
		"a zero byte":         {":x", guest("hello", "a\x00b"), "cannot pass argument 1: "},
		"no image":            {":x", with(func(c *messages.Config) { c.Image = nil }), "image is empty"},
		"not ELF":             {":x", with(func(c *messages.Config) { c.Image = bytes.Repeat([]byte("#!/bin/sh\n"), 100) }), "ELF"},
		"truncated":           {":x", with(func(c *messages.Config) { c.Image = image[:len(image)/2] }), "cannot"},
		"not compressed":      {":x", with(func(c *messages.Config) { c.Compressed = true }), "cannot decompress image"},
		"cut compressed":      {":x", with(func(c *messages.Config) { c.Compressed, c.Image = true, deflated(t, image)[:100] }), "cannot decompress image: unexpected EOF"},
		"virtio":              {":x", with(func(c *messages.Config) { c.Image = virtio }), "unsupported solo5 target"},
		"another ABI version": {":x", with(func(c *messages.Config) { c.Image = future }), "ABI version 9"},
		"no notes":            {":x", with(func(c *messages.Config) { c.Image = noNotes }), "note"},
		"a device too many": {":x", with(func(c *messages.Config) {
			c.Networks = []messages.Network{{Name: "service", Bridge: messages.Some("br0")}}
		}), "interface br0 does not exist"},
		"a device missing": {":x", guest("net"),
			"specified bridge(s) does not match with the manifest. Devices present in manifest: net \"service\""},
		"an unknown block device": {":x", with(func(c *messages.Config) { c.Blocks = []messages.BlockDevice{{Name: "storage"}} }),
			"block device :storage not found"},
		"an empty name of a device on the host": {":x", with(func(c *messages.Config) {
			c.Blocks = []messages.BlockDevice{{Name: "storage", Device: messages.Some("")}}
		}), "cannot attach block device: an empty name cannot be used"},
		"a control character in that": {":x", with(func(c *messages.Config) {
			c.Blocks = []messages.BlockDevice{{Name: "storage", Device: messages.Some("a\nb")}}
		}), `cannot attach block device: the name "a\nb" cannot be used`},
		"an empty name in the manifest": {":x", with(func(c *messages.Config) { c.Blocks = []messages.BlockDevice{{}} }),
			"cannot attach block device: an empty name cannot be used"},
		"a bridge without a name": {":x", with(func(c *messages.Config) {
			c.Networks = []messages.Network{{Name: "service", Bridge: messages.Some("")}}
		}), `cannot attach network: "" cannot be the name of an interface: it is empty`},
		"a bridge that no interface can be": {":x", with(func(c *messages.Config) {
			c.Networks = []messages.Network{{Name: "service", Bridge: messages.Some("br 0")}}
		}), `cannot attach network: "br 0" cannot be the name of an interface`},
		"a long name of a partition": {":x", with(func(c *messages.Config) { c.LinuxBoot = messages.Some(strings.Repeat("x", 256)) }),
			"cannot boot from a partition with a name of 256 bytes"},
		"a name too long for a file": {strings.Repeat("a:", 200) + "x", guest("hello"), "cannot create a unikernel with a name of 401 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := w.ask(tc.name, create(tc.config))
			require.IsType(t, messages.Failure{}, answer)
			require.Contains(t, answer.(messages.Failure).Text, tc.says)
			w.requireNothing()
		})
	}
}

func deflated(t *testing.T, data []byte) []byte {
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	_, err := z.Write(data)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return out.Bytes()
}

func TestImagesAreStoredOnceAndGivenBack(t *testing.T) {
	w := newWorld(t)
	image := guests.Image("hello", "spt")
	compressed := guest("hello", "--quiet")
	compressed.Image, compressed.Compressed = deflated(t, image), true
	w.succeeds("created unikernel", ":one", create(compressed))
	w.succeeds("created unikernel", ":two", create(guest("hello", "--quiet")))

	require.Equal(t, messages.SuccessImage{Image: image}, w.ask(":one", messages.UnikernelGet{Form: 3}))
	got := w.ask(":two", messages.UnikernelGet{Form: 3, Level: 9}).(messages.SuccessImage)
	require.True(t, got.Compressed)
	z, err := zlib.NewReader(bytes.NewReader(got.Image))
	require.NoError(t, err)
	back, err := io.ReadAll(z)
	require.NoError(t, err)
	require.True(t, bytes.Equal(image, back))

	w.fails("get: no unikernel found", ":nope", messages.UnikernelGet{Form: 3})
	w.fails("cannot compress at level 10: 0 to 9 are possible", ":one", messages.UnikernelGet{Form: 3, Level: 10})
	w.fails("cannot compress at level -1: 0 to 9 are possible", ":one", messages.UnikernelGet{Form: 3, Level: -1})

	w.succeeds("destroyed unikernel", ":one", messages.UnikernelDestroy{})
	require.Equal(t, messages.SuccessImage{Image: image}, w.ask(":two", messages.UnikernelGet{Form: 3}), "two still needs it")
	w.succeeds("destroyed unikernel", ":two", messages.UnikernelDestroy{})
	w.requireNothing()
}

func TestHowUnikernelsEnd(t *testing.T) {
	restart := messages.FailBehaviour{Restart: true}
	on := func(codes ...int) messages.FailBehaviour {
		return messages.FailBehaviour{Restart: true, Codes: codes}
	}
	for name, tc := range map[string]struct {
		program  string
		argv     []string
		fail     messages.FailBehaviour
		restarts bool
	}{
		"quit":                {"exit", []string{"3"}, messages.FailBehaviour{}, false},
		"any code":            {"exit", []string{"3"}, restart, true},
		"exit 0":              {"exit", []string{"0"}, restart, true},
		"exit 1":              {"exit", []string{"1"}, restart, false},
		"exit 64":             {"exit", []string{"64"}, restart, false},
		"exit 124":            {"exit", []string{"124"}, restart, false},
		"exit 123, in a set":  {"exit", []string{"123"}, on(123), false},
		"a question of use":   {"exit", []string{"0", "0", "--help"}, restart, false},
		"a code of the set":   {"exit", []string{"3"}, on(2, 3), true},
		"no code of the set":  {"exit", []string{"4"}, on(2, 3), false},
		"abort":               {"abort", nil, on(255), true},
		"a fault is a signal": {"fault", nil, restart, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			config := guest(tc.program, tc.argv...)
			config.AddName = false
			config.Fail = tc.fail
			w.succeeds("created unikernel", ":x", create(config))
			if !tc.restarts {
				w.until("it is gone", func() bool { _, there := w.record(":x"); return !there })
				w.requireNothing()
				return
			}
			first, _ := w.record(":x")
			w.until("another one runs", func() bool {
				r, there := w.record(":x")
				require.True(t, there, "what restarts is never forgotten")
				return r.Runtime.OK && r.Runtime.Value.Process != first.Runtime.Value.Process
			})
			require.Contains(t, []messages.Payload{
				messages.SuccessText{Text: "destroyed unikernel"},
				messages.SuccessText{Text: "destroyed: removed from restarting"},
			}, w.ask(":x", messages.UnikernelDestroy{}))
			w.requireNothing()
		})
	}
}

func TestAUnikernelThatRefusesItsNameIsStartedWithoutOnce(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", ":x", create(guest("exit", "0", "60000", "refuse-name")))
	w.until("it runs without its name", func() bool {
		r, there := w.record(":x")
		return there && r.Spec.NameRefused && r.Runtime.OK
	})
	w.restart()
	r, _ := w.record(":x")
	require.True(t, r.Spec.NameRefused, "that is remembered")
	w.until("it runs", func() bool { return len(w.infos(":x")) == 1 })
	w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})

	w.succeeds("created unikernel", ":x", create(guest("exit", "64")))
	w.until("the second time it is gone", func() bool { _, there := w.record(":x"); return !there })
	w.requireNothing()
}

func TestForceReplaces(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", ":x", force(guest("hello", "--quiet", "one")))
	old := w.pid(":x")

	tooLarge := guest("hello")
	tooLarge.Memory = 257
	w.fails("maximum allowed memory (256, used 0) would be exceeded (requesting 257)", ":x", force(tooLarge))
	broken := guest("hello")
	broken.Image = broken.Image[:100]
	require.IsType(t, messages.Failure{}, w.ask(":x", force(broken)))
	require.Equal(t, old, w.pid(":x"), "what is refused does not touch the old one")

	all := guest("hello", "--quiet", "two")
	all.Memory = 256
	w.lines(":x", 1)
	w.succeeds("created unikernel", ":x", force(all))
	require.NotEqual(t, old, w.pid(":x"))
	require.Equal(t, []string{
		"hello from albatross: --name=x --quiet one", "hello from albatross: --name=x --quiet two",
	}, w.lines(":x", 2), "both have used the same console")
	w.fails("maximum allowed memory (256, used 256) would be exceeded (requesting 16)", ":y", create(guest("hello")))
}

func TestRestart(t *testing.T) {
	w := newWorld(t)
	restart := messages.UnikernelRestart{Form: messages.RestartSame}
	w.fails("destroy: not found", ":x", restart)
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet", "one")))
	old := w.pid(":x")
	w.lines(":x", 1)
	w.succeeds("created unikernel", ":x", restart)
	w.lines(":x", 2)
	require.NotEqual(t, old, w.pid(":x"))

	args := guest("hello", "--quiet", "two").Arguments
	args.Memory = 32
	args.AddName = false
	args.Fail = messages.FailBehaviour{Restart: true, Codes: []int{9}}
	with := func(a messages.Arguments) messages.UnikernelRestart {
		return messages.UnikernelRestart{Form: messages.RestartArgs2, Args: messages.Some(a)}
	}
	w.succeeds("created unikernel", ":x", with(args))
	info := w.infos(":x")[0].Info
	require.Equal(t, 32, info.Memory)
	require.Equal(t, args.Fail, info.Fail)
	require.Equal(t, args.Argv, info.Argv)
	require.Equal(t, "hello from albatross: --quiet two", w.lines(":x", 3)[2])

	running := w.pid(":x")
	args.CPUIDs = []int{9}
	w.fails("CPUids 9 are not allowed by policy", ":x", with(args))
	args.CPUIDs = nil
	w.fails("cannot run without a CPU: give one at least", ":x", with(args))
	args.CPUIDs = []int{0}
	args.Blocks = []messages.BlockDevice{{Name: "nope"}}
	w.fails("block device :nope not found", ":x", with(args))
	require.Equal(t, running, w.pid(":x"), "what is refused does not touch the old one")
}

// tenderScript installs a shell script as the tender.
func tenderScript(t *testing.T, body string) func(*world) {
	return func(w *world) {
		w.guests.Confine = nil // it uses files beside it, to agree with the test
		script := "#!/bin/sh\n[ \"$1\" = --version ] && echo 'ABI version 2' && exit\n" + body
		require.NoError(t, os.WriteFile(filepath.Join(w.dir, "solo5-spt"), []byte(script), 0o755))
		w.guests.Tenders = &tender.Finder{Dir: w.dir, Policy: tender.Installed}
	}
}

const forEver = "echo up; while :; do sleep 0.05; done\n"

func TestATenderThatIgnoresSIGTERMIsKilled(t *testing.T) {
	w := newWorld(t, tenderScript(t, "trap '' TERM\n"+forEver), func(w *world) { w.config.Grace = 100 * time.Millisecond })
	w.succeeds("created unikernel", ":x", create(guest("hello")))
	w.followUntil(":x", "up")
	w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
	w.requireNothing()
}

func TestASIGTERMThatIsLostIsSentAgain(t *testing.T) {
	w := newWorld(t, tenderScript(t, "trap 'trap - TERM' TERM\n"+forEver), func(w *world) { w.config.Grace = time.Hour })
	w.succeeds("created unikernel", ":x", create(guest("hello")))
	w.followUntil(":x", "up")
	w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
	w.requireNothing()
}

func TestUnikernelsOutliveTheDaemon(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", ":x", create(guest("hello")))
	w.lines(":x", 1)
	pid, info := w.pid(":x"), w.infos(":x")
	w.restart()
	require.Equal(t, pid, w.pid(":x"))
	require.Equal(t, info, w.infos(":x"))
	require.Contains(t, w.lines(":x", 2)[1], "tick ")
	w.fails("Unikernel with same name is already running", ":x", create(guest("hello")))
	w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
	w.requireNothing()
}

// TestAStopLosesNothing: the record of a start is on disk, though no client has read that it runs.
func TestAStopLosesNothing(t *testing.T) {
	w := newWorld(t)
	for range 10 {
		w.succeeds("created unikernel", ":x", force(guest("hello", "--quiet")))
		w.restart()
		r, there := w.record(":x")
		require.True(t, there)
		require.True(t, r.Runtime.Value.Released)
	}
}

func TestWhatHappensWhileNoDaemonIsThere(t *testing.T) {
	w := newWorld(t)
	restarting := guest("hello", "--quiet")
	restarting.Fail = messages.FailBehaviour{Restart: true}
	w.succeeds("created unikernel", ":quits", create(guest("hello", "--quiet")))
	w.succeeds("created unikernel", ":restarts", create(restarting))
	w.succeeds("created unikernel", ":stays", create(restarting))
	stays, old := w.pid(":stays"), w.pid(":restarts")
	w.kill(":quits")
	w.shutdown()
	// No daemon sees the end of :restarts.
	w.killAndReap(old)
	w.start()
	w.until("one is gone, and one is started again", func() bool {
		r, _ := w.record(":restarts")
		_, quits := w.record(":quits")
		return !quits && r.Runtime.OK && r.Runtime.Value.Process.PID != old
	})
	require.Equal(t, stays, w.pid(":stays"))
	w.until("both are listed", func() bool { return len(w.infos(":")) == 2 })
}

func TestTheLastMegabyteIsGivenOnce(t *testing.T) {
	w := newWorld(t)
	const tries, fit = 24, 16 // of 16 MB each
	var created sync.Map
	var all sync.WaitGroup
	for i := range tries {
		all.Go(func() {
			c := w.connect(messages.AtVMMD)
			c.send(fmt.Sprintf(":x%d", i), create(guest("hello", "--quiet")))
			if m := <-c.out; m.Payload == (messages.SuccessText{Text: "created unikernel"}) {
				created.Store(i, true)
			}
		})
	}
	all.Wait()
	n := 0
	created.Range(func(any, any) bool { n++; return true })
	require.Equal(t, fit, n)
	require.Len(t, w.infos(":"), fit)
}

func TestCommandsAtOneNameAreCarriedOutInOrder(t *testing.T) {
	w := newWorld(t)
	commands := []messages.Command{
		create(guest("hello", "--quiet")),
		create(guest("hello", "--quiet")),
		messages.UnikernelDestroy{},
		messages.UnikernelDestroy{},
		create(guest("hello", "--quiet")),
	}
	var all sync.WaitGroup
	answers := make([]messages.Payload, 50)
	for i := range answers {
		c := w.connect(messages.AtVMMD)
		all.Go(func() {
			c.send(":x", commands[i%len(commands)])
			answers[i] = (<-c.out).Payload
		})
	}
	all.Wait()
	created, destroyed := 0, 0
	for _, a := range answers {
		switch a {
		case messages.SuccessText{Text: "created unikernel"}:
			created++
		case messages.SuccessText{Text: "destroyed unikernel"}:
			destroyed++
		case messages.Failure{Text: "destroy: not found"}, messages.Failure{Text: "Unikernel with same name is already running"}:
		default:
			t.Errorf("unexpected answer %#v", a)
		}
	}
	require.Len(t, w.infos(":"), created-destroyed, "each answer was true")
}

func TestWrongSocket(t *testing.T) {
	w := newWorld(t)
	for name, tc := range map[string]struct {
		endpoint messages.Endpoint
		payload  messages.Payload
		text     string
	}{
		"vmmd":    {messages.AtVMMD, messages.ConsoleSubscribe{Count: messages.Some(1)}, "unknown command"},
		"console": {messages.AtConsole, messages.UnikernelInfo{Form: 6}, "unknown command"},
		"stats":   {messages.AtStats, messages.PolicyInfo{}, "unexpected command"},
		"success": {messages.AtVMMD, messages.SuccessEmpty{}, "unknown command"},
		"failure": {messages.AtVMMD, messages.Failure{Text: "x"}, "unknown command"},
		"data":    {messages.AtVMMD, messages.DataBlock{}, "unknown command"},
	} {
		t.Run(name, func(t *testing.T) {
			c := w.connect(tc.endpoint)
			c.send(":x", tc.payload)
			require.Equal(t, messages.Failure{Text: messages.Public(tc.text)}, c.receive().Payload)
			<-c.closed
		})
	}
}

// TestEveryCommandIsCarriedOut: a command is carried out at its socket, and refused at the others.
func TestEveryCommandIsCarriedOut(t *testing.T) {
	w := newWorld(t)
	for _, properties := range messages.AllProperties() {
		for _, at := range []messages.Endpoint{messages.AtVMMD, messages.AtConsole, messages.AtStats, messages.AtControl} {
			c := w.connect(at)
			c.send(":x", properties.Command)
			answer, _ := c.receive().Payload.(messages.Failure)
			known := !strings.HasPrefix(string(answer.Text), "unknown command") && !strings.HasPrefix(string(answer.Text), "unexpected ")
			require.Equal(t, at == properties.At, known, "%T at %s: %s", properties.Command, at, answer.Text)
			c.Close()
		}
	}
}
