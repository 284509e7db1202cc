package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"albatross/messages"
	"albatross/runtime/compress"
	"albatross/sockets/builds"
	"albatross/sockets/certificate"
	"albatross/sockets/client"
	"albatross/sockets/registry"
)

// An exitCode shows a script what went wrong. The numbers are native's.
type exitCode int

const (
	exitSuccess       exitCode = 0
	exitEnded         exitCode = 115 // the daemon has ended a stream with a reason; not native's
	exitChain         exitCode = 116 // our certificates do not lead to a trusted authority
	exitRefused       exitCode = 117 // the daemon has refused, or what it has started has ended at once
	exitHTTP          exitCode = 118 // a server with builds, or a registry, is of no use
	exitRejected      exitCode = 119 // the endpoint does not accept our certificate
	exitUntrusted     exitCode = 120 // we do not accept the endpoint's
	exitCommunication exitCode = 121 // the conversation broke off
	exitConnect       exitCode = 122 // no daemon is there
	exitUsage         exitCode = 124 // the command line, or a file that it names
	exitInternal      exitCode = 125 // everything else that went wrong here
	exitInterrupted   exitCode = 130 // interrupted before it came to what was waited for, as shells say it
)

// A usageError is an invalid command line.
type usageError string

func (u usageError) Error() string { return string(u) }

// An inputError is a command line that asks for something impossible.
type inputError string

func (i inputError) Error() string { return string(i) }

// unreadable returns the error for a file of the command line.
func unreadable(path string, err error) error {
	if cause := errors.Unwrap(err); cause != nil {
		err = cause // without the path
	}
	return inputError(fmt.Sprintf("cannot read %s: %v", escape(path), err))
}

var (
	errNothingSent = errors.New("nothing was sent: --socket=- only shows the message")
	errInterrupted = errors.New("interrupted")
	errOddAnswer   = errors.New("cannot show the answer: it is of a kind that was not asked for")
)

// report prints what went wrong and what to do about it.
func (p *program) report(command *cobra.Command, err error) exitCode {
	if err == nil || errors.Is(err, errRequested) {
		return exitSuccess
	}
	var several severalErrors
	if !errors.As(err, &several) {
		several = severalErrors{err}
	}
	var first exitCode
	for i, err := range several {
		code, text := p.explain(command, err)
		if p.out.level() > quiet || code == exitUsage {
			fmt.Fprintln(p.out.stderr, "albatross-client: "+p.out.forReader(text))
		}
		if i == 0 {
			first = code
		}
	}
	return first
}

// severalErrors are what went wrong with several things, which are reported one by one.
type severalErrors []error

// orNil returns nil if nothing went wrong.
func (s severalErrors) orNil() error {
	if len(s) == 0 {
		return nil
	}
	return s
}

func (s severalErrors) Error() string   { return errors.Join(s...).Error() }
func (s severalErrors) Unwrap() []error { return s }

func (p *program) explain(command *cobra.Command, err error) (exitCode, string) {
	var usage usageError
	var input inputError
	var refusal *client.Refusal
	var ended *client.Ended
	var atOnce *endedError
	var connect *client.ConnectError
	var broken *client.ProtocolError
	var trust *client.TrustError
	var chain *chainError
	var damaged *compress.DamagedError
	var web *builds.Error
	var images *registry.Error
	switch {
	case errors.Is(err, errInterrupted):
		return exitInterrupted, errInterrupted.Error()
	case errors.As(err, &usage):
		return exitUsage, string(usage) + "\n" + usageText(command)
	case errors.As(err, &input):
		return exitUsage, string(input)
	case errors.As(err, &atOnce):
		return exitRefused, "[ERROR] " + p.out.of(atOnce.name) + atOnce.Error()
	case errors.As(err, &refusal):
		return refusalCode(refusal), p.out.refusalText(refusal) + inventory{p.daemon, p.out}.meantName(refusal)
	case errors.As(err, &ended):
		return exitEnded, "[WARNING] " + p.out.of(ended.Name) + "the daemon has ended this: " + escape(ended.Text)
	case errors.As(err, &connect):
		return exitConnect, "[ERROR] " + escape(err.Error()) + "\n" + p.daemon.connectAdvice(connect)
	case errors.As(err, &chain):
		return exitChain, "[ERROR] " + escape(err.Error()) + "\n" + chainAdvice
	case errors.As(err, &trust):
		return p.daemon.explainTrust(trust)
	case errors.Is(err, client.ErrNoAnswer):
		return exitCommunication, "[ERROR] " + escape(err.Error()) +
			"\nThe daemon refuses like this what it does not understand: is it of another version? Its log tells more."
	case errors.As(err, &broken):
		return exitCommunication, "[ERROR] " + escape(err.Error()) + p.daemon.largeAdvice()
	case errors.As(err, &web):
		return exitHTTP, "[ERROR] " + escape(err.Error()) + "\n" + buildsAdvice(err)
	case errors.As(err, &images) && errors.Is(err, context.Canceled):
		return exitInterrupted, errInterrupted.Error()
	case errors.As(err, &images):
		return exitHTTP, "[ERROR] " + escape(err.Error())
	case errors.Is(err, errNothingSent), errors.Is(err, errOddAnswer), errors.As(err, &damaged):
		return exitCommunication, "[ERROR] " + escape(err.Error())
	}
	return exitInternal, "[ERROR] " + escape(err.Error())
}

