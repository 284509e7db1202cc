package actors_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

// A service stands for what a unikernel serves.
type service struct {
	t  *testing.T
	at netip.AddrPort
	on net.Listener // nil while nobody listens
}

// newService returns a service at an address where nobody listens.
func newService(t *testing.T) *service {
	s := &service{t: t, at: netip.MustParseAddrPort("127.0.0.1:0")}
	s.open()
	s.close()
	t.Cleanup(s.close)
	return s
}

func (s *service) open() {
	var err error
	s.on, err = net.Listen("tcp", s.at.String())
	require.NoError(s.t, err)
	s.at = s.on.Addr().(*net.TCPAddr).AddrPort()
}

func (s *service) close() {
	if s.on != nil {
		require.NoError(s.t, s.on.Close())
		s.on = nil
	}
}

// checked returns a configuration whose health is that of the service.
func (s *service) checked(config messages.Config, within time.Duration) messages.Config {
	check := messages.HealthCheck{Kind: messages.HealthTCP, Host: s.at.Addr(), Port: s.at.Port()}
	config.Health = messages.Some(check.Lasting(within))
	return config
}

// refusal is why a successor is unhealthy while nobody listens.
func (s *service) refusal(within time.Duration) string {
	return fmt.Sprintf("not healthy within %v: tcp at %s: connection refused", within, s.at)
}

// deploy creates a unikernel with all that it is configured with, maybe instead of another.
func (w *world) deploy(name string, config messages.Config) {
	w.t.Helper()
	require.Equal(w.t, messages.SuccessText{Text: "created unikernel"},
		w.control(name, messages.UnikernelDeploy{Create: messages.UnikernelCreate{Form: 5, Force: true, Config: config}}))
}

func (w *world) health(name string) messages.Health {
	list := w.statuses(name)
	require.Len(w.t, list, 1)
	return list[0].Health
}

// TestAHealthySuccessor is on trial until its health check succeeds.
func TestAHealthySuccessor(t *testing.T) {
	s := newService(t)
	w := newWorld(t, withShortTrial)
	w.succeeds("created unikernel", ":x", create(theOneBefore()))
	w.deploy(":x", s.checked(guest("hello", "--quiet"), time.Hour))
	w.until("it is checked", func() bool { return w.health(":x") == messages.Health{State: messages.HealthChecking} })
	r, _ := w.record(":x")
	require.NotNil(t, r.Spec.Former)
	s.open()
	w.until("it is healthy", func() bool { return w.health(":x").State == messages.Healthy })
	r, _ = w.record(":x")
	require.Nil(t, r.Spec.Former)
	require.True(t, r.Runtime.Value.Healthy)
	w.requireEvents(":x", "created: the command create", "started: the command create",
		"exited by signal 15: the command create --force",
		"created: the command create --force", "started: the command create --force", "healthy: ")

	s.close()
	w.restart()
	w.until("it is healthy, and not asked again", func() bool { return w.health(":x").State == messages.Healthy })
	w.succeeds("created unikernel", ":x", messages.UnikernelRestart{Form: messages.RestartSame})
	w.until("it is checked after each start", func() bool { return w.health(":x").State == messages.HealthChecking })
}

// TestAnUnhealthySuccessor is ended, and the one before is started again.
func TestAnUnhealthySuccessor(t *testing.T) {
	const within = 300 * time.Millisecond
	s := newService(t)
	w := newWorld(t, withShortTrial)
	w.succeeds("created unikernel", ":x", create(theOneBefore()))
	before := w.infos(":x")[0]
	w.deploy(":x", s.checked(guest("hello", "--quiet"), within))
	w.requireBefore(":x", before)
	w.requireEvents(":x", "created: the command create", "started: the command create",
		"exited by signal 15: the command create --force",
		"created: the command create --force", "started: the command create --force",
		"exited by signal 15: it was "+s.refusal(within),
		"restarting: what had replaced it was "+s.refusal(within),
		"started: what had replaced it was "+s.refusal(within))
	w.until("only its image is left", func() bool { return w.files("images") == 1 })
	w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
	w.requireNothing()
}

// TestAnEndBeforeItIsHealthy brings back the one before, whatever the end.
func TestAnEndBeforeItIsHealthy(t *testing.T) {
	w := newWorld(t, withShortTrial)
	w.succeeds("created unikernel", ":x", create(theOneBefore()))
	before := w.infos(":x")[0]
	config := guest("exit", "0")
	config.Health = messages.Some(messages.HealthCheck{Kind: messages.HealthRuns}.Lasting(time.Hour))
	w.deploy(":x", config)
	w.requireBefore(":x", before)
	require.Contains(t, w.eventsOf(":x"), "restarting: what had replaced it ended before it was healthy: exit 0")
}

