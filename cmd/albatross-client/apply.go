package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"albatross/messages"
	"albatross/sockets/builds"
	"albatross/sockets/wire"
)

// manifestArgument is a file that says what there should be.
const manifestArgument = "FILE"

func applyCommand(stdin io.Reader, d *daemon, out *printer, inv inventory, up uploader, creates creator, watch watcher) *cobra.Command {
	var order applyOrder
	c := &cobra.Command{
		Use:   "apply " + manifestArgument + "...",
		Short: "Make policies, networks, block devices and unikernels what files say",
		Long: `Make policies, networks, block devices and unikernels what YAML files say, in this order, and
unikernels by their startup number. What is so already stays as it is, and what is in no file,
too. A unikernel that was stopped is started. 'albatross-client export' writes such a file.

A file with 'owner: NAME' at its top owns what it names: nothing that another owner has is changed.
With --prune, what that owner has and no file names any more is removed, block devices with all that
is in them: unikernels first, and at the end networks and block devices, then policies.

Networks and the sizes of block devices cannot be changed: nothing at all is done if a file asks
for that. If something fails in the middle, it is shown what was done and what was not; when the
cause is gone, the same command does the rest.

From afar, through an endpoint that offers sessions, names are relative to the path of the
certificates, except for those of bridges, which are in full: the network lan of alice is the bridge
alice.lan. Policies are not changed from there, and networks have subnets that the daemon chooses.`,
		Example: "  albatross-client apply host.yaml --dry-run\n  albatross-client apply host.yaml --prune --dry-run\n  albatross-client export | albatross-client apply - --tmpdir=/run/other",
		Args:    atLeast(manifestArgument),
		RunE: func(c *cobra.Command, args []string) error {
			m, owners, err := readManifests(args, stdin)
			if err != nil {
				return err
			}
			if order.prune {
				if order.owners, err = prunable(args, owners); err != nil {
					return err
				}
			}
			return applier{d, out, inv, up, creates, watch}.apply(c.Context(), m, order)
		},
	}
	c.Flags().BoolVar(&order.dryRun, "dry-run", false, "only show what would be done")
	c.Flags().BoolVar(&order.prune, "prune", false, "remove what the owner of a file has and no file names any more, block devices with their contents")
	registerNoWait(c.Flags(), &order.noWait)
	order.registries.register(c.Flags())
	return c
}

// An applyOrder is what the options of apply say.
type applyOrder struct {
	dryRun, noWait, prune bool
	owners                []messages.Owner // with prune: whose things are removed
	registries            registryOptions
}

// A step is one change on the way to what a manifest says.
type step struct {
	words string // what it does
	do    func(context.Context) error
}

// An applier makes what there is what files say.
type applier struct {
	daemon    *daemon
	out       *printer
	inventory inventory
	uploader  uploader
	creator   creator
	watcher   watcher
}

func (ap applier) apply(ctx context.Context, m manifest, order applyOrder) error {
	have, err := ap.inventory.present(ctx)
	if err != nil {
		return err
	}
	p := planner{apply: ap, have: have, noWait: order.noWait, registries: order.registries, prunes: order.owners}
	if m.Unikernels, err = p.lookUp(ctx, m.Unikernels); err != nil {
		return err
	}
	steps, err := p.plan(m)
	switch {
	case err != nil:
		return err
	case len(steps) == 0:
		return ap.out.say(messages.Name{}, "nothing to do")
	case order.dryRun:
		return each(steps, func(s step) error { return ap.out.say(messages.Name{}, "would "+s.words) })
	}
	return ap.carryOut(ctx, steps)
}

// carryOut does one step after the other, until one fails or is interrupted.
func (ap applier) carryOut(ctx context.Context, steps []step) error {
	until, stop := interruptible(ctx)
	defer stop()
	for i, s := range steps {
		err := until.Err()
		if err == nil {
			err = s.do(until)
		}
		if err != nil {
			ap.out.hint("It ends here. What was done stays; when the cause is gone, the same command does the rest:" +
				stepsText("done:     ", steps[:i]) + stepsText("failed:   ", steps[i:i+1]) + stepsText("not done: ", steps[i+1:]))
			return err
		}
	}
	return nil
}

