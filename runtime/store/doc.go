// Package store owns what must survive the daemon and the machine: the
// database of what should run, what does, and what has happened (state.db), and
// the images (images/).
//
// Both keep two promises. What a call has said is stored is still there after
// a power cut; and what a call has not said is stored is there as a whole or
// not at all. The database is bbolt, which has one copy of everything on disk
// and fsyncs a commit. An image is written to a temporary name and fsynced,
// gets its name, and then the directory is fsynced.
//
// The values are CBOR (package messages); the names of unikernels and the
// digests of images are in their text form, so that the data can be looked at
// with the usual tools.
package store
