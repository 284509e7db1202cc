package main

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"

	"albatross/messages"
	"albatross/runtime/durable"
	"albatross/runtime/failpoint"
	"albatross/runtime/keeper/wire"
)

const (
	// maxEntry bounds an entry, in bytes.
	maxEntry = 16 << 10
	// slack is how large the journal may become in any case, in bytes.
	slack = 64 << 10
)

// An entry records that a process is kept, has ended, or is forgotten.
type entry struct {
	Name    string           `cbor:"1,keyasint,omitempty"`
	Process messages.Process `cbor:"2,keyasint"`
	End     *wire.End        `cbor:"3,keyasint,omitempty"`
	Gone    bool             `cbor:"4,keyasint,omitempty"`
	Dirs    []string         `cbor:"5,keyasint,omitempty"`
}

// A journal holds on disk what the next keeper has to know. It is a sequence of entries,
// each preceded by its length and its CRC-32C, of 4 bytes each, lowest byte first. A written
// entry survives the death of this process, and a power cut once it was synced.
//
// If the journal cannot be written, as on a full disk, it is written anew later. A journal
// that has become large is replaced by one that contains what is kept now.
type journal struct {
	path    string
	trouble *trouble
	file    *os.File // nil: not written yet
	size    int64
	live    int64 // its size when it was written anew
	lacks   bool  // something is missing in it
	syncing bool
	dirty   bool // an end was written since the last sync began
}

// readJournal returns what is kept, oldest first. If there is damage, the journal is not
// whole, and what follows the damage is lost. An incomplete entry at the end is no damage: a
// crash leaves one.
func readJournal(data []byte) (kept []entry, whole bool) {
	places := map[messages.Process]int{}
	for len(data) > 0 {
		e, size, ok := readEntry(data)
		if !ok {
			return living(kept), size == 0
		}
		data = data[size:]
		at, known := places[e.Process]
		if !known {
			at = len(kept)
			places[e.Process] = at
			kept = append(kept, e)
		}
		if e.Name == "" {
			e.Name = kept[at].Name
		}
		kept[at] = e
	}
	return living(kept), true
}

func living(all []entry) (kept []entry) {
	for _, e := range all {
		if !e.Gone {
			kept = append(kept, e)
		}
	}
	return kept
}

// readEntry reads the first entry. If that is not ok, size is 0 if the end of the file has
// cut it off.
func readEntry(data []byte) (e entry, size int, ok bool) {
	const header = 8
	if len(data) < header {
		return entry{}, 0, false
	}
	length := binary.LittleEndian.Uint32(data)
	switch {
	case length > maxEntry:
		return entry{}, header, false
	case int(length) > len(data)-header:
		return entry{}, 0, false
	}
	size = header + int(length)
	payload := data[header:size]
	if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(data[4:]) || wire.Decode(payload, &e) != nil {
		if len(data) == size { // the last one
			return entry{}, 0, false
		}
		return entry{}, size, false
	}
	return e, size, true
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendEntry(b []byte, e entry) ([]byte, error) {
	payload, err := wire.Encode(e)
	if err != nil {
		return b, err
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(payload, castagnoli))
	return append(b, payload...), nil
}

// openJournal returns what was kept. Only rewrite changes the file.
func openJournal(path string) (kept []entry, whole bool, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	kept, whole = readJournal(data)
	return kept, whole, nil
}

// record writes an entry.
func (k *keeper) record(e entry) {
	j := k.journal
	switch {
	case j.lacks: // it will be written anew
	case j.size > slack+2*j.live:
		k.rewrite()
	default:
		if j.append(e); j.lacks {
			k.rewriteLater()
		}
	}
	j.dirty = j.dirty || e.End != nil
	k.syncJournal()
}

func (j *journal) append(e entry) {
	b, err := appendEntry(nil, e)
	if err == nil {
		_, err = j.file.WriteAt(b, j.size)
	}
	if err != nil { // a part of it would hide what follows
		j.fail(err)
		return
	}
	j.size += int64(len(b))
	failpoint.Here("keeper/recorded")
}

func (j *journal) fail(err error) {
	if !j.lacks {
		j.trouble.note("Cannot write the journal, which stays in memory: %v", err)
	}
	j.lacks = true
}

// rewrite replaces the file. If it fails, the old one stays.
func (j *journal) rewrite(kept []entry) {
	f, size, err := writeJournal(j.path, kept)
	if err != nil {
		j.fail(err)
		return
	}
	j.close()
	j.file, j.size, j.live, j.lacks = f, size, size, false
}

func (j *journal) close() {
	if j.file != nil {
		_ = j.file.Close() // what must be on disk was synced
	}
}

func writeJournal(path string, kept []entry) (f *os.File, size int64, err error) {
	temporary := path + ".new"
	f, err = os.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, 0, err
	}
	if size, err = writeEntries(f, kept); err == nil {
		failpoint.Here("keeper/journal-written")
		if err = durable.Rename(f, path); err == nil {
			failpoint.Here("keeper/journal-renamed")
			err = durable.SyncDir(filepath.Dir(path))
		}
	}
	if err != nil {
		_ = f.Close()
		_ = os.Remove(temporary)
		return nil, 0, err
	}
	return f, size, nil
}

// writeEntries writes in parts, to need little memory.
func writeEntries(f io.Writer, kept []entry) (size int64, err error) {
	var b []byte
	flush := func() error {
		_, err := f.Write(b)
		size, b = size+int64(len(b)), b[:0]
		return err
	}
	for _, e := range kept {
		if b, err = appendEntry(b, e); err != nil {
			return size, err
		}
		if len(b) >= maxEntry {
			if err := flush(); err != nil {
				return size, err
			}
		}
	}
	return size, flush()
}

// entries returns all that is kept.
func (k *keeper) entries() []entry {
	list := make([]entry, 0, len(k.children))
	for _, c := range k.children {
		list = append(list, c.entry())
	}
	return list
}

// rewriteAfter is the pause before the next try to write the journal.
const rewriteAfter = 10 * time.Second

// rewrite writes the journal anew, now or later.
func (k *keeper) rewrite() {
	if k.journal.rewrite(k.entries()); k.journal.lacks {
		k.rewriteLater()
	}
}

func (k *keeper) rewriteLater() {
	if k.rewriting {
		return
	}
	k.rewriting = true
	k.after(rewriteAfter, func() {
		k.rewriting = false
		k.rewrite()
	})
}

// syncJournal puts ends on disk. Ends that come during a sync share the next.
func (k *keeper) syncJournal() {
	j := k.journal
	if !j.dirty || j.file == nil || j.syncing {
		return
	}
	j.dirty = false
	j.syncing = true
	f := j.file
	k.aside(func() func() {
		err := f.Sync()
		return func() {
			j.syncing = false
			if err != nil && !errors.Is(err, os.ErrClosed) { // it was replaced by one that is synced
				j.fail(os.NewSyscallError("fsync", err))
				k.rewriteLater()
			}
			k.syncJournal()
		}
	})
}
