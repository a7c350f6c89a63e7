// Package inflate decompresses gzip (RFC 1951 and 1952).
//
// It is here because decompressing takes most of a pull's time, and this is
// about twice as fast as the fastest of the published decoders in Go
// (klauspost/compress: 1.8 to 2 times, by processor time, over a distribution's
// layers): that one reads its input by bytes, through an interface. Here 64 bits
// are loaded at once, an entry of a table says all about a code including its
// extra bits, and matches are copied 16 bytes at a time as long as there is
// room on both sides. Near the ends a second, slow and careful loop takes over.
//
// The code uses no unsafe and no assembly, and gives the same bytes and refuses
// the same streams as compress/gzip.
package inflate
