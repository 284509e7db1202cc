package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"albatross/messages"
	"albatross/sockets/control"
)

// Ends asks how unikernels ended last: the one of a name, or all at and below a path,
// with names relative to it. The Conn must be connected to the control socket, and
// cannot be used afterwards.
func (c *Conn) Ends(ctx context.Context, name messages.Name) ([]messages.NamedEnd, error) {
	ends, err := askList[messages.SuccessEnds](ctx, c, name, messages.EndList{}, control.ReadAnswer)
	asAsked(c, name, ends.List, func(n *messages.NamedEnd) *messages.Name { return &n.Name })
	return ends.List, err
}

// Statuses asks for the status of unikernels, also of those that do not run. The rest is as
// with Ends.
func (c *Conn) Statuses(ctx context.Context, name messages.Name) ([]messages.UnikernelStatus, error) {
	statuses, err := askList[messages.SuccessStatuses](ctx, c, name, messages.StatusList{}, control.ReadStatuses)
	asAsked(c, name, statuses.List, func(s *messages.UnikernelStatus) *messages.Name { return &s.Name })
	return statuses.List, err
}

// Settings asks for the settings of unikernels that an Info lacks. The rest is as with
// Ends.
func (c *Conn) Settings(ctx context.Context, name messages.Name) ([]messages.NamedSettings, error) {
	settings, err := askList[messages.SuccessSettings](ctx, c, name, messages.SettingList{}, control.ReadSettings)
	asAsked(c, name, settings.List, func(s *messages.NamedSettings) *messages.Name { return &s.Name })
	return settings.List, err
}

// History asks for the version of a unikernel that there is, and the former ones, the last one first.
// The rest is as with Ends.
func (c *Conn) History(ctx context.Context, name messages.Name) (messages.SuccessHistory, error) {
	return askList[messages.SuccessHistory](ctx, c, name, messages.HistoryList{}, control.ReadHistory)
}

// Owners asks for all that has an owner. The rest is as with Ends.
func (c *Conn) Owners(ctx context.Context, name messages.Name) ([]messages.Owned, error) {
	owners, err := askList[messages.SuccessOwners](ctx, c, name, messages.OwnerList{}, control.ReadOwners)
	return owners.List, err
}

// askList asks for a list, whose answer is a S.
func askList[S messages.Success](ctx context.Context, c *Conn, name messages.Name, command messages.Command, read func(io.Reader) (messages.Payload, error)) (list S, err error) {
	answer, err := c.askControl(ctx, name, command, read)
	if err != nil {
		return list, err
	}
	list, ok := answer.(S)
	if !ok {
		return list, c.failed(fmt.Errorf("the answer is a %T", answer))
	}
	return list, nil
}

// asAsked gives the answer about a name, of which the daemon has said the full one, the name that was
// asked for: from afar that is relative to the path of the certificates.
func asAsked[T any](c *Conn, asked messages.Name, list []T, name func(*T) *messages.Name) {
	if !c.afar || asked.IsPath() {
		return
	}
	for i := range list {
		*name(&list[i]) = asked
	}
}

// askControl sends a request about a name and reads the answer.
func (c *Conn) askControl(ctx context.Context, name messages.Name, command messages.Command, read func(io.Reader) (messages.Payload, error)) (messages.Payload, error) {
	request, err := c.controlRequest(name, command)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.answerTimeout(command), errNoAnswer)
	defer cancel()
	var answer messages.Payload
	err = c.during(ctx, func() (err error) {
		answer, err = c.exchangeControl(request, read)
		return err
	})
	if failure, ok := answer.(messages.Failure); ok && err == nil {
		return nil, &Refusal{Name: name, Text: string(failure.Text)}
	}
	return answer, err
}

// slowest is the fewest bytes per second at which a line sends an image that an answer is waited for.
const slowest = 2500

// answerTimeout returns the limit for an answer. An image from afar may take long to send.
func (c *Conn) answerTimeout(command messages.Command) time.Duration {
	deploy, ok := command.(messages.UnikernelDeploy)
	if !ok || !c.afar {
		return AnswerTimeout
	}
	return AnswerTimeout + time.Duration(len(deploy.Create.Config.Image)/slowest)*time.Second
}

// controlRequest returns a request, and the native message that follows it, if one does.
func (c *Conn) controlRequest(name messages.Name, command messages.Command) (net.Buffers, error) {
	request, err := control.AppendRequest(nil, name, command)
	native := control.Native(command)
	if err != nil || native == nil {
		return net.Buffers{request}, err
	}
	frame, err := c.question(name, native) // behind it the image of a create, from afar
	return append(net.Buffers{request}, frame...), err
}

// Deploy is Do for a UnikernelDeploy. What it sends is read through counted.
func (c *Conn) Deploy(ctx context.Context, name messages.Name, deploy messages.UnikernelDeploy, counted func(size int64, r io.Reader) io.Reader) error {
	c.counted = counted
	defer func() { c.counted = nil }()
	return c.Do(ctx, name, deploy)
}

// write sends a request, which an image may follow.
func (c *Conn) write(request net.Buffers) error {
	if c.counted == nil {
		_, err := request.WriteTo(c.conn)
		return err
	}
	var size int64
	for _, b := range request {
		size += int64(len(b))
	}
	_, err := io.Copy(struct{ io.Writer }{c.conn}, struct{ io.Reader }{c.counted(size, &request)})
	return err
}

// exchangeControl writes a request and reads the answer. It reads even if the write fails:
// see exchange.
func (c *Conn) exchangeControl(request net.Buffers, read func(io.Reader) (messages.Payload, error)) (messages.Payload, error) {
	writeErr := c.write(request)
	answer, err := read(c.conn)
	switch {
	case err == nil:
		return answer, nil
	case writeErr != nil && !isRefusal(err):
		return nil, fmt.Errorf("cannot send the command: %w", rootCause(writeErr))
	case err == io.EOF, errors.Is(err, syscall.ECONNRESET):
		return nil, ErrNoAnswer
	case err == io.ErrUnexpectedEOF:
		return nil, ErrClosed
	}
	return nil, c.cause(err)
}

// Networks asks for the named networks at and below a path, or for one, with names relative to it.
// The rest is as with Ends.
func (c *Conn) Networks(ctx context.Context, name messages.Name) ([]messages.NetworkStatus, error) {
	networks, err := askList[messages.SuccessNetworks](ctx, c, name, messages.NetworkList{}, control.ReadNetworks)
	asAsked(c, name, networks.List, func(n *messages.NetworkStatus) *messages.Name { return &n.Name })
	return networks.List, err
}

// Do gives a command that is answered by its success only: NetworkCreate, NetworkRemove,
// PublishAdd, PublishRemove, UnikernelDeploy, RestartDeploy, PolicyDeploy, BlockDeploy or OwnRequest.
// The rest is as with Ends.
func (c *Conn) Do(ctx context.Context, name messages.Name, command messages.Command) error {
	_, err := c.askControl(ctx, name, command, control.ReadDone)
	return err
}
