package hvt

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"albatross/runtime/image"
	"albatross/runtime/landlock"
	"albatross/runtime/seccomp"
	"albatross/runtime/solo5"
)

// core is where the core file of a guest goes that fails: a file that did not exist before,
// in a directory that is open from the start.
type core struct {
	directory int // -1: none is wanted
	file      int // the descriptor that the file will have; until then the directory
	name      string
}

var noCore = core{directory: -1, file: -1}

const coreFlags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_CLOEXEC

func openCore(directory string) (core, error) {
	if directory == "" {
		return noCore, nil
	}
	c, err := openCoreIn(directory)
	if err != nil {
		return noCore, fmt.Errorf("cannot write core files to %s: %w", filepath.Base(directory), err)
	}
	return c, nil
}

func openCoreIn(directory string) (c core, err error) {
	c = noCore
	if c.directory, err = solo5.Open(directory, unix.O_RDONLY|unix.O_DIRECTORY); err != nil {
		return noCore, err
	}
	if err = unix.Access(directory, unix.W_OK); err == nil {
		c.file, err = unix.FcntlInt(uintptr(c.directory), unix.F_DUPFD_CLOEXEC, 0)
	}
	if err != nil {
		_ = unix.Close(c.directory)
		return noCore, err
	}
	c.name = fmt.Sprintf("core.solo5-hvt.%d", os.Getpid())
	return c, nil
}

func (c core) close() error {
	if c.directory < 0 {
		return nil
	}
	err := unix.Close(c.file)
	if closed := unix.Close(c.directory); err == nil {
		err = closed
	}
	return err
}

// rules allow to make a new file, and to write to it once it has its descriptor.
func (c core) rules() []seccomp.Rule {
	if c.directory < 0 {
		return nil
	}
	return []seccomp.Rule{
		seccomp.Allow(unix.SYS_OPENAT, seccomp.Is(0, uint64(c.directory)), seccomp.Is(2, coreFlags)),
		seccomp.Allow(unix.SYS_DUP3, seccomp.Is(1, uint64(c.file))),
		seccomp.Allow(unix.SYS_PWRITE64, seccomp.Is(0, uint64(c.file))),
	}
}

// paths allow to make a new file in the directory, and nothing else in the file system.
func (c core) paths() []landlock.Rule {
	if c.directory < 0 {
		return nil
	}
	return []landlock.Rule{{File: c.directory, Allow: landlock.Make}}
}

// dump writes a core file, and reports it where the guest has its console. Trapped are the
// registers at a trap that the guest has handled itself, if any.
func (c core) dump(memory []byte, s state, trapped []byte) {
	if c.directory < 0 {
		return
	}
	if err := c.write(memory, s.status(trapped)); err != nil {
		fmt.Fprintf(os.Stderr, "albatross-tender: cannot write core file: %v\n", err)
		return
	}
	fmt.Fprintf(os.Stderr, "albatross-tender: memory of the unikernel is in %s\n", c.name)
}

func (c core) write(memory, status []byte) error {
	fd, err := solo5.Retry(func() (int, error) { return unix.Openat(c.directory, c.name, coreFlags, 0o600) })
	if err != nil {
		return err
	}
	if err := unix.Dup3(fd, c.file, unix.O_CLOEXEC); err != nil {
		return err
	}
	headers := coreHeaders(uint64(len(memory)), status)
	if err := writeFull(c.file, headers, 0); err != nil {
		return err
	}
	return c.writeMemory(memory, int64(len(headers)))
}

// writeMemory leaves out pages of zeros, which costs no disk. The last one is written in any
// case, so that the file has its length.
func (c core) writeMemory(memory []byte, offset int64) error {
	for at := 0; at < len(memory); at += image.PageSize {
		page := memory[at : at+image.PageSize]
		if at+image.PageSize < len(memory) && zero(page) {
			continue
		}
		if err := writeFull(c.file, page, offset+int64(at)); err != nil {
			return err
		}
	}
	return nil
}

func zero(page []byte) bool { return [image.PageSize]byte(page) == [image.PageSize]byte{} }

func writeFull(file int, b []byte, offset int64) error {
	for len(b) > 0 {
		n, err := solo5.Retry(func() (int, error) { return unix.Pwrite(file, b, offset) })
		if err != nil {
			return err
		}
		b, offset = b[n:], offset+int64(n)
	}
	return nil
}

// A core file is an ELF file with two program headers: a note with the registers, and all of
// memory, from address 0.
const (
	elfHeaderSize     = 64
	programHeaderSize = 56
	noteHeaderSize    = 20 // with the owner's name, CORE
	memoryOffset      = elfHeaderSize + 2*programHeaderSize + noteHeaderSize + statusSize
)

func coreHeaders(memory uint64, status []byte) []byte {
	le := binary.LittleEndian
	h := []byte("\x7fELF\x02\x01\x01\xff\x00\x00\x00\x00\x00\x00\x00\x00") // of no operating system
	h = le.AppendUint16(h, 4)                                              // type: core file
	h = le.AppendUint16(h, image.Host.Machine())
	h = le.AppendUint32(h, 1)             // version
	h = le.AppendUint64(h, 0)             // no entry
	h = le.AppendUint64(h, elfHeaderSize) // program headers
	h = le.AppendUint64(h, 0)             // no section headers
	h = le.AppendUint32(h, 0)             // flags
	h = le.AppendUint16(h, elfHeaderSize)
	h = le.AppendUint16(h, programHeaderSize)
	h = le.AppendUint16(h, 2)
	h = append(h, make([]byte, 6)...) // sizes and number of section headers
	h = append(h, coreHeader(unix.PT_NOTE, elfHeaderSize+2*programHeaderSize, noteHeaderSize+statusSize)...)
	h = append(h, coreHeader(unix.PT_LOAD, memoryOffset, memory)...)
	h = le.AppendUint32(h, uint32(len("CORE\x00")))
	h = le.AppendUint32(h, statusSize)
	h = le.AppendUint32(h, unix.NT_PRSTATUS)
	h = append(h, "CORE\x00\x00\x00\x00"...)
	return append(h, status...)
}

func coreHeader(kind uint32, offset, size uint64) []byte {
	le := binary.LittleEndian
	p := le.AppendUint32(nil, kind)
	p = le.AppendUint32(p, 0) // flags
	p = le.AppendUint64(p, offset)
	p = le.AppendUint64(p, 0) // address
	p = le.AppendUint64(p, 0) // physical
	p = le.AppendUint64(p, size)
	p = le.AppendUint64(p, size)
	return le.AppendUint64(p, 0) // alignment
}
