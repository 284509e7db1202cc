// Package store owns what must survive the daemon and the machine: the database
// (state.db) of what should run, what runs, and what has happened, and the images
// (images/).
//
// Both keep two promises. What a call has reported as stored is still there after a power
// cut. What it has not is there as a whole or not at all. The database is bbolt, which
// holds one copy of everything on disk and fsyncs a commit. An image is written to a
// temporary name, fsynced and renamed; then the directory is fsynced.
//
// The values are CBOR (package messages); names of unikernels and digests of images are
// stored as text, so that the usual tools can show the data.
package store