// TestItHasRunForSoLong: that is a check, too.
func TestItHasRunForSoLong(t *testing.T) {
	w := newWorld(t, withLongTrial)
	w.succeeds("created unikernel", ":x", create(theOneBefore()))
	config := guest("hello", "--quiet")
	config.Health = messages.Some(messages.HealthCheck{Kind: messages.HealthRuns}.Lasting(messages.MinHealthTime))
	w.deploy(":x", config)
	w.untilProven(":x")
	w.until("it is healthy", func() bool { return w.health(":x").State == messages.Healthy })
}

// TestAnUnhealthyUnikernel that has replaced nothing runs on.
func TestAnUnhealthyUnikernel(t *testing.T) {
	s := newService(t)
	w := newWorld(t)
	w.deploy(":x", s.checked(guest("hello", "--quiet"), messages.MinHealthTime))
	pid := w.pid(":x")
	w.until("it is unhealthy", func() bool { return w.health(":x").State == messages.Unhealthy })
	require.Equal(t, messages.Public(s.refusal(messages.MinHealthTime)), w.health(":x").Cause)
	w.requireEvents(":x", "created: the command create --force", "started: the command create --force", "unhealthy: "+s.refusal(messages.MinHealthTime))
	require.Equal(t, pid, w.pid(":x"))
}

// TestTheNextDaemonChecksOn: what no daemon has seen to be healthy is still on trial.
func TestTheNextDaemonChecksOn(t *testing.T) {
	const within = 2 * time.Second
	for title, well := range map[string]bool{"healthy": true, "unhealthy": false} {
		t.Run(title, func(t *testing.T) {
			s := newService(t)
			w := newWorld(t, withShortTrial)
			w.succeeds("created unikernel", ":x", create(theOneBefore()))
			before := w.infos(":x")[0]
			w.deploy(":x", s.checked(guest("hello", "--quiet"), within))
			w.shutdown()
			if well {
				s.open()
			}
			w.start()
			if well {
				w.untilProven(":x")
				return
			}
			w.requireBefore(":x", before)
		})
	}
}

// TestDestroyWhileItIsEndedForItsHealth: nothing comes back.
func TestDestroyWhileItIsEndedForItsHealth(t *testing.T) {
	s := newService(t)
	w := newWorld(t, withShortTrial, tenderScript(t, "case \"$*\" in *deaf*) trap '' TERM; while ! [ -e $0.end ]; do sleep 0.02; done; exit 0;; esac; exec sleep 1000\n"),
		func(w *world) { w.config.Grace = time.Hour })
	w.succeeds("created unikernel", ":x", create(theOneBefore()))
	w.deploy(":x", s.checked(guest("hello", "deaf"), messages.MinHealthTime))
	w.until("it is unhealthy", func() bool { return w.health(":x").State == messages.Unhealthy })
	c := w.connect(messages.AtVMMD)
	defer c.Close()
	c.send(":x", messages.UnikernelDestroy{})
	w.until("that is stored", func() bool { r, there := w.record(":x"); return there && r.Spec.Former == nil })
	require.NoError(t, os.WriteFile(filepath.Join(w.dir, "solo5-spt.end"), nil, 0o600))
	require.Equal(t, success("destroyed unikernel"), c.receive().Payload)
	w.requireNothing()
}

// TestNativeMessagesKeepTheHealthCheck: they have no word for it.
func TestNativeMessagesKeepTheHealthCheck(t *testing.T) {
	s := newService(t)
	s.open()
	w := newWorld(t)
	config := s.checked(guest("hello", "--quiet"), time.Minute)
	w.deploy(":x", config)
	other := guest("hello", "--quiet", "other")
	for _, command := range []messages.Command{
		messages.UnikernelRestart{Form: messages.RestartSame}, messages.UnikernelRestart{Args: messages.Some(other.Arguments)}, force(other),
	} {
		w.succeeds("created unikernel", ":x", command)
		r, _ := w.record(":x")
		require.Equal(t, config.Health, r.Spec.Arguments.Health)
	}
	w.deploy(":x", other)
	r, _ := w.record(":x")
	require.False(t, r.Spec.Arguments.Health.OK, "ours have")
}

// TestWhoseHealthCannotBeChecked: a check that could never succeed is refused.
func TestWhoseHealthCannotBeChecked(t *testing.T) {
	w := newWorld(t)
	check, err := messages.ParseHealthCheck("http://:80/")
	require.NoError(t, err)
	config := guest("hello", "--quiet")
	config.Health = messages.Some(check)
	command := messages.UnikernelDeploy{Create: messages.UnikernelCreate{Form: 5, Config: config}}
	require.Equal(t, messages.Failure{Text: "cannot check the health of a unikernel: its port 80 is not reached from the host: publish that, or give the address of the unikernel"},
		w.control(":x", command))
	command.Create.Config.Health = messages.Some(check.Lasting(time.Nanosecond))
	require.Equal(t, messages.Failure{Text: "cannot check the health of a unikernel: a check takes from 100ms to 1h0m0s"}, w.control(":x", command))
	w.requireNothing()
}
