package sample

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"albatross/messages"
)

// tick is the unit of times in /proc: the kernel shows hundredths of a second, whatever
// it counts internally.
const tick = 10 * time.Millisecond

// A usage is what the files of one process contain.
type usage struct {
	start                  int64 // ticks since boot
	ended                  bool  // and was not reaped
	minflt, majflt, nswap  int64
	utime, stime           int64 // ticks
	runtime                time.Duration
	vsize                  int64 // bytes
	size                   int64 // pages; 0 if it has ended
	rss, text, data        int64 // pages
	voluntary, involuntary int64 // context switches
	io                     messages.Option[messages.BlockIO]
}

func (u *usage) rusage() messages.Rusage {
	return messages.Rusage{
		UTime: timeval(u.utime), STime: timeval(u.stime),
		MaxRSS: u.rss, // as natively, not the maximum
		MinFlt: u.minflt, MajFlt: u.majflt, NSwap: u.nswap,
		NVCSw: u.voluntary, NIvCSw: u.involuntary,
	}
}

func (u *usage) memory(started time.Time) messages.KinfoMem {
	return messages.KinfoMem{
		VSize: u.vsize, RSS: u.rss,
		TSize: u.text, DSize: u.data, SSize: u.data, // Linux counts both as one
		Runtime: u.runtime.Microseconds(),
		Start:   messages.Timeval{Seconds: started.Unix(), Microseconds: started.Nanosecond() / 1000},
	}
}

func timeval(ticks int64) messages.Timeval {
	const perSecond = int64(time.Second / tick)
	return messages.Timeval{Seconds: ticks / perSecond, Microseconds: int(ticks % perSecond * tick.Microseconds())}
}

// parseStat parses /proc/PID/stat. Field 2 is the program's name in parentheses, which
// may contain anything; no later field contains a parenthesis.
func (u *usage) parseStat(stat []byte) error {
	const state, nswap = 3, 36
	fields := bytes.TrimLeft(stat[bytes.LastIndexByte(stat, ')')+1:], " ")
	if len(fields) == 0 || len(fields) == len(stat) {
		return fmt.Errorf("cannot understand /proc/PID/stat: %q", stat)
	}
	u.ended = bytes.IndexByte([]byte("ZXx"), fields[0]) >= 0
	return scan("stat", fields, state, nswap, func(number int) *int64 {
		switch number {
		case 10:
			return &u.minflt
		case 12:
			return &u.majflt
		case 14:
			return &u.utime
		case 15:
			return &u.stime
		case 22:
			return &u.start
		case 23:
			return &u.vsize
		case nswap:
			return &u.nswap
		}
		return nil
	})
}

// parseStatm parses /proc/PID/statm.
func (u *usage) parseStatm(statm []byte) error {
	const data = 6
	return scan("statm", statm, 1, data, func(number int) *int64 {
		switch number {
		case 1:
			return &u.size
		case 2: // stat has it as well, but less exact in newer kernels
			return &u.rss
		case data:
			return &u.data
		}
		return nil
	})
}

// pageKB is the size of a page.
var pageKB = int64(os.Getpagesize() >> 10)

// parseStatus parses /proc/PID/status. Its size of the text counts what can be executed;
// that in statm spans its first byte to its last, and a guest's may be far below the
// tender's.
func (u *usage) parseStatus(status []byte) (err error) {
	if bytes.Contains(status, []byte(vmExe)) { // absent if there is no memory any more
		if u.text, err = labelled("status", status, vmExe); err != nil {
			return err
		}
		u.text /= pageKB
	}
	if u.voluntary, err = labelled("status", status, "\nvoluntary_ctxt_switches:"); err != nil {
		return err
	}
	u.involuntary, err = labelled("status", status, "\nnonvoluntary_ctxt_switches:")
	return err
}

const vmExe = "\nVmExe:"

// parseRollup parses /proc/PID/smaps_rollup, for which the kernel counts the pages anew.
// Many kernels otherwise count them in batches on each CPU, and show none for a small
// guest. It costs as much as all else, and so is only read for those.
func (u *usage) parseRollup(contents []byte) error {
	if len(contents) == 0 { // it has ended
		return nil
	}
	rss, err := labelled("smaps_rollup", contents, "\nRss:")
	u.rss = rss / pageKB
	return err
}

// parseIO parses /proc/PID/io.
func (u *usage) parseIO(contents []byte) error {
	read, err := labelled("io", contents, "\nread_bytes:")
	if err != nil {
		return err
	}
	written, err := labelled("io", contents, "\nwrite_bytes:")
	if err != nil {
		return err
	}
	u.io = messages.Some(messages.BlockIO{Read: read, Written: written})
	return nil
}

// scan parses the fields of a line, numbered from first on. It calls place for where to
// store each number, and needs all up to last.
func scan(file string, line []byte, first, last int, place func(number int) *int64) error {
	number := first
	for field := range bytes.FieldsSeq(line) {
		if to := place(number); to != nil {
			n, err := strconv.ParseInt(string(field), 10, 64)
			if err != nil || n < 0 {
				return fmt.Errorf("cannot understand /proc/PID/%s: field %d is %q", file, number, field)
			}
			*to = n
		}
		if number == last {
			return nil
		}
		number++
	}
	return fmt.Errorf("cannot understand /proc/PID/%s: it ends before field %d", file, number)
}

// labelled returns the number after a label, in kB if it has a unit.
func labelled(file string, contents []byte, label string) (int64, error) {
	i := bytes.LastIndex(contents, []byte(label))
	if i < 0 {
		return 0, fmt.Errorf("cannot understand /proc/PID/%s: there is no %q", file, label[1:])
	}
	line, _, _ := bytes.Cut(contents[i+len(label):], []byte("\n"))
	n, err := strconv.ParseInt(string(bytes.TrimSpace(bytes.TrimSuffix(line, []byte(" kB")))), 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("cannot understand /proc/PID/%s: %q is %q", file, label[1:], line)
	}
	return n, nil
}
