package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"albatross/messages"
)

// list is ask for a list of what exists at and below a name; words describe that.
func (inv inventory) list(ctx context.Context, name messages.Name, words string, command messages.Command) error {
	about, answer, err := inv.daemon.answer(ctx, name, command)
	if err != nil {
		return err
	}
	return inv.showList(name, words, about, answer)
}

// showList prints the answer to a question about a name for a list.
func (inv inventory) showList(name messages.Name, words string, about messages.Name, answer messages.Success) error {
	if inv.out.format != nativeFormat {
		answer = namedInFull(name, answer)
	}
	if err := inv.out.show(about, answer); err != nil {
		return err
	}
	inv.warnNothing(name, words, empty(answer))
	return nil
}

// namedInFull returns a list with names as they can be given to other commands: the daemon answers
// with those relative to the path that was asked for. They are in alphabetical order.
func namedInFull(asked messages.Name, answer messages.Success) messages.Success {
	switch s := answer.(type) {
	case messages.SuccessPolicies:
		listInFull(asked, s.List, func(n *messages.NamedPolicy) *messages.Name { return &n.Name })
	case messages.SuccessConsoles:
		listInFull(asked, s.List, func(n *messages.Name) *messages.Name { return n })
	case messages.SuccessBlocks:
		listInFull(asked, s.List, func(n *messages.NamedBlock) *messages.Name { return &n.Name })
	}
	return answer
}

// nameInFull gives the elements of a list their full names; name returns where an element has it.
func nameInFull[T any](asked messages.Name, list []T, name func(*T) *messages.Name) {
	if !asked.IsPath() {
		return
	}
	for i := range list {
		n := name(&list[i])
		*n = inFull(asked.Path, *n)
	}
}

// listInFull is nameInFull, and puts the list into alphabetical order.
func listInFull[T any](asked messages.Name, list []T, name func(*T) *messages.Name) {
	nameInFull(asked, list, name)
	slices.SortStableFunc(list, func(a, b T) int { return strings.Compare(shortName(*name(&a)), shortName(*name(&b))) })
}

// warnNothing warns a user whose question has an empty answer: as natively, that is no
// error.
func (inv inventory) warnNothing(name messages.Name, words string, nothing bool) {
	if !nothing || name == (messages.Name{}) {
		return
	}
	if name.IsPath() {
		inv.out.message(warning, fmt.Sprintf("there is no %s at or below the path %s", words, name.Path))
	} else {
		inv.out.message(warning, fmt.Sprintf("there is no %s %s", words, shortName(name)))
	}
	inv.out.hint(strings.TrimPrefix(inv.meant(words, name), "\n"))
}

// inFull returns the full name of one relative to a path.
func inFull(path messages.Path, relative messages.Name) messages.Name {
	return path.InFull(relative)
}
