package messages

// To and from the store.
type (
	// StoreWrite applies changes, all or none. Answered by StoreWritten when they are on
	// disk.
	StoreWrite struct {
		ID      uint64
		Changes []Change
	}
	StoreWritten struct {
		ID      uint64
		Err     Public
		Refused bool // before anything was written
	}
	// StoreLoad is answered by StoreLoaded with all records, or with those of one
	// unikernel: those of others may be damaged.
	StoreLoad struct {
		ID   uint64
		Only Option[Name]
	}
	StoreLoaded struct {
		ID    uint64
		State State
		Err   Public
	}
)

// StoreFailed replaces an answer that the store has lost by a bug of ours.
const StoreFailed = "internal error: the store has failed; the log tells more"