// stepsText returns a line for each step.
func stepsText(state string, steps []step) (text string) {
	for _, s := range steps {
		text += "\n" + state + s.words
	}
	return text
}

// makeBlock makes a block device, which may have an owner.
func (ap applier) makeBlock(ctx context.Context, name messages.Name, size int, owner messages.Owner) error {
	if owner == "" {
		return ap.daemon.ask(ctx, name, messages.BlockAdd{Size: size})
	}
	return ap.daemon.onControl(ctx, name.String(), messages.BlockDeploy{Size: size, Owner: owner}, "added block device")
}

// createWith creates a block device with contents.
func (ap applier) createWith(ctx context.Context, e blockEntry) error {
	name, size, from := e.Name.Name, int(e.Size), *e.Contents
	makes := func(ctx context.Context) error { return ap.makeBlock(ctx, name, size, e.owner) }
	if from.URL == "" {
		if _, err := from.digest(); err != nil { // it may have changed since it was planned
			return err
		}
		return ap.uploader.fillFrom(ctx, name, size, from.File, 0, makes)
	}
	data, err := ap.load(ctx, from)
	if err != nil {
		return err
	}
	if len(data) > size<<20 {
		return inputError("data exceeds size")
	}
	if err := makes(ctx); err != nil {
		return err
	}
	if err := ap.uploader.setBlock(ctx, name, contentsOf(data), 0); err != nil {
		return errors.Join(err, ap.uploader.takeBack(context.WithoutCancel(ctx), name))
	}
	return nil
}

// createAs creates or replaces a unikernel.
func (ap applier) createAs(ctx context.Context, name messages.Name, args messages.Arguments, e unikernelEntry, web registryOptions, replaces, noWait bool) error {
	from := e.Image
	if from.OCI != "" {
		return ap.withSource(ctx, web, from, func(f fetched) error {
			args.Origin = f.origin()
			return ap.createOf(ctx, name, args, e, f.data, replaces, noWait)
		})
	}
	image, err := ap.imageOf(ctx, name, from)
	if err != nil {
		return err
	}
	return ap.createOf(ctx, name, args, e, image, replaces, noWait)
}

// createOf creates or replaces a unikernel by one with an image, which is from a source.
func (ap applier) createOf(ctx context.Context, name messages.Name, args messages.Arguments, e unikernelEntry, image []byte, replaces, noWait bool) error {
	if err := usable(image, args); err != nil {
		return inputError(fmt.Sprintf("cannot use %s for %s: %s", e.Image, shortName(name), escape(err.Error())))
	}
	config := messages.Config{Type: messages.Solo5, Image: image, Arguments: args}
	return ap.watcher.start(ctx, name, noWait, func() error { return ap.creator.createFor(ctx, name, wire.OldestCreate(config, replaces), e.owner) })
}

// imageOf returns an image: that of a source, or the one that runs.
func (ap applier) imageOf(ctx context.Context, name messages.Name, from source) ([]byte, error) {
	if from.File != "" || from.URL != "" {
		return ap.load(ctx, from)
	}
	answer, err := as[messages.SuccessImage](ap.daemon.answer(ctx, name, messages.UnikernelGet{Form: 3}))
	if err != nil {
		return nil, err
	}
	return answer.Image, from.matches(answer.Image)
}

// load returns the contents of a file or a URL, which are what the source says.
func (ap applier) load(ctx context.Context, from source) (data []byte, err error) {
	if from.File != "" {
		data, err = os.ReadFile(from.File)
		if err != nil {
			return nil, unreadable(from.File, err)
		}
		return data, from.matches(data)
	}
	u, err := parseSource(string(from.URL))
	if err != nil {
		return nil, err
	}
	server := builds.At(u, builds.DefaultPatience)
	defer server.Close()
	done := func() {}
	defer func() { done() }()
	data, err = server.Get(ctx, u, builds.MaxImage, func(size int64, r io.Reader) (counted io.Reader) {
		counted, done = ap.out.progress("fetching", size, r)
		return counted
	})
	if err != nil {
		return nil, err
	}
	return data, from.matches(data)
}
