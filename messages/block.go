package messages

// Between the host, a block actor and a session.
type (
	// BlockDo requests a command about a block device, on behalf of the session, which
	// gets the Answer.
	BlockDo struct {
		ID      uint64
		Command Command
		Size    int // MB, of the device
		Memory  Memory
	}
	// BlockDone reports to the host that the command has ended. It precedes the Answer, unless
	// a dump follows that, or the actor has failed.
	BlockDone struct {
		Name   Name
		Run    uint64
		Failed bool
		Gone   bool // there is no such device, or not any more; after a failure either is possible
	}
	// BlockChunk is the next part of a stream. Data belongs to the receiver until it
	// gives More for it.
	BlockChunk struct {
		Data []byte
		Last bool   // nothing follows
		Err  Public // the stream breaks off here
	}
)

// StreamPart is the size of a BlockChunk, in bytes.
const StreamPart = 1 << 20

// StreamBuffers are the buffers of a sender of BlockChunks: one for each chunk that the
// receiver may not have returned yet.
type StreamBuffers struct {
	both  [StreamWindow][]byte
	turns int
}

// StreamWindow is how many BlockChunks may be on their way: one is read or received while
// the other is written.
const StreamWindow = 2

// Next returns the free buffer.
func (s *StreamBuffers) Next() []byte {
	turn := s.turns % StreamWindow
	s.turns++
	if s.both[turn] == nil {
		s.both[turn] = make([]byte, StreamPart)
	}
	return s.both[turn]
}