// usageText returns what native shows below an error on the command line.
func usageText(command *cobra.Command) string {
	if !command.HasParent() {
		return "Usage: albatross-client [COMMAND] …\nTry 'albatross-client --help' for more information."
	}
	arguments := strings.TrimPrefix(command.Use, command.Name())
	return fmt.Sprintf("Usage: %s [OPTION]…%s\nTry '%[1]s --help' or 'albatross-client --help' for more information.",
		command.CommandPath(), arguments)
}

// refusalCode distinguishes the refusals of a daemon from those of an endpoint, which sends a
// revoked client the reason instead of failing the handshake.
func refusalCode(r *client.Refusal) exitCode {
	if strings.HasSuffix(r.Text, certificate.ErrRevoked.Error()) {
		return exitRejected
	}
	return exitRefused
}

// refusalText returns the daemon's words, and what to do if that is known.
func (p *printer) refusalText(r *client.Refusal) string {
	text := p.of(r.Name) + escape(r.Text)
	if p.format == nativeFormat {
		text = "[WARNING] " + p.of(r.Name) + "command failed " + escape(r.Text)
	}
	if advice, ok := refusalAdvice[r.Text]; ok {
		text += "\n" + advice
	}
	return text
}

const (
	seeUnikernels = "'albatross-client info' shows what is there."
	seePolicies   = "'albatross-client policy' shows what is there."
	seeBlocks     = "'albatross-client block' shows what is there."
	destroyUser   = "Destroy the unikernel that uses it, or wait for whoever sets or dumps it."
)

var refusalAdvice = map[string]string{
	"Unikernel with same name is already running": "Give --force to replace it, or another name.",
	"destroy: not found":                          seeUnikernels,
	"get: no unikernel found":                     seeUnikernels,
	noConsole:                                     "'albatross-client inactive-consoles' shows those of unikernels that are gone, and 'info' what runs.",
	"path used instead of name":                   "The name of a unikernel has no ':' at its end.",

	"unknown policy":                             seePolicies,
	"no block devices are allowed by policy":     seePolicies,
	"block device with same name already exists": "Give another name, or replace its contents with 'set-block'.",
	"stream exceeds size":                        "The file is larger than the block device. " + seeBlocks,
	"remove block: not found":                    seeBlocks,
	"set block: not found":                       seeBlocks,
	"dump block: not found":                      seeBlocks,
	"remove block: is in use":                    destroyUser,
	"set block: is in use":                       destroyUser,
	"dump block: is in use":                      destroyUser,
}

// An unbuiltError says that no server knows where an image is from.
type unbuiltError struct {
	name messages.Name
	err  error
}

func (u *unbuiltError) Error() string {
	return fmt.Sprintf("the image of %s is from no build of this server: %v", shortName(u.name), u.err)
}

func (u *unbuiltError) Unwrap() error { return u.err }

// buildsAdvice says what to do about a server.
func buildsAdvice(err error) string {
	var unbuilt *unbuiltError
	if errors.As(err, &unbuilt) {
		return "Name the server where it was built with --http-host, or replace it by a file: 'albatross-client create --force'."
	}
	return "Nothing was changed. --http-host names another server, and --timeout how long it may be silent."
}
