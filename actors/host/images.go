package host

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"

	"albatross/actors/supervise"
	"albatross/messages"
)

// digests yields the images that a spec needs, as far as they are stored.
func digests(spec messages.Spec) iter.Seq[messages.Digest] {
	return func(yield func(messages.Digest) bool) {
		if spec.Digest == (messages.Digest{}) {
			return
		}
		if !yield(spec.Digest) || spec.Former != nil && !yield(spec.Former.Spec.Digest) {
			return
		}
		for _, p := range pasts(spec) {
			if !yield(p.Spec.Digest) {
				return
			}
		}
	}
}

// pasts returns the former versions of a spec, and those of the one that it has replaced.
func pasts(spec messages.Spec) []messages.Past {
	if spec.Former == nil {
		return spec.Past
	}
	return slices.Concat(spec.Past, spec.Former.Spec.Past)
}

// A demand counts the specs that need an image. The host's goroutines ask it at the moment
// at which they would remove one: by then, somebody may need what nobody needed when they
// were started.
type demand struct {
	mu    sync.Mutex
	specs map[messages.Digest]int // without an entry if nobody needs it
	known bool                    // all that is on record is counted; until then, every image is needed
}

// complete says that all that is on record is counted.
func (d *demand) complete() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known = true
}

// change adds to how many need an image.
func (d *demand) change(digest messages.Digest, more int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.specs[digest] += more; d.specs[digest] == 0 {
		delete(d.specs, digest)
	}
}

func (d *demand) has(digest messages.Digest) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.known || d.specs[digest] > 0
}

func (d *demand) all() []messages.Digest {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.specs))
}

// keeper returns which images must stay. When ctx has ended, all must: the unikernels of
// this incarnation release their pins, and the next one counts anew.
func (d *demand) keeper(ctx context.Context) func(messages.Digest) bool {
	return func(digest messages.Digest) bool { return ctx.Err() != nil || d.has(digest) }
}

// useImages counts the images of a spec as needed.
func (h *host) useImages(spec messages.Spec) {
	for digest := range digests(spec) {
		h.images.change(digest, 1)
	}
}

// dropImages ends a need.
func (h *host) dropImages(c *supervise.Context, spec messages.Spec) {
	for digest := range digests(spec) {
		h.images.change(digest, -1)
		h.collect(c, digest)
	}
}

// collect removes the image of a run that has ended, if no other run needs it. A
// preparation under way has pinned its image.
func (h *host) collect(c *supervise.Context, digest messages.Digest) {
	if h.images.has(digest) {
		return
	}
	h.removeImages(c, func(keep func(messages.Digest) bool) error {
		if err := h.config.Machine.RemoveImage(digest, keep); err != nil {
			return fmt.Errorf("image %v: %w", digest, err)
		}
		return nil
	})
}

// removeImages runs a removal on a goroutine, which Stopping waits for: until then,
// pins and demand say what is needed.
func (h *host) removeImages(c *supervise.Context, remove func(keep func(messages.Digest) bool) error) {
	log, needed := c.Log(), h.images
	h.removals.Add(1)
	c.Go(func(ctx context.Context) any {
		defer h.removals.Done()
		if err := remove(needed.keeper(ctx)); err != nil {
			log.Error("Cannot remove what no unikernel needs", "error", err)
		}
		return nil
	})
}

// verifyImages reads images, and has the kernel check them from then on where it can, so that no
// client has to wait for that, and damage is known before an image is needed.
func (h *host) verifyImages(c *supervise.Context, list []messages.Digest) {
	machine, log, needed := h.config.Machine, c.Log(), h.images
	c.Go(func(ctx context.Context) any {
		for _, digest := range list {
			for _, err := range machine.VerifyImages(ctx, []messages.Digest{digest}) {
				if needed.has(digest) { // otherwise it was removed meanwhile
					log.Error("An image cannot be used", "error", err)
				}
			}
		}
		return nil
	})
}

// collectAll removes all images that no run needs.
func (h *host) collectAll(c *supervise.Context) {
	h.removeImages(c, h.config.Machine.CollectImages)
}
