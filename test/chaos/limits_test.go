package chaos

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"albatross/messages"
)

// A limit is a policy that never changes, below which more is asked for than it allows.
type limit struct {
	path       string
	unikernels int
	memory     int // MB
	labels     int // of unikernels that ask for it
}

// limits are of unikernels, of those below another limit, and of memory, of which each unikernel has 4 MB.
var limits = []limit{
	{"narrow:", 3, 100, 4},
	{"narrow:deep:", 2, 100, 3},
	{"tight:", 10, 19, 7},
}

// exceeded says how a limit is exceeded, if it is.
func (l limit) exceeded(list []messages.NamedInfo) string {
	unikernels, memory := 0, 0
	for _, i := range list {
		if strings.HasPrefix(i.Name.String(), l.path) {
			unikernels++
			memory += i.Info.Memory
		}
	}
	if unikernels <= l.unikernels && memory <= l.memory {
		return ""
	}
	return fmt.Sprintf("%d unikernels with %d MB run below %s, which may have %d with %d MB", unikernels, memory, l.path, l.unikernels, l.memory)
}

// crowding lets one customer at a time change what is below a limit, so that the journal
// knows what came after what.
var crowding sync.Mutex

// crowd has more unikernels run below a path than its policy allows, or takes one away.
func (u *customer) crowd() {
	l := limits[u.random.IntN(len(limits))]
	name := fmt.Sprintf("%s%d", l.path, u.random.IntN(l.labels))
	crowding.Lock()
	defer crowding.Unlock()
	if u.random.IntN(3) == 0 {
		u.c.destroy(name)
		return
	}
	u.c.force(name, run("hello", "--quiet", "crowd"))
}

// watch asks all the time for what must never be seen.
func (s *siege) watch(over *atomic.Bool) {
	c := newRoughCaller(s.h)
	defer c.leave()
	for !over.Load() {
		answer, refusal := c.say("vmmd", command(messages.Name{}, messages.UnikernelInfo{Form: 6}))
		infos, _ := answer.(messages.SuccessInfos)
		for _, l := range limits {
			if how := l.exceeded(infos.List); how != "" {
				s.h.t.Errorf("%s: %s", s.h.doing, how)
			}
		}
		if refusal == "" {
			sum.add(s.h.mode, looks, 1)
		}
	}
}
