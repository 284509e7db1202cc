package actors

import (
	"context"
	"maps"

	"albatross/actors/supervise"
	"albatross/messages"
)

// collect removes the image of a run that has ended, if no other needs it. One
// that is being prepared has pinned it.
func (h *host) collect(c *supervise.Context, digest messages.Digest) {
	if h.images[digest] > 0 {
		return
	}
	delete(h.images, digest)
	images, log := h.config.Images, c.Log()
	c.Go(func(context.Context) any {
		if _, err := images.Remove(digest); err != nil {
			log.Error("Cannot remove image", "image", digest, "error", err)
		}
		return nil
	})
}

// collectAll removes all images that no run needs.
func (h *host) collectAll(c *supervise.Context) {
	images, log, used := h.config.Images, c.Log(), maps.Clone(h.images)
	c.Go(func(context.Context) any {
		if _, err := images.Collect(func(d messages.Digest) bool { return used[d] > 0 }); err != nil {
			log.Error("Cannot remove images", "error", err)
		}
		return nil
	})
}
