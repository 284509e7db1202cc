// Package registry reads and writes images of unikernels in OCI registries, which speak the protocol
// of the OCI's distribution specification.
//
//	c := registry.New(registry.Options{})
//	defer c.Close()
//	ref, err := registry.ParseReference("oci://registry.example.org/web:1")
//	a, err := c.Resolve(ctx, ref)              // asks for the tag once; a.Reference has the digest
//	target, err := a.Choose("spt", "hvt")      // the first of these that there is
//	image, err := c.Fetch(ctx, a, target)      // the image, whose digests are verified
//	kept, err := c.FetchFile(ctx, a, target)   // the same, in a temporary file instead of in memory
//
// # Formats
//
// An image that Push writes is an index of one manifest for each target, with a platform whose
// operating system is solo5 and whose variant is the target. A manifest has a Config and one
// layer, the image. Images as urunc packages them are read as well: ordinary container images
// whose annotations, labels or /urunc.json name a file in their layers.
//
// # Trust
//
// A registry is trusted with nothing. Every document and layer is bounded in size and has the digest
// that the reference, or the document above it, names. A layer is unpacked only as far as
// its target says. Nothing is written to disk except the image, by FetchFile to a file that has no name. Redirects lead from
// https to https only, and credentials go to no other host. Plain http is spoken with this machine
// only, except where Options.Insecure allows it.
//
// What breaks off goes on where it broke, if the registry can do that, and a few times only.
package registry
