package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"albatross/test/programs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inTop changes to a directory that has the programs in bin, and puts temporary files in an empty
// one that must be empty again at the end.
func inTop(t *testing.T, names ...string) {
	top := t.TempDir()
	bin := filepath.Join(top, "bin")
	require.NoError(t, os.Mkdir(bin, 0o755))
	if len(names) > 0 {
		require.NoError(t, programs.Build(bin, names...))
	}
	t.Chdir(top)
	temporary, err := os.MkdirTemp("", "demo")
	require.NoError(t, err)
	t.Setenv("TMPDIR", temporary)
	t.Cleanup(func() {
		left, err := files(temporary)
		require.NoError(t, errors.Join(err, os.RemoveAll(temporary)))
		require.Empty(t, left)
		require.Empty(t, children(os.Getpid()))
	})
}

func TestDemo(t *testing.T) {
	inTop(t, "albatrossd", "albatross-client", "albatross-tender", "albatross-keeper", "albatross-network")
	require.NoError(t, demo(t.Context()))
}

func TestInterruptedDemo(t *testing.T) {
	inTop(t, "albatrossd", "albatross-client", "albatross-tender", "albatross-keeper", "albatross-network")
	ctx, interrupt := context.WithCancel(t.Context())
	s, err := newScratch()
	require.NoError(t, err)
	require.NoError(t, s.startDaemon(ctx))
	_, err = s.client(ctx, "create", "hello", guest(t, s), "--arg=--quiet")
	require.NoError(t, err)
	_, err = s.tender()
	require.NoError(t, err, "the unikernel runs")
	interrupt()
	_, err = s.console(ctx, 1)
	require.Error(t, err)
	require.NoError(t, s.clean())
}

func guest(t *testing.T, s *scratch) string {
	path, err := s.writeImage("hello")
	require.NoError(t, err)
	return path
}

func TestProgramsAreMissing(t *testing.T) {
	inTop(t)
	require.EqualError(t, demo(t.Context()),
		"there is no bin/albatrossd here: run 'make build' in the top directory first")
}

func TestDaemonThatCannotStart(t *testing.T) {
	inTop(t)
	for _, program := range []string{"albatrossd", "albatross-client", "albatross-tender", "albatross-network"} {
		script := fmt.Sprintf("#!/bin/sh\necho %s: cannot >&2\nexit 3\n", program)
		require.NoError(t, os.WriteFile(filepath.Join("bin", program), []byte(script), 0o755))
	}
	require.EqualError(t, demo(t.Context()),
		"albatrossd has ended instead of answering (exit status 3)\nalbatrossd has said:\nalbatrossd: cannot\n")
}

func TestSameUnikernel(t *testing.T) {
	before := ticks{numbers: []int{1, 2}, starts: 1}
	require.NoError(t, sameUnikernel("then", "then", before, ticks{numbers: []int{3, 4}}))
	require.NoError(t, sameUnikernel("then", "then", before, ticks{numbers: []int{1, 2, 3}, starts: 1}))
	require.ErrorContains(t, sameUnikernel("then", "now", before, ticks{numbers: []int{3}}), "started again")
	require.ErrorContains(t, sameUnikernel("then", "then", before, ticks{numbers: []int{3}, starts: 2}), "said hello twice")
	require.ErrorContains(t, sameUnikernel("then", "then", before, ticks{numbers: []int{2}}), "not gone on")
	require.ErrorContains(t, sameUnikernel("then", "then", before, ticks{numbers: []int{3, 5}}), "gap")
}
