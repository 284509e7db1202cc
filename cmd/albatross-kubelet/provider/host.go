package provider

import (
	"context"

	"albatross/cmd/albatross-kubelet/pods"
	"albatross/messages"
)

// A Host is the daemon whose unikernels the pods of the node become. An error says for people why
// something is not possible; whether it was done nevertheless is seen by asking again.
type Host interface {
	// Find returns the unikernel of a name, or how the last one ended. It returns false if
	// neither is known.
	Find(ctx context.Context, name messages.Name) (Unikernel, bool, error)
	// List returns all unikernels at and below a path, with names relative to it. An answer that
	// was cut off is an error.
	List(ctx context.Context, path messages.Path) ([]Unikernel, error)
	// Create creates a unikernel.
	Create(ctx context.Context, name messages.Name, config messages.Config, owner string) error
	// Destroy destroys a unikernel. It returns nil if there is none.
	Destroy(ctx context.Context, name messages.Name) error
	// MakeBlock makes a block device, of a size in MB. It returns nil if the owner has made one
	// of that name.
	MakeBlock(ctx context.Context, name messages.Name, size int, owner string) error
	// RemoveBlock removes a block device of an owner. It returns nil if there is none.
	RemoveBlock(ctx context.Context, name messages.Name, owner string) error
	// Blocks returns the block devices at and below a path that have an owner, with names relative
	// to it.
	Blocks(ctx context.Context, path messages.Path) ([]Block, error)
	// Watch calls begun when it hears of what happens from then on, and happened for each event
	// below a path, with names relative to it. It returns when the stream ends.
	Watch(ctx context.Context, path messages.Path, begun func(), happened func(messages.Event)) error
}

// A Unikernel is what the daemon tells of one.
type Unikernel struct {
	messages.UnikernelStatus
	Owner string // the label that it was created with; empty: none
}

// A Block is a block device and the label that it was made with.
type Block struct {
	Name  messages.Name
	Owner string
}

// exists reports whether it runs, or is to run: its name is taken.
func (u Unikernel) exists() bool { return u.State != messages.StateEnded }

// An Image is what Fetch has got.
type Image struct {
	Contents []byte       // not to be used after Close
	Close    func() error // nil: there is nothing to be freed
	pods.Defaults
}

// free frees an image.
func (i Image) free() error {
	if i.Close == nil {
		return nil
	}
	return i.Close()
}

// A Fetch returns the image of a reference, as pods have it. The error says for people why not.
type Fetch func(ctx context.Context, reference string) (Image, error)
