package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"albatross/messages"
	"albatross/sockets/builds"
	"albatross/sockets/wire"
)

// manifestArgument is a file that says what there should be.
const manifestArgument = "FILE"

func (a *app) applyCommand() *cobra.Command {
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
			m, owners, err := readManifests(args, a.stdin)
			if err != nil {
				return err
			}
			if order.prune {
				if order.owners, err = prunable(args, owners); err != nil {
					return err
				}
			}
			return a.apply(c.Context(), m, order)
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

func (a *app) apply(ctx context.Context, m manifest, order applyOrder) error {
	have, err := a.present(ctx)
	if err != nil {
		return err
	}
	p := planner{app: a, have: have, noWait: order.noWait, registries: order.registries, prunes: order.owners}
	if m.Unikernels, err = p.lookUp(ctx, m.Unikernels); err != nil {
		return err
	}
	steps, err := p.plan(m)
	switch {
	case err != nil:
		return err
	case len(steps) == 0:
		return a.say(messages.Name{}, "nothing to do")
	case order.dryRun:
		return each(steps, func(s step) error { return a.say(messages.Name{}, "would "+s.words) })
	}
	return a.carryOut(ctx, steps)
}

// carryOut does one step after the other, until one fails or is interrupted.
func (a *app) carryOut(ctx context.Context, steps []step) error {
	until, stop := interruptible(ctx)
	defer stop()
	for i, s := range steps {
		err := until.Err()
		if err == nil {
			err = s.do(until)
		}
		if err != nil {
			a.hint("It ends here. What was done stays; when the cause is gone, the same command does the rest:" +
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

// A planner finds out which steps lead to what a manifest says.
type planner struct {
	app        *app
	have       presence
	noWait     bool
	registries registryOptions
	prunes     []messages.Owner // whose things are removed that the manifest does not name
	steps      []step
}

// plan returns the steps. It changes nothing.
func (p *planner) plan(m manifest) ([]step, error) {
	policies, unikernels := slices.Clone(m.Policies), slices.Clone(m.Unikernels)
	slices.SortStableFunc(policies, func(a, b policyEntry) int { return cmp.Compare(a.Path, b.Path) }) // parents first
	slices.SortStableFunc(unikernels, func(a, b unikernelEntry) int {
		return cmp.Compare(a.arguments().Startup.Or(messages.DefaultStartup), b.arguments().Startup.Or(messages.DefaultStartup))
	})
	p.pruneUnikernels(m)
	err := errors.Join(each(policies, p.policy), each(m.Networks, p.network), each(m.Blocks, p.block), each(unikernels, p.unikernel))
	p.pruneRest(m)
	return p.steps, err
}

// each returns the first error.
func each[T any](list []T, do func(T) error) error {
	for _, v := range list {
		if err := do(v); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) add(words string, do func(context.Context) error) {
	p.steps = append(p.steps, step{words, do})
}

func (p *planner) policy(e policyEntry) error {
	policy := e.policy()
	if err := p.app.checkPolicy(&policy); err != nil {
		return err
	}
	path := messages.Path(e.Path)
	words := fmt.Sprintf("create policy %s: %s", path, limitsText(policy))
	if i := slices.IndexFunc(p.have.policies, func(n messages.NamedPolicy) bool { return n.Name.Path == path }); i >= 0 {
		if err := p.mayChange(messages.KindPolicy, messages.Name{Path: path}, e.owner); err != nil {
			return err
		}
		changes := policyDifferences(p.have.policies[i].Policy, policy)
		if len(changes) == 0 {
			p.own(messages.KindPolicy, messages.Name{Path: path}, e.owner)
			return nil
		}
		words = fmt.Sprintf("change policy %s: %s", path, changes)
	}
	if p.app.destination.given() {
		return inputError(fmt.Sprintf("policies are for administrators of the host, and not from afar (%s): leave it out, or apply the file on the machine of the daemon", words))
	}
	p.add(words, func(ctx context.Context) error {
		if e.owner == "" {
			return p.app.ask(ctx, messages.Name{Path: path}, messages.PolicyAdd{Policy: policy})
		}
		policy.Owner = e.owner
		return p.app.onControl(ctx, messages.Name{Path: path}.String(), messages.PolicyDeploy{Policy: policy}, "added policy")
	})
	return nil
}

func (p *planner) network(e networkEntry) error {
	asked, err := e.ask()
	asked.Owner = e.owner
	if err != nil {
		return inputError(fmt.Sprintf("network %s: %v", shortName(e.Name.Name), err))
	}
	if i := slices.IndexFunc(p.have.networks, func(n messages.NetworkStatus) bool { return n.Name == e.Name.Name }); i >= 0 {
		if changes := networkDifferences(networkOf(p.have.networks[i]), e); len(changes) > 0 {
			return inputError(fmt.Sprintf("network %s cannot be changed (%s): destroy its unikernels and remove it first", shortName(e.Name.Name), changes))
		}
		if err := p.mayChange(messages.KindNetwork, e.Name.Name, e.owner); err != nil {
			return err
		}
		p.own(messages.KindNetwork, e.Name.Name, e.owner)
		return nil
	}
	p.add("create network "+shortName(e.Name.Name), func(ctx context.Context) error {
		return p.app.onControl(ctx, e.Name.String(), messages.NetworkCreate{Asked: asked}, "created network")
	})
	return nil
}

func (p *planner) block(e blockEntry) error {
	name, size := e.Name.Name, int(e.Size)
	if i := slices.IndexFunc(p.have.blocks, func(b messages.NamedBlock) bool { return b.Name == name }); i >= 0 {
		if has := p.have.blocks[i].Size; has != size {
			return inputError(fmt.Sprintf("block device %s cannot be changed (size %s -> %s): destroy it first, and what is in it", shortName(name), mb(has), mb(size)))
		}
		if err := p.mayChange(messages.KindBlock, name, e.owner); err != nil {
			return err
		}
		p.own(messages.KindBlock, name, e.owner)
		return nil
	}
	words := fmt.Sprintf("create block device %s of %s", shortName(name), mb(size))
	if e.Contents == nil {
		p.add(words, func(ctx context.Context) error { return p.app.makeBlock(ctx, name, size, e.owner) })
		return nil
	}
	if err := e.Contents.find(); err != nil {
		return err
	}
	p.add(words+" with "+e.Contents.String(), func(ctx context.Context) error { return p.app.createWith(ctx, e) })
	return nil
}

func (p *planner) unikernel(e unikernelEntry) error {
	name, args := e.Name.Name, e.arguments()
	if err := e.Image.find(); err != nil {
		return err
	}
	if err := p.mayChange(messages.KindUnikernel, name, e.owner); err != nil {
		return err
	}
	runs := slices.IndexFunc(p.have.unikernels, func(u messages.NamedInfo) bool { return u.Name == name })
	words := fmt.Sprintf("create unikernel %s with %s", shortName(name), e.Image)
	state, idle := p.have.idle[name]
	if idle {
		words = fmt.Sprintf("replace unikernel %s, which is %s, with %s", shortName(name), escape(string(state)), e.Image)
	}
	if runs >= 0 {
		u := p.have.unikernels[runs]
		changes := argumentDifferences(p.have.inFull(name), p.have.arguments[name], args)
		changes.of("image", shortDigest(hex.EncodeToString(u.Info.Digest)), e.Image.short())
		if len(changes) == 0 {
			p.own(messages.KindUnikernel, name, e.owner)
			return nil
		}
		words = fmt.Sprintf("replace unikernel %s: %s", shortName(name), changes)
	}
	if len(e.Image.places()) == 0 && (runs < 0 || hex.EncodeToString(p.have.unikernels[runs].Info.Digest) != string(e.Image.SHA256)) {
		return inputError(fmt.Sprintf("the image of %s has neither file, url nor oci, and is not what runs", shortName(name)))
	}
	p.add(words, func(ctx context.Context) error {
		return p.app.createAs(ctx, name, args, e, p.registries, runs >= 0 || idle, p.noWait)
	})
	return nil
}

// shortDigest returns the beginning of a digest, for people.
func shortDigest(digest string) string { return digest[:min(12, len(digest))] }

// makeBlock makes a block device, which may have an owner.
func (a *app) makeBlock(ctx context.Context, name messages.Name, size int, owner messages.Owner) error {
	if owner == "" {
		return a.ask(ctx, name, messages.BlockAdd{Size: size})
	}
	return a.onControl(ctx, name.String(), messages.BlockDeploy{Size: size, Owner: owner}, "added block device")
}

// createWith creates a block device with contents.
func (a *app) createWith(ctx context.Context, e blockEntry) error {
	name, size, from := e.Name.Name, int(e.Size), *e.Contents
	makes := func(ctx context.Context) error { return a.makeBlock(ctx, name, size, e.owner) }
	if from.URL == "" {
		if _, err := from.digest(); err != nil { // it may have changed since it was planned
			return err
		}
		return a.fillFrom(ctx, name, size, from.File, 0, makes)
	}
	data, err := a.load(ctx, from)
	if err != nil {
		return err
	}
	if len(data) > size<<20 {
		return inputError("data exceeds size")
	}
	if err := makes(ctx); err != nil {
		return err
	}
	if err := a.setBlock(ctx, name, contentsOf(data), 0); err != nil {
		return errors.Join(err, a.takeBack(context.WithoutCancel(ctx), name))
	}
	return nil
}

// createAs creates or replaces a unikernel.
func (a *app) createAs(ctx context.Context, name messages.Name, args messages.Arguments, e unikernelEntry, web registryOptions, replaces, noWait bool) error {
	from := e.Image
	if from.OCI != "" {
		return a.withSource(ctx, web, from, func(f fetched) error {
			args.Origin = f.origin()
			return a.createOf(ctx, name, args, e, f.data, replaces, noWait)
		})
	}
	image, err := a.imageOf(ctx, name, from)
	if err != nil {
		return err
	}
	return a.createOf(ctx, name, args, e, image, replaces, noWait)
}

// createOf creates or replaces a unikernel by one with an image, which is from a source.
func (a *app) createOf(ctx context.Context, name messages.Name, args messages.Arguments, e unikernelEntry, image []byte, replaces, noWait bool) error {
	if err := usable(image, args); err != nil {
		return inputError(fmt.Sprintf("cannot use %s for %s: %s", e.Image, shortName(name), escape(err.Error())))
	}
	config := messages.Config{Type: messages.Solo5, Image: image, Arguments: args}
	return a.start(ctx, name, noWait, func() error { return a.createFor(ctx, name, wire.OldestCreate(config, replaces), e.owner) })
}

// createFor is create for an owner, if there is one.
func (a *app) createFor(ctx context.Context, name messages.Name, command messages.UnikernelCreate, owner messages.Owner) error {
	if owner == "" {
		return a.create(ctx, name, command)
	}
	return a.deploy(ctx, name, command, owner)
}

// imageOf returns an image: that of a source, or the one that runs.
func (a *app) imageOf(ctx context.Context, name messages.Name, from source) ([]byte, error) {
	if from.File != "" || from.URL != "" {
		return a.load(ctx, from)
	}
	answer, err := as[messages.SuccessImage](a.answer(ctx, name, messages.UnikernelGet{Form: 3}))
	if err != nil {
		return nil, err
	}
	return answer.Image, from.matches(answer.Image)
}

// load returns the contents of a file or a URL, which are what the source says.
func (a *app) load(ctx context.Context, from source) (data []byte, err error) {
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
		counted, done = a.progress("fetching", size, r)
		return counted
	})
	if err != nil {
		return nil, err
	}
	return data, from.matches(data)
}

// find completes a source with the hash of its file, or compares it.
func (s *source) find() error {
	if s.File == "" {
		return nil
	}
	digest, err := s.digest()
	s.SHA256 = digest
	return err
}

// digest returns the hash of the file of a source, which must be the one that it says.
func (s source) digest() (digestValue, error) {
	f, err := os.Open(s.File)
	if err != nil {
		return "", unreadable(s.File, err)
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", unreadable(s.File, err)
	}
	return digestValue(hex.EncodeToString(h.Sum(nil))), s.is(h.Sum(nil))
}

// matches returns an error for other contents than those of a source.
func (s source) matches(data []byte) error {
	sum := sha256.Sum256(data)
	return s.is(sum[:])
}

func (s source) is(sum []byte) error {
	want, _ := hex.DecodeString(string(s.SHA256)) // it was checked
	if len(want) > 0 && !bytes.Equal(want, sum) {
		return inputError(fmt.Sprintf("%s has the SHA-256 %x, and should have %x", s, sum, want))
	}
	return nil
}

// String names a source.
func (s source) String() string {
	switch {
	case s.File != "":
		return escape(s.File)
	case s.URL != "":
		return escape(string(s.URL))
	case s.OCI != "":
		return escape(string(s.OCI))
	}
	return "the image that runs"
}
