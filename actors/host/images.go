package host

import (
	"context"
	"iter"
	"maps"
	"slices"
	"time"

	"albatross/actors/supervise"
	"albatross/messages"
)

// digests yields the images that a spec on disk needs.
func digests(spec messages.Spec) iter.Seq[messages.Digest] {
	return func(yield func(messages.Digest) bool) {
		if yield(spec.Digest) && spec.Former != nil {
			yield(spec.Former.Spec.Digest)
		}
	}
}

// useImages counts the images of a spec as needed.
func (h *host) useImages(spec messages.Spec) {
	for digest := range digests(spec) {
		h.images[digest]++
	}
}

// dropImages ends a need.
func (h *host) dropImages(c *supervise.Context, spec messages.Spec) {
	for digest := range digests(spec) {
		h.images[digest]--
		h.collect(c, digest)
	}
}

// collect removes the image of a run that has ended, if no other run needs it. A
// preparation under way has pinned its image.
func (h *host) collect(c *supervise.Context, digest messages.Digest) {
	if h.images[digest] > 0 {
		return
	}
	delete(h.images, digest)
	machine, log := h.config.Machine, c.Log()
	c.Go(func(context.Context) any {
		if err := machine.RemoveImage(digest); err != nil {
			log.Error("Cannot remove image", "image", digest, "error", err)
		}
		return nil
	})
}

// verifyAll reads the images of all that is on record, so that no client has to wait for
// that, and damage is known before the image is needed.
func (h *host) verifyAll(c *supervise.Context) {
	machine, log, used := h.config.Machine, c.Log(), slices.Collect(maps.Keys(h.images))
	c.Go(func(ctx context.Context) any {
		for _, err := range machine.VerifyImages(ctx, used) {
			log.Error("An image cannot be used", "error", err)
		}
		return nil
	})
}

// longestStale is longer than a preparation can take.
const longestStale = time.Hour

// collectDue is a message of the host's timer.
type collectDue struct{}

// collectStale removes all images that no run needs, repeatedly for a while: an actor has
// failed, and its preparation may still store one.
func (h *host) collectStale(c *supervise.Context) {
	if h.collectPause == 0 {
		c.After(supervise.RetryAfter, collectDue{})
	}
	h.collectPause = supervise.RetryAfter
	h.collectAll(c)
}

func (h *host) collectDue(c *supervise.Context) {
	h.collectAll(c)
	if h.collectPause *= 2; h.collectPause > longestStale {
		h.collectPause = 0
		return
	}
	c.After(h.collectPause, collectDue{})
}

// collectAll removes all images that no run needs.
func (h *host) collectAll(c *supervise.Context) {
	machine, log, used := h.config.Machine, c.Log(), maps.Clone(h.images)
	c.Go(func(context.Context) any {
		if err := machine.CollectImages(func(d messages.Digest) bool { return used[d] > 0 }); err != nil {
			log.Error("Cannot remove images", "error", err)
		}
		return nil
	})
}
