// Package trust decides whether an image may be used: by Podman's policy.json
// where one speaks of the image, else by the signers that its repository is
// known to have, as ssh knows hosts.
//
// Everything about a signature is foreign until a key has verified it: it is
// limited in number and size, parsed strictly, and must speak of the very
// digest that is about to be unpacked. Keys are checked here; OpenPGP and
// certificates of the keyless kind by a program of their own, which is started
// only when they are met (see Verifier).
package trust
